"""SCSNet put together from its tested parts, its sizes, modes, parameters and memory."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from scs_jax.core import config as configs
from scs_jax.methods.scsnet import cpm, network
from scs_jax.methods.scsnet.discriminator import PatchDiscriminator
from scs_jax.methods.scsnet.method import SCSNet as Method
from scs_jax.methods.scsnet.pvcattn import PyramidValveCrossAttention
from scs_jax.nn.attention import SelfAttention
from scs_jax.nn.blocks import Conv, ResidualStack, double_size

TINY = dict(
  widths=(4, 6, 8),
  source_blocks=(0, 1, 1),
  reference_blocks=(1, 0, 0),
  decoder_blocks=(1, 0, 1),
  texture_blocks=1,
  fused_features=5,
  level_features=4,
  key_features=3,
  levels=2,
  cpm_widths=(6, 6, 4),
)


def _gray(*size, n=2):
  return np.random.default_rng(0).uniform(-1, 1, (n, *size, 1)).astype(np.float32)


def _lab(*size, n=2, seed=1):
  return np.random.default_rng(seed).uniform(-0.8, 0.8, (n, *size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def variables(random_variables):
  """One set of parameters for all sizes and both modes."""
  return random_variables(network.SCSNet(**TINY), _gray(8, 8), _lab(8, 8))


def _run(module, method=None):
  return jax.jit(
    lambda v, gray, lab, size: module.apply(v, gray, lab, size, method=method), static_argnums=3
  )


@pytest.fixture(scope="module")
def run():
  return _run(network.SCSNet(**TINY))


def _by_parts(params, gray, reference, size):
  """Figure 3, wired by hand: F_s^init, F_s, F_r, F_int, F_color, F_tex, F_cs, the picture."""
  t = network.SCSNet(**TINY)
  on = lambda module, p, *x: module.apply({"params": p}, *x)

  def encoder(p, x, blocks):
    x = on(ResidualStack(4, blocks[0]), p.get("full", {}), x)
    x = nn.relu(on(Conv(6, stride=2), p["down_0"], x))
    x = on(ResidualStack(6, blocks[1]), p.get("half", {}), x)
    x = nn.relu(on(Conv(8, stride=2), p["down_1"], x))
    return on(ResidualStack(8, blocks[2]), p.get("quarter", {}), x)

  initial = nn.relu(on(Conv(4), params["initial"], gray))
  color = encoder(params["source_encoder"], initial, t.source_blocks)  # automatic: F_int = F_s
  if reference is not None:
    first = nn.relu(on(Conv(4), params["reference_initial"], reference))
    features = encoder(params["reference_encoder"], first, t.reference_blocks)
    module = PyramidValveCrossAttention(8, 4, 3, levels=2)
    color, _, _ = on(module, params["pvcattn"], color, features)
  p = params["decoder"]
  full = gray.shape[1:3]
  half = tuple(-(-s // 2) for s in full)
  x = on(SelfAttention(8), p["self_attention"], color)
  x = on(ResidualStack(8, t.decoder_blocks[2]), p.get("quarter", {}), x)
  x = nn.relu(on(Conv(6), p["up_0"], double_size(x, half)))
  x = nn.relu(on(Conv(4), p["up_1"], double_size(x, full)))
  x = on(ResidualStack(4, t.decoder_blocks[0]), p.get("full", {}), x)
  texture = on(ResidualStack(4, 1), params["texture_encoder"], initial)
  fused = on(Conv(5), params["fusion"], jnp.concatenate([x, texture], -1))
  layers = [(params["cpm"][f"kernel_{i}"], params["cpm"][f"bias_{i}"]) for i in range(4)]
  axes = (cpm.pixel_axis(i, o) for i, o in zip(full, size, strict=True))
  return cpm.map_pixels_plain(layers, fused, *axes)


@pytest.mark.parametrize(
  ("source", "reference", "size"),
  [((7, 10), (6, 9), (15, 5)), ((1, 6), (1, 1), (2, 33))],
)
def test_both_modes_equal_the_figure(variables, run, source, reference, size):
  """Odd sizes, sizes that 4 does not divide, enlarging and shrinking, single pixels."""
  gray, lab = _gray(*source), _lab(*reference)
  parts = jax.jit(lambda p: [_by_parts(p, gray, r, size) for r in (None, lab)])
  automatic, referential = parts(variables["params"])
  found = run(variables, gray, None, size)
  assert found.shape == (2, *size, 3) and found.dtype == jnp.float32
  np.testing.assert_allclose(found, automatic, atol=3e-5)
  np.testing.assert_allclose(run(variables, gray, lab, size), referential, atol=3e-5)
  assert np.abs(automatic - referential).max() > 1e-3


def test_size_defaults_to_that_of_the_input(variables, run):
  gray = _gray(8, 4)
  np.testing.assert_array_equal(
    run(variables, gray, None, None), run(variables, gray, None, (8, 4))
  )


def test_automatic_mode_does_not_read_the_reference_branch(variables, run):
  gray, lab = _gray(7, 10), _lab(6, 9)
  changed = {
    name: jax.tree.map(lambda p: 1.5 * p, tree) if name in network.REFERENCE_MODULES else tree
    for name, tree in variables["params"].items()
  }
  changed = {"params": changed}
  size = (15, 5)
  np.testing.assert_array_equal(run(changed, gray, None, size), run(variables, gray, None, size))
  difference = run(changed, gray, lab, size) - run(variables, gray, lab, size)
  assert np.abs(difference).max() > 1e-3
  # All that lies behind the three names is the reference branch: the rest is enough.
  rest = {n: t for n, t in variables["params"].items() if n not in network.REFERENCE_MODULES}
  np.testing.assert_array_equal(
    run({"params": rest}, gray, None, size), run(variables, gray, None, size)
  )


def test_examples_of_a_batch_do_not_mix(variables, run):
  gray, lab = _gray(7, 10), _lab(6, 9)
  both = run(variables, gray, lab, (15, 5))
  swapped = run(variables, gray[::-1].copy(), lab[::-1].copy(), (15, 5))
  np.testing.assert_allclose(swapped, both[::-1], atol=1e-5)


def test_maps_belong_to_the_same_result(variables, run):
  gray, lab = _gray(7, 10), _lab(6, 9)
  module = network.SCSNet(**TINY)
  found, seen = jax.jit(lambda v: module.apply(v, gray, lab, (15, 5), want_maps=True))(variables)
  np.testing.assert_allclose(found, run(variables, gray, lab, (15, 5)), atol=1e-6)
  # A quarter of 7 x 10 and of 6 x 9, then an eighth.
  assert [level.map.shape[1:] for level in seen] == [(2, 3, 2, 3), (1, 2, 1, 2)]
  for level in seen:
    np.testing.assert_allclose(level.map.sum((3, 4)), 1, atol=1e-5)


def test_parts_in_turn_equal_the_whole(variables, run):
  """encode, aggregate, generate, as a training step calls them."""
  module = network.SCSNet(**TINY)
  gray, lab = _gray(7, 10), _lab(6, 9)
  rows, columns = cpm.pixel_axis(7, 15), cpm.pixel_axis(10, 5)

  @jax.jit
  def in_turn(v):
    initial, features = module.apply(v, gray, method="encode")
    color, _, _ = module.apply(v, features, lab, method="aggregate")
    return module.apply(v, gray, initial, color, rows, columns, method="generate")

  np.testing.assert_allclose(in_turn(variables), run(variables, gray, lab, (15, 5)), atol=1e-6)


def test_residual_lightness_adds_the_enlarged_input(variables, run):
  gray = _gray(7, 10)
  module = network.SCSNet(**TINY, residual_lightness=True)
  found = _run(module)(variables, gray, None, (15, 5))
  added = found - run(variables, gray, None, (15, 5))
  rows, columns = np.linspace(0, 6, 15), np.linspace(0, 9, 5)
  exact = np.stack(
    [
      np.stack([np.interp(columns, np.arange(10), row) for row in plane])
      for plane in gray[..., 0].astype(np.float64)
    ]
  )
  exact = np.apply_along_axis(lambda c: np.interp(rows, np.arange(7), c), 1, exact)
  np.testing.assert_allclose(added[..., 0], exact, atol=1e-5)
  np.testing.assert_array_equal(added[..., 1:], 0)


def test_bfloat16_stays_close(variables, run):
  gray, lab = _gray(7, 10), _lab(6, 9)
  module = network.SCSNet(**TINY, dtype=jnp.bfloat16)
  found = _run(module)(variables, gray, lab, (15, 5))
  assert found.dtype == jnp.float32
  expected = np.asarray(run(variables, gray, lab, (15, 5)))
  assert np.abs(found - expected).max() < 0.1 * np.abs(expected).max()


def _count(tree):
  return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_parameter_totals_are_the_papers():
  """Table 1: 9.954M automatic, 15.358M with reference; Section 4.3: CPM 0.35M."""
  method = Method(configs.load("scsnet/paper"))
  params = jax.eval_shape(method.init, jax.random.key(0), {}).params
  automatic = _count(params["generator"])
  assert abs(automatic / 9.954e6 - 1) < 0.01
  assert abs((automatic + _count(params["reference"])) / 15.358e6 - 1) < 0.01
  head = _count(params["generator"]["cpm"])
  assert abs(head / 0.35e6 - 1) < 0.03
  # 256 features and two coordinates through four linear layers, by hand.
  ins, outs = (258, 384, 384, 256), (384, 384, 256, 3)
  assert head == sum(i * o + o for i, o in zip(ins, outs, strict=True))
  # One set of parameters: the two parts together are the network, and share no module.
  whole = {n: t for name in ("generator", "reference") for n, t in params[name].items()}
  assert set(params["reference"]) == set(network.REFERENCE_MODULES)
  shapes = jax.eval_shape(
    method.network.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)), jnp.zeros((1, 8, 8, 3))
  )
  assert jax.tree.structure(whole) == jax.tree.structure(dict(shapes["params"]))


def test_memory_of_a_large_source(temporaries):
  """The paper's network on 1024 x 1024 by a reference, enlarged by 4, in 8 GB."""
  module = network.SCSNet(**configs.load("scsnet/paper").network)
  shape = lambda side, channels: jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
  variables = jax.eval_shape(module.init, jax.random.key(0), shape(8, 1), shape(8, 3))
  run = lambda v, gray, lab: module.apply(v, gray, lab, (4096, 4096))
  assert temporaries(run, variables, shape(1024, 1), shape(128, 3)) < 8e9


PATCH = PatchDiscriminator(width=3, layers=1)


@pytest.fixture(scope="module")
def drawn(random_variables):
  return random_variables(PATCH, _lab(9, 12))


@pytest.fixture(scope="module")
def converged(drawn):
  """The same parameters after many discriminator updates' power iterations."""
  update = jax.jit(lambda v, x: PATCH.apply(v, x, update_stats=True, mutable=["batch_stats"])[1])
  variables = dict(drawn)
  for _ in range(200):
    variables["batch_stats"] = update(variables, _lab(9, 12))["batch_stats"]
  return jax.device_get(variables)


def test_scores_equal_scipy_with_kernels_of_norm_one(converged):
  """4 x 4, stride 2, 1, 1; LeakyReLU 0.2; each kernel over its largest singular value."""

  def correlate(x, kernel):
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    one = lambda c, o: signal.correlate(x[..., c], kernel[None, ..., c, o], "valid")
    return np.stack(
      [sum(one(c, o) for c in range(x.shape[-1])) for o in range(kernel.shape[-1])], axis=-1
    )

  x = _lab(9, 12)
  hidden = np.float64(x)
  for i, stride in enumerate((2, 1, 1)):
    layer = converged["params"][f"conv_{i}"]
    kernel = np.float64(layer["kernel"])
    kernel /= np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]))[1][0]
    hidden = correlate(hidden, kernel)[:, ::stride, ::stride] + layer["bias"]
    if i < 2:
      hidden = np.where(hidden > 0, hidden, 0.2 * hidden)
  found = jax.jit(PATCH.apply)(converged, x)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, hidden, atol=2e-4)


def test_statistics_move_only_when_asked(drawn):
  x = _lab(9, 12)
  look = lambda v, update: PATCH.apply(v, x, update_stats=update, mutable=["batch_stats"])[1]
  kept, moved = jax.jit(lambda v: (look(v, False), look(v, True)))(drawn)
  before, kept, moved = (jax.tree.leaves(v["batch_stats"]) for v in (drawn, kept, moved))
  for old, same, new in zip(before, kept, moved, strict=True):
    np.testing.assert_array_equal(same, old)
    assert np.abs(new - old).max() > 1e-4


def test_scores_are_those_of_70_x_70_patches():
  """With three strided layers, as Isola et al. 2017: 70 pixels reach one score."""
  module = PatchDiscriminator(width=1, layers=3)
  x = jnp.zeros((1, 96, 96, 3))
  shapes = jax.eval_shape(module.init, jax.random.key(0), x)
  positive = jax.tree.map(lambda s: jnp.ones(s.shape), shapes)  # so that nothing cancels
  score = lambda x: module.apply(positive, x)[0, 5, 5, 0]
  reached = np.asarray(jax.jit(jax.grad(score))(x + 1.0)[0, :, :, 0]) != 0
  assert reached.any(1).sum() == reached.any(0).sum() == 70
  widths = [shapes["params"][f"conv_{i}"]["bias"].shape[0] for i in range(5)]
  assert widths == [1, 2, 4, 8, 1]


def test_twins_find_every_position_of_the_same_picture(variables):
  """At the start, a picture's own gray lends each position what stands there, at every level."""
  shape = TINY | {"reference_blocks": TINY["source_blocks"], "correlation": "cosine"}
  module = network.SCSNet(**shape, temperature=1e4)
  gray = _gray(24, 32)
  lab = np.concatenate([gray, np.zeros((*gray.shape[:3], 2), np.float32)], -1)
  params = jax.jit(module.init)(jax.random.key(0), gray, lab)["params"]
  reference = {name: params[name] for name in network.REFERENCE_MODULES}
  generator = {name: tree for name, tree in params.items() if name not in reference}
  twins = generator | network.start_as_twins(generator, reference)
  look = jax.jit(lambda p: module.apply({"params": p}, gray, lab, want_maps=True)[1])
  for level, before in zip(look(twins), look(params), strict=True):
    n, h, w = level.map.shape[:3]
    own = level.map.reshape(n, h * w, h * w).argmax(-1)
    np.testing.assert_array_equal(own, np.tile(np.arange(h * w), (n, 1)))
    before = before.map.reshape(n, h * w, h * w).argmax(-1)
    assert (before == own).mean() < 0.5
