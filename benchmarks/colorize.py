"""A picture in tiles against the picture whole: time, memory, programs, and the plan kept or not.

    python benchmarks/colorize.py --out benchmarks/results/colorize_cpu.json    # minutes, two cores
    python benchmarks/colorize.py --config scsnet/small --sides 512 1024 2048

Each case runs in a process of its own, so that its peak memory is its own. The baseline is
`method.predict` of the whole picture in one program, with the same parameters (drawn at random: the
time does not depend on them) in the same run. Read the ratios. Bound: what tiles compute twice, the
pixels of all tiles over those of the picture.
"""

import datetime
import json
import sys
import time

import harness


def main() -> int:
  parser = harness.parser(__doc__)
  parser.add_argument("--config", default="scsnet/paper")
  parser.add_argument("--sides", type=int, nargs="*", default=[640], help="squares, pixels")
  parser.add_argument("--whole-to", type=int, default=1024, help="largest side run whole as well")
  parser.add_argument("--reference", type=int, default=256, help="side of the reference; 0: none")
  args = parser.parse_args()
  if args.case:
    print(json.dumps(run_case(args.case, args)))
    return 0
  results = {
    "config": args.config,
    "date": str(datetime.date.today()),
    "machine": harness.child(__file__, {"kind": "machine"}, config=args.config),
    "cases": {},
  }
  for side in args.sides:
    for reference in sorted({0, args.reference}):
      kinds = ["whole", "tiles"] if side <= args.whole_to else ["tiles"]
      for kind in kinds:
        how = "by reference" if reference else "automatic"
        name = f"{side} x {side} {how}, {kind}"
        print(f"{name} ...", file=sys.stderr, flush=True)
        case = {"kind": kind, "side": side, "reference": reference}
        results["cases"][name] = found = harness.child(
          __file__, case, config=args.config
        )
        print(f"  {found}", file=sys.stderr, flush=True)
        harness.save(args.out, results, markdown(results))
  print(markdown(results))
  return 0


def run_case(case: dict, args) -> dict:
  if case["kind"] == "machine":
    return harness.machine()
  import jax
  import numpy as np

  from scs_jax.core import config as configs
  from scs_jax.core import resolve

  method = resolve.build(
    configs.apply_overrides(configs.load(args.config), ["loss.perceptual=0", "loss.adversarial=0"])
  )
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: method.init(jax.random.key(0), {}))
  draw = lambda s: (0.05 * rng.normal(size=s.shape)).astype(s.dtype)
  params, zero = jax.tree.map(draw, shapes.params), np.int32(0)
  state = jax.device_put(shapes.replace(step=zero, skipped=zero, params=params, opt_state={}))
  side, r = case["side"], case["reference"]
  gray = rng.random((side, side)).astype(np.float32)
  reference = rng.random((r, r, 3)).astype(np.float32) if r else None
  measure = run_whole if case["kind"] == "whole" else run_tiles
  return measure(method, state, gray, reference)


def run_whole(method, state, gray, reference) -> dict:
  import jax
  import numpy as np

  from scs_jax.core.contract import Query

  query = Query(gray[None, ..., None], gray.shape, None if reference is None else reference[None])
  started = time.perf_counter()
  compiled = jax.jit(method.predict).lower(state, query).compile()
  compile_s = time.perf_counter() - started
  before = harness.peak_rss()
  started = time.perf_counter()
  np.asarray(compiled(state, query).rgb)
  return harness.report(time.perf_counter() - started, compile_s, before, programs=1)


def run_tiles(method, state, gray, reference) -> dict:
  from scs_jax.infer import plan
  from scs_jax.infer.painter import Painter

  painter, recipe = Painter(), method.recipe(state, reference is not None)
  reference_size = None if reference is None else reference.shape[:2]
  started = time.perf_counter()
  need = plan.measure(painter, recipe, gray.shape, gray.shape, reference_size)
  compile_s = time.perf_counter() - started
  before = harness.peak_rss()
  started = time.perf_counter()
  memories = None if reference is None else painter.remember(recipe, reference)
  painter.paint(recipe, gray, gray.shape, memories)
  seconds = time.perf_counter() - started
  found = harness.report(seconds, compile_s, before, programs=len(painter.programs))
  return found | {"planned_mb": round((need.host + need.program) / 1e6, 1)}


def markdown(results: dict) -> str:
  machine = results["machine"]
  lines = [
    f"# Colouring in tiles: {results['config']}",
    "",
    f"{results['date']}, {machine.get('device')} ({machine.get('cpu_cores')} cores), "
    f"jax {machine.get('jax')}, Python {machine.get('python')}.",
    "",
    "| case | seconds | to compile | programs | planned MB | process grew by MB | peak MB |",
    "|---|---|---|---|---|---|---|",
  ]
  keys = ("seconds", "compile_seconds", "programs", "planned_mb", "grown_mb", "peak_rss_mb")
  for name, case in results["cases"].items():
    if "failed" in case:
      lines.append(f"| {name} | failed: {case['failed']} |||||")
    else:
      lines.append(f"| {name} | " + " | ".join(str(case.get(key, "")) for key in keys) + " |")
  lines += ["", *ratios(results["cases"])]
  return "\n".join(lines) + "\n"


def ratios(cases: dict) -> list[str]:
  """Whole over tiles, for cases that have both."""
  lines = []
  for name, tiles in cases.items():
    whole = cases.get(name.replace(", tiles", ", whole"))
    if not name.endswith("tiles") or whole is None or "failed" in tiles or "failed" in whole:
      continue
    time_ratio = tiles["seconds"] / whole["seconds"]
    memory_ratio = tiles["grown_mb"] / max(whole["grown_mb"], 1)
    lines.append(
      f"- {name.removesuffix(', tiles')}: tiles take {time_ratio:.2f} times the time and "
      f"{memory_ratio:.2f} times the memory of the whole."
    )
  return lines


if __name__ == "__main__":
  sys.exit(main())
