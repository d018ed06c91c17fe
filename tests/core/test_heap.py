"""Freed memory that stays with the process, in a process of its own."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from scs_jax.core import heap
assert not sys.argv[1:] or heap.keep_freed()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for turn in range(2):
  before, block = faults(), libc.malloc(2**26)
  ctypes.memset(block, 1, 2**26)
  libc.free(block)
print(faults() - before)
heap.give_back_freed()
before, block = faults(), libc.malloc(2**26)
ctypes.memset(block, 1, 2**26)
print(faults() - before)
"""


def _faults(*arguments):
  command = [sys.executable, "-c", PROGRAM, *arguments]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other heaps are left as they are")
def test_a_large_block_is_used_again_until_it_is_given_back():
  pages = 2**26 // 4096  # or fewer and larger ones, where the system is told to make them so
  asked_for_anew, _ = _faults()
  kept, given_back = _faults("keep")
  assert kept < asked_for_anew / 8 <= pages
  assert given_back > 8 * kept
