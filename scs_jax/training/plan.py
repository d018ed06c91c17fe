"""Costs of a training step on a machine that need not be there.

The step that `train` runs is compiled ahead of time, for the devices at hand or for a TPU topology
that libtpu knows, and the compiler is asked what it would use. Nothing is allocated or run.
"""

import collections
import contextlib
import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from scs_jax.core import resolve
from scs_jax.errors import UserError
from scs_jax.ops import platform
from scs_jax.training import chips, flops, update
from scs_jax.training.chips import Chip
from scs_jax.training.collectives import sent_bytes
from scs_jax.training.parallel import Parallel

GIB = 2**30

# libtpu would ask the metadata server, which only a TPU VM has, and serve one process at a time.
_NO_MACHINE = {
  "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Machine:
  """Devices to compile for.

  Attributes:
    name: as the user wrote it.
    devices: real ones, or those of a topology.
    kind: "cpu", "gpu" or "tpu".
    chip: what one of them can do, where that is known.
  """

  name: str
  devices: Sequence
  kind: str
  chip: Chip | None


@dataclasses.dataclass(frozen=True)
class PhasePlan:
  """Holds what the compiler says of one of a method's programs, on one chip.

  Attributes:
    phase: which.
    flops: multiplications and additions of matrix products and convolutions (training/flops.py).
    memory: bytes of device memory in use at the peak: state, batch, temporaries, code.
    memory_bytes: bytes read and written, as far as the compiler knows (a loop counts once).
    sent: bytes that a chip sends to others in collectives.
  """

  phase: str
  flops: float
  memory: int
  memory_bytes: float
  sent: float

  def bounds(self, chip: Chip, dtype: str) -> dict[str, float]:
    """Seconds below which a step cannot be, by what limits it."""
    found = {
      "arithmetic": self.flops / chip.peak(dtype),
      "memory": self.memory_bytes / chip.bandwidth,
    }
    if chip.links:
      found["interconnect"] = self.sent / chip.links
    return found


class TooLarge(UserError):
  """The step needs more device memory than there is; `needed` in bytes where the compiler says."""

  def __init__(self, message: str, needed: float | None):
    super().__init__(message)
    self.needed = needed


def local() -> Machine:
  """Returns all devices of this process's backend."""
  devices = jax.devices()
  first = devices[0]
  name = f"{len(devices)} local device{'s' if len(devices) > 1 else ''} ({first.device_kind})"
  return Machine(name, devices, first.platform, chips.find(first.device_kind))


def topology(name: str) -> Machine:
  """Describes a TPU slice by name, e.g. "v5e:4x4", "v6e:16x16", "v5p:4x4x8".

  Raises:
    UserError: libtpu is not installed, or does not know the name.
  """
  from jax.experimental import topologies

  for key, value in _NO_MACHINE.items():
    os.environ.setdefault(key, value)
  try:
    with _quiet():
      described = topologies.get_topology_desc(platform="tpu", topology_name=name)
  except Exception as error:
    text = str(error)
    if "support not installed" in text or ("libtpu" in text and "No such file" in text):
      raise UserError(
        "a TPU topology needs libtpu, which is not installed; pip install 'scs_jax[tpu]', or "
        "leave --topology out to plan for the devices at hand"
      ) from error
    raise UserError(
      f"topology {name!r} is not one that libtpu knows ({text.splitlines()[0][:200]}); expected "
      "KIND:SHAPE as v5e:4x4, v5e:16x16, v6e:16x16 or v5p:4x4x4"
    ) from error
  devices = list(described.devices)
  return Machine(name, devices, "tpu", chips.find(devices[0].device_kind))


class Planner:
  """Compiles a config's steps for a machine, at any batch.

  Args:
    config: resolved and validated; its batch_size is replaced.
    machine: see Machine.
    batch_shapes: (config) -> {name: jax.ShapeDtypeStruct} of a global training batch.

  Raises:
    UserError: a config that no plan can be made of.
  """

  def __init__(self, config, machine: Machine, batch_shapes: Callable):
    if config.parallel.mode != "jit":
      raise UserError(
        f"plan compiles parallel.mode=jit, the config has {config.parallel.mode!r}; add "
        "--config.parallel.mode=jit"
      )
    self.config, self.machine, self._batch_shapes = config, machine, batch_shapes
    with platform.compiling_for(machine.kind):
      method = resolve.build(config)
      shapes = jax.eval_shape(lambda key: method.init(key, {}), jax.random.key(0))
    self.parameters = {name: _size(tree) for name, tree in shapes.params.items()}
    self.phases = _phases(method, int(config.steps))

  def compile(self, per_device: int, phase: str) -> PhasePlan:
    """Compiles one program at this many pictures a device.

    Raises:
      TooLarge: it does not fit into the chip.
    """
    count = len(self.machine.devices)
    config = self.config.copy_and_resolve_references()
    with config.unlocked():
      config.batch_size = per_device * count
    with platform.compiling_for(self.machine.kind):
      method, key = resolve.build(config), jax.random.key(config.seed)
      parallel = Parallel.of(config, self.machine.devices)
      parallel.check_batch(config.batch_size)
      step = update.device_step(method, key, parallel)
      state = parallel.shapes(method, key, method.frozen_shapes())
      like = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=parallel.by_batch)
      batch = {name: like(x) for name, x in self._batch_shapes(config).items()}
      work = flops.count(lambda *shapes: step(*shapes, phase), state, batch)
      try:
        with _quiet():
          compiled = step.lower(state, batch, phase).compile()
      except Exception as error:
        raise explain(error, per_device, self.machine) from error
    memory = peak_memory(compiled)
    chip = self.machine.chip
    if chip is not None and memory > chip.memory:
      raise TooLarge(_does_not_fit(per_device, memory, chip), memory)
    return PhasePlan(
      phase=phase,
      flops=work / count,
      memory=memory,
      memory_bytes=_cost(compiled).get("bytes accessed", 0.0),
      sent=sent_bytes(compiled.as_text(), count),
    )

  def compile_all(self, per_device: int) -> list[PhasePlan]:
    """Compiles every program at this many pictures a device; TooLarge where one does not fit."""
    return [self.compile(per_device, phase) for phase in self.phases]

  def largest(self, log: Callable[[str], None] = lambda text: None) -> tuple[int, list[PhasePlan]]:
    """Finds (pictures a device, plans) of the largest batch that fits.

    Memory grows in proportion to the batch but for the state: two compilations of the largest
    program give the line, and few more find the last batch under the chip's memory.

    Raises:
      TooLarge: one picture does not fit.
      UserError: the chip's memory is not known.
    """
    if self.machine.chip is None:
      raise UserError(
        f"--find-batch needs a chip whose memory is known; {self.machine.name} is not one: give "
        "--topology, or --per-device-batch"
      )
    room = self.machine.chip.memory

    def measure(batch: int) -> float:
      try:
        needed = max(plan.memory for plan in self.compile_all(batch))
      except TooLarge as error:
        needed = error.needed or math.inf
      log(f"{batch} a device: {'does not fit' if needed > room else f'{needed / GIB:.2f} GiB'}")
      return needed

    return _search(measure, room, self.compile_all)


def _search(measure, room: float, plans) -> tuple[int, list[PhasePlan]]:
  known = {1: measure(1)}
  if known[1] > room:
    return 1, plans(1)  # raises, with the compiler's words
  known[2] = measure(2)
  fits, breaks = (2, math.inf) if known[2] <= room else (1, 2)
  while breaks - fits > 1:
    # The line through the two largest known batches; a step of doubling where it says nothing.
    (a, at_a), (b, at_b) = sorted((k, v) for k, v in known.items() if v < math.inf)[-2:]
    slope = (at_b - at_a) / (b - a)
    guess = fits + int((room - known[fits]) / slope) if slope > 0 else 2 * fits
    upper = breaks - 1 if breaks < math.inf else max(2 * fits, guess)
    guess = min(max(guess, fits + 1), upper)
    known[guess] = measure(guess)
    fits, breaks = (guess, breaks) if known[guess] <= room else (fits, guess)
  return fits, plans(fits)


def _phases(method, steps: int) -> dict[str, float]:
  """Lists the programs that a run compiles, by first step, with their shares of its steps."""
  steps = max(steps, 1)
  looked = range(steps)
  if steps > _MOST_STEPS:  # first ones for the order, then any: exact enough for a share
    any_of = np.random.default_rng(0).integers(steps, size=_MOST_STEPS)
    looked = [*range(_FIRST_STEPS), *map(int, any_of)]
  counts = collections.Counter(method.phase(step) for step in looked)
  return {phase: count / counts.total() for phase, count in counts.items()}


_MOST_STEPS, _FIRST_STEPS = 2**20, 64


def _size(tree) -> int:
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _cost(compiled) -> Mapping[str, float]:
  cost = compiled.cost_analysis() or {}
  return cost[0] if isinstance(cost, list) else cost


def peak_memory(compiled) -> int:
  """Counts bytes at the peak: arguments, results in no argument's place, temporaries, code."""
  found = compiled.memory_analysis()
  return (
    found.argument_size_in_bytes
    + found.output_size_in_bytes
    - found.alias_size_in_bytes
    + found.temp_size_in_bytes
    + found.generated_code_size_in_bytes
  )


def explain(error: Exception, per_device: int, machine: Machine) -> Exception:
  """Explains the compiler's "it does not fit" as TooLarge; any other error as it is."""
  text = str(error)
  if "RESOURCE_EXHAUSTED" not in text and "Ran out of memory" not in text:
    return error
  used = _NEEDED.search(text)
  needed = float(used["amount"]) * _UNIT[used["unit"]] if used else None
  if machine.chip is not None:
    return TooLarge(_does_not_fit(per_device, needed, machine.chip), needed)
  return TooLarge(f"{per_device} a device does not fit into {machine.name}", needed)


# The compiler's two ways to say it: before placing buffers, when it is hopeless, and after.
_NEEDED = re.compile(
  r"(?:Used |required for HLO temporaries \()(?P<amount>[\d.]+)(?P<unit>[KMGT]?)"
)
_UNIT = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _does_not_fit(per_device: int, needed: float | None, chip: Chip) -> str:
  amount = "more" if needed is None else f"{needed / GIB:.2f} GiB"
  many = "s" if per_device > 1 else ""
  return (
    f"{per_device} example{many} a device need {amount}, a {chip.name} has "
    f"{chip.memory / GIB:.2f} GiB; lower --per-device-batch, or set --config.remat=blocks, "
    "--config.dtype=bfloat16, or --config.parallel.fsdp=N"
  )


@contextlib.contextmanager
def _quiet():
  """Keeps the TPU library's own words about machines that are not there off the terminal."""
  import sys

  sys.stderr.flush()
  kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
  try:
    os.dup2(null, 2)
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(null)
