"""What Tables 4 and 5 put in the place of SCSNet's parts, and their rows as overlays."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.core import ablations
from scs_jax.core import config as configs
from scs_jax.core.contract import Collective, Query
from scs_jax.core.resolve import build
from scs_jax.errors import UserError
from scs_jax.infer.colorizer import Colorizer
from scs_jax.methods.scsnet import variants
from scs_jax.methods.scsnet.method import SCSNet
from scs_jax.methods.scsnet.perceptual import PerceptualTerm

configs.load("common")  # makes scs_jax.configs importable in a source tree as well
from scs_jax.configs.scsnet.ablations import ABLATIONS, TABLES  # noqa: E402

KEY = jax.random.key(0)
ROWS = [(table, row) for table, rows in ABLATIONS.items() for row in rows]


def test_shuffle_puts_channels_where_pixels_are():
  """Four numbers at one place become its 2 x 2 pixels, in rows."""
  x = np.arange(2 * 4).reshape(1, 1, 2, 4)
  found = variants.shuffle(x, 2)
  assert found[..., 0].tolist() == [[[0, 1, 4, 5], [2, 3, 6, 7]]]
  rgb = variants.shuffle(np.arange(12).reshape(1, 1, 1, 12), 2)  # channels stay together
  assert rgb[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_steps_multiply_to_the_factor():
  assert [variants.steps_of(n) for n in (1, 2, 3, 4, 6, 8)] == [
    [], [2], [3], [2, 2], [3, 2], [2, 2, 2]
  ]  # fmt: skip


def test_concatenation_meets_at_the_same_place(random_variables):
  """Against NumPy: the reference halved to the source's size, both side by side, a convolution."""
  rng = np.random.default_rng(0)
  source, reference = (rng.normal(size=s).astype(np.float32) for s in ((1, 3, 4, 2), (1, 6, 8, 2)))
  module = variants.Concatenation(5)
  params = random_variables(module, source, reference)
  found = jax.jit(module.apply)(params, source, reference)
  halved = reference.reshape(1, 3, 2, 4, 2, 2).mean((2, 4))
  both = np.pad(np.concatenate([source, halved], -1), ((0, 0), (1, 1), (1, 1), (0, 0)))
  kernel, bias = (params["params"]["join"]["conv"][name] for name in ("kernel", "bias"))
  expected = bias + sum(
    both[:, y : y + 3, x : x + 4] @ kernel[y, x] for y in range(3) for x in range(3)
  )
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture
def make(make_tiny_config):
  def config(**changes):
    found = make_tiny_config()
    found.loss.adversarial = 0.0
    found.network.levels = 1
    # Neither is for every variant.
    found.network.carry_chroma = found.reference.twin_start = False
    found.lock()
    return ablations.overlay(found, changes)

  return config


class TestMethod:
  @pytest.mark.parametrize("upsampler", ["pixel_shuffle", "meta_sr"])
  def test_both_modes_train_and_colour(self, make, make_batch, draw_state, upsampler):
    fusion = "concat" if upsampler == "pixel_shuffle" else "attention"
    changes = {"network.upsampler": upsampler, "network.aggregation": fusion}
    if upsampler == "meta_sr":  # which is not for one whole factor alone
      changes |= {"magnification": (2.0, 3.0), "data.crop": 24}
    config = make(**changes)
    method, batch = build(config), make_batch(config)
    state = draw_state(method)
    step = jax.jit(
      lambda s, b, p: method.train_step(s, b, KEY, Collective(), p), static_argnums=2
    )
    for phase, resting in (("automatic", {"reference"}), ("referential", set())):
      found, logs = jax.device_get(step(state, batch, phase))
      assert np.isfinite(logs["loss/content"])
      for name in ("generator", "reference"):
        pairs = zip(
          *map(jax.tree.leaves, (found.params[name], state.params[name])), strict=True
        )
        assert all((new != old).any() != (name in resting) for new, old in pairs), (phase, name)
    assert upsampler in state.params["generator"] and "cpm" not in state.params["generator"]
    assert ("concatenation" in state.params["reference"]) == (fusion == "concat")
    query = Query(jnp.full((1, 8, 8, 1), 0.5), (13, 20), jnp.full((1, 8, 8, 3), 0.5))
    rgb = jax.jit(method.predict)(state, query).rgb
    assert rgb.shape == (1, 13, 20, 3) and np.isfinite(rgb).all()

  def test_a_range_of_magnifications_is_not_for_pixel_shuffle(self, make):
    changes = {"network.upsampler": "pixel_shuffle"}
    with pytest.raises(UserError, match="one whole factor"):
      build(make(magnification=(2.0, 3.0), **changes, **{"data.crop": 24}))
    with pytest.raises(UserError, match="one whole factor"):
      build(make(magnification=(2.5, 2.5), **changes, **{"data.crop": 20}))

  @pytest.mark.parametrize("key", ["upsampler", "aggregation"])
  def test_an_unknown_part_is_refused(self, make, key):
    with pytest.raises(UserError, match=f"network.{key} is 'other'; expected one of"):
      build(make(**{f"network.{key}": "other"}))

  def test_a_config_from_before_the_switches_is_the_papers_network(self, make):
    config = make().copy_and_resolve_references()
    config.unlock()
    del config.network["upsampler"], config.network["aggregation"]
    shapes = lambda c: jax.eval_shape(lambda: build(c).init(KEY, {})).params
    assert jax.tree.all(
      jax.tree.map(lambda a, b: a.shape == b.shape, shapes(config), shapes(make()))
    )

  def test_pictures_go_through_a_variant_whole(self, make, draw_state):
    method = build(make(**{"network.upsampler": "meta_sr"}))
    state = draw_state(method)
    colorizer = Colorizer(method, state)
    gray = np.random.default_rng(0).random((12, 9)).astype(np.float32)
    assert colorizer(gray, scale=2.0).shape == (24, 18, 3)
    assert method.recipe(state, False) is None
    papers = build(make())
    assert papers.recipe(draw_state(papers), False) is not None


@pytest.fixture(scope="module")
def trace(trace_step):
  """A function: overlay -> a tiny referential step."""

  @functools.cache
  def traced(overlay):
    config = configs.load("scsnet/paper").copy_and_resolve_references()
    config.input_size, config.data.crop, config.reference.size = 8, 32, 8
    config.network.widths, config.network.cpm_widths = (4, 4, 8), (8, 8, 8)
    for part in ("source", "reference", "decoder"):
      config.network[f"{part}_blocks"] = (0, 0, 0)
    config.network.texture_blocks, config.network.fused_features = 0, 8
    config.network.level_features, config.network.key_features = 8, 4
    config.discriminator.width, config.discriminator.layers = 4, 1
    return trace_step(ablations.overlay(config, dict(overlay)), (32, 32), "referential")

  with pytest.MonkeyPatch.context() as patch:
    # The term without a network: what it costs to have one is not what a row is about.
    apart = lambda self, frozen, a, b: jnp.abs(a - b).mean((1, 2, 3))
    patch.setattr(PerceptualTerm, "__call__", apart)
    patch.setattr(SCSNet, "load_frozen", lambda self: {})
    yield lambda overlay: traced(tuple(sorted(overlay.items())))


class TestRows:
  def test_they_are_the_papers(self):
    """Name and figures as printed in Tables 4 and 5."""
    figures = lambda name: [
      tuple(TABLES[f"scsnet.{name}"].figures(row).values()) for row in ABLATIONS[name]
    ]
    assert figures("losses") == [
      (16.290, 4.128, 26.172, 0.898), (15.068, 4.196, 27.456, 0.918),
      (11.616, 5.171, 26.536, 0.906), (9.632, 5.288, 27.694, 0.923),
    ]  # fmt: skip
    assert figures("components") == [
      (17.541, 4.763, 25.517, 0.887), (16.635, 4.767, 26.173, 0.896),
      (15.334, 4.863, 26.619, 0.907), (9.978, 5.059, 26.796, 0.905),
      (9.632, 5.288, 27.694, 0.923),
    ]  # fmt: skip
    assert figures("upsampler") == [(0.45,), (), (0.35,)]
    for table in ("losses", "components", "upsampler"):
      assert [not row.overlay for row in ABLATIONS[table]].count(True) == 1

  def test_every_row_computes_something_else(self, trace, assert_rows_differ):
    for rows in ABLATIONS.values():
      assert_rows_differ(rows, lambda row: trace(row.overlay), trace({}))

  @pytest.mark.parametrize(("table", "row"), ROWS, ids=[f"{t}: {r.name}" for t, r in ROWS])
  def test_a_row_has_what_it_says(self, trace, table, row):
    shapes, logs = trace(row.overlay).shapes, trace(row.overlay).logs
    if table == "losses":
      assert ("loss/perceptual" in logs) == ("L_P" in row.name)
      assert ("loss/adversarial" in logs) == ("L_Adv" in row.name)
      assert ("discriminator" in shapes) == ("L_Adv" in row.name)
      return
    heads = {"cpm", "pixel_shuffle", "meta_sr"} & set(shapes["generator"])
    if table == "upsampler":
      assert heads == {"meta_sr" if row.name.startswith("Meta-SR") else "cpm"}
      return
    assert heads == {"cpm" if "CPM" in row.name else "pixel_shuffle"}
    attention = shapes["reference"].get("pvcattn", {})
    levels = {name for name in attention if name.startswith("vcattn_")}
    expected = {"Baseline": 0, "BCAttn": 1, "PVCAttn": 3, "CPM": 0, "PVCAttn + CPM": 3}[row.name]
    assert len(levels) == expected
    assert ("concatenation" in shapes["reference"]) == (expected == 0)
    assert all(("valve_0" in attention[level]) == (expected == 3) for level in levels)
