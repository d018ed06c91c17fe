"""SqueezeNet 1.0 (Iandola et al. 2016) as a frozen feature network, small enough for two CPU cores.

A configuration that uses it instead of VGG16 in SCSNet's Eq. 6 departs from the paper and names it.
The taps follow the same idea as the paper's conv{l}_1: the first activation at each resolution.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.errors import UserError
from scs_jax.nn.features import files, preprocess
from scs_jax.nn.features.preprocess import CAFFE_SQUEEZENET, IMAGENET, Preprocessing
from scs_jax.ops import check

Array = jax.Array
Params = dict[str, Any]

LAYERS = ("conv1", *(f"fire{i}" for i in range(2, 10)))
TAPS = ("conv1", "fire2", "fire5", "fire9")
CONV1_WIDTH = 96
# (squeeze, expand) of fire2 .. fire9; a fire module has 2 * expand channels.
FIRE_WIDTHS = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))
_POOLED_AFTER = ("conv1", "fire4", "fire8")

MISSING_WEIGHTS_HELP = (
  "the SqueezeNet perceptual term needs weights: give an .npz by Caffe layer name (conv1/w, "
  "fire2/conv1x1_1/w, ...; OIHW) or torchvision's squeezenet1_0-b66bff10.pth with "
  "--config.loss.perceptual_file=FILE, or switch the term off with --config.loss.perceptual=0"
)


class Fire(nn.Module):
  """concat(ReLU(1 x 1), ReLU(3 x 3)) of a 1 x 1 "squeeze" with ReLU. [N, h, w, 2 * expand]."""

  squeeze: int
  expand: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    x = nn.relu(nn.Conv(self.squeeze, (1, 1), dtype=self.dtype, name="squeeze")(x))
    one = nn.Conv(self.expand, (1, 1), dtype=self.dtype, name="expand1")(x)
    three = nn.Conv(self.expand, (3, 3), padding=1, dtype=self.dtype, name="expand3")(x)
    return nn.relu(jnp.concatenate([one, three], axis=-1))


class SqueezeNet(nn.Module):
  """Activations of SqueezeNet 1.0 after the ReLU of each layer in `taps`, where Eq. 6 has VGG16's.

  conv1 is 7 x 7, stride 2, without padding; 3 x 3 max pooling, stride 2, follows conv1, fire4 and
  fire8 and counts a last, partial window, as Caffe does. So conv1 has about H / 2 rows, fire2 .. 4
  H / 4, fire5 .. 8 H / 8, fire9 H / 16. Nothing beyond the deepest tap is computed.

  Attributes:
    taps: names among `LAYERS`, in any order.
    conv1_width, fire_widths: channels; the published ones unless a test wants less.
    preprocessing: as the importer of the weights returned it.
    dtype: of the activations inside; the results are float32.
  """

  taps: tuple[str, ...] = TAPS
  conv1_width: int = CONV1_WIDTH
  fire_widths: tuple[tuple[int, int], ...] = FIRE_WIDTHS
  preprocessing: Preprocessing = CAFFE_SQUEEZENET
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, rgb: Array) -> dict[str, Array]:
    """Gives float32 NHWC >= 0 by tap, of rgb [N, H, W, 3] in [0, 1], 21 pixels a side at least."""
    layers = preprocess.layers_up_to(LAYERS, self.taps)
    check.require_rank("rgb", rgb, 4)
    if min(rgb.shape[1:3]) < 21:
      raise ValueError(
        f"rgb: SqueezeNet needs images of at least 21 x 21 pixels, got {rgb.shape[1]} x "
        f"{rgb.shape[2]}; use larger crops"
      )
    x = self.preprocessing(rgb).astype(self.dtype)
    found = {}
    for i, name in enumerate(layers):
      if i == 0:
        conv = nn.Conv(
          self.conv1_width, (7, 7), strides=2, padding="VALID", dtype=self.dtype, name=name
        )
        x = nn.relu(conv(x))
      else:
        if layers[i - 1] in _POOLED_AFTER:
          x = max_pool_ceil(x)
        squeeze, expand = self.fire_widths[i - 1]
        x = Fire(squeeze, expand, dtype=self.dtype, name=name)(x)
      if name in self.taps:
        found[name] = x.astype(jnp.float32)
    return found


def max_pool_ceil(x: Array) -> Array:
  """Pools 3 x 3 by stride 2 in Caffe's ceil mode: a partial window at the end counts.

  Args:
    x: [N, h, w, C] with h, w >= 2.

  Returns:
    [N, ceil((h - 3) / 2) + 1, ceil((w - 3) / 2) + 1, C].
  """
  # A row is missing at the end exactly if the size is even; nn.max_pool pads with -inf.
  pads = [(0, 1 - size % 2) for size in x.shape[1:3]]
  return nn.max_pool(x, (3, 3), strides=(2, 2), padding=pads)


def _kernel_shapes(
  last: str, conv1_width: int, fire_widths: tuple[tuple[int, int], ...]
) -> dict[tuple[str, ...], tuple[int, int, int, int]]:
  """Lists the OIHW shape by path into the parameters, up to and with layer `last`."""
  layers = preprocess.layers_up_to(LAYERS, (last,))
  shapes: dict[tuple[str, ...], tuple[int, int, int, int]] = {("conv1",): (conv1_width, 3, 7, 7)}
  channels = conv1_width
  for name, (squeeze, expand) in zip(layers[1:], fire_widths, strict=False):
    shapes[name, "squeeze"] = (squeeze, channels, 1, 1)
    shapes[name, "expand1"] = (expand, squeeze, 1, 1)
    shapes[name, "expand3"] = (expand, squeeze, 3, 3)
    channels = 2 * expand
  return shapes


_CAFFE_PARTS = {"squeeze": "conv1x1_1", "expand1": "conv1x1_2", "expand3": "conv3x3_2"}
_TORCHVISION_PARTS = {"squeeze": "squeeze", "expand1": "expand1x1", "expand3": "expand3x3"}
# Position in torchvision's `features`, where ReLU and pooling count too.
_TORCHVISION_INDICES = dict(zip(LAYERS, (0, 3, 4, 5, 7, 8, 9, 10, 12), strict=True))


def _caffe_names(path: tuple[str, ...]) -> tuple[str, str]:
  stem = "/".join((path[0], *(_CAFFE_PARTS[part] for part in path[1:])))
  return f"{stem}/w", f"{stem}/b"


def _torchvision_names(path: tuple[str, ...]) -> tuple[str, str]:
  parts = (str(_TORCHVISION_INDICES[path[0]]), *(_TORCHVISION_PARTS[part] for part in path[1:]))
  stem = ".".join(("features", *parts))
  return f"{stem}.weight", f"{stem}.bias"


def from_arrays(
  arrays: Mapping[str, np.ndarray],
  conv1_width: int = CONV1_WIDTH,
  fire_widths: tuple[tuple[int, int], ...] = FIRE_WIDTHS,
  last: str = TAPS[-1],
  source: str = "weights",
) -> tuple[Params, Preprocessing]:
  """Parameters from Caffe's layer names (`fire2/conv1x1_1/w`) or torchvision's; both are OIHW.

  Args:
    arrays: as `files.read_arrays` gives them.
    conv1_width, fire_widths: as in `SqueezeNet`.
    last: the deepest layer wanted; later ones and the classifier may be there and are left out.
    source: named in errors.

  Returns:
    (parameters with HWIO kernels, preprocessing: BGR grey levels minus (104, 117, 123) for Caffe's,
    ImageNet-normalised RGB for torchvision's).

  Raises:
    UserError: names every missing, unknown and wrongly shaped array.
  """
  if "conv1/w" in arrays:
    names, preprocessing = _caffe_names, CAFFE_SQUEEZENET
    classifier = re.compile(r"conv_final/[wb]")
  elif "features.0.weight" in arrays:
    names, preprocessing = _torchvision_names, IMAGENET
    classifier = re.compile(r"classifier\.1\.(weight|bias)")
  else:
    raise UserError(
      f"{source}: expected SqueezeNet 1.0 by Caffe's or torchvision's names, got "
      f"{', '.join(list(arrays)[:3])} ...; {MISSING_WEIGHTS_HELP}"
    )
  shapes = _kernel_shapes(last, conv1_width, fire_widths)
  wanted: dict[str, tuple[int, ...]] = {}
  for path, shape in shapes.items():
    weight, bias = names(path)
    wanted[weight], wanted[bias] = shape, shape[:1]
  later = {n for path in _kernel_shapes(LAYERS[-1], conv1_width, fire_widths) for n in names(path)}
  found = files.select_arrays(
    arrays,
    wanted,
    lambda name: name in later or classifier.fullmatch(name) is not None,
    "SqueezeNet 1.0",
    source,
  )
  params: Params = {}
  for path in shapes:
    weight, bias = names(path)
    node = params
    for part in path:
      node = node.setdefault(part, {})
    node["kernel"] = np.ascontiguousarray(found[weight].transpose(2, 3, 1, 0))
    node["bias"] = found[bias]
  return params, preprocessing


def load_squeezenet(
  path: str | os.PathLike[str] | None, last: str = TAPS[-1]
) -> tuple[Params, Preprocessing]:
  """Parameters for `SqueezeNet` and the preprocessing they need, from a file the user brings.

  Raises:
    UserError: no path, no such file, a damaged one, or one that is not SqueezeNet 1.0.
  """
  arrays = files.read_given(path, "SqueezeNet", MISSING_WEIGHTS_HELP)
  return from_arrays(arrays, last=last, source=os.fspath(path))
