"""Weight files that a user brings, read as named arrays: data only, no code of theirs is run.

Readable are PyTorch state dicts (zip and legacy), Keras HDF5, `.npz` and `.safetensors`. What a
file is shows in its first bytes; its name and extension are not looked at.
"""

import hashlib
import json
import math
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from scs_jax.errors import UserError
from scs_jax.nn.features import torch_files

Arrays = dict[str, np.ndarray]

KINDS = "a PyTorch state dict, a Keras HDF5 file, an .npz or a .safetensors file"

_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_SAFETENSORS = {
  "F64": "<f8",
  "F32": "<f4",
  "F16": "<f2",
  "BF16": "bfloat16",
  "I64": "<i8",
  "I32": "<i4",
  "I16": "<i2",
  "I8": "|i1",
  "U8": "|u1",
  "BOOL": "|b1",
}


def read_arrays(path: str | os.PathLike[str]) -> Arrays:
  """Reads the named arrays of the weight file at `path`.

  Args:
    path: a PyTorch state dict, Keras HDF5, `.npz` or `.safetensors` file, told by content.

  Returns:
    Arrays by the file's own names, in its own layout and dtype (bfloat16 becomes float32), possibly
    read-only. Names of nested dicts are joined by "." (PyTorch), of HDF5 groups by "/".

  Raises:
    UserError: the file is missing, unreadable, truncated, of another kind, or a pickle in it asks
      for anything but tensors.
  """
  source = os.fspath(path)
  try:
    with open(source, "rb") as file:
      reader = _reader(file, source)
      file.seek(0)
      arrays = reader(file, source)
  except UserError:
    raise
  # Whatever a parser makes of damaged or hostile bytes, the user is to read one line.
  except Exception as error:
    raise UserError(_one_line(source, error)) from error
  if not arrays:
    raise UserError(f"{source}: expected weights, but the file holds no arrays; use another file")
  return arrays


def read_given(path: str | os.PathLike[str] | None, what: str, advice: str) -> Arrays:
  """Reads the arrays of a file that a user has to bring; `advice` says where it comes from.

  Raises:
    UserError: no path, no such file, or as of `read_arrays`.
  """
  if path is None or not os.fspath(path):
    raise UserError(f"no {what} weights given: {advice}")
  if not os.path.exists(path):
    raise UserError(f"{os.fspath(path)}: no such file: {advice}")
  return read_arrays(path)


def sha256(path: str | os.PathLike[str]) -> str:
  """Hashes a file, SHA-256 in hex: which weights a figure was taken with.

  Raises:
    UserError: the file cannot be read.
  """
  try:
    with open(path, "rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()
  except OSError as error:
    raise UserError(_one_line(os.fspath(path), error)) from error


def _one_line(source: str, error: Exception) -> str:
  if isinstance(error, OSError) and error.strerror and error.filename is not None:
    return f"{source}: cannot be read ({error.strerror}); expected {KINDS}"
  detail = " ".join(f"{type(error).__name__}: {error}".split())[:200]
  return f"{source}: truncated or damaged weight file ({detail}); download it again"


def _reader(file: IO[bytes], source: str) -> Callable[[IO[bytes], str], Arrays]:
  """Finds the function that reads what `file` holds, judged by its content."""
  head = file.read(512)
  if head.startswith(_HDF5_MAGIC):
    return _read_hdf5
  if head.startswith(torch_files.LEGACY_MAGIC):
    return torch_files.read_legacy
  if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
    return _read_archive
  if len(head) > 8 and head[8:9] == b"{" and _header_size(head) < 100_000_000:
    return _read_safetensors
  raise UserError(f"{source}: expected {KINDS}, got {_describe(head)}")


def _describe(head: bytes) -> str:
  """Describes what an unusable file seems to be, and what to do about it."""
  text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
  if not head:
    return "an empty file; download it again"
  if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
    return "a web page (a failed download?); download the file itself"
  if text.startswith(b"version https://git-lfs"):
    return "a Git LFS pointer; fetch the file itself with `git lfs pull`"
  if head.startswith(b"\x93NUMPY"):
    return "a single .npy array; save the named arrays with numpy.savez"
  if head.startswith(b"\x80"):
    return "a bare Python pickle, which is refused; save a state dict with torch.save or an .npz"
  return "something else; download it again or give another file"


def _read_archive(file: IO[bytes], source: str) -> Arrays:
  """Reads PyTorch's zip format or an `.npz`, which both are zip archives."""
  with zipfile.ZipFile(file) as archive:
    names = archive.namelist()
    if any(name == "data.pkl" or name.endswith("/data.pkl") for name in names):
      return torch_files.read_zip(archive, source)
  if not names or not all(name.endswith(".npy") for name in names):
    raise UserError(f"{source}: expected {KINDS}, got another zip archive; unpack or replace it")
  file.seek(0)
  with np.load(file, allow_pickle=False) as arrays:
    return {name: arrays[name] for name in arrays.files}


def _read_hdf5(file: IO[bytes], source: str) -> Arrays:
  try:
    import h5py
  except ImportError as error:
    raise UserError(
      f"{source}: reading Keras HDF5 weights needs h5py, which is not installed; "
      "run `pip install h5py` or give a PyTorch state dict or an .npz"
    ) from error

  arrays: Arrays = {}

  def visit(name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub":
      if item.external or item.is_virtual:  # bytes that live in some other file
        raise ValueError(f"{name} points to another file")
      arrays[name] = item[()]

  with h5py.File(file, "r") as root:
    root.visititems(visit)
  return arrays


def _header_size(head: bytes) -> int:
  return struct.unpack("<Q", head[:8])[0]


def _read_safetensors(file: IO[bytes], source: str) -> Arrays:
  """Reads eight bytes with the header's size, the header as JSON, then the arrays' bytes."""
  size = _header_size(file.read(8))
  header = json.loads(file.read(size))
  body = file.read()
  arrays: Arrays = {}
  for name, entry in header.items():
    if name == "__metadata__":
      continue
    dtype, shape = _SAFETENSORS[entry["dtype"]], tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if not 0 <= begin <= end <= len(body):
      raise EOFError(f"{name} ends at byte {end} of {len(body)}")
    if end - begin != math.prod(shape) * torch_files.item_size(dtype):
      raise ValueError(f"{name} has {end - begin} bytes, which is not shape {shape}")
    arrays[name] = torch_files.decode(body[begin:end], dtype).reshape(shape)
  return arrays


def select_arrays(
  arrays: Mapping[str, np.ndarray],
  wanted: Mapping[str, tuple[int, ...]],
  known: Callable[[str], bool],
  network: str,
  source: str,
) -> Arrays:
  """Returns the `wanted` arrays as finite float32, after a complete check of what the file holds.

  Args:
    arrays: what a file holds, by its own names.
    wanted: shape by name, both in the file's layout.
    known: whether a name that is not wanted belongs to `network` and may be left out.
    network, source: what was expected and where it was looked for, for the message.

  Raises:
    UserError: names every missing, unknown and wrongly shaped array (the first few of each).
  """
  missing = [name for name in wanted if name not in arrays]
  unknown = [name for name in arrays if name not in wanted and not known(name)]
  shapes = [
    f"{name} {tuple(arrays[name].shape)} instead of {shape}"
    for name, shape in wanted.items()
    if name in arrays and tuple(arrays[name].shape) != shape
  ]
  faults = [
    f"{label}: {_some(items)}"
    for label, items in (("missing", missing), ("unknown", unknown), ("wrong shape", shapes))
    if items
  ]
  if faults:
    raise UserError(f"{source}: expected the weights of {network}, got another set of arrays; "
                    f"{'; '.join(faults)}")  # fmt: skip
  bad = [
    name
    for name in wanted
    if not np.issubdtype(arrays[name].dtype, np.floating) or not np.isfinite(arrays[name]).all()
  ]
  if bad:
    raise UserError(f"{source}: expected finite floats in {_some(bad)}; download the file again")
  return {name: np.asarray(arrays[name], np.float32) for name in wanted}


def _some(items: list[str], limit: int = 6) -> str:
  more = len(items) - limit
  return ", ".join(items[:limit]) + (f" and {more} more" if more > 0 else "")
