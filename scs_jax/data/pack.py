"""Picture files to ArrayRecord shards: bytes kept as they are, checked after writing, resumable.

A shard holds consecutive records of the source, so its content depends on the source and on the
number of records a shard alone: on no worker count, and on no interruption. It is written aside,
read back, moved to its place, and then noted in `.packing/`; what is noted is not done again.
packed_source.py reads the result.
"""

import concurrent.futures
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import tqdm

from scs_jax.data import decode, listing, packed_source, remote, sources
from scs_jax.data.packed_source import UNFINISHED
from scs_jax.data.source import Stored
from scs_jax.errors import UserError

RECORDS = 1024
"""Records a shard by default: some 110 MB of ImageNet."""

# group_size 1: every record can be reached alone. Pictures do not compress again.
_OPTIONS = "group_size:1,uncompressed"


class Packed(NamedTuple):
  """Tells what was done.

  Attributes:
    records, bytes, shards: of the packed folder; bytes of all its shards.
    resumed: how many of the shards an earlier call had finished.
    already: nothing was to be done, the folder was whole.
    source: what was packed.
    place: the folder.
  """

  records: int
  bytes: int
  shards: int
  resumed: int
  already: bool
  source: Stored
  place: str

  def show(self) -> None:
    """Prints it."""
    if self.already:
      print(f"{self.place}: {self.records} pictures, packed already")
      return
    shards = f"{self.shards} shard{'s' if self.shards > 1 else ''}"
    kept = f"; {self.resumed} of the shards were finished before" if self.resumed else ""
    size = listing.describe_size(self.bytes)
    print(f"{self.place}: {self.records} pictures in {shards}, {size}{kept}")
    if self.source.skipped_empty:
      print(f"left out: {self.source.skipped_empty} empty files")
    for line in listing.describe_results(self.source.skipped_results):
      print(line)


class _Stopped(Exception):
  """Another shard failed, or the user interrupted."""


def pack(
  source: Stored | str | os.PathLike,
  out: str | os.PathLike,
  records: int = RECORDS,
  workers: int | None = None,
  progress: bool = True,
) -> Packed:
  """Packs all records of a data set into a folder, local or remote.

  Args:
    source: the pictures: a stored source, or what `sources.open_source` takes.
    out: a new or empty folder, or one where an earlier call was interrupted.
    records: how many records a shard holds; the last one may hold fewer.
    workers: shards written at once; by default one a core, at most 8.
    progress: a bar on stderr.

  Raises:
    UserError: out holds something else, no space, a picture that cannot be read or that changed.
  """
  if records < 1:
    raise UserError(f"{records} records a shard: expected 1 or more")
  if not os.fspath(out):
    raise UserError("OUT is empty: expected a folder for the shards")
  if not isinstance(source, Stored):
    source = sources.open_source(source)
  place = remote.Place(out)
  plan = {
    "version": packed_source.VERSION,
    "fingerprint": source.fingerprint,
    "records": len(source),
    "records_per_shard": records,
  }
  job = _Job(source, place, records)
  with _explained(place.root), contextlib.ExitStack() as held:
    if _begin(place, plan):
      shards = packed_source.PackedSource(place.root).shards
      size, count = sum(s.bytes for s in shards), len(shards)
      return Packed(len(source), size, count, count, True, source, os.fspath(out))
    held.enter_context(_alone(place))
    done = job.noted()
    job.require_space(done)
    job.write_all(done, workers or min(8, os.cpu_count() or 1), progress)
    shards = [done[k] for k in range(job.count)]
    index = {"format": packed_source.FORMAT, **plan, "shards": shards}
    place.write(packed_source.INDEX, json.dumps(index).encode())
    place.remove(UNFINISHED)
  size = sum(s["bytes"] for s in shards)
  return Packed(len(source), size, job.count, job.resumed, False, source, os.fspath(out))


def _begin(place: remote.Place, plan: dict) -> bool:
  """Notes the plan in a new folder, or compares it with the one there; True where all is done."""
  found = [name for name in place.names() if name != UNFINISHED]
  if packed_source.INDEX in found:
    index = _load(place, packed_source.INDEX)
    if all(index.get(key) == value for key, value in plan.items()):
      place.remove(UNFINISHED)  # left over where the end was interrupted
      return True
    raise UserError(f"{place.root} holds other packed pictures; give another folder, or remove it")
  path = f"{UNFINISHED}/plan.json"
  if place.exists(path):
    begun = _load(place, path)
    if begun != plan:
      keys = [key for key in plan if begun.get(key) != plan[key]]
      what = "with another --records" if keys == ["records_per_shard"] else "of other pictures"
      raise UserError(
        f"{place.root} is half packed {what}; finish that with the same command, remove the "
        "folder, or give another"
      )
    return False
  if found:
    raise UserError(f"{place.root} is not empty ({found[0]} is there); give a new folder")
  place.write(path, json.dumps(plan).encode())
  return False


def _load(place: remote.Place, name: str) -> dict:
  try:
    return dict(json.loads(place.read(name)))
  except (ValueError, TypeError) as error:
    raise UserError(f"{place.full(name)} is damaged; remove {place.root} and pack anew") from error


class _Job:
  """One packing: which shards there are, and how one is written."""

  def __init__(self, source, place: remote.Place, records: int):
    self.source, self.place, self.records = source, place, records
    self.count = -(-len(source) // records)
    self.resumed = 0
    self._stop = threading.Event()

  def file(self, k: int) -> str:
    return f"shard-{k:05d}-of-{self.count:05d}.array_record"

  def note(self, k: int) -> str:
    return f"{UNFINISHED}/{k:05d}.json"

  def of(self, k: int) -> range:
    """Records of a shard."""
    return range(k * self.records, min(len(self.source), (k + 1) * self.records))

  def noted(self) -> dict[int, dict]:
    """Reads {shard: its entry of the index} of those that are finished and still there."""
    notes = set(self.place.names(UNFINISHED))
    there = set(self.place.names())
    done = {}
    for k in range(self.count):
      if pathlib.PurePath(self.note(k)).name in notes and self.file(k) in there:
        done[k] = _load(self.place, self.note(k))
    self.resumed = len(done)
    return done

  def require_space(self, done: dict[int, dict]) -> None:
    """Refuses before work what cannot fit. Not for buckets, which do not fill up."""
    if self.place.remote:
      return
    todo = (i for k in range(self.count) if k not in done for i in self.of(k))
    need = sum(self.source.file(i).size for i in todo) * 1.005
    free = shutil.disk_usage(self.place.root).free
    if need > free:
      raise UserError(
        f"{self.place.root}: {need / 1e9:.2f} GB are still to be written and {free / 1e9:.2f} GB "
        "are free; free some space, or give a folder on another disk"
      )

  def write_all(self, done: dict[int, dict], workers: int, progress: bool) -> None:
    """Writes what is not done; adds its entries to `done`."""
    todo = [k for k in range(self.count) if k not in done]
    finished = sum(len(self.of(k)) for k in done)
    bar = tqdm.tqdm(
      total=len(self.source), initial=finished, desc="packing", unit="image", disable=not progress
    )
    with _scratch(self.place) as scratch, bar:
      pool = concurrent.futures.ThreadPoolExecutor(workers)
      try:
        running = {pool.submit(self._write, k, scratch, bar): k for k in todo}
        for future in concurrent.futures.as_completed(running):
          with contextlib.suppress(_Stopped):  # the shard that stopped the others tells why
            done[running[future]] = future.result()
      except BaseException:
        self._stop.set()
        raise
      finally:
        pool.shutdown(cancel_futures=True)

  def _write(self, k: int, scratch: pathlib.Path, bar: tqdm.tqdm) -> dict:
    """Writes one shard, reads it back and notes it: its entry of the index."""
    aside = scratch / f"{k:05d}.partial"
    try:
      entry = {"file": self.file(k), "names": [], "sizes": [], "crc32": []}
      self._copy(k, aside, entry, bar)
      _require_written(aside, entry["crc32"])
      with open(aside, "rb") as file:
        entry["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        entry["bytes"] = file.tell()
      self.place.take(aside, entry["file"])
      self.place.write(self.note(k), json.dumps(entry).encode())
      return entry
    except BaseException:
      self._stop.set()
      raise
    finally:
      aside.unlink(missing_ok=True)

  def _copy(self, k: int, aside: pathlib.Path, entry: dict, bar: tqdm.tqdm) -> None:
    """Writes the records to a shard file, and fills the entry."""
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(os.fspath(aside), _OPTIONS)
    try:
      for i in self.of(k):
        if self._stop.is_set():
          raise _Stopped
        data, file = _read(self.source, i)
        writer.write(data)
        entry["names"].append(file.name)
        entry["sizes"].append(len(data))
        entry["crc32"].append(zlib.crc32(data))
        bar.update()
    except BaseException:
      with contextlib.suppress(RuntimeError):  # the first failure is the one to tell
        writer.close()
      raise
    writer.close()
    with open(aside, "rb") as file:
      os.fsync(file.fileno())


def _read(source, i: int) -> tuple[bytes, object]:
  """Reads (bytes, file) of a record, as the source listed it."""
  file = source.file(i)
  try:
    data = source.encoded(i)
  except decode.DecodeError as error:
    raise UserError(f"{error}; mend or remove it, then run the same command again") from error
  if file.size and len(data) != file.size:
    raise UserError(
      f"{file.name} changed while it was packed ({file.size} bytes, now {len(data)}); pack into "
      "a new folder when the pictures stay as they are"
    )
  return data, file


def _require_written(path: pathlib.Path, crc32: Sequence[int]) -> None:
  """Reads a shard back; raises OSError where a record is not what was written."""
  from array_record.python import array_record_module

  try:
    reader = array_record_module.ArrayRecordReader(os.fspath(path))
    good = all(zlib.crc32(reader.read()) == crc for crc in crc32)
    reader.close()  # raises what its own checksums found
  except (ValueError, RuntimeError, IndexError):
    good = False
  if not good:
    raise OSError(f"{path}: not the bytes that were written")


@contextlib.contextmanager
def _alone(place: remote.Place) -> Iterator[None]:
  """Refuses a second packing into one local folder, which would take the first one's files away.

  The lock ends with the process, however that ends. Buckets have none; there shards are made in
  folders of their own, and both write the same.
  """
  if place.remote:
    yield
    return
  with open(place.full(f"{UNFINISHED}/plan.json"), "rb") as file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      raise UserError(f"{place.root} is being packed by another process; wait for it") from error
    except OSError:  # a network disk without locks
      pass
    yield


@contextlib.contextmanager
def _scratch(place: remote.Place) -> Iterator[pathlib.Path]:
  """Makes a local folder for shards in the making: on the disk where they stay, if it is local."""
  if place.remote:
    with tempfile.TemporaryDirectory(prefix="scs-jax-pack-") as folder:
      yield pathlib.Path(folder)
    return
  folder = pathlib.Path(place.full(UNFINISHED))
  for left in folder.glob("*.partial"):  # of a process that was killed
    left.unlink(missing_ok=True)
  yield folder


@contextlib.contextmanager
def _explained(root: str) -> Iterator[None]:
  """Turns a full disk, and what else cannot be written, into errors for the user."""
  try:
    yield
  except (RuntimeError, OSError) as error:
    message = " ".join(str(getattr(error, "strerror", None) or error).split())
    if "No space left" in message:
      raise UserError(
        f"the disk of {root} is full; free some space and run the same command again: the shards "
        "that are finished are not done again"
      ) from error
    raise UserError(f"cannot pack into {root} ({message})") from error
