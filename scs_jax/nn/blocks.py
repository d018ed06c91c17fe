"""Convolution blocks that several methods share."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.ops.convolve import conv_general_dilated

Array = jax.Array

# He initialisation for convolutions that a ReLU follows.
HE = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


class Conv(nn.Module):
  """3 x 3 (by default) convolution that keeps the size, or takes every `stride`-th position.

  Padding is symmetric, so an input of height H gives ceil(H / stride) rows for any H, and even
  and odd sizes see the same geometry (XLA's "SAME" shifts by half a pixel at stride 2).
  """

  features: int
  kernel: int = 3
  stride: int = 1
  gain_to_zero: bool = False  # start as the zero function: for the end of a residual branch
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    pad = self.kernel // 2
    return nn.Conv(
      self.features,
      (self.kernel, self.kernel),
      strides=(self.stride, self.stride),
      padding=((pad, pad), (pad, pad)),
      kernel_init=nn.initializers.zeros if self.gain_to_zero else HE,
      dtype=self.dtype,
      conv_general_dilated=conv_general_dilated,
      name="conv",
    )(x)


class ResidualBlock(nn.Module):
  """Two 3 x 3 convolutions and a skip: the "basic block" of SCSNet, Section 3.

  No normalisation, as in EDSR (Lim et al. 2017), which the paper builds on: batch statistics cost
  range information that super-resolution needs. The second convolution starts at zero, so a deep
  stack starts as the identity and needs no warm-up.
  """

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    y = nn.relu(Conv(self.features, dtype=self.dtype, name="conv_0")(x))
    return x + Conv(self.features, gain_to_zero=True, dtype=self.dtype, name="conv_1")(y)


class ResidualStack(nn.Module):
  """`blocks` residual blocks in a row at constant width and size.

  `remat`: keep only what stands between them for the gradient, and compute the rest again.
  """

  features: int
  blocks: int
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array) -> Array:
    block = nn.remat(ResidualBlock) if self.remat else ResidualBlock
    for i in range(self.blocks):
      x = block(self.features, dtype=self.dtype, name=f"block_{i}")(x)
    return x


def double_size(x: Array, size: tuple[int, int]) -> Array:
  """Upsamples to nearest neighbours by two, cropped to `size`.

  Undoes a stride-2 `Conv`: ceil(H / 2) rows become H again, for odd H as well.

  Args:
    x: [N, h, w, C].
    size: (H, W) with h = ceil(H / 2), w = ceil(W / 2).

  Returns:
    [N, H, W, C].
  """
  n, h, w, c = x.shape
  if (h, w) != (-(-size[0] // 2), -(-size[1] // 2)):
    raise ValueError(f"features of {h} x {w} are not half of {size[0]} x {size[1]}")
  x = jnp.broadcast_to(x[:, :, None, :, None, :], (n, h, 2, w, 2, c))
  return x.reshape(n, 2 * h, 2 * w, c)[:, : size[0], : size[1]]
