"""How a process of several ends: told to, by its own error, or because another one is gone.

A process that dies is missed (heartbeat.py), often sooner by the next exchange over the network,
and the others end: a collective that one does not take part in never returns. All are then started
again, and a training goes on from the last checkpoint.
"""

import contextlib
import ctypes
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator

import jax

from scs_jax.core import failures, stop
from scs_jax.errors import UserError
from scs_jax.training import distributed, heartbeat

# Parts of the messages with which jax, gloo and NCCL say that another process is not there.
_GONE = ("gloo", "nccl", "heartbeat", "coordination", "unavailable", "connection reset",
         "connection closed", "socket closed", "preempted")  # fmt: skip
_STATUS = re.compile("[A-Z_]{5,}: ")  # "UNAVAILABLE: ...", as XLA's errors begin


@contextlib.contextmanager
def ending_together(
  explain: Callable[[BaseException], str | None], advice: str = heartbeat.ADVICE
) -> Iterator[None]:
  """Ends a process of several that fails at once, so that the others notice.

  Left to itself it would wait at its exit for the others, which wait for it. What it says is
  `explain`'s line for the exception, or its traceback. Exit code 2 for what a user can mend, a lost
  process included, 1 for a bug, 130 for Ctrl-C, and that of a SystemExit. Where a training's loop
  ended by Ctrl-C, which all processes know of, it ends as a program does.

  Args:
    explain: see failures.explain.
    advice: what a user is to do where another process is gone.
  """
  _explain_abort(advice)
  beats = heartbeat.Heartbeat(
    distributed.client(), jax.process_index(), jax.process_count(), heartbeat.end, advice=advice
  )
  try:
    yield
    beats.stop()
  except stop.SavedInterrupt:
    beats.stop()
    raise
  except BaseException as error:
    code = 1
    try:
      line = lost(error, advice) or explain(error)
      if isinstance(error, KeyboardInterrupt | SystemExit):  # who raised the latter has said why
        line, code = "it was stopped", getattr(error, "code", 130) or 0
        if isinstance(error, KeyboardInterrupt):
          print("scs-jax: interrupted", file=sys.stderr)
      elif line is None:
        line = f"a bug, {type(error).__name__}"
        sys.excepthook(type(error), error, error.__traceback__)
      else:
        code = 2
        print(f"scs-jax: error: {line}", file=sys.stderr)
      sys.stdout.flush()
      sys.stderr.flush()
      beats.leave(line)
    finally:  # also where a second Ctrl-C comes, or nobody reads what is said
      os._exit(code)


class FailedAlone(UserError):
  """A process failed where others went on, and may wait for it inside a collective."""


@contextlib.contextmanager
def failing_alike(patience: float = 120) -> Iterator[None]:
  """Lets all processes go on together after an error that all of them had.

  Around work in which they wait for each other, as a training. `patience` is how long the first to
  fail waits for the others, in seconds.

  Raises:
    Exception: what was raised inside, where all failed.
    FailedAlone: this one failed and others did not.
  """
  try:
    yield
  except Exception as error:
    if jax.process_count() > 1:
      if line := lost(error):
        raise FailedAlone(line) from error
      try:
        distributed.meet(patience, "failed")
      except jax.errors.JaxRuntimeError:
        raise FailedAlone(failures.describe(error)) from error
    raise


def _explain_abort(advice: str) -> None:
  """Explains the last line where JAX ends this process because the first one is gone.

  It aborts from a thread of its own with a stack trace, and no exception. (The callback that its
  client takes for this cannot be called from Python: its argument has no conversion.)
  """
  line = (
    f"scs-jax: error: process {jax.process_index()} of {jax.process_count()} was ended by JAX, "
    f"most likely since process 0 is gone (see above); {advice}\n"
  ).encode()

  def last_word(signum: int) -> None:
    os.write(2, line)
    os._exit(2)

  global _handler
  _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(last_word)
  # Python's own handlers run in the main thread, which may be waiting for a collective.
  ctypes.CDLL(None).signal(int(signal.SIGABRT), _handler)


_handler = None  # kept for as long as it may be called


def lost(error: BaseException, advice: str = heartbeat.ADVICE) -> str | None:
  """Writes a line for an exception that comes of another process's end; None for others."""
  link: BaseException | None = error
  while link is not None:
    text = str(link)
    # A step's errors are JaxRuntimeErrors, those of waiting for its results ValueErrors.
    raised = isinstance(link, jax.errors.JaxRuntimeError) or _STATUS.match(text)
    if raised and any(w in text.lower() for w in _GONE):
      first = text.strip().splitlines()[0][:200]
      return (
        f"process {jax.process_index()} of {jax.process_count()} lost another process of the run "
        f"({first}); {advice}"
      )
    link = link.__cause__ or link.__context__
  return None
