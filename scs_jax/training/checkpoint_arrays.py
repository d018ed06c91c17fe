"""Arrays in and out of checkpoints: read back by path, shape and dtype; copied off the device."""

import os
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

from scs_jax.errors import UserError
from scs_jax.training import checksums, distributed
from scs_jax.training.checkpoint_folder import damaged, explain, find_checkpoint, read_json

Tree = Any

_LATE = ("Event loop is closed", "Encountered error while reading array index")


def restore_for_inference(
  folder: str | os.PathLike[str], like: tuple[Tree, Tree], step: str | int = "best"
) -> tuple[Tree, Tree]:
  """Restores (params, model_state) of a checkpoint; never reads the optimizer's state.

  Of several processes each that wants it reads all of it, whatever the others do.

  Args:
    folder: as `find_checkpoint`.
    like: (params, model_state), arrays or ShapeDtypeStructs, as for `Checkpoints.restore`.
    step: "best", "last" or a step.

  Raises:
    UserError: as `find_checkpoint`; a checkpoint of another network.
  """
  root, number = find_checkpoint(folder, step)
  tree = {"params": like[0], "model_state": like[1]}
  fields = restore_arrays(root / str(number), {"weights": tree}, alone=True)
  return fields["params"], fields["model_state"]


def restore_arrays(
  folder: epath.Path, like: dict[str, Tree], alone: bool = False
) -> dict[str, Tree]:
  """Restores the fields of the items in `like`, with its structure and shardings.

  Of several processes all call it alike; `alone`: this one does not wait for the others.
  """
  import orbax.checkpoint as ocp  # a model's file needs none of its quarter of a second

  expected: dict[str, str] = {}
  found: dict[str, str] = {}
  about = read_json(folder, "about")
  for item, tree in like.items():
    expected |= describe_leaves(tree)
    found |= about["leaves"][item]
  if expected != found:
    raise _other_network(folder, expected, found)
  check = lambda: checksums.find_changes(folder, like)
  # One process reads all bytes for this, and tells the others, which need parts of them.
  if changes := check() if alone else distributed.from_first(check):
    raise damaged(folder, changes)
  like = jax.tree.map(_abstract, like)
  quiet_late_answers()
  args = {}
  for item, tree in like.items():
    shardings = jax.tree.map(lambda leaf: leaf.sharding, tree)
    restore_args = ocp.checkpoint_utils.construct_restore_args(tree, shardings)
    args[item] = ocp.args.PyTreeRestore(tree, restore_args=restore_args)
  me = jax.process_index()
  who = ocp.options.MultiprocessingOptions(
    **({"primary_host": me, "active_processes": {me}} if alone else {})
  )
  try:
    handler = ocp.CompositeCheckpointHandler()
    with ocp.Checkpointer(handler, multiprocessing_options=who) as reader:
      restored = reader.restore(folder, args=ocp.args.Composite(**args))
  except Exception as error:
    raise damaged(folder, [f"its arrays cannot be read ({explain(error)[0]})"]) from error
  return {name: tree for item in like for name, tree in restored[item].items()}


def _other_network(
  folder: epath.Path, expected: dict[str, str], found: dict[str, str]
) -> UserError:
  names = [name for name in expected | found if expected.get(name) != found.get(name)]
  # What both sides have tells more than what one side lacks.
  names.sort(key=lambda name: name not in expected or name not in found)
  lines = [
    f"{name} expected {expected.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
    for name in names[:3]
  ]
  more = f", and {len(names) - 3} more" if len(names) > 3 else ""
  method = read_json(folder, "config").get("method")
  written = f" (written by method {method['name']!r})" if method else ""
  return UserError(
    f"{folder}{written} is of another network: {', '.join(lines)}{more}; use the config that is "
    "stored in it, or another folder"
  )


def describe_leaves(tree: Tree) -> dict[str, str]:
  """Describes every array by its path: {"params/generator/w": "float32[3,3,64]", ...}."""
  flat, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): (
      f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    )
    for path, leaf in flat
  }


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
  sharding = getattr(leaf, "sharding", None)
  if sharding is None:
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def gathered(tree: Tree) -> Tree:
  """The tree with every array whole in each process, where they lie in parts of several.

  All processes call it alike. One array after the other is whole on the devices.
  """

  def whole(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
      return leaf
    return multihost_utils.process_allgather(leaf, tiled=True)

  return jax.tree.map(whole, tree)


def host_copy(tree: Tree) -> Tree:
  """Copies the tree to memory that donating or changing the original cannot reach."""

  def one_replica(leaf: Any) -> Any:
    whole = isinstance(leaf, jax.Array) and leaf.is_fully_replicated
    return leaf.addressable_data(0) if whole else leaf

  def copy(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array):
      if not leaf.is_fully_addressable:  # each process writes its own part of it
        return jnp.copy(leaf)
      if next(iter(leaf.devices())).platform != "cpu":
        return np.asarray(leaf)
    return np.array(leaf)  # on the CPU asarray would show the device's own buffer

  tree = jax.tree.map(one_replica, tree)
  for leaf in jax.tree.leaves(tree):
    if isinstance(leaf, jax.Array) and leaf.is_fully_addressable:
      leaf.copy_to_host_async()  # all transfers under way before the first is waited for
  return jax.tree.map(copy, tree)


def quiet_late_answers() -> None:
  """Keeps Python from printing a traceback for every array that follows the first that failed.

  orbax raises the first error and closes its event loop; what is then reported of the other arrays
  finds no loop, or nobody who waits for it, and is no news.
  """
  before = sys.unraisablehook
  if getattr(before, "quiets_late_answers", False):
    return

  def hook(unraisable: Any) -> None:
    if not str(unraisable.exc_value).startswith(_LATE):
      before(unraisable)

  hook.quiets_late_answers = True
  sys.unraisablehook = hook
