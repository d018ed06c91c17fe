"""PFANet's weights in the layout in which the authors' Keras code saves them."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from scs_jax.errors import UserError
from scs_jax.nn.features import files, vgg16
from scs_jax.nn.saliency.pfanet import PUBLISHED, RATES, Widths

Params = dict[str, Any]

MISSING_WEIGHTS_HELP = (
  "the salient term on pfanet needs its weights, and the authors publish none: train their Keras "
  "code (github.com/CaitinZhao/cvpr2019_Pyramid-Feature-Attention-Network-for-Saliency-detection) "
  "and give the .h5 that it saves (model.save_weights), or an .npz by the same names, with "
  "--config.loss.salient_file=FILE, take another network with --config.loss.salient_network=NAME, "
  "or switch the term off with --config.loss.salient=0"
)


class _Layer(NamedTuple):
  path: tuple[str, ...]
  name: str  # Keras'
  shapes: dict[str, tuple[int, ...]]  # by Keras' name of the array


_OURS = {"kernel": "kernel", "bias": "bias", "gamma": "scale", "beta": "bias"}


def _layers(widths: Widths) -> Iterator[_Layer]:
  """Tells where each array of the published network belongs."""

  def conv(path, name, height, width, inputs, outputs):
    shapes = {"kernel": (height, width, inputs, outputs), "bias": (outputs,)}
    return _Layer(path, name, shapes)

  def norm(path, name, channels):
    return _Layer(path, name, {"gamma": (channels,), "beta": (channels,)})

  channels = 3
  for layer in vgg16.LAYERS:
    block, i = layer.removeprefix("conv").split("_")
    outputs = widths.vgg16[int(block) - 1]
    yield conv(("vgg16", layer), f"block{block}_conv{i}", 3, 3, channels, outputs)
    channels = outputs
  features, branch = widths.features, widths.branch
  for i, inputs in enumerate(widths.vgg16, 1):
    if i <= 2:
      yield conv((f"side_{i}", "conv"), f"C{i}_conv", 3, 3, inputs, features)
      yield norm((f"side_{i}", "norm"), f"C{i}_BN_BN", features)
      continue
    path, name = f"pyramid_{i}", f"C{i}_cfe"
    yield _Layer((path, "rate_1"), f"{name}_cfe0", {"kernel": (1, 1, inputs, branch)})
    for k, rate in enumerate(RATES, 1):
      shapes = {"kernel": (3, 3, inputs, branch)}
      yield _Layer((path, f"rate_{rate}"), f"{name}_cfe{k}_dilation", shapes)
    yield norm((path, "norm"), f"{name}_BN", 4 * branch)
  wide = 12 * branch
  for part, name, inputs, outputs in (
    ("squeeze", "dense_1", wide, wide // 4),
    ("excite", "dense_2", wide // 4, wide),
  ):
    shapes = {"kernel": (inputs, outputs), "bias": (outputs,)}
    yield _Layer(("channel_attention", part), name, shapes)
  yield conv(("high", "conv"), "C345_conv", 1, 1, wide, features)
  yield norm(("high", "norm"), "C345_BN", features)
  for number, part, first, second in ((1, "first", (1, 9), (9, 1)), (2, "second", (9, 1), (1, 9))):
    for k, kernel, ends in ((0, first, (features, features // 2)), (1, second, (features // 2, 1))):
      path = ("spatial_attention", f"{part}_{k}")
      yield conv((*path, "conv"), f"spatial_attention_{number}_conv{k + 1}", *kernel, *ends)
      yield norm((*path, "norm"), f"attention{number}_{k + 1}_BN", ends[1])
  yield conv(("low", "conv"), "C12_conv", 3, 3, 2 * features, features)
  yield norm(("low", "norm"), "C12_BN", features)
  yield conv(("saliency",), "sa", 3, 3, 2 * features, 1)


# Groups by layer, in each the array's own name: C12_conv/C12_conv/kernel:0. Built a second time in
# one Keras session, the inner name gets a number (C12_conv/C12_conv_1/kernel:0); Keras numbers the
# two dense layers, which have no name, through the session.
_NAME = re.compile(r"([^/]+)/(?:.*/)?([a-z_]+)(?::0)?")
_DENSE = re.compile(r"dense(?:_(\d+))?")


def from_arrays(
  arrays: Mapping[str, np.ndarray], widths: Widths = PUBLISHED, source: str = "weights"
) -> Params:
  """Parameters of `PFANet` from what the authors' model saves: `C12_conv/C12_conv/kernel:0`, ...

  Accepts `model.save_weights` and whole models (`model_weights/...`; then nothing beside that group
  is looked at), as HDF5 or as an .npz by the same names. The moving statistics are left out: the
  published network never uses them.

  Args:
    arrays: as `files.read_arrays` gives them.
    widths: as in `PFANet`.
    source: named in errors.

  Raises:
    UserError: names every missing, unknown and wrongly shaped array.
  """
  prefix = "model_weights/"
  inside = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
  renamed = _canonical(inside or arrays, source)
  if not any(name.startswith(("C12_conv/", "sa/")) for name in renamed):
    raise UserError(
      f"{source}: expected PFANet by the authors' Keras names, got "
      f"{', '.join(list(arrays)[:3])} ...; {MISSING_WEIGHTS_HELP}"
    )
  layers = list(_layers(widths))
  wanted = {f"{la.name}/{part}": shape for la in layers for part, shape in la.shapes.items()}
  unused = {
    f"{la.name}/{part}"
    for la in layers
    if "gamma" in la.shapes
    for part in ("moving_mean", "moving_variance")
  }
  found = files.select_arrays(renamed, wanted, unused.__contains__, "PFANet", source)
  return traverse_util.unflatten_dict(
    {(*la.path, _OURS[part]): found[f"{la.name}/{part}"] for la in layers for part in la.shapes}
  )


def _canonical(arrays: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
  """Renames to `layer/part`, the two dense layers by their order; other names stay as they are."""
  parsed = {name: _NAME.fullmatch(name) for name in arrays}
  numbers = {
    dense[0]: int(dense[1] or 0)
    for match in parsed.values()
    if match and (dense := _DENSE.fullmatch(match[1]))
  }
  order = {layer: f"dense_{i}" for i, layer in enumerate(sorted(numbers, key=numbers.get), 1)}
  renamed: dict[str, np.ndarray] = {}
  for name, array in arrays.items():
    match = parsed[name]
    key = f"{order.get(match[1], match[1])}/{match[2]}" if match else name
    if key in renamed:
      raise UserError(f"{source}: expected one PFANet, got {key} twice; save it on its own")
    renamed[key] = array
  return renamed
