"""Files by their path or address: one way to look at, read and write them, here or in a bucket."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

from scs_jax.core import files
from scs_jax.data.remote import Place, is_remote, join, reaching, split


def as_path(path: str | os.PathLike) -> pathlib.Path | str:
  """Returns a path on a disk as one, ~ replaced; an address as text, since slashes count in it."""
  return os.fspath(path) if is_remote(path) else pathlib.Path(path).expanduser()


def inside(folder: str | os.PathLike, name: str) -> pathlib.Path | str:
  """Returns the path or address of a file in a folder, as `as_path` does."""
  return as_path(join(folder, name))


def write(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file, here or in a bucket, whole or not at all.

  Raises:
    BucketError: a bucket refuses. OSError: a disk does.
  """
  if not is_remote(path):
    files.write_aside(as_path(path), content)
    return
  place, name = split(path)
  with reaching(path):
    place.write(name, content)


def exists(path: str | os.PathLike) -> bool:
  """Tells whether there is a file or a folder, here or in a bucket. Raises BucketError."""
  with reaching(path):
    return Place(path).exists()


def is_file(path: str | os.PathLike) -> bool:
  """Tells whether there is a file of this path or address. Raises BucketError."""
  with reaching(path):
    return Place(path).is_file()


def mark(path: str | os.PathLike) -> list[int | str]:
  """Returns what changes with a file: its bytes, and its time or a store's own mark of content.

  Raises:
    OSError: it is not there.
  """
  return Place(path).mark()


@contextlib.contextmanager
def fetched(path: str) -> Iterator[str]:
  """Gives a file on this machine's disk while the context lasts: itself, or a copy of an object.

  Raises:
    OSError: an object cannot be read.
  """
  if not is_remote(path):
    yield path
    return
  with _copy(path) as (place, name, copy):
    place.get(name, copy)
    yield copy


@contextlib.contextmanager
def sending(path: str) -> Iterator[str]:
  """Gives the path to write a file under: itself, or of a copy that is sent when all went well.

  Raises:
    BucketError: it cannot be written.
  """
  if not is_remote(path):
    yield path
    return
  with _copy(path) as (place, name, copy):
    yield copy
    with reaching(path):
      place.put(copy, name)


@contextlib.contextmanager
def _copy(address: str) -> Iterator[tuple[Place, str, str]]:
  """Gives an object's folder and name, and the path of a copy, which goes with the context."""
  place, name = split(address)
  with tempfile.TemporaryDirectory(prefix="scs_jax-") as folder:
    yield place, name, os.path.join(folder, name)
