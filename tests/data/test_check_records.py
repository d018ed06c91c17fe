"""What a check finds, on a folder in which everything is wrong that can be."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import check_records, pack
from scs_jax.data.check_records import check, difference_hash
from scs_jax.data.sources import FolderSource, open_source
from scs_jax.errors import UserError


def photo(seed, size=(300, 200)):
  """Smooth random colours: a picture that looks like no other."""
  pixels = np.random.default_rng(seed).integers(0, 256, (6, 9, 3), np.uint8)
  return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "photos"
  root.mkdir()
  for k in range(4):
    photo(k).save(root / f"{k}.jpg", quality=95)
  return root


def find(source, **options):
  return check(source, progress=False, **options)


def test_all_is_well(folder):
  found = find(FolderSource(folder), near=4)
  assert not found.wrong and found.records == 4
  assert found.sizes.tolist() == [[200, 300]] * 4
  assert dict(found.histogram())["128 to 255"] == 4
  assert (found.gray, found.near, found.duplicates, found.unreadable) == ([], [], [], [])


def test_everything_that_is_wrong_is_found(folder):
  shutil.copy(folder / "0.jpg", folder / "copy.jpg")
  shutil.copy(folder / "0.jpg", folder / "again.jpg")
  photo(1, (150, 100)).save(folder / "smaller.jpg", quality=70)
  photo(2).convert("L").save(folder / "gray.jpg")
  whole = (folder / "3.jpg").read_bytes()
  (folder / "torn.jpg").write_bytes(whole[: len(whole) // 2])
  (folder / "text.png").write_text("no picture")
  (folder / "empty.png").write_bytes(b"")
  Image.new("RGB", (1200, 1100), (9, 99, 9)).save(folder / "large.png")
  found = find(FolderSource(folder), near=4)
  assert found.wrong and found.empty == 1
  assert found.duplicates == [["0.jpg", "again.jpg", "copy.jpg"]]
  assert found.gray == ["gray.jpg"]
  assert [name for name, _ in found.unreadable] == ["text.png", "torn.jpg"]
  assert all(name in cause for name, cause in found.unreadable)
  assert sorted(found.near) == [["1.jpg", "smaller.jpg"], ["2.jpg", "gray.jpg"]]
  assert dict(found.histogram()) == {
    "below 64": 0, "64 to 127": 1, "128 to 255": 7, "256 to 383": 0, "384 to 511": 0,
    "512 to 767": 0, "768 to 1023": 0, "1024 or more": 1}
  told = json.loads(json.dumps(found.as_json()))
  assert told["sizes"] == {"smallest": [100, 150], "median": [200, 300], "largest": [1100, 1200]}
  assert told["wrong"] and told["short_sides"]["1024 or more"] == 1


@pytest.mark.parametrize("wrong", ["torn", "copy", "empty"])
def test_each_of_these_alone_is_wrong_and_gray_is_not(folder, wrong):
  photo(9).convert("L").save(folder / "gray.jpg")
  assert not find(FolderSource(folder)).wrong
  data = {"torn": b"torn", "copy": (folder / "1.jpg").read_bytes(), "empty": b""}[wrong]
  (folder / "x.jpg").write_bytes(data)
  assert find(FolderSource(folder)).wrong


def test_pictures_that_the_heldout_ones_have_too(folder, tmp_path):
  other = tmp_path / "heldout"
  other.mkdir()
  photo(7).save(other / "a.jpg")
  assert not find(FolderSource(folder), against=FolderSource(other)).wrong
  shutil.copy(folder / "2.jpg", other / "b.jpg")
  found = find(FolderSource(folder), against=FolderSource(other))
  assert found.wrong and found.shared == [("2.jpg", "b.jpg")]


def test_a_packed_folder_by_its_checksums(folder, tmp_path):
  out = tmp_path / "out"
  pack.pack(FolderSource(folder), out, records=2, progress=False)
  assert not find(open_source(out)).wrong
  source = open_source(out)
  shard = source.shards[1]
  with open(out / shard.file, "r+b") as file:
    file.seek((out / shard.file).read_bytes().index(source.encoded(2)[:32]) + 50)
    file.write(b"\0\0\0")
  found = find(source)
  assert found.wrong and [name for name, _ in found.unreadable] == ["2.jpg"]
  assert [name for name, _ in found.shards] == [shard.file]


def test_bundled_photographs_are_well():
  found = find(open_source("bundled"), near=2)
  assert not found.wrong and found.records == len(found.sizes) == 11


def test_difference_hash_by_hand():
  rising = np.repeat(np.arange(9, dtype=np.uint8)[None] * 20, 8, 0)
  assert difference_hash(Image.fromarray(rising)) == 2**64 - 1
  assert difference_hash(Image.fromarray(rising[:, ::-1])) == 0
  one = np.zeros((8, 9), np.uint8)
  one[0, 1] = 50  # brighter than its left neighbour only: the first bit of the first row
  assert difference_hash(Image.fromarray(one)) == 1 << 63


@pytest.mark.parametrize("near", [0, 1, 4, 7])
def test_alike_ones_against_all_pairs(near):
  rng = np.random.default_rng(near)
  looks = [int(v) for v in rng.integers(1, 2**63, 40, dtype=np.uint64)]
  for v in looks[:20]:  # some a few bits away
    flips = rng.choice(64, rng.integers(0, 9), replace=False)
    looks.append(v ^ sum(1 << int(b) for b in flips))
  records = [check_records.Record(bytes([k]), look=v) for k, v in enumerate(looks)]
  parent = list(range(len(looks)))
  for i in range(len(looks)):
    for j in range(i):
      if bin(looks[i] ^ looks[j]).count("1") <= near:
        a, b = parent[i], parent[j]
        parent = [a if p == b else p for p in parent]
  expected = sorted(
    group
    for p in set(parent)
    if len(group := [i for i in range(len(looks)) if parent[i] == p]) > 1
  )
  assert sorted(check_records._alike(records, range(len(looks)), near)) == expected
  assert expected


def test_errors_say_what_to_do(folder):
  for near in (-1, 16):
    with pytest.raises(UserError, match=f"{near} bits: expected 0 to 15"):
      find(FolderSource(folder), near=near)
