"""Accelerators at their best: the makers' figures, for shares of peak and for plans."""

import dataclasses

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
    links: bytes a second that a chip sends to others over all its links, one direction; None where
      machines with this chip differ.
  """

  name: str
  bfloat16: float
  float32: float
  memory: float
  bandwidth: float
  links: float | None = None

  def peak(self, dtype: str) -> float:
    """Returns FLOP/s for activations of this type ("bfloat16" or "float32")."""
    return self.bfloat16 if dtype == "bfloat16" else self.float32


def _tpu(name, tflops, gib, bandwidth, links):
  return Chip(name, tflops * 1e12, tflops * 1e12, gib * _GIB, bandwidth * _GB, links * _GB)


def _gpu(name, tensor, single, gb, bandwidth):
  return Chip(name, tensor * 1e12, single * 1e12, gb * _GB, bandwidth * _GB)


# By the words of jax.Device.device_kind that tell a chip, in the order in which they are tried.
# TPUs: docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e} (peak bfloat16, HBM bandwidth, interconnect
# bandwidth, there in bits a second). Memory of v5e, v6e and v5p is what XLA says a program may use,
# which is less than what is built in. GPUs: NVIDIA's data sheets; the float32 column is TF32
# without sparsity where the chip has it, JAX's default for products on it.
_CHIPS = (
  (("TPU v5 lite", "TPU v5e"), _tpu("TPU v5e", 197, 15.75, 819, 200)),
  (("TPU v6 lite", "TPU v6e"), _tpu("TPU v6e", 918, 31.25, 1600, 400)),
  (("TPU v5",), _tpu("TPU v5p", 459, 95.74, 2765, 600)),
  (("TPU v4",), _tpu("TPU v4", 275, 31.75, 1228, 300)),
  (("H200",), _gpu("H200", 989, 494, 141, 4800)),
  (("H100 PCIe",), _gpu("H100 PCIe", 756, 378, 80, 2000)),
  (("H100",), _gpu("H100 SXM", 989, 494, 80, 3350)),
  (("A100-SXM4-80GB",), _gpu("A100 80 GB", 312, 156, 80, 2039)),
  (("A100",), _gpu("A100 40 GB", 312, 156, 40, 1555)),
  (("V100",), _gpu("V100", 125, 15.7, 16, 900)),
)


def find(device_kind: str) -> Chip | None:
  """Finds the chip of a `jax.Device.device_kind`; None for one that is not in the table (a CPU)."""
  return next((chip for names, chip in _CHIPS if any(n in device_kind for n in names)), None)
