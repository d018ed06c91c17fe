"""Writing pictures: PNG, JPEG, WebP and TIFF, whole or not at all, metadata put back."""

import io
import os
import pathlib
import zlib

import imagecodecs
import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin

from scs_jax.data import location
from scs_jax.errors import UserError
from scs_jax.infer.metadata import Metadata, exif_for

FORMATS = {
  ".png": "PNG",
  ".jpg": "JPEG",
  ".jpeg": "JPEG",
  ".webp": "WEBP",
  ".tif": "TIFF",
  ".tiff": "TIFF",
}
"""Pillow's name of the format by extension."""

DEEP_FORMATS = ("PNG", "TIFF")
"""Those that hold 16 bits a channel."""

_LONGEST = {"JPEG": 65500, "WEBP": 16383, "PNG": 2**31 - 1, "TIFF": 2**32 - 1}
_MOST_TIFF = 2**32 - 2**26  # bytes; what is left is for metadata, and deflate at its worst
# A JPEG's segment holds 65535 bytes, of which two are its length; XMP's begins with its name, 29.
_JPEG_SEGMENT, _JPEG_XMP = 65533, 65533 - 29
_STRIP = 1 << 20  # bytes of a TIFF that are compressed at once


def write(
  path: str | os.PathLike,
  rgb: np.ndarray,
  alpha: np.ndarray | None = None,
  metadata: Metadata | None = None,
  quality: int = 95,
) -> None:
  """Writes a picture in the format of its extension, whole or not at all.

  PNG and TIFF (deflate) are lossless, at 8 or 16 bits a channel. JPEG is 4:4:4, without alpha: the
  picture is composited over white, in its gamma encoding. WebP is lossy in colour, exact in alpha.
  EXIF and XMP go into all four; dpi into PNG, JPEG and TIFF, and into the EXIF of a WebP; texts
  into PNG, the one named "Comment" into JPEG. What is too large for a JPEG's segment is left out.

  Args:
    path: ends in .png, .jpg, .jpeg, .webp, .tif or .tiff, here or in a bucket; missing folders are
      made.
    rgb: uint8 [H, W, 3], sRGB; for PNG and TIFF also uint16.
    alpha: uint8 [H, W], 0 is transparent.
    metadata: of the picture that was read.
    quality: of JPEG and WebP, 1 to 100.

  Raises:
    UserError: another extension, more pixels a side than the format can hold, or a bad quality.
    OSError: naming the file; what was at `path` before is as it was, and nothing lies beside it.
    BucketError: a bucket refuses.
  """
  location.write(path, encode(rgb, format_of(path), alpha, metadata, quality))


def format_of(path: str | os.PathLike) -> str:
  """Returns Pillow's name of the format that a path's extension asks for. Raises UserError."""
  extension = pathlib.Path(path).suffix
  if extension.lower() not in FORMATS:
    raise UserError(
      f"{os.fspath(path)}: cannot write the format {extension or 'without an extension'}; "
      f"expected one of {', '.join(FORMATS)}"
    )
  return FORMATS[extension.lower()]


def encode(
  rgb: np.ndarray,
  format: str,
  alpha: np.ndarray | None = None,
  metadata: Metadata | None = None,
  quality: int = 95,
) -> bytes:
  """Encodes the file that `write` writes; `format` is "PNG", "JPEG", "WEBP" or "TIFF"."""
  _check(rgb, alpha, format, quality)
  metadata = metadata or Metadata()
  buffer = io.BytesIO()
  if format == "TIFF":
    _write_tiff(buffer, rgb, alpha, metadata)
    return buffer.getvalue()
  if rgb.dtype == np.uint16:
    return _encode_deep_png(rgb, alpha, metadata)
  image = Image.fromarray(rgb)
  if alpha is not None:
    if format == "JPEG":
      white = Image.new("RGB", image.size, "white")
      white.paste(image, mask=Image.fromarray(alpha))
      image = white
    else:
      image.putalpha(Image.fromarray(alpha))
  image.save(buffer, format, **_OPTIONS[format](metadata, image.size, quality))
  return buffer.getvalue()


def _check(rgb: np.ndarray, alpha: np.ndarray | None, format: str, quality: int) -> None:
  types = (np.uint8, np.uint16) if format in DEEP_FORMATS else (np.uint8,)
  if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype not in types:
    expected = " or ".join(kind.__name__ for kind in types)
    raise ValueError(
      f"{format}: rgb must be {expected} [H, W, 3], got {rgb.dtype} {list(rgb.shape)}"
    )
  if alpha is not None and (alpha.shape != rgb.shape[:2] or alpha.dtype != np.uint8):
    raise ValueError(
      f"alpha must be uint8 {list(rgb.shape[:2])}, got {alpha.dtype} {list(alpha.shape)}"
    )
  require_size(format, rgb.shape[:2], 8 * rgb.itemsize, alpha is not None)
  if not 1 <= quality <= 100:
    raise UserError(f"quality must be from 1 to 100, got {quality}")


def require_size(format: str, size: tuple[int, int], depth: int = 8, alpha: bool = False) -> None:
  """Raises UserError unless a format can hold a picture.

  Args:
    format: as of `encode`.
    size: (height, width).
    depth: bits a channel.
    alpha: whether it has alpha besides its colours.
  """
  height, width = size
  if max(size) > _LONGEST[format]:
    raise UserError(
      f"{format} holds at most {_LONGEST[format]} pixels a side, got {width}x{height}; write .png "
      "or .tif"
    )
  if format == "TIFF" and height * width * (4 if alpha else 3) * (depth // 8) > _MOST_TIFF:
    raise UserError(
      f"TIFF holds 4 GiB, {width}x{height} pixels of {depth} bits may take more; write .png"
    )


def _png_options(metadata: Metadata, size: tuple[int, int], quality: int) -> dict:
  texts = PngImagePlugin.PngInfo()
  for key, value in metadata.text.items():
    # The PNG specification's keyword: 1 to 79 characters of Latin-1.
    if 1 <= len(key.encode("latin-1", "ignore")) == len(key) <= 79:
      texts.add_text(key, value)
  if metadata.xmp:
    texts.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode("utf-8", "replace"))
  options = {"pnginfo": texts, "exif": exif_for(metadata, size), "dpi": metadata.dpi}
  return {k: v for k, v in options.items() if v is not None}


def _jpeg_options(metadata: Metadata, size: tuple[int, int], quality: int) -> dict:
  comment = metadata.text.get("Comment", "").encode()
  xmp = metadata.xmp
  options = {
    "quality": quality,
    "subsampling": 0,  # 4:4:4: the colour is what was asked for
    "exif": exif_for(metadata, size, limit=_JPEG_SEGMENT),
    "dpi": metadata.dpi,
    "xmp": xmp if xmp and len(xmp) <= _JPEG_XMP else None,
    "comment": comment if 0 < len(comment) <= _JPEG_SEGMENT else None,
  }
  return {k: v for k, v in options.items() if v is not None}


def _webp_options(metadata: Metadata, size: tuple[int, int], quality: int) -> dict:
  options = {
    "quality": quality,
    "exact": True,  # colours under full transparency stay as well
    "exif": exif_for(metadata, size, with_dpi=True),
    "xmp": metadata.xmp,
  }
  return {k: v for k, v in options.items() if v is not None}


_OPTIONS = {"PNG": _png_options, "JPEG": _jpeg_options, "WEBP": _webp_options}


_PNG_HEAD = 33  # bytes of a PNG's signature and IHDR chunk


def _encode_deep_png(rgb: np.ndarray, alpha: np.ndarray | None, metadata: Metadata) -> bytes:
  """Encodes PNG of 16 bits a channel, which Pillow lacks; it does write the metadata's chunks."""
  height, width = rgb.shape[:2]
  data = imagecodecs.png_encode(with_alpha(rgb, alpha))
  small = io.BytesIO()
  Image.new("L", (1, 1)).save(small, "PNG", **_png_options(metadata, (width, height), 0))
  chunks = small.getvalue()
  return data[:_PNG_HEAD] + chunks[_PNG_HEAD : chunks.rindex(b"IDAT") - 4] + data[_PNG_HEAD:]


def with_alpha(rgb: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
  """Stacks rgb and alpha, if any, in the type of rgb; alpha, of 8 bits, is stretched to 16."""
  if alpha is None:
    return np.ascontiguousarray(rgb)
  stretch = 257 if rgb.dtype == np.uint16 else 1
  return np.dstack([rgb, alpha.astype(rgb.dtype) * rgb.dtype.type(stretch)])


def _write_tiff(
  file: io.BytesIO, rgb: np.ndarray, alpha: np.ndarray | None, metadata: Metadata
) -> None:
  """Writes TIFF 6.0, deflate with horizontal differencing.

  The strips are packed here, since Pillow's compressing writer cannot write an EXIF directory.
  """
  height, width = rgb.shape[:2]
  channels = 3 if alpha is None else 4
  rows = max(1, _STRIP // (width * channels * rgb.itemsize))
  strips = []
  for top in range(0, height, rows):
    part = with_alpha(rgb[top : top + rows], None if alpha is None else alpha[top : top + rows])
    difference = part.astype(part.dtype.newbyteorder("<"))
    difference[:, 1:] -= part[:, :-1]  # wraps around, as it should
    strips.append(zlib.compress(difference.tobytes()))
  offsets = np.cumsum([0, *map(len, strips)])[:-1]

  directory = TiffImagePlugin.ImageFileDirectory_v2()
  exif = exif_for(metadata, (width, height))
  for tag, value in dict(exif or {}).items():
    directory[tag] = value  # a nested directory is a dict and becomes one
  layout = {
    256: width,
    257: height,
    258: (8 * rgb.itemsize,) * channels,
    259: 8,  # deflate, as Adobe's technical note of 2002 has it
    262: 2,  # RGB
    273: tuple(int(offset) for offset in offsets),
    277: channels,
    278: rows,
    279: tuple(map(len, strips)),
    284: 1,  # channels side by side
    317: 2,  # horizontal differencing
  }
  if alpha is not None:
    layout[338] = (2,)  # alpha that colours are not multiplied by
  if metadata.dpi:
    layout |= {282: metadata.dpi[0], 283: metadata.dpi[1], 296: 2}
  if metadata.xmp:
    directory.tagtype[700] = 1
    directory[700] = metadata.xmp
  for tag, value in layout.items():
    if tag in (256, 257, 273, 278, 279):
      directory.tagtype[tag] = 4  # 32 bits, whatever the values
    directory[tag] = value
  directory.save(file)
  for strip in strips:
    file.write(strip)
