"""Trained networks by whatever names them: a run's folder, a model's file, a shipped model's name.

Everything that takes a trained network finds it here, so that all of them take the same.

    from scs_jax.training import models

    models.names()                    # those that ship with the package
    models.find("scsnet").card        # what it was trained on, its figures, what it cannot do
"""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import re
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from ml_collections import ConfigDict

from scs_jax.core import config as configs
from scs_jax.core import kept, resolve, spelling
from scs_jax.core.contract import TrainState
from scs_jax.data import remote
from scs_jax.errors import UserError
from scs_jax.training import bucket, checkpoint_arrays, checkpoint_folder, model_card, model_file

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "models"
"""Where the shipped models lie, NAME.safetensors each; it need not be there."""

DEFAULTS = {"automatic": "smsanet", "photographs": "scsnet", "pairs": "cycle_cnn"}
"""What colours where nobody says with what: photographs at their own size without a reference, any
other photographs, and pairs of cameras (benchmarks/results/models_cpu.md has their figures)."""

_SHAPES = "shapes"  # the kind of entry in core/kept.py

WHAT_TO_GIVE = (
  "a run's folder, one checkpoint in it, a model's file, or the name of a model that `scs-jax "
  "models` lists"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
  """A trained network, found and not yet read.

  Attributes:
    given: what named it.
    path: the folder of one checkpoint, or the file; of one in a bucket a copy on this machine.
    step: updates that its training had done.
    config: the resolved config that it was trained with, locked.
    run: the folder of the run that it is a checkpoint of; None for a file.
    contents: of a file; None for a checkpoint.
  """

  given: str
  path: epath.Path
  step: int
  config: ConfigDict
  run: epath.Path | None = None
  contents: model_file.Contents | None = dataclasses.field(default=None, repr=False)

  @functools.cached_property
  def method(self) -> Any:
    """Its method, built from the config. Raises UserError as resolve.build."""
    return resolve.build(self.config)

  @property
  def name(self) -> str:
    """Names it for tables: its method, and where that says too little, its file."""
    method = self.config.method.name.rpartition(":")[2].lower()
    return method if self.run is not None or self.stem == method else f"{method} ({self.stem})"

  @property
  def stem(self) -> str:
    """Last part of its name: of the run's folder, or of the file without its ending."""
    return self.run.name if self.run is not None else self.path.stem

  @property
  def ships(self) -> bool:
    """Tells whether it is one of the package's own."""
    return self.contents is not None and self.path.parent == epath.Path(FOLDER)

  @property
  def place(self) -> str:
    """Says where it lies, for a log."""
    if self.ships:
      return f"{self.stem}, a model of scs_jax"
    return self.given if remote.is_remote(self.given) else str(self.path)

  @property
  def card(self) -> dict[str, Any]:
    """Returns what its maker says of it (model_card.py); empty for a run."""
    return self.contents.card if self.contents is not None else {}

  @property
  def versions(self) -> dict[str, str]:
    """Of the packages that trained it, by name."""
    if self.contents is not None:
      return self.contents.versions
    return checkpoint_folder.read_json(self.path, "about").get("versions", {})

  def restore(self) -> TrainState:
    """Its state, without what training alone needs: params and model_state, in float32.

    Raises:
      UserError: damaged, or, unless it ships, of another network than its config describes.
    """
    shapes = self._shapes()
    if self.contents is not None:
      params, model_state = model_file.fill(self.path, self.contents.arrays, shapes)
    else:
      like = shapes["params"], shapes["model_state"]
      params, model_state = checkpoint_arrays.restore_for_inference(self.path, like)
    return TrainState(np.int32(self.step), params, {}, model_state)

  def _shapes(self) -> dict[str, Any]:
    """Gives params and model_state of its network as shapes.

    Tracing a network's beginning takes as long as colouring a picture, so that they are kept. The
    package's own models are of its networks, which tests see to: theirs are those of their arrays.
    """
    if self.ships:
      plain = lambda dtype: "float32" if dtype == np.float16 else str(dtype)
      return _nest({k: (a.shape, plain(a.dtype)) for k, a in self.contents.arrays.items()})
    about, ours = configs.to_json(self.config), kept.is_ours(type(self.method))
    if ours and (content := kept.get(_SHAPES, about)) is not None:
      return _nest(json.loads(content))
    state = self.method.shapes
    shapes = {"params": state.params, "model_state": state.model_state}
    leaves = {k: (x.shape, str(x.dtype)) for k, x in model_file.by_path(shapes).items()}
    if ours and jax.tree.structure(_nest(leaves)) == jax.tree.structure(shapes):
      kept.put(_SHAPES, about, json.dumps(leaves).encode())
    return shapes

  def show(self) -> None:
    """Prints what it is, and its card whole."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(self.versions.items()))
    lines = [f"{self.stem}: {self.size}", f"trained with {versions}", ""]
    print("\n".join([*lines, *model_card.lines(self.card)]))

  @property
  def size(self) -> str:
    """`2.10 MB, 1,050,000 parameters in float16, method scsnet, step 24000`; of a run less."""
    name = self.config.method.name
    if self.contents is None:
      return f"a run of {name}, step {self.step}"
    arrays = [a for k, a in self.contents.arrays.items() if k.startswith("params/")]
    count, kinds = sum(a.size for a in arrays), {str(a.dtype) for a in arrays}
    return (
      f"{self.path.stat().length / 1e6:.2f} MB, {count:,} parameters in {'/'.join(kinds)}, method "
      f"{name}, step {self.step}"
    )

  def fingerprint(self) -> str:
    """Gives 16 hex digits that tell it from every other network: of its weights and its config."""
    if self.contents is not None:
      return self.contents.digest[:16]
    return fingerprint(self.path / "weights", self.path / "config")


def _nest(leaves: Mapping[str, tuple]) -> dict[str, Any]:
  """Nests {"params/generator/w": (shape, dtype), ...} as the networks' trees are."""
  tree: dict[str, Any] = {"params": {}, "model_state": {}}
  for path, (shape, dtype) in leaves.items():
    *parents, last = path.split("/")
    place = functools.reduce(lambda place, name: place.setdefault(name, {}), parents, tree)
    place[last] = jax.ShapeDtypeStruct(tuple(shape), dtype)
  return tree


def names() -> list[str]:
  """Lists the names of the models that ship with the package."""
  return sorted(path.stem for path in FOLDER.glob(f"*{model_file.SUFFIX}"))


def shipped(name: str) -> Model:
  """Gives the shipped model of this name, whatever lies on the disk. Raises UserError as `find`."""
  return dataclasses.replace(find(FOLDER / f"{name}{model_file.SUFFIX}"), given=name)


def find(given: str | os.PathLike[str] | Model, step: str | int | None = None) -> Model:
  """Finds a trained network.

  Args:
    given: a run's folder, its checkpoints/, one numbered folder in there, a model's file, each also
      in a bucket (gs://, s3://), or the name of a shipped model. What lies on the disk comes first:
      ./NAME is a path in any case.
    step: which checkpoint of a run: "best" (the default), "last" or a number. A file has one.

  Raises:
    UserError: there is none, it is half-written or damaged, or it is not of that step.
  """
  step = "best" if step is None else step
  if isinstance(given, Model):
    return _of_step(given, step)
  if not isinstance(given, str | os.PathLike):
    raise UserError(f"{given!r} names no trained network: expected {WHAT_TO_GIVE}")
  text = os.fspath(given)
  if not text:
    raise UserError(f"the name of what to colour with is empty: expected {WHAT_TO_GIVE}")
  find_there = _find_remote if remote.is_remote(text) else _find_local
  return _of_step(find_there(text, step), step)


def _find_local(text: str, step: str | int) -> Model:
  path = checkpoint_folder.absolute(text)
  exists = path.exists()
  if not exists and not re.search(r"[/\\]", text) and not text.endswith(model_file.SUFFIX):
    path = epath.Path(FOLDER / f"{text}{model_file.SUFFIX}")
    if not path.exists():
      raise _unknown(text)
  elif not exists and text.endswith(model_file.SUFFIX):
    raise UserError(f"{path}: no such file; give {WHAT_TO_GIVE}")
  return _open(text, path, step)


def _open(text: str, path: epath.Path, step: str | int) -> Model:
  if path.is_file():
    contents = model_file.read(path)
    return Model(text, path, contents.step, contents.config, contents=contents)
  root, number = checkpoint_folder.find_checkpoint(path, step)
  config = checkpoint_folder.read_config(root, number)
  run = root.parent if root.name == checkpoint_folder.FOLDER else root
  return Model(text, root / str(number), number, config, run)


def _find_remote(address: str, step: str | int) -> Model:
  """A model of a bucket, read from a copy on this machine."""
  path, origin = bucket.fetch(address, step)
  found = _open(address, epath.Path(path), step)
  return found if found.run is None else dataclasses.replace(found, run=epath.Path(origin))


def _of_step(found: Model, step: str | int) -> Model:
  if isinstance(step, int) and step != found.step:
    raise UserError(f"{found.given} is step {found.step} itself: leave --step out")
  return found


def show() -> None:
  """Prints the models that ship with the package, with what one chooses by."""
  if not names():
    print("no models ship with this copy of scs_jax; colour with runs, or with files that "
          "`scs-jax export` wrote")  # fmt: skip
    return
  width = max(map(len, names())) + 2
  for name in names():
    model = shipped(name)
    for about in (model.size, *model_card.headlines(model.card)):
      for line in textwrap.wrap(about, 100 - width, subsequent_indent="  "):
        print(name.ljust(width) + line)
        name = ""
  print("\nThe weights are for research, apart from the code's licence:\n"
        "the pictures that they saw are research data.\n"
        "`scs-jax models NAME` shows a card whole.")  # fmt: skip


def default(use: str) -> Model:
  """Finds the shipped model for a use, a key of DEFAULTS, whatever lies on the disk.

  Raises:
    UserError: it does not ship with this copy of the package.
  """
  name = DEFAULTS[use]
  if name not in names():
    raise UserError(
      f"no model {name!r}, which is the default, ships with this copy of scs_jax; say what to "
      f"colour with: {WHAT_TO_GIVE}"
    )
  return shipped(name)


def start_from(
  given: str | os.PathLike[str],
  config: ConfigDict,
  draw: Callable[[jax.Array], TrainState],
  key: jax.Array,
) -> tuple[TrainState, str]:
  """Makes a fresh state with the arrays of a trained network in their places (config.init_from).

  Args:
    given: as `find` takes it.
    config: of the run that begins.
    draw: key -> a fresh state of its method. What the trained network has nothing for stays as it
      is there: a discriminator that was not exported, attention that a base came without.
    key: of `draw`.

  Returns:
    (state, a line that says how much came from where).

  Raises:
    UserError: there is no such network, or it has arrays that this one has no place for.
  """
  model = find(given)
  if model.config.method.name != config.method.name:
    raise UserError(
      f"config.init_from={given} is of method {model.config.method.name!r}, and the config trains "
      f"{config.method.name!r}; give one of that method"
    )
  both = lambda state: {"params": state.params, "model_state": state.model_state}
  trained, like = both(model.restore()), jax.eval_shape(draw, key)
  source, target = map(model_file.by_path, (trained, both(like)))
  shapes = [checkpoint_arrays.describe_leaves(tree) for tree in (trained, both(like))]
  for name, shape in shapes[0].items():
    if shapes[1].get(name) != shape:
      raise UserError(
        f"config.init_from={given}: {name} is {shape} there and {shapes[1].get(name, 'missing')} "
        "in the network to be trained; give both the same network.* keys"
      )

  def draw_rest(key: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
    state = draw(key)
    rest = {n: leaf for n, leaf in model_file.by_path(both(state)).items() if n not in source}
    return state.replace(params={}, model_state={}, average={}), rest

  # XLA compiles nothing for what is not returned, and drawing a network is most of what it would.
  state, rest = jax.jit(draw_rest)(key)
  fresh = sorted({"/".join(name.split("/")[1:3]) for name in rest})
  more = f" and {len(fresh) - 4} more" if len(fresh) > 4 else ""
  note = f"starting from {model.place}, step {model.step}"
  note += f"; anew: {', '.join(fresh[:4])}{more}" if fresh else ""
  # Copies, as a step gives its state's memory away.
  leaves = [jnp.array(source[name]) if name in source else rest[name] for name in target]
  filled = jax.tree.unflatten(jax.tree.structure(both(like)), leaves)
  if like.average:
    filled["average"] = jax.tree.map(jnp.copy, filled["params"])
  return state.replace(**filled), note


def export(
  model: Model, path: str | os.PathLike[str], dtype: str = "float32", card: dict | None = None
) -> int:
  """Writes a network as one file for use alone; returns its bytes.

  Args:
    model: of `find`.
    path: of the file, which ends in .safetensors.
    dtype: see `model_file.write`.
    card: as `model_card.read` gives it; None: the model's own.

  Raises:
    UserError, OSError: as `Model.restore` and `model_file.write`.
  """
  model_file.require_name(path)
  return model_file.write(
    path,
    model.config,
    model.restore(),
    dtype=dtype,
    left_out=tuple(model.method.training_only),
    versions=model.versions,
    card=model.card if card is None else card,
  )


def fingerprint(*folders: epath.Path) -> str:
  """Hashes names and contents of all files below the folders: 16 hex digits of SHA-256."""
  digest = hashlib.sha256()
  for folder in folders:
    for path in _files(folder):
      name = path.relative_to(folder).as_posix()
      digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
      digest.update(hashlib.sha256(path.read_bytes()).digest())
  return digest.hexdigest()[:16]


def _files(folder: epath.Path) -> list[epath.Path]:
  """Lists all files below a folder, in a fixed order; epath's own patterns do not go down."""
  found = []
  for child in checkpoint_folder.children(folder):
    found += _files(child) if child.is_dir() else [child]
  return found


def _unknown(text: str) -> UserError:
  near = spelling.nearest(text, names())
  advice = f"did you mean {near[0]}?" if near else f"give {WHAT_TO_GIVE}"
  return UserError(
    f"no checkpoint at {checkpoint_folder.absolute(text)}: no such folder, and no model is called "
    f"{text!r}; {advice}"
  )
