"""One training at a time in a bucket's folder, where no operating system keeps a lock."""

import json
import os
import platform
import secrets
import sys
import time

import psutil

from scs_jax.data.remote import Place
from scs_jax.errors import UserError

NAME = ".lock"
BEAT = 15.0
"""Seconds between two signs of life of who has the lock."""
SILENCE = 60.0
"""Seconds without one after which whoever had it is gone."""


class Lock:
  """An object that its owner writes anew every BEAT seconds.

  Args:
    place: the run's folder.
  """

  def __init__(self, place: Place):
    self._place = place
    self._since = time.strftime("%Y-%m-%d %H:%M:%S")
    self._token, self._beats = secrets.token_hex(8), 0

  def take(self) -> str | None:
    """Takes the lock; or returns who has it. Waits up to SILENCE where that is not known.

    Raises:
      OSError: the bucket refuses, or is not there.
    """
    held = self._read()
    if held is not None and not _left_behind(held):
      print(f"waiting up to {SILENCE:.0f} s: is the training of {_who(held)} alive?",
            file=sys.stderr, flush=True)  # fmt: skip
      end = time.monotonic() + SILENCE
      while time.monotonic() < end:
        time.sleep(1.0)
        now = self._read()
        if now != held:
          if now is None:
            break
          return _who(now)
    self.beat()
    return None

  def beat(self) -> None:
    """Gives a sign of life."""
    self._beats += 1
    told = {
      "token": self._token, "process": os.getpid(), "host": platform.node(),
      "since": self._since, "beats": self._beats,
    }  # fmt: skip
    self._place.write(NAME, json.dumps(told).encode())

  def require(self) -> None:
    """Refuses to write where another training has taken over, or the folder was removed.

    Raises:
      UserError: naming the other.
    """
    held = self._read()
    if held is None or held.get("token") != self._token:
      who = "its lock is gone" if held is None else f"{_who(held)} trains there now"
      raise UserError(
        f"{self._place.root}: {who}, and this training has written nothing there since; let one of "
        "them go on"
      )

  def release(self) -> None:
    """Gives the lock up."""
    self._place.remove(NAME)

  def _read(self) -> dict | None:
    try:
      held = json.loads(self._place.read(NAME))
    except FileNotFoundError:
      return None
    except ValueError:
      return {}
    return held if isinstance(held, dict) else {}


def _left_behind(held: dict) -> bool:
  """Whether it is of a process of this machine that is not there any more."""
  process = held.get("process")
  # A container that starts again may have the name and the number of the one before.
  return held.get("host") == platform.node() and isinstance(process, int) and (
    process == os.getpid() or not psutil.pid_exists(process)
  )


def _who(held: dict) -> str:
  if not held:
    return "somebody unknown"
  return f"process {held.get('process')} on {held.get('host')}, since {held.get('since')}"
