"""Where output pixels lie on an input grid, in exact integer arithmetic, and interpolation there.

Sizes are static, so all coordinates are NumPy int64 arrays made while tracing: no float modulo, no
overflow, and the network sees constants.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.ops import check
from scs_jax.ops.resize import apply_separable


class Axis(NamedTuple):
  """Positions lo + frac on an input axis, for each output pixel.

  lo: int32 [out], 0 <= lo < in. frac: float32 [out] in [0, 1); where it is above 0, lo + 1 < in.
  """

  lo: np.ndarray
  frac: np.ndarray


def _axis(numerator: np.ndarray, denominator: int) -> Axis:
  lo, remainder = np.divmod(numerator, denominator)
  return Axis(lo.astype(np.int32), (remainder / denominator).astype(np.float32))


def _grid(in_size: int, out_size: int) -> np.ndarray:
  check.require_size("sizes", (in_size, out_size))
  return np.arange(out_size, dtype=np.int64)


def axis_aligned(in_size: int, out_size: int) -> Axis:
  """Aligns corners: output i lies at i (in - 1) / (out - 1); a single output at 0.

  First and last pixels of both grids coincide. The same as align_corners=True in PyTorch.
  """
  return _axis(_grid(in_size, out_size) * (in_size - 1), max(out_size - 1, 1))


def axis_centers(in_size: int, out_size: int) -> Axis:
  """Aligns pixel areas: output i lies at (i + 1/2) in / out - 1/2, clamped to the input's centres.

  The same as align_corners=False in PyTorch.
  """
  numerator = (2 * _grid(in_size, out_size) + 1) * in_size - out_size
  return _axis(np.clip(numerator, 0, 2 * out_size * (in_size - 1)), 2 * out_size)


def axis_weights(axis: Axis, in_size: int) -> np.ndarray:
  """Makes the matrix of linear interpolation at `axis`: float64 [out, in], rows summing to 1."""
  rows = np.arange(len(axis.lo))
  frac = axis.frac.astype(np.float64)
  weights = np.zeros((len(axis.lo), in_size))
  np.add.at(weights, (rows, axis.lo), 1 - frac)
  np.add.at(weights, (rows, np.minimum(axis.lo + 1, in_size - 1)), frac)
  return weights


def cell_coordinate(in_size: int, out_size: int) -> np.ndarray:
  """Computes SCSNet Eq. 3, z = mod(x, 1 / in) in * 2 - 1, at pixel centres x = (i + 1/2) / out.

  The input axis is cut into `in` cells; z runs from -1 at a cell's left (upper) edge towards +1 at
  its right (lower) one. Cell and remainder come from integers: (2 i + 1) in modulo 2 out.

  Returns:
    float32 [out], in [-1, 1).
  """
  remainder = (2 * _grid(in_size, out_size) + 1) * in_size % (2 * out_size)
  return (remainder / out_size - 1).astype(np.float32)


def cell_coordinate_literal(in_size: int, out_size: int) -> np.ndarray:
  """Computes SCSNet Eq. 3 on the main feature's grid, aligned corners: x = i / (out - 1).

  Taken literally the equation gives -1 at x = 1, where the text says +1: the last value is +1.
  A single output, first and last at once, gets 0, the middle of its cell.

  Returns:
    float32 [out], in [-1, 1]; +1 at the last alone.
  """
  grid = _grid(in_size, out_size)
  if out_size == 1:
    return np.zeros(1, np.float32)
  remainder = grid * in_size % (out_size - 1)
  remainder[-1] = out_size - 1
  return (2 * remainder / (out_size - 1) - 1).astype(np.float32)


def _spatial(x: jax.Array, size: Sequence[int]) -> tuple[jax.Array, tuple[int, int]]:
  x = jnp.asarray(x)
  if x.ndim < 3:
    raise ValueError(f"x: expected [N, H, W, C] or [H, W, C], got shape {x.shape}")
  return x, check.require_size("size", size)


def resize_bilinear(x: jax.Array, size: Sequence[int], align_corners: bool = True) -> jax.Array:
  """Resizes bilinearly without a gather: two products with banded matrices.

  No antialiasing when shrinking. Equal to PyTorch's interpolate(mode="bilinear").

  Args:
    x: [N, H, W, C] or [H, W, C] (more leading axes are free), any range.
    size: (h, w), both from 1, independent of each other.
    align_corners: `axis_aligned` positions, else `axis_centers`.
  Returns:
    [..., h, w, C]; computed in float32, a floating dtype is kept, integers give float32.
  Raises:
    ValueError: fewer than three axes, or a size that is not two positive integers.
  """
  x, (h, w) = _spatial(x, size)
  axis = axis_aligned if align_corners else axis_centers
  height, width = x.shape[-3], x.shape[-2]
  if (h, w) == (height, width):
    return x.astype(x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32)
  return apply_separable(
    x, axis_weights(axis(height, h), height), axis_weights(axis(width, w), width)
  )


def _nearest(x: jax.Array, out_size: int, axis: int, rule: str) -> jax.Array:
  in_size = x.shape[axis]
  if out_size == in_size:
    return x
  if out_size % in_size == 0:
    return jnp.repeat(x, out_size // in_size, axis=axis)
  if in_size % out_size == 0:
    step = in_size // out_size
    start = step // 2 if rule == "centers" else 0
    return jax.lax.slice_in_dim(x, start, in_size, step, axis)
  i = np.arange(out_size, dtype=np.int64)
  index = (2 * i + 1) * in_size // (2 * out_size) if rule == "centers" else i * in_size // out_size
  return jnp.take(x, index, axis=axis, indices_are_sorted=True, mode="clip")


NEAREST = ("centers", "corners")
"""The rules of resize_nearest."""


def resize_nearest(x: jax.Array, size: Sequence[int], rule: str = "centers") -> jax.Array:
  """Nearest neighbour: output i takes input floor((i + 1/2) in / out), or floor(i in / out).

  The first, "centers", is PyTorch's "nearest-exact"; the second, "corners", its plain "nearest",
  which shifts what it enlarges by up to half a pixel. For whole enlargements they are the same.

  Args:
    x: [N, H, W, C] or [H, W, C] (more leading axes are free); any dtype, which is kept.
    size: (h, w), both from 1.
    rule: one of NEAREST.
  """
  x, (h, w) = _spatial(x, size)
  if rule not in NEAREST:
    raise ValueError(f"rule is {rule!r}: expected one of {', '.join(NEAREST)}")
  return _nearest(_nearest(x, h, x.ndim - 3, rule), w, x.ndim - 2, rule)
