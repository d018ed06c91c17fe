"""Cycle CNN's cost volume on a TPU: device memory of a gradient through one WAC, before and after.

    python benchmarks/cycle_cnn_memory.py --out benchmarks/results/cycle_cnn_memory.json

Both are compiled for a chip that need not be there (libtpu: `pip install 'scs_jax[tpu]'`), with the
sizes of the paper's crops. "plain": Table I as one would write it down, that is the volume of 2n
channels, five-dimensional convolutions, a softmax, and Eq. 1 as a product with d copies of the
reference. "scs_jax": `wac.WAC`, the same numbers (tests/methods/cycle_cnn). What does not fit is
refused by the compiler, which then says what it would have taken. Minutes a case.
"""

import argparse
import datetime
import json
import subprocess
import sys
import time

import harness

KINDS = ("plain", "scs_jax", "scs_jax, remat")


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--topology", default="v5e:2x2")
  parser.add_argument("--size", type=int, nargs=2, default=(256, 512), metavar=("H", "W"))
  parser.add_argument("--search-range", type=int, default=64)
  parser.add_argument("--features", type=int, default=16)
  parser.add_argument("--dtype", default="bfloat16")
  parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
  parser.add_argument("--out", help="JSON file; a .md table is written beside it")
  parser.add_argument("--case", choices=KINDS, help=argparse.SUPPRESS)
  args = parser.parse_args()
  if args.case:
    print(json.dumps(compile_case(args)))
    return 0
  results = {
    "date": str(datetime.date.today()),
    "topology": args.topology,
    "size": list(args.size),
    "search_range": args.search_range,
    "features": args.features,
    "dtype": args.dtype,
    "cases": [],
  }
  for kind in args.kinds:
    print(f"{kind} ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, *sys.argv[1:], "--case", kind]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    results["cases"].append(json.loads(found.splitlines()[-1]))
    harness.save(args.out, results, markdown(results))
  print(markdown(results))
  return 0


def compile_case(args) -> dict:
  """{"kind", "gib", "fits", "compile_seconds"} of one case."""
  import jax
  import jax.numpy as jnp

  from scs_jax.methods.cycle_cnn.wac import WAC
  from scs_jax.ops import platform
  from scs_jax.training import plan

  machine = plan.topology(args.topology)
  device = jax.sharding.SingleDeviceSharding(machine.devices[0])
  dtype, (height, width) = jnp.dtype(args.dtype), args.size
  if args.case == "plain":
    network = plain_network(args.features, args.search_range, dtype)
  else:
    network = WAC(args.features, args.search_range, remat="remat" in args.case, dtype=dtype)

  def loss(params, stats, gray, reference):
    variables = {"params": params, "batch_stats": stats}
    out, changed = network.apply(variables, gray, reference, True, mutable=["batch_stats"])
    ycbcr, smoothness = out[:2]
    return jnp.mean(ycbcr**2) + jnp.mean(smoothness), changed

  view = lambda channels: jax.ShapeDtypeStruct((1, height, width, channels), jnp.float32)
  started = time.perf_counter()
  with platform.compiling_for("tpu"):
    small = [jnp.zeros((1, 16, 16, channels)) for channels in (1, 3)]
    variables = jax.eval_shape(network.init, jax.random.key(0), *small)
    place = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device)
    inputs = (variables["params"], variables["batch_stats"], view(1), view(3))
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    record = {"kind": args.case}
    try:
      compiled = step.lower(*jax.tree.map(place, inputs)).compile()
      record |= {"gib": plan.peak_memory(compiled) / plan.GIB, "fits": True}
    except Exception as error:
      refused = plan.explain(error, 1, machine)
      if not isinstance(refused, plan.TooLarge):
        raise
      record |= {"gib": (refused.needed or 0) / plan.GIB, "fits": False}
  return record | {"compile_seconds": round(time.perf_counter() - started)}


def plain_network(features: int, depth: int, dtype):
  """WAC in the plain order, as a Linen module of the same call."""
  import flax.linen as nn
  import jax
  import jax.numpy as jnp

  from scs_jax.methods.cycle_cnn import average
  from scs_jax.methods.cycle_cnn.resnet import ResNet

  class Plain(nn.Module):
    @nn.compact
    def __call__(self, gray, reference, train=False):
      seen = ResNet(features, dtype=dtype, name="resnet")(
        jnp.concatenate([gray, reference[..., :1]]), train
      )
      a, b = jnp.split(seen, 2)

      def norm(x):
        x = nn.BatchNorm(use_running_average=not train, dtype=dtype)(x)
        return nn.relu(x)

      conv = lambda x, n, stride=1: norm(
        nn.Conv(n * features, (3, 3, 3), stride, use_bias=False, dtype=dtype)(x)
      )
      up = lambda x, n: norm(
        nn.ConvTranspose(n * features, (3, 3, 3), (2, 2, 2), use_bias=False, dtype=dtype)(x)
      )
      shifted = shifts(b, depth)
      volume = jnp.concatenate([jnp.broadcast_to(a[:, None], shifted.shape), shifted], -1)
      kept = [conv(conv(volume, 1), 1)]
      x = kept[0]
      for _ in range(4):
        x = conv(conv(conv(x, 2, 2), 2), 2)
        kept.append(x)
      for skip, wide in zip(kept[-2::-1], (2, 2, 2, 1), strict=True):
        x = up(x, wide) + skip
      logits = nn.Conv(1, (3, 3, 3), use_bias=False, dtype=dtype)(x)[..., 0].astype(jnp.float32)
      inside = shifts(jnp.ones_like(reference[..., :1]), depth)[..., 0] > 0
      weights = jax.nn.softmax(jnp.where(inside, logits, -jnp.inf), axis=1)
      copies = shifts(reference, depth)  # d copies of the colour image
      ycbcr = (weights[..., None] * copies).sum(1)
      return ycbcr, average.smoothness(weights)

  return Plain()


def shifts(x, depth: int):
  """[N, H, W, C] -> [N, d, H, W, C], entry k moved k columns to the left, zeros from the right."""
  import jax.numpy as jnp

  width = x.shape[2]
  padded = jnp.pad(x, ((0, 0), (0, 0), (0, depth - 1), (0, 0)))
  return jnp.stack([padded[:, :, k : k + width] for k in range(depth)], axis=1)


def markdown(results: dict) -> str:
  height, width = results["size"]
  lines = [
    "# Memory of a gradient through one WAC on a TPU",
    "",
    f"{results['date']}. {height} x {width} pixels, d = {results['search_range']}, n = "
    f"{results['features']}, batch 1, {results['dtype']}; compiled for one chip of "
    f"{results['topology']} with libtpu, not run.",
    "",
    "| order | GiB of device memory | | s to compile |",
    "|---|---|---|---|",
  ]
  for case in results["cases"]:
    fits = "fits" if case["fits"] else "refused by the compiler"
    lines.append(f"| {case['kind']} | {case['gib']:.2f} | {fits} | {case['compile_seconds']} |")
  return "\n".join(lines) + "\n"


if __name__ == "__main__":
  sys.exit(main())
