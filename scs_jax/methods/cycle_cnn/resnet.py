"""The ResNet that all of Cycle CNN's modules are built on (Table I, Section III-I).

A 5 x 5 convolution, then pairs of 3 x 3 convolutions with the pair's input added to its output,
then, in three of the four, a last 3 x 3 convolution to one channel. BatchNorm and ReLU follow each
convolution unless the table says otherwise. On a TPU neighbouring columns share lanes from the
first convolution to the last pair (nn/folded.py).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.nn import folded
from scs_jax.nn.blocks import HE
from scs_jax.ops.convolve import conv_general_dilated

Array = jax.Array

PAIRS = 8  # 1 + 7 of Table I; Section III-I speaks of 7
# Not stated; TensorFlow's own, which the paper is implemented in (Section IV-B).
MOMENTUM = 0.99
EPSILON = 1e-3

_ACTIVATIONS = {"relu": nn.relu, "sigmoid": nn.sigmoid, "none": lambda x: x}


class ConvNorm(nn.Module):
  """Convolution (zeros beyond the border), BatchNorm, activation: one line of Table I.

  Attributes:
    features: output channels.
    size: side of the kernel.
    norm: whether BatchNorm follows; where it does not, the convolution has a bias.
    activation: "relu", "sigmoid" or "none".
    quiet: start with BatchNorm's scale (without BatchNorm: the kernel) at zero, so that the layer's
      first output is zero.
    fold, fold_in: columns that share lanes in the result and in the input, see nn/folded.py; above
      1 with BatchNorm and not quiet alone.
    dtype: of the activations; parameters and statistics are float32.
    axis_name: device axis that BatchNorm's statistics go over, under pmap.
  """

  features: int
  size: int = 3
  norm: bool = True
  activation: str = "relu"
  quiet: bool = False
  fold: int = 1
  fold_in: int = 1
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    layer = self._folded if self.fold > 1 else self._plain
    return _ACTIVATIONS[self.activation](layer(x, train))

  def _folded(self, x: Array, train: bool) -> Array:
    x = folded.FoldedConv(
      self.features, self.fold, self.fold_in, self.size, False, HE, self.dtype, name="conv"
    )(x)
    norm = folded.FoldedNorm(MOMENTUM, EPSILON, self.dtype, self.axis_name, name="norm")
    return norm(x, self.fold, train)

  def _plain(self, x: Array, train: bool) -> Array:
    zeros = nn.initializers.zeros
    x = nn.Conv(
      self.features,
      (self.size, self.size),
      padding=self.size // 2,
      use_bias=not self.norm,
      kernel_init=zeros if self.quiet and not self.norm else HE,
      dtype=self.dtype,
      conv_general_dilated=conv_general_dilated,
      name="conv",
    )(x)
    if self.norm:
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=MOMENTUM,
        epsilon=EPSILON,
        scale_init=zeros if self.quiet else nn.initializers.ones,
        dtype=self.dtype,
        axis_name=self.axis_name,
        name="norm",
      )(x)
    return x


class Pair(nn.Module):
  """Two layers and the residual connection around them."""

  features: int
  fold: int = 1
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    layer = lambda name: ConvNorm(
      self.features,
      fold=self.fold,
      fold_in=self.fold,
      dtype=self.dtype,
      axis_name=self.axis_name,
      name=name,
    )
    return x + layer("second")(layer("first")(x, train), train)


class ResNet(nn.Module):
  """Table I's ResNet: float [N, H, W, any] -> [N, H, W, features], or out_features if set.

  Attributes:
    features: n.
    pairs: residual pairs.
    out_features: channels of the last layer (layer 18); None: there is none.
    out_norm, out_activation, out_quiet: of that last layer, as in ConvNorm.
    remat: keep only what stands between the pairs for the gradient and compute the rest again.
    dtype, axis_name: as in ConvNorm.
  """

  features: int = 16
  pairs: int = PAIRS
  out_features: int | None = None
  out_norm: bool = True
  out_activation: str = "relu"
  out_quiet: bool = False
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, train: bool = False) -> Array:
    common = {"dtype": self.dtype, "axis_name": self.axis_name}
    pair = nn.remat(Pair, static_argnums=(2,)) if self.remat else Pair
    fold = folded.fold_for(self.features, x.shape[2])
    x = ConvNorm(self.features, size=5, fold=fold, name="layer_1", **common)(x, train)
    for i in range(self.pairs):
      x = pair(self.features, fold, name=f"pair_{i + 1}", **common)(x, train)
    x = folded.unfold(x, fold)
    if self.out_features is None:
      return x
    return ConvNorm(
      self.out_features,
      norm=self.out_norm,
      activation=self.out_activation,
      quiet=self.out_quiet,
      name="last",
      **common,
    )(x, train)

  def reach(self) -> int:
    """Pixels in each direction that a result depends on, with running statistics."""
    return 2 + 2 * self.pairs + (self.out_features is not None)
