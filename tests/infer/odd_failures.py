"""The broken ones of odd_pictures.py."""

import io
import os
import struct
import zlib

import handmade
import numpy as np
from PIL import Image, features


def _encoded(maker, form: str, mode: str = "RGB", **options) -> bytes:
  buffer = io.BytesIO()
  noise = maker.rng.integers(0, 256, (48, 64, 3), np.uint8)
  Image.fromarray(noise).convert(mode).save(buffer, form, **options)
  return buffer.getvalue()


def truncated(maker) -> None:
  """Files that end too early, at several places."""
  forms = [("JPEG", "jpg", (0.02, 0.5, 0.95)), ("PNG", "png", (0.001, 0.5, 0.95)),
           ("TIFF", "tif", (0.01, 0.5)), ("WEBP", "webp", (0.01, 0.5)), ("GIF", "gif", (0.01, 0.5)),
           ("BMP", "bmp", (0.001, 0.5)), ("PPM", "ppm", (0.0006, 0.5))]  # fmt: skip
  if features.check("avif"):
    forms.append(("AVIF", "avif", (0.01, 0.5)))
  for form, suffix, places in forms:
    data = _encoded(maker, form)
    for place in places:
      cut = data[: max(1, int(len(data) * place))]
      maker.add(f"broken/truncated/{place:g}.{suffix}", cut, None, f"the first {len(cut)} bytes")


def corrupted(maker) -> None:
  """Files of full length whose content is wrong."""
  data = bytearray(_encoded(maker, "PNG"))
  data[len(data) // 2] ^= 0xFF
  maker.add("broken/corrupt/flipped.png", bytes(data), None, "a flipped byte")
  data = bytearray(_encoded(maker, "PNG"))
  data[18] ^= 0xFF
  maker.add("broken/corrupt/header.png", bytes(data), None, "a wrong header")
  data = bytearray(_encoded(maker, "JPEG"))
  at = data.index(b"\xff\xc0")
  data[at + 5 : at + 9] = bytes(4)
  maker.add("broken/corrupt/no_size.jpg", bytes(data), None, "a size of 0x0")
  maker.add("broken/corrupt/only_start.jpg", b"\xff\xd8\xff\xe0" + bytes(64), None, "no frame")
  data = bytearray(_encoded(maker, "BMP"))
  data[10:14] = struct.pack("<I", 0x7FFFFFFF)
  maker.add("broken/corrupt/offset.bmp", bytes(data), None, "pixels far behind the end")
  sample = np.zeros((1, 1), np.uint8)
  data = handmade.png(sample, 0, 8, declared=(60000, 60000))
  maker.add("broken/corrupt/bomb.png", data, None, "promises 3.6 thousand million pixels")
  data = handmade.png(sample, 0, 8, declared=(12000, 12000))
  maker.add("broken/corrupt/no_bomb.png", data, None, "promises 144 million pixels, has one")
  data = handmade.png(sample, 0, 8, declared=(0, 5))
  maker.add("broken/corrupt/empty_size.png", data, None, "a size of 0x5")
  data = handmade.tiff((50000, 50000), b"\0", (8,), 1)
  maker.add("broken/corrupt/bomb.tif", data, None, "promises 2.5 thousand million pixels")
  data = bytearray(_encoded(maker, "GIF"))
  data[6:10] = struct.pack("<HH", 65535, 65535)
  maker.add("broken/corrupt/bomb.gif", bytes(data), None, "promises 4.3 thousand million pixels")
  values = np.array([[0.5, np.nan]], "<f4")
  data = handmade.tiff((2, 1), values.tobytes(), (32,), 1, [(339, 3, (3,))])
  maker.add("broken/corrupt/nan.tif", data, None, "not a number among the levels")
  data = handmade.tiff((2, 1), np.array([[0, 300]], "<f4").tobytes(), (32,), 1, [(339, 3, (3,))])
  maker.add("broken/corrupt/float_range.tif", data, None, "levels up to 300")
  data = handmade.tiff((1, 1), struct.pack("<i", -5), (32,), 1, [(339, 3, (2,))])
  maker.add("broken/corrupt/negative.tif", data, None, "a negative level")
  text = handmade.chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(80 * 2**20), 9))
  data = handmade.png(sample, 0, 8, [text])
  maker.add("broken/corrupt/text_bomb.png", data, None, "a text of 80 MiB in 80 kB")


def foreign(maker) -> None:
  """What is no picture by content, by name or by kind."""
  maker.add("broken/zero.jpg", b"", None, "no bytes")
  maker.add("broken/zero.png", b"", None, "no bytes")
  maker.add("broken/text.jpg", b"This is not a photograph.\n" * 9, None, "text")
  maker.add("broken/page.png", b"<!DOCTYPE html><title>404 Not Found</title>", None, "HTML")
  maker.add("broken/document.png", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF", None, "PDF")
  maker.add("broken/archive.webp", b"PK\x05\x06" + bytes(18), None, "ZIP")
  maker.add("broken/noise.png", maker.rng.bytes(500), None, "noise")
  maker.add("broken/zeros.tif", bytes(1000), None, "zero bytes")
  maker.add("broken/magic.png", b"\x89PNG\r\n\x1a\n", None, "eight bytes")
  maker.add("broken/words.ppm", b"P6\nten ten\n255\n", None, "a header in words")
  for name, content in (("notes.txt", b"remember the milk"), ("Thumbs.db", bytes(100)),
                        ("photo.xmp", b"<x:xmpmeta/>"), ("noextension", b"x")):  # fmt: skip
    maker.add(f"others/{name}", content, None, "no picture's name", "not a picture")
  folder = maker.folder / "broken"
  try:
    for name, target, oddity in (("dangling.png", "nothing/there.png", "a link to nothing"),
                                 ("ring.png", "ring.png", "a link to itself")):  # fmt: skip
      (folder / name).symlink_to(target)
      maker.note(folder / name, None, oddity)
  except OSError:
    pass  # a file system without links
  locked = folder / "locked.png"
  locked.write_bytes(_encoded(maker, "PNG"))
  locked.chmod(0)
  if os.access(locked, os.R_OK):  # the superuser may read it all the same
    locked.unlink()
  else:
    maker.note(locked, None, "no permission to read")
