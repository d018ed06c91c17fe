"""Four networks, a training step and single layers beside PyTorch twins of the same, on the CPU.

    python benchmarks/torch_twins.py            # minutes, two cores; needs PyTorch
    python benchmarks/torch_twins.py --quick    # tiny sizes, some minutes: do they agree?
    python benchmarks/torch_twins.py --cases zhang scsnet

Each twin (benchmarks/twins/) has the same weights and inputs, and must give the same numbers before
it is timed. PyTorch runs with as many threads as there are cores, as XLA does, contiguous and in
channels_last; the ratio is our time over that of the faster of these, below 1 where scs_jax is
faster. Timings alternate, so that other work slows all of them, and the fastest of `--repeats` is
kept. Freed memory stays with the process, as in `scs-jax` (core/heap.py), for PyTorch too;
`--heap system` leaves it to the C library. Take the table of an idle machine: PyTorch's threads
wait for each other. Of the training step the gradients must agree too; its program, two passes of
WAC and their gradients, compiles for 70 s of a core at any size, far longer on a busy machine:
JAX_COMPILATION_CACHE_DIR=FOLDER keeps it for the next run.
"""

import functools
import os
import platform
import sys

import harness

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import optax
from cycle_cnn_convolution import fastest

from scs_jax.core import config as configs
from scs_jax.core import heap, resolve
from scs_jax.core.contract import Collective
from scs_jax.methods.scsnet.network import SCSNet
from scs_jax.methods.smsanet.network import Colorizer

try:
  import torch
except ImportError:
  sys.exit("this benchmark compares with PyTorch: pip install torch")

from twins import cycle, scsnet, wac, weights, zhang


def main() -> int:
  parser = harness.parser(__doc__)
  parser.add_argument("--cases", nargs="*", default=list(CASES), choices=list(CASES))
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--quick", action="store_true", help="tiny sizes, one repeat")
  parser.add_argument("--heap", default="kept", choices=("kept", "system"))
  args = parser.parse_args()
  if args.heap == "kept":
    heap.keep_freed()
  args.repeats = 1 if args.quick else args.repeats
  # Threads that wait for each other on a busy machine made a step of tiny sizes take 6 s.
  torch.set_num_threads(1 if args.quick else os.cpu_count())
  results = {
    "machine": platform.machine(),
    "cores": os.cpu_count(),
    "jax": jax.__version__,
    "torch": str(torch.__version__),
    "heap": args.heap,
    "repeats": args.repeats,
    "cases": {},
  }
  print(table(results), end="", flush=True)
  for name in args.cases:
    for title, apart, runs in CASES[name](args.quick):
      milliseconds = [1e3 * seconds for seconds in fastest(runs, args.repeats)]
      results["cases"][title] = {"milliseconds": milliseconds, "apart": apart}
      print(table(results).splitlines()[-1], flush=True)
      harness.save(args.out, results, table(results))
  return 0


def table(results: dict) -> str:
  """Markdown."""
  lines = [
    f"Batch 1, float32, {results['cores']} cores, {results['machine']}, heap: {results['heap']}, "
    f"the fastest of {results['repeats']}, jax {results['jax']}, torch {results['torch']}; "
    "milliseconds:",
    "",
    "| | scs_jax | PyTorch | channels_last | ratio to the faster | apart |",
    "|---|---:|---:|---:|---:|---:|",
  ]
  for title, case in results["cases"].items():
    ours, *theirs = case["milliseconds"]
    times = " | ".join(f"{time:.1f}" for time in (ours, *theirs))
    lines.append(f"| {title} | {times} | {ours / min(theirs):.2f} | {case['apart']:.0e} |")
  return "\n".join(lines) + "\n"


def zhang_2017(quick: bool):
  yield from colorizer("Zhang et al. 2017", 4, "none", quick)


def smsanet(quick: bool):
  yield from colorizer("SMSANet", 1, "smsa", quick)


def colorizer(title: str, channels: int, attention: str, quick: bool):
  side = 64 if quick else 256  # SMSA has patches of 8 x 8 at an eighth of it
  net = Colorizer(width=1 / 16 if quick else 1.0, attention=attention)
  x = np.random.default_rng(1).uniform(-0.5, 0.5, (1, side, side, channels)).astype(np.float32)
  variables = weights.draw(net, x)
  scales = (1, 2, 3) if attention == "smsa" else ()

  def twin(layout):
    w = weights.tensors(variables["params"], layout, zhang.SPREAD)
    s = weights.tensors(variables["batch_stats"], layout)
    given = weights.picture(x, layout)
    return lambda: zhang.forward(w, s, given, scales)

  yield forward(f"{title}, {side} x {side}", jax.jit(net.apply), (variables, x), twin)


def scsnet_four(quick: bool):
  net_config = configs.load("scsnet/paper").network
  side, size = (16, (64, 64)) if quick else (128, (512, 512))
  net, rng = SCSNet(), np.random.default_rng(1)
  gray, reference = (
    rng.uniform(-1, 1, (1, side, side, c)).astype(np.float32) for c in (1, 3)
  )
  variables = weights.draw(net, gray, reference)
  for title, seen in (("by reference", reference), ("automatic", None)):
    ours = jax.jit(lambda v, g, r: net.apply(v, g, r, size))

    def twin(layout, seen=seen):
      w = weights.tensors(variables["params"], layout)
      given = [None if x is None else weights.picture(x, layout) for x in (gray, seen)]
      return lambda: scsnet.forward(w, *given, size, net_config)

    yield forward(f"SCSNet {title}, {side} to {size[0]}", ours, (variables, gray, seen), twin)


def forward(title: str, ours, inputs, twin):
  """(title, how far apart, [ours, PyTorch, channels_last]); `twin`: layout -> a call of it."""
  inputs = jax.device_put(inputs)
  twins = [without_gradients(twin(layout)) for layout in weights.LAYOUTS]
  found = np.asarray(ours(*inputs))
  apart = max(difference(found, run().permute(0, 2, 3, 1).numpy()) for run in twins)
  return title, apart, [lambda: jax.block_until_ready(ours(*inputs)), *twins]


def without_gradients(run):
  def call():
    with torch.inference_mode():
      return run()

  return call


def pair_inputs(quick: bool):
  """(method, state, mono uint8 [1, H, W, 1], colour uint8 [1, H, W, 3]) of cycle_cnn/paper.

  The views are one smooth random picture, shifted: matches exist, and losses are not noise.
  """
  height, width, depth = (32, 64, 16) if quick else (64, 128, 48)
  method = resolve.build(
    configs.apply_overrides(
      configs.load("cycle_cnn/paper"),
      [f"network.search_range={depth}", "steps=100", "loss.smooth=0.1"]
      + (["network.features=4", "network.pairs=2"] if quick else []),
    )
  )
  state = jax.jit(lambda: method.init(jax.random.key(0), {}))()
  noise = np.random.default_rng(1).uniform(0, 255, (height // 8, (width + 8) // 8, 3))
  wide = torch.nn.functional.interpolate(
    torch.from_numpy(noise).permute(2, 0, 1)[None], (height, width + 8), mode="bicubic"
  )
  wide = wide.clamp(0, 255).byte()[0].permute(1, 2, 0).numpy()
  return method, state, wide[None, :, 8:, 1:2], wide[None, :, :-8]


def views(mono, color, layout):
  """I_G and R_C in YCbCr (BT.601) as tensors."""
  mix = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
  )
  ycbcr = color / 255.0 @ mix.T + np.array([0, 0.5, 0.5])
  return weights.picture(mono / 255.0, layout), weights.picture(ycbcr, layout)


def wac_forward(quick: bool):
  method, state, mono, color = pair_inputs(quick)
  net, pairs = method.networks["wac"], method.config.network.pairs
  depth = method.search_range
  gray, reference = (x.permute(0, 2, 3, 1).numpy() for x in views(mono, color, "contiguous"))
  variables = weights.draw(net, gray, reference)

  def twin(layout):
    w = weights.tensors(variables["params"], layout, wac.SPREAD)
    s = weights.tensors(variables["batch_stats"], layout)
    given = views(mono, color, layout)
    return lambda: wac.forward(w, s, *given, pairs, depth, layout)[0]

  ours = jax.jit(lambda *given: net.apply(*given).ycbcr)
  size = f"{depth} x {mono.shape[1]} x {mono.shape[2]}"
  yield forward(f"WAC, {size}", ours, (variables, gray, reference), twin)


def training_step(quick: bool):
  method, state, mono, color = pair_inputs(quick)
  batch = {"mono": mono, "color": color, "index": np.zeros(1, np.uint32)}
  step = jax.jit(lambda s, b: method.train_step(s, b, jax.random.key(0), Collective(), "cycle"))
  twins = []
  for layout in weights.LAYOUTS:
    tensors = [
      weights.tensors(state.params[name], layout, wac.SPREAD) for name in ("wac", "gca")
    ]
    twins.append(cycle.Step(*tensors, method.config.network.pairs, method.search_range, layout))
  runs = [functools.partial(twin, *views(mono, color, twin.layout)) for twin in twins]
  apart, now = 0.0, state
  for turn in range(2):  # the second loss is that after one update
    now, logs = step(now, batch)
    losses = [run().item() for run in runs]
    apart = max(apart, *(difference(float(logs["loss/total"]), loss, 1e-2) for loss in losses))
    if turn == 0:
      apart = max(apart, *(gradients_differ_by(now.opt_state, twin) for twin in twins))
  inputs = jax.device_put((state, batch))
  size = f"{method.search_range} x {mono.shape[1]} x {mono.shape[2]}"
  runs = [lambda: jax.block_until_ready(step(*inputs)), *runs]
  yield f"Cycle CNN, a training step, {size}", apart, runs


def gradients_differ_by(opt_state, twin: cycle.Step, most: float = 1e-2) -> float:
  """The distance of both gradients as a share of their length; AssertionError above `most`.

  From what RMSProp keeps after the first update, a tenth of each gradient's square: sizes alone,
  not signs, which the loss after that update shows.
  """
  square = {"ours": 0.0, "apart": 0.0}
  for name, tensors in (("wac", twin.wac), ("gca", twin.gca)):
    kept = optax.tree_utils.tree_get(opt_state[name], "nu")
    for path, ours in weights.tensors(kept, twin.layout, wac.SPREAD).items():
      theirs = twin.optimizer.state[tensors[path]]["square_avg"]
      square["ours"] += ours.sum().item()
      square["apart"] += ((ours.sqrt() - theirs.sqrt()) ** 2).sum().item()
  apart = (square["apart"] / square["ours"]) ** 0.5
  if not apart < most:
    raise AssertionError(f"gradients of scs_jax and PyTorch differ by {apart:.2g} of their length")
  return apart


def difference(ours, theirs, most: float = 1e-3) -> float:
  """The largest difference as a share of the largest value; AssertionError above `most`."""
  apart = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
  if not apart < most:
    raise AssertionError(f"scs_jax and PyTorch differ by {apart:.2g} of the largest value")
  return apart


CASES = {
  "wac": wac_forward,
  "step": training_step,
  "zhang": zhang_2017,
  "smsanet": smsanet,
  "scsnet": scsnet_four,
}

if __name__ == "__main__":
  sys.exit(main())
