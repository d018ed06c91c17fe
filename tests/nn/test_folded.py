"""Maps whose columns share lanes: convolutions against XLA's own, the norm against nn.BatchNorm."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.nn import folded
from scs_jax.nn.folded import FoldedNorm, fold_for


def _fold(x, fold):
  n, h, w, c = x.shape
  return x.reshape(n, h, w // fold, fold * c)


def test_fold_for():
  assert [fold_for(16, d, "tpu") for d in (64, 48, 16, 4)] == [8, 8, 8, 4]
  assert [fold_for(32, d, "tpu") for d in (32, 24, 6, 3, 1)] == [4, 4, 2, 1, 1]
  assert fold_for(1, 64, "tpu") == 64
  assert fold_for(200, 64, "tpu") == 1
  assert fold_for(16, 64, "cpu") == fold_for(16, 64, "gpu") == 1
  assert fold_for(16, 64) == fold_for(16, 64, jax.default_backend())


@pytest.mark.parametrize(("size", "fold", "fold_in"), [(3, 4, 4), (5, 4, 1), (5, 4, 4), (3, 2, 1)])
def test_a_convolution_of_shared_lanes_is_the_plain_one(size, fold, fold_in):
  """Small whole numbers, so that sums in any order are exact, gradients too."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.integers(-2, 3, shape).astype(np.float32)
  x, upper = draw(2, 3, 8, 2), draw(2, 3, 8, 5)
  variables = {"params": {"kernel": draw(size, size, 2, 5), "bias": draw(5)}}
  ours = folded.FoldedConv(5, fold, fold_in, size)
  theirs = nn.Conv(5, (size, size), padding=size // 2)

  def run(apply, variables, x):
    out, backward = jax.vjp(apply, variables, x)
    return out, *backward(upper)

  found = jax.jit(
    functools.partial(run, lambda v, x: folded.unfold(ours.apply(v, _fold(x, fold_in)), fold))
  )(variables, x)
  expected = jax.jit(functools.partial(run, theirs.apply))(variables, x)
  jax.tree.map(np.testing.assert_array_equal, found, expected)
  shapes = jax.eval_shape(ours.init, jax.random.key(0), _fold(x, fold_in))
  assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)


def _norms(axis_name=None):
  """FoldedNorm and nn.BatchNorm as functions of (variables, x [N, H, W, C], fold)."""
  ours = FoldedNorm(axis_name=axis_name)
  theirs = nn.BatchNorm(
    use_running_average=False,
    momentum=0.99,
    epsilon=1e-3,
    use_fast_variance=False,
    axis_name=axis_name,
  )

  def run_ours(variables, x, fold):
    out, updates = ours.apply(variables, _fold(x, fold), fold, True, mutable=["batch_stats"])
    return folded.unfold(out, fold), updates

  def run_theirs(variables, x, fold):
    del fold
    return theirs.apply(variables, x, mutable=["batch_stats"])

  return run_ours, run_theirs


@pytest.fixture(scope="module")
def norm_case():
  rng = np.random.default_rng(2)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  variables = {
    "params": {"scale": draw(3), "bias": draw(3)},
    "batch_stats": {"mean": draw(3), "var": draw(3) ** 2},
  }
  x = 2 * draw(2, 15, 8, 3) + np.array([0.0, 3.0, -40.0], np.float32)
  return variables, x, draw(*x.shape)


def _norm_with_gradients(run, variables, x, upper, fold):
  def loss(params, x):
    out, updates = run({**variables, "params": params}, x, fold)
    return (out * upper).sum(), (out, updates)

  grads, found = jax.grad(loss, (0, 1), has_aux=True)(variables["params"], x)
  return grads, found


def _assert_trees_close(found, expected, tolerance=1e-4):
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, tolerance, tolerance), found, expected
  )


@pytest.mark.parametrize("fold", [1, 4])
def test_norm_equals_batch_norm(norm_case, fold):
  ours, theirs = _norms()
  found = jax.jit(functools.partial(_norm_with_gradients, ours), static_argnums=3)(*norm_case, fold)
  expected = jax.jit(functools.partial(_norm_with_gradients, theirs), static_argnums=3)(
    *norm_case, fold
  )
  _assert_trees_close(found, expected)


@pytest.mark.parametrize("fold", [1, 4])
def test_norm_over_devices_is_that_of_the_whole_batch(norm_case, fold):
  """Two devices with an example each; gradients of parameters are of each device's own share."""
  variables, x, upper = norm_case
  ours, _ = _norms("batch")
  whole, _ = _norms()
  apart = lambda v: v[:, None]  # one example a device

  def run(variables, x, upper):
    return _norm_with_gradients(ours, variables, x, upper, fold)

  (to_params, to_x), (out, updates) = jax.pmap(
    run, axis_name="batch", in_axes=(None, 0, 0), devices=jax.devices()[:2]
  )(variables, apart(x), apart(upper))
  of_all = jax.jit(functools.partial(_norm_with_gradients, whole), static_argnums=3)
  expected = of_all(variables, x, upper, fold)
  total = jax.tree.map(lambda g: g.sum(0), to_params)
  first = jax.tree.map(lambda v: v[0], updates)
  _assert_trees_close(((total, to_x[:, 0]), (out[:, 0], first)), expected)
  _assert_trees_close(jax.tree.map(lambda v: v[1], updates), first, 0)


@pytest.mark.parametrize("fold", [1, 4])
def test_norm_in_inference_uses_the_running_statistics(norm_case, fold):
  variables, x, _ = norm_case
  apply = jax.jit(lambda v, x: FoldedNorm().apply(v, _fold(x, fold), fold, False))
  out = apply(variables, x)
  p, s = variables["params"], variables["batch_stats"]
  expected = (x - s["mean"]) / np.sqrt(s["var"] + 1e-3) * p["scale"] + p["bias"]
  np.testing.assert_allclose(folded.unfold(out, fold), expected, 1e-4, 1e-3)


def test_norm_keeps_digits_at_a_large_mean():
  """Mean 1000, deviation 0.01: the mean of squares minus the squared mean has no digit left."""
  noise = np.random.default_rng(3).choice([-0.0625, 0.0625], size=(1, 16, 16, 1))
  x = jnp.asarray(1000 + noise, jnp.float32)  # exact in float32
  norm = FoldedNorm(epsilon=0.0)
  out, _ = jax.jit(lambda x: norm.init_with_output(jax.random.key(0), x, 2, True))(_fold(x, 2))
  expected = (noise - noise.mean()) / noise.std()
  np.testing.assert_allclose(folded.unfold(out, 2), expected, atol=2e-2)


def test_norm_keeps_no_float32_copy_of_a_bfloat16_map():
  norm = FoldedNorm()
  x = jnp.zeros((1, 32, 8, 16), jnp.bfloat16)
  variables = jax.jit(lambda x: norm.init(jax.random.key(0), x, 1, True))(x)

  def run(x):
    return norm.apply(variables, x, 1, True, mutable=["batch_stats"])[0]

  out, backward = jax.eval_shape(lambda x: jax.vjp(run, x), x)
  assert out.dtype == jnp.bfloat16
  kept = [a for a in jax.tree.leaves(backward) if a.size >= x.size]
  assert [a.dtype for a in kept] == [jnp.bfloat16]


def test_a_pods_batch_has_more_elements_than_an_int32_counts():
  # The volumes of 256 pairs of the paper's size: shapes alone, nothing is allocated.
  norm = FoldedNorm()
  variables = jax.jit(lambda x: norm.init(jax.random.key(0), x, 1, True))(jnp.zeros((1, 2, 2, 16)))

  def loss(params, x):
    out, _ = norm.apply(variables | {"params": params}, x, 1, True, mutable=["batch_stats"])
    return out.sum(dtype=jnp.float32)

  x = jax.ShapeDtypeStruct((2**9, 2**6, 2**8, 2**9, 16), jnp.bfloat16)
  found = jax.eval_shape(jax.grad(loss), variables["params"], x)
  assert found["scale"].shape == found["bias"].shape == (16,)
