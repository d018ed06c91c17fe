"""Pictures of more than 8 bits a channel as arrays: what Pillow reduces, misreads or refuses.

TIFF 6.0 of every depth, byte order, layout and compression is read by tifffile (Pillow 13 makes
noise of uncompressed planar 16-bit colour and of compressed big-endian floats); a PNG's 16-bit
colour by imagecodecs. Gray of 16 bits in the other formats is read by Pillow.

What counts as white is the largest value of the type, 1.0 for floats, unless the file says less: by
fewer bits a sample, by a TIFF's MaxSampleValue or SMaxSampleValue of 2^n - 1 (any other number is
statistics, as the standard has it), or by a PNG's sBIT chunk where no sample needs more bits.
"""

import dataclasses
import logging
import struct
from collections.abc import Iterator

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from scs_jax.errors import DecodeError

GRAY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of one channel that hold more than 8 bits."""

MIN_IS_WHITE, MIN_IS_BLACK, RGB, SEPARATED, CIELAB = 0, 1, 2, 5, 8
"""Values of TIFF's PhotometricInterpretation that can be read at more than 8 bits."""

_CHANNELS = {MIN_IS_WHITE: 1, MIN_IS_BLACK: 1, RGB: 3, SEPARATED: 4, CIELAB: 3}
_CAMERA_RAW = (32803, 34892)  # PhotometricInterpretation: colour filter array, linear raw
DNG_VERSION = 50706
"""The tag that makes a TIFF a DNG."""

_PHOTOMETRIC, _MAX, _S_MAX = 262, 281, 341
_PREMULTIPLIED, _ALPHA = 1, 2  # values of ExtraSamples
_USUAL_BITS = (8, 10, 12, 14)  # of cameras that store less than 16 bits in 16
_CHUNK = 1 << 18  # pixels at a time, so that temporaries stay in the cache

# It tells what it thinks of a damaged file on stderr, and raises besides.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
  """The channels of one picture, black at 0.

  Attributes:
    color: unsigned integers or floats in [0, white]: [H, W] gray, or [H, W, 3] RGB.
    white: the value that is white.
    alpha: [H, W] in [0, opaque]; None: opaque everywhere.
    opaque: the value of alpha that is opaque.
  """

  color: np.ndarray
  white: float
  alpha: np.ndarray | None = None
  opaque: float = 1.0

  def to_image(self) -> Image.Image:
    """Converts the picture to 8 bits a channel, rounded: Pillow's "L", "LA", "RGB" or "RGBA"."""
    image = Image.fromarray(to_uint8(self.color, self.white))
    if self.alpha is not None:
      image.putalpha(Image.fromarray(to_uint8(self.alpha, self.opaque)))
    return image

  def transpose(self, turn: Image.Transpose) -> "Samples":
    """Turns it as Pillow's Image.transpose does."""
    alpha = None if self.alpha is None else _TURNS[turn](self.alpha)
    return dataclasses.replace(self, color=_TURNS[turn](self.color), alpha=alpha)


_TURNS = {
  Image.Transpose.FLIP_LEFT_RIGHT: lambda x: x[:, ::-1],
  Image.Transpose.ROTATE_180: lambda x: x[::-1, ::-1],
  Image.Transpose.FLIP_TOP_BOTTOM: lambda x: x[::-1],
  Image.Transpose.TRANSPOSE: lambda x: x.swapaxes(0, 1),
  Image.Transpose.ROTATE_270: lambda x: np.rot90(x, -1),
  Image.Transpose.TRANSVERSE: lambda x: x[::-1, ::-1].swapaxes(0, 1),
  Image.Transpose.ROTATE_90: lambda x: np.rot90(x),
}


def to_uint8(levels: np.ndarray, white: float) -> np.ndarray:
  """Converts levels [H, W, ...] in [0, white] to uint8 of the same shape, rounded."""
  out = np.empty(levels.shape, np.uint8)
  for rows in strips(levels):
    out[rows] = np.floor(unit_of(levels[rows], white) * 255.0 + 0.5)
  return out


def to_unit(levels: np.ndarray, white: float) -> np.ndarray:
  """Converts levels [H, W] in [0, white], not NaN, to float32 in [0, 1], never the array itself."""
  out = np.empty(levels.shape, np.float32)
  for rows in strips(levels):
    out[rows] = unit_of(levels[rows], white)
  return out


def unit_of(part: np.ndarray, white: float) -> np.ndarray:
  """Converts levels in [0, white] to float32 in [0, 1], all at once."""
  return part.astype(np.float32) / np.float32(white)


def to_linear(levels: np.ndarray) -> np.ndarray:
  """Applies IEC 61966-2-1, sRGB levels in [0, 1] to linear light; floats stay as precise."""
  return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def to_srgb(linear: np.ndarray) -> np.ndarray:
  """Inverts `to_linear`."""
  return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def strips(array: np.ndarray) -> Iterator[slice]:
  """Slices of rows of [H, W, ...], about _CHUNK pixels each."""
  step = max(1, _CHUNK // array.shape[1])
  for top in range(0, len(array), step):
    yield slice(top, top + step)


# -- TIFF ------------------------------------------------------------------------------------------


def is_tiff(head: bytes) -> bool:
  """Tells whether a file that begins so is a TIFF or a BigTIFF."""
  return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_camera_raw(page: tifffile.TiffPage) -> bool:
  """Tells whether a TIFF's page belongs to a DNG or holds a sensor's values."""
  return DNG_VERSION in page.tags or page.photometric in _CAMERA_RAW


def of_tiff(
  page: tifffile.TiffPage, name: str, white_level: float | None = None
) -> tuple[Samples | Image.Image, tuple[str, ...]]:
  """Reads a TIFF's page of more than 8 bits a channel.

  Returns:
    Samples, or for inks and CIE Lab, whose colours are converted at 8 bits, a Pillow image of mode
    "CMYK" or "LAB"; and remarks.

  Raises:
    DecodeError: colours of another kind, values outside the range.
  """
  count = _CHANNELS.get(int(page.photometric))
  if count is None or page.dtype is None or page.dtype.kind not in "uif":
    colors = getattr(page.photometric, "name", page.photometric)
    raise DecodeError(
      f"{name}: a TIFF of {page.bitspersample} bits whose colours are {colors}; expected gray, "
      "RGB, CMYK or CIE Lab; convert it"
    )
  values = _channels_last(page)
  if values.ndim != 3 or values.shape[2] < count:
    raise DecodeError(
      f"{name}: a TIFF of the shape {'x'.join(map(str, page.shape))}, expected height, width and "
      f"{count} or more channels; convert it"
    )
  if page.photometric == CIELAB:
    return _lab_image(values, name), ()
  declared, remarks = _tiff_white(page), ()
  white = float(white_level or declared or _type_white(values.dtype))
  color = values[..., 0] if count == 1 else values[..., :count]
  _require_range(color, white, name)
  if page.photometric == SEPARATED:
    return Image.frombytes("CMYK", color.shape[1::-1], to_uint8(color, white).tobytes()), ()
  if page.photometric == MIN_IS_WHITE:
    color = np.subtract(color.dtype.type(white), color)
  alpha, opaque = None, float(_type_white(values.dtype))
  extra = dict(zip(page.extrasamples, range(count, values.shape[2]), strict=False))
  if found := [channel for kind, channel in extra.items() if kind in (_PREMULTIPLIED, _ALPHA)]:
    alpha = np.clip(values[..., found[0]], 0, opaque)
    if extra.get(_PREMULTIPLIED) == found[0]:
      color = _divided(color, alpha, opaque, white)
  elif values.shape[2] > count:
    remarks = (f"only the first {count} of its {values.shape[2]} channels are looked at",)
  if white_level is None and declared is None:
    remarks += _dim(color, white)
  return Samples(color, white, alpha, opaque), remarks


def _channels_last(page: tifffile.TiffPage) -> np.ndarray:
  """Returns [H, W, C], whether the file holds its channels side by side or one behind the other."""
  values = page.asarray()
  if values.ndim == 2:
    return values[..., None]
  planar = page.planarconfig == 2 and page.samplesperpixel > 1
  return np.moveaxis(values, 0, -1) if planar else values


def _tiff_white(page: tifffile.TiffPage) -> float | None:
  """Reads what the tags say of white; None where they leave the whole range of the type."""
  if page.dtype.kind != "u":
    return None
  full = 2**page.bitspersample - 1
  for tag in (_S_MAX, _MAX):
    if tag in page.tags:
      most = int(np.max(page.tags[tag].value))
      if 255 <= most <= full and (most + 1) & most == 0:
        return float(most)
  return float(full) if page.bitspersample not in (8, 16, 32) else None


def _type_white(dtype: np.dtype) -> float:
  if dtype.kind == "f":
    return 1.0
  # Of 32-bit signed integers none fills the range: they hold 16 bits, as Pillow's mode "I" does.
  return 65535.0 if dtype == np.int32 else float(np.iinfo(dtype).max)


def _lab_image(values: np.ndarray, name: str) -> Image.Image:
  """Converts CIE L*a*b* of TIFF 6.0, 16 bits (a, b signed, times 256), to Pillow's 8-bit "LAB"."""
  if values.dtype.itemsize != 2:
    raise DecodeError(f"{name}: CIE Lab in {values.dtype}, expected 8 or 16 bits; convert it")
  eight = np.empty((*values.shape[:2], 3), np.uint8)
  eight[..., 0] = to_uint8(values[..., 0].astype(np.uint16), 65535)
  signed = values[..., 1:3].astype(np.uint16).view(np.int16)
  eight[..., 1:] = np.clip(np.rint(signed / 256.0), -128, 127).astype(np.int8).view(np.uint8)
  return Image.frombytes("LAB", values.shape[1::-1], eight.tobytes())


def _divided(color: np.ndarray, alpha: np.ndarray, opaque: float, white: float) -> np.ndarray:
  """Colours that were multiplied by their alpha, as they were before: float32."""
  share = to_unit(alpha, opaque)
  share = share if color.ndim == 2 else share[..., None]
  return np.clip(color / np.where(share > 0, share, 1), 0, white).astype(np.float32)


# -- other formats ---------------------------------------------------------------------------------


def is_deep_png(head: bytes) -> bool:
  """Tells whether a file that begins so is a PNG whose colours or gray and alpha have 16 bits."""
  return head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:25] == b"\x10" and head[25:26] in b"\2\4\6"


def of_png(
  data: bytes, name: str, white_level: float | None = None
) -> tuple[Samples, tuple[str, ...]]:
  """Reads the PNG file of which is_deep_png is true."""
  values = imagecodecs.png_decode(data)
  colors = values.shape[2] - (values.shape[2] in (2, 4))
  color = values[..., 0] if colors == 1 else values[..., :colors]
  alpha = values[..., -1] if values.shape[2] in (2, 4) else None
  return _ranged(color, alpha, name, white_level, significant_bits(data))


def of_gray_image(
  image: Image.Image, name: str, white_level: float | None = None, bits: int | None = None
) -> tuple[Samples, tuple[str, ...]]:
  """Reads a loaded Pillow image of a mode in GRAY_MODES; `bits` are a PNG's significant ones."""
  values, tags = np.asarray(image), getattr(image, "tag_v2", {})
  if tags.get(_PHOTOMETRIC) == MIN_IS_WHITE:  # Pillow turns it over for 8 bits only
    values = np.subtract(values.dtype.type(_type_white(values.dtype)), values)
  key, alpha = image.info.get("transparency"), None
  if isinstance(key, int):
    alpha = np.where(values == key, np.uint16(0), np.uint16(65535))
  return _ranged(values, alpha, name, white_level, bits)


def _ranged(color, alpha, name, white_level, bits) -> tuple[Samples, tuple[str, ...]]:
  white, remarks = float(white_level or _type_white(color.dtype)), ()
  if white_level is None and bits is not None and bits < 16 and color.max() < 2**bits:
    white = float(2**bits - 1)
    remarks = (f"its sBIT chunk says {bits} bits: white is {white:.0f}",)
  elif white_level is None:
    remarks = _dim(color, white)
  _require_range(color, white, name)
  return Samples(color, white, alpha, 65535.0), remarks


def significant_bits(data: bytes) -> int | None:
  """Reads the most bits that a PNG's sBIT chunk gives to a channel of colour; None: it has none."""
  at, color_type = 8, data[25]
  while at + 8 <= len(data):
    length, kind = struct.unpack_from(">I4s", data, at)
    if kind == b"sBIT":
      return max(data[at + 8 : at + 8 + (3 if color_type & 2 else 1)], default=None)
    if kind in (b"IDAT", b"PLTE"):
      return None
    at += 12 + length
  return None


def _require_range(color: np.ndarray, white: float, name: str) -> None:
  low, high = float(color.min()), float(color.max())
  if not (low >= 0.0 and high <= white):  # asked this way round so that NaN is refused as well
    raise DecodeError(
      f"{name}: values from {low:g} to {high:g}, expected 0 to {white:g} for this kind of picture; "
      "say what white is (--white-level), or convert it to 8 bits a channel"
    )


def _dim(color: np.ndarray, white: float) -> tuple[str, ...]:
  """Remarks on integers that use no more than a quarter of their range, as of a 14-bit camera."""
  high = int(color.max()) if color.dtype.kind in "ui" else 0
  bits = next((n for n in _USUAL_BITS if high < 2**n), None)
  if not 0 < high < white / 4 or bits is None:
    return ()
  return (
    f"values from {int(color.min())} to {high} of {white:.0f}: dark, unless its camera gives fewer "
    f"bits ({bits} bits: --white-level {2**bits - 1})",
  )

