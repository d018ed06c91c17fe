"""Files that are written whole or not at all, and folders to write them in."""

import os
import pathlib

from scs_jax.errors import UserError


def write_aside(path: str | os.PathLike, content: bytes) -> None:
  """Writes a file whole or not at all: under another name first, then renamed.

  Raises:
    OSError: naming the file; what was at `path` before is as it was.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  stem = os.fsdecode(os.fsencode(path.name)[:200])  # a name holds 255 bytes at most
  aside = path.with_name(f".{stem}.partial")
  try:
    aside.write_bytes(content)
    os.replace(aside, path)
  except BaseException as error:  # an interrupt leaves nothing behind either
    aside.unlink(missing_ok=True)
    if isinstance(error, OSError):
      error.filename = str(path)  # a failed write names none
    raise


def require_workdir(workdir: str | os.PathLike[str], name: str = "workdir") -> None:
  """Refuses an empty path of a run's folder, which errors call `name`. Raises UserError."""
  if not os.fspath(workdir):  # as of an unset variable; a path would take it for the current folder
    raise UserError(f"{name} is empty: expected the run's folder")
