"""Several processes as one run: how they find each other, agree, and hand things over.

The processes meet at a coordinator, which the first of them is. How they end is in ending.py.
"""

import contextlib
import itertools
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from scs_jax.core import failures
from scs_jax.errors import UserError

_JAX_HEARTBEAT = 90
"""Seconds of silence after which JAX aborts the other processes, should ours not end them."""
_FOREVER = 7 * 24 * 3600 * 1000  # ms; a process that died ends the wait sooner
_COUNT = itertools.count()  # the same in all processes, which call these in the same order
_CHUNK = 1 << 28  # bytes that all together hand over at a time: every device receives them


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


def count() -> int:
  """Counts the processes; where this one joined no others, no device is looked for."""
  return jax.process_count() if jax.distributed.is_initialized() else 1


def is_first() -> bool:
  """Tells whether this process writes what is written once: logs, panels, the config."""
  return count() == 1 or jax.process_index() == 0


def from_first(function: Callable[[], Any]) -> Any:
  """Calls the function in the first process alone; returns its JSON value in all of them.

  Raises:
    Exception: what the function raised; in the other processes a UserError that says it.
  """
  if count() == 1:
    return function()
  name = f"from_first_{next(_COUNT)}"
  if is_first():
    try:
      told = json.dumps([function(), None])
    except Exception as error:
      client().key_value_set(name, json.dumps([None, failures.describe(error)]))
      raise
    client().key_value_set(name, told)
  value, why = _wait_for(name)
  if why is not None:
    raise _told(0, why)
  return value


def _told(process: int, why: str) -> UserError:
  return UserError(f"process {process} of {jax.process_count()}: {why}")


class _FailedElsewhere(Exception):
  """Leaves what need not be done any more, as another process has failed in it."""


@contextlib.contextmanager
def agreeing() -> Iterator[Callable[[], None]]:
  """Has all processes fail where one of them does, and leave together where none does.

  Around what each does for itself: nothing inside may wait for another process, which may have
  failed before. What takes long calls, now and then, the function that is given: it leaves the
  context where another process has failed.

  Raises:
    Exception: what was raised inside; in the other processes a UserError that says it.
  """
  if count() == 1:
    yield lambda: None
    return
  failed, mine = f"failed_{next(_COUNT)}", None

  def look() -> None:
    if _is_set(failed):
      raise _FailedElsewhere

  try:
    yield look
  except _FailedElsewhere:
    pass  # the exchange tells why
  except Exception as error:
    mine = error
    client().key_value_set(failed, "", allow_overwrite=True)
  whys = _exchange(None if mine is None else failures.describe(mine))
  if mine is not None:
    raise mine
  for process, why in enumerate(whys):
    if why is not None:
      raise _told(process, why)


def gather(value: Any) -> list[Any]:
  """Returns the values of all processes, in their order, in each of them; every one calls it.

  Whatever can be pickled goes from process to process as bytes: floats keep all of theirs, which
  JAX's own arrays would not.
  """
  if count() == 1:
    return [value]
  data = np.frombuffer(pickle.dumps(value), np.uint8)
  sizes = _exchange(len(data))  # all wait here: a collective gives up on one that is late
  parts: list[list[bytes]] = [[] for _ in sizes]
  most = max(1, _CHUNK // len(sizes))
  for start in range(0, max(sizes), most):
    chunk = np.zeros(min(most, max(sizes) - start), np.uint8)
    mine = data[start : start + most]
    chunk[: len(mine)] = mine
    for part, size, row in zip(parts, sizes, multihost_utils.process_allgather(chunk), strict=True):
      part.append(np.asarray(row)[: max(0, size - start)].tobytes())
  return [pickle.loads(b"".join(part)) for part in parts]


def _exchange(value: Any) -> list[Any]:
  """Returns the JSON values of all processes, once all have come."""
  name = f"exchange_{next(_COUNT)}"
  key = lambda process: f"{name}/{process}"
  client().key_value_set(key(jax.process_index()), json.dumps(value))
  return from_first(lambda: [_wait_for(key(i)) for i in range(jax.process_count())])


def meet(patience: float | None = None, where: str = "meet") -> None:
  """Returns when all processes have come here, however long that takes.

  Args:
    patience: seconds after which it is given up; None: never.
    where: who waits elsewhere is not met.

  Raises:
    jax.errors.JaxRuntimeError: they did not come within the patience.
  """
  if count() > 1:
    time = _FOREVER if patience is None else int(patience * 1000)
    _interruptibly(client().wait_at_barrier, f"{where}_{next(_COUNT)}", time)


def _wait_for(name: str) -> Any:
  """Returns the JSON value of a name, once a process has given it."""
  return json.loads(_interruptibly(client().blocking_key_value_get, name, _FOREVER))


def _is_set(name: str) -> bool:
  try:
    client().key_value_try_get(name)
  except jax.errors.JaxRuntimeError as error:
    if "NOT_FOUND" in str(error):
      return False
    raise
  return True


def _interruptibly(wait: Callable, *args) -> Any:
  """Returns wait(*args), which hears no signal: a thread waits, and this one hears Ctrl-C."""
  answer: futures.Future = futures.Future()

  def run() -> None:
    try:
      answer.set_result(wait(*args))
    except Exception as error:
      answer.set_exception(error)

  threading.Thread(target=run, daemon=True, name="waiting").start()
  return answer.result()


def client():
  """Returns the coordinator's client, which waits as long as told, unlike a collective.

  (gloo gives up after 30 seconds where one process compiles longer than another. JAX has no public
  name for it; orbax uses the same.)
  """
  from jax._src import distributed

  return distributed.global_state.client
