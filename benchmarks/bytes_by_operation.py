"""Which operations move the bytes of the costliest pieces of two paper configs, compiled ahead.

    python benchmarks/bytes_by_operation.py --pieces cpm perceptual stem --out cpm.md

A piece is a part of a network with its gradient, at the sizes that it has in the training step and
in bfloat16, compiled for one chip of a machine that need not be there (`scs-jax plan` says which);
it takes minutes where a whole step, `scs-jax plan --by-operation`, takes a quarter of an hour.
JAX_EXEC_TIME_OPTIMIZATION_EFFORT=-1 in the environment more than halves the time for TPUs.
"""

import argparse
import os
import pathlib
import time

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.core import config as configs
from scs_jax.methods.cycle_cnn import volume
from scs_jax.methods.cycle_cnn.resnet import ResNet
from scs_jax.methods.cycle_cnn.unet import UNet
from scs_jax.methods.scsnet.cpm import ContinuousPixelMapping, pixel_axis
from scs_jax.methods.scsnet.perceptual import PerceptualTerm
from scs_jax.nn.folded import fold_for
from scs_jax.ops import platform
from scs_jax.training import hlo, machines, operations

PICTURES = 4  # SCSNet's, of 128 x 128 and 512 x 512
PAIR = (1, 256, 512)  # Cycle CNN's
LOW = jnp.bfloat16
_UNET = UNet(dtype=LOW, remat=True)


def cpm():
  """SCSNet's Continuous Pixel Mapping, 128 to 512."""
  axis = pixel_axis(128, 512)
  module = ContinuousPixelMapping(dtype=LOW)
  features = jax.ShapeDtypeStruct((PICTURES, 128, 128, 256), LOW)
  variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, axis, axis), features)
  return lambda v, x: module.apply(v, x, axis, axis), (variables, features)


def perceptual():
  """SCSNet's perceptual term: VGG16 on the true and the generated pictures."""
  term = PerceptualTerm(configs.load("scsnet/paper").loss, LOW)
  lab = jax.ShapeDtypeStruct((PICTURES, 512, 512, 3), jnp.float32)
  return lambda lab, frozen, true: term(jax.lax.stop_gradient(frozen), lab, true), (
    lab, term.shapes(), lab
  )  # fmt: skip


def unet():
  """Cycle CNN's 3-D U-Net, one of a step's two passes, with remat=blocks."""
  return _in_training(_UNET, lambda net, a, b: net(a, b, train=True), *_views())


def stem():
  """The first two of its 19 layers, which are two of the four at full size."""
  stem = nn.remat(lambda net, a, b: net._stem(a, b, True).data)
  return _in_training(_UNET, stem, *_views())


def layer_2():
  """The second layer alone, from a volume."""
  fold = fold_for(UNet.features, UNet.depth)
  shape = (PAIR[0], UNet.depth // fold, *PAIR[1:], fold * UNet.features)
  run = nn.remat(lambda net, x: net.layer["2"](volume.Volume(x, fold), train=True).data)
  return _in_training(_UNET, run, jax.ShapeDtypeStruct(shape, LOW))


def resnet():
  """Cycle CNN's ResNet of both views, one of a step's two passes."""
  views = jax.ShapeDtypeStruct((2 * PAIR[0], *PAIR[1:], 1), jnp.float32)
  return _in_training(ResNet(dtype=LOW), lambda net, x: net(x, train=True), views)


def _views():
  return [jax.ShapeDtypeStruct((*PAIR, UNet.features), LOW)] * 2


def _in_training(net, run, *inputs):
  init = lambda *inputs: net.init(jax.random.key(0), *inputs, method=run)
  variables = jax.eval_shape(init, *inputs)

  def apply(params, stats, *inputs):
    variables = {"params": params, "batch_stats": stats}
    return net.apply(variables, *inputs, method=run, mutable=["batch_stats"])[0]

  return apply, (variables["params"], variables["batch_stats"], *inputs)


PIECES = {piece.__name__: piece for piece in (cpm, perceptual, resnet, unet, stem, layer_2)}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument("--pieces", nargs="+", choices=list(PIECES), default=list(PIECES))
  parser.add_argument("--topology", default="v5e:2x2", help="as `scs-jax plan` takes it")
  parser.add_argument("--most", type=int, default=12, help="rows of a table")
  parser.add_argument("--out", help="Markdown file")
  args = parser.parse_args()
  machine = machines.topology(args.topology)
  text = "\n".join(measure(name, machine, args.most) for name in args.pieces)
  print(text)
  if args.out:
    pathlib.Path(args.out).write_text(text)


def measure(name: str, machine: machines.Machine, most: int) -> str:
  """Compiles a piece, and its gradient by all inputs, and writes what it moves."""
  started = time.perf_counter()
  place = jax.sharding.SingleDeviceSharding(machine.devices[0])
  on_chip = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
  with platform.compiling_for(machine.kind), machines.compilation(machine):
    piece, inputs = PIECES[name]()
    inputs = jax.tree.map(on_chip, inputs)
    upper = jax.tree.map(on_chip, jax.eval_shape(piece, *inputs))

    def step(inputs, upper):
      out, back = jax.vjp(piece, *inputs)
      return out, back(upper)

    compiled = jax.jit(step).lower(inputs, upper).compile(compiler_options=dict(machine.options))
  found = operations.by_operation(compiled.as_text())
  memory, chip = sum(each.memory for each in found), sum(each.chip for each in found)
  effort = os.environ.get("JAX_EXEC_TIME_OPTIMIZATION_EFFORT")
  return (
    f"## {name}: {PIECES[name].__doc__}\n\n"
    f"{machine.name}, one chip: {memory / 1e9:.2f} GB through the device's memory, at least "
    f"{memory / machine.chip.bandwidth * 1e3:.1f} ms, and {chip / 1e9:.2f} GB on the chip; the "
    f"compiler's own count, with each loop once and without a difference between the two: "
    f"{hlo.bytes_accessed(compiled) / 1e9:.2f} GB. Compiled in {time.perf_counter() - started:.0f} "
    f"s{f', effort {effort}' if effort else ''}.\n\n{operations.table(found, most)}\n"
  )


if __name__ == "__main__":
  main()
