"""The published weights of CSNet-L x2: a PyTorch state dict, its BatchNorm folded for inference."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from scs_jax.errors import UserError
from scs_jax.nn.features import files
from scs_jax.nn.saliency.csnet import CSNET_L_X2, DILATIONS, Widths, geometry

Params = dict[str, Any]

_EPSILON = 1e-5  # PyTorch's BatchNorm, where the authors leave it
# The authors' plain convolutions multiply their stored weights by this; their OctConv does not.
_GAIN = 100.0

MISSING_WEIGHTS_HELP = (
  "the salient term on csnet_l_x2 needs its weights: get CSNet/checkpoints/csnet-L-x2/"
  "csnet-L-x2.pth.tar of github.com/ShangHua-Gao/SOD100K (CC BY-NC-SA 4.0) and give its path, or "
  "that of an .npz by the same names, with --config.loss.salient_file=FILE, or switch the term off "
  "with --config.loss.salient=0"
)


class _Conv(NamedTuple):
  path: tuple[str, ...]  # of the parameter itself
  name: str  # in the file, with ".weight" left out
  shape: tuple[int, int, int, int]  # OIHW


class _Norm(NamedTuple):
  path: tuple[str, ...]
  names: tuple[str, str]  # of the BatchNorm and of the PReLU
  width: int


def _layers(widths: Widths) -> Iterator[_Conv | _Norm]:
  """Tells where each array of the published network belongs."""

  def octave(path, stem, kernel, inputs, outputs):
    yield _Conv((*path, "kernel"), f"{stem}.conv", (sum(outputs), sum(inputs), kernel, kernel))
    yield from norms(path, stem, outputs)

  def norms(path, stem, outputs):
    for i, width in enumerate(outputs):
      yield _Norm((*path, f"activation_{i}"), (f"{stem}.bns.{i}", f"{stem}.prelus.{i}"), width)

  parts: tuple[int, ...] = (3,)
  for stage, blocks in enumerate(widths.stages):
    for i, outputs in enumerate(blocks):
      path, stem = f"stage{stage}_{i}", f"stage{stage}.{i}"
      yield from octave((path, "mix"), f"{stem}.conv1x1", geometry(stage, i)[0], parts, outputs)
      for k in range(2):
        depthwise, theirs = (path, f"depthwise_{k}"), f"{stem}.conv3x3_{k + 1}"
        for j, width in enumerate(outputs):
          yield _Conv((*depthwise, f"filters_{j}"), f"{theirs}.convs.{j}", (width, 1, 3, 3))
        yield from norms(depthwise, theirs, outputs)
      parts = outputs
  ends = [blocks[-1][0] for blocks in widths.stages[2:]]
  yield from octave(("fuse",), "oct_fuse.fuse", 1, ends, widths.fused)
  for i, (inputs, outputs) in enumerate(zip(widths.fused, widths.dilated, strict=True)):
    path, stem = f"dilated_{i}", f"oct_fuse.ms.convs.{i}"
    for j, (width, rate) in enumerate(zip(outputs, DILATIONS, strict=True)):
      if width:
        name = f"{stem}.msconv.{j}"
        yield _Conv((path, f"rate_{rate}", "kernel"), name, (width, inputs, 3, 3))
    yield _Norm((path, "activation"), (f"{stem}.bn", f"{stem}.prelu"), sum(outputs))
  last = [sum(outputs) for outputs in widths.dilated]
  yield from octave(("head",), "oct_fuse.fuse1x1", 1, last, (widths.head,))


_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def from_arrays(
  arrays: Mapping[str, np.ndarray], widths: Widths = CSNET_L_X2, source: str = "weights"
) -> Params:
  """Parameters of `CSNet` from the published state dict: `stage0.0.conv1x1.conv.weight` (OIHW), ...

  Accepts the wrappings `state_dict.` (then nothing beside that entry is looked at) and `module.`.

  Args:
    arrays: as `files.read_arrays` gives them.
    widths: as in `CSNet`.
    source: named in errors.

  Raises:
    UserError: names every missing, unknown and wrongly shaped array.
  """
  for prefix in ("state_dict.", "module."):
    inside = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    arrays = inside or arrays
  if "stage0.0.conv1x1.conv.weight" not in arrays:
    raise UserError(
      f"{source}: expected CSNet-L x2 by the authors' names, got "
      f"{', '.join(list(arrays)[:3])} ...; {MISSING_WEIGHTS_HELP}"
    )
  layers = list(_layers(widths))
  wanted: dict[str, tuple[int, ...]] = {
    "cls_layer.weight": (1, widths.head, 1, 1),
    "cls_layer.bias": (1,),
  }
  for layer in layers:
    if isinstance(layer, _Conv):
      wanted[f"{layer.name}.weight"] = layer.shape
    else:
      norm, prelu = layer.names
      wanted |= {f"{norm}.{part}": (layer.width,) for part in _STATISTICS}
      wanted[f"{prelu}.weight"] = (layer.width,)
  known = lambda name: name.endswith(".num_batches_tracked")
  found = files.select_arrays(arrays, wanted, known, "CSNet-L x2", source)
  flat = {
    ("classify", "kernel"): _hwio(found["cls_layer.weight"]),
    ("classify", "bias"): found["cls_layer.bias"],
  }
  for layer in layers:
    if isinstance(layer, _Conv):
      gain = 1.0 if layer.name.endswith(".conv") else _GAIN
      flat[layer.path] = _hwio(found[f"{layer.name}.weight"]) * np.float32(gain)
    else:
      norm, prelu = layer.names
      scale, bias = _fold(*(found[f"{norm}.{part}"] for part in _STATISTICS), norm, source)
      flat[(*layer.path, "scale")], flat[(*layer.path, "bias")] = scale, bias
      flat[(*layer.path, "slope")] = found[f"{prelu}.weight"]
  return traverse_util.unflatten_dict(flat)


def _hwio(kernel: np.ndarray) -> np.ndarray:
  return np.ascontiguousarray(kernel.transpose(2, 3, 1, 0))


def _fold(weight, bias, mean, variance, name: str, source: str) -> tuple[np.ndarray, np.ndarray]:
  """Computes (scale, bias) that equal weight (x - mean) / sqrt(variance + epsilon) + bias."""
  if variance.min() < 0:
    raise UserError(
      f"{source}: expected variances in {name}.running_var, got {variance.min():g}; "
      "download the file again"
    )
  scale = weight.astype(np.float64) / np.sqrt(variance.astype(np.float64) + _EPSILON)
  return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)
