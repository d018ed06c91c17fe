"""A picture of any size in the corner of an array of fixed shape: one program for many sizes.

Rows and columns beyond the picture hold anything. A network gives what it gives for the picture
alone, to rounding, where each of its convolutions sees zeros there, each mean and maximum leaves
them out, and each resize goes by the picture's own size. Sizes are int32 scalars that are known
only when the program runs; where they multiply to less than 2^30, nothing overflows. A size of None
is that of the whole array, known beforehand: a network is written once for both.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from scs_jax.ops import resize, sample

Array = jax.Array
Size = tuple[Array, Array]
Shape = tuple[int, int]

_LEAST_SCALE = 0.5  # of `resize_bicubic`
_REACH = round(2 / _LEAST_SCALE)  # pixels to either side that its widened kernel reaches


class Corner(NamedTuple):
  """Sizes of a picture, and of the result that is asked for.

  Attributes:
    size: (height, width) of the picture, which begins at its array's first row and column; None:
      it is the whole array, and so is the result.
    out: that of the result, in the corner of another array; None: the picture's own.
  """

  size: Size | None = None
  out: Size | None = None


def mask(x: Array, size: Size | None) -> Array | None:
  """Masks x [N, H, W, C]: bool [1, H, W, 1], True for the first rows and columns by `size`.

  None where `size` is.
  """
  if size is None:
    return None
  rows, columns = (jnp.arange(n) < s for n, s in zip(x.shape[1:3], size, strict=True))
  return (rows[:, None] & columns[None, :])[None, :, :, None]


def strided(size: Size | None, stride: int) -> Size | None:
  """Returns the size of which every `stride`-th row and column is left, from the first on."""
  return None if size is None else tuple(-(-s // stride) for s in size)


def clear(x: Array, inside: Array | None) -> Array:
  """Zeroes x [N, H, W, C] where `inside` (bool [1, H, W, 1]) is False; None: x as it is."""
  return x if inside is None else jnp.where(inside, x, jnp.zeros((), x.dtype))


def mean(x: Array, inside: Array | None, cleared: bool = False) -> Array:
  """Averages over the positions inside (None: all), [N, H, W, C] -> float32 [N, C].

  `cleared`: x is 0 elsewhere, and need not be cleared for it.
  """
  x = x.astype(jnp.float32)
  if inside is None:
    return x.mean(axis=(1, 2))
  return (x if cleared else clear(x, inside)).sum(axis=(1, 2)) / inside.sum()


def _resample(x: Array, axis: int, index: Array, weight: Array) -> Array:
  """Computes y[.., o, ..] = sum_t weight[o, t] x[.., index[o, t], ..] along an axis, float32."""
  shape = [-1 if i == axis else 1 for i in range(x.ndim)]
  take = lambda t: jnp.take(x, index[:, t], axis=axis, mode="clip").astype(jnp.float32)
  return sum(weight[:, t].reshape(shape) * take(t) for t in range(index.shape[1]))


def _positions(length: int, old: Array | int, new: Array | int) -> tuple[Array, Array]:
  """Splits (i + 1/2) old / new - 1/2, i < length, into a whole part and a rest in [0, 1)."""
  low, rest = jnp.divmod((2 * jnp.arange(length) + 1) * old - new, 2 * new)
  return low, rest / jnp.float32(2 * new)


def resize_nearest(
  x: Array, shape: Shape, size: Size | None, new: Size | None, rule: str = sample.NEAREST[0]
) -> Array:
  """Computes ops.sample.resize_nearest of a picture of `size` to `new`, as [N, *shape, C]."""
  if size is None:
    return sample.resize_nearest(x, shape, rule)
  for axis, (length, old, now) in enumerate(zip(shape, size, new, strict=True), 1):
    i = jnp.arange(length)
    index = (2 * i + 1) * old // (2 * now) if rule == "centers" else i * old // now
    x = jnp.take(x, jnp.minimum(index, old - 1), axis=axis, mode="clip")
  return x


def resize_bilinear(x: Array, shape: Shape, size: Size | None, new: Size | None) -> Array:
  """Computes ops.sample.resize_bilinear by pixel areas, likewise; a floating dtype is kept."""
  if size is None:
    return sample.resize_bilinear(x, shape, align_corners=False)
  dtype = x.dtype
  for axis, (length, old, now) in enumerate(zip(shape, size, new, strict=True), 1):
    low, rest = _positions(length, old, now)
    index = jnp.clip(jnp.stack([low, low + 1], axis=1), 0, old - 1)
    x = _resample(x, axis, index, jnp.stack([1 - rest, rest], axis=1))
  return x.astype(dtype)


def resize_bicubic(x: Array, shape: Shape, size: Size | None, new: Size | None) -> Array:
  """Computes ops.resize.resize_bicubic, likewise; `new` is at least half of `size`, x float32."""
  if size is None:
    return resize.resize_bicubic(x, shape)
  for axis, (length, old, now) in enumerate(zip(shape, size, new, strict=True), 1):
    low, rest = _positions(length, old, now)
    near = jnp.arange(1 - _REACH, _REACH + 1)
    weight = resize.cubic((rest[:, None] - near) * jnp.minimum(now / jnp.float32(old), 1.0), jnp)
    # The edge pixel repeated, as often as a wide kernel on a small picture asks.
    index = (low[:, None] + near) % (2 * old)
    index = jnp.where(index < old, index, 2 * old - 1 - index)
    x = _resample(x, axis, index, weight / weight.sum(axis=1, keepdims=True))
  return x
