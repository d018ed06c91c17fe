"""Continuous Pixel Mapping: features on a grid to colours at any resolution (Section 3.2).

Every output pixel gets the bilinearly interpolated feature ("main feature") and its local
coordinate in the input cell that it falls into (Eq. 3), and four linear layers map both to Lab.

Two things keep it cheap, and neither changes the result:

* Interpolation weights sum to one, so the first linear layer commutes with interpolation, bias
  included: it runs on the input grid, p^2 times fewer positions than on the output grid, and the
  coordinates enter as one scaled row of its kernel each.
* Output rows come in chunks, and a chunk reads only the few input rows under it, so memory beyond
  the picture itself does not grow with the output's height. On a TPU chunks are so small that what
  stands between the layers stays on the chip, forward and backward: the layers are fused, as far as
  the traffic with the device's memory goes.
"""

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.nn.blocks import HE
from scs_jax.ops import convolve, platform, sample

Array = jax.Array

# The last layer starts small, so that training starts near gray instead of at random colours.
_QUIET = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")
# Floats of hidden activation that one chunk of output rows may hold, a picture (16 Mi floats =
# 64 MiB); about three such arrays are alive at a time. By picture: under jit the batch is that of
# all devices.
_CHUNK_FLOATS = 2**24
# The same by platform, at most. On a TPU 2 MiB in bfloat16, so that with four pictures a chip what
# is alive at a time fits its vector memory (128 MiB on v5e and v6e); on CPUs 16 MiB in float32, so
# that a chunk stays in the cache from one layer to the next.
_MOST_FLOATS = {"tpu": 2**20, "cpu": 2**22}


@flax.struct.dataclass
class PixelAxis:
  """Holds where output pixels lie along one axis of the input grid.

  Attributes:
    low: int32 [P], the input position at or before the pixel.
    fraction: float32 [P] in [0, 1), weight of the next position.
    cell: float32 [P], Eq. 3's local coordinate, -1 (left, top) to +1 (right, bottom).
    reach: how many input positions further `low` can be after one output pixel (static bound).
  """

  low: Array | np.ndarray
  fraction: Array | np.ndarray
  cell: Array | np.ndarray
  reach: float = flax.struct.field(pytree_node=False, default=1.0)


def pixel_axis(in_size: int, out_size: int, convention: str = "paper") -> PixelAxis:
  """Coordinates of `out_size` pixels that cover `in_size` positions.

  Args:
    in_size: positions of the feature grid.
    out_size: pixels of the output.
    convention: "paper", the paper's mixture: main feature with aligned corners, local coordinate
      by pixel centres; "centers": pixel centres for both; "literal": aligned corners for both,
      Eq. 3 taken at x = i / (P - 1), the last pixel being +1 as the text says.
  """
  if convention not in ("paper", "centers", "literal"):
    raise ValueError(f"convention {convention!r}: use 'paper', 'centers' or 'literal'")
  axis = sample.axis_centers if convention == "centers" else sample.axis_aligned
  place = axis(in_size, out_size)
  cell = sample.cell_coordinate_literal if convention == "literal" else sample.cell_coordinate
  return PixelAxis(
    np.asarray(place.lo, np.int32),
    np.asarray(place.frac, np.float32),
    np.asarray(cell(in_size, out_size), np.float32),
    reach=in_size / out_size,
  )


def pixel_axis_window(in_size: int, full_size: Array, start: Array, length: int) -> PixelAxis:
  """Pixels start .. start + length - 1 of a virtual output of `full_size` >= `in_size` pixels.

  `full_size` and `start` may be traced, so that one compiled step serves every magnification
  (convention "paper"). All positions are quotients of integers, so nothing is rounded before the
  division that ends it: (2 i + 1) W must stay below 2^31.
  """
  i = jnp.asarray(start, jnp.int32) + jnp.arange(length, dtype=jnp.int32)
  full_size = jnp.asarray(full_size, jnp.int32)
  steps = jnp.maximum(full_size - 1, 1)
  low = i * (in_size - 1) // steps
  fraction = (i * (in_size - 1) - low * steps) / steps
  turned = (2 * i + 1) * in_size
  cell = (turned - turned // (2 * full_size) * (2 * full_size)) / full_size - 1.0
  return PixelAxis(low, fraction.astype(jnp.float32), cell.astype(jnp.float32), reach=1.0)


class ContinuousPixelMapping(nn.Module):
  """CPM (Figure 6): the mapping function F(.) of four linear layers, 258 -> ... -> 3.

  Attributes:
    widths: outputs of the hidden linear layers; ReLU follows each (not stated in the paper).
    out_features: 3, Lab.
    order: "fast" as described above, or "plain", which builds F^{x,y} at full resolution as the
      paper writes it: equal up to rounding, for tests and for measuring.
    dtype: of activations; the last layer's output is float32.
    remat: keep nothing but F_cs for the gradient.
  """

  widths: Sequence[int] = (384, 384, 256)
  out_features: int = 3
  order: str = "fast"
  chunk_floats: int = _CHUNK_FLOATS
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, features: Array, rows: PixelAxis, columns: PixelAxis) -> Array:
    """Maps F_cs to pixels.

    Args:
      features: F_cs, [N, H, W, C].
      rows: the output's vertical coordinates, P of them.
      columns: the horizontal ones, Q.

    Returns:
      float32 [N, P, Q, out_features].
    """
    ins = [features.shape[-1] + 2, *self.widths]
    outs = [*self.widths, self.out_features]
    params = {}
    for i, (fan_in, fan_out) in enumerate(zip(ins, outs, strict=True)):
      init = _QUIET if i == len(outs) - 1 else HE
      params[f"kernel_{i}"] = self.param(f"kernel_{i}", init, (fan_in, fan_out))
      params[f"bias_{i}"] = self.param(f"bias_{i}", nn.initializers.zeros, (fan_out,))
    layers = layers_of(params, jnp.float32)
    features = features.astype(self.dtype)

    def mapped(layers, features):
      if self.order == "plain":
        return map_pixels_plain(cast(layers, self.dtype), features, rows, columns)
      return map_pixels(layers, features, rows, columns, self.chunk_floats)

    return (jax.checkpoint(mapped) if self.remat else mapped)(layers, features)


def layers_of(params, dtype: Any) -> list[tuple[Array, Array]]:
  """Lists [(kernel, bias), ...] of CPM's parameters, for `map_pixels`."""
  count = len(params) // 2
  return cast([(params[f"kernel_{i}"], params[f"bias_{i}"]) for i in range(count)], dtype)


def cast(layers, dtype: Any) -> list[tuple[Array, Array]]:
  """Converts every kernel and bias."""
  return [(kernel.astype(dtype), bias.astype(dtype)) for kernel, bias in layers]


def map_pixels_plain(layers, features: Array, rows: PixelAxis, columns: PixelAxis) -> Array:
  """Computes CPM in the paper's order: concat(main feature, Z_rel), then four linear layers."""
  main = interpolate(features, rows, columns)
  shape = (*main.shape[:3], 1)
  zy = jnp.broadcast_to(jnp.asarray(rows.cell)[None, :, None, None], shape)
  zx = jnp.broadcast_to(jnp.asarray(columns.cell)[None, None, :, None], shape)
  x = jnp.concatenate([main, zy.astype(main.dtype), zx.astype(main.dtype)], axis=-1)
  for kernel, bias in layers[:-1]:
    x = nn.relu(x @ kernel + bias)
  kernel, bias = layers[-1]
  return jnp.dot(x, kernel, preferred_element_type=jnp.float32) + bias.astype(jnp.float32)


def map_pixels(
  layers, features: Array, rows: PixelAxis, columns: PixelAxis, chunk_floats: int = _CHUNK_FLOATS
) -> Array:
  """Computes CPM with the first layer at low resolution and output rows in chunks.

  Args:
    layers: [(kernel, bias), ...], the first kernel [C + 2, width] with (z_y, z_x) last. They are
      used in the features' type; gradients of chunks add up in the type in which they come.
    features: [N, H, W, C].
    rows, columns: PixelAxis of P and Q pixels.
    chunk_floats: bound of one chunk's widest hidden activation, a picture; by platform less.

  Returns:
    float32 [N, P, Q, out].
  """
  n, height = features.shape[:2]
  p, q = len(rows.low), len(columns.low)
  (kernel, bias), *_ = cast(layers[:1], features.dtype)
  channels = features.shape[-1]
  # Exact in float32, in which the gradients of chunks that lie over the same rows add up.
  low = (features @ kernel[:channels] + bias).astype(jnp.float32)
  of_coordinates = layers[0][0][channels:]

  chunk_floats = min(chunk_floats, _MOST_FLOATS.get(platform.target(), chunk_floats))
  widest = max(k.shape[1] for k, _ in layers)
  chunk = max(1, min(p, chunk_floats // (q * widest)))
  chunks = -(-p // chunk)
  chunk = -(-p // chunks)  # even out, so that the last chunk is not mostly padding
  window = min(height, _window(rows, chunk))
  row_low, row_fraction, row_cell = (
    _in_chunks(v, chunk) for v in (rows.low, rows.fraction, rows.cell)
  )
  starts = jnp.clip(row_low[:, 0], 0, height - window)

  def one_chunk(args):
    start, r_low, r_fraction, r_cell = args
    rows_under = jax.lax.dynamic_slice_in_dim(low, start, window, axis=1)
    x = _along(rows_under.astype(features.dtype), r_low - start, r_fraction, axis=1)
    x = _along(x, columns.low, columns.fraction, axis=2)
    row_kernel, column_kernel = of_coordinates.astype(x.dtype)
    x = x + jnp.asarray(columns.cell, x.dtype)[:, None] * column_kernel
    x = x + jnp.asarray(r_cell, x.dtype)[:, None, None] * row_kernel
    return remaining_layers(cast(layers, x.dtype), x)

  if chunks == 1:
    return one_chunk((starts[0], row_low[0], row_fraction[0], row_cell[0]))
  # A chunk is computed again for its gradient: keeping all of them would undo the chunking.
  one_chunk = jax.checkpoint(one_chunk, prevent_cse=False)
  out = jax.lax.map(one_chunk, (starts, row_low, row_fraction, row_cell))
  return jnp.moveaxis(out, 0, 1).reshape(n, chunks * chunk, q, -1)[:, :p]


def remaining_layers(layers, x: Array) -> Array:
  """Runs all layers but the first, whose result before its ReLU x is: float32 [N, P, Q, out]."""
  for kernel, bias in layers[1:-1]:
    x = convolve.matmul(nn.relu(x), kernel) + bias
  kernel, bias = layers[-1]
  out = jnp.dot(nn.relu(x), kernel, preferred_element_type=jnp.float32)
  return out + bias.astype(jnp.float32)


def _window(rows: PixelAxis, chunk: int) -> int:
  """Input rows that `chunk` output rows can touch: exact for fixed sizes, else by `reach`."""
  if not isinstance(rows.low, np.ndarray):
    return int(np.ceil(chunk * rows.reach)) + 2
  first = rows.low[::chunk]
  last = np.append(rows.low[chunk - 1 :: chunk], rows.low[-1])[: len(first)]
  return int((last - first).max()) + 2


def _in_chunks(values, chunk: int) -> Array:
  """Splits [P] into [ceil(P / chunk), chunk]; the last value repeats (its results are cut off)."""
  values = jnp.asarray(values)
  pad = -len(values) % chunk
  return jnp.pad(values, (0, pad), mode="edge").reshape(-1, chunk)


def interpolate(x: Array, rows: PixelAxis, columns: PixelAxis) -> Array:
  """Computes the main feature: bilinear values of x [N, H, W, C] at the pixels, [N, P, Q, C]."""
  return _along(_along(x, rows.low, rows.fraction, 1), columns.low, columns.fraction, 2)


def gather(x: Array, rows: PixelAxis, columns: PixelAxis) -> Array:
  """Interpolates at places known only when the program runs, by four gathers.

  Without gradients there is no scatter to pay for, and a few pixels in a large tile would waste a
  product with dense weights.
  """
  height, width = x.shape[1:3]
  positions = x.reshape(x.shape[0], height * width, -1)
  below = jnp.minimum(rows.low + 1, height - 1), jnp.minimum(columns.low + 1, width - 1)
  corner = lambda r, c: jnp.take(positions, r[:, None] * width + c, axis=1).astype(jnp.float32)
  down, right = rows.fraction[:, None, None], columns.fraction[:, None]
  upper = corner(rows.low, columns.low) * (1 - right) + corner(rows.low, below[1]) * right
  lower = corner(below[0], columns.low) * (1 - right) + corner(below[0], below[1]) * right
  return (upper * (1 - down) + lower * down).astype(x.dtype)


def _along(x: Array, low, fraction, axis: int) -> Array:
  """Interpolates linearly along one axis: in full float32, whatever x is, as weights place pixels.

  On a TPU as a product with the (banded) weight matrix: matrix units do it at full rate, and its
  transpose, which the backward pass needs, is a product again instead of a scatter. Elsewhere from
  the two neighbours: the product costs a CPU a fifth of what all layers that follow it do, and
  brings a GPU's memory two pictures of features in float32.
  """
  low, fraction = jnp.asarray(low), jnp.asarray(fraction)
  if platform.target() == "tpu":
    return _product_along(x, low, fraction, axis)
  return _neighbours_along(x, low, fraction, axis, x.shape[axis])


def _product_along(x: Array, low: Array, fraction: Array, axis: int) -> Array:
  weight = _weights(low, fraction, x.shape[axis])
  spec = "pr,nrwc->npwc" if axis == 1 else "qw,npwc->npqc"
  y = jnp.einsum(spec, weight, x.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
  return y.astype(x.dtype)


def _weights(low: Array, fraction: Array, size: int) -> Array:
  """Makes the matrix of the interpolation, float32 [P, size], whose rows sum to one."""
  position = jnp.arange(size)
  weight = jnp.where(position == low[:, None], 1.0 - fraction[:, None], 0.0)
  last = jnp.minimum(low + 1, size - 1)
  return weight + jnp.where(position == last[:, None], fraction[:, None], 0.0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _neighbours_along(x: Array, low: Array, fraction: Array, axis: int, size: int) -> Array:
  """`_product_along` by two gathers; `size`: of x along the axis. The backward pass multiplies."""
  here = jnp.take(x, low, axis, mode="clip").astype(jnp.float32)
  there = jnp.take(x, jnp.minimum(low + 1, size - 1), axis, mode="clip").astype(jnp.float32)
  share = fraction.reshape([-1 if i == axis else 1 for i in range(4)])
  return (here * (1.0 - share) + there * share).astype(x.dtype)


def _neighbours_forward(x, low, fraction, axis, size):
  return _neighbours_along(x, low, fraction, axis, size), (low, fraction)


def _neighbours_backward(axis, size, kept, upper):
  spec = "pr,npwc->nrwc" if axis == 1 else "qw,npqc->npwc"
  weight = _weights(*kept, size)
  y = jnp.einsum(spec, weight, upper.astype(jnp.float32), precision=jax.lax.Precision.HIGHEST)
  return y.astype(upper.dtype), None, None


_neighbours_along.defvjp(_neighbours_forward, _neighbours_backward)
