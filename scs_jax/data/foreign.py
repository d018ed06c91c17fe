"""Pictures that need a reader of their own: HEIC and cameras' raw files; others by their names.

The readers are optional (`pip install -e .[heic]`, `.[raw]`): few need them, and HEIC's comes with
an encoder under the GPL.
"""

import importlib
import io
import os
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from scs_jax.data.samples import Samples
from scs_jax.errors import DecodeError

RAW_EXTENSIONS = frozenset(
  (".dng", ".nef", ".nrw", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".3fr")
)
"""Of cameras' raw files, most of which are TIFFs that show a thumbnail to whoever asks no further.
"""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_RAW_STARTS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0")
# (where, bytes there, what begins so, what to do with it)
_NAMES = (
  (0, b"\xff\x0a", "a JPEG XL picture", "convert it to PNG"),
  (4, b"JXL \r\n", "a JPEG XL picture", "convert it to PNG"),
  (0, b"II\xbc", "a JPEG XR picture", "convert it to TIFF"),
  (0, b"%PDF", "a PDF document", "export its pictures"),
  (0, b"PK\x03\x04", "a ZIP archive", "unpack it"),
  (0, b"<svg", "a drawing (SVG)", "render it to PNG"),
  (4, b"ftyp", "a video or an unknown kind of HEIF", "give its frames as pictures"),
)


def is_heic(head: bytes) -> bool:
  """Tells whether a file that begins so is a HEIC picture."""
  return head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS


def is_raw(head: bytes, name: str) -> bool:
  """Tells whether a file that begins so, and that Pillow does not know, is a camera's raw file."""
  extension = os.path.splitext(name)[1].lower()
  return head.startswith(_RAW_STARTS) or head[8:12] == b"crx " or extension in RAW_EXTENSIONS


def open_heic(source: Any, name: str) -> Image.Image:
  """Opens a HEIC picture, a path or a file; raises DecodeError where its reader is missing."""
  reader = _reader("pillow_heif", "heic", f"{name}: a HEIC picture", "JPEG or PNG")
  reader.register_heif_opener()
  return Image.open(source)


def read_raw(data: Any, name: str) -> Samples:
  """Develops a camera's raw file, a path or bytes, with LibRaw's defaults: sRGB, 16 bits, upright.

  White balance is the camera's; brightness is raised until a hundredth of the pixels is white.
  """
  reader = _reader("rawpy", "raw", f"{name}: a camera's raw picture (DNG or alike)", "TIFF")
  with reader.imread(io.BytesIO(data) if isinstance(data, bytes) else os.fspath(data)) as raw:
    # The sRGB curve: a power of 2.4 above a slope of 12.92.
    rgb = raw.postprocess(use_camera_wb=True, output_bps=16, gamma=(2.4, 12.92))
  return Samples(np.ascontiguousarray(rgb), 65535.0)


def describe(head: bytes) -> str:
  """Describes a file that begins so, and what to do with it."""
  for at, start, what, advice in _NAMES:
    if head[at:].startswith(start):
      return f"{what}, not one that can be read; {advice}"
  return "not a picture in a format that can be read"


def _reader(module: str, extra: str, what: str, other: str) -> ModuleType:
  try:
    return importlib.import_module(module)
  except ImportError as error:
    package = module.replace("_", "-")
    raise DecodeError(
      f"{what}, which needs a reader of its own; install it (`pip install {package}`, or "
      f"scs_jax's extra {extra}), or convert the picture to {other}"
    ) from error
