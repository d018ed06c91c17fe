"""The training loop: one straight line from a config to a finished run."""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from scs_jax.engine import config as configs
from scs_jax.engine import report, resume, stop
from scs_jax.engine.checkpoint import Checkpoints
from scs_jax.engine.checkpoint_arrays import host_copy
from scs_jax.engine.contract import Method, TrainState
from scs_jax.engine.logbook import Logbook
from scs_jax.engine.parallel import Parallel
from scs_jax.engine.watch import Watch
from scs_jax.errors import UserError

_NAMED = 10  # unreadable files that are named at the end of a run


@dataclasses.dataclass
class Data:
  """What the loop is handed; it knows no file.

  Attributes:
    open_batches: first step -> an endless iterator of host batches from that step on.
    heldout: padded batches of held-out pictures ("image", "mask", "record"), or empty.
    identity: what the sample order depends on, written beside each checkpoint.
    name: number of a training record -> what to call it.
    notes: lines that the user should see when the run starts.
  """

  open_batches: Callable[[int], Iterator[Mapping[str, np.ndarray]]]
  heldout: Sequence[Mapping[str, np.ndarray]] = ()
  identity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  name: Callable[[int], str] = str
  notes: Sequence[str] = ()


@dataclasses.dataclass
class Outcome:
  """How a run ended: the final state, its step, and whether a SIGTERM ended it early."""

  state: TrainState
  step: int
  stopped: bool


def train(config, method: Method, data: Data, workdir, quiet: bool = False) -> Outcome:
  """Trains to `config.steps`, from the last checkpoint in `workdir` where there is one.

  Sample order, randomness and modes are functions of (seed, step) alone, so a run that was killed
  and started again ends in the very parameters of one that was not. After a SIGTERM what is under
  way (a compilation, a step, an evaluation) ends, its step is saved, and the function returns.

  Args:
    config: resolved and validated; steps already derived from epochs.
    method: built from it.
    data: batches and held-out pictures.
    workdir: the run's folder; made where missing.
    quiet: no progress bar.

  Raises:
    UserError: another run's folder, no room, a loss that is not finite.
  """
  workdir = pathlib.Path(workdir)
  with contextlib.ExitStack() as stack:
    stopped = stack.enter_context(stop.raising_flag())
    # Whatever can be wrong is found before anything is compiled.
    parallel = Parallel(config.parallel.mode)
    parallel.check_batch(config.batch_size)
    watch = Watch(config, method, data.heldout, workdir)
    frozen = method.load_frozen()
    resume.require_ours(workdir)
    checkpoints = stack.enter_context(_open_checkpoints(config, workdir))
    key = jax.random.key(config.seed)
    state, start, best, notes = _begin(config, method, data, workdir, checkpoints, key)
    state = parallel.place(state.replace(frozen=frozen))
    report.write_aside(workdir / "config.json", configs.to_json(config).encode())
    book = stack.enter_context(Logbook(workdir, start, config.steps, config.batch_size, quiet))
    for note in [*notes, *data.notes]:
      book.say(note)
    step_function = parallel.train_step(method, key)
    batches = data.open_batches(start)
    stack.callback(getattr(batches, "close", lambda: None))
    ahead = parallel.ahead(batches)
    bad: set[int] = set()
    compiled: set[str] = set()
    metric = config.checkpoint.best_metric
    step = kept = start
    while step < config.steps and not stopped:
      host, batch = next(ahead)
      if stopped:
        break
      phase = method.phase(step)
      state, logs = step_function(state, batch, phase)
      step += 1
      book.tick()
      if phase not in compiled:  # leave compiling out of images/s
        compiled.add(phase)
        jax.block_until_ready(logs)
        book.restart_clock(step)
      bad.update(int(i) for i in host.get("bad", ()) if i >= 0)
      last = step == config.steps
      if step % config.log.every_steps == 0 or last:
        values = parallel.read_logs(logs)
        book.write(step, values | {"unreadable_files": float(len(bad))}, timed=True)
        _refuse_nonfinite([n for n, v in values.items() if not math.isfinite(v)], step, checkpoints)
      scores = watch(parallel, state, step, last)
      if scores:
        book.write(step, scores)
        book.restart_clock(step)
      score = scores.get(metric, -math.inf)
      if step % config.checkpoint.every_steps == 0 or last or score > best:
        best, kept = max(best, score), step
        position = resume.position(step, best, metric, data.identity)
        _save(checkpoints, step, parallel.fetch(state), position, config, scores)
    if step > kept:  # stopped between two checkpoints
      position = resume.position(step, best, metric, data.identity)
      _save(checkpoints, step, parallel.fetch(state), position, config)
    checkpoints.wait()
    ended_early = step < config.steps
    if ended_early:
      book.say(f"stopped at step {step} of {config.steps}; the same command goes on from there")
    if bad:
      book.say(_unreadable(bad, data.name))
    return Outcome(parallel.fetch(state), step, ended_early)


def _open_checkpoints(config, workdir: pathlib.Path) -> Checkpoints:
  return Checkpoints(
    workdir,
    keep_last=config.checkpoint.keep_last,
    keep_best=config.checkpoint.keep_best,
    best_metric=config.checkpoint.best_metric or None,
  )


def _begin(
  config, method: Method, data: Data, workdir: pathlib.Path, checkpoints: Checkpoints, key
) -> tuple[TrainState, int, float, list[str]]:
  """(state, its step, best score so far, what to say): fresh, or of the last checkpoint."""
  fresh = lambda key: method.init(key, {})
  start = checkpoints.latest_step()
  if start is None:
    # As an argument: from a constant key XLA would compute all weights while it compiles, slowly.
    return jax.jit(fresh)(key), 0, -math.inf, []
  changed = resume.differences(workdir, config, start)
  state, position = checkpoints.restore(start, jax.eval_shape(fresh, key))
  notes = [f"going on from step {start} in {workdir}"]
  if start >= config.steps:
    notes = [
      f"{workdir} is at step {start} of {config.steps}: nothing is left to do; "
      "--config.steps=N goes on to step N"
    ]
  notes += [*changed, *resume.moved(position, data.identity)]
  return state, start, resume.best_so_far(position, config.checkpoint.best_metric), notes


def _save(
  checkpoints: Checkpoints, step: int, state: TrainState, position: dict, config, scores=None
) -> None:
  """Saves a state that is worth going on from: with NaN in it, it would replace one that is."""
  kept = host_copy({"params": state.params, "model_state": state.model_state})
  finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(kept))
  _refuse_nonfinite([] if finite else ["the parameters are"], step, checkpoints)
  checkpoints.save(step, state, data=position, config=config, metrics=scores or None)


def _refuse_nonfinite(wrong: Sequence[str], step: int, checkpoints: Checkpoints) -> None:
  if not wrong:
    return
  checkpoints.wait()
  last = checkpoints.latest_step()
  whole = "there is no checkpoint yet" if last is None else f"the last checkpoint is step {last}"
  raise UserError(
    f"{', '.join(wrong)} not finite at step {step}; {whole} in {checkpoints.directory}; lower "
    "config.optimizer.learning_rate or set config.optimizer.clip_norm"
  )


def _unreadable(bad: Collection[int], name: Callable[[int], str]) -> str:
  named = ", ".join(name(i) for i in sorted(bad)[:_NAMED])
  more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
  return f"pictures that cannot be read, each replaced by the next: {len(bad)} ({named}{more})"
