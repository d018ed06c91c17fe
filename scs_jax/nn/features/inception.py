"""Inception-v3 as FID is defined by it: the 2048 pooled features of pytorch-fid, no classifier.

Heusel et al. 2017 took TensorFlow's network of 2015-12-05; pytorch-fid carries its weights in
torchvision's names (pt_inception-2015-12-05-6726825d.pth). It departs from torchvision's network
in three places (FIDInceptionA, C, E_1, E_2): average pooling leaves padding out of its mean, the
last block's pooling branch takes the maximum, and the weights are others. FID by other weights is
another figure, so a file of torchvision's own Inception-v3 is refused.

Batch normalisation (running statistics, eps 0.001) is folded into each convolution when weights
are read, in float64: exact, as it follows the convolution with nothing in between.
"""

import functools
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from scs_jax.errors import UserError
from scs_jax.nn.features import files
from scs_jax.ops import check
from scs_jax.ops.sample import resize_bilinear

Array = jax.Array
Variables = dict[str, Any]
Apply = Callable[[Variables, Array], Array]

SIZE = 299  # pixels a side
FEATURES = 2048
BATCH_NORM_EPS = 1e-3
PREPROCESSING = f"bilinear to {SIZE}x{SIZE}, half-pixel centres, no antialiasing; 2 x - 1"
PUBLISHED_SHA256 = "6726825d"  # the beginning of it, which the published file's name carries
WEIGHTS_FILE = f"pt_inception-2015-12-05-{PUBLISHED_SHA256}.pth"
_CLASSES = 1008  # of the published file; torchvision's own network has 1000

MISSING_WEIGHTS_HELP = (
  f"FID needs the weights that define it: get {WEIGHTS_FILE} from the releases of "
  "mseitzer/pytorch-fid and give its path"
)


class Conv(NamedTuple):
  """Convolution, folded batch normalisation, ReLU. Zero-padded to the same size unless `valid`."""

  name: str
  features: int
  kernel: tuple[int, int] = (1, 1)
  stride: int = 1
  valid: bool = False


class Fork(NamedTuple):
  """Convolutions of one input, concatenated."""

  parts: tuple[Conv, ...]


class Mixed(NamedTuple):
  """Branches of one input and a pooled one, concatenated in this order.

  pool: "average" (without padding in the mean) or "max", both 3 x 3 with stride 1 and followed by
  the 1 x 1 `branch_pool`; "reduce": the maximum with stride 2, alone.
  """

  name: str
  branches: tuple[tuple[Conv | Fork, ...], ...]
  pool: str
  pooled: int = 0


def _double(stride: int) -> tuple[Conv, ...]:
  last = Conv("branch3x3dbl_3", 96, (3, 3), stride, valid=stride > 1)
  return Conv("branch3x3dbl_1", 64), Conv("branch3x3dbl_2", 96, (3, 3)), last


def _a(name: str, pooled: int) -> Mixed:
  return Mixed(
    name,
    (
      (Conv("branch1x1", 64),),
      (Conv("branch5x5_1", 48), Conv("branch5x5_2", 64, (5, 5))),
      _double(1),
    ),
    "average",
    pooled,
  )


def _c(name: str, width: int) -> Mixed:
  row, column = (1, 7), (7, 1)
  return Mixed(
    name,
    (
      (Conv("branch1x1", 192),),
      (
        Conv("branch7x7_1", width),
        Conv("branch7x7_2", width, row),
        Conv("branch7x7_3", 192, column),
      ),
      (
        Conv("branch7x7dbl_1", width),
        Conv("branch7x7dbl_2", width, column),
        Conv("branch7x7dbl_3", width, row),
        Conv("branch7x7dbl_4", width, column),
        Conv("branch7x7dbl_5", 192, row),
      ),
    ),
    "average",
    192,
  )


def _e(name: str, pool: str) -> Mixed:
  def fork(stem: str) -> Fork:
    return Fork((Conv(f"{stem}a", 384, (1, 3)), Conv(f"{stem}b", 384, (3, 1))))

  return Mixed(
    name,
    (
      (Conv("branch1x1", 320),),
      (Conv("branch3x3_1", 384), fork("branch3x3_2")),
      (Conv("branch3x3dbl_1", 448), Conv("branch3x3dbl_2", 384, (3, 3)), fork("branch3x3dbl_3")),
    ),
    pool,
    192,
  )


_POOL = "max pool, 3 x 3, stride 2"
NETWORK: tuple[Conv | Mixed | str, ...] = (
  Conv("Conv2d_1a_3x3", 32, (3, 3), 2, valid=True),
  Conv("Conv2d_2a_3x3", 32, (3, 3), valid=True),
  Conv("Conv2d_2b_3x3", 64, (3, 3)),
  _POOL,
  Conv("Conv2d_3b_1x1", 80),
  Conv("Conv2d_4a_3x3", 192, (3, 3), valid=True),
  _POOL,
  _a("Mixed_5b", 32),
  _a("Mixed_5c", 64),
  _a("Mixed_5d", 64),
  Mixed(
    "Mixed_6a",
    (
      (Conv("branch3x3", 384, (3, 3), 2, valid=True),),
      _double(2),
    ),
    "reduce",
  ),
  _c("Mixed_6b", 128),
  _c("Mixed_6c", 160),
  _c("Mixed_6d", 160),
  _c("Mixed_6e", 192),
  Mixed(
    "Mixed_7a",
    (
      (Conv("branch3x3_1", 192), Conv("branch3x3_2", 320, (3, 3), 2, valid=True)),
      (
        Conv("branch7x7x3_1", 192),
        Conv("branch7x7x3_2", 192, (1, 7)),
        Conv("branch7x7x3_3", 192, (7, 1)),
        Conv("branch7x7x3_4", 192, (3, 3), 2, valid=True),
      ),
    ),
    "reduce",
  ),
  _e("Mixed_7b", "average"),
  _e("Mixed_7c", "max"),
)


class _Mixed(nn.Module):
  """One `Mixed` block. [N, h, w, c] -> [N, h', w', sum of the branches' features]."""

  plan: Mixed
  divisor: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    found = []
    for branch in self.plan.branches:
      y = x
      for layer in branch:
        parts = layer.parts if isinstance(layer, Fork) else (layer,)
        y = jnp.concatenate([_convolve(y, part, self.divisor) for part in parts], axis=-1)
      found.append(y)
    if self.plan.pool == "reduce":
      found.append(nn.max_pool(x, (3, 3), strides=(2, 2)))
      return jnp.concatenate(found, axis=-1)
    if self.plan.pool == "max":
      y = nn.max_pool(x, (3, 3), padding="SAME")
    else:
      y = nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)
    found.append(_convolve(y, Conv("branch_pool", self.plan.pooled), self.divisor))
    return jnp.concatenate(found, axis=-1)


def _convolve(x: Array, conv: Conv, divisor: int) -> Array:
  return nn.relu(
    nn.Conv(
      conv.features // divisor,
      conv.kernel,
      strides=conv.stride,
      padding="VALID" if conv.valid else [(side // 2, side // 2) for side in conv.kernel],
      # In the tens of thousands of products of a pixel bfloat16 or TF32 would shift the features.
      precision=jax.lax.Precision.HIGHEST,
      name=conv.name,
    )(x)
  )


class Inception(nn.Module):
  """pool3 of FID's Inception-v3: RGB [N, H, W, 3] in [0, 1], any size -> float32 [N, 2048].

  As pytorch-fid does: bilinear to 299 x 299 whatever the size and its aspect (`PREPROCESSING`; the
  samples of a larger picture are skipped, not averaged), then 2 x - 1.

  Attributes:
    divisor: of all widths, for tests; 1 is the published network.
  """

  divisor: int = 1

  @nn.compact
  def __call__(self, rgb: Array) -> Array:
    check.require_rank("rgb", rgb, 4)
    check.require_channels("rgb", rgb, 3)
    if not jnp.issubdtype(jnp.result_type(rgb), jnp.floating):
      raise ValueError(f"rgb: expected floats in [0, 1], got {rgb.dtype}; divide by 255 first")
    x = 2 * resize_bilinear(rgb.astype(jnp.float32), (SIZE, SIZE), align_corners=False) - 1
    for layer in NETWORK:
      if isinstance(layer, Conv):
        x = _convolve(x, layer, self.divisor)
      elif isinstance(layer, Mixed):
        x = _Mixed(layer, self.divisor, name=layer.name)(x)
      else:
        x = nn.max_pool(x, (3, 3), strides=(2, 2))
    return jnp.mean(x, axis=(1, 2))


def _kernels(divisor: int) -> dict[tuple[str, ...], tuple[int, int, int, int]]:
  """Lists the OIHW shape of every convolution by path into the parameters."""
  image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
  shapes = jax.eval_shape(Inception(divisor).init, jax.random.key(0), image)["params"]
  flat = traverse_util.flatten_dict(shapes)
  return {
    path[:-1]: tuple(leaf.shape[i] for i in (3, 2, 0, 1))
    for path, leaf in flat.items()
    if path[-1] == "kernel"
  }


_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_LEFT_OUT = re.compile(r"fc\.(weight|bias)|.*\.bn\.num_batches_tracked")


def from_arrays(
  arrays: Mapping[str, np.ndarray], divisor: int = 1, source: str = "weights"
) -> Variables:
  """Variables of `Inception` from torchvision's names: `Mixed_5b.branch1x1.conv.weight`, ...

  Args:
    arrays: as `files.read_arrays` gives them; the classifier may be there and is left out.
    divisor: as `Inception.divisor`.
    source: named in errors.

  Raises:
    UserError: torchvision's own weights, or missing, unknown or wrongly shaped arrays.
  """
  classes = arrays["fc.weight"].shape[0] if "fc.weight" in arrays else _CLASSES
  if classes != _CLASSES or any(name.startswith("AuxLogits.") for name in arrays):
    raise UserError(
      f"{source}: expected FID's Inception-v3, got torchvision's own ({classes} classes), whose "
      f"features give another figure; {MISSING_WEIGHTS_HELP}"
    )
  kernels = _kernels(divisor)
  wanted: dict[str, tuple[int, ...]] = {}
  for path, shape in kernels.items():
    stem = ".".join(path)
    wanted[f"{stem}.conv.weight"] = shape
    wanted |= {f"{stem}.bn.{part}": shape[:1] for part in _BATCH_NORM}
  known = lambda name: _LEFT_OUT.fullmatch(name) is not None
  found = files.select_arrays(arrays, wanted, known, "FID's Inception-v3", source)
  params: dict[tuple[str, ...], np.ndarray] = {}
  for path in kernels:
    stem = ".".join(path)
    kernel = found[f"{stem}.conv.weight"].astype(np.float64)
    gain, bias, mean, var = (found[f"{stem}.bn.{p}"].astype(np.float64) for p in _BATCH_NORM)
    if (var < 0).any():
      raise UserError(f"{source}: {stem}.bn.running_var is below 0; download the file again")
    gain = gain / np.sqrt(var + BATCH_NORM_EPS)
    folded = (kernel * gain[:, None, None, None]).transpose(2, 3, 1, 0)
    params[*path, "kernel"] = np.ascontiguousarray(folded, np.float32)
    params[*path, "bias"] = (bias - mean * gain).astype(np.float32)
  return {"params": traverse_util.unflatten_dict(params)}


@functools.cache
def _program() -> Apply:
  return jax.jit(Inception().apply)


def load(path: str | os.PathLike[str] | None) -> tuple[Apply, Variables]:
  """Makes (apply, variables): `apply(variables, rgb)` gives pool3, compiled once a shape.

  Args:
    path: the published file, or the same arrays as `.npz` or `.safetensors`.

  Raises:
    UserError: no path, no such file, a damaged one, or one that is not FID's Inception-v3.
  """
  arrays = files.read_given(path, "Inception", MISSING_WEIGHTS_HELP)
  return _program(), from_arrays(arrays, source=os.fspath(path))
