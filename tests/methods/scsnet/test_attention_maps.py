"""Figure 8's rows of attention belong to the network's own results."""

import dataclasses

import jax
import numpy as np
import pytest

from scs_jax.core import resolve
from scs_jax.core.contract import Query
from scs_jax.errors import UserError
from scs_jax.methods.scsnet import attention_maps
from scs_jax.nn import attention
from scs_jax.ops import color

_POINTS = np.array([[0, 0], [12, 20], [22, 36], [5, 33]])

_lightness = jax.jit(lambda gray: color.gray_to_lightness(gray[None, ..., None]) / 50.0 - 1.0)
_lab = jax.jit(lambda rgb: color.normalize_lab(color.rgb_to_lab(rgb[None])))
_rgb = jax.jit(lambda lab: color.clip_gamut(color.lab_to_rgb(color.denormalize_lab(lab)))[0])


@pytest.fixture(scope="module")
def pictures():
  """Gray [23, 37] and a reference [17, 26, 3]: no side is a multiple of anything."""
  rng = np.random.default_rng(0)
  return (
    rng.random((23, 37), np.float32),
    rng.random((17, 26, 3), np.float32),
  )


def _build(config, draw_state, **changes):
  for key, value in changes.items():
    config.network[key] = value
  method = resolve.build(config)
  return method, draw_state(method)


def _own(method, state, pictures):
  """The result of `SCSNet.__call__`, and what each VCAttn returned inside it."""
  gray, reference = pictures
  variables = {"params": {**state.params["generator"], **state.params["reference"]}}
  is_level = lambda module, name: name == "__call__" and "vcattn" in (module.name or "")
  lab, seen = jax.jit(
    lambda v, x, y: method.network.apply(v, x, y, capture_intermediates=is_level, mutable=True)
  )(variables, _lightness(gray), _lab(reference))
  levels = seen["intermediates"]["pvcattn"]
  return _rgb(lab), [levels[f"vcattn_{i}"]["__call__"][0][0] for i in range(method.network.levels)]


def _inside(method, state, pictures):
  """(F_s, V_r) of each level, by the network's parts."""
  gray, reference = pictures
  variables = {"params": {**state.params["generator"], **state.params["reference"]}}
  net = method.network

  @jax.jit
  def run(variables, lightness, lab):
    _, features = net.apply(variables, lightness, method="encode")
    sources = net.apply(variables, features, method="source_levels")
    return sources, net.apply(variables, lab, method="reference_memories")

  sources, memories = run(variables, _lightness(gray), _lab(reference))
  values = [attention.flatten_positions(value)[0] for _, value in memories]
  return [np.asarray(s[0]) for s in sources], [np.asarray(v) for v in values]


@pytest.mark.parametrize(
  "changes",
  [
    pytest.param({"attention_blocks": (7, 5)}, id="PVCAttn, streamed in small blocks"),
    pytest.param({"correlation": "dot", "carry_chroma": False}, id="PVCAttn as printed"),
    pytest.param(
      {"levels": 1, "valves": False, "carry_chroma": False, "upsampler": "pixel_shuffle"},
      id="BCAttn",
    ),
  ],
)
def test_rows_applied_to_the_values_are_the_networks_own_output(
  tiny_config, draw_state, pictures, changes
):
  method, state = _build(tiny_config, draw_state, **changes)
  looked = attention_maps.look(method, state, *pictures, _POINTS)
  rgb, targets = _own(method, state, pictures)
  np.testing.assert_allclose(looked.rgb, rgb, atol=2e-5)
  sources, values = _inside(method, state, pictures)
  assert len(looked.levels) == method.network.levels == len(targets)
  sides = lambda shape, stride: tuple(-(-side // stride) for side in shape[:2])
  for i, level in enumerate(looked.levels):
    assert level.stride == 4 << i
    np.testing.assert_array_equal(level.at, _POINTS // level.stride)
    assert level.weights.shape == (len(_POINTS), *sides(pictures[1].shape, level.stride))
    np.testing.assert_allclose(level.weights.sum((1, 2)), 1, atol=1e-5)
    assert level.weights.min() >= 0
    # They look at some places more than at others: this test would see a wrong row.
    assert np.ptp(level.weights, axis=(1, 2)).max() > 1e-3
    row, column = level.at.T
    moved = level.weights.reshape(len(_POINTS), -1) @ values[i]
    if method.network.carry_chroma:
      moved, chroma = moved[:, :-2], moved[:, -2:]
    expected = sources[i][row, column] + moved
    if method.network.valves:
      assert level.valves.shape == (2, *sides(pictures[0].shape, level.stride))
      assert 0 < level.valves.min() < level.valves.max() < 1
      v1, v2 = level.valves[:, row, column, None]
      expected = v1 * sources[i][row, column] + v2 * moved
      if method.network.carry_chroma:
        expected = np.concatenate([expected, v2, chroma], -1)
    else:
      assert level.valves is None
    np.testing.assert_allclose(expected, targets[i][0][row, column], atol=2e-5, rtol=2e-5)


def test_they_are_the_rows_of_the_whole_map(tiny_config, draw_state, pictures):
  method, state = _build(tiny_config, draw_state)
  looked = attention_maps.look(method, state, *pictures, _POINTS)
  gray, reference = pictures
  query = Query(gray[None, ..., None], gray.shape, reference[None], want_extras=True)
  extras = jax.jit(lambda s, q: method.predict(s, q).extras["attention"])(state, query)
  for level, whole in zip(looked.levels, extras, strict=True):
    row, column = level.at.T
    np.testing.assert_allclose(level.weights, whole.map[0, row, column], atol=1e-6)
    valves = np.concatenate([whole.source_valve, whole.reference_valve], -1)[0]
    np.testing.assert_allclose(level.valves, np.moveaxis(valves, -1, 0), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9)])
def test_any_size_has_its_positions(tiny_config, draw_state, height, width):
  method, state = _build(tiny_config, draw_state)
  rng = np.random.default_rng(1)
  gray = rng.random((height, width), np.float32)
  corner = np.array([[height - 1, width - 1]])
  looked = attention_maps.look(method, state, gray, rng.random((1, 5, 3), np.float32), corner)
  assert looked.rgb.shape == (height, width, 3)
  for level in looked.levels:
    assert level.weights.shape == (1, 1, -(-5 // level.stride))
    np.testing.assert_allclose(level.weights.sum(), 1, atol=1e-5)


def test_the_whole_map_is_never_made(tiny_config, draw_state, temporaries):
  """512 x 512 pixels by as many: at the first level 16,384 positions look at 16,384."""
  tiny_config.network.attention_blocks = (64, 64)
  method, state = _build(tiny_config, draw_state)
  net = dataclasses.replace(method.network, cpm_chunk_floats=2**12)
  params = {**state.params["generator"], **state.params["reference"]}
  gray, lender = np.zeros((1, 512, 512, 1), np.float32), np.zeros((1, 512, 512, 3), np.float32)
  at = [np.zeros((4, 2), np.int32)] * net.levels
  taken = temporaries(lambda p, x, y: attention_maps._look(net, p, x, y, at), params, gray, lender)
  whole = 4 * 128**4  # float32, the first level alone
  assert taken < whole / 4, taken


def test_networks_without_attention_are_refused(tiny_config, make_smsanet_config):
  attention_maps.require_attention(resolve.build(tiny_config))
  with pytest.raises(UserError, match=r"smsanet, which has no attention to a reference"):
    attention_maps.require_attention(resolve.build(make_smsanet_config()))
  tiny_config.mode = "automatic"
  with pytest.raises(UserError, match=r"mode=automatic"):
    attention_maps.require_attention(resolve.build(tiny_config))
  tiny_config.mode = "alternate"
  tiny_config.network.aggregation = "concat"
  tiny_config.network.carry_chroma = tiny_config.reference.twin_start = False
  with pytest.raises(UserError, match=r"network.aggregation=concat"):
    attention_maps.require_attention(resolve.build(tiny_config))
