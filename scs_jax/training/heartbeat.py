"""Noticing that another process of the run is gone, and saying so.

JAX's own watch ends a process too, but by an abort with a stack trace. This one comes first: every
process writes a growing number at the coordinator; the first process reads all of them, the others
read the first's, so that the coordinator is asked once a process and beat however many there are.
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping

INTERVAL = 5.0
"""Seconds between beats."""
SILENCE = 30.0
"""Seconds without a beat after which a process counts as gone."""
ADVICE = "start all processes again: the run goes on from its last checkpoint"
_FOLDER = "scs_jax_alive/"
_DONE, _LEFT = "done", "left: "


class Heartbeat:
  """Beats beside the run until `stop`.

  Args:
    client: the coordinator's, with key_value_set, key_value_dir_get and key_value_try_get.
    process, processes: which this is of how many.
    lost: called, once, with a line for the user.
    interval, silence: in seconds.
    advice: ends the line.
  """

  def __init__(
    self,
    client,
    process: int,
    processes: int,
    lost: Callable[[str], None],
    interval: float = INTERVAL,
    silence: float = SILENCE,
    advice: str = ADVICE,
  ):
    self._client, self._process, self._processes, self._lost = client, process, processes, lost
    self._interval, self._silence, self._advice = interval, silence, advice
    self._stopped = threading.Event()
    self._thread = threading.Thread(target=self._run, daemon=True, name="heartbeat")
    self._thread.start()

  def stop(self) -> None:
    """This process is done, and will be missed by none."""
    self._stopped.set()
    self._thread.join()
    self._beat(_DONE)

  def leave(self, line: str) -> None:
    """This process ends before its time; tells why, as far as that can still be told."""
    self._stopped.set()
    self._thread.join(self._interval)  # whose next beat would hide this one
    with contextlib.suppress(Exception):
      self._beat(_LEFT + line)

  def _run(self) -> None:
    heard: dict[int, tuple[str, float]] = {}
    count = 0
    while not self._stopped.wait(self._interval if count else 0.0):
      count += 1
      try:
        self._beat(str(count))
        found = self._read()
      except Exception as error:
        if not self._stopped.is_set():
          reason = str(error).strip().splitlines()[0][:200]
          self._lost(f"process 0, where all meet, cannot be reached ({reason}); {self._advice}")
        return
      now = time.monotonic()
      for other, beat in found.items():
        if beat.startswith(_LEFT):
          self._lost(
            f"process {other} of {self._processes} has ended ({beat.removeprefix(_LEFT)}); "
            f"{self._advice}"
          )
          return
        if other not in heard or heard[other][0] != beat:
          heard[other] = beat, now
        elif beat != _DONE and now - heard[other][1] > self._silence:
          self._lost(
            f"process {self._process} of {self._processes} has not heard of process {other} for "
            f"{self._silence:.0f} s; see what that one said last, then {self._advice}"
          )
          return

  def _beat(self, text: str) -> None:
    self._client.key_value_set(f"{_FOLDER}{self._process}", text, allow_overwrite=True)

  def _read(self) -> Mapping[int, str]:
    """Reads the last beats of the processes that this one watches, by number."""
    found = self._client.key_value_dir_get(_FOLDER) if self._process == 0 else self._first()
    beats = {int(key.rpartition("/")[2]): value for key, value in found}
    beats.pop(self._process, None)
    return beats

  def _first(self) -> list[tuple[str, str]]:
    try:
      return [(f"{_FOLDER}0", self._client.key_value_try_get(f"{_FOLDER}0"))]
    except Exception as error:
      if "NOT_FOUND" in str(error):  # it has not begun
        return []
      raise


def end(line: str) -> None:
  """Says a line and ends the process, in whatever it is."""
  print(f"scs-jax: error: {line}", file=sys.stderr, flush=True)
  os._exit(2)
