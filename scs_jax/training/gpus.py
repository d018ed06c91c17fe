"""NVIDIA GPUs as XLA's compiler wants them described, to compile for one that is not there.

Facts, written out from: NVIDIA's CUDA C++ Programming Guide, "Compute Capabilities" (threads,
shared memory and registers of a multiprocessor); NVIDIA's architecture white papers and data sheets
of A100, H100, H200, B200, L4 and Ada (multiprocessors, clock, cache); and the descriptions of A100,
H100, H200 and B200 that OpenXLA keeps (xla/backends/gpu/target_config/specs), which agree. Memory
and its bandwidth stand in chips.py.
"""

import dataclasses

from scs_jax.training import chips


@dataclasses.dataclass(frozen=True)
class Gpu:
  """What the compiler is told of a GPU, besides its memory.

  Attributes:
    device_kind: as JAX calls it.
    capability: CUDA's compute capability.
    cores: multiprocessors.
    units: float32 units of one.
    threads: that one holds at a time.
    shared: KiB of shared memory of one; a block may have all but one.
    cache: MiB of second-level cache.
    clock: GHz at most.
  """

  device_kind: str
  capability: tuple[int, int]
  cores: int
  units: int
  threads: int
  shared: int
  cache: float
  clock: float

  def description(self) -> str:
    """XLA's target configuration, a GpuTargetConfigProto as text."""
    chip = chips.find(self.device_kind)
    major, minor = self.capability
    # From 9.0 on instructions exist that no later GPU has ("9.0a"), tensor cores' among them.
    extension = "ACCELERATED_FEATURES" if major in (9, 10) else "NONE"
    fields = {
      "core_count": self.cores,
      "fpus_per_core": self.units,
      "threads_per_core_limit": self.threads,
      "shared_memory_per_core": self.shared * 2**10,
      "shared_memory_per_block_optin": (self.shared - 1) * 2**10,
      "l2_cache_size": int(self.cache * 2**20),
      "clock_rate_ghz": self.clock,
      "device_memory_size": int(chip.memory),
      "memory_bandwidth": int(chip.bandwidth),
      **_COMMON,
    }
    info = " ".join(f"{name}: {value}" for name, value in fields.items())
    capability = f"major: {major} minor: {minor} feature_extension: {extension}"
    return (
      f"gpu_device_info {{ {info} cuda_compute_capability {{ {capability} }} }} "
      f'platform_name: "CUDA" device_description_str: "{self.device_kind}" '
      # cuDNN 9.10, which jax[cuda12] installs or a later one.
      "dnn_version_info { major: 9 minor: 10 }"
    )


# The same for every compute capability from 8.0 to 10.0.
_COMMON = {
  "threads_per_warp": 32,
  "threads_per_block_limit": 1024,
  "shared_memory_per_block": 48 * 2**10,
  "registers_per_core_limit": 2**16,
  "registers_per_block_limit": 2**16,
  "block_dim_limit_x": 2**31 - 1,
  "block_dim_limit_y": 2**16 - 1,
  "block_dim_limit_z": 2**16 - 1,
  "thread_dim_limit_x": 1024,
  "thread_dim_limit_y": 1024,
  "thread_dim_limit_z": 64,
}

# By the name in --topology.
GPUS = {
  "h100": Gpu("NVIDIA H100 80GB HBM3", (9, 0), 132, 128, 2048, 228, 50, 1.98),
  "h200": Gpu("NVIDIA H200", (9, 0), 132, 128, 2048, 228, 50, 1.98),
  "b200": Gpu("NVIDIA B200", (10, 0), 148, 128, 2048, 228, 126.5, 1.965),
  "a100-80": Gpu("NVIDIA A100-SXM4-80GB", (8, 0), 108, 64, 2048, 164, 40, 1.41),
  "a100-40": Gpu("NVIDIA A100-SXM4-40GB", (8, 0), 108, 64, 2048, 164, 40, 1.41),
  "l4": Gpu("NVIDIA L4", (8, 9), 58, 128, 1536, 100, 48, 2.04),
  "rtx4090": Gpu("NVIDIA GeForce RTX 4090", (8, 9), 128, 128, 1536, 100, 72, 2.52),
}
