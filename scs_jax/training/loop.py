"""The training loop: the next batch, the step, and those that watch it."""

import contextlib
import math
import pathlib

import jax
import jax.numpy as jnp

from scs_jax.core import config as configs
from scs_jax.core import files, stop
from scs_jax.core.contract import Method, TrainState
from scs_jax.data.opening import Data
from scs_jax.errors import UserError
from scs_jax.training import bucket, distributed, lock, models, resume, update
from scs_jax.training.checkpoint import Checkpoints
from scs_jax.training.monitor import Monitor
from scs_jax.training.outcome import Outcome
from scs_jax.training.parallel import Parallel
from scs_jax.training.watch import Watch


def run_steps(
  config,
  method: Method,
  data: Data,
  workdir,
  quiet: bool = False,
  profile: tuple[int, int] | None = None,
  stopped: stop.Flag | None = None,
  there: bucket.Copy | None = None,
) -> Outcome:
  """Trains to `config.steps`, from the last checkpoint in `workdir` where there is one.

  Sample order, randomness and modes are functions of (seed, step) alone, so a run that was killed
  and started again ends in the very parameters of one that was not. After a SIGTERM what is under
  way (a compilation, a step, an evaluation) ends, its step is saved, and the function returns.
  After Ctrl-C too, but with KeyboardInterrupt; a second Ctrl-C ends the program.

  Several processes call this alike, each with its part of the data and the same `workdir`; the
  first writes what is written once. A SIGTERM to any of them ends all at the same step.

  Args:
    config: resolved and validated; steps already derived from epochs.
    method: built from it.
    data: batches and held-out pictures.
    workdir: the run's folder; made where missing.
    quiet: no progress bar.
    profile: (first step, steps) to trace into workdir/profile.
    stopped: raised where a SIGTERM came before; SIGTERM and Ctrl-C raise it.
    there: where workdir is this process's copy of a folder in a bucket.

  Raises:
    UserError: another run's folder, or one in which a training runs; no room; a loss that is not
      finite.
    KeyboardInterrupt: Ctrl-C was pressed; the state is saved.
  """
  workdir = pathlib.Path(workdir)
  with contextlib.ExitStack() as stack:
    stopped = stack.enter_context(stop.raising_flag(stopped))
    stack.enter_context(stop.interrupting(stopped))
    # Whatever can be wrong is found before anything is compiled.
    parallel = Parallel.of(config)
    parallel.check_batch(config.batch_size)
    watch = Watch(config, method, data.heldout, workdir)
    frozen = method.load_frozen()
    resume.require_ours(workdir)
    stack.enter_context(lock.held(workdir))
    distributed.meet()  # before anything is written
    checkpoints = stack.enter_context(_open_checkpoints(config, workdir, there))
    key = jax.random.key(config.seed)
    state, start, best, notes = _begin(config, method, data, workdir, checkpoints, parallel, key)
    state = parallel.place(state.replace(frozen=frozen))
    if distributed.is_first():
      files.write_aside(workdir / "config.json", configs.to_json(config).encode())
    skipped = int(parallel.read_logs({"skipped": state.skipped})["skipped"])
    monitor = stack.enter_context(
      Monitor(config, parallel, data.name, workdir, start, skipped, quiet, profile)
    )
    for note in [*notes, *data.notes]:
      monitor.say(note if there is None else there.named(note))
    programs = update.Programs(update.device_step(method, config.seed, parallel), parallel)
    batches = data.open_batches(start)
    stack.callback(getattr(batches, "close", lambda: None))
    ahead = parallel.ahead(batches)
    metric = config.checkpoint.best_metric
    step = kept = start
    while step < config.steps and not monitor.ended(stopped):
      with monitor.waiting():
        host, batch = next(ahead)
      if monitor.ended(stopped):
        break
      batch = parallel.flag(batch, bool(stopped))
      phase = method.phase(step)
      monitor.before(step, phase)
      program, work = programs.of(phase, state, batch)
      state, logs = program(state, batch)
      step += 1
      monitor.after(step, phase, work, host, logs)
      last = step == config.steps
      logging = step % config.log.every_steps == 0 or last
      saving = step % config.checkpoint.every_steps == 0 or last
      # What is scored or saved is known to be good, and so are all steps that led to it.
      monitor.check_steps(everything=logging or saving or watch.due(step, last))
      if logging:
        monitor.write(step, logs)
      if monitor.health.last_good is not None:
        break
      scores = watch(parallel, state, step, last)
      monitor.write_scores(step, scores)
      score = scores.get(metric, -math.inf)
      if saving or score > best:
        best, kept = max(best, score), step
        position = resume.position(step, best, metric, data.identity)
        _save(checkpoints, step, state, parallel, position, config, scores)
    monitor.check_steps(everything=True)
    broken = monitor.health.last_good is not None
    if broken:
      step = monitor.health.last_good
      state = _mended(state, config.skip_nonfinite)
    if step > kept:  # stopped between two checkpoints
      position = resume.position(step, best, metric, data.identity)
      _save(checkpoints, step, state, parallel, position, config)
    checkpoints.wait()
    if broken:
      _refuse_nonfinite(monitor.health.reason, step, checkpoints)
    ended_early = step < config.steps
    if ended_early:
      monitor.say(f"stopped at step {step} of {config.steps}; the same command goes on from there")
    monitor.sum_up()
    if stopped.interrupted:  # who called this is to stop as well
      raise stop.SavedInterrupt
    return Outcome(workdir, config, step, ended_early, method, parallel.fetch(state))


def _open_checkpoints(config, workdir: pathlib.Path, there: bucket.Copy | None) -> Checkpoints:
  return Checkpoints(
    workdir,
    keep_last=config.checkpoint.keep_last,
    keep_best=config.checkpoint.keep_best,
    best_metric=config.checkpoint.best_metric or None,
    publish=None if there is None else there.publish,
  )


def _begin(
  config, method: Method, data: Data, workdir: pathlib.Path, checkpoints: Checkpoints, parallel, key
) -> tuple[TrainState, int, float, list[str]]:
  """Starts with (state, step, best score so far, what to say): fresh, or of the last checkpoint."""
  fresh = lambda key: update.init(method, key, parallel.options)
  start = distributed.from_first(checkpoints.latest_step)
  if start is None:
    if config.get("init_from"):
      state, note = models.start_from(config.init_from, config, fresh, key)
      return state, 0, -math.inf, [note]
    return fresh(key), 0, -math.inf, []
  changed = resume.differences(workdir, config, start)
  state, position = checkpoints.restore(start, parallel.shapes(method, {}))
  state = _mended(state, config.skip_nonfinite)
  notes = [f"going on from step {start} in {workdir}"]
  if start >= config.steps:
    notes = [
      f"{workdir} is at step {start} of {config.steps}: nothing is left to do; "
      "--config.steps=N goes on to step N"
    ]
  notes += [*changed, *resume.moved(position, data.identity)]
  best = resume.best_so_far(position, config.checkpoint.best_metric, data.identity)
  return state, start, best, notes


def _mended(state: TrainState, allowed: int) -> TrainState:
  """Returns a state that a step may change again, after one update that was not finite too many."""
  return state.replace(skipped=jnp.minimum(state.skipped, allowed))


def _save(
  checkpoints: Checkpoints,
  step: int,
  state: TrainState,
  parallel: Parallel,
  position: dict,
  config,
  scores=None,
) -> None:
  """Saves a state that is worth going on from: with NaN in it, it would replace one that is."""
  if not parallel.is_finite(state):
    checkpoints.wait()
    _refuse_nonfinite(f"the parameters are not finite at step {step}", None, checkpoints)
  state = parallel.fetch(state)
  checkpoints.save(step, state, data=position, config=config, metrics=scores or None)


def _refuse_nonfinite(reason: str, step: int | None, checkpoints: Checkpoints) -> None:
  last = checkpoints.latest_step()
  whole = "there is no checkpoint yet" if last is None else f"the last checkpoint is step {last}"
  if last is not None and last == step:
    whole = f"the last good state, step {last}, is saved"
  raise UserError(
    f"{reason}; {whole} in {checkpoints.directory}; lower config.optimizer.learning_rate, set "
    "config.optimizer.clip_norm, or let config.skip_nonfinite leave such updates out"
  )
