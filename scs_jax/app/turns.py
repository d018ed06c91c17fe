"""Whose picture is next: one is coloured at a time, and those who wait come in turn."""

import collections
import contextlib
import threading
from collections.abc import Iterator

from scs_jax.errors import UserError


class Turns:
  """A line in which jobs wait, each for every picture anew, so that a long job holds up no short
  one.

  Args:
    most: jobs at a time, at work and waiting together.
  """

  def __init__(self, most: int):
    self._most, self._jobs = most, 0
    self._line: collections.deque[object] = collections.deque()
    self._changed = threading.Condition()

  @contextlib.contextmanager
  def job(self) -> Iterator[None]:
    """A job, for as long as the context lasts. Raises UserError where there are too many."""
    with self._changed:
      if self._jobs >= self._most:
        raise UserError(
          f"busy: {self._jobs} jobs are at work or waiting, as many as this page takes; try again "
          "in a minute"
        )
      self._jobs += 1
    try:
      yield
    finally:
      with self._changed:
        self._jobs -= 1

  @property
  def waiting(self) -> int:
    """Pictures that come before one that is asked for now."""
    return len(self._line)

  @contextlib.contextmanager
  def turn(self) -> Iterator[None]:
    """Waits until all who came before are done; the next one waits for the context's end."""
    ticket = object()
    with self._changed:
      self._line.append(ticket)
      self._changed.wait_for(lambda: self._line[0] is ticket)
    try:
      yield
    finally:
      with self._changed:
        self._line.popleft()
        self._changed.notify_all()
