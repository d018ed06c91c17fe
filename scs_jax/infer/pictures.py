"""Pictures as a person hands them in and gets them back: every mode and depth, metadata kept.

Choices, for they are visible in the result:
  - EXIF orientation is applied (all eight); of several frames or pages the first is taken.
  - Embedded colour profiles are applied (relative colorimetric, black-point compensation); numbers
    without one are sRGB, CMYK without one is converted as Pillow does. A profile that is broken or
    speaks of other colours than the picture is ignored, which `remarks` says. PNG's gAMA and cHRM
    chunks and EXIF's hint of Adobe RGB are not looked at.
  - Alpha is kept apart. Colours under it are read as they are stored, never composited.
  - Gray of 16 bits keeps its precision; colour of 16 bits keeps its high byte, as Pillow decodes no
    more. Float pictures must lie in [0, 1].
"""

import dataclasses
import functools
import io
import os
import pathlib
import stat

import numpy as np
from PIL import Image

from scs_jax.data import decode, scan
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

  @functools.cached_property
  def chroma(self) -> float:
    """Mean CIE Lab chroma at reduced scale, 0 without rgb; below scan.GRAY_CHROMA it is gray."""
    if self.rgb is None:
      return 0.0
    factor = max(1, min(self.gray.shape) // _CHROMA_SIDE)
    return scan.mean_chroma(np.asarray(Image.fromarray(self.rgb).reduce(factor)))


def read(
  source: str | os.PathLike | bytes | Image.Image | np.ndarray, name: str | None = None
) -> Picture:
  """Reads a picture of any mode and depth.

  Args:
    source: a file's path, an encoded file's bytes, a Pillow image, or an array (or what NumPy makes
      one of): [H, W], [H, W, 1] gray, [H, W, 2] gray and alpha, [H, W, 3] RGB, [H, W, 4] RGB and
      alpha; uint8, uint16, bool, or float in [0, 1].
    name: what error messages call the picture; by default the path.

  Raises:
    decode.DecodeError: unreadable file, unknown format, truncated or corrupt data, too many pixels,
      a value range without an agreed meaning.
    UserError: an array of another shape, type or range, or no picture at all.
  """
  if isinstance(source, Image.Image):
    # A file's image knows its path; others have no name.
    label = name or str(getattr(source, "filename", "") or f"image of {source.size}")
    with decode.explain_failures(label):
      return _from_image(source, label)
  if isinstance(source, bytes | bytearray | memoryview):
    label = name or f"{len(source)} bytes"
    with decode.explain_failures(label), Image.open(io.BytesIO(source)) as image:
      return _from_image(image, label)
  if isinstance(source, str | os.PathLike):
    label = name or os.fspath(source)
    with decode.explain_failures(label):
      _require_file(pathlib.Path(source), label)
      with Image.open(pathlib.Path(source)) as image:
        return _from_image(image, label)
  if hasattr(source, "__array__"):
    return _from_array(np.asarray(source), name or "array")
  raise UserError(
    f"{name or 'picture'}: expected a path, bytes, a PIL image or an array, got "
    f"{type(source).__name__}"
  )


def _require_file(path: pathlib.Path, name: str) -> None:
  """Raises for what is no file before it is opened: a pipe nobody writes to would wait for ever."""
  mode = path.stat().st_mode
  if stat.S_ISDIR(mode):
    raise decode.DecodeError(f"{name}: cannot be decoded (it is a folder)")
  if stat.S_ISREG(mode) and path.stat().st_size == 0:
    raise decode.DecodeError(f"{name}: not a picture (the file is empty)")
  if not stat.S_ISREG(mode):
    raise decode.DecodeError(f"{name}: cannot be decoded (it is no regular file)")


def _from_image(image: Image.Image, name: str) -> Picture:
  decode.check_size(image, name)
  if 0 in image.size:
    raise decode.DecodeError(f"{name}: cannot be decoded (it has no pixels)")
  stored = modes.stored_as(image)
  image.load()
  kept, remarks = metadata.gather(image)
  form = image.format
  frames = _remark_on_frames(image) if form else ()
  # After load(): a TIFF has been turned by then and carries the tag no longer.
  turn = decode.upright_turn(image)
  gray, rgb, alpha, more = modes.to_pixels(
    image if turn is None else image.transpose(turn), name, stored
  )
  return Picture(gray, rgb, alpha, kept, form, remarks + more + frames)


def _remark_on_frames(image: Image.Image) -> tuple[str, ...]:
  if image.format == "MPO":  # a telephone's photograph with its depth map: no frames to miss
    return ()
  try:
    moves = getattr(image, "is_animated", False)
  except Exception:  # looking for a second frame meets what lies behind the first
    moves = False
  return ("the first of several frames or pages is taken",) if moves else ()


def _from_array(array: np.ndarray, name: str) -> Picture:
  shape = array.shape
  channels = 1 if array.ndim == 2 else shape[2] if array.ndim == 3 else 0
  if not 1 <= channels <= 4:
    raise UserError(
      f"{name}: expected the shape [H, W], [H, W, 1], [H, W, 2], [H, W, 3] or [H, W, 4], "
      f"got {list(shape)}; give one picture, channels last"
    )
  if 0 in shape:
    raise UserError(f"{name}: expected at least one pixel, got the shape {list(shape)}")
  if shape[0] * shape[1] > decode.MAX_PIXELS:
    raise UserError(
      f"{name}: {shape[1]}x{shape[0]} pixels are more than the limit of {decode.MAX_PIXELS}; "
      "resize the picture before use"
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
  if channels <= 2:
    return Picture(levels.to_unit(array[..., 0], white), None, alpha)
  rgb = _bytes_of(array[..., :3], white)
  # From the array, so that the gray of deep colours keeps their precision.
  return Picture(levels.gray_of(array[..., :3], white), rgb, alpha)


def _bytes_of(array: np.ndarray, white: float) -> np.ndarray:
  """Levels as uint8, rounded to the nearest, never the array itself."""
  return array.copy() if array.dtype == np.uint8 else levels.to_uint8(array, white)
