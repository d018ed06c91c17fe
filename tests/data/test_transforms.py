"""Crops against resizing the whole picture with Pillow and cutting."""

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import transforms
from scs_jax.data.order import CROP, philox


def picture(height, width, seed=0):
  rng = np.random.default_rng(seed)
  small = rng.integers(0, 256, (max(1, height // 4), max(1, width // 4), 3), np.uint8)
  return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("shape", [(40, 60), (60, 40), (20, 20), (9, 31)])
def test_crop_equals_whole_resize_then_cut(shape):
  image, crop = picture(*shape), 16
  where = transforms.Crop(zoom=1.25, y=0.3, x=0.8)
  short = 20
  height, width = shape
  rows = short if height <= width else round(height * short / width)
  cols = round(width * short / height) if height <= width else short
  whole = Image.fromarray(image).resize((cols, rows), Image.Resampling.BICUBIC)
  top, left = int(0.3 * (rows - crop + 1)), int(0.8 * (cols - crop + 1))
  expected = np.asarray(whole)[top:top + crop, left:left + crop].astype(int)
  out = transforms.apply_crop(image, crop, where)
  # Two roundings of the box edges in float32 may move single values by one level.
  assert np.abs(out - expected).max() <= 1
  np.testing.assert_array_equal(transforms.apply_crop(Image.fromarray(image), crop, where), out)
  mirrored = transforms.apply_crop(image, crop, transforms.Crop(1.25, 0.3, 0.8, True))
  np.testing.assert_array_equal(mirrored, out[:, ::-1])


def test_no_resampling_where_none_is_needed():
  image = picture(16, 40)
  out = transforms.apply_crop(image, 16, transforms.Crop(1.0, 0.0, 0.999))
  np.testing.assert_array_equal(out, image[:, 24:])
  where = transforms.Crop(1.0, 0.0, 0.999)
  np.testing.assert_array_equal(transforms.apply_crop(Image.fromarray(image), 16, where), out)


def test_every_position_is_reached_and_none_outside():
  image = np.arange(6, dtype=np.uint8)[None, :, None].repeat(4, 0).repeat(3, 2)
  first = {int(transforms.apply_crop(image, 4, transforms.Crop(1.0, 0.0, x))[0, 0, 0])
           for x in np.linspace(0, 1, 31, endpoint=False)}
  assert first == {0, 1, 2}
  assert transforms.apply_crop(image, 4, transforms.Crop(1.0, 0.0, np.nextafter(1, 0))).shape == (
    4, 4, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3000, 1), (1, 20000), (2, 7), (31, 33)])
def test_tiny_and_extreme_pictures(shape):
  image = np.full((*shape, 3), (10, 130, 250), np.uint8)
  for number in range(5):
    out = transforms.apply_crop(image, 32, transforms.draw_crop(philox(0, CROP, number), 1.5))
    assert out.shape == (32, 32, 3) and out.dtype == np.uint8
    assert (out == (10, 130, 250)).all()
  assert (transforms.center_crop(image, (8, 24)) == (10, 130, 250)).all()


def test_random_crop_draws():
  drawn = [transforms.draw_crop(philox(3, CROP, i), 1.25) for i in range(400)]
  zooms = np.array([d.zoom for d in drawn])
  assert zooms.min() >= 1 and zooms.max() < 1.25 and abs(zooms.mean() - 1.125) < 0.01
  assert 150 < sum(d.flip for d in drawn) < 250
  assert not any(transforms.draw_crop(philox(3, CROP, i), flip=False).flip for i in range(50))
  # Turning the flip off moves nothing else.
  assert transforms.draw_crop(philox(3, CROP, 7), flip=False).y == drawn[7].y
  assert {transforms.draw_crop(philox(3, CROP, i), 1.0).zoom for i in range(9)} == {1.0}


def test_center_crop():
  image = picture(48, 32)
  np.testing.assert_array_equal(transforms.center_crop(image, 32), image[8:40])
  np.testing.assert_array_equal(transforms.center_crop(image, (48, 32)), image)
  np.testing.assert_array_equal(transforms.center_crop(image, (24, 32)), image[12:36])


def test_reduction_does_not_alias():
  stripes = np.zeros((256, 256, 3), np.uint8)
  stripes[:, ::2] = 255
  out = transforms.center_crop(stripes, 64)
  assert np.abs(out[4:-4, 4:-4].astype(int) - 128).max() <= 2


@pytest.mark.parametrize(("shape", "halvings"), [
  ((16, 16), 0), ((16, 40), 0), ((31, 20), 0), ((32, 45), 1), ((70, 63), 1), ((64, 64), 2),
  ((150, 129), 3)])
def test_cut_takes_pixels_as_they_are(shape, halvings):
  image, where = picture(*shape), transforms.Crop(zoom=1.2, y=0.999, x=0.4)
  whole = np.asarray(Image.fromarray(image).reduce(2 ** halvings)) if halvings else image
  height, width = whole.shape[:2]
  assert 16 <= min(height, width) <= 32  # 63 is halved to 32
  top, left = int(0.999 * (height - 15)), int(0.4 * (width - 15))
  expected = whole[top:top + 16, left:left + 16]
  np.testing.assert_array_equal(transforms.cut(image, 16, where), expected)
  np.testing.assert_array_equal(transforms.cut(Image.fromarray(image), 16, where), expected)
  mirrored = transforms.cut(image, 16, transforms.Crop(1.2, 0.999, 0.4, flip=True))
  assert mirrored.flags["C_CONTIGUOUS"]
  np.testing.assert_array_equal(mirrored, expected[:, ::-1])


def test_cut_enlarges_what_is_smaller():
  image, where = picture(12, 30), transforms.Crop(zoom=1.2, y=0.5, x=0.5)
  expected = transforms.apply_crop(image, 16, transforms.Crop(1.0, 0.5, 0.5))
  np.testing.assert_array_equal(transforms.cut(image, 16, where), expected)
  assert transforms.cut(picture(1, 1), 5, where).shape == (5, 5, 3)
