"""Attention modules that stand in a block: SMSA (Eq. 1-4), CBAM and SENet under one interface.

Each is `module(features, inside) -> features`, [N, H, W, C] to the same shape, for any size from
1 x 1. `inside`, bool [1, H, W, 1], is True in the corner that the pictures fill (ops/corner.py);
None: everywhere.
Weights are as the equations write them: matrices and kernels without bias. Pooled maps, weights
and sigmoids are float32 whatever the features are.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.ops import corner

Array = jax.Array


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def highest(x: Array, axis: int) -> Array:
  """Computes the maximum along an axis; its gradient goes to the first place that has it.

  That of `jnp.max` compares x with the maximum again and divides by the matches: none, and NaN,
  where XLA computes x twice and rounds it differently (seen on a CPU, in SMSA after block 1).
  """
  return x.max(axis)


def _highest_forward(x: Array, axis: int) -> tuple[Array, tuple[Array, np.ndarray]]:
  places = np.arange(x.shape[axis]).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
  return x.max(axis), (jnp.argmax(x, axis), places)


def _highest_backward(axis: int, kept: tuple[Array, Array], cotangent: Array) -> tuple[Array]:
  first, places = kept
  here = jnp.expand_dims(first, axis) == places
  return (jnp.where(here, jnp.expand_dims(cotangent, axis), 0.0),)


highest.defvjp(_highest_forward, _highest_backward)


@jax.jit
def pool_channels(x: Array) -> Array:
  """Computes MAP of Eq. 1: maximum and mean over the channels, float32 [N, H, W, 2]."""
  x = x.astype(jnp.float32)
  return jnp.stack([highest(x, 3), x.mean(axis=-1)], axis=-1)


# Functions of their own to JAX: traced once for all blocks of one size, not in each.
@functools.partial(jax.jit, static_argnums=1)
def split(pooled: Array, side: int, inside: Array | None = None) -> Array:
  """Computes Split of Eq. 1: one maximum and one mean for each patch of side x side positions.

  Where `side` does not divide the size, the last patches are smaller: what is there counts.

  Args:
    pooled: [N, H, W, 2], maxima and means over the channels.
    side: 2^k.
    inside: positions that count; None: all. Elsewhere the means are 0.

  Returns:
    [N, ceil(H / side), ceil(W / side), 2]: the maximum of the maxima, the mean of the means; zeros
    where a patch has nothing inside.
  """
  n, height, width, _ = pooled.shape
  rows, columns = -(-height // side), -(-width // side)
  edges = ((0, 0), (0, rows * side - height), (0, columns * side - width))

  def patches(x: Array, outside: float) -> Array:
    x = jnp.pad(x, edges, constant_values=outside).reshape(-1, rows, side, columns, side)
    return x.transpose(0, 1, 3, 2, 4).reshape(-1, rows, columns, side * side)

  maxima, means = pooled[..., 0], pooled[..., 1]
  count = np.outer(_lengths(height, side), _lengths(width, side)).astype(np.float32)
  if inside is not None:
    there = inside[..., 0]
    maxima = jnp.where(there, maxima, -jnp.inf)
    count = patches(there.astype(jnp.float32), 0.0).sum(axis=3)
  maximum = highest(patches(maxima, -jnp.inf), 3)
  total = patches(means, 0.0).sum(axis=3)
  if inside is not None:
    maximum, count = jnp.where(count > 0, maximum, 0.0), jnp.maximum(count, 1.0)
  # In one row, too: see _sigmoids.
  flat = jnp.stack([maximum.reshape(-1), (total / count).reshape(-1)], axis=-1)
  return flat.reshape(-1, rows, columns, 2)


def _lengths(size: int, side: int) -> np.ndarray:
  """Positions in each patch along an axis."""
  starts = np.arange(0, size, side)
  return np.minimum(starts + side, size) - starts


def enlarge(weights: Array, side: int, size: tuple[int, int]) -> Array:
  """Computes Up of Eq. 2: a patch's weight at all its positions, [N, h, w, 1] -> [N, *size, 1]."""
  n, h, w, c = weights.shape
  grown = jnp.broadcast_to(weights[:, :, None, :, None], (n, h, side, w, side, c))
  return grown.reshape(n, h * side, w * side, c)[:, : size[0], : size[1]]


def _sigmoids(arrays: list[Array]) -> list[Array]:
  """Computes the sigmoids of arrays [N, ...], all in one row.

  Each loop takes XLA a while to compile on a CPU, and one over few rows and columns, which it
  unrolls whole, ten times as long: the sigmoid of a map of 32 x 32 takes 0.3 s.
  """
  lengths = [math.prod(x.shape[1:]) for x in arrays]
  row = jax.nn.sigmoid(jnp.concatenate([x.reshape(len(x), -1) for x in arrays], axis=1))
  parts = jnp.split(row, np.cumsum(lengths)[:-1], axis=1)
  return [part.reshape(x.shape) for part, x in zip(parts, arrays, strict=True)]


class Excitation(nn.Module):
  """sigma(W_2 ReLU(W_1 v)): the channel scale of Eq. 2, before its sigmoid.

  Attributes:
    reduction: W_1 maps C channels to C / reduction (at least one).
  """

  reduction: int

  @nn.compact
  def __call__(self, v: Array) -> Array:
    """Maps float32 [N, C] to logits [N, C]."""
    channels = v.shape[-1]
    hidden = nn.Dense(max(1, channels // self.reduction), use_bias=False, name="squeeze")(v)
    return nn.Dense(channels, use_bias=False, name="excite")(nn.relu(hidden))


class SMSA(nn.Module):
  """Stacked Multi-Scale Attention, Eq. 1-4: F' = F + F * A_s * A_n.

  A_s = sum_k lambda_k A_k over n - 1 spatial scales (Eq. 3), one weight for each patch of
  2^k x 2^k positions; A_n the weights of the channels. lambda_k = sigmoid of a learnt number, so
  that it stays in (0, 1). Sows A_s and A_n as intermediates "spatial_weights" [N, H, W, 1] and
  "channel_weights" [N, C].

  Attributes:
    reduction: see Excitation.
    scales: n, the spatial ones and the channel one.
    start: lambda_k before training.
    dtype: of the features.
  """

  reduction: int = 16
  scales: int = 4
  start: float = 0.5
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: Array, inside: Array | None = None) -> Array:
    n, *size, _ = features.shape
    logit = float(np.log(self.start / (1 - self.start)))
    logits = self.param("logits", nn.initializers.constant(logit), (self.scales - 1,))
    features = corner.clear(features, inside)  # once for all that is taken of them
    pooled = pool_channels(features)
    scores = []
    for k in range(1, self.scales):
      conv = nn.Conv(1, (3, 3), padding=1, use_bias=False, name=f"scale_{k}")
      scores.append(conv(split(pooled, 2**k, inside)))
    mean = corner.mean(features, inside, cleared=True)
    excited = Excitation(self.reduction, name="channel")(mean)
    *scales, channel, weights = _sigmoids(
      [*scores, excited, jnp.broadcast_to(logits, (n, *logits.shape))]
    )
    spatial = jnp.zeros((n, *size, 1))
    for k, scale in enumerate(scales):
      weight = weights[:, k, None, None, None]
      spatial += weight * enlarge(scale, 2 ** (k + 1), size)
    self.sow("intermediates", "spatial_weights", spatial)
    self.sow("intermediates", "channel_weights", channel)
    features = features.astype(self.dtype)
    refined = features * spatial.astype(self.dtype) * channel[:, None, None].astype(self.dtype)
    return features + refined


class CBAM(nn.Module):
  """Woo et al. 2018: F' = M_c(F) * F, then M_s(F') * F' (their Eq. 2-3).

  M_c from mean and maximum over the positions through one shared perceptron; M_s from mean and
  maximum over the channels through a 7 x 7 convolution.
  """

  reduction: int = 16
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: Array, inside: Array | None = None) -> Array:
    x = features.astype(jnp.float32)
    perceptron = Excitation(self.reduction, name="channel")
    n, h, w, c = x.shape
    counted = x if inside is None else jnp.where(inside, x, -jnp.inf)
    most = highest(counted.reshape(n, h * w, c), 1)
    channel = perceptron(corner.mean(x, inside)) + perceptron(most)
    x = x * jax.nn.sigmoid(channel)[:, None, None]
    conv = nn.Conv(1, (7, 7), padding=3, use_bias=False, name="spatial")
    spatial = conv(corner.clear(pool_channels(x), inside))
    return (x * jax.nn.sigmoid(spatial)).astype(self.dtype)


class SENet(nn.Module):
  """Hu et al. 2018: each channel times sigma(W_2 ReLU(W_1 z)), z its mean (their Eq. 2-4)."""

  reduction: int = 16
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: Array, inside: Array | None = None) -> Array:
    mean = corner.mean(features, inside)
    channel = jax.nn.sigmoid(Excitation(self.reduction, name="channel")(mean))
    return features.astype(self.dtype) * channel[:, None, None].astype(self.dtype)


# Table 2's rows; "none" is the base alone.
NAMES = ("smsa", "cbam", "senet", "none")


def make_attention(
  kind: str, reduction: int, scales: int, start: float, dtype: Any, name: str
) -> nn.Module | None:
  """Makes the module of a config's name, to be called in a compact method; None for "none"."""
  if kind == "smsa":
    return SMSA(reduction, scales, start, dtype, name=name)
  if kind == "cbam":
    return CBAM(reduction, dtype, name=name)
  if kind == "senet":
    return SENet(reduction, dtype, name=name)
  if kind == "none":
    return None
  raise ValueError(f"attention {kind!r}: use one of {', '.join(NAMES)}")
