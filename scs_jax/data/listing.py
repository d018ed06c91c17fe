"""The picture files under a folder, here or in a bucket."""

import difflib
import os
import pathlib
from collections.abc import Iterable

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
  )
)


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


def list_local(root: pathlib.Path) -> tuple[list[scan.File], int, int]:
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


def list_remote(place: remote.Place) -> tuple[list[scan.File], int, int]:
  """As list_local."""
  try:
    found = place.sizes()
    if not found and not place.exists():
      raise UserError(f"no folder {place.root}; check the address")
  except OSError as error:
    raise UserError(f"cannot list {place.root} ({error}); check the address and login") from error
  files, empty, others = [], 0, 0
  for name, (size, time) in found.items():
    if any(part.startswith(".") for part in name.split("/")):
      continue
    if os.path.splitext(name)[1].lower() not in EXTENSIONS:
      others += 1
    elif size == 0:
      empty += 1
    else:
      files.append(scan.File(name, size, time))
  return sorted(files, key=lambda f: f.name), empty, others


def nearest(word: str, candidates: Iterable[str], prefix: str = "") -> str:
  """The words `; did you mean X?` with the candidate most like the word; none, if none is near."""
  close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
  return f"; did you mean {prefix}{close[0]}?" if close else ""
