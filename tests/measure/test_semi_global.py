"""The baseline of classical stereo on made-up scenes, whose disparities and colours are known."""

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("cv2", reason="the baseline needs OpenCV, the extra stereo")

from scs_jax.core.contract import Query
from scs_jax.measure import pairs, semi_global

H, W, FAR, NEAR = 64, 96, 4, 11
SQUARE = slice(20, 44), slice(40, 64)  # of the near thing, in the monochrome view


def scene(seed=0):
  """(mono's true colours, colour view, disparity of mono's pixels): a square before a plane.

  Both carry a texture of brightness; the plane is bluish, the square reddish.
  """
  rng = np.random.default_rng(seed)
  texture = ndimage.gaussian_filter(rng.normal(size=(2, H, W + 32)), (0, 0.8, 0.8))
  texture = 0.5 + 0.12 * texture / texture.std()
  tint = np.array([[-0.12, 0.0, 0.2], [0.2, -0.06, -0.1]])
  paint = lambda layer, columns: texture[layer, :, columns, None] + tint[layer]
  views = []
  for shift in (0, 1):
    plane = paint(0, slice(16 - shift * FAR, 16 - shift * FAR + W))
    square = paint(1, slice(0, 24))[SQUARE[0]]
    left = SQUARE[1].start + shift * NEAR
    plane[SQUARE[0], left : left + 24] = square
    views.append(np.clip(plane, 0, 1))
  disparity = np.full((H, W), FAR, float)
  disparity[SQUARE] = NEAR
  return *views, disparity


def ycbcr(rgb):
  y = rgb @ np.array([0.299, 0.587, 0.114])
  return np.stack([y, (rgb[..., 2] - y) / 1.772 + 0.5, (rgb[..., 0] - y) / 1.402 + 0.5], axis=-1)


def curve(luma):
  """Another exposure and response."""
  return 0.75 * luma**1.6


@pytest.mark.parametrize("response", [lambda y: y, curve], ids=["same", "darker"])
def test_disparities_are_those_of_the_scene_whatever_the_exposure(response):
  mono, color, true = scene()
  found = semi_global.disparity(response(ycbcr(mono)[..., 0]), ycbcr(color)[..., 0])
  assert found.shape == (H, W) and found.dtype == np.float32
  known = np.isfinite(found)
  inner = np.s_[4:-4, 4 : W - 16]
  assert known[inner].mean() > 0.75
  assert (np.abs(found - true)[known] < 1.0).mean() > 0.95
  # The plane to the right of the square is hidden from the colour camera, 7 columns wide.
  hidden = np.s_[SQUARE[0], SQUARE[1].stop + 1 : SQUARE[1].stop + 6]
  assert known[hidden].mean() < 0.5


def test_colours_are_carried_over_and_what_is_hidden_gets_the_planes():
  mono, color, _ = scene()
  true = ycbcr(mono).astype(np.float32)
  found = semi_global.carried_chroma(true[None, ..., :1], ycbcr(color)[None].astype(np.float32))
  error = np.abs(np.asarray(found)[0] - true[..., 1:]).max(-1)
  assert np.median(error) < 0.01
  assert error[SQUARE][4:-4, 4:-4].max() < 0.05
  assert error[:16].max() < 0.05 and error[:, -10:].max() < 0.1


def test_views_without_anything_in_common_get_no_colour_from_it():
  flat = np.full((1, 32, 48, 1), 0.5, np.float32)
  gray = np.full((1, 32, 48, 3), 0.5, np.float32)
  found = semi_global.carried_chroma(flat, gray)
  np.testing.assert_allclose(found, 0.5, atol=1e-6)


def test_it_stands_among_the_baselines_and_keeps_the_gray():
  mono, color, _ = scene(1)
  gray = ycbcr(mono)[None, ..., :1].astype(np.float32)
  query = Query(gray, (H, W), color[None].astype(np.float32))
  first, second = pairs.BASELINES["semi_global"](None, query)
  kept = ycbcr(np.asarray(first.rgb[0], np.float64))[..., 0]
  assert np.abs(kept - gray[0, ..., 0]).max() < 0.02
  assert np.abs(np.asarray(first.rgb[0]) - mono).mean() < 0.02
  # Second-time it is the colour view that is coloured, in its own place.
  assert np.abs(np.asarray(second.rgb[0]) - color).mean() < 0.02
