"""Pairs of views from any side, at any size, on the monochrome view's own Y."""

import pathlib
import re
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from scs_jax.errors import UserError
from scs_jax.infer import luminance, pairs, pictures
from scs_jax.infer.colorizer import Colorizer
from scs_jax.infer.pairs import PairColorizer

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import block_matcher

pytestmark = pytest.mark.usefixtures("quick_matches")
SIZE, SHIFT = (96, 120), 5

# How the pictures of a pair whose monochrome camera stands on the right look from elsewhere.
TURNS = {
  "right": lambda x: x,
  "left": lambda x: x[:, ::-1],
  "lower": lambda x: x.swapaxes(0, 1),
  "upper": lambda x: x[:, ::-1].swapaxes(0, 1),
}


def luma_of(rgb):
  return rgb.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def make(lines=None, search_range=8, **keywords):
  method = block_matcher.BlockMatcher(search_range)
  note = lines.append if lines is not None else None
  return PairColorizer(method, block_matcher.STATE, note=note, **keywords)


def inner(x, margin=SHIFT + 8):
  """Without what one of the views does not show."""
  return x[margin:-margin, margin:-margin].astype(np.float64)


@pytest.fixture(scope="module")
def finding():
  """A colorizer that finds the side of each pair, and what it notes."""
  lines = []
  return make(lines), lines


@pytest.mark.parametrize("view", TURNS)
def test_every_side(finding, view):
  mono, color, truth = map(TURNS[view], block_matcher.scene(SIZE, SHIFT))
  mono, color = map(np.ascontiguousarray, (mono, color))
  colorizer, lines = finding
  found = colorizer(mono, color)
  assert found.shape == truth.shape and found.dtype == np.uint8 and lines == []
  error = np.abs(inner(found) - inner(truth)).mean()
  assert error < 2.0
  assert np.abs(luma_of(found) - mono).max() <= 1.0
  said = []
  np.testing.assert_array_equal(make(said, mono_view=view)(mono, color), found)
  assert said == []
  # The wrong side is worse by far, and said.
  other = {"right": "left", "left": "right", "lower": "upper", "upper": "lower"}[view]
  wrong = make(said, mono_view=other)(mono, color)
  assert np.abs(inner(wrong) - inner(truth)).mean() > 5 * error
  assert len(said) == 1 and "100% of the matches lie where none is looked for" in said[0]


class Trusting(block_matcher.BlockMatcher):
  """Trusts what is to the right, as it sees a pair."""

  def predict(self, state, query):
    found = super().predict(state, query)
    if query.want_extras:
      ramp = np.linspace(0, 1, query.gray.shape[2], dtype=np.float32)[None, None, :, None]
      found.extras["confidence"] = np.broadcast_to(ramp, query.gray.shape)
    return found


def test_maps_lie_as_the_pair_does():
  view = "upper"
  mono, color, _ = map(TURNS[view], block_matcher.scene(SIZE, SHIFT))
  views = [pictures.read(np.ascontiguousarray(x)) for x in (mono, color)]
  colorizer = PairColorizer(Trusting(), block_matcher.STATE, mono_view=view, want_maps=True)
  found = colorizer.find(*views)
  assert found.layout.view == view and found.disparity.shape == mono.shape
  assert np.abs(inner(found.disparity) - SHIFT).mean() < 0.5
  ramp = np.broadcast_to(np.linspace(0, 1, SIZE[1], dtype=np.float32), SIZE)
  np.testing.assert_array_equal(found.confidence, TURNS[view](ramp))
  whole = colorizer.painter.program(SIZE, SIZE[0]).bytes
  less = PairColorizer(
    Trusting(), block_matcher.STATE, mono_view=view, want_maps=True, memory_limit=int(0.8 * whole)
  )
  found = less.find(*views)
  assert found.disparity.shape == mono.shape and found.confidence is None  # went through in strips


def test_layout_is_measured():
  mono, color, _ = block_matcher.scene(SIZE, SHIFT)
  layout = pairs.find_layout(mono / np.float32(255), color)
  assert layout.view == "right" and layout.astray == 0
  assert abs(layout.reach - SHIFT) < 0.3 and abs(layout.offset) < 0.1
  moved = np.roll(color, 3, axis=0)  # the colour camera looks higher
  layout = pairs.find_layout(mono / np.float32(255), moved, "right")
  assert abs(layout.offset - 3) < 0.2 and abs(layout.reach - SHIFT) < 0.3


def test_a_pair_that_is_not_rectified_is_warned_of():
  mono, color, _ = block_matcher.scene(SIZE, SHIFT)
  lines = []
  make(lines)(mono, np.roll(color, 3, axis=0))
  assert len(lines) == 1 and lines[0].startswith("warning: matches lie 3.0 pixels off their row")


def test_what_cannot_be_told_is_asked_for():
  mono, color, _ = block_matcher.scene(SIZE, SHIFT)
  flat = np.full_like(mono, 90)
  with pytest.raises(UserError, match=r"only 0 of 200 places .* say it with --mono-view right"):
    make()(flat, color)
  make(mono_view="right")(flat, color)
  # The upper half is seen from the right, the lower from the left.
  both = np.concatenate([color[:48], np.roll(color[48:], -2 * SHIFT, axis=1)])
  with pytest.raises(UserError, match="matches lie on both sides"):
    make()(mono, both)


# --- disparities and memory


def test_matches_beyond_the_search_range_are_found_at_reduced_size():
  mono, color, truth = block_matcher.scene((96, 240), 30)
  lines = []
  found = make(lines, search_range=16)(mono, color)
  assert lines == ["matches lie up to 30 pixels apart, the network looks at 16: colours are "
                   "computed at 116 pixels a side, light and dark stay at full size"]  # fmt: skip
  assert np.abs(luma_of(found) - mono).max() <= 1.0 and found.shape == truth.shape
  lines.clear()
  # Chroma of the wall's coarse pattern survives the reduction; without it nothing is right.
  whole = make(lines, search_range=16)(mono, color, input_side=240)
  assert len(lines) == 1 and re.fullmatch(
    "warning: at this size matches lie up to 30 pixels apart, the network looks at 16; "
    "--input-side (119|120) would hold them",
    lines[0],
  )
  error = [np.abs(inner(x, 34) - inner(truth, 34)).mean() for x in (found, whole)]
  assert error[0] < 0.6 * error[1]


def test_a_side_that_the_user_gives_is_taken():
  mono, color, _ = block_matcher.scene(SIZE, SHIFT)
  colorizer = make()
  found = colorizer(mono, color, input_side=60)
  assert colorizer.painter.method.seen == [(48, 60)] and found.shape == (*SIZE, 3)
  assert np.abs(luma_of(found) - mono).max() <= 1.0
  with pytest.raises(UserError, match="input side 0"):
    colorizer(mono, color, input_side=0)


def test_small_memory_makes_strips_and_less_makes_the_picture_smaller():
  mono, color, _ = block_matcher.scene((180, 120), SHIFT)
  lines = []
  whole = make()
  expected = whole(mono, color)
  need = whole.painter.program((180, 120), 180).bytes
  cut = make(lines, memory_limit=need // 3)
  np.testing.assert_allclose(cut(mono, color).astype(int), expected, atol=1)
  assert cut.painter.method.seen[-1][0] < 90 and lines == []
  small = make(lines, memory_limit=need // 12)
  found = small(mono, color)
  assert found.shape == expected.shape and np.abs(luma_of(found) - mono).max() <= 1.0
  assert lines and "light and dark stay at full size" in lines[-1]
  with pytest.raises(UserError, match="do not fit into memory even in the lowest strips"):
    make(memory_limit=need // 12)(mono, color, input_side=180)
  with pytest.raises(UserError, match="do not fit"):
    make(memory_limit=1000)(mono, color)


# --- results


def test_sixteen_bits_count():
  mono, color, _ = block_matcher.scene(SIZE, SHIFT)
  fine = (mono.astype(np.uint16) << 8) + np.uint16(250)  # nearly a level of 8 bits above
  colorizer = make()
  coarse, found = colorizer(mono, color), colorizer(fine, color)
  assert abs(np.mean(luma_of(found)) - np.mean(fine / 257)) < 0.05
  assert np.mean(luma_of(found)) - np.mean(luma_of(coarse)) > 0.4
  deep = colorizer(fine, color, depth=16)
  assert deep.dtype == np.uint16
  assert np.abs(luma_of(deep) - fine).max() <= 1.0  # of 65,535 levels
  of_jax = colorizer(jax.numpy.asarray(mono), color)
  assert isinstance(of_jax, np.ndarray)
  np.testing.assert_array_equal(of_jax, coarse)


def test_a_monochrome_view_in_colour_counts_by_its_luma():
  mono, color, truth = block_matcher.scene(SIZE, SHIFT)
  lines = []
  found = make(lines)(truth, color)
  np.testing.assert_array_equal(found, make()(mono, color))
  assert lines == ["the monochrome view has colours, of which nothing but Y is looked at"]


def test_views_too_narrow_for_a_match_are_said():
  """Along a row of the network, which is a column where the cameras stand one above the other."""
  lines, rng = [], np.random.default_rng(0)
  mono, color = (rng.integers(0, 256, (40, 1, 3), np.uint8) for _ in range(2))
  make(lines, mono_view="right")(mono[..., :1], color)
  assert lines[-1].startswith("warning: 1 pixel from the one side to the other are too few")
  lines.clear()
  make(lines, mono_view="lower")(mono[..., :1], color)
  assert lines == []


def test_scale_size_saturation_alpha_and_kinds():
  mono, color, _ = block_matcher.scene(SIZE, SHIFT)
  colorizer = make()
  plain = colorizer(mono, color)
  assert colorizer(mono, color, scale=1.5).shape == (144, 180, 3)
  assert colorizer(mono, color, size=(50, 70)).shape == (50, 70, 3)
  np.testing.assert_array_equal(
    colorizer(mono, color, saturation=0), np.repeat(mono[..., None], 3, -1)
  )
  strong = colorizer(mono, color, saturation=1.5)
  spread = lambda x: (x.max(-1).astype(int) - x.min(-1)).mean()
  assert 1.35 * spread(plain) < spread(strong) <= 1.55 * spread(plain)
  assert np.abs(luma_of(strong) - mono).max() <= 1.0
  alpha = np.arange(mono.size, dtype=np.uint8).reshape(mono.shape)
  found = colorizer(np.stack([mono, alpha], -1), color)
  np.testing.assert_array_equal(found, np.dstack([plain, alpha]))
  image = colorizer(Image.fromarray(mono), Image.fromarray(color))
  np.testing.assert_array_equal(np.asarray(image), plain)
  picture = pictures.read(mono)
  assert isinstance(colorizer(picture, pictures.read(color)), Image.Image)
  with pytest.raises(UserError, match="saturation"):
    colorizer(mono, color, saturation=5)
  with pytest.raises(UserError, match="scale"):
    colorizer(mono, color, scale=0)


def test_pairs_that_are_none():
  mono, color, _ = block_matcher.scene(SIZE, SHIFT)
  colorizer = make()
  with pytest.raises(UserError, match="120x96 pixels, the colour view color has 119x96"):
    colorizer(mono, color[:, 1:])
  with pytest.raises(UserError, match="gray, it has no colours to lend; give the colour camera"):
    colorizer(mono, mono)
  with pytest.raises(UserError, match="are --mono and --color swapped"):
    colorizer(color, mono)
  with pytest.raises(UserError, match="expected auto, right, left, lower, upper"):
    make(mono_view="middle")


def test_numbers_that_are_none_are_refused():
  mono, color, _ = block_matcher.scene(SIZE, SHIFT)
  with pytest.raises(UserError, match="diverged"):
    PairColorizer(
      block_matcher.BlockMatcher(sharpness=np.nan), block_matcher.STATE, mono_view="right"
    )(mono, color)


def test_each_kind_of_method_by_its_own_colorizer(pieces_method, pieces_state):
  with pytest.raises(UserError, match=r"colours pairs .* give it both"):
    Colorizer(block_matcher.BlockMatcher(), block_matcher.STATE)
  with pytest.raises(UserError, match="colours photos, not pairs"):
    PairColorizer(pieces_method, pieces_state)


# --- Y and chroma


def test_luma_is_kept_and_chroma_given_up_beyond_the_gamut():
  rng = np.random.default_rng(0)
  rgb = rng.random((40, 50, 3)).astype(np.float32)
  rgb[:4] = np.eye(3, dtype=np.float32)[rng.integers(0, 3, (4, 50))]
  luma = rng.random((40, 50)).astype(np.float32)
  luma[5:7], luma[8:10] = 0.0, 1.0
  found = luminance.keep_luma(luma, rgb).astype(np.float64)
  assert np.abs(luma_of(found) - luma * 255).max() <= 0.5 + 1e-3
  # Cb and Cr, written out, point the same way, and are as long wherever that fits.
  chroma = lambda x, y: np.stack([(x[..., 2] - y) / 1.772, (x[..., 0] - y) / 1.402], -1)
  asked, made = chroma(rgb, luma_of(rgb)) * 255, chroma(found, luma_of(found))
  length = lambda x: np.hypot(x[..., 0], x[..., 1])
  cross = asked[..., 0] * made[..., 1] - asked[..., 1] * made[..., 0]
  assert (np.abs(cross) <= 1.5 * length(asked) + 1e-6).all()
  assert (length(made) <= length(asked) + 1.5).all()
  add = np.stack([1.402 * asked[..., 1], -0.344136 * asked[..., 0] - 0.714136 * asked[..., 1],
                  1.772 * asked[..., 0]], -1)  # fmt: skip
  fits = ((luma[..., None] * 255 + add >= 0) & (luma[..., None] * 255 + add <= 255)).all(-1)
  assert 0.1 < fits.mean() < 0.9
  assert np.abs((luma[..., None] * 255 + add - found)[fits]).max() <= 0.5 + 1e-2
  touching = (found <= 1) | (found >= 254)
  assert touching.any(-1)[~fits].all()  # no more is given up than it takes


def test_chroma_of_less_pixels_is_enlarged_under_luma():
  rgb = np.full((10, 12, 3), [0.7, 0.4, 0.3], np.float32)
  luma = np.linspace(0.3, 0.6, 30 * 24, dtype=np.float32).reshape(30, 24)
  found = luminance.keep_luma(luma, rgb)
  assert found.shape == (30, 24, 3)
  expected = luma[..., None] + rgb[0, 0] - luma_of(rgb[0, 0])
  assert np.abs(found / 255 - expected).max() <= 0.5 / 255 + 1e-4
  np.testing.assert_array_equal(
    luminance.keep_luma(luma, np.full((3, 3, 3), 0.4, np.float32)),
    np.repeat(np.floor(luma * 255 + 0.5).astype(np.uint8)[..., None], 3, -1),
  )
