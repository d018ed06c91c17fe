"""Several processes as one run: how they find each other, agree, and notice that one is gone.

The processes meet at a coordinator, which the first of them is. A process that dies is missed
(heartbeat.py), often sooner by the next exchange over the network, and the others end: a collective
that one does not take part in never returns. All are then started again, and go on from the last
checkpoint.
"""

import contextlib
import ctypes
import itertools
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax

from scs_jax.errors import UserError
from scs_jax.training import heartbeat

_JAX_HEARTBEAT = 90
"""Seconds of silence after which JAX aborts the other processes, should ours not end them."""
_FOREVER = 7 * 24 * 3600 * 1000  # ms; a process that died ends the wait sooner
_COUNT = itertools.count()  # the same in all processes, which call these in the same order
# Parts of the messages with which jax, gloo and NCCL say that another process is not there.
_GONE = ("gloo", "nccl", "heartbeat", "coordination", "unavailable", "connection reset",
         "connection closed", "socket closed", "preempted")  # fmt: skip
_STATUS = re.compile("[A-Z_]{5,}: ")  # "UNAVAILABLE: ...", as XLA's errors begin


def start(
  coordinator: str | None,
  processes: int | None,
  process: int | None,
  patience: int = 300,
) -> None:
  """Joins the other processes; before any device is used.

  Args:
    coordinator: HOST:PORT of the first process; None: all is found out from the cluster (TPU pods,
      SLURM, Open MPI).
    processes, process: how many there are, and which this one is, from 0.
    patience: seconds to wait for all to come.

  Raises:
    UserError: arguments that do not fit together; no cluster; others that did not come.
  """
  given = {"--coordinator": coordinator, "--num-processes": processes, "--process-id": process}
  missing = [flag for flag, value in given.items() if value is None]
  if 0 < len(missing) < len(given):
    there = [flag for flag in given if flag not in missing]
    raise UserError(f"{' and '.join(there)} given without {' and '.join(missing)}; give all three")
  if not missing and not 0 <= process < processes:
    raise UserError(
      f"--process-id is {process}; expected 0 to {processes - 1} of --num-processes {processes}"
    )
  if coordinator is not None and not coordinator.rpartition(":")[2].isdigit():
    raise UserError(f"--coordinator is {coordinator!r}; expected HOST:PORT, as 10.0.0.1:8476")
  # JAX's own watch for SIGTERM would take the signal from ours (stop.py), and tell nobody.
  jax.config.update("jax_enable_preemption_service", False)
  try:
    jax.distributed.initialize(
      coordinator,
      processes,
      process,
      initialization_timeout=patience,
      heartbeat_timeout_seconds=_JAX_HEARTBEAT,
      # A process that ended well waits so long for the others to end too.
      shutdown_timeout_seconds=patience,
    )
  except (ValueError, RuntimeError) as error:
    text = str(error).strip().splitlines()[0][:300]
    if coordinator is None:
      raise UserError(
        f"no cluster that can be asked for its processes ({text}); give --coordinator HOST:PORT, "
        "--num-processes N and --process-id I"
      ) from error
    raise UserError(
      f"process {process} of {processes} did not meet the others at {coordinator} within "
      f"{patience} s ({text}); check the address, and that all were started"
    ) from error


def is_first() -> bool:
  """Tells whether this process writes what is written once: logs, panels, the config."""
  return jax.process_index() == 0


def from_first(function: Callable[[], Any]) -> Any:
  """Calls the function in the first process alone; returns its JSON value in all of them."""
  if jax.process_count() == 1:
    return function()
  name = f"from_first_{next(_COUNT)}"
  if is_first():
    _client().key_value_set(name, json.dumps(function()))
  return json.loads(_client().blocking_key_value_get(name, _FOREVER))


def meet() -> None:
  """Returns when all processes have come here, however long that takes."""
  if jax.process_count() > 1:
    _client().wait_at_barrier(f"meet_{next(_COUNT)}", _FOREVER)


def _client():
  """Returns the coordinator's client, which waits as long as told, unlike a collective.

  (gloo gives up after 30 seconds where one process compiles longer than another. JAX has no public
  name for it; orbax uses the same.)
  """
  from jax._src import distributed

  return distributed.global_state.client


@contextlib.contextmanager
def ending_together(explain: Callable[[BaseException], str | None]) -> Iterator[None]:
  """Ends a process of several that fails at once, so that the others notice.

  Left to itself it would wait at its exit for the others, which wait for it. What it says is
  `explain`'s line for the exception, or its traceback. Exit code 2 for what a user can mend, a lost
  process included, else 1.
  """
  _explain_abort()
  beats = heartbeat.Heartbeat(
    _client(), jax.process_index(), jax.process_count(), heartbeat.end
  )
  try:
    yield
    beats.stop()
  except BaseException as error:
    saved = isinstance(error, KeyboardInterrupt)  # by the loop, which ended in all processes
    if saved or (isinstance(error, SystemExit) and not error.code):
      beats.stop()
      raise
    line = _lost(error) or explain(error)
    if line is None:
      sys.excepthook(type(error), error, error.__traceback__)
    else:
      print(f"scs-jax: error: {line}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1 if line is None else 2)


def _explain_abort() -> None:
  """Explains the last line where JAX ends this process because the first one is gone.

  It aborts from a thread of its own with a stack trace, and no exception. (The callback that its
  client takes for this cannot be called from Python: its argument has no conversion.)
  """
  line = (
    f"scs-jax: error: process {jax.process_index()} of {jax.process_count()} was ended by JAX, "
    f"most likely since process 0 is gone (see above); {heartbeat.ADVICE}\n"
  ).encode()

  def last_word(signum: int) -> None:
    os.write(2, line)
    os._exit(2)

  global _handler
  _handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(last_word)
  # Python's own handlers run in the main thread, which may be waiting for a collective.
  ctypes.CDLL(None).signal(int(signal.SIGABRT), _handler)


_handler = None  # kept for as long as it may be called


def _lost(error: BaseException) -> str | None:
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
        f"({first}); {heartbeat.ADVICE}"
      )
    link = link.__cause__ or link.__context__
  return None
