"""Folders, the gray scan and its cache, and what a user is told when a folder is wrong."""

import json
import os
import pickle

import numpy as np
import pytest
from PIL import Image
from skimage import color

from scs_jax.data import scan
from scs_jax.data.decode import DecodeError
from scs_jax.data.sources import FolderSource, open_source
from scs_jax.errors import UserError


def save(path, value=(200, 30, 90), size=(8, 6)):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("RGB", size, value).save(path)
  return path


def names(source):
  return [source.name(i) for i in range(len(source))]


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "photos"
  save(root / "b.png")
  save(root / "A.JPG", (10, 200, 10))
  save(root / "sub" / "deep" / "c.Jpeg")
  save(root / ".hidden" / "d.png")
  save(root / ".e.png")
  (root / "empty.jpg").write_bytes(b"")
  (root / "notes.txt").write_text("x")
  return root


def test_folder_tree(folder):
  source = FolderSource(folder)
  assert names(source) == ["A.JPG", "b.png", "sub/deep/c.Jpeg"]
  assert len(source) == 3 and source.skipped_empty == 1
  assert source[1].shape == (6, 8, 3) and (source[1] == (200, 30, 90)).all()
  assert pickle.loads(pickle.dumps(source)).name(2) == "sub/deep/c.Jpeg"


def test_results_of_colorize_are_no_photographs(folder):
  for name in ("colored", "sub/made/deep"):
    save(folder / name / "result.png")
  (folder / "colored/.scs_jax.json").write_text("{}")
  (folder / "sub/made/.scs_jax.json").write_text("{}")
  source = FolderSource(folder)
  assert names(source) == ["A.JPG", "b.png", "sub/deep/c.Jpeg"]
  assert source.skipped_results == ("colored", "sub/made")
  for named in ("colored", "sub/made"):  # by a user
    source = FolderSource(folder / named)
    assert len(source) == 1 and not source.skipped_results
  assert open_source(folder, exclude_gray=True, progress=False).skipped_results == (
    "colored", "sub/made"
  )  # fmt: skip


def test_load_reduces_a_jpeg(tmp_path):
  save(tmp_path / "big.jpg", size=(400, 200))
  source = FolderSource(tmp_path)
  assert source.load(0, 50).shape == (50, 100, 3) and source[0].shape == (200, 400, 3)


def test_links(folder, tmp_path):
  other = save(tmp_path / "elsewhere" / "f.png").parent
  (folder / "loop").symlink_to(folder)
  (folder / "sub" / "up").symlink_to("..")
  (folder / "broken.png").symlink_to(tmp_path / "nothing.png")
  (folder / "ring.png").symlink_to("ring.png")
  (folder / "a_link").symlink_to(other)
  (folder / "b_link").symlink_to(other)
  (folder / "file_link.png").symlink_to(folder / "b.png")
  assert names(FolderSource(folder)) == [
    "A.JPG", "a_link/f.png", "b.png", "file_link.png", "sub/deep/c.Jpeg"]


def test_fingerprint_follows_names_and_sizes(folder):
  before = FolderSource(folder).fingerprint
  assert FolderSource(str(folder)).fingerprint == before and len(before) == 32
  os.utime(folder / "b.png", (1, 1))
  assert FolderSource(folder).fingerprint == before
  with open(folder / "b.png", "ab") as file:
    file.write(b"x")
  longer = FolderSource(folder).fingerprint
  (folder / "b.png").rename(folder / "bb.png")
  assert len({before, longer, FolderSource(folder).fingerprint}) == 3


def test_mean_chroma_against_skimage():
  rgb = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
  rgb[0, :4] = [[0, 0, 0], [255, 255, 255], [1, 1, 1], [9, 10, 11]]
  lab = color.rgb2lab(rgb)
  assert scan.mean_chroma(rgb) == pytest.approx(np.hypot(lab[..., 1], lab[..., 2]).mean(), abs=0.02)
  gray = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
  assert scan.mean_chroma(gray) < 1e-3


def test_color_variation_against_skimage():
  rgb = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
  a, b = np.moveaxis(color.rgb2lab(rgb)[..., 1:], -1, 0)
  expected = np.sqrt(np.var(a) + np.var(b))
  assert scan.color_variation(rgb) == pytest.approx(expected, abs=0.02)
  sepia = np.full((16, 16, 3), (160, 120, 80), np.uint8)
  assert scan.color_variation(sepia) < 1e-3 < 20 < scan.mean_chroma(sepia)


def test_gray_and_corrupt_are_left_out_and_counted(folder):
  save(folder / "gray.png", (90, 90, 90))
  save(folder / "cast.jpg", (120, 121, 122))
  (folder / "torn.png").write_bytes((folder / "b.png").read_bytes()[:40])
  plain = FolderSource(folder)
  assert len(plain) == 6
  with pytest.raises(DecodeError, match="torn"):
    plain[names(plain).index("torn.png")]
  source = open_source(folder, exclude_gray=True, progress=False)
  assert names(source) == ["A.JPG", "b.png", "sub/deep/c.Jpeg"]
  assert (source.skipped_gray, source.skipped_corrupt, source.skipped_empty) == (2, 1, 1)
  assert source.fingerprint != plain.fingerprint


def test_scan_cache_reads_only_what_changed(folder, tmp_path, monkeypatch):
  save(folder / "gray.png", (90, 90, 90))
  (folder / "torn.png").write_bytes(b"torn")
  cache = tmp_path / "scan.json"
  read = []
  measure = scan.chroma_of
  monkeypatch.setattr(scan, "chroma_of", lambda s, i: (read.append(s.name(i)), measure(s, i))[1])

  def kept():
    read.clear()
    source = open_source(folder, exclude_gray=True, cache=cache, progress=False)
    assert (source.skipped_gray, source.skipped_corrupt) == (1, 1)
    return names(source)

  first = kept()
  assert first == ["A.JPG", "b.png", "sub/deep/c.Jpeg"] and len(read) == 5
  assert kept() == first and read == []
  os.utime(folder / "b.png", (1, 1))
  assert kept() == first and read == ["b.png"]
  other = cache.read_text().replace("mean chroma", "colour variation")
  cut = '{"version": 2, "kind": "mean chroma", "files": {"a": 3}}'
  for damaged in ("{half", "[]", cut, '{"version": 0}', other):
    cache.write_text(damaged)
    assert kept() == first and len(read) == 5
  assert set(json.loads(cache.read_text())["files"]) == {
    "A.JPG", "b.png", "gray.png", "torn.png", "sub/deep/c.Jpeg"}
  assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".scan")] == []


def test_interrupted_scan_keeps_what_it_measured(folder, tmp_path, monkeypatch):
  monkeypatch.setattr(scan, "_CHUNK", 1)
  measure = scan.chroma_of

  def stop_at_b(source, i):
    if source.name(i) == "b.png":
      raise KeyboardInterrupt
    return measure(source, i)

  monkeypatch.setattr(scan, "chroma_of", stop_at_b)
  cache = tmp_path / "scan.json"
  with pytest.raises(KeyboardInterrupt):
    open_source(folder, exclude_gray=True, cache=cache, progress=False)
  assert list(json.loads(cache.read_text())["files"]) == ["A.JPG"]


def test_cache_that_cannot_be_written(folder, tmp_path):
  with pytest.raises(UserError, match="give a file in a local folder that exists"):
    open_source(folder, exclude_gray=True, cache=tmp_path / "no" / "scan.json", progress=False)
  with pytest.raises(UserError, match="cannot write"):
    open_source(folder, exclude_gray=True, cache=tmp_path, progress=False)


def test_errors_say_what_to_do(folder, tmp_path, monkeypatch):
  (tmp_path / "void").mkdir()
  save(tmp_path / "gray" / "g.png", (5, 5, 5))
  cases = [
    ("bundeld", "did you mean bundled"),
    ("bundled:trian", "did you mean bundled:train"),
    ("bundled:", "bundled:heldout"),
    (tmp_path / "photo", f"did you mean {folder}"),
    (tmp_path / "x" / "y", f"only {tmp_path} exists"),
    (folder / "b.png", f"is a file, expected a folder of pictures; give {folder}"),
    (tmp_path / "void", "no pictures under .*0 empty files"),
  ]
  for spec, message in cases:
    with pytest.raises(UserError, match=message) as caught:
      open_source(spec)
    assert "\n" not in str(caught.value)
  with pytest.raises(UserError, match="are gray"):
    open_source(tmp_path / "gray", exclude_gray=True, progress=False)

  def refuse(_):
    raise PermissionError(13, "Permission denied")
  monkeypatch.setattr(os, "scandir", refuse)
  with pytest.raises(UserError, match=r"cannot read the folder .*Permission denied"):
    open_source(folder)
