"""Folders here or in a bucket (gs://, s3://, ...): one way to list, read and write them.

fsspec does the work: what etils.epath, and so orbax's checkpoints, reads buckets through. It is
asked itself, since a path's interface has neither a listing with sizes nor a read of a part of a
file; and so no TensorFlow is looked for.
"""

import contextlib
import difflib
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterator, Sequence

from scs_jax.errors import UserError

# What fsspec needs besides, by the address's scheme.
_DRIVERS = {
  "gs": "gcsfs",
  "gcs": "gcsfs",
  "s3": "s3fs",
  "s3a": "s3fs",
  "az": "adlfs",
  "abfs": "adlfs",
  "hf": "huggingface_hub",
}


class BucketError(UserError):
  """Says that a bucket cannot be read or written: what that may be mended by concerns all of it."""


def is_remote(path: str | os.PathLike) -> bool:
  """Tells whether a path is an address such as gs://bucket/folder."""
  return "://" in os.fspath(path)


def join(root: str | os.PathLike, name: str) -> str:
  """Returns the full path or address of a file in a folder."""
  root = os.fspath(root)
  return f"{root.rstrip('/')}/{name}" if is_remote(root) else os.path.join(root, name)


def split(path: str | os.PathLike) -> tuple["Place", str]:
  """Returns (the folder in which a file is, its name).

  Raises:
    UserError: an address without a name in a bucket; as Place.
  """
  path = os.fspath(path)
  if not is_remote(path):
    folder, name = os.path.split(path)
    return Place(folder or "."), name
  folder, _, name = path.rpartition("/")
  if not (name and is_remote(folder)):
    raise UserError(f"{path}: expected a file's address, as {path.partition(':')[0]}://bucket/name")
  return Place(folder), name


def require_free(paths: Sequence[str], overwrite: bool) -> None:
  """Refuses, before work, files that cannot be written, of one folder, here or in a bucket.

  Raises:
    UserError: no such folder, or one of them is there and is not to be replaced.
  """
  place, _ = split(paths[0])
  try:
    if not place.remote and not place.exists():
      raise UserError(f"no folder {place.root} for the list; make it, or give another --out")
    there = [path for path in paths if place.exists(split(path)[1])]
  except OSError as error:
    raise UserError(f"cannot look into {place.root} ({error}); check the address") from error
  if there and not overwrite:
    raise UserError(f"{', '.join(there)}: there already; give another --out, or --overwrite")


@contextlib.contextmanager
def reaching(where: str | os.PathLike) -> Iterator[None]:
  """Turns what a store or its driver raises into one line; a disk's errors stay.

  Raises:
    BucketError: naming the address, with the cause and what to do.
  """
  try:
    yield
  except OSError as error:
    if not is_remote(where):
      raise
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    raise BucketError(
      f"cannot read or write {os.fspath(where)} ({reason}); check the address, your login and what "
      "it may do, and run the same command again"
    ) from error


class Place:
  """A folder, local or remote. Survives pickling; calls from many threads are safe.

  Attributes:
    root: its path or address, as text.
    remote: whether it is an address.

  Raises:
    UserError: an address whose scheme is unknown, or needs a package that is not installed.
  """

  def __init__(self, root: str | os.PathLike):
    self.remote = is_remote(root)
    self.root = os.fspath(root) if self.remote else os.path.expanduser(os.fspath(root))
    if self.remote:
      self._files, self._path = _file_system(self.root)

  def full(self, name: str) -> str:
    """Returns the path or address of a file inside."""
    return join(self.root, name)

  def make(self) -> None:
    """Makes the folder; in a bucket, which has none, tries whether it can be written to.

    Raises:
      BucketError: it cannot. OSError: a disk refuses.
    """
    if not self.remote:
      os.makedirs(self.root, exist_ok=True)
      return
    with reaching(self.root):
      name = f".try-{secrets.token_hex(8)}"
      self.write(name, b"")
      self.remove(name)

  def read(self, name: str, count: int | None = None) -> bytes:
    """Reads a file, or its first `count` bytes. Raises OSError, whatever a driver raises."""
    if self.remote:
      with as_os_errors(self.full(name)):
        return self._files.cat_file(f"{self._path}/{name}", start=0, end=count)
    with open(self.full(name), "rb") as file:
      return file.read(-1 if count is None else count)

  def write(self, name: str, content: bytes) -> None:
    """Writes a file whole or not at all (an object of a bucket appears when it is complete)."""
    if self.remote:
      with as_os_errors(self.full(name)):
        self._files.pipe_file(f"{self._path}/{name}", content)
      return
    path = pathlib.Path(self.full(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".aside-{secrets.token_hex(8)}")
    try:
      # Not tempfile's: its files are for one user alone, and other hosts' users read these.
      with open(aside, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
      os.replace(aside, path)
    except BaseException as error:
      aside.unlink(missing_ok=True)
      if isinstance(error, OSError):
        error.filename = str(path)  # a failed write names none
      raise

  def fetch(self, name: str, path: str | os.PathLike) -> None:
    """Copies a file of a remote folder to a local path."""
    with as_os_errors(self.full(name)):
      self._files.get_file(f"{self._path}/{name}", os.fspath(path))

  def take(self, path: str | os.PathLike, name: str) -> None:
    """Moves a finished local file here, under a name; on one disk that is a renaming."""
    if not self.remote:
      os.replace(path, self.full(name))
      return
    self.put(path, name)
    os.unlink(path)

  def put(self, path: str | os.PathLike, name: str) -> None:
    """Copies a finished local file to a remote place, under a name, piece by piece."""
    with as_os_errors(self.full(name)):
      self._files.put_file(os.fspath(path), f"{self._path}/{name}")

  def get(self, name: str, path: str | os.PathLike) -> None:
    """Copies a file of a remote place to a local path, whose folder is made, piece by piece."""
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    with as_os_errors(self.full(name)):
      self._files.get_file(f"{self._path}/{name}", os.fspath(path))

  def exists(self, name: str = "") -> bool:
    """Tells whether there is a file, or the folder itself."""
    if not self.remote:
      return os.path.exists(self.full(name) if name else self.root)
    with as_os_errors(self.full(name)):
      return self._files.exists(f"{self._path}/{name}" if name else self._path)

  def is_file(self) -> bool:
    """Tells whether the path or address is a file's."""
    if not self.remote:
      return os.path.isfile(self.root)
    with as_os_errors(self.root):
      return self._files.isfile(self._path)

  def mark(self) -> list[int | str]:
    """Returns [bytes, time in ns] of a file, or [bytes, mark of its content] in a bucket."""
    if not self.remote:
      about = os.stat(self.root)
      return [about.st_size, about.st_mtime_ns]
    with as_os_errors(self.root):
      return _mark(self._files.info(self._path))

  def marks(self) -> dict[str, list[int | str]]:
    """Lists {path relative to the folder: mark} of all files below a folder of a bucket."""
    return {name: _mark(about) for name, about in self._below().items()}

  def sizes(self) -> dict[str, tuple[int, int]]:
    """Lists {path relative to the folder: (bytes, time in ns)} of all files below a remote folder.

    Those of local folders are read by sources.py, which minds links.
    """
    return {
      name: (int(about.get("size") or 0), _nanoseconds(about.get("mtime")))
      for name, about in self._below().items()
    }

  def _below(self) -> dict[str, dict]:
    """Lists {path relative to the folder: what the driver says} of all files below.

    Stores' own pages keep a folder that is empty as an object whose name ends in a slash.
    """
    with as_os_errors(self.root):
      self._files.invalidate_cache()  # others write there too
      found = self._files.find(self._path, detail=True)
    start = len(self._path.rstrip("/")) + 1
    return {
      path[start:]: about
      for path, about in found.items()
      if about.get("type") == "file" and len(path) > start and not path.endswith("/")
    }

  def names(self, folder: str = "") -> list[str]:
    """Lists what stands directly in the folder, or in one inside; none where it is not there."""
    if not self.remote:
      path = os.path.join(self.root, folder)
      return sorted(os.listdir(path)) if os.path.isdir(path) else []
    path = f"{self._path}/{folder}" if folder else self._path
    with as_os_errors(self.root):
      try:
        found = self._files.ls(path, detail=False, refresh=True)
      except FileNotFoundError:
        return []
    return sorted(name.rstrip("/").rpartition("/")[2] for name in found)

  def remove(self, name: str) -> None:
    """Removes a folder inside with all that it holds, or a remote file, where there is one."""
    if not self.remote:
      shutil.rmtree(self.full(name), ignore_errors=True)
      return
    with as_os_errors(self.full(name)), contextlib.suppress(FileNotFoundError):
      self._files.rm(f"{self._path}/{name}", recursive=True)


@contextlib.contextmanager
def as_os_errors(where: str) -> Iterator[None]:
  """Turns whatever a driver raises into an OSError that names the place; OSErrors stay."""
  try:
    yield
  except (OSError, UserError, MemoryError):
    raise
  except Exception as error:  # each driver has its own: credentials, network, timeouts
    message = " ".join(str(error).split()) or type(error).__name__
    raise OSError(f"{where}: {message}") from error


def _file_system(url: str):
  """Returns (fsspec's file system, path inside it)."""
  import fsspec  # not for files of this machine alone: it takes a tenth of a second

  scheme = url.partition("://")[0].lower()
  try:
    files, path = fsspec.core.url_to_fs(url)
  except ValueError as error:
    near = difflib.get_close_matches(scheme, list(_DRIVERS), n=1, cutoff=0.3)
    hint = f"did you mean {near[0]}://?" if near else "expected such as gs:// or s3://"
    raise UserError(f"cannot read {url}: unknown scheme {scheme}://; {hint}") from error
  except ImportError as error:
    package = _DRIVERS.get(scheme)
    advice = f"run pip install {package}" if package else " ".join(str(error).split())
    raise UserError(
      f"cannot read {url}: {scheme}:// needs {package or 'a package'}, which is not installed; "
      f"{advice}, or give a local copy"
    ) from error
  except Exception as error:  # a driver that looks for credentials at once
    message = " ".join(str(error).split())
    raise UserError(f"cannot reach {url} ({message}); check the address and your login") from error
  return files, path.rstrip("/")


def _mark(about: dict) -> list[int | str]:
  """Returns [bytes, mark of the content]; stores name it as they like, and some have none."""
  marks = (about.get(name) for name in ("ETag", "etag", "generation", "LastModified"))
  return [int(about.get("size") or 0), str(next(filter(None, marks), ""))]


def _nanoseconds(time) -> int:
  """Returns a driver's time of last change, where it gives one as a number."""
  return int(time * 1e9) if isinstance(time, (int, float)) else 0
