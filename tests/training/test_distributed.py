"""How a process of several ends: told to, by its own error, or because another one is gone."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import pytest

from scs_jax.errors import UserError
from scs_jax.training import distributed

ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROCESS = """
import os, signal, sys, threading, time
from scs_jax.training import distributed
from scs_jax.core import stop
from scs_jax.errors import UserError
how, port = sys.argv[1:]
with stop.raising_flag() as stopped:
  distributed.start(f"127.0.0.1:{port}", 1, 0)
  with distributed.ending_together(lambda e: str(e) if isinstance(e, UserError) else None):
    if how == "SIGTERM":
      os.kill(os.getpid(), signal.SIGTERM)
      time.sleep(0.3)
      print("stopped" if stopped else "not told")
    elif how == "abort":
      threading.Thread(target=os.abort).start()
      time.sleep(60)
    else:
      raise UserError("a slip") if how == "slip" else KeyError("a bug")
"""


def run(how):
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
  return subprocess.run(
    [sys.executable, "-c", _PROCESS, how, str(port)],
    env=environment, capture_output=True, text=True, timeout=120,
  )  # fmt: skip


def test_sigterm_reaches_us_and_not_jax():
  """JAX's preemption service takes the signal over unless it is switched off."""
  done = run("SIGTERM")
  assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


@pytest.mark.parametrize(
  ("how", "code", "line"),
  [
    ("slip", 2, "scs-jax: error: a slip"),
    ("bug", 1, "KeyError: 'a bug'"),
    ("abort", 2, "scs-jax: error: process 0 of 1 was ended by JAX, most likely since process 0 is "
     "gone (see above); start all processes again: the run goes on from its last checkpoint"),
  ],
)  # fmt: skip
def test_the_last_line_says_why_it_ended(how, code, line):
  done = run(how)
  assert done.returncode == code
  assert done.stderr.splitlines()[-1] == line


@pytest.mark.parametrize(
  ("error", "lost"),
  [
    (jax.errors.JaxRuntimeError("Gloo all-reduce failed: Connection reset by peer"), True),
    (ValueError("UNKNOWN: Gloo all-reduce failed: Connection reset by peer"), True),
    (RuntimeError("UNAVAILABLE: Socket closed"), True),
    (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), False),
    (UserError("the bucket is unavailable"), False),
    (ValueError("INVALID_ARGUMENT: shapes"), False),
  ],
)
def test_errors_that_come_of_another_process(error, lost):
  wrapper = RuntimeError("while a step was under way")
  wrapper.__cause__ = error
  for found in (error, wrapper):
    line = distributed._lost(found)
    assert (line is not None) == lost
    assert not lost or line.startswith("process 0 of 1 lost another process of the run (")
