"""The points of `scs-jax visualize attention`, and what its figure says in numbers."""

from typing import Any, NamedTuple

import numpy as np
from scipy import ndimage

from scs_jax.methods.scsnet.attention_maps import Level

Size = tuple[int, int]  # (height, width)

_POINTS = 4
_CORNER_SIDE = 256  # pixels a side at which corners are looked for


class Focus(NamedTuple):
  """Holds a row of CMat in numbers.

  Attributes:
    peak: (row, column) of the reference's pixel in the middle of the position of largest weight.
    weight: that weight.
    even: how many times what it were if all positions had the same.
    least: the smallest weight, in the same unit.
    half: share of the reference's positions that have half of the weight together; 0.5 at most.
  """

  peak: tuple[int, int]
  weight: float
  even: float
  least: float
  half: float


def focus(weights: np.ndarray, stride: int, size: tuple[int, int]) -> Focus:
  """Measures one row [Hr, Wr] over a reference of `size` (height, width) pixels."""
  best = np.unravel_index(int(weights.argmax()), weights.shape)
  peak = tuple(min(int(i) * stride + stride // 2, s - 1) for i, s in zip(best, size, strict=True))
  top = float(weights.max())
  falling = np.cumsum(np.sort(weights.astype(np.float64), axis=None)[::-1])
  count = int(np.searchsorted(falling, 0.5 * falling[-1] * (1 - 1e-6))) + 1
  least = float(weights.min()) * weights.size
  return Focus(peak, top, top * weights.size, least, min(count / weights.size, 0.5))


def spread_points(gray: np.ndarray, count: int = _POINTS) -> np.ndarray:
  """Finds up to `count` corners of a picture, the strongest first and none near another.

  Args:
    gray: float32 [H, W] in [0, 1].

  Returns:
    int [P, 2], (row, column); the middle alone where the picture has no corner.
  """
  height, width = gray.shape
  factor = max(1, max(height, width) // _CORNER_SIDE)
  small = ndimage.uniform_filter(gray, factor)[::factor, ::factor].astype(np.float64)
  sides = np.array(small.shape)
  # Over a window that grows with the picture: textured things rather than single specks.
  sigma = max(1.0, max(sides) / 50)
  dy, dx = (ndimage.sobel(small, axis) for axis in (0, 1))
  yy, xx, xy = (ndimage.gaussian_filter(p, sigma) for p in (dy * dy, dx * dx, dy * dx))
  # The smaller eigenvalue of the structure tensor: both directions change.
  strength = (yy + xx) / 2 - np.sqrt(((yy - xx) / 2) ** 2 + xy**2)
  rows, columns = np.mgrid[: sides[0], : sides[1]]
  edge = np.minimum(2 * sigma, (sides - 1) // 2)
  inside = (np.minimum(rows, sides[0] - 1 - rows) >= edge[0]) & (
    np.minimum(columns, sides[1] - 1 - columns) >= edge[1]
  )
  strength = np.where(inside, strength, 0)
  apart, found = float(np.hypot(*sides)) / 5, []
  while len(found) < count and strength.max() > 1e-9:
    y, x = np.unravel_index(int(strength.argmax()), strength.shape)
    found.append((y, x))
    strength = np.where(np.hypot(rows - y, columns - x) < apart, 0, strength)
  if not found:
    return np.array([[height // 2, width // 2]])
  return np.minimum(np.array(found) * factor + (factor - 1) // 2, (height - 1, width - 1))


def moved(points: np.ndarray, size: Size, seen: Size) -> np.ndarray:
  """Moves pixels (row, column) of a picture of `size` to those of it at the size `seen`."""
  return np.minimum(((2 * points + 1) * seen) // (2 * np.array(size)), np.array(seen) - 1)


def describe(
  levels: tuple[Level, ...], points: np.ndarray, lender: Size, reference: Size
) -> dict[str, Any]:
  """Says for a JSON file what the panel shows; pixels as [x, y] of the pictures as given.

  Args:
    points: int [P, 2], (row, column) in the picture as given.
    lender, reference: sizes of the reference as the network sees it, and as given.
  """
  every = []
  for k, (y, x) in enumerate(points):
    rows = []
    for level, seen in enumerate(levels):
      found = focus(seen.weights[k], seen.stride, lender)
      peak = moved(np.array(found.peak), lender, reference)
      row = {
        "level": level + 1,
        "stride": seen.stride,
        "peak": [int(peak[1]), int(peak[0])],
        "peak_weight": found.weight,
        "times_even": found.even,
        "least_times_even": found.least,
        "half_on": found.half,
      }
      if seen.valves is not None:
        v1, v2 = seen.valves[:, seen.at[k][0], seen.at[k][1]]
        row |= {"source_valve": float(v1), "reference_valve": float(v2)}
      rows.append(row)
    every.append({"point": [int(x), int(y)], "levels": rows})
  valves = [
    {
      "level": level + 1,
      **{
        name: {"least": float(v.min()), "mean": float(v.mean()), "most": float(v.max())}
        for name, v in zip(("source_valve", "reference_valve"), seen.valves, strict=True)
      },
    }
    for level, seen in enumerate(levels)
    if seen.valves is not None
  ]
  return {"points": every, "valves": valves}


def lines(points: list[dict]) -> list[str]:
  """Writes `describe`'s points as lines for a terminal."""
  found = []
  for k, point in enumerate(points):
    name = "point {} ({},{})".format(k + 1, *point["point"])
    for row in point["levels"]:
      where = name if row["level"] == 1 else ""
      valves = ""
      if "source_valve" in row:
        valves = f", valves V1 {row['source_valve']:.2f} V2 {row['reference_valve']:.2f}"
      peak = f"{row['peak'][0]},{row['peak'][1]}"
      found.append(
        f"{where:<20} level {row['level']}: most at {peak}, {row['peak_weight']:.2%} "
        f"({row['times_even']:.3g}x even), half on {row['half_on']:.1%}{valves}"
      )
  return found
