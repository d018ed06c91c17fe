"""Every mode, depth, orientation and kind of transparency is read right."""

import colorsys
import io
import pathlib
import struct
import sys

import numpy as np
import PIL
import pytest
from PIL import Image
from skimage import color, data

from scs_jax.data.decode import DecodeError
from scs_jax.infer import pictures

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import handmade
from small_picture import ALPHA, PIXELS, encoded, linear, srgb, srgb_of_lab_d50

# Older ones read no YCbCr TIFF.
PILLOW_13 = int(PIL.__version__.split(".")[0]) >= 13

# Gray and colour


def test_gray_of_colours_has_their_lightness():
  rgb = data.astronaut()[:64, 100:200]
  picture = pictures.read(encoded(Image.fromarray(rgb)))
  np.testing.assert_array_equal(picture.rgb, rgb)
  assert picture.gray.dtype == np.float32 and picture.alpha is None and picture.format == "PNG"
  neutral = np.repeat(picture.gray[..., None].astype(np.float64), 3, -1)
  np.testing.assert_allclose(
    color.rgb2lab(neutral)[..., 0], color.rgb2lab(rgb)[..., 0], atol=2e-3)
  # By hand: red alone has the luminance 0.212671, white 1, black 0.
  gray = pictures.read(PIXELS).gray
  assert gray[0, 0] == pytest.approx(1.055 * 0.212671 ** (1 / 2.4) - 0.055, abs=1e-6)
  assert gray[1, 2] == pytest.approx(1.0, abs=1e-6)
  assert pictures.read(np.zeros((1, 1, 3), np.uint8)).gray == 0.0


@pytest.mark.parametrize(("image", "form"), [
  (Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)), "PNG"),
  (Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB"), "PNG"),
  (Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)), "TIFF"),
])
def test_neutral_levels_keep_their_number(image, form):
  picture = pictures.read(encoded(image, form))
  assert (picture.rgb is None) == (image.mode == "L")
  np.testing.assert_allclose(picture.gray.reshape(-1), np.arange(256) / 255, atol=1e-6)


def test_one_bit():
  image = Image.fromarray(np.array([[0, 255, 255], [255, 0, 0]], np.uint8)).convert("1")
  for form in ("PNG", "TIFF", "BMP"):
    np.testing.assert_array_equal(pictures.read(encoded(image, form)).gray, [[0, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_gray_keeps_its_precision(form):
  values = np.array([[0, 1, 65535], [32768, 300, 40001]], np.uint16)
  picture = pictures.read(encoded(Image.fromarray(values), form))
  np.testing.assert_allclose(picture.gray, values / 65535, rtol=1e-6)
  assert picture.rgb is None and picture.alpha is None


def test_deep_gray_in_every_mode_and_byte_order():
  values = np.array([[0, 513], [65535, 40001]])
  for mode, order in (("I;16", "<u2"), ("I;16B", ">u2"), ("I", "i4")):
    image = Image.frombytes(mode, (2, 2), values.astype(order).tobytes())
    np.testing.assert_allclose(pictures.read(image).gray, values / 65535, rtol=1e-6)
  for big, order in ((False, "<u2"), (True, ">u2")):
    file = handmade.tiff((2, 2), values.astype(order).tobytes(), (16,), 1, big_endian=big)
    np.testing.assert_allclose(pictures.read(file).gray, values / 65535, rtol=1e-6)
  # Photometric 0: white is zero.
  file = handmade.tiff((2, 2), values.astype("<u2").tobytes(), (16,), 0)
  np.testing.assert_allclose(pictures.read(file).gray, 1 - values / 65535, atol=1e-6)
  # 12 bits: 0xFFF is white, 0x010 is 16 / 4095.
  file = handmade.tiff((2, 1), bytes([0xFF, 0xF0, 0x10]), (12,), 1)
  np.testing.assert_allclose(pictures.read(file).gray, [[1, 16 / 4095]], rtol=1e-6)


def test_float_pictures_and_ranges_without_meaning():
  values = np.array([[0.0, 0.123456, 1.0]], np.float32)
  for file in (encoded(Image.fromarray(values), "TIFF"), Image.fromarray(values)):
    np.testing.assert_array_equal(pictures.read(file).gray, values)
  for odd in (np.array([[0.0, 255.0]], np.float32), np.array([[np.nan]], np.float32),
              np.array([[-1]], np.int32), np.array([[70000]], np.int32)):  # fmt: skip
    with pytest.raises(DecodeError, match=r"^mine: values from .* convert it to 8 bits"):
      pictures.read(encoded(Image.fromarray(odd), "TIFF"), "mine")


def test_sixteen_bit_colour_is_rounded_and_its_luminance_kept():
  samples = np.array([[[0x1234, 0xFFFF, 0x8000, 0x40FF]]])
  picture = pictures.read(handmade.png(samples, 6, 16))
  # Divided by 257: 18.1, 255, 127.5; alpha 64.7.
  np.testing.assert_array_equal(picture.rgb, [[[18, 255, 128]]])
  np.testing.assert_array_equal(picture.alpha, [[65]])
  light = linear(samples[0, 0, :3] / 65535) @ [0.212671, 0.715160, 0.072169]
  assert picture.gray[0, 0] == pytest.approx(srgb(light), abs=2e-6) and picture.depth == 16
  picture = pictures.read(handmade.png(samples[..., :2], 4, 16))
  assert picture.gray[0, 0] == pytest.approx(0x1234 / 65535) and picture.alpha is None


def test_interlaced_png():
  rgb = data.astronaut()[:11, :13]
  np.testing.assert_array_equal(pictures.read(handmade.png(rgb, 2, 8, interlaced=True)).rgb, rgb)


def test_cmyk_without_profile():
  inks = np.array([[[255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 0], [51, 102, 0, 128]]], np.uint8)
  expected = np.rint((255.0 - inks[..., :3]) * (255.0 - inks[..., 3:]) / 255)
  image = Image.fromarray(inks, "CMYK")
  for file in (image, encoded(image, "TIFF")):
    assert np.abs(pictures.read(file).rgb - expected).max() <= 1
  # A JPEG holds them upside down, as Adobe does, which its marker says.
  big = Image.fromarray(inks.repeat(16, 0).repeat(16, 1), "CMYK")
  file = encoded(big, "JPEG", quality=100, subsampling=0)
  assert b"Adobe" in file[:200]
  rgb = pictures.read(file).rgb[8, 8::16].astype(int)
  assert np.abs(rgb - expected[0]).max() <= 4


def test_ycbcr_hsv_and_lab():
  ycc = np.array([[[100, 128, 128], [150, 90, 160]]], np.uint8)
  y, b, r = (ycc[..., i].astype(float) - (128 if i else 0) for i in range(3))
  expected = np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], -1)
  files = [Image.fromarray(ycc, "YCbCr"), handmade.tiff((2, 1), ycc.tobytes(), (8, 8, 8), 6)]
  for file in files if PILLOW_13 else files[:1]:
    assert np.abs(pictures.read(file).rgb - expected).max() <= 1
  hsv = np.array([[[30, 200, 180], [170, 90, 255]]], np.uint8)
  expected = [[np.array(colorsys.hsv_to_rgb(*(v / 255))) * 255 for v in hsv[0]]]
  assert np.abs(pictures.read(Image.fromarray(hsv, "HSV")).rgb - expected).max() <= 2
  # TIFF: L * 2.55; a and b as signed bytes.
  lab = np.array([[[50, 0, 0], [60, 20, -30], [100, 0, 0], [40, -15, 25], [0, 0, 0]]])
  stored = np.rint(lab * [2.55, 1, 1]).astype(np.int16).astype(np.uint8)
  file = handmade.tiff((5, 1), stored.tobytes(), (8, 8, 8), 8)
  exact = stored[..., :1] / 2.55
  expected = srgb_of_lab_d50(np.concatenate([exact, lab[..., 1:]], -1)) * 255
  assert np.abs(pictures.read(file).rgb - expected).max() <= 1.6


# Transparency


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_kept_and_colours_under_it_stay(form):
  options = {"lossless": True, "exact": True} if form == "WEBP" else {}
  image = Image.fromarray(np.dstack([PIXELS, ALPHA]))
  picture = pictures.read(encoded(image, form, **options))
  np.testing.assert_array_equal(picture.rgb, PIXELS)
  np.testing.assert_array_equal(picture.alpha, ALPHA)


def test_gray_and_alpha():
  both = np.dstack([PIXELS[..., 0], ALPHA])
  for file in (Image.fromarray(both, "LA"), encoded(Image.fromarray(both, "LA")),
               encoded(Image.fromarray(both, "LA"), "TIFF")):  # fmt: skip
    picture = pictures.read(file)
    np.testing.assert_allclose(picture.gray, PIXELS[..., 0] / 255, atol=1e-6)
    np.testing.assert_array_equal(picture.alpha, ALPHA)
    assert picture.rgb is None


def test_opaque_alpha_counts_as_none():
  image = Image.fromarray(PIXELS).convert("RGBA")
  assert pictures.read(encoded(image)).alpha is None
  assert pictures.read(np.dstack([PIXELS, ALPHA * 0 + 255])).alpha is None


def test_palettes():
  image = Image.new("P", (3, 1))
  image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
  image.putdata([0, 1, 2])
  expected = [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
  for form in ("PNG", "GIF", "TIFF", "BMP"):
    picture = pictures.read(encoded(image, form))
    np.testing.assert_array_equal(picture.rgb, expected)
    assert picture.alpha is None
  for transparency, alpha in ((1, [[255, 0, 255]]), (bytes([7, 255, 9]), [[7, 255, 9]])):
    picture = pictures.read(encoded(image, transparency=transparency))
    np.testing.assert_array_equal(picture.rgb, expected)
    np.testing.assert_array_equal(picture.alpha, alpha)
  picture = pictures.read(encoded(image, "GIF", transparency=2))
  np.testing.assert_array_equal(picture.alpha, [[255, 255, 0]])
  both = image.convert("PA")
  both.putalpha(Image.fromarray(np.array([[3, 4, 5]], np.uint8)))
  for file in (both, encoded(both, "TIFF")):
    picture = pictures.read(file)
    np.testing.assert_array_equal(picture.rgb, expected)
    np.testing.assert_array_equal(picture.alpha, [[3, 4, 5]])


def test_a_transparent_colour_of_every_depth():
  picture = pictures.read(encoded(Image.fromarray(PIXELS), transparency=(0, 255, 0)))
  np.testing.assert_array_equal(picture.rgb, PIXELS)
  np.testing.assert_array_equal(picture.alpha, [[255, 0, 255], [255, 255, 255]])
  deep = np.array([[[0x1200, 0x3400, 0x5600], [0x7800, 0, 0]]])
  key = handmade.chunk(b"tRNS", struct.pack(">3H", 0x1200, 0x3400, 0x5600))
  np.testing.assert_array_equal(pictures.read(handmade.png(deep, 2, 16, [key])).alpha, [[0, 255]])
  for depth in (1, 2, 4, 8, 16):
    white = 2**depth - 1
    key = handmade.chunk(b"tRNS", struct.pack(">H", white))
    picture = pictures.read(handmade.png(np.array([[0, white, white - 1]]), 0, depth, [key]))
    np.testing.assert_allclose(picture.gray, [[0, 1, (white - 1) / white]], atol=1e-6)
    np.testing.assert_array_equal(picture.alpha, [[255, 0, 255]])


def test_premultiplied_modes():
  # 100 of 255 under an alpha of 128 was 199 before it was multiplied.
  rgba = Image.frombytes("RGBa", (1, 1), bytes([100, 50, 0, 128]))
  picture = pictures.read(rgba)
  assert np.abs(picture.rgb[0, 0] - np.array([199, 100, 0.0])).max() <= 1
  np.testing.assert_array_equal(picture.alpha, [[128]])


# Orientation and frames


UPRIGHT = {  # by the EXIF standard: which side of the scene row 0 and column 0 are
  1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud,
  5: lambda x: np.swapaxes(x, 0, 1), 6: lambda x: np.rot90(x, -1),
  7: lambda x: np.swapaxes(np.rot90(x, 2), 0, 1), 8: np.rot90,
}  # fmt: skip


def oriented(orientation):
  tags = Image.Exif()
  tags[0x0112] = orientation
  return tags


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_every_mode(orientation):
  turn, tags = UPRIGHT[orientation], oriented(orientation)
  rgba = Image.fromarray(np.dstack([PIXELS, ALPHA]))
  for form in ("PNG", "TIFF"):
    picture = pictures.read(encoded(rgba, form, exif=tags))
    np.testing.assert_array_equal(picture.rgb, turn(PIXELS))
    np.testing.assert_array_equal(picture.alpha, turn(ALPHA))
    assert picture.metadata.exif is None  # it said nothing else
  deep = PIXELS[..., 0].astype(np.uint16) * 256
  picture = pictures.read(encoded(Image.fromarray(deep), exif=tags))
  np.testing.assert_allclose(picture.gray, turn(deep) / 65535, rtol=1e-6)
  image = Image.open(io.BytesIO(encoded(rgba, exif=tags)))
  np.testing.assert_array_equal(pictures.read(image).rgb, turn(PIXELS))
  assert image.size == (3, 2)  # the caller's own is as it was


def test_unknown_orientation_and_broken_exif():
  for tags in (oriented(9), oriented(0), b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0noise"):
    picture = pictures.read(encoded(Image.fromarray(PIXELS), exif=tags))
    np.testing.assert_array_equal(picture.rgb, PIXELS)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_is_taken_and_it_says_so(form):
  frames = [Image.new("RGB", (3, 2), c) for c in ((255, 0, 0), (0, 0, 255), (0, 255, 0))]
  options = {"lossless": True} if form == "WEBP" else {}
  file = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
  picture = pictures.read(file)
  assert (picture.rgb == (255, 0, 0)).all() and "first of several" in picture.remarks[0]
  assert pictures.read(encoded(frames[0], form)).remarks == ()
