"""SSIM against scikit-image, by hand on constants, and as a loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.metrics import structural_similarity

from scs_jax.ops.ssim import ssim, ssim_map

STYLES = {
  "gaussian": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
  "uniform": {},
}
programs = {
  window: jax.jit(lambda a, b, window=window: ssim(a, b, window=window)) for window in STYLES
}


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
  """Noisy, smooth, dimmed, saturated, constant and identical pairs, [6, 40, 33, 3] in [0, 1]."""
  rng = np.random.default_rng(0)
  y, x = np.mgrid[0:40, 0:33] / 40
  smooth = np.stack([y, x, 0.5 + 0.5 * np.sin(9 * x * y)], axis=-1)
  noise = rng.uniform(size=smooth.shape)
  a = np.stack([noise, smooth, smooth, smooth > 0.5, 0 * smooth + 0.4, smooth])
  b = np.stack(
    [rng.uniform(size=smooth.shape), smooth + 0.1 * noise, 0.7 * smooth, noise, noise, smooth]
  )
  return a.astype(np.float32), np.clip(b, 0, 1).astype(np.float32)


@pytest.mark.parametrize("window", STYLES)
def test_equals_scikit_image(pairs, window):
  values = programs[window](*pairs)
  assert values.shape == (6,)
  expected = [
    structural_similarity(
      a.astype(np.float64), b.astype(np.float64), data_range=1.0, channel_axis=-1, **STYLES[window]
    )
    for a, b in zip(*pairs, strict=True)
  ]
  np.testing.assert_allclose(values, expected, atol=1e-5)
  np.testing.assert_allclose(values[-1], 1, atol=1e-6)


def test_other_settings_equal_scikit_image(pairs):
  a, b = 255 * pairs[0][1], 255 * pairs[1][1]
  value = ssim(a, b, 255.0, "gaussian", sigma=1.0, sample_covariance=True, k1=0.02, k2=0.05)
  expected = structural_similarity(
    a.astype(np.float64), b.astype(np.float64), data_range=255, channel_axis=-1,
    gaussian_weights=True, sigma=1.0, use_sample_covariance=True, K1=0.02, K2=0.05,
  )  # fmt: skip
  np.testing.assert_allclose(value, expected, atol=1e-5)
  value = ssim(a, b, 255.0, "uniform", window_size=11)
  expected = structural_similarity(
    a.astype(np.float64), b.astype(np.float64), data_range=255, channel_axis=-1, win_size=11
  )
  np.testing.assert_allclose(value, expected, atol=1e-5)


def test_map_is_scikit_images_inside(pairs):
  a, b = pairs[0][1], pairs[1][1]
  _, full = structural_similarity(
    a.astype(np.float64), b.astype(np.float64), data_range=1, channel_axis=-1, full=True
  )
  np.testing.assert_allclose(ssim_map(a, b, window="uniform"), full[3:-3, 3:-3], atol=5e-5)


def test_constants_by_hand():
  """Without structure only the first factor is left: (2 m n + C1) / (m^2 + n^2 + C1)."""
  a, b = np.full((40, 33, 3), 0.2, np.float32), np.full((40, 33, 3), 0.6, np.float32)
  expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
  np.testing.assert_allclose(programs["gaussian"](a, b), expected, atol=5e-6)
  np.testing.assert_allclose(programs["uniform"](a, b), expected, atol=5e-6)
  np.testing.assert_allclose(ssim(a, b, data_range=2.0), (0.24 + 4e-4) / (0.4 + 4e-4), atol=1e-5)


def test_wide_images_are_blocked_alike():
  """Wide enough for blocked products; scikit-image knows no blocks."""
  rng = np.random.default_rng(1)
  a = rng.uniform(size=(150, 12, 1)).astype(np.float32)
  b = np.clip(a + 0.2 * rng.normal(size=a.shape), 0, 1).astype(np.float32)
  wide = (image.astype(np.float64) for image in (a, b))
  expected = structural_similarity(*wide, data_range=1.0, channel_axis=-1, **STYLES["gaussian"])
  np.testing.assert_allclose(ssim(a, b), expected, atol=1e-5)


def test_gradient_is_finite_and_leads_back():
  """At equal images the gradient vanishes; elsewhere a step along it raises the similarity."""
  value_and_gradient = jax.jit(jax.vmap(jax.value_and_grad(ssim)))
  rng = np.random.default_rng(2)
  image = rng.uniform(size=(16, 16, 3))
  zero, one, middle = (np.full(image.shape, value) for value in (0.0, 1.0, 0.5))
  a = np.stack([image, zero, one, middle, zero, middle, image]).astype(np.float32)
  b = np.stack([image, zero, one, middle, one, image, image[::-1]]).astype(np.float32)
  value, gradient = value_and_gradient(a, b)
  assert np.isfinite(gradient).all()
  np.testing.assert_allclose(value[:4], 1, atol=1e-6)
  np.testing.assert_allclose(gradient[:4], 0, atol=1e-4)
  moved, _ = value_and_gradient(jnp.asarray(a) + 0.5 * gradient, b)
  assert (np.asarray(moved - value)[4:] > 0).all()


def test_bad_arguments_are_refused():
  a = jnp.zeros((16, 16, 3))
  with pytest.raises(ValueError, match="one shape"):
    ssim(a, a[None])
  with pytest.raises(ValueError, match="11 pixels a side"):
    ssim(a[:10], a[:10])
  with pytest.raises(ValueError, match="window"):
    ssim(a, a, window="box")
  with pytest.raises(ValueError, match="odd"):
    ssim(a, a, window_size=8)
  with pytest.raises(ValueError, match="data_range"):
    ssim(a, a, data_range=0.0)
