"""Things that take long to make, kept for the next command: whole programs, networks' shapes.

An entry is found again by a text that says all that it was made from; the versions of what makes it
are added, and every line of this package, so that whatever changes makes it anew. `compiled.keep`
opens the folder; without it nothing is kept. Entries are written aside and renamed, so processes
share the folder without waiting for each other; where it is full, what was unused for longest goes.
"""

import contextlib
import functools
import hashlib
import os
import pathlib
import platform
import sys
import time
import zlib
from collections.abc import Callable

MOST_BYTES = 128 * 2**20
"""The folder's bound; a network's programs for one picture take some hundred kilobytes."""

_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
_UNFINISHED_SECONDS = 60.0  # after which nobody is still writing a file that was not renamed

_folder: pathlib.Path | None = None
_has_said = False


def open_folder(folder: pathlib.Path | None) -> None:
  """Keeps entries in this folder from now on, for its owner alone; None: nowhere."""
  global _folder
  if folder is not None:
    folder.mkdir(mode=0o700, exist_ok=True)
  _folder = folder


def is_open() -> bool:
  """Tells whether anything is kept."""
  return _folder is not None


def is_ours(thing: type | Callable) -> bool:
  """Tells whether a class or function is of this package, so that `get` notices when it changes."""
  return thing.__module__.split(".")[0] == _PACKAGE.name


def get(kind: str, about: str) -> bytes | None:
  """Returns the entry that was made from what `about` says; None where there is none."""
  if _folder is None:
    return None
  path = _path(kind, about)
  try:
    content = zlib.decompress(path.read_bytes())  # which has a checksum
    os.utime(path)  # used now
    return content
  except FileNotFoundError:
    pass
  except OSError as error:
    _say(f"{path} could not be read ({error.strerror}), and is made anew")
  except zlib.error:
    remove(kind, about, "it is damaged")
  return None


def put(kind: str, about: str, content: bytes) -> None:
  """Keeps an entry, and removes others where the folder gets too large."""
  if _folder is None:
    return
  import tempfile  # `scs-jax --help` imports this module, and waits for no more than it needs

  try:
    with tempfile.NamedTemporaryFile(dir=_folder, suffix=".partial", delete=False) as aside:
      try:
        aside.write(zlib.compress(content, level=1))
        aside.close()
        os.replace(aside.name, _path(kind, about))
      except BaseException:  # an interrupt leaves nothing behind either
        os.unlink(aside.name)
        raise
    _make_room(_folder)
  except OSError as error:
    _say(f"a compiled program could not be written to {_folder} ({error.strerror}); going on")


def remove(kind: str, about: str, why: str) -> None:
  """Removes an entry that is of no use, with a remark."""
  path = _path(kind, about)
  with contextlib.suppress(OSError):
    path.unlink()
  _say(f"{path} could not be read ({why}), and is made anew")


def _path(kind: str, about: str) -> pathlib.Path:
  text = f"{made_by()}\0{about}"
  return _folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


@functools.cache
def made_by(package: pathlib.Path = _PACKAGE) -> str:
  """Names what makes entries: versions, what is set about XLA, and all lines of a package."""
  import flax
  import jax
  import jaxlib
  import numpy as np

  versions = [platform.python_version(), *(m.__version__ for m in (jax, jaxlib, flax, np))]
  about = [name for name in os.environ if name.startswith(("XLA_", "LIBTPU_", "TPU_", "CUDA_"))]
  digest = hashlib.sha256()
  for path in sorted(package.rglob("*.py")):
    digest.update(f"{path.relative_to(package)}\0".encode())
    digest.update(hashlib.sha256(path.read_bytes()).digest())
  found = [(name, os.environ[name]) for name in sorted(about)]
  return f"{versions} {found} {sorted(jax.config.values.items())} {digest.hexdigest()}"


def _make_room(folder: pathlib.Path) -> None:
  found, now = [], time.time()
  for path in folder.iterdir():
    with contextlib.suppress(FileNotFoundError):  # another process makes room too
      about = path.stat()
      if path.suffix != ".partial":
        found.append((about.st_mtime, about.st_size, path))
      elif now - about.st_mtime > _UNFINISHED_SECONDS:
        path.unlink()
  total = sum(size for _, size, _ in found)
  for _, size, path in sorted(found):
    if total <= MOST_BYTES:
      return
    with contextlib.suppress(FileNotFoundError):
      path.unlink()
    total -= size


def _say(line: str) -> None:
  global _has_said
  if not _has_said:
    print(f"scs-jax: {line}", file=sys.stderr)
  _has_said = True
