"""The volumes of the 3-D U-Net (Table I) and their convolutions, in the layout of each platform.

A volume is indexed by disparity, row, column and channel. Its plain layout [N, D, H, W, C] suits
CPUs and GPUs. A TPU pads the last axis to 128 lanes, which makes 16 channels eight times as big as
they are; there `fold` neighbouring disparities share the last axis: [N, D/F, H, W, F*C], and the
kernel becomes a banded one over groups of disparities. The numbers are the same in every layout.
"""

import functools
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from scs_jax.methods.cycle_cnn import volume_cpu
from scs_jax.nn.folded import fold_for
from scs_jax.ops.platform import target

Array = jax.Array

_LAYOUT = ("NDHWC", "DHWIO", "NDHWC")


@flax.struct.dataclass
class Volume:
  """Features over disparities.

  Attributes:
    data: float32 or bfloat16 [N, D/F, H, W, F*C]; index g of axis 1 and f*C + c of the last one
      hold channel c of disparity g*F + f.
    fold: F, the number of neighbouring disparities that share the last axis. 1 is plain NDHWC.
  """

  data: Array
  fold: int = flax.struct.field(pytree_node=False, default=1)

  @property
  def depth(self) -> int:
    return self.data.shape[1] * self.fold

  @property
  def channels(self) -> int:
    return self.data.shape[-1] // self.fold

  def plain(self) -> Array:
    """Returns the volume as [N, D, H, W, C]."""
    n, groups, h, w, lanes = self.data.shape
    if self.fold == 1:
      return self.data
    x = self.data.reshape(n, groups, h, w, self.fold, lanes // self.fold)
    return jnp.moveaxis(x, 4, 2).reshape(n, self.depth, h, w, self.channels)


def from_plain(x: Array, fold: int = 1) -> Volume:
  """Folds a volume [N, D, H, W, C]: `fold` disparities in the last axis; fold divides D."""
  n, d, h, w, c = x.shape
  if fold < 1 or d % fold:
    raise ValueError(f"fold {fold} does not divide the depth {d}")
  if fold == 1:
    return Volume(x, 1)
  x = jnp.moveaxis(x.reshape(n, d // fold, fold, h, w, c), 2, 4)
  return Volume(x.reshape(n, d // fold, h, w, fold * c), fold)


def refold(volume: Volume, fold: int) -> Volume:
  """Returns the same volume with `fold` disparities in the last axis."""
  return volume if volume.fold == fold else from_plain(volume.plain(), fold)


def conv3d(
  volume: Volume,
  kernel: Array,
  stride: int = 1,
  fold: int | None = None,
  platform: str | None = None,
) -> Volume:
  """Cross-correlates 3 x 3 x 3, zero-padded by one: out[o] = sum_t kernel[t] in[stride o-1+t].

  PyTorch's Conv3d(3, stride, padding=1) with weight [Cout, Cin, 3, 3, 3] has the kernel
  weight.transpose(2, 3, 4, 1, 0).

  Args:
    volume: of any fold.
    kernel: [3, 3, 3, Cin, Cout], axes (disparity, y, x, ...), in the volume's dtype.
    stride: 1, or 2 (of all three axes): sizes become ceil(size / 2).
    fold: of the result; None: `fold_for(Cout, its depth, platform)`.
    platform: the layout's, see `fold_for`.
  """
  if stride not in (1, 2):
    raise ValueError(f"stride is 1 or 2, got {stride}")
  depth = -(-volume.depth // stride)
  return _convolve(volume, kernel, _Steps(stride, 1), depth, fold, platform)


def conv3d_transposed(
  volume: Volume, kernel: Array, fold: int | None = None, platform: str | None = None
) -> Volume:
  """Computes the adjoint of the stride-2 `conv3d`: out[2 i - 1 + t] += kernel[t] in[i].

  PyTorch's ConvTranspose3d(3, stride=2, padding=1, output_padding=1) with weight
  [Cin, Cout, 3, 3, 3] has the kernel weight.transpose(2, 3, 4, 0, 1), nothing flipped.

  Args:
    volume: of any fold.
    kernel: [3, 3, 3, Cin, Cout], axes (disparity, y, x, ...), in the volume's dtype.
    fold, platform: see `conv3d`.
  """
  return _convolve(volume, kernel, _Steps(1, 2), 2 * volume.depth, fold, platform)


class _Steps(NamedTuple):
  """Input positions a step of the output (`stride`), or steps of the output an input (`spread`)."""

  stride: int
  spread: int


def _convolve(volume, kernel, steps, depth, fold, platform) -> Volume:
  if kernel.shape[:4] != (3, 3, 3, volume.channels):
    raise ValueError(f"kernel {kernel.shape} does not fit a volume of {volume.channels} channels")
  platform = target() if platform is None else platform
  fold = fold_for(kernel.shape[-1], depth, platform) if fold is None else fold
  if fold < 1 or depth % fold:
    raise ValueError(f"fold {fold} does not divide the depth {depth}")
  if platform == "cpu" and volume.fold == fold == 1:
    return Volume(_ON_CPU[steps](volume.data, kernel))
  # Disparities that a group of the output and of the input moves on by, in the same unit.
  advance, group = fold * steps.stride, volume.fold * steps.spread
  if advance % group and group % advance:
    return refold(_convolve(refold(volume, 1), kernel, steps, depth, 1, platform), fold)
  if advance == group and max(fold, volume.fold) > 1:
    return Volume(_by_group(volume.data, kernel, volume.fold, fold, steps), fold)
  return Volume(_group_conv(volume, kernel, steps, depth, fold), fold)


_ON_CPU = {
  _Steps(1, 1): volume_cpu.convolve,
  _Steps(2, 1): volume_cpu.convolve_by_two,
  _Steps(1, 2): volume_cpu.convolve_transposed,
}


def _group_conv(volume: Volume, kernel: Array, steps: _Steps, depth: int, fold: int) -> Array:
  """Computes the convolution as one over groups of disparities, rows and columns.

  The general case: `_by_group` moves fewer bytes where it can be had.
  """
  placement, first = _placement(volume.fold, fold, steps)
  banded = jnp.einsum("uift,tyxcd->uyxicfd", placement.astype(kernel.dtype), _flip(kernel, steps))
  u, y, x, i, c, f, d = banded.shape
  banded = banded.reshape(u, y, x, i * c, f * d)
  advance, group = fold * steps.stride, volume.fold * steps.spread
  window, spread = max(advance // group, 1), max(group // advance, 1)
  groups_in, groups_out = volume.data.shape[1], depth // fold
  last = window * (groups_out - 1) + first + u - 1
  before = -first
  after = last - spread * (groups_in - 1)
  plane = (1, steps.spread)
  # XLA's convolution of few examples for a TPU cuts rows into pieces along the batch. Without
  # barriers it carries that form on into what comes before and after, and leaves it there, in
  # float32 and several times, by copies of the volume.
  held = lax.optimization_barrier if volume.fold > 1 or fold > 1 else lambda x: x
  out = lax.conv_general_dilated(
    held(volume.data),
    banded,
    (window, steps.stride, steps.stride),
    ((before, after), plane, plane),
    lhs_dilation=(spread, steps.spread, steps.spread),
    dimension_numbers=_LAYOUT,
  )
  return held(out)


def _beside(x: Array, kernel: Array, fold_in: int, fold: int, steps: _Steps) -> Array:
  """Computes the convolution where a group of the output lies over one of the input.

  Groups are a batch then, of 2-D convolutions, each of a group and of those disparities of the two
  beside it that it sees. XLA's 3-D convolution of a single pair for a TPU cuts rows into pieces
  along the batch instead, by copies of the volume before and after.
  """
  placement, first = _placement(fold_in, fold, steps)
  n, groups, h, w, _ = x.shape
  channels = kernel.shape[3]
  parts, taps = {}, {}
  for offset, table in enumerate(placement, first):
    used = np.flatnonzero(table.any((1, 2)))
    low, high = used[0], used[-1] + 1
    parts[offset] = _groups_on(x[..., low * channels : high * channels], offset)
    taps[offset] = table[low:high]
  middle, tap = parts.pop(0), [taps.pop(0), *taps.values()]
  # One small array, not a copy of the volume with the edges in their places.
  edges = lax.optimization_barrier(jnp.concatenate(list(parts.values()), -1))
  seen = jnp.concatenate([middle, edges], -1)
  tap = np.concatenate(tap).astype(kernel.dtype)
  banded = jnp.einsum("ift,tyxcd->yxicfd", tap, _flip(kernel, steps))
  plane = (1, steps.spread)
  out = lax.conv_general_dilated(
    seen.reshape(n * groups, h, w, -1),
    banded.reshape(3, 3, seen.shape[-1], -1),
    (steps.stride, steps.stride),
    (plane, plane),
    lhs_dilation=(steps.spread, steps.spread),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )
  return out.reshape(n, groups, *out.shape[1:])


def _groups_on(x: Array, offset: int) -> Array:
  """Gives each group of [N, G, ...] the one `offset` further on, zeros beyond the ends."""
  before, after = max(-offset, 0), max(offset, 0)
  padded = jnp.pad(x, ((0, 0), (before, after), *[(0, 0)] * (x.ndim - 2)))
  return padded[:, after : after + x.shape[1]]


_by_group = jax.custom_vjp(_beside, nondiff_argnums=(2, 3, 4))


def _by_group_forward(x, kernel, fold_in, fold, steps):
  return _by_group(x, kernel, fold_in, fold, steps), (x, kernel)


def _by_group_backward(fold_in, fold, steps, kept, upper):
  x, kernel = kept
  # A convolution's adjoint is of the same kind: XLA's own would bring the edges back by copies.
  flipped = kernel[::-1, ::-1, ::-1] if steps == _Steps(1, 1) else kernel
  back = _Steps(steps.spread, steps.stride)
  to_x = _by_group(upper, flipped.swapaxes(3, 4), fold, fold_in, back)
  of_kernel = functools.partial(_beside, x, fold_in=fold_in, fold=fold, steps=steps)
  (to_kernel,) = jax.linear_transpose(of_kernel, kernel)(upper)
  return to_x[:, :, : x.shape[2], : x.shape[3]], to_kernel


_by_group.defvjp(_by_group_forward, _by_group_backward)


def _flip(kernel: Array, steps: _Steps) -> Array:
  """Rows and columns in the order of a cross-correlation with the spread-out input."""
  return kernel[:, ::-1, ::-1] if steps.spread == 2 else kernel


def _placement(fold_in: int, fold_out: int, steps: _Steps) -> tuple[np.ndarray, int]:
  """Tells which tap joins which disparities: 0 or 1 [groups, fold_in, fold_out, 3]; first offset.

  Entry [u, i, f, t] is 1 where disparity i of the input's group (offset u from the output's, in the
  steps of the group convolution) meets disparity f of the output's group through depth tap t.
  """
  advance, group = fold_out * steps.stride, fold_in * steps.spread
  # A group offset in units of output disparities times stride, or of input ones times spread.
  unit = min(advance, group)
  reach = -(-(3 + advance + group) // unit)
  offsets = range(-reach, reach + 1)
  table = np.zeros((len(offsets), fold_in, fold_out, 3), np.float32)
  for a, offset in enumerate(offsets):
    for i in range(fold_in):
      for f in range(fold_out):
        # stride o - 1 + t = i, or 2 i - 1 + t = o, both relative to the output's group.
        where = offset * unit + i * steps.spread - f * steps.stride
        tap = where + 1 if steps.spread == 1 else 1 - where
        if 0 <= tap < 3:
          table[a, i, f, tap] = 1
  used = np.flatnonzero(table.any((1, 2, 3)))
  return table[used[0] : used[-1] + 1], int(offsets[used[0]])
