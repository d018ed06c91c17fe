"""The C library's heap, told to keep what is freed for what is asked for next.

XLA asks for a program's results and temporaries anew at each call. Above 32 MiB glibc maps them
into the process and gives them back when they are freed, so the system fills each call's pages with
zeros once more: on the machine of benchmarks/results/torch_twins_cpu.md five times as long as an
addition over them takes. Other C libraries and systems are left as they are.
"""

import contextlib
import ctypes
import functools

# mallopt's numbers for these options, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_KEPT = 2**31 - 1  # bytes at the heap's end that may stay free: the most that the option takes


@functools.cache
def _glibc() -> ctypes.CDLL | None:
  with contextlib.suppress(OSError, TypeError):
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
      return library
  return None


def keep_freed() -> bool:
  """Keeps freed memory, at most 2 GiB of it at the heap's end, in this process from now on.

  Call it before threads begin, as each would have a heap of its own that large blocks are not part
  of. Returns whether the C library took it.
  """
  library = _glibc()
  if library is None:
    return False
  options = {_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: _KEPT}
  return all([library.mallopt(option, value) for option, value in options.items()])


def give_back_freed() -> None:
  """Gives all free memory back to the system, so that what it says to be free is all there is."""
  library = _glibc()
  if library is not None:
    library.malloc_trim(ctypes.c_size_t(0))
