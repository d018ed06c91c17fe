"""SCSNet's training step and inference, and what streaming saves: time and memory, in one run.

    python benchmarks/scsnet.py --out benchmarks/results/scsnet_cpu.json   # minutes, two cores
    python benchmarks/scsnet.py --dtype bfloat16 --train-batch 4 8 16      # on an accelerator

Each case runs in a process of its own, so that its peak memory is its own. Baselines are the plain
orders of CPM (four layers at full resolution) and of attention (the full correlation matrix), with
the same parameters in the same run; read the ratios. The bound that is stated is arithmetic: FLOPs
that XLA counts for the compiled program, over this machine's own measured matrix-product rate.
"""

import datetime
import json
import platform
import sys
import time

import harness

BIG = 10**9  # a block size that covers everything: the plain order of attention


def main() -> int:
  parser = harness.parser(__doc__)
  parser.add_argument("--config", default="scsnet/paper")
  parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
  parser.add_argument("--repeats", type=int, default=3, help="timed calls; the median is kept")
  parser.add_argument("--infer-batch", type=int, nargs="*", default=[1, 8])
  parser.add_argument("--train-batch", type=int, nargs="*", default=[1, 8])
  parser.add_argument("--cases", nargs="*", help="only cases whose name contains one of these")
  args = parser.parse_args()
  if args.case:
    print(json.dumps(run_case(args.case, args)))
    return 0
  described = child({"kind": "machine"}, args)
  results = {"machine": described, "date": str(datetime.date.today()), "cases": {}}
  results["config"], results["dtype"] = args.config, args.dtype
  for name, case in cases(args).items():
    if args.cases and not any(part in name for part in args.cases):
      continue
    print(f"{name} ...", file=sys.stderr, flush=True)
    results["cases"][name + ("*" if case.get("once") else "")] = result = child(case, args)
    print(f"  {result}", file=sys.stderr, flush=True)
    harness.save(args.out, results, markdown(results))
  print(markdown(results))
  return 0


def cases(args) -> dict[str, dict]:
  """Name -> what to run. `order`, `blocks` choose fast or plain."""
  fast = {"order": "fast", "blocks": 1024}
  plain = {"order": "plain", "blocks": BIG}
  found = {}
  for batch in args.infer_batch:
    base = {"kind": "infer", "batch": batch, "size": 128, "out": 512, "reference": True}
    found[f"inference by reference 128 to 512, batch {batch}"] = base | fast
    if batch == args.infer_batch[0]:
      found[f"inference automatic 128 to 512, batch {batch}"] = base | fast | {"reference": False}
      found[f"inference by reference 128 to 512, batch {batch}, plain"] = base | plain
  for batch in args.train_batch:
    base = {"kind": "train", "batch": batch}
    once = {"once": True} if batch > args.train_batch[0] else {}
    found[f"training step by reference 128 to 512, batch {batch}"] = base | fast | once
    if batch == args.train_batch[0]:
      found[f"training step by reference 128 to 512, batch {batch}, plain"] = base | plain
  cpm = {"kind": "cpm", "batch": 1, "size": 128, "out": 512}
  found["CPM alone 128 to 512"] = cpm | {"order": "fast"}
  found["CPM alone 128 to 512, plain"] = cpm | {"order": "plain"}
  found["CPM alone 256 to 4096"] = {
    "kind": "cpm",
    "batch": 1,
    "size": 256,
    "out": 4096,
    "order": "fast",
    "once": True,
  }
  attend = {"kind": "attend", "batch": 1, "positions": 128 * 128}
  found["self-attention over 128 x 128 positions"] = attend | {"blocks": 1024}
  found["self-attention over 128 x 128 positions, plain"] = attend | {"blocks": BIG}
  found["1024 x 1024 source by reference, same size"] = {
    "kind": "infer", "batch": 1, "size": 1024, "out": 1024, "reference": True, "once": True, **fast,
  }  # fmt: skip
  return found


def child(case: dict, args) -> dict:
  options = {"config": args.config, "dtype": args.dtype, "repeats": args.repeats}
  return harness.child(__file__, case, **options)


def run_case(case: dict, args) -> dict:
  import jax

  if case["kind"] == "machine":
    return machine(args.dtype)
  build = {"infer": build_infer, "train": build_train, "cpm": build_cpm, "attend": build_attend}
  function, inputs, images = build[case["kind"]](case, args)
  started = time.perf_counter()
  compiled = function.lower(*inputs).compile()
  compile_s = time.perf_counter() - started
  before = harness.peak_rss()
  jax.block_until_ready(inputs)
  times = []
  for _ in range(1 if case.get("once") else args.repeats + 1):
    started = time.perf_counter()
    jax.block_until_ready(compiled(*inputs))
    times.append(time.perf_counter() - started)
  kept = sorted(times if len(times) == 1 else times[1:])
  seconds = kept[len(kept) // 2]
  memory = compiled.memory_analysis()
  cost = compiled.cost_analysis() or {}
  return {
    "seconds": round(seconds, 4),
    "images_per_second": round(images / seconds, 3),
    "compile_seconds": round(compile_s, 1),
    "temporary_mb": round(memory.temp_size_in_bytes / 1e6, 1),
    "peak_rss_mb": round(harness.peak_rss() / 1e6, 1),
    "rss_before_run_mb": round(before / 1e6, 1),
    "gflop": round(cost.get("flops", 0.0) / 1e9, 2),
    **harness.device_peak(),
  }


def machine(dtype: str) -> dict:
  """What ran this, and its rate at a large matrix product: the bound the cases are held against."""
  import jax
  import jax.numpy as jnp

  n = 2048 if jax.default_backend() == "cpu" else 8192
  a = jax.random.normal(jax.random.key(0), (n, n), jnp.dtype(dtype))
  product = jax.jit(lambda a: a @ a)
  jax.block_until_ready(product(a))
  times = []
  for _ in range(10):
    started = time.perf_counter()
    jax.block_until_ready(product(a))
    times.append(time.perf_counter() - started)
  return {
    **harness.machine(),
    "devices": jax.device_count(),
    "processor": platform.machine(),
    "matmul_gflops": round(2 * n**3 / sorted(times)[5] / 1e9, 1),
    "matmul": f"{n} x {n} x {n} {dtype}",
  }


def configured(case: dict, args):
  from scs_jax.core import config as configs

  block = min(case.get("blocks", 1024), 2**30)
  return configs.apply_overrides(
    configs.load(args.config),
    [
      f"dtype={args.dtype}",
      f"network.cpm_order={case.get('order', 'fast')}",
      f"network.attention_blocks={block},{block}",
      "loss.perceptual=0",
      f"batch_size={case['batch']}",
    ],
  )


def build_infer(case: dict, args):
  import jax

  from scs_jax.core import resolve
  from scs_jax.core.contract import Query

  method = resolve.build(configured(case, args))
  state = jax.jit(lambda: method.init(jax.random.key(0), {}))()
  n, size, out = case["batch"], case["size"], case["out"]
  gray = jax.random.uniform(jax.random.key(1), (n, size, size, 1))
  reference = jax.random.uniform(jax.random.key(2), (n, 128, 128, 3)) if case["reference"] else None
  state = state.replace(opt_state={})
  function = jax.jit(lambda s, g, r: method.predict(s, Query(g, (out, out), r)).rgb)
  return function, (state, gray, reference), n


def build_train(case: dict, args):
  import jax
  import numpy as np

  from scs_jax.core import resolve
  from scs_jax.core.contract import Collective

  config = configured(case, args)
  method = resolve.build(config)
  state = jax.jit(lambda: method.init(jax.random.key(0), {}))()
  n, crop = case["batch"], config.data.crop
  image = np.random.default_rng(0).integers(0, 256, (n, crop, crop, 3), np.uint8)
  batch = {"image": jax.device_put(image), "index": jax.device_put(np.arange(n, dtype=np.uint32))}
  step = jax.jit(
    lambda s, b: method.train_step(s, b, jax.random.key(0), Collective(), "referential")
  )
  return step, (state, batch), n


def build_cpm(case: dict, args):
  import jax
  import jax.numpy as jnp

  from scs_jax.methods.scsnet.cpm import ContinuousPixelMapping, pixel_axis

  dtype = jnp.dtype(args.dtype)
  config = configured(case, args)
  cpm = ContinuousPixelMapping(config.network.cpm_widths, order=case["order"], dtype=dtype)
  channels, size = config.network.fused_features, case["size"]
  axis = pixel_axis(size, case["out"])
  features = jax.random.normal(jax.random.key(0), (case["batch"], size, size, channels), dtype)
  tiny = pixel_axis(2, 2)
  params = cpm.init(jax.random.key(1), features[:, :2, :2], tiny, tiny)
  return jax.jit(lambda p, f: cpm.apply(p, f, axis, axis)), (params, features), case["batch"]


def build_attend(case: dict, args):
  import jax
  import jax.numpy as jnp

  from scs_jax.nn.attention import attend

  dtype, n = jnp.dtype(args.dtype), case["positions"]
  keys = jax.random.split(jax.random.key(0), 3)
  q, k = (jax.random.normal(key, (case["batch"], n, 32), dtype) for key in keys[:2])
  v = jax.random.normal(keys[2], (case["batch"], n, 256), dtype)
  block = case["blocks"]
  return (
    jax.jit(lambda *a: attend(*a, query_block=block, key_block=block)),
    (q, k, v),
    case["batch"],
  )


def markdown(results: dict) -> str:
  m = results["machine"]
  lines = [
    f"# SCSNet, `{results['config']}`, {results['dtype']}, {results['date']}",
    "",
    f"{m['device']} ({m['devices']} device, {m['cpu_cores']} cores), Python {m['python']}, jax "
    f"{m['jax']}; a {m['matmul']} product runs at {m['matmul_gflops']} GFLOP/s here.",
    "",
    "`python benchmarks/scsnet.py`; median of the timed calls after one warm-up (marked *: "
    "one call, no warm-up), each case in a process of its own. Share: XLA's FLOP count over "
    "seconds, of the product's rate; XLA counts a loop's body once, so chunked cases show "
    "none. Temporary: XLA's own figure, which on CPUs leaves out what its libraries take; the "
    "process peak has all. Training steps are generator and discriminator updates without the "
    "perceptual term, whose weights are the user's to bring.",
    "",
    "| case | s | images/s | GFLOP/s share | temporary MB | peak RSS MB | compile s |",
    "|---|---:|---:|---:|---:|---:|---:|",
  ]
  for name, r in results["cases"].items():
    if "failed" in r:
      lines.append(f"| {name} | failed: {r['failed']} | | | | | |")
      continue
    whole = "plain" in name
    share = f"{r['gflop'] / r['seconds'] / m['matmul_gflops']:.0%}" if whole else ""
    lines.append(
      f"| {name} | {r['seconds']:.3f} | {r['images_per_second']:.3f} | {share} | "
      f"{r['temporary_mb']:.0f} | {r['peak_rss_mb']:.0f} | {r['compile_seconds']:.0f} |"
    )
  lines += [
    "",
    "| plain over fast | time | memory of the run (peak RSS less RSS before it) |",
    "|---|---:|---:|",
  ]
  for name, r in results["cases"].items():
    other = results["cases"].get(f"{name}, plain")
    if other and "failed" not in other and "failed" not in r:
      grown = [x["peak_rss_mb"] - x["rss_before_run_mb"] for x in (other, r)]
      lines.append(
        f"| {name} | {other['seconds'] / r['seconds']:.2f} | {grown[0] / max(grown[1], 1.0):.1f} |"
      )
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  raise SystemExit(main())
