"""Cycle CNN's training steps and predictions on tiny networks (Sections III-A, III-G, III-H)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from scs_jax.core.contract import Collective, Query
from scs_jax.core.resolve import build
from scs_jax.errors import UserError
from scs_jax.methods.cycle_cnn import matches
from scs_jax.methods.cycle_cnn.method import CycleCNN
from scs_jax.ops import color

KEY = jax.random.key(3)
pytestmark = pytest.mark.usefixtures("plain_volumes")
ASKED = {}
"""{phase: names that its step asked of a batch}, of the steps traced so far."""


class Recording:
  """A batch that can be asked for by name alone, so that nothing is read unseen."""

  def __init__(self, batch, asked):
    self._batch, self._asked = batch, asked

  def __getitem__(self, name):
    self._asked.add(name)
    return self._batch[name]


def step_of(method):
  """(state, batch, phase) -> (state, logs); it fills ASKED when it is traced."""

  def step(state, batch, phase):
    recording = Recording(batch, ASKED.setdefault(phase, set()))
    return method.train_step(state, recording, KEY, Collective(), phase)

  return step


def compiled(method):
  return jax.jit(step_of(method), static_argnums=2)


def ycbcr_of(rgb):
  """BT.601 full range, NumPy."""
  r, g, b = np.moveaxis(np.asarray(rgb, np.float64), -1, 0)
  y = 0.299 * r + 0.587 * g + 0.114 * b
  return np.stack([y, 0.5 + (b - y) / 1.772, 0.5 + (r - y) / 1.402], -1)


def ssim_loss(a, b):
  """1 minus the SSIM, by scikit-image."""
  return 1 - np.mean([
    structural_similarity(
      np.float64(x), np.float64(y), data_range=1, channel_axis=-1, gaussian_weights=True,
      sigma=1.5, use_sample_covariance=False,
    )
    for x, y in zip(a, b, strict=True)
  ])  # fmt: skip


@pytest.fixture(scope="module")
def method(make_cycle_config):
  return CycleCNN(make_cycle_config())


@pytest.fixture(scope="module")
def state(method, draw_pair_state):
  return draw_pair_state(method)


@pytest.fixture(scope="module")
def batch(make_pair):
  return make_pair(n=2)


@pytest.fixture(scope="module")
def step(method):
  return compiled(method)


@pytest.fixture(scope="module")
def after(step, state, batch):
  """{phase: (state, logs)} after a step of each from the same state."""
  return {phase: jax.device_get(step(state, batch, phase)) for phase in ("cycle", "refinement")}


@pytest.fixture(scope="module")
def query(batch):
  unit = lambda x: x / np.float32(255)
  return Query(unit(batch["mono"]), (16, 32), unit(batch["color"]), want_extras=True)


@pytest.fixture(scope="module")
def predict(method):
  return jax.jit(method.predict)


@pytest.fixture(scope="module")
def both(method, state, query):
  return jax.device_get(jax.jit(method.colorize_twice)(state, query))


def changed(new, old):
  """Names of the networks in which something differs."""
  differs = lambda a, b: any(
    not np.array_equal(x, y)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )
  return {
    tree: {name for name in getattr(old, tree) if differs(getattr(new, tree)[name],
                                                         getattr(old, tree)[name])}
    for tree in ("params", "opt_state", "model_state")
  }  # fmt: skip


def test_smoothing_takes_noise_from_the_chroma_alone_and_only_where_it_is_asked_for(
  make_cycle_config, state, query, both
):
  config = make_cycle_config()
  with config.unlocked():
    config.network.smooth = 30.0
  found = jax.device_get(jax.jit(CycleCNN(config).colorize_twice)(state, query))
  for plain, smooth in zip(both, found, strict=True):
    plain, smooth = ycbcr_of(plain.rgb), ycbcr_of(smooth.rgb)
    rough = lambda x: np.abs(np.diff(x[..., 1:], axis=2)).mean()
    assert rough(smooth) < 0.8 * rough(plain)
  np.testing.assert_allclose(both[0].extras["unrefined"], found[0].extras["unrefined"], atol=1e-6)
  with config.unlocked():
    del config.network["smooth"], config.network["match_tolerance"]  # as in runs of before
  assert build(config).row_overlap == CycleCNN(make_cycle_config()).row_overlap


def test_wrong_matches_lose_their_colours_where_that_is_asked_for(
  make_cycle_config, state, query, both
):
  """By a network that has learned nothing hardly a match is right."""
  config = make_cycle_config()
  with config.unlocked():
    config.network.match_tolerance = 0.02
  method = CycleCNN(config)
  found = jax.device_get(jax.jit(method.predict)(state, query))
  plain, mended = ycbcr_of(both[0].rgb), ycbcr_of(found.rgb)
  assert np.abs(plain - mended)[..., 1:].mean() > 1e-3
  np.testing.assert_allclose(both[0].extras["unrefined"], found.extras["unrefined"], atol=1e-6)
  assert method.row_overlap == CycleCNN(make_cycle_config()).row_overlap + matches.reach()


class TestPhases:
  def test_refinement_comes_last(self, method):
    assert [method.phase(i) for i in range(6)] == ["cycle"] * 2 + ["refinement"] * 4

  def test_without_refinement_all_is_the_cycle(self, make_cycle_config):
    config = make_cycle_config()
    config.network.refinement = False
    assert [CycleCNN(config).phase(i) for i in (0, 3)] == ["cycle", "cycle"]

  def test_a_learned_loss_comes_first(self, make_cycle_config):
    config = make_cycle_config()
    config.loss.structure_kind, config.structure_share = "learned", 0.25
    phases = [CycleCNN(config).phase(i) for i in range(4)]
    assert phases == ["structure", "cycle", "refinement", "refinement"]

  def test_no_steps_left_for_the_cycle_is_refused(self, make_cycle_config):
    config = make_cycle_config()
    config.refine_share = 0.9  # of 4 steps
    with pytest.raises(UserError, match=r"0 are for .* and 4 for the refinement: none is left"):
      CycleCNN(config)

  def test_crops_that_no_window_of_ssim_fits_into_are_refused(self, make_cycle_config):
    config = make_cycle_config()
    for crop in ((10, 32), (16, 8)):
      config.data.crop = crop
      with pytest.raises(UserError, match=r"data\.crop: .* of at least 11.* nearest allowed"):
        build(config)
    config.data.crop = (11, 32)
    build(config)

  def test_an_untrained_loss_is_refused(self, make_cycle_config):
    config = make_cycle_config()
    config.loss.structure_kind = "learned"
    with pytest.raises(UserError, match="would stay untrained"):
      CycleCNN(config)


class TestCycle:
  def test_it_trains_wac_and_gca(self, after, state):
    found, logs = after["cycle"]
    assert found.step == 1
    assert all(names == {"wac", "gca"} for names in changed(found, state).values())
    assert set(logs) == {"loss/structure", "loss/cycle", "loss/smooth", "loss/total"}

  def test_losses_are_equation_twelve_of_two_passes(self, method, state, batch, after):
    """By WAC alone, flips in NumPy, SSIM by scikit-image; averages after both passes, in order."""
    gray = (batch["mono"] / 255).astype(np.float32)
    reference = ycbcr_of(batch["color"] / 255).astype(np.float32)
    wac = method.networks["wac"]

    @jax.jit
    def colored(stats, gray, reference):
      seen = {"params": state.params["wac"], "batch_stats": stats}
      return wac.apply(seen, gray, reference, train=True, mutable=["batch_stats"])

    one, stats = colored(state.model_state["wac"], gray, reference)
    given = np.concatenate([gray, one.ycbcr[..., 1:]], -1)
    two, stats = colored(stats["batch_stats"], reference[:, :, ::-1, :1], given[:, :, ::-1])
    second = np.asarray(two.ycbcr)[:, :, ::-1]
    gca = method.networks["gca"]
    seen = {"params": state.params["gca"], "batch_stats": state.model_state["gca"]}
    adjust = jax.jit(lambda v, *x: gca.apply(v, *x, True, mutable=["batch_stats"])[0].luma)
    adjusted = adjust(seen, one.ycbcr[..., :1], gray)

    found, logs = after["cycle"]
    want = {
      "loss/structure": ssim_loss(np.asarray(adjusted), gray),
      "loss/cycle": ssim_loss(second[..., 1:], reference[..., 1:]),
      "loss/smooth": 0.5 * float((one.smoothness + two.smoothness).mean()),
    }
    want["loss/total"] = want["loss/structure"] + want["loss/cycle"] + 0.1 * want["loss/smooth"]
    assert logs == pytest.approx(want, rel=2e-3)
    leaves = zip(*map(jax.tree.leaves, (found.model_state["wac"], stats["batch_stats"])),
                 strict=True)  # fmt: skip
    for a, b in leaves:
      np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)

  def test_no_phase_reads_the_truth(self, make_cycle_config, batch, after):
    """What a step asks a batch for, recorded while it is traced."""
    config = make_cycle_config()
    config.loss.structure_kind, config.structure_share = "learned", 0.25
    method = CycleCNN(config)
    shapes = jax.eval_shape(lambda: method.init(KEY, {}))
    jax.eval_shape(lambda s, b: step_of(method)(s, b, "structure"), shapes, batch)
    assert ASKED.keys() == {"structure", "cycle", "refinement"}
    assert set.union(*ASKED.values()) == {"mono", "color", "index"}


class TestRefinement:
  def test_it_trains_the_refinement_alone(self, after, state):
    found, _ = after["refinement"]
    assert all(names == {"refinement"} for names in changed(found, state).values())
    assert found.step == 1

  def test_it_learns_on_the_second_pass_of_wac_in_use(self, method, state, batch, after, wac):
    """Running averages, unflipped, against the reference's own chroma: both losses."""
    reference = ycbcr_of(batch["color"] / 255).astype(np.float32)
    second = _second_chroma(wac, batch, reference)
    logs = after["refinement"][1]

    loss = lambda a: ssim_loss(a, reference[..., 1:])
    seen = {
      "params": state.params["refinement"], "batch_stats": state.model_state["refinement"]
    }  # fmt: skip
    refine = lambda *x: method.networks["refinement"].apply(*x, True, mutable=["batch_stats"])[0]
    refined = jax.jit(refine)(seen, reference[..., :1], second)
    assert logs["loss/unrefined"] == pytest.approx(loss(second), rel=2e-3)
    assert logs["loss/refined"] == pytest.approx(loss(np.asarray(refined)), rel=2e-3)


@pytest.fixture(scope="module")
def wac(method, state):
  """WAC in use, by itself: (gray view, reference) -> its answer."""
  seen = {"params": state.params["wac"], "batch_stats": state.model_state["wac"]}
  apply = jax.jit(method.networks["wac"].apply)
  return lambda gray, reference: apply(seen, gray, reference)


def _second_chroma(wac, batch, reference):
  gray = (batch["mono"] / 255).astype(np.float32)
  one = np.asarray(wac(gray, reference).ycbcr)
  given = np.concatenate([gray, one[..., 1:]], -1)[:, :, ::-1]
  return np.asarray(wac(reference[:, :, ::-1, :1], given).ycbcr)[:, :, ::-1, 1:]


class TestPredict:
  def test_both_passes_are_wired_as_in_figure_four(self, method, state, batch, query, both, wac):
    first, second = both
    gray = np.asarray(query.gray)
    reference = ycbcr_of(query.reference).astype(np.float32)
    one = wac(gray, reference)
    chroma = np.asarray(one.ycbcr)[..., 1:]
    seen = {
      "params": state.params["refinement"], "batch_stats": state.model_state["refinement"]
    }  # fmt: skip
    refine = jax.jit(method.networks["refinement"].apply)
    refined = refine(seen, gray, chroma)
    show = lambda y, c: np.clip(color.ycbcr_to_rgb(np.concatenate([y, c], -1)), 0, 1)
    np.testing.assert_allclose(first.rgb, show(gray, refined), atol=1e-4)
    np.testing.assert_allclose(first.extras["unrefined"], show(gray, chroma), atol=1e-4)
    np.testing.assert_allclose(first.extras["disparity"], one.disparity, atol=1e-3)
    again = _second_chroma(wac, batch, reference)
    luma = reference[..., :1]
    refined = refine(seen, luma, again)
    np.testing.assert_allclose(second.rgb, show(luma, refined), atol=1e-4)
    assert second.extras["unrefined"].shape == (2, 16, 32, 3)

  def test_predict_is_the_first_pass(self, method, predict, state, query, both):
    bare = state.replace(opt_state={}, frozen={})
    found = predict(bare, query)
    np.testing.assert_allclose(found.rgb, both[0].rgb, atol=1e-5)
    assert found.extras.keys() == both[0].extras.keys()
    quiet = jax.eval_shape(method.predict, bare, query.replace(want_extras=False))
    assert not quiet.extras

  def test_luma_is_the_mono_views(self, predict, state):
    """Wherever nothing leaves the gamut; quiet colours, so that much stays inside."""
    rng = np.random.default_rng(1)
    gray = rng.uniform(0.4, 0.6, (2, 16, 32, 1)).astype(np.float32)
    colour = np.repeat(rng.uniform(0.4, 0.6, (2, 16, 32, 1)), 3, -1).astype(np.float32)
    quiet = state.replace(opt_state={}, params={**state.params, "refinement": jax.tree.map(
      lambda x: 0.01 * x, state.params["refinement"])})  # fmt: skip
    rgb = np.asarray(predict(quiet, Query(gray, (16, 32), colour, want_extras=True)).rgb)
    inside = ((rgb > 0) & (rgb < 1)).all(-1)
    assert inside.mean() > 0.9
    np.testing.assert_allclose(ycbcr_of(rgb)[..., :1][inside], gray[inside], atol=1e-5)

  def test_extras(self, both, query):
    extras = both[0].extras
    assert {name: np.shape(value) for name, value in extras.items()} == {
      "disparity": (2, 16, 32, 1), "unrefined": (2, 16, 32, 3), "confidence": (2, 16, 32, 1),
      "curve": (2, 64), "curve_support": (2, 64),
    }  # fmt: skip
    assert extras["confidence"].min() >= 0 and extras["confidence"].max() <= 1
    gray = 255 * np.asarray(query.gray)
    low, high = gray.min((1, 2)), gray.max((1, 2))
    assert (extras["curve"] >= low - 0.01).all() and (extras["curve"] <= high + 0.01).all()
    assert extras["disparity"].min() >= 0 and extras["disparity"].max() <= 15

  def test_strips_of_rows_are_the_whole(self, method, draw_pair_state):
    """With `row_overlap` rows around them, cut at multiples of `multiple`."""
    state, overlap = draw_pair_state(method), method.row_overlap
    rng = np.random.default_rng(6)
    height = -(-(2 * overlap + 48) // 16) * 16
    gray = rng.random((1, height, 16, 1)).astype(np.float32)
    colour = rng.random((1, height, 16, 3)).astype(np.float32)
    predict = jax.jit(method.predict)
    whole = predict(state, Query(gray, (height, 16), colour)).rgb
    for start, end in ((0, height - 16), (16, height)):
      part = predict(state, Query(gray[:, start:end], (end - start, 16), colour[:, start:end])).rgb
      top, bottom = (0 if start == 0 else overlap), (0 if end == height else overlap)
      inner = slice(start + top, end - bottom)
      np.testing.assert_allclose(
        part[:, top : end - start - bottom], whole[:, inner], atol=1e-4
      )

  @pytest.mark.parametrize(
    ("reference", "size", "message"),
    [
      (None, (16, 32), "give it both"),
      ((16, 30), (16, 32), "16 x 32 pixels .* 16 x 30"),
      ((16, 32), (32, 64), "asked for 32 x 64"),
    ],
  )
  def test_what_is_no_pair_is_refused(self, method, state, reference, size, message):
    gray = jnp.zeros((1, 16, 32, 1))
    other = None if reference is None else jnp.zeros((1, *reference, 3))
    with pytest.raises(UserError, match=message):
      method.predict(state, Query(gray, size, other))

  def test_what_the_contract_says_of_pairs(self, method):
    assert (method.takes_pairs, method.takes_reference) == (True, True)
    assert (method.search_range, method.multiple, method.scales) == (16, 16, (1.0, 1.0))
    assert method.keeps_luminance is False
    assert 50 < method.row_overlap < 250


@pytest.mark.slow
def test_it_learns_to_find_a_shift(make_cycle_config, make_pair):
  """Forty steps on one pair, its views three pixels apart: the loss falls to a third."""
  config = make_cycle_config()
  config.network.features, config.network.refinement, config.steps = 4, False, 40
  config.optimizer.learning_rate = 3e-3
  method = CycleCNN(config)
  step, told = compiled(method), []
  state = jax.jit(lambda key: method.init(key, {}))(KEY)
  batch = make_pair(16, 48, seed=5)
  for _ in range(40):
    state, logs = step(state, batch, "cycle")
    told.append(float(logs["loss/total"]))
  assert np.isfinite(told).all()
  assert told[-1] < told[0] / 3
