"""Who is missed, after how long, and who is not."""

import threading
import time

import pytest

from scs_jax.training.heartbeat import Heartbeat


class Coordinator:
  """Keys and values in memory; unreachable once `gone`."""

  def __init__(self):
    self.values, self.gone = {}, False

  def key_value_set(self, key, value, allow_overwrite):
    self._reach()
    self.values[key] = value

  def key_value_dir_get(self, folder):
    self._reach()
    return [item for item in self.values.items() if item[0].startswith(folder)]

  def key_value_try_get(self, key):
    self._reach()
    if key not in self.values:
      raise RuntimeError(f"NOT_FOUND: {key}")
    return self.values[key]

  def _reach(self):
    if self.gone:
      raise RuntimeError("UNAVAILABLE: socket closed")


@pytest.fixture
def beat():
  """Starts a process' heartbeat: (it, the lines it lost its fellows with)."""
  beats, coordinator = [], Coordinator()

  def beat(process):
    lines = []
    beats.append(Heartbeat(coordinator, process, 3, lines.append, interval=0.02, silence=0.4))
    return beats[-1], lines

  beat.coordinator = coordinator
  yield beat
  coordinator.gone = False
  for one in beats:
    one.stop()
  assert not [t for t in threading.enumerate() if t.name == "heartbeat"]


def wait_for(lines):
  end = time.monotonic() + 20
  while not lines and time.monotonic() < end:
    time.sleep(0.01)
  return lines


def die(one):
  """As a kill does: it beats no more, and says nothing."""
  one._stopped.set()
  one._thread.join()


@pytest.mark.parametrize("dies", [0, 2])
def test_a_silent_process_is_missed_by_who_watches_it(beat, dies):
  found = [beat(i) for i in range(3)]
  time.sleep(0.6)
  assert [lines for _, lines in found] == [[], [], []]
  die(found[dies][0])
  for watching in (1, 2) if dies == 0 else (0,):
    (line,) = wait_for(found[watching][1])
    assert f"process {watching} of 3 has not heard of process {dies} for 0 s" in line
    assert "start all processes again" in line


def test_a_process_that_is_done_is_not_missed(beat):
  found = [beat(i) for i in range(3)]
  time.sleep(0.1)
  found[1][0].stop()
  time.sleep(0.8)
  assert [lines for _, lines in found] == [[], [], []]


def test_a_process_that_leaves_early_says_why(beat):
  found = [beat(i) for i in range(3)]
  time.sleep(0.1)
  found[2][0].leave("the disk is full")
  (line,) = wait_for(found[0][1])
  assert line.startswith("process 2 of 3 has ended (the disk is full); start all processes again")


def test_a_coordinator_that_is_gone_is_told_of(beat):
  _, lines = beat(1)
  beat.coordinator.gone = True
  (line,) = wait_for(lines)
  assert "process 0, where all meet, cannot be reached (UNAVAILABLE: socket closed)" in line
