"""Texts of flags to numbers in their ranges: argparse types, whose errors say what is expected."""

import argparse
import math
import re

_SMALLEST_MEMORY = 16 << 20
_UNITS = {"": 1, "B": 1} | {
  prefix + suffix: base**power
  for power, prefix in enumerate("KMGT", 1)
  for suffix, base in (("B", 1000), ("iB", 1024))
}
_MOST_SIDE = 1 << 17


def _number(text: str, low: float, high: float, examples: str) -> float:
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not low <= value <= high:  # so that nan is refused as well
    raise argparse.ArgumentTypeError(
      f"expected a number from {low:g} to {high:g}, as {examples}; got {text!r}"
    )
  return value


def _whole(text: str, low: int, high: int, examples: str) -> int:
  if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
    raise argparse.ArgumentTypeError(
      f"expected a whole number from {low} to {high}, as {examples}; got {text!r}"
    )
  return int(text)


def scale(text: str) -> float:
  """Factor on each side."""
  return _number(text, 0.01, 100, "2 or 3.7")


def saturation(text: str) -> float:
  """Strength of colours."""
  return _number(text, 0, 4, "0.8 or 1.3")


def side(text: str) -> int:
  """Pixels."""
  return _whole(text, 16, _MOST_SIDE, "512")


def quality(text: str) -> int:
  """Of JPEG and WebP."""
  return _whole(text, 1, 100, "90")


def port(text: str) -> int:
  """Of a server."""
  return _whole(text, 1, 65535, "8000")


def jobs(text: str) -> int:
  """At a time."""
  return _whole(text, 1, 1000, "20")


def pixels(text: str) -> int:
  """Of a whole picture."""
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not 1 <= value <= 1e15:
    raise argparse.ArgumentTypeError(f"expected a number of pixels, as 2e9; got {text!r}")
  return int(value)


def white_level(text: str) -> float:
  """The value that is white."""
  return _number(text, 1e-6, 1e9, "1023 or 4095")


def step(text: str) -> int | str:
  """A training step, "best" or "last"."""
  if text in ("best", "last"):
    return text
  if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
    raise argparse.ArgumentTypeError(f"expected a step's number, best or last; got {text!r}")
  return int(text)


def size(text: str) -> tuple[int | None, int | None]:
  """`WxH` -> (height, width); None for the one left out."""
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
  """Bytes, of a text such as 4GB or 512MiB."""
  match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", text.strip(), re.ASCII)
  units = {name.lower(): factor for name, factor in _UNITS.items()}
  factor = units.get(match.group(2).lower()) if match else None
  value = float(match.group(1)) * factor if match and factor else 0.0
  if not _SMALLEST_MEMORY <= value < 1e15:
    raise argparse.ArgumentTypeError(
      f"expected a size from 16MiB on, as 4GB, 4GiB or 512MB; got {text!r}"
    )
  return int(value)
