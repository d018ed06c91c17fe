"""Losses by hand-computed numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax import losses


def _column(*values):
  return jnp.array(values, jnp.float32)[:, None]


# Two real and two generated scores; E D(x) = 2, E D(x~) = -1.
REAL, FAKE = _column(1.0, 3.0), _column(0.0, -2.0)
REAL_MEAN, FAKE_MEAN = jnp.float32(2.0), jnp.float32(-1.0)


def test_mean_absolute_by_hand():
  a = jnp.array([[[1.0, 2.0], [3.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
  b = jnp.array([[[1.0, 0.0], [3.5, 4.0]], [[1.0, -1.0], [2.0, 0.0]]])
  np.testing.assert_allclose(losses.mean_absolute(a, b), [2.5 / 4, 4 / 4])


def test_mean_absolute_is_taken_in_float32():
  a = jnp.full((1, 4096), 0.1, jnp.bfloat16)
  found = losses.mean_absolute(a, jnp.zeros_like(a))
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, float(a[0, 0]), rtol=1e-5)


def test_mean_absolute_refuses_to_broadcast():
  with pytest.raises(ValueError, match="expected one shape"):
    losses.mean_absolute(jnp.zeros((2, 3)), jnp.zeros((2, 1)))


def test_gradient_is_finite_at_zero_error():
  x = jnp.ones((2, 3))
  assert np.isfinite(jax.grad(lambda a: losses.mean_absolute(a, x).sum())(x)).all()


def test_huber_by_hand():
  """Eq. 5 at delta = 1: 0.5 * 0.25 below, 3 - 0.5 beyond, exactly 0.5 at delta; means over four."""
  a = jnp.array([[[0.5, 3.0], [-1.0, 0.0]], [[0.0, 0.0], [0.0, -0.2]]])
  found = losses.huber(a, jnp.zeros_like(a), 1.0)
  np.testing.assert_allclose(found, [(0.125 + 2.5 + 0.5 + 0.0) / 4, 0.02 / 4], rtol=1e-6)


def test_huber_of_another_delta_has_slope_one_far_out():
  """delta = 4: 2^2 / 8 below; 10 - 2 beyond. Scaled with delta, the loss scales with it."""
  a = jnp.array([[2.0], [10.0]])
  np.testing.assert_allclose(losses.huber(a, jnp.zeros_like(a), 4.0), [0.5, 8.0])
  small = losses.huber(a / 4, jnp.zeros_like(a), 1.0)
  np.testing.assert_allclose(losses.huber(a, jnp.zeros_like(a), 4.0), 4 * small, rtol=1e-6)
  slope = jax.grad(lambda x: losses.huber(x, jnp.zeros_like(x), 4.0).sum())(a)
  np.testing.assert_allclose(slope, [[0.5], [1.0]])


def test_errors_weigh_by_the_true_chroma():
  """C = 0 and 0.5 (3-4-5): weights 1 and 1 + 2 * 0.5, on squares 0.5 * 0.04 over four elements."""
  true = jnp.array([[[[0.0, 0.0], [0.3, -0.4]]]])
  weights = losses.chroma_weights(true, 2.0)
  np.testing.assert_allclose(weights[0, 0, :, 0], [1.0, 2.0])
  found = losses.huber(true + jnp.array([0.2, 0.0]), true, 1.0, weights)
  np.testing.assert_allclose(found, [(1.0 + 2.0) * 0.02 / 4], rtol=1e-5)


def test_huber_has_finite_gradients_at_zero_and_far_out():
  x = jnp.array([[0.0], [1.0], [1e30]])
  slope = jax.grad(lambda a: losses.huber(a, jnp.zeros_like(a), 1.0).sum())(x)
  np.testing.assert_allclose(slope, [[0.0], [1.0], [1.0]])


def test_huber_refuses_a_delta_that_is_none():
  with pytest.raises(ValueError, match="delta: expected a finite number above 0"):
    losses.huber(jnp.zeros((1, 1)), jnp.zeros((1, 1)), 0.0)


def test_masked_absolute_by_hand():
  """Two pictures of two pixels: |0.5 * 1 - 1 * 0.25| + |0 - 0.5 * 0.5| of one, 0 of the other."""
  a = jnp.array([[[[1.0], [0.7]]], [[[1.0], [1.0]]]])
  b = jnp.array([[[[0.25], [0.5]]], [[[0.2], [0.3]]]])
  mask_a = jnp.array([[[[0.5], [0.0]]], [[[0.0], [0.0]]]])
  mask_b = jnp.array([[[[1.0], [0.5]]], [[[0.0], [0.0]]]])
  found = losses.masked_absolute(a, mask_a, b, mask_b)
  np.testing.assert_allclose(found, [(0.25 + 0.25) / 2, 0.0])
  with pytest.raises(ValueError, match="expected one shape"):
    losses.masked_absolute(a, mask_a[:, :, :1], b, mask_b)


def test_perceptual_by_hand():
  a = {"one": jnp.array([[[[1.0, 2.0]]], [[[0.0, 0.0]]]]), "two": jnp.array([[[[4.0]]], [[[1.0]]]])}
  b = {"one": jnp.array([[[[0.0, 0.0]]], [[[1.0, 0.0]]]]), "two": jnp.array([[[[1.0]]], [[[1.0]]]])}
  # First picture 0.5 * (1 + 2) / 2 + 10 * 3, second 0.5 * (1 + 0) / 2 + 0.
  np.testing.assert_allclose(losses.perceptual(a, b, (0.5, 10.0)), [30.75, 0.25])
  with pytest.raises(ValueError, match="2 and 2 feature layers for 1 weights"):
    losses.perceptual(a, b, (1.0,))


def test_perceptual_pairs_layers_by_name():
  a = {"one": jnp.ones((1, 1, 1, 1)), "two": jnp.full((1, 1, 1, 1), 5.0)}
  b = dict(reversed(list({k: jnp.zeros_like(v) for k, v in a.items()}.items())))
  np.testing.assert_allclose(losses.perceptual(a, b, (1.0, 0.1)), [1.5])


def test_relativistic_discriminator_by_hand():
  # real: (1 + 1 - 1)^2 = 1, (3 + 1 - 1)^2 = 9; fake: (0 - 2 + 1)^2 = 1, (-2 - 2 + 1)^2 = 9.
  found = losses.relativistic_discriminator(REAL, FAKE, REAL_MEAN, FAKE_MEAN)
  np.testing.assert_allclose(found, [[2.0], [18.0]])


def test_relativistic_generator_by_hand():
  # real: (1 + 1 + 1)^2 = 9, (3 + 1 + 1)^2 = 25; fake: (0 - 2 - 1)^2 = 9, (-2 - 2 - 1)^2 = 25.
  found = losses.relativistic_generator(REAL, FAKE, REAL_MEAN, FAKE_MEAN)
  np.testing.assert_allclose(found, [[18.0], [50.0]])


def test_relativistic_targets():
  # real: (1 + 1 - 0.5)^2 = 2.25, (3 + 1 - 0.5)^2 = 12.25; fake: (0 - 2)^2 = 4, (-2 - 2)^2 = 16.
  found = losses.relativistic_discriminator(REAL, FAKE, REAL_MEAN, FAKE_MEAN, 0.5, 0.0)
  np.testing.assert_allclose(found, [[6.25], [28.25]])
  # Exchanged: real: 4, 16; fake: (0 - 2 - 0.5)^2 = 6.25, (-2 - 2 - 0.5)^2 = 20.25.
  found = losses.relativistic_generator(REAL, FAKE, REAL_MEAN, FAKE_MEAN, 0.5, 0.0)
  np.testing.assert_allclose(found, [[10.25], [36.25]])


def test_each_player_gains_by_its_own_aim():
  """The discriminator wants real above generated, the generator the reverse."""

  def slope(loss, which):
    def total(real, fake):
      return loss(real, fake, real.mean(), fake.mean()).mean()

    return jax.grad(total, which)(REAL, jnp.array(REAL))  # equal scores

  assert (slope(losses.relativistic_discriminator, 0) < 0).all()
  assert (slope(losses.relativistic_discriminator, 1) > 0).all()
  assert (slope(losses.relativistic_generator, 0) > 0).all()
  assert (slope(losses.relativistic_generator, 1) < 0).all()


def test_perfect_discriminator_has_no_loss():
  """Real scores all 1 above generated ones: both differences are on target."""
  real, fake = jnp.full((3, 2), 0.75), jnp.full((3, 2), -0.25)
  loss = losses.relativistic_discriminator(real, fake, real.mean(), fake.mean())
  np.testing.assert_allclose(loss, 0, atol=1e-12)


def test_literal_equation_seven_by_hand():
  # L^G: (1 + 1 - 1)^2 + (0 - 2)^2 = 5, (3 + 1 - 1)^2 + (-2 - 2)^2 = 25.
  found = losses.literal_generator(REAL, FAKE, REAL_MEAN, FAKE_MEAN)
  np.testing.assert_allclose(found, [[5.0], [25.0]])
  # L^D: (0 - 2 - 1)^2 = 9, (-2 - 2 - 1)^2 = 25.
  np.testing.assert_allclose(losses.literal_discriminator(FAKE, REAL_MEAN), [[9.0], [25.0]])


def test_scores_of_another_shape_are_refused():
  with pytest.raises(ValueError, match="expected one shape"):
    losses.relativistic_discriminator(REAL, FAKE[:1], REAL_MEAN, FAKE_MEAN)
