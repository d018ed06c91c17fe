"""What is found, what is left alone, and that no two results and no input share a name."""

import os
import pathlib

import pytest

from scs_jax.errors import UserError
from scs_jax.infer import inputs


@pytest.fixture
def tree(tmp_path, monkeypatch):
  """photos/ with a tree of files; the working folder is the one above."""
  monkeypatch.chdir(tmp_path)
  for name in (
    "photos/b.jpg", "photos/a.JPG", "photos/sub/deep/c.gif", "photos/sub/c.tif", "photos/note.txt",
    "photos/raw", "photos/.hidden.png", "photos/.cache/x.png", "photos/clip.mov",
  ):  # fmt: skip
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
  return tmp_path


def pairs(found):
  return [(t.source, t.output) for t in found.tasks]


def test_a_folder_keeps_its_structure_and_says_what_it_left_alone(tree):
  found = inputs.find(["photos"], "out")
  assert pairs(found) == [
    ("photos/a.JPG", "out/a.JPG"),
    ("photos/b.jpg", "out/b.jpg"),
    ("photos/clip.mov", "out/clip.mp4"),
    ("photos/sub/c.tif", "out/sub/c.tif"),
    ("photos/sub/deep/c.gif", "out/sub/deep/c.png"),
  ]
  assert [t.video for t in found.tasks] == [False, False, True, False, False]
  assert inputs.describe_others(found.others) == (
    "left alone: 2 files that are no pictures (no extension 1, .txt 1)"
  )


def test_formats(tree):
  named = inputs.find(["photos"], "out", "webp")
  assert [o for _, o in pairs(named)] == [
    "out/a.webp", "out/b.webp", "out/clip.mp4", "out/sub/c.webp", "out/sub/deep/c.webp"
  ]  # fmt: skip


@pytest.mark.parametrize(
  ("pattern", "expected"),
  [
    ("photos/*.jpg", [("photos/b.jpg", "out/b.jpg")]),
    ("photos/**/c.*", [("photos/sub/c.tif", "out/sub/c.tif"),
                       ("photos/sub/deep/c.gif", "out/sub/deep/c.png")]),
    ("ph*/sub", [("photos/sub/c.tif", "out/photos/sub/c.tif"),
                 ("photos/sub/deep/c.gif", "out/photos/sub/deep/c.png")]),
    ("photos/su[a-c]/*", [("photos/sub/c.tif", "out/sub/c.tif"),
                          ("photos/sub/deep/c.gif", "out/sub/deep/c.png")]),
  ],
)  # fmt: skip
def test_patterns_keep_what_is_below_their_fixed_part(tree, pattern, expected):
  assert pairs(inputs.find([pattern], "out")) == expected


def test_each_file_once_however_often_it_is_given(tree):
  found = inputs.find(["photos/b.jpg", "./photos/b.jpg", "photos/*.jpg", "photos"], "out")
  assert [t.source for t in found.tasks].count("photos/b.jpg") == 1 and len(found.tasks) == 5


def test_a_file_named_by_itself_is_taken_whatever_its_name(tree):
  (tree / "a[1].png").write_bytes(b"x")  # a pattern too, which would not match itself
  found = inputs.find(["photos/note.txt", "photos/raw", "a[1].png"], "out")
  assert [o for _, o in pairs(found)] == ["out/note.txt.png", "out/raw.png", "out/a[1].png"]
  assert all(t.named for t in found.tasks) and not found.others


def test_results_of_one_name_are_parted_visibly(tree):
  (tree / "photos/b.png").write_bytes(b"x")
  (tree / "photos/B.gif").write_bytes(b"x")
  outputs = dict(pairs(inputs.find(["photos"], "out", "png")))
  assert outputs["photos/b.png"] == "out/b.png"
  assert outputs["photos/b.jpg"] == "out/b.jpg.png"
  assert outputs["photos/B.gif"] == "out/B.gif.png"


def test_two_folders_with_the_same_names_are_refused(tree):
  (tree / "more").mkdir()
  (tree / "more/b.jpg").write_bytes(b"x")
  with pytest.raises(UserError, match=r"photos/b.jpg and more/b.jpg would both become out/b.jpg"):
    inputs.find(["photos", "more"], "out")
  assert len(inputs.find([str(tree)], "out").tasks) == 6


def test_results_are_not_read_as_pictures(tree):
  (tree / "photos/out").mkdir()
  (tree / "photos/out/b.jpg").write_bytes(b"x")
  for given in ("photos", "photos/**", "photos/*", "photos/**/*.jpg"):
    sources = [t.source for t in inputs.find([given], "photos/out").tasks]
    assert "photos/b.jpg" in sources and not [s for s in sources if "out" in s], given
  # The output folder may well contain what is given, or be named by hand.
  assert pairs(inputs.find(["photos/sub"], "photos"))[0][1] == "photos/c.tif"
  assert len(inputs.find(["photos/out/b.jpg"], "photos/out", "png").tasks) == 1
  with pytest.raises(UserError, match="the folder of the pictures itself"):
    inputs.find(["photos"], "./photos/sub/..")


def test_an_input_is_never_overwritten(tree):
  with pytest.raises(UserError, match="is an input and would be overwritten"):
    inputs.find(["photos/*.jpg"], "photos")
  with pytest.raises(UserError, match="is an input"):
    inputs.find(["photos/b.jpg"], "photos/b.jpg")
  (tree / "link").symlink_to("photos")
  with pytest.raises(UserError, match="is an input"):
    inputs.find(["photos/b.jpg"], "link/b.jpg")
  assert inputs.find(["photos/*.jpg"], "photos", "png").tasks[0].output == "photos/b.png"


def test_links(tree):
  os.symlink("../photos", tree / "photos/loop")
  os.symlink("sub", tree / "photos/a_link")
  os.symlink("gone.jpg", tree / "photos/broken.jpg")
  os.symlink("b.jpg", tree / "photos/same.jpg")
  names = [t.relative for t in inputs.find(["photos"], "out").tasks]
  # A folder is named by its real place; a link to a picture is a picture; a broken one is tried.
  assert names == ["a.JPG", "b.jpg", "broken.jpg", "clip.mov", "same.jpg", "sub/c.tif",
                   "sub/deep/c.gif"]  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_told(tree):
  (tree / "photos/sub").chmod(0)
  try:
    found = inputs.find(["photos"], "out")
  finally:
    (tree / "photos/sub").chmod(0o755)
  assert len(found.tasks) == 3
  assert found.unreadable == [("photos/sub", "folder cannot be read (Permission denied)")]


def test_one_file_into_one_file(tree):
  found = inputs.find(["photos/b.jpg"], "new/x.webp")
  assert found.single and pairs(found) == [("photos/b.jpg", "new/x.webp")]
  assert inputs.find(["photos/clip.mov"], "x.mp4").single
  assert not inputs.find(["photos/b.jpg"], "colors.v2").single
  (tree / "dir.png").mkdir()
  assert pairs(inputs.find(["photos/b.jpg"], "dir.png")) == [("photos/b.jpg", "dir.png/b.jpg")]


@pytest.mark.parametrize(
  ("given", "out", "form", "message"),
  [
    (["photos/zz.jpg"], "out", "same", "no such file or folder: photos/zz.jpg"),
    (["photos/zz.jpg"], "one.png", "same", "no such file or folder: photos/zz.jpg"),
    (["photos/bb.jpg"], "out", "same", "did you mean photos/b.jpg"),
    (["nowhere/*.jpg"], "out", "same", "nothing matches nowhere/"),
    (["photos/*.txt"], "out", "same", "no pictures in .*left alone: 1 file that is no picture"),
    ([""], "out", "same", "no such file"),
    (["photos"], "", "same", "--out is empty"),
    (["photos"], "x.png", "same", "names one file, but there may be several"),
    (["photos"], "photos/raw", "same", "is a file, but"),
    (["photos/b.jpg"], "x.bmp", "same", "ending in .jpeg .jpg .png .tif .tiff .webp"),
    (["photos/b.jpg"], "x.mp4", "same", "ending in .jpeg"),
    (["photos/clip.mov"], "x.png", "same", "ending in .mp4"),
    (["photos/b.jpg"], "x.png", "jpg", "is not --format jpg"),
    (["photos", "void"], "out", "same", "no pictures in void"),
  ],
)
def test_what_a_user_can_mend(tree, given, out, form, message):
  (tree / "void").mkdir()
  with pytest.raises(UserError, match=message):
    inputs.find(given, out, form)


def test_a_folder_in_the_place_of_a_result(tree):
  (tree / "out/b.jpg").mkdir(parents=True)
  with pytest.raises(UserError, match=r"out/b.jpg is a folder"):
    inputs.find(["photos"], "out")


# --- folders of results


def results_folder(folder):
  folder.mkdir(parents=True)
  (folder / "made.png").write_bytes(b"x")
  (folder / ".scs_jax.json").write_text("{}")


def test_folders_of_results_are_left_out_unless_named(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  pathlib.Path("in").mkdir()
  pathlib.Path("in/a.png").write_bytes(b"x")
  results_folder(pathlib.Path("in/colored"))
  results_folder(pathlib.Path("in/b/again"))
  for given in ("in", "in/**/*.png", "in/*", "i*"):
    found = inputs.find([given], "out")
    assert [task.source for task in found.tasks] == ["in/a.png"], given
    assert set(found.results) <= {"in/colored", "in/b/again"} and "in/colored" in found.results
  assert inputs.find(["in"], "in/colored").tasks[0].source == "in/a.png"  # the same --out again
  for named in ("in/colored", "in/colored/*.png", "in/colored/made.png"):
    found = inputs.find([named], "out")
    assert [task.source for task in found.tasks] == ["in/colored/made.png"]
    assert found.results == []
  os.remove("in/a.png")
  with pytest.raises(UserError, match=r"2 folders of colorize's own results \(in/b/again, in/col"):
    inputs.find(["in"], "out")
