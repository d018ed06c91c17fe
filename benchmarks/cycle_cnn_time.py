"""Cycle CNN: time and memory of one colorization at the three sizes of the paper's Table III.

    python benchmarks/cycle_cnn_time.py --out benchmarks/results/cycle_cnn_time_cpu.json
    python benchmarks/cycle_cnn_time.py --sizes 256x200 --dtype bfloat16

Each size runs in a process of its own, so that its peak memory is its own: a pair of views on the
host goes in, the RGB of the monochrome view comes out, in strips of rows where the whole takes more
than --memory-limit. The time is the fastest of --repeats, without compiling. Weights are those of
an initialisation: the time does not depend on them. The paper's row was measured on another
machine (a Titan X) by another program: read it as what was published, not as a race.
"""

import datetime
import json
import sys
import time

import harness

PAPER_MS = {"1024x800": 803, "512x400": 251, "256x200": 85}  # Table III, "Ours"


def main() -> int:
  parser = harness.parser(__doc__)
  parser.add_argument("--config", default="cycle_cnn/paper")
  parser.add_argument("--sizes", nargs="+", default=list(PAPER_MS), metavar="WxH")
  parser.add_argument("--dtype", nargs="+", default=["float32"], help="float32, bfloat16 or both")
  parser.add_argument("--memory-limit", default="12GB", help="as of colorize; default 12GB")
  parser.add_argument("--repeats", type=int, default=3)
  args = parser.parse_args()
  if args.case:
    print(json.dumps(run_case(args.case, args)))
    return 0
  results = {
    "config": args.config,
    "date": str(datetime.date.today()),
    "limit": args.memory_limit,
    "machine": harness.child(__file__, {"kind": "machine"}, config=args.config),
    "cases": [],
  }
  for size in args.sizes:
    for dtype in args.dtype:
      print(f"{size} {dtype} ...", file=sys.stderr, flush=True)
      case = {"size": size, "dtype": dtype, "limit": args.memory_limit, "repeats": args.repeats}
      found = harness.child(__file__, {"kind": "pair", **case}, config=args.config)
      print(f"  {found}", file=sys.stderr, flush=True)
      results["cases"].append(case | found)
      harness.save(args.out, results, markdown(results))
  print(markdown(results))
  return 0


def run_case(case: dict, args) -> dict:
  if case["kind"] == "machine":
    return harness.machine()
  import jax
  import numpy as np

  from scs_jax.cli import quantities
  from scs_jax.core import config as configs
  from scs_jax.core import resolve
  from scs_jax.infer import strips

  config = configs.load(args.config)
  method = resolve.build(configs.apply_overrides(config, [f"dtype={case['dtype']}"]))
  state = jax.jit(method.init)(jax.random.key(0), {})
  width, height = map(int, case["size"].split("x"))
  rng = np.random.default_rng(0)
  color = rng.random((height, width, 3), np.float32)
  mono = np.ascontiguousarray(color[..., 1:2])
  limit = quantities.memory(case["limit"])
  painter = strips.StripPainter(method, state, limit)
  started = time.perf_counter()
  rows = painter.height_for((height, width))
  program = painter.program((height, width), rows)
  compile_s = time.perf_counter() - started
  before, seconds = harness.peak_rss(), []
  for _ in range(case["repeats"]):
    started = time.perf_counter()
    rgb = painter.paint(mono, color).rgb
    seconds.append(time.perf_counter() - started)
  assert np.isfinite(rgb).all()
  cut = list(strips.strips(height, rows, painter.overlap, painter.multiple))
  found = harness.report(min(seconds), compile_s, before, programs=len(painter.programs))
  return found | {
    "seconds": round(min(seconds), 3),
    "strips": f"{len(cut)} of {rows} rows",
    "planned_mb": round(program.bytes / 1e6),
  }


def markdown(results: dict) -> str:
  machine = results["machine"]
  lines = [
    f"# Cycle CNN at the sizes of Table III: {results['config']}",
    "",
    f"{results['date']}, {machine.get('device')} ({machine.get('cpu_cores')} cores), "
    f"jax {machine.get('jax')}, Python {machine.get('python')}; memory limit {results['limit']}. "
    "The paper: a Titan X.",
    "",
    "| width x height | dtype | ms here | ms in the paper | strips | planned MB | peak MB of the "
    "process | peak MB of the device | s to compile |",
    "|---|---|---|---|---|---|---|---|---|",
  ]
  for case in results["cases"]:
    head = f"| {case['size']} | {case['dtype']} | "
    if "failed" in case:
      lines.append(f"{head}failed: {case['failed']} | | | | | | |")
      continue
    cells = [
      f"{1000 * case['seconds']:,.0f}",
      PAPER_MS.get(case["size"], ""),
      case["strips"],
      case["planned_mb"],
      f"{case['peak_rss_mb']:,.0f}",
      case.get("device_peak_mb", ""),
      case["compile_seconds"],
    ]
    lines.append(head + " | ".join(map(str, cells)) + " |")
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  sys.exit(main())
