"""The discriminator that SCSNet is trained against."""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array


class PatchDiscriminator(nn.Module):
  """A spectrally normalised PatchGAN on normalised Lab (the paper does not describe its own).

  4 x 4 convolutions, widths doubling from `width` up to eight times it, stride 2 except for the
  last two, LeakyReLU 0.2: with layers = 3 the 70 x 70 PatchGAN of Isola et al. 2017. Spectral
  normalisation after Miyato et al. 2018, one power iteration at each discriminator update; its
  vectors live in the collection "batch_stats".
  """

  width: int = 64
  layers: int = 3
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, lab: Array, update_stats: bool = False) -> Array:
    """Scores normalised Lab [N, H, W, 3]: float32 [N, h, w, 1], one a patch."""
    conv = functools.partial(nn.Conv, kernel_size=(4, 4), padding=((1, 1), (1, 1)))
    x = lab.astype(self.dtype)
    for i in range(self.layers + 1):
      features = self.width * min(2**i, 8)
      stride = 2 if i < self.layers else 1
      layer = conv(features, strides=stride, dtype=self.dtype, name=f"conv_{i}")
      x = nn.leaky_relu(_spectral(layer, i)(x, update_stats=update_stats), 0.2)
    last = conv(1, dtype=self.dtype, name=f"conv_{self.layers + 1}")
    return _spectral(last, self.layers + 1)(x, update_stats=update_stats).astype(jnp.float32)


def _spectral(layer: nn.Module, index: int) -> nn.SpectralNorm:
  return nn.SpectralNorm(layer, name=f"norm_{index}")
