"""Measures how fast a run goes, and what holds it up."""

import contextlib
import time
from collections.abc import Iterator, Sequence

import jax

from scs_jax.training import chips

_GIB = 2**30


class Meter:
  """Measures from one reading to the next.

  Args:
    batch_size: pictures a step.
    devices: that the step runs on.
    dtype: of activations, which decides what peak a chip has.
    step: where the run starts.
  """

  def __init__(self, batch_size: int, devices: Sequence[jax.Device], dtype: str, step: int = 0):
    self._batch, self._devices = batch_size, devices
    chip = chips.find(devices[0].device_kind)
    self._peak = None if chip is None else chip.peak(dtype)
    self.restart(step)

  def restart(self, step: int) -> None:
    """Leaves out what happened since the last reading (compiling, evaluating)."""
    self._began, self._step, self._waited, self._flops = time.monotonic(), step, 0.0, 0

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Times what the host does inside to get a batch."""
    began = time.monotonic()
    try:
      yield
    finally:
      self._waited += time.monotonic() - began

  def count(self, flops: int) -> None:
    """Counts one step of so many operations, over all devices."""
    self._flops += flops

  def read(self, step: int) -> dict[str, float]:
    """Measures since the last reading, all steps being done; {} where there was none.

    Returns:
      images_per_second; input_wait, the share of the time that the host waited for pictures;
      tflops_per_device, of matrix products and convolutions, rematerialised ones included;
      peak_share, that over the chip's peak, where it is known; memory_gib, the most that a device
      of this process had in use, where it says.
    """
    now, steps = time.monotonic(), step - self._step
    elapsed = max(now - self._began, 1e-9)
    found = {}
    if steps > 0:
      found = {
        "images_per_second": steps * self._batch / elapsed,
        "input_wait": min(self._waited / elapsed, 1.0),
      }
      if self._flops:
        rate = self._flops / elapsed / len(self._devices)
        found["tflops_per_device"] = rate / 1e12
        if self._peak is not None:
          found["peak_share"] = rate / self._peak
      memory = _memory(self._devices)
      if memory is not None:
        found["memory_gib"] = memory / _GIB
    self.restart(step)
    return found


def _memory(devices: Sequence[jax.Device]) -> int | None:
  """Reads peak bytes in use on the fullest of this process's devices; None where none says."""
  ours = [device for device in devices if device.process_index == jax.process_index()]
  stats = [device.memory_stats() for device in ours]
  peaks = [found["peak_bytes_in_use"] for found in stats if found and "peak_bytes_in_use" in found]
  return max(peaks, default=None)


class Profile:
  """A window of steps that is traced into WORKDIR/profile, for TensorBoard, XProf or Perfetto.

  Args:
    folder: where to.
    start: first step of the window, counted from 0.
    steps: how many.
  """

  def __init__(self, folder, start: int, steps: int):
    self.folder, self._start, self._end = folder, start, start + steps
    self._running = False

  def before(self, step: int) -> None:
    """Begins the trace before the first step of the window, or what is left of it."""
    if not self._running and self._start <= step < self._end:
      jax.profiler.start_trace(str(self.folder))
      self._running = True

  def after(self, step: int, results) -> bool:
    """Ends the trace after the window's last step, given its results; True: a trace is ready."""
    if not self._running or step < self._end:
      return False
    jax.block_until_ready(results)
    self.close()
    return True

  def close(self) -> None:
    if self._running:
      self._running = False
      jax.profiler.stop_trace()
