"""Which picture goes with which: files, folders by name, and those that are alone."""

import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from scs_jax.data.decode import DecodeError
from scs_jax.errors import UserError
from scs_jax.infer import pair_inputs, pictures
from scs_jax.infer.record import Record


@pytest.fixture
def place(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  return tmp_path


def put(*names):
  for name in names:
    path = pathlib.Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")


def pairs_of(found):
  return [(task.source, task.partner, task.output) for task in found.tasks]


def test_two_files_whatever_they_are_called(place):
  put("a/left.png", "b/right.tif")
  found = pair_inputs.find("a/left.png", "b/right.tif", "out")
  assert pairs_of(found) == [("a/left.png", "b/right.tif", "out/left.png")] and not found.single
  found = pair_inputs.find("a/left.png", "b/right.tif", "out/x.jpg")
  assert pairs_of(found) == [("a/left.png", "b/right.tif", "out/x.jpg")] and found.single


def test_folders_by_name_below_them(place):
  put("m/1.png", "m/a/1.tif", "m/a/2.png", "c/1.jpg", "c/a/1.png", "c/a/2.png", "c/.hidden/1.png")
  found = pair_inputs.find("m", "c", "out")
  assert pairs_of(found) == [
    ("m/1.png", "c/1.jpg", "out/1.png"),
    ("m/a/1.tif", "c/a/1.png", "out/a/1.tif"),
    ("m/a/2.png", "c/a/2.png", "out/a/2.png"),
  ]
  assert not found.unreadable and not found.spare and not found.others
  found = pair_inputs.find("m/a/*.png", "c/a/*.png", "out", "jpg")
  assert pairs_of(found) == [("m/a/2.png", "c/a/2.png", "out/2.jpg")]
  assert found.spare == ["c/a/1.png"]


def test_those_that_are_alone(place):
  put("m/1.png", "m/img_07.png", "m/x.png", "m/n.txt", "c/1.png", "c/img-07.png", "c/y.jpg")
  put("c/movie.mp4", "c/n.csv")
  found = pair_inputs.find("m", "c", "out")
  assert pairs_of(found) == [("m/1.png", "c/1.png", "out/1.png")]
  assert found.unreadable == [
    ("m/img_07.png", "no picture of this name in c; did you mean img-07.png?"),
    ("m/x.png", "no picture of this name in c"),
  ]
  assert found.spare == ["c/img-07.png", "c/y.jpg"]
  assert sorted(map(os.path.basename, found.others)) == ["n.csv", "n.txt"]


def test_two_of_one_name_are_none(place):
  put("m/1.png", "m/2.png", "m/2.tif", "m/3.png", "c/1.png", "c/1.jpg", "c/2.png", "c/3.png")
  found = pair_inputs.find("m", "c", "out")
  assert [task.source for task in found.tasks] == ["m/3.png"] and not found.spare
  assert found.unreadable == [
    ("m/1.png", "c/1.jpg and c/1.png have one name but for the extension; keep one of them"),
    ("m/2.png", "m/2.png and m/2.tif have one name but for the extension; keep one of them"),
    ("m/2.tif", "m/2.png and m/2.tif have one name but for the extension; keep one of them"),
  ]


@pytest.mark.parametrize(
  ("mono", "color", "out", "parts"),
  [
    ("m", "c/1.png", "out", ["--mono m is a folder, --color c/1.png is a file", "two folders"]),
    ("m/1.png", "c", "out", ["--mono m/1.png is a file, --color c is a folder"]),
    ("m", "m", "out", ["are the same, m"]),
    ("m/1.png", "m/../m/1.png", "out", ["are the same"]),
    ("nowhere", "c", "out", ["no such file or folder: nowhere"]),
    ("m", "nowhere", "out", ["no such file or folder: nowhere"]),
    ("m", "d", "out", ["no name is in both", "m has 1, 2, --color d has 8, 9", "alike"]),
    ("m", "empty", "out", ["--color empty is without pictures"]),
    ("empty", "c", "out", ["no pictures in empty"]),
    ("m/1.png", "v.mp4", "out", ["--color v.mp4 is a video; give its frames"]),
    ("v.mp4", "c/1.png", "out", ["--mono v.mp4 is a video"]),
    ("m", "c", "m", ["--out m is the folder of the pictures itself"]),
    ("m", "c", "c", ["--out c is the folder of the pictures itself"]),
    ("m/1.png", "c/1.png", "c/1.png", ["c/1.png is an input and would be overwritten"]),
    ("m/1.png", "c/1.png", "m/1.png", ["m/1.png is an input and would be overwritten"]),
    ("m", "c", "out.png", ["--out out.png names one file"]),
    ("m", "c", "", ["--out is empty"]),
  ],
)
def test_what_goes_with_nothing(place, mono, color, out, parts):
  put("m/1.png", "m/2.png", "c/1.png", "c/2.png", "d/8.png", "d/9.png", "empty/x.txt", "v.mp4")
  with pytest.raises(UserError) as caught:
    pair_inputs.find(mono, color, out)
  for part in parts:
    assert part in str(caught.value)


def test_the_colour_view_is_read_and_checked(place):
  pathlib.Path("c").mkdir()
  rng = np.random.default_rng(0)
  Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).save("c/good.png")
  Image.fromarray(rng.integers(0, 256, (8, 6, 3), np.uint8)).save("c/turned.png")
  exif = Image.Exif()
  exif[0x0112] = 6  # a quarter to the right
  Image.fromarray(rng.integers(0, 256, (8, 6, 3), np.uint8)).save("c/exif.jpg", exif=exif)
  Image.new("L", (8, 6), 50).save("c/gray.png")
  put("c/broken.png")
  names = sorted(os.listdir("c"))
  mono = pictures.read(np.zeros((6, 8), np.uint8))
  put(*(f"m/{name}" for name in names))
  partners = pair_inputs.Partners(pair_inputs.find("m", "c", "out").tasks)
  chosen = partners.choose("good.png", mono)
  assert chosen.name == "c/good.png" and chosen.picture.rgb.shape == (6, 8, 3)
  assert partners.choose("exif.jpg", mono).picture.gray.shape == (6, 8)
  with pytest.raises(UserError, match=r"has 8x6 pixels, the colour view c/turned.png has 6x8"):
    partners.choose("turned.png", mono)
  with pytest.raises(UserError, match=r"c/gray.png is gray"):
    partners.choose("gray.png", mono)
  with pytest.raises(DecodeError, match=r"c/broken.png: not a picture"):
    partners.choose("broken.png", mono)


def test_a_result_is_done_until_one_of_both_views_changes(place):
  put("m/1.png", "m/2.png", "c/1.png", "c/2.png", "out/1.png", "out/2.png")
  found = pair_inputs.find("m", "c", "out")
  record = Record("out", {"a": 1})
  for task in found.tasks:
    record.finish(task, task.partner)
  record.close()
  done = lambda found: [Record("out", {"a": 1}).is_done(task) for task in found.tasks]
  assert done(found) == [True, True]
  pathlib.Path("c/2.png").write_bytes(b"longer")
  assert done(found) == [True, False]
  os.utime("m/1.png", ns=(0, 5))
  assert done(found) == [False, False]
  put("c/1.jpg")  # another partner of the same name: which one is not known any longer
  os.remove("c/1.png")
  assert done(pair_inputs.find("m", "c", "out")) == [False, False]
