"""What is written comes back: pixels, alpha, metadata; and a failure leaves nothing behind."""

import dataclasses
import errno
import io
import pathlib
import struct
import sys

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin
from skimage import data

from scs_jax.errors import UserError
from scs_jax.infer import picture_files, pictures

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from small_picture import ALPHA, PIXELS, encoded


def metadata_of_a_camera():
  """EXIF with a nested directory, a place, the old file's size and orientation; XMP; a comment."""
  tags = Image.Exif()
  tags[0x0112] = 6
  tags[0x010E] = "a street"
  tags[0x0100] = 4000  # ImageWidth
  tags[0x8769] = {0xA001: 65535, 0xA002: 4000, 0xA003: 3000, 0x9003: "1931:05:06 07:08:09"}
  tags[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}
  return tags.tobytes(), b'<x:xmpmeta><rdf tiff:Orientation="6" dc:title="street"/></x:xmpmeta>'


@pytest.mark.parametrize("name", ["a.png", "b.tif", "C.TIFF"])
def test_lossless_formats_come_back_as_they_were(tmp_path, name):
  rgb = data.astronaut()[:300, :401]
  alpha = np.random.default_rng(0).integers(0, 256, rgb.shape[:2], np.uint8)
  for kept in (None, alpha):
    pictures.write(tmp_path / "new" / name, rgb, kept)
    picture = pictures.read(tmp_path / "new" / name)
    np.testing.assert_array_equal(picture.rgb, rgb)
    if kept is None:
      assert picture.alpha is None
    else:
      np.testing.assert_array_equal(picture.alpha, alpha)
  assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.png", "b.tif"])
def test_sixteen_bits_come_back_and_other_readers_see_them(tmp_path, name):
  """By tifffile and OpenCV, where they are; in several strips, with alpha and metadata."""
  exif, xmp = metadata_of_a_camera()
  file = encoded(Image.fromarray(PIXELS), "JPEG", exif=exif, xmp=xmp, dpi=(300, 300))
  source = pictures.read(file)
  rgb = np.random.default_rng(0).integers(0, 65536, (300, 401, 3)).astype(np.uint16)
  alpha = np.random.default_rng(1).integers(0, 256, rgb.shape[:2], np.uint8)
  for kept in (None, alpha):
    pictures.write(tmp_path / name, rgb, kept, source.metadata)
    expected = rgb if kept is None else np.dstack([rgb, kept.astype(np.uint16) * 257])
    if name.endswith("tif"):
      found = pytest.importorskip("tifffile").imread(tmp_path / name)
    else:
      cv2 = pytest.importorskip("cv2")
      found = cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED)
      found = found[..., [2, 1, 0, 3][: expected.shape[2]]]
    np.testing.assert_array_equal(found, expected)
    again = pictures.read(tmp_path / name)
    np.testing.assert_array_equal(again.rgb, np.floor(rgb / 257 + 0.5))
    assert (again.alpha is None) == (kept is None) and again.depth == 16
    assert round(again.metadata.dpi[0]) == 300 and b"a street" in again.metadata.exif
    assert again.metadata.xmp == source.metadata.xmp
  for form in ("JPEG", "WEBP"):
    with pytest.raises(ValueError, match="rgb must be uint8"):
      pictures.encode(rgb, form)


def test_what_a_format_cannot_hold_is_told_from_the_size_alone():
  for form, size, most in (("JPEG", (10, 65501), 65500), ("WEBP", (16384, 1), 16383)):
    with pytest.raises(UserError, match=f"{form} holds at most {most} pixels a side, got .*png"):
      picture_files.require_size(form, size)
    picture_files.require_size(form, (1, most))
  picture_files.require_size("TIFF", (20000, 20000), 16)  # 2.4 GB
  with pytest.raises(UserError, match="TIFF holds 4 GiB, 30000x30000 pixels of 16 bits"):
    picture_files.require_size("TIFF", (30000, 30000), 16)
  picture_files.require_size("PNG", (30000, 30000), 16)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5)])
def test_tiff_by_another_reader(tmp_path, size):
  tifffile = pytest.importorskip("tifffile")
  rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
  big = np.tile(rgb, (1 + 900 // size[0], 1 + 900 // size[1], 1))  # more than one strip
  for picture in (rgb, big):
    pictures.write(tmp_path / "x.tif", picture)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x.tif"), picture)
  with tifffile.TiffFile(tmp_path / "x.tif") as file:
    assert len(file.pages[0].dataoffsets) > 1 and file.pages[0].compression == 8


def test_jpeg_keeps_all_its_chroma(tmp_path):
  rgb = data.astronaut()[:128, 100:228]
  pictures.write(tmp_path / "x.jpg", rgb)
  with Image.open(tmp_path / "x.jpg") as image:
    assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3  # 4:4:4
    error = np.asarray(image).astype(int) - rgb
  assert np.sqrt((error**2).mean()) < 2.5
  assert len(pictures.encode(rgb, "JPEG", quality=50)) < (tmp_path / "x.jpg").stat().st_size / 2


def test_jpeg_over_alpha_lies_on_white():
  rgb = np.zeros((16, 48, 3), np.uint8) + np.array([200, 100, 0], np.uint8)
  alpha = np.repeat(np.array([[0, 51, 255]], np.uint8), 16, 1).repeat(16, 0)
  picture = pictures.read(pictures.encode(rgb, "JPEG", alpha))
  # 51 / 255 = 0.2, so 0.2 * value + 0.8 * 255.
  expected = np.array([[255, 255, 255], [244, 224, 204], [200, 100, 0]])
  assert np.abs(picture.rgb[8, 8::16].astype(int) - expected).max() <= 3


def test_webp_keeps_alpha_exactly():
  rgb = data.astronaut()[:64, 100:164]
  alpha = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
  picture = pictures.read(pictures.encode(rgb, "WEBP", alpha))
  np.testing.assert_array_equal(picture.alpha, alpha)
  error = np.abs(picture.rgb.astype(int) - rgb)
  assert error.mean() < 4
  coarse = pictures.read(pictures.encode(rgb, "WEBP", alpha, quality=5))
  assert np.abs(coarse.rgb.astype(int) - rgb).mean() > 1.5 * error.mean()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_metadata_comes_along(form):
  exif, xmp = metadata_of_a_camera()
  source = encoded(Image.fromarray(PIXELS), "JPEG", exif=exif, xmp=xmp, dpi=(300, 300),
                   comment=b"gr\xc3\xbcn")  # fmt: skip
  picture = pictures.read(source)
  assert picture.gray.shape == (3, 2)
  rgb = np.zeros((60, 40, 3), np.uint8)
  result = pictures.encode(rgb, form, None, picture.metadata)
  # Without the XMP, from which Pillow would take the orientation if EXIF lacked it.
  plain = pictures.encode(rgb, form, None, dataclasses.replace(picture.metadata, xmp=None))
  with Image.open(io.BytesIO(plain)) as image:
    assert image.getexif()[0x0112] == 1
  with Image.open(io.BytesIO(result)) as image:
    image.load()
    tags = image.getexif()
    details, place = tags.get_ifd(0x8769), tags.get_ifd(0x8825)
    info = dict(image.info)
    assert image.size == (40, 60)
  assert tags.get(0x0112, 1) == 1 and tags[0x010E] == "a street"
  assert tags.get(0x0100) == (40 if form == "TIFF" else None)
  # ColorSpace, PixelXDimension and PixelYDimension are those of the result.
  assert (details[0xA001], details[0xA002], details[0xA003]) == (1, 40, 60)
  assert details[0x9003] == "1931:05:06 07:08:09" and place[1] == "N" and place[2][0] == 51
  assert info["xmp"] == xmp.replace(b'Orientation="6"', b'Orientation="1"')
  assert "icc_profile" not in info
  # Read again by the package itself, so that a second round loses nothing either.
  again = pictures.read(result).metadata
  assert again.dpi == pytest.approx((300, 300), abs=0.01)
  assert again.text == ({"Comment": "grün"} if form in ("PNG", "JPEG") else {})
  assert b"a street" in again.exif and again.xmp == info["xmp"]


def test_texts_of_a_png_come_along():
  texts = {"Title": "Straße", "Author": "nobody", "Raw profile type exif": "\nexif\n 0\n"}
  info = PngImagePlugin.PngInfo()
  for key, value in texts.items():
    info.add_text(key, value)
  kept = pictures.read(encoded(Image.fromarray(PIXELS), pnginfo=info, dpi=(72, 144))).metadata
  assert dict(kept.text) == {"Title": "Straße", "Author": "nobody"}
  again = pictures.read(pictures.encode(PIXELS, "PNG", None, kept)).metadata
  assert dict(again.text) == dict(kept.text) and again.dpi == pytest.approx((72, 144), abs=0.02)


def test_orientation_in_xmp_of_either_spelling():
  packet = b"<tiff:Orientation>8</tiff:Orientation><a tiff:Orientation='3' b='3'/><c>8</c>"
  file = encoded(Image.fromarray(PIXELS), "JPEG", xmp=packet)
  assert pictures.read(file).metadata.xmp == (
    b"<tiff:Orientation>1</tiff:Orientation><a tiff:Orientation='1' b='3'/><c>8</c>")


def test_the_thumbnail_is_dropped():
  thumbnail = b"\xff\xd8THUMBNAIL\xff\xd9"
  # IFD0 with the orientation, then IFD1 with offset and length of the thumbnail.
  exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + struct.pack(">HHIHxx", 0x0112, 3, 1, 6)
  exif += struct.pack(">I", 26) + struct.pack(">H", 2)
  exif += struct.pack(">HHII", 0x0201, 4, 1, 56) + struct.pack(">HHII", 0x0202, 4, 1, 13)
  exif += struct.pack(">I", 0) + thumbnail
  tags = Image.Exif()
  tags.load(exif)
  assert tags.get_ifd(ExifTags.IFD.IFD1)[0x0201] == 56  # the file made by hand is as meant
  source = encoded(Image.fromarray(PIXELS), "JPEG", exif=exif)
  assert b"THUMBNAIL" in source
  picture = pictures.read(source)
  assert picture.gray.shape == (3, 2) and picture.metadata.exif is None


def test_what_is_too_large_for_a_jpeg_is_left_out():
  tags = Image.Exif()
  tags[0x010E] = "a street"
  tags[0x8769] = {0x9003: "1931:05:06 07:08:09", 0x927C: b"m" * 70000}
  source = encoded(Image.fromarray(PIXELS), "PNG", exif=tags.tobytes())
  kept = pictures.read(source).metadata
  result = pictures.read(pictures.encode(PIXELS, "JPEG", None, kept)).metadata
  assert b"a street" in result.exif and b"1931:05:06" in result.exif and b"mmm" not in result.exif
  large = pictures.Metadata(xmp=b"x" * 70000, text={"Comment": "y" * 70000})
  result = pictures.read(pictures.encode(PIXELS, "JPEG", None, large)).metadata
  assert result.xmp is None and not result.text
  assert pictures.read(pictures.encode(PIXELS, "WEBP", None, large)).metadata.xmp == large.xmp


def test_one_odd_tag_costs_no_other():
  tags = Image.Exif()
  tags[0x010E] = "a street"
  tags[0x010F] = object()
  image = Image.fromarray(PIXELS)
  image._exif = tags  # no file would hold it
  kept = pictures.read(image).metadata
  assert b"a street" in kept.exif


@pytest.mark.parametrize("name", ["x.gif", "x.bmp", "x", "x.jp2"])
def test_other_formats_cannot_be_written(tmp_path, name):
  with pytest.raises(UserError, match=r"expected one of \.png, \.jpg"):
    pictures.write(tmp_path / name, PIXELS)
  assert not list(tmp_path.iterdir())


def test_limits_of_the_formats():
  long = np.zeros((1, 65501, 3), np.uint8)
  with pytest.raises(UserError, match=r"JPEG holds at most 65500 pixels a side, got 65501x1"):
    pictures.encode(long, "JPEG")
  with pytest.raises(UserError, match=r"WEBP holds at most 16383"):
    pictures.encode(long[:, :16384], "WEBP")
  for form, side in (("JPEG", 65500), ("WEBP", 16383)):  # the limit itself holds
    assert pictures.read(pictures.encode(long[:, :side], form)).gray.shape == (1, side)
  with pytest.raises(UserError, match="quality must be from 1 to 100"):
    pictures.encode(PIXELS, "JPEG", quality=0)
  for rgb, alpha in ((PIXELS / 255, None), (PIXELS[..., 0], None), (PIXELS, ALPHA[:1])):
    with pytest.raises(ValueError, match="must be uint8"):
      pictures.encode(rgb, "PNG", alpha)


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
  def full(self, content):
    with open(self, "wb") as file:
      file.write(content[:10])
    raise OSError(errno.ENOSPC, "No space left on device")

  (tmp_path / "old.png").write_bytes(b"before")
  monkeypatch.setattr(pathlib.Path, "write_bytes", full)
  for name in ("old.png", "new.tif"):
    with pytest.raises(OSError, match=name) as failure:
      pictures.write(tmp_path / name, PIXELS)
    assert failure.value.errno == errno.ENOSPC
  assert [p.name for p in tmp_path.iterdir()] == ["old.png"]
  assert (tmp_path / "old.png").read_bytes() == b"before"
