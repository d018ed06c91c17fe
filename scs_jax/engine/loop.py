"""The training loop: one straight line from a config to a finished run."""

import contextlib
import dataclasses
import math
import pathlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from scs_jax.engine import config as configs
from scs_jax.engine import report
from scs_jax.engine.checkpoint import Checkpoints, read_config
from scs_jax.engine.contract import Method, TrainState
from scs_jax.engine.evaluate import Evaluator, Protocol, Result
from scs_jax.engine.logbook import Logbook
from scs_jax.engine.parallel import Parallel
from scs_jax.errors import UserError

# A run may go on with other values of these; of any other key the change is said aloud.
_FREE = ("steps", "epochs", "log.", "checkpoint.", "evaluate.", "data.threads", "data.workers",
         "data.prefetch", "parallel.", "reported.")  # fmt: skip


@dataclasses.dataclass
class Data:
  """What the loop is handed; it knows no file.

  Attributes:
    open_batches: first step -> an endless iterator of host batches from that step on.
    heldout: padded batches of held-out pictures ("image", "mask", "record"), or empty.
    identity: what the sample order depends on, written beside each checkpoint.
  """

  open_batches: Callable[[int], Iterator[Mapping[str, np.ndarray]]]
  heldout: Sequence[Mapping[str, np.ndarray]] = ()
  identity: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Outcome:
  """How a run ended: the final state, its step, and whether a SIGTERM ended it early."""

  state: TrainState
  step: int
  stopped: bool


def train(config, method: Method, data: Data, workdir, quiet: bool = False) -> Outcome:
  """Trains to `config.steps`, from the last checkpoint in `workdir` where there is one.

  Sample order, randomness and modes are functions of (seed, step) alone, so a run that was killed
  and started again ends in the very parameters of one that was not.

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
  parallel = Parallel(config.parallel.mode)
  parallel.check_batch(config.batch_size)
  _check_best(config, data)
  frozen = method.load_frozen()  # first of all: a missing file should not cost a compilation
  key = jax.random.key(config.seed)
  saved = config.checkpoint
  with contextlib.ExitStack() as stack:
    checkpoints = stack.enter_context(
      Checkpoints(
        workdir,
        keep_last=saved.keep_last,
        keep_best=saved.keep_best,
        best_metric=saved.best_metric or None,
      )
    )
    start = checkpoints.latest_step()
    fresh = lambda: method.init(key, {})
    if start is None:
      start, best = 0, -math.inf
      state = jax.jit(fresh)().replace(frozen=frozen)
    else:
      notes = _differences(workdir, config, start)
      like = jax.eval_shape(fresh).replace(frozen=frozen)
      state, position = checkpoints.restore(start, like)
      notes += _moved(position, data.identity)
      best = position.get("best", -math.inf)
    report.write_aside(workdir / "config.json", configs.to_json(config).encode())
    book = stack.enter_context(Logbook(workdir, start, config.steps, config.batch_size, quiet))
    if start:
      for note in [f"going on from step {start} in {workdir}", *notes]:
        book.say(note)
    watch = _Watch(config, method, data.heldout, workdir)
    step_function = parallel.train_step(method, key)
    state = parallel.place(state)
    stop = stack.enter_context(_stop_signals())
    batches = data.open_batches(start)
    stack.callback(getattr(batches, "close", lambda: None))
    bad: set[int] = set()
    compiled: set[str] = set()
    step = start
    for host, batch in parallel.ahead(batches):
      if step >= config.steps or stop:
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
        _refuse_nonfinite(values, step, checkpoints, workdir)
        book.write(step, values | {"unreadable_files": float(len(bad))}, timed=True)
      scores = watch(parallel, state, step, last)
      if scores:
        book.write(step, scores)
        book.restart_clock(step)
      score = scores.get(saved.best_metric, -math.inf)
      if step % saved.every_steps == 0 or last or bool(stop) or score > best:
        best = max(best, score)
        position = {"step": step, "best": best, **data.identity}
        checkpoints.save(
          step, parallel.fetch(state), data=position, config=config, metrics=scores or None
        )
    if stop:
      checkpoints.wait()
      book.say(f"stopped at step {step} of {config.steps}; the same command goes on from there")
    if bad:
      book.say(f"{len(bad)} unreadable files were replaced by the next ones while training")
    return Outcome(parallel.fetch(state), step, bool(stop) and step < config.steps)


class _Watch:
  """Scores and panels of held-out pictures along the way."""

  def __init__(self, config, method: Method, heldout, workdir: pathlib.Path):
    self.config, self.heldout, self.folder = config, heldout, workdir / "panels"
    self.evaluators = {
      mode: Evaluator(
        method.predict, Protocol(mode, config.evaluate.scale, config.evaluate.reference_size)
      )
      for mode in (config.evaluate.modes if heldout else ())
    }

  def __call__(self, parallel: Parallel, state, step: int, last: bool) -> dict[str, float]:
    """{mode/metric: mean} where an evaluation is due, else {}; writes a panel where one is due."""
    log = self.config.log
    due = lambda every: bool(every) and (step % every == 0 or last)
    scoring, drawing = due(log.evaluate_every), due(log.panels_every)
    if not self.evaluators or not (scoring or drawing):
      return {}
    state = parallel.fetch(state)
    results = {
      mode: evaluator(state, self.heldout, keep=drawing)
      for mode, evaluator in self.evaluators.items()
    }
    if drawing:
      image = draw(results, self.heldout, limit=4)
      report.write_aside(self.folder / f"step_{step:08d}.png", report.png(image))
    if not scoring:
      return {}
    return {
      f"{mode}/{name}": value for mode, r in results.items() for name, value in r.mean().items()
    }


def draw(results: Mapping[str, Result], heldout, limit: int) -> np.ndarray:
  """A panel of the first pictures: gray input, reference and result a mode, truth."""
  truth = np.concatenate([batch["image"][batch["mask"]] for batch in heldout])
  rows = []
  for i in range(min(limit, len(truth))):
    row = [("gray input", next(iter(results.values())).gray[i])]
    for mode, result in results.items():
      if result.reference is not None:
        row.append((f"reference ({mode})", result.reference[i]))
      row.append((f"{mode} {result.scores['psnr_ab'][i]:.1f} dB ab", result.rgb[i]))
    rows.append([*row, ("truth", truth[i])])
  return report.panel(rows)


def _check_best(config, data: Data) -> None:
  mode = config.checkpoint.best_metric.partition("/")[0]
  if data.heldout and config.checkpoint.best_metric and mode not in config.evaluate.modes:
    raise UserError(
      f"checkpoint.best_metric is {config.checkpoint.best_metric!r}, but evaluate.modes are "
      f"{', '.join(config.evaluate.modes) or 'none'}; add the mode or name another metric"
    )


def _differences(workdir: pathlib.Path, config, step: int) -> list[str]:
  """What the config of the run's checkpoint and this one do not share; another method refuses."""
  old = read_config(workdir, step)
  if old.method.name != config.method.name:
    raise UserError(
      f"{workdir} holds a run of method {old.method.name!r}, the config asks for "
      f"{config.method.name!r}; choose another --workdir"
    )
  changed = [d for d in configs.difference(old, config) if not d[0].startswith(_FREE)]
  return [f"config.{path} was {a!r} in the checkpoint, now {b!r}" for path, a, b in changed]


def _moved(position: Mapping, identity: Mapping) -> list[str]:
  changed = [name for name, value in identity.items() if position.get(name, value) != value]
  if not changed:
    return []
  return [f"the training data changed since the checkpoint ({', '.join(changed)})"]


def _refuse_nonfinite(values, step: int, checkpoints: Checkpoints, workdir) -> None:
  wrong = [name for name, value in values.items() if not math.isfinite(value)]
  if wrong:
    raise UserError(
      f"{', '.join(wrong)} not finite at step {step}; the last checkpoint in {workdir} is step "
      f"{checkpoints.latest_step()}; lower config.optimizer.learning_rate or set clip_norm"
    )


class _Flag:
  def __init__(self):
    self.raised = False

  def __bool__(self):
    return self.raised


@contextlib.contextmanager
def _stop_signals():
  """A flag that SIGTERM raises, so that the step at hand ends and is saved."""
  flag = _Flag()

  def raise_flag(signum, frame):
    del signum, frame
    flag.raised = True

  try:
    before = signal.signal(signal.SIGTERM, raise_flag)
  except ValueError:  # not the main thread: somebody else's to handle
    yield flag
    return
  try:
    yield flag
  finally:
    signal.signal(signal.SIGTERM, before)
