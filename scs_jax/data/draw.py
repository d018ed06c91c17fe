"""Draws the pictures of a set that are measured, by a seed, and deals them to the modes.

The first ones by name would be of few classes where every class has a folder.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scs_jax.data import scan, subset

SEED = 0
"""Of held-out pictures during a training and in an ablation: trainings that differ in their own
seeds are measured on the same pictures."""

_CHUNK = 256  # sizes are read for so many at a time, or for as many as are still wanted


class Drawn(NamedTuple):
  """Some records of a source.

  Attributes:
    numbers: int64 [n], in the order in which they were drawn.
    looked_at: how many records the draw passed, those left out counted.
    small: how many of them are smaller than was asked.
  """

  numbers: np.ndarray
  looked_at: int
  small: int

  def note(self, size: Sequence[int], what: str = "pictures") -> list[str]:
    """Writes a line where smaller ones were left out; size: (height, width) that was asked."""
    if not self.small:
      return []
    return [
      f"{self.small} of {self.looked_at} {what} are smaller than {size[1]}x{size[0]} and left out, "
      "as they would have to be enlarged"
    ]


def draw(
  source,
  most: int | None = None,
  seed: int = SEED,
  least: tuple[int, int] | None = None,
  progress: bool = False,
) -> Drawn:
  """Draws records without replacement, uniformly from all that are large enough.

  Args:
    source: any with a length; with `least` a stored one (sources.Stored).
    most: how many; None, or more than there are: all.
    seed: of the order. The first n of a larger draw are the draw of n.
    least: (height, width) below which a picture is passed over; None: any size serves. One whose
      size cannot be read is drawn: who reads it will say so.
    progress: a bar on stderr while sizes are read.

  Raises:
    UserError: none is large enough.
  """
  order = np.random.default_rng(seed).permutation(len(source))
  most = len(order) if most is None else min(most, len(order))
  if least is None:
    return Drawn(order[:most], most, 0)
  kept, small = [], 0
  while len(kept) < most and len(kept) + small < len(order):
    at = len(kept) + small
    chunk = order[at : at + max(_CHUNK, most - len(kept))]
    sizes = scan.scan_sizes(source, progress=progress, numbers=chunk)
    for i, size in zip(chunk, sizes, strict=True):
      if len(kept) == most:
        break
      if size is None or subset.holds(size, least):
        kept.append(int(i))
      else:
        small += 1
  if not kept:
    raise subset.none_is_large(source, least)
  return Drawn(np.array(kept, np.int64), len(kept) + small, small)


def deal(
  numbers: Sequence[int], shares: Mapping[str, int], shared: bool = False
) -> dict[str, np.ndarray]:
  """Returns {mode: int64 [n], ascending}: the records that each mode colours, none in two modes.

  Where there are fewer than the shares ask for, modes get as large parts of what there is (one or
  more each, where there are as many).

  Args:
    numbers: of the records, in the order in which they were drawn; the first of them are taken.
    shares: {mode: how many it gets at most}.
    shared: every mode gets the same records, up to its share: of a small data set a tenth says
      little.
  """
  numbers = np.asarray(numbers, np.int64)
  if shared:
    return {mode: np.sort(numbers[:most]) for mode, most in shares.items()}
  whole = sum(shares.values())
  total = min(len(numbers), whole)
  few = 1 if total >= len(shares) else 0
  first, *others = shares
  counts, left = {}, total
  for k, mode in enumerate(others):
    after = few * (len(others) - k)  # for the modes that follow, and the first
    counts[mode] = min(max(few, round(total * shares[mode] / whole)), left - after)
    left -= counts[mode]
  counts[first] = left
  ends = np.cumsum([counts[mode] for mode in shares])[:-1]
  return dict(zip(shares, map(np.sort, np.split(numbers[:total], ends)), strict=True))
