"""PVCAttn against NumPy (Section 3.1), from the module's own parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, signal

from scs_jax.methods.scsnet.pvcattn import PyramidValveCrossAttention, ValveCrossAttention
from scs_jax.nn import border

SOURCE, REFERENCE = (2, 5, 4, 6), (2, 3, 7, 6)


def _random(shape, seed):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def source():
  return _random(SOURCE, 0)


@pytest.fixture(scope="module")
def reference():
  return _random(REFERENCE, 1)


def _dense(params, x):
  return np.einsum("...i,io->...o", x, np.float64(params["kernel"])) + params.get("bias", 0.0)


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


def _vcattn(params, source, reference, valves):
  """Figure 4: (F_t, CMat, V1, V2); with a temperature among the parameters by cosines."""
  source, reference = np.float64(source), np.float64(reference)
  query = _dense(params["query"], source)
  key, value = _dense(params["key"], reference), _dense(params["value"], reference)
  if "log_temperature" in params:
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
    query, key = (unit(x - x.mean((1, 2), keepdims=True)) for x in (query, key))
    logits = np.exp(params["log_temperature"]) * np.einsum("nhwc,nijc->nhwij", query, key)
  else:
    logits = np.einsum("nhwc,nijc->nhwij", query, key) / np.sqrt(query.shape[-1])
  logits = np.exp(logits - logits.max((3, 4), keepdims=True))
  cmat = logits / logits.sum((3, 4), keepdims=True)
  moved = np.einsum("nhwij,nijc->nhwc", cmat, value)
  if not valves:
    return source + moved, cmat, None, None
  hidden = np.maximum(_dense(params["valve_0"], np.concatenate([source, moved], -1)), 0)
  both = _sigmoid(_dense(params["valve_1"], hidden))
  v1, v2 = both[..., :1], both[..., 1:]
  return v1 * source + v2 * moved, cmat, v1, v2


def _conv(params, x):
  """3 x 3, zero border."""
  kernel, bias = np.float64(params["conv"]["kernel"]), np.float64(params["conv"]["bias"])
  x = np.float64(x)
  one = lambda i, o: signal.correlate(x[..., i], kernel[None, ..., i, o], "same")
  out = [sum(one(i, o) for i in range(x.shape[-1])) for o in range(kernel.shape[-1])]
  return np.stack(out, axis=-1) + bias


def _halve(x):
  """Means over 2 x 2 positions; at an odd end over those that are there."""
  _, h, w, _ = x.shape
  rows = [x[:, 2 * i : 2 * i + 2] for i in range(-(-h // 2))]
  blocks = [[r[:, :, 2 * j : 2 * j + 2].mean((1, 2)) for j in range(-(-w // 2))] for r in rows]
  return np.stack([np.stack(row, axis=1) for row in blocks], axis=1)


def _enlarge(x, size):
  """Bilinear at pixel centres, the border repeated."""
  at = [(np.arange(o) + 0.5) * i / o - 0.5 for i, o in zip(x.shape[1:3], size, strict=True)]
  grid = np.meshgrid(*at, indexing="ij")
  one = lambda plane: ndimage.map_coordinates(plane, grid, order=1, mode="nearest")
  return np.stack([np.stack([one(y) for y in np.moveaxis(p, -1, 0)], -1) for p in x])


def _pvcattn(params, source, reference, levels, valves):
  """Figure 5: pyramid, pre-convolutions, a VCAttn a level, concatenation, post-convolution."""
  size, results, maps = source.shape[1:3], [], []
  for level in range(levels):
    if level:
      source, reference = _halve(source), _halve(reference)
    s = _conv(params[f"source_{level}"], source)
    r = _conv(params[f"reference_{level}"], reference)
    target, *seen = _vcattn(params[f"vcattn_{level}"], s, r, valves)
    results.append(_enlarge(target, size) if level else target)
    maps.append(seen)
  return _conv(params["post"], np.concatenate(results, -1)), maps


@pytest.mark.parametrize(
  ("valves", "correlation"), [(True, "dot"), (False, "dot"), (True, "cosine")]
)
def test_vcattn_equals_numpy(random_variables, source, reference, valves, correlation):
  module = ValveCrossAttention(6, 4, valves, blocks=(6, 5), correlation=correlation)
  variables = random_variables(module, source, reference)
  assert ("valve_0" in variables["params"]) == valves
  run = jax.jit(lambda v, s, r: (module.apply(v, s, r), module.apply(v, s, r, True)))
  (found, nothing), (same, seen) = run(variables, source, reference)
  expected, cmat, v1, v2 = _vcattn(variables["params"], source, reference, valves)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  np.testing.assert_array_equal(found, same)
  assert nothing is None
  assert seen.map.shape == (2, 5, 4, 3, 7)
  np.testing.assert_allclose(seen.map, cmat, atol=3e-6)
  np.testing.assert_allclose(seen.map.sum((3, 4)), 1, atol=1e-6)
  if not valves:
    assert seen.source_valve is None and seen.reference_valve is None
    return
  np.testing.assert_allclose(seen.source_valve, v1, atol=1e-6)
  np.testing.assert_allclose(seen.reference_valve, v2, atol=1e-6)
  for valve in (seen.source_valve, seen.reference_valve):
    assert valve.shape == (2, 5, 4, 1) and (valve > 0).all() and (valve < 1).all()
  # What is returned to be looked at is what was done: F_t = V1 F_s + V2 (CMat V_r).
  moved = np.einsum("nhwij,nijc->nhwc", seen.map, _dense(variables["params"]["value"], reference))
  again = seen.source_valve * source + seen.reference_valve * moved
  np.testing.assert_allclose(found, again, atol=1e-5)


@pytest.mark.parametrize(("levels", "valves"), [(3, True), (1, False)])
def test_pyramid_equals_numpy(random_variables, source, reference, levels, valves):
  module = PyramidValveCrossAttention(6, 5, 4, levels, valves, blocks=(7, 8))
  variables = random_variables(module, source, reference)
  found, carried, seen = jax.jit(lambda *x: module.apply(*x, True))(variables, source, reference)
  assert carried is None
  expected, maps = _pvcattn(variables["params"], source, reference, levels, valves)
  assert found.shape == SOURCE  # the dimension of F_s, whatever the reference's
  np.testing.assert_allclose(found, expected, atol=3e-5)
  assert len(seen) == levels
  for level, (cmat, v1, _) in zip(seen, maps, strict=True):
    np.testing.assert_allclose(level.map, cmat, atol=1e-5)
    if valves:
      np.testing.assert_allclose(level.source_valve, v1, atol=1e-5)
  if levels == 3:
    assert seen[1].map.shape == (2, 3, 2, 2, 4) and seen[2].map.shape == (2, 2, 1, 1, 2)


def test_carried_chroma_lies_finest_on_top(random_variables, source, reference):
  module = PyramidValveCrossAttention(6, 5, 4, 2, correlation="cosine", carry_chroma=True)
  chroma = _random((2, 12, 27, 2), 4)  # the last column of positions has three pixels
  whole = lambda module, s, r, ab: module(s, r, chroma=ab)
  variables = random_variables(module, source, reference, chroma, method=whole)
  found, carried, _ = jax.jit(functools.partial(module.apply, method=whole))(
    variables, source, reference, chroma
  )
  expected, maps = _pvcattn(variables["params"], source, reference, 2, True)
  np.testing.assert_allclose(found, expected, atol=3e-5)
  means = [chroma[:, 4 * i : 4 * i + 4].mean(1) for i in range(3)]
  halves = _halve(_halve(chroma))
  np.testing.assert_allclose(halves[:, 1, :6], np.stack(
    [means[1][:, 4 * j : 4 * j + 4].mean(1) for j in range(6)], 1
  ), atol=1e-6)  # fmt: skip
  (fine, _, v_fine), (coarse, _, v_coarse) = maps
  moved = lambda cmat, ab: np.einsum("nhwij,nijc->nhwc", cmat, ab)
  over = moved(fine, halves)
  under, v_under = (_enlarge(x, (5, 4)) for x in (moved(coarse, _halve(halves)), v_coarse))
  np.testing.assert_allclose(carried[..., :1], (1 - v_fine) * (1 - v_under), atol=1e-5)
  expected = v_fine * over + (1 - v_fine) * v_under * under
  np.testing.assert_allclose(carried[..., 1:], expected, atol=1e-5)


def test_a_flat_picture_has_finite_gradients(random_variables):
  """Queries that all equal their mean have no direction."""
  module = ValveCrossAttention(6, 4, correlation="cosine")
  flat = np.ones((1, 3, 3, 6), np.float32)
  variables = random_variables(module, flat, flat)
  loss = lambda v: jnp.square(module.apply(v, flat, flat)[0]).sum()
  assert all(np.isfinite(g).all() for g in jax.tree.leaves(jax.jit(jax.grad(loss))(variables)))


def test_one_pixel_reference_is_handed_to_every_position(random_variables, source):
  module = PyramidValveCrossAttention(6, 5, 4)
  pixel = _random((2, 1, 1, 6), 2)
  variables = random_variables(module, source, pixel)
  found, _, seen = jax.jit(lambda *x: module.apply(*x, True))(variables, source, pixel)
  np.testing.assert_allclose(
    found, _pvcattn(variables["params"], source, pixel, 3, True)[0], atol=3e-5
  )
  for level in seen:
    np.testing.assert_allclose(level.map, 1)


def test_order_of_reference_positions_does_not_matter(random_variables, source, reference):
  """Attention sees a set: a VCAttn with permuted reference positions gives the same."""
  module = ValveCrossAttention(6, 4, blocks=(6, 5))
  variables = random_variables(module, source, reference)
  run = jax.jit(lambda r: module.apply(variables, source, r)[0])
  turned = reference[:, ::-1, np.random.default_rng(3).permutation(7)]
  np.testing.assert_allclose(run(turned), run(reference), atol=1e-5)


def test_examples_of_a_batch_do_not_mix(random_variables, source, reference):
  module = PyramidValveCrossAttention(6, 5, 4)
  variables = random_variables(module, source, reference)
  run = jax.jit(lambda s, r: module.apply(variables, s, r)[0])
  both = run(source, reference)
  swapped = run(source[::-1], reference[::-1])
  np.testing.assert_allclose(swapped, both[::-1], atol=1e-5)
  other = run(source, np.concatenate([reference[:1], 5 * reference[1:]]))
  np.testing.assert_allclose(other[0], both[0], atol=1e-5)
  assert np.abs(other[1] - both[1]).max() > 0.1


def test_halving_by_hand():
  x = jnp.arange(6, dtype=jnp.float32).reshape(1, 2, 3, 1)  # 0 1 2 / 3 4 5
  np.testing.assert_allclose(border.mean_of_four(x)[0, :, :, 0], [[2.0, 3.5]])
  np.testing.assert_allclose(border.mean_of_four(x[:, :1, :1]), x[:, :1, :1])
