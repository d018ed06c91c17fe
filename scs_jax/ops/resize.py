"""Bicubic resizing as MATLAB's imresize(A, [h w]) does it, and the separable product it needs."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.ops import check

# A banded matrix is applied in blocks of output rows, each to the inputs under its nonzero columns.
# On two CPU cores this takes a half of the dense product's time for 512 -> 128, three quarters for
# 128 -> 512. Accelerators prefer the dense product until its zeros cost more than further kernels.
_BLOCK_CPU = 64
_BLOCK_ACCELERATOR = 512
_MOST_KEPT = 2**20  # entries of a weight matrix that is kept
_MOST_BLOCKS = 8  # each is a slice and a product to compile


def cubic(x, xp=np):
  """Computes Keys' kernel (1981, a = -1/2) at distances x, by NumPy or `xp=jax.numpy`."""
  x = xp.abs(x)
  near = (1.5 * x - 2.5) * x * x + 1
  far = ((-0.5 * x + 2.5) * x - 4) * x + 2
  return xp.where(x <= 1, near, xp.where(x <= 2, far, 0.0))


@functools.lru_cache(maxsize=64)
def _resize_weights(in_size: int, out_size: int, antialias: bool) -> np.ndarray:
  scale = out_size / in_size
  shrink = min(scale, 1.0) if antialias else 1.0
  support = 4.0 / shrink
  centre = (np.arange(out_size) + 0.5) / scale - 0.5
  first = np.floor(centre - support / 2).astype(np.int64)
  taps = first[:, None] + np.arange(math.ceil(support) + 2)
  values = cubic((centre[:, None] - taps) * shrink)
  values /= values.sum(axis=1, keepdims=True)
  # Symmetric reflection, the edge pixel repeated, as often as a wide kernel on a small image asks.
  index = taps % (2 * in_size)
  index = np.where(index < in_size, index, 2 * in_size - 1 - index)
  weights = np.zeros((out_size, in_size))
  np.add.at(weights, (np.arange(out_size)[:, None], index), values)
  weights.setflags(write=False)
  return weights


def resize_weights(in_size: int, out_size: int, antialias: bool = True) -> np.ndarray:
  """Makes the matrix of a bicubic resize of one axis, as MATLAB's imresize builds it.

  Keys' kernel (a = -1/2) at u = (i + 1/2) / scale - 1/2, scale = out_size / in_size; widened by
  1 / scale when shrinking with `antialias`; rows normalised to 1, indices beyond the border
  reflected symmetrically.

  Returns:
    float64 [out_size, in_size], read-only, each row summing to 1.
  """
  check.require_size("sizes", (in_size, out_size))
  # Kept for what is asked for again and again; the matrices of large pictures would fill memory.
  build = _resize_weights if in_size * out_size <= _MOST_KEPT else _resize_weights.__wrapped__
  return build(int(in_size), int(out_size), bool(antialias))


def _product(x: jax.Array, weights: np.ndarray, axis: int) -> jax.Array:
  letters = "abcdefgh"[: x.ndim]
  spec = f"z{letters[axis]},{letters}->{letters.replace(letters[axis], 'z')}"
  # HIGHEST: by default a TPU multiplies in bfloat16, which is off by a grey level and more.
  return jnp.einsum(spec, weights.astype(x.dtype), x, precision=jax.lax.Precision.HIGHEST)


def _blocked(x: jax.Array, weights: np.ndarray, axis: int) -> jax.Array:
  out_size = weights.shape[0]
  block = _BLOCK_CPU if jax.default_backend() == "cpu" else _BLOCK_ACCELERATOR
  block = max(block, -(-out_size // _MOST_BLOCKS))
  if min(weights.shape) <= block:
    return _product(x, weights, axis)
  pieces = []
  for start in range(0, out_size, block):
    rows = weights[start : start + block]
    columns = np.flatnonzero(rows.any(axis=0))
    low, high = (int(columns[0]), int(columns[-1]) + 1) if columns.size else (0, 1)
    pieces.append(_product(jax.lax.slice_in_dim(x, low, high, axis=axis), rows[:, low:high], axis))
  return jnp.concatenate(pieces, axis=axis)


def apply_weights(x: jax.Array, weights: np.ndarray, axis: int) -> jax.Array:
  """Computes y[.., o, ..] = sum_i weights[o, i] x[.., i, ..] along `axis`, weights static, banded.

  Large matrices are cut into blocks of output rows, each of which multiplies only the slice of
  `x` under its nonzero columns: no gather, and less work than the dense product. Differentiable in
  reverse mode, any number of times; not in forward mode.

  Args:
    x: [...]; the product is taken in float32 at least.
    weights: [out, in], NumPy: known when tracing.
    axis: the axis of `x`, of size `in`.
  Returns:
    float32, the shape of `x` with `out` in place of `in`.
  """
  x = check.to_float(x)
  axis %= x.ndim
  if x.shape[axis] != weights.shape[1]:
    raise ValueError(
      f"weights: expected {x.shape[axis]} columns for axis {axis}, got shape {weights.shape}"
    )

  # The transpose is banded too: applying it in blocks halves the time of a gradient against the
  # pads and sums that the transposes of the slices would be.
  @jax.custom_vjp
  def apply(x: jax.Array) -> jax.Array:
    return _blocked(x, weights, axis)

  def forward(x: jax.Array) -> tuple[jax.Array, None]:
    return apply(x), None

  def backward(_, cotangent: jax.Array) -> tuple[jax.Array]:
    return (apply_weights(cotangent, weights.T, axis),)

  apply.defvjp(forward, backward)
  return apply(x)


def apply_separable(x: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
  """Applies `rows` [h, H] and `columns` [w, W] to x [..., H, W, C], the cheaper order first.

  The result does not depend on the order, up to rounding. A floating dtype is kept, though the
  products are taken in float32; integers give float32, not rounded.
  """
  dtype = x.dtype if jnp.issubdtype(x.dtype, jnp.floating) else jnp.float32
  (h, height), (w, width) = rows.shape, columns.shape
  # Multiplications of the dense products; the first axis to be reduced pays for the other.
  rows_first = h * height * width + h * w * width <= w * width * height + h * height * w
  order = ((rows, -3), (columns, -2)) if rows_first else ((columns, -2), (rows, -3))
  for weights, axis in order:
    x = apply_weights(x, weights, axis)
  return x.astype(dtype)


def resize_bicubic(x: jax.Array, size: Sequence[int], antialias: bool = True) -> jax.Array:
  """Resizes bicubically, equal to MATLAB's imresize(A, [h w]) on doubles, borders included.

  `jax.image.resize(..., "cubic")` agrees inside, but drops and renormalises the taps beyond the
  border, where MATLAB reflects the image.

  Args:
    x: [N, H, W, C] or [H, W, C] (more leading axes are free), any range. Results can overshoot it.
    size: (h, w), both from 1; the scale of each axis is the ratio of the sizes.
    antialias: widen the kernel when shrinking, as MATLAB does by default.
  Returns:
    [..., h, w, C]; computed in float32, a floating dtype is kept, integers give float32.
  Raises:
    ValueError: fewer than three axes, or a size that is not two positive integers.
  """
  x = jnp.asarray(x)
  if x.ndim < 3:
    raise ValueError(f"x: expected [N, H, W, C] or [H, W, C], got shape {x.shape}")
  h, w = check.require_size("size", size)
  return apply_separable(
    x, resize_weights(x.shape[-3], h, antialias), resize_weights(x.shape[-2], w, antialias)
  )
