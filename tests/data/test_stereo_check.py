"""What is measured of a pair, on pairs whose numbers are known, and on the bundled one."""

import functools

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from scs_jax.data.matching import match
from scs_jax.data.stereo import open_pairs
from scs_jax.data.stereo_check import check_pair, vertical_offset
from scs_jax.errors import UserError
from scs_jax.report import stereo_plot

HEIGHT, WIDTH = 200, 320
pytestmark = pytest.mark.usefixtures("quick_matches")


@functools.cache
def texture(seed=0):
  """float64 [H + 40, W + 80, 3] in 0..255 with structure at several sizes."""
  rng = np.random.default_rng(seed)
  shape = (HEIGHT + 40, WIDTH + 80, 3)
  layers = [ndimage.gaussian_filter(rng.normal(size=shape), (s, s, 0)) * s for s in (1.5, 3, 8)]
  total = sum(layers)
  return np.clip(128 + 60 * total / total.std(), 0, 255)


def pair(tmp_path, dy=0.0, dx=20.0, turn=0.0, gain=1.0, change=None, name="a", seed=0):
  """Right and left view of a textured plane: a match lies dx right of and dy below its place.

  turn: further offset in y, in pixels at the right border and minus that at the left.
  """
  base = texture(seed)
  y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
  sample = lambda y, x: np.stack(
    [ndimage.map_coordinates(base[..., c], (y + 20, x + 40), order=3) for c in range(3)], -1)
  right = sample(y, x)
  tilt = turn * (2 * x / WIDTH - 1)
  left = gain * sample(y - dy - tilt, x - dx)
  if change is not None:
    left, right = change(left, right)
  folder = tmp_path / name
  folder.mkdir(parents=True, exist_ok=True)
  for view, image in (("left", left), ("right", right)):
    Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8)).save(folder / f"{view}.png")
  return open_pairs(tmp_path)


@pytest.mark.parametrize("dy", [-2.0, -0.3, 0.0, 0.9, 1.1, 2.0, 5.5])
def test_vertical_offsets_are_measured_to_a_tenth_of_a_pixel(tmp_path, dy):
  report = check_pair(pair(tmp_path, dy=dy), 0, 64)
  assert len(report.matches) > 100
  assert report.vertical == pytest.approx(dy, abs=0.06)
  if abs(dy) < 1:
    assert report.problems == []
  else:
    side = "below" if dy > 0 else "above"
    far = f"{abs(report.vertical):.1f}"
    assert report.problems == [f"not rectified: matches lie up to {far} pixels {side} their row"]


def test_a_turned_camera_is_found_though_its_offset_is_zero_in_the_mean(tmp_path):
  report = check_pair(pair(tmp_path, turn=3.0), 0, 64)
  assert np.median(report.matches.down) == pytest.approx(0, abs=0.5)
  assert abs(report.vertical) == pytest.approx(2.8, abs=0.25)
  assert "not rectified" in report.problems[0]


def test_the_plane_does_not_heed_wrong_matches():
  rng = np.random.default_rng(1)
  x, y = rng.uniform(0, 300, 200), rng.uniform(0, 200, 200)
  down = 0.4 + 0.002 * x + rng.normal(0, 0.05, 200)
  down[:70] = rng.uniform(-7, 7, 70)
  found = match(np.zeros((200, 300), np.uint8), np.zeros((200, 300), np.uint8))
  assert len(found) == 0  # nothing to hold on to in a flat picture
  worst, plane = vertical_offset(type(found)(y, x, down, np.zeros(200)))
  np.testing.assert_allclose(plane, 0.4 + 0.002 * x, atol=0.04)
  assert worst == pytest.approx(0.4 + 0.002 * 295, abs=0.05)


@pytest.mark.parametrize("dx", [3.0, 20.0, 38.5])
def test_disparities_are_estimated(tmp_path, dx):
  report = check_pair(pair(tmp_path, dx=dx), 0, 64)
  assert report.side == "right" and not report.from_file and report.problems == []
  assert report.low == pytest.approx(dx, abs=0.15) and report.high == pytest.approx(dx, abs=0.15)


def test_a_darker_noisier_view_matches_as_well(tmp_path):
  noise = np.random.default_rng(2).normal(0, 4, (HEIGHT, WIDTH, 3))
  darker = lambda left, right: (255 * (np.clip(left, 0, 255) / 255) ** 1.6 * 0.5 + noise, right)
  report = check_pair(pair(tmp_path, dy=0.3, change=darker), 0, 64)
  assert len(report.matches) > 50 and report.problems == []
  assert report.vertical == pytest.approx(0.3, abs=0.1)


def test_a_range_beyond_the_search_range_is_reported_with_one_that_would_do(tmp_path):
  source = pair(tmp_path, dx=40.0)
  assert check_pair(source, 0, 42).problems == []  # candidates 0 .. 41
  (problem,) = check_pair(source, 0, 32).problems
  assert problem == ("disparities up to 40: 100.0% of the matches are beyond the search range 32; "
                     "48 would do, or pairs reduced further")  # fmt: skip


def write_pfm(path, values):
  height, width = values.shape
  path.write_bytes(b"Pf\n%d %d\n-1\n" % (width, height) + values[::-1].astype("<f4").tobytes())


def test_a_disparity_file_is_believed_but_held_against_matches(tmp_path):
  source = pair(tmp_path, dx=20.0)
  values = np.full((HEIGHT, WIDTH), 20.0)
  values[:10] = np.nan
  values[100] = 60.0  # one row of 190: more than stray pixels
  write_pfm(tmp_path / "a" / "disp_right.pfm", values)
  report = check_pair(open_pairs(tmp_path), 0, 64)
  assert report.problems == [] and report.from_file and (report.low, report.high) == (20, 60)
  (problem,) = check_pair(open_pairs(tmp_path), 0, 48).problems
  assert "up to 60: 0.5% of the pixels are beyond the search range 48; 64 would do" in problem
  write_pfm(tmp_path / "a" / "disp_right.pfm", np.full((HEIGHT, WIDTH), 40.0))
  (problem,) = check_pair(open_pairs(tmp_path), 0, 64).problems
  assert "disparity file is off by 20 pixels" in problem
  (tmp_path / "a" / "disp_right.pfm").write_bytes(b"torn")
  report = check_pair(open_pairs(tmp_path, mono_view="right"), 0, 64)
  assert len(report.problems) == 1 and "no PFM file" in report.problems[0]
  assert report.low == pytest.approx(20, abs=0.2)  # measured all the same
  assert source.name(0) == "a"


@pytest.mark.parametrize(
  ("files", "wrong"),
  [
    ({"left": 20.0}, []),
    ({"left": 35.0}, ["colour"]),
    ({"right": 35.0}, ["monochrome"]),
    ({"left": 20.0, "right": 35.0}, ["monochrome"]),
    ({"left": 35.0, "right": 20.0}, ["colour"]),
    ({"left": 35.0, "right": 35.0}, ["monochrome", "colour"]),
  ],
)
def test_the_files_of_both_views_are_held_against_matches(tmp_path, files, wrong):
  pair(tmp_path, dx=20.0)
  for side, value in files.items():
    write_pfm(tmp_path / "a" / f"disp_{side}.pfm", np.full((HEIGHT, WIDTH), value))
  report = check_pair(open_pairs(tmp_path), 0, 64)
  assert report.side == "right" and len(report.problems) == len(wrong)
  for view, problem in zip(wrong, report.problems, strict=True):
    assert problem.startswith(f"the {view} view's disparity file is off by 15 pixels in the middle")


def test_a_file_is_read_where_its_view_has_the_match(tmp_path):
  """Half of the plane is nearer, by 24 pixels: from the left view its border lies elsewhere."""
  far = 10.0
  pair(tmp_path, dx=far, change=lambda left, right: (
    np.concatenate([left[:, :160], np.roll(left, 24, 1)[:, 160:]], 1), right))  # fmt: skip
  values = np.full((HEIGHT, WIDTH), far)
  values[:, 160:] = far + 24  # of the left view
  write_pfm(tmp_path / "a" / "disp_left.pfm", values)
  assert check_pair(open_pairs(tmp_path), 0, 64).problems == []
  write_pfm(tmp_path / "a" / "disp_left.pfm", values[:, ::-1])
  assert "colour view's disparity file" in check_pair(open_pairs(tmp_path), 0, 64).problems[0]


def test_a_file_of_another_size_is_reported(tmp_path):
  pair(tmp_path, dx=20.0)
  write_pfm(tmp_path / "a" / "disp_left.pfm", np.full((HEIGHT // 2, WIDTH), 20.0))
  (problem,) = check_pair(open_pairs(tmp_path), 0, 64).problems
  assert problem == "the colour view's disparity file has 320x100 pixels, the view 320x200"


@pytest.mark.parametrize("change", ["copy", "copy, noisier"])
def test_one_picture_given_twice_is_reported(tmp_path, change):
  noise = np.random.default_rng(0).normal(0, 2, (HEIGHT, WIDTH, 3)) * ("noisier" in change)
  source = pair(tmp_path, change=lambda left, right: (right + noise, right))
  (problem,) = check_pair(source, 0, 64).problems
  assert problem == (
    "no parallax: 98% of the matches are at one place in both views; "
    "are they copies of one picture?"
  )


def test_the_wrong_way_round(tmp_path):
  source = pair(tmp_path, dx=-20.0)
  assert check_pair(source, 0, 64).problems == []  # auto takes the other view
  (problem,) = check_pair(open_pairs(tmp_path, mono_view="right"), 0, 64).problems
  assert problem.startswith("the wrong way round: 100% of the matches have their match to the left")
  report = check_pair(open_pairs(tmp_path, mono_view="left"), 0, 64)
  assert report.side == "left" and "wrong way round" in report.problems[0]


def test_some_matches_to_the_left(tmp_path):
  upper = lambda left, right: (np.concatenate([np.roll(left, -30, 1)[:60], left[60:]]), right)
  (problem,) = check_pair(pair(tmp_path, dx=20.0, change=upper), 0, 64).problems
  assert problem.startswith("disparities from -10:") and "where none is looked for" in problem


def test_gray_views(tmp_path):
  gray = lambda left, right: (np.repeat(left[..., :1], 3, -1), right)
  report = check_pair(pair(tmp_path, change=gray), 0, 64)
  assert any("the colour view is gray (mean chroma 0.0)" in p for p in report.problems)
  left, right = (np.asarray(Image.open(tmp_path / "a" / f"{s}.png")) for s in ("left", "right"))
  for name, image in (("m", right), ("c", left)):
    (tmp_path / name).mkdir()
    Image.fromarray(image).save(tmp_path / name / "1.png")
  report = check_pair(open_pairs(f"{tmp_path}/m,{tmp_path}/c", mono_view="right"), 0, 64)
  assert any("are the two exchanged?" in problem for problem in report.problems)


def test_what_cannot_be_read_or_measured_is_reported(tmp_path):
  pair(tmp_path, name="torn")
  (tmp_path / "torn" / "left.png").write_bytes(b"torn")
  pair(tmp_path, name="sizes", change=lambda left, right: (left, right[:, :-7]))
  flat = lambda left, right: (np.full_like(left, 90), np.full_like(right, 90))
  pair(tmp_path, name="flat", change=flat)
  source = open_pairs(tmp_path, mono_view="right")
  found = {r.name: r for r in (check_pair(source, i, 64) for i in range(3))}
  assert "left.png: not a picture" in found["torn"].problems[0]
  sizes = "its pictures have different sizes, 320x200 and 313x200 pixels"
  assert found["sizes"].problems == [sizes]
  assert "too little in common" in found["flat"].problems[0]
  assert np.isnan(found["flat"].vertical) and np.isnan(found["flat"].low)
  for report in found.values():
    drawn = stereo_plot.draw(report, 64)
    assert drawn.dtype == np.uint8 and drawn.shape[2] == 3
  with pytest.raises(UserError, match="the search range is 0"):
    check_pair(source, 0, 0)


@pytest.mark.parametrize("size", [(1, 1), (1, 320), (200, 1), (16, 16)])
def test_pairs_too_small_for_a_single_match_are_reported(tmp_path, size):
  cut = lambda left, right: (left[: size[0], : size[1]], right[: size[0], : size[1]])
  folder = pair(tmp_path, change=cut)
  assert "cannot tell which view" in check_pair(folder, 0, 64).problems[0]
  found = check_pair(open_pairs(tmp_path, mono_view="right"), 0, 64)
  assert found.size == size and len(found.matches) == 0
  assert "too little in common" in found.problems[0]
  drawn = stereo_plot.draw(found, 64)
  assert drawn.dtype == np.uint8 and drawn.shape[2] == 3


def test_the_bundled_pair_is_as_it_should_be():
  report = check_pair(open_pairs("bundled", reduce=2), 0, 32)
  assert report.problems == [] and report.from_file and abs(report.vertical) < 0.3
  assert (report.low, report.high) == (pytest.approx(3.6, abs=0.1), pytest.approx(30, abs=0.1))
  (problem,) = check_pair(open_pairs("bundled", reduce=2), 0, 16).problems
  assert "beyond the search range 16; 32 would do" in problem


def test_the_plot_shows_where_matches_are_off_their_row(tmp_path):
  good = stereo_plot.draw(check_pair(pair(tmp_path / "g"), 0, 64), 64)
  bad = stereo_plot.draw(check_pair(pair(tmp_path / "b", dy=2.0), 0, 64), 64)
  red = np.array([0xCC, 0x44, 0x22])
  count = lambda image: int((np.abs(image.astype(int) - red).sum(-1) == 0).sum())
  assert count(bad) > 500 > 50 > count(good)


def test_the_plot_has_what_is_below_its_row_below(tmp_path):
  """Offsets count downwards: those of +2 are drawn below the middle, those of -2 above."""
  rows = []
  for dy in (-2.0, 2.0):
    report = check_pair(pair(tmp_path / str(dy), dy=dy), 0, 64)
    report.problems.clear()  # they stand in the same red
    drawn = stereo_plot.draw(report, 64).astype(int)
    lower = drawn[-190:, :480]  # the plot of offsets
    rows.append(np.flatnonzero((lower == [0xCC, 0x44, 0x22]).all(-1).sum(1) > 10))
  assert len(rows[0]) and len(rows[1]) and rows[0].max() + 40 < rows[1].min()


def test_the_plot_of_a_name_in_any_script(tmp_path):
  report = check_pair(pair(tmp_path, name="写真"), 0, 64)
  report.problems = ["写真 " + "long " * 200]
  tall = stereo_plot.draw(report, 64)
  assert tall.shape[0] > stereo_plot.draw(check_pair(pair(tmp_path), 0, 64), 64).shape[0]
