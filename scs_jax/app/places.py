"""Where the files of the people who use the page lie, and when they go."""

import contextlib
import hashlib
import os
import pathlib
import secrets
import shutil
import threading
from collections.abc import Iterable

from scs_jax.errors import UserError


class Places:
  """What belongs to a session: the files that its page sent, and the folders of its jobs.

  All goes when the session ends. A file that two sessions sent alike lies there once, and stays
  until both have ended.

  Args:
    root: the folder of it all.
  """

  def __init__(self, root: str | os.PathLike[str]):
    self._root = pathlib.Path(root)
    self._secret = secrets.token_bytes(16)
    self._lock = threading.Lock()
    self._uploads: dict[str, set[pathlib.Path]] = {}
    self._ended: set[str] = set()

  def hold(self, session: str, paths: Iterable[str]) -> None:
    """Takes down that a session sent these files."""
    with self._lock:
      self._uploads.setdefault(session, set()).update(map(pathlib.Path, paths))

  def folder(self, session: str, kind: str) -> pathlib.Path:
    """An empty folder for a job of a session, in place of those of its earlier jobs of the kind."""
    home = self._home(session)
    for earlier in home.glob(f"{kind}-*"):
      shutil.rmtree(earlier, ignore_errors=True)
    folder = home / f"{kind}-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    return folder

  def require(self, session: str) -> None:
    """Lets a job go on whose session has not ended; else deletes what it made since.

    Raises:
      UserError: it has ended.
    """
    if session in self._ended:
      shutil.rmtree(self._home(session), ignore_errors=True)
      raise UserError("the page was closed while its pictures were being coloured")

  def end(self, session: str) -> None:
    """Deletes what belongs to a session."""
    with self._lock:
      self._ended.add(session)
      own = self._uploads.pop(session, set())
      others = set().union(*self._uploads.values())
      for path in own - others:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another file lies in it
          path.parent.rmdir()
    shutil.rmtree(self._home(session), ignore_errors=True)

  def _home(self, session: str) -> pathlib.Path:
    """Of a name that nobody guesses: the browser chose the session's, and fetches files by path."""
    digest = hashlib.blake2b(session.encode(), key=self._secret, digest_size=16)
    return self._root / f"session-{digest.hexdigest()}"


def gather(paths: Iterable[str], folder: pathlib.Path) -> list[str]:
  """Links files into one folder, which is made, under names of their own.

  Of several files of one name, as telephones send them, the later ones get a number: "image.jpg",
  "image (2).jpg".

  Returns:
    the new paths, in order.
  """
  folder.mkdir(parents=True)
  taken: set[str] = set()
  found = []
  for path in map(pathlib.Path, paths):
    name, number = path.name, 1
    while name.casefold() in taken:
      number += 1
      name = f"{path.stem} ({number}){path.suffix}"
    taken.add(name.casefold())
    try:
      os.link(path, folder / name)
    except OSError:  # no such links on this file system
      shutil.copyfile(path, folder / name)
    found.append(str(folder / name))
  return found
