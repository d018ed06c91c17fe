"""Rates over a window, and what is left out of them."""

import jax
import pytest

from scs_jax.training import throughput
from scs_jax.training.throughput import Meter, Profile


class Device:
  process_index = 0

  def __init__(self, kind, stats=None):
    self.device_kind, self._stats = kind, stats

  def memory_stats(self):
    return self._stats


@pytest.fixture
def clock(monkeypatch):
  """A clock that the test turns."""

  class Clock:
    now = 100.0

  monkeypatch.setattr(throughput.time, "monotonic", lambda: Clock.now)
  return Clock


def test_rates_are_those_since_the_last_reading(clock):
  meter = Meter(6, [Device("cpu")] * 2, "float32")
  for _ in range(4):
    with meter.waiting():
      clock.now += 0.25
    clock.now += 0.5
    meter.count(3_000_000_000_000)
  found = meter.read(4)  # four steps in 3 s, of which 1 s was spent waiting
  assert found == pytest.approx(
    {"images_per_second": 8.0, "input_wait": 1 / 3, "tflops_per_device": 2.0}
  )
  assert meter.read(4) == {}  # no step since
  clock.now += 50.0
  meter.restart(4)  # an evaluation
  clock.now += 0.5
  assert meter.read(5) == pytest.approx({"images_per_second": 12.0, "input_wait": 0.0})


def test_a_known_chip_has_a_share_of_its_peak_and_its_memory(clock):
  full = Device("TPU v5 lite", {"peak_bytes_in_use": 3 * 2**30})
  meter = Meter(1, [Device("TPU v5 lite", {"peak_bytes_in_use": 5}), full], "bfloat16")
  meter.count(2 * 10**14)  # 100 TFLOP a chip; its peak is 197 a second
  clock.now += 2.0
  found = meter.read(1)
  assert found["peak_share"] == pytest.approx(50 / 197)
  assert found["memory_gib"] == pytest.approx(3.0)


@pytest.mark.parametrize(("begin", "traced"), [(0, [2, 3]), (3, [3]), (4, [])])
def test_a_window_traces_its_steps_or_what_is_left_of_them(monkeypatch, begin, traced):
  running, seen, told = [], [], []
  monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: running.append(folder))
  monkeypatch.setattr(jax.profiler, "stop_trace", running.clear)
  window = Profile("there", 2, 2)
  for step in range(begin, 6):
    window.before(step)
    if running == ["there"]:
      seen.append(step)
    told.append(window.after(step + 1, ()))
  assert seen == traced and not running
  assert sum(told) == bool(traced)
  window.before(2)
  window.close()
  assert not running
