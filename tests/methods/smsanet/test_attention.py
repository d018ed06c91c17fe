"""SMSA, CBAM and SENet against their equations in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from scs_jax.methods.smsanet import attention


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def excite(params, v):
  hidden = np.maximum(v @ np.asarray(params["squeeze"]["kernel"], np.float64), 0)
  return hidden @ np.asarray(params["excite"]["kernel"], np.float64)


def correlate(x, kernel):
  """x [H, W, 2], kernel [k, k, 2, 1] -> [H, W], zero beyond the border."""
  kernel = np.asarray(kernel, np.float64)
  return sum(signal.correlate(x[..., i], kernel[..., i, 0], mode="same") for i in range(2))


def pooled(features):
  return np.stack([features.max(-1), features.mean(-1)], -1)


def smsa(params, features):
  """Eq. 1-4 for one picture [H, W, C], patch by patch."""
  h, w, _ = features.shape
  lambdas = sigmoid(np.asarray(params["logits"], np.float64))
  both, spatial = pooled(features), np.zeros((h, w))
  for k, weight in enumerate(lambdas, 1):
    side = 2**k
    rows, columns = range(0, h, side), range(0, w, side)
    v = np.zeros((len(rows), len(columns), 2))
    for i, top in enumerate(rows):
      for j, left in enumerate(columns):
        patch = both[top : top + side, left : left + side]  # smaller at the far borders
        v[i, j] = patch[..., 0].max(), patch[..., 1].mean()
    a = sigmoid(correlate(v, params[f"scale_{k}"]["kernel"]))
    for y in range(h):
      for x in range(w):
        spatial[y, x] += weight * a[y // side, x // side]
  channel = sigmoid(excite(params["channel"], features.mean((0, 1))))
  return features + features * spatial[..., None] * channel, spatial, channel


def cbam(params, features):
  channel = excite(params["channel"], features.mean((0, 1)))
  channel = sigmoid(channel + excite(params["channel"], features.max((0, 1))))
  refined = features * channel
  return refined * sigmoid(correlate(pooled(refined), params["spatial"]["kernel"]))[..., None]


def senet(params, features):
  return features * sigmoid(excite(params["channel"], features.mean((0, 1))))


def features(shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# 13 x 22 is a multiple of no 2^k; 3 x 2 is smaller than two of the patches; then a single position.
@pytest.mark.parametrize("size", [(16, 24), (13, 22), (3, 2), (1, 1)])
def test_smsa_is_equations_one_to_four(random_variables, size):
  x = features((2, *size, 8))
  module = attention.SMSA(reduction=4)
  variables = random_variables(module, x)
  variables["params"]["logits"] = np.array([-1.0, 0.5, 2.0], np.float32)
  found, seen = jax.jit(lambda v, x: module.apply(v, x, mutable=["intermediates"]))(variables, x)
  seen = seen["intermediates"]
  for picture in range(2):
    want, spatial, channel = smsa(variables["params"], x[picture].astype(np.float64))
    np.testing.assert_allclose(found[picture], want, atol=2e-5)
    np.testing.assert_allclose(seen["spatial_weights"][0][picture, ..., 0], spatial, atol=1e-5)
    np.testing.assert_allclose(seen["channel_weights"][0][picture], channel, atol=1e-5)


def test_smsa_weights_stay_in_their_range():
  """n - 1 = 4 spatial scales; lambda starts where it is told to, whatever the key."""
  module = attention.SMSA(reduction=2, scales=5, start=0.2)
  x = features((1, 16, 16, 4))
  params = jax.jit(module.init)(jax.random.key(0), x)["params"]
  np.testing.assert_allclose(sigmoid(np.asarray(params["logits"])), [0.2] * 4, rtol=1e-5)
  assert sorted(name for name in params if name.startswith("scale")) == [
    "scale_1", "scale_2", "scale_3", "scale_4"
  ]  # fmt: skip
  assert params["channel"]["squeeze"]["kernel"].shape == (4, 2)


def test_smsa_gives_one_weight_to_a_patch():
  """Figure 1: with one scale of two positions, A_s is constant on patches of 2 x 2."""
  x = features((1, 6, 6, 4))
  module = attention.SMSA(reduction=2, scales=2)
  variables = jax.jit(module.init)(jax.random.key(1), x)
  apply = jax.jit(lambda v: module.apply(v, x, mutable=["intermediates"])[1])
  seen = apply(variables)
  spatial = np.asarray(seen["intermediates"]["spatial_weights"][0])[0, ..., 0]
  patches = spatial.reshape(3, 2, 3, 2).transpose(0, 2, 1, 3).reshape(9, 4)
  assert (patches == patches[:, :1]).all() and len(set(patches[:, 0])) == 9


def test_split_counts_what_is_there():
  """A row of three in patches of two: the last patch is one position; negative stays negative."""
  x = jnp.array([[[[-3.0, 2.0], [-1.0, 4.0], [-5.0, 7.0]]]])
  found = attention.split(x, 2)
  np.testing.assert_allclose(found, [[[[-1.0, 3.0], [-5.0, 7.0]]]])


def test_cbam_is_its_equations(random_variables):
  x = features((2, 9, 12, 8))
  module = attention.CBAM(reduction=4)
  variables = random_variables(module, x)
  found = jax.jit(module.apply)(variables, x)
  for picture in range(2):
    want = cbam(variables["params"], x[picture].astype(np.float64))
    np.testing.assert_allclose(found[picture], want, atol=2e-5)


def test_senet_is_its_equations(random_variables):
  x = features((2, 5, 4, 8))
  module = attention.SENet(reduction=4)
  variables = random_variables(module, x)
  found = jax.jit(module.apply)(variables, x)
  for picture in range(2):
    want = senet(variables["params"], x[picture].astype(np.float64))
    np.testing.assert_allclose(found[picture], want, atol=2e-5)


@pytest.mark.parametrize("kind", ["smsa", "cbam", "senet"])
def test_gradients_are_finite_where_nothing_varies(kind):
  """Equal channels and positions tie in every maximum; -inf stands beyond the border."""
  module = attention.make_attention(kind, 4, 4, 0.5, jnp.float32, None)
  x = jnp.zeros((1, 5, 3, 8))
  variables = jax.jit(module.init)(jax.random.key(0), x)
  grads = jax.jit(jax.grad(lambda v, x: module.apply(v, x).sum(), argnums=(0, 1)))(variables, x)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("kind", ["smsa", "cbam", "senet"])
def test_half_precision_is_near(kind, random_variables):
  x = features((1, 6, 6, 8))
  full, half = (attention.make_attention(kind, 4, 4, 0.5, d, None) for d in ("float32", "bfloat16"))
  variables = random_variables(full, x)
  found = jax.jit(half.apply)(variables, jnp.asarray(x, jnp.bfloat16))
  assert found.dtype == jnp.bfloat16
  expected = jax.jit(full.apply)(variables, x)
  np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.06)


def test_names():
  assert attention.make_attention("none", 4, 4, 0.5, jnp.float32, None) is None
  with pytest.raises(ValueError, match="use one of smsa, cbam, senet, none"):
    attention.make_attention("simam", 4, 4, 0.5, jnp.float32, None)


@pytest.mark.parametrize("axis", [1, 3])
def test_the_maximums_gradient_goes_to_one_place(axis):
  """The first of equals; with jax.grad of a weighted sum, so that each place is told apart."""
  x = np.random.default_rng(0).integers(0, 3, (2, 3, 4, 5)).astype(np.float32)  # many equals
  weights = np.random.default_rng(1).normal(size=x.max(axis).shape).astype(np.float32)
  total = lambda a: (attention.highest(a, axis) * weights).sum()
  value, slope = jax.jit(jax.value_and_grad(total))(x)
  np.testing.assert_allclose(value, (x.max(axis) * weights).sum(), rtol=1e-5)
  want = np.zeros_like(x)
  np.put_along_axis(want, np.expand_dims(x.argmax(axis), axis), np.expand_dims(weights, axis), axis)
  np.testing.assert_array_equal(slope, want)
