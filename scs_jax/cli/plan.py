"""`scs-jax plan`: what training a config takes on a machine that need not be there."""

HELP = """Compiles the very step that `scs-jax train` runs, for a TPU slice or for the devices at
hand, and prints what it takes: parameters, arithmetic, device memory used and free, traffic between
chips, and from the chip's peak figures the time below which a step cannot be. Nothing is trained,
no pictures and no weight files are read, and no TPU is needed: its compiler comes with
`pip install 'scs_jax[tpu]'`.

Topologies: KIND:SHAPE, such as v5e:4x4 (16 chips), v5e:16x16, v6e:16x16, v5p:4x4x4 (64 chips)."""

EXAMPLES = """
scs-jax plan --config scsnet/paper --topology v5e:4x4 --config.dtype=bfloat16
scs-jax plan --config cycle_cnn/paper --topology v5e:2x2 --find-batch
scs-jax plan --config scsnet/small --per-device-batch 4
scs-jax plan --config scsnet/paper --topology v6e:16x16 --images 407041 --json
"""

_MB, _T = 1e6, 1e12


def add_arguments(parser) -> None:
  from scs_jax.cli import arguments

  arguments.add_config(parser)
  parser.add_argument(
    "--topology", metavar="KIND:SHAPE", help="a TPU slice; default: the devices of this machine"
  )
  batch = parser.add_mutually_exclusive_group()
  batch.add_argument(
    "--per-device-batch",
    type=int,
    metavar="N",
    help="examples a chip and step; default: the config's batch_size over the chips, or 1",
  )
  batch.add_argument(
    "--find-batch",
    action="store_true",
    help="find the largest batch a chip that fits its memory (compiles several times)",
  )
  parser.add_argument(
    "--images",
    type=int,
    metavar="N",
    help="pictures of the training set, for configs that count epochs",
  )
  parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args) -> int:
  import json

  from scs_jax.errors import UserError

  for name in ("per_device_batch", "images"):
    value = getattr(args, name)
    if value is not None and value < 1:
      raise UserError(f"--{name.replace('_', '-')} is {value}: expected 1 or more")
  record = make(args)
  print(json.dumps(record, indent=2) if args.json else table(record))
  return 0


def make(args) -> dict:
  """The plan as plain numbers: see `table` for what they are."""
  import sys

  from scs_jax.cli import arguments
  from scs_jax.data import opening
  from scs_jax.training import plan

  config = arguments.load_config(args)
  # Before anything touches JAX's own backend: planning for a TPU must not wait for one.
  machine = plan.topology(args.topology) if args.topology else plan.local()
  steps, own_batch = _steps(config, args.images), config.batch_size
  if steps is not None:
    with config.unlocked():
      config.steps, config.epochs = steps, 0.0
  planner = plan.Planner(config, machine, opening.batch_shapes)
  tell = lambda text: print(text, file=sys.stderr, flush=True)
  chips = len(machine.devices)
  if args.find_batch:
    per_device, plans = planner.largest(tell)
  else:
    least = config.accumulate  # a batch of one microbatch each
    asked = args.per_device_batch
    per_device = asked or max(least, config.batch_size // chips // least * least)
    plans = planner.compile_all(per_device)
  batch = per_device * chips
  record = {
    "config": args.config,
    "dtype": config.dtype,
    "machine": machine.name,
    "chips": chips,
    "chip": machine.chip.name if machine.chip else machine.devices[0].device_kind,
    "per_device_batch": per_device,
    "batch": batch,
    "parameters": planner.parameters,
    "programs": [_program(p, planner.phases[p.phase], machine, config.dtype) for p in plans],
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
  return record


def _steps(config, images) -> int | None:
  """Steps of the run at the config's own batch; None where it counts epochs of an unknown set."""
  import math

  if not config.epochs:
    return int(config.steps)
  if images is None:
    return None
  return math.ceil(images * config.epochs / config.batch_size)


def _program(found, share: float, machine, dtype: str) -> dict:
  record = {
    "phase": found.phase,
    "share_of_steps": share,
    "flops_per_chip": found.flops,
    "memory_bytes": found.memory,
    "memory_traffic_bytes": found.memory_bytes,
    "sent_bytes_per_chip": found.sent,
  }
  if machine.chip is not None:
    bounds = found.bounds(machine.chip, dtype)
    limit = max(bounds, key=bounds.get)
    record |= {
      "memory_free_bytes": machine.chip.memory - found.memory,
      "seconds_at_least": bounds[limit],
      "bound_by": limit,
    }
  return record


def table(record: dict) -> str:
  """The plan for the screen."""
  gib = 2**30
  total = sum(record["parameters"].values())
  each = ", ".join(f"{name} {count:,}" for name, count in record["parameters"].items())
  lines = [
    f"{record['config']}, {record['dtype']}: {record['machine']}, {record['chips']} x "
    f"{record['chip']}, {record['per_device_batch']} a chip, {record['batch']} a step",
    f"parameters: {total:,} ({each})",
    "",
    f"{'program':<14}{'steps':>7}{'TFLOP/chip':>12}{'memory':>11}{'free':>11}{'sent':>11}"
    f"{'at least':>11}  bound by",
  ]
  for row in record["programs"]:
    known = "seconds_at_least" in row
    free = f"{row['memory_free_bytes'] / gib:.2f} GiB" if known else "-"
    bound = f"{row['seconds_at_least'] * 1e3:.2f} ms" if known else "-"
    lines.append(
      f"{row['phase']:<14}{row['share_of_steps']:>7.0%}{row['flops_per_chip'] / _T:>12.4f}"
      f"{row['memory_bytes'] / gib:>7.2f} GiB{free:>11}"
      f"{row['sent_bytes_per_chip'] / _MB:>8.1f} MB{bound:>11}  {row.get('bound_by', '-')}"
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
  return "\n".join(lines)
