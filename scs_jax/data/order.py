"""The order of records, and their randomness, as pure functions of (seed, position).

A position is a whole number that counts samples over all epochs, hosts and steps:

  epoch    = position // n            (n records; an epoch's remainder opens the next batch)
  record   = permutation(seed, epoch)[position % n]
  batch s  = positions [s * B, (s + 1) * B)          (B = global batch size)
  host h   = positions [s * B + h * B / H, s * B + (h + 1) * B / H)

Nothing depends on the number of hosts, devices, processes or threads, nor on what was read before:
a run may stop at any step and go on elsewhere with the very same batches.
"""

import functools
import math

import numpy as np

from scs_jax.errors import UserError

# Up to here the permutation of an epoch is held in memory (16 MiB): exactly uniform, and faster
# than a cipher. Beyond, grain's block cipher gives single places in constant memory; on small n
# that cipher walks its 16-bit domain and costs milliseconds.
_HELD = 1 << 22
_MAX_RECORDS = (1 << 31) - 1
_CIPHER_ROUNDS = 4

# Counter words of the Philox streams, so that no two uses ever share numbers.
PERMUTATION = 0
CROP = 1
REFERENCE = 2


def philox(seed: int, stream: int, number: int) -> np.random.Generator:
  """Returns the generator that belongs to (seed, stream, number): no state, no order of calls.

  Philox is counter-based: the seed is its key; stream and number are the upper counter words, so
  each has 2**128 numbers of its own. seed and number are taken modulo 2**64.
  """
  mask = (1 << 64) - 1
  return np.random.Generator(
    np.random.Philox(
      key=np.array([seed & mask, 0], np.uint64),
      counter=np.array([0, 0, number & mask, stream], np.uint64),
    )
  )


def record_at(position: int, n: int, seed: int) -> int:
  """Returns the record number in [0, n) that the global sample position >= 0 shows."""
  epoch, place = divmod(position, n)
  if n <= _HELD:
    return int(_permutation(n, seed, epoch)[place])
  # Imported here: only huge data sets need it.
  from grain.experimental import index_shuffle

  epoch_seed = int(philox(seed, PERMUTATION, epoch).integers(1 << 32))
  return index_shuffle(place, max_index=n - 1, seed=epoch_seed, rounds=_CIPHER_ROUNDS)


@functools.lru_cache(maxsize=4)
def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
  return philox(seed, PERMUTATION, epoch).permutation(np.arange(n, dtype=np.uint32))


def host_batch_size(batch_size: int, host: int, hosts: int) -> int:
  """Samples of each global batch that one host reads; errors where the split is not even."""
  if hosts < 1 or not 0 <= host < hosts:
    raise UserError(f"host {host} of {hosts} hosts: expected 0 <= host < hosts")
  if batch_size < 1 or batch_size % hosts:
    fit = max(hosts, math.ceil(batch_size / hosts) * hosts)
    raise UserError(f"batch size {batch_size} is not divisible by {hosts} hosts; use {fit}")
  return batch_size // hosts


def host_position(local: int, start_step: int, batch_size: int, host: int, hosts: int) -> int:
  """Returns the global position of the local-th sample that a host reads after start_step."""
  per_host = batch_size // hosts
  step, place = divmod(local, per_host)
  return (start_step + step) * batch_size + host * per_host + place


def check_records(n: int) -> None:
  """Raises UserError unless there is a record, and record numbers are int32."""
  if not 1 <= n <= _MAX_RECORDS:
    raise UserError(f"expected 1 to {_MAX_RECORDS} pictures, got {n}; check the data folder")


def epochs_to_steps(n: int, batch_size: int, epochs: float) -> int:
  """Returns the steps after which at least epochs * n samples were shown: rounded up."""
  check_records(n)
  return max(1, math.ceil(n * epochs / batch_size))
