"""Reinhard's transfer against NumPy written from the paper; gray and flat pictures; gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.ops import transfer


def pictures(seed, *shape):
  rng = np.random.default_rng(seed)
  return (0.1 + 0.7 * rng.random(shape) ** 2).astype(np.float32)


def reinhard(source, target):
  """Equations 1 to 11 of the paper for one picture, float64."""
  to_lms = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])

  def lab(rgb):
    l, m, s = np.log10(np.moveaxis(rgb.astype(np.float64) @ to_lms.T, -1, 0))
    return (l + m + s) / np.sqrt(3), (l + m - 2 * s) / np.sqrt(6), (l - m) / np.sqrt(2)

  moved = [
    (a - a.mean()) * b.std() / a.std() + b.mean()
    for a, b in zip(lab(source), lab(target), strict=True)
  ]
  x, y, z = moved[0] / np.sqrt(3), moved[1] / np.sqrt(6), moved[2] / np.sqrt(2)
  log_lms = np.stack([x + y + z, x + y - z, x - 2 * y], -1)
  return np.linalg.solve(to_lms, (10**log_lms)[..., None])[..., 0]


def test_equals_the_paper_in_numpy():
  source, target = pictures(0, 2, 9, 7, 3), pictures(1, 2, 6, 11, 3) * [1.0, 0.7, 0.4]
  found = jax.jit(transfer.transfer_color)(source, target)
  want = [reinhard(a, b) for a, b in zip(source, target, strict=True)]
  np.testing.assert_allclose(found, want, atol=2e-4)


def test_space_by_hand():
  """White: LMS are the rows' sums. And there is a way back."""
  lms = np.log10([0.9996, 0.9993, 0.9973])
  want = [lms.sum() / 3**0.5, (lms[0] + lms[1] - 2 * lms[2]) / 6**0.5, (lms[0] - lms[1]) / 2**0.5]
  np.testing.assert_allclose(transfer.rgb_to_lalphabeta(jnp.ones(3)), want, atol=1e-6)
  rgb = pictures(2, 5, 4, 3)
  np.testing.assert_allclose(
    transfer.lalphabeta_to_rgb(transfer.rgb_to_lalphabeta(rgb)), rgb, atol=1e-5
  )


def test_onto_itself_changes_nothing():
  rgb = pictures(3, 1, 8, 8, 3)
  np.testing.assert_allclose(transfer.transfer_color(rgb, rgb), rgb, atol=1e-5)


def test_a_gray_picture_takes_one_tint():
  """Its alpha and beta do not vary: they become the reference's means, whatever rounding says."""
  gray = np.repeat(pictures(4, 1, 8, 8, 1), 3, -1)
  target = pictures(5, 1, 8, 8, 3) * np.float32([1.0, 0.6, 0.3])
  lab = np.asarray(transfer.rgb_to_lalphabeta(transfer.transfer_color(gray, target)))
  want = np.asarray(transfer.rgb_to_lalphabeta(target)).mean((1, 2))
  np.testing.assert_allclose(lab[..., 1:].std((1, 2)), 0, atol=1e-4)
  np.testing.assert_allclose(lab.mean((1, 2)), want, atol=1e-4)


def test_moments_by_hand():
  """(1, 3) has mean 2 and deviation 1; (10, 30): 20 and 10. Channels and pictures apart."""
  x = np.array([1.0, 3.0, 0.0, 0.0]).reshape(2, 2, 1, 1)
  like = np.array([10.0, 30.0, 4.0, 8.0]).reshape(2, 2, 1, 1)
  found = transfer.match_moments(np.concatenate([x, like], -1), np.concatenate([like, x], -1))
  np.testing.assert_allclose(found[0, :, 0], [[10, 1], [30, 3]], rtol=1e-6)
  np.testing.assert_allclose(found[1, :, 0], [[6, 0], [6, 0]], atol=2e-4)


_SLOPES = [
  jax.jit(jax.grad(lambda x, y, of=of: (of(x, y) ** 2).sum(), argnums=(0, 1)))
  for of in (transfer.match_moments, transfer.transfer_color)
]


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_gradients_are_finite_on_flat_pictures(level):
  flat = jnp.full((1, 4, 4, 3), level)
  other = jnp.asarray(pictures(6, 1, 4, 4, 3))
  for a, b in ((flat, other), (other, flat), (flat, flat)):
    for slopes in _SLOPES:
      assert all(np.isfinite(g).all() for g in slopes(a, b))


def test_bad_arguments_are_refused():
  with pytest.raises(ValueError, match="4 dimensions"):
    transfer.match_moments(jnp.zeros((4, 4, 1)), jnp.zeros((1, 4, 4, 1)))
  with pytest.raises(ValueError, match="as many pictures"):
    transfer.match_moments(jnp.zeros((1, 4, 4, 1)), jnp.zeros((2, 4, 4, 1)))
  with pytest.raises(ValueError, match="3 channel"):
    transfer.transfer_color(jnp.zeros((1, 4, 4, 1)), jnp.zeros((1, 4, 4, 3)))
