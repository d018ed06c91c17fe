"""Eq. 1, Eq. 11 and the expected disparity, against loops over pixels and candidates."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from numpy.testing import assert_allclose, assert_array_equal

from scs_jax.methods.cycle_cnn import average as averages
from scs_jax.ops import platform


def draw(n=2, depth=8, height=3, width=5, seed=0):
  rng = np.random.default_rng(seed)
  logits = rng.normal(scale=2.0, size=(n, depth, height, width)).astype(np.float32)
  return logits, rng.uniform(size=(n, height, width, 3)).astype(np.float32)


def by_loops(logits, values):
  """V^W, Eq. 1, Eq. 11 and the expected disparity in float64, as the paper writes them."""
  n, depth, height, width = logits.shape
  weights = np.zeros(logits.shape)
  colors = np.zeros(values.shape)
  for m, j, i in np.ndindex(n, height, width):
    inside = min(depth, width - i)
    terms = np.exp(logits[m, :inside, j, i].astype(np.float64))
    weights[m, :inside, j, i] = terms / terms.sum()
    for k in range(inside):
      colors[m, j, i] += weights[m, k, j, i] * values[m, j, i + k]
  smoothness = np.zeros(n)
  count = 0
  for k, j, i in np.ndindex(depth, height, width):
    for y, x in ((j - 1, i), (j + 1, i), (j, i - 1), (j, i + 1)):
      if 0 <= y < height and 0 <= x < width:
        smoothness += np.abs(weights[:, k, j, i] - weights[:, k, y, x])
        count += 1
  disparity = sum(k * weights[:, k] for k in range(depth))
  return weights, colors, smoothness / count, disparity[..., None]


@pytest.mark.parametrize("size", [(8, 3, 5), (4, 2, 9), (1, 2, 2), (8, 2, 1)])
def test_equals_loops(size):
  logits, values = draw(2, *size)
  weights, colors, smoothness, disparity = by_loops(logits, values)
  out = jax.jit(averages.average)(logits, values)
  assert_allclose(out.weights, weights, atol=1e-6)
  assert_allclose(out.values, colors, atol=1e-6)
  assert_allclose(out.smoothness, smoothness, atol=1e-6)
  assert_allclose(out.disparity, disparity, atol=1e-5)


def test_candidates_beyond_the_border_weigh_nothing():
  logits, values = draw(depth=8, width=5)
  k, i = np.meshgrid(np.arange(8), np.arange(5), indexing="ij")
  beyond = np.broadcast_to((i + k >= 5)[:, None], (8, 3, 5))
  logits[:, beyond] = 80.0  # however much the network likes them
  weights = np.asarray(jax.jit(averages.candidate_weights)(logits))
  assert (weights[:, beyond] == 0).all() and (weights[:, ~beyond] > 0).all()
  assert_allclose(weights.sum(1), 1.0, atol=1e-6)
  assert_array_equal(weights[:, 0, :, -1], 1.0)  # the last column has itself alone
  out = jax.jit(averages.average)(logits, values)
  assert_allclose(out.values[:, :, -1], values[:, :, -1], atol=1e-6)


def test_one_candidate_moves_the_picture():
  _, values = draw(n=1, height=2, width=6)
  logits = np.full((1, 4, 2, 6), -60.0, np.float32)
  logits[:, 2] = 60.0
  out = jax.jit(averages.average)(logits, values)
  assert_allclose(out.values[:, :, :4], values[:, :, 2:], atol=1e-6)
  assert_allclose(out.disparity[:, :, :4], 2.0)


def plainly(logits, values):
  """The same with the d-fold copies, differentiated by JAX."""
  _, depth, _, width = logits.shape
  padded = jnp.pad(values, ((0, 0), (0, 0), (0, depth), (0, 0)))
  copies = jnp.stack([padded[:, :, k : k + width] for k in range(depth)], axis=1)
  inside = jnp.arange(depth)[:, None] + jnp.arange(width) < width
  terms = jnp.where(inside[:, None], jnp.exp(logits), 0.0)
  weights = terms / terms.sum(1, keepdims=True)
  pairs = [
    jnp.abs(weights[:, :, 1:] - weights[:, :, :-1]).reshape(len(weights), -1),
    jnp.abs(weights[..., 1:] - weights[..., :-1]).reshape(len(weights), -1),
  ]
  smoothness = jnp.concatenate(pairs, axis=1).mean(1)
  disparity = sum(k * weights[:, k] for k in range(depth))[..., None]
  return (weights[..., None] * copies).sum(1), smoothness, disparity, weights


# Of different widths, as a trace for one platform would serve the other too.
@pytest.mark.parametrize(("name", "width"), [("cpu", 5), ("gpu", 6)])
def test_gradients_equal_the_naive_order(name, width):
  logits, values = draw(width=width, seed=3)
  rng = np.random.default_rng(4)
  shapes = [values.shape, (2,), (*values.shape[:3], 1), logits.shape]
  factors = [rng.normal(size=shape).astype(np.float32) for shape in shapes]

  def total(function, logits, values):
    return sum((x * f).sum() for x, f in zip(function(logits, values), factors, strict=True))

  gradient = lambda f: jax.jit(jax.grad(lambda *x: total(f, *x), (0, 1)))(logits, values)
  with platform.compiling_for(name):
    got, expected = gradient(averages.average), gradient(plainly)
  for x, y in zip(got, expected, strict=True):
    assert np.abs(y).max() > 0.1
    assert_allclose(x, y, atol=2e-5)


def test_gradients_of_the_sum_equal_finite_differences():
  logits, values = draw(n=1, depth=4, height=2, width=3)
  weights = np.abs(logits)
  total = jax.jit(averages.sheared_sum)
  check_grads(total, (weights, values), order=1, modes=["rev"], atol=1e-2, rtol=1e-2)


def test_smoothness_of_a_step():
  # Two columns of four differ in two of three disparities by 1: 2 rows x 2 of
  # 3 x (1 x 4 + 2 x 3) = 30 pairs.
  weights = np.zeros((1, 3, 2, 4), np.float32)
  weights[:, 0, :, :2] = weights[:, 1, :, 2:] = 1.0
  assert_allclose(averages.smoothness(weights), [4 / 30])


def test_smoothness_of_a_flat_or_single_weight_is_zero_and_so_is_its_gradient():
  for shape in ((1, 4, 3, 3), (1, 4, 1, 1)):
    weights = jnp.full(shape, 0.25)
    assert_array_equal(averages.smoothness(weights), [0.0])
    slope = jax.jit(jax.grad(lambda w: averages.smoothness(w).sum()))
    assert_array_equal(slope(weights), 0.0)


def test_no_copies_of_the_colours(temporaries):
  # Copies of the colours for each disparity would be three times as large as V^W.
  weights, values = jnp.zeros((1, 64, 64, 128)), jnp.zeros((1, 64, 128, 3))
  volume = weights.nbytes

  def loss(sum_by, weights, values):
    return (sum_by(weights, values) ** 2).sum()

  ours = functools.partial(loss, averages.sheared_sum)
  assert temporaries(ours, weights, values) < 0.3 * volume
  assert temporaries(jax.grad(ours, (0, 1)), weights, values) < 0.7 * volume


def test_errors():
  logits, values = draw()
  with pytest.raises(ValueError, match="different pictures"):
    averages.average(logits, values[:, :, :4])
