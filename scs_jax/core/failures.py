"""Explains what went wrong in one line that says what to do, unless it is a bug."""

import errno
import select
import sys
from collections.abc import Iterator

from scs_jax.errors import UserError

_FULL = "the disk is full{where}; free some space, or write to another folder"
_ADVICE = {
  errno.ENOSPC: _FULL,
  errno.EDQUOT: "the disk quota is used up{where}; free some space, or write to another folder",
  errno.EACCES: "no permission{where}; change the permissions, or choose another path",
  errno.EPERM: "not permitted{where}; change the permissions, or choose another path",
  errno.EROFS: "read-only file system{where}; write to another folder",
  errno.ENOENT: "no such file or folder{where}; check the path",
  errno.ENOTDIR: "a file stands where a folder is expected{where}; choose another path",
  errno.EISDIR: "a folder stands where a file is expected{where}; choose another path",
  errno.EEXIST: "it exists already{where}; remove it, or choose another path",
  errno.ENOTEMPTY: "the folder is not empty{where}; remove it, or choose another path",
  errno.ENAMETOOLONG: "the file name is too long{where}; choose a shorter one",
  errno.EMFILE: "too many open files{where}; raise the limit (`ulimit -n`), or lower "
  "--config.data.threads and --config.data.workers",
  errno.EIO: "the device failed to read or write{where}; check the disk",
}
# Libraries raise some of these by class alone, without a number.
_BY_CLASS = (
  (FileNotFoundError, errno.ENOENT),
  (PermissionError, errno.EACCES),
  (NotADirectoryError, errno.ENOTDIR),
  (IsADirectoryError, errno.EISDIR),
  (FileExistsError, errno.EEXIST),
)


def _chain(error: BaseException) -> Iterator[BaseException]:
  """Lists the error, then what caused it, to the root."""
  seen: set[int] = set()
  step: BaseException | None = error
  while step is not None and id(step) not in seen:
    seen.add(id(step))
    yield step
    step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)


def _explain_os(error: OSError) -> str | None:
  number = error.errno
  if number is None:
    number = next((n for kind, n in _BY_CLASS if isinstance(error, kind)), None)
  if number not in _ADVICE:
    return None
  where = f": {error.filename}" if error.filename else ""
  if not where and error.errno is None and str(error):
    where = f" ({error})"
  return _ADVICE[number].format(where=where)


def explain(error: BaseException) -> str | None:
  """Says in one line what a user can mend: a UserError, a path, a disk, memory; None for a bug.

  Array and checkpoint libraries report a full disk and a full memory in words only.
  """
  if isinstance(error, UserError):
    return " ".join(str(error).split())
  if isinstance(error, OSError):
    return _explain_os(error)
  for step in _chain(error):
    if isinstance(step, OSError) and step.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
      return _explain_os(step)
    if "No space left on device" in str(step):
      return _FULL.format(where="")
  if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
    return (
      "out of memory; lower --config.batch_size or the picture size, or use a device with more "
      "(--debug shows where)"
    )
  return None


def describe(error: BaseException) -> str:
  """Says in one line what went wrong, a bug too."""
  return explain(error) or f"a bug, {type(error).__name__}: {error}; please report it"


def output_is_gone() -> bool:
  """Tells whether the reader of our standard output went away, as `| head` does.

  Asked of the system, since a stream forgets what it failed to write; a broken pipe to anything
  else (a data worker, say) is no such case.
  """
  try:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
  except (AttributeError, OSError, ValueError):  # no poll on this system, or no real stdout
    return False
