"""CSNet-L x2 (Gao et al., "Highly Efficient Salient Object Detection with 100K Parameters", 2020).

Every layer keeps its channels in parts, each part at half the resolution of the one before it
("generalised OctConv"). The published widths are what the authors' pruning left, so they follow no
rule and are a table here. For inference only: `csnet_weights` folds the running statistics.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.nn.features.preprocess import IMAGENET
from scs_jax.ops import check
from scs_jax.ops.sample import resize_bilinear

Array = jax.Array
Parts = tuple[Array, ...]  # [N, H / 2^i, W / 2^i, C_i]
Params = dict[str, Any]  # of `csnet_weights.from_arrays`

SIDE = 224  # of the square that the published configuration shows the network
DILATIONS = (1, 2, 4, 8, 16)
_STRIDE = 16  # stages 2, 3 and 4 halve, and the second part halves once more


class Widths(NamedTuple):
  """Channels of each layer; a tuple has one number a part, from the finest on.

  Attributes:
    stages: by stage and block. The first block of stages 2, 3, 4 halves the resolution; these three
      stages end with one part.
    fused: parts at 1/2, 1/4 and 1/8 where the last blocks of stages 2, 3 and 4 meet.
    dilated: for each of these parts, channels by dilation in `DILATIONS`; 0 where all were pruned.
    head: the single part before the last 1 x 1 convolution.
  """

  stages: tuple[tuple[tuple[int, ...], ...], ...]
  fused: tuple[int, int, int]
  dilated: tuple[tuple[int, ...], ...]
  head: int


CSNET_L_X2 = Widths(
  stages=(
    ((13, 10),),
    ((13, 12), (18, 11), (18, 12)),
    ((28, 21), (34, 22), (31, 29), (51,)),
    ((23, 26), (27, 26), (25, 20), (17, 21), (19, 25), (38,)),
    ((18, 31), (31, 27), (26, 44), (64,)),
  ),
  fused=(17, 38, 32),
  dilated=((2, 1, 2, 2, 1), (0, 6, 6, 7, 5), (0, 1, 3, 7, 7)),
  head=79,
)


class Activation(nn.Module):
  """BatchNorm at its running statistics, folded into scale and bias, then PReLU by channel."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    shape = x.shape[-1:]
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    slope = self.param("slope", nn.initializers.constant(0.25), shape)
    x = x * scale + bias
    return jnp.where(x >= 0, x, slope * x)


def _convolve(x: Array, kernel: Array) -> Array:
  """Convolves at stride 1, zero-padded to the same size; kernel HWIO with an odd side."""
  pad = kernel.shape[0] // 2
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), ((pad, pad), (pad, pad)), dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


class OctaveConv(nn.Module):
  """gOctConv: each part of the result is a sum of convolutions of every part of the input.

  A finer part is max-pooled before its convolution; a coarser one is enlarged (bilinear, pixel
  areas) after it. No bias; the normalisation of `Activation` follows.

  Attributes:
    outputs: channels of the result by part, from the finest on.
    kernel: side, 1 or 3; zero-padded.
    halve: average the input over 2 x 2 positions first (the paper's stride of 2).
  """

  outputs: tuple[int, ...]
  kernel: int = 1
  halve: bool = False

  @nn.compact
  def __call__(self, parts: Parts) -> Parts:
    inputs = np.cumsum([0, *(x.shape[-1] for x in parts)])
    outputs = np.cumsum([0, *self.outputs])
    shape = (self.kernel, self.kernel, int(inputs[-1]), int(outputs[-1]))
    kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
    if self.halve:
      parts = tuple(nn.avg_pool(x, (2, 2), strides=(2, 2)) for x in parts)
    found = []
    for j in range(len(self.outputs)):
      total = 0.0
      for i, x in enumerate(parts):
        if i < j:
          window = (2 ** (j - i),) * 2
          x = nn.max_pool(x, window, strides=window)
        weight = kernel[:, :, inputs[i] : inputs[i + 1], outputs[j] : outputs[j + 1]]
        x = _convolve(x, weight)
        if i > j:
          scale = 2 ** (i - j)
          x = resize_bilinear(x, (x.shape[1] * scale, x.shape[2] * scale), align_corners=False)
        total = total + x
      found.append(Activation(name=f"activation_{j}")(total))
    return tuple(found)


class DepthwiseConv(nn.Module):
  """A 3 x 3 filter for each channel of each part, no bias, then `Activation`.

  Computed as a full convolution whose kernel is diagonal in the channels: few as they are, this
  takes a third of the time that XLA's grouped convolution takes on CPUs, gradient included.
  """

  @nn.compact
  def __call__(self, parts: Parts) -> Parts:
    found = []
    for i, x in enumerate(parts):
      width = x.shape[-1]
      filters = self.param(f"filters_{i}", nn.initializers.lecun_normal(), (3, 3, 1, width))
      found.append(Activation(name=f"activation_{i}")(_convolve(x, filters * jnp.eye(width))))
    return tuple(found)


class Block(nn.Module):
  """The paper's in-layer block: OctConv across parts, then two depthwise convolutions."""

  outputs: tuple[int, ...]
  kernel: int = 1
  halve: bool = False

  @nn.compact
  def __call__(self, parts: Parts) -> Parts:
    parts = OctaveConv(self.outputs, self.kernel, self.halve, name="mix")(parts)
    for i in range(2):
      parts = DepthwiseConv(name=f"depthwise_{i}")(parts)
    return parts


class DilatedConvs(nn.Module):
  """3 x 3 convolutions of one part at several dilations, side by side, then `Activation`."""

  widths: tuple[int, ...]

  @nn.compact
  def __call__(self, x: Array) -> Array:
    found = []
    for width, rate in zip(self.widths, DILATIONS, strict=True):
      if width:
        found.append(
          nn.Conv(
            width, (3, 3), padding=rate, kernel_dilation=rate, use_bias=False, name=f"rate_{rate}"
          )(x)
        )
    return Activation(name="activation")(jnp.concatenate(found, axis=-1))


class CSNet(nn.Module):
  """Logits of saliency.

  Attributes:
    widths: the published ones unless a test wants less.
  """

  widths: Widths = CSNET_L_X2

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Gives logits [N, H, W, 1] of x [N, H, W, 3], ImageNet-normalised, H, W multiples of 16."""
    check.require_rank("x", x, 4)
    height, width = x.shape[1:3]
    if height % _STRIDE or width % _STRIDE or not height or not width:
      raise ValueError(
        f"x: CSNet needs sides that are multiples of {_STRIDE}, got {height} x {width}; "
        "resize it first"
      )
    parts, ends = (x,), []
    for stage, blocks in enumerate(self.widths.stages):
      for i, outputs in enumerate(blocks):
        kernel, halve = geometry(stage, i)
        parts = Block(outputs, kernel, halve, name=f"stage{stage}_{i}")(parts)
      ends.append(parts[0])
    parts = OctaveConv(self.widths.fused, name="fuse")(tuple(ends[2:]))
    parts = tuple(
      DilatedConvs(widths, name=f"dilated_{i}")(part)
      for i, (part, widths) in enumerate(zip(parts, self.widths.dilated, strict=True))
    )
    (head,) = OctaveConv((self.widths.head,), name="head")(parts)
    logits = nn.Conv(1, (1, 1), name="classify")(head)
    return resize_bilinear(logits, (height, width), align_corners=False)


def geometry(stage: int, block: int) -> tuple[int, bool]:
  """Returns (side of the OctConv's kernel, whether it halves) of a block."""
  halve = stage >= 2 and block == 0
  return (3 if halve or stage == 0 else 1), halve


def predict(params: Params, rgb: Array, widths: Widths = CSNET_L_X2, side: int = SIDE) -> Array:
  """Predicts saliency as the published test does: the picture as a square of 224 pixels, then back.

  Both resizes are bilinear at pixel areas without antialiasing. The published test mirrors the half
  pixel beyond the border where it enlarges; here the border's pixel is repeated.

  Args:
    params: of `csnet_weights.from_arrays`.
    rgb: float32 [N, H, W, 3] in [0, 1].

  Returns:
    float32 [N, H, W, 1] in [0, 1].
  """
  x = resize_bilinear(IMAGENET(rgb), (side, side), align_corners=False)
  saliency = jax.nn.sigmoid(CSNet(widths).apply({"params": params}, x))
  return resize_bilinear(saliency, rgb.shape[1:3], align_corners=False)
