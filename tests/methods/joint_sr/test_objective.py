"""The loss terms by hand."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from scs_jax.methods.joint_sr import objective


def test_mean_square_is_a_mean_over_the_elements_of_each_example():
  a = np.array([[[1.0, 2.0]], [[0.0, 0.0]]], np.float32)
  b = np.array([[[0.0, 4.0]], [[0.5, 0.0]]], np.float32)
  np.testing.assert_allclose(objective.mean_square(a, b), [(1 + 4) / 2, 0.125])
  with pytest.raises(ValueError, match="shape"):
    objective.mean_square(a, b[:1])


def test_generator_loss_by_hand():
  a, b = np.full((2, 1, 1, 2), 0.5, np.float32), np.zeros((2, 1, 1, 2), np.float32)
  logits = np.array([0.0, 2.0], np.float32)
  section = ConfigDict({"adversarial": 0.1})
  total, logs = objective.generator_loss(a, b, logits, section)
  # -log D, D = 1 / (1 + exp(-logit)).
  term = np.mean([np.log(2.0), np.log(1 + np.exp(-2.0))])
  assert float(total) == pytest.approx(0.25 + 0.1 * term, rel=1e-6)
  assert float(logs["loss/square"]) == pytest.approx(0.25)
  assert float(logs["loss/adversarial"]) == pytest.approx(term, rel=1e-6)
  alone, logs = objective.generator_loss(a, b, None, section)
  assert float(alone) == pytest.approx(0.25) and set(logs) == {"loss/square", "loss/total"}


def test_discriminator_loss_by_hand_and_at_certainty():
  real, fake = np.array([1.0, -1.0], np.float32), np.array([0.0, 3.0], np.float32)
  loss, logs = objective.discriminator_loss(real, fake)
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  expected = np.mean(-np.log(sigmoid(real)) - np.log(1 - sigmoid(fake)))
  assert float(loss) == pytest.approx(expected, rel=1e-5)
  assert float(logs["discriminator/margin"]) == pytest.approx(-1.5)
  # Logits at which a probability would round to 0 or 1.
  sure = np.array([200.0, -200.0], np.float32)
  slope = jax.jit(jax.grad(lambda x: objective.discriminator_loss(x, x)[0]))(sure)
  np.testing.assert_allclose(slope, [0.5, -0.5], atol=1e-6)
