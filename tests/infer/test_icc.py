"""Colour profiles are applied as ICC.1 says, or ignored with a remark."""

import io
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage import data

from scs_jax.infer import icc, pictures

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import handmade
from small_picture import ALPHA, PIXELS, encoded, linear, srgb, srgb_of_lab_d50


def test_swapped_primaries_are_swapped_back():
  profile = handmade.rgb_profile(red=handmade.GREEN, green=handmade.RED)
  for form in ("PNG", "TIFF", "WEBP"):
    options = {"lossless": True} if form == "WEBP" else {}
    picture = pictures.read(encoded(Image.fromarray(PIXELS), form, icc_profile=profile, **options))
    assert np.abs(picture.rgb[0, :2].astype(int) - [[0, 255, 0], [255, 0, 0]]).max() <= 1
    assert picture.remarks == ()
  # Also below alpha, and of a palette.
  both = Image.fromarray(np.dstack([PIXELS, ALPHA]))
  picture = pictures.read(encoded(both, icc_profile=profile))
  assert np.abs(picture.rgb[0, 0].astype(int) - [0, 255, 0]).max() <= 1
  np.testing.assert_array_equal(picture.alpha, ALPHA)
  indexed = Image.fromarray(PIXELS).convert("P", palette=Image.Palette.ADAPTIVE)
  picture = pictures.read(encoded(indexed, icc_profile=profile))
  assert np.abs(picture.rgb[0, 0].astype(int) - [0, 255, 0]).max() <= 1


def test_gamma_of_a_profile():
  rgb = data.astronaut()[:40, 100:160]
  profile = handmade.rgb_profile(tone=handmade.curve(1.8))
  picture = pictures.read(encoded(Image.fromarray(rgb), icc_profile=profile))
  # sRGB's own primaries: the curves alone are exchanged, channel by channel.
  expected = srgb((rgb / 255) ** (round(1.8 * 256) / 256)) * 255
  assert np.abs(picture.rgb - expected).max() <= 1.5
  assert np.abs(picture.rgb.astype(int) - rgb).max() > 10


def test_an_srgb_profile_changes_nothing():
  steps = np.arange(0, 256, 15, dtype=np.uint8)
  rgb = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(18, -1, 3)
  # As makers ship it: the curve as a table, the primaries rounded another way.
  made = handmade.rgb_profile(red=(0.4361, 0.2225, 0.0139), blue=(0.1431, 0.0606, 0.7141),
                              tone=handmade.curve(*linear(np.linspace(0, 1, 300))))  # fmt: skip
  target = ImageCms.createProfile("sRGB")
  source = ImageCms.ImageCmsProfile(io.BytesIO(made))
  moved = np.asarray(ImageCms.profileToProfile(Image.fromarray(rgb), source, target))
  assert np.abs(moved.astype(int) - rgb).max() == 1  # what would be lost
  for profile in (made, ImageCms.ImageCmsProfile(target).tobytes()):
    picture = pictures.read(encoded(Image.fromarray(rgb), icc_profile=profile))
    np.testing.assert_array_equal(picture.rgb, rgb)
    assert picture.remarks == ()


RAMP = np.linspace(0, 1, 256)
TONES = [  # a gray tone curve, and the luminance that ICC.1's tables say it means
  (handmade.curve(), RAMP),
  (handmade.curve(1.8), RAMP ** (461 / 256)),
  (handmade.curve(0.0, 0.1, 0.4, 1.0), np.interp(RAMP, [0, 1 / 3, 2 / 3, 1], [0, 0.1, 0.4, 1])),
  # Black-point compensation: what is darkest becomes black.
  (handmade.curve(0.05, 0.3, 1.0), (np.interp(RAMP, [0, 0.5, 1], [0.05, 0.3, 1]) - 0.05) / 0.95),
  (handmade.parametric(0, 2.0), RAMP**2),
  (handmade.parametric(1, 2.0, 0.75, 0.25), (0.75 * RAMP + 0.25) ** 2 / 0.9375 - 0.0625 / 0.9375),
  (handmade.parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045), linear(RAMP)),
  (handmade.parametric(2, 2.0, 0.9, 0.05, 0.0975), ((0.9 * RAMP + 0.05) ** 2 - 0.0025) / 0.9),
  (handmade.parametric(4, 2.0, 0.4, 0.5, 1.0, 0.5, 0.19, 0.18),
   (np.where(RAMP >= 0.5, (0.4 * RAMP + 0.5) ** 2 + 0.19, RAMP + 0.18) - 0.18) / 0.82),
]  # fmt: skip


@pytest.mark.parametrize(("tone", "luminance"), TONES, ids=map(str, range(len(TONES))))
def test_gray_profiles(tone, luminance):
  values = np.arange(256, dtype=np.uint8).reshape(16, 16)
  profile = handmade.gray_profile(tone)
  picture = pictures.read(encoded(Image.fromarray(values), icc_profile=profile))
  np.testing.assert_allclose(picture.gray.reshape(-1), srgb(luminance), atol=2e-4)
  assert picture.remarks == ()
  # The same by LittleCMS, which is coarse in the shadows.
  source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
  seen = ImageCms.profileToProfile(
    Image.fromarray(values), source, ImageCms.createProfile("sRGB"),
    renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC, outputMode="RGB",
    flags=ImageCms.Flags.BLACKPOINTCOMPENSATION)  # fmt: skip
  seen = np.asarray(seen)[..., 1].reshape(-1)
  assert np.abs(picture.gray.reshape(-1) * 255 - seen)[48:].max() < 2.5


def test_gray_profile_at_sixteen_bits():
  values = np.array([[0, 1000, 1001, 40000, 65535]], np.uint16)
  profile = handmade.gray_profile(handmade.parametric(0, 1.5))
  picture = pictures.read(encoded(Image.fromarray(values), "TIFF", icc_profile=profile))
  np.testing.assert_allclose(picture.gray, srgb((values / 65535) ** 1.5), atol=2e-6)


def test_cmyk_profile():
  corners = np.zeros((2, 2, 2, 2, 3))
  corners[..., 0] = 10.0
  corners[..., 1, :] = 0.0
  corners[0, 0, 0, 0] = 100, 0, 0
  corners[1, 0, 0, 0] = 60, -20, -30
  corners[0, 1, 0, 0] = 50, 40, 0
  profile = handmade.cmyk_profile(corners)
  inks = np.array([[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 0, 255]]], np.uint8)
  picture = pictures.read(encoded(Image.fromarray(inks, "CMYK"), "TIFF", icc_profile=profile))
  lab = np.array([[[100, 0, 0], [60, -20, -30], [50, 40, 0], [0, 0, 0]]], float)
  assert np.abs(picture.rgb - srgb_of_lab_d50(lab) * 255).max() <= 2.5
  assert picture.remarks == ()


@pytest.mark.parametrize(("mode", "profile", "cause"), [
  ("RGB", handmade.rgb_profile()[:200], "broken"),
  ("RGB", b"no profile at all" * 9, "of unknown colours"),
  ("RGB", b"x", "of unknown colours"),
  ("RGB", handmade.gray_profile(handmade.curve()), "of gray colours, the picture is RGB"),
  ("L", handmade.rgb_profile(), "of RGB colours, the picture is gray"),
  ("L", handmade.gray_profile(handmade.curve())[:140], "broken"),
  ("L", handmade.gray_profile(b"curv\0\0\0\0\xff\xff\xff\xff"), "broken"),
  ("L", handmade.gray_profile(handmade.parametric(7, 1.0)[:12]), "broken"),
  ("L", handmade.gray_profile(handmade.curve(0.5, 0.5)), "no range of grays"),
  ("L", handmade.profile(b"GRAY", {}), "no kTRC tag"),
  ("CMYK", handmade.rgb_profile(), "of RGB colours, the picture is CMYK"),
], ids=map(str, range(11)))  # fmt: skip
def test_a_profile_that_cannot_be_applied_is_ignored_and_it_says_so(mode, profile, cause):
  image = Image.fromarray(PIXELS).convert(mode)
  picture = pictures.read(encoded(image, "TIFF", icc_profile=profile))
  plain = pictures.read(encoded(image, "TIFF"))
  np.testing.assert_array_equal(picture.gray, plain.gray)
  assert len(picture.remarks) == 1 and cause in picture.remarks[0]


def test_noise_in_a_profile_never_fails():
  rng = np.random.default_rng(0)
  for whole in (handmade.gray_profile(handmade.curve(0, 0.2, 1)), handmade.rgb_profile()):
    image = Image.fromarray(PIXELS).convert("L" if whole[16:20] == b"GRAY" else "RGB")
    for _ in range(60):
      noisy = bytearray(whole)
      for at in rng.integers(20, len(whole), 4):
        noisy[at] = rng.integers(0, 256)
      image.info["icc_profile"] = bytes(noisy)
      assert np.isfinite(pictures.read(image).gray).all()


def test_which_colours_a_profile_speaks_of():
  assert icc.space(handmade.rgb_profile()) == "RGB" and icc.space(b"") == "unknown"
