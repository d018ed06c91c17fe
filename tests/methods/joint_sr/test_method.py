"""The training step (Section III) and prediction of each task on tiny networks."""

import functools
import warnings

import jax
import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab

from scs_jax.core.contract import Collective, Query
from scs_jax.errors import UserError
from scs_jax.methods.joint_sr.method import TASKS, JointSR, merge
from scs_jax.ops.resize import resize_weights

TASK_NAMES = sorted(TASKS)
ODD, LARGE = (3, 13, 9, 1), (31, 24)  # of all queries, so that a task's are one program


class Subject:
  """A method with its programs, compiled once."""

  def __init__(self, config):
    self.method = JointSR(config)
    self.init = jax.jit(lambda key: self.method.init(key, {}))
    self.step = jax.jit(
      lambda state, batch, phase: self.method.train_step(state, batch, None, Collective(), phase),
      static_argnums=2,
    )
    self.predict = jax.jit(self.method.predict)

  @functools.cache  # noqa: B019 - lives as long as the module's fixture
  def fresh(self):
    return self.init(jax.random.key(0))


@pytest.fixture(scope="module")
def subject_of(make_joint_config):
  """A function: task -> its subject, always the same one."""
  return functools.cache(lambda task: Subject(make_joint_config(task)))


@pytest.fixture(params=TASK_NAMES)
def subject(request, subject_of):
  return subject_of(request.param)


@pytest.fixture
def joint(subject_of):
  return subject_of("joint")


def _bicubic(x, size):
  """MATLAB's bicubic by its weight matrices (checked elsewhere against imresize), float64."""
  rows, columns = resize_weights(x.shape[-3], size[0]), resize_weights(x.shape[-2], size[1])
  return np.einsum("ph,...hwc,qw->...pqc", rows, x, columns)


def _eight_bits(x):
  return np.round(np.clip(x, 0, 1) * 255) / 255


def _finite(tree):
  return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(tree)))


def test_learns_one_batch_and_stays_finite_at_black_and_white(subject, make_pictures):
  batch = make_pictures()
  state = subject.fresh()
  assert set(state.params) == set(state.opt_state) == {TASKS[subject.method.task]}
  losses = []
  for _ in range(25):
    state, logs = subject.step(state, batch, "12")
    losses.append(float(logs["loss/square"]))
  assert np.mean(losses[-3:]) < 0.8 * losses[0]
  assert int(state.step) == 25
  for level in (0, 255):
    after, logs = subject.step(state, {"image": np.full_like(batch["image"], level)}, "12")
    assert _finite(after) and _finite(logs)


def test_predicts_at_odd_sizes_each_picture_by_itself(subject, make_pictures):
  state = subject.fresh()
  for _ in range(2):
    state, _ = subject.step(state, make_pictures(), "12")
  gray = np.random.default_rng(0).random(ODD, np.float32)
  gray[0] = 0.0
  query = Query(gray, LARGE, None, True)
  found = jax.device_get(subject.predict(state, query))
  assert found.rgb.shape == (3, *LARGE, 3)
  assert found.rgb.min() >= 0 and found.rgb.max() <= 1
  alone = subject.predict(state, Query(gray[[1, 1, 1]], LARGE, None, True)).rgb
  np.testing.assert_allclose(found.rgb[[1, 1, 1]], alone, atol=1e-5)
  assert np.abs(found.rgb[1] - found.rgb[2]).max() > 1e-3
  assert bool(found.extras) == (subject.method.task != "super_resolution")


@pytest.mark.parametrize("task", ["joint", "colorization"])
def test_lightness_is_the_input_s(task, subject_of):
  """keeps_luminance: L of the result is the enlarged input's, a and b the network's."""
  subject = subject_of(task)
  assert subject.method.keeps_luminance and subject.method.usual_side == 12
  gray = 0.3 + 0.4 * np.random.default_rng(1).random(ODD).astype(np.float32)
  found = subject.predict(subject.fresh(), Query(gray, LARGE, None, True))
  large = _bicubic(gray.astype(np.float64), LARGE)
  lightness = rgb2lab(large.repeat(3, -1))[..., :1]
  ab = np.asarray(found.extras["ab"])
  assert 0.01 < np.abs(ab).max() < 30  # so that little is out of the gamut
  with warnings.catch_warnings(action="ignore"):  # scikit-image's, of the few out of it
    expected = np.clip(lab2rgb(np.concatenate([lightness, ab], -1)), 0, 1)
  np.testing.assert_allclose(found.rgb, expected, atol=2e-3)


def test_residual_predicts_its_own_lightness(subject_of, draw_state):
  subject = subject_of("joint_residual")
  assert not subject.method.keeps_luminance and subject.method.usual_side is None
  state = draw_state(subject.method)
  state = state.replace(model_state=jax.tree.map(np.ones_like, state.model_state))
  gray = np.full(ODD, 0.5, np.float32)
  lab = np.asarray(subject.predict(state, Query(gray, LARGE, None, True)).extras["lab"])
  assert np.abs(lab[..., 0] - rgb2lab([[[0.5] * 3]])[0, 0, 0]).max() > 0.1


class TestExamples:
  def examples(self, make_joint_config, make_pictures, task):
    method, batch = JointSR(make_joint_config(task)), make_pictures()
    found = jax.jit(lambda b: method._examples(b, 12))(batch)
    return batch["image"] / 255, *map(np.asarray, found)

  def test_joint(self, make_joint_config, make_pictures):
    """Section III-A: L of the crop, reduced; ab of the crop over 110."""
    image, source, target = self.examples(make_joint_config, make_pictures, "joint")
    lab = rgb2lab(image)
    small = _eight_bits(_bicubic(lab[..., :1] / 100, (12, 12)))
    # Where rounding is a tie the two may fall apart by one of the 256 levels.
    assert np.abs(source - (2 * small - 1)).max() < 2.1 / 255
    assert np.abs(source - (2 * small - 1)).mean() < 1e-4
    np.testing.assert_allclose(target, lab[..., 1:] / 110, atol=1e-4)

  def test_residual_has_all_of_lab_as_its_target(self, make_joint_config, make_pictures):
    image, _, target = self.examples(make_joint_config, make_pictures, "joint_residual")
    np.testing.assert_allclose(target, rgb2lab(image) / [50, 110, 110] - [1, 0, 0], atol=1e-4)

  def test_colorization_is_at_one_size(self, make_joint_config, make_pictures):
    image, source, target = self.examples(make_joint_config, make_pictures, "colorization")
    lab = rgb2lab(_eight_bits(_bicubic(image, (12, 12)))) / [50, 110, 110] - [1, 0, 0]
    assert source.shape == (4, 12, 12, 1)
    assert np.abs(source - lab[..., :1]).mean() < 2e-4
    assert np.abs(target - lab[..., 1:]).mean() < 2e-4

  def test_super_resolution_is_in_rgb(self, make_joint_config, make_pictures):
    image, source, target = self.examples(make_joint_config, make_pictures, "super_resolution")
    small = _eight_bits(_bicubic(image, (12, 12)))
    assert np.abs(source - (2 * small - 1)).mean() < 1e-4
    np.testing.assert_allclose(target, 2 * image - 1, atol=1e-6)


def test_one_update_is_adam_s_on_the_mean_square(joint, make_pictures):
  """The first step of Adam moves each parameter by the rate against the sign of its gradient."""
  state, batch = joint.fresh(), make_pictures()
  source, target = jax.jit(lambda b: joint.method._examples(b, 12))(batch)

  @jax.jit
  def gradient(params):
    def loss(p):
      variables = {"params": p, "batch_stats": state.model_state["colorizer"]}
      answer, _ = joint.method.network.apply(
        variables, source, (32, 32), train=True, mutable=["batch_stats"]
      )
      return ((answer - target) ** 2).mean()

    return jax.value_and_grad(loss)(params)

  value, slope = jax.device_get(gradient(state.params["colorizer"]))
  state, (after, logs) = jax.device_get((state, joint.step(state, batch, "12")))
  assert float(logs["loss/square"]) == pytest.approx(float(value), rel=1e-5)
  assert float(logs["optimizer/rate_scale"]) == 1.0
  step = jax.tree.map(lambda a, b: b - a, state.params["colorizer"], after.params["colorizer"])
  for moved, g in zip(jax.tree.leaves(step), jax.tree.leaves(slope), strict=True):
    clear = np.abs(g) > 1e-5
    np.testing.assert_allclose(moved[clear], -3e-3 * np.sign(g)[clear], rtol=5e-2)


def test_the_rate_falls_where_the_loss_does_not(make_joint_config, make_pictures):
  """Windows of two steps, patience one: a rate that learns nothing is cut by 0.75 every window."""
  config = make_joint_config("super_resolution")  # which compiles soonest
  config.optimizer.learning_rate = 1e-12
  frozen, batch = Subject(config), make_pictures()
  state, scales = frozen.fresh(), []
  for _ in range(7):
    state, logs = frozen.step(state, batch, "12")
    scales.append(float(logs["optimizer/rate_scale"]))
  # Steps 1, 2: the best so far. 3, 4 no better: cut at step 4. 5, 6: again at step 6.
  assert scales == pytest.approx([1, 1, 1, 0.75, 0.75, 0.5625, 0.5625])


def test_sides_take_turns(make_joint_config, make_pictures):
  config = make_joint_config("joint")
  config.input_sizes = (8, 12)
  method = JointSR(config)
  assert [method.phase(i) for i in range(4)] == ["8", "12", "8", "12"]
  assert method.usual_side == 12
  source, target = jax.eval_shape(lambda b: method._examples(b, 8), make_pictures())
  assert source.shape[1:3] == (8, 8) and target.shape[1:3] == (32, 32)


def test_adversarial_step_has_both_sides(make_joint_config, make_pictures):
  """What it tells of; contract/test_devices.py trains it, on one device and on several."""
  config = make_joint_config("super_resolution")
  config.loss.adversarial = 0.1
  method = JointSR(config)
  step = lambda s, b: method.train_step(s, b, None, Collective(), "12")
  state = jax.eval_shape(lambda: method.init(jax.random.key(0), {}))
  after, logs = jax.eval_shape(step, state, make_pictures())
  assert set(after.params) == {"enlarger", "discriminator"}
  assert {"loss/adversarial", "loss/discriminator", "optimizer/rate_scale"} <= set(logs)


def test_super_resolution_enlarges_colours_of_the_input_s_size(subject_of):
  subject = subject_of("super_resolution")
  state, rng = subject.fresh(), np.random.default_rng(0)
  picture = rng.random((1, 10, 12, 3), np.float32)
  gray = np.zeros((1, 10, 12, 1), np.float32)
  found = subject.predict(state, Query(gray, (20, 24), picture)).rgb
  # Untrained it is the bicubic.
  np.testing.assert_allclose(found, np.clip(_bicubic(picture, (20, 24)), 0, 1), atol=1e-5)
  with pytest.raises(UserError, match="10x12 pixels; got a reference of 8x8"):
    subject.method.predict(state, Query(gray, (20, 24), picture[:, :8, :8]))


def test_merge_with_the_true_lightness_gives_the_picture_back():
  rgb = np.random.default_rng(2).random((2, 5, 6, 3)).astype(np.float32)
  lab = rgb2lab(rgb).astype(np.float32)
  np.testing.assert_allclose(jax.jit(merge)(lab[..., :1], lab[..., 1:]), rgb, atol=1e-3)


def test_refuses_what_makes_no_sense(make_joint_config):
  config = make_joint_config()
  config.input_sizes = (12, 33)
  with pytest.raises(UserError, match=r"input_sizes is \(12, 33\).*data\.crop, 32"):
    JointSR(config)
  config = make_joint_config("joint")
  config.loss.adversarial = 1e-3
  with pytest.raises(UserError, match="task=super_resolution alone"):
    JointSR(config)
