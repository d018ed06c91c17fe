"""Opens data sets by name; folders and lists of files as sources.

The other sources stand in bundled.py, packed_source.py and tfds_source.py.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from scs_jax.data import (
  bundled,
  decode,
  listing,
  lists,
  packed_source,
  remote,
  scan,
  subset,
  tfds_source,
)
from scs_jax.data.source import Stored
from scs_jax.errors import UserError


class FileSource(Stored):
  """Picture files of a folder, here or in a bucket, in a given order.

  Args:
    root: path or address of the folder.
    files: the pictures.
    skipped_empty: how many empty files were left out of them.
    skipped_results: folders below it that were left out.
  """

  def __init__(
    self,
    root: str | os.PathLike,
    files: Sequence[scan.File],
    skipped_empty: int = 0,
    skipped_results: Sequence[str] = (),
  ):
    self._place = remote.Place(root)
    self.root = self._place.root if self._place.remote else pathlib.Path(self._place.root)
    self.skipped_empty = skipped_empty
    self.skipped_results = tuple(skipped_results)
    self._names = [f.name for f in files]
    self._sizes = np.array([f.size for f in files], np.int64)
    self._times = np.array([f.mtime_ns for f in files], np.int64)
    self.fingerprint = scan.fingerprint_of((f.name, f.size) for f in files)

  def __len__(self) -> int:
    return len(self._names)

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    # Of a JPEG Pillow would read many small pieces, which takes a tenth of the time to decode it.
    whole = self._place.remote or self._names[i].lower().endswith((".jpg", ".jpeg"))
    data = self.encoded(i) if whole else self.label(i)
    return decode.decode_image(data, min_short_side, name=self.label(i))

  def encoded(self, i: int) -> bytes:
    with decode.explain_failures(self.label(i)):
      return self._place.read(self._names[i])

  def head(self, i: int, count: int) -> bytes:
    with decode.explain_failures(self.label(i)):
      return self._place.read(self._names[i], min(count, int(self._sizes[i]) or count))

  def file(self, i: int) -> scan.File:
    return scan.File(self._names[i], int(self._sizes[i]), int(self._times[i]))

  def name(self, i: int) -> str:
    return self._names[i]

  def label(self, i: int) -> str:
    return self._place.full(self._names[i])


class FolderSource(FileSource):
  """All pictures under a folder, recursively, in the order of their relative paths.

  Left out, and counted: empty files (`skipped_empty`). Left out, and named: folders below it of
  results of `colorize` (`skipped_results`). Left out silently: other extensions, hidden
  files and folders. Links to folders are followed once: no folder is read twice. Corrupt pictures
  are met, and replaced, in training.

  Args:
    root: the folder, local or remote.

  Raises:
    UserError: root missing, not a folder, not readable, or without pictures.
  """

  def __init__(self, root: str | os.PathLike):
    if remote.is_remote(root):
      found = listing.list_remote(remote.Place(root))
    else:
      root = pathlib.Path(root).expanduser()
      listing.check_folder(root, _bundled_specs())
      found = listing.list_local(root)
    if not found.files:
      results = f", {len(found.results)} folders of colorize's results" if found.results else ""
      endings = " ".join(sorted(listing.EXTENSIONS))
      raise UserError(
        f"no pictures under {root} ({found.empty} empty files, {found.others} files with "
        f"other extensions{results}); expected files ending in {endings}"
      )
    super().__init__(root, found.files, found.empty, found.results)


class ListSource(FileSource):
  """The pictures that a list file names (lists.py), in its order, empty ones left out.

  Raises:
    UserError: the list cannot be read, is empty or damaged, or names files that are not there.
  """

  def __init__(self, path: str | os.PathLike):
    root, names = lists.read(path)
    files, missing = lists.stat_all(root, names)
    if missing:
      advice = f"correct its line '{lists.ROOT}', or make it anew"
      if "\\" in missing[0]:
        advice = "write / between folders, not backslashes"
      elif missing[0][0] in "\"'":
        advice = "write paths without quotes, one a line"
      raise UserError(
        f"{len(missing)} of {len(names)} pictures of the list {os.fspath(path)} are not there, the "
        f"first is {remote.join(root, missing[0])}; {advice}"
      )
    kept = [f for f in files if f.size]
    if not kept:
      raise UserError(f"all {len(files)} files of the list {os.fspath(path)} are empty")
    super().__init__(root, kept, len(files) - len(kept))


def open_source(
  spec: str | os.PathLike,
  exclude_gray: bool = False,
  cache: str | os.PathLike | None = None,
  progress: bool = True,
  least: tuple[int, int] | None = None,
) -> Stored:
  """Opens a data set by its spec.

  spec: "bundled" (all photographs that come with dependencies), "bundled:train",
  "bundled:heldout"; "tfds:NAME[:SPLIT]", a prepared tensorflow-datasets data set; the path of a
  folder of pictures, of a packed folder (`scs-jax data pack`), or of a list (.txt, as `scs-jax data
  select` writes it); the last three also remote, as gs://bucket/folder.

  least: (height, width) below which pictures are left out, see subset.LargeSource; None: all stay.
  exclude_gray: leave out gray ones, see subset.ColoredSource; of the bundled photographs, all of
  which were taken in colour, none. cache, progress: of these two scans.

  Raises UserError, naming the nearest spec or path, where there is no such thing.
  """
  spec = os.fspath(spec)
  if not spec:  # as of an unset variable; a path would take it for the current folder
    raise UserError("the data set is empty text: expected a folder, a list or another spec")
  kind = spec.partition(":")[0]
  if kind == "bundled":
    split = spec.partition(":")[2] or ("all" if ":" not in spec else "")
    if split not in bundled.SPLITS:
      raise UserError(
        f"no bundled photographs {spec!r}; expected bundled, bundled:train or "
        f"bundled:heldout{listing.nearest(spec, _bundled_specs())}"
      )
    source, exclude_gray = bundled.BundledSource(split), False
  elif kind == "tfds":
    source = tfds_source.TfdsSource(spec)
  elif spec.endswith(lists.SUFFIX) and not os.path.isdir(os.path.expanduser(spec)):
    source = ListSource(spec)
  elif packed_source.is_packed(spec):
    source = packed_source.PackedSource(spec)
  else:
    source = FolderSource(spec)
  if least is not None:  # first, as it only reads headers
    source = subset.LargeSource(source, least, cache, progress)
  return subset.ColoredSource(source, cache, progress) if exclude_gray else source


def _bundled_specs() -> list[str]:
  return ["bundled", *(f"bundled:{split}" for split in bundled.SPLITS if split != "all")]
