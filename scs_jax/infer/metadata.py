"""Metadata of a picture, kept for the coloured result.

The result stands upright, is sRGB and may have another size. So the EXIF orientation becomes 1, the
thumbnail (which would show the gray picture) and the layout of the old file are dropped, and
PixelXDimension, PixelYDimension and ColorSpace are set anew.
"""

import dataclasses
import math
import re
from collections.abc import Mapping

from PIL import Image

_ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD, _INTEROPERABILITY, _MAKER_NOTE = 0x8769, 0x8825, 0xA005, 0x927C
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _INCH = 282, 283, 296, 2
_COLOR_SPACE, _PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA001, 0xA002, 0xA003
# TIFF 6.0's and DNG's tags that describe how a file holds its pixels; a result has its own. What is
# kept elsewhere (resolution: dpi; 700: XMP) goes as well, and so do foreign blocks with profiles.
_LAYOUT = frozenset(
  (
    *range(254, 260), 262, 263, 264, 265, 266, 273, 277, 278, 279, *range(280, 285),
    *range(288, 292), 292, 293, 296, 301, *range(317, 348), 512, 513, 514, 515, *range(517, 522),
    *range(529, 533), 700, 33421, 33422, 33723, 34377, 34675, *range(50706, 51200),
  )
)  # fmt: skip
_XMP_ORIENTATION = (
  re.compile(rb"(tiff:Orientation\s*=\s*[\"'])[^\"'<>]*([\"'])"),
  re.compile(rb"(<tiff:Orientation(?:\s[^<>]*)?>)[^<>]*(</tiff:Orientation\s*>)"),
)


@dataclasses.dataclass(frozen=True)
class Metadata:
  """Holds what `write` puts back where a format can carry it; no profile, as results are sRGB."""

  exif: bytes | None = None
  """An EXIF block that begins with "Exif\\0\\0", orientation 1, no thumbnail."""
  xmp: bytes | None = None
  """An XMP packet whose orientation, if any, is 1."""
  dpi: tuple[float, float] | None = None
  """Pixels per inch, horizontally and vertically."""
  text: Mapping[str, str] = dataclasses.field(default_factory=dict)
  """A PNG's texts by keyword; a comment (JPEG, GIF) under "Comment"."""


def gather(image: Image.Image) -> tuple[Metadata, tuple[str, ...]]:
  """Reads a loaded image's metadata, and remarks on what of it could not be kept. Never fails."""
  remarks = []
  try:
    exif = _clean_exif(image.getexif())
  except Exception as error:  # a damaged block raises nearly anything
    exif = None
    remarks.append(f"EXIF ignored: it is broken ({error})")
  xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
  dpi = _clean_dpi(image.info.get("dpi")) or _exif_dpi(image)
  return Metadata(exif, _clean_xmp(xmp), dpi, _text(image)), tuple(remarks)


def exif_for(
  metadata: Metadata, size: tuple[int, int], limit: int | None = None, with_dpi: bool = False
) -> Image.Exif | None:
  """Returns the EXIF block of a result, None where there is none to write.

  Args:
    metadata: of the picture that was read.
    size: (width, height) of the result, in pixels.
    with_dpi: the format has no other place for the resolution.
    limit: the most bytes that the format can carry. Past it the maker's note is left out, which is
      most of a large block; if that is not enough, the whole block.
  """
  block = Image.Exif()
  if metadata.exif:
    block.load(metadata.exif)
  if with_dpi and metadata.dpi:
    block[_X_RESOLUTION], block[_Y_RESOLUTION] = (round(v, 4) for v in metadata.dpi)
    block[_RESOLUTION_UNIT] = _INCH
  if not len(block):
    return None
  details = dict(block.get_ifd(_EXIF_IFD))
  for tag, value in ((_PIXEL_WIDTH, size[0]), (_PIXEL_HEIGHT, size[1]), (_COLOR_SPACE, 1)):
    if tag in details:
      details[tag] = value
  gps = dict(block.get_ifd(_GPS_IFD))
  for kept in (details, {k: v for k, v in details.items() if k != _MAKER_NOTE}):
    result = _assemble(dict(block), kept, gps)
    if limit is None or len(result.tobytes()) <= limit:
      return result
  return None


def _clean_exif(exif: Image.Exif) -> bytes | None:
  main = {k: v for k, v in dict(exif).items() if k not in _LAYOUT and _writes(k, v)}
  details = {
    k: v for k, v in exif.get_ifd(_EXIF_IFD).items() if k != _INTEROPERABILITY and _writes(k, v)
  }
  gps = {k: v for k, v in exif.get_ifd(_GPS_IFD).items() if _writes(k, v)}
  for pointer in (_EXIF_IFD, _GPS_IFD):
    main.pop(pointer, None)
  main.pop(_ORIENTATION, None)
  if not (main or details or gps):
    return None
  return _assemble(main, details, gps).tobytes()


def _assemble(main: dict, details: dict, gps: dict) -> Image.Exif:
  result = Image.Exif()
  for tag, value in main.items():
    result[tag] = value
  result[_ORIENTATION] = 1
  for pointer, tags in ((_EXIF_IFD, details), (_GPS_IFD, gps)):
    if tags:
      result[pointer] = tags
    elif pointer in result:
      del result[pointer]
  return result


def _writes(tag: int, value: object) -> bool:
  """Tells whether one tag survives: one odd value must not cost all the others."""
  if tag in (_EXIF_IFD, _GPS_IFD):
    return True
  trial = Image.Exif()
  trial[tag] = value
  try:
    trial.tobytes()
  except Exception:  # of nearly any type, by what the value is
    return False
  return True


def _clean_xmp(xmp: bytes | str | None) -> bytes | None:
  if not xmp or not isinstance(xmp, bytes | str):
    return None
  packet = xmp.encode("utf-8", "surrogateescape") if isinstance(xmp, str) else xmp
  for pattern in _XMP_ORIENTATION:
    packet = pattern.sub(rb"\g<1>1\g<2>", packet)
  return packet


def _clean_dpi(dpi: object) -> tuple[float, float] | None:
  try:
    horizontal, vertical = (float(v) for v in dpi)
  except (TypeError, ValueError, ZeroDivisionError, OverflowError):
    return None
  # Beyond a JPEG's 16 bits no resolution is meant; 1 is what files say that know none.
  fits = all(math.isfinite(v) and 1 < v < 65535 for v in (horizontal, vertical))
  return (horizontal, vertical) if fits else None


def _exif_dpi(image: Image.Image) -> tuple[float, float] | None:
  """Writes the resolution in EXIF, for formats that have no other place for it."""
  try:
    exif = image.getexif()
    per_inch = 2.54 if exif.get(_RESOLUTION_UNIT) == 3 else 1.0  # 3: by the centimetre
    return _clean_dpi([float(exif[tag]) * per_inch for tag in (_X_RESOLUTION, _Y_RESOLUTION)])
  except Exception:  # absent or damaged
    return None


def _text(image: Image.Image) -> dict[str, str]:
  """Lists a PNG's texts, without other programs' copies of EXIF, XMP or a profile."""
  found = {}
  for key, value in (getattr(image, "text", None) or {}).items():
    if key != "XML:com.adobe.xmp" and not key.startswith("Raw profile type"):
      found[key] = value
  comment = image.info.get("comment")
  if comment and "Comment" not in found:
    if isinstance(comment, bytes):
      try:
        comment = comment.decode("utf-8")
      except UnicodeDecodeError:
        comment = comment.decode("latin-1")
    found["Comment"] = str(comment)
  return found
