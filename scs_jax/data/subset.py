"""Some records of a source, as a source: any, the large ones, those that have colour."""

import os
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from scs_jax.data import scan
from scs_jax.data.source import Source, Stored
from scs_jax.errors import UserError

_SKIPPED = ("empty", "corrupt", "small", "gray")


class Subset(Stored):
  """Records of a source by their numbers, in that order.

  Attributes:
    numbers: int64 [n], of the source's records.

  Args:
    source: any; `encoded`, `head` and `file` need a stored one.
    numbers: of its records.
    skipped: {"small": 3}: how many were left out here, beside those that `source` leaves out.
  """

  def __init__(self, source: Source, numbers: Sequence[int], **skipped: int):
    self._source, self.numbers = source, np.asarray(numbers, np.int64)
    for why in _SKIPPED:
      before = getattr(source, f"skipped_{why}", 0)
      setattr(self, f"skipped_{why}", before + skipped.get(why, 0))
    self.skipped_results = getattr(source, "skipped_results", ())
    self.root = getattr(source, "root", self.root)
    self._fingerprint: str | None = None

  def __len__(self) -> int:
    return len(self.numbers)

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    return self._source.open(int(self.numbers[i]), min_short_side)

  def encoded(self, i: int) -> bytes:
    return self._source.encoded(int(self.numbers[i]))

  def head(self, i: int, count: int) -> bytes:
    return self._source.head(int(self.numbers[i]), count)

  def file(self, i: int) -> scan.File:
    return self._source.file(int(self.numbers[i]))

  def name(self, i: int) -> str:
    return self._source.name(int(self.numbers[i]))

  @property
  def fingerprint(self) -> str:
    """That of a folder of these files alone; of all of the source's, the source's."""
    if len(self) == len(self._source):
      return self._source.fingerprint
    if self._fingerprint is None:
      files = (self._source.file(int(i)) for i in self.numbers)
      self._fingerprint = scan.fingerprint_of((f.name, f.size) for f in files)
    return self._fingerprint


class LargeSource(Subset):
  """Those records of a stored source that need not be enlarged to a size.

  Smaller ones are left out and counted; one whose size cannot be read stays, for who reads it will
  say so. Only headers are read (scan.scan_sizes).

  Args:
    source: all the records.
    least: (height, width) of the smallest picture that stays.
    cache: of ColoredSource's scan; the sizes are kept beside it.
    progress: show a progress bar.

  Raises:
    UserError: none is left.
  """

  def __init__(
    self,
    source,
    least: tuple[int, int],
    cache: str | os.PathLike | None = None,
    progress: bool = True,
  ):
    sizes = scan.scan_sizes(source, scan.sizes_cache(cache), progress=progress)
    kept = [i for i, size in enumerate(sizes) if size is None or holds(size, least)]
    super().__init__(source, kept, small=len(sizes) - len(kept))
    if not kept:
      raise none_is_large(source, least)


class ColoredSource(Subset):
  """Those records of a stored source that have colour: others are left out and counted.

  Everything is decoded once, at reduced scale. Gray is a mean Lab chroma below scan.GRAY_CHROMA.

  Args:
    source: all the records.
    cache: JSON file that keeps the result of that scan between runs (only changed files are read
      again).
    progress: show a progress bar during the scan.

  Raises:
    UserError: none is left.
  """

  def __init__(self, source, cache: str | os.PathLike | None = None, progress: bool = True):
    chroma = scan.scan_chroma(source, cache, progress=progress)
    kept = [i for i, c in enumerate(chroma) if c is not None and c >= scan.GRAY_CHROMA]
    corrupt = sum(c is None for c in chroma)
    gray = len(chroma) - len(kept) - corrupt
    super().__init__(source, kept, corrupt=corrupt, gray=gray)
    if not kept:
      raise UserError(
        f"all {len(chroma)} pictures under {self.root} are gray ({gray}) or corrupt ({corrupt}); "
        "give a folder of colour photographs"
      )


def none_is_large(source, least: Sequence[int]) -> UserError:
  """Makes the error for a source whose pictures are all smaller than `least`, (height, width)."""
  return UserError(
    f"of {len(source)} pictures of {source.root} none has "
    f"{least[1]}x{least[0]} pixels or more; give larger pictures, ask for a smaller crop "
    "or size, or have them enlarged (data.enlarge=true, in evaluate and compare --enlarge)"
  )


def holds(size: Sequence[int], least: Sequence[int]) -> bool:
  """Tells whether a region of `least` can be cut from a picture of (height, width) as it is."""
  return size[0] >= least[0] and size[1] >= least[1]


def enlarged(sizes: Iterable[Sequence[int] | None], size: Sequence[int], what: str) -> list[str]:
  """Warns where pictures of these (height, width) are enlarged to `size`: how many, how much.

  None among the sizes are of pictures that cannot be read.
  """
  known = [s for s in sizes if s is not None]
  factors = [max(size[0] / s[0], size[1] / s[1]) for s in known if not holds(s, size)]
  if not factors:
    return []
  least, most = f"{min(factors):.3g}", f"{max(factors):.3g}"
  by = most if least == most else f"{least} to {most}"
  return [
    f"{len(factors)} of {len(known)} {what} are smaller than {size[1]}x{size[0]} and enlarged to "
    f"it, {by} times: what they show is less sharp than pictures of that size are"
  ]
