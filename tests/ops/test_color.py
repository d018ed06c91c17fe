"""Colour spaces against scikit-image, published constants and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import color as reference

from scs_jax.ops import color

lightness = jax.jit(color.lightness)
gray_to_lightness = jax.jit(color.gray_to_lightness)
lightness_to_gray = jax.jit(color.lightness_to_gray)
to_lab = jax.jit(color.rgb_to_lab)
to_rgb = jax.jit(color.lab_to_rgb)
compress = jax.jit(color.compress_chroma)


@pytest.fixture(scope="module")
def cube() -> np.ndarray:
  """52^3 colours of 8 bits, the corners, edges and the gray diagonal of the cube among them."""
  levels = np.arange(0, 256, 5) / 255
  return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)


def test_lab_equals_scikit_image_over_the_cube(cube):
  lab = to_lab(cube.astype(np.float32))
  assert lab.dtype == jnp.float32
  np.testing.assert_allclose(lab, reference.rgb2lab(cube), atol=1e-3, rtol=0)


def test_lab_equals_scikit_image_in_the_dark(cube):
  """The linear parts of both curves, which the coarse cube hardly visits."""
  dark = cube * 0.08
  np.testing.assert_allclose(
    to_lab(dark.astype(np.float32)), reference.rgb2lab(dark), atol=1e-3, rtol=0
  )


def test_rgb_from_lab_equals_scikit_image_inside_the_gamut(cube):
  lab = reference.rgb2lab(cube)
  rgb = to_rgb(lab.astype(np.float32))
  np.testing.assert_allclose(rgb, reference.lab2rgb(lab), atol=1e-4, rtol=0)
  np.testing.assert_allclose(rgb, cube, atol=1e-4, rtol=0)


def test_lab_range_constants(cube):
  lab = np.asarray(to_lab(cube.astype(np.float32)))
  assert lab[..., 0].min() >= 0
  assert lab[..., 0].max() <= color.L_MAX + 1e-4
  assert 100 < np.abs(lab[..., 1:]).max() < color.AB_MAX


def test_lab_round_trip_outside_the_gamut():
  """The odd continuation is invertible everywhere, so nothing is lost before clipping."""
  lab = np.random.default_rng(0).uniform([0, -110, -110], [100, 110, 110], (4096, 3))
  lab = lab.astype(np.float32)
  rgb = to_rgb(lab)
  assert (np.asarray(rgb) < -0.1).any()
  assert (np.asarray(rgb) > 1.1).any()
  np.testing.assert_allclose(to_lab(rgb), lab, atol=5e-3, rtol=0)


def test_transfer_curve_is_odd_and_invertible():
  x = np.linspace(-1.5, 1.5, 3001, dtype=np.float32)
  to_linear = jax.jit(color.srgb_to_linear)
  linear = to_linear(x)
  np.testing.assert_array_equal(linear, -to_linear(-x))
  np.testing.assert_allclose(jax.jit(color.linear_to_srgb)(linear), x, atol=1e-6)
  assert (np.diff(np.asarray(linear)) > 0).all()
  # IEC 61966-2-1 by hand: 0.5 -> ((0.5 + 0.055) / 1.055)^2.4.
  np.testing.assert_allclose(np.asarray(linear)[2000], 0.21404114, rtol=1e-6)


def test_lightness_agrees_with_lab_and_with_the_gray_level():
  gray = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
  rgb = np.random.default_rng(1).uniform(size=(256, 3)).astype(np.float32)
  np.testing.assert_allclose(lightness(rgb), to_lab(rgb)[:, :1], atol=1e-4)
  from_gray = gray_to_lightness(gray)
  np.testing.assert_allclose(from_gray, lightness(np.repeat(gray, 3, -1)), atol=1e-4)
  np.testing.assert_allclose(lightness_to_gray(from_gray), gray, atol=1e-5)
  # The CIE's middle gray: Y = 0.18418652 is L = 50, sRGB 0.46633; black 0, white 100.
  np.testing.assert_allclose(lightness_to_gray(jnp.array([50.0])), [0.46633], atol=1e-5)
  np.testing.assert_allclose(from_gray[jnp.array([0, -1])], [[0.0], [100.0]], atol=1e-4)


def test_normalized_lab_by_hand():
  lab = np.array([[0, -110, 110], [100, 0, 55], [50, 11, -22]], np.float32)
  expected = np.array([[-1, -1, 1], [1, 0, 0.5], [0, 0.1, -0.2]], np.float32)
  np.testing.assert_allclose(color.normalize_lab(lab), expected, atol=1e-6)
  np.testing.assert_allclose(color.denormalize_lab(expected), lab, atol=1e-4)


def test_ycbcr_is_full_range_bt601(cube):
  rgb = cube[::3, ::3, ::3].astype(np.float32)
  r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
  y = 0.299 * r + 0.587 * g + 0.114 * b
  expected = np.stack([y, (b - y) / 1.772 + 0.5, (r - y) / 1.402 + 0.5], axis=-1)
  ycbcr = color.rgb_to_ycbcr(rgb)
  np.testing.assert_allclose(ycbcr, expected, atol=1e-6)
  assert np.asarray(ycbcr).min() > -1e-6
  assert np.asarray(ycbcr).max() < 1 + 1e-6
  np.testing.assert_allclose(color.ycbcr_to_rgb(ycbcr), rgb, atol=2e-6)
  # JFIF, 8 bits, by hand: pure red is (76.245, 127.5 - 43.028, 255).
  red = color.rgb_to_ycbcr(jnp.array([1.0, 0.0, 0.0])) * 255
  np.testing.assert_allclose(red, [76.245, 84.472, 255.0], atol=2e-3)


def test_clip_gamut():
  rgb = jnp.array([-0.5, 0.0, 0.25, 1.0, 3.0])
  np.testing.assert_array_equal(color.clip_gamut(rgb), [0, 0, 0.25, 1, 1])
  gradient = jax.grad(lambda x: color.clip_gamut(x).sum())(rgb)
  np.testing.assert_array_equal(gradient, [0, 1, 1, 1, 0])


def test_compress_chroma_leaves_the_gamut_alone(cube):
  lab = np.asarray(to_lab(cube[::3, ::3, ::3].astype(np.float32)))
  np.testing.assert_allclose(compress(lab), lab, atol=1e-4)
  neutral = np.stack([np.linspace(0, 100, 11), np.zeros(11), np.zeros(11)], -1).astype(np.float32)
  np.testing.assert_array_equal(compress(neutral), neutral)


def test_compress_chroma_keeps_lightness_and_hue():
  lab = np.random.default_rng(2).uniform([1, -110, -110], [99, 110, 110], (4096, 3))
  lab = lab.astype(np.float32)
  inside = np.asarray(compress(lab))
  rgb = np.asarray(to_rgb(inside))
  assert rgb.min() > -1e-4
  assert rgb.max() < 1 + 1e-4
  np.testing.assert_array_equal(inside[:, 0], lab[:, 0])
  cross = inside[:, 1] * lab[:, 2] - inside[:, 2] * lab[:, 1]
  np.testing.assert_allclose(cross, 0, atol=1e-2)
  before, after = np.hypot(*lab[:, 1:].T), np.hypot(*inside[:, 1:].T)
  assert (after <= before + 1e-4).all()
  # The largest chroma that fits: a little more leaves the gamut.
  moved = after < before - 0.1
  assert 0.2 < moved.mean() < 0.95
  beyond = inside[moved].copy()
  beyond[:, 1:] *= (1 + 0.05 / np.maximum(after[moved], 0.05))[:, None]
  rgb = np.asarray(to_rgb(beyond))
  assert ((rgb < 0) | (rgb > 1)).any(axis=1).all()


def test_compress_chroma_clips_lightness():
  out = compress(jnp.array([[-20.0, 30.0, 0.0], [130.0, 0.0, 30.0]]))
  np.testing.assert_allclose(out, [[0, 0, 0], [100, 0, 0]], atol=0.02)


def test_bfloat16_is_computed_in_float32(cube):
  rgb = jnp.asarray(cube[::7, ::7, ::7], jnp.bfloat16)
  lab = to_lab(rgb)
  assert lab.dtype == jnp.float32
  exact = reference.rgb2lab(np.asarray(rgb, np.float64))
  np.testing.assert_allclose(lab, exact, atol=1e-3, rtol=0)


def test_wrong_channels_are_refused():
  for function in (color.rgb_to_lab, color.lab_to_rgb, color.rgb_to_ycbcr, color.lightness):
    with pytest.raises(ValueError, match="3 channel"):
      function(jnp.zeros((2, 4, 4, 1)))
  with pytest.raises(ValueError, match="1 channel"):
    color.gray_to_lightness(jnp.zeros((2, 4, 4, 3)))
