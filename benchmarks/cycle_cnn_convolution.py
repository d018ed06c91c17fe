"""The 3-D convolutions of Cycle CNN's U-Net beside PyTorch's, on the CPU, in one run.

    python benchmarks/cycle_cnn_convolution.py            # some minutes, two cores; needs PyTorch
    python benchmarks/cycle_cnn_convolution.py --quick    # a small volume, seconds

Each kind of convolution at the sizes of Table I, and layers 2 to 19 as a whole with BatchNorm, ReLU
and residual connections (the U-Net but for its first layer). "forward" is inference, "with
gradients" a training step without the optimizer. PyTorch runs with as many threads as there are
cores, as XLA does, in its default layout and in channels_last_3d. Timings alternate, so that other
work slows both, and the table has the fastest of `--repeats`. Freed memory stays with the process,
as in `scs-jax` (core/heap.py). On a machine that is always busy PyTorch waits for its own threads,
so take the table of an idle one. Ratios are time of scs_jax over time of PyTorch, below 1 where
scs_jax is faster. Target: at most 1.5 for the whole. Results are compared too; gradients only
convolution by convolution, since through sixteen ReLUs two float32 programs part at the kinks.
"""

import argparse
import os
import pathlib
import platform
import sys
import time

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import flax.linen as nn
import jax
import numpy as np

from scs_jax.core import heap
from scs_jax.methods.cycle_cnn import volume as volumes
from scs_jax.methods.cycle_cnn.volume_layers import Conv3D
from scs_jax.nn.folded import FoldedNorm

LAYOUTS = ("contiguous_format", "channels_last_3d")
# Layers 2 to 19 of Table I: (number, features over n, kind, layer whose result is added).
LAYERS = [(2, 1, "same", None)]
LAYERS += [(i, 2, "half" if i % 3 == 0 else "same", None) for i in range(3, 15)]
LAYERS += [(15, 2, "double", 11), (16, 2, "double", 8), (17, 2, "double", 5), (18, 1, "double", 2)]


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--size", type=int, nargs=3, default=(48, 64, 128), metavar=("D", "H", "W"))
  parser.add_argument("--features", type=int, default=16, help="n of the paper")
  parser.add_argument("--repeats", type=int, default=7)
  parser.add_argument("--quick", action="store_true", help="16 x 32 x 32 voxels, two repeats")
  args = parser.parse_args()
  try:
    import torch
  except ImportError:
    print("this benchmark compares with PyTorch: pip install torch", file=sys.stderr)
    return 1
  if args.quick:
    args.size, args.repeats = (16, 32, 32), 2
  torch.set_num_threads(os.cpu_count())
  heap.keep_freed()
  d, h, w = args.size
  print(f"{d} x {h} x {w} voxels, n = {args.features}, batch 1, float32, {os.cpu_count()} cores, ")
  print(f"jax {jax.__version__}, torch {torch.__version__}, {platform.machine()}; milliseconds\n")
  print("| | scs_jax | PyTorch | channels_last | ratio | ratio to the faster |")
  print("|---|---:|---:|---:|---:|---:|", flush=True)
  for name, runs in cases(args):
    ours, default, last = (1e3 * t for t in fastest(runs, args.repeats))
    print(
      f"| {name} | {ours:.1f} | {default:.1f} | {last:.1f} | {ours / default:.2f} "
      f"| {ours / min(default, last):.2f} |",
      flush=True,
    )
  return 0


def fastest(runs, repeats: int) -> list[float]:
  """Seconds of each of `runs`, the best of alternating repeats after two to warm up."""
  best = [np.inf] * len(runs)
  for turn in range(repeats + 2):
    for i, run in enumerate(runs):
      start = time.perf_counter()
      run()
      if turn > 1:
        best[i] = min(best[i], time.perf_counter() - start)
  return best


def cases(args):
  """(name, [ours, PyTorch, PyTorch channels_last]) of all measurements, one after the other."""
  d, h, w = args.size
  n = args.features
  shapes = [
    ("same", 0, n, n),
    ("half", 0, n, 2 * n),
    ("same", 1, 2 * n, 2 * n),
    ("half", 1, 2 * n, 2 * n),
    ("same", 2, 2 * n, 2 * n),
    ("double", 2, 2 * n, 2 * n),
    ("double", 1, 2 * n, n),
    ("same", 0, n, 1),
  ]
  words = {"same": "stride 1", "half": "stride 2", "double": "transposed"}
  for kind, level, c_in, c in shapes:
    size = [s >> level for s in (d, h, w)]
    name = f"{words[kind]}, {c_in} to {c}, {' x '.join(map(str, size))}"
    forward, backward = one_convolution(kind, size, c_in, c)
    yield f"{name}: forward", forward
    yield f"{name}: with gradients", backward
  forward, backward = whole(args)
  yield "**layers 2 to 19: forward**", forward
  yield "**layers 2 to 19: with gradients**", backward


def one_convolution(kind: str, size, c_in: int, c: int):
  import torch

  rng = np.random.default_rng(0)
  x = rng.normal(size=(1, *size, c_in)).astype(np.float32)
  kernel = rng.normal(size=(3, 3, 3, c_in, c)).astype(np.float32)

  @jax.jit
  def ours(x, kernel):
    volume = volumes.Volume(x)
    if kind == "double":
      return volumes.conv3d_transposed(volume, kernel).data
    return volumes.conv3d(volume, kernel, 2 if kind == "half" else 1).data

  upper = rng.normal(size=jax.eval_shape(ours, x, kernel).shape).astype(np.float32)

  @jax.jit
  def gradients(x, kernel, upper):
    out, backward = jax.vjp(ours, x, kernel)
    return out, backward(upper)

  ours_at = jax.device_put((x, kernel, upper))
  theirs = []
  for layout in LAYOUTS:
    at = lambda v, layout=layout: channels_first(v).contiguous(memory_format=getattr(torch, layout))
    weight = torch.from_numpy(kernel.transpose(to_torch(kind))).contiguous()
    theirs.append((at(x), weight, at(upper)))

  def their_forward(x, weight, _):
    with torch.no_grad():
      return their_convolution(kind, x, weight)

  def their_gradients(x, weight, upper):
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    return torch.autograd.grad(their_convolution(kind, x, weight), (x, weight), upper)

  check_equal(ours(x, kernel), channels_last(their_forward(*theirs[0])))
  to_x, to_kernel = their_gradients(*theirs[0])
  _, found = gradients(x, kernel, upper)
  check_equal(found[0], channels_last(to_x))
  check_equal(found[1].transpose(to_torch(kind)), to_kernel.numpy())
  forward = [lambda: jax.block_until_ready(ours(*ours_at[:2]))]
  forward += [lambda t=t: their_forward(*t) for t in theirs]
  backward = [lambda: jax.block_until_ready(gradients(*ours_at))]
  backward += [lambda t=t: their_gradients(*t) for t in theirs]
  return forward, backward


class Layers(nn.Module):
  """Layers 2 to 19 of Table I."""

  features: int

  @nn.compact
  def __call__(self, x, train: bool):
    x, kept = volumes.Volume(x), {}
    for number, times, kind, add in LAYERS:
      conv = Conv3D(
        times * self.features,
        2 if kind == "half" else 1,
        kind == "double",
        name=f"conv_{number}",
      )
      x = conv(x)
      x = x.replace(data=nn.relu(FoldedNorm(name=f"norm_{number}")(x.data, x.fold, train)))
      if add:
        x = x.replace(data=x.data + kept[add].data)
      kept[number] = x
    return Conv3D(1, name="conv_19")(x).data


def whole(args):
  """Forward and gradients of `Layers` and of the same layers in PyTorch, with the same kernels."""
  import torch

  x = np.random.default_rng(0).normal(size=(1, *args.size, args.features)).astype(np.float32)
  net = Layers(args.features)
  variables = net.init(jax.random.key(0), x[:, :16, :16, :16], False)
  params, statistics = variables["params"], variables["batch_stats"]

  @jax.jit
  def ours(params, x):
    return net.apply({"params": params, "batch_stats": statistics}, x, False)

  @jax.jit
  def gradients(params, x):
    def loss(params, x):
      model = {"params": params, "batch_stats": statistics}
      out, updates = net.apply(model, x, True, mutable=["batch_stats"])
      return (out**2).mean(), updates

    return jax.grad(loss, (0, 1), has_aux=True)(params, x)

  x_at = jax.device_put(x)
  theirs = []
  for layout in LAYOUTS:
    at = channels_first(x).contiguous(memory_format=getattr(torch, layout))
    theirs.append((their_layers(params, getattr(torch, layout)), at))

  def their_forward(net, x):
    net.eval()
    with torch.no_grad():
      return net(x)

  def their_gradients(net, x):
    net.train()
    net.zero_grad()
    x = x.detach().requires_grad_()
    net(x).square().mean().backward()
    return x.grad

  check_equal(ours(params, x), channels_last(their_forward(*theirs[0])))
  forward = [lambda: jax.block_until_ready(ours(params, x_at))]
  forward += [lambda t=t: their_forward(*t) for t in theirs]
  backward = [lambda: jax.block_until_ready(gradients(params, x_at))]
  backward += [lambda t=t: their_gradients(*t) for t in theirs]
  return forward, backward


def their_layers(params, layout):
  import torch

  class Net(torch.nn.Module):
    def __init__(self):
      super().__init__()
      for number, _, kind, _ in [*LAYERS, (19, 1, "same", None)]:
        kernel = np.array(params[f"conv_{number}"]["kernel"]).transpose(to_torch(kind))
        weight = torch.from_numpy(kernel).contiguous(memory_format=layout)
        setattr(self, f"weight_{number}", torch.nn.Parameter(weight))
        channels = kernel.shape[1 if kind == "double" else 0]
        setattr(self, f"norm_{number}", torch.nn.BatchNorm3d(channels, 1e-3, 0.01))

    def forward(self, x):
      kept = {}
      for number, _, kind, add in LAYERS:
        x = their_convolution(kind, x, getattr(self, f"weight_{number}"))
        x = torch.relu_(getattr(self, f"norm_{number}")(x))
        x = x + kept[add] if add else x
        kept[number] = x
      return their_convolution("same", x, self.weight_19)

  return Net()


def their_convolution(kind: str, x, weight):
  import torch

  if kind == "double":
    double = {"stride": 2, "padding": 1, "output_padding": 1}
    return torch.nn.functional.conv_transpose3d(x, weight, **double)
  return torch.nn.functional.conv3d(x, weight, stride=2 if kind == "half" else 1, padding=1)


def to_torch(kind: str) -> tuple[int, ...]:
  """Axes of a kernel [3, 3, 3, Cin, Cout] in PyTorch's order."""
  return (3, 4, 0, 1, 2) if kind == "double" else (4, 3, 0, 1, 2)


def channels_first(x: np.ndarray):
  import torch

  return torch.from_numpy(x).permute(0, 4, 1, 2, 3)


def channels_last(x) -> np.ndarray:
  return x.permute(0, 2, 3, 4, 1).numpy()


def check_equal(a, b) -> None:
  error = np.abs(np.asarray(a) - b).max() / np.abs(b).max()
  if not error < 1e-3:
    raise AssertionError(f"scs_jax and PyTorch differ by {error:.2g} of the largest value")


if __name__ == "__main__":
  sys.exit(main())
