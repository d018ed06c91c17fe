"""Where the bytes of records are in an uncompressed ArrayRecord file, so that ranges can be read.

ArrayRecord stands on Riegeli, which puts a header at each multiple of a block's size, wherever a
record may be; between the headers a record's bytes are in one piece.
"""

import os
import zlib
from collections.abc import Sequence

BLOCK, HEADER = 1 << 16, 24

KNOWN_BY = 32
"""So many leading bytes are what a record is looked for by."""

_WINDOW = 4096


def end_of(start: int, size: int) -> int:
  """Where in a shard a record's bytes end that begin at `start`, headers in between counted."""
  end = start + size
  first = start // BLOCK + 1  # the first block whose header may lie inside
  while first * BLOCK < end:
    end += HEADER
    first += 1
  return end


def unframe(raw: bytes, start: int) -> bytes:
  """Bytes [start, start + len(raw)) of a shard without the headers of blocks among them."""
  if start % BLOCK + len(raw) <= BLOCK and start % BLOCK >= HEADER:
    return raw
  parts, position, end = [], start, start + len(raw)
  while position < end:
    block = position // BLOCK * BLOCK
    position = max(position, block + HEADER)
    stop = min(end, block + BLOCK)
    parts.append(raw[position - start : stop - start])
    position = block + BLOCK
  return b"".join(parts)


def locate(
  path: str | os.PathLike, heads: Sequence[bytes], sizes: Sequence[int], crc32: Sequence[int]
) -> list[int]:
  """Where in a shard each record's bytes begin; reads all of them back and compares checksums.

  Args:
    path: the shard, its records in this order.
    heads: the first KNOWN_BY bytes of each record.
    sizes, crc32: of each record's bytes.

  Raises:
    OSError: the file does not hold what was written.
  """
  offsets, position = [], 0
  with open(path, "rb") as file:
    for head, size, crc in zip(heads, sizes, crc32, strict=True):
      start = position
      while True:
        file.seek(start)
        window = unframe(file.read(_WINDOW), start)
        at = window.find(head)
        if at < 0:
          raise OSError(f"{path}: not the bytes that were written, at {position}")
        start = _advance(start, at)
        end = end_of(start, size)
        file.seek(start)
        if zlib.crc32(unframe(file.read(end - start), start)) == crc:
          break
        start = _advance(start, 1)  # the same bytes by chance, before the record
      offsets.append(start)
      position = end
  return offsets


def _advance(start: int, count: int) -> int:
  """Place of the byte that comes `count` after that at `start`, headers of blocks left out."""
  start = max(start, start // BLOCK * BLOCK + HEADER)
  while start % BLOCK + count >= BLOCK:
    count -= BLOCK - start % BLOCK
    start = (start // BLOCK + 1) * BLOCK + HEADER
  return start + count
