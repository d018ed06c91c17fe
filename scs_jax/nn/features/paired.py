"""Convolutions of 64 channels on a TPU: two neighbouring columns share its 128 lanes.

A TPU pads the last axis to 128 lanes, so that maps of 64 channels take twice their size of its
memory and a quarter of its matrix unit. Here [N, H, W, C] is [N, H, W / 2, 2 C], and the kernel
becomes one over pairs of columns, with zeros where a column sees none of the other. The sums are
the same.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.ops import platform

Array = jax.Array

LANES = 128


def suits(width: int, channels: int) -> bool:
  """Tells whether maps of this width and so many channels are best kept so."""
  return platform.target() == "tpu" and width % 2 == 0 and 2 * channels <= LANES


class PairedConv(nn.Module):
  """A 3 x 3 convolution with zeros beyond the border, parameters as nn.Conv's.

  Attributes:
    features: C, channels of the result.
    paired: whether the input has its columns in pairs already.
    dtype: of the result.
  """

  features: int
  paired: bool
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[N, H, W, Cin], or in pairs [N, H, W / 2, 2 Cin] -> [N, H, W / 2, 2 C]."""
    columns = 2 if self.paired else 1  # in one position of the input
    channels = x.shape[-1] // columns
    shape = (3, 3, channels, self.features)
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    # Of the columns that the window of a pair holds, each of the two sees the three around it.
    window = 6 if self.paired else 4
    first = (window - 4) // 2
    spread = [
      jnp.pad(kernel, ((0, 0), (first + i, window - 3 - first - i), (0, 0), (0, 0))) for i in (0, 1)
    ]
    wide = jnp.concatenate(spread, axis=-1)
    wide = wide.reshape(3, window // columns, columns * channels, 2 * self.features)
    out = jax.lax.conv_general_dilated(
      x.astype(self.dtype),
      wide.astype(self.dtype),
      (1, 2 // columns),
      ((1, 1), (1, 1)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return out + jnp.tile(bias, 2).astype(self.dtype)


def apart(x: Array) -> Array:
  """Gives [N, H, W / 2, 2 C] as [N, H, W, C]."""
  n, h, w, lanes = x.shape
  return x.reshape(n, h, 2 * w, lanes // 2)


def max_pool(x: Array) -> Array:
  """Pools 2 x 2 positions of a map in pairs: [N, H, W / 2, 2 C] -> [N, H / 2, W / 2, C].

  Where several are largest, the gradient is the first's, as in nn.max_pool.
  """
  left, right = jnp.split(x, 2, axis=-1)
  return nn.max_pool(jnp.where(left >= right, left, right), (2, 1), strides=(2, 1))
