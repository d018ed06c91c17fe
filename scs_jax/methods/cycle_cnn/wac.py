"""The Weighted Average Colorization network (Section III-B, Fig. 6, Table I).

One ResNet reads Y of both views, a 3-D U-Net turns the pair of features into a weight for each
pixel and candidate, and the result is the weighted average of the reference's colours (Eq. 1).
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.errors import UserError
from scs_jax.methods.cycle_cnn import unet
from scs_jax.methods.cycle_cnn.average import average
from scs_jax.methods.cycle_cnn.resnet import PAIRS, ResNet
from scs_jax.ops import check

Array = jax.Array


class Colorized(NamedTuple):
  """Holds what WAC gives.

  Attributes:
    ycbcr: A_C, float32 [N, H, W, 3] in [0, 1]: averages of the reference's pixels.
    smoothness: Eq. 11, float32 [N].
    disparity: sum_k k V^W, float32 [N, H, W, 1] in [0, d - 1].
    weights: V^W, float32 [N, H, W, d], or None where it is not asked for.
  """

  ycbcr: Array
  smoothness: Array
  disparity: Array
  weights: Array | None = None


class WAC(nn.Module):
  """Gray view and colour reference -> the gray view in colour. Any size.

  The two views go through the ResNet as one batch, so that in training both are normalised by the
  same statistics, as they are later by the running ones: equal patches have equal features in
  both views, and what differs between the cameras (exposure, say) is seen in training as in use.
  (The paper says only that the network is shared.)

  Sizes need not be multiples of 16: the features, not the views, are padded with zeros on the
  right and below. Features beyond the border are zero as it is, so the first 3-D convolution gives
  at every pixel of the picture what it would without; and the logits are cut to the picture
  before the softmax, so no candidate lies in the padding. In training, batch statistics of the
  U-Net would count the padding: crops are best multiples of 16.

  Attributes:
    features: n.
    search_range: d, a multiple of 16.
    pairs: residual pairs of the ResNet.
    remat: keep little for the gradient and compute the rest again, see `UNet` and `ResNet`.
    dtype: of the activations; logits and what follows are float32.
    axis_name: the axis that batch statistics are taken over, under pmap.
    platform: that the layout of the volumes suits; None: the default backend.
  """

  features: int = 16
  search_range: int = 64
  pairs: int = PAIRS
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None
  platform: str | None = None

  @nn.compact
  def __call__(
    self, gray_a: Array, ycbcr_b: Array, train: bool = False, weights: bool = False
  ) -> Colorized:
    """Colours view A by the colours of view B.

    Args:
      gray_a: Y of the view to colour, [N, H, W, 1] in [0, 1].
      ycbcr_b: the reference, [N, H, W, 3] in [0, 1]; pixel (j, i) has its match at (j, i + k).
      train: use the batch's statistics, and update the running ones ("batch_stats").
      weights: return V^W too.
    """
    _check_views(gray_a, ycbcr_b)
    check_search_range(self.search_range)
    n, height, width, _ = gray_a.shape
    common = {"remat": self.remat, "dtype": self.dtype, "axis_name": self.axis_name}
    # A pair's views next to each other: devices that hold pairs then hold both, and send nothing.
    views = jnp.stack([gray_a, ycbcr_b[..., :1]], axis=1).reshape(2 * n, height, width, 1)
    seen = ResNet(self.features, self.pairs, name="resnet", **common)(views, train)
    padding = ((0, 0), (0, -height % unet.MULTIPLE), (0, -width % unet.MULTIPLE), (0, 0))
    seen = jnp.pad(seen, padding)
    seen = seen.reshape(n, 2, *seen.shape[1:])
    regulate = unet.UNet(
      self.features, self.search_range, platform=self.platform, name="unet", **common
    )
    logits = regulate(seen[:, 0], seen[:, 1], train)[:, :, :height, :width]
    out = average(logits, ycbcr_b)
    volume = jnp.moveaxis(out.weights, 1, 3) if weights else None
    return Colorized(out.values, out.smoothness, out.disparity, volume)

  def row_radius(self) -> int:
    """Rows above and below it that a result depends on, at most, with running statistics."""
    return ResNet(pairs=self.pairs, parent=None).reach() + unet.reach_of_rows()


def check_search_range(search_range: int) -> None:
  """Raises UserError unless the U-Net can halve it four times."""
  if search_range < 1 or search_range % unet.MULTIPLE:
    up = max(-(-search_range // unet.MULTIPLE), 1) * unet.MULTIPLE
    raise UserError(f"search_range {search_range} is no multiple of {unet.MULTIPLE}; use {up}")


def _check_views(gray_a: Array, ycbcr_b: Array) -> None:
  check.require_rank("gray_a", gray_a, 4)
  check.require_channels("gray_a", gray_a, 1)
  check.require_channels("ycbcr_b", ycbcr_b, 3)
  check.require_same_shape("gray_a", gray_a, "Y of ycbcr_b", ycbcr_b[..., :1])
