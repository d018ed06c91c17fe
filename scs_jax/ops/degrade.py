"""From a high-resolution colour picture to the low-resolution one a network is given."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from scs_jax.ops import check
from scs_jax.ops.resize import resize_bicubic


def to_eight_bits(rgb: jax.Array) -> jax.Array:
  """Rounds [0, 1] values to the 256 levels that a stored picture has, clipping overshoot."""
  return jnp.round(jnp.clip(rgb, 0.0, 1.0) * 255.0) / 255.0


def degrade(rgb: jax.Array, size: Sequence[int]) -> jax.Array:
  """Reduces by the bicubic kernel, as SCSNet (Section 4.1) makes LR-HR pairs.

  Equals MATLAB's imresize of doubles, rounded to 8 bits once, at the end. imresize of uint8, as
  public ports of it, clips and rounds after each axis: a tenth of the values then differ, by a few
  levels.

  Args:
    rgb: [N, H, W, C] in [0, 1].
    size: (h, w) of the result.

  Returns:
    float32 [N, h, w, C] in [0, 1], on the 256 levels of an 8-bit picture.
  """
  return to_eight_bits(resize_bicubic(check.to_float(rgb), size))


def degrade_region(rgb: jax.Array, span: jax.Array, size: int) -> jax.Array:
  """Degrades the upper left span x span pixels, where `span` may be traced.

  One compiled program then serves every magnification span / size. The border of the region
  reflects like the border of a picture.

  Args:
    rgb: [N, S, S, C] in [0, 1].
    span: int, size <= span <= S.
    size: side of the result.

  Returns:
    float32 [N, size, size, C] in [0, 1]; equal to degrade(rgb[:, :span, :span], (size, size)).
  """
  weights = _shrink_weights(rgb.shape[1], span, size)
  product = jax.lax.Precision.HIGHEST  # a TPU's default, bfloat16, is off by a grey level
  small = jnp.einsum("ph,nhwc->npwc", weights, check.to_float(rgb), precision=product)
  return to_eight_bits(jnp.einsum("qw,npwc->npqc", weights, small, precision=product))


def _shrink_weights(full: int, span: jax.Array, size: int) -> jax.Array:
  """Puts `resize_weights(span, size)` in the first `span` of `full` columns, zero beyond."""
  scale = span / size
  centre = (jnp.arange(size, dtype=jnp.float32)[:, None] + 0.5) * scale - 0.5
  column = jnp.arange(full)[None, :]
  # A column is reached directly and as its mirror images at both borders; further mirrors lie
  # beyond the kernel's support of two shrunken pixels.
  mirrors = (column, -1 - column, 2 * span - 1 - column)
  weights = sum(_cubic((centre - mirror) / scale) for mirror in mirrors)
  weights = jnp.where(column < span, weights, 0.0)
  return weights / weights.sum(axis=1, keepdims=True)


def _cubic(x: jax.Array) -> jax.Array:
  """Keys 1981 (a = -1/2)."""
  x = jnp.abs(x)
  near = (1.5 * x - 2.5) * x * x + 1
  far = ((-0.5 * x + 2.5) * x - 4) * x + 2
  return jnp.where(x <= 1, near, jnp.where(x <= 2, far, 0.0))
