"""A learned structure loss in place of GCA's: Table VII's "Previous method in [4]", reconstructed.

Section I says how [4] made it: a data set by registering the two views, choosing well-registered
regions by hand and warping them at random, on which a similarity is trained beforehand. No file of
it is published. This is an automatic reconstruction of ours, from the pairs alone: block matching
registers, its own agreement chooses, smooth random displacements warp, and a small ResNet learns to
tell how far off a pixel is, whatever the levels. Its figures are ours, never those of [4].
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from scs_jax.core.contract import example_keys, stream
from scs_jax.methods.cycle_cnn.resnet import ResNet
from scs_jax.ops import check
from scs_jax.ops.warp import elastic_displacement, warp_bilinear

Array = jax.Array

REMARK = (
  "the structure loss was a learned one: an automatic reconstruction of ours of Cycle CNN's "
  'earlier method ("Previous method in [4]"); these figures are not those of [4]'
)

WINDOW = 9  # pixels a side, of block matching
AGREEMENT = 0.8  # normalised correlation from which a pixel counts as well registered
FALLOFF = 1.0  # pixels of displacement at which similarity has fallen to exp(-1/2)
SMOOTHNESS = 6.0  # standard deviation in pixels of what blurs the displacements
FURTHEST = 4.0  # root mean square of the largest displacements, pixels an axis
GAMMA, GAIN = (0.6, 1.6), (0.6, 1.2)  # of the random response curves


@flax.struct.dataclass
class Samples:
  """Pairs of patches with their similarity.

  Attributes:
    candidate: registered, then warped reference levels, [N, H, W, 1].
    similarity: 1 where it is registered, towards 0 where it was warped away, [N, H, W, 1].
    mask: float32 [N, H, W, 1], 1 where registration is good.
  """

  candidate: Array
  similarity: Array
  mask: Array


class Similarity(nn.Module):
  """Logits of how well two gray pictures' structure agrees at each pixel, float32 [N, H, W, 1]."""

  features: int = 16
  pairs: int = 3
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, candidate: Array, gray: Array, train: bool = False) -> Array:
    """Compares the structure of two pictures, [N, H, W, 1] in [0, 1] each."""
    network = ResNet(
      self.features,
      self.pairs,
      out_features=1,
      out_activation="none",
      dtype=self.dtype,
      axis_name=self.axis_name,
      name="resnet",
    )
    return network(jnp.concatenate([candidate, gray], axis=-1), train).astype(jnp.float32)


def _mean(x: Array) -> Array:
  """Computes the mean over a window, of what there is of it at the border."""
  window = (WINDOW, WINDOW)
  return nn.avg_pool(x, window, padding="SAME", count_include_pad=False)


def _deviation(x: Array, mean: Array) -> Array:
  # 1e-4 is a hundredth of a level's range: below it there is no structure to match.
  return jnp.sqrt(jnp.maximum(_mean(x * x) - mean * mean, 1e-4))


def register(gray: Array, luma: Array, search_range: int) -> tuple[Array, Array]:
  """Matches blocks along the row by normalised cross-correlation.

  Args:
    gray: [N, H, W, 1], the mono view.
    luma: likewise, of the reference; a pixel (j, i) of gray is sought at (j, i) .. (j, i + d - 1).
    search_range: d.

  Returns:
    (the reference's levels where they match best, that correlation in [-1, 1]), [N, H, W, 1] each.
  """
  check.require_same_shape("gray", gray, "luma", luma)
  width = gray.shape[2]
  # About each picture's mean, so that products keep their digits.
  gray = gray - gray.mean((1, 2), keepdims=True)
  offset = luma.mean((1, 2), keepdims=True)
  luma = luma - offset
  mean_a, mean_b = _mean(gray), _mean(luma)
  deviation_a, deviation_b = _deviation(gray, mean_a), _deviation(luma, mean_b)
  stack = jnp.concatenate([luma, mean_b, deviation_b], axis=-1)
  padded = jnp.pad(stack, ((0, 0), (0, 0), (0, search_range - 1), (0, 0)))

  def at(best, k):
    value, score = best
    shifted = jax.lax.dynamic_slice_in_dim(padded, k, width, axis=2)
    level, mean, deviation = jnp.split(shifted, 3, axis=-1)
    found = (_mean(gray * level) - mean_a * mean) / (deviation_a * jnp.maximum(deviation, 1e-2))
    inside = (jnp.arange(width) + k < width)[:, None]
    better = inside & (found > score)
    return (jnp.where(better, level, value), jnp.where(better, found, score)), None

  start = (luma, jnp.full_like(luma, -1.0))
  (value, score), _ = jax.lax.scan(at, start, jnp.arange(search_range))
  return value + offset, score


def make_samples(key: Array, index: Array, gray: Array, luma: Array, search_range: int) -> Samples:
  """Gives what the similarity is trained on, from pairs of views alone.

  Args:
    key: of this step.
    index: uint32 [N], the examples' sample numbers.
    gray, luma: [N, H, W, 1] in [0, 1], the mono view and the reference's Y.
    search_range: d.
  """
  registered, agreement = register(gray, luma, search_range)
  height, width = gray.shape[1:3]
  unit = 2 * (3 * jnp.pi) ** 0.5 * SMOOTHNESS  # elastic_displacement's amplitude for 1 pixel RMS

  def one(key, registered, good):
    """Warps half of the examples, near or far; the others stay registered."""
    chance, far, gamma, gain = jax.random.uniform(stream(key, "levels"), (4,))
    field = elastic_displacement(stream(key, "warp"), (height, width), 1.0, SMOOTHNESS)
    field = field * unit * FURTHEST * jnp.where(chance < 0.5, 0.0, far)
    warped = warp_bilinear(jnp.concatenate([registered, good], axis=-1), field)
    gamma, gain = (low + u * (high - low) for u, (low, high) in ((gamma, GAMMA), (gain, GAIN)))
    levels = jnp.clip(gain * jnp.clip(warped[..., :1], 1e-3, 1.0) ** gamma, 0.0, 1.0)
    similarity = jnp.exp(-(field**2).sum(-1, keepdims=True) / (2 * FALLOFF**2))
    return levels, similarity, good * (warped[..., 1:] > 0.999)

  good = (agreement > AGREEMENT).astype(jnp.float32)
  samples = jax.vmap(one)(example_keys(stream(key, "samples"), index), registered, good)
  return Samples(*jax.lax.stop_gradient(samples))


def similarity_loss(logits: Array, samples: Samples) -> Array:
  """Computes the cross-entropy of the similarity over the well-registered pixels, float32 [N]."""
  check.require_same_shape("logits", logits, "similarity", samples.similarity)
  target = samples.similarity
  entropy = -target * nn.log_sigmoid(logits) - (1 - target) * nn.log_sigmoid(-logits)
  return (samples.mask * entropy).sum((1, 2, 3)) / jnp.maximum(samples.mask.sum((1, 2, 3)), 1.0)


def structure(logits: Array) -> Array:
  """Computes 1 - mean similarity, float32 [N]: what takes Eq. 9's place."""
  return 1.0 - nn.sigmoid(logits).mean((1, 2, 3))
