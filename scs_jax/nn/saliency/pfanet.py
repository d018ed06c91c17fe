"""PFANet (Zhao and Wu, "Pyramid Feature Attention Network for Saliency Detection", CVPR 2019).

As published in Keras, which differs from the paper's text in places: there the spatial attention
looks at the high-level features. Its quirks belong to its weights and stay: BatchNorm uses the
statistics of what it sees at test time too, and RGB has the means of B, G, R subtracted.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.nn.features import vgg16
from scs_jax.nn.features.preprocess import Preprocessing
from scs_jax.ops import check
from scs_jax.ops.sample import resize_bilinear

Array = jax.Array
Params = dict[str, Any]  # of `pfanet_weights.from_arrays`

SIDE = 256  # of the square that the published network sees
RATES = (3, 5, 7)
_TAPS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
_STRIDE = 16  # VGG16 without its last pooling
_EPSILON = 1e-3  # Keras' BatchNormalization

PREPROCESSING = Preprocessing("pfanet", False, 255.0, (103.939, 116.779, 123.68))
_AS_IT_IS = Preprocessing("as it is", False, 1.0, (0.0, 0.0, 0.0))


class Widths(NamedTuple):
  """Channels: of VGG16's blocks, of each branch of the pyramid, of all that follows."""

  vgg16: tuple[int, ...]
  branch: int
  features: int


PUBLISHED = Widths(vgg16.WIDTHS, branch=32, features=64)


class PictureNorm(nn.Module):
  """BatchNorm with the statistics of the picture itself, in training and at test time.

  The published test shows one picture at a time. So does this, whatever the batch: the saliency of
  a picture does not depend on its neighbours, nor on how a batch is spread over devices.
  """

  @nn.compact
  def __call__(self, x: Array) -> Array:
    shape = x.shape[-1:]
    scale = self.param("scale", nn.initializers.ones, shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + _EPSILON) * scale + bias


class ConvNorm(nn.Module):
  """Zero-padded convolution with bias, `PictureNorm`, ReLU."""

  features: int
  kernel: tuple[int, int] = (3, 3)

  @nn.compact
  def __call__(self, x: Array) -> Array:
    x = nn.Conv(self.features, self.kernel, padding="SAME", name="conv")(x)
    return nn.relu(PictureNorm(name="norm")(x))


class PyramidExtraction(nn.Module):
  """Context-aware pyramid feature extraction (Section 3.1) of one block: 4 * `features` channels.

  A 1 x 1 convolution and three 3 x 3 ones at dilation 3, 5, 7, none with bias; `PictureNorm`, ReLU.
  """

  features: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    found = [nn.Conv(self.features, (1, 1), use_bias=False, name="rate_1")(x)]
    for rate in RATES:
      conv = nn.Conv(
        self.features, (3, 3), padding=rate, kernel_dilation=rate, use_bias=False,
        name=f"rate_{rate}",
      )  # fmt: skip
      found.append(conv(x))
    return nn.relu(PictureNorm(name="norm")(jnp.concatenate(found, axis=-1)))


class ChannelAttention(nn.Module):
  """Section 3.2: x times sigmoid(W2 relu(W1 mean(x))), W1 to a quarter of the channels."""

  @nn.compact
  def __call__(self, x: Array) -> Array:
    channels = x.shape[-1]
    weight = nn.relu(nn.Dense(channels // 4, name="squeeze")(x.mean((1, 2))))
    weight = nn.sigmoid(nn.Dense(channels, name="excite")(weight))
    return x * weight[:, None, None, :]


class SpatialAttention(nn.Module):
  """Section 3.3: sigmoid of the sum of (9 x 1 after 1 x 9) and (1 x 9 after 9 x 1) `ConvNorm`s.

  Returns [N, H, W, 1] in [1/2, 1): both summands end in a ReLU.
  """

  kernel: int = 9

  @nn.compact
  def __call__(self, x: Array) -> Array:
    half, along, across = x.shape[-1] // 2, (1, self.kernel), (self.kernel, 1)
    first = ConvNorm(1, across, name="first_1")(ConvNorm(half, along, name="first_0")(x))
    second = ConvNorm(1, along, name="second_1")(ConvNorm(half, across, name="second_0")(x))
    return nn.sigmoid(first + second)


class PFANet(nn.Module):
  """Logits of saliency.

  Attributes:
    widths: the published ones unless a test wants less.
  """

  widths: Widths = PUBLISHED

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Gives logits [N, H, W, 1] of x [N, H, W, 3], preprocessed, H and W multiples of 16."""
    check.require_rank("x", x, 4)
    height, width = x.shape[1:3]
    if height % _STRIDE or width % _STRIDE or not height or not width:
      raise ValueError(
        f"x: PFANet needs sides that are multiples of {_STRIDE}, got {height} x {width}; "
        "resize it first"
      )
    features = self.widths.features
    blocks = vgg16.VGG16(_TAPS, self.widths.vgg16, _AS_IT_IS, name="vgg16")(x)
    c1, c2, *deep = (blocks[tap] for tap in _TAPS)
    c1, c2 = (ConvNorm(features, name=f"side_{i}")(c) for i, c in ((1, c1), (2, c2)))
    pyramid = [
      PyramidExtraction(self.widths.branch, name=f"pyramid_{i}")(c) for i, c in enumerate(deep, 3)
    ]
    c345 = jnp.concatenate([_enlarge(c, pyramid[0].shape) for c in pyramid], axis=-1)
    c345 = ChannelAttention(name="channel_attention")(c345)
    c345 = _enlarge(ConvNorm(features, (1, 1), name="high")(c345), x.shape)
    attention = SpatialAttention(name="spatial_attention")(c345)
    c12 = jnp.concatenate([c1, _enlarge(c2, x.shape)], axis=-1)
    c12 = ConvNorm(features, name="low")(c12) * attention
    return nn.Conv(1, (3, 3), name="saliency")(jnp.concatenate([c12, c345], axis=-1))


def _enlarge(x: Array, shape: tuple[int, ...]) -> Array:
  """Enlarges to the height and width of `shape`, bilinear with aligned corners."""
  return resize_bilinear(x, shape[1:3], align_corners=True)


def predict(params: Params, rgb: Array, widths: Widths = PUBLISHED, side: int = SIDE) -> Array:
  """Predicts saliency as the published code does: the picture padded to a square, of 256 pixels.

  The padding is the mean colour (zero once the mean is subtracted), half on either side. Both
  resizes are bilinear at pixel areas without antialiasing, as OpenCV's.

  Args:
    params: of `pfanet_weights.from_arrays`.
    rgb: float32 [N, H, W, 3] in [0, 1].

  Returns:
    float32 [N, H, W, 1] in [0, 1].
  """
  height, width = rgb.shape[1:3]
  longest = max(height, width)
  top, left = (longest - height) // 2, (longest - width) // 2
  rows, columns = (top, longest - height - top), (left, longest - width - left)
  x = jnp.pad(PREPROCESSING(rgb), ((0, 0), rows, columns, (0, 0)))
  x = resize_bilinear(x, (side, side), align_corners=False)
  saliency = jax.nn.sigmoid(PFANet(widths).apply({"params": params}, x))
  saliency = resize_bilinear(saliency, (longest, longest), align_corners=False)
  return saliency[:, top : top + height, left : left + width]
