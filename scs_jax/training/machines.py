"""Devices to plan for: those at hand, a TPU slice or NVIDIA GPUs that need not be there."""

import contextlib
import dataclasses
import functools
import importlib.metadata
import importlib.util
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence

import jax

from scs_jax.core import spelling
from scs_jax.errors import UserError
from scs_jax.training import chips
from scs_jax.training.chips import Chip
from scs_jax.training.gpus import GPUS

GIB = 2**30

# libtpu would ask the metadata server, which only a TPU VM has, and serve one process at a time.
_NO_TPU = {
  "TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"
}  # fmt: skip
# JAX would not take its CUDA plugin where NVIDIA's libraries are missing, and none is called here.
_NO_GPU = {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
# Choosing algorithms means trying them on a device. Without that choice XLA's Triton products find
# no tile sizes for some of ours, and products go to cuBLAS, as most do on a device.
_NO_TRIALS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}
# What is left of the room for the workspaces of algorithms that are chosen on the device, as a
# share of the figure: cuDNN's plans for scsnet/paper, asked without a device, named single ones of
# 5 to 6 % in bfloat16, and up to 34 % in float32.
_WORKSPACES = {"bfloat16": 0.10, "float32": 0.35}


@dataclasses.dataclass(frozen=True)
class Machine:
  """Devices to compile for.

  Attributes:
    name: as the user wrote it.
    devices: real ones, or those of a topology.
    kind: "cpu", "gpu" or "tpu".
    chip: what one of them can do, where that is known.
    options: of the compiler.
    absent: the devices are a description alone.
  """

  name: str
  devices: Sequence
  kind: str
  chip: Chip | None
  options: Mapping[str, int | bool] = dataclasses.field(default_factory=dict)
  absent: bool = False

  @functools.cached_property
  def per_node(self) -> int:
    """Devices that are neighbours: those of a machine of GPUs, or all of a TPU slice."""
    if self.kind != "gpu":
      return len(self.devices)
    first = self.devices[0].process_index
    return sum(device.process_index == first for device in self.devices)

  def room(self, dtype: str) -> float | None:
    """Bytes of a device that a step may take, activations being of this type; None if unknown."""
    if self.chip is None:
      return None
    if self.kind != "gpu":
      return self.chip.memory
    share = 1 + _WORKSPACES[dtype] if self.absent else 1
    return _preallocated() * self.chip.memory / share

  def left_out(self, dtype: str) -> list[str]:
    """What the figures of a plan for it do not hold, as sentences; none where it has no nodes."""
    if self.kind != "gpu" or self.chip is None:
      return []
    chip, said = self.chip, []
    room = f"{_preallocated():.0%} of {chip.memory / GIB:.1f} GiB, which JAX takes at its start"
    if self.absent:
      said.append(
        "memory holds the program's own buffers alone: not the workspaces of the algorithms that "
        "cuDNN chooses on the device, NVIDIA's own context, NCCL's buffers, or what lies between "
        f"buffers; free is what is left of {room} (XLA_PYTHON_CLIENT_MEM_FRACTION), after "
        f"another {_WORKSPACES[dtype]:.0%} for workspaces"
      )
    else:
      said.append(f"free is what is left of {room} (XLA_PYTHON_CLIENT_MEM_FRACTION)")
    if len(self.devices) > 1:
      speed = lambda name, value: f"{value / 1e9:g} GB/s {name}" if value else f"unknown {name}"
      known = [speed("inside a node", chip.links)]
      if self.per_node < len(self.devices):
        known.append(speed("between nodes", chip.network))
      said.append(
        f"traffic is that of rings, at {' and '.join(known)} a GPU and direction: switches that "
        "add up on the way send half, and a cloud's network may be slower"
      )
    return said


def _preallocated() -> float:
  return float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION") or 0.75)


def local() -> Machine:
  """All devices of this process's backend."""
  devices = jax.devices()
  first = devices[0]
  name = f"{len(devices)} local device{'s' if len(devices) > 1 else ''} ({first.device_kind})"
  return Machine(name, devices, first.platform, chips.find(first.device_kind))


def topology(name: str) -> Machine:
  """Devices that need not be there, by name.

  A TPU slice as "v5e:4x4", "v6e:16x16" or "v5p:4x4x8"; GPUs as "h100" (one), "h100:8" (one machine
  of eight) or "h100:4x8" (four machines of eight).

  Raises:
    UserError: the compiler is not installed, or nobody knows the name.
  """
  kind = name.partition(":")[0]
  if kind.lower() in GPUS:
    return _gpus(name)
  if re.match(r"v\d|tpu", kind, re.IGNORECASE):
    return _tpus(name)
  raise UserError(
    f"topology {name!r}: there is no kind {kind!r}; {spelling.hint(kind, [*_TPUS, *GPUS])} "
    "Expected KIND:SHAPE for a TPU slice, as v5e:4x4, or KIND:GPUS or KIND:MACHINESxGPUS, as "
    "h100:8 and h100:4x8"
  )


_TPUS = ("v4", "v5e", "v5p", "v6e")


def _tpus(name: str) -> Machine:
  from jax.experimental import topologies

  _set_environment(_NO_TPU)
  try:
    with _quiet():
      described = topologies.get_topology_desc(platform="tpu", topology_name=name)
  except Exception as error:
    text = str(error)
    if "support not installed" in text or ("libtpu" in text and "No such file" in text):
      raise UserError(
        "a TPU topology needs libtpu, which is not installed; pip install 'scs_jax[tpu]', or "
        "leave --topology out to plan for the devices at hand"
      ) from error
    raise UserError(
      f"topology {name!r} is not one that libtpu knows ({_first_line(text)}); expected "
      "KIND:SHAPE as v5e:4x4, v5e:16x16, v6e:16x16 or v5p:4x4x4"
    ) from error
  devices = list(described.devices)
  return Machine(name, devices, "tpu", chips.find(devices[0].device_kind), absent=True)


_GPU_SHAPE = re.compile(r"(?P<kind>[^:]+)(?::(?:(?P<nodes>[1-9]\d*)x)?(?P<each>[1-9]\d*))?")


def _gpus(name: str) -> Machine:
  from jax.experimental import topologies

  shape = _GPU_SHAPE.fullmatch(name.lower())
  if shape is None:
    raise UserError(
      f"topology {name!r}: expected KIND:GPUS or KIND:MACHINESxGPUS, as h100:8 and h100:4x8"
    )
  gpu = GPUS[shape["kind"]]
  _set_environment(_NO_GPU)
  try:
    with _quiet():
      described = topologies.get_topology_desc(
        platform="cuda",
        target_config=gpu.description(),
        topology=f"1x{shape['nodes'] or 1}x{shape['each'] or 1}",
      )
  except Exception as error:
    raise UserError(_no_compiler(error)) from error
  return Machine(
    name, list(described.devices), "gpu", chips.find(gpu.device_kind), _NO_TRIALS, absent=True
  )


def _no_compiler(error: Exception) -> str:
  version = importlib.metadata.version("jaxlib")
  plugins = ("jax_cuda12_plugin", "jax_cuda13_plugin")
  if not any(importlib.util.find_spec(plugin) for plugin in plugins):
    return (
      "a GPU topology needs JAX's compiler for CUDA, which is not installed; pip install "
      f"'scs_jax[gpu-plan]' 'jax-cuda12-plugin=={version}' (no GPU and no NVIDIA library is "
      "needed), or leave --topology out to plan for the devices at hand"
    )
  if isinstance(error, NotImplementedError):
    return (
      "JAX has begun without its CUDA plugin, which a GPU topology needs; plan before anything "
      "else uses JAX, or set JAX_PLATFORMS=cpu"
    )
  return (
    f"JAX's CUDA plugin does not take a GPU topology ({_first_line(str(error))}); it must be of "
    f"jaxlib's version: pip install 'jax-cuda12-plugin=={version}'"
  )


def _first_line(text: str) -> str:
  return text.splitlines()[0][:200] if text else "no reason given"


def _set_environment(values: Mapping[str, str]) -> None:
  for key, value in values.items():
    os.environ.setdefault(key, value)


@contextlib.contextmanager
def compilation(machine: Machine):
  """Within it programs are compiled for the machine: silently, and where it is absent past JAX's
  cache, from which a program for devices that are not there cannot be read."""
  name = "jax_persistent_cache_min_compile_time_secs"
  kept = getattr(jax.config, name)
  if machine.absent:
    jax.config.update(name, math.inf)
  try:
    with _quiet():
      yield
  finally:
    jax.config.update(name, kept)


@contextlib.contextmanager
def _quiet():
  """Keeps a compiler's own words about machines that are not there off the terminal."""
  sys.stderr.flush()
  kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
  try:
    os.dup2(null, 2)
    yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
    os.close(null)
