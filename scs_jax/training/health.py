"""Reads what steps say of themselves, a little late, so that no step waits to be asked."""

import collections
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax

from scs_jax.training.parallel import Parallel
from scs_jax.training.update import FINITE, STOP

LAG = 2
"""Steps that are under way on the devices before the first is asked how it went."""
_NAMED = 10  # pictures that are named in a message


class Health:
  """Watches for losses and gradients that are not finite, and for other processes' SIGTERM.

  Args:
    parallel: the run's.
    name: number of a training record -> what to call it.
    workdir: the run's folder: all pictures of such a batch are named in nonfinite.jsonl there.
    skipped: updates left out by earlier parts of the run.

  Attributes:
    skipped: updates left out so far.
    reason: what was not finite last.
    last_good: where the run cannot go on, the step of the last good state, which then is the one
      that the devices hold; else None.
    stop: some process was asked to stop; all find that out at the same step.
  """

  def __init__(
    self, parallel: Parallel, name: Callable[[int], str], workdir: pathlib.Path, skipped: int = 0
  ):
    self.skipped, self.reason = skipped, ""
    self.last_good: int | None = None
    self.stop = False
    self._parallel, self._name, self._workdir = parallel, name, workdir
    self._pending: collections.deque = collections.deque()

  def add(self, step: int, host: Mapping, logs: Mapping) -> None:
    """Takes down a step that has been started: its number (from 1), the host's batch, its logs."""
    self._pending.append((step, host.get("record", ()), logs))

  def check_steps(self, everything: bool = False) -> list[str]:
    """Reads what has come in; with `everything`, waits for all steps. Returns what to tell."""
    news = []
    while self._pending and self.last_good is None:
      if len(self._pending) <= LAG and not everything:
        break
      step, records, logs = self._pending.popleft()
      marks = {name: logs[name] for name in (FINITE, STOP) if name in logs}
      marks = self._parallel.read_logs(marks)
      self.stop |= marks.get(STOP, 0.0) > 0
      if marks[FINITE] < 1:
        self.skipped += 1
        if self.skipped > self._parallel.options.skip_nonfinite:
          self.last_good = step - 1
        self.reason = self._describe(step, records, self._parallel.read_logs(logs))
        if self.last_good is None:
          news.append(f"{self.reason}: the update was left out")
    return news

  def _describe(self, step: int, records: Sequence[int], logs: Mapping[str, float]) -> str:
    wrong = [name for name, value in logs.items() if not math.isfinite(value)]
    what = ", ".join(wrong) or "a gradient or parameter"
    names = [self._name(int(i)) for i in records]
    process = jax.process_index()
    path = self._workdir / (f"nonfinite_{process}.jsonl" if process else "nonfinite.jsonl")
    with open(path, "a", encoding="utf-8") as file:
      file.write(json.dumps({"step": step, "what": what, "pictures": names}) + "\n")
    more = f" and {len(names) - _NAMED} more, see {path.name}" if len(names) > _NAMED else ""
    pictures = f" (pictures: {', '.join(names[:_NAMED])}{more})" if names else ""
    return f"{what} not finite at step {step}{pictures}"
