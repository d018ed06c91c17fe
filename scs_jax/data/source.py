"""Sources of pictures: numbered records that decode to uint8 RGB, HWC.

A source is random access and immutable, so that the order of samples is a matter of numbers only
(order.py) and worker threads or processes share it without a lock. sources.py opens one by name.
"""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from scs_jax.data import decode, scan


class Source:
  """Numbered pictures. It survives pickling and calls from many threads.

  A source writes `__len__`, `open` and `name`.

  Attributes:
    fingerprint: changes when the set of records, or the size of one, changes: checked on resume.
  """

  fingerprint: str

  def __len__(self) -> int:
    """Counts the records."""
    raise NotImplementedError

  def __getitem__(self, i: int) -> np.ndarray:
    """Decodes record i at full size: uint8 [H, W, 3] in [0, 255]. Raises DecodeError."""
    return self.load(i)

  def load(self, i: int, min_short_side: int | None = None) -> np.ndarray:
    """Decodes record i, possibly reduced as long as its short side is >= min_short_side."""
    return np.asarray(self.open(i, min_short_side))

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    """Gives what `load` does as a Pillow image of mode "RGB": training reads and cuts from it."""
    raise NotImplementedError

  def name(self, i: int) -> str:
    """Gives a name that is unique in the source and stable between runs."""
    raise NotImplementedError


class Stored(Source):
  """A source of encoded pictures, as all are that `sources.open_source` gives.

  A stored source writes `__len__`, `encoded`, `file` and `name`.

  Attributes:
    root: of the pictures' folder, for messages.
    skipped_empty, skipped_corrupt, skipped_small, skipped_gray: how many pictures of the data set
      are left out, and why.
    skipped_results: folders of `colorize`'s results that are left out.
  """

  root: str | os.PathLike = "the data set"
  skipped_empty = skipped_corrupt = skipped_small = skipped_gray = 0
  skipped_results: Sequence[str] = ()

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    return decode.decode_image(self.encoded(i), min_short_side, name=self.label(i))

  def encoded(self, i: int) -> bytes:
    """Gives record i as it is stored, a whole picture file. Raises DecodeError."""
    raise NotImplementedError

  def head(self, i: int, count: int) -> bytes:
    """Gives its first `count` bytes or more; all, where there are fewer. Raises DecodeError."""
    del count
    return self.encoded(i)

  def checked(self, i: int) -> bytes:
    """Gives what `encoded` does, compared with every checksum that there is. Raises DecodeError."""
    return self.encoded(i)

  def file(self, i: int) -> scan.File:
    """Returns name, bytes (0: unknown before it is read) and time, or what else tells a change."""
    raise NotImplementedError

  def label(self, i: int) -> str:
    """Names record i in error messages."""
    return self.name(i)

  def damaged_shards(self) -> list[tuple[str, str]]:
    """Lists [(shard, cause)] of the files of many records that are not as they were written."""
    return []
