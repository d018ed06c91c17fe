"""Disparity files as the stereo data sets publish them -> float32 [H, W] in pixels, NaN: unknown.

  pfm         Portable float map (Middlebury 2014, SceneFlow): pixels; not finite: unknown.
  gray        PNG of 8 or 16 bits a pixel (Middlebury 2003 to 2006): value / scale; 0 is unknown.
  sintel      RGB PNG (MPI Sintel, sdk/python/sintel_io): R * 4 + G / 64 + B / 16384; all known.
  cityscapes  16-bit PNG: (value - 1) / 256; 0 is unknown.
  npz         an array in a NumPy archive (scikit-image's motorcycle): pixels; NaN is unknown.

Signs are the files' own: all of these say that a pixel x of the left view is at x - disparity in
the right one, and x of the right view at x + disparity in the left one.
"""

import dataclasses
import os
import pathlib
import re
import zipfile

import numpy as np
from PIL import Image

from scs_jax.data import decode, samples
from scs_jax.data.decode import DecodeError

ENCODINGS = ("pfm", "gray", "sintel", "cityscapes", "npz")

# One whitespace ends the header: the pixels may begin with bytes that look like more of it.
_PFM_HEADER = re.compile(rb"(P[fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,32})[ \t]*\r?\n")
_PFM_HEADER_BYTES = 256


@dataclasses.dataclass(frozen=True)
class DisparityFile:
  """One file and how it is read.

  Attributes:
    path: the file.
    encoding: one of ENCODINGS.
    scale: "gray" only: value of one pixel of disparity, above 0.
  """

  path: str
  encoding: str
  scale: float = 1.0

  def __post_init__(self):
    if self.encoding not in ENCODINGS:
      raise ValueError(f"encoding {self.encoding!r}: expected one of {', '.join(ENCODINGS)}")
    if not 0 < self.scale < float("inf"):
      raise ValueError(f"scale {self.scale}: expected a finite number above 0")


def read(file: DisparityFile) -> np.ndarray:
  """Reads disparities, float32 [H, W], pixels, NaN where nothing is known.

  Raises:
    DecodeError: unreadable, truncated or not of the encoding; names the file and the cause.
  """
  if file.encoding == "pfm":
    return read_pfm(file.path)
  if file.encoding == "npz":
    return _read_npz(file.path)
  values = _read_png(file.path, rgb=file.encoding == "sintel")
  if file.encoding == "sintel":
    return (values @ np.array([4.0, 1 / 64, 1 / 16384])).astype(np.float32)
  pixels = (values - 1) / 256 if file.encoding == "cityscapes" else values / file.scale
  return np.where(values == 0, np.nan, pixels).astype(np.float32)


def read_pfm(path: str | os.PathLike) -> np.ndarray:
  """Reads a one-channel PFM file: float32 [H, W], first row at the top, NaN where it is not finite.

  The sign of the header's scale gives the byte order (negative: little endian); its size is a hint
  for viewers that Middlebury's own reader ignores (their files say 0.0039 beside whole pixels), and
  so it is here. Rows are stored from the bottom up.

  Raises:
    DecodeError: not a PFM file, three channels, or a number of bytes that the header contradicts.
  """
  path = os.fspath(path)
  try:
    data = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise DecodeError(f"{path}: cannot be opened ({error.strerror})") from error
  header = _PFM_HEADER.match(data[:_PFM_HEADER_BYTES])
  if header is None:
    raise DecodeError(f"{path}: no PFM file: expected 'Pf', width, height, scale and a newline")
  kind, width, height = header[1], int(header[2]), int(header[3])
  if kind == b"PF":
    raise DecodeError(f"{path}: a PFM of three channels; a disparity has one ('Pf')")
  try:
    scale = float(header[4])
  except ValueError:
    scale = 0.0
  if not (scale and np.isfinite(scale)):
    given = header[4].decode()
    raise DecodeError(f"{path}: the PFM's scale is {given!r}, expected a number other than 0")
  if not 0 < width * height <= decode.MAX_PIXELS:
    raise DecodeError(f"{path}: {width}x{height} pixels, expected 1 to {decode.MAX_PIXELS}")
  body = memoryview(data)[header.end() :]
  if len(body) != 4 * width * height:
    what = "truncated" if len(body) < 4 * width * height else "too long"
    raise DecodeError(
      f"{path}: {what}: {len(body)} bytes after the header, {width}x{height} pixels take "
      f"{4 * width * height}"
    )
  values = np.frombuffer(body, "<f4" if scale < 0 else ">f4").reshape(height, width)[::-1]
  return np.where(np.isfinite(values), values, np.nan).astype(np.float32)


def _read_png(path: str, rgb: bool) -> np.ndarray:
  """Reads the stored values, float64 [H, W] or, for rgb, [H, W, 3]; never converted to 8 bits."""
  with decode.explain_failures(path), Image.open(path) as image:
    decode.check_size(*image.size, path)
    image.load()
    if rgb != (image.mode == "RGB") or (not rgb and image.mode not in ("L", *samples.GRAY_MODES)):
      expected = "RGB" if rgb else "gray, 8 or 16 bits"
      raise DecodeError(f"{path}: a picture of mode {image.mode}, expected {expected}")
    return np.asarray(image).astype(np.float64)


def _read_npz(path: str) -> np.ndarray:
  try:
    with np.load(path, allow_pickle=False) as archive:
      values = archive[archive.files[0]]
  except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
    raise DecodeError(f"{path}: no NumPy archive that can be read ({error})") from error
  if values.ndim != 2 or values.dtype.kind != "f":
    raise DecodeError(f"{path}: {values.dtype} {values.shape}, expected floats [H, W]")
  return np.where(np.isfinite(values), values, np.nan).astype(np.float32)
