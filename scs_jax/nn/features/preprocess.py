"""Preprocessing of published frozen networks, as data that travels with their weights."""

import dataclasses

import jax
import jax.numpy as jnp

from scs_jax.ops import check

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """(scale * x - mean) / std over the channels of x, RGB in [0, 1] or the same reversed to BGR.

  Kept outside the first convolution on purpose: folding a mean into its bias is not exact at
  zero-padded borders. Hashable, so that it can be an attribute of a Linen module.

  Attributes:
    name: how a weight file of ours names it.
    bgr: whether the network reads blue first.
    scale: 1.0 for [0, 1], 255.0 for grey levels.
    mean, std: per channel, in scaled units and in the order the network reads.
  """

  name: str
  bgr: bool
  scale: float
  mean: tuple[float, float, float]
  std: tuple[float, float, float] = (1.0, 1.0, 1.0)

  def __call__(self, rgb: Array) -> Array:
    """Turns rgb [..., 3] in [0, 1], floating, into the network's input, float32 [..., 3]."""
    check.require_channels("rgb", rgb, 3)
    if not jnp.issubdtype(jnp.result_type(rgb), jnp.floating):
      raise ValueError(f"rgb: expected floats in [0, 1], got {rgb.dtype}; divide by 255 first")
    x = rgb.astype(jnp.float32)
    x = x[..., ::-1] if self.bgr else x
    return (x * self.scale - jnp.asarray(self.mean)) / jnp.asarray(self.std)


def layers_up_to(layers: tuple[str, ...], taps: tuple[str, ...]) -> tuple[str, ...]:
  """Lists the layers of a network that are computed for some taps, in order.

  Raises:
    ValueError: no taps, or one that is no layer.
  """
  if not taps or not set(taps) <= set(layers):
    raise ValueError(f"taps: expected names among {', '.join(layers)}, got {taps}")
  return layers[: 1 + max(layers.index(tap) for tap in taps)]


# torchvision's models: statistics of the ImageNet training images in [0, 1].
IMAGENET = Preprocessing("imagenet", False, 1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Simonyan and Zisserman's own VGG weights (Caffe), which Keras converted.
CAFFE_VGG = Preprocessing("caffe_vgg", True, 255.0, (103.939, 116.779, 123.68))
# The mean that the published Caffe SqueezeNet was trained with.
CAFFE_SQUEEZENET = Preprocessing("caffe_squeezenet", True, 255.0, (104.0, 117.0, 123.0))

BY_NAME = {p.name: p for p in (IMAGENET, CAFFE_VGG, CAFFE_SQUEEZENET)}
