"""SIGTERM, which cluster managers send before they take a machine away: end soon, and cleanly."""

import contextlib
import signal
from collections.abc import Callable, Iterator


class Flag:
  """False until it is raised, for good."""

  def __init__(self):
    self._raised = False

  def __bool__(self) -> bool:
    return self._raised

  def up(self) -> None:
    self._raised = True


@contextlib.contextmanager
def _handling(handler: Callable[[], None]) -> Iterator[None]:
  try:
    before = signal.signal(signal.SIGTERM, lambda signum, frame: handler())
  except ValueError:  # not the main thread: somebody else's to handle
    yield
    return
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def raising_flag() -> Iterator[Flag]:
  """A flag that SIGTERM raises, so that the step at hand ends and is saved."""
  flag = Flag()
  with _handling(flag.up):
    yield flag


@contextlib.contextmanager
def exiting() -> Iterator[None]:
  """SIGTERM ends the program with code 0, files closed: for the time before there is a step."""

  def leave() -> None:
    raise SystemExit(0)

  with _handling(leave):
    yield
