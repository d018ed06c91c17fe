"""JPEGs that end too early: which of them are whole all the same."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage import data

from scs_jax.data.decode import DecodeError, decode
from scs_jax.infer import pictures

END = b"\xff\xd9"


def encoded(image, **options):
  buffer = io.BytesIO()
  image.save(buffer, "JPEG", **options)
  assert buffer.getvalue().endswith(END)
  return buffer.getvalue()


PHOTO = Image.fromarray(data.astronaut()[100:260, 150:350])
KINDS = {
  "plain": (PHOTO, {}),
  "progressive": (PHOTO, {"progressive": True}),
  "gray": (PHOTO.convert("L"), {}),
  "inks": (PHOTO.convert("CMYK"), {"quality": 90}),
  "restarts": (PHOTO, {"restart_marker_blocks": 4}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_end_marker_is_missing(kind):
  image, options = KINDS[kind]
  whole = encoded(image, **options)
  expected = np.asarray(Image.open(io.BytesIO(whole)).convert("RGB"))
  for cut in (whole[:-2], whole[:-1]):
    np.testing.assert_array_equal(decode(cut), expected)
    picture = pictures.read(cut)
    assert "it lacks its end marker; its pixels are all there" in picture.remarks
    assert picture.format == "JPEG"
  assert pictures.read(whole).remarks == ()


@pytest.mark.parametrize("kind", KINDS)
def test_more_is_missing(kind):
  """A single byte of pixels, a tenth, half: nothing is made up for them."""
  image, options = KINDS[kind]
  whole = encoded(image, **options)
  for length in (len(whole) - 3, len(whole) * 9 // 10, len(whole) // 2):
    for read in (decode, pictures.read):
      with pytest.raises(DecodeError, match="truncated"):
        read(whole[:length])


def test_a_progressive_one_without_its_last_scans():
  """It ends where a scan ends, so that what follows decides no pixel: coarse, and refused."""
  whole = encoded(PHOTO, progressive=True)
  scans = [i for i in range(len(whole) - 1) if whole[i : i + 2] == b"\xff\xda"]
  assert len(scans) > 5
  tables = whole.rindex(b"\xff\xc4", 0, scans[-1])  # what the last scan begins with
  for end in (tables, scans[-1]):
    with pytest.raises(DecodeError, match="truncated"):
      decode(whole[:end])


def test_at_reduced_size_and_with_a_thumbnail_inside():
  thumbnail = encoded(PHOTO.resize((32, 24)))
  whole = encoded(PHOTO, exif=b"Exif\0\0" + thumbnail)
  expected = Image.open(io.BytesIO(whole))
  expected.draft(None, (100, 80))
  found = decode(whole[:-2], 80)
  assert found.shape == (80, 100, 3)
  np.testing.assert_array_equal(found, np.asarray(expected))
