"""Pictures as a person hands them in and gets them back: every mode and depth, metadata kept.

Choices, for they are visible in the result:
  - EXIF orientation is applied (all eight); of several frames or pages the first is taken.
  - Embedded colour profiles are applied (relative colorimetric, black-point compensation); numbers
    without one are sRGB, CMYK without one is converted as Pillow does. A profile that is broken or
    speaks of other colours than the picture is ignored, which `remarks` says. PNG's gAMA and cHRM
    chunks and EXIF's hint of Adobe RGB are not looked at.
  - Alpha is kept apart. Colours under it are read as they are stored, never composited.
  - Of more than 8 bits a channel, gray and the luminance of colours keep their precision, the
    colours themselves are rounded to 8 bits.
The rest is data/decode.py's, through which training reads as well.
"""

import dataclasses
import functools
import os
import pathlib
import stat

import numpy as np
from PIL import Image

from scs_jax.data import decode, remote, samples, scan
from scs_jax.errors import UserError
from scs_jax.infer import levels, metadata, modes, picture_files

Metadata = metadata.Metadata
write = picture_files.write
encode = picture_files.encode

_CHROMA_SIDE = 64  # as scan measures a data set's pictures, whose threshold GRAY_CHROMA is
_ROUNDING = 1e-5


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
  """One upright picture, of H x W pixels."""

  gray: np.ndarray
  """float32 [H, W] in [0, 1], sRGB gray level. Of a gray picture its own level; of a colour picture
  the neutral gray of the same relative luminance, hence of the same CIE L*."""
  rgb: np.ndarray | None = None
  """uint8 [H, W, 3], sRGB; None where the picture is gray by mode, so that R = G = B = gray."""
  alpha: np.ndarray | None = None
  """uint8 [H, W], 0 is transparent; None where the picture is opaque."""
  metadata: Metadata = dataclasses.field(default_factory=Metadata)
  """What write() puts back."""
  format: str | None = None
  """Pillow's name of the format it came in ("PNG", "JPEG", ...), None for arrays."""
  remarks: tuple[str, ...] = ()
  """What of the picture was left aside, each a phrase fit for a log."""
  depth: int = 8
  """Bits a channel that a result needs so as to lose no lightness: 16 where it came with more."""

  @functools.cached_property
  def chroma(self) -> float:
    """Mean CIE Lab chroma at reduced scale, 0 without rgb; below scan.GRAY_CHROMA it is gray."""
    if self.rgb is None:
      return 0.0
    factor = max(1, min(self.gray.shape) // _CHROMA_SIDE)
    return scan.mean_chroma(np.asarray(Image.fromarray(self.rgb).reduce(factor)))


def read(
  source: str | os.PathLike | bytes | Image.Image | np.ndarray,
  name: str | None = None,
  max_pixels: int = decode.MAX_PIXELS,
  white_level: float | None = None,
) -> Picture:
  """Reads a picture of any mode and depth.

  Args:
    source: a file's path or address in a bucket, an encoded file's bytes, a Pillow image, or an
      array (or what NumPy makes one of): [H, W], [H, W, 1] gray, [H, W, 2] gray and alpha,
      [H, W, 3] RGB, [H, W, 4] RGB and alpha; uint8, uint16, bool, or float in [0, 1].
    name: what error messages call the picture; by default the path.
    max_pixels: pictures with more pixels are refused.
    white_level: the value that is white in files and Pillow images of more than 8 bits a channel;
      None: as the file says.

  Raises:
    decode.DecodeError: unreadable file, unknown format, truncated or corrupt data, too many pixels,
      a value range without an agreed meaning.
    UserError: an array of another shape, type or range, or no picture at all.
  """
  if isinstance(source, Image.Image):
    # A file's image knows its path; others have no name.
    label = name or str(getattr(source, "filename", "") or f"image of {source.size}")
    with decode.explain_failures(label):
      decode.check_size(*source.size, label, max_pixels)
      if 0 in source.size:
        raise decode.DecodeError(f"{label}: cannot be decoded (it has no pixels)")
      return _from_loaded(decode.load(source, label, white_level))
  if isinstance(source, bytes | bytearray | memoryview):
    source = bytes(source)
  elif isinstance(source, str | os.PathLike) and remote.is_remote(source):
    name = name or os.fspath(source)
    source = _fetch(os.fspath(source), name)
  elif isinstance(source, str | os.PathLike):
    with decode.explain_failures(name or os.fspath(source)):
      _require_file(pathlib.Path(source), name or os.fspath(source))
  elif hasattr(source, "__array__"):
    return _from_array(np.asarray(source), name or "array", max_pixels)
  else:
    raise UserError(
      f"{name or 'picture'}: expected a path, bytes, a PIL image or an array, got "
      f"{type(source).__name__}"
    )
  with decode.opened(source, decode.name_of(source, name), max_pixels, white_level) as loaded:
    return _from_loaded(loaded)


def _fetch(address: str, name: str) -> bytes:
  place, file = remote.split(address)
  try:
    return place.read(file)
  except OSError as error:
    reason = " ".join(str(error).split()) or type(error).__name__
    raise decode.DecodeError(f"{name}: cannot be opened ({reason})") from error


def _require_file(path: pathlib.Path, name: str) -> None:
  """Raises for what is no file before it is opened: a pipe nobody writes to would wait for ever."""
  mode = path.stat().st_mode
  if stat.S_ISDIR(mode):
    raise decode.DecodeError(f"{name}: cannot be decoded (it is a folder)")
  if stat.S_ISREG(mode) and path.stat().st_size == 0:
    raise decode.DecodeError(f"{name}: not a picture (the file is empty)")
  if not stat.S_ISREG(mode):
    raise decode.DecodeError(f"{name}: cannot be decoded (it is no regular file)")


def _from_loaded(loaded: decode.Loaded) -> Picture:
  about = loaded.about
  kept, remarks = metadata.gather(about)
  profile = about.info.get("icc_profile")
  gray, rgb, alpha, more = modes.to_pixels(loaded.pixels, loaded.stored, profile)
  remarks += loaded.remarks + more + (_remark_on_frames(about) if about.format else ())
  depth = 16 if isinstance(loaded.pixels, samples.Samples) else 8
  return Picture(gray, rgb, alpha, kept, about.format, remarks, depth)


def _remark_on_frames(image: Image.Image) -> tuple[str, ...]:
  if image.format == "MPO":  # a telephone's photograph with its depth map: no frames to miss
    return ()
  try:
    moves = getattr(image, "is_animated", False)
  except Exception:  # looking for a second frame meets what lies behind the first
    moves = False
  return ("the first of several frames or pages is taken",) if moves else ()


def _from_array(array: np.ndarray, name: str, max_pixels: int) -> Picture:
  shape = array.shape
  channels = 1 if array.ndim == 2 else shape[2] if array.ndim == 3 else 0
  if not 1 <= channels <= 4:
    raise UserError(
      f"{name}: expected the shape [H, W], [H, W, 1], [H, W, 2], [H, W, 3] or [H, W, 4], "
      f"got {list(shape)}; give one picture, channels last"
    )
  if 0 in shape:
    raise UserError(f"{name}: expected at least one pixel, got the shape {list(shape)}")
  if shape[0] * shape[1] > max_pixels:
    raise UserError(
      f"{name}: {shape[1]}x{shape[0]} pixels are more than the limit of {max_pixels}; raise it "
      "(max_pixels) or reduce the picture"
    )
  array = array.reshape(*shape[:2], channels)
  if not (array.dtype in (np.uint8, np.uint16, bool) or np.issubdtype(array.dtype, np.floating)):
    raise UserError(
      f"{name}: expected uint8, uint16, bool or float in [0, 1], got {array.dtype}; convert it"
    )
  if np.issubdtype(array.dtype, np.floating):
    low, high = float(array.min()), float(array.max())
    # Asked this way round so that NaN is refused as well; resizing leaves 1 by rounding alone.
    if not (low >= -_ROUNDING and high <= 1.0 + _ROUNDING):
      raise UserError(
        f"{name}: expected floats from 0 to 1, got {low:g} to {high:g}; divide by the white level, "
        "and replace what is no number"
      )
    array = array if low >= 0.0 and high <= 1.0 else np.clip(array, 0.0, 1.0)
  whole = np.issubdtype(array.dtype, np.integer)
  white = float(np.iinfo(array.dtype).max) if whole else 1.0
  alpha = _bytes_of(array[..., -1], white) if channels in (2, 4) else None
  if alpha is not None and alpha.min() == 255:
    alpha = None
  depth = 8 if array.dtype in (np.uint8, bool) else 16
  if channels <= 2:
    return Picture(samples.to_unit(array[..., 0], white), None, alpha, depth=depth)
  rgb = _bytes_of(array[..., :3], white)
  # From the array, so that the gray of deep colours keeps their precision.
  return Picture(levels.gray_of(array[..., :3], white), rgb, alpha, depth=depth)


def _bytes_of(array: np.ndarray, white: float) -> np.ndarray:
  """Converts levels to uint8, rounded to the nearest, never the array itself."""
  return array.copy() if array.dtype == np.uint8 else samples.to_uint8(array, white)
