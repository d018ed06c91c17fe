"""The joint network (Tables I and II), and one of residual blocks (Sections II and IV)."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.nn.blocks import HE, double_size
from scs_jax.ops import corner

Array = jax.Array
Size = tuple[int, int]

ENCODER = ((64, 2), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2))
"""Table I: (filters, stride) of its 3 x 3 convolutions."""
DECODER = (512, 256, 128, 64, 32, 16, 8)
"""Table II: filters of its 3 x 3 convolutions but the last, which gives a and b."""
SIDE = 96
"""Section III-A: side of the input, in pixels."""
ENLARGING = (8, 16, 32, 64, 128, 256)
"""Side after each of the decoder's first six convolutions, from an input of 96 (ours)."""
KEEPING = (6, 12, 24, 48, 96, 96)
"""The same for colorization alone, whose output is as large as its input (ours)."""
SLOPE = 0.2  # of leaky ReLU; not stated
_WHOLE = corner.Corner()
# Of the last convolution, so that training starts near gray.
_SMALL = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")


def decoder_sizes(size: Size, out_size: Size, schedule: Sequence[int], xp=np) -> list[Size]:
  """Returns (height, width) after each of the decoder's first six convolutions.

  `schedule`, made for an input of 96, times H / 96 and W / 96, half rounded up; nowhere more than
  the size asked for, which is the last. With `xp=jax.numpy` for sizes that are traced.
  """

  def scaled(step: int) -> Size:
    sides = ((2 * step * s + SIDE) // (2 * SIDE) for s in size)
    return tuple(xp.clip(s, 1, out) for s, out in zip(sides, out_size, strict=True))

  return [*map(scaled, schedule[:-1]), tuple(out_size)]


class Unit(nn.Module):
  """Section III-B: a 3 x 3 convolution, BatchNorm, leaky ReLU.

  The convolution has no bias: BatchNorm would take it away again. With `activate` False there is
  no leaky ReLU and the gain starts at zero: the end of a residual branch.
  """

  features: int
  stride: int = 1
  activate: bool = True
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, train: bool, inside: Array | None = None) -> Array:
    x = nn.Conv(
      self.features,
      (3, 3),
      strides=self.stride,
      padding=((1, 1), (1, 1)),
      use_bias=False,
      kernel_init=HE,
      dtype=self.dtype,
      name="conv",
    )(corner.clear(x, inside))
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      epsilon=1e-5,
      scale_init=nn.initializers.ones if self.activate else nn.initializers.zeros,
      axis_name=self.axis_name,
      dtype=self.dtype,
      name="norm",
    )(x)
    return nn.leaky_relu(x, SLOPE) if self.activate else x


def _kept(module: type[nn.Module], remat: bool) -> type[nn.Module]:
  """Makes a module of (x, train); with `remat` one that keeps its input alone for the gradient."""
  return nn.remat(module, static_argnums=(2,)) if remat else module


class EncoderDecoder(nn.Module):
  """Tables I and II: lightness in, a and b out; any sizes.

  Attributes:
    width: factor on all widths but the last; 1 is the report's.
    schedule: sides after the decoder's first six convolutions at an input of 96.
    nearest: rule of the decoder's enlargements, see ops.sample.resize_nearest.
    axis_name: of pmap, so that BatchNorm sees the whole batch.
    dtype: of activations.
    remat: keep only the inputs of units and blocks for the gradient, and compute the rest again.
  """

  width: float = 1.0
  schedule: tuple[int, ...] = ENLARGING
  nearest: str = "centers"
  axis_name: str | None = None
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, lightness: Array, size: Size, train: bool = False, part: corner.Corner = _WHOLE
  ) -> Array:
    """Maps normalised L, [N, H, W, 1], to normalised ab, float32 [N, *size, 2].

    `part` is the corner of both that pictures and results fill, not for training.
    """
    unit = functools.partial(_kept(Unit, self.remat), axis_name=self.axis_name, dtype=self.dtype)
    narrow = lambda filters: max(1, round(self.width * filters))
    x, here = lightness.astype(self.dtype), part.size
    for i, (filters, stride) in enumerate(ENCODER, 1):
      x = unit(narrow(filters), stride, name=f"encoder_{i}")(x, train, corner.mask(x, here))
      here = corner.strided(here, stride)
    shapes = decoder_sizes(lightness.shape[1:3], size, self.schedule)
    sizes = [None] * len(shapes)
    if part.size is not None:
      sizes = decoder_sizes(part.size, part.out or part.size, self.schedule, jnp)
    for i, filters in enumerate(DECODER, 1):
      x = unit(narrow(filters), name=f"decoder_{i}")(x, train, corner.mask(x, here))
      if i <= len(sizes):
        x = corner.resize_nearest(x, shapes[i - 1], here, sizes[i - 1], self.nearest)
        here = sizes[i - 1]
    last = nn.Conv(
      2, (3, 3), padding=((1, 1), (1, 1)), kernel_init=_SMALL, dtype=self.dtype, name="decoder_8"
    )
    return last(corner.clear(x, corner.mask(x, here))).astype(jnp.float32)


class ResidualBlock(nn.Module):
  """SRResNet's: two convolutions with BatchNorm, an activation between them, a skip."""

  features: int
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array, train: bool, inside: Array | None = None) -> Array:
    unit = functools.partial(Unit, self.features, axis_name=self.axis_name, dtype=self.dtype)
    y = unit(name="unit_0")(x, train, inside)
    return x + unit(activate=False, name="unit_1")(y, train, inside)


class ResidualNetwork(nn.Module):
  """Section IV's wishes as a network: residual blocks, a 512-wide middle, L from the input.

  At the input's resolution, SRResNet's (Ledig et al. 2017): a 9 x 9 convolution, residual blocks
  and a long skip. Beside them, for colour, a branch that goes down to an eighth of the size and
  512 channels, and up again with a skip at each size. Then two enlargements, each by the square
  root of the magnification, whatever that is (bilinear; nearest neighbours would jitter at
  factors that are no whole numbers), with a convolution after each. What comes out is added to the
  input enlarged by the bicubic, so that training starts there.

  Without the colour branch (`color_features` empty) it is Section II's network for
  super-resolution alone.

  Attributes:
    features, blocks: at the input's resolution.
    color_features: widths at 1/2, 1/4, 1/8.
    color_blocks: residual blocks at the smallest of them.
    axis_name, dtype, remat: as of EncoderDecoder.
  """

  features: int = 64
  blocks: int = 16
  color_features: tuple[int, ...] = (128, 256, 512)
  color_blocks: int = 4
  axis_name: str | None = None
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(
    self, picture: Array, size: Size, train: bool = False, part: corner.Corner = _WHOLE
  ) -> Array:
    """Maps normalised L to normalised Lab, or RGB in [-1, 1] to the same; [N, *size, 3].

    `part` is the corner of both that pictures and results fill, not for training.
    """
    inside, out = corner.mask(picture, part.size), part.out or part.size
    common = {"axis_name": self.axis_name, "dtype": self.dtype}
    unit, block = _kept(Unit, self.remat), _kept(ResidualBlock, self.remat)
    wide = functools.partial(nn.Conv, kernel_size=(9, 9), padding=((4, 4), (4, 4)))
    first = wide(self.features, kernel_init=HE, dtype=self.dtype, name="first")
    first = first(corner.clear(picture.astype(self.dtype), inside))
    x = first = nn.leaky_relu(first, SLOPE)
    for i in range(self.blocks):
      x = block(self.features, **common, name=f"block_{i}")(x, train, inside)
    x = first + unit(self.features, activate=False, **common, name="blocks_end")(x, train, inside)
    if self.color_features:
      both = jnp.concatenate([x, self._color(first, train, part.size)], axis=-1)
      x = unit(self.features, **common, name="fuse")(both, train, inside)
    middle = tuple(round(math.sqrt(a * b)) for a, b in zip(x.shape[1:3], size, strict=True))
    halfway = None if out is None else tuple(map(_between, part.size, out))
    here = part.size
    for i, (shape, new) in enumerate(((middle, halfway), (size, out))):
      x, here = corner.resize_bilinear(x, shape, here, new), new
      conv = nn.Conv(self.features, (3, 3), kernel_init=HE, dtype=self.dtype, name=f"enlarge_{i}")
      x = nn.leaky_relu(conv(corner.clear(x, corner.mask(x, here))), SLOPE)
    x = corner.clear(x, corner.mask(x, here))
    x = wide(3, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="last")(x)
    start = corner.resize_bicubic(picture.astype(jnp.float32), size, part.size, out)
    if start.shape[-1] == 1:  # gray: a and b start at 0
      start = jnp.pad(start, ((0, 0), (0, 0), (0, 0), (0, 2)))
    return start + x.astype(jnp.float32)

  def _color(self, x: Array, train: bool, here: corner.Size | None) -> Array:
    """Computes the branch for colour: [N, H, W, features], to 1/8 and back."""
    common = {"axis_name": self.axis_name, "dtype": self.dtype}
    unit, block = _kept(Unit, self.remat), _kept(ResidualBlock, self.remat)
    skips = []
    for i, features in enumerate(self.color_features):
      skips.append((x, inside := corner.mask(x, here)))
      x = unit(features, 2, **common, name=f"color_down_{i}")(x, train, inside)
      here = corner.strided(here, 2)
    inside = corner.mask(x, here)
    for i in range(self.color_blocks):
      x = block(self.color_features[-1], **common, name=f"color_block_{i}")(x, train, inside)
    for i, (skip, inside) in reversed(list(enumerate(skips))):
      x = jnp.concatenate([double_size(x, skip.shape[1:3]), skip], axis=-1)
      x = unit(skip.shape[-1], **common, name=f"color_up_{i}")(x, train, inside)
    return x


def _between(a: Array, b: Array) -> Array:
  """Computes the rounded square root of a b in integers: float32 is too coarse for it."""
  root = jnp.sqrt((a * b).astype(jnp.float32)).astype(jnp.int32)
  near = root + jnp.arange(-1, 3)
  # n + 1/2 squared is no integer: the root lies above it where n n + n < a b.
  return root - 1 + (near * near + near < a * b).sum(dtype=jnp.int32)


class Discriminator(nn.Module):
  """SRGAN's: eight 3 x 3 convolutions, every second with stride 2, BatchNorm after all but the
  first, leaky ReLU, two dense layers.

  Ours: a mean over positions stands before the dense layers, so that any size of picture will do.
  Its BatchNorm sees a batch of true or of generated pictures; running averages are never read.
  """

  width: int = 64
  axis_name: str | None = None
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, rgb: Array) -> Array:
    """Scores RGB in [-1, 1], [N, H, W, 3]: float32 logits [N], above 0 for a true picture."""
    conv = functools.partial(nn.Conv, kernel_size=(3, 3), padding=((1, 1), (1, 1)))
    x = conv(self.width, kernel_init=HE, dtype=self.dtype, name="first")(rgb.astype(self.dtype))
    x = nn.leaky_relu(x, SLOPE)
    for i in range(1, 8):
      unit = Unit(
        self.width * 2 ** (i // 2), 1 + i % 2,
        axis_name=self.axis_name, dtype=self.dtype, name=f"unit_{i}",
      )  # fmt: skip
      x = unit(x, True)
    x = x.astype(jnp.float32).mean(axis=(1, 2))
    x = nn.leaky_relu(nn.Dense(16 * self.width, name="dense_0")(x), SLOPE)
    return nn.Dense(1, name="dense_1")(x)[:, 0]
