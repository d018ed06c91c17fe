"""Chroma along the edges of L, and colours of a given L inside sRGB."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy import ndimage
from skimage import color as reference

from scs_jax.errors import UserError
from scs_jax.infer import guided, luminance

RED, BLUE = (45.0, 35.0), (5.0, -40.0)
WEIGHTS = (0.212671, 0.715160, 0.072169)
COMPILES = "/jax/core/compile/jaxpr_to_mlir_module_duration"  # once for each new program


def resize(ab: np.ndarray, size: tuple[int, int], method) -> np.ndarray:
  """Pillow's interpolation of [h, w, 2] to (P, Q): half-pixel centres, edges repeated."""
  planes = [Image.fromarray(np.ascontiguousarray(ab[..., i])) for i in range(2)]
  return np.stack([np.asarray(p.resize(size[::-1], method)) for p in planes], axis=-1)


def block_means(x: np.ndarray, by: int) -> np.ndarray:
  return x.reshape(x.shape[0] // by, by, x.shape[1] // by, by, -1).mean((1, 3), dtype=np.float32)


def errors(ab: np.ndarray, true: np.ndarray) -> np.ndarray:
  return np.sqrt(((ab - true) ** 2).sum(-1))


def draw(seed: int, *shape: int, low=-60.0, high=60.0) -> np.ndarray:
  return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def linear(levels: np.ndarray) -> np.ndarray:
  """IEC 61966-2-1 of levels in 0 .. 255; the straight part goes on below 0."""
  x = levels / 255
  return np.where(x <= 0.04045, x / 12.92, ((np.maximum(x, 0.04) + 0.055) / 1.055) ** 2.4)


def luminances(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Lowest and highest luminance of what rounds to these bytes, a 50th of a level allowed."""
  rgb = rgb.astype(np.float64)
  return linear(rgb - 0.52) @ np.array(WEIGHTS), linear(rgb + 0.52) @ np.array(WEIGHTS)


def luminance_of(lightness: np.ndarray) -> np.ndarray:
  """CIE 15: L to Y / Yn."""
  lightness = lightness.astype(np.float64)
  return np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * (3 / 29) ** 3)


def assert_luminance_kept(rgb: np.ndarray, wanted: np.ndarray) -> None:
  """Some colour that rounds to `rgb` has the luminance `wanted`: no more can be asked of bytes."""
  low, high = luminances(rgb)
  assert (low <= wanted).all()
  assert (wanted <= high).all()


# The filter


@pytest.mark.parametrize("shift", [0, 3, 4, -2])
def test_an_edge_of_lightness_parts_the_colors(shift):
  """Red at L = 30 beside blue at L = 80, eight times: whether or not the edge halves a pixel."""
  lightness = np.full((48, 64), 30, np.float32)
  lightness[:, 32 + shift :] = 80
  true = np.where((lightness == 30)[..., None], RED, BLUE).astype(np.float32)
  low, ab = block_means(lightness, 8)[..., 0], block_means(true, 8)
  away = np.abs(np.arange(64) + 0.5 - (32 + shift)) > 1
  for guide in (low, None):
    error = errors(guided.enlarge_chroma(ab, guide, lightness), true)
    assert error[:, away].max() < 2.0
  assert errors(resize(ab, (48, 64), Image.Resampling.BILINEAR), true)[:, away].max() > 20.0


@pytest.mark.parametrize("by", [2, 4, 8])
@pytest.mark.parametrize(("name", "left"), [("astronaut", 128), ("coffee", 160)])
def test_photographs_come_nearer_than_with_interpolation(name, left, by):
  """True chroma reduced and enlarged: squared error over all pixels, and around chroma's edges.

  The margins are what was measured, rounded up: bilinear 0.59 to 0.82 and 0.52 to 0.78.
  """
  photo = getattr(skimage.data, name)()[:256, left : left + 256]
  lab = reference.rgb2lab(photo).astype(np.float32)
  lightness, true = lab[..., 0], lab[..., 1:]
  ab = block_means(true, by)
  slope = np.hypot(*(ndimage.gaussian_gradient_magnitude(true[..., i], 1) for i in range(2)))
  edges = ndimage.binary_dilation(slope > np.quantile(slope, 0.97), iterations=max(1, by // 2))
  squares = errors(guided.enlarge_chroma(ab, None, lightness), true) ** 2
  for method, part in ((Image.NEAREST, 0.8), (Image.BILINEAR, 0.85), (Image.BICUBIC, 0.97)):
    other = errors(resize(ab, lightness.shape, method), true) ** 2
    assert squares.mean() < part * other.mean()
    assert squares[edges].mean() < part * other[edges].mean()


@pytest.mark.parametrize("size", [(31, 50), (5, 23), (12, 7), (6, 7)])
def test_flat_lightness_is_bilinear_interpolation(size):
  ab = draw(0, 5, 7, 2)
  enlarged = guided.enlarge_chroma(ab, draw(1, 5, 7, low=0, high=100), np.full(size, 40.0))
  # Where low_L differs from a flat L there is something to explain, so: flat at both sizes.
  flat = guided.enlarge_chroma(ab, np.full((5, 7), 40.0), np.full(size, 40.0))
  np.testing.assert_allclose(flat, resize(ab, size, Image.Resampling.BILINEAR), atol=2e-4)
  assert not np.allclose(enlarged, flat, atol=1.0)


def test_pixels_are_areas():
  """Two pixels to three: centres at 1/6, 1/2, 5/6 of the axis, those of the two at 1/4 and 3/4."""
  ab = np.array([[[0.0, -3.0], [6.0, 9.0]]], np.float32)
  enlarged = guided.enlarge_chroma(ab, None, np.full((1, 3), 50.0, np.float32))
  np.testing.assert_allclose(enlarged, [[[0, -3], [3, 3], [6, 9]]], atol=1e-6)


def test_the_slope_by_hand():
  """One row of L 40, 60 and a 0, 10 doubled, L by 2 units beyond its interpolation at pixel 1.

  Columns repeat at the borders, rows too: in both windows of 3 columns the one value has the weight
  r = e / (1 + 2 e) of the far neighbour, e = exp(-1 / (2 SIGMA^2)), and 1 - r for the other.
  var = r (1 - r) 20^2, cov = r (1 - r) 20 * 10.
  """
  e = np.exp(-0.5 / guided.SIGMA**2)
  r = e / (1 + 2 * e)
  slope = r * (1 - r) * 200 / (r * (1 - r) * 400 + guided.EPSILON)
  low = np.array([[40.0, 60.0]], np.float32)
  lightness = np.array([[40.0, 47.0, 55.0, 60.0]], np.float32)  # interpolated: 40, 45, 55, 60
  ab = np.array([[[0.0, 0.0], [10.0, 0.0]]], np.float32)
  enlarged = guided.enlarge_chroma(ab, low, lightness)
  np.testing.assert_allclose(enlarged[0, :, 0], [0, 2.5 + 2 * slope, 7.5, 10], atol=1e-4)
  np.testing.assert_array_equal(enlarged[..., 1], 0)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 2), (37, 41), (4, 5)])
@pytest.mark.parametrize("small", [(1, 1), (4, 5), (1, 6)])
def test_constant_chroma_stays_exactly_constant(small, size):
  value = np.array([17.3, -0.1], np.float32)
  ab = np.broadcast_to(value, (*small, 2))
  lightness = draw(2, *size, low=0, high=100)
  enlarged = guided.enlarge_chroma(ab, draw(3, *small, low=0, high=100), lightness)
  assert enlarged.shape == (*size, 2)
  np.testing.assert_array_equal(enlarged, np.broadcast_to(value, (*size, 2)))


def test_no_chroma_that_was_not_around():
  """Against extremes of a wider window, by SciPy: two low-resolution pixels to each side."""
  ab, lightness = draw(4, 9, 11, 2), draw(5, 72, 55, low=0, high=100)
  enlarged = guided.enlarge_chroma(ab, draw(6, 9, 11, low=0, high=100), lightness)
  repeat = lambda x: np.repeat(np.repeat(x, 8, axis=0), 5, axis=1)
  low = repeat(ndimage.minimum_filter(ab, (5, 5, 1), mode="nearest"))
  high = repeat(ndimage.maximum_filter(ab, (5, 5, 1), mode="nearest"))
  assert (enlarged >= low - 1e-4).all()
  assert (enlarged <= high + 1e-4).all()
  assert np.ptp(enlarged) > 100  # and yet not all the same


def test_equal_sizes_give_the_chroma_back():
  ab, lightness = draw(7, 6, 9, 2), draw(8, 6, 9, low=0, high=100)
  np.testing.assert_array_equal(guided.enlarge_chroma(ab, lightness[::-1], lightness), ab)


def test_smaller_axes_are_averaged_by_area():
  """Each pixel cut into equal parts, so that borders fall between parts: their plain means."""
  x = draw(9, 5, 7)
  parts = np.repeat(np.repeat(x, 3, axis=0), 4, axis=1)
  expected = parts.reshape(3, 5, 4, 7).mean((1, 3))
  np.testing.assert_allclose(guided.average(x, (3, 4)), expected, atol=1e-5)
  ab = np.stack([x, -x], axis=-1)
  reduced = guided.enlarge_chroma(ab, None, np.full((3, 4), 50.0))
  np.testing.assert_allclose(reduced, np.stack([expected, -expected], axis=-1), atol=1e-5)


@pytest.mark.parametrize("size", [(24, 5), (3, 40)])
def test_one_axis_smaller_and_one_larger(size):
  """On flat L: the mean by area along one, Pillow's interpolation along the other."""
  ab = draw(10, 6, 10, 2)
  small = (min(6, size[0]), min(10, size[1]))
  means = ab.reshape(small[0], 6 // small[0], small[1], 10 // small[1], 2).mean((1, 3))
  enlarged = guided.enlarge_chroma(ab, None, np.full(size, 70.0))
  expected = resize(means, size, Image.Resampling.BILINEAR)
  np.testing.assert_allclose(enlarged, expected, atol=2e-4)


def test_strips_do_not_show(monkeypatch):
  ab, lightness = draw(11, 20, 13, 2), draw(12, 67, 50, low=0, high=100)
  whole = guided.enlarge_chroma(ab, None, lightness)
  monkeypatch.setattr(guided, "_STRIP", 150)
  np.testing.assert_array_equal(guided.enlarge_chroma(ab, None, lightness), whole)


@pytest.mark.parametrize(
  ("ab", "low", "lightness"), [((2, 2), None, (4, 4)), ((2, 2, 2), (2, 3), (4, 4))]
)
def test_shapes_that_do_not_go_together(ab, low, lightness):
  low = None if low is None else np.zeros(low)
  with pytest.raises(ValueError, match="expected"):
    guided.enlarge_chroma(np.zeros(ab), low, np.zeros(lightness))


# Colours of a given lightness


@pytest.fixture(scope="module")
def extremes() -> tuple[np.ndarray, np.ndarray]:
  """L from black to white in steps of 1/2 against ab of every hue up to far outside sRGB."""
  angles = np.deg2rad(np.arange(0, 360, 15))
  chroma = np.array([0.01, 1, 10, 30, 60, 100, 180])
  ab = (chroma[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], -1)).reshape(-1, 2)
  lightness = np.linspace(0, 100, 201)
  shape = (len(lightness), len(ab))
  lightness = np.broadcast_to(lightness[:, None], shape).astype(np.float32)
  return lightness, np.broadcast_to(ab, (*shape, 2)).astype(np.float32)


def test_lightness_is_kept_with_any_chroma(extremes):
  rgb = luminance.to_rgb(*extremes)
  assert rgb.dtype == np.uint8
  assert_luminance_kept(rgb, luminance_of(extremes[0]))


def test_chroma_is_reduced_at_its_hue(extremes):
  """By scikit-image, where rounding to bytes leaves a hue to speak of; and no further than sRGB."""
  lightness, ab = extremes
  rgb = luminance.to_rgb(lightness, ab)
  lab = reference.rgb2lab(rgb)
  chroma, wanted = np.hypot(lab[..., 1], lab[..., 2]), np.hypot(ab[..., 0], ab[..., 1])
  off = (lab[..., 1] * ab[..., 1] - lab[..., 2] * ab[..., 0]) / wanted  # away from the ray
  clear = (lightness >= 20) & (lightness <= 95)
  assert np.abs(off[clear]).max() < 1.5
  assert (chroma - wanted)[clear].max() < 1.5
  reduced = clear & (wanted - chroma > 2)
  assert reduced.sum() > 1000
  at_border = (rgb.min(-1) == 0) | (rgb.max(-1) == 255)
  assert at_border[reduced].all()


def test_colors_inside_srgb_are_left_alone():
  steps = np.arange(0, 256, 15, dtype=np.uint8)
  rgb = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(18 * 18, 18, 3)
  lab = reference.rgb2lab(rgb).astype(np.float32)
  np.testing.assert_array_equal(luminance.to_rgb(lab[..., 0], lab[..., 1:]), rgb)


def test_every_gray_level_is_itself():
  gray = np.arange(256, dtype=np.float32).reshape(16, 16) / 255
  expected = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=-1)
  lightness = reference.rgb2lab(expected)[..., 0]
  np.testing.assert_array_equal(luminance.to_rgb(lightness, np.zeros((16, 16, 2))), expected)
  neutral = np.full((5, 3, 3), 0.37, np.float32)
  np.testing.assert_array_equal(luminance.keep_luminance(gray, neutral), expected)
  loud = draw(13, 5, 3, 3, low=0, high=1)
  np.testing.assert_array_equal(luminance.keep_luminance(gray, loud, 0.0), expected)


def test_neutral_pixels_are_neutral_at_all_levels():
  """Finer than bytes, and more pixels than one call of the program takes."""
  gray = np.linspace(0, 1, 140000, dtype=np.float32).reshape(280, 500)
  neutral = np.repeat(draw(19, 300, 250, 1, low=0, high=1), 3, axis=-1)
  wanted = linear(255 * gray.astype(np.float64))
  for rgb in (
    luminance.keep_luminance(gray, neutral),
    luminance.saturate(np.repeat(gray[..., None], 3, axis=-1), 1.7),
  ):
    assert (rgb == rgb[..., :1]).all()
    assert_luminance_kept(rgb, wanted)


def test_sixteen_bits_keep_the_luminance_of_sixteen_bits():
  """Every level of a 16-bit picture, gray and under colours: to one of a channel's 65,535 levels.

  At sRGB's border, where chroma is reduced by bisection, to three (a hundredth of a byte's level).
  """
  gray = np.arange(65536).reshape(256, 256)
  neutral = np.full((4, 4, 3), 0.4, np.float32)
  found = luminance.keep_luminance((gray / 65535).astype(np.float32), neutral, depth=16)
  assert found.dtype == np.uint16
  assert np.abs(found.astype(int) - gray[..., None]).max() <= 1
  loud = draw(21, 9, 9, 3, low=0, high=1)
  found = luminance.keep_luminance((gray / 65535).astype(np.float32), loud, depth=16)
  border = (found.max(-1) == 65535) | (found.min(-1) == 0)
  most = np.where(border, 3.0, 1.0)[..., None]
  low, high = (linear((found + part) / 257.0) @ np.array(WEIGHTS) for part in (-most, most))
  wanted = linear(gray / 257.0)
  assert (low <= wanted).all() and (wanted <= high).all() and (~border).mean() > 0.3
  assert np.ptp(found.astype(int), axis=-1).mean() > 2000  # in colour
  luma = (gray / 65535).astype(np.float32)
  found = luminance.keep_luma(luma, loud, depth=16) @ np.array([0.299, 0.587, 0.114])
  assert np.abs(found - gray).max() <= 1.0


@pytest.mark.parametrize("small", [(1, 1), (8, 6), (32, 32), (64, 40), (90, 70)])
def test_no_detail_of_the_original_is_lost(small):
  """A photograph and noise down to single pixels, under colours of any size and saturation."""
  gray = skimage.data.camera()[100:164, 200:264].astype(np.float32) / 255
  gray[:16] = draw(14, 16, 64, low=0, high=1)
  rgb = luminance.keep_luminance(gray, draw(15, *small, 3, low=-0.1, high=1.1), 1.5)
  assert rgb.shape == (64, 64, 3)
  assert_luminance_kept(rgb, linear(255 * gray.astype(np.float64)))
  assert np.ptp(rgb.astype(int), axis=-1).mean() > 10  # in colour


def test_the_networks_lightness_does_not_matter():
  """The same ab at a lightness that varies otherwise: equal but for how float32 holds them."""
  gray = draw(16, 24, 24, low=0.3, high=0.7)
  ab = draw(17, 6, 6, 2, low=-8, high=8)
  one, other = (
    luminance.keep_luminance(gray, reference.lab2rgb(np.dstack([lightness, ab])))
    for lightness in (draw(20, 6, 6, low=40, high=80), np.full((6, 6), 60.0))
  )
  assert np.abs(one.astype(int) - other).max() <= 1


def test_saturation_scales_chroma():
  gray = np.full((4, 6), 0.5, np.float32)
  rgb = np.full((2, 3, 3), (0.52, 0.48, 0.45), np.float32)
  ab = reference.rgb2lab(rgb)[0, 0, 1:]
  for factor in (0.5, 1.0, 3.0):
    lab = reference.rgb2lab(luminance.keep_luminance(gray, rgb, factor))
    np.testing.assert_allclose(lab[..., 1:], np.broadcast_to(factor * ab, (4, 6, 2)), atol=0.6)
    mapped = reference.rgb2lab(luminance.saturate(rgb, factor))
    expected = np.array([reference.rgb2lab(rgb)[0, 0, 0], *(factor * ab)])
    np.testing.assert_allclose(mapped, np.broadcast_to(expected, (2, 3, 3)), atol=0.6)


def test_saturation_one_only_rounds():
  levels = np.array([[[-3.0, 0.0, 0.49], [0.51, 127.5, 254.49], [254.51, 255.0, 300.0]]])
  rounded = luminance.saturate((levels / 255).astype(np.float32), 1.0)
  np.testing.assert_array_equal(rounded, [[[0, 0, 0], [1, 128, 254], [255, 255, 255]]])


def test_saturation_keeps_luminance_and_zero_makes_gray():
  rgb = draw(18, 20, 20, 3, low=0, high=1)
  wanted = linear(255 * rgb.astype(np.float64)) @ np.array(WEIGHTS)
  for factor in (0.0, 0.4, 4.0):
    assert_luminance_kept(luminance.saturate(rgb, factor), wanted)
  gray = luminance.saturate(rgb, 0.0)
  assert (gray == gray[..., :1]).all()


@pytest.mark.parametrize("bad", [-0.1, 4.1, float("nan"), float("inf"), "2", None, 10**400])
def test_saturation_out_of_range(bad):
  gray, rgb = np.zeros((2, 2), np.float32), np.zeros((2, 2, 3), np.float32)
  for call in (
    lambda: luminance.saturate(rgb, bad),
    lambda: luminance.keep_luminance(gray, rgb, bad),
    lambda: luminance.to_rgb(gray, rgb[..., :2], bad),
  ):
    with pytest.raises(UserError, match="saturation: expected a number from 0"):
      call()


def test_wrong_shapes():
  with pytest.raises(ValueError, match="rgb: expected"):
    luminance.saturate(np.zeros((2, 2)), 2.0)
  with pytest.raises(ValueError, match="gray: expected"):
    luminance.keep_luminance(np.zeros((2, 2, 1)), np.zeros((2, 2, 3)))
  with pytest.raises(ValueError, match="lightness and ab: expected"):
    luminance.to_rgb(np.zeros((2, 2)), np.zeros((2, 3, 2)))


def test_one_program_for_all_sizes():
  """By the program's own count, and by jax's: nothing else compiles for a new size either."""
  luminance.saturate(np.zeros((1, 1, 3)), 2.0)  # compiled now, if it was not
  compiled = []

  def listen(event: str, seconds: float, **_) -> None:
    if event == COMPILES:
      compiled.append(seconds)

  jax.monitoring.register_event_duration_secs_listener(listen)
  try:
    for seed, size in enumerate([(1, 1), (3, 7), (33, 20), (300, 301), (1, 70000)]):
      rgb = draw(seed, 5, 4, 3, low=0, high=1)
      luminance.keep_luminance(draw(seed, *size, low=0, high=1), rgb, 1.0 + seed / 10)
      luminance.saturate(draw(seed, *size, 3, low=0, high=1), 0.5)
    assert compiled == []
    assert luminance.programs() <= 4  # of L and of Y, at each depth
    jax.jit(lambda x: x * 3.25)(jnp.zeros(11))  # the listener does listen
    assert compiled
  finally:
    jax.monitoring.unregister_event_duration_listener(listen)
