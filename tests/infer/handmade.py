"""Picture files and colour profiles written byte by byte, where Pillow cannot write them."""

import struct
import zlib
from collections.abc import Sequence

import numpy as np

_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 11: "f"}
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7: first row, first column, step down, step right of each of the seven passes.
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
          (1, 0, 2, 1))  # fmt: skip


def chunk(kind: bytes, body: bytes) -> bytes:
  """One chunk of a PNG."""
  return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(
  samples: np.ndarray,
  color_type: int,
  depth: int,
  extra: Sequence[bytes] = (),
  interlaced: bool = False,
  declared: tuple[int, int] | None = None,
) -> bytes:
  """A PNG file.

  Args:
    samples: [H, W] or [H, W, C] in [0, 2^depth).
    color_type: 0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGB and alpha.
    depth: bits a sample, 1 to 16.
    extra: whole chunks to put before the pixels.
    declared: (width, height) that the header lies about.
  """
  samples = samples.reshape(*samples.shape[:2], _PNG_CHANNELS[color_type])
  passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
  rows = b""
  for top, left, down, right in passes:
    part = samples[top::down, left::right]
    if part.shape[1]:
      rows += b"".join(b"\0" + _packed(row, depth) for row in part)
  width, height = declared or (samples.shape[1], samples.shape[0])
  header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced))
  body = b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
  return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def _packed(row: np.ndarray, depth: int) -> bytes:
  if depth == 16:
    return row.astype(">u2").tobytes()
  bits = (row.reshape(-1, 1).astype(np.uint8) >> np.arange(depth - 1, -1, -1, dtype=np.uint8)) & 1
  return np.packbits(bits.reshape(-1)).tobytes()


def tiff(
  size: tuple[int, int],
  data: bytes,
  bits: tuple[int, ...],
  photometric: int,
  extra: Sequence[tuple[int, int, tuple]] = (),
  big_endian: bool = False,
) -> bytes:
  """An uncompressed TIFF of one strip.

  Args:
    size: (width, height).
    data: the pixels, packed and in the file's byte order.
    bits: of each channel.
    photometric: 0 white is zero, 1 black is zero, 2 RGB, 8 Lab.
    extra: (tag, type, values) besides.
  """
  order = ">" if big_endian else "<"
  width, height = size
  entries = [(256, 4, (width,)), (257, 4, (height,)), (258, 3, bits), (259, 3, (1,)),
             (262, 3, (photometric,)), (273, 4, (0,)), (277, 3, (len(bits),)),
             (278, 4, (height,)), (279, 4, (len(data),)), *extra]  # fmt: skip
  entries.sort()
  values = {}
  behind = 8 + 2 + 12 * len(entries) + 4
  tail = b""
  for tag, kind, content in entries:
    raw = struct.pack(f"{order}{len(content)}{_TIFF_TYPES[kind]}", *content)
    if len(raw) > 4:
      values[tag] = struct.pack(f"{order}I", behind + len(tail))
      tail += raw + b"\0" * (len(raw) % 2)
    else:
      values[tag] = raw.ljust(4, b"\0")
  values[273] = struct.pack(f"{order}I", behind + len(tail))
  table = b"".join(
    struct.pack(f"{order}HHI", tag, kind, len(content)) + values[tag]
    for tag, kind, content in entries
  )
  head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(f"{order}IH", 8, len(entries))
  return head + table + struct.pack(f"{order}I", 0) + tail + data


def curve(*values: float) -> bytes:
  """A curveType: none is the identity, one a power, more a table of outputs in [0, 1]."""
  numbers = [round(v * (256 if len(values) == 1 else 65535)) for v in values]
  return struct.pack(f">4sII{len(numbers)}H", b"curv", 0, len(numbers), *numbers)


def parametric(kind: int, *values: float) -> bytes:
  """A parametricCurveType: g, a, b, c, d, e, f as far as the kind has them."""
  numbers = [round(v * 65536) for v in values]
  return struct.pack(f">4sIHH{len(numbers)}i", b"para", 0, kind, 0, *numbers)


def xyz(*values: float) -> bytes:
  """An XYZType."""
  return struct.pack(">4sI3i", b"XYZ ", 0, *(round(v * 65536) for v in values))


def profile(
  space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", connection: bytes = b"XYZ "
) -> bytes:
  """A profile (ICC.1) of "RGB ", "GRAY" or "CMYK" colours with these tags and the D50 white."""
  tags = {b"wtpt": xyz(0.9642, 1.0, 0.8249), **tags}
  at, table, content = 128 + 4 + 12 * len(tags), b"", b""
  for name, body in tags.items():
    table += struct.pack(">4sII", name, at + len(content), len(body))
    content += body + b"\0" * (-len(body) % 4)
  size = at + len(content)
  head = struct.pack(">I4sI4s4s4s", size, b"none", 0x04200000, kind, space, connection)
  head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp").ljust(44, b"\0")
  head += struct.pack(">3i", 63190, 65536, 54061)
  return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content


# sRGB's primaries adapted to D50, as columns of the matrix from linear RGB to XYZ.
RED = (0.43607, 0.22249, 0.01392)
GREEN = (0.38515, 0.71687, 0.09708)
BLUE = (0.14307, 0.06061, 0.7141)


def rgb_profile(red=RED, green=GREEN, blue=BLUE, tone: bytes | None = None) -> bytes:
  """A matrix profile: primaries (XYZ, adapted to D50) and one curve, by default the power 2.2."""
  tags = {b"rXYZ": xyz(*red), b"gXYZ": xyz(*green), b"bXYZ": xyz(*blue)}
  tone = tone or curve(2.2)
  return profile(b"RGB ", tags | {name: tone for name in (b"rTRC", b"gTRC", b"bTRC")})


def gray_profile(tone: bytes) -> bytes:
  """A gray profile with this tone curve."""
  return profile(b"GRAY", {b"kTRC": tone})


def cmyk_profile(corners: np.ndarray) -> bytes:
  """A printer's profile by the colours of its 16 full inks; between them lcms interpolates.

  Args:
    corners: [2, 2, 2, 2, 3] by cyan, magenta, yellow and black ink (0 none, 1 full): CIE Lab, D50,
      whole numbers.
  """
  identity = bytes(range(256))
  numbers = np.rint(corners * [2.55, 1, 1] + [0, 128, 128]).astype(np.uint8)
  matrix = struct.pack(">9i", *(65536 * v for v in (1, 0, 0, 0, 1, 0, 0, 0, 1)))
  table = struct.pack(">4sI4B", b"mft1", 0, 4, 3, 2, 0) + matrix
  table += identity * 4 + numbers.tobytes() + identity * 3
  return profile(b"CMYK", {b"A2B0": table, b"A2B1": table}, b"prtr", b"Lab ")
