"""One training at a time in a run's folder."""

import contextlib
import fcntl
import os
import pathlib
import platform
import time
from collections.abc import Iterator
from typing import IO

from scs_jax.errors import UserError
from scs_jax.training import distributed

NAME = ".lock"


@contextlib.contextmanager
def held(folder: pathlib.Path) -> Iterator[None]:
  """Keeps other trainings out of a run's folder while the context lasts.

  The lock is the operating system's on an open file: that of a run that was killed is gone with
  it, whatever lies in the folder. The first process of several takes it for all of them. A file
  system without such locks, or without room, keeps nobody out; on one that several machines mount,
  whether a lock is seen on all of them is up to it.

  Raises:
    UserError: another training holds it, in all processes.
  """
  with contextlib.ExitStack() as stack:
    if holder := distributed.from_first(lambda: _take(folder, stack)):
      raise UserError(
        f"{folder} is in use by another training ({holder}): two would mix their metrics and "
        "checkpoints; wait for that one to end, stop it, or choose another --workdir"
      )
    yield


def _take(folder: pathlib.Path, stack: contextlib.ExitStack) -> str | None:
  """Takes the lock until the stack is closed; or returns who has it."""
  path = folder / NAME
  try:
    folder.mkdir(parents=True, exist_ok=True)
    while True:
      file = stack.enter_context(path.open("a+", encoding="utf-8", errors="replace"))
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      if _is_at(file, path):
        break
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(f"process {os.getpid()} on {platform.node()}, since {since}")
    file.flush()
    stack.callback(path.unlink, missing_ok=True)
  except BlockingIOError:
    file.seek(0)
    return file.read(200).strip() or "it has just begun"
  except OSError:
    pass  # who writes into the folder next says what is wrong with it
  return None


def _is_at(file: IO, path: pathlib.Path) -> bool:
  """Tells whether the open file still has its name, which a run takes away at its end."""
  try:
    return os.path.samestat(os.fstat(file.fileno()), path.stat())
  except FileNotFoundError:
    return False
