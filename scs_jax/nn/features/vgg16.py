"""VGG16's convolutional part (Simonyan and Zisserman 2015, configuration D) as a frozen network.

phi_l in SCSNet's Eq. 6 is "the activation map extracted at the convl_1 layer": read as the output
after that layer's ReLU, for l = 1 .. 5.

Two sets of weights are published. torchvision's were trained on RGB in [0, 1] normalised by mean
and standard deviation; Keras' are the authors' Caffe weights, for BGR in grey levels minus a mean:
inputs some 57 times larger, so that activations, and with them a loss weight, have another scale.
An importer therefore returns the parameters together with the preprocessing that they need.
"""

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.errors import UserError
from scs_jax.nn import folded
from scs_jax.nn.features import files, preprocess
from scs_jax.nn.features.preprocess import BY_NAME, CAFFE_VGG, IMAGENET, Preprocessing
from scs_jax.ops import check

Array = jax.Array
Params = dict[str, dict[str, np.ndarray]]

WIDTHS = (64, 128, 256, 512, 512)
TAPS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
LAYERS = tuple(f"conv{b}_{i}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1))

MISSING_WEIGHTS_HELP = (
  "the perceptual term needs VGG16 weights: get torchvision's vgg16-397923af.pth (models.vgg16, "
  "IMAGENET1K_V1) or Keras' vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 and give its path "
  "with --config.loss.perceptual_file=FILE, or switch the term off with --config.loss.perceptual=0"
)


class VGG16(nn.Module):
  """Activations phi_l of SCSNet's Eq. 6: after the ReLU of each layer in `taps`.

  Nothing beyond the deepest tap is computed or given parameters. Convolutions are 3 x 3 and
  zero-padded; each block after the first starts with 2 x 2 max pooling, so conv5_1 needs 16 x 16
  pixels.

  Attributes:
    taps: names among `LAYERS`, in any order.
    widths: channels of the five blocks; the published ones unless a test wants less.
    preprocessing: as the importer of the weights returned it.
    dtype: of the activations inside; the results are float32.
  """

  taps: tuple[str, ...] = TAPS
  widths: tuple[int, ...] = WIDTHS
  preprocessing: Preprocessing = IMAGENET
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, rgb: Array) -> dict[str, Array]:
    """Gives, by tap, float32 [N, H / 2^b, W / 2^b, C] >= 0, of rgb [N, H, W, 3] in [0, 1]."""
    layers = preprocess.layers_up_to(LAYERS, self.taps)
    check.require_rank("rgb", rgb, 4)
    least = 2 ** (_block(layers[-1]))
    if min(rgb.shape[1:3]) < least:
      raise ValueError(
        f"rgb: {layers[-1]} of VGG16 needs images of at least {least} x {least} pixels, got "
        f"{rgb.shape[1]} x {rgb.shape[2]}; use larger crops or fewer taps"
      )
    x = self.preprocessing(rgb).astype(self.dtype)
    found, in_pairs = {}, False
    for name in layers:
      block, features = _block(name), self.widths[_block(name)]
      if block > 0 and name.endswith("_1"):
        x = folded.max_pool(x) if in_pairs else nn.max_pool(x, (2, 2), strides=(2, 2))
      if in_pairs := block == 0 and folded.fold_for(features, rgb.shape[2]) > 1:
        fold_in = 1 if name == layers[0] else 2
        x = folded.FoldedConv(features, 2, fold_in, dtype=self.dtype, name=name)(x)
      else:
        x = nn.Conv(features, (3, 3), padding=1, dtype=self.dtype, name=name)(x)
      x = nn.relu(x)
      if name in self.taps:
        found[name] = (folded.unfold(x, 2) if in_pairs else x).astype(jnp.float32)
    return found


def _block(layer: str) -> int:
  """Returns 0 .. 4, which is also how often the size was halved before that layer."""
  return int(layer[4]) - 1


def _kernel_shapes(last: str, widths: tuple[int, ...]) -> dict[str, tuple[int, int, int, int]]:
  """Lists the HWIO shape of each layer's kernel, up to and with `last`."""
  shapes, channels = {}, 3
  for name in preprocess.layers_up_to(LAYERS, (last,)):
    shapes[name] = (3, 3, channels, widths[_block(name)])
    channels = widths[_block(name)]
  return shapes


def _torchvision_indices() -> dict[str, int]:
  """Lists each convolution's position in torchvision's `features`: ReLUs and poolings count too."""
  indices, at = {}, 0
  for name in LAYERS:
    at += int(name.endswith("_1") and _block(name) > 0)
    indices[name] = at
    at += 2
  return indices


def from_torchvision(
  arrays: Mapping[str, np.ndarray],
  widths: tuple[int, ...] = WIDTHS,
  last: str = TAPS[-1],
  source: str = "weights",
) -> tuple[Params, Preprocessing]:
  """Parameters from torchvision's names: `features.0.weight` (OIHW), `features.0.bias`, ...

  Accepts the whole model, its `features` alone (`0.weight`), the wrappings `state_dict.`,
  `model_state_dict.` (then nothing beside that entry is looked at) and `module.`.

  Args:
    arrays: as `files.read_arrays` gives them.
    widths: channels of the five blocks.
    last: the deepest layer wanted; later ones and the classifier may be there and are left out.
    source: named in errors.

  Raises:
    UserError: BatchNorm variant, or missing, unknown or wrongly shaped arrays.
  """
  arrays = _unwrap(arrays, ("state_dict.", "model_state_dict."))
  arrays = _unwrap(arrays, ("module.",))
  if any(name.endswith("running_mean") for name in arrays):
    raise UserError(
      f"{source}: expected VGG16 without BatchNorm, got running statistics (vgg16_bn?); use "
      "torchvision's vgg16-397923af.pth"
    )
  stem = "features." if any(name.startswith("features.") for name in arrays) else ""
  indices = _torchvision_indices()
  shapes = _kernel_shapes(last, widths)
  wanted: dict[str, tuple[int, ...]] = {}
  for name, (h, w, c_in, c_out) in shapes.items():
    wanted[f"{stem}{indices[name]}.weight"] = (c_out, c_in, h, w)
    wanted[f"{stem}{indices[name]}.bias"] = (c_out,)
  numbers = "|".join(str(i) for i in indices.values())
  left_out = re.compile(rf"{re.escape(stem)}({numbers})\.(weight|bias)|classifier\.\d+\.\w+")
  found = files.select_arrays(
    arrays, wanted, lambda name: left_out.fullmatch(name) is not None, "torchvision's VGG16", source
  )
  params = {
    name: {
      "kernel": np.ascontiguousarray(found[f"{stem}{indices[name]}.weight"].transpose(2, 3, 1, 0)),
      "bias": found[f"{stem}{indices[name]}.bias"],
    }
    for name in shapes
  }
  return params, IMAGENET


def _unwrap(
  arrays: Mapping[str, np.ndarray], prefixes: tuple[str, ...]
) -> Mapping[str, np.ndarray]:
  """Selects the entries below the first of `prefixes` that occurs, without it; all if none does."""
  for prefix in prefixes:
    inside = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    if inside:
      return inside
  return arrays


# Keras 1 wrote block1_conv1/block1_conv1_W_1:0 (the published file), Keras 2 block1_conv1/kernel:0
# one or two groups deep; a VGG16 inside another model has that model's groups in front.
_KERAS_NAME = re.compile(
  r"(?:.*/)?block([1-5])_conv([1-3])(?:/.*)?[/_](kernel|bias|W|b)(?:_\d+)?(?::0)?"
)
_KERAS_CLASSIFIER = re.compile(r"(?:.*/)?(?:fc1|fc2|predictions)/.*")


def from_keras(
  arrays: Mapping[str, np.ndarray],
  widths: tuple[int, ...] = WIDTHS,
  last: str = TAPS[-1],
  source: str = "weights",
) -> tuple[Params, Preprocessing]:
  """Parameters from Keras' names: `block1_conv1/block1_conv1/kernel:0` (HWIO) and the like.

  Accepts what `save_weights` and the published files hold, and whole models (`model_weights/...`;
  then nothing beside that group is looked at). Arguments and errors as in `from_torchvision`.
  """
  arrays = _unwrap(arrays, ("model_weights/",))
  renamed: dict[str, np.ndarray] = {}
  for name, array in arrays.items():
    match = _KERAS_NAME.fullmatch(name)
    if match:
      part = "kernel" if match[3] in ("kernel", "W") else "bias"
      key = f"block{match[1]}_conv{match[2]}/{part}"
      if key in renamed:
        raise UserError(f"{source}: expected one VGG16, got {key} twice; save it on its own")
      renamed[key] = array
    elif not _KERAS_CLASSIFIER.fullmatch(name):
      renamed[name] = array
  theirs = {layer: layer.replace("conv", "block").replace("_", "_conv") for layer in LAYERS}
  wanted: dict[str, tuple[int, ...]] = {}
  for layer, shape in _kernel_shapes(last, widths).items():
    wanted[f"{theirs[layer]}/kernel"] = shape
    wanted[f"{theirs[layer]}/bias"] = shape[-1:]
  later = {f"{name}/{part}" for name in theirs.values() for part in ("kernel", "bias")}
  found = files.select_arrays(renamed, wanted, later.__contains__, "Keras' VGG16", source)
  params = {
    layer: {part: found[f"{theirs[layer]}/{part}"] for part in ("kernel", "bias")}
    for layer in _kernel_shapes(last, widths)
  }
  return params, CAFFE_VGG


def _from_ours(
  arrays: Mapping[str, np.ndarray], widths: tuple[int, ...], last: str, source: str
) -> tuple[Params, Preprocessing]:
  """Reads what `save_npz` wrote."""
  name = str(arrays["preprocessing"])
  if name not in BY_NAME:
    raise UserError(
      f"{source}: expected a preprocessing among {', '.join(BY_NAME)}, got {name[:40]!r}; "
      "save the file again"
    )
  wanted: dict[str, tuple[int, ...]] = {}
  for layer, shape in _kernel_shapes(last, widths).items():
    wanted[f"{layer}/kernel"] = shape
    wanted[f"{layer}/bias"] = shape[-1:]
  later = {f"{layer}/{part}" for layer in LAYERS for part in ("kernel", "bias")}
  later.add("preprocessing")
  found = files.select_arrays(arrays, wanted, later.__contains__, "VGG16", source)
  params: Params = {}
  for key, array in found.items():
    layer, part = key.split("/")
    params.setdefault(layer, {})[part] = array
  return params, BY_NAME[name]


def from_arrays(
  arrays: Mapping[str, np.ndarray],
  widths: tuple[int, ...] = WIDTHS,
  last: str = TAPS[-1],
  source: str = "weights",
) -> tuple[Params, Preprocessing]:
  """Parameters from any layout that is known here, told by the names. Else as the importers."""
  if "preprocessing" in arrays:
    return _from_ours(arrays, widths, last, source)
  if any(_KERAS_NAME.fullmatch(name) for name in arrays):
    return from_keras(arrays, widths, last, source)
  if any(re.fullmatch(r"(?:.*\.)?\d+\.(weight|bias)", name) for name in arrays):
    return from_torchvision(arrays, widths, last, source)
  raise UserError(
    f"{source}: expected VGG16 by torchvision's or Keras' names, got "
    f"{', '.join(list(arrays)[:3])} ...; {MISSING_WEIGHTS_HELP}"
  )


def load_vgg16(
  path: str | os.PathLike[str] | None, widths: tuple[int, ...] = WIDTHS, last: str = TAPS[-1]
) -> tuple[Params, Preprocessing]:
  """Parameters for `VGG16` and the preprocessing they need, from a file the user brings.

  Args:
    path: torchvision state dict, Keras HDF5, `.safetensors`, or `.npz`, also of `save_npz`.
    widths: channels of the five blocks.
    last: the deepest layer wanted.

  Returns:
    ({"conv1_1": {"kernel": float32 HWIO, "bias": float32}, ...}, preprocessing).

  Raises:
    UserError: no path, no such file, a damaged one, or one that is not VGG16.
  """
  arrays = files.read_given(path, "VGG16", MISSING_WEIGHTS_HELP)
  return from_arrays(arrays, widths, last, os.fspath(path))


def save_npz(
  path: str | os.PathLike[str], params: Mapping[str, Any], preprocessing: Preprocessing
) -> None:
  """Writes `params` as `conv1_1/kernel`, ... and the preprocessing's name; whole or not at all.

  Raises:
    UserError: the folder is missing, full or not writable.
  """
  flat = {f"{layer}/{part}": np.asarray(a) for layer, p in params.items() for part, a in p.items()}
  target = os.fspath(path)
  partial = f"{target}.{os.getpid()}.partial"
  try:
    with open(partial, "wb") as file:
      np.savez(file, preprocessing=np.array(preprocessing.name), **flat)
    os.replace(partial, target)
  except OSError as error:
    with contextlib.suppress(OSError):
      os.remove(partial)
    raise UserError(
      f"{target}: cannot be written ({error.strerror}); choose a folder with room and permission"
    ) from error
