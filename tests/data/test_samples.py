"""More than 8 bits a channel: every layout of TIFF comes back, and white is what the file says."""

import io
import itertools
import struct
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from scs_jax.data import decode
from scs_jax.data.decode import DecodeError
from scs_jax.infer import pictures

sys.path.insert(0, str(Path(__file__).parents[1] / "infer"))

import handmade

Y, X = np.mgrid[0:40, 0:48]
SCENE = np.stack([X / 47, Y / 39, (X + Y) / 86, 0.2 + 0.6 * ((X // 8 + Y // 8) % 2)], -1)


def tiff(values, **options):
  buffer = io.BytesIO()
  tifffile.imwrite(buffer, values, **options)
  return buffer.getvalue()


LAYOUTS = [
  layout
  for layout in itertools.product(
    ["u2", "u4", "f2", "f4", "f8"], ["contig", "separate"], [1, 3, 4], [None, "lzw", "zlib"],
    [False, True], "<>", [None, (16, 16)],
  )
  # Without compression there is nothing to predict; one channel lies one way only. Of the
  # rest every third, so that each value meets each other.
  if not (layout[4] and layout[3] is None) and not (layout[2] == 1 and layout[1] == "separate")
][::3]  # fmt: skip


def test_every_layout_of_tiff_reads_as_it_was_written():
  """Pillow reads a fifth of them right: planar 16-bit colour as noise, floats hardly ever."""
  wrong = []
  for kind, planar, channels, compression, predicted, order, tile in LAYOUTS:
    dtype = np.dtype(kind)
    white = np.iinfo(dtype).max if dtype.kind == "u" else 1.0
    values = (SCENE[..., :channels] * white).astype(dtype)
    values = values[..., 0] if channels == 1 else values
    options = {"photometric": "minisblack" if channels == 1 else "rgb", "byteorder": order,
               "compression": compression, "tile": tile}  # fmt: skip
    if predicted:
      options["predictor"] = 3 if dtype.kind == "f" else 2
    if channels > 1:
      options["planarconfig"] = planar
    if channels == 4:
      options["extrasamples"] = ["unassalpha"]
    data = tiff(np.moveaxis(values, -1, 0) if planar == "separate" else values, **options)
    loaded = pictures.read(data, "x")
    expected = np.asarray(values, np.float64) / white
    near = lambda a, b, most: np.abs(np.asarray(a, np.float64) - b).max() <= most
    if channels == 1:
      good = near(loaded.gray, expected, 1e-6)
      shown = np.repeat(expected[..., None], 3, -1)
    else:
      good = near(loaded.rgb / 255, expected[..., :3], 0.5 / 255 + 1e-6)
      shown = expected[..., :3]
    if channels == 4:
      good = good and near(loaded.alpha / 255, expected[..., 3], 0.5 / 255 + 1e-6)
      shown = 1 - expected[..., 3:] * (1 - shown)  # training: over white
    good = good and near(decode.decode(data) / 255, shown, 1.6 / 255)
    if not good:
      wrong.append((kind, planar, channels, compression, predicted, order, tile))
  assert len(LAYOUTS) > 80 and not wrong


def test_planar_sixteen_bit_colour_is_no_noise():
  """The same photograph planar and side by side, without compression; Pillow's own image of it."""
  values = (SCENE[..., :3] * 65535).astype(np.uint16)
  planar = tiff(np.moveaxis(values, -1, 0), photometric="rgb", planarconfig="separate")
  by_pillow = np.asarray(Image.open(io.BytesIO(planar))).astype(int)
  assert np.abs(by_pillow - (values >> 8)).mean() > 30  # so that one learns when it is mended
  expected = np.rint(values / 257.0)
  np.testing.assert_array_equal(decode.decode(planar), expected)
  np.testing.assert_array_equal(pictures.read(planar).rgb, expected)
  with pytest.raises(DecodeError, match=r"^image of .*Pillow misreads .* the file's path"):
    pictures.read(Image.open(io.BytesIO(planar)))


def test_orientation_of_deep_tiffs():
  values = (SCENE[..., :3] * 65535).astype(np.uint16)
  upright = {1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud,
             5: lambda x: np.swapaxes(x, 0, 1), 6: lambda x: np.rot90(x, -1),
             7: lambda x: np.swapaxes(np.rot90(x, 2), 0, 1), 8: np.rot90}  # fmt: skip
  for orientation, turn in upright.items():
    for kind in (np.uint16, np.float32):  # the second is one that Pillow does not open at all
      stored = values if kind == np.uint16 else (values / 65535.0).astype(np.float32)
      data = tiff(stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
      np.testing.assert_array_equal(pictures.read(data).rgb, turn(np.rint(values / 257.0)))


def test_what_a_float_tiff_says_of_itself_is_kept():
  """Pillow does not know its pixels: description, resolution and profile come along all the same.
  """
  swapped = handmade.rgb_profile(red=handmade.GREEN, green=handmade.RED)
  values = np.zeros((4, 6, 3), np.float32) + np.array([0.9, 0.2, 0.1], np.float32)
  data = tiff(values, photometric="rgb", description="a street", metadata=None,
              resolution=(300, 300), resolutionunit=2, iccprofile=swapped)  # fmt: skip
  picture = pictures.read(data)
  assert picture.rgb[0, 0, 1] > 220 > 80 > picture.rgb[0, 0, 0]  # red and green exchanged
  assert picture.metadata.dpi == (300, 300) and b"a street" in picture.metadata.exif
  assert picture.format == "TIFF" and picture.depth == 16


def test_ink_and_lab_of_sixteen_bits():
  inks = np.array([[[65535, 0, 0, 0], [0, 0, 0, 65535], [0, 0, 0, 0]]], np.uint16)
  picture = pictures.read(tiff(inks, photometric="separated"))
  assert np.abs(picture.rgb[0].astype(int) - [[0, 255, 255], [0, 0, 0], [255, 255, 255]]).max() <= 1
  # L 100 and 50; a and b 0, as TIFF 6.0 has it: L * 655.35, signed a * 256.
  lab = np.array([[[65535, 0, 0], [32768, 0, 0]]], np.uint16)
  picture = pictures.read(tiff(lab, photometric="cielab"))
  assert np.abs(picture.rgb[0].astype(int) - [[255] * 3, [119] * 3]).max() <= 1


def test_associated_alpha_is_divided_out():
  values = np.array([[[30000, 15000, 0, 32768], [0, 0, 0, 0]]], np.uint16)
  data = tiff(values, photometric="rgb", extrasamples=["assocalpha"])
  picture = pictures.read(data)
  np.testing.assert_array_equal(picture.alpha, [[128, 0]])
  # 30000 / 32768 * 255 = 233.5 of 65535 / 65535: 30000 / (32768 / 65535) / 257 = 233.46
  assert np.abs(picture.rgb[0, 0] - np.array([233, 117, 0.0])).max() <= 1


# What is white


def ten_bits():
  return np.rint(SCENE[..., 0] * 1023).astype(np.uint16)


def test_ten_bits_in_sixteen_with_nothing_said_are_dark_and_it_says_so():
  values = ten_bits()
  for data in (tiff(values), handmade.png(values, 0, 16)):
    picture = pictures.read(data)
    np.testing.assert_allclose(picture.gray, values / 65535.0, atol=1e-6)
    (remark,) = picture.remarks
    assert "values from 0 to 1023 of 65535" in remark and "--white-level 1023" in remark
    picture = pictures.read(data, white_level=1023)
    np.testing.assert_allclose(picture.gray, values / 1023.0, atol=1e-6)
    assert picture.remarks == () and picture.depth == 16
  with pytest.raises(DecodeError, match=r"from 0 to 1023, expected 0 to 1000.*--white-level"):
    pictures.read(tiff(values), white_level=1000)
  assert pictures.read(tiff(values * 64)).remarks == ()
  assert pictures.read(tiff(values * 0)).remarks == ()  # black is no camera's depth


@pytest.mark.parametrize(("high", "bits"), [(200, 8), (256, 10), (1023, 10), (1024, 12),
                                            (4095, 12), (4096, 14), (16383, 14)])  # fmt: skip
def test_the_depth_that_holds_the_values_is_named(high, bits):
  (remark,) = pictures.read(tiff(np.array([[3, high]], np.uint16))).remarks
  assert f"from 3 to {high} " in remark and f"{bits} bits: --white-level {2**bits - 1})" in remark
  assert pictures.read(tiff(np.array([[3, 16384]], np.uint16))).remarks == ()


def test_tags_say_what_white_is():
  values = ten_bits()
  for tag in (281, 341):
    data = tiff(values, extratags=[(tag, 3, 1, 1023, True)])
    np.testing.assert_allclose(pictures.read(data).gray, values / 1023.0, atol=1e-6)
    assert pictures.read(data).remarks == ()
    assert decode.decode(data).max() == 255  # training as well
    # A camera's own word counts less than the user's.
    np.testing.assert_allclose(pictures.read(data, white_level=2046).gray.max(), 0.5, atol=1e-6)
    # 1000 is the highest value of some picture, and no depth.
    statistics = tiff(np.minimum(values, 1000), extratags=[(tag, 3, 1, 1000, True)])
    assert pictures.read(statistics).gray.max() < 0.02
  # Ten bits a sample, packed: 0x3FF, 0, 0x200, 0x100.
  packed = int("1111111111" "0000000000" "1000000000" "0100000000", 2).to_bytes(5)
  data = handmade.tiff((4, 1), packed, (10,), 1)
  np.testing.assert_allclose(pictures.read(data).gray, [[1, 0, 512 / 1023, 256 / 1023]], atol=1e-6)


def test_significant_bits_of_a_png():
  values = ten_bits()
  chunk = handmade.chunk(b"sBIT", b"\x0a")
  picture = pictures.read(handmade.png(values, 0, 16, [chunk]))
  np.testing.assert_allclose(picture.gray, values / 1023.0, atol=1e-6)
  assert picture.remarks == ("its sBIT chunk says 10 bits: white is 1023",)
  # As the standard has it: scaled to 16 bits, of which 10 count.
  scaled = (values.astype(np.uint32) * 65535 // 1023).astype(np.uint16)
  picture = pictures.read(handmade.png(scaled, 0, 16, [chunk]))
  np.testing.assert_allclose(picture.gray, scaled / 65535.0, atol=1e-6)
  colors = np.rint(SCENE[..., :3] * 4095).astype(np.uint16)
  chunk = handmade.chunk(b"sBIT", b"\x0b\x0c\x0b")
  np.testing.assert_array_equal(
    pictures.read(handmade.png(colors, 2, 16, [chunk])).rgb, np.rint(colors / 4095.0 * 255)
  )


def test_floats_beyond_one_need_a_white_level():
  values = (SCENE[..., :3] * 8).astype(np.float32)
  with pytest.raises(DecodeError, match=r"from 0 to 8, expected 0 to 1 .*--white-level"):
    pictures.read(tiff(values, photometric="rgb"))
  picture = pictures.read(tiff(values, photometric="rgb"), white_level=8)
  assert np.abs(picture.rgb - SCENE[..., :3] * 255).max() <= 0.51


# What has a reader of its own, or none


def test_formats_that_pillow_reads_by_itself():
  rgb = np.rint(SCENE[..., :3] * 255).astype(np.uint8)
  for form, options, most in (("JPEG2000", {}, 0), ("AVIF", {"quality": 95}, 12),
                              ("WEBP", {"lossless": True}, 0)):  # fmt: skip
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, form, **options)
    found = pictures.read(buffer.getvalue())
    assert np.abs(found.rgb.astype(int) - rgb).max() <= most
  deep = (SCENE[..., 0] * 65535).astype(np.uint16)
  found = pictures.read(imagecodecs.jpeg2k_encode(deep, level=0))
  np.testing.assert_allclose(found.gray, deep / 65535.0, atol=1e-6)


def test_heic():
  pillow_heif = pytest.importorskip("pillow_heif")
  rgb = np.rint(SCENE[..., :3] * 255).astype(np.uint8)
  buffer = io.BytesIO()
  pillow_heif.from_pillow(Image.fromarray(rgb)).save(buffer, quality=95)
  found = pictures.read(buffer.getvalue())
  assert found.format == "HEIF" and np.abs(found.rgb.astype(int) - rgb).mean() < 4
  assert np.abs(decode.decode(buffer.getvalue()).astype(int) - rgb).mean() < 4


HEIC_HEAD = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.parametrize(("data", "name", "words"), [
  (HEIC_HEAD, "a.heic", "a HEIC picture.*pip install pillow-heif"),
  (b"FUJIFILMCCD-RAW " + bytes(99), "a.raf", "camera's raw picture.*pip install rawpy"),
  (tiff(np.zeros((4, 4, 3), np.uint8), photometric="rgb",
        extratags=[(50706, 1, 4, b"\1\4\0\0", True)]), "a.tif", "pip install rawpy"),
  (tiff(np.zeros((4, 4), np.uint16), photometric=32803), "a.tif", "pip install rawpy"),
  (tiff(np.zeros((4, 4, 3), np.uint8), photometric="rgb"), "a.NEF", "pip install rawpy"),
  (imagecodecs.jpegxl_encode(np.zeros((8, 8, 3), np.uint8)), "a.jxl", "a JPEG XL picture"),
  (b"%PDF-1.4", "a.png", "a PDF document"),
], ids=["heic", "raf", "dng", "mosaic", "nef", "jxl", "pdf"])  # fmt: skip
def test_what_cannot_be_read_is_named_with_what_to_do(tmp_path, monkeypatch, data, name, words):
  """A DNG and a NEF would otherwise show their thumbnails."""
  for module in ("pillow_heif", "rawpy"):
    monkeypatch.setitem(sys.modules, module, None)
  (tmp_path / name).write_bytes(data)
  monkeypatch.setattr(Image, "ID", [form for form in Image.ID if form != "HEIF"])
  for read in (pictures.read, decode.decode):
    with pytest.raises(DecodeError, match=f"{name}: .*{words}"):
      read(tmp_path / name)


def test_a_dng_is_developed(tmp_path):
  """A gray card under a filter array of red, green, green and blue, lighter on the right."""
  pytest.importorskip("rawpy")
  values = np.full((64, 96), 2000, np.uint16)
  values[:, 48:] = 12000
  matrix = (3.1339, -1.6169, -0.4906, -0.9788, 1.9161, 0.0335, 0.0719, -0.2290, 1.4052)
  rational = tuple(n for v in matrix for n in (round(v * 10000), 10000))
  tifffile.imwrite(
    tmp_path / "x.dng", values, photometric=32803, metadata=None,
    extratags=[
      (50706, 1, 4, b"\1\4\0\0", True), (33421, 3, 2, (2, 2), True),
      (33422, 1, 4, b"\0\1\1\2", True), (50708, 2, 5, "Test", True),
      (50717, 3, 1, 16383, True), (50721, 10, 9, rational, True), (50778, 3, 1, 21, True),
      (50728, 5, 3, (1, 1, 1, 1, 1, 1), True), (271, 2, 5, "Test", True), (272, 2, 5, "Test", True),
    ],
  )  # fmt: skip
  picture = pictures.read(tmp_path / "x.dng")
  assert picture.gray.shape == (64, 96) and picture.depth == 16
  dark, light = picture.gray[16:48, 8:40], picture.gray[16:48, 56:88]
  ratio = lambda x: np.median(((x + 0.055) / 1.055) ** 2.4)
  assert ratio(light) / ratio(dark) == pytest.approx(6, rel=0.1)  # 12000 / 2000, linear
  assert decode.decode(tmp_path / "x.dng").shape == (64, 96, 3)
