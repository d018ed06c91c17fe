"""Equation 1 and what else is read off the weight volume V^W: Eq. 11, the expected disparity.

All of it in float32, with the disparity as a leading axis: [N, d, H, W]. The candidates of pixel
(j, i) are (j, i) .. (j, i + d - 1) of the reference; those beyond its right border have no weight.
Eq. 1 shifts the reference's colours by one column for each disparity; neither the result nor the
gradient keeps these copies.
"""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from scs_jax.ops import check
from scs_jax.ops.platform import target

Array = jax.Array


def candidate_weights(logits: Array) -> Array:
  """Computes V^W: softmax over the disparities whose candidate lies inside the picture.

  Args:
    logits: [N, d, H, W].

  Returns:
    float32 [N, d, H, W], summing to one over d; exactly 0 where i + k >= W. k = 0 is always inside.
  """
  check.require_rank("logits", logits, 4)
  _, depth, _, width = logits.shape
  inside = jnp.arange(depth)[:, None] + jnp.arange(width) < width
  logits = jnp.where(inside[None, :, None], logits.astype(jnp.float32), -jnp.inf)
  return _softmax_on_cpu(logits) if target() == "cpu" else jax.nn.softmax(logits, axis=1)


@jax.custom_vjp
def _softmax_on_cpu(logits: Array) -> Array:
  """Computes the softmax over axis 1 of [N, d, H, W], its gradient by a loop over d.

  XLA (jaxlib 0.10) gives the sum over d in the gradient to YNNPACK, fused with what comes before
  and after: 40 to 70 times the time here (benchmarks/results/torch_twins_cpu.md).
  """
  return jax.nn.softmax(logits, axis=1)


def _softmax_forward(logits: Array):
  weights = jax.nn.softmax(logits, axis=1)
  return weights, weights


def _softmax_backward(weights: Array, upper: Array):
  at = lambda x, k: lax.dynamic_slice_in_dim(x, k, 1, axis=1)
  add = lambda k, total: total + at(weights, k) * at(upper, k)
  inner = lax.fori_loop(0, weights.shape[1], add, jnp.zeros_like(weights[:, :1]))
  return (weights * (upper - inner),)


_softmax_on_cpu.defvjp(_softmax_forward, _softmax_backward)


@jax.custom_vjp
def sheared_sum(weights: Array, values: Array) -> Array:
  """Computes Eq. 1: out(j, i) = sum_k weights(j, i, k) values(j, i + k), 0 beyond the border.

  Args:
    weights: V^W, float32 [N, d, H, W].
    values: float32 [N, H, W, C].

  Returns:
    float32 [N, H, W, C].
  """
  return _sum_forward(weights, values)[0]


def _sum_forward(weights: Array, values: Array):
  planes, width = _widened(values, weights.shape[1]), weights.shape[3]

  def add(k, total):
    weight = lax.dynamic_slice_in_dim(weights, k, 1, axis=1)
    return total + weight * lax.dynamic_slice_in_dim(planes, k, width, axis=3)

  total = jnp.zeros_like(planes[..., :width])
  total = lax.fori_loop(0, weights.shape[1], add, total)
  return jnp.moveaxis(total, 1, 3), (weights, values)


def _sum_backward(kept, upper: Array):
  weights, values = kept
  planes, width = _widened(values, weights.shape[1]), weights.shape[3]
  upper = jnp.moveaxis(upper, 3, 1)

  def step(k, gradients):
    to_weights, to_planes = gradients
    here = lax.dynamic_slice_in_dim(planes, k, width, axis=3)
    shared = _over_channels(upper * here)
    to_weights = lax.dynamic_update_slice_in_dim(to_weights, shared, k, axis=1)
    given = upper * lax.dynamic_slice_in_dim(weights, k, 1, axis=1)
    given += lax.dynamic_slice_in_dim(to_planes, k, width, axis=3)
    return to_weights, lax.dynamic_update_slice_in_dim(to_planes, given, k, axis=3)

  zeros = (jnp.zeros_like(weights), jnp.zeros_like(planes))
  to_weights, to_planes = lax.fori_loop(0, weights.shape[1], step, zeros)
  return to_weights, jnp.moveaxis(to_planes[..., :width], 1, 3)


sheared_sum.defvjp(_sum_forward, _sum_backward)


def _over_channels(x: Array) -> Array:
  """Sums [N, C, H, W] over C, which stays as an axis of 1."""
  if target() != "cpu":
    return x.sum(axis=1, keepdims=True)
  # As additions: XLA's sum over a middle axis of a product takes 15 times as long on CPUs.
  return functools.reduce(operator.add, jnp.split(x, x.shape[1], axis=1))


def _widened(values: Array, depth: int) -> Array:
  """Pads [N, H, W, C] on the right with zeros: [N, C, H, W + depth - 1]."""
  return jnp.pad(jnp.moveaxis(values, 3, 1), ((0, 0), (0, 0), (0, 0), (0, depth - 1)))


def smoothness(weights: Array) -> Array:
  """Computes Eq. 11 for each example: mean |V^W(j, i, k) - V^W(j', i', k)| over 4-neighbours.

  N counts the pairs that exist: (j', i') lies inside the picture, k is any of the d, candidates
  beyond the border (weight 0) among them. The sum sees each pair from both ends and N counts it
  twice, so both are halved here.

  Args:
    weights: V^W [N, d, H, W].

  Returns:
    float32 [N]; 0 for a single pixel, which has no neighbours.
  """
  _, depth, height, width = weights.shape
  pairs = depth * ((height - 1) * width + height * (width - 1))
  total = lambda axis: _magnitude(jnp.diff(weights, axis=axis)).sum((1, 2, 3))
  return (total(2) + total(3)) / max(pairs, 1)


def _magnitude(x: Array) -> Array:
  """Takes |x| with gradient 0 at 0, where jnp.abs has 1: equal neighbours are not pushed apart."""
  return x * lax.stop_gradient(jnp.sign(x))


def expected_disparity(weights: Array) -> Array:
  """Computes sum_k k V^W(j, i, k), in pixels: [N, d, H, W] -> [N, H, W, 1]."""
  steps = jnp.arange(weights.shape[1], dtype=weights.dtype)
  return (weights * steps[:, None, None]).sum(1)[..., None]


class Average(NamedTuple):
  """Holds what the weight volume gives.

  Attributes:
    values: Eq. 1, float32 [N, H, W, C].
    smoothness: Eq. 11, float32 [N].
    disparity: float32 [N, H, W, 1] in [0, d - 1].
    weights: V^W, float32 [N, d, H, W].
  """

  values: Array
  smoothness: Array
  disparity: Array
  weights: Array


@jax.checkpoint
def average(logits: Array, values: Array) -> Average:
  """All of it. The gradient keeps the logits alone and computes V^W again.

  Args:
    logits: [N, d, H, W], of the picture alone: rows and columns of padding cut off.
    values: the reference's colours, float32 [N, H, W, C].
  """
  n, _, height, width = logits.shape
  if values.shape[:3] != (n, height, width):
    raise ValueError(f"logits {logits.shape} and values {values.shape} are of different pictures")
  weights = candidate_weights(logits)
  values = sheared_sum(weights, values.astype(jnp.float32))
  return Average(values, smoothness(weights), expected_disparity(weights), weights)
