"""The true colours of a monochrome view that was shot in other light or at another exposure.

Such a view's own colours, where a file has them, are those of that light: no colour camera beside
it saw them. What it should be coloured with is what the colour camera sees at the same points of
the scene, and a known disparity says where these are: Cb and Cr are carried over by it, over the
pixels that both views see, with the monochrome view's own Y. That is what data/camera.py calls the
truth of two different cameras, here of real ones.
"""

from typing import NamedTuple

import numpy as np

from scs_jax.data.camera import to_bytes

_STEEPEST = 1.0  # pixels of disparity between neighbours of one surface
# ITU-R BT.601, full range, as ops/color.py has it.
_CBCR = np.array([[-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_RGB = np.array([[0.0, 1.402], [-0.344136, -0.714136], [1.772, 0.0]])


class Warped(NamedTuple):
  """Colours where they are known.

  Attributes:
    truth: uint8 [H, W, 3]; gray where nothing is known.
    seen: bool [H, W, 1], whether both views see a pixel and its disparity is known.
  """

  truth: np.ndarray
  seen: np.ndarray


def warp(gray: np.ndarray, color: np.ndarray, disparity: np.ndarray) -> Warped:
  """Carries the colour view's Cb and Cr over to the monochrome view's Y.

  Between two neighbours of one row that lie on one surface every point is known: it is seen at
  x - k(x), linearly between both. Of points that meet in a pixel the nearest counts, which hides
  the others.

  Args:
    gray: uint8 [H, W], the monochrome view.
    color: uint8 [H, W, 3], the colour view.
    disparity: float32 [H, W], k of the colour view's pixels: (j, x) is seen at (j, x - k); NaN:
      unknown, or not seen by the monochrome view.
  """
  height, width = gray.shape
  x = np.arange(width - 1)
  ends = np.arange(width) - disparity
  first, last = ends[:, :-1], ends[:, 1:]
  with np.errstate(invalid="ignore"):
    surface = (np.abs(np.diff(disparity, axis=1)) <= _STEEPEST) & (last > first)
  best = np.full((height, width), -np.inf)
  found = np.zeros((height, width))
  hits = []
  for step in (0, 1, 2):  # a segment is at most two pixels long
    column = np.ceil(np.where(surface, first, 0)) + step
    inside = surface & (column <= last) & (column >= 0) & (column < width)
    rows, starts = np.nonzero(inside)
    columns = column[inside].astype(int)
    share = (columns - first[inside]) / (last[inside] - first[inside])
    hits.append((rows, columns, x[starts] + share))
  for rows, columns, place in hits:
    np.maximum.at(best, (rows, columns), place - columns)
  for rows, columns, place in hits:
    nearest = place - columns == best[rows, columns]
    found[rows[nearest], columns[nearest]] = place[nearest]
  seen = np.isfinite(best)
  left = np.minimum(found.astype(int), width - 2)
  share = (found - left)[..., None]
  chroma = (color / 255.0) @ _CBCR.T
  row = np.arange(height)[:, None]
  chroma = (1 - share) * chroma[row, left] + share * chroma[row, left + 1]
  rgb = gray[..., None] / 255.0 + np.where(seen[..., None], chroma, 0.0) @ _RGB.T
  return Warped(to_bytes(rgb), seen[..., None])
