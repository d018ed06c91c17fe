"""The bicubic resampling of training crops on the device, from the regions that the host sends."""

import jax
import jax.numpy as jnp

from scs_jax.ops.resize import cubic


def resample_regions(regions: jax.Array, places: jax.Array, size: int) -> jax.Array:
  """Resamples a square crop from each region by Keys' bicubic (1981, a = -1/2).

  The kernel is widened where a region shrinks, so that nothing aliases; at a picture's border its
  weights are those of the pixels that are there, normalised. As Pillow does it, rows first and in
  8 bits after each axis. The weights are arrays, so that one compiled program serves every place
  and reduction.

  Args:
    regions: uint8 [N, S, S, 3]; each holds its pixels in the upper left corner, and beyond them
      whatever it likes.
    places: float32 [N, 2, 3], for y and x: the coordinate of the crop's first pixel in the region,
      the step from pixel to pixel (negative: mirrored), and how many of the S rows or columns hold
      pixels. None at all: the crop is black.
    size: side of the crops.

  Returns:
    uint8 [N, size, size, 3].
  """
  rows, columns = (_weights(places[:, axis], regions.shape[1], size) for axis in (0, 1))
  return _apply("nph,nhqc->npqc", rows, _apply("nqw,nhwc->nhqc", columns, regions))


def _apply(equation: str, weights: jax.Array, pixels: jax.Array) -> jax.Array:
  """Applies one axis's matrices to uint8 pixels, and rounds to uint8."""
  product = jax.lax.Precision.HIGHEST  # a TPU's default, bfloat16, is off by a grey level
  values = jnp.einsum(equation, weights, pixels.astype(jnp.float32), precision=product)
  return jnp.clip(jnp.floor(values + 0.5), 0, 255).astype(jnp.uint8)


def _weights(place: jax.Array, side: int, size: int) -> jax.Array:
  """Makes the matrices [N, size, side] of one axis from its places [N, 3]."""
  first, step, held = (place[:, i, None, None] for i in range(3))
  column = jnp.arange(side)
  distance = first + jnp.arange(size)[:, None] * step - column
  weights = cubic(distance / jnp.maximum(jnp.abs(step), 1.0), jnp)
  weights = jnp.where(column < held, weights, 0.0)
  total = weights.sum(axis=2, keepdims=True)
  return weights / jnp.where(total == 0, 1.0, total)
