"""The truth by a known disparity, on scenes small enough to write down."""

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import pairs as batches_of
from scs_jax.data.stereo import open_pairs
from scs_jax.data.warped import warp

H, W = 5, 12


def ycbcr(rgb):
  y = rgb @ np.array([0.299, 0.587, 0.114])
  return np.stack([y, (rgb[..., 2] - y) / 1.772, (rgb[..., 0] - y) / 1.402], axis=-1)


def soft(seed, width=W):
  return np.random.default_rng(seed).integers(100, 156, (H, width, 3)).astype(np.uint8)


def test_one_plane_moves_by_its_disparity_and_leaves_a_border():
  """Colour pixel x is seen at x - 3: the last three columns come from outside the colour view."""
  color, gray = soft(0), soft(1)[..., 0]
  found = warp(gray, color, np.full((H, W), 3.0, np.float32))
  assert found.seen.shape == (H, W, 1)
  np.testing.assert_array_equal(found.seen[..., 0], np.arange(W)[None].repeat(H, 0) < W - 3)
  mine = ycbcr(found.truth.astype(float))
  np.testing.assert_allclose(mine[:, :-3, 1:], ycbcr(color.astype(float))[:, 3:, 1:], atol=0.7)
  np.testing.assert_allclose(mine[..., 0], gray, atol=0.7)
  np.testing.assert_array_equal(found.truth[:, -3:], gray[:, -3:, None].repeat(3, -1))


def test_between_pixels_colours_are_linear():
  color = soft(2)
  found = warp(soft(3)[..., 0], color, np.full((H, W), 2.25, np.float32))
  chroma = ycbcr(color.astype(float))[..., 1:]
  expected = 0.75 * chroma[:, 2:-1] + 0.25 * chroma[:, 3:]
  np.testing.assert_allclose(ycbcr(found.truth.astype(float))[:, : W - 3, 1:], expected, atol=0.7)
  assert found.seen[:, : W - 3].all() and not found.seen[:, W - 3 + 1 :].any()


def test_what_is_near_hides_what_is_far_and_the_gap_beside_it_is_unknown():
  """Colour columns 5 to 8 are near (k = 4), the others far (k = 1): near ones land on 1 to 4, where
  the far columns 2 to 5 would have been; the far columns 9 on land on 8 on; 5 to 7 nobody sees."""
  disparity = np.full((H, W), 1.0, np.float32)
  disparity[:, 5:9] = 4.0
  color = soft(4)
  found = warp(soft(5)[..., 0], color, disparity)
  columns = {0: 1, 1: 5, 2: 6, 3: 7, 4: 8, 8: 9, 9: 10, 10: 11}
  np.testing.assert_array_equal(found.seen[0, :, 0], [i in columns for i in range(W)])
  mine, theirs = ycbcr(found.truth.astype(float)), ycbcr(color.astype(float))
  for i, x in columns.items():
    np.testing.assert_allclose(mine[:, i, 1:], theirs[:, x, 1:], atol=0.7)


def test_unknown_disparities_are_unknown_colours():
  disparity = np.full((H, W), 2.0, np.float32)
  disparity[1, 4:6] = np.nan
  found = warp(soft(6)[..., 0], soft(7), disparity)
  # A point between known pixels alone is known: of columns 3 and 6 only the far sides.
  assert found.seen[0, : W - 2].all()
  np.testing.assert_array_equal(found.seen[1, : W - 2, 0], [i not in (2, 3) for i in range(W - 2)])


def write_pfm(path, values):
  path.write_bytes(b"Pf\n%d %d\n-1.0\n" % (W, H) + values[::-1].astype("<f4").tobytes())


@pytest.fixture
def folder(tmp_path):
  """A scene in other light: left.png, right.png and disp_left.pfm; the mask hides a column."""
  scene = tmp_path / "scene"
  scene.mkdir()
  for name, seed in (("left", 8), ("right", 9)):
    Image.fromarray(soft(seed)).save(scene / f"{name}.png")
  write_pfm(scene / "disp_left.pfm", np.full((H, W), 2.0))
  mask = np.full((H, W), 255, np.uint8)
  mask[:, 6] = 128
  Image.fromarray(mask).save(scene / "mask.png")
  return tmp_path


def test_a_source_gives_it_where_it_is_asked_for(folder):
  own = open_pairs(folder).load(0)
  pair = open_pairs(folder, warped=True).take([0]).load(0)
  assert own.seen is None
  np.testing.assert_array_equal(own.truth, soft(9))
  np.testing.assert_array_equal(pair.mono, own.mono)
  np.testing.assert_array_equal(pair.seen[0, :, 0], [i != 4 and i < W - 2 for i in range(W)])
  theirs = ycbcr(soft(8).astype(float))[:, 2:4, 1:]
  np.testing.assert_allclose(ycbcr(pair.truth.astype(float))[:, :2, 1:], theirs, atol=0.7)
  assert open_pairs(folder, warped=True).load(0, extras=False).truth is None


def test_the_batch_says_which_pixels_are_known(folder):
  for warped in (False, True):
    with batches_of.eval_batches(open_pairs(folder, warped=warped), None) as read:
      (batch,) = read
    assert batch["seen"].shape == (1, H, W, 1) and batch["has_truth"].all()
    assert batch["seen"].all() == (not warped)
  (folder / "scene/disp_left.pfm").unlink()
  with batches_of.eval_batches(open_pairs(folder, warped=True, mono_view="right"), None) as read:
    (batch,) = read
  assert not batch["has_truth"].any()
