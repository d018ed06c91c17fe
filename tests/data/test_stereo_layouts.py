"""Folders as each data set publishes them."""

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import disparity_files
from scs_jax.data.stereo_layouts import find
from scs_jax.errors import UserError

WIDTH = 6


def picture(path, height=4, value=0, mode="RGB"):
  path.parent.mkdir(parents=True, exist_ok=True)
  shape = (height, WIDTH, 3) if mode == "RGB" else (height, WIDTH)
  kind = np.uint16 if mode == "16" else np.uint8
  Image.fromarray(np.full(shape, value, kind)).save(path)


def pfm(path, value, height=4):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(b"Pf\n%d %d\n-1.0\n" % (WIDTH, height)
                   + np.full((height, WIDTH), value, "<f4").tobytes())  # fmt: skip


def relative(record, root):
  return tuple(view.removeprefix(f"{root}/") for view in record.views)


def values(record):
  """The one value of each disparity file."""
  return tuple(
    None if file is None else float(disparity_files.read(file)[0, 0]) for file in record.disparities
  )


def test_middlebury_2014(tmp_path):
  for name in ("im0.png", "im1.png", "im1E.png", "im1L.png"):
    picture(tmp_path / "Pipes" / name)
  picture(tmp_path / "Vintage" / "im0.png")
  picture(tmp_path / "Vintage" / "im1.png")
  pfm(tmp_path / "Pipes" / "disp0.pfm", 11.5)
  pfm(tmp_path / "Pipes" / "disp1.pfm", 12.5)
  (tmp_path / "Pipes" / "calib.txt").write_text("ndisp=300")
  records, notes = find(tmp_path)
  assert [r.name for r in records] == ["Pipes", "Vintage"] and notes == []
  assert relative(records[0], tmp_path) == ("Pipes/im0.png", "Pipes/im1.png")
  assert values(records[0]) == (11.5, 12.5) and values(records[1]) == (None, None)
  assert not records[0].real and records[0].tone is None
  records, notes = find(tmp_path, variant="E")
  assert records[0].tone == str(tmp_path / "Pipes" / "im1E.png")
  assert notes == ["pairs without a right view E, read as they are: 1 (Vintage)"]
  assert find(tmp_path, variant="L")[0][0].tone.endswith("im1L.png")


@pytest.mark.parametrize(("height", "expected"), [(1110, 60), (555, 30), (370, 20), (300, None)])
def test_middlebury_2005_scale_by_size(tmp_path, height, expected):
  for name in ("view1.png", "view5.png"):
    picture(tmp_path / "Art" / name, height)
  for name in ("disp1.png", "disp5.png"):
    picture(tmp_path / "Art" / name, height, 60, "L")
  (record,), notes = find(tmp_path)
  assert relative(record, tmp_path) == ("Art/view1.png", "Art/view5.png")
  assert values(record) == (expected, expected)
  assert len(notes) == (expected is None)


def test_middlebury_2006_by_illumination_is_one_pair(tmp_path):
  for light in (1, 2, 3):
    for exposure in (0, 1, 2):
      for view in (0, 1, 5):
        picture(tmp_path / "Baby1" / f"Illum{light}" / f"Exp{exposure}" / f"view{view}.png", 370)
  picture(tmp_path / "Baby1" / "disp1.png", 370, 60, "L")
  (record,), _ = find(tmp_path)
  place = "Baby1/Illum1/Exp1"
  assert relative(record, tmp_path) == (f"{place}/view1.png", f"{place}/view5.png")
  assert values(record) == (20, None)


@pytest.mark.parametrize(("height", "expected"), [(375, 15), (750, 30), (1500, 60), (381, None)])
def test_middlebury_2003_scale_by_size(tmp_path, height, expected):
  for view in range(9):
    picture(tmp_path / "cones" / f"im{view}.ppm", height)
  for name in ("disp2.pgm", "disp6.pgm"):
    picture(tmp_path / "cones" / name, height, 60, "L")
  (record,), _ = find(tmp_path)
  # im0 and im1 stand beside them, as in the data set: nine views are not the 2014 layout.
  assert relative(record, tmp_path) == ("cones/im2.ppm", "cones/im6.ppm")
  assert values(record) == (expected, expected)


def test_disparity_files_of_no_known_scale_are_named(tmp_path):
  for scene in ("a", "b"):
    for name in ("left.png", "right.png"):
      picture(tmp_path / scene / name)
    picture(tmp_path / scene / "disp_left.png", mode="L")
  picture(tmp_path / "b" / "disp_right.png", mode="L")
  records, (note,) = find(tmp_path)
  assert [values(record) for record in records] == [(None, None)] * 2
  assert note == (
    "disparity files that are not read, since nothing says what a value means: 3 "
    "(a/disp_left.png, b/disp_left.png, b/disp_right.png); write them as .pfm, in pixels, or give "
    "check-stereo --disparity-scale for disp_left.png and disp_right.png"
  )
  assert find(tmp_path, disparity_scale=4.0)[1] == []


def test_sintel(tmp_path):
  root = tmp_path / "training"
  for render in ("clean", "final"):
    for scene in ("alley_1", "ambush_2"):
      for side in ("left", "right"):
        for frame in ("frame_0001", "frame_0002"):
          picture(root / f"{render}_{side}" / scene / f"{frame}.png")
  (root / "final_right" / "alley_1" / "frame_0002.png").unlink()
  picture(root / "disparities" / "alley_1" / "frame_0001.png", value=10)
  picture(root / "occlusions" / "alley_1" / "frame_0001.png", mode="L")
  records, notes = find(tmp_path)
  assert len(records) == 4 and notes == []
  assert records[0].name == "training/alley_1/frame_0001"
  assert relative(records[0], root) == (
    "clean_left/alley_1/frame_0001.png", "clean_right/alley_1/frame_0001.png")  # fmt: skip
  assert values(records[0]) == (np.float32(40 + 10 / 64 + 10 / 16384), None)
  records, notes = find(root, variant="final")
  assert [r.name for r in records] == [
    "alley_1/frame_0001", "ambush_2/frame_0001", "ambush_2/frame_0002"]  # fmt: skip
  assert "final_left" in records[0].views[0]
  assert notes == [f"views of {root}/final_left without a right one, left out: 1 "
                   "(alley_1/frame_0002.png)"]  # fmt: skip


@pytest.mark.parametrize("extension", ["png", "webp"])
def test_sceneflow(tmp_path, extension):
  webp = "_webp" if extension == "webp" else ""
  part = "35mm_focallength/scene_forwards/fast"
  for side in ("left", "right"):
    picture(tmp_path / "driving" / f"frames_finalpass{webp}" / part / side / f"0001.{extension}")
  pfm(tmp_path / "driving" / "disparity" / part / "left" / "0001.pfm", 3.0)
  pfm(tmp_path / "driving" / "disparity" / part / "right" / "0001.pfm", 4.0)
  (record,), _ = find(tmp_path)
  assert record.name == f"driving/{part}/0001"
  assert record.views[1].endswith(f"{part}/right/0001.{extension}")
  assert values(record) == (3.0, 4.0)
  with pytest.raises(UserError, match="driving has no clean rendering"):
    find(tmp_path, variant="clean")


def test_cityscapes(tmp_path):
  for city in ("aachen", "bochum"):
    for side in ("left", "right"):
      name = f"{city}_000000_000019_{side}Img8bit.png"
      picture(tmp_path / f"{side}Img8bit" / "train" / city / name)
  picture(tmp_path / "leftImg8bit" / "train" / "aachen" / "alone_leftImg8bit.png")
  name = "aachen_000000_000019_disparity.png"
  picture(tmp_path / "disparity" / "train" / "aachen" / name, value=513, mode="16")
  records, notes = find(tmp_path)
  assert [r.name for r in records] == [
    "train/aachen/aachen_000000_000019", "train/bochum/bochum_000000_000019"]  # fmt: skip
  assert values(records[0]) == (2.0, None) and values(records[1]) == (None, None)
  assert "1 (alone)" in notes[0]


def test_plain_folders(tmp_path):
  picture(tmp_path / "a" / "left.png")
  picture(tmp_path / "a" / "right.jpg")
  picture(tmp_path / "a" / "right_exposureE.png")
  picture(tmp_path / "a" / "disp_right.png", value=60, mode="L")
  pfm(tmp_path / "a" / "disp_left.pfm", 5.0)
  (record,), _ = find(tmp_path)
  assert values(record) == (5.0, None)  # of the PNG nobody knows the scale
  (record,), _ = find(tmp_path, "E", 3.0)
  assert values(record) == (5.0, 20.0) and record.tone.endswith("right_exposureE.png")
  (record,), _ = find(tmp_path / "a")
  assert record.name == "a"


def test_several_layouts_and_links_in_one_tree(tmp_path):
  for name in ("left.png", "right.png"):
    picture(tmp_path / "plain" / name)
  for name in ("im0.png", "im1.png"):
    picture(tmp_path / "deep" / "down" / "2014" / name)
  (tmp_path / "deep" / "loop").symlink_to(tmp_path)
  (tmp_path / ".hidden").mkdir()
  picture(tmp_path / ".hidden" / "left.png")
  picture(tmp_path / ".hidden" / "right.png")
  assert [r.name for r in find(tmp_path)[0]] == ["deep/down/2014", "plain"]


def test_nonsense_gives_one_line(tmp_path):
  picture(tmp_path / "photos" / "one.png")
  for arguments, part in [
    ((tmp_path / "none",), "is not there"),
    ((tmp_path / "photos" / "one.png",), "is a file"),
    ((tmp_path / "photos",), "no stereo pairs under"),
    ((tmp_path, "dirty"), "expected one of clean, final, E, L"),
  ]:
    with pytest.raises(UserError) as error:
      find(*arguments)
    assert part in str(error.value) and "\n" not in str(error.value)
  for name in ("left.png", "right.png"):
    picture(tmp_path / "plain" / name)
  with pytest.raises(UserError, match="no pair under"):
    find(tmp_path, "E")
