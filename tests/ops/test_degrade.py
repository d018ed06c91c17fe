"""The way from a picture to its low-resolution version, against a direct loop over pixels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.ops import degrade as module
from scs_jax.ops.degrade import degrade, degrade_region, to_eight_bits
from scs_jax.ops.resize import resize_weights


def _keys(x):
  """Keys 1981 with a = -1/2, from the definition."""
  a, x = -0.5, abs(x)
  if x <= 1:
    return (a + 2) * x**3 - (a + 3) * x**2 + 1
  if x < 2:
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
  return 0.0


def _shrink_row(values, out_size):
  """imresize of one row of numbers, [in] -> [out], tap by tap."""
  in_size = len(values)
  scale = in_size / out_size
  wide = max(scale, 1.0)
  found = []
  for i in range(out_size):
    centre = (i + 0.5) * scale - 0.5
    total = mixed = 0.0
    for tap in range(math.floor(centre - 2 * wide), math.ceil(centre + 2 * wide) + 1):
      weight = _keys((centre - tap) / wide)
      mirrored = tap
      while not 0 <= mirrored < in_size:  # symmetric reflection, edge repeated
        mirrored = -1 - mirrored if mirrored < 0 else 2 * in_size - 1 - mirrored
      total += weight
      mixed += weight * values[mirrored]
    found.append(mixed / total)
  return np.array(found)


def _expected(image, size):
  """float64 [h, w, C] before rounding."""
  image = np.asarray(image, np.float64)
  rows = np.apply_along_axis(_shrink_row, 0, image, size[0])
  return np.apply_along_axis(_shrink_row, 1, rows, size[1])


@pytest.fixture(scope="module")
def images():
  return np.random.default_rng(0).integers(0, 256, (2, 13, 17, 3)).astype(np.float32) / 255


def test_to_eight_bits_by_hand():
  x = jnp.array([-0.2, 0.0, 0.001, 0.00197, 0.5, 0.9999, 1.3])
  np.testing.assert_allclose(to_eight_bits(x) * 255, [0, 0, 0, 1, 128, 255, 255], atol=1e-4)


@pytest.mark.parametrize("size", [(6, 5), (1, 1), (3, 17)])
def test_degrade_equals_a_loop_over_pixels(images, size):
  found = np.asarray(degrade(images, size)) * 255
  exact = np.clip(np.stack([_expected(image, size) for image in images]), 0, 1) * 255
  np.testing.assert_allclose(found, np.round(found), atol=1e-3)  # on the 256 levels
  np.testing.assert_allclose(found, exact, atol=0.5 + 1e-3)  # and the nearest of them


def test_degrade_keeps_constants_and_own_size(images):
  for level in (0.0, 1.0, 128 / 255):
    flat = jnp.full((1, 12, 12, 3), level)
    np.testing.assert_allclose(degrade(flat, (5, 3)), level, atol=1e-6)
  np.testing.assert_allclose(degrade(images, (13, 17)), images, atol=1e-6)


@pytest.mark.parametrize(("full", "size"), [(28, 8), (15, 5)])
def test_traced_weights_equal_the_static_ones(full, size):
  weights = jax.jit(lambda span: module._shrink_weights(full, span, size))
  for span in range(size, full + 1):
    found = np.asarray(weights(span))
    assert (found[:, span:] == 0).all()
    np.testing.assert_allclose(found[:, :span], resize_weights(span, size), atol=2e-6)
  assert weights._cache_size() == 1


def test_region_equals_the_cropped_picture():
  size = 8
  images = np.random.default_rng(1).integers(0, 256, (2, 28, 28, 3)).astype(np.float32) / 255
  region = jax.jit(lambda x, span: degrade_region(x, span, size))
  whole = jax.jit(lambda x: degrade(x, (size, size)))
  different = 0
  for span in (8, 9, 19, 28):
    found = np.asarray(region(images, span))
    expected = np.asarray(whole(images[:, :span, :span]))
    # Rounding of a sum in another order may tip a value that lies between two levels.
    np.testing.assert_allclose(found, expected, atol=1 / 255 + 1e-6)
    different += int((np.abs(found - expected) > 1e-6).sum())
    exact = np.stack([_expected(x[:span, :span], (size, size)) for x in images])
    np.testing.assert_allclose(found, np.clip(exact, 0, 1), atol=0.5 / 255 + 1e-5)
  assert different <= 2  # of 1536
  assert region._cache_size() == 1


def test_what_lies_beyond_the_region_has_no_influence():
  x = np.random.default_rng(2).uniform(size=(1, 20, 20, 3)).astype(np.float32)
  region = jax.jit(lambda x: degrade_region(x, 13, 5))
  expected = region(x)
  x[:, 13:], x[:, :, 13:] = 9.0, -9.0
  np.testing.assert_array_equal(region(x), expected)
