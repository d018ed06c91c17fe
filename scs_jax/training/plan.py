"""Costs of a training step on a machine that need not be there.

The step that `train` runs is compiled ahead of time, for the devices at hand or for a machine that
is not there, and the compiler is asked what it would use. Nothing is allocated or run.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from scs_jax.core import resolve
from scs_jax.core.contract import TrainState
from scs_jax.errors import UserError
from scs_jax.ops import platform
from scs_jax.training import flops, hlo, update
from scs_jax.training.chips import Chip
from scs_jax.training.collectives import traffic
from scs_jax.training.machines import GIB, Machine, compilation
from scs_jax.training.operations import Operation, by_operation
from scs_jax.training.parallel import Parallel


@dataclasses.dataclass(frozen=True)
class PhasePlan:
  """Holds what the compiler says of one of a method's programs, on one chip.

  Attributes:
    phase: which.
    flops: multiplications and additions of matrix products and convolutions (training/flops.py).
    memory: bytes of device memory in use at the peak: state, batch, temporaries, code.
    memory_bytes: bytes read and written, by the compiler's own count: a loop counts once, and what
      stays on the chip counts too.
    sent: bytes that a chip sends in collectives to others of its node (of its slice).
    sent_between: and to those of other nodes.
    operations: what moves the bytes, by our count, loops and all (training/operations.py).
  """

  phase: str
  flops: float
  memory: int
  memory_bytes: float
  sent: float
  sent_between: float = 0.0
  operations: Sequence[Operation] = ()

  def bounds(self, chip: Chip, dtype: str) -> dict[str, float]:
    """Seconds below which a step cannot be, by what limits it."""
    found = {
      "arithmetic": self.flops / chip.peak(dtype),
      "memory": self.memory_bytes / chip.bandwidth,
    }
    if chip.links:
      found["interconnect"] = self.sent / chip.links
    if chip.network and self.sent_between:
      found["network"] = self.sent_between / chip.network
    return found


class Program(NamedTuple):
  """One of a method's programs, compiled.

  Attributes:
    phase: which.
    compiled: (state, batch) -> (state, logs), where the machine is there to call it on.
    state, batch: shapes of what it takes, with where they lie.
    flops: as PhasePlan's, over all devices.
  """

  phase: str
  compiled: Any
  state: TrainState
  batch: Mapping[str, jax.ShapeDtypeStruct]
  flops: float


class TooLarge(UserError):
  """The step needs more device memory than there is; `needed` in bytes where the compiler says."""

  def __init__(self, message: str, needed: float | None):
    super().__init__(message)
    self.needed = needed


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
      shapes = method.shapes
    self.parameters = {name: _size(tree) for name, tree in shapes.params.items()}
    self.phases = _phases(method, int(config.steps))
    self.room = machine.room(config.dtype)

  def program(self, per_device: int, phase: str) -> Program:
    """Compiles one program at this many pictures a device.

    Raises:
      TooLarge: the compiler says that it does not fit.
    """
    count = len(self.machine.devices)
    config = self.config.copy_and_resolve_references()
    with config.unlocked():
      config.batch_size = per_device * count
    with platform.compiling_for(self.machine.kind):
      method = resolve.build(config)
      parallel = Parallel.of(config, self.machine.devices)
      parallel.check_batch(config.batch_size)
      step = update.device_step(method, config.seed, parallel)
      state = parallel.shapes(method, method.frozen_shapes())
      like = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=parallel.by_batch)
      batch = {name: like(x) for name, x in self._batch_shapes(config).items()}
      work = flops.count(lambda *shapes: step(*shapes, phase), state, batch)
      try:
        with compilation(self.machine):
          lowered = step.lower(state, batch, phase)
          compiled = lowered.compile(compiler_options=dict(self.machine.options))
      except Exception as error:
        raise explain(error, per_device, self.machine, self.room) from error
    return Program(phase, compiled, state, batch, work)

  def figures(self, program: Program) -> PhasePlan:
    """Asks the compiler what it takes."""
    count, compiled = len(self.machine.devices), program.compiled
    text = compiled.as_text()
    sent = traffic(text, count, self.machine.per_node)
    return PhasePlan(
      phase=program.phase,
      flops=program.flops / count,
      memory=peak_memory(compiled),
      memory_bytes=hlo.bytes_accessed(compiled),
      sent=sent.inside,
      sent_between=sent.between,
      operations=by_operation(text),
    )

  def compile(self, per_device: int, phase: str) -> PhasePlan:
    """Gives one program's figures at this many pictures a device.

    Raises:
      TooLarge: it does not fit into the chip.
    """
    found = self.figures(self.program(per_device, phase))
    if self.room is not None and found.memory > self.room:
      message = _does_not_fit(per_device, found.memory, self.machine.chip, self.room)
      raise TooLarge(message, found.memory)
    return found

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
    room = self.room
    if room is None:
      raise UserError(
        f"--find-batch needs a chip whose memory is known; {self.machine.name} is not one: give "
        "--topology, or --per-device-batch"
      )

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


def explain(
  error: Exception, per_device: int, machine: Machine, room: float | None
) -> Exception:
  """Explains the compiler's "it does not fit" as TooLarge; any other error as it is."""
  text = str(error)
  if "RESOURCE_EXHAUSTED" not in text and "Ran out of memory" not in text:
    return error
  used = _NEEDED.search(text)
  needed = float(used["amount"]) * _UNIT[used["unit"]] if used else None
  if room is not None:
    return TooLarge(_does_not_fit(per_device, needed, machine.chip, room), needed)
  return TooLarge(f"{per_device} a device does not fit into {machine.name}", needed)


# The compiler's two ways to say it: before placing buffers, when it is hopeless, and after.
_NEEDED = re.compile(
  r"(?:Used |required for HLO temporaries \()(?P<amount>[\d.]+)(?P<unit>[KMGT]?)"
)
_UNIT = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _does_not_fit(per_device: int, needed: float | None, chip: Chip, room: float) -> str:
  amount = "more" if needed is None else f"{needed / GIB:.2f} GiB"
  many = "s" if per_device > 1 else ""
  has = f"{room / GIB:.2f} GiB"
  if room < chip.memory:
    has += f" for it (of {chip.memory / GIB:.1f})"
  return (
    f"{per_device} example{many} a device need {amount}, a {chip.name} has {has}; lower "
    "--per-device-batch, or set --config.remat=blocks, --config.dtype=bfloat16, or "
    "--config.parallel.fsdp=N"
  )
