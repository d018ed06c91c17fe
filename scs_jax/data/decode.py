"""Bytes or a file -> the pixels of one picture: the one reading of every format, mode and depth.

Training (`decode_image`) and colouring (infer/pictures.py) both go through `opened`.

Choices, for they are visible in the result:
  - EXIF orientation is applied (all eight); of an animation the first frame is taken.
  - More than 8 bits a channel are read at their own precision (samples.py says what white is) and
    rounded to 8 for training. Float pictures must lie in [0, 1] unless a white level is given;
    other ranges have no agreed meaning and are refused. Colour of 16 bits in formats other than PNG
    and TIFF (JPEG 2000, AVIF, PPM) comes with its high byte, as Pillow decodes no more.
  - Training composites transparency (RGBA, LA, a palette's or a PNG's transparent colour) over
    white, in the picture's own gamma encoding, as a browser shows it on an empty page.
  - An EXIF block that cannot be read counts as absent: the pixels are whole all the same. So do
    those of a JPEG that lacks only its end marker.
  - For training CMYK is converted without its ICC profile; embedded profiles are not applied (sRGB
    is assumed).
  - A JPEG that is larger than needed is decoded at 1/2, 1/4 or 1/8 in the DCT domain ("draft").
"""

import contextlib
import io
import os
import pathlib
import threading
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image

from scs_jax.data import foreign, jpeg, samples
from scs_jax.data.samples import Samples
from scs_jax.errors import DecodeError

MAX_PIXELS = 1_000_000_000
"""Larger pictures are refused before they are decoded, unless a caller sets another limit: a file
of a few bytes can promise any size, and the memory for it is taken before its pixels are read."""

# Nor is a user to read that a tag of the metadata is damaged: the pixels are whole, or it raises.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_ORIENTATION_TAG, _BITS, _PLANAR = 0x0112, 258, 284
_HEAD = 32  # bytes that tell one format from another
_UPRIGHT = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}
_WITH_ALPHA = ("RGBA", "RGBa", "LA", "PA")


class Loaded(NamedTuple):
  """One picture, decoded.

  Attributes:
    about: Pillow's image for what the file says besides its pixels; its own are not to be used.
    pixels: upright: a loaded Pillow image of at most 8 bits a channel, or Samples.
    stored: the decoder's name for how Pillow's samples are stored, such as "L;4"; None: unknown.
    remarks: what a user would want to know, each a phrase.
  """

  about: Image.Image
  pixels: Image.Image | Samples
  stored: str | None
  remarks: tuple[str, ...]


def decode(
  data: bytes | str | os.PathLike,
  min_short_side: int | None = None,
  max_pixels: int = MAX_PIXELS,
  name: str | None = None,
) -> np.ndarray:
  """Decodes as decode_image does: uint8 [H, W, 3], RGB, C order; may be read-only."""
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
    max_pixels: pictures with more pixels are refused before decoding.
    name: what error messages call the picture; by default the path.

  Returns:
    An upright image of mode "RGB", loaded.

  Raises:
    DecodeError: unreadable file, unknown format, truncated or corrupt data, too many pixels, a
      value range without an agreed meaning.
  """
  name = name_of(data, name)
  with opened(data, name, max_pixels, min_short_side=min_short_side) as loaded:
    return to_rgb(loaded.pixels)


def to_rgb(pixels: Image.Image | Samples) -> Image.Image:
  """Makes what training sees of a decoded picture: mode "RGB", transparency over white."""
  image = pixels.to_image() if isinstance(pixels, Samples) else pixels
  if image.mode in _WITH_ALPHA or "transparency" in image.info:
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")
  return image if image.mode == "RGB" else image.convert("RGB")


def name_of(data: bytes | str | os.PathLike, name: str | None = None) -> str:
  """Names a picture in error messages."""
  return name or (f"{len(data)} bytes" if isinstance(data, bytes) else os.fspath(data))


@contextlib.contextmanager
def opened(
  data: bytes | str | os.PathLike,
  name: str,
  max_pixels: int = MAX_PIXELS,
  white_level: float | None = None,
  min_short_side: int | None = None,
) -> Iterator[Loaded]:
  """Opens and decodes one picture; the file is open until the context ends, and no longer.

  Args:
    data, max_pixels, min_short_side: as of decode_image.
    name: what error messages call the picture.
    white_level: the value that is white in pictures of more than 8 bits a channel; None: as the
      file says.

  Raises:
    DecodeError: as of decode_image, within the context as well.
  """
  with explain_failures(name), contextlib.ExitStack() as stack:
    yield _decode(data, name, max_pixels, white_level, min_short_side, stack)


def _decode(data, name, max_pixels, white_level, min_short_side, stack) -> Loaded:
  head = _bytes_of(data, _HEAD)
  try:
    image = stack.enter_context(_open(data))
  except Image.UnidentifiedImageError:
    image = None
  if samples.is_tiff(head) and (image is None or _is_beyond_pillow(image, name)):
    return _decode_tiff(data, image, name, max_pixels, white_level)
  if image is None and foreign.is_raw(head, name):
    return _decode_raw(data, name)
  if image is None and foreign.is_heic(head):
    image = stack.enter_context(foreign.open_heic(_source(data), name))
  if image is None:
    raise DecodeError(f"{name}: {foreign.describe(head)}")
  check_size(*image.size, name, max_pixels)
  if samples.is_deep_png(head):
    pixels, remarks = samples.of_png(_bytes_of(data), name, white_level)
    return _upright(image, pixels, None, remarks)
  if min_short_side is not None:
    jpeg.draft(image, min_short_side)
  bits = None
  if image.format == "PNG" and image.mode in samples.GRAY_MODES:
    bits = samples.significant_bits(_bytes_of(data))
  try:
    return load(image, name, white_level, bits)
  except OSError:
    whole = image.format in jpeg.FORMATS and jpeg.without_end(_bytes_of(data), min_short_side)
    if not whole:
      raise
    loaded = load(whole, name)
    return loaded._replace(remarks=("it lacks its end marker; its pixels are all there",))


def load(
  image: Image.Image, name: str, white_level: float | None = None, bits: int | None = None
) -> Loaded:
  """Decodes an image that Pillow has opened, or takes one that it has made.

  Args:
    image: of any mode; of colour of 16 bits Pillow has kept the high byte.
    name, white_level: as of `opened`.
    bits: significant ones of a PNG's gray.
  """
  if getattr(image, "tile", None) and _is_beyond_pillow(image) and image.tag_v2.get(_PLANAR) == 2:
    raise DecodeError(f"{name}: Pillow misreads a TIFF of this kind; give the file's path instead")
  stored = _stored_as(image)
  _load(image)
  if image.mode not in samples.GRAY_MODES:
    return _upright(image, image, stored, ())
  pixels, remarks = samples.of_gray_image(image, name, white_level, bits)
  return _upright(image, pixels, stored, remarks)


def _upright(about: Image.Image, pixels, stored: str | None, remarks: tuple[str, ...]) -> Loaded:
  # Asked after load(): a TIFF that Pillow read has been turned by then and has the tag no longer.
  turn = upright_turn(about)
  return Loaded(about, pixels if turn is None else pixels.transpose(turn), stored, remarks)


def _is_beyond_pillow(image: Image.Image, name: str = "") -> bool:
  """Tells whether a TIFF is read by another reader: more than 8 bits, or a camera's raw file."""
  tags = getattr(image, "tag_v2", {})
  return max(tags.get(_BITS, (1,))) > 8 or samples.DNG_VERSION in tags or foreign.is_raw(b"", name)


def _decode_tiff(data, image, name, max_pixels, white_level) -> Loaded:
  with tifffile.TiffFile(_source(data)) as file:
    page = file.pages[0]
    if samples.is_camera_raw(page) or foreign.is_raw(b"", name):
      return _decode_raw(data, name)
    check_size(page.imagewidth, page.imagelength, name, max_pixels)
    pixels, remarks = samples.of_tiff(page, name, white_level)
    about = image or _about_tiff(page, data)
  return _upright(about, pixels, None, remarks)


def _about_tiff(page: tifffile.TiffPage, data: bytes | str | os.PathLike) -> Image.Image:
  """Reads what a TIFF that Pillow does not know says besides its pixels."""
  about = Image.new("L", (1, 1))
  about.format = "TIFF"
  exif = Image.Exif()
  with contextlib.suppress(Exception), contextlib.ExitStack() as stack:  # of any type, if damaged
    file = io.BytesIO(data) if isinstance(data, bytes) else stack.enter_context(open(data, "rb"))
    exif.load_from_fp(file)
    about.info["exif"] = exif.tobytes()
  for name, tag in (("icc_profile", 34675), ("xmp", 700)):
    if tag in page.tags:
      about.info[name] = bytes(page.tags[tag].value)
  return about


def _decode_raw(data: bytes | str | os.PathLike, name: str) -> Loaded:
  return Loaded(Image.new("L", (1, 1)), foreign.read_raw(data, name), None, ())


def _source(data: bytes | str | os.PathLike) -> io.BytesIO | pathlib.Path:
  return io.BytesIO(data) if isinstance(data, bytes) else pathlib.Path(data)


def _bytes_of(data: bytes | str | os.PathLike, count: int = -1) -> bytes:
  """Reads the first bytes, or all."""
  if isinstance(data, bytes):
    return data[:count] if count >= 0 else data
  with open(data, "rb") as file:
    return file.read(count)


_lock = threading.Lock()
_users = 0
_pillows_limit: int | None = None


@contextlib.contextmanager
def _without_pillows_limit() -> Iterator[None]:
  """Takes away Pillow's own limit of pixels for a moment, as the whole process shares it.

  check_size compares every picture read here; for other users of Pillow in this process the limit
  is there again when the last thread has left.
  """
  global _users, _pillows_limit
  with _lock:
    if _users == 0:
      _pillows_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    _users += 1
  try:
    yield
  finally:
    with _lock:
      _users -= 1
      if _users == 0:
        Image.MAX_IMAGE_PIXELS = _pillows_limit


def _open(data: bytes | str | os.PathLike) -> Image.Image:
  with _without_pillows_limit():
    return Image.open(_source(data))


def _load(image: Image.Image) -> None:
  """Decodes; a TIFF's tiles are compared with Pillow's limit once more."""
  large = image.width * image.height > (Image.MAX_IMAGE_PIXELS or 0)
  with _without_pillows_limit() if large else contextlib.nullcontext():
    image.load()


def _stored_as(image: Image.Image) -> str | None:
  """Returns the decoder's name for how samples are stored ("L;4"), known only before loading."""
  tiles = getattr(image, "tile", None)  # files' images alone have them
  if not tiles:
    return None
  args = tiles[0][3]
  first = args[0] if isinstance(args, tuple) and args else args
  return first if isinstance(first, str) else None


@contextlib.contextmanager
def explain_failures(name: str) -> Iterator[None]:
  """Turns whatever a decoder raises inside into a DecodeError of the picture and the cause."""
  try:
    yield
  except (DecodeError, MemoryError):
    raise
  except Image.DecompressionBombError as error:
    raise DecodeError(f"{name}: cannot be decoded (more pixels than Pillow's limit)") from error
  except Image.UnidentifiedImageError as error:
    raise DecodeError(f"{name}: not a picture in a format that can be read") from error
  except Exception as error:  # decoders raise nearly any type on corrupt data
    if isinstance(error, OSError) and error.errno:
      raise DecodeError(f"{name}: cannot be opened ({error.strerror})") from error
    raise DecodeError(f"{name}: cannot be decoded ({' '.join(str(error).split())})") from error


def check_size(width: int, height: int, name: str, max_pixels: int = MAX_PIXELS) -> None:
  """Raises DecodeError where a picture, not yet decoded, has more pixels than the limit."""
  if width * height > max_pixels:
    raise DecodeError(
      f"{name}: {width}x{height} pixels are more than the limit of {max_pixels}, which is there "
      "because a small file can promise any size; if this one is genuine, raise the limit "
      "(`colorize --max-pixels`), or reduce the picture"
    )


def upright_turn(image: Image.Image) -> Image.Transpose | None:
  """Finds the turn that brings an image upright by its EXIF orientation; None where none does."""
  try:
    return _UPRIGHT.get(image.getexif().get(_ORIENTATION_TAG))
  except Exception:  # a damaged EXIF block raises nearly anything
    return None
