"""Books of a run's steps while they run: what is told of them, and whether it can go on."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Collection, Mapping

import jax

from scs_jax.core.stop import Flag
from scs_jax.training import distributed, update
from scs_jax.training.health import Health
from scs_jax.training.logbook import Logbook, Silent
from scs_jax.training.parallel import Parallel
from scs_jax.training.throughput import Meter, Profile

_NAMED = 10  # unreadable files that are named at the end of a run
_COMPILED = "compile_seconds/"


class Monitor:
  """Keeps the books of steps, which it does not run; a context manager.

  Args:
    config, parallel: the run's.
    name: number of a training record -> what to call it.
    workdir: the run's folder.
    start: step that the run goes on from.
    skipped: updates left out before it.
    quiet: no progress bar.
    profile: (first step, steps) to trace into workdir/profile, or None.

  Attributes:
    health: whether the run can go on.
  """

  def __init__(
    self,
    config,
    parallel: Parallel,
    name: Callable[[int], str],
    workdir: pathlib.Path,
    start: int,
    skipped: int,
    quiet: bool,
    profile: tuple[int, int] | None,
  ):
    self._parallel, self._name = parallel, name
    self.health = Health(parallel, name, workdir, skipped)
    self._meter = Meter(config.batch_size, parallel.devices, config.dtype, start)
    self._profile = None
    first = distributed.is_first()
    if profile is not None and first:
      self._profile = Profile(workdir / "profile", *profile)
    self._phases: set[str] = set()  # whose programs are there
    self._since = 0.0  # when the program was asked for that is being compiled
    self._compiled: dict[str, float] = {}  # seconds, until they are written
    self._bad: set[int] = set()
    self._book = Logbook(workdir, start, config.steps, quiet) if first else Silent()

  def __enter__(self) -> "Monitor":
    self._book.__enter__()
    return self

  def __exit__(self, *exc):
    with contextlib.ExitStack() as stack:
      stack.callback(self._book.__exit__, *exc)
      if self._profile is not None:
        self._profile.close()

  def say(self, text: str) -> None:
    self._book.say(text)

  def ended(self, stopped: Flag) -> bool:
    """Tells whether no step should follow: after a SIGTERM that all know of, or in a broken run."""
    alone = jax.process_count() == 1
    return self.health.stop or self.health.last_good is not None or (alone and bool(stopped))

  def waiting(self):
    """Times, as a context, what is done to get a batch."""
    return self._meter.waiting()

  def before(self, step: int, phase: str) -> None:
    """Takes down that step number `step` (from 0) is next; says so where its phase is new."""
    if self._profile is not None:
      self._profile.before(step)
    if phase not in self._phases:
      self.say(_compiling(phase, self._book.before.get(f"{_COMPILED}{phase}")))
      self._since = time.monotonic()

  def after(self, step: int, phase: str, work: int, host: Mapping, logs: Mapping) -> None:
    """Takes down that step number `step` (from 1) has been started.

    Args:
      work: its floating-point operations, over all devices.
      host: its batch, as the host had it.
      logs: what it said.
    """
    if phase not in self._phases:  # leave compiling out of images/s
      jax.block_until_ready(logs)
      self._compiled[f"{_COMPILED}{phase}"] = round(time.monotonic() - self._since, 3)
      self._phases.add(phase)
      self._meter.restart(step)
    else:
      self._meter.count(work)
    self._book.tick()
    if self._profile is not None and self._profile.after(step, logs):
      self.say(f"traced the steps up to {step} into {self._profile.folder}")
    self.health.add(step, host, logs)
    self._bad.update(int(i) for i in host.get("bad", ()) if i >= 0)

  def check_steps(self, everything: bool) -> None:
    """Finds out how steps went: those that must be done by now, or all."""
    for news in self.health.check_steps(everything):
      self.say(news)

  def write(self, step: int, logs: Mapping) -> None:
    """Writes a line of the step's logs, and of how fast the steps since the last line went."""
    values = self._parallel.read_logs(logs)
    values = {name: v for name, v in values.items() if name not in (update.FINITE, update.STOP)}
    values["unreadable_files"] = float(len(self._bad))
    if self.health.skipped:
      values["skipped_updates"] = float(self.health.skipped)
    self._book.write(step, values | self._meter.read(step) | self._compiled, shown=True)
    self._compiled = {}

  def write_scores(self, step: int, scores: Mapping[str, float]) -> None:
    """Writes a line of an evaluation, whose time is left out of images/s."""
    if scores:
      self._book.write(step, scores)
      self._meter.restart(step)

  def sum_up(self) -> None:
    """Says what should be known at the end of a run."""
    if self._bad:
      self.say(_unreadable(self._bad, self._name))


def _compiling(phase: str, before: float | None) -> str:
  last = "it takes from seconds to many minutes"
  if before is not None:
    text = f"{before:.0f} s" if before < 120 else f"{before / 60:.0f} min"
    last = f"about as long as last time, {text}"
  return f"compiling the training step ({phase}): {last}"


def _unreadable(bad: Collection[int], name: Callable[[int], str]) -> str:
  named = ", ".join(name(i) for i in sorted(bad)[:_NAMED])
  more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
  return f"pictures that cannot be read, each replaced by the next: {len(bad)} ({named}{more})"
