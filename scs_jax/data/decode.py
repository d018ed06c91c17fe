"""Bytes or a file -> uint8 RGB, HWC, in [0, 255]: one reading of every mode and depth.

Choices, for they are visible in the result:
  - EXIF orientation is applied (all eight); of an animation the first frame is taken.
  - Transparency (RGBA, LA, a palette's or a PNG's transparent colour) is composited over white, in
    the picture's own gamma encoding, as a browser shows it on an empty page.
  - 16-bit gray is scaled (65535 -> 255, rounded), never clipped; 16-bit colour keeps its high byte,
    which Pillow does while decoding and which differs by at most one level. Float pictures must lie
    in [0, 1]. Other ranges have no agreed meaning and are refused.
  - An EXIF block that cannot be read counts as absent: the pixels are whole all the same.
  - CMYK is converted without its ICC profile; embedded profiles are not applied (sRGB is assumed).
  - A JPEG that is larger than needed is decoded at 1/2, 1/4 or 1/8 in the DCT domain ("draft").
"""

import contextlib
import io
import os
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np
from PIL import Image

MAX_PIXELS = 178_956_970
"""Larger pictures are refused before they are decoded (Pillow's own limit for an attack)."""

# Pillow warns at half of that limit, once per picture; the limit is checked below instead.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Nor is a user to read that a tag of the metadata is damaged: the pixels are whole, or it raises.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}
DEEP_GRAY = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of one channel that hold more than 8 bits; deep_gray reads them."""

_TIFF_BITS, _TIFF_PHOTOMETRIC = 258, 262
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "PA")


class DecodeError(Exception):
  """These bytes are no picture that can be read; the message names the picture and the cause."""


def decode(
  data: bytes | str | os.PathLike,
  min_short_side: int | None = None,
  max_pixels: int = MAX_PIXELS,
  name: str | None = None,
) -> np.ndarray:
  """decode_image as an array: uint8 [H, W, 3] in [0, 255], RGB, C order; may be read-only."""
  return np.asarray(decode_image(data, min_short_side, max_pixels, name))


def decode_image(
  data: bytes | str | os.PathLike,
  min_short_side: int | None = None,
  max_pixels: int = MAX_PIXELS,
  name: str | None = None,
) -> Image.Image:
  """Decodes one picture, still as Pillow's image: to cut from it, no array need be made.

  Args:
    data: the encoded bytes, or the path of a file.
    min_short_side: if given, a JPEG may come back at 1/2, 1/4 or 1/8 of its size as long as its
      short side is at least this many pixels. Other formats ignore it.
    max_pixels: pictures with more pixels are refused before decoding; at most MAX_PIXELS.
    name: what error messages call the picture; by default the path.

  Returns:
    An upright image of mode "RGB", loaded.

  Raises:
    DecodeError: unreadable file, unknown format, truncated or corrupt data, too many pixels, a
      value range without an agreed meaning.
  """
  if name is None:
    name = f"{len(data)} bytes" if isinstance(data, bytes) else os.fspath(data)
  with (
    explain_failures(name),
    Image.open(io.BytesIO(data) if isinstance(data, bytes) else pathlib.Path(data)) as image,
  ):
    check_size(image, name, max_pixels)
    if min_short_side is not None:
      _draft(image, min_short_side)
    image.load()
    # Read after load(): a TIFF has been turned by then and carries the tag no longer.
    turn = upright_turn(image)
    rgb = _to_rgb(image, name)
    return rgb if turn is None else rgb.transpose(turn)


@contextlib.contextmanager
def explain_failures(name: str) -> Iterator[None]:
  """Whatever Pillow raises inside becomes a DecodeError that names the picture and the cause."""
  try:
    yield
  except (DecodeError, MemoryError):
    raise
  except Image.DecompressionBombError as error:
    raise DecodeError(
      f"{name}: more pixels than the limit of {MAX_PIXELS}; resize the picture before use"
    ) from error
  except Image.UnidentifiedImageError as error:
    raise DecodeError(f"{name}: not a picture in a format that can be read") from error
  except Exception as error:  # Pillow's plugins raise nearly any type on corrupt data.
    if isinstance(error, OSError) and error.errno:
      raise DecodeError(f"{name}: cannot be opened ({error.strerror})") from error
    raise DecodeError(f"{name}: cannot be decoded ({' '.join(str(error).split())})") from error


def check_size(image: Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> None:
  """Raises DecodeError where an image, not yet decoded, has more pixels than both limits allow."""
  width, height = image.size
  if width * height > min(max_pixels, MAX_PIXELS):
    raise DecodeError(
      f"{name}: {width}x{height} pixels are more than the limit of "
      f"{min(max_pixels, MAX_PIXELS)}; resize the picture before use"
    )


def upright_turn(image: Image.Image) -> Image.Transpose | None:
  """What brings an image upright by its EXIF orientation, None where it stands or says nothing."""
  try:
    return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG))
  except Exception:  # a damaged EXIF block raises nearly anything
    return None


def deep_gray(image: Image.Image, name: str) -> tuple[np.ndarray, float]:
  """The values [H, W] of an image of a mode in DEEP_GRAY, and the value that is white (black: 0).

  Raises:
    DecodeError: values outside the range that this kind of picture has.
  """
  values = np.asarray(image)
  tags = getattr(image, "tag_v2", {})  # a TIFF's
  white = 4095.0 if tags.get(_TIFF_BITS) == (12,) else 1.0 if image.mode == "F" else 65535.0
  low, high = float(values.min()), float(values.max())
  if not (low >= 0.0 and high <= white):  # so that NaN is refused as well
    raise DecodeError(
      f"{name}: values from {low:g} to {high:g}, expected 0 to {white:g} for this kind of picture; "
      "convert it to 8 bits a channel"
    )
  if tags.get(_TIFF_PHOTOMETRIC) == 0:  # white is zero; Pillow turns it over for 8 bits only
    values = np.subtract(white, values, dtype=np.float32)
  return values, white


def _draft(image: Image.Image, min_short_side: int) -> None:
  """Asks a JPEG decoder for the smallest scale whose short side is at least min_short_side."""
  short = min(image.size)
  if image.format not in ("JPEG", "MPO") or min_short_side < 1 or short < 2 * min_short_side:
    return
  # Pillow takes the largest scale s of 8, 4, 2 with s <= size // asked; asking for ceil keeps both
  # sides at or above what was asked, whatever the aspect ratio.
  asked = tuple(-(-side * min_short_side // short) for side in image.size)
  image.draft(None, asked)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
  if image.mode in DEEP_GRAY:
    values, white = deep_gray(image, name)
    scaled = np.floor(values.astype(np.float64) * (255.0 / white) + 0.5)
    image = Image.fromarray(scaled.astype(np.uint8))
  if image.mode in _WITH_ALPHA or "transparency" in image.info:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")
  return image if image.mode == "RGB" else image.convert("RGB")
