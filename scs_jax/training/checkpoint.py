"""Checkpoints: one folder a step that holds all a resume or a later use needs.

    WORKDIR/checkpoints/1200/
      weights/            params and model_state            (all that inference reads)
      training/           step, opt_state, skipped; trained
      data/data.json      position in the data
      config/config.json  the resolved config
      about/about.json    versions, metrics, path and shape of every array
      SHA256SUMS          of all files above, checked where they are read (checksums.py)

Where a run averages its parameters (config.ema_decay), the averages are the `params` of weights/,
since they are what pictures are coloured with, and the parameters that training goes on from are
`trained`; without averages there is no `trained`.

A step folder appears under its number by one rename, when it is complete, and leaves in the same
way; so a run killed at any moment leaves whole checkpoints, and the one before stays until the next
is whole. Writing, on orbax-checkpoint, goes on beside the training; what fails there is raised by
the next `save`, `wait` or `close`.
"""

import concurrent.futures
import contextlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers

import scs_jax
from scs_jax.core import config as config_lib
from scs_jax.core.contract import TrainState
from scs_jax.errors import UserError
from scs_jax.training import checksums, distributed
from scs_jax.training.checkpoint_arrays import (
  describe_leaves,
  gathered,
  host_copy,
  quiet_late_answers,
  restore_arrays,
)
from scs_jax.training.checkpoint_folder import (
  ARRAYS,
  FOLDER,
  JSON_ITEMS,
  REMOVED,
  UNFINISHED,
  WHAT_TO_GIVE,
  absolute,
  children,
  explain,
  find_best,
  find_checkpoint,
  read_config,
  read_json,
  require_writable,
  whole_steps,
)


def _fit_for_users(record: logging.LogRecord) -> bool:
  """Drops orbax's log but for plain errors; those with a traceback come back as exceptions."""
  if "orbax" not in record.pathname:
    return True
  return record.levelno >= logging.ERROR and not record.exc_info


logging.getLogger("absl").addFilter(_fit_for_users)


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
    publish: where the folder is each process's own copy of one elsewhere (bucket.py): the first
      process writes all of a checkpoint, then calls this.

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
    publish: Callable[[], None] | None = None,
  ):
    if keep_last < 1 or keep_best < 0:
      raise ValueError(f"keep_last {keep_last}, keep_best {keep_best}: expected >= 1 and >= 0")
    if best_mode not in ("max", "min"):
      raise ValueError(f"best_mode {best_mode!r}: expected 'max' or 'min'")
    self.directory = absolute(workdir) / FOLDER
    self._keep, self._metric, self._mode = (keep_last, keep_best), best_metric, best_mode
    self._pending: tuple[int, concurrent.futures.Future | None] | None = None
    self._writing: int | None = None  # step
    # Several processes meet at barriers inside orbax, which must come in the same order in each:
    # there orbax is called from the loop's thread and uses its own; alone, all of it goes beside.
    self._alone = jax.process_count() == 1 or publish is not None
    self._publish, self._reads = publish, not create
    self._manager: ocp.CheckpointManager | None = None
    if create and (publish is None or distributed.is_first()):
      require_writable(self.directory)
      self._manager = self._open_manager()
      self._beside = concurrent.futures.ThreadPoolExecutor(1, "checkpoint")
    elif not create and not self.directory.is_dir():
      raise UserError(f"no checkpoints at {self.directory}; {WHAT_TO_GIVE}")

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
    who = ocp.options.MultiprocessingOptions(active_processes={0} if self._publish else None)
    for item in ARRAYS:  # weights hardly shrink; compressing them doubles the time to write
      handler = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=who)
      handlers.add(item, ocp.args.PyTreeSave, handler)
    for item in JSON_ITEMS:
      handler = ocp.JsonCheckpointHandler(f"{item}.json", multiprocessing_options=who)
      handlers.add(item, ocp.args.JsonSave, handler)
    options = ocp.CheckpointManagerOptions(
      best_fn=score,
      best_mode=self._mode,
      preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
      todelete_subdir=REMOVED,
      create=False,  # require_writable has made it
      multiprocessing_options=who,
      async_options=ocp.options.AsyncOptions(
        create_directories_asynchronously=False,
        # Called by one process when all have written, before the rename.
        post_finalization_callback=self._write_checksums,
      ),
    )
    quiet_late_answers()
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
    if self._reads:
      raise ValueError("opened with create=False: expected to be read only; open with create=True")
    self.wait()
    items = _items(state, averaged=bool(state.average))
    if self._publish is not None:
      items = gathered(items)
    if self._manager is not None and step not in self._manager.all_steps():
      score = self._score(metrics)
      about = {
        "step": step,
        "versions": _versions(),
        "metrics": {name: float(value) for name, value in (metrics or {}).items()},
        "score": score and {"name": self._metric, "value": score[self._metric], "mode": self._mode},
        "leaves": {item: describe_leaves(tree) for item, tree in items.items()},
      }
      texts = {"data": json.dumps(data), "config": config_lib.to_json(config)}
      plain = {"about": about} | {item: json.loads(text) for item, text in texts.items()}
      args = ocp.args.Composite(
        **{item: ocp.args.PyTreeSave(host_copy(tree)) for item, tree in items.items()},
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
    """Gives what the choice of the best looks at; None for a save that takes no part in it."""
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
    self._writing = step
    self._manager.save(step, args=args, metrics=score, force=True)
    if self._alone:
      self._finish()

  def _finish(self) -> None:
    assert self._manager is not None
    self._manager.wait_until_finished()
    self._clear()
    if self._publish is not None:
      self._publish()

  def _write_checksums(self) -> None:
    start = f"{self._writing}.{UNFINISHED}"
    (complete,) = (child for child in children(self.directory) if child.name.startswith(start))
    checksums.write(complete)

  def _clear(self) -> None:
    """Deletes removed steps and unfinished ones; called where no save is under way."""
    if jax.process_index() != 0:
      return
    for child in children(self.directory):
      if child.name == REMOVED or UNFINISHED in child.name:
        with contextlib.suppress(OSError):  # a failed save's last writes; tried again next time
          child.rmtree()

  @contextlib.contextmanager
  def _reporting(self, step: int) -> Iterator[None]:
    """Turns what goes wrong while writing `step` into one line, and makes a next save possible."""
    try:
      yield
    except UserError:  # it is written, and could not be published
      raise
    except Exception as error:
      reason, advice = explain(error)
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
    """Finds the last whole checkpoint."""
    return max(whole_steps(self.directory), default=None)

  def best_step(self) -> int | None:
    """Finds the best whole checkpoint by `best_metric`; the later one of equals."""
    return find_best(self.directory, self._metric)

  def restore(
    self, step: int | None, like: TrainState, *, config: ConfigDict | None = None
  ) -> tuple[TrainState, dict]:
    """Restores state and data position of a step, bit for bit.

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
    written = read_json(folder, "about")["leaves"]["training"]
    averaged = any(name.startswith("trained/") for name in written)
    items = _items(like, averaged)
    if "skipped" not in written:  # an earlier version's
      del items["training"]["skipped"]
    fields = {"skipped": np.int32(0)} | restore_arrays(folder, items)
    if averaged:
      fields |= {"average": fields["params"], "params": fields.pop("trained")}
    if not like.average:
      fields["average"] = {}
    elif not averaged:  # averages begin here
      fields["average"] = jax.tree.map(jnp.copy, fields["params"])
    return like.replace(**fields), read_json(folder, "data")


def _items(state: TrainState, averaged: bool) -> dict[str, dict[str, Any]]:
  """Sorts what of a state is written where; `state` may be one of shapes."""
  weights = {"params": (state.average or state.params) if averaged else state.params}
  training = {"step": state.step, "opt_state": state.opt_state, "skipped": state.skipped}
  if averaged:
    training["trained"] = state.params
  return {"weights": weights | {"model_state": state.model_state}, "training": training}


def _versions() -> dict[str, str]:
  packages = {"jax": "jax", "flax": "flax", "orbax": "orbax-checkpoint"}
  versions = {name: importlib.metadata.version(package) for name, package in packages.items()}
  return versions | {"scs_jax": scs_jax.__version__, "python": platform.python_version()}
