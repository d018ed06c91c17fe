"""AlexNet's convolutional part as torchvision has it (Krizhevsky 2014), the backbone of LPIPS alex.

Not the network of 2012: one column, 64-192-384-256-256 channels, no local response normalisation.
"""

import re
from collections.abc import Mapping

import flax.linen as nn
import jax
import numpy as np

from scs_jax.nn.features import files
from scs_jax.nn.features.preprocess import IMAGENET
from scs_jax.ops import check

Array = jax.Array
Params = dict[str, dict[str, np.ndarray]]

LAYERS = TAPS = ("conv1", "conv2", "conv3", "conv4", "conv5")
WIDTHS = (64, 192, 384, 256, 256)
SMALLEST = 31  # pixels a side, for two poolings to find whole windows
_SIDES = (11, 5, 3, 3, 3)
_POOLED_BEFORE = ("conv2", "conv3")
# Position in torchvision's `features`, where ReLU and pooling count too.
INDICES = dict(zip(LAYERS, (0, 3, 6, 8, 10), strict=True))


class AlexNet(nn.Module):
  """Activations after the ReLU of each of the five convolutions, at strides 4, 8, 16, 16, 16.

  The first is 11 x 11 with stride 4 and padding 2; 3 x 3 max pooling with stride 2, unpadded,
  stands before the second and the third. RGB is normalised by ImageNet's mean and deviation.

  Attributes:
    widths: channels of the five; the published ones unless a test wants less.
  """

  widths: tuple[int, ...] = WIDTHS

  @nn.compact
  def __call__(self, rgb: Array) -> dict[str, Array]:
    """Gives float32 NHWC >= 0 by name, conv1 .. conv5, of rgb [N, H, W, 3] in [0, 1]."""
    check.require_rank("rgb", rgb, 4)
    if min(rgb.shape[1:3]) < SMALLEST:
      raise ValueError(
        f"rgb: AlexNet needs images of at least {SMALLEST} x {SMALLEST} pixels, got "
        f"{rgb.shape[1]} x {rgb.shape[2]}; use larger ones"
      )
    x = IMAGENET(rgb)
    found = {}
    for name, width, side in zip(LAYERS, self.widths, _SIDES, strict=True):
      if name in _POOLED_BEFORE:
        x = nn.max_pool(x, (3, 3), strides=(2, 2))
      first = name == LAYERS[0]
      stride, padding = (4, 2) if first else (1, side // 2)
      x = nn.relu(nn.Conv(width, (side, side), strides=stride, padding=padding, name=name)(x))
      found[name] = x
    return found


def from_torchvision(
  arrays: Mapping[str, np.ndarray], widths: tuple[int, ...] = WIDTHS, source: str = "weights"
) -> Params:
  """Parameters from torchvision's names: `features.0.weight` (OIHW), `features.0.bias`, ...

  Args:
    arrays: as `files.read_arrays` gives them; the classifier may be there and is left out.
    widths: as `AlexNet.widths`.
    source: named in errors.

  Raises:
    UserError: names every missing, unknown and wrongly shaped array.
  """
  wanted: dict[str, tuple[int, ...]] = {}
  for name, width, side, channels in zip(LAYERS, widths, _SIDES, (3, *widths[:-1]), strict=True):
    wanted[f"features.{INDICES[name]}.weight"] = (width, channels, side, side)
    wanted[f"features.{INDICES[name]}.bias"] = (width,)
  classifier = re.compile(r"classifier\.\d+\.(weight|bias)")
  known = lambda name: classifier.fullmatch(name) is not None
  found = files.select_arrays(arrays, wanted, known, "torchvision's AlexNet", source)
  return {
    name: {
      "kernel": np.ascontiguousarray(found[f"features.{i}.weight"].transpose(2, 3, 1, 0)),
      "bias": found[f"features.{i}.bias"],
    }
    for name, i in INDICES.items()
  }
