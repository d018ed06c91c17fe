"""Compiled programs that stay for the next command, in the user's cache folder.

JAX keeps them (its persistent compilation cache). A program is found again by what it computes, the
version of jaxlib, the device and XLA's flags, and lies in a folder of the kind and number of
processors that it is for, so none is used where it does not belong. Processes read and write in
turn, under a lock; where the folder is full, what was unused for longest goes.
Here is decided where, how much, and what happens when the folder is at fault: a remark, no more.
What colours pictures keeps its programs in there too, whole (kept.py, infer/kept_programs.py).

jax must not be imported before `keep`, which sets what it reads when it is.
"""

import contextlib
import glob
import hashlib
import os
import pathlib
import platform
import re
import sys
import time
import warnings
from collections.abc import Iterable, Mapping, MutableMapping

from scs_jax.core import cache, kept

MOST_BYTES = 512 * 2**20 - kept.MOST_BYTES
"""The folder's bound, without what `kept` has in a folder of its own in there."""

_LEAST_SECONDS = "0.1"  # to compile what is worth a file
_UNFINISHED_SECONDS = 60.0  # after which nobody is still writing the rest of an entry
_FAILED = re.compile(
  r"Error (reading|writing) persistent compilation cache entry for '([^']*)': (\w+)(.*)", re.DOTALL
)
_UNREACHABLE = ("OSError", "PermissionError", "Timeout")  # say nothing of what an entry holds


def keep(on: bool = True, environment: MutableMapping[str, str] = os.environ) -> None:
  """Lets JAX keep compiled programs, unless `on` is false or the environment says otherwise.

  A folder that the user has given JAX (JAX_COMPILATION_CACHE_DIR, even an empty one) stays as it
  is, with all that JAX's other variables say. A folder that cannot be written is done without.

  Args:
    on: False, as of `--no-compile-cache`, changes nothing.
    environment: what JAX will read; processes that are started later inherit it.
  """
  asked = environment.get(cache.VARIABLE, "")
  if not on or asked.lower() == "off" or "JAX_COMPILATION_CACHE_DIR" in environment:
    return
  try:
    folder = cache.folder(environment) / "compiled" / _processors(environment)
    # What lies there is executed: nobody else is to write it.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
      raise PermissionError(f"cannot be written: {folder}")
    if _is_open_to_others(folder):
      raise PermissionError(f"others may write there; remove it or name another folder: {folder}")
    remove_unfinished(folder.glob("*-cache"))
    kept.open_folder(folder / "kept")
  except OSError as error:
    if asked:
      _say(f"{cache.VARIABLE}: no compiled programs are kept ({error})")
    return
  environment["JAX_COMPILATION_CACHE_DIR"] = str(folder)
  environment.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MOST_BYTES))
  environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", _LEAST_SECONDS)
  # What XLA would write into the folder by itself is not counted in its bound.
  environment.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")
  _mend(folder)


def _is_open_to_others(folder: pathlib.Path) -> bool:
  about = folder.stat()
  return hasattr(os, "getuid") and (about.st_uid != os.getuid() or bool(about.st_mode & 0o022))


def _processors(environment: Mapping[str, str]) -> str:
  """Names what programs for CPUs are compiled for: a home may be shared by unlike machines.

  Of how many processors a process may use, XLA makes as many parts of a program's loops.
  """
  try:
    count = len(os.sched_getaffinity(0))
  except AttributeError:  # macOS and Windows
    count = os.cpu_count()
  about = f"{platform.machine()} {environment.get('NPROC') or count} "
  with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
    about += next((line for line in lines if line.startswith(("flags", "Features"))), "")
  return hashlib.sha256(about.encode()).hexdigest()[:8]


def remove_unfinished(entries: Iterable[pathlib.Path], after: float = _UNFINISHED_SECONDS) -> None:
  """Removes entries whose process was killed while it wrote them.

  JAX writes `NAME-cache`, then `NAME-atime`. Without the second it could read half a program, and
  could not make room any more.

  Args:
    entries: files `NAME-cache`.
    after: seconds since they were last written; younger ones may be in the making.
  """
  for entry in entries:
    with contextlib.suppress(OSError):  # another process may be tidying too
      finished = entry.with_name(entry.name.removesuffix("cache") + "atime").exists()
      if not finished and time.time() - entry.stat().st_mtime >= after:
        entry.unlink()


def _mend(folder: pathlib.Path) -> None:
  """Turns JAX's warnings about the folder into one remark, and takes out what is damaged.

  JAX compiles what it cannot read, but would leave the damaged entry there and fail again.
  """
  show, said = warnings.showwarning, False

  def mend(message, *about, **more) -> None:
    nonlocal said
    found = _FAILED.match(str(message))
    if found is None:
      return show(message, *about, **more)
    action, program, kind, rest = found.groups()
    entries = list(folder.glob(f"{glob.escape(program)}-*"))
    if action == "writing":
      remove_unfinished(entries, after=0.0)
    elif kind not in _UNREACHABLE:
      for entry in entries:
        with contextlib.suppress(OSError):
          entry.unlink()
    if not said:
      said = True
      cause = " ".join(f"{kind}{rest}".split())[:160]
      _say(f"a compiled program in {folder} could not be {_DONE[action]} ({cause}); going on")
    return None

  warnings.showwarning = mend


_DONE = {"reading": "read, and is made anew", "writing": "written"}


def _say(line: str) -> None:
  print(f"scs-jax: {line}", file=sys.stderr)
