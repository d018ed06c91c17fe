"""Every mode, depth and orientation decodes to pixel values worked out by hand."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from scs_jax.data.decode import MAX_PIXELS, DecodeError, decode

# Rows: red, green; blue, a gray: no two transposes look alike.
PIXELS = np.array([[[255, 0, 0], [0, 255, 0], [9, 8, 7]],
                   [[0, 0, 255], [50, 60, 70], [255, 255, 255]]], np.uint8)


def encoded(image, form="PNG", **options):
  buffer = io.BytesIO()
  image.save(buffer, form, **options)
  return buffer.getvalue()


def constant(mode, value, form="PNG", size=(16, 16), **options):
  return encoded(Image.new(mode, size, value), form, **options)


def png16(color_type, samples):
  """A 1 x 1 PNG with 16 bits a channel, written by hand: Pillow cannot write colour ones."""
  def chunk(kind, body):
    crc = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)
  row = b"\0" + b"".join(struct.pack(">H", s) for s in samples)
  header = struct.pack(">IIBBBBB", 1, 1, 16, color_type, 0, 0, 0)
  return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
          + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b""))


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_rgb_is_exact_from_bytes_and_from_a_file(tmp_path, form):
  data = encoded(Image.fromarray(PIXELS), form)
  out = decode(data)
  assert out.dtype == np.uint8 and out.flags["C_CONTIGUOUS"]
  np.testing.assert_array_equal(out, PIXELS)
  path = tmp_path / "picture.bin"
  path.write_bytes(data)
  np.testing.assert_array_equal(decode(path), PIXELS)
  np.testing.assert_array_equal(decode(str(path)), PIXELS)


@pytest.mark.parametrize(("mode", "value", "expected"), [
  ("L", 77, (77, 77, 77)),
  ("1", 1, (255, 255, 255)),
  ("RGBA", (200, 100, 0, 255), (200, 100, 0)),
  # Over white: alpha 51 / 255 = 0.2, so 0.2 * value + 0.8 * 255.
  ("RGBA", (200, 100, 0, 51), (244, 224, 204)),
  ("RGBA", (12, 34, 56, 0), (255, 255, 255)),
  ("LA", (100, 51), (224, 224, 224)),
])
def test_modes_of_png(mode, value, expected):
  out = decode(constant(mode, value))
  assert out.shape == (16, 16, 3)
  assert np.abs(out.astype(int) - np.array(expected)).max() <= 1 and (out == out[0, 0]).all()


def test_palette_and_its_transparent_colour():
  image = Image.new("P", (2, 1))
  image.putpalette([10, 20, 30, 40, 50, 60])
  image.putpixel((1, 0), 1)
  np.testing.assert_array_equal(decode(encoded(image)), [[[10, 20, 30], [40, 50, 60]]])
  np.testing.assert_array_equal(
    decode(encoded(image, transparency=1)), [[[10, 20, 30], [255, 255, 255]]])
  np.testing.assert_array_equal(decode(encoded(image, "GIF")), [[[10, 20, 30], [40, 50, 60]]])


def test_colour_key_of_rgb_png_is_white():
  data = encoded(Image.fromarray(PIXELS), transparency=(0, 255, 0))
  expected = PIXELS.copy()
  expected[0, 1] = 255
  np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_gray_is_scaled_not_clipped(form):
  values = np.array([[0, 257, 65535], [32896, 300, 40000]], np.uint16)
  out = decode(encoded(Image.fromarray(values), form))
  # round(v / 257): 32896 = 128 * 257, 300 / 257 = 1.17, 40000 / 257 = 155.64
  np.testing.assert_array_equal(out[..., 0], [[0, 1, 255], [128, 1, 156]])
  assert (out == out[..., :1]).all()


def test_sixteen_bit_colour_and_alpha_are_rounded():
  np.testing.assert_array_equal(
    decode(png16(2, [0x1234, 0xFFFF, 0x8000])), [[[0x12, 0xFF, 0x80]]])
  np.testing.assert_array_equal(
    decode(png16(6, [0x1234, 0xFFFF, 0x8000, 0xFFFF])), [[[0x12, 0xFF, 0x80]]])
  np.testing.assert_array_equal(decode(png16(4, [0x4000, 0xFFFF])), [[[0x40] * 3]])


def test_float_and_integer_ranges():
  fits = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
  np.testing.assert_array_equal(decode(encoded(fits, "TIFF"))[0, :, 0], [0, 128, 255])
  for values in (np.array([[0.0, 255.0]], np.float32), np.array([[np.nan]], np.float32),
                 np.array([[-1]], np.int32), np.array([[70000]], np.int32)):
    with pytest.raises(DecodeError, match="convert it to 8 bits"):
      decode(encoded(Image.fromarray(values), "TIFF"))


def test_cmyk_jpeg():
  # Cyan 100 %, the rest 0: red is gone, green and blue full.
  out = decode(constant("CMYK", (255, 0, 0, 0), "JPEG", quality=95))
  assert np.abs(out.astype(int) - np.array([0, 255, 255])).max() <= 3


def exif(orientation):
  tags = Image.Exif()
  tags[0x0112] = orientation
  return tags


UPRIGHT = {  # by the EXIF standard: which side of the scene row 0 and column 0 are
  1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud,
  5: lambda x: x.transpose(1, 0, 2), 6: lambda x: np.rot90(x, -1),
  7: lambda x: np.rot90(x, 2).transpose(1, 0, 2), 8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
  expected = UPRIGHT[orientation](PIXELS)
  for form in ("PNG", "TIFF"):
    out = decode(encoded(Image.fromarray(PIXELS), form, exif=exif(orientation)))
    np.testing.assert_array_equal(out, expected)
  big = PIXELS.repeat(16, 0).repeat(16, 1)
  out = decode(encoded(Image.fromarray(big), "JPEG", quality=100, subsampling=0,
                       exif=exif(orientation)))
  difference = np.abs(out.astype(int) - UPRIGHT[orientation](big))
  assert out.shape == UPRIGHT[orientation](big).shape and difference.max() <= 6


def test_animation_gives_its_first_frame():
  frames = [Image.new("RGB", (3, 2), c) for c in ((255, 0, 0), (0, 0, 255))]
  data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
  assert (decode(data) == (255, 0, 0)).all()


@pytest.mark.parametrize(("size", "asked", "expected"), [
  ((400, 300), None, (300, 400)),
  ((400, 300), 300, (300, 400)),
  ((400, 300), 151, (300, 400)),
  ((400, 300), 150, (150, 200)),
  ((400, 300), 75, (75, 100)),
  ((400, 300), 1, (38, 50)),      # an eighth at most, rounded up
  ((401, 303), 151, (152, 201)),
  ((3000, 16), 8, (8, 1500)),
])
def test_jpeg_is_reduced_only_as_far_as_asked(size, asked, expected):
  image = Image.new("RGB", size, (30, 200, 90))
  out = decode(encoded(image, "JPEG", quality=95), asked)
  assert out.shape[:2] == expected
  assert np.abs(out.astype(int) - np.array([30, 200, 90])).max() <= 3
  assert decode(encoded(image), asked).shape[:2] == size[::-1]  # PNG cannot be reduced


def test_reduced_jpeg_still_turned_upright():
  data = constant("RGB", (1, 2, 3), "JPEG", size=(64, 32), exif=exif(6))
  assert decode(data, 16).shape == (32, 16, 3)


def test_corrupt_and_foreign_data(tmp_path):
  noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
  for form in ("JPEG", "PNG", "TIFF", "BMP"):
    data = encoded(Image.fromarray(noise), form)
    with pytest.raises(DecodeError, match=r"cannot be decoded|not a picture"):
      decode(data[:len(data) // 2])
  for data in (b"", b"no picture at all", bytes(1000)):
    with pytest.raises(DecodeError, match="not a picture"):
      decode(data)
  flipped = bytearray(encoded(Image.fromarray(noise), "PNG"))
  flipped[100] ^= 0xFF
  with pytest.raises(DecodeError):
    decode(bytes(flipped))
  with pytest.raises(DecodeError, match=r"nowhere.png"):
    decode(tmp_path / "nowhere.png")
  with pytest.raises(DecodeError):
    decode(tmp_path)
  with pytest.raises(DecodeError, match=r"^mine: "):
    decode(b"", name="mine")


def test_too_many_pixels_are_refused_before_decoding():
  data = constant("L", 0, size=(100, 50))
  with pytest.raises(DecodeError, match="100x50 pixels are more than the limit of 4999"):
    decode(data, max_pixels=4999)
  assert decode(data, max_pixels=5000).shape == (50, 100, 3)
  header = bytearray(constant("L", 0))
  header[16:24] = struct.pack(">II", 40000, 30000)
  header[29:33] = struct.pack(">I", zlib.crc32(bytes(header[12:29])))
  with pytest.raises(DecodeError, match=f"{MAX_PIXELS}, .* a small file can promise any size"):
    decode(bytes(header))


def test_pillows_own_limit_is_not_ours_and_stays_for_others(monkeypatch):
  """A picture beyond it, in one strip and in tiles (which Pillow compares once more)."""
  pixels = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
  tiled = io.BytesIO()
  tifffile.imwrite(tiled, pixels, tile=(64, 64))
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
  for data in (encoded(Image.fromarray(pixels)), tiled.getvalue()):
    np.testing.assert_array_equal(decode(data)[..., 0], pixels)
    with pytest.raises(Image.DecompressionBombError):
      Image.open(io.BytesIO(data)).load()
  assert Image.MAX_IMAGE_PIXELS == 100
