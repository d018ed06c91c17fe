"""Checksums of a checkpoint's files, so that bytes that changed since are found before use.

They lie in the step's folder, in the form of `sha256sum`, which can check a copy as well:

    cd WORKDIR/checkpoints/1200 && sha256sum --check SHA256SUMS
"""

import concurrent.futures
import hashlib
import os
from collections.abc import Iterable, Iterator

from etils import epath

NAME = "SHA256SUMS"
_THREADS = min(8, os.cpu_count() or 1)  # hashing leaves Python's lock, and a bucket answers slowly


def write(folder: epath.Path) -> None:
  """Writes the checksums of all files in the folders of `folder`, a step that is complete."""
  items = (child for child in folder.iterdir() if child.is_dir())
  names = sorted(path.relative_to(folder).as_posix() for item in items for path in _files(item))
  digests = _in_parallel(lambda name: _digest(folder / name), names)
  lines = [f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True)]
  (folder / NAME).write_text("".join(lines))


def find_changes(folder: epath.Path, items: Iterable[str]) -> list[str]:
  """Lists what is wrong with the files of some folders of a step: "weights/d/07ab is missing".

  Empty where all bytes are those that were written, or where an earlier version of scs_jax wrote
  the checkpoint, without checksums.
  """
  try:
    lines = (folder / NAME).read_text().splitlines()
  except FileNotFoundError:
    return []
  except (OSError, ValueError) as error:  # UnicodeDecodeError is a ValueError
    return [f"{NAME} cannot be read ({type(error).__name__})"]
  expected = {}
  for line in lines:
    digest, _, name = line.partition("  ")
    if len(digest) != 64 or not name:
      return [f"{NAME} has a line that is no checksum ({line[:40]!r})"]
    expected[name] = digest
  roots = tuple(f"{item}/" for item in items)
  names = [name for name in expected if name.startswith(roots)]
  return [
    news
    for news in _in_parallel(lambda name: _change(folder, name, expected[name]), names)
    if news is not None
  ]


def _files(folder: epath.Path) -> Iterator[epath.Path]:
  for child in folder.iterdir():
    if child.is_dir():
      yield from _files(child)
    else:
      yield child


def _change(folder: epath.Path, name: str, expected: str) -> str | None:
  try:
    found = _digest(folder / name)
  except FileNotFoundError:
    return f"{name} is missing"
  except OSError as error:
    return f"{name} cannot be read ({error.strerror or error})"
  return None if found == expected else f"the bytes of {name} are not those that were written"


def _digest(path: epath.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _in_parallel(function, names: list[str]) -> list:
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    return list(pool.map(function, names))
