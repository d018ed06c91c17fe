"""Eq. 4 put together, by numbers small enough to work out by hand."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from scs_jax.core.contract import Collective
from scs_jax.methods.scsnet import objective


def _loss(**changes):
  section = ConfigDict(
    {
      "content": 10.0,
      "perceptual": 5.0,
      "adversarial": 1.0,
      "adversarial_form": "relativistic",
      "real_target": 1.0,
      "fake_target": -1.0,
    }
  )
  section.update(changes)
  return section


# One picture of one pixel differs by 0.3, the other by 0: L_C = mean over 2 x 3 numbers.
LAB = jnp.array([[[[0.5, 0.1, -0.2]]], [[[0.0, 0.0, 0.0]]]])
TARGET = jnp.array([[[[0.2, 0.1, 0.1]]], [[[0.0, 0.0, 0.0]]]])
CONTENT = 0.6 / 6
# E D(x) = 2, E D(x~) = -1, worked out in test_losses: discriminator 2 and 18, generator 18 and 50.
REAL = jnp.array([1.0, 3.0]).reshape(2, 1, 1, 1)
FAKE = jnp.array([0.0, -2.0]).reshape(2, 1, 1, 1)


def _generator(loss, fake=None, real=None, perceptual=None):
  return objective.generator_terms(
    LAB, TARGET, fake, real, perceptual, "weights", loss, Collective()
  )


def test_content_alone():
  total, logs = _generator(_loss())
  np.testing.assert_allclose(total, 10 * CONTENT, rtol=1e-6)
  np.testing.assert_allclose(logs["loss/content"], CONTENT, rtol=1e-6)
  assert set(logs) == {"loss/content", "loss/generator"}


def test_all_terms_are_weighted():
  def perceptual(frozen, lab, target):
    assert frozen == "weights" and lab is LAB and target is TARGET
    return jnp.array([1.0, 4.0])

  total, logs = _generator(_loss(adversarial=0.5), FAKE, REAL, perceptual)
  np.testing.assert_allclose(logs["loss/perceptual"], 2.5)
  np.testing.assert_allclose(logs["loss/adversarial"], 34.0)
  np.testing.assert_allclose(total, 10 * CONTENT + 5 * 2.5 + 0.5 * 34.0, rtol=1e-6)
  np.testing.assert_allclose(logs["loss/generator"], total)


def test_discriminator_by_hand():
  total, logs = objective.discriminator_loss(REAL, FAKE, _loss(), Collective())
  np.testing.assert_allclose(total, 10.0)
  np.testing.assert_allclose(logs["loss/discriminator"], 10.0)
  np.testing.assert_allclose(logs["discriminator/margin"], 3.0)


def test_targets_come_from_the_config():
  loss = _loss(real_target=0.5, fake_target=0.0)
  total, _ = objective.discriminator_loss(REAL, FAKE, loss, Collective())
  np.testing.assert_allclose(total, (6.25 + 28.25) / 2)
  _, logs = _generator(loss, FAKE, REAL)
  np.testing.assert_allclose(logs["loss/adversarial"], (10.25 + 36.25) / 2)


def test_literal_form():
  loss = _loss(adversarial_form="literal")
  _, logs = _generator(loss, FAKE, REAL)
  np.testing.assert_allclose(logs["loss/adversarial"], (5 + 25) / 2)
  total, _ = objective.discriminator_loss(REAL, FAKE, loss, Collective())
  np.testing.assert_allclose(total, (9 + 25) / 2)


def test_means_are_those_of_the_whole_batch():
  """Two devices with one example each: losses and gradients as on one device with both."""

  def both(fake, collective):
    lab = jnp.zeros((fake.shape[0], 1, 1, 3))
    real = REAL[: fake.shape[0]] if fake.shape[0] == 2 else REAL[jax.lax.axis_index("data")][None]
    generator, _ = objective.generator_terms(lab, lab, fake, real, None, None, _loss(), collective)
    discriminator, _ = objective.discriminator_loss(real, fake, _loss(), collective)
    return collective.mean(generator), collective.mean(discriminator)

  alone = both(FAKE, Collective())
  np.testing.assert_allclose(alone, [34.0, 10.0])
  shared = jax.vmap(lambda f: both(f, Collective("data")), axis_name="data")(FAKE[:, None])
  np.testing.assert_allclose(shared, [[34.0, 34.0], [10.0, 10.0]])


def test_literal_form_warns():
  with pytest.warns(UserWarning, match="roles swapped"):
    objective.warn_if_literal("literal")
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    objective.warn_if_literal("relativistic")
