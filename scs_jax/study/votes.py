"""Raters and their votes: a SQLite file in the study's folder, whole after any kill.

The order of a rater's questions is written down when the rater joins, so that it stays what it was
whatever becomes of this program. A vote is committed, to the disk, before anybody hears of it.
"""

import contextlib
import pathlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from scs_jax.errors import UserError
from scs_jax.study.schedule import Question

FILE = "votes.sqlite"
_TABLES = """
CREATE TABLE IF NOT EXISTS rater (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, code TEXT NOT NULL UNIQUE,
  ticket TEXT NOT NULL, joined REAL NOT NULL);
CREATE TABLE IF NOT EXISTS asked (
  rater INTEGER NOT NULL REFERENCES rater, position INTEGER NOT NULL, trial INTEGER NOT NULL,
  flipped INTEGER NOT NULL, again INTEGER NOT NULL, answer INTEGER, seconds REAL, at REAL,
  PRIMARY KEY (rater, position)) WITHOUT ROWID;
"""
_SIGNS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # none that is read as another
_CODE = 12  # of them: 59 bits, not to be guessed


class Refused(Exception):
  """Says to a rater why a request is not served."""


class Unknown(Refused):
  """Says that no rater has a code."""


class Vote(NamedTuple):
  """Holds a vote.

  Attributes:
    rater: number of the rater, from 1 on.
    position: number of the question in the rater's order.
    question: what was asked.
    answer: number of the trial's method, or of the level, that was chosen.
    seconds: from the pictures' appearance to the answer, as the page measured it.
    at: when it was committed, in seconds since 1970.
  """

  rater: int
  position: int
  question: Question
  answer: int
  seconds: float
  at: float


class Progress(NamedTuple):
  """Holds how far a rater is: questions answered, questions in all."""

  done: int
  total: int


class Votes:
  """The raters and votes of a study; safe to call from many threads.

  Args:
    folder: the study's.

  Raises:
    UserError: the file is none of SQLite's, or cannot be opened.
  """

  def __init__(self, folder: pathlib.Path):
    path = folder / FILE
    self._lock = threading.Lock()
    try:
      self._db = sqlite3.connect(path, timeout=30.0, check_same_thread=False)
      self._db.execute("PRAGMA journal_mode = WAL")
      self._db.execute("PRAGMA synchronous = FULL")  # on the disk before the reply
      self._db.executescript(_TABLES)
    except sqlite3.Error as error:
      raise UserError(
        f"{path} cannot be opened ({error}); check the disk and the permissions, or bring the file "
        "back from a copy"
      ) from error

  def close(self) -> None:
    with self._lock:
      self._db.close()

  def join(self, name: str, ticket: str, schedule: Callable[[int], list[Question]]) -> str:
    """Enters a rater and returns the code by which the rater goes on.

    Args:
      name: what the rater is called, in any words.
      ticket: drawn by who asks; the same once more, as after a reply that got lost, gets the code
        that was sent.
      schedule: number from 0 on -> the rater's questions.

    Raises:
      Refused: the name is empty, too long or taken.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= 60 or not name.isprintable():
      raise Refused("Please give a name of 1 to 60 letters; any name will do.")
    code = "".join(secrets.choice(_SIGNS) for _ in range(_CODE))
    with self._writing() as db:
      there = db.execute("SELECT ticket, code FROM rater WHERE name = ?", (name,)).fetchone()
      if there is not None and there[0] == ticket:
        return there[1]
      if there is not None:
        raise Refused(
          "Somebody has this name already. If it is you, go on with your code; else take another."
        )
      rater = db.execute(
        "INSERT INTO rater (name, code, ticket, joined) VALUES (?, ?, ?, ?)",
        (name, code, ticket, time.time()),
      ).lastrowid
      rows = [(rater, i, *question) for i, question in enumerate(schedule(rater - 1))]
      db.executemany(
        "INSERT INTO asked (rater, position, trial, flipped, again) VALUES (?, ?, ?, ?, ?)", rows
      )
    return code

  def find(self, code: str) -> int:
    """Finds the number of the rater who has this code, however it is written.

    Raises:
      Unknown: nobody has it.
    """
    plain = "".join(sign for sign in code.upper() if sign.isalnum())
    found = self._read("SELECT number FROM rater WHERE code = ?", plain)
    if not found:
      raise Unknown("Nobody has this code. Please check it, or begin with a name.")
    return found[0][0]

  def progress(self, rater: int) -> Progress:
    """Counts a rater's questions."""
    return Progress(
      *self._read("SELECT COUNT(answer), COUNT(*) FROM asked WHERE rater = ?", rater)[0]
    )

  def questions(self, rater: int, position: int, count: int) -> list[Question]:
    """Lists `count` of a rater's questions, or those there are, from a position on."""
    rows = self._read(
      "SELECT trial, flipped, again FROM asked WHERE rater = ? AND position >= ? "
      "ORDER BY position LIMIT ?", rater, position, count,
    )  # fmt: skip
    return [Question(trial, bool(flipped), bool(again)) for trial, flipped, again in rows]

  def vote(self, rater: int, position: int, answer: int, seconds: float) -> None:
    """Commits a vote; the same one again, as after a reply that got lost, changes nothing.

    Args:
      rater: number of one.
      position: of the question, which has to be the rater's next.
      answer: number of what was chosen, in the trial's own order.
      seconds: as of Vote.

    Raises:
      Refused: another answer was given, or other questions come first.
      sqlite3.Error: the disk is full or fails; nothing is changed.
    """
    with self._writing() as db:
      (before,) = db.execute(
        "SELECT COUNT(*) FROM asked WHERE rater = ? AND answer IS NOT NULL", (rater,)
      ).fetchone()
      row = db.execute(
        "SELECT answer FROM asked WHERE rater = ? AND position = ?", (rater, position)
      ).fetchone()
      if row is None or position > before:
        raise Refused("This is not the next question. Please load the page again.")
      if row[0] is None:
        db.execute(
          "UPDATE asked SET answer = ?, seconds = ?, at = ? WHERE rater = ? AND position = ?",
          (answer, seconds, time.time(), rater, position),
        )
      elif row[0] != answer:
        raise Refused("This question has been answered. Please load the page again.")

  def raters(self) -> list[tuple[int, Progress]]:
    """Lists the raters' numbers with how far each is."""
    rows = self._read("SELECT rater, COUNT(answer), COUNT(*) FROM asked GROUP BY rater")
    return [(rater, Progress(done, total)) for rater, done, total in rows]

  def all(self) -> list[Vote]:
    """Lists all votes, by rater and in the rater's order."""
    rows = self._read(
      "SELECT rater, position, trial, flipped, again, answer, seconds, at FROM asked "
      "WHERE answer IS NOT NULL ORDER BY rater, position"
    )
    return [
      Vote(rater, position, Question(trial, bool(flipped), bool(again)), *rest)
      for rater, position, trial, flipped, again, *rest in rows
    ]

  def _read(self, query: str, *values) -> list[tuple]:
    with self._lock:
      return self._db.execute(query, values).fetchall()

  @contextlib.contextmanager
  def _writing(self) -> Iterator[sqlite3.Connection]:
    """Opens a transaction that is committed at its end, or undone by an exception."""
    with self._lock, self._db:
      self._db.execute("BEGIN IMMEDIATE")  # another process may serve the same study
      yield self._db
