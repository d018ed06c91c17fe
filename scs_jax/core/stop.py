"""SIGTERM, which cluster managers send before they take a machine away, and Ctrl-C: end cleanly."""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from tqdm import tqdm

AGAIN = 2.0
"""Seconds after which a SIGTERM that ended nothing is sent again."""
_INTERRUPTED = 130  # exit code, as shells know it


class SavedInterrupt(KeyboardInterrupt):
  """Ctrl-C, after which a training has ended and was saved, in all of its processes."""


class Flag:
  """False until it is raised, for good.

  Attributes:
    interrupted: whether a person raised it, by Ctrl-C.
    answered: whether that person was told so.
  """

  def __init__(self):
    self._raised = self.interrupted = self.answered = False

  def __bool__(self) -> bool:
    return self._raised

  def up(self) -> None:
    self._raised = True

  def interrupt(self) -> None:
    self._raised = self.interrupted = True


@contextlib.contextmanager
def _handling(number: signal.Signals, handler: Callable[[], None]) -> Iterator[None]:
  try:
    before = signal.signal(number, lambda signum, frame: handler())
  except ValueError:  # not the main thread: somebody else's to handle
    yield
    return
  try:
    yield
  finally:
    signal.signal(number, before)


@contextlib.contextmanager
def raising_flag(flag: Flag | None = None) -> Iterator[Flag]:
  """Makes SIGTERM raise a flag, a new one or that, so that the step at hand ends and is saved."""
  flag = Flag() if flag is None else flag
  with _handling(signal.SIGTERM, flag.up):
    yield flag


@contextlib.contextmanager
def interrupting(flag: Flag) -> Iterator[None]:
  """Makes Ctrl-C raise the flag, as SIGTERM does; a second one ends the program at once.

  Python calls handlers between operations of its own, hence not while XLA compiles, for minutes: a
  thread that the system wakes answers at any time. In a program that ignores Ctrl-C, as a shell's
  jobs in the background do, it stays ignored.
  """
  in_main = threading.current_thread() is threading.main_thread()
  if not in_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    yield
    return
  reading, writing = os.pipe()
  os.set_blocking(writing, False)  # as Python asks for
  before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
  thread = threading.Thread(target=_answer, args=(reading, flag), daemon=True, name="interrupts")
  thread.start()
  try:
    with _handling(signal.SIGINT, flag.interrupt):
      yield
  finally:
    signal.set_wakeup_fd(before)
    os.close(writing)
    thread.join()
    os.close(reading)


def _answer(reading: int, flag: Flag) -> None:
  """Answers the signals whose numbers come, a byte each, until the pipe is closed."""
  while number := os.read(reading, 1):
    if number[0] != signal.SIGINT:
      continue
    if flag.answered:
      os.write(2, b"\nscs-jax: interrupted, without saving\n")
      for child in multiprocessing.active_children():  # reader processes
        child.kill()
      os._exit(_INTERRUPTED)
    flag.answered = True
    tqdm.write(
      "stopping: what is under way (compiling, a step) ends, and is saved; "
      "Ctrl-C once more ends at once, without saving",
      file=sys.stderr,
    )


@contextlib.contextmanager
def exiting(code: int = 0, line: str | None = None) -> Iterator[None]:
  """Makes SIGTERM end the program, files closed, with `code` and one line on stderr.

  With 0 for the time before there is a step to save; with 143, as shells know it, where what was
  asked for is not done.
  """

  again: list[threading.Timer] = []

  def leave() -> None:
    if line is not None and not again:
      print(line, file=sys.stderr)
    # Where Python ignores exceptions (in a finalizer, in a library's callback) the exit would be
    # lost: the signal comes once more, to whoever takes it by then.
    again.append(threading.Timer(AGAIN, os.kill, (os.getpid(), signal.SIGTERM)))
    again[-1].daemon = True
    again[-1].start()
    raise SystemExit(code)

  try:
    with _handling(signal.SIGTERM, leave):
      yield
  finally:
    for timer in again:
      timer.cancel()
