"""How a process of several ends: told to, by its own error, or because another one is gone."""

import os
import pathlib
import socket
import subprocess
import sys

import jax
import pytest

from scs_jax.errors import UserError
from scs_jax.training import ending

ROOT = pathlib.Path(__file__).resolve().parents[2]
_PROCESSES = """
import os, signal, sys, threading, time
from scs_jax.training import distributed, ending
from scs_jax.core import stop
from scs_jax.errors import UserError

def process(how, port):
  with stop.raising_flag() as stopped:
    distributed.start(f"127.0.0.1:{port}", 1, 0)
    with ending.ending_together(lambda e: str(e) if isinstance(e, UserError) else None):
      if how == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.3)
        print("stopped" if stopped else "not told")
      elif how == "abort":
        threading.Thread(target=os.abort).start()
        time.sleep(60)
      elif how == "interrupt":
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(60)
        distributed.count, distributed.is_first = lambda: 2, lambda: False
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        distributed.from_first(list)  # the first never comes
      else:
        raise UserError("a slip") if how == "slip" else KeyError("a bug")

for argument in sys.argv[1:]:  # the fork spares starts of Python
  how, port = argument.split(":")
  pid = os.fork()
  if not pid:
    for number, end in ((1, "out"), (2, "err")):
      os.dup2(os.open(f"{how}.{end}", os.O_WRONLY | os.O_CREAT), number)
    process(how, port)
    sys.exit(0)
  print(how, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
  """{how a process of its own ends: (exit code, what it printed, its lines of errors)}."""
  folder = tmp_path_factory.mktemp("ended")
  arguments = []
  for how in ("SIGTERM", "slip", "bug", "abort", "interrupt"):
    with socket.socket() as probe:
      probe.bind(("127.0.0.1", 0))
      arguments.append(f"{how}:{probe.getsockname()[1]}")
  environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
  done = subprocess.run(
    [sys.executable, "-c", _PROCESSES, *arguments],
    cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, timeout=300, check=True,
  )  # fmt: skip
  codes = dict(line.split() for line in done.stdout.splitlines())
  read = lambda name: (folder / name).read_text()
  return {
    how: (int(code), read(f"{how}.out"), read(f"{how}.err").splitlines())
    for how, code in codes.items()
  }


def test_sigterm_reaches_us_and_not_jax(ended):
  """JAX's preemption service takes the signal over unless it is switched off."""
  assert ended["SIGTERM"][:2] == (0, "stopped\n"), ended["SIGTERM"]


@pytest.mark.parametrize(
  ("how", "code", "line"),
  [
    ("slip", 2, "scs-jax: error: a slip"),
    ("bug", 1, "KeyError: 'a bug'"),
    ("interrupt", 130, "scs-jax: interrupted"),
    ("abort", 2, "scs-jax: error: process 0 of 1 was ended by JAX, most likely since process 0 is "
     "gone (see above); start all processes again: the run goes on from its last checkpoint"),
  ],
)  # fmt: skip
def test_the_last_line_says_why_it_ended(ended, how, code, line):
  assert (ended[how][0], ended[how][2][-1]) == (code, line)


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
    line = ending.lost(found)
    assert (line is not None) == lost
    assert not lost or line.startswith("process 0 of 1 lost another process of the run (")
