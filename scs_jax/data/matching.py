"""Matches points of two views: a sparse, robust measure of how the views are related.

Patches on corners of the first view are looked for in the second by normalised cross-correlation,
which no gain, offset or fading of the luminance changes: over a wide window at reduced size, then
within a pixel of the reduced size at full size, to a fraction of a pixel. Kept are matches that are
like each other, unlike every other place in the window, and found again from the second view.
"""

import dataclasses

import numpy as np
from PIL import Image
from scipy import fft, ndimage

_RADIUS = 7
PATCH = 2 * _RADIUS + 1
"""Side of what is matched, pixels: a view that is smaller has no match."""
_COARSE_WIDTH = 360  # a view is searched at no more than this
_LEAST_LIKE = 0.8  # correlation of a match
_UNIQUE = 0.92  # of the second best place, relative to the best
_LEAST_CONTRAST = 3.0  # standard deviation of a patch, gray levels of 255


@dataclasses.dataclass(frozen=True)
class Matches:
  """Points of the first view and how far from there they are in the second, in pixels.

  Attributes:
    y, x: float64 [M], in the first view.
    down, right: float64 [M]: the match is at (y + down, x + right).
  """

  y: np.ndarray
  x: np.ndarray
  down: np.ndarray
  right: np.ndarray

  def __len__(self) -> int:
    return len(self.y)


def match(
  first: np.ndarray,
  second: np.ndarray,
  points: int = 400,
  reach: float = 0.35,
  slack: int = 10,
) -> Matches:
  """Matches of up to `points` corners.

  Args:
    first, second: uint8 [H, W], of one height and nearly one width.
    points: corners that are tried.
    reach: how far left and right to look, in widths.
    slack: how far up and down, in pixels of the view reduced to 360 columns.

  Returns:
    Matches, none where a view has no texture.
  """
  factor = max(1, -(-first.shape[1] // _COARSE_WIDTH))
  small = [_normal(view, factor) for view in (first, second)]
  columns = max(8, int(reach * small[0].shape[1]))
  corners = _corners(small[0], points)
  there = _search(*small, corners, corners, slack, columns)
  back = _search(*reversed(small), there[:, :2], there[:, :2], slack, columns)
  # Without a second best: from there the view may well repeat itself.
  good = (there[:, 2] >= _LEAST_LIKE) & (there[:, 3] <= _UNIQUE * there[:, 2])
  good &= np.abs(back[:, :2] - corners).max(1, initial=0) <= 1.5
  start = corners[good] * factor + (factor - 1) // 2
  guess = there[good, :2] * factor + (factor - 1) // 2
  full = small if factor == 1 else [_normal(view, 1) for view in (first, second)]
  found = _search(*full, start, guess, factor + 1, factor + 1)
  keep = found[:, 2] >= _LEAST_LIKE
  moved = (found[:, :2] - start)[keep]
  return Matches(start[keep, 0], start[keep, 1], moved[:, 0], moved[:, 1])


def _normal(view: np.ndarray, factor: int) -> np.ndarray:
  """Returns a float32 view, reduced by block means."""
  picture = Image.fromarray(np.ascontiguousarray(view))
  return np.asarray(picture.reduce(factor) if factor > 1 else picture).astype(np.float32)


def _corners(view: np.ndarray, points: int) -> np.ndarray:
  """Finds the best corner of each cell of a grid, far enough from the border: [P, 2] (y, x).

  The smaller eigenvalue of the structure tensor: an edge along one direction says nothing about a
  shift along itself.
  """
  height, width = view.shape
  edge = _RADIUS + 1
  if height <= 2 * edge or width <= 2 * edge:  # of a single row there is no gradient either
    return np.zeros((0, 2), int)
  dy, dx = np.gradient(view)
  mean = lambda a: ndimage.uniform_filter(a, 2 * _RADIUS + 1)
  yy, xx, xy = mean(dy * dy), mean(dx * dx), mean(dx * dy)
  strength = 0.5 * (yy + xx - np.sqrt((yy - xx) ** 2 + 4 * xy**2))
  cell = max(4, int(np.sqrt(height * width / points)))
  found = []
  for top in range(edge, height - edge, cell):
    for left in range(edge, width - edge, cell):
      part = strength[top : min(top + cell, height - edge), left : min(left + cell, width - edge)]
      y, x = np.unravel_index(int(part.argmax()), part.shape)
      found.append((top + y, left + x))
  found = np.array(found)
  spread = np.sqrt(np.maximum(mean(view * view) - mean(view) ** 2, 0.0))
  return found[spread[found[:, 0], found[:, 1]] >= _LEAST_CONTRAST]


def _search(
  first: np.ndarray, second: np.ndarray, at: np.ndarray, around: np.ndarray, up: int, left: int
) -> np.ndarray:
  """Finds the best places in the second view of patches of the first.

  Args:
    first, second: float32 [H, W].
    at: [P, 2] centres of the patches, rounded.
    around: [P, 2] centres of the windows searched, +-up rows and +-left columns.

  Returns:
    float64 [P, 4]: y and x to a fraction of a pixel, correlation there, and the best correlation
    more than two pixels away. Correlation -1 where the patch or the whole window is outside the
    view, or the best is on the window's edge.
  """
  result = np.full((len(at), 4), -1.0)
  size = 2 * _RADIUS + 1
  at, around = np.rint(at).astype(int), np.rint(around).astype(int)
  for i, ((y, x), (v, u)) in enumerate(zip(at, around, strict=True)):
    result[i, :2] = around[i]
    inside = _RADIUS <= y < first.shape[0] - _RADIUS and _RADIUS <= x < first.shape[1] - _RADIUS
    top, low = max(v - up, _RADIUS), min(v + up, second.shape[0] - 1 - _RADIUS)
    start, end = max(u - left, _RADIUS), min(u + left, second.shape[1] - 1 - _RADIUS)
    if not inside or top > low or start > end:
      continue
    patch = first[y - _RADIUS : y + _RADIUS + 1, x - _RADIUS : x + _RADIUS + 1]
    area = second[top - _RADIUS : low + _RADIUS + 1, start - _RADIUS : end + _RADIUS + 1]
    score = _correlation(patch, area, size)
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    if row in (0, score.shape[0] - 1) or column in (0, score.shape[1] - 1):
      continue  # the best may lie outside
    result[i, 0] = top + row + _peak(score[:, column], row)
    result[i, 1] = start + column + _peak(score[row], column)
    result[i, 2] = score[row, column]
    score[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3] = -1.0
    result[i, 3] = score.max()
  return result


def _correlation(patch: np.ndarray, area: np.ndarray, size: int) -> np.ndarray:
  """Correlates a patch with every place of an area, zero-mean and normalised: in [-1, 1]."""
  patch = patch - patch.mean()
  # The mean of a window drops out of the product, for the patch sums to zero. By the Fourier
  # transform, a third of the time of 225 products at each place; it wraps around where a window
  # would reach beyond the area.
  shape = [fft.next_fast_len(n, real=True) for n in area.shape]
  spectra = [fft.rfft2(image.astype(np.float64), shape) for image in (area, patch)]
  product = fft.irfft2(spectra[0] * spectra[1].conj(), shape)
  product = product[: area.shape[0] - size + 1, : area.shape[1] - size + 1]
  sums = np.cumsum(np.cumsum(np.pad(np.stack([area, area**2]), ((0, 0), (1, 0), (1, 0))).astype(
    np.float64), 1), 2)  # fmt: skip
  box = sums[:, size:, size:] - sums[:, :-size, size:] - sums[:, size:, :-size]
  box += sums[:, :-size, :-size]
  energy = np.maximum(box[1] - box[0] ** 2 / size**2, (_LEAST_CONTRAST * size) ** 2 / 4)
  return product / np.sqrt(energy * max(float((patch**2).sum()), 1e-6))


def _peak(values: np.ndarray, at: int) -> float:
  """Fits a parabola to a maximum and its neighbours: its top's offset, within half a pixel."""
  below, top, above = (float(v) for v in values[at - 1 : at + 2])
  bend = below - 2 * top + above
  return 0.0 if bend >= 0 else float(np.clip(0.5 * (below - above) / bend, -0.5, 0.5))
