"""Elastic distortion against SciPy and the statistics that the paper's strength asks for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from scs_jax.ops import warp

displace = jax.jit(warp.elastic_displacement, static_argnames=("shape", "sigma"))
warp_bilinear = jax.jit(warp.warp_bilinear)


def test_warp_equals_scipy_with_clamped_borders():
  rng = np.random.default_rng(0)
  image = rng.uniform(size=(12, 9, 2))
  displacement = rng.normal(scale=4, size=(12, 9, 2))
  position = np.stack(np.meshgrid(np.arange(12), np.arange(9), indexing="ij"))
  position = position + np.moveaxis(displacement, -1, 0)
  expected = np.stack(
    [ndimage.map_coordinates(image[..., c], position, order=1, mode="nearest") for c in range(2)],
    axis=-1,
  )
  out = warp_bilinear(image.astype(np.float32), displacement.astype(np.float32))
  np.testing.assert_allclose(out, expected, atol=2e-6)


def test_warp_by_whole_pixels_moves_the_image():
  image = np.random.default_rng(1).uniform(size=(12, 9, 2)).astype(np.float32)
  np.testing.assert_array_equal(warp_bilinear(image, np.zeros((12, 9, 2), np.float32)), image)
  shift = np.broadcast_to(np.array([2, -1], np.float32), (12, 9, 2))
  out = np.asarray(warp_bilinear(image, shift))
  np.testing.assert_array_equal(out[:-2, 1:], image[2:, :-1])
  np.testing.assert_array_equal(out[-2:, 1:], np.repeat(image[-1:, :-1], 2, axis=0))
  far = np.asarray(warp_bilinear(image, np.full((12, 9, 2), 1e6, np.float32)))
  np.testing.assert_array_equal(far, np.broadcast_to(image[-1, -1], image.shape))


def test_displacement_is_blurred_uniform_noise():
  """Equal to SciPy's Gaussian filter of the same noise, inside a margin that no border reaches."""
  key, sigma, alpha = jax.random.key(3), 1.5, 8.0
  radius = 6  # four standard deviations
  noise = jax.random.uniform(key, (20 + 2 * radius, 14 + 2 * radius, 2), minval=-1, maxval=1)
  expected = alpha * ndimage.gaussian_filter(np.asarray(noise, np.float64), (sigma, sigma, 0))
  inside = expected[radius:-radius, radius:-radius]
  np.testing.assert_allclose(displace(key, (20, 14), alpha, sigma), inside, atol=1e-5)


def test_strength_at_128_is_four_pixels_rms():
  alpha, sigma = warp.default_elastic(128)
  assert (alpha, sigma) == (256.0, 10.24)
  keys = jax.random.split(jax.random.key(0), 24)
  field = jax.jit(
    jax.vmap(lambda key: warp.elastic_displacement(key, (128, 128), alpha, sigma))
  )(keys)
  assert field.shape == (24, 128, 128, 2)
  # White noise of variance 1/3 under a Gaussian of energy 1 / (4 pi sigma^2).
  predicted = alpha / (2 * np.sqrt(3 * np.pi) * sigma)
  np.testing.assert_allclose(predicted, 4.07, atol=0.01)
  field = np.asarray(field)
  np.testing.assert_allclose(np.sqrt(np.mean(field**2)), predicted, rtol=0.05)
  np.testing.assert_allclose(np.mean(field), 0, atol=0.3)
  # As strong at the border as inside, in both directions.
  for axis in (0, 1):
    np.testing.assert_allclose(np.sqrt(np.mean(field[..., axis] ** 2)), predicted, rtol=0.1)
  border = np.concatenate([field[:, :4].ravel(), field[:, :, -4:].ravel()])
  np.testing.assert_allclose(np.sqrt(np.mean(border**2)), predicted, rtol=0.15)


def test_default_strength_keeps_its_relative_size():
  alpha, sigma = warp.default_elastic(32)
  np.testing.assert_allclose([alpha, sigma], [16.0, 2.56])
  small = alpha / sigma / 32
  alpha, sigma = warp.default_elastic(128)
  np.testing.assert_allclose(alpha / sigma / 128, small)
  with pytest.raises(ValueError, match="size"):
    warp.default_elastic(0)


def test_distortion_is_a_function_of_the_key_and_stays_in_range():
  image = jnp.asarray(np.random.default_rng(2).uniform(size=(32, 24, 3)), jnp.float32)
  distort = jax.jit(lambda key, image: warp.elastic_distortion(key, image, 16.0, 2.56))
  first, again = distort(jax.random.key(5), image), distort(jax.random.key(5), image)
  other = distort(jax.random.key(6), image)
  np.testing.assert_array_equal(first, again)
  assert np.abs(np.asarray(first - other)).max() > 0.05
  assert image.min() <= first.min() <= first.max() <= image.max()
  field = displace(jax.random.key(5), (32, 24), 16.0, 2.56)
  np.testing.assert_allclose(first, warp_bilinear(image, field), atol=1e-6)


def test_gradient_of_the_displacement_is_the_slope_of_the_image():
  ramp = jnp.broadcast_to(2.0 * jnp.arange(8.0)[:, None, None], (8, 6, 1))
  field = jnp.full((8, 6, 2), 0.25)
  gradient = jax.jit(jax.grad(lambda d: warp.warp_bilinear(ramp, d).sum()))(field)
  np.testing.assert_allclose(gradient[:7, ..., 0], 2.0, rtol=1e-6)
  np.testing.assert_allclose(gradient[..., 1], 0.0, atol=1e-6)
  np.testing.assert_allclose(gradient[7, :, 0], 0.0, atol=1e-6)  # clamped


def test_bad_arguments_are_refused():
  image = jnp.zeros((6, 5, 3))
  with pytest.raises(ValueError, match="3 dimensions"):
    warp.warp_bilinear(image[None], jnp.zeros((6, 5, 2)))
  with pytest.raises(ValueError, match="2 channel"):
    warp.warp_bilinear(image, jnp.zeros((6, 5, 3)))
  with pytest.raises(ValueError, match="one shape"):
    warp.warp_bilinear(image, jnp.zeros((5, 6, 2)))
  with pytest.raises(ValueError, match="sigma"):
    warp.elastic_displacement(jax.random.key(0), (4, 4), 1.0, 0.0)
