"""Pictures to be evaluated: what was wrong with each, and which other lends it its colours.

Both classes are sources, so that `pipeline.eval_batches` reads either on its threads
and nothing is held in memory.
"""

import pathlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from scs_jax.data import order, scan, transforms
from scs_jax.data.decode import DecodeError
from scs_jax.data.source import Source
from scs_jax.errors import UserError

# order.py's streams of a seed are 0 to 2.
_STREAM = 3


class Observed(Source):
  """A source that remembers what it met, by record; too small pictures count as unreadable.

  Attributes:
    sizes: {record: (height, width)} of those that were read.
    errors: {record: name and cause} of those that could not be.

  Args:
    source: the pictures.
    smallest: pixels; what is lower or narrower raises DecodeError.
  """

  def __init__(self, source: Source, smallest: int = 1):
    self._source, self._smallest = source, smallest
    self.fingerprint = source.fingerprint
    self.sizes: dict[int, tuple[int, int]] = {}
    self.errors: dict[int, str] = {}

  def __len__(self) -> int:
    return len(self._source)

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    try:
      image = self._source.open(i, min_short_side)
      width, height = image.size
      if min(width, height) < self._smallest:
        raise DecodeError(
          f"{self.name(i)}: {width}x{height} pixels, expected {self._smallest} or more a side"
        )
    except DecodeError as error:
      self.errors[i] = str(error)
      raise
    self.sizes[i] = (height, width)
    return image

  def name(self, i: int) -> str:
    return self._source.name(i)

  def facts(self) -> list[dict]:
    """Gives what it remembers by record, to be filled up with what another process met."""
    return [self.sizes, self.errors]


class References(Source):
  """Record i is another picture, to color record i of `source` by: never the picture itself.

  Records of one source stand in a circle, shuffled by the seed, and each takes the next one that
  can be read and has colour. Those of another source (`pool`) are shuffled and dealt in turn;
  pictures of the same file name are passed over, for it may hold copies. Gray ones, which have no
  colours to lend, are taken where there is no other. It is a pure function of seed and number.

  Attributes:
    gray: the records whose reference is gray, of those asked for so far.

  Args:
    source: the pictures that are colored.
    seed: of the shuffle.
    pool: where references come from; None: the source itself.
    count: how many of the source's first records take part; None: all.
    size: side, or (height, width), of the central part that is used, and judged gray or not; None:
      whole pictures.

  Raises:
    UserError: there is no other picture.
  """

  def __init__(
    self,
    source: Source,
    seed: int,
    pool: Source | None = None,
    count: int | None = None,
    size: int | tuple[int, int] | None = None,
  ):
    n = len(source) if count is None else min(count, len(source))
    self._source, self._count, self._dealt = source, n, pool is not None
    self._of = source if pool is None else pool
    self.fingerprint = self._of.fingerprint
    self._size = size
    self._found: dict[int, int] = {}
    self._colored: dict[int, bool | None] = {}  # None: cannot be read
    self.gray: set[int] = set()
    members = n if pool is None else len(pool)
    if pool is None and n < 2:
      raise UserError(
        "mode random takes another picture as the reference, but there is one picture; give two "
        "or more, or --reference-data"
      )
    self._circle = order.philox(seed, _STREAM, 0).permutation(members)
    self._place = np.argsort(self._circle)

  def __len__(self) -> int:
    return self._count

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    gray = None
    for j in self._candidates(i):
      # Looked at once: where few have colour, the others would be opened for every picture.
      if j not in self._colored or self._colored[j]:
        image = self._look(j, min_short_side)
        if image is not None and self._colored[j]:
          self._found[i] = j
          return image
      if gray is None and self._colored[j] is not None:
        gray = j
    if gray is not None:
      self._found[i] = gray
      self.gray.add(i)
      return self._of.open(gray, min_short_side)
    raise DecodeError(f"{self._source.name(i)}: no other picture can be read as its reference")

  def _look(self, j: int, min_short_side: int | None) -> Image.Image | None:
    """Reads the picture, None where that fails; remembers whether it has colour."""
    try:
      image = self._of.open(j, min_short_side)
    except DecodeError:
      self._colored[j] = None
      return None
    if j not in self._colored:
      used = np.asarray(image) if self._size is None else transforms.center_crop(image, self._size)
      self._colored[j] = scan.mean_chroma(used) >= scan.GRAY_CHROMA
    return image

  def name(self, i: int) -> str:
    """Names the reference of record i; empty where there is none."""
    if i not in self._found:
      try:
        self.open(i)
      except DecodeError:
        return ""
    return self._of.name(self._found[i])

  def facts(self) -> list[dict | set]:
    """Gives what it remembers by record, as Observed does."""
    return [self._found, self.gray]

  def _candidates(self, i: int) -> Iterator[int]:
    """Records that may lend record i their colours, in the order in which they are looked at."""
    start = i if self._dealt else int(self._place[i]) + 1
    own = _file_name(self._source.name(i))
    for k in range(len(self._circle)):
      j = int(self._circle[(start + k) % len(self._circle)])
      itself = _file_name(self._of.name(j)) == own if self._dealt else j == i
      if not itself:
        yield j


def _file_name(name: str) -> str:
  return pathlib.PurePosixPath(name).name
