"""Eq. 2-8 against loops in float64; levels that no pixel has; gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from scs_jax.methods.cycle_cnn import gca
from scs_jax.methods.cycle_cnn.gca import GCA


def oracle_nodes(x, y, log_m):
  """Eq. 5-6 node by node, pixel by pixel, float64; (y_m, log of the weights' sum)."""
  x, y, log_m = (np.asarray(a, np.float64).ravel() for a in (x, y, log_m))
  curve, support = np.zeros(64), np.zeros(64)
  for m in range(64):
    logs = np.array([-((v - 4 * m) ** 2) / (2 * 5**2) + l for v, l in zip(x, log_m, strict=True)])
    support[m] = logsumexp(logs)
    curve[m] = sum(np.exp(l - support[m]) * g for l, g in zip(logs, y, strict=True))
  return curve, support


def oracle_curve(x, curve):
  """Eq. 3 as it is printed, float64."""
  found = np.zeros(x.shape)
  for at in np.ndindex(x.shape):
    weights = [np.exp(-((x[at] - 4.0 * m) ** 2) / 50) for m in range(64)]
    found[at] = sum(w * c for w, c in zip(weights, curve, strict=True)) / sum(weights)
  return found


def levels(seed, low=0, high=255, shape=(2, 9, 13)):
  return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


@pytest.mark.parametrize("high", [255, 100, 3], ids=["all", "dark", "black"])
def test_nodes_equal_the_loop(high):
  """Also where 20 of 64 nodes (or all but two) are so far off that float32 has no weight there."""
  x, y = levels(0, 0, high), levels(1)
  log_m = np.log(levels(2, 0.01, 1))
  curve, support = jax.jit(gca.curve_nodes)(x, y, log_m)
  assert curve.shape == support.shape == (2, 64)
  for n in range(2):
    want, total = oracle_nodes(x[n], y[n], log_m[n])
    np.testing.assert_allclose(curve[n], want, atol=0.05)
    np.testing.assert_allclose(support[n], np.exp(total), rtol=2e-4, atol=1e-30)
  if high == 100:
    naive = np.exp(-((x[0].ravel() - 252) ** 2) / 50).sum()
    assert naive == 0  # why it is done by logarithms


def test_curve_equals_equation_three():
  x, curve = levels(3), np.sort(levels(4, shape=(2, 64)))
  x[0, 0, :3] = 0, 255, 252
  found = jax.jit(gca.apply_curve)(x, curve)
  for n in range(2):
    np.testing.assert_allclose(found[n], oracle_curve(x[n].astype(np.float64), curve[n]), atol=1e-2)


def test_curve_far_beyond_the_nodes_is_the_last_one():
  curve = jnp.linspace(10, 200, 64)[None]
  found = jax.jit(gca.apply_curve)(jnp.array([[[-1e3, 1e4]]]), curve)
  np.testing.assert_allclose(found[0, 0], [10, 200], rtol=1e-4)


def test_positions_by_hand():
  found = np.asarray(gca.position_map(3, 5))
  np.testing.assert_array_equal(found[..., 0], [[0] * 5, [1] * 5, [0] * 5])
  np.testing.assert_array_equal(found[..., 1], [[0, 1, 2, 1, 0]] * 3)


def test_an_exposure_is_found():
  """A gray view of 0.7 times the levels: without a confidence map the curve is that line."""
  x = levels(5, shape=(1, 40, 40, 1)) / 255
  found = jax.jit(lambda x: GCA(confidence=False).apply({}, x, 0.7 * x))(x)
  np.testing.assert_allclose(found.luma, 0.7 * x, atol=0.02)  # flatter at the ends
  inner = slice(3, -3)
  np.testing.assert_allclose(found.curve[0, inner], 0.7 * np.arange(0, 256, 4)[inner], atol=2.5)
  np.testing.assert_array_equal(found.confidence, np.ones((1, 40, 40, 1)))


def test_parts_are_wired_as_in_figure_five():
  """The ResNet sees both pictures in 0 .. 255 and positions; its sigmoid is M; M weighs Eq. 5."""
  luma, gray = levels(6, 0, 1, (2, 12, 10, 1)), levels(7, 0, 1, (2, 12, 10, 1))
  module = GCA(4, 1)
  variables = jax.jit(module.init)(jax.random.key(0), luma, gray)
  run = lambda net: jax.jit(lambda v, *x: net.apply(v, *x, True, mutable=["batch_stats"])[0])
  found = run(module)(variables, luma, gray)
  position = np.broadcast_to(gca.position_map(12, 10), (2, 12, 10, 2))
  seen = np.concatenate([255 * luma, 255 * gray, position], -1)
  net = gca.ResNet(4, 1, out_features=1, out_activation="sigmoid")
  inner = {name: tree["resnet"] for name, tree in variables.items()}
  m = run(net)(inner, seen)
  np.testing.assert_allclose(found.confidence, m, rtol=1e-4, atol=1e-6)
  for n in range(2):
    log_m = np.log(np.asarray(m[n], np.float64))
    curve, support = oracle_nodes(255 * luma[n], 255 * gray[n], log_m)
    np.testing.assert_allclose(found.curve[n], curve, atol=0.05)
    np.testing.assert_allclose(found.support[n], np.exp(support), rtol=1e-3, atol=1e-30)
    want = oracle_curve(255 * luma[n].astype(np.float64), curve) / 255
    np.testing.assert_allclose(found.luma[n], want, atol=3e-4)


def test_switches_take_parts_away():
  luma = jnp.zeros((1, 8, 8, 1))
  params = lambda **options: jax.eval_shape(
    GCA(4, 1, **options).init, jax.random.key(0), luma, luma
  ).get("params", {})
  kernel = lambda tree: tree["resnet"]["layer_1"]["conv"]["kernel"].shape
  assert kernel(params()) == (5, 5, 4, 4)
  assert kernel(params(position=False)) == (5, 5, 2, 4)
  assert params(confidence=False) == {}


@pytest.fixture(scope="module")
def slopes():
  """Variables, and as one program: -> a loss and its gradients by them and both pictures."""
  module = GCA(3, 1)
  picture = jnp.zeros((1, 12, 12, 1))
  variables = jax.jit(module.init)(jax.random.key(1), picture, picture)

  def loss(params, luma, gray):
    seen = {**variables, "params": params}
    out, _ = module.apply(seen, luma, gray, True, mutable=["batch_stats"])
    return ((out.luma - gray) ** 2).mean() + 1e-4 * (out.curve**2).mean()

  return variables["params"], jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))


@pytest.mark.parametrize(
  "make",
  [
    lambda: levels(8, 0, 100 / 255, (1, 12, 12, 1)),
    lambda: np.zeros((1, 12, 12, 1), np.float32),
    lambda: np.ones((1, 12, 12, 1), np.float32),
    lambda: np.full((1, 12, 12, 1), 0.5, np.float32),
  ],
  ids=["dark", "black", "white", "flat"],
)
def test_gradients_are_finite(make, slopes):
  """With respect to both pictures and every parameter."""
  luma, gray = make(), levels(9, 0, 1, (1, 12, 12, 1))
  params, run = slopes
  value, grads = run(params, luma, gray)
  assert np.isfinite(value)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_gradient_of_the_curve_is_the_slope():
  """By finite differences in float64 of the oracle, in all three inputs."""
  x, y = levels(10, 0, 100, (1, 3, 4)), levels(11, shape=(1, 3, 4))
  log_m = np.log(levels(12, 0.1, 1, (1, 3, 4)))
  pull = np.random.default_rng(13).normal(size=64)
  of = lambda x, y, l: (gca.curve_nodes(x, y, l)[0][0] * pull).sum()
  grads = jax.jit(jax.grad(of, argnums=(0, 1, 2)))(x, y, log_m)
  inputs = [a.astype(np.float64) for a in (x, y, log_m)]
  for which, grad in enumerate(grads):
    for at in ((0, 0, 0), (0, 1, 2), (0, 2, 3)):
      ends = []
      for step in (-1e-4, 1e-4):
        moved = [a.copy() for a in inputs]
        moved[which][at] += step
        ends.append((oracle_nodes(*(a[0] for a in moved))[0] * pull).sum())
      np.testing.assert_allclose(grad[at], (ends[1] - ends[0]) / 2e-4, rtol=2e-2, atol=2e-3)
