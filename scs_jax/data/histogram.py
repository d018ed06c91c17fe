"""Histograms as a picture, drawn with Pillow: what is left of a threshold is pale."""

import io
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 20, 34, 44
_BARS = 60
_KEPT, _LEFT_OUT, _LINE, _INK = "#2277cc", "#c8d4e0", "#cc4422", "#333333"


class Histogram(NamedTuple):
  """One row of the picture.

  Attributes:
    title: above it. unit: below the axis.
    values: [n]; what is not finite is left out.
    threshold: values from here on are kept.
    log: whether the axis is logarithmic; values must then be above 0.
  """

  title: str
  unit: str
  values: np.ndarray
  threshold: float
  log: bool = False


def draw(rows: Sequence[Histogram]) -> bytes:
  """Histograms above each other: a PNG file's bytes."""
  canvas = Image.new("RGB", (_WIDTH, _HEIGHT * len(rows)), "white")
  for k, row in enumerate(rows):
    _draw_one(ImageDraw.Draw(canvas), k * _HEIGHT, row)
  buffer = io.BytesIO()
  canvas.save(buffer, "PNG", optimize=True)
  return buffer.getvalue()


def _draw_one(pen: ImageDraw.ImageDraw, top: int, row: Histogram) -> None:
  font = ImageFont.load_default(12)
  pen.text((_LEFT, top + 8), row.title, fill=_INK, font=ImageFont.load_default(14))
  base = top + _HEIGHT - _BOTTOM
  values = row.values[np.isfinite(row.values)]
  if not len(values):
    pen.text((_LEFT, top + _HEIGHT // 2), "nothing was measured", fill=_INK, font=font)
    return
  edges = _edges(values, row)
  counts, _ = np.histogram(values, edges)
  place = (lambda v: math.log(max(v, edges[0]))) if row.log else float
  low, high = place(edges[0]), place(edges[-1])
  x = lambda v: _LEFT + (place(v) - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)
  height = base - top - _TOP
  for count, start, end in zip(counts, edges[:-1], edges[1:], strict=True):
    if count:
      bar = max(1, round(height * count / counts.max()))
      fill = _KEPT if start >= row.threshold * (1 - 1e-9) else _LEFT_OUT
      pen.rectangle((x(start), base - bar, max(x(start), x(end) - 1), base), fill=fill)
  pen.line((_LEFT, base, _WIDTH - _RIGHT, base), fill=_INK)
  for count in (0, int(counts.max())):
    y = base - height * count / counts.max()
    pen.text((_LEFT - 6, y), f"{count:,}", fill=_INK, font=font, anchor="rm")
  for tick in _ticks(edges[0], edges[-1], row.log):
    pen.line((x(tick), base, x(tick), base + 4), fill=_INK)
    pen.text((x(tick), base + 6), f"{tick:g}", fill=_INK, font=font, anchor="mt")
  pen.text((_WIDTH - _RIGHT, base + 24), row.unit, fill=_INK, font=font, anchor="rt")
  if edges[0] < row.threshold <= edges[-1]:
    pen.line((x(row.threshold), top + _TOP - 4, x(row.threshold), base), fill=_LINE, width=2)
    pen.text((x(row.threshold) + 4, top + _TOP - 6), f"{row.threshold:g}", fill=_LINE, font=font)


def _edges(values: np.ndarray, row: Histogram) -> np.ndarray:
  """Edges of the bars; the threshold is one, if it lies among them, so that no bar is half kept."""
  least, most = float(values.min()), float(values.max())
  to, back = (np.log, np.exp) if row.log else (np.asarray, np.asarray)
  low, high = float(to(least)), float(to(most))
  high = max(high, low + 1e-3)
  if least < row.threshold <= most:
    middle = float(to(row.threshold))
    below = max(1, min(_BARS - 1, round(_BARS * (middle - low) / (high - low))))
    parts = np.linspace(low, middle, below + 1), np.linspace(middle, high, _BARS - below + 1)[1:]
    edges = back(np.concatenate(parts))
  else:
    edges = back(np.linspace(low, high, _BARS + 1))
  edges[0], edges[-1] = min(edges[0], least), max(edges[-1], most)  # rounding loses no value
  return edges


def _ticks(low: float, high: float, log: bool) -> list[float]:
  """Round numbers within [low, high]: some four to ten."""
  if log and high / low > 4:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1,) if len(powers) > 6 else (1, 2, 5)
    ticks = [float(f"{step}e{power}") for power in powers for step in steps]
  else:
    rough = (high - low) / 6
    size = 10.0 ** math.floor(math.log10(rough))
    step = size * next(s for s in (1, 2, 5, 10) if s * size >= rough)
    ticks = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
  return [tick for tick in ticks if low <= tick <= high]
