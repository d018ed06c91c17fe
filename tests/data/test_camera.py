"""Colour stereo as two cameras would have shot it, against numbers worked out by hand."""

import numpy as np
import pytest
from scipy import ndimage

from scs_jax.core import config
from scs_jax.data.camera import Camera, CameraPair, Shot, from_section, luma
from scs_jax.errors import UserError
from scs_jax.ops import color

RNG = np.random.default_rng(5)
MONO, COLOR = RNG.integers(0, 256, (2, 12, 16, 3), dtype=np.uint8)


def fixed(**values) -> Camera:
  return Camera(**{name: (value, value) for name, value in values.items()})


def ycbcr(picture):
  return np.asarray(color.rgb_to_ycbcr(picture.astype(np.float32) / 255))


def linear(srgb):
  return np.asarray(color.srgb_to_linear(np.asarray(srgb, np.float32)), np.float64)


def test_luma_is_bt601_and_exact_for_gray():
  np.testing.assert_array_equal(
    luma(np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)),
    [76, 150, 29, 18])  # fmt: skip
  gray = np.arange(256, dtype=np.uint8)
  np.testing.assert_array_equal(luma(np.stack([gray] * 3, -1)), gray)


def test_cameras_that_change_nothing_change_nothing():
  mono, reference, truth = CameraPair().shoot("a", MONO, COLOR, True)
  np.testing.assert_array_equal(mono[..., 0], luma(MONO))
  np.testing.assert_array_equal(reference, COLOR)
  np.testing.assert_array_equal(truth, MONO)
  assert CameraPair().shoot("a", MONO, COLOR, False)[2] is None


def test_exposure_is_in_stops_of_light():
  light = linear([0.1, 0.3, 0.5])
  shot = Shot(exposure=1.0)(np.array([[0.1, 0.3, 0.5]]))
  np.testing.assert_allclose(linear(shot[0]), 2 * light, rtol=1e-5)
  assert Shot(exposure=8.0)(np.array([[0.9]])) == pytest.approx(1.0)  # saturates


def test_response_curve_by_hand():
  # 0.5 ** 2 = 0.25; the S-curve of 0.25 is 3 / 16 - 2 / 64 = 0.15625; half of each.
  np.testing.assert_allclose(
    Shot(gamma=2.0, contrast=0.5)(np.array([[0.5]])), [[0.5 * 0.25 + 0.5 * 0.15625]], rtol=1e-12)
  levels = np.linspace(0, 1, 256)[None]
  for contrast in (-1.0, -0.4, 0.7, 1.0):
    curve = Shot(gamma=0.8, contrast=contrast)(levels)[0]
    assert (np.diff(curve) >= 0).all() and curve[0] == 0 and curve[-1] == pytest.approx(1)


def test_blur_is_gaussian_in_linear_light_and_mixes_no_channels():
  picture = RNG.random((20, 24, 3))
  expected = np.stack([ndimage.gaussian_filter(linear(picture[..., c]), 1.5, mode="nearest")
                       for c in range(3)], -1)  # fmt: skip
  np.testing.assert_allclose(linear(Shot(blur=1.5)(picture)), expected, atol=1e-6)


@pytest.mark.parametrize(("shot", "read"), [(0.02, 0.0), (0.0, 0.01), (0.02, 0.01)])
def test_noise_has_the_variance_that_is_said(shot, read):
  level = 0.6
  noisy = Shot(shot=shot, read=read)(np.full((400, 400), level), np.random.default_rng(0))
  light = linear(level)
  assert np.var(linear(noisy)) == pytest.approx(shot**2 * light + read**2, rel=0.02)
  assert np.mean(linear(noisy)) == pytest.approx(light, abs=2e-4)


def test_truth_has_the_luma_of_the_mono_camera_and_the_chroma_of_the_colour_camera():
  picture = RNG.integers(100, 130, (12, 16, 3), dtype=np.uint8)  # nothing leaves the gamut
  mono_camera = fixed(exposure=0.3, blur=1.0, shot=0.02, read=0.01, contrast=0.2)
  color_camera = fixed(exposure=-0.4, gamma=1.1, blur=1.0, shot=0.02)
  pair = CameraPair(mono_camera, color_camera)
  truth = ycbcr(pair.shoot("x", picture, picture, True)[2])
  clean = CameraPair(fixed(exposure=0.3, contrast=0.2), fixed(exposure=-0.4, gamma=1.1))
  gray, seen, same = clean.shoot("x", picture, picture, True)
  np.testing.assert_allclose(truth[..., 0] * 255, gray[..., 0], atol=1.01)
  np.testing.assert_allclose(truth[..., 1:], ycbcr(seen)[..., 1:], atol=1.01 / 255)
  # Neither blur nor noise is in it.
  np.testing.assert_allclose(truth, ycbcr(same), atol=1e-6)


def test_another_exposure_of_the_view_lends_its_luma():
  tone = (MONO // 3).astype(np.uint8)
  mono, _, truth = CameraPair().shoot("x", MONO // 2 + 60, COLOR, True, tone)
  np.testing.assert_array_equal(mono[..., 0], luma(tone))
  inside = (truth > 0).all(-1) & (truth < 255).all(-1)
  assert inside.any()
  np.testing.assert_allclose(
    ycbcr(truth)[inside], np.concatenate(
      [mono[inside] / 255, ycbcr(MONO // 2 + 60)[inside][:, 1:]], -1), atol=1.01 / 255)  # fmt: skip


def test_a_pair_looks_the_same_each_time_and_no_other_does():
  noisy = Camera(exposure=(-1.0, 1.0), shot=(0.01, 0.05))
  shoot = lambda name, seed=0, truth=False: CameraPair(noisy, noisy, seed).shoot(
    name, MONO, COLOR, truth)  # fmt: skip
  once, again, evaluated = shoot("a"), shoot("a"), shoot("a", truth=True)
  for k in (0, 1):
    np.testing.assert_array_equal(once[k], again[k])
    np.testing.assert_array_equal(once[k], evaluated[k])  # asking for the truth moves nothing
    assert (once[k] != shoot("b")[k]).any() and (once[k] != shoot("a", 1)[k]).any()


def test_drawn_numbers_are_spread_over_their_range():
  pair = CameraPair(Camera(exposure=(-2.0, 1.0)), Camera(blur=(0.5, 0.5)))
  drawn = [pair.shots(str(i)) for i in range(300)]
  exposures = np.array([mono.exposure for mono, _, _ in drawn])
  assert -2.0 <= exposures.min() < -1.9 and 0.9 < exposures.max() <= 1.0
  assert exposures.mean() == pytest.approx(-0.5, abs=0.15)
  assert all(other.blur == 0.5 for _, other, _ in drawn)


@pytest.mark.parametrize(
  "values",
  [
    {"exposure": (1.0, 0.0)},
    {"gamma": (0.0, 1.0)},
    {"gamma": (float("nan"), 1.0)},
    {"contrast": (0.0, 1.5)},
    {"blur": (-1.0, 0.0)},
    {"shot": (0.0,)},
    {"read": (0.0, 1e9)},
  ],
)
def test_nonsense_is_refused(values):
  with pytest.raises(UserError, match=f"data.camera: {next(iter(values))} is .*expected"):
    Camera(**values)


def test_the_section_of_a_config():
  config.load("common")
  from scs_jax.configs import common

  section = common.pairs_data().camera
  assert from_section(section, 7) is None
  section.enabled = True
  section.mono.exposure = (0.25, 0.5)
  pair = from_section(section, 7)
  assert pair.seed == 7 and pair.mono.exposure == (0.25, 0.5)
  assert pair.color.blur == section.color.blur
