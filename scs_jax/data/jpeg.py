"""JPEG files: decoded at a part of their size, and without the marker that ends them."""

import io
import struct

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "MPO")
"""Pillow's names of what is a JPEG inside."""

_END = b"\xff\xd9"
# Any bytes but 0xFF, so that no marker is among them, and more than a row of blocks takes.
_FILLER = b"\x5a\xa5\x33" * 30000
_START_OF_SCAN = 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_PLAIN_MARKERS = (0x01, *range(0xD0, 0xD9))  # without a length behind them


def draft(image: Image.Image, min_short_side: int) -> None:
  """Asks a JPEG decoder for the smallest scale whose short side is at least min_short_side."""
  short = min(image.size)
  if image.format not in FORMATS or min_short_side < 1 or short < 2 * min_short_side:
    return
  # Pillow takes the largest scale s of 8, 4, 2 with s <= size // asked; asking for ceil keeps both
  # sides at or above what was asked, whatever the aspect ratio.
  asked = tuple(-(-side * min_short_side // short) for side in image.size)
  image.draft(None, asked)


def without_end(data: bytes, min_short_side: int | None = None) -> Image.Image | None:
  """Decodes a JPEG that lacks nothing but its end marker; None where pixels are missing.

  libjpeg makes up what is missing from the bytes that follow. So where the pixels do not depend on
  what follows, none is missing in the last scan; and no scan is missing where each coefficient of
  each component has had its last bit.
  """
  data = data.rstrip(b"\xff")  # the first half of the marker, if it is there
  if not _has_all_scans(data):
    return None
  images = []
  for rest in (b"", _FILLER):
    image = Image.open(io.BytesIO(data + rest + _END))
    if min_short_side is not None:
      draft(image, min_short_side)
    image.load()
    images.append(image)
  return images[0] if np.array_equal(*map(np.asarray, images)) else None


def _has_all_scans(data: bytes) -> bool:
  """Tells by ITU-T T.81, B.2, whether the scans give each component's 64 coefficients whole.
  """
  missing: dict[int, set[int]] = {}
  at = 2
  while at + 4 <= len(data):
    if data[at] != 0xFF or data[at + 1] in (0x00, 0xFF, *_PLAIN_MARKERS):
      at += 1  # a scan's own bytes
      continue
    marker, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
    body = data[at + 4 : at + 2 + length]
    if marker in _FRAMES:
      missing = {body[6 + 3 * i]: set(range(64)) for i in range(body[5])}
    elif marker == _START_OF_SCAN:
      count = body[0]
      first, last, bits = body[1 + 2 * count : 4 + 2 * count]
      if bits & 15 == 0:
        for i in range(count):
          missing.get(body[1 + 2 * i], set()).difference_update(range(first, last + 1))
    at += 2 + length
  return bool(missing) and not any(missing.values())
