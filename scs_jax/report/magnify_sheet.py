"""One picture at many magnifications as a contact sheet and an animation: SCSNet, Figure 9."""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from scs_jax.ops.resize import resize_weights
from scs_jax.report import panels
from scs_jax.report.panels import BLANK, Cell

Size = tuple[int, int]

WHOLE = 112  # longest side of a whole picture beside its detail
_INPUT = 260  # and of the input at the top
_WIDTH = 1600  # pixels of a sheet, unless one detail alone takes more
_LOOP = 2400  # milliseconds of an animation there and back, where that is not too slow or fast
_LEAST, _MOST, _REST = 40, 300, 700  # milliseconds of a frame, and more on the two outer ones


class Window(NamedTuple):
  """Marks the part of the input that is looked at: a square of `side` pixels."""

  top: int
  left: int
  side: int

  def within(self, size: Size, out_size: Size) -> tuple[slice, slice]:
    """Finds its rows and columns in a result of `out_size` of an input of `size`."""
    spans = zip((self.top, self.left), size, out_size, strict=True)
    place = lambda x, a, b: math.floor(x * b / a + 0.5)
    ends = [(place(x, a, b), place(x + self.side, a, b)) for x, a, b in spans]
    rows, columns = (slice(first, max(last, first + 1)) for first, last in ends)
    return rows, columns


class Magnified(NamedTuple):
  """Holds what is kept of a result.

  Attributes:
    scale: as it was asked for.
    size: (height, width) of the result.
    detail: uint8 [h, w, 3], the window at the result's own pixels.
    whole: uint8 [p, q, 3], all of it, reduced.
    bicubic: uint8 [h, w], the same window of the gray input enlarged by the bicubic.
  """

  scale: float
  size: Size
  detail: np.ndarray
  whole: np.ndarray
  bicubic: np.ndarray

  @property
  def caption(self) -> str:
    return f"{self.scale:.4g}x, {self.size[1]}x{self.size[0]}"


def window_at(size: Size, side: int, point: tuple[float, float]) -> Window:
  """Places a window around a point (x, y) of a picture of (height, width), inside it."""
  side = min(side, *size)
  middle = point[1], point[0]
  corner = [min(max(int(m - side / 2), 0), s - side) for m, s in zip(middle, size, strict=True)]
  return Window(*corner, side)


def busiest(gray: np.ndarray, side: int) -> Window:
  """Finds the window with the most detail (mean difference of neighbours) of gray [H, W]."""
  side = min(side, *gray.shape)
  change = np.zeros(gray.shape, np.float64)
  change[1:] += np.abs(np.diff(gray, axis=0))
  change[:, 1:] += np.abs(np.diff(gray, axis=1))
  total = np.pad(change, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
  sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
  top, left = np.unravel_index(np.argmax(np.round(sums, 6)), sums.shape)
  return Window(int(top), int(left), side)


def magnified(gray: np.ndarray, rgb: np.ndarray, scale: float, window: Window) -> Magnified:
  """Keeps what a sheet shows of a result, uint8 [P, Q, 3], of gray [H, W] in [0, 1]."""
  size, out_size = gray.shape, rgb.shape[:2]
  rows, columns = window.within(size, out_size)
  # Of the enlarged input the window alone is computed: the product is separable.
  down, right = (resize_weights(a, b) for a, b in zip(size, out_size, strict=True))
  enlarged = down[rows] @ gray.astype(np.float64) @ right[columns].T
  bicubic = np.round(np.clip(enlarged, 0.0, 1.0) * 255.0).astype(np.uint8)
  whole = Image.fromarray(rgb).resize(_whole_size(size), Image.Resampling.BICUBIC)
  return Magnified(scale, out_size, rgb[rows, columns].copy(), np.asarray(whole), bicubic)


def _whole_size(size: Size) -> tuple[int, int]:
  """Returns (width, height) at which all whole results are shown, whatever their own size."""
  factor = min(1.0, WHOLE / max(size))
  return max(1, round(size[1] * factor)), max(1, round(size[0] * factor))


def draw(
  title: Sequence[str],
  gray: np.ndarray,
  window: Window,
  results: Sequence[Magnified],
  reference: np.ndarray | None = None,
) -> np.ndarray:
  """Draws the contact sheet.

  Above, the input with the window marked, and the reference. Below, for each magnification the
  window at the result's own pixels, the whole result small beside it with the window marked, and
  under it the window of the input enlarged by the bicubic.

  Args:
    title: lines of text.
    gray: float [H, W] in [0, 1], the input.
    window: what is looked at.
    results: at least one.
    reference: uint8 [h, w, 3].

  Returns:
    uint8 RGB [*, *, 3].
  """
  given = [Cell("input, with the detail marked", _marked(_bytes(gray), gray.shape, window, _INPUT))]
  if reference is not None:
    given.append(Cell("reference", panels.reduced(reference, _INPUT)))
  cells = [_cell(result, gray.shape, window) for result in results]
  return panels.sheet([given, *panels.spread(cells, _WIDTH)], title)


def _cell(result: Magnified, size: Size, window: Window) -> Cell:
  """Gathers a result: small and whole, the detail beside it, and the bicubic's under that."""
  whole = Cell(result.caption, _marked(result.whole, size, window, WHOLE))
  below = Cell("bicubic" if result.size != size else "input", result.bicubic)
  rows = [whole, Cell("", result.detail)], [BLANK, below]
  return Cell("", panels.sheet(rows, aligned=True))


def frames(results: Sequence[Magnified]) -> list[np.ndarray]:
  """Draws the same detail getting larger, at each result's own pixels: uint8 RGB of one size."""
  height, width = (max(r.detail.shape[axis] for r in results) for axis in (0, 1))
  width = max(width, *(panels.width_of(r.caption) for r in results))
  made = []
  for result in results:
    free = height - result.detail.shape[0], width - result.detail.shape[1]
    edges = [(space // 2, space - space // 2) for space in free]
    middle = np.pad(result.detail, (*edges, (0, 0)), constant_values=255)
    made.append(panels.sheet([[Cell(result.caption, middle)]]))
  return made


def animate(pictures: Sequence[np.ndarray], form: str) -> bytes:
  """Writes a file of two or more frames shown there and back without end.

  Args:
    pictures: uint8 RGB, all of one size.
    form: png or webp, whose colours are exact; gif, which has 256 of them a frame.
  """
  order = [*range(len(pictures)), *range(len(pictures) - 2, 0, -1)]
  each = round(min(max(_LOOP / len(order), _LEAST), _MOST))
  times = [each + (_REST if i in (0, len(pictures) - 1) else 0) for i in order]
  first, *others = (Image.fromarray(pictures[i]) for i in order)
  how: dict = {"png": {}, "webp": {"lossless": True}, "gif": {"disposal": 1}}[form]
  buffer = io.BytesIO()
  first.save(buffer, form, save_all=True, append_images=others, duration=times, loop=0, **how)
  return buffer.getvalue()


def _marked(image: np.ndarray, size: Size, window: Window, side: int) -> np.ndarray:
  """Marks the window on a small whole picture of an input of `size`."""
  image = panels.reduced(image, side)
  down, right = (a / b for a, b in zip(image.shape[:2], size, strict=True))
  box = (
    window.left * right,
    window.top * down,
    (window.left + window.side) * right - 1,
    (window.top + window.side) * down - 1,
  )
  return panels.framed(image, box)


def _bytes(gray: np.ndarray) -> np.ndarray:
  return np.round(np.clip(gray, 0.0, 1.0) * 255.0).astype(np.uint8)
