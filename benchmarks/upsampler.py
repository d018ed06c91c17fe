"""SCSNet's CPM against Meta-SR's weight prediction head: time, where it goes, parameters, memory.

    python benchmarks/upsampler.py --out benchmarks/results/upsampler_cpu.json  # minutes, two cores
    python benchmarks/upsampler.py --scales 4 --dtype bfloat16                   # on an accelerator

The heads alone, batch 1, from 128 x 128 features to 2, 3.3 and 4 times as much. Meta-SR has 64
features, as its 0.45M of Section 4.3; CPM has the network's 256 (0.35M), and for comparison 64.
Each is run unchunked, as published (CPM in the paper's own order of operations, Meta-SR with the
weights of all pixels at once), and as the network runs it (CPM's first layer at low resolution,
both by chunks of rows). All heads of a magnification take turns in one process, so that a machine
that slows down slows all of them: read the ratios. The paper's: 178 against 92 FPS, 1.9 times, on
hardware and at sizes that it does not state. Memory is what XLA plans beyond inputs and result.
"""

import datetime
import json
import statistics
import sys
import time

import harness
from scsnet import machine

SIZE, PAPER = 128, 178 / 92
WHOLE = 2**62  # a bound on a chunk that nothing reaches
BASE = "Meta-SR, 64 features, as published"


def main() -> int:
  parser = harness.parser(__doc__)
  parser.add_argument("--scales", type=float, nargs="+", default=[2.0, 3.3, 4.0])
  parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
  parser.add_argument("--repeats", type=int, default=3, help="timed rounds; the median is kept")
  args = parser.parse_args()
  if args.case:
    print(json.dumps(run_scale(args.case, args)))
    return 0
  results = {"date": str(datetime.date.today()), "dtype": args.dtype, "scales": {}}
  for scale in args.scales:
    print(f"{scale:g} ...", file=sys.stderr, flush=True)
    results["scales"][f"{scale:g}"] = found = harness.child(
      __file__, scale, dtype=args.dtype, repeats=args.repeats
    )
    print(f"  {found}", file=sys.stderr, flush=True)
    harness.save(args.out, results, markdown(results))
  print(markdown(results))
  return 0


def run_scale(scale: float, args) -> dict:
  """Times of all heads and of their parts, taken in turns; parameters, FLOPs, memory."""
  import jax

  from scs_jax.training import flops

  programs, found = {}, {}
  for name, (function, inputs, parameters) in heads(scale, args.dtype).items():
    compiled = jax.jit(function).lower(*inputs).compile()
    jax.block_until_ready(compiled(*inputs))  # warm
    programs[name] = compiled, inputs
    found[name] = {
      "gflop": round(flops.count(function, *inputs) / 1e9, 1),
      "temporary_mb": round(compiled.memory_analysis().temp_size_in_bytes / 1e6, 1),
    }
    if parameters:
      found[name]["parameters"] = parameters
  times: dict[str, list[float]] = {name: [] for name in programs}
  for _ in range(args.repeats):
    for name, (compiled, inputs) in programs.items():
      started = time.perf_counter()
      jax.block_until_ready(compiled(*inputs))
      times[name].append(time.perf_counter() - started)
  for name, seconds in times.items():
    found[name]["seconds"] = round(statistics.median(seconds), 4)
    found[name]["spread"] = [round(min(seconds), 4), round(max(seconds), 4)]
    # Round by round, so that a slow round is slow for both.
    ratios = [a / b for a, b in zip(times[BASE], seconds, strict=True)]
    found[name]["times_faster"] = round(statistics.median(ratios), 3)
  side = round(SIZE * scale)
  return {"side": side, "machine": machine(args.dtype), "heads": found}


def heads(scale: float, dtype: str) -> dict[str, tuple]:
  """Name -> (function, its inputs, its parameters; 0 for a part of a head)."""
  import jax
  import jax.numpy as jnp

  from scs_jax.methods.scsnet import cpm, meta_sr

  side, dtype = round(SIZE * scale), jnp.dtype(dtype)
  draw = lambda channels: jax.random.normal(jax.random.key(0), (1, SIZE, SIZE, channels), dtype)
  x64, x256 = draw(64), draw(256)
  place, meta = cpm.pixel_axis(SIZE, side), meta_sr.meta_axis(SIZE, side)
  size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  found = {}

  def add(name, module, x, axis):
    tiny = x[:, :2, :2]
    small = cpm.pixel_axis(2, 2) if axis is place else meta_sr.meta_axis(2, 2)
    params = jax.jit(module.init)(jax.random.key(1), tiny, small, small)
    found[name] = lambda p, x: module.apply(p, x, axis, axis), (params, x), size(params)
    return params

  mapping = lambda order, bound: cpm.ContinuousPixelMapping(
    order=order, chunk_floats=bound, dtype=dtype
  )
  head = lambda bound: meta_sr.MetaUpscale(chunk_floats=bound, dtype=dtype)
  usual = meta_sr.MetaUpscale.chunk_floats
  weights = add(BASE, head(WHOLE), x64, meta)["params"]
  add("Meta-SR, 64 features, by rows", head(usual), x64, meta)
  add("CPM, 256 features, as published", mapping("plain", WHOLE), x256, place)
  add("CPM, 256 features, fast and by rows", mapping("fast", usual), x256, place)
  add("CPM, 64 features, as published", mapping("plain", WHOLE), x64, place)
  small = add("CPM, 64 features, fast and by rows", mapping("fast", usual), x64, place)["params"]

  # Where the time goes: the parts as programs of their own, on inputs of the same shapes.
  two = [(weights[f"kernel_{i}"].astype(dtype), weights[f"bias_{i}"].astype(dtype)) for i in (0, 1)]
  predict = lambda layers: meta_sr.predict_weights(layers, meta.offset, meta.inverse, meta, 576)
  found["part of Meta-SR: predicting all weights"] = predict, (two,), 0

  def look(x):
    around = jnp.take(meta_sr.neighbourhoods(x), meta.index, axis=1, mode="clip")
    return jnp.take(around, meta.index, axis=2, mode="clip")

  found["part of Meta-SR: gathering neighbourhoods"] = look, (x64,), 0
  around, predicted = jax.jit(look)(x64), jax.jit(predict)(two)
  found["part of Meta-SR: applying the weights"] = (
    lambda a, w: jnp.einsum("npqk,pqko->npqo", a, w, preferred_element_type=jnp.float32),
    (around, predicted),
    0,
  )
  layers = cpm.layers_of(small, dtype)
  first = layers[0][0][:64]
  found["part of CPM (64): first layer, low resolution"] = lambda x, k: x @ k, (x64, first), 0
  low = jax.jit(lambda x, k: x @ k)(x64, first)
  found["part of CPM: interpolation"] = lambda y: cpm.interpolate(y, place, place), (low,), 0
  wide = jax.jit(lambda y: cpm.interpolate(y, place, place))(low)
  found["part of CPM: the other three layers"] = cpm.remaining_layers, (layers, wide), 0
  return found


def markdown(results: dict) -> str:
  lines = [
    f"# CPM against Meta-SR's head, {results['dtype']}, {results['date']}",
    "",
    f"`python benchmarks/upsampler.py`; batch 1, {SIZE} x {SIZE} features, heads alone; median of "
    "the timed rounds, warm, the heads taking turns. Times faster: than Meta-SR as published, the "
    f"median over rounds; the paper's figure is {PAPER:.2f}. GFLOP: products, counted in the "
    "program. Temporary: XLA's plan.",
  ]
  for scale, found in results["scales"].items():
    if "failed" in found:
      lines += ["", f"## {scale}x", "", f"failed: {found['failed']}"]
      continue
    m = found["machine"]
    lines += [
      "",
      f"## {scale}x: {SIZE} to {found['side']}",
      "",
      f"{m['device']} ({m['cpu_cores']} cores), Python {m['python']}, jax {m['jax']}; a "
      f"{m['matmul']} product runs at {m['matmul_gflops']} GFLOP/s here.",
      "",
      "| head | M parameters | s (least to most) | times faster | GFLOP | GFLOP/s | temporary MB |",
      "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, r in found["heads"].items():
      part = "parameters" not in r
      seconds = f"{r['seconds']:.3f} ({r['spread'][0]:.3f} to {r['spread'][1]:.3f})"
      faster = "" if part else f"{r['times_faster']:.2f}"
      count = "" if part else f"{r['parameters'] / 1e6:.3f}"
      rate = r["gflop"] / r["seconds"]
      lines.append(
        f"| {name} | {count} | {seconds} | {faster} | {r['gflop']} | {rate:.0f} | "
        f"{r['temporary_mb']:,.0f} |"
      )
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  sys.exit(main())
