"""The four paper configs on machines that need not be there: memory, traffic, lower bounds.

    python benchmarks/plan_table.py --machines tpu --out benchmarks/results/plan_tpu.json
    python benchmarks/plan_table.py --machines gpu --out benchmarks/results/plan_gpu.json

Each config is compiled by `scs-jax plan`, in a process of its own. Larger slices of a TPU kind, and
machines of the kind in a network, need not be compiled: a chip's own work and memory do not change
with their number when each takes as many examples, and the traffic of gradients follows from what
it is on few. Their rows then say "estimated". No machine is needed:
`pip install 'scs_jax[tpu]'` for TPUs, `'scs_jax[gpu-plan]'` for GPUs.

A case whose record is in --out already is not compiled again; delete the file for new ones.
JAX_EXEC_TIME_OPTIMIZATION_EFFORT=-1 in the environment compiles for TPUs in less than half the
time; such rows say so: memory and traffic of what the compiler did not try as hard to lower.
"""

import argparse
import datetime
import json
import math
import os
import pathlib
import subprocess
import sys
import time

import harness

from scs_jax.training import chips, gpus

# Examples a chip: the papers' batch on one device.
CONFIGS = {
  "scsnet/paper": (4, ("dtype=bfloat16",)),
  "smsanet/paper": (8, ("dtype=bfloat16",)),
  "joint_sr/paper": (160, ("dtype=bfloat16",)),
  "cycle_cnn/paper": (1, ("dtype=bfloat16", "remat=blocks")),
}
# Machines that are compiled, and those that are scaled from each where they are not.
MACHINES = {
  "tpu": {"v5e:4x4": ("v5e:16x16",), "v6e:16x16": (), "v5p:4x4x4": ()},
  "gpu": {"h100:8": ("h100:4x8",), "a100-80:8": (), "h100:4x8": ()},
}
# Pictures of the sets that the papers count epochs over; SCSNet's ImageNet-C, the report's COCO.
IMAGES = {"scsnet/paper": 407_041, "joint_sr/paper": 118_287}


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--configs", nargs="+", default=list(CONFIGS), choices=list(CONFIGS))
  parser.add_argument("--machines", required=True, choices=list(MACHINES), help="of which kind")
  parser.add_argument("--topologies", nargs="+", help="of those compiled; default: all")
  parser.add_argument("--out", required=True, help="JSON file; a .md table is written beside it")
  args = parser.parse_args()
  out = pathlib.Path(args.out)
  records = json.loads(out.read_text()) if out.exists() else []
  machines = MACHINES[args.machines]
  records = complete(records, machines)
  for compiled in machines:
    for config in args.configs:
      if args.topologies and compiled not in args.topologies:
        continue
      if any(_is(r, config, compiled) and not r["estimated"] for r in records):
        continue
      print(f"{config} {compiled} ...", file=sys.stderr, flush=True)
      records = complete([*records, plan(config, compiled)], machines)
      harness.save(out, records, markdown(args.machines, records))
  print(markdown(args.machines, records))
  return 0


def complete(records: list[dict], machines: dict) -> list[dict]:
  """Those that were compiled, and estimates of the others."""
  found = [record for record in records if not record["estimated"]]
  for record in list(found):
    for machine in machines.get(record["machine"], ()):
      if not any(_is(other, record["config"], machine) for other in found):
        found.append(scale(record, machine))
  return found


def _is(record: dict, config: str, machine: str) -> bool:
  return (record["config"], record["machine"]) == (config, machine)


def plan(config: str, machine: str) -> dict:
  """What `scs-jax plan --json` says, or why it could not."""
  batch, settings = CONFIGS[config]
  command = [sys.executable, "-m", "scs_jax", "plan", "--config", config, "--topology", machine]
  command += ["--per-device-batch", str(batch), "--json"]
  command += [f"--config.{setting}" for setting in settings]
  if config in IMAGES:
    command += ["--images", str(IMAGES[config])]
  started = time.perf_counter()
  found = subprocess.run(command, capture_output=True, text=True, cwd=harness.ROOT, check=False)
  seconds = round(time.perf_counter() - started)
  common = {"settings": settings, "compile_seconds": seconds, "estimated": False}
  common["date"] = str(datetime.date.today())
  if effort := os.environ.get("JAX_EXEC_TIME_OPTIMIZATION_EFFORT"):
    common["effort"] = effort
  if found.returncode:
    reason = found.stderr.strip().splitlines()[-1]
    return {"config": config, "machine": machine, "failed": reason} | common
  return json.loads(found.stdout) | common


def scale(record: dict, machine: str) -> dict:
  """The same work a chip on another number of chips of its kind."""
  scaled = dict(record, machine=machine, estimated=True)
  if "failed" in record:
    return scaled
  # What is said of the traffic in one machine is not what it is among several.
  scaled["left_out"] = record.get("left_out", [])[:1]
  kind, _, shape = machine.partition(":")
  sides = [int(side) for side in shape.split("x")]
  count, before = math.prod(sides), record["chips"]
  if kind in gpus.GPUS:
    programs = [_over_nodes(program, kind, *sides) for program in record["programs"]]
    scaled["nodes"] = sides[0]
  else:
    share = (1 - 1 / count) / (1 - 1 / before)
    programs = [
      program | {"sent_bytes_per_chip": program["sent_bytes_per_chip"] * share}
      for program in record["programs"]
    ]
  seconds = sum(program["share_of_steps"] * program["seconds_at_least"] for program in programs)
  batch = record["per_device_batch"] * count
  scaled |= {
    "chips": count,
    "batch": batch,
    "programs": programs,
    "step_seconds_at_least": seconds,
    "images_per_second_at_most": batch / seconds,
  }
  if "hours_at_least" in record:
    scaled["hours_at_least"] = record["examples_shown"] / batch * seconds / 3600
  return scaled


def _over_nodes(program: dict, kind: str, nodes: int, each: int) -> dict:
  """A program of one node on several: what is summed in a node, 2 S (g - 1) / g bytes of each of
  its g chips, is summed between N nodes too, another 2 S / g (N - 1) / N."""
  between = program["sent_bytes_per_chip"] / (each - 1) * (nodes - 1) / nodes
  speed = chips.find(gpus.GPUS[kind].device_kind).network
  bounds = program["bounds_seconds"] | {"network": between / speed}
  limit = max(bounds, key=bounds.get)
  return program | {
    "sent_between_nodes_bytes_per_chip": between,
    "bounds_seconds": bounds,
    "seconds_at_least": bounds[limit],
    "bound_by": limit,
  }


HEADS = {
  "tpu": (
    "# Training steps of the paper configs on TPU slices, planned",
    "Compiled ahead of time for each kind of chip by `scs-jax plan`, with libtpu's own compiler; "
    "nothing was run on a TPU. What moves the bytes, and the changes of 2026-11-28 that take from "
    "those of scsnet's and cycle_cnn's rows: [bytes_tpu.md](bytes_tpu.md).",
    "slice",
  ),
  "gpu": (
    "# Training steps of the paper configs on NVIDIA GPUs, planned",
    "Compiled ahead of time by `scs-jax plan`, with XLA's compiler for CUDA and our descriptions "
    "of the chips (`training/gpus.py`); nothing was run on a GPU, and no figure here is measured.",
    "machine",
  ),
}


def markdown(kind: str, records: list[dict]) -> str:
  title, how, machine = HEADS[kind]
  between = kind == "gpu"
  heads = [
    "config", "settings", machine, "chips", "examples a chip", "batch", "TFLOP a chip and step",
    "GiB used", "free", "MB sent a chip", *(["MB to other nodes"] if between else []),
    "step, ms at least", "bound by", "examples/s at most", "hours at least", "",
  ]  # fmt: skip
  lines = [
    title,
    "",
    f"{max(r['date'] for r in records)}. {how} Times are lower bounds "
    "from the chip's peak arithmetic and bandwidths: a real step is slower, often several times. "
    "Of programs that take turns (phases) memory is the largest one's, work the mean. *Estimated*: "
    "not compiled, scaled from fewer chips of that kind. Hours: all examples that the "
    "config shows.",
    "",
    *_left_out(records),
    "| " + " | ".join(heads) + " |",
    "|" + "---|" * len(heads),
  ]
  for record in sorted(records, key=lambda r: (list(CONFIGS).index(r["config"]), r["machine"])):
    settings = ", ".join(record["settings"])
    head = f"| {record['config']} | {settings} | {record['machine']} | "
    note = "estimated" if record["estimated"] else f"compiled, {record['compile_seconds']} s"
    if "effort" in record:
      note += f", effort {record['effort']}"
    if "failed" in record:
      lines.append(f"{head}{record['failed']} |" + " |" * (len(heads) - 5) + f" {note} |")
      continue
    programs = record["programs"]
    mean = lambda key, programs=programs: sum(p["share_of_steps"] * p[key] for p in programs)
    largest = max(programs, key=lambda p: p["memory_bytes"])
    slowest = max(programs, key=lambda p: p["share_of_steps"] * p["seconds_at_least"])
    hours = f"{record['hours_at_least']:.2f}" if "hours_at_least" in record else "-"
    cells = [
      record["chips"],
      record["per_device_batch"],
      record["batch"],
      f"{mean('flops_per_chip') / 1e12:.3f}",
      f"{largest['memory_bytes'] / 2**30:.2f}",
      f"{largest['memory_free_bytes'] / 2**30:.2f}",
      f"{mean('sent_bytes_per_chip') / 1e6:.1f}",
      *([f"{mean('sent_between_nodes_bytes_per_chip') / 1e6:.1f}"] if between else []),
      f"{1e3 * record['step_seconds_at_least']:.1f}",
      slowest["bound_by"],
      f"{record['images_per_second_at_most']:,.0f}",
      hours,
      note,
    ]
    lines.append(head + " | ".join(map(str, cells)) + " |")
  missing = [
    f"{config} on {machine}"
    for machine in MACHINES[kind]
    for config in CONFIGS
    if not any(_is(record, config, machine) for record in records)
  ]
  lines += ["", f"Not compiled yet: {', '.join(missing)}."] if missing else []
  return "\n".join(lines) + "\n"


def _left_out(records: list[dict]) -> list[str]:
  """What the figures do not hold, as a list with the machines that each sentence is about."""
  found: dict[str, list[str]] = {}
  for record in records:
    for sentence in record.get("left_out", ()):
      machines = found.setdefault(sentence, [])
      machines += [] if record["machine"] in machines else [record["machine"]]
  lines = [f"- {', '.join(machines)}: {sentence}." for sentence, machines in found.items()]
  return [*lines, ""] if lines else []


if __name__ == "__main__":
  sys.exit(main())
