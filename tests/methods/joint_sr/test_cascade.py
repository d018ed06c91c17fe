"""Colorize, then enlarge: the pipeline of Section I from two trained states."""

import jax
import numpy as np
import pytest

from scs_jax.core.contract import Query
from scs_jax.errors import UserError
from scs_jax.measure.evaluate import Evaluator, Protocol
from scs_jax.methods.joint_sr.cascade import Cascade
from scs_jax.methods.joint_sr.method import JointSR


@pytest.fixture(scope="module")
def parts(make_joint_config, draw_state):
  methods = [JointSR(make_joint_config(t)) for t in ("colorization", "super_resolution")]
  positive = lambda state: state.replace(
    model_state=jax.tree.map(np.ones_like, state.model_state)  # variances
  )
  return methods, [positive(draw_state(method)) for method in methods]


def test_is_one_after_the_other(parts):
  (colorization, enlarger), states = parts
  cascade, state = Cascade(colorization, enlarger), Cascade.join(*states)
  assert set(state.params) == {"colorizer", "enlarger"} == set(state.model_state)
  gray = np.random.default_rng(0).random((2, 12, 10, 1), np.float32)
  found = jax.jit(cascade.predict)(state, Query(gray, (30, 25), None, True))
  small = jax.jit(colorization.predict)(states[0], Query(gray, (12, 10))).rgb
  large = jax.jit(enlarger.predict)(states[1], Query(gray, (30, 25), small)).rgb
  np.testing.assert_allclose(found.extras["colored"], small, atol=1e-5)
  np.testing.assert_allclose(found.rgb, large, atol=1e-4)
  # Colours went through: the gray input alone gives another picture.
  gray_alone = jax.jit(enlarger.predict)(states[1], Query(gray, (30, 25))).rgb
  assert np.abs(np.asarray(gray_alone) - large).max() > 1e-2


def test_is_measured_as_a_method_is(parts, make_pictures):
  (colorization, enlarger), states = parts
  cascade = Cascade(colorization, enlarger)
  evaluator = Evaluator(cascade.predict, Protocol("automatic", 32 / 12, 8))
  batch = {**make_pictures(n=2), "record": np.arange(2, dtype=np.int32), "mask": np.ones(2, bool)}
  result = evaluator(Cascade.join(*states), [batch], keep=True)
  assert result.gray.shape == (2, 12, 12) and result.rgb.shape == (2, 32, 32, 3)
  error = (result.rgb / 255.0 - batch["image"] / 255.0) ** 2
  expected = -10 * np.log10(error.mean(axis=(1, 2, 3)))
  np.testing.assert_allclose(result.scores["psnr_rgb"], expected, rtol=1e-4)


def test_wants_its_tasks_in_order(parts):
  (colorization, enlarger), _ = parts
  with pytest.raises(UserError, match="task colorization here, got super_resolution"):
    Cascade(enlarger, colorization)
