"""Texts of flags to numbers in their ranges: argparse types, whose errors say what is expected."""

import argparse
import math
import re
from collections.abc import Callable

_SMALLEST_MEMORY = 16 << 20
_UNITS = {"": 1, "B": 1} | {
  prefix + suffix: base**power
  for power, prefix in enumerate("KMGT", 1)
  for suffix, base in (("B", 1000), ("iB", 1024))
}
_MOST_SIDE = 1 << 17


def _bounded(text: str, expected: str, fits: Callable[[float], bool]) -> float:
  """Parses a number that fits; NaN never does."""
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not fits(value):
    raise argparse.ArgumentTypeError(f"expected a number {expected}; got {text!r}")
  return value


def _number(text: str, low: float, high: float, examples: str) -> float:
  expected = f"from {low:g} to {high:g}, as {examples}"
  return _bounded(text, expected, lambda value: low <= value <= high)


def _whole(text: str, low: int, high: int, examples: str) -> int:
  if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
    raise argparse.ArgumentTypeError(
      f"expected a whole number from {low} to {high}, as {examples}; got {text!r}"
    )
  return int(text)


def count(text: str) -> int:
  """Parses a whole number of 1 or more."""
  if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not int(text):
    raise argparse.ArgumentTypeError(f"expected a whole number from 1 on; got {text!r}")
  return int(text)


def amount(text: str) -> float:
  """Parses a number of 0 or more."""
  return _bounded(text, "from 0 on", lambda value: 0 <= value < math.inf)


def above_zero(text: str) -> float:
  """Parses a number above 0."""
  return _bounded(text, "above 0", lambda value: 0 < value < math.inf)


def share(text: str) -> float:
  """Parses a number above 0, up to 1."""
  return _bounded(text, "above 0, up to 1, as 0.5", lambda value: 0 < value <= 1)


def point(text: str) -> tuple[int, int]:
  """Parses `X,Y`, a pixel's column and row: (row, column)."""
  match = re.fullmatch(r"(\d{1,9}),(\d{1,9})", text, re.ASCII)
  if not match:
    raise argparse.ArgumentTypeError(
      f"expected X,Y, the column and row of a pixel, as 120,80; got {text!r}"
    )
  return int(match.group(2)), int(match.group(1))


def scale(text: str) -> float:
  """Parses the factor on each side."""
  return _number(text, 0.01, 100, "2 or 3.7")


MOST_SCALES = 64


def scales(text: str) -> list[float]:
  """Parses `FIRST:LAST:STEP` or a list: two or more different magnifications, rising."""
  parts = text.split(":")
  if len(parts) == 1:
    every = {scale(part.strip()) for part in text.split(",")}
  elif len(parts) == 3:
    first, last, step = map(scale, parts)
    if not first < last:
      raise argparse.ArgumentTypeError(f"expected FIRST below LAST, as 1:4:0.5; got {text!r}")
    steps = int((last - first) / step + 1e-6) + 1
    every = {round(first + k * step, 6) for k in range(min(steps, MOST_SCALES + 1))}
  else:
    raise argparse.ArgumentTypeError(
      f"expected FIRST:LAST:STEP, as 1:4:0.5, or a list, as 1,1.5,2.7,4; got {text!r}"
    )
  if not 2 <= len(every) <= MOST_SCALES:
    number = "one" if len(every) == 1 else f"more than {MOST_SCALES}"
    raise argparse.ArgumentTypeError(
      f"expected 2 to {MOST_SCALES} magnifications; {text!r} is {number}"
    )
  return sorted(every)


def frames(text: str) -> int:
  """Parses the number of frames of an animation, one way."""
  return _whole(text, 2, MOST_SCALES, "25")


def saturation(text: str) -> float:
  """Parses a strength of colours."""
  return _number(text, 0, 4, "0.8 or 1.3")


def side(text: str) -> int:
  """Parses a side in pixels."""
  return _whole(text, 16, _MOST_SIDE, "512")


def quality(text: str) -> int:
  """Parses a quality of JPEG and WebP."""
  return _whole(text, 1, 100, "90")


def port(text: str) -> int:
  """Of a server."""
  return _whole(text, 1, 65535, "8000")


def jobs(text: str) -> int:
  """At a time."""
  return _whole(text, 1, 1000, "20")


def pixels(text: str) -> int:
  """Parses a number of pixels of a whole picture."""
  return int(_bounded(text, "of pixels, as 2e9", lambda value: 1 <= value <= 1e15))


def white_level(text: str) -> float:
  """Parses the value that stands for white."""
  return _number(text, 1e-6, 1e9, "1023 or 4095")


def step(text: str) -> int | str:
  """Parses a training step, "best" or "last"."""
  if text in ("best", "last"):
    return text
  if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
    raise argparse.ArgumentTypeError(f"expected a step's number, best or last; got {text!r}")
  return int(text)


def size(text: str) -> tuple[int | None, int | None]:
  """Parses `WxH`: (height, width), None for the one left out."""
  match = re.fullmatch(r"(\d{0,9})x(\d{0,9})", text, re.ASCII | re.IGNORECASE)
  sides = [int(side) if side else None for side in match.groups()] if match else [None]
  given = [side for side in sides if side is not None]
  if not given or not all(1 <= side <= _MOST_SIDE for side in given):
    raise argparse.ArgumentTypeError(
      f"expected width x height in pixels from 1 to {_MOST_SIDE}, as 1920x1080, 1920x or x1080; "
      f"got {text!r}"
    )
  return sides[1], sides[0]


def memory(text: str) -> int:
  """Parses bytes, written as 4GB or 512MiB."""
  match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", text.strip(), re.ASCII)
  units = {name.lower(): factor for name, factor in _UNITS.items()}
  factor = units.get(match.group(2).lower()) if match else None
  value = float(match.group(1)) * factor if match and factor else 0.0
  if not _SMALLEST_MEMORY <= value < 1e15:
    raise argparse.ArgumentTypeError(
      f"expected a size from 16MiB on, as 4GB, 4GiB or 512MB; got {text!r}"
    )
  return int(value)
