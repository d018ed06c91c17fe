"""SIGTERM, which cluster managers send before they take a machine away: end soon, and cleanly."""

import contextlib
import signal
import sys
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
def raising_flag(flag: Flag | None = None) -> Iterator[Flag]:
  """A flag (a new one, or that) that SIGTERM raises, so that the step at hand ends and is saved."""
  flag = Flag() if flag is None else flag
  with _handling(flag.up):
    yield flag


@contextlib.contextmanager
def exiting(code: int = 0, line: str | None = None) -> Iterator[None]:
  """SIGTERM ends the program, files closed, with `code` and one line on stderr.

  With 0 for the time before there is a step to save; with 143, as shells know it, where what was
  asked for is not done.
  """

  def leave() -> None:
    if line is not None:
      print(line, file=sys.stderr)
    raise SystemExit(code)

  with _handling(leave):
    yield
