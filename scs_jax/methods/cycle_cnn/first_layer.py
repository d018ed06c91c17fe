"""The first 3-D convolution of the U-Net (Table I), computed from 2-D features.

The feature volume pairs F_A(j, i) with F_B(j, i + k), the latter zero beyond the border. Its
convolution is linear, so it splits into a part of each view:

- F_A's part does not depend on k, but at k = 0 and k = d - 1 one depth tap falls outside.
- F_B's tap (dk, dj, di) at (j, i, k) reads column (i + di) + (k + dk) = (i + k) + (dk + di) of row
  j + dj. Inside the volume this is one 2-D convolution of F_B, 3 x 5, read at column i + k: a map
  that is sheared over k. At k = 0, k = d - 1, i = 0 and i = w - 1 taps fall outside, so there it is
  the same with fewer taps. Beyond the right border (i + k >= w) nothing is special, F_B being zero.

So all that is ever as large as the volume is the result; the 2n-channel volume is not built, and
the work is that of a few 2-D convolutions and one addition for each voxel.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.methods.cycle_cnn.volume import Volume
from scs_jax.nn.blocks import HE
from scs_jax.nn.folded import fold_for
from scs_jax.ops.convolve import conv_general_dilated

Array = jax.Array
Taps = tuple[int, int]  # first and last tap, of -1, 0, 1, that falls inside


class FirstLayer(nn.Module):
  """Layer 1 of the 3-D U-Net without its BatchNorm and ReLU; "kernel" is [3, 3, 3, 2 n, features].

  Attributes:
    features: channels of the result.
    depth: d, the search range.
    dtype: of the result; the 2-D maps that it is summed from stay float32.
    fold, platform: layout of the result, see `folded.fold_for`.
  """

  features: int
  depth: int
  dtype: Any = jnp.float32
  fold: int | None = None
  platform: str | None = None

  @nn.compact
  def __call__(self, features_a: Array, features_b: Array) -> Volume:
    shape = (3, 3, 3, 2 * features_a.shape[-1], self.features)
    kernel = self.param("kernel", HE, shape)
    fold = self.fold or fold_for(self.features, self.depth, self.platform)
    return convolve_pair(features_a, features_b, kernel, self.depth, fold, self.dtype)


def convolve_pair(
  features_a: Array, features_b: Array, kernel: Array, depth: int, fold: int = 1, dtype=jnp.float32
) -> Volume:
  """Computes `conv3d` of the feature volume, which is not built.

  Args:
    features_a, features_b: F_A and F_B [N, H, W, n].
    kernel: [3, 3, 3, 2 n, m], axes (disparity, y, x, ...); F_A's channels come first.
    depth: d, a multiple of `fold`.
    fold, dtype: of the result.

  Returns:
    depth d, m channels.
  """
  if features_a.shape != features_b.shape or kernel.shape[3] != 2 * features_a.shape[-1]:
    raise ValueError(
      f"features {features_a.shape} and {features_b.shape} do not fit a kernel {kernel.shape}"
    )
  if depth % fold:
    raise ValueError(f"fold {fold} does not divide the depth {depth}")
  kernel_a, kernel_b = jnp.split(kernel.astype(jnp.float32), 2, axis=3)
  features_a, features_b = (f.astype(jnp.float32) for f in (features_a, features_b))
  maps_a = _maps_of_a(features_a, kernel_a, depth)
  data = _sheared(maps_a, features_b, kernel_b, depth, fold, dtype)
  width = features_a.shape[2]
  for column in sorted({0, width - 1}):
    values = _column(maps_a, features_b, kernel_b, depth, column)
    n, h, _, m = values.shape
    values = values.reshape(n, h, depth // fold, fold * m).transpose(0, 2, 1, 3)
    data = data.at[:, :, :, column].set(values.astype(dtype))
  return Volume(data, fold)


def taps_inside(position: int, size: int) -> Taps:
  """Returns the first and last of the taps -1, 0, 1 that stay inside at a position of an axis."""
  return (0 if position == 0 else -1), (0 if position == size - 1 else 1)


def _classes(size: int) -> list[Taps]:
  """Returns the different sets of taps along an axis, in order of first appearance."""
  return list(dict.fromkeys(taps_inside(k, size) for k in (0, min(1, size - 1), size - 1)))


def _maps_of_a(features: Array, kernel: Array, depth: int) -> dict[Taps, Array]:
  """Computes F_A's part of the result, for each set of depth taps: [N, H, W, m]."""
  classes = _classes(depth)
  sums = [kernel[first + 1 : last + 2].sum(0) for first, last in classes]
  out = _convolve(features, jnp.concatenate(sums, axis=-1), ((1, 1), (1, 1)))
  return dict(zip(classes, jnp.split(out, len(classes), axis=-1), strict=True))


def _maps_of_b(
  features: Array, kernel: Array, depth: int, columns: Taps, start: int, length: int
) -> dict[Taps, Array]:
  """Computes F_B's part by x = i + k from `start` on, by set of depth taps: [N, H, length, m]."""
  width, classes = features.shape[2], _classes(depth)
  bands = jnp.concatenate([_band(kernel, taps, columns) for taps in classes], axis=-1)
  seen = min(length, width + 2 - start)  # further right all taps lie beyond the border
  first, last = start - 2, start + seen + 2
  inside = features[:, :, max(first, 0) : min(last, width)]
  pads = (max(-first, 0), max(last - width, 0))
  out = _convolve(inside, bands, ((1, 1), pads))
  out = jnp.pad(out, ((0, 0), (0, 0), (0, length - seen), (0, 0)))
  return dict(zip(classes, jnp.split(out, len(classes), axis=-1), strict=True))


def _band(kernel: Array, depth_taps: Taps, column_taps: Taps) -> Array:
  """Adds taps up by dk + di = -2 .. 2, those of the two sets alone: [3, 5, n, m]."""
  zero = jnp.zeros_like(kernel[0, :, 0])
  band = [zero] * 5
  for dk in range(depth_taps[0], depth_taps[1] + 1):
    for di in range(column_taps[0], column_taps[1] + 1):
      band[dk + di + 2] += kernel[dk + 1, :, di + 1]
  return jnp.stack(band, axis=1)


def _sheared(maps_a, features_b, kernel_b, depth: int, fold: int, dtype) -> Array:
  """Computes the result as though no tap ever fell outside to the left or right of the volume."""
  width = features_b.shape[2]
  length = width + depth - 1
  maps_b = _maps_of_b(features_b, kernel_b, depth, (-1, 1), 0, length)
  folded: dict[tuple[Taps, ...], tuple[Array, Array]] = {}
  groups = []
  for start in range(0, depth, fold):
    sets = tuple(taps_inside(k, depth) for k in range(start, start + fold))
    if sets not in folded:
      reach = length - fold + 1
      shifted = [maps_b[taps][:, :, f : f + reach] for f, taps in enumerate(sets)]
      same = [maps_a[taps] for taps in sets]
      folded[sets] = tuple(jnp.concatenate(maps, axis=-1) for maps in (same, shifted))
    part_a, part_b = folded[sets]
    groups.append((part_a + part_b[:, :, start : start + width]).astype(dtype))
  # A scan over the groups needs more memory than this, forward and backward, and more time.
  return jnp.stack(groups, axis=1)


def _column(maps_a, features_b, kernel_b, depth: int, column: int) -> Array:
  """Computes the result at one column of the image, by disparity: [N, H, d, m]."""
  columns = taps_inside(column, features_b.shape[2])
  maps_b = _maps_of_b(features_b, kernel_b, depth, columns, column, depth)
  parts, k = [], 0
  for taps in _classes(depth):
    count = 1 if 0 in taps else depth - 2  # the first and the last disparity, and those between
    parts.append(maps_a[taps][:, :, column, None] + maps_b[taps][:, :, k : k + count])
    k += count
  return jnp.concatenate(parts, axis=2)


def _convolve(x: Array, kernel: Array, padding) -> Array:
  layout = ("NHWC", "HWIO", "NHWC")
  return conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=layout)
