"""A trained network as one file: a .safetensors file of arrays, with all else in its header.

    params/generator/...         float32, or float16 where it was exported so
    model_state/colorizer/...    float32
    metadata "scs_jax": JSON of format, method, step, config, versions, card and digest

Nothing in it is code, and what only training needs (the optimizer's state, a discriminator) is left
out. The digest is over all of it, so that a damaged file is told from a whole one; the same network
exported twice gives the same bytes.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors.numpy
from etils import epath
from ml_collections import ConfigDict

from scs_jax.core import config as configs
from scs_jax.core.contract import TrainState
from scs_jax.core.files import write_aside
from scs_jax.errors import UserError
from scs_jax.training.checkpoint_arrays import describe_leaves
from scs_jax.training.checkpoint_folder import parse_config

SUFFIX = ".safetensors"
DTYPES = ("float32", "float16")
_FORMAT = "scs_jax model 1"
_KEY = "scs_jax"
_AGAIN = "copy it, or make it with `scs-jax export`, again"

Tree = Any


class Contents(NamedTuple):
  """Holds what a model's file holds.

  Attributes:
    config: the resolved config, locked; paths in it are file names alone.
    step: updates that its training had done.
    versions: of the packages that trained it, by name.
    card: see model_card.py; empty where none was given.
    arrays: by path, "params/generator/conv/kernel", in the file's dtypes.
    digest: SHA-256 of all this.
  """

  config: ConfigDict
  step: int
  versions: dict[str, str]
  card: dict[str, Any]
  arrays: dict[str, np.ndarray]
  digest: str


def require_name(path: str | os.PathLike[str]) -> None:
  """Raises UserError unless a path ends as a model's file does."""
  if not os.fspath(path).endswith(SUFFIX):
    raise UserError(f"OUT is {os.fspath(path)!r}: expected a name that ends in {SUFFIX}")


def write(
  path: str | os.PathLike[str],
  config: ConfigDict,
  state: TrainState,
  *,
  dtype: str = "float32",
  left_out: tuple[str, ...] = (),
  versions: Mapping[str, str] | None = None,
  card: Mapping[str, Any] | None = None,
) -> int:
  """Writes a model's file, whole or not at all.

  Args:
    path: of the file.
    config: that the network was trained with; its paths are cut down to file names.
    state: of which params and model_state are written, and the number of its step.
    dtype: "float32" or "float16", of the parameters. Statistics in model_state stay as they are,
      since a variance may lie outside float16's range.
    left_out: names of networks in `state.params` and `state.model_state` that only training needs.
    versions, card: as in `Contents`.

  Returns:
    Bytes written.

  Raises:
    UserError: a parameter that is not finite, or too large for float16.
    OSError: naming the file.
  """
  config = portable(config)
  kept = lambda networks: {k: v for k, v in networks.items() if k not in left_out}
  statistics = by_path({"model_state": kept(state.model_state)})
  arrays = {name: np.asarray(leaf, order="C") for name, leaf in statistics.items()}
  for name, leaf in by_path({"params": kept(state.params)}).items():
    leaf = np.asarray(leaf, order="C")
    with np.errstate(over="ignore"):  # found below
      arrays[name] = leaf.astype(dtype) if leaf.dtype == np.float32 else leaf
    _require_finite(name, leaf, arrays[name])
  about = {
    "format": _FORMAT,
    "method": config.method.name,
    "step": int(state.step),
    "config": json.loads(configs.to_json(config)),
    "versions": dict(versions or {}),
    "card": dict(card or {}),
  }
  about["digest"] = _digest(about, arrays)
  content = safetensors.numpy.save(arrays, {_KEY: json.dumps(about)})
  write_aside(path, content)
  return len(content)


def read(path: str | os.PathLike[str]) -> Contents:
  """Reads a file that `write` made.

  Raises:
    UserError: it cannot be read, is truncated or damaged, or is another kind of file.
  """
  content = _bytes(path)
  try:
    arrays = safetensors.numpy.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
  except Exception as error:  # whatever damaged bytes lead the parser into
    if content[8:9] == b"{":
      raise UserError(f"{path}: truncated or damaged ({_first_line(error)}); {_AGAIN}") from error
    raise _another_kind(path, "another kind of file") from error
  text = header.get("__metadata__", {}).get(_KEY)
  if text is None:
    raise _another_kind(path, f"a {SUFFIX} file of another program")
  try:
    about = json.loads(text)
    digest = about.pop("digest")
  except (ValueError, KeyError, AttributeError):
    about, digest = {}, None
  if digest is None or digest != _digest(about, arrays):
    raise UserError(f"{path}: damaged, as its content is not what was written; {_AGAIN}")
  if about["format"] != _FORMAT:
    raise UserError(f"{path}: expected the format {_FORMAT!r}, got {about['format']!r}; use the "
                    "version of scs_jax that wrote it, or a newer one")  # fmt: skip
  config = parse_config(about["config"])
  return Contents(config, about["step"], about["versions"], about["card"], arrays, digest)


def fill(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], like: Mapping[str, Tree]):
  """Fills (params, model_state) of a file, in float32 and in the structure of the network.

  Args:
    path: for errors.
    arrays: of `Contents`.
    like: "params" and "model_state" of the network, or their shapes. Networks that the file has
      nothing of are left out.

  Raises:
    UserError: the arrays are those of another network.
  """
  have = {tuple(name.split("/")[:2]) for name in arrays}
  tree = {
    kind: {name: part for name, part in like[kind].items() if (kind, name) in have}
    for kind in ("params", "model_state")
  }
  expected = describe_leaves(tree)
  found = {
    name: array.astype(np.float32) if array.dtype == np.float16 else array
    for name, array in arrays.items()
  }
  shown = describe_leaves(found)
  if expected != shown:
    names = sorted(name for name in expected | shown if expected.get(name) != shown.get(name))
    first = names[0]
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    raise UserError(
      f"{path}: its arrays are not those of the network that its config describes: {first} "
      f"expected {expected.get(first, 'nothing')}, found {shown.get(first, 'nothing')}{more}; use "
      "the version of the method that it was exported with"
    )
  filled = jax.tree.unflatten(jax.tree.structure(tree), [found[name] for name in expected])
  return filled["params"], filled["model_state"]


def portable(config: ConfigDict) -> ConfigDict:
  """Returns the config, locked, without folders of the machine that it was made on.

  A path becomes its last name. The held-out pictures, by which `evaluate` measures where it is told
  nothing else, become none where they were a path.
  """
  config = config.copy_and_resolve_references()
  with config.unlocked():
    for path, value in configs.flatten(config).items():
      if isinstance(value, str) and _is_path(path, value):
        section, _, key = path.rpartition(".")
        parts = value.split(",")  # MONO_DIR,COLOR_DIR is two
        last = ",".join(re.split(r"[/\\]", part.rstrip("/\\"))[-1] for part in parts)
        holder = functools.reduce(lambda c, k: c[k], filter(None, section.split(".")), config)
        holder[key] = "" if path == "data.heldout" else last
  return config.lock()


def _is_path(key: str, value: str) -> bool:
  """Tells whether a key's text is a path, not a name with a slash such as automatic/psnr_rgb."""
  named = key.startswith("data.") or key.endswith("_file") or key == "init_from"
  return bool(re.search(r"[/\\]", value) if named else re.match(r"/|~|[A-Za-z]:\\|\w+://", value))


def by_path(tree: Tree) -> dict[str, Any]:
  """Maps the path of every array, as `describe_leaves` has it, to the array."""
  return dict(zip(describe_leaves(tree), jax.tree.leaves(tree), strict=True))


def _require_finite(name: str, before: np.ndarray, after: np.ndarray) -> None:
  if np.isfinite(after).all():
    return
  if np.isfinite(before).all():
    raise UserError(
      f"{name} reaches {np.abs(before).max():.3g}, and float16 holds no more than 65,504; export "
      "it as float32"
    )
  raise UserError(f"{name} is not all numbers: its training has diverged; export another step")


def _digest(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
  """Hashes what is said of the arrays, and the arrays, whatever their order: SHA-256."""
  digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
  for name in sorted(arrays):
    digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}\0".encode())
    digest.update(np.ascontiguousarray(arrays[name]))
  return digest.hexdigest()


def _bytes(path: str | os.PathLike[str]) -> bytes:
  try:
    return epath.Path(path).read_bytes()
  except OSError as error:
    why = error.strerror or error
    raise UserError(f"{path}: cannot be read ({why}); check the path") from error


def _another_kind(path: str | os.PathLike[str], what: str) -> UserError:
  return UserError(
    f"{path}: expected a model's file, as `scs-jax export` and `scs-jax convert` write it, got "
    f"{what}; give one of those, a model's name or a run's folder"
  )


def _first_line(error: Exception) -> str:
  return str(error).strip().split("\n")[0][:120] or type(error).__name__
