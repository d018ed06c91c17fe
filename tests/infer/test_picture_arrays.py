"""Arrays as pictures: every type and shape that has a meaning, and a word on all others."""

import numpy as np
import pytest
from skimage import color, data

from scs_jax.errors import UserError
from scs_jax.infer import pictures


def linear(x):
  return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def srgb(x):
  return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 0) ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64, bool])
def test_arrays(dtype):
  white = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
  unit = np.rint(np.random.default_rng(0).uniform(0, 1, (5, 4, 4)) * 85) / 85
  unit[0, 0] = 0.0  # so that the alpha is not opaque
  values = (unit > 0.5 if dtype is bool else unit * white).astype(dtype)
  unit = values.astype(np.float64) / white
  gray = lambda x: srgb(linear(x[..., :3]) @ [0.212671, 0.715160, 0.072169])
  for channels in (None, 1, 2, 3, 4):
    array = values[..., 0] if channels is None else values[..., :channels]
    picture = pictures.read(array)
    alpha = {2: unit[..., 1], 4: unit[..., 3]}.get(channels)
    if channels in (3, 4):
      np.testing.assert_array_equal(picture.rgb, np.floor(unit[..., :3] * 255 + 0.5 - 1e-7))
      np.testing.assert_allclose(picture.gray, gray(unit), atol=2e-6)
    else:
      assert picture.rgb is None
      np.testing.assert_allclose(picture.gray, unit[..., 0], atol=1e-6)
    if alpha is None:
      assert picture.alpha is None
    else:
      np.testing.assert_array_equal(picture.alpha, np.floor(alpha * 255 + 0.5 - 1e-7))
    assert not np.shares_memory(picture.gray, array) and picture.format is None
    assert picture.rgb is None or not np.shares_memory(picture.rgb, array)


def test_an_array_may_leave_the_range_by_rounding():
  np.testing.assert_array_equal(pictures.read(np.array([[-1e-9, 1 + 1e-9]])).gray, [[0, 1]])


@pytest.mark.parametrize(("array", "match"), [
  (np.zeros((4, 4), np.int64), "got int64"),
  (np.zeros((4, 4), np.int8), "got int8"),
  (np.zeros((4, 4), complex), "got complex"),
  (np.full((4, 4), np.nan), "got nan to nan"),
  (np.array([[0.5, np.inf]]), "got 0.5 to inf"),
  (np.array([[0.0, 255.0]]), "divide by the white level"),
  (np.array([[-0.5, 0.0]]), "floats from 0 to 1"),
  (np.zeros((4, 4, 5), np.uint8), r"got \[4, 4, 5\]"),
  (np.zeros((1, 4, 4, 3), np.uint8), r"got \[1, 4, 4, 3\]"),
  (np.zeros(4, np.uint8), r"got \[4\]"),
  (np.zeros((0, 4), np.uint8), "at least one pixel"),
  (np.zeros((4, 4, 0), np.uint8), "channels last"),
  (np.broadcast_to(np.uint8(0), (40000, 30000)), "more than the limit"),
  (None, "got NoneType"),
  (3, "got int"),
])
def test_arrays_that_are_no_picture(array, match):
  with pytest.raises(UserError, match=match):
    pictures.read(array)


def test_chroma_tells_gray_from_colour():
  rgb = np.zeros((70, 300, 3), np.uint8) + np.array([200, 120, 60], np.uint8)
  lab = color.rgb2lab(rgb[:1, :1])[0, 0]
  assert pictures.read(rgb).chroma == pytest.approx(np.hypot(lab[1], lab[2]), rel=1e-3)
  assert pictures.read(data.camera()).chroma == 0.0
  assert pictures.read(np.repeat(data.camera()[..., None], 3, -1)).chroma < 1e-3
