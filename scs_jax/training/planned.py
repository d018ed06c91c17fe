"""Plans a whole training for a machine that need not be there: `scs_jax.plan`."""

import dataclasses
import math
import textwrap
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from scs_jax.core import config as configs
from scs_jax.data import opening
from scs_jax.training import machines, operations
from scs_jax.training.plan import PhasePlan, Planner

_MB, _T = 1e6, 1e12


@dataclasses.dataclass(frozen=True)
class Planned:
  """Figures of a training that was compiled and not run.

  Attributes:
    record: plain numbers by name, as `scs-jax plan --json` prints them: parameters, the batch, each
      program's work, memory and traffic, and lower bounds on the time where the chip is known.
  """

  record: dict[str, Any]

  def show(self) -> None:
    """Prints the figures as a table."""
    print(self.table())

  def table(self) -> str:
    """Writes the figures for the screen."""
    record, gib = self.record, machines.GIB
    nodes = record["nodes"] > 1
    total = sum(record["parameters"].values())
    each = ", ".join(f"{name} {count:,}" for name, count in record["parameters"].items())
    lines = [
      f"{record['config']}, {record['dtype']}: {record['machine']}, {record['chips']} x "
      f"{record['chip']}, {record['per_device_batch']} a chip, {record['batch']} a step",
      f"parameters: {total:,} ({each})",
      "",
      f"{'program':<14}{'steps':>7}{'TFLOP/chip':>12}{'memory':>11}{'free':>11}{'sent':>11}"
      + (f"{'to nodes':>11}" if nodes else "")
      + f"{'at least':>11}  bound by",
    ]
    for row in record["programs"]:
      known = "seconds_at_least" in row
      free = f"{row['memory_free_bytes'] / gib:.2f} GiB" if known else "-"
      bound = f"{row['seconds_at_least'] * 1e3:.2f} ms" if known else "-"
      between = f"{row['sent_between_nodes_bytes_per_chip'] / _MB:>8.1f} MB" if nodes else ""
      lines.append(
        f"{row['phase']:<14}{row['share_of_steps']:>7.0%}{row['flops_per_chip'] / _T:>12.4f}"
        f"{row['memory_bytes'] / gib:>7.2f} GiB{free:>11}"
        f"{row['sent_bytes_per_chip'] / _MB:>8.1f} MB{between}{bound:>11}"
        f"  {row.get('bound_by', '-')}"
      )
    lines.append("")
    if "step_seconds_at_least" in record:
      lines.append(
        f"a step takes at least {record['step_seconds_at_least'] * 1e3:.2f} ms, so at most "
        f"{record['images_per_second_at_most']:,.0f} examples/s"
      )
      lines.append(
        f"{record['examples_shown']:,} examples in the whole run: at least "
        f"{record['hours_at_least']:.2f} hours"
        if "hours_at_least" in record
        else "the config counts epochs: give --images N for the hours of the whole run"
      )
      lines.append(
        "lower bounds from the chip's peak figures: a real step is slower, often several times"
      )
    else:
      lines.append("this chip's peak figures are not known, so there is no bound on the time")
    lines += [textwrap.fill(sentence, 98) for sentence in record["left_out"]]
    for row in record["programs"]:
      if "operations" in row:
        moved = map(operations.from_record, row["operations"])
        lines += ["", f"{row['phase']}: what moves bytes", operations.table(moved)]
    return "\n".join(lines)


def plan(
  config: ConfigDict | str,
  *,
  topology: str | None = None,
  per_device_batch: int | None = None,
  find_batch: bool = False,
  images: int | None = None,
  by_operation: bool = False,
  name: str = "",
  log: Callable[[str], None] = lambda text: None,
) -> Planned:
  """Compiles the very step that `train` runs, and asks the compiler what it takes.

  Nothing is trained, and no pictures and no weight files are read.

  Args:
    config: of `load_config`, or a config's name; it is left as it is.
    topology: a TPU slice, KIND:SHAPE, such as "v5e:4x4", or NVIDIA GPUs, KIND:GPUS or
      KIND:MACHINESxGPUS, such as "h100:4x8"; None: the devices of this machine.
    per_device_batch: examples a chip and step; None: the config's batch_size over the chips, or 1.
    find_batch: find the largest batch that fits a chip's memory instead.
    images: pictures of the training set, for configs that count epochs.
    by_operation: also say which operations move the bytes that are read and written.
    name: what the config is called in the record; "": as it was given, or its method's name.
    log: receives a line about each batch that is tried.

  Raises:
    UserError: a topology or batch that cannot be; a step that does not fit.
  """
  if isinstance(config, str):
    config, name = configs.load(config), name or config
  config = config.copy_and_resolve_references()
  # Before anything touches JAX's own backend: planning for a TPU must not wait for one.
  machine = machines.topology(topology) if topology else machines.local()
  steps, own_batch = _steps(config, images), config.batch_size
  if steps is not None:
    with config.unlocked():
      config.steps, config.epochs = steps, 0.0
  planner = Planner(config, machine, opening.batch_shapes)
  chips = len(machine.devices)
  if find_batch:
    per_device, plans = planner.largest(log)
  else:
    least = config.accumulate  # a batch of one microbatch each
    per_device = per_device_batch or max(least, config.batch_size // chips // least * least)
    plans = planner.compile_all(per_device)
  batch = per_device * chips
  record = {
    "config": name or config.method.name,
    "dtype": config.dtype,
    "machine": machine.name,
    "chips": chips,
    "nodes": chips // machine.per_node,
    "chip": machine.chip.name if machine.chip else machine.devices[0].device_kind,
    "per_device_batch": per_device,
    "batch": batch,
    "parameters": planner.parameters,
    "programs": [_program(p, planner, config.dtype, by_operation) for p in plans],
    "left_out": machine.left_out(config.dtype),
  }
  bounds = [program.get("seconds_at_least") for program in record["programs"]]
  if None not in bounds:
    shares = planner.phases.values()
    seconds = sum(share * bound for share, bound in zip(shares, bounds, strict=True))
    record["step_seconds_at_least"] = seconds
    record["images_per_second_at_most"] = batch / seconds
    # The run shows as many examples whatever the batch, so fewer steps of a larger one.
    if steps is not None:
      shown = steps * own_batch
      record["examples_shown"] = shown
      record["hours_at_least"] = shown / batch * seconds / 3600
  return Planned(record)


def _steps(config, images) -> int | None:
  """Counts the run's steps at its own batch; None where it counts epochs of an unknown set."""
  if not config.epochs:
    return int(config.steps)
  if images is None:
    return None
  return math.ceil(images * config.epochs / config.batch_size)


def _program(found: PhasePlan, planner: Planner, dtype: str, by_operation: bool) -> dict:
  record = {
    "phase": found.phase,
    "share_of_steps": planner.phases[found.phase],
    "flops_per_chip": found.flops,
    "memory_bytes": found.memory,
    "memory_traffic_bytes": found.memory_bytes,
    "sent_bytes_per_chip": found.sent,
    "sent_between_nodes_bytes_per_chip": found.sent_between,
  }
  if planner.machine.chip is not None:
    bounds = found.bounds(planner.machine.chip, dtype)
    limit = max(bounds, key=bounds.get)
    record |= {
      "memory_free_bytes": planner.room - found.memory,
      "bounds_seconds": bounds,
      "seconds_at_least": bounds[limit],
      "bound_by": limit,
    }
  if by_operation:
    record["operations"] = list(map(operations.to_record, found.operations))
  return record
