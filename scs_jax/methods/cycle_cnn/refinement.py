"""The refinement network: what the gray view knows of a colour's edges (Section III-H, Fig. 7)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.methods.cycle_cnn.resnet import PAIRS, ResNet
from scs_jax.ops import check

Array = jax.Array


class Refinement(nn.Module):
  """Cb and Cr plus a residue: ResNet1 on the gray view, ResNet2 on its feature and the chroma.

  The residue starts at zero, so that before training nothing is refined.

  Attributes:
    features, pairs, remat, dtype, axis_name: of the two ResNets.
    together: both channels in one pass of ResNet2, which then has two outputs. By default it runs
      once a channel with the same weights, for Table I gives it one output.
    residue_norm: BatchNorm on ResNet2's last layer, of which the table takes away the ReLU alone.
  """

  features: int = 16
  pairs: int = PAIRS
  together: bool = False
  residue_norm: bool = True
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, gray: Array, chroma: Array, train: bool = False) -> Array:
    """Computes refined chroma.

    Args:
      gray: [N, H, W, 1] in [0, 1], the picture that is coloured.
      chroma: its Cb and Cr, [N, H, W, 2] in [0, 1].
      train: use and update batch statistics.

    Returns:
      float32 [N, H, W, 2].
    """
    check.require_channels("gray", gray, 1)
    check.require_channels("chroma", chroma, 2)
    check.require_same_shape("gray", gray[..., 0], "chroma, one channel of it", chroma[..., 0])
    n, h, w, _ = chroma.shape
    common = {
      "remat": self.remat,
      "dtype": self.dtype,
      "axis_name": self.axis_name,
    }
    feature = ResNet(self.features, self.pairs, 1, name="resnet_1", **common)(gray, train)
    # One channel a pass: both passes side by side, as examples [N, 2], so that BatchNorm's
    # statistics are those of both, and one order of examples stays next to each other.
    parts = 1 if self.together else 2
    chroma = chroma.astype(jnp.float32)
    channels = 2 // parts
    split = jnp.moveaxis(chroma.reshape(n, h, w, parts, channels), 3, 1)
    seen = jnp.concatenate(
      [
        jnp.broadcast_to(feature[:, None], (n, parts, h, w, 1)).astype(jnp.float32),
        split,
      ],
      axis=-1,
    ).reshape(n * parts, h, w, 1 + channels)
    residue = ResNet(
      self.features,
      self.pairs,
      channels,
      out_norm=self.residue_norm,
      out_activation="none",
      out_quiet=True,
      name="resnet_2",
      **common,
    )(seen, train)
    residue = residue.astype(jnp.float32).reshape(n, parts, h, w, channels)
    return chroma + jnp.moveaxis(residue, 1, 3).reshape(n, h, w, 2)

  def reach(self) -> int:
    """Pixels in each direction that a result depends on, with running statistics."""
    return 2 * ResNet(pairs=self.pairs, out_features=1, parent=None).reach()
