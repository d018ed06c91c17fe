"""Cuts pictures of any size into square tiles of a few sizes: geometry on NumPy arrays."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Span(NamedTuple):
  """One tile along one axis: it starts at `start` and answers for pixels low .. high - 1."""

  start: int
  low: int
  high: int


def spans(size: int, tile: int, halo: int) -> list[Span]:
  """Places tiles along an axis of `size` pixels, overlapping by 2 `halo`; one if it fits whole.

  At the picture's own ends a tile needs no halo. The last one may hang over the end.
  """
  if size <= tile:
    return [Span(0, 0, size)]
  core = tile - 2 * halo
  count = math.ceil((size - tile) / core) + 1
  found = [Span(k * core, k * core + halo, k * core + tile - halo) for k in range(count)]
  found[0] = found[0]._replace(low=0)
  found[-1] = found[-1]._replace(high=size)
  return found


def best_tile(ladder: Sequence[int], size: tuple[int, int], halo: int, align: int) -> int | None:
  """Finds the tile side that computes the fewest pixels for a picture; None where none is usable.

  A tile smaller than the picture has to be larger than its halos.
  """
  cost = {}
  for tile in ladder:
    if max(size) <= tile or tile >= 2 * halo + align:
      cost[tile] = math.prod(len(spans(s, tile, halo)) * tile for s in size)
  return min(cost, key=lambda tile: (cost[tile], tile)) if cost else None


def window(x: np.ndarray, span: tuple[Span, Span], stride: int, tile: int) -> np.ndarray:
  """Cuts a tile's part [1, tile / stride, tile / stride, C] of a map [h, w, C]; 0 beyond it."""
  side = tile // stride
  top, left = (s.start // stride for s in span)
  part = x[top : top + side, left : left + side]
  if part.shape[:2] == (side, side):
    return part[None]
  out = np.zeros((1, side, side, x.shape[-1]), x.dtype)
  out[0, : part.shape[0], : part.shape[1]] = part
  return out


def kept(span: Span, stride: int) -> tuple[slice, slice]:
  """Returns (what of the map a tile answers for, where that is in the tile), at a stride."""
  low, high, start = span.low // stride, -(-span.high // stride), span.start // stride
  return slice(low, high), slice(low - start, high - start)


def pooling(size: tuple[int, int], most: int) -> int:
  """Returns the smallest power of two that averages a map to at most `most` positions."""
  factor = 1
  while math.prod(-(-s // factor) for s in size) > most:
    factor *= 2
  return factor


def mean_pool(x: np.ndarray, factor: int) -> np.ndarray:
  """Averages [h, w, C] over factor x factor positions, at the ends over what is there."""
  for axis in (0, 1):
    starts = np.arange(0, x.shape[axis], factor)
    counts = np.minimum(x.shape[axis] - starts, factor)
    shape = [1, 1, 1]
    shape[axis] = len(starts)
    total = np.add.reduceat(x.astype(np.float32), starts, axis=axis)
    x = (total / counts.reshape(shape).astype(np.float32)).astype(x.dtype)
  return x


def pixel_runs(low: np.ndarray, span: Span, most: int) -> list[tuple[int, int]]:
  """Cuts output pixels that begin in a tile's own input pixels, in runs of at most `most`.

  Args:
    low: rising int [P], the input pixel that each output pixel begins at.
  """
  first, last = np.searchsorted(low, (span.low, span.high))
  return [(i, min(i + most, int(last))) for i in range(int(first), int(last), most)]
