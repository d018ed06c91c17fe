"""The base, Zhang et al. 2017's regression network, with attention in its blocks (Figure 1).

Ten blocks of convolutions and ReLUs at full, half, quarter and an eighth of the size and back,
three shortcuts, a BatchNorm at the end of each block but the last. Published with four input
channels (L, an ab hint and its mask) it has 34,051,074 parameters; SMSANet gives it L alone.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.methods.smsanet.attention import make_attention
from scs_jax.nn.blocks import HE
from scs_jax.ops import check, corner
from scs_jax.ops.color import AB_MAX
from scs_jax.ops.convolve import conv_general_dilated

Array = jax.Array

L_CENTRE, L_SCALE = 50.0, 100.0
# The last layer starts small, so that training starts near gray instead of at random colours.
_QUIET = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")


class BlockSpec(NamedTuple):
  """One block: its convolutions 3 x 3, their width and dilation, and what stands around them."""

  features: int
  convs: int
  dilation: int = 1
  shortcut: int = 0  # the block whose output is added before it, which also doubles the size


# The encoder, then the three blocks that each begin with a transposed convolution.
BLOCKS: dict[int, BlockSpec] = {
  1: BlockSpec(64, 2),
  2: BlockSpec(128, 2),
  3: BlockSpec(256, 3),
  4: BlockSpec(512, 3),
  5: BlockSpec(512, 3, dilation=2),
  6: BlockSpec(512, 3, dilation=2),
  7: BlockSpec(512, 3),
  8: BlockSpec(256, 2, shortcut=3),
  9: BlockSpec(128, 1, shortcut=2),
  10: BlockSpec(128, 1, shortcut=1),
}
HALVED = (2, 3, 4)  # blocks that take every second pixel of what they are given
LAST = 10  # ends in LeakyReLU 0.2 without BatchNorm
# Where attention stands in a block: between its last ReLU and its BatchNorm, or after both.
PLACES = ("after_relu", "after_norm")


def scaled(features: int, width: float) -> int:
  """Channels of a layer that is published with `features`, at a width multiplier."""
  return max(1, round(features * width))


class Block(nn.Module):
  """Convolutions with a ReLU each, then BatchNorm; LeakyReLU 0.2 and no BatchNorm in the last."""

  features: int
  convs: int
  dilation: int = 1
  last: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    x: Array,
    train: bool = False,
    attention: Callable[[Array, Array | None], Array] | None = None,
    inside: Array | None = None,
  ) -> Array:
    """Maps [N, H, W, C] to [N, H, W, `features`]; `attention` stands before the BatchNorm."""
    for i in range(self.convs):
      x = nn.Conv(
        self.features,
        (3, 3),
        padding=self.dilation,
        kernel_dilation=self.dilation,
        kernel_init=HE,
        dtype=self.dtype,
        conv_general_dilated=conv_general_dilated,
        name=f"conv_{i}",
      )(corner.clear(x, inside))
      x = nn.leaky_relu(x, 0.2) if self.last else nn.relu(x)
    if attention is not None:
      x = attention(x, inside)
    if self.last:
      return x
    return nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      epsilon=1e-5,
      dtype=self.dtype,
      axis_name=self.axis_name,
      name="norm",
    )(x)


class DoublingConv(nn.Module):
  """A transposed convolution, 4 x 4, stride 2, padding 1, as an ordinary one: twice the size.

  Even and odd output rows (columns) each see two input rows: four kernels 2 x 2, whose results are
  interleaved. The same numbers as `nn.ConvTranspose` with the same kernel [4, 4, in, out], whose
  gradient took ten times as long on a CPU (1.1 s against 0.12 s for 16 maps of 32 x 32 x 32).
  """

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    n, h, w, c = x.shape
    kernel = self.param("kernel", HE, (4, 4, c, self.features)).astype(self.dtype)
    bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
    # Row 2 i + a of the result takes rows a and a + 2 of the kernel, and input rows from i - 1 + a.
    kernel = kernel.reshape(2, 2, 2, 2, c, self.features).transpose(0, 2, 4, 1, 3, 5)
    kernel = kernel.reshape(2, 2, c, 4 * self.features)
    # Padded before: with a padding of its own, this kernel's gradient is slow on CPUs too.
    x = jnp.pad(x.astype(self.dtype), ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = jax.lax.conv_general_dilated(
      x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    y = y.reshape(n, h + 1, w + 1, 2, 2, self.features)
    rows = [jnp.stack([y[:, a : a + h, b : b + w, a, b] for b in (0, 1)], axis=3) for a in (0, 1)]
    return jnp.stack(rows, axis=2).reshape(n, 2 * h, 2 * w, self.features) + bias


class Colorizer(nn.Module):
  """The base with attention: normalised L (and hint) to ab.

  Every reader of a block's output, a shortcut included, reads what came of the block's attention.
  Any size: taking every second pixel leaves ceil(H / 2) of H, and a transposed convolution's
  result is cut to the size of the shortcut that it meets. Sizes that 8 divides lose nothing, so
  there the network is the published one.

  Attributes:
    width: multiplies all channel counts; 1 is published.
    attention: "smsa", "cbam", "senet" or "none".
    attention_blocks: numbers of the blocks that have it.
    attention_place: one of `PLACES`; the last block, which has no BatchNorm, knows no difference.
    scales, reduction, start: see attention.py.
    dtype: of activations; the result is float32.
    axis_name: the axis that batch statistics are taken over, under pmap.
    remat: keep only what stands between the blocks for the gradient, and compute the rest again.
  """

  width: float = 1.0
  attention: str = "smsa"
  attention_blocks: Sequence[int] = tuple(BLOCKS)
  attention_place: str = PLACES[0]
  scales: int = 4
  reduction: int = 16
  start: float = 0.5
  dtype: Any = jnp.float32
  axis_name: str | None = None
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array, train: bool = False, inside: Array | None = None) -> Array:
    """Predicts the chroma.

    Args:
      x: `lightness_input` [N, H, W, 1] or `base_input` [N, H, W, 4].
      train: use the batch's statistics, and update the running ones ("batch_stats").
      inside: bool [1, H, W, 1], True in the corner that the pictures fill (ops/corner.py); None:
        everywhere. Not for training, whose statistics would count what is outside.

    Returns:
      ab, float32 [N, H, W, 2] in (-110, 110).
    """
    check.require_rank("x", x, 4)
    x, seen = x.astype(self.dtype), {}
    for number, spec in BLOCKS.items():
      if number in HALVED:
        x, inside = x[:, ::2, ::2], None if inside is None else inside[:, ::2, ::2]
      if spec.shortcut:
        shortcut, around = seen[spec.shortcut]
        x, inside = self._join(number, corner.clear(x, inside), shortcut, around), around
      x = self._stage(number, train, inside)(self, x)
      seen[number] = x, inside
    x = nn.Conv(2, (1, 1), kernel_init=_QUIET, dtype=self.dtype, name="output")(x)
    return AB_MAX * jnp.tanh(x.astype(jnp.float32))

  def _stage(self, number: int, train: bool, inside: Array | None):
    """Makes (self, features) -> those after a block with its attention."""

    def stage(self, x: Array) -> Array:
      block, attention = self._block(number), self._attention(number)
      if attention is None or self.attention_place == "after_relu":
        return block(x, train, attention, inside)
      return attention(block(x, train, None, inside), inside)

    return nn.remat(stage) if self.remat else stage

  def _block(self, number: int) -> Block:
    spec = BLOCKS[number]
    return Block(
      scaled(spec.features, self.width),
      spec.convs,
      spec.dilation,
      number == LAST,
      self.dtype,
      self.axis_name,
      name=f"block_{number}",
    )

  def _join(self, number: int, x: Array, shortcut: Array, inside: Array | None) -> Array:
    """Doubles the size: a transposed convolution 4 x 4, plus the shortcut's 3 x 3, and a ReLU."""
    features = scaled(BLOCKS[number].features, self.width)
    up = DoublingConv(features, self.dtype, name=f"up_{number}")(x)
    short = nn.Conv(
      features,
      (3, 3),
      padding=1,
      kernel_init=HE,
      dtype=self.dtype,
      conv_general_dilated=conv_general_dilated,
      name=f"short_{number}",
    )(corner.clear(shortcut, inside))
    return nn.relu(up[:, : short.shape[1], : short.shape[2]] + short)

  def _attention(self, number: int) -> nn.Module | None:
    if number not in self.attention_blocks:
      return None
    make = functools.partial(make_attention, self.attention, self.reduction, self.scales)
    return make(self.start, self.dtype, f"attention_{number}")


def lightness_input(lightness: Array) -> Array:
  """Gives what SMSANet sees: (L - 50) / 100, [N, H, W, 1] in [-0.5, 0.5], from L in [0, 100]."""
  check.require_channels("lightness", lightness, 1)
  return (lightness - L_CENTRE) / L_SCALE


def base_input(
  lightness: Array,
  hint: Array | None = None,
  mask: Array | None = None,
  mask_centre: float = 0.0,
) -> Array:
  """Gives what the published base sees; without a hint it colours automatically.

  Args:
    lightness: L [N, H, W, 1] in [0, 100].
    hint: ab [N, H, W, 2] at the positions of the mask, 0 elsewhere.
    mask: [N, H, W, 1], 1 where there is a hint.
    mask_centre: taken off the mask, a property of a weight file: 0, or 0.5 where it was centred.

  Returns:
    [N, H, W, 4]: (L - 50) / 100, ab / 110, mask - mask_centre.
  """
  hint = jnp.zeros((*lightness.shape[:3], 2)) if hint is None else hint
  mask = jnp.zeros_like(lightness) if mask is None else mask
  return jnp.concatenate([lightness_input(lightness), hint / AB_MAX, mask - mask_centre], axis=-1)
