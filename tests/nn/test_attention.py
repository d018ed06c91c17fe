"""Streamed attention against the full matrix in NumPy, and what it keeps in memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.nn import attention

# (query block, key block) for 10 queries and 13 keys: dividing, not dividing, oversized.
BLOCKS = ((5, 13), (3, 4), (100, 100))
MAP, PLAIN = jax.jit(attention.attention_map), jax.jit(attention.attend_plain)


@pytest.fixture(scope="module")
def qkv():
  rng = np.random.default_rng(0)
  shapes = ((2, 10, 6), (2, 13, 6), (2, 13, 3))
  return tuple(rng.normal(size=s).astype(np.float32) for s in shapes)


@pytest.fixture(scope="module")
def mask():
  mask = np.ones((2, 13), bool)
  mask[0, [0, 1, 2, 3, 7]] = False  # the whole of a block of four
  mask[1, 9:] = False
  return mask


def _softmax(x):
  x = np.exp(x - x.max(-1, keepdims=True))
  return x / x.sum(-1, keepdims=True)


def _expected(query, key, value, mask=None):
  query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
  logits = np.einsum("nqc,nkc->nqk", query, key) / np.sqrt(query.shape[-1])
  if mask is not None:
    logits = np.where(mask[:, None], logits, -np.inf)
  return _softmax(logits), _softmax(logits) @ value


def test_products_of_any_size_give_numbers():
  """Queries and keys that grow in a training: the largest product takes all."""
  rng = np.random.default_rng(1)
  query, key = (1e5 * rng.normal(size=(1, 400, 12)).astype(np.float32) for _ in range(2))
  value = rng.normal(size=(1, 400, 3)).astype(np.float32)
  want = _expected(query, key, value)[1]
  prefix = lambda *qkv: attention.attend_prefix(*qkv, 400)
  for attend in (attention.attend, prefix, attention.attend_plain):
    np.testing.assert_allclose(jax.jit(attend)(query, key, value), want, atol=1e-5)
  slope = jax.jit(jax.grad(lambda q: attention.attend(q, key, value).sum()))(query)
  assert np.isfinite(slope).all()


def test_map_and_plain_order_equal_numpy(qkv, mask):
  for m in (None, mask):
    found = np.asarray(MAP(*qkv[:2], m))
    np.testing.assert_allclose(found, _expected(*qkv, m)[0], atol=1e-6)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(PLAIN(*qkv, m), _expected(*qkv, m)[1], atol=1e-6)
  assert (found[~np.broadcast_to(mask[:, None], found.shape)] == 0).all()


@pytest.fixture(scope="module")
def weighted_sum(qkv, mask):
  """A function of an attention order: its two results (without and with mask), and gradients."""
  weights = np.random.default_rng(1).normal(size=(2, 2, 10, 3)).astype(np.float32)

  def measure(order):
    def run(query, key, value):
      outs = [order(query, key, value, m) for m in (None, mask)]
      return (weights * jnp.stack(outs)).sum(), outs

    (_, outs), gradients = jax.jit(jax.value_and_grad(run, (0, 1, 2), has_aux=True))(*qkv)
    return outs, gradients

  return measure


@pytest.fixture(scope="module")
def plain_gradients(weighted_sum):
  return weighted_sum(attention.attend_plain)[1]


@pytest.mark.parametrize("blocks", BLOCKS)
def test_streamed_equals_plain(qkv, mask, weighted_sum, plain_gradients, blocks):
  streamed = lambda *args: attention.attend(*args, query_block=blocks[0], key_block=blocks[1])
  outs, gradients = weighted_sum(streamed)
  np.testing.assert_allclose(outs[0], _expected(*qkv)[1], atol=2e-6)
  np.testing.assert_allclose(outs[1], _expected(*qkv, mask)[1], atol=2e-6)
  for found, expected in zip(gradients, plain_gradients, strict=True):
    np.testing.assert_allclose(found, expected, atol=5e-6)


@pytest.fixture(scope="module")
def value_and_gradients():
  """Streamed attention in blocks of 4 and the gradients of its sum, compiled once."""

  @jax.jit
  def run(query, key, value, mask):
    streamed = lambda q, k, v: attention.attend(q, k, v, mask, query_block=4, key_block=4)
    out, back = jax.vjp(streamed, query, key, value)
    return out, back(jnp.ones_like(out))

  return run


def test_softmax_does_not_overflow(qkv, value_and_gradients):
  """Logits in the ten thousands: the result is the value under the largest, gradients finite."""
  query, key, value = qkv
  query = 1e4 * query
  best = np.einsum("nqc,nkc->nqk", query, key).argmax(-1)
  found, gradients = value_and_gradients(query, key, value, np.ones((2, 13), bool))
  np.testing.assert_allclose(found, np.take_along_axis(value, best[..., None], 1), atol=1e-5)
  assert all(np.isfinite(g).all() for g in gradients)


def test_nothing_allowed_gives_zeros_and_finite_gradients(qkv, value_and_gradients):
  mask = np.zeros((2, 13), bool)
  mask[1] = True
  found, gradients = map(jax.device_get, value_and_gradients(*qkv, mask))
  assert (found[0] == 0).all() and np.abs(found[1]).max() > 0.1
  assert all(np.isfinite(g).all() for g in gradients)
  assert all((g[0] == 0).all() for g in gradients)


def test_masked_keys_and_values_have_no_influence(qkv, mask, value_and_gradients):
  query, key, value = qkv
  junk = np.where(mask[..., None], 0, 1e6).astype(np.float32)
  streamed = lambda *args: value_and_gradients(*args)[0]
  for order in (PLAIN, streamed):
    expected = order(query, key, value, mask)
    np.testing.assert_array_equal(order(query, key + junk, value + junk, mask), expected)


def test_bfloat16_stays_close_to_float32(qkv, mask, value_and_gradients):
  low = [x.astype(jnp.bfloat16) for x in qkv]
  found, gradients = value_and_gradients(*low, mask)
  assert found.dtype == jnp.bfloat16 and gradients[0].dtype == jnp.bfloat16
  exact = _expected(*low, mask)[1]  # of the rounded inputs: only the arithmetic differs
  np.testing.assert_allclose(np.asarray(found, np.float32), exact, atol=2e-2)


def test_shapes_that_do_not_fit_are_refused(qkv):
  query, key, value = qkv
  with pytest.raises(ValueError, match="do not fit"):
    attention.attend(query, key[:, :5], value)
  with pytest.raises(ValueError, match="do not fit"):
    attention.attend(query, key[..., :5], value)


def test_memory_stays_far_below_the_full_matrix(temporaries):
  length = 4096
  full = 4 * length * length
  shapes = [jax.ShapeDtypeStruct((1, length, c), jnp.float32) for c in (8, 8, 16)]
  streamed = lambda q, k, v: attention.attend(q, k, v, query_block=256, key_block=256)
  gradient = jax.grad(lambda *x: streamed(*x).sum(), (0, 1, 2))
  assert temporaries(attention.attend_plain, *shapes) >= full  # so the measure sees it
  assert temporaries(streamed, *shapes) < full / 16
  assert temporaries(gradient, *shapes) < full / 8


@pytest.mark.parametrize("count", [0, 1, 6, 7, 13, 16])
def test_attend_prefix_sees_the_first_keys_alone(count):
  rng = np.random.default_rng(4)
  query, key, value = (rng.normal(size=(2, n, c)).astype(np.float32) for n, c in
                       ((9, 3), (16, 3), (16, 5)))  # fmt: skip
  key[:, count:], value[:, count:] = 50.0, 1e9  # would show
  found = _prefix(query, key, value, np.int32(count))
  if count == 0:
    np.testing.assert_array_equal(found, 0)
  else:
    expected = attention.attend_plain(query, key[:, :count], value[:, :count])
    np.testing.assert_allclose(found, expected, atol=2e-6)


# One program for all counts: blocks that divide neither the queries nor the keys.
_prefix = jax.jit(functools.partial(attention.attend_prefix, query_block=4, key_block=6))


def test_flatten_positions_goes_row_by_row():
  x = np.arange(2 * 2 * 3 * 1).reshape(2, 2, 3, 1)
  np.testing.assert_array_equal(attention.flatten_positions(x)[1, :, 0], [6, 7, 8, 9, 10, 11])


def test_self_attention_equals_numpy(random_variables):
  rng = np.random.default_rng(2)
  x = rng.normal(size=(2, 3, 4, 16)).astype(np.float32)
  layer = attention.SelfAttention(16, query_block=5, key_block=5)
  params = random_variables(layer, x)["params"]
  assert params["gamma"].shape == () and params["query"]["kernel"].shape == (16, 2)

  @jax.jit
  def run(params):
    apply = lambda p: layer.apply({"params": p}, x)
    return apply(params), jax.grad(lambda p: (apply(p) ** 2).sum())(params)

  found, gradient = run({**params, "gamma": jnp.float32(0.0)})  # as it starts
  np.testing.assert_array_equal(found, x)
  assert abs(float(gradient["gamma"])) > 1e-2  # what is closed at the start can open
  found, gradient = run({**params, "gamma": jnp.float32(0.7)})
  flat = x.astype(np.float64).reshape(2, 12, 16)
  query, key, value = (
    flat @ np.asarray(params[n]["kernel"], np.float64) + np.asarray(params[n]["bias"])
    for n in ("query", "key", "value")
  )
  expected = x + 0.7 * _expected(query, key, value)[1].reshape(x.shape)
  np.testing.assert_allclose(found, expected, atol=2e-5)
  # SAGAN's own correlations are not divided by the root of the two channels.
  plain = attention.SelfAttention(16, query_block=5, key_block=5, scaled=False)
  found = jax.jit(plain.apply)({"params": {**params, "gamma": jnp.float32(0.7)}}, x)
  logits = query @ np.swapaxes(key, 1, 2)
  weights = np.exp(logits - logits.max(-1, keepdims=True))
  mixed = weights / weights.sum(-1, keepdims=True) @ value
  np.testing.assert_allclose(found, x + 0.7 * mixed.reshape(x.shape), atol=2e-5)
  assert np.abs(found - expected).max() > 1e-3
  assert all(np.abs(g["kernel"]).max() > 1e-3 for n, g in gradient.items() if n != "gamma")


def test_self_attention_starts_as_identity():
  layer, x = attention.SelfAttention(8), np.ones((1, 2, 2, 8), np.float32)
  assert float(jax.jit(layer.init)(jax.random.key(0), x)["params"]["gamma"]) == 0.0
