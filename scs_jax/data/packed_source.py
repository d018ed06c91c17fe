"""A packed folder as a source: ArrayRecord shards of picture files and an index, by pack.py.

    packed.json                          names, sizes, checksums
    shard-00000-of-00012.array_record    records of one group each, uncompressed

ArrayRecord's own reader reads, from local files: a shard of a bucket is fetched when the first of
its records is asked for, and kept for other runs. In a random order that is soon all of them, and
read from a local disk they keep up with any step, where a request a record would wait for each.
"""

import errno
import fcntl
import hashlib
import json
import os
import pathlib
import zlib
from typing import NamedTuple

import numpy as np

from scs_jax.core import cache
from scs_jax.data import decode, remote, scan
from scs_jax.data.source import Stored
from scs_jax.errors import UserError

INDEX = "packed.json"
UNFINISHED = ".packing"
FORMAT = "scs_jax packed pictures"
VERSION = 1


class Shard(NamedTuple):
  """Holds what the index tells of one shard; arrays have one element a record.

  Attributes:
    file: its name. bytes: its length. sha256: of its content, in hex.
    sizes, crc32: of the records' bytes.
  """

  file: str
  bytes: int
  sha256: str
  sizes: np.ndarray
  crc32: np.ndarray


class _Instruction(NamedTuple):
  """Holds what array_record wants to know of a shard, so that it opens it only when it is read."""

  filename: str
  skip: int
  take: int
  examples_in_shard: int


def is_packed(root: str | os.PathLike) -> bool:
  """Tells whether a folder, local or remote, is packed.

  Raises:
    UserError: packing was not finished, or the place cannot be reached.
  """
  place = remote.Place(root)
  try:
    if place.exists(INDEX):
      return True
    unfinished = place.exists(f"{UNFINISHED}/plan.json")
  except OSError as error:
    raise UserError(f"cannot read {place.root} ({error.strerror or error})") from error
  if unfinished:
    raise UserError(
      f"{place.root} is half packed; run the same `scs-jax data pack` again, it goes on there"
    )
  return False


class PackedSource(Stored):
  """The pictures of a packed folder: names and fingerprint are those of what was packed.

  So a run that began on the folder goes on with the packed one.

  Raises:
    UserError: the index is damaged, or a shard is missing or not of its length.
  """

  def __init__(self, root: str | os.PathLike):
    self._place = remote.Place(root)
    self.root = self._place.root
    self._names, self.shards, self.fingerprint = _read_index(self._place)
    self._check_shards()
    counts = [len(shard.sizes) for shard in self.shards]
    self._starts = np.concatenate([[0], np.cumsum(counts)])
    self._reader = _reader([_local_path(self._place, shard) for shard in self.shards], counts)

  def __len__(self) -> int:
    return len(self._names)

  def encoded(self, i: int) -> bytes:
    shard, j = self._where(i)
    if self._place.remote:
      try:
        _fetch(self._place, shard)
      except decode.DecodeError as error:
        raise decode.DecodeError(f"{self._names[i]} in {self._place.root}: {error}") from error
    with decode.explain_failures(self.label(i)):
      data = self._reader[i]  # Riegeli checks a checksum of its own
    if len(data) != shard.sizes[j]:
      raise decode.DecodeError(f"{self.label(i)}: not the bytes that were packed")
    return data

  def checked(self, i: int) -> bytes:
    data = self.encoded(i)
    shard, j = self._where(i)
    if zlib.crc32(data) != shard.crc32[j]:
      raise decode.DecodeError(f"{self.label(i)}: not the bytes that were packed (checksum)")
    return data

  def damaged_shards(self) -> list[tuple[str, str]]:
    damaged = []
    for shard in self.shards:
      try:
        if self._place.remote:
          _fetch(self._place, shard)
        _require_digest(_local_path(self._place, shard), shard)
      except decode.DecodeError as error:
        damaged.append((shard.file, str(error).removeprefix(f"{shard.file}: ")))
      except OSError as error:
        damaged.append((shard.file, str(error.strerror or error)))
    return damaged

  def file(self, i: int) -> scan.File:
    shard, j = self._where(i)
    return scan.File(self._names[i], int(shard.sizes[j]), int(shard.crc32[j]))

  def name(self, i: int) -> str:
    return self._names[i]

  def _where(self, i: int) -> tuple[Shard, int]:
    k = int(np.searchsorted(self._starts, i, "right")) - 1
    return self.shards[k], i - int(self._starts[k])

  def label(self, i: int) -> str:
    return f"{self._names[i]} in {self._place.full(self._where(i)[0].file)}"

  def _check_shards(self) -> None:
    try:
      if self._place.remote:
        found = {name: size for name, (size, _) in self._place.sizes().items()}
      else:
        with os.scandir(self.root) as entries:
          found = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except OSError as error:
      raise UserError(f"cannot list {self.root} ({error.strerror or error})") from error
    for shard in self.shards:
      if found.get(shard.file) != shard.bytes:
        have = f"has {found[shard.file]} bytes" if shard.file in found else "is missing"
        raise UserError(
          f"packed folder {self.root}: {shard.file} {have}, expected {shard.bytes} bytes; copy it "
          "again, or pack the pictures again"
        )


def _reader(paths: list[str], counts: list[int]):
  # Imported here: it takes a while, and only packed folders need it.
  from array_record.python import array_record_data_source

  return array_record_data_source.ArrayRecordDataSource(
    [_Instruction(path, 0, n, n) for path, n in zip(paths, counts, strict=True)]
  )


def _local_path(place: remote.Place, shard: Shard) -> str:
  """Gives the path of a shard on a local disk; one of a bucket has its content's name there.

  None is ever removed from there.
  """
  if not place.remote:
    return place.full(shard.file)
  return str(cache.folder() / f"{shard.sha256}.array_record")


def _fetch(place: remote.Place, shard: Shard) -> None:
  """Brings a shard of a bucket to its local path, once for all threads and processes.

  Raises:
    DecodeError: it cannot be read, or is not what was written.
    UserError: the local disk has no room for it.
  """
  path = pathlib.Path(_local_path(place, shard))
  if path.exists():
    return
  aside = path.with_suffix(".partial")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(aside, "ab") as lock:  # which ends with the process, however that ends
      fcntl.flock(lock, fcntl.LOCK_EX)
      if not path.exists():
        place.fetch(shard.file, aside)
        _require_digest(aside, shard)
        os.replace(aside, path)
  except decode.DecodeError:
    aside.unlink(missing_ok=True)
    raise
  except OSError as error:
    aside.unlink(missing_ok=True)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
      raise UserError(
        f"no room in {path.parent} for the shards of {place.root}, which are kept there; free some "
        f"space, set {cache.VARIABLE} to a folder on a larger disk, or mount the bucket and give "
        "its folder"
      ) from error
    raise decode.DecodeError(f"{shard.file}: {error.strerror or error}") from error


def _require_digest(path: str | os.PathLike, shard: Shard) -> None:
  with open(path, "rb") as file:
    if hashlib.file_digest(file, "sha256").hexdigest() != shard.sha256:
      raise decode.DecodeError(f"{shard.file}: not the bytes that were written (SHA-256)")


def _read_index(place: remote.Place) -> tuple[list[str], list[Shard], str]:
  """Reads (names, shards, fingerprint)."""
  path = place.full(INDEX)
  try:
    index = json.loads(place.read(INDEX))
    if index["format"] != FORMAT or index["version"] != VERSION:
      raise UserError(
        f"{path}: {index['format']!r}, version {index['version']}; this version reads "
        f"{FORMAT!r}, version {VERSION}; pack the pictures again"
      )
    names, shards = [], []
    for entry in index["shards"]:
      arrays = (
        np.array(entry["sizes"], np.int64),
        np.array(entry["crc32"], np.uint32),
      )
      if not entry["names"] or {len(entry["names"])} != {array.shape[0] for array in arrays}:
        raise ValueError("columns of different lengths")
      names += entry["names"]
      shards.append(Shard(entry["file"], entry["bytes"], entry["sha256"], *arrays))
    if len(names) != index["records"] or not names:
      raise ValueError("records and shards disagree")
    return names, shards, str(index["fingerprint"])
  except OSError as error:
    raise UserError(f"cannot read {path} ({error.strerror or error})") from error
  except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
    raise UserError(
      f"the index {path} is damaged ({type(error).__name__}: {error}); copy it again, or pack the "
      "pictures again"
    ) from error
