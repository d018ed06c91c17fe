"""SMSANet's training step and prediction on tiny networks (Sections 2.3, 3.2)."""

import pathlib
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab

from scs_jax.core import resolve
from scs_jax.core.contract import Collective, Query
from scs_jax.errors import UserError
from scs_jax.methods.smsanet import weights
from scs_jax.methods.smsanet.method import SMSANet
from scs_jax.ops.resize import resize_weights
from scs_jax.training import model_file, models

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import zhang_forward as zhang

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def method(make_config):
  config = make_config()
  config.optimizer.learning_rate = 1e-2  # so that it soon learns
  return SMSANet(config)


@pytest.fixture(scope="module")
def step(method):
  return jax.jit(lambda s, b: method.train_step(s, b, KEY, Collective(), method.phase(0)))


@pytest.fixture(scope="module")
def fresh(method):
  return jax.device_get(jax.jit(lambda key: method.init(key, {}))(KEY))


@pytest.fixture(scope="module")
def state(fresh):
  """Fresh, its output layer loud enough to colour, no hidden unit of its attention at rest."""
  state = jax.tree.map(np.copy, fresh)
  state.params["colorizer"]["output"]["kernel"] = (
    np.random.default_rng(0).normal(size=(1, 1, 8, 2)).astype(np.float32)
  )
  squeeze = state.params["colorizer"]["attention_4"]["channel"]["squeeze"]
  squeeze["kernel"] = np.abs(squeeze["kernel"])  # means after a ReLU are positive
  return state


@pytest.fixture(scope="module")
def after(step, state, make_batch):
  return jax.device_get(step(state, make_batch(16)))


@pytest.fixture(scope="module")
def predict(method):
  return jax.jit(method.predict)


@pytest.fixture(scope="module")
def enlarged(predict, state):
  """(gray [1, 8, 8, 1], the answer at 16 x 20 with its extras)."""
  gray = np.random.default_rng(2).uniform(0.4, 0.6, (1, 8, 8, 1)).astype(np.float32)
  return gray, predict(state, Query(gray, (16, 20), want_extras=True))


def _leaves(*trees):
  return zip(*map(jax.tree.leaves, trees), strict=True)


class TestStep:
  def test_it_changes_every_parameter_and_average(self, state, after):
    found, logs = after
    assert found.step == 1 and set(logs) == {"loss/huber", "loss/total"}
    for tree in ("params", "model_state"):
      for new, old in _leaves(getattr(found, tree), getattr(state, tree)):
        assert (new != old).any() and np.isfinite(new).all()

  def test_moments_hold_the_gradient_of_equation_five(self, method, state, make_batch, after):
    """Adam's first moment after a step is 0.1 times the gradient of Eq. 5 on ab / 110 (small's
    unit), batch statistics and all."""
    lab = rgb2lab(make_batch(16)["image"] / 255.0).astype(np.float32)
    stats = state.model_state["colorizer"]

    def loss(params):
      ab, _ = method.network.apply(
        {"params": params, "batch_stats": stats}, lab[..., :1] / 100 - 0.5, train=True,
        mutable=["batch_stats"],
      )  # fmt: skip
      d = jnp.abs(ab - lab[..., 1:]) / 110
      return jnp.where(d < 1, d**2 / 2, d - 1 / 2).mean()

    value, grads = jax.jit(jax.value_and_grad(loss))(state.params["colorizer"])
    found, logs = after
    np.testing.assert_allclose(logs["loss/total"], value, rtol=1e-4)
    moments = found.opt_state["colorizer"][0].mu
    largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(grads))
    for mu, grad in _leaves(moments, grads):
      np.testing.assert_allclose(mu, 0.1 * grad, rtol=2e-2, atol=1e-4 * largest)

  def test_salient_term_joins(self, make_config, make_batch, draw_state, redness):
    config = make_config()
    config.network.attention = "none"
    config.loss.salient, config.loss.salient_network = 1.0, "redness"
    config.loss.salient_file = redness
    method = SMSANet(config)
    frozen = method.load_frozen()
    assert float(frozen["saliency"]["w"]) == 3
    step = jax.jit(lambda s, b: method.train_step(s, b, KEY, Collective(), method.phase(0)))
    found, logs = step(draw_state(method).replace(frozen=frozen), make_batch(16))
    assert set(logs) == {"loss/huber", "loss/salient", "loss/total"}
    np.testing.assert_allclose(logs["loss/total"], logs["loss/huber"] + logs["loss/salient"])
    assert found.frozen["saliency"]["w"] == 3  # read, never trained

  def test_it_learns_a_colour(self, step, fresh):
    """Two flat colours told apart by their lightness: the error falls to a fifth in 30 steps.

    All positions tie in every maximum here: the gradient of `jnp.max` was NaN at the second step.
    """
    image = np.zeros((4, 16, 16, 3), np.uint8)
    image[::2], image[1::2] = (200, 60, 40), (90, 160, 230)
    batch = {"image": image, "index": np.arange(4, dtype=np.uint32)}
    state, told = fresh, []
    for _ in range(30):
      state, logs = step(state, batch)
      told.append(float(logs["loss/total"]))
    assert told[-1] < told[0] / 5


class TestPredict:
  def test_lightness_is_the_inputs(self, predict, state):
    """Exactly, but for what rounding RGB to float leaves; and it is in colour."""
    gray = np.random.default_rng(1).random((2, 13, 22, 1)).astype(np.float32)
    rgb = np.asarray(predict(state, Query(gray, (13, 22))).rgb)
    lab, before = rgb2lab(rgb.astype(np.float64)), rgb2lab(np.repeat(gray, 3, -1))
    np.testing.assert_allclose(lab[..., 0], before[..., 0], atol=0.02)
    assert np.hypot(lab[..., 1], lab[..., 2]).max() > 10
    assert rgb.min() >= 0 and rgb.max() <= 1

  def test_it_is_the_networks_ab_with_the_running_averages(self, method, state, predict):
    """At a size where nothing leaves the gamut: against scikit-image."""
    gray = np.full((1, 8, 8, 1), 0.5, np.float32)
    gray[:, ::2] = 0.6
    quiet = jax.tree.map(lambda x: x, state)
    quiet.params["colorizer"]["output"]["kernel"] = (
      state.params["colorizer"]["output"]["kernel"] * 0.02
    )
    variables = {
      "params": quiet.params["colorizer"], "batch_stats": quiet.model_state["colorizer"]
    }  # fmt: skip
    lightness = rgb2lab(np.repeat(gray, 3, -1).astype(np.float64))[..., :1]
    ab = jax.jit(method.network.apply)(variables, jnp.asarray((lightness - 50) / 100))
    want = lab2rgb(np.concatenate([lightness, ab], -1))
    found = predict(quiet, Query(gray, (8, 8))).rgb
    assert 0.5 < np.abs(ab).max() < 30
    np.testing.assert_allclose(found, want, atol=2e-4)

  def test_another_size_is_enlarged_afterwards(self, enlarged):
    """L and ab by the bicubic kernel: of the colours found at the input's size."""
    gray, answer = enlarged
    ab = np.asarray(answer.extras["ab"], np.float64)[0]
    assert ab.shape == (8, 8, 2)
    lightness = rgb2lab(np.repeat(gray[0], 3, -1).astype(np.float64))[..., :1]
    rows, columns = resize_weights(8, 16), resize_weights(8, 20)
    want = np.einsum("ph,hwc,qw->pqc", rows, np.concatenate([lightness, ab], -1), columns)
    found = rgb2lab(np.asarray(answer.rgb[0], np.float64))
    assert found.shape == (16, 20, 3)
    np.testing.assert_allclose(found[..., 0], want[..., 0], atol=0.05)
    chroma, asked = (np.hypot(lab[..., 1], lab[..., 2]) for lab in (found, want))
    inside = np.abs(chroma - asked) < 0.1  # the others were brought into the gamut
    np.testing.assert_allclose(found[inside], want[inside], atol=0.1)
    assert inside.mean() > 0.2

  def test_extras_show_what_attention_did(self, enlarged):
    """At the input's size: sigmoids, of the three spatial scales each times a lambda of a half."""
    extras = enlarged[1].extras
    assert set(extras["spatial_weights"]) == set(extras["channel_weights"]) == {4}
    spatial = np.asarray(extras["spatial_weights"][4])
    channel = np.asarray(extras["channel_weights"][4])
    assert spatial.shape == (1, 1, 1, 1) and channel.shape == (1, 32)
    assert spatial.min() > 0 and spatial.max() < 1.5
    assert channel.min() > 0 and channel.max() < 1

  def test_it_keeps_luminance_and_takes_no_reference(self, method):
    assert (method.takes_reference, method.keeps_luminance) == (False, True)
    assert method.scales == (0.5, 16.0)
    assert method.usual_side == 2 * 16


class TestStart:
  @pytest.fixture
  def file(self, tmp_path):
    path = tmp_path / "base.safetensors"
    variables = weights.from_published(zhang.draw(1 / 16), 1 / 16).variables
    model_file.write(path, *weights.automatic(variables))
    return path

  def test_from_a_file(self, make_config, file):
    """The base is the file's, attention the seed's."""
    config = make_config()
    config.network.attention_blocks = (2,)
    method = SMSANet(config)
    draw = lambda key: method.init(key, {})
    kernel_of = lambda state: state.params["colorizer"]["attention_2"]["scale_1"]["kernel"]
    fresh = jax.jit(lambda key: kernel_of(draw(key)))(KEY)  # XLA draws nothing else
    state, note = models.start_from(file, config, draw, KEY)
    assert note.endswith("base.safetensors, step 0; anew: colorizer/attention_2")
    params = state.params["colorizer"]
    tensors = zhang.draw(1 / 16)
    kernel = tensors["model1.0.weight"][:, :1].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(params["block_1"]["conv_0"]["kernel"], kernel)
    np.testing.assert_array_equal(
      state.model_state["colorizer"]["block_9"]["norm"]["var"], tensors["model9.3.running_var"]
    )
    np.testing.assert_array_equal(kernel_of(state), fresh)
    assert np.any(fresh) and int(state.step) == 0

  def test_without_attention_it_is_the_published_function(self, file):
    model = models.find(file)
    gray = np.random.default_rng(4).random((1, 16, 8, 1)).astype(np.float32)
    query = Query(gray, (16, 8), want_extras=True)
    answer = jax.jit(model.method.predict)(model.restore(), query)
    lightness = rgb2lab(np.repeat(gray[0], 3, -1).astype(np.float64))[..., :1]
    x = np.concatenate([(lightness - 50) / 100, np.zeros((16, 8, 3))], -1)
    want = zhang.forward(zhang.draw(1 / 16), x)
    np.testing.assert_allclose(answer.extras["ab"][0], want, atol=5e-3)

  def test_attention_has_no_place_in_a_network_without_it(self, make_config, file):
    config = make_config()
    narrow = config.copy_and_resolve_references()
    narrow.network.width = 1 / 32
    draw = lambda key: SMSANet(narrow).init(key, {})
    with pytest.raises(UserError, match=r"is float32\[4\] there and float32\[2\] in the network"):
      models.start_from(file, config, draw, KEY)

  def test_the_salient_term_without_weights_stops_before_anything_starts(self, make_config):
    config = make_config()
    config.loss.salient, config.loss.salient_network = 1.0, "pfanet"
    method = SMSANet(config)
    with pytest.raises(UserError, match=r"loss.salient_file=.*loss.salient=0"):
      method.load_frozen()


class TestPlaceOfAttention:
  def test_a_config_made_before_the_key_has_it_after_batch_norm(self, make_config):
    config = make_config()
    with config.unlocked():
      del config.network["attention_place"]
    assert resolve.build(config).network.attention_place == "after_norm"
    assert resolve.build(make_config()).network.attention_place == "after_relu"

  @pytest.mark.parametrize(
    ("attention", "place", "said"),
    [
      ("smsa", "after_norm", "same means in every picture"),
      ("senet", "after_norm", "same means in every picture"),
      ("cbam", "after_norm", None),  # sees the maximum too
      ("cbam", "after_relu", "divides out"),
      ("smsa", "after_relu", "divides out"),
      ("none", "after_relu", None),
    ],
  )
  def test_batches_of_one_picture_are_warned_of(self, make_config, attention, place, said):
    config = make_config()
    config.network.attention, config.network.attention_place = attention, place
    config.batch_size, config.accumulate = 4, 4
    with warnings.catch_warnings(record=True) as caught:
      warnings.simplefilter("always")
      SMSANet(config).load_frozen()
      config.accumulate = 2
      SMSANet(config).load_frozen()  # two pictures at a time: nothing to say
    assert [str(w.message) for w in caught if said in str(w.message)] if said else not caught
    assert len(caught) == (said is not None)
