"""Whose picture is next: one is coloured at a time, and those who wait come in turn."""

import collections
import contextlib
import threading
from collections.abc import Iterator

from scs_jax.core import heap
from scs_jax.errors import UserError


class Turns:
  """A line in which jobs wait, each for every picture anew, so that a long job holds up no short
  one.

  Args:
    most: jobs at a time, at work and waiting together; one that has begun may go on.
  """

  def __init__(self, most: int):
    self._most = most
    self._line: collections.deque[object] = collections.deque()
    self._changed = threading.Condition()

  def require_room(self) -> None:
    """Raises UserError where one job more would be too many."""
    if self.waiting >= self._most:
      raise UserError(
        f"busy: {self.waiting} jobs are at work or waiting, as many as this page takes; try again "
        "in a minute"
      )

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
        idle = not self._line
        self._changed.notify_all()
      if idle:  # perhaps for days
        heap.give_back_freed()
