"""Colourfulness by hand, and against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data

from scs_jax.metrics import color

both = jax.jit(lambda rgb: (color.colorfulness_hs(rgb), color.colorfulness_hs_abs(rgb)))


def by_numpy(rgb, absolute):
  red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
  rg, yb = red - green, (red + green) / 2 - blue
  if absolute:
    rg, yb = abs(rg), abs(yb)
  spread = (rg.std() ** 2 + yb.std() ** 2) ** 0.5
  return spread + 0.3 * (rg.mean() ** 2 + yb.mean() ** 2) ** 0.5


def test_by_hand():
  """Two pixels, (255, 0, 0) and (0, 255, 0): rg = 255, -255; yb = 127.5 twice."""
  rgb = jnp.array([[[[1.0, 0, 0], [0, 1, 0]]]])
  # As it is: sigma = 255, mu = |yb| = 127.5. Absolute: rg = 255 twice, sigma 0, mu = 285.1.
  plain, absolute = both(rgb)
  np.testing.assert_allclose(plain, [255 + 0.3 * 127.5], rtol=1e-6)
  np.testing.assert_allclose(absolute, [0.3 * np.hypot(255, 127.5)], rtol=1e-6)


def test_a_constant_color_has_only_its_mean():
  """(102, 51, 0): rg = 51, yb = 76.5, no deviation."""
  rgb = jnp.broadcast_to(jnp.array([0.4, 0.2, 0.0]), (1, 5, 4, 3))
  for found in both(rgb):
    np.testing.assert_allclose(found, [0.3 * np.hypot(51, 76.5)], rtol=1e-5)


def test_photographs_equal_numpy_one_by_one():
  photos = [skimage.data.astronaut()[::8, 2:482:6], skimage.data.coffee()[:64, :80],
            skimage.data.chelsea()[100:164, 100:180]]  # fmt: skip
  plain, absolute = both(np.stack(photos) / np.float32(255))
  for i, photo in enumerate(photos):
    assert plain[i] == pytest.approx(by_numpy(photo, False), rel=1e-4)
    assert absolute[i] == pytest.approx(by_numpy(photo, True), rel=1e-4)
  assert abs(plain[0] - absolute[0]) > 1  # two variants indeed


def test_gray_has_none_and_other_pixels_do_not_matter():
  levels = np.random.default_rng(0).random((1, 9, 7, 1), np.float32)
  gray = np.repeat(levels, 3, axis=-1)
  rng = np.random.default_rng(1)
  photo = rng.random((1, 9, 7, 3), np.float32)
  shuffled = rng.permutation(photo.reshape(-1, 3)).reshape(photo.shape)
  # With LLVM's optimizations, which the tests leave out: they fuse products into sums.
  optimized = both.lower(gray).compile(compiler_options={"xla_backend_optimization_level": 3})
  for found, other, mixed in zip(optimized(gray), both(photo), both(shuffled), strict=True):
    assert float(found[0]) == 0.0
    np.testing.assert_allclose(other, mixed, rtol=1e-5)


def test_bad_shapes_are_refused():
  for function in (color.colorfulness_hs, color.colorfulness_hs_abs):
    with pytest.raises(ValueError, match="3 channel"):
      function(jnp.zeros((2, 4, 4, 1)))
    with pytest.raises(ValueError, match="H, W, 3"):
      function(jnp.zeros((4, 3)))
