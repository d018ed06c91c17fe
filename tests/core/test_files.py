"""Files are written whole or not at all."""

import errno
import os
import pathlib
import stat

import pytest

from scs_jax.core import files


def test_write_aside_takes_the_longest_names(tmp_path):
  for name in ("a" * 251 + ".png", "ä" * 125 + ".png"):  # 255 bytes are the most
    files.write_aside(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path):
  path = tmp_path / "a/b/c.txt"
  files.write_aside(path, b"one")
  files.write_aside(str(path), b"two")
  assert path.read_bytes() == b"two"
  assert os.listdir(path.parent) == ["c.txt"]


@pytest.mark.parametrize("call", ["write_bytes", "replace"])
def test_what_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call):
  path = tmp_path / "c.txt"
  files.write_aside(path, b"old")
  seen = []

  def full(*arguments):
    if call == "write_bytes":
      arguments[0].touch()  # the system made the file before it found no room
    seen.append(path.read_bytes())
    raise OSError(errno.ENOSPC, "No space left on device")

  owner = pathlib.Path if call == "write_bytes" else files.os
  monkeypatch.setattr(owner, call, full)
  with pytest.raises(OSError, match="No space left") as caught:
    files.write_aside(path, b"new")
  monkeypatch.undo()
  assert caught.value.filename == str(path)
  assert seen == [b"old"] and path.read_bytes() == b"old"
  assert os.listdir(tmp_path) == ["c.txt"]


def test_the_new_file_is_whole_before_it_has_the_name(tmp_path, monkeypatch):
  path, replace = tmp_path / "c.txt", os.replace
  whole = []

  def look(source, target):
    with open(source, "rb") as file:
      whole.append(file.read())
    assert os.fspath(target) == str(path) and not path.exists()
    replace(source, target)

  monkeypatch.setattr(files.os, "replace", look)
  files.write_aside(path, b"x" * 10000)
  assert whole == [b"x" * 10000]
  assert stat.S_ISREG(path.stat().st_mode)
