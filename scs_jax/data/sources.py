"""Where pictures come from: numbered records that decode to uint8 RGB, HWC.

A source is random access and immutable, so that the order of samples is a matter of numbers only
(order.py) and worker threads or processes share it without a lock. Sources of encoded bytes
(ArrayRecord shards) or of tensorflow-datasets fit the same members.
"""

import difflib
import os
import pathlib
from collections.abc import Iterable
from typing import Protocol

import numpy as np
from PIL import Image

from scs_jax.data import bundled, decode, scan
from scs_jax.errors import UserError

EXTENSIONS = frozenset(
  (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".tif",
    ".tiff",
    ".gif",
    ".ppm",
    ".pgm",
    ".pnm",
    ".avif",
  )
)


class Source(Protocol):
  """Numbered pictures. Implementations must survive pickling and calls from many threads."""

  def __len__(self) -> int:
    """Number of records."""

  def __getitem__(self, i: int) -> np.ndarray:
    """Record i at full size: uint8 [H, W, 3] in [0, 255]. Raises DecodeError."""

  def load(self, i: int, min_short_side: int | None = None) -> np.ndarray:
    """Record i, possibly reduced as long as its short side is >= min_short_side."""

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    """What load gives, as a Pillow image of mode "RGB": what training reads and cuts from."""

  def name(self, i: int) -> str:
    """A name that is unique in the source and stable between runs."""

  @property
  def fingerprint(self) -> str:
    """Changes when the set of records, or the size of one, changes: checked on resume."""


class FolderSource:
  """All pictures under a folder, recursively, in the order of their relative paths.

  Left out, and counted: empty files (`skipped_empty`) and, with exclude_gray, near-gray pictures
  (`skipped_gray`) and such that do not decode (`skipped_corrupt`). Left out silently: other
  extensions, hidden files and folders. Links to folders are followed once: no folder is read twice.

  Args:
    root: the folder.
    exclude_gray: decode everything once, at reduced scale, and leave out pictures whose mean Lab
      chroma is below scan.GRAY_CHROMA, and corrupt ones. Without it corrupt pictures are met, and
      replaced, in training.
    cache: JSON file that keeps the result of that scan between runs (only changed files are read
      again).
    progress: show a progress bar during the scan.

  Raises:
    UserError: root missing, not a folder, not readable, or without pictures.
  """

  def __init__(
    self,
    root: str | os.PathLike,
    exclude_gray: bool = False,
    cache: str | os.PathLike | None = None,
    progress: bool = True,
  ):
    self.root = pathlib.Path(root).expanduser()
    _check_folder(self.root)
    files, self.skipped_empty, others = _list_files(self.root)
    self.skipped_gray = self.skipped_corrupt = 0
    if not files:
      raise UserError(
        f"no pictures under {self.root} ({self.skipped_empty} empty files, {others} files with "
        f"other extensions); expected files ending in {' '.join(sorted(EXTENSIONS))}"
      )
    if exclude_gray:
      chroma = scan.scan_chroma(self.root, files, cache, progress=progress)
      self.skipped_corrupt = sum(c is None for c in chroma)
      kept = [
        f for f, c in zip(files, chroma, strict=True) if c is not None and c >= scan.GRAY_CHROMA
      ]
      self.skipped_gray = len(files) - len(kept) - self.skipped_corrupt
      if not kept:
        raise UserError(
          f"all {len(files)} pictures under {self.root} are gray ({self.skipped_gray}) or corrupt "
          f"({self.skipped_corrupt}); give a folder of colour photographs"
        )
      files = kept
    self._names = [f.name for f in files]
    self._fingerprint = scan.fingerprint_of((f.name, f.size) for f in files)

  def __len__(self) -> int:
    return len(self._names)

  def __getitem__(self, i: int) -> np.ndarray:
    return self.load(i)

  def load(self, i: int, min_short_side: int | None = None) -> np.ndarray:
    return np.asarray(self.open(i, min_short_side))

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    return decode.decode_image(os.path.join(self.root, self._names[i]), min_short_side)

  def name(self, i: int) -> str:
    return self._names[i]

  @property
  def fingerprint(self) -> str:
    return self._fingerprint


def open_source(
  spec: str | os.PathLike,
  exclude_gray: bool = False,
  cache: str | os.PathLike | None = None,
  progress: bool = True,
) -> Source:
  """Opens a data set by its spec.

  spec: "bundled" (all photographs that come with dependencies), "bundled:train",
  "bundled:heldout", or the path of a folder. The other arguments are FolderSource's and do not
  touch the bundled photographs, all of which are colour.

  Raises UserError, naming the nearest spec or path, where there is no such thing.
  """
  spec = os.fspath(spec)
  if spec.partition(":")[0] == "bundled":
    split = spec.partition(":")[2] or ("all" if ":" not in spec else "")
    if split not in bundled.SPLITS:
      raise UserError(
        f"no bundled photographs {spec!r}; expected bundled, bundled:train or "
        f"bundled:heldout{_nearest(spec, _bundled_specs())}"
      )
    return bundled.BundledSource(split)
  if "://" in spec:
    raise UserError(f"remote data {spec!r} cannot be read; copy it to a local folder and give that")
  return FolderSource(spec, exclude_gray=exclude_gray, cache=cache, progress=progress)


def _bundled_specs() -> list[str]:
  return ["bundled", *(f"bundled:{split}" for split in bundled.SPLITS if split != "all")]


def _nearest(word: str, candidates: Iterable[str], prefix: str = "") -> str:
  close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
  return f"; did you mean {prefix}{close[0]}?" if close else ""


def _check_folder(root: pathlib.Path) -> None:
  try:
    if root.is_dir():
      return
    if root.exists():
      raise UserError(f"{root} is a file, expected a folder of pictures; give {root.parent}")
    parent = root.parent
    if parent.is_dir():
      siblings = [entry.name for entry in parent.iterdir() if entry.is_dir()]
      hint = _nearest(root.name, siblings, f"{parent}{os.sep}")
    else:
      existing = next((p for p in root.parents if p.is_dir()), None)
      hint = f"; only {existing} exists" if existing else ""
  except OSError as error:
    raise _unreadable(root, error) from error
  hint = _nearest(os.fspath(root), _bundled_specs()) or hint
  raise UserError(
    f"no folder {root}: expected a folder of pictures, or bundled, bundled:train, "
    f"bundled:heldout{hint}"
  )


def _unreadable(path: str | os.PathLike, error: OSError) -> UserError:
  return UserError(
    f"cannot read the folder {os.fspath(path)} ({error.strerror or error}); "
    "make it readable or give another one"
  )


def _list_files(root: pathlib.Path) -> tuple[list[scan.File], int, int]:
  """Pictures sorted by relative path, the number of empty ones, and of other files."""
  files, empty, others, visited, pending = [], 0, 0, set(), [""]
  while pending:
    relative = pending.pop()
    folder = os.path.join(root, relative)
    try:
      identity = os.stat(folder)
      # Guards against loops of links, and against one folder reached twice.
      if (identity.st_dev, identity.st_ino) in visited:
        continue
      visited.add((identity.st_dev, identity.st_ino))
      with os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
      raise _unreadable(folder, error) from error
    linked = []
    for entry in entries:
      if entry.name.startswith("."):
        continue
      name = f"{relative}/{entry.name}" if relative else entry.name
      try:
        if entry.is_dir():
          (linked if entry.is_symlink() else pending).append(name)
          continue
        stat = entry.stat()
      except OSError:  # a broken link, or a file that went away
        others += 1
        continue
      if os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:
        others += 1
      elif stat.st_size == 0:
        empty += 1
      else:
        files.append(scan.File(name, stat.st_size, stat.st_mtime_ns))
    pending[:0] = reversed(linked)  # last of all, so that a folder is named by its real place
  return sorted(files, key=lambda f: f.name), empty, others
