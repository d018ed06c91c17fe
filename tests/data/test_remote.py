"""Buckets, played by fsspec's memory: what is read there is what is read here."""

import pickle
import sys

import fsspec
import numpy as np
import pytest
from PIL import Image

from scs_jax.data import lists, remote
from scs_jax.data.decode import DecodeError
from scs_jax.data.sources import FolderSource, open_source
from scs_jax.errors import UserError


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "photos"
  for k, name in enumerate(["b.png", "sub/a.jpg", "sub/deep/c.png", ".hidden/d.png", ".e.png"]):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40 + k, 30), (200, 40 * k, 10)).save(root / name)
  (root / "empty.jpg").write_bytes(b"")
  (root / "notes.txt").write_text("x")
  return root


@pytest.fixture
def bucket(folder):
  """The same folder in a bucket."""
  files = fsspec.filesystem("memory")
  files.put(str(folder) + "/", "/bucket/photos/", recursive=True)
  yield "memory://bucket/photos"
  files.rm("/bucket", recursive=True)


def names(source):
  return [source.name(i) for i in range(len(source))]


@pytest.fixture
def with_results(folder):
  for name in ("made/x.png", "made/deep/y.png", "sub/made/z.png"):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 4)).save(folder / name)
  for name in ("made", "made/deep", "sub/made"):
    (folder / name / ".scs_jax.json").write_text("{}")


@pytest.mark.usefixtures("with_results")
def test_results_of_colorize_are_left_out_there_as_here(folder, request):
  here, there = FolderSource(folder), open_source(request.getfixturevalue("bucket"))
  assert names(there) == names(here) == ["b.png", "sub/a.jpg", "sub/deep/c.png"]
  assert there.skipped_results == here.skipped_results == ("made", "sub/made")


def test_a_remote_folder_is_the_local_one(folder, bucket):
  here, there = FolderSource(folder), open_source(bucket)
  assert names(there) == names(here) == ["b.png", "sub/a.jpg", "sub/deep/c.png"]
  assert there.fingerprint == here.fingerprint and there.skipped_empty == 1
  copy = pickle.loads(pickle.dumps(there))
  for i in range(3):
    np.testing.assert_array_equal(there[i], here[i])
    np.testing.assert_array_equal(copy.load(i, 10), here.load(i, 10))
    assert there.encoded(i) == here.encoded(i)


def test_a_local_list_of_a_remote_folder_and_a_list_that_lies_there(folder, bucket, tmp_path):
  path = tmp_path / "list.txt"
  path.write_bytes(lists.text(bucket, ["sub/a.jpg", "b.png"]))
  assert names(open_source(path)) == ["sub/a.jpg", "b.png"]
  fsspec.filesystem("memory").pipe_file("/bucket/photos/some.txt", b"b.png\n")
  there = open_source(f"{bucket}/some.txt")
  np.testing.assert_array_equal(there[0], FolderSource(folder)[0])
  with pytest.raises(UserError, match=r"1 of 1 pictures .* first is memory://.*/x.png"):
    fsspec.filesystem("memory").pipe_file("/bucket/photos/some.txt", b"x.png\n")
    open_source(f"{bucket}/some.txt")


def test_gray_ones_are_left_out_there_too(folder, bucket):
  fsspec.filesystem("memory").pipe_file("/bucket/photos/torn.png", b"torn")
  source = open_source(bucket, exclude_gray=True, progress=False)
  assert len(source) == 3 and (source.skipped_corrupt, source.skipped_gray) == (1, 0)
  assert source.fingerprint == FolderSource(folder).fingerprint


def test_a_picture_that_went_away_is_one_that_cannot_be_read(bucket):
  source = open_source(bucket)
  fsspec.filesystem("memory").rm("/bucket/photos/b.png")
  with pytest.raises(DecodeError, match=r"memory://bucket/photos/b.png"):
    source[0]


def test_whatever_a_driver_raises_is_told_with_the_place(bucket, monkeypatch):
  source = open_source(bucket)

  def refuse(*_, **__):
    raise ConnectionResetError("the line is down")

  monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", refuse)
  with pytest.raises(DecodeError, match="the line is down"):
    source[0]

  class Expired(Exception):
    pass

  def expire(*_, **__):
    raise Expired("login expired")

  monkeypatch.setattr(type(fsspec.filesystem("memory")), "find", expire)
  with pytest.raises(UserError, match=r"cannot list memory://.*login expired.*check the address"):
    open_source(bucket)


def test_errors_say_what_to_do(bucket, monkeypatch):
  monkeypatch.setitem(sys.modules, "gcsfs", None)
  monkeypatch.setitem(sys.modules, "adlfs", None)  # s3fs may be in use
  cases = [
    ("gs://bucket/photos", r"gs:// needs gcsfs, which is not installed; run pip install gcsfs"),
    ("az://bucket/photos", r"run pip install adlfs, or give a local copy"),
    ("gz://bucket/photos", r"unknown scheme gz://; did you mean gs://\?"),
    ("memory://bucket/nothing", r"no folder memory://bucket/nothing; check the address"),
    ("memory://nothing/list.txt", r"cannot read the list memory://nothing/list.txt"),
  ]
  for spec, message in cases:
    with pytest.raises(UserError, match=message) as caught:
      open_source(spec)
    assert "\n" not in str(caught.value)


def test_a_place_writes_whole_files_or_none(tmp_path, monkeypatch):
  place = remote.Place(tmp_path)
  place.write("deep/a.json", b"one")
  assert place.read("deep/a.json") == b"one" and place.read("deep/a.json", 2) == b"on"
  (tmp_path / "plain").touch()  # who may read it is for the umask to say, as of any file
  assert (tmp_path / "deep/a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode

  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(remote.os, "fsync", full)
  with pytest.raises(OSError, match="No space left") as caught:
    place.write("deep/a.json", b"two")
  assert caught.value.filename == str(tmp_path / "deep" / "a.json")
  assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.json"]
  assert place.read("deep/a.json") == b"one"


def test_a_remote_place(bucket, tmp_path):
  place = remote.Place(bucket)
  place.write("out/a.json", b"one")
  (tmp_path / "shard").write_bytes(b"0123456789")
  place.take(tmp_path / "shard", "out/shard")
  assert not (tmp_path / "shard").exists()
  assert place.read("out/shard", 3) == b"012"
  place.get("out/shard", tmp_path / "deep" / "back")
  place.put(tmp_path / "deep" / "back", "out/again")
  assert place.read("out/again") == b"0123456789" and (tmp_path / "deep" / "back").exists()
  place.remove("out/again")
  assert place.names("out") == ["a.json", "shard"] and place.names("nothing") == []
  assert place.exists("out/shard") and not place.exists("out/none")
  place.remove("out")
  assert place.names("out") == []
