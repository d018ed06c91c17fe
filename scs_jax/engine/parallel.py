"""One step on many devices: jit over a mesh (default), or pmap.

Everything that knows how many devices there are, or where an array lies, is in this file.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from scs_jax.engine.contract import Batch, Collective, Logs, Method, TrainState
from scs_jax.errors import UserError

DATA_AXIS = "data"


def make_mesh(devices=None) -> Mesh:
  """A one-dimensional mesh, axis "data", over all devices (of all processes) or those given."""
  devices = jax.devices() if devices is None else devices
  # Linen's convolutions need automatic axes; make_mesh's default became explicit ones.
  return jax.make_mesh((len(devices),), (DATA_AXIS,), axis_types=(AxisType.Auto,), devices=devices)


class Parallel:
  """How a method's step runs on the devices at hand.

  Args:
    mode: "jit" (arrays are global, sharded over a mesh by batch) or "pmap" (a leading device axis).
    devices: to use; all by default. pmap takes this process's devices only.
  """

  def __init__(self, mode: str = "jit", devices=None):
    if mode not in ("jit", "pmap"):
      raise UserError(f"parallel.mode is {mode!r}; use 'jit' or 'pmap'")
    if mode == "pmap" and jax.process_count() > 1:
      raise UserError("parallel.mode=pmap runs on one process's devices; use jit for several")
    self.mode = mode
    self.mesh = make_mesh(devices)
    self.devices = list(self.mesh.devices.flat)
    self.replicated = NamedSharding(self.mesh, P())
    self.by_batch = NamedSharding(self.mesh, P(DATA_AXIS))

  def check_batch(self, batch_size: int) -> None:
    """UserError unless the global batch divides evenly among the devices."""
    count = len(self.devices)
    if batch_size % count:
      up = -(-batch_size // count) * count
      raise UserError(
        f"batch_size {batch_size} is not divisible by {count} devices; use {up}"
        + (f" or {up - count}" if up > count else "")
      )

  def place(self, state: TrainState) -> TrainState:
    """Puts one copy of the state on every device."""
    state = jax.device_put(state, self.replicated)
    if self.mode == "jit":
      return state
    stack = lambda x: jnp.broadcast_to(x, (len(self.devices), *x.shape))
    # Under jit no device ever holds more than its own copy of the stack.
    return jax.jit(lambda s: jax.tree.map(stack, s), out_shardings=self.by_batch)(state)

  def fetch(self, state: TrainState) -> TrainState:
    """The state as one logical copy: what is saved, evaluated, or handed to another mode."""
    return state if self.mode == "jit" else jax.tree.map(lambda x: x[0], state)

  def shard(self, batch: Mapping[str, np.ndarray]) -> Batch:
    """This process's part of a batch (host arrays) -> the global batch on the devices."""
    if self.mode == "jit":
      return {
        name: jax.make_array_from_process_local_data(self.by_batch, value)
        for name, value in batch.items()
      }
    local = len(self.devices)
    return {
      name: value.reshape(local, value.shape[0] // local, *value.shape[1:])
      for name, value in batch.items()
    }

  def train_step(self, method: Method, key: jax.Array) -> Callable[[TrainState, Batch, str], Any]:
    """Compiles lazily; the state's buffers are donated. The step's key is key folded with its step.

    Returns:
      (state, batch, phase) -> (state, logs), logs being replicated scalars.
    """
    collective = Collective(DATA_AXIS if self.mode == "pmap" else None)

    def step(state: TrainState, batch: Batch, phase: str) -> tuple[TrainState, Logs]:
      state, logs = method.train_step(
        state, batch, jax.random.fold_in(key, state.step), collective, phase
      )
      return state, collective.mean(logs)

    if self.mode == "jit":
      return jax.jit(
        step,
        in_shardings=(self.replicated, self.by_batch),
        out_shardings=self.replicated,
        donate_argnums=0,
        static_argnums=2,
      )
    return jax.pmap(
      step, DATA_AXIS, donate_argnums=0, static_broadcasted_argnums=2, devices=self.devices
    )

  def read_logs(self, logs: Logs) -> dict[str, float]:
    """Logs as Python floats; waits for the step."""
    logs = jax.device_get(self.fetch(logs))
    return {name: float(value) for name, value in logs.items()}

  def ahead(self, batches: Iterable, depth: int = 2) -> Iterator[tuple[Mapping, Batch]]:
    """(host batch, device batch) pairs, the transfer `depth` batches ahead of the step."""
    queue: list[tuple[Mapping, Batch]] = []
    for batch in batches:
      wire = {name: value for name, value in batch.items() if name not in HOST_ONLY}
      queue.append((batch, self.shard(wire)))
      if len(queue) > depth:
        yield queue.pop(0)
    yield from queue


# What a batch carries for the host's book-keeping and no step reads.
HOST_ONLY = ("record", "bad")
