"""The picture of a checked pair: its views with matches, their heights and disparities."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from scs_jax.data import camera as cameras
from scs_jax.data.stereo_check import FEWEST, MOST_VERTICAL, Report, vertical_offset

_SIDE = 480  # pixels of a view at most
_GAP, _HEAD, _LEFT, _PLOT = 10, 18, 40, 170
_INK, _PALE, _GOOD, _BAD = "#222", "#ddd", "#27c", "#c42"


def draw(report: Report, search_range: int) -> np.ndarray:
  """uint8 RGB [H, W, 3]. Above: both views, with the same rows marked and the matches on them.
  Below: how far matches are off their row, from left to right; the disparities, with the candidates
  shaded. Under it the problems."""
  width = 2 * _SIDE + 3 * _GAP
  lines = report.problems or ["nothing to report"]
  wrapped = [part for line in lines for part in _wrap(line, width - 2 * _GAP)]
  factor = 1.0
  height = 60
  if report.views is not None:
    h, w = report.size
    factor = min(1.0, _SIDE / w, _SIDE / h)
    height = max(round(h * factor), 1)
  bottom = 3 * _HEAD + height + _PLOT + 2 * _GAP
  canvas = Image.new("RGB", (width, bottom + _HEAD * (len(wrapped) + 1)), "white")
  pen = ImageDraw.Draw(canvas)
  _text(pen, (_GAP, 2), report.name)
  _views(canvas, pen, report, factor, 2 * _HEAD)
  top = 3 * _HEAD + height
  if report.matches is not None and len(report.matches) >= FEWEST:
    _offsets(pen, report, (_GAP, top))
    _disparities(pen, report, search_range, (_GAP * 2 + _SIDE, top))
  for k, line in enumerate(wrapped):
    _text(pen, (_GAP, bottom + k * _HEAD), line, _BAD if report.problems else _INK)
  return np.asarray(canvas)


def _views(canvas, pen, report: Report, factor: float, top: int) -> None:
  if report.views is None:
    return
  mono, color = report.views
  side = "right view" if report.side == "right" else "left view, the pair mirrored"
  gray = np.repeat(cameras.luma(mono)[..., None], 3, axis=2)
  for k, (caption, view) in enumerate(((f"monochrome ({side})", gray), ("colour", color))):
    left = _GAP + k * (_SIDE + _GAP)
    size = (max(round(view.shape[1] * factor), 1), max(round(view.shape[0] * factor), 1))
    _text(pen, (left, top - _HEAD), caption)
    canvas.paste(Image.fromarray(view).resize(size, Image.Resampling.BOX), (left, top))
    for row in range(1, 8):
      y = top + size[1] * row // 8
      pen.line((left, y, left + size[0] - 1, y), fill="#ff0", width=1)
  matches = report.matches
  if matches is None:
    return
  for y, x, down, right in zip(matches.y, matches.x, matches.down, matches.right, strict=True):
    ink = _BAD if abs(down) > MOST_VERTICAL else "#0c6"
    for k, (v, u) in enumerate(((y, x), (y + down, x + right))):
      at = _GAP + k * (_SIDE + _GAP) + u * factor, top + v * factor
      pen.ellipse((at[0] - 1.5, at[1] - 1.5, at[0] + 1.5, at[1] + 1.5), fill=ink)


def _offsets(pen, report: Report, corner: tuple[int, int]) -> None:
  """Vertical offset of each match over its column; the robust plane in gray."""
  matches = report.matches
  plane = vertical_offset(matches)[1]
  reach = max(2.0, 1.25 * float(np.abs(plane).max()))
  caption = f"pixels below their row; most {report.vertical:+.2f}"
  left, top, right, low = _frame(pen, corner, caption)
  # Downwards is down, as in the views: a match below its row, a positive offset, is drawn below.
  y_of = lambda down: (top + low) / 2 + np.clip(down / reach, -1, 1) * (low - top) / 2
  for value in (-MOST_VERTICAL, 0.0, MOST_VERTICAL):
    pen.line((left, y_of(value), right, y_of(value)), fill=_PALE)
    _text(pen, (left - 28, y_of(value) - 7), f"{value:+.0f}")
  x_of = lambda u: left + u / report.size[1] * (right - left)
  for u, fitted, down in zip(matches.x, plane, matches.down, strict=True):
    x = x_of(u)
    pen.point([(x, y_of(fitted)), (x + 1, y_of(fitted))], fill="#999")
    y, ink = y_of(down), _BAD if abs(down) > MOST_VERTICAL else _GOOD
    pen.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=ink)


def _disparities(pen, report: Report, search_range: int, corner: tuple[int, int]) -> None:
  """Histogram of the matches' disparities; candidates shaded, the range known marked."""
  values = report.matches.right
  low_value = min(0.0, report.low, float(np.percentile(values, 1))) - 4
  high_value = max(search_range, report.high, float(np.percentile(values, 99))) + 4
  where = "file" if report.from_file else "matches"
  caption = f"disparity of matches; {where}: {report.low:.1f} to {report.high:.1f}"
  left, top, right, low = _frame(pen, corner, caption)
  x_of = lambda k: left + (k - low_value) / (high_value - low_value) * (right - left)
  pen.rectangle((x_of(0), top, x_of(search_range - 1), low), fill="#eef4ff")
  counts, edges = np.histogram(values, 60, (low_value, high_value))
  for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
    outside = not -0.5 <= (start + end) / 2 <= search_range - 0.5
    if count:
      y = low - count / counts.max() * (low - top)
      box = (x_of(start), y, max(x_of(end) - 1, x_of(start)), low)
      pen.rectangle(box, fill=_BAD if outside else _GOOD)
  for edge in (report.low, report.high):
    pen.line((x_of(edge), top, x_of(edge), low), fill=_INK)
  for tick in (0, search_range - 1):
    _text(pen, (x_of(tick) - 6, low + 3), str(tick))


def _frame(pen, corner: tuple[int, int], caption: str) -> tuple[int, int, int, int]:
  """Draws a plot's caption and border; (left, top, right, bottom) inside it."""
  x, y = corner
  box = (x + _LEFT, y + _HEAD, x + _SIDE - _GAP, y + _PLOT - _HEAD)
  _text(pen, (x, y), caption)
  pen.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), outline=_PALE)
  return box


def _text(pen, at, text: str, ink: str = _INK) -> None:
  # Pillow's own font has Latin letters only; a name may hold others, or bytes that are none.
  pen.text(at, text.encode("latin-1", "replace").decode("latin-1"), fill=ink, font=_font())


def _font():
  return ImageFont.load_default(12)


def _wrap(text: str, width: int) -> list[str]:
  lines, font = [""], _font()
  for word in text.split():
    longer = f"{lines[-1]} {word}".strip()
    if lines[-1] and font.getlength(longer.encode("latin-1", "replace").decode("latin-1")) > width:
      lines.append(word)
    else:
      lines[-1] = longer
  return lines
