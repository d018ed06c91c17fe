"""Lists of pictures: what is written is read back, and what a user is told of a wrong one."""

import os

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import lists
from scs_jax.data.sources import FolderSource, open_source
from scs_jax.errors import UserError


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "photos"
  for name in ("a.png", "sub/b.png", "#c.png", " d .png"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5 + len(name), 4), (200, 3, 10)).save(root / name)
  return root


def names(source):
  return [source.name(i) for i in range(len(source))]


def test_a_list_in_its_own_order(folder, tmp_path):
  wanted = ["sub/b.png", "#c.png", " d .png"]
  path = tmp_path / "list.txt"
  path.write_bytes(lists.text(folder, wanted, ["3 pictures"]))
  assert path.read_text().splitlines() == [
    "# 3 pictures", f"# root: {folder}", "sub/b.png", "./#c.png", " d .png"]
  source = open_source(path)
  assert names(source) == wanted
  whole = FolderSource(folder)
  np.testing.assert_array_equal(source[1], whole[names(whole).index("#c.png")])
  path.write_bytes(lists.text(folder, names(whole)))
  assert open_source(path).fingerprint == whole.fingerprint


@pytest.mark.parametrize("head", ["", "# root: .\n", "# root: ../photos\n", "# a comment\n\n"])
def test_the_root_is_relative_to_the_list(folder, head, monkeypatch):
  (folder / "list.txt").write_text(head + "a.png\r\n./sub/b.png\n")
  assert names(open_source(folder / "list.txt")) == ["a.png", "sub/b.png"]
  monkeypatch.chdir(folder)
  assert open_source("list.txt")[0].shape == (4, 10, 3)


def test_absolute_paths_and_odd_bytes(folder, tmp_path):
  odd = os.fsencode(folder) + b"/\xff\xe4.png"
  with open(odd, "wb") as file:
    Image.new("RGB", (3, 3), (9, 99, 9)).save(file, "PNG")
  path = tmp_path / "list.txt"
  path.write_bytes(lists.text(folder, [os.fsdecode(b"\xff\xe4.png"), str(folder / "a.png")]))
  source = open_source(path)
  assert source[0].shape == (3, 3, 3) and source[1].shape == (4, 10, 3)


@pytest.mark.parametrize(
  ("line", "advice"),
  [
    ("sub\\b.png", "write / between folders, not backslashes"),
    ("'a.png'", "write paths without quotes, one a line"),
    ("b.png", "correct its line '# root:', or make it anew"),
  ],
)
def test_what_is_not_there_comes_with_what_to_do(folder, line, advice):
  (folder / "list.txt").write_text(f"a.png\n{line}\n")
  with pytest.raises(UserError) as error:
    open_source(folder / "list.txt")
  assert str(error.value) == (
    f"1 of 2 pictures of the list {folder}/list.txt are not there, the first is {folder}/{line}; "
    f"{advice}"
  )


def test_empty_files_are_left_out_and_gray_ones(folder, tmp_path):
  (folder / "none.png").write_bytes(b"")
  Image.new("RGB", (5, 5), (7, 7, 7)).save(folder / "gray.png")
  path = tmp_path / "list.txt"
  path.write_bytes(lists.text(folder, ["none.png", "gray.png", "a.png"]))
  assert names(open_source(path)) == ["gray.png", "a.png"]
  source = open_source(path, exclude_gray=True, progress=False)
  assert names(source) == ["a.png"]
  assert (source.skipped_empty, source.skipped_gray, source.skipped_corrupt) == (1, 1, 0)


def test_a_folder_may_end_like_a_list(folder, tmp_path):
  folder.rename(tmp_path / "photos.txt")
  assert len(open_source(tmp_path / "photos.txt")) == 4


def test_errors_say_what_to_do(folder, tmp_path):
  path = tmp_path / "list.txt"
  cases = [
    (b"", "names no pictures"),
    (b"# only\n# comments\n", "names no pictures: expected one path a line"),
    (b"\x89PNG\0\0", "is no list of pictures: expected text"),
    (b"a.png\nb.png\n./a.png\n", "names a.png twice"),
    (b"# root: photos\na.png\nx.png\ny.png\n", r"2 of 3 pictures .*first is .*photos/x.png"),
    (b"# root: /nowhere\na.png\n", r"1 of 1 .*correct its line '# root:'"),
  ]
  for content, message in cases:
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
      open_source(path)
    assert "\n" not in str(caught.value)
  (folder / "none.png").write_bytes(b"")
  path.write_bytes(lists.text(folder, ["none.png"]))
  with pytest.raises(UserError, match=r"all 1 files of the list .* are empty"):
    open_source(path)
  with pytest.raises(UserError, match=r"cannot read the list .*No such file.*scs-jax data select"):
    open_source(tmp_path / "nothing.txt")
  with pytest.raises(UserError, match="line break in its name"):
    lists.text(folder, ["a\nb.png"])
  with pytest.raises(UserError, match=r"ends in .txt; write --out .*a.lst.txt"):
    lists.stem_of(tmp_path / "a.lst")
  for path in (".txt", f"{folder}/.txt", "gs://bucket/a"):
    with pytest.raises(UserError, match="a list's name ends in"):
      lists.stem_of(path)
