"""Accelerators at their best: the makers' figures, for shares of peak and for plans."""

import dataclasses
import re

_GB = 10**9
_GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """One accelerator, as the unit that JAX calls a device.

  Attributes:
    name: what people call it.
    bfloat16, float32: peak FLOP/s of matrix products in that type, dense. On TPUs float32 products
      at JAX's default precision run as bfloat16 ones, so the two are equal.
    memory: bytes of device memory that a program may use.
    bandwidth: bytes a second from that memory.
    links: bytes a second that a chip sends to others of its node (of its slice) over all its links,
      one direction; None where machines with this chip differ.
    network: bytes a second that a chip sends to other nodes, its share of the machine's network
      cards, one direction; None where machines with this chip differ, and for TPUs.
  """

  name: str
  bfloat16: float
  float32: float
  memory: float
  bandwidth: float
  links: float | None = None
  network: float | None = None

  def peak(self, dtype: str) -> float:
    """Returns FLOP/s for activations of this type ("bfloat16" or "float32")."""
    return self.bfloat16 if dtype == "bfloat16" else self.float32


def _tpu(name, tflops, gib, bandwidth, links):
  return Chip(name, tflops * 1e12, tflops * 1e12, gib * _GIB, bandwidth * _GB, links * _GB)


def _gpu(name, tensor, single, gib, bandwidth, links=None, network=None):
  speed = lambda gb: gb and gb * _GB
  return Chip(
    name, tensor * 1e12, single * 1e12, gib * _GIB, bandwidth * _GB, speed(links), speed(network)
  )


# By the words of jax.Device.device_kind that tell a chip, in the order in which they are tried.
# TPUs: docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e} (peak bfloat16, HBM bandwidth, interconnect
# bandwidth, there in bits a second). Memory of v5e, v6e and v5p is what XLA says a program may use,
# which is less than what is built in. GPUs: NVIDIA's data sheets; the float32 column is TF32
# without sparsity where the chip has it, JAX's default for products on it; memory is what CUDA
# reports, rounded down; links are NVLink's (half of the data sheets' figure, which counts both
# directions) where every machine with the chip has it, or PCIe 4.0 x16 where none has NVLink;
# network is that of NVIDIA's own DGX machines, one card a GPU: 200 Gb/s in the DGX A100, 400 in
# the DGX H100, H200 and B200. Clouds may have less.
_CHIPS = (
  ("TPU v5 lite", _tpu("TPU v5e", 197, 15.75, 819, 200)),
  ("TPU v5e", _tpu("TPU v5e", 197, 15.75, 819, 200)),
  ("TPU v6 lite", _tpu("TPU v6e", 918, 31.25, 1600, 400)),
  ("TPU v6e", _tpu("TPU v6e", 918, 31.25, 1600, 400)),
  ("TPU v5", _tpu("TPU v5p", 459, 95.74, 2765, 600)),
  ("TPU v4", _tpu("TPU v4", 275, 31.75, 1228, 300)),
  ("B200", _gpu("B200", 2250, 1125, 178.3, 7700, 900, 50)),
  ("H200", _gpu("H200", 989, 494, 139.7, 4800, 450, 50)),
  ("H100 PCIe", _gpu("H100 PCIe", 756, 378, 79.1, 2000)),
  ("H100", _gpu("H100 SXM", 989, 494, 79.1, 3350, 450, 50)),
  ("A100-SXM4-80GB", _gpu("A100 80 GB", 312, 156, 79.2, 2039, 300, 25)),
  ("A100-SXM4-40GB", _gpu("A100 40 GB", 312, 156, 39.4, 1555, 300, 25)),
  ("A100 80GB PCIe", _gpu("A100 80 GB PCIe", 312, 156, 79.2, 1935)),
  ("A100", _gpu("A100 40 GB PCIe", 312, 156, 39.4, 1555)),
  ("L4", _gpu("L4", 121, 60, 22.0, 300, 31.5)),
  ("RTX 4090", _gpu("RTX 4090", 165.2, 82.6, 23.6, 1008, 31.5)),
  ("V100", _gpu("V100", 125, 15.7, 15.7, 900)),
)


def find(device_kind: str) -> Chip | None:
  """The chip of a `jax.Device.device_kind`; None for one that is not in the table (a CPU)."""
  # Whole words: an L40S is no L4, and a GH200 no H200.
  whole = lambda words: re.search(rf"(?<![0-9A-Z]){words}(?![0-9A-Z])", device_kind)
  return next((chip for words, chip in _CHIPS if whole(words)), None)
