"""The devices of a run: where its arrays lie, under jit over a mesh (default) or under pmap.

Everything that knows how many devices there are, or where an array lies, is in this file and in
sharding.py; update.py compiles the step for them.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from scs_jax.core.contract import Batch, Logs, Method, TrainState
from scs_jax.data import regions
from scs_jax.errors import UserError
from scs_jax.ops import platform
from scs_jax.ops.regions import resample_regions
from scs_jax.training import sharding, update

# What a batch carries for the host's book-keeping and no step reads.
HOST_ONLY = ("record", "bad")


class Parallel:
  """The devices that a method's step runs on.

  Args:
    mode: "jit" (arrays are global, sharded over a mesh) or "pmap" (a leading device axis).
    devices: to use; all, of all processes, by default.
    fsdp: devices that a state is cut over, see sharding.py; "jit" alone.
    fsdp_least: elements of the smallest array that is cut.
    options: what a step does besides the method's own.
  """

  def __init__(
    self,
    mode: str = "jit",
    devices=None,
    fsdp: int = 1,
    fsdp_least: int = 2**14,
    options: update.Options | None = None,
  ):
    if mode not in ("jit", "pmap"):
      raise UserError(f"parallel.mode is {mode!r}; use 'jit' or 'pmap'")
    if mode == "pmap" and fsdp > 1:
      raise UserError(f"parallel.fsdp {fsdp} needs parallel.mode=jit: pmap copies the state")
    self.mode, self.options = mode, options or update.Options()
    self.mesh = sharding.make_mesh(devices, fsdp)
    # By process, as pmap wants them; within one in the order that suits the wiring.
    self.devices = sorted(self.mesh.devices.flat, key=lambda device: device.process_index)
    self._ours = [d for d in self.devices if d.process_index == jax.process_index()]
    self._least = fsdp_least
    if mode == "jit":
      self.replicated = NamedSharding(self.mesh, P())
      self.by_batch = NamedSharding(self.mesh, sharding.BATCH)
    else:  # of several processes each holds what lies on its own devices
      ours = Mesh(np.array(self._ours), (sharding.DATA,))
      self.replicated = NamedSharding(ours, P())
      self.by_batch = NamedSharding(ours, P(sharding.DATA))

  def _identity(self) -> tuple:
    devices = self.mesh.devices
    return self.mode, self.options, devices.shape, *devices.flat, self._least, platform.target()

  def __eq__(self, other: object) -> bool:
    return isinstance(other, Parallel) and self._identity() == other._identity()

  def __hash__(self) -> int:
    return hash(self._identity())

  @classmethod
  def of(cls, config, devices=None) -> "Parallel":
    """Makes it as a run's config asks."""
    section = config.parallel
    options = update.Options.of(config)
    return cls(section.mode, devices, section.fsdp, section.fsdp_least, options)

  def check_batch(self, batch_size: int) -> None:
    """Raises UserError unless the global batch divides evenly among devices and microbatches."""
    devices, parts = len(self.devices), self.options.accumulate
    count = devices * parts
    if batch_size % count:
      up = -(-batch_size // count) * count
      each = f"{devices} devices" + (f" with {parts} microbatches each" if parts > 1 else "")
      raise UserError(
        f"batch_size {batch_size} is not divisible by {each}; use {up}"
        + (f" or {up - count}" if up > count else "")
      )

  # -- where things lie ----------------------------------------------------------------------------

  def shardings(self, state: TrainState) -> TrainState:
    """Tells where each array of a state (or of its shapes) lies, under jit."""
    return sharding.of_state(self.mesh, state, self._least)

  def shapes(self, method: Method, frozen: Mapping[str, Any]) -> TrainState:
    """Returns the state that a step takes as shapes with shardings; nothing is computed.

    Args:
      method: makes the state.
      frozen: the frozen weights, or their shapes.
    """
    fresh = update.shapes(method, self.options)
    return self.abstract(fresh.replace(frozen=dict(frozen)))

  def abstract(self, state: TrainState) -> TrainState:
    """Shapes of a state, with shardings under jit: what a checkpoint is read into."""
    if self.mode == "pmap":
      return state
    like = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)
    return jax.tree.map(like, state, self.shardings(state))

  def place(self, state: TrainState) -> TrainState:
    """Puts a state (the same in every process) on the devices: what lies where, see sharding.py."""
    if self.mode == "jit":
      return jax.tree.map(_put, state, self.shardings(state))
    state = jax.device_put(state, self.replicated)
    stack = lambda x: jnp.broadcast_to(x, (len(self._ours), *x.shape))
    # Under jit no device ever holds more than its own copy of the stack.
    return jax.jit(lambda s: jax.tree.map(stack, s), out_shardings=self.by_batch)(state)

  def fetch(self, state: TrainState) -> TrainState:
    """Returns the state as one logical copy: what is saved, or handed to another mode."""
    return state if self.mode == "jit" else jax.tree.map(lambda x: x[0], state)

  def whole(self, state: TrainState) -> TrainState:
    """Returns the state to color with, whole on the first device; all processes take part."""
    state = self.fetch(state).replace(opt_state={}, frozen={}).for_use()
    if self.mode == "pmap":
      return state
    cut = any(not x.is_fully_replicated for x in jax.tree.leaves(state))
    if cut:
      state = jax.jit(lambda s: s, out_shardings=self.replicated)(state)
    return jax.tree.map(lambda x: x.addressable_data(0), state)

  def is_finite(self, state: TrainState) -> bool:
    """Tells whether all that inference would read is; in every process the same."""
    found = _all_finite((state.params, state.model_state, state.average))
    return bool(found.addressable_data(0).all())

  def shard(self, batch: Mapping[str, np.ndarray]) -> Batch:
    """This process's part of a batch (host arrays) -> the global batch on the devices.

    Crops that came as regions of pictures are resampled there.
    """
    if self.mode == "jit":
      put = lambda value: jax.make_array_from_process_local_data(self.by_batch, value)
    else:
      ours = len(self._ours)
      put = lambda value: value.reshape(ours, value.shape[0] // ours, *value.shape[1:])
    placed = {name: put(value) for name, value in batch.items()}
    for name in [name for name in batch if regions.place_of(name) in batch]:
      where = placed.pop(regions.place_of(name))
      placed[name] = self._resample(placed[name], where)
    return placed

  @functools.cached_property
  def _resample(self) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The program that makes crops of regions, each on the device that holds it."""
    crops = lambda x, where: resample_regions(x, where, regions.crop_of(x.shape[-2]))
    if self.mode == "jit":
      return jax.jit(crops, out_shardings=self.by_batch)
    return jax.pmap(crops, devices=self._ours)

  def flag(self, batch: Batch, stopped: bool) -> Batch:
    """Returns the batch with what the other processes should know; alone, as it is."""
    if jax.process_count() == 1:
      return batch
    marks = np.full(len(self._ours), stopped, np.float32)
    if self.mode == "jit":
      marks = jax.make_array_from_process_local_data(self.by_batch, marks)
    return {**batch, update.STOP: marks}

  # -- batches and logs ----------------------------------------------------------------------------

  def read_logs(self, logs: Logs) -> dict[str, float]:
    """Logs as Python floats; waits for the step."""
    if self.mode == "pmap":
      logs = jax.tree.map(lambda x: x[0], logs)
    # A process sees its own copies of what all have.
    logs = jax.device_get({name: value.addressable_data(0) for name, value in logs.items()})
    return {name: float(value) for name, value in logs.items()}

  def ahead(self, batches: Iterable, depth: int = 2) -> Iterator[tuple[Mapping, Batch]]:
    """Yields (host batch, device batch) pairs, the transfer `depth` batches ahead of the step."""
    queue: list[tuple[Mapping, Batch]] = []
    for batch in batches:
      wire = {name: value for name, value in batch.items() if name not in HOST_ONLY}
      queue.append((batch, self.shard(wire)))
      if len(queue) > depth:
        yield queue.pop(0)
    yield from queue


@jax.jit
def _all_finite(tree: Any) -> jax.Array:
  return jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves(tree)]).all()


def _put(x: Any, where: NamedSharding) -> jax.Array:
  """Puts an array on the devices; across processes each gives the part that it sees."""
  if where.is_fully_addressable:
    return jax.device_put(x, where)
  if isinstance(x, jax.Array) and not x.is_fully_addressable:
    return x if x.sharding == where else jax.jit(lambda y: y, out_shardings=where)(x)
  host = np.asarray(x)
  return jax.make_array_from_callback(host.shape, where, lambda index: host[index])
