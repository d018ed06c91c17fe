"""Checkpoints: one folder a step that holds all a resume or a later use needs.

    WORKDIR/checkpoints/1200/
      weights/            params and model_state            (all that inference reads)
      training/           step and opt_state
      data/data.json      position in the data
      config/config.json  the resolved config
      about/about.json    versions, metrics, path and shape of every array

A step folder appears under its number by one rename, when it is complete, and leaves in the same
way; so a run killed at any moment leaves whole checkpoints, and the one before stays until the next
is whole. Writing, on orbax-checkpoint, goes on beside the training; what fails there is raised by
the next `save`, `wait` or `close`.
"""

import concurrent.futures
import contextlib
import errno
import importlib.metadata
import json
import logging
import math
import os
import platform
import sys
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers

import scs_jax
from scs_jax.engine import config as config_lib
from scs_jax.engine.contract import TrainState
from scs_jax.errors import UserError

Tree = Any

FOLDER = "checkpoints"
_ARRAYS = ("weights", "training")
_JSON = ("data", "config", "about")
_REMOVED = "removed"  # old steps are renamed into it, then deleted: never half there by number
_UNFINISHED = "orbax-checkpoint-tmp"
_WHAT_TO_GIVE = f"give a run's folder, its {FOLDER}/ folder or one numbered folder in there"
_AGAIN = "and run the same command again"
_ADVICE = {
  errno.ENOSPC: f"free space {_AGAIN}",
  errno.EDQUOT: f"free space {_AGAIN}",
  errno.EACCES: f"make the folder writable {_AGAIN}",
  errno.EPERM: f"make the folder writable {_AGAIN}",
  errno.EROFS: "choose another working folder",
  errno.ENOTDIR: "choose another working folder",
  errno.EEXIST: "choose another working folder",
}


def _fit_for_users(record: logging.LogRecord) -> bool:
  """Drops orbax's log but for plain errors; those with a traceback come back as exceptions."""
  if "orbax" not in record.pathname:
    return True
  return record.levelno >= logging.ERROR and not record.exc_info


logging.getLogger("absl").addFilter(_fit_for_users)


def _quiet_late_answers() -> None:
  """Keeps Python from printing a traceback for every array that follows the first that failed.

  orbax raises the first error and closes its event loop; what TensorStore then reports of the other
  arrays finds no loop, and is no news.
  """
  before = sys.unraisablehook
  if getattr(before, "quiets_late_answers", False):
    return

  def hook(unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
      before(unraisable)

  hook.quiets_late_answers = True
  sys.unraisablehook = hook


class Checkpoints:
  """The checkpoints of one run, in WORKDIR/checkpoints; a context manager.

  Kept are the last `keep_last` steps and the `keep_best` best by `best_metric`; a save without
  that metric, or with one that is not finite, counts for the last alone.

  Args:
    workdir: the run's folder.
    keep_last, keep_best: how many to keep.
    best_metric: its name in the `metrics` given to `save`; None: no best.
    best_mode: "max" or "min".
    create: True for the run that writes: makes the folder, clears what a killed run left behind.
      False only reads, beside a run that may be writing; the folder must exist.

  Raises:
    UserError: the folder is missing, a file, not writable, or holds numbered folders of others.
  """

  def __init__(
    self,
    workdir: str | os.PathLike[str],
    *,
    keep_last: int = 1,
    keep_best: int = 1,
    best_metric: str | None = None,
    best_mode: str = "max",
    create: bool = True,
  ):
    if keep_last < 1 or keep_best < 0:
      raise ValueError(f"keep_last {keep_last}, keep_best {keep_best}: expected >= 1 and >= 0")
    if best_mode not in ("max", "min"):
      raise ValueError(f"best_mode {best_mode!r}: expected 'max' or 'min'")
    self.directory = _path(workdir) / FOLDER
    self._keep, self._metric, self._mode = (keep_last, keep_best), best_metric, best_mode
    self._pending: tuple[int, concurrent.futures.Future | None] | None = None
    # Several processes meet at barriers inside orbax, which must come in the same order in each:
    # there orbax is called from the loop's thread and uses its own; alone, all of it goes beside.
    self._alone = jax.process_count() == 1
    self._manager: ocp.CheckpointManager | None = None
    if create:
      _require_writable(self.directory)
      self._manager = self._open_manager()
      self._beside = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
    elif not self.directory.is_dir():
      raise UserError(f"no checkpoints at {self.directory}; {_WHAT_TO_GIVE}")

  def _open_manager(self) -> ocp.CheckpointManager:
    last, best = self._keep
    policies: list[Any] = [checkpoint_managers.LatestN(last)]
    score = None
    if self._metric is not None:
      worst = -math.inf if self._mode == "max" else math.inf
      score = lambda metrics: metrics.get(self._metric, worst)  # another run's metric is no rival
      policies.append(
        checkpoint_managers.BestN(
          get_metric_fn=score,
          reverse=self._mode == "min",
          n=best,
          keep_checkpoints_without_metrics=False,
        )
      )
    handlers = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for item in _ARRAYS:  # weights hardly shrink; compressing them doubles the time to write
      handlers.add(item, ocp.args.PyTreeSave, ocp.PyTreeCheckpointHandler(use_compression=False))
    for item in _JSON:
      handlers.add(item, ocp.args.JsonSave, ocp.JsonCheckpointHandler(f"{item}.json"))
    options = ocp.CheckpointManagerOptions(
      best_fn=score,
      best_mode=self._mode,
      preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
      todelete_subdir=_REMOVED,
      async_options=ocp.options.AsyncOptions(create_directories_asynchronously=False),
    )
    _quiet_late_answers()
    self._clear()
    return ocp.CheckpointManager(self.directory, options=options, handler_registry=handlers)

  def save(
    self,
    step: int,
    state: TrainState,
    *,
    data: dict,
    config: ConfigDict,
    metrics: dict[str, float] | None = None,
    wait: bool = False,
  ) -> None:
    """Copies the state to the host and returns; the writing goes on beside.

    The caller may donate the state's buffers in the next step. Blocks longer only while the save
    before is still being written. A step that is already saved is left as it is.

    Args:
      step: updates done.
      state: `frozen` is not written.
      data: position in the data, JSON values.
      config: the resolved config.
      metrics: all are recorded; `best_metric` decides what is best.
      wait: return when the checkpoint is whole.

    Raises:
      UserError: this save or the one before could not be written; `metrics` lacks `best_metric`.
    """
    if self._manager is None:
      raise ValueError("opened with create=False: expected to be read only; open with create=True")
    self.wait()
    if step not in self._manager.all_steps():
      score = self._score(metrics)
      items = {
        "weights": {"params": state.params, "model_state": state.model_state},
        "training": {"step": state.step, "opt_state": state.opt_state},
      }
      about = {
        "step": step,
        "versions": _versions(),
        "metrics": {name: float(value) for name, value in (metrics or {}).items()},
        "score": score and {"name": self._metric, "value": score[self._metric], "mode": self._mode},
        "leaves": {item: _leaves(tree) for item, tree in items.items()},
      }
      texts = {"data": json.dumps(data), "config": config_lib.to_json(config)}
      plain = {"about": about} | {item: json.loads(text) for item, text in texts.items()}
      args = ocp.args.Composite(
        **{item: ocp.args.PyTreeSave(_host_copy(tree)) for item, tree in items.items()},
        **{item: ocp.args.JsonSave(value) for item, value in plain.items()},
      )
      with self._reporting(step):
        if self._alone:
          beside = self._beside.submit(self._write, step, args, score)
        else:
          beside = self._write(step, args, score)
      self._pending = step, beside
    if wait:
      self.wait()

  def _score(self, metrics: dict[str, float] | None) -> dict[str, float] | None:
    """What the choice of the best looks at; None for a save that takes no part in it."""
    if metrics is None or self._metric is None:
      return None
    if self._metric not in metrics:
      raise UserError(
        f"the best checkpoint is chosen by {self._metric!r}, but the metrics are "
        f"{', '.join(sorted(metrics)) or 'none'}; name one of them"
      )
    value = float(metrics[self._metric])
    return {self._metric: value} if math.isfinite(value) else None

  def _write(self, step: int, args: ocp.args.Composite, score: dict[str, float] | None) -> None:
    assert self._manager is not None
    self._clear()
    self._manager.save(step, args=args, metrics=score, force=True)
    if self._alone:
      self._finish()

  def _finish(self) -> None:
    assert self._manager is not None
    self._manager.wait_until_finished()
    self._clear()

  def _clear(self) -> None:
    """Deletes removed steps and unfinished ones; called where no save is under way."""
    if jax.process_index() != 0:
      return
    for child in _children(self.directory):
      if child.name == _REMOVED or _UNFINISHED in child.name:
        with contextlib.suppress(OSError):  # a failed save's last writes; tried again next time
          child.rmtree()

  @contextlib.contextmanager
  def _reporting(self, step: int) -> Iterator[None]:
    """Turns what goes wrong while writing `step` into one line, and makes a next save possible."""
    try:
      yield
    except Exception as error:
      reason, advice = _reason(error)
      if self._alone:  # a failed manager has forgotten what is on disk; also removes the remains
        with contextlib.suppress(Exception):
          self._manager.close()
        with contextlib.suppress(Exception):
          self._manager = self._open_manager()
      last = self.latest_step()
      whole = "there is no whole checkpoint yet"
      if last is not None:
        whole = f"the last whole checkpoint is step {last}"
      raise UserError(
        f"could not write checkpoint for step {step} in {self.directory}: {reason}; {whole}; "
        f"{advice}"
      ) from error

  def wait(self) -> None:
    """Returns when the save in progress is whole; raises UserError when it failed."""
    if self._pending is None:
      return
    (step, beside), self._pending = self._pending, None
    with self._reporting(step):
      if beside is not None:
        beside.result()
      else:
        self._finish()

  def close(self) -> None:
    """Waits for the save in progress, raises its error, and lets go of threads."""
    try:
      self.wait()
    finally:
      if self._manager is not None:
        manager, self._manager = self._manager, None
        self._beside.shutdown()
        manager.close()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, kind: Any, error: BaseException | None, trace: types.TracebackType | None):
    try:
      self.close()
    except Exception as failed:
      if error is None:
        raise
      error.add_note(str(failed))  # what ended the run comes first

  def latest_step(self) -> int | None:
    """The last whole checkpoint."""
    return max(_whole_steps(self.directory), default=None)

  def best_step(self) -> int | None:
    """The best whole checkpoint by `best_metric`; the later one of equals."""
    return _best(self.directory, self._metric)

  def restore(
    self, step: int | None, like: TrainState, *, config: ConfigDict | None = None
  ) -> tuple[TrainState, dict]:
    """State and data position of a step, bit for bit.

    Args:
      step: None for the last.
      like: arrays or ShapeDtypeStructs; their shardings are the result's, on any number of
        devices (without one: the first device). Its `frozen` is handed through.
      config: where given, the checkpoint must be of the same `config.method.name`.

    Raises:
      UserError: no such step, half-written, of another method, or of another network.
    """
    self.wait()
    root, step = find_checkpoint(self.directory, "last" if step is None else step)
    folder = root / str(step)
    if config is not None:
      written, wanted = (c.method.name for c in (read_config(root, step), config))
      if written != wanted:
        raise UserError(
          f"{folder} was written by method {written!r}, this run is {wanted!r}; "
          "choose the config of that method or another working folder"
        )
    fields = _restore_arrays(
      folder,
      {
        "weights": {"params": like.params, "model_state": like.model_state},
        "training": {"step": like.step, "opt_state": like.opt_state},
      },
    )
    return like.replace(**fields), _read_json(folder, "data")


def find_checkpoint(
  path: str | os.PathLike[str], which: str | int = "last"
) -> tuple[epath.Path, int]:
  """(folder of checkpoints, step) for a run's folder, its checkpoints/ or one numbered folder.

  Args:
    path: where to look; a numbered folder decides the step itself.
    which: "last", "best" (the last where no save was given a metric) or a step.

  Raises:
    UserError: missing, a file, nothing of ours in it, half-written, no such step.
  """
  folder = _path(path)
  if not folder.exists():
    raise UserError(f"no checkpoint at {folder}: no such folder; {_WHAT_TO_GIVE}")
  if not folder.is_dir():
    raise UserError(f"{folder} is a file, expected a folder; {_WHAT_TO_GIVE}")
  if (folder / FOLDER).is_dir():
    folder = folder / FOLDER
  elif _is_step(folder):
    _require_whole(folder)
    return folder.parent, int(folder.name)
  steps = _whole_steps(folder)
  if isinstance(which, int) and (folder / str(which)).is_dir():
    _require_whole(folder / str(which))
  if not steps:
    raise _nothing_in(folder)
  if which == "best":
    best = _best(folder)
    return folder, steps[-1] if best is None else best
  if which != "last" and which not in steps:
    raise UserError(
      f"{folder} has no checkpoint of step {which}; it has {', '.join(map(str, steps))}"
    )
  return folder, steps[-1] if which == "last" else int(which)


def read_config(folder: str | os.PathLike[str], step: int | None = None) -> ConfigDict:
  """The resolved config, locked, that a checkpoint was written with; the last one's by default.

  Raises:
    UserError: as `find_checkpoint`.
  """
  root, step = find_checkpoint(folder, "last" if step is None else step)
  return config_lib.from_json(json.dumps(_read_json(root / str(step), "config")))


def restore_for_inference(
  folder: str | os.PathLike[str], like: tuple[Tree, Tree], step: str | int = "best"
) -> tuple[Tree, Tree]:
  """(params, model_state) of a checkpoint; the optimizer's state is neither read nor allocated.

  Args:
    folder: as `find_checkpoint`.
    like: (params, model_state), arrays or ShapeDtypeStructs, as for `Checkpoints.restore`.
    step: "best", "last" or a step.

  Raises:
    UserError: as `find_checkpoint`; a checkpoint of another network.
  """
  root, number = find_checkpoint(folder, step)
  tree = {"params": like[0], "model_state": like[1]}
  fields = _restore_arrays(root / str(number), {"weights": tree})
  return fields["params"], fields["model_state"]


def _path(path: str | os.PathLike[str]) -> epath.Path:
  text = os.fspath(path)
  return epath.Path(text if "://" in text else os.path.abspath(os.path.expanduser(text)))


def _children(folder: epath.Path) -> list[epath.Path]:
  return sorted(folder.iterdir(), key=lambda child: child.name) if folder.is_dir() else []


def _missing(folder: epath.Path) -> list[str]:
  return [item for item in _ARRAYS + _JSON if not (folder / item).is_dir()]


def _is_step(folder: epath.Path) -> bool:
  """Whether it is one step, whole or not, rather than a folder of steps or of something else."""
  if _UNFINISHED in folder.name:
    return True
  there = {*_ARRAYS, *_JSON}.difference(_missing(folder))
  return bool(there) if folder.name.isdigit() else {"weights", "about"} <= there


def _whole_steps(root: epath.Path) -> list[int]:
  numbered = (child for child in _children(root) if child.name.isdigit())
  return sorted(int(child.name) for child in numbered if not _missing(child))


def _require_whole(folder: epath.Path) -> None:
  missing = _missing(folder)
  if folder.name.isdigit() and not missing:
    return
  others = [step for step in _whole_steps(folder.parent) if str(step) != folder.name]
  advice = f"use step {others[-1]} beside it" if others else "there is no other beside it"
  if _UNFINISHED in folder.name or missing:
    detail = f" (no {', '.join(missing)})" if missing else ""
    raise UserError(f"{folder} is a half-written checkpoint{detail}; {advice}")
  raise UserError(f"{folder} is a checkpoint under another name; name the folder by its step, "
                  f"{_read_json(folder, 'about')['step']}")


def _nothing_in(root: epath.Path) -> UserError:
  names = [child.name for child in _children(root) if child.name != _REMOVED]
  unfinished = [name for name in names if _UNFINISHED in name]
  if unfinished:
    return UserError(
      f"{root} holds only a half-written checkpoint ({unfinished[0]}); the run that wrote it has "
      "not completed one: run it (again) first"
    )
  if not names:
    return UserError(f"{root} is empty: no checkpoint has been written yet; {_WHAT_TO_GIVE}")
  found = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
  return UserError(f"{root} holds no checkpoint of scs_jax, but {found}; {_WHAT_TO_GIVE}")


def _require_writable(directory: epath.Path) -> None:
  """Makes the folder, writes and removes a file in it, and refuses numbered folders of others."""
  probe = directory / f".writable-{jax.process_index()}"
  try:
    directory.mkdir(parents=True, exist_ok=True)
    probe.write_text("")
    probe.unlink()
  except OSError as error:
    reason, advice = _reason(error)
    raise UserError(f"cannot write checkpoints to {directory}: {reason}; {advice}") from error
  for child in _children(directory):
    # Ours are renamed whole, so this is a damaged copy or another program's, not ours to delete.
    if child.name.isdigit() and (missing := _missing(child)):
      raise UserError(
        f"{child} is not a whole checkpoint of scs_jax (no {', '.join(missing)}); move it away or "
        "choose another working folder"
      )


def _best(root: epath.Path, metric: str | None = None) -> int | None:
  """Best step by `metric`, or by the one that the newest scored step names."""
  scored = []
  for step in reversed(_whole_steps(root)):
    score = _read_json(root / str(step), "about")["score"]
    if score is None:
      continue
    metric = metric or score["name"]
    if score["name"] == metric:
      scored.append((score["value"] if score["mode"] == "max" else -score["value"], step))
  return max(scored)[1] if scored else None


def _read_json(folder: epath.Path, item: str) -> dict:
  try:
    return json.loads((folder / item / f"{item}.json").read_text())
  except (OSError, ValueError) as error:
    raise UserError(
      f"{folder} is damaged: {item}/{item}.json cannot be read ({_reason(error)[0]}); "
      "use another step or copy it again"
    ) from error


def _restore_arrays(folder: epath.Path, like: dict[str, Tree]) -> dict[str, Tree]:
  """The fields of the items in `like`, with its structure and shardings."""
  expected: dict[str, str] = {}
  found: dict[str, str] = {}
  about = _read_json(folder, "about")
  for item, tree in like.items():
    expected |= _leaves(tree)
    found |= about["leaves"][item]
  if expected != found:
    raise _other_network(folder, expected, found)
  like = jax.tree.map(_abstract, like)
  _quiet_late_answers()
  args = {}
  for item, tree in like.items():
    shardings = jax.tree.map(lambda leaf: leaf.sharding, tree)
    restore_args = ocp.checkpoint_utils.construct_restore_args(tree, shardings)
    args[item] = ocp.args.PyTreeRestore(tree, restore_args=restore_args)
  try:
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
      restored = reader.restore(folder, args=ocp.args.Composite(**args))
  except Exception as error:
    raise UserError(
      f"{folder} is damaged: its arrays cannot be read ({_reason(error)[0]}); "
      "use another step or copy it again"
    ) from error
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
  method = _read_json(folder, "config").get("method")
  written = f" (written by method {method['name']!r})" if method else ""
  return UserError(
    f"{folder}{written} is of another network: {', '.join(lines)}{more}; use the config that is "
    "stored in it, or another folder"
  )


def _leaves(tree: Tree) -> dict[str, str]:
  """Path of every array -> dtype and shape, e.g. "params/generator/w": "float32[3,3,64]"."""
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


def _host_copy(tree: Tree) -> Tree:
  """The tree in memory of its own, which donating or changing the original cannot reach."""

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


def _versions() -> dict[str, str]:
  packages = {"jax": "jax", "flax": "flax", "orbax": "orbax-checkpoint"}
  versions = {name: importlib.metadata.version(package) for name, package in packages.items()}
  return versions | {"scs_jax": scs_jax.__version__, "python": platform.python_version()}


def _reason(error: BaseException) -> tuple[str, str]:
  """(what the system says, what to do); array libraries give the system's error as text only."""
  link: BaseException | None = error
  while link is not None:
    code = link.errno if isinstance(link, OSError) else None
    for known in _ADVICE:
      if code == known or os.strerror(known) in str(link):
        return os.strerror(known), _ADVICE[known]
    link = link.__cause__ or link.__context__
  first = str(error).strip().split("\n")[0][:200] or "no reason given"
  return f"{type(error).__name__}: {first}", f"mend that {_AGAIN}"
