"""The convolutions of the 3-D U-Net (Table I) as a Linen layer over `Volume`."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.methods.cycle_cnn import volume as volumes
from scs_jax.methods.cycle_cnn.volume import Volume
from scs_jax.nn.blocks import HE

Array = jax.Array


class Conv3D(nn.Module):
  """3 x 3 x 3 convolution of a volume; its parameter "kernel" is [3, 3, 3, Cin, features].

  Attributes:
    features: channels of the result.
    stride: 1 or 2; ignored where `transposed`.
    transposed: to twice the size, see `volume.conv3d_transposed`.
    use_bias: a "bias" [features]; of no use where a normalisation follows.
    dtype: of the activations; parameters are float32.
    fold: of the result, see `volume.conv3d`; None: by `platform`.
    platform: "cpu", "gpu", "tpu" or None, the default backend's.
  """

  features: int
  stride: int = 1
  transposed: bool = False
  use_bias: bool = False
  dtype: Any = jnp.float32
  fold: int | None = None
  platform: str | None = None
  kernel_init: Any = HE

  @nn.compact
  def __call__(self, volume: Volume) -> Volume:
    shape = (3, 3, 3, volume.channels, self.features)
    kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
    x = volume.replace(data=volume.data.astype(self.dtype))
    if self.transposed:
      out = volumes.conv3d_transposed(x, kernel, self.fold, self.platform)
    else:
      out = volumes.conv3d(x, kernel, self.stride, self.fold, self.platform)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
      out = out.replace(data=out.data + jnp.tile(bias, out.fold))
    return out
