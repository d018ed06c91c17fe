"""A packed folder as a source: ArrayRecord shards of picture files and an index, by pack.py.

    packed.json                          names, sizes, checksums, where each record begins
    shard-00000-of-00012.array_record    records of one group each, uncompressed

Locally ArrayRecord's own reader reads. From a bucket a record is one ranged read: the index knows
where its bytes are, so that neither whole shards need to come nor one be kept.
"""

import hashlib
import json
import os
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from scs_jax.data import decode, remote, riegeli, scan
from scs_jax.errors import UserError

INDEX = "packed.json"
UNFINISHED = ".packing"
FORMAT = "scs_jax packed pictures"
VERSION = 1

_PIECE = 1 << 24


class Shard(NamedTuple):
  """What the index tells of one shard; arrays have one element a record.

  Attributes:
    file: its name. bytes: its length. sha256: of its content, in hex.
    sizes, crc32, offsets: of the records' bytes; an offset is the place of the first in the file.
  """

  file: str
  bytes: int
  sha256: str
  sizes: np.ndarray
  crc32: np.ndarray
  offsets: np.ndarray


class _Instruction(NamedTuple):
  """What array_record wants to know of a shard, so that it opens it only when it is read."""

  filename: str
  skip: int
  take: int
  examples_in_shard: int


def is_packed(root: str | os.PathLike) -> bool:
  """Whether a folder, local or remote, is packed.

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


class PackedSource:
  """The pictures of a packed folder: names and fingerprint are those of what was packed.

  So a run that began on the folder goes on with the packed one.

  Raises:
    UserError: the index is damaged, or a shard is missing or not of its length.
  """

  def __init__(self, root: str | os.PathLike):
    self._place = remote.Place(root)
    self.root = self._place.root
    self._names, self.shards, self._fingerprint = _read_index(self._place)
    self._check_shards()
    counts = [len(shard.sizes) for shard in self.shards]
    self._starts = np.concatenate([[0], np.cumsum(counts)])
    self._reader = None if self._place.remote else _reader(self._place, self.shards)

  def __len__(self) -> int:
    return len(self._names)

  def __getitem__(self, i: int) -> np.ndarray:
    return self.load(i)

  def load(self, i: int, min_short_side: int | None = None) -> np.ndarray:
    return np.asarray(self.open(i, min_short_side))

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    return decode.decode_image(self.encoded(i), min_short_side, name=self._label(i))

  def encoded(self, i: int) -> bytes:
    shard, j = self._where(i)
    with decode.explain_failures(self._label(i)):
      if self._reader is not None:
        data = self._reader[i]  # Riegeli checks a checksum of its own
        sound = len(data) == shard.sizes[j]
      else:
        start, size = int(shard.offsets[j]), int(shard.sizes[j])
        raw = self._place.read(shard.file, start, riegeli.end_of(start, size))
        data = riegeli.unframe(raw, start)
        sound = zlib.crc32(data) == shard.crc32[j]
    if not sound:
      raise decode.DecodeError(f"{self._label(i)}: not the bytes that were packed")
    return data

  def head(self, i: int, count: int) -> bytes:
    shard, j = self._where(i)
    start, size = int(shard.offsets[j]), min(count, int(shard.sizes[j]))
    with decode.explain_failures(self._label(i)):
      return riegeli.unframe(
        self._place.read(shard.file, start, riegeli.end_of(start, size)), start
      )

  def checked(self, i: int) -> bytes:
    """encoded(i), by its checksum in the index as well: for a check of the whole."""
    data = self.encoded(i)
    shard, j = self._where(i)
    if zlib.crc32(data) != shard.crc32[j]:
      raise decode.DecodeError(f"{self._label(i)}: not the bytes that were packed (checksum)")
    return data

  def damaged_shards(self) -> list[tuple[str, str]]:
    """[(shard, cause)] of those that are not byte by byte what was written. Reads all of them."""
    damaged = []
    for shard in self.shards:
      try:
        digest, at = hashlib.sha256(), 0
        while at < shard.bytes:
          piece = self._place.read(shard.file, at, min(shard.bytes, at + _PIECE))
          if not piece:
            break
          digest.update(piece)
          at += len(piece)
        if digest.hexdigest() != shard.sha256:
          damaged.append((shard.file, "not the bytes that were written (SHA-256)"))
      except OSError as error:
        damaged.append((shard.file, str(error.strerror or error)))
    return damaged

  def file(self, i: int) -> scan.File:
    shard, j = self._where(i)
    return scan.File(self._names[i], int(shard.sizes[j]), int(shard.crc32[j]))

  def name(self, i: int) -> str:
    return self._names[i]

  @property
  def fingerprint(self) -> str:
    return self._fingerprint

  def _where(self, i: int) -> tuple[Shard, int]:
    k = int(np.searchsorted(self._starts, i, "right")) - 1
    return self.shards[k], i - int(self._starts[k])

  def _label(self, i: int) -> str:
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


def _reader(place: remote.Place, shards: list[Shard]):
  # Imported here: it takes a while, and only packed folders need it.
  from array_record.python import array_record_data_source

  counts = [len(shard.sizes) for shard in shards]
  return array_record_data_source.ArrayRecordDataSource(
    [_Instruction(place.full(s.file), 0, n, n) for s, n in zip(shards, counts, strict=True)]
  )


def _read_index(place: remote.Place) -> tuple[list[str], list[Shard], str]:
  """(names, shards, fingerprint)."""
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
        np.array(entry["offsets"], np.int64),
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
