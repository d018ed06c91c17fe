"""Reading weight files: every accepted format, and that nothing in a file is ever run."""

import os
import pickle
import re
import struct
import sys
import zipfile

import numpy as np
import pytest

from scs_jax.errors import UserError
from scs_jax.nn.features.files import read_arrays, select_arrays
from scs_jax.nn.features.torch_files import LEGACY_MAGIC

VALUES = np.arange(24, dtype="<f4").reshape(2, 3, 4)


def _text(value):
  raw = value.encode()
  return b"X" + struct.pack("<I", len(raw)) + raw


def _int(value):
  return b"J" + struct.pack("<i", value)


def _tuple(*parts):
  return b"(" + b"".join(parts) + b"t"


def _global(module, name):
  return f"c{module}\n{name}\n".encode()


def _tensor(key, size, offset, shape, strides, kind="FloatStorage", view=b""):
  """Opcodes of one tensor, written by hand after torch's documented protocol."""
  storage = _tuple(
    _text("storage"), _global("torch", kind), _text(key), _text("cpu"), _int(size), view
  )
  arguments = _tuple(
    storage + b"Q",
    _int(offset),
    _tuple(*map(_int, shape)),
    _tuple(*map(_int, strides)),
    b"\x89",
    _global("collections", "OrderedDict") + b")R",
  )
  return _global("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def _state(**tensors):
  body = b"".join(_text(name) + opcodes for name, opcodes in tensors.items())
  return b"\x80\x02" + _global("collections", "OrderedDict") + b")R(" + body + b"u."


def _write_zip(path, state, byteorder=b"little", **storages):
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("archive/data.pkl", state)
    archive.writestr("archive/byteorder", byteorder)
    for key, raw in storages.items():
      archive.writestr(f"archive/data/{key}", raw)
  return path


def _write_legacy(path, state, little_endian=True, **storages):
  raw = LEGACY_MAGIC + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": little_endian}, 2)
  raw += state + pickle.dumps(list(storages), 2)
  for data in storages.values():
    raw += struct.pack("<q", len(data) // 4) + data
  path.write_bytes(raw)
  return path


def _refusal(path):
  with pytest.raises(UserError) as caught:
    read_arrays(path)
  message = str(caught.value)
  assert "\n" not in message and str(path) in message
  return message


HAND_MADE = {
  "whole": _tensor("k", 24, 0, (2, 3, 4), (12, 4, 1)),
  "transposed": _tensor("k", 24, 0, (4, 3, 2), (1, 4, 12)),
  "slice": _tensor("k", 24, 13, (2, 2), (4, 2)),
  "repeated": _tensor("k", 24, 5, (3, 2), (0, 1)),
  "scalar": _tensor("k", 24, 7, (), ()),
  "empty": _tensor("k", 24, 0, (0, 4), (4, 1)),
}
HAND_MADE_VALUES = {
  "whole": VALUES,
  "transposed": VALUES.transpose(2, 1, 0),
  "slice": np.array([[13, 15], [17, 19]]),
  "repeated": np.array([[5, 6]] * 3),
  "scalar": np.array(7),
  "empty": np.zeros((0, 4)),
}


@pytest.mark.parametrize("write", [_write_zip, _write_legacy])
def test_state_dict_written_by_hand(tmp_path, write):
  arrays = read_arrays(write(tmp_path / "any.name", _state(**HAND_MADE), k=VALUES.tobytes()))
  assert list(arrays) == list(HAND_MADE)
  for name, expected in HAND_MADE_VALUES.items():
    assert arrays[name].dtype == np.float32
    np.testing.assert_array_equal(arrays[name], expected)


def test_legacy_view_of_a_storage(tmp_path):
  view = _tuple(_text("other"), _int(6), _int(4))
  state = _state(a=_tensor("k", 24, 1, (3,), (1,), view=view))
  arrays = read_arrays(_write_legacy(tmp_path / "v.pth", state, k=VALUES.tobytes()))
  np.testing.assert_array_equal(arrays["a"], [7, 8, 9])


def test_parameter_as_torch_0_1_pickled_it(tmp_path):
  data = _tensor("k", 24, 0, (2,), (1,)).replace(b"_rebuild_tensor_v2", b"_rebuild_tensor")
  data = data.replace(b"\x89" + _global("collections", "OrderedDict") + b")R", b"")
  parameter = _global("torch.nn.parameter", "Parameter") + _tuple(data) + b"R(\x88\x89Ntb"
  arrays = read_arrays(_write_legacy(tmp_path / "p", _state(a=parameter), k=VALUES.tobytes()))
  np.testing.assert_array_equal(arrays["a"], [0, 1])


def test_bfloat16_bits(tmp_path):
  raw = np.array([0x3F80, 0xC000, 0x3E20, 0x7F80], "<u2").tobytes()  # 1, -2, 0.15625, inf
  state = _state(a=_tensor("k", 4, 0, (4,), (1,), kind="BFloat16Storage"))
  arrays = read_arrays(_write_zip(tmp_path / "b.pth", state, k=raw))
  np.testing.assert_array_equal(arrays["a"], [1, -2, 0.15625, np.inf])


@pytest.mark.parametrize("new_format", [True, False])
def test_state_dict_written_by_torch(tmp_path, new_format):
  torch = pytest.importorskip("torch")
  net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
  state = net.state_dict()
  base = torch.arange(60.0).reshape(3, 4, 5)
  state["strided"] = base.permute(2, 0, 1)[1:4, :, ::2]
  state["shared"] = base[1]
  state["last_channels"] = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
  state["parameter"] = torch.nn.Parameter(torch.tensor([1.5, -2.5]))
  for name in ("float64", "float16", "bfloat16", "int64", "int32", "int16", "uint8", "bool"):
    state[name] = torch.tensor([0.0, 1.0, 3.0]).to(getattr(torch, name))
  path = tmp_path / "net.pth"
  whole = {"epoch": 3, "state_dict": state, "sizes": torch.Size([1, 2]), "dtype": torch.float16}
  torch.save(whole, path, _use_new_zipfile_serialization=new_format)
  arrays = read_arrays(path)
  assert set(arrays) == {f"state_dict.{name}" for name in state}
  for name, tensor in state.items():
    expected = tensor.detach()
    expected = (expected.float() if expected.dtype == torch.bfloat16 else expected).numpy()
    assert arrays[f"state_dict.{name}"].dtype == expected.dtype, name
    np.testing.assert_array_equal(arrays[f"state_dict.{name}"], expected, err_msg=name)


def test_whole_torch_module_is_refused_by_name(tmp_path):
  torch = pytest.importorskip("torch")
  torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
  message = _refusal(tmp_path / "module.pth")
  assert "torch.nn.modules.linear.Linear" in message and "state_dict" in message


class _Evil:
  def __init__(self, marker):
    self.marker = marker

  def __reduce__(self):
    return os.system, (f"echo run > {self.marker}",)


def _evil_files(folder, marker):
  """By name: a way to carry a pickle that runs a shell command."""
  for protocol in (0, 2, 4):
    evil = pickle.dumps(_Evil(marker), protocol)
    yield f"zip{protocol}", _write_zip(folder / f"zip{protocol}", evil)
    yield f"legacy{protocol}", _write_legacy(folder / f"legacy{protocol}", evil)
    nested = folder / f"nested{protocol}"
    yield nested.name, _write_zip(nested, pickle.dumps({"a.weight": _Evil(marker)}, protocol))
    early = folder / f"early{protocol}"
    early.write_bytes(LEGACY_MAGIC + evil)
    yield early.name, early


def test_pickles_that_run_code_are_refused_and_not_run(tmp_path):
  marker = tmp_path / "marker"
  for name, path in _evil_files(tmp_path, marker):
    assert f"{os.system.__module__}.system" in _refusal(path), name
    assert not marker.exists(), name
  # The crafted pickle is a real one: the plain unpickler obeys it.
  pickle.loads(pickle.dumps(_Evil(marker)))
  assert marker.exists()


def test_bare_pickle_and_object_npz_are_refused_and_not_run(tmp_path):
  marker = tmp_path / "marker"
  (tmp_path / "bare.pth").write_bytes(pickle.dumps(_Evil(marker)))
  assert "bare Python pickle" in _refusal(tmp_path / "bare.pth")
  np.savez(tmp_path / "object.npz", a=np.array([_Evil(marker)], dtype=object))
  _refusal(tmp_path / "object.npz")
  assert not marker.exists()


@pytest.mark.parametrize(
  "module, name",
  [
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("collections", "OrderedDict.fromkeys"),
    ("torch", "Size.__class__"),
    ("torch", "load"),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"),
    ("numpy.core.multiarray", "_reconstruct"),
  ],
)
def test_names_outside_the_list_are_refused(tmp_path, module, name):
  state = b"\x80\x04" + b"".join(
    b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, name)
  )  # as STACK_GLOBAL, which looks dotted names up attribute by attribute
  message = _refusal(_write_zip(tmp_path / "x.pth", state + b"\x93."))
  assert f"'{module}.{name}'" in message and "refused" in message


@pytest.mark.parametrize(
  "tensor",
  [
    _tensor("k", 24, 23, (2,), (1,)),
    _tensor("k", 24, 0, (3, 3, 4), (12, 4, 1)),
    _tensor("k", 24, 8, (3,), (-4,)),
    _tensor("k", 24, -1, (3,), (1,)),
    _tensor("k", 24, 0, (3, 3), (1,)),
    _tensor("k", 25, 0, (3,), (1,)),
    _tensor("k", 2**30, 0, (3,), (1,)),
    _tensor("k", 24, 0, (3,), (1,), kind="DoubleStorage"),
    _tensor("other", 24, 0, (3,), (1,)),
  ],
)
@pytest.mark.parametrize("write", [_write_zip, _write_legacy])
def test_tensors_outside_their_storage_are_refused(tmp_path, write, tensor):
  _refusal(write(tmp_path / "x.pth", _state(a=tensor), k=VALUES.tobytes()))


def test_memo_bomb_is_refused(tmp_path):
  bomb = b"\x80\x02}r" + struct.pack("<I", 2**31) + b"."
  assert "memo" in _refusal(_write_zip(tmp_path / "x.pth", bomb))


def test_self_containing_dict_ends(tmp_path):
  _refusal(_write_zip(tmp_path / "x.pth", b"\x80\x02}q\x00(X\x01\x00\x00\x00ah\x00u."))


def test_big_endian_is_refused(tmp_path):
  state = _state(**HAND_MADE)
  path = _write_zip(tmp_path / "z", state, byteorder=b"big", k=VALUES.tobytes())
  assert "big-endian" in _refusal(path)
  path = _write_legacy(tmp_path / "l", state, little_endian=False, k=VALUES.tobytes())
  assert "big-endian" in _refusal(path)


def _small_files(folder):
  np.savez(folder / "a.npz", a=VALUES)
  _write_safetensors(folder / "a.safetensors", VALUES.tobytes(), a=("F32", [2, 3, 4], [0, 96]))
  return [
    _write_zip(folder / "a.zip", _state(**HAND_MADE), k=VALUES.tobytes()),
    _write_legacy(folder / "a.pth", _state(**HAND_MADE), k=VALUES.tobytes()),
    folder / "a.npz",
    folder / "a.safetensors",
  ]


def test_truncated_files_are_refused_wherever_they_end(tmp_path):
  for path in _small_files(tmp_path):
    raw = path.read_bytes()
    for size in range(0, len(raw), 7):
      cut = tmp_path / "cut"
      cut.write_bytes(raw[:size])
      _refusal(cut)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # odd escapes in damaged pickles
def test_damaged_files_give_arrays_or_one_line(tmp_path):
  rng = np.random.default_rng(0)
  damaged = tmp_path / "damaged"
  refused = 0
  for path in _small_files(tmp_path):
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(60):
      copy = raw.copy()
      copy[rng.integers(0, len(raw), 3)] = rng.integers(0, 256, 3)
      damaged.write_bytes(copy.tobytes())
      try:
        read_arrays(damaged)
      except UserError as error:
        refused += 1
        assert "\n" not in str(error)
  assert refused > 60


def test_damaged_zip_data_are_noticed(tmp_path):
  path = _write_zip(tmp_path / "z.pth", _state(**HAND_MADE), k=VALUES.tobytes())
  raw = path.read_bytes()
  at = raw.index(VALUES.tobytes()) + 40
  path.write_bytes(raw[:at] + b"\xff" + raw[at + 1 :])
  assert "CRC" in _refusal(path)


@pytest.mark.parametrize(
  "content, said",
  [
    (b"", "empty file"),
    (b"\n <!DOCTYPE html><html><body>404</body></html>", "web page"),
    (b"\xef\xbb\xbf<html lang='en'>", "web page"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
    (b"\x93NUMPY\x01\x00", "single .npy"),
    (b"\x89PNG\r\n\x1a\n" + bytes(64), "something else"),
    (b"a text file that is long enough", "something else"),
  ],
)
def test_foreign_files_are_named(tmp_path, content, said):
  (tmp_path / "w.pth").write_bytes(content)
  assert said in _refusal(tmp_path / "w.pth")


def test_missing_folder_and_other_zip(tmp_path):
  assert "No such file" in _refusal(tmp_path / "none.pth")
  assert "directory" in _refusal(tmp_path)
  with zipfile.ZipFile(tmp_path / "o.zip", "w") as archive:
    archive.writestr("readme.txt", "hello")
  assert "another zip archive" in _refusal(tmp_path / "o.zip")
  np.savez(tmp_path / "empty.npz")
  _refusal(tmp_path / "empty.npz")


def test_npz_whatever_its_name(tmp_path):
  np.savez(tmp_path / "w.npz", **{"a/b": VALUES, "n": np.int64(3), "text": np.array("imagenet")})
  (tmp_path / "w.npz").rename(tmp_path / "w.pth")
  arrays = read_arrays(tmp_path / "w.pth")
  assert set(arrays) == {"a/b", "n", "text"} and str(arrays["text"]) == "imagenet"
  np.testing.assert_array_equal(arrays["a/b"], VALUES)


def _write_safetensors(path, body, **entries):
  header = {"__metadata__": {"format": "pt"}}
  for name, (dtype, shape, offsets) in entries.items():
    header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
  text = re.sub("'", '"', str(header)).encode()
  path.write_bytes(struct.pack("<Q", len(text)) + text + body)
  return path


def test_safetensors(tmp_path):
  body = VALUES.tobytes() + np.array([0x3F80, 0xC000], "<u2").tobytes()
  arrays = read_arrays(
    _write_safetensors(
      tmp_path / "s", body, a=("F32", [2, 3, 4], [0, 96]), b=("BF16", [2], [96, 100])
    )
  )
  np.testing.assert_array_equal(arrays["a"], VALUES)
  np.testing.assert_array_equal(arrays["b"], [1, -2])


@pytest.mark.parametrize(
  "entry",
  [
    ("F32", [2, 3, 4], [4, 100]),
    ("F32", [2, 3, 5], [0, 96]),
    ("F32", [24], [-96, 0]),
    ("F7", [24], [0, 96]),
  ],
)
def test_bad_safetensors(tmp_path, entry):
  _refusal(_write_safetensors(tmp_path / "s", VALUES.tobytes(), a=entry))


def test_hdf5(tmp_path):
  h5py = pytest.importorskip("h5py")
  with h5py.File(tmp_path / "w.h5", "w") as root:
    group = root.create_group("block1_conv1/block1_conv1")
    group["kernel:0"] = VALUES
    group["half"] = VALUES.astype(np.float16)
    root["names"] = ["block1_conv1"]
    root.create_group("block1_pool")
  arrays = read_arrays(tmp_path / "w.h5")
  assert set(arrays) == {"block1_conv1/block1_conv1/kernel:0", "block1_conv1/block1_conv1/half"}
  np.testing.assert_array_equal(arrays["block1_conv1/block1_conv1/kernel:0"], VALUES)
  (tmp_path / "cut.h5").write_bytes((tmp_path / "w.h5").read_bytes()[:700])
  _refusal(tmp_path / "cut.h5")


def test_hdf5_that_points_elsewhere_is_refused(tmp_path):
  h5py = pytest.importorskip("h5py")
  (tmp_path / "secret").write_bytes(bytes(range(16)))
  with h5py.File(tmp_path / "w.h5", "w") as root:
    root.create_dataset("a", (16,), "u1", external=[(str(tmp_path / "secret"), 0, 16)])
  assert "another file" in _refusal(tmp_path / "w.h5")


def test_hdf5_without_h5py(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "h5py", None)
  (tmp_path / "w.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
  assert "pip install h5py" in _refusal(tmp_path / "w.h5")


def test_select_arrays_lists_every_fault():
  arrays = {
    "a": np.zeros((2, 3)),
    "b": np.zeros(4, np.float16),
    "c": np.zeros(1),
    "head.w": np.zeros(1),
  }
  wanted = {"a": (3, 2), "b": (4,), "d": (1,)}
  with pytest.raises(UserError) as caught:
    select_arrays(arrays, wanted, lambda name: name.startswith("head"), "Net", "w.npz")
  message = str(caught.value)
  assert "missing: d" in message and "unknown: c" in message
  assert "a (2, 3) instead of (3, 2)" in message and "head" not in message
  found = select_arrays(arrays, {"b": (4,)}, lambda name: True, "Net", "w.npz")
  assert list(found) == ["b"] and found["b"].dtype == np.float32


@pytest.mark.parametrize("values", [np.array([1.0, np.nan]), np.array([1, 2])])
def test_select_arrays_wants_finite_floats(values):
  with pytest.raises(UserError, match="finite floats in a"):
    select_arrays({"a": values}, {"a": (2,)}, lambda name: False, "Net", "w.npz")
