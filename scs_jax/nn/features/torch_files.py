"""PyTorch state-dict files, read without PyTorch and without running what they contain.

A `.pth` file is a pickle, and a pickle is a program. The unpickler here knows the dozen names that
a state dict needs, maps each to a stand-in that only records its arguments, and refuses every other
name before anything is called.
"""

import dataclasses
import io
import math
import pickle
import pickletools
import struct
import zipfile
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from scs_jax.errors import UserError

# The first pickle of the format that torch.save wrote before 1.6: one magic number, protocol 2.
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_LEGACY_PROTOCOL = 1001
_MAX_DEPTH = 8
_MAX_ENTRIES = 1_000_000

# Little-endian NumPy names; bfloat16, which NumPy lacks, is decoded by `decode`.
_STORAGES = {
  "DoubleStorage": "<f8",
  "FloatStorage": "<f4",
  "HalfStorage": "<f2",
  "BFloat16Storage": "bfloat16",
  "LongStorage": "<i8",
  "IntStorage": "<i4",
  "ShortStorage": "<i2",
  "CharStorage": "|i1",
  "ByteStorage": "|u1",
  "BoolStorage": "|b1",
}
_UNTYPED = {("torch.storage", "UntypedStorage"), ("torch.storage", "TypedStorage")}
_DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")


def item_size(dtype: str) -> int:
  """Returns the bytes per element of a NumPy type name or of "bfloat16"."""
  return 2 if dtype == "bfloat16" else np.dtype(dtype).itemsize


def decode(raw: bytes, dtype: str) -> np.ndarray:
  """Reads little-endian `raw`, one-dimensional; bfloat16 becomes float32, which is exact."""
  if dtype != "bfloat16":
    return np.frombuffer(raw, np.dtype(dtype))
  return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)


class _Call:
  """A callable stand-in, made anew for each mention so that a pickle cannot alter a shared one."""

  __slots__ = ("function",)

  def __init__(self, function: Callable[..., Any]):
    self.function = function

  def __call__(self, *args: Any) -> Any:
    return self.function(*args)


class _Dict(dict):
  """Stands for OrderedDict; has attributes because torch hangs `_metadata` on state dicts."""


@dataclasses.dataclass
class _StorageType:
  dtype: str


@dataclasses.dataclass
class _Storage:
  key: str
  dtype: str
  size: int
  start: int = 0  # first element, within the storage of that key


@dataclasses.dataclass
class _Tensor:
  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class _Parameter:
  """A Parameter as torch 0.1 pickled it: called with its data, then given a state to ignore."""

  def __init__(self, data: Any, *_: Any):
    self.data = data

  def __setstate__(self, state: Any) -> None:
    pass


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
  return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
  """Builds dicts, lists, numbers, strings and records of tensors; refuses everything else."""

  def __init__(self, file: IO[bytes], source: str):
    super().__init__(file, encoding="utf-8")
    self.source = source
    self.storages: dict[str, _Storage] = {}  # those that hold data of their own, by key

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) == ("collections", "OrderedDict"):
      return _Call(lambda *items: _Dict(*items))
    if module == "torch._utils" and name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
      return _Call(_tensor)
    if (module, name) in (
      ("torch._utils", "_rebuild_parameter"),
      ("torch.nn.parameter", "Parameter"),
    ):
      return _Call(_Parameter)
    if (module, name) == ("torch", "Size"):
      return _Call(lambda sizes=(): tuple(sizes))
    if module in ("torch", "torch.cuda") and name in _STORAGES:
      return _StorageType(_STORAGES[name])
    if (module, name) in _UNTYPED or (module, name) == ("torch", "UntypedStorage"):
      return _StorageType("|u1")
    if module == "torch" and name in _DTYPES:
      return name
    raise UserError(
      f"{self.source}: expected a state dict of plain tensors, but its pickle asks for "
      f"'{module}.{name}', which is refused; save model.state_dict() and give that file"
    )

  def persistent_load(self, pid: Any) -> _Storage:
    if not (isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"):
      raise pickle.UnpicklingError("a reference to something that is not a tensor's storage")
    _, kind, key, _, size, *view = pid
    if not (isinstance(kind, _StorageType) and isinstance(key, str) and _is_count(size)):
      raise pickle.UnpicklingError("a malformed reference to a tensor's storage")
    root = self.storages.setdefault(key, _Storage(key, kind.dtype, size))
    if root.dtype != kind.dtype or root.size != size:
      raise pickle.UnpicklingError(f"storage {key} is described in two ways")
    if not view or view[0] is None:
      return root
    _, start, length = view[0]
    if not (_is_count(start) and _is_count(length) and start + length <= size):
      raise pickle.UnpicklingError(f"a view reaches beyond storage {key}")
    return _Storage(key, kind.dtype, length, start)


def _load(file: IO[bytes], source: str) -> tuple[Any, dict[str, _Storage]]:
  """Reads the next pickle of the seekable `file`, and the storages that it refers to."""
  start = file.tell()
  # The unpickler allocates its memo up to whatever index a pickle mentions.
  for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
    if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > count:
      raise pickle.UnpicklingError("a memo index out of order")
  file.seek(start)
  unpickler = _Unpickler(file, source)
  return unpickler.load(), unpickler.storages


def _is_count(value: Any) -> bool:
  return isinstance(value, int) and value >= 0


def _to_array(tensor: _Tensor, data: dict[str, np.ndarray]) -> np.ndarray:
  """Makes the read-only array that `tensor` describes; nothing is copied, whatever its strides."""
  storage, offset = tensor.storage, tensor.offset
  shape, strides = tuple(tensor.shape), tuple(tensor.strides)
  if not (
    isinstance(storage, _Storage)
    and len(shape) == len(strides)
    and all(_is_count(n) for n in (offset, *shape, *strides))
  ):
    raise pickle.UnpicklingError("a malformed tensor")
  flat = data[storage.key][storage.start : storage.start + storage.size]
  if math.prod(shape) == 0:
    return np.zeros(shape, flat.dtype)
  last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
  if last >= len(flat):
    raise pickle.UnpicklingError(f"a tensor of shape {shape} reaches beyond its storage")
  steps = [step * flat.itemsize for step in strides]
  return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=False)


def _flatten(tree: Any, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Arrays of nested dicts by dotted name; numbers, strings and lists beside them are left out."""
  if not isinstance(tree, dict):
    raise pickle.UnpicklingError(f"expected a dict of tensors, got a {type(tree).__name__}")
  arrays: dict[str, np.ndarray] = {}
  left = [(key, value, 1) for key, value in tree.items()]
  for visited in range(_MAX_ENTRIES):
    if visited >= len(left):
      return arrays
    name, node, depth = left[visited]
    if isinstance(node, _Parameter):
      node = node.data
    if isinstance(node, _Tensor):
      if str(name) in arrays:
        raise pickle.UnpicklingError(f"the name {name} occurs twice")
      arrays[str(name)] = _to_array(node, data)
    elif isinstance(node, dict) and depth < _MAX_DEPTH:
      left += [(f"{name}.{key}", value, depth + 1) for key, value in node.items()]
  raise pickle.UnpicklingError(f"more than {_MAX_ENTRIES} entries")


def read_zip(archive: zipfile.ZipFile, source: str) -> dict[str, np.ndarray]:
  """Arrays of the zip format (torch 1.6 on): `<name>/data.pkl` and one `<name>/data/<key>` each."""
  names = [n for n in archive.namelist() if n == "data.pkl" or n.endswith("/data.pkl")]
  if len(names) != 1:
    raise zipfile.BadZipFile(f"expected one data.pkl, found {len(names)}")
  prefix = names[0].removesuffix("data.pkl")
  order = f"{prefix}byteorder"
  if order in archive.namelist() and archive.read(order).strip() != b"little":
    raise _big_endian(source)
  tree, storages = _load(io.BytesIO(archive.read(names[0])), source)
  data = {}
  for key, storage in storages.items():
    size = storage.size * item_size(storage.dtype)
    member = archive.getinfo(f"{prefix}data/{key}")
    if member.file_size != size:
      raise zipfile.BadZipFile(f"storage {key} has {member.file_size} bytes, expected {size}")
    data[key] = decode(archive.read(member), storage.dtype)
  return _flatten(tree, data)


def read_legacy(file: IO[bytes], source: str) -> dict[str, np.ndarray]:
  """Arrays of the format before torch 1.6: five pickles in a row, then the storages' bytes.

  `file` is seekable and stands at its beginning; the storages are little-endian.
  """
  _, protocol, system = (_load(file, source)[0] for _ in range(3))  # first, the magic number
  if protocol != _LEGACY_PROTOCOL or not isinstance(system, dict):
    raise pickle.UnpicklingError("unknown protocol number")
  if not system.get("little_endian", True):
    raise _big_endian(source)
  tree, storages = _load(file, source)
  keys, _ = _load(file, source)
  if not (isinstance(keys, list) and all(isinstance(k, str) for k in keys)):
    raise pickle.UnpicklingError("malformed list of storages")
  if sorted(keys) != sorted(storages):
    raise pickle.UnpicklingError("the list of storages does not fit the tensors")
  data = {}
  for key in keys:
    storage = storages[key]
    (count,) = struct.unpack("<q", file.read(8))
    if count != storage.size:
      raise pickle.UnpicklingError(f"storage {key} has {count} elements, not {storage.size}")
    raw = _read_exactly(file, count * item_size(storage.dtype))
    data[key] = decode(raw, storage.dtype)
  return _flatten(tree, data)


def _read_exactly(file: IO[bytes], size: int) -> bytes:
  here = file.tell()
  left = file.seek(0, 2) - here
  file.seek(here)
  if size > left:  # known before memory is asked for
    raise EOFError(f"{size} bytes expected, {left} left")
  return file.read(size)


def _big_endian(source: str) -> UserError:
  return UserError(
    f"{source}: expected little-endian weights, got a file written on a big-endian machine; "
    "save it again on a little-endian one"
  )
