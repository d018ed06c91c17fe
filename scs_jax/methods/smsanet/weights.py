"""Weights of Zhang et al. 2017's network: from the published PyTorch state dict to a network here.

`from_published` renames and turns arrays; `automatic` makes of them SMSANet's base as it is trained
and used here, which sees L alone.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from scs_jax.core import config as configs
from scs_jax.core.contract import TrainState
from scs_jax.errors import UserError
from scs_jax.methods.smsanet.method import NETWORK
from scs_jax.methods.smsanet.network import BLOCKS, LAST, scaled
from scs_jax.nn.features import files

NAME = "Zhang et al. 2017's network (siggraph17)"
INPUTS = 4  # L, a, b, mask
# The class head: 529 bins of ab from block 8's 256 channels.
_CLASS_HEAD = {"model_class.0.weight": (529, 256, 1, 1), "model_class.0.bias": (529,)}

Tree = dict[str, Any]


class Tensor(NamedTuple):
  """A published tensor and where it goes.

  Attributes:
    name, shape: as published.
    path: ours, "params/block_1/conv_0/kernel".
    kind: "conv" (OIHW to HWIO), "transposed" (IOHW, turned about, to HWIO) or "vector".
  """

  name: str
  shape: tuple[int, ...]
  path: str
  kind: str


class Converted(NamedTuple):
  """Holds what a published file becomes.

  Attributes:
    variables: {"params": ..., "batch_stats": ...} of network.Colorizer without attention.
    table: (tensor, its shape, our path or why it is left out, our shape or None), one a tensor.
    left_out: parameters of the class head, 0 where the file has none.
  """

  variables: Tree
  table: list[tuple[str, tuple[int, ...], str, tuple[int, ...] | None]]
  left_out: int

  def coverage(self) -> list[str]:
    """Lists each tensor and its shape, where it goes and its shape there, as lines of a table."""
    size = lambda shape: " x ".join(map(str, shape)) or "scalar"
    rows = [("tensor", "shape", "ours", "shape")]
    for name, shape, place, ours in self.table:
      rows.append((name, size(shape), place, "" if ours is None else size(ours)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]

  def summary(self) -> str:
    """Says how many parameters are taken over, and how many of the class head are not."""
    count = sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"]))
    head = "the file has no class head"
    if self.left_out:
      head = f"{self.left_out:,} of the class head left out"
    return f"{count:,} parameters; {head}"


def layout(width: float = 1.0) -> list[Tensor]:
  """Lists every tensor of the published network that this one has, at a width multiplier."""
  found: list[Tensor] = []
  channels, seen = INPUTS, {}

  def layer(name: str, path: str, c_in: int, c_out: int, side: int, kind: str = "conv") -> None:
    pair = (c_in, c_out) if kind == "transposed" else (c_out, c_in)
    found.append(Tensor(f"{name}.weight", (*pair, side, side), f"params/{path}/kernel", kind))
    found.append(Tensor(f"{name}.bias", (c_out,), f"params/{path}/bias", "vector"))

  for number, spec in BLOCKS.items():
    features = scaled(spec.features, width)
    if spec.shortcut:
      layer(f"model{number}up.0", f"up_{number}", channels, features, 4, "transposed")
      short = f"model{spec.shortcut}short{number}.0"
      layer(short, f"short_{number}", seen[spec.shortcut], features, 3)
      channels = features
    at = 1 if spec.shortcut else 0  # blocks after a shortcut begin with a ReLU
    for i in range(spec.convs):
      layer(f"model{number}.{at}", f"block_{number}/conv_{i}", channels, features, 3)
      channels, at = features, at + 2  # past its ReLU
    if number != LAST:
      for theirs, collection, ours in (
        ("weight", "params", "scale"),
        ("bias", "params", "bias"),
        ("running_mean", "batch_stats", "mean"),
        ("running_var", "batch_stats", "var"),
      ):
        path = f"{collection}/block_{number}/norm/{ours}"
        found.append(Tensor(f"model{number}.{at}.{theirs}", (features,), path, "vector"))
    seen[number] = channels
  layer("model_out.0", "output", channels, 2, 1)
  return found


def turn(array: np.ndarray, kind: str) -> np.ndarray:
  """Converts a published tensor to our layout.

  PyTorch's transposed convolution spreads the kernel from each input position; ours slides it over
  the spread-out input, which sees it turned by 180 degrees.
  """
  if kind == "conv":
    array = array.transpose(2, 3, 1, 0)
  elif kind == "transposed":
    array = array[:, :, ::-1, ::-1].transpose(2, 3, 0, 1)
  return np.ascontiguousarray(array)


def from_published(
  arrays: Mapping[str, np.ndarray], width: float = 1.0, source: str = "weights"
) -> Converted:
  """Variables from the published names: `model1.0.weight`, ..., `model8up.0.weight`, ...

  Args:
    arrays: as `files.read_arrays` gives them.
    width: multiplier of the channel counts; 1 is published.
    source: named in errors.

  Raises:
    UserError: names every missing, unknown and wrongly shaped tensor (the first few of each).
  """
  tensors = layout(width)
  wanted = {tensor.name: tensor.shape for tensor in tensors}
  why = _left_out(tensors)
  _check_head(arrays, width, source)
  found = files.select_arrays(arrays, wanted, lambda name: name in why, NAME, source)
  for name, array in found.items():
    if name.endswith("running_var") and array.min() < 0:
      raise UserError(f"{source}: {name} is below 0 somewhere; download the file again")
  variables: Tree = {}
  ours = {}
  for tensor in tensors:
    array = turn(found[tensor.name], tensor.kind)
    _put(variables, tensor.path, array)
    ours[tensor.name] = (tensor.path, array.shape)
  table = []
  for name, array in arrays.items():
    place, shape = ours.get(name, (why.get(name, ""), None))
    table.append((name, tuple(array.shape), place, shape))
  left_out = sum(a.size for name, a in arrays.items() if name in _CLASS_HEAD)
  return Converted(variables, table, left_out)


def _left_out(tensors: list[Tensor]) -> dict[str, str]:
  """Lists names that a published file may have besides ours, and why they are left out."""
  known = dict.fromkeys(_CLASS_HEAD, "left out: class head")
  for tensor in tensors:
    stem, dot, last = tensor.name.rpartition(".")
    if last == "running_mean":
      known[f"{stem}{dot}num_batches_tracked"] = "left out: counter"
  return known


def _check_head(arrays: Mapping[str, np.ndarray], width: float, source: str) -> None:
  for name, shape in _CLASS_HEAD.items():
    wanted = tuple(scaled(n, width) if n == 256 else n for n in shape)
    if name in arrays and tuple(arrays[name].shape) != wanted:
      raise UserError(
        f"{source}: {name} has shape {tuple(arrays[name].shape)}, expected {wanted}; use the "
        "published file"
      )


def _put(tree: Tree, path: str, array: np.ndarray) -> None:
  *parents, last = path.split("/")
  for part in parents:
    tree = tree.setdefault(part, {})
  tree[last] = array


def lightness_only(variables: Tree, mask_centre: float = 0.0) -> Tree:
  """Makes the base for L alone: the first convolution's L slice, all else as it is.

  Equal to the four-channel base without a hint (ab and mask 0). A centred mask is then the constant
  -centre, which joins the bias: exact but for the first convolution's border pixels, where its
  window reaches into the padding.
  """
  params = dict(variables["params"])
  first = dict(params["block_1"])
  kernel, bias = first["conv_0"]["kernel"], first["conv_0"]["bias"]
  constant = np.asarray(-mask_centre * kernel[:, :, 3].sum(axis=(0, 1)), np.float32)
  first["conv_0"] = {"kernel": np.ascontiguousarray(kernel[:, :, :1]), "bias": bias + constant}
  params["block_1"] = first
  return {**variables, "params": params}


def automatic(variables: Tree, mask_centre: float = 0.0) -> tuple[ConfigDict, TrainState]:
  """Makes config and state of Zhang et al. 2017's own network: SMSANet without attention.

  Args:
    variables: as in `Converted`.
    mask_centre: what the weights expect to be taken off the hint's mask: 0, or 0.5 where centred.

  Returns:
    (the config, locked; a state of step 0 without an optimizer's).
  """
  base = lightness_only(variables, mask_centre)
  config = configs.load("smsanet/paper").copy_and_resolve_references()
  with config.unlocked():
    config.network.attention = "none"
    config.network.width = len(base["params"]["block_1"]["conv_0"]["bias"]) / BLOCKS[1].features
    config.loss.salient = 0.0  # no saliency network goes with it
  params, statistics = {NETWORK: base["params"]}, {NETWORK: base["batch_stats"]}
  return config.lock(), TrainState(np.int32(0), params, {}, statistics)
