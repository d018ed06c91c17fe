"""The picture of `scs-jax visualize attention`: points, heat maps over the reference, valves."""

import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from scs_jax.methods.scsnet.attention_maps import Level
from scs_jax.report import panels
from scs_jax.report.attention_numbers import focus
from scs_jax.report.panels import Cell

_SIDE = 256  # pixels of the longer side of each picture in the panel
_LEAST = 24  # and at least of the shorter one, of a strip of few pixels
_MARGIN = 12  # around each picture, where marks at its edge reach to
_MARK, _RAMP = 8, 16
_NO_SPREAD = 0.1  # times even: weights closer together are not stretched to the whole scale
# From nothing to the most: dark violet, red, orange, yellow, nearly white.
_HEAT = np.array(
  [[20, 11, 53], [101, 21, 110], [187, 55, 84], [249, 142, 9], [252, 255, 164]], np.float32
)


class Shown(NamedTuple):
  """Holds what the panel shows, pictures as the network sees them.

  Attributes:
    gray: uint8 [H, W]; reference: uint8 [h, w, 3]; result: uint8 [H, W, 3].
    points: int [P, 2] (row, column) in `gray`.
    names: for each point how its row is called, as "at 120, 80".
    levels: of attention_maps.look.
    title: first line.
  """

  gray: np.ndarray
  reference: np.ndarray
  result: np.ndarray
  points: np.ndarray
  names: list[str]
  levels: tuple[Level, ...]
  title: str


def over_pixels(values: np.ndarray, stride: int, size: tuple[int, int]) -> np.ndarray:
  """Spreads values [h, w] over the pixels that they stand for, [*size], bilinearly."""
  h, w = values.shape
  image = Image.fromarray(np.ascontiguousarray(values, np.float32))
  large = image.resize((w * stride, h * stride), Image.Resampling.BILINEAR)
  return np.asarray(large)[: size[0], : size[1]]  # the last position may hang over the edge


def draw(shown: Shown) -> np.ndarray:
  """Draws the panel, uint8 RGB [H, W, 3].

  Above: the gray picture with all points, the reference, the result. Then a row a point: where it
  is, and at each level the reference under a heat map of the weights, from the map's least to its
  largest, which is marked. Below: the valves at each level, all on one scale.
  """
  ref_size = shown.reference.shape[:2]
  rows = [_first(shown)]
  for k, point in enumerate(shown.points):
    source = _fit(shown.gray)
    _mark(source, point, shown.gray.shape, k)
    row = [_tile((f"point {k + 1}", shown.names[k]), source)]
    for level, seen in enumerate(shown.levels):
      found = focus(seen.weights[k], seen.stride, ref_size)
      spread = over_pixels(_stretched(seen.weights[k]), seen.stride, ref_size)
      picture = _fit(_overlaid(shown.reference, spread))
      _cross(picture, found.peak, ref_size)
      lines = (
        _level_name(shown, level),
        f"{found.least:.2g}x to {found.even:.3g}x even; half on {found.half:.1%}",
      )
      row.append(_tile(lines, picture))
    rows.append(row)
  rows += _valve_rows(shown)
  return panels.sheet(rows, [shown.title], aligned=True)


def _tile(lines: Sequence[str], picture: Image.Image) -> Cell:
  return Cell("\n".join(lines), np.asarray(picture), _MARGIN)


def _level_name(shown: Shown, level: int) -> str:
  stride = shown.levels[level].stride
  return f"level {level + 1} of {len(shown.levels)}: a position is {stride} x {stride} pixels"


def _first(shown: Shown) -> list[Cell]:
  source = _fit(shown.gray)
  for k, point in enumerate(shown.points):
    _mark(source, point, shown.gray.shape, k)
  size = lambda image: f"{image.shape[1]} x {image.shape[0]} pixels"
  return [
    _tile(("gray, as the network sees it", size(shown.gray)), source),
    _tile(("the reference", size(shown.reference)), _fit(shown.reference)),
    _tile(("coloured by it", size(shown.result)), _fit(shown.result)),
    _tile(("weights: least to largest of a map", _valve_scale(shown)), _scale()),
  ]


def _valve_range(shown: Shown) -> tuple[float, float]:
  """Finds (least, most) of all valves; there are some."""
  every = [seen.valves for seen in shown.levels]
  return min(float(v.min()) for v in every), max(float(v.max()) for v in every)


def _valve_scale(shown: Shown) -> str:
  if shown.levels[0].valves is None:
    return "no valves in this network"
  return "valves: {:.2f} to {:.2f}".format(*_valve_range(shown))


def _valve_rows(shown: Shown) -> list[list[Cell]]:
  if shown.levels[0].valves is None:
    return []
  least, most = _valve_range(shown)
  rows = []
  for k, what in enumerate(("V1, of the source's own features", "V2, of the reference's features")):
    row = []
    for level, seen in enumerate(shown.levels):
      valve = seen.valves[k]
      share = (over_pixels(valve, seen.stride, shown.gray.shape) - least) / max(most - least, 1e-9)
      picture = _fit(panels.colored(share, _HEAT).astype(np.uint8))
      numbers = (
        f"level {level + 1}: {valve.min():.2f} to {valve.max():.2f}, mean {valve.mean():.2f}"
      )
      row.append(_tile((what, numbers), picture))
    beside = (f"valve V{k + 1} beside", "the coloured picture")
    rows.append([_tile(beside, _fit(shown.result)), *row])
  return rows


def _stretched(weights: np.ndarray) -> np.ndarray:
  """Stretches weights to 0, the least, and 1, the largest; less far where all are alike."""
  least, most = float(weights.min()), float(weights.max())
  return (weights - least) / max(most - least, _NO_SPREAD / weights.size)


def _overlaid(reference: np.ndarray, share: np.ndarray) -> np.ndarray:
  """Darkens the reference where it is not looked at, and lays heat where it is."""
  strength = np.clip(share, 0, 1)[..., None]
  below = 0.45 * reference.astype(np.float32)
  over = panels.colored(share, _HEAT) - below
  return (below + over * np.sqrt(strength) * 0.9).clip(0, 255).astype(np.uint8)


def _scale() -> Image.Image:
  """Draws the ramp of heat, from left to right."""
  ramp = panels.colored(np.linspace(0, 1, _SIDE)[None].repeat(_RAMP, 0), _HEAT)
  return _framed(Image.fromarray(ramp.astype(np.uint8)))


def _framed(picture: Image.Image) -> Image.Image:
  return ImageOps.expand(picture, _MARGIN, "white")


def _shape(size: tuple[int, int]) -> tuple[int, int]:
  """Returns (height, width) at which a picture of `size` stands in the panel."""
  return tuple(max(round(s * _SIDE / max(size)), _LEAST) for s in size)


def _fit(image: np.ndarray) -> Image.Image:
  height, width = _shape(image.shape[:2])
  enlarges = max(image.shape[:2]) < _SIDE
  how = Image.Resampling.NEAREST if enlarges else Image.Resampling.LANCZOS
  return _framed(Image.fromarray(image).convert("RGB").resize((width, height), how))


def _place(pixel, size: tuple[int, int]) -> tuple[float, float]:
  """Finds (x, y) in the panel's picture, margin and all, of a pixel's (row, column) middle."""
  y, x = ((p + 0.5) * shown / s for p, s, shown in zip(pixel, size, _shape(size), strict=True))
  return x + _MARGIN, y + _MARGIN


def _mark(picture: Image.Image, point, size: tuple[int, int], number: int) -> None:
  """Draws a numbered disc in a colour of its own beside the point, and a ring at it."""
  pen = ImageDraw.Draw(picture)
  x, y = _place(point, size)
  ink = tuple(round(255 * c) for c in colorsys.hsv_to_rgb(0.13 + 0.618 * number, 0.9, 1.0))
  for radius, color, width in ((5, "black", 4), (4, ink, 2)):
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=width)
  # The disc stands where there is room.
  right = x + 5 + 2 * _MARK < picture.width
  a = x + (5 + _MARK if right else -5 - _MARK)
  pen.ellipse((a - _MARK, y - _MARK, a + _MARK, y + _MARK), fill=ink, outline="black")
  pen.text((a, y), str(number + 1), fill="black", font=panels.font(), anchor="mm")


def _cross(picture: Image.Image, pixel, size: tuple[int, int]) -> None:
  """Draws a cross that leaves its middle free."""
  pen = ImageDraw.Draw(picture)
  x, y = _place(pixel, size)
  for color, width, ends in (("black", 4, (3, 10)), ("white", 2, (4, 9))):
    for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
      line = [(x + dx * end, y + dy * end) for end in ends]
      pen.line(line, fill=color, width=width)
