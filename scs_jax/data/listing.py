"""The picture files under a folder, here or in a bucket."""

import difflib
import os
import pathlib
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from scs_jax.data import remote, scan
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
    ".jp2",
    ".j2k",
    ".heic",
    ".heif",
    ".hif",
    ".dng",
  )
)

RESULTS = ".scs_jax.json"
"""The file that `colorize` keeps beside its results: a folder that has it holds no photographs."""


class Listing(NamedTuple):
  """Holds what is under a folder.

  Attributes:
    files: pictures, sorted by relative path.
    empty: how many empty ones there are besides.
    others: how many other files.
    results: folders of `colorize`'s results, left out with all below them, by relative path.
  """

  files: list[scan.File]
  empty: int
  others: int
  results: list[str]


def is_results(folder: str | os.PathLike) -> bool:
  """Tells whether a folder holds results of `colorize`.

  Walks of a tree ask it below their root alone: a folder that a user names is taken.
  """
  return os.path.isfile(os.path.join(folder, RESULTS))


def check_folder(root: pathlib.Path, specs: Iterable[str] = ()) -> None:
  """Raises UserError, naming the nearest folder or spec, where there is no such folder."""
  try:
    if root.is_dir():
      return
    if root.exists():
      raise UserError(f"{root} is a file, expected a folder of pictures; give {root.parent}")
    parent = root.parent
    if parent.is_dir():
      siblings = [entry.name for entry in parent.iterdir() if entry.is_dir()]
      hint = nearest(root.name, siblings, f"{parent}{os.sep}")
    else:
      existing = next((p for p in root.parents if p.is_dir()), None)
      hint = f"; only {existing} exists" if existing else ""
  except OSError as error:
    raise _unreadable(root, error) from error
  hint = nearest(os.fspath(root), specs) or hint
  raise UserError(
    f"no folder {root}: expected a folder of pictures, or bundled, bundled:train, "
    f"bundled:heldout{hint}"
  )


def _unreadable(path: str | os.PathLike, error: OSError) -> UserError:
  return UserError(
    f"cannot read the folder {os.fspath(path)} ({error.strerror or error}); "
    "make it readable or give another one"
  )


def entered(folder: str, names: Iterable[str]) -> list[str]:
  """Chooses the folders in a folder that a walk enters, sorted: no hidden ones, none of results."""
  below = (n for n in names if not n.startswith("."))
  return sorted(n for n in below if not is_results(os.path.join(folder, n)))


def describe_results(folders: Sequence[str]) -> list[str]:
  """Writes a line on folders of results that were left out; none where there are none."""
  if not folders:
    return []
  what = "a folder" if len(folders) == 1 else f"{len(folders)} folders"
  named = ", ".join(sorted(folders)[:3]) + (", ..." if len(folders) > 3 else "")
  return [f"left out: {what} of colorize's own results ({named}); name such a folder to take it"]


def describe_size(size: float) -> str:
  """Writes a number of bytes as `12.3 MB`."""
  for unit in ("bytes", "kB", "MB", "GB"):
    if size < 1000:
      return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
    size /= 1000
  return f"{size:,.1f} TB"


def list_local(root: pathlib.Path, keep_empty: bool = False) -> Listing:
  """Lists what is under a folder, results of `colorize` below it left out.

  Args:
    root: the folder.
    keep_empty: empty pictures are among the files, for who reports each that cannot be read.
  """
  files, empty, others, results, visited, pending = [], 0, 0, [], set(), [""]
  while pending:
    relative = pending.pop()
    folder = os.path.join(root, relative)
    try:
      identity = os.stat(folder)
      # Guards against loops of links, and against one folder reached twice.
      if (identity.st_dev, identity.st_ino) in visited:
        continue
      visited.add((identity.st_dev, identity.st_ino))
      if relative and is_results(folder):
        results.append(relative)
        continue
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
      elif stat.st_size == 0 and not keep_empty:
        empty += 1
      else:
        files.append(scan.File(name, stat.st_size, stat.st_mtime_ns))
    pending[:0] = reversed(linked)  # last of all, so that a folder is named by its real place
  return Listing(sorted(files, key=lambda f: f.name), empty, others, sorted(results))


def list_remote(place: remote.Place) -> Listing:
  """Lists what is under a folder of a bucket, as list_local does."""
  try:
    found = place.sizes()
    if not found and not place.exists():
      raise UserError(f"no folder {place.root}; check the address")
  except OSError as error:
    raise UserError(f"cannot list {place.root} ({error}); check the address and login") from error
  files, empty, others = [], 0, 0
  shown, results = parted(found)
  for name in shown:
    size, time = found[name]
    if os.path.splitext(name)[1].lower() not in EXTENSIONS:
      others += 1
    elif size == 0:
      empty += 1
    else:
      files.append(scan.File(name, size, time))
  return Listing(sorted(files, key=lambda f: f.name), empty, others, results)


def parted(names: Collection[str]) -> tuple[list[str], list[str]]:
  """Parts what is in a folder of a bucket: (files, folders of results with none of theirs).

  Both sorted, hidden files left out.
  """
  made = {os.path.dirname(name) for name in names if os.path.basename(name) == RESULTS} - {""}
  results = {folder for folder in made if not _is_below(folder, made - {folder})}
  hidden = lambda name: any(part.startswith(".") for part in name.split("/"))
  shown = [name for name in names if not hidden(name) and not _is_below(name, results)]
  return sorted(shown), sorted(results)


def _is_below(name: str, folders: set[str]) -> bool:
  return any(parent.as_posix() in folders for parent in pathlib.PurePosixPath(name).parents)


def nearest(word: str, candidates: Iterable[str], prefix: str = "") -> str:
  """Writes `; did you mean X?` with the candidate most like the word; empty if none is near."""
  close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
  return f"; did you mean {prefix}{close[0]}?" if close else ""
