"""Packing and reading back: bytes kept, the same shards however made, nothing done twice."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time

import fsspec
import grain
import numpy as np
import pytest
from PIL import Image

from scs_jax.data import pack
from scs_jax.data.decode import DecodeError
from scs_jax.data.packed_source import PackedSource
from scs_jax.data.pipeline import BatchSpec, train_batches
from scs_jax.data.sources import FolderSource, open_source
from scs_jax.errors import UserError

COUNT = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Pictures of a few hundred bytes, and some that reach over several blocks of a shard."""
  root = tmp_path_factory.mktemp("pack") / "photos"
  rng = np.random.default_rng(0)
  for k in range(COUNT):
    path = root / ("sub" if k % 2 else "") / f"{k:02d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    side = (8, 150, 400)[k % 3]
    Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(path)
  (root / "torn.jpg").write_bytes(b"torn \xff\xd8")
  (root / "empty.jpg").write_bytes(b"")
  return root


@pytest.fixture
def source(folder):
  return FolderSource(folder)


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
  out = tmp_path_factory.mktemp("packed") / "out"
  done = pack.pack(FolderSource(folder), out, records=4, progress=False)
  assert (done.records, done.shards, done.resumed, done.already) == (COUNT + 1, 3, 0, False)
  return out


def contents(folder):
  return {p.name: p.read_bytes() for p in folder.iterdir()}


def assert_equal(found, source):
  assert len(found) == len(source) and found.fingerprint == source.fingerprint
  for i in range(len(source)):
    assert found.name(i) == source.name(i)
    assert found.encoded(i) == source.encoded(i)
    assert found.file(i)[:2] == source.file(i)[:2]


def test_what_is_packed_is_read_back(source, packed):
  found = open_source(packed)
  assert isinstance(found, PackedSource)
  assert_equal(found, source)
  torn = found.name(len(found) - 1)
  assert torn == "torn.jpg"
  with pytest.raises(DecodeError, match=r"torn.jpg in .*shard-00002-of-00003.array_record"):
    found[len(found) - 1]
  np.testing.assert_array_equal(found[2], source[2])
  assert sorted(contents(packed)) == ["packed.json", *(s.file for s in found.shards)]
  assert_equal(pickle.loads(pickle.dumps(found)), source)


def test_graines_own_reader_reads_the_shards(source, packed):
  shards = sorted(str(p) for p in packed.glob("*.array_record"))
  plain = grain.sources.ArrayRecordDataSource(shards)
  assert [plain[i] for i in range(len(plain))] == [source.encoded(i) for i in range(len(source))]


def test_batches_are_those_of_the_folder(source, packed):
  spec = BatchSpec(batch_size=4, crop=8, seed=2, reference_probability=0.5)
  with train_batches(source, spec) as here, train_batches(open_source(packed), spec) as there:
    for _ in range(4):
      a, b = next(here), next(there)
      for key in a:
        np.testing.assert_array_equal(a[key], b[key])


def test_gray_ones_are_left_out_of_a_packed_folder_too(folder, packed, tmp_path):
  cache = tmp_path / "scan.json"
  here = open_source(folder, exclude_gray=True, progress=False)
  for _ in range(2):  # the second time from the cache
    there = open_source(packed, exclude_gray=True, progress=False, cache=cache)
    assert there.fingerprint == here.fingerprint and there.skipped_corrupt == 1
    np.testing.assert_array_equal(there[3], here[3])


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_change_no_byte(source, packed, tmp_path, workers):
  pack.pack(source, tmp_path / "again", records=4, workers=workers, progress=False)
  assert contents(tmp_path / "again") == contents(packed)


def test_a_bucket_holds_the_same_and_is_read_through_a_local_copy(
  source, packed, tmp_path, monkeypatch
):
  monkeypatch.setenv("SCS_JAX_CACHE", str(tmp_path / "cache"))
  url = "memory://bucket/packed"
  pack.pack(source, url, records=4, progress=False)
  files = fsspec.filesystem("memory")
  try:
    there = {p.rpartition("/")[2]: files.cat_file(p) for p in files.find("/bucket/packed")}
    assert there == contents(packed)
    found = open_source(url)
    assert_equal(found, source)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(found))[1], source[1])
    assert pack.pack(source, url, records=4, progress=False).already
    copies = {f"{s.sha256}.array_record" for s in found.shards}
    assert {p.name for p in (tmp_path / "cache").iterdir()} == copies
    shutil.rmtree(tmp_path / "cache")
    shard = bytearray(there[found.shards[0].file])
    shard[len(shard) // 3] ^= 1
    files.pipe_file(f"/bucket/packed/{found.shards[0].file}", bytes(shard))
    found = open_source(url)
    message = r"00.png in memory://bucket/packed: shard-00000.* not the bytes that were written"
    with pytest.raises(DecodeError, match=message):
      found.encoded(0)
    assert found.encoded(4) == source.encoded(4)
    assert [name for name, _ in found.damaged_shards()] == [found.shards[0].file]
    monkeypatch.setattr(type(files), "get_file", _full_disk)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(UserError, match=r"no room in .*cache for the shards of memory://bucket/pa"):
      found.encoded(4)
    assert not list((tmp_path / "cache").iterdir())
  finally:
    files.rm("/bucket", recursive=True)


def _full_disk(*_, **__):
  raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_second_call_does_nothing(source, packed):
  before = {p.name: p.stat().st_mtime_ns for p in packed.iterdir()}
  assert pack.pack(source, packed, records=4, progress=False).already
  assert {p.name: p.stat().st_mtime_ns for p in packed.iterdir()} == before


class Counting(FolderSource):
  """Counts what is read, and stops before a record."""

  def __init__(self, root, stop=None, error=KeyboardInterrupt):
    super().__init__(root)
    self.read, self.stop, self.error = [], stop, error

  def encoded(self, i):
    if i == self.stop:
      raise self.error
    self.read.append(i)
    return super().encoded(i)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(5, "Input/output error")])
def test_an_interrupted_packing_goes_on(folder, packed, tmp_path, error):
  out = tmp_path / "out"
  first = Counting(folder, stop=6, error=error)
  with pytest.raises((KeyboardInterrupt, UserError)):
    pack.pack(first, out, records=4, workers=1, progress=False)
  with pytest.raises(UserError, match=r"half packed; run the same `scs-jax data pack` again"):
    open_source(out)
  assert not [p for p in out.rglob("*.partial")]
  second = Counting(folder)
  assert pack.pack(second, out, records=4, progress=False).resumed == 1
  assert sorted(second.read) == list(range(4, COUNT + 1))
  assert contents(out) == contents(packed)


_SLOW = """
import sys, time
from scs_jax.data import pack
from scs_jax.data.sources import FolderSource

class Slow(FolderSource):
  def encoded(self, i):
    if i == 9:
      print("at nine", flush=True)
      time.sleep(60)
    return super().encoded(i)

pack.pack(Slow(sys.argv[1]), sys.argv[2], records=4, workers=1, progress=False)
"""


def test_a_killed_packing_goes_on(folder, packed, tmp_path):
  out = tmp_path / "out"
  command = [sys.executable, "-c", _SLOW, str(folder), str(out)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
    assert process.stdout.readline() == "at nine\n"
    process.send_signal(signal.SIGKILL)
  assert [p.name for p in (out / ".packing").glob("*.partial")] == ["00002.partial"]
  kept = {p.name: p.stat().st_mtime_ns for p in out.glob("*.array_record")}
  assert len(kept) == 2
  second = Counting(folder)
  assert pack.pack(second, out, records=4, progress=False).resumed == 2
  assert sorted(second.read) == [8, 9, 10, 11]
  assert all((out / name).stat().st_mtime_ns == when for name, when in kept.items())
  assert contents(out) == contents(packed)


def test_a_second_packing_at_the_same_time_is_refused(folder, packed, tmp_path):
  out = tmp_path / "out"

  class Second(Counting):
    """Another packing is tried while this one is at work, as by a second terminal."""

    def encoded(self, i):
      if i == 5:
        with pytest.raises(UserError, match=r"out is being packed by another process; wait for it"):
          pack.pack(FolderSource(folder), out, records=4, progress=False)
      return super().encoded(i)

  pack.pack(Second(folder), out, records=4, workers=1, progress=False)
  assert contents(out) == contents(packed)


def test_a_shard_that_went_away_in_between_is_made_again(folder, packed, tmp_path):
  out = tmp_path / "out"
  with pytest.raises(KeyboardInterrupt):
    pack.pack(Counting(folder, stop=9), out, records=4, workers=1, progress=False)
  next(out.glob("shard-00000*")).unlink()
  assert pack.pack(FolderSource(folder), out, records=4, progress=False).resumed == 1
  assert contents(out) == contents(packed)


def test_a_full_disk_is_told_and_the_rest_goes_on(folder, packed, tmp_path, monkeypatch):
  out = tmp_path / "out"
  copy = pack._Job._copy

  def full(self, k, aside, entry, bar):
    if k == 1:
      aside.symlink_to("/dev/full")
    return copy(self, k, aside, entry, bar)

  monkeypatch.setattr(pack._Job, "_copy", full)
  message = r"the disk of .*out is full; free some space and run the same command again"
  with pytest.raises(UserError, match=message):
    pack.pack(FolderSource(folder), out, records=4, workers=1, progress=False)
  monkeypatch.undo()
  assert pack.pack(FolderSource(folder), out, records=4, progress=False).resumed >= 1
  assert contents(out) == contents(packed)


def test_no_space_is_told_before_work(source, tmp_path, monkeypatch):
  monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 1000))
  with pytest.raises(UserError, match=r"GB are still to be written and 0.00 GB are free"):
    pack.pack(source, tmp_path / "out", progress=False)
  assert not list((tmp_path / "out").glob("*.array_record"))


def test_what_was_written_wrongly_is_noticed(source, tmp_path, monkeypatch):
  copy = pack._Job._copy

  def damage(self, k, aside, entry, bar):
    copy(self, k, aside, entry, bar)
    with open(aside, "r+b") as file:
      file.seek(aside.stat().st_size // 3)
      byte = file.read(1)
      file.seek(-1, 1)
      file.write(bytes([byte[0] ^ 1]))

  monkeypatch.setattr(pack._Job, "_copy", damage)
  with pytest.raises(UserError, match="not the bytes that were written"):
    pack.pack(source, tmp_path / "out", progress=False)


def test_other_contents_are_refused(folder, source, packed, tmp_path):
  one = tmp_path / "one"
  one.mkdir()
  shutil.copy(folder / "00.png", one)
  cases = [
    ((FolderSource(one), packed), {}, "holds other packed pictures; give another folder"),
    ((source, packed), {"records": 5}, "holds other packed pictures"),
    ((source, one), {}, r"is not empty \(00.png is there\)"),
    ((source, tmp_path / "new"), {"records": 0}, "0 records a shard: expected 1 or more"),
  ]
  for arguments, options, message in cases:
    with pytest.raises(UserError, match=message):
      pack.pack(*arguments, progress=False, **({"records": 4} | options))
  half = tmp_path / "half"
  with pytest.raises(KeyboardInterrupt):
    pack.pack(Counting(folder, stop=6), half, records=4, workers=1, progress=False)
  with pytest.raises(UserError, match="is half packed with another --records"):
    pack.pack(source, half, records=3, progress=False)
  with pytest.raises(UserError, match="is half packed of other pictures"):
    pack.pack(FolderSource(one), half, records=4, progress=False)
  (half / ".packing" / "plan.json").write_text("{")
  with pytest.raises(UserError, match=r"plan.json is damaged; remove .*half"):
    pack.pack(source, half, records=4, progress=False)


def test_pictures_that_change_or_cannot_be_read_are_named(folder, tmp_path):
  root = tmp_path / "photos"
  shutil.copytree(folder, root)
  source = FolderSource(root)
  with open(root / "00.png", "ab") as file:
    file.write(b"x")
  with pytest.raises(UserError, match=r"00.png changed while it was packed \(\d+ bytes, now \d+\)"):
    pack.pack(source, tmp_path / "a", progress=False)
  (root / "00.png").unlink()
  with pytest.raises(UserError, match=r"00.png: cannot be opened .*mend or remove it"):
    pack.pack(source, tmp_path / "b", progress=False)


@pytest.fixture
def copy(packed, tmp_path):
  return shutil.copytree(packed, tmp_path / "copy")


def test_a_missing_or_short_shard_is_told_at_once(copy):
  shard = copy / "shard-00001-of-00003.array_record"
  size = shard.stat().st_size
  os.truncate(shard, 1000)
  with pytest.raises(UserError, match=f"00001-of-00003.array_record has 1000 bytes.*{size} bytes"):
    open_source(copy)
  shard.unlink()
  with pytest.raises(UserError, match=r"00001-of-00003.array_record is missing.*copy it again"):
    open_source(copy)


def test_a_damaged_record_is_one_that_cannot_be_read(source, packed, copy):
  found = open_source(copy)
  shard = found.shards[0]
  with open(copy / shard.file, "r+b") as file:
    file.seek((packed / shard.file).read_bytes().index(source.encoded(1)[:32]) + 10)
    file.write(b"\0\0\0")
  with pytest.raises(DecodeError, match=r"in .*shard-00000-of-00003"):
    found.encoded(1)
  assert found.encoded(0) == source.encoded(0) and found.encoded(2) == source.encoded(2)
  assert [name for name, _ in found.damaged_shards()] == [shard.file]
  # Its end, where ArrayRecord keeps its own index, damaged: none of its records can be read.
  os.truncate(copy / shard.file, 1 << 16)
  with open(copy / shard.file, "ab") as file:
    file.write(b"\0" * (shard.bytes - (1 << 16)))
  found = open_source(copy)
  with pytest.raises(DecodeError):
    found.encoded(0)
  assert found.encoded(4) == source.encoded(4)


def test_swapped_shards_are_noticed_by_a_check(copy):
  index = json.loads((copy / "packed.json").read_text())
  index["shards"][0]["crc32"][0] ^= 1
  (copy / "packed.json").write_text(json.dumps(index))
  found = open_source(copy)
  found.encoded(0)
  with pytest.raises(DecodeError, match="checksum"):
    found.checked(0)


def test_a_damaged_index_is_told(copy):
  path = copy / "packed.json"
  good = json.loads(path.read_text())
  short = {**good, "shards": [{**good["shards"][0], "names": ["a"]}]}
  cases = [
    ("", "is damaged"), ("{", "is damaged"), ("[]", "is damaged"), ("{}", "is damaged"),
    (json.dumps({**good, "version": 9}), "version 9; this version reads"),
    (json.dumps({**good, "format": "pictures"}), "'pictures', version 1; this version reads"),
    (json.dumps({**good, "records": 3}), "is damaged .*disagree"),
    (json.dumps({**good, "shards": good["shards"][:1]}), "is damaged .*disagree"),
    (json.dumps(short), "is damaged .*different lengths"),
    (json.dumps({**good, "shards": [{}]}), "is damaged"),
    (json.dumps({**good, "shards": [], "records": 0}), "is damaged"),
  ]
  for content, message in cases:
    path.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
      open_source(copy)
    assert "\n" not in str(caught.value)


def test_packing_is_parallel_and_shows_progress(source, tmp_path, capsys):
  class Waiting(FolderSource):
    def encoded(self, i):
      time.sleep(0.05)
      return super().encoded(i)

  waiting = Waiting(source.root)
  start = time.monotonic()
  pack.pack(waiting, tmp_path / "out", records=1, workers=12)
  assert time.monotonic() - start < 0.05 * len(waiting)
  assert "12/12" in capsys.readouterr().err
