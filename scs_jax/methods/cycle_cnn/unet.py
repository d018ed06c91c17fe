"""The 3-D U-Net of the WAC network (Table I, layers 1 to 19), after Kendall et al. 2017.

From the features of both views to one logit for each pixel and candidate. Layers keep Table I's
numbers. BatchNorm and ReLU follow each convolution but the last; the residual connections add
what comes after the ReLU.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.methods.cycle_cnn.first_layer import FirstLayer
from scs_jax.methods.cycle_cnn.volume import Volume
from scs_jax.methods.cycle_cnn.volume_layers import Conv3D
from scs_jax.nn.folded import FoldedNorm

Array = jax.Array

MULTIPLE = 16  # four halvings: rows, columns and disparities come in multiples of it
HALVED = (3, 6, 9, 12)  # convolutions of stride 2
SKIPS = {15: 11, 16: 8, 17: 5, 18: 2}  # transposed convolutions and what is added to them


class Layer(nn.Module):
  """One line of Table I: convolution, BatchNorm and ReLU.

  Attributes:
    conv: what it convolves with: Conv3D, or FirstLayer from the two views' features.
    dtype: of the activations.
    axis_name: the axis that batch statistics are taken over, under pmap.
  """

  conv: nn.Module
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, *inputs, train: bool = False) -> Volume:
    volume = self.conv(*inputs)
    norm = FoldedNorm(dtype=self.dtype, axis_name=self.axis_name, name="norm")
    return volume.replace(data=nn.relu(norm(volume.data, volume.fold, train)))


class UNet(nn.Module):
  """Features of both views -> logits.

  Attributes:
    features: n.
    depth: d, the search range: a multiple of 16.
    remat: keep for the gradient only what stands between the stages (layers 1 and 2; each of 3 to
      17; 18 and 19) and compute the rest again: of the full-size volumes one stays, layer 2's.
    dtype: of the activations; logits, parameters and statistics are float32.
    axis_name: the axis that batch statistics are taken over, under pmap.
    platform: that the layout of the volumes suits, see `folded.fold_for`.
  """

  features: int = 16
  depth: int = 64
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None
  platform: str | None = None

  def setup(self):
    common = {"dtype": self.dtype, "platform": self.platform}
    layer = lambda conv: Layer(conv, self.dtype, self.axis_name)
    n = self.features
    layers = {1: layer(FirstLayer(n, self.depth, **common)), 2: layer(Conv3D(n, **common))}
    for number in range(3, 15):
      layers[number] = layer(Conv3D(2 * n, stride=2 if number in HALVED else 1, **common))
    for number in SKIPS:
      layers[number] = layer(Conv3D(n if number == 18 else 2 * n, transposed=True, **common))
    # Of stride 1, so transposed or not is a matter of names; a softmax would not see a bias.
    layers[19] = Conv3D(1, **common)
    self.layer = {str(number): module for number, module in layers.items()}

  def __call__(self, features_a: Array, features_b: Array, train: bool = False) -> Array:
    """Weighs each candidate along a row.

    Args:
      features_a, features_b: F_A, F_B [N, H, W, n], H and W multiples of 16.
      train: use the batch's statistics, and update the running ones ("batch_stats").

    Returns:
      logits, float32 [N, d, H, W]; candidates beyond the border are not masked.
    """
    check_sizes(*features_a.shape[1:3], self.depth)
    stage = lambda run, *inputs: (nn.remat(run) if self.remat else run)(self, *inputs)
    run = stage(lambda net, a, b: net._stem(a, b, train), features_a, features_b)
    kept = {2: run}
    for number in range(3, 18):
      run = stage(lambda net, x, number=number: net.layer[str(number)](x, train=train), run)
      if number in SKIPS:
        run = _add(run, kept.pop(SKIPS[number]))
      elif number in SKIPS.values():
        kept[number] = run
    return stage(lambda net, x, skip: net._head(x, skip, train), run, kept.pop(2))

  def _stem(self, features_a: Array, features_b: Array, train: bool) -> Volume:
    return self.layer["2"](self.layer["1"](features_a, features_b, train=train), train=train)

  def _head(self, volume: Volume, skip: Volume, train: bool) -> Array:
    volume = _add(self.layer["18"](volume, train=train), skip)
    return by_disparity(self.layer["19"](volume)).astype(jnp.float32)


def check_sizes(height: int, width: int, depth: int) -> None:
  """Raises ValueError unless all three are multiples of 16."""
  sizes = {"height": height, "width": width, "search range": depth}
  for name, size in sizes.items():
    if size < 1 or size % MULTIPLE:
      up = max(-(-size // MULTIPLE), 1) * MULTIPLE
      raise ValueError(f"{name} {size} is no multiple of {MULTIPLE}; use {up}")


def by_disparity(volume: Volume) -> Array:
  """Converts a volume of one channel to [N, d, H, W], whatever its layout."""
  n, groups, h, w, fold = volume.data.shape
  return volume.data.transpose(0, 1, 4, 2, 3).reshape(n, groups * fold, h, w)


def _add(a: Volume, b: Volume) -> Volume:
  if a.fold != b.fold:
    raise ValueError(f"volumes of folds {a.fold} and {b.fold} cannot be added")
  return a.replace(data=a.data + b.data)


def reach_of_rows() -> int:
  """Rows above or below it that a logit depends on, at most, with running statistics.

  Found by walking back through the layers from each of the 16 rows that differ.
  """
  spans = {row: _rows(row) for row in range(MULTIPLE)}
  return max(max(row - first, last - row) for row, (first, last) in spans.items())


def _rows(row: int) -> tuple[int, int]:
  """Returns the first and last row of the features that a logit of `row` depends on."""
  plain = lambda first, last: (first - 1, last + 1)
  halved = lambda first, last: (2 * first - 1, 2 * last + 1)
  # out[2 i - 1 + t] takes in[i], t = 0 .. 2.
  doubled = lambda first, last: (first // 2, -(-last // 2))
  wanted = {18: plain(row, row)}  # by layer: the rows of its output, or of the sum that it ends in
  for number in range(18, 0, -1):
    span = wanted[number]
    if number in SKIPS:
      wanted[SKIPS[number]] = span
    before = (doubled if number in SKIPS else halved if number in HALVED else plain)(*span)
    other = wanted.get(number - 1, before)
    wanted[number - 1] = (min(before[0], other[0]), max(before[1], other[1]))
  return wanted[0]
