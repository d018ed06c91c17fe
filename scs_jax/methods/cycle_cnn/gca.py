"""Global Curve Adjustment: one curve takes the estimated Y to the mono view's levels (Eq. 2-8).

Two cameras see the same surface at different levels, by exposure and response. GCA fits the curve T
between them, each node a weighted mean of the gray view, before structure is compared. Intensities
are 0 .. 255 in here, as the paper's nodes are; outside they are 0 .. 1.
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from scs_jax.methods.cycle_cnn.resnet import PAIRS, ResNet
from scs_jax.ops import check

Array = jax.Array

LEVELS = 255.0
NODES = 64  # S
STRIDE = 4  # s
SIGMA = 5.0
# Nodes, and rows of pixels, that are worked on at once: 64 of either would be 64 pictures.
_NODES_AT_ONCE = 8
_ROWS_AT_ONCE = 16


@flax.struct.dataclass
class Adjusted:
  """Holds what GCA says of a pair.

  Attributes:
    luma: T(I_C^Y), float32 [N, H, W, 1], in units of 1 as I_C^Y was.
    confidence: M, [N, H, W, 1] in (0, 1).
    curve: y_m at the 64 nodes, [N, 64] in 0 .. 255.
    support: the weights' sum at each node, sum_ji W_GCA(j, i, m), [N, 64]; near 0 where the picture
      has no such level.
  """

  luma: Array
  confidence: Array
  curve: Array
  support: Array


def nodes() -> Array:
  """Returns the nodes x_1 .. x_S: 0, 4, ..., 252."""
  return jnp.arange(NODES, dtype=jnp.float32) * STRIDE


def position_map(height: int, width: int) -> Array:
  """Computes Eq. 7-8: distance to the border above or below, and left or right, [H, W, 2]."""
  rows, columns = jnp.arange(height), jnp.arange(width)
  rows, columns = jnp.minimum(rows, height - 1 - rows), jnp.minimum(columns, width - 1 - columns)
  shape = (height, width)
  maps = jnp.broadcast_to(rows[:, None], shape), jnp.broadcast_to(columns[None], shape)
  return jnp.stack(maps, axis=-1).astype(jnp.float32)


def _log_distance(x: Array, node: Array) -> Array:
  """Computes log D_T, Eq. 4."""
  return -((x - node) ** 2) / (2 * SIGMA**2)


def curve_nodes(x: Array, y: Array, log_confidence: Array) -> tuple[Array, Array]:
  """Computes Eq. 5-6: the curve's output at each node.

  By logarithms of the weights: in float32 a node that no pixel comes within 60 levels of has no
  weight at all, 0 / 0. So it takes the levels of the pixels that come nearest, Eq. 5's own limit.

  Args:
    x: I_C^Y, [N, H, W] in 0 .. 255.
    y: I_G, likewise.
    log_confidence: log M, [N, H, W].

  Returns:
    (y_m [N, 64], the weights' sums [N, 64]).
  """
  check.require_same_shape("x", x, "y", y)
  check.require_same_shape("x", x, "log_confidence", log_confidence)

  @jax.checkpoint  # else the gradient keeps 64 pictures of weights
  def at(node):
    log_weight = _log_distance(x, node) + log_confidence
    largest = jax.lax.stop_gradient(log_weight.max((1, 2), keepdims=True))
    weight = jnp.exp(log_weight - largest)
    total = weight.sum((1, 2))  # 1 at least
    return (weight * y).sum((1, 2)) / total, total * jnp.exp(largest[:, 0, 0])

  curve, support = jax.lax.map(at, nodes(), batch_size=_NODES_AT_ONCE)
  return curve.T, support.T


def apply_curve(x: Array, curve: Array) -> Array:
  """Computes Eq. 3: T(x), the nodes' outputs weighted by distance.

  Any x has a value: beyond the nodes it is that of the last ones.

  Args:
    x: [N, H, W] in about 0 .. 255.
    curve: [N, 64].

  Returns:
    float32 [N, H, W].
  """
  at = nodes()

  @jax.checkpoint
  def row(levels):
    weights = jax.nn.softmax(_log_distance(levels[..., None], at), axis=-1)
    return jnp.einsum("nwm,nm->nw", weights, curve, precision=jax.lax.Precision.HIGHEST)

  rows = jax.lax.map(row, jnp.moveaxis(x, 1, 0), batch_size=min(_ROWS_AT_ONCE, x.shape[1]))
  return jnp.moveaxis(rows, 0, 1)


class GCA(nn.Module):
  """The confidence network and the curve (Fig. 5).

  Attributes:
    features, pairs, remat, dtype, axis_name: of the ResNet.
    confidence: learn M; False: M = 1 everywhere, and nothing is learned.
    position: show the ResNet the relative position map.
  """

  features: int = 16
  pairs: int = PAIRS
  confidence: bool = True
  position: bool = True
  remat: bool = False
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, luma: Array, gray: Array, train: bool = False) -> Adjusted:
    """Returns I_C^Y and I_G, [N, H, W, 1] in [0, 1] each."""
    check.require_channels("luma", luma, 1)
    check.require_same_shape("luma", luma, "gray", gray)
    # float32 throughout: weights span e^-1000, and bfloat16 has no two neighbouring levels apart.
    x, y = (LEVELS * image.astype(jnp.float32) for image in (luma, gray))
    logits = self._logits(x, y, train) if self.confidence else None
    # log M from the logits, since log(sigmoid) is -inf from -104 on.
    log_confidence = jnp.zeros_like(x) if logits is None else jax.nn.log_sigmoid(logits)
    curve, support = curve_nodes(x[..., 0], y[..., 0], log_confidence[..., 0])
    adjusted = apply_curve(x[..., 0], curve)[..., None] / LEVELS
    return Adjusted(adjusted, jnp.exp(log_confidence), curve, support)

  def _logits(self, x: Array, y: Array, train: bool) -> Array:
    """Computes layer 18 before its sigmoid, float32 [N, H, W, 1]."""
    n, h, w, _ = x.shape
    # Levels and pixels as they are: the first layer's BatchNorm brings them to one scale.
    seen = [x, y]
    if self.position:
      seen.append(jnp.broadcast_to(position_map(h, w), (n, h, w, 2)))
    network = ResNet(
      self.features,
      self.pairs,
      out_features=1,
      out_activation="none",
      remat=self.remat,
      dtype=self.dtype,
      axis_name=self.axis_name,
      name="resnet",
    )
    return network(jnp.concatenate(seen, axis=-1), train).astype(jnp.float32)
