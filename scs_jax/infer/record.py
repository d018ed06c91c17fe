"""`.scs_jax.json` beside the results: what was made with which settings, so that it is not redone.

A result counts as done where it is there, was made by a job of the same settings (weights and
reference included), and its input has the size and time that it had then. What a job is about to
write is entered first, so that a killed one knows its own files again.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping

from scs_jax.data import listing, location, remote
from scs_jax.errors import UserError
from scs_jax.infer.inputs import Task

NAME = listing.RESULTS
_VERSION = 1
_EVERY_SECONDS = 1.0


class Record:
  """The record of an output folder, and the job at hand in it.

  Args:
    folder: the output folder, here or in a bucket; None keeps no record, so that nothing counts as
      done.
    job: whatever decides a result, as JSON knows it.

  Raises:
    UserError: a record that cannot be read, or a bucket.
  """

  def __init__(self, folder: str | os.PathLike | None, job: Mapping):
    self._folder = None if folder is None else os.fspath(folder)
    self._job = dict(job)
    text = json.dumps(self._job, sort_keys=True)
    self._hash = hashlib.sha256(text.encode()).hexdigest()[:16]
    self._entries = self._read()["results"]
    self._there: frozenset[str] | None = None  # names in a bucket, asked for once
    if folder is not None and remote.is_remote(folder):
      with remote.reaching(folder):
        self._there = frozenset(remote.Place(folder).sizes())
    self._changed: dict[str, dict] = {}
    self._saved_at = 0.0

  def is_done(self, task: Task) -> bool:
    """Tells whether the task's result is there, by this job's settings and of the present input."""
    entry = self._entries.get(self._key(task), {})
    return (
      entry.get("job") == self._hash
      and entry.get("input") == _identity(task)
      and self._is_there(task, os.path.isfile)
    )

  def foreign_files(self, tasks: Iterable[Task]) -> list[str]:
    """Lists files that stand where results are to go and were not made here."""
    if self._folder is None:
      return []
    return [t.output for t in tasks if self._key(t) not in self._entries and self._is_there(t)]

  def plan(self, tasks: Iterable[Task]) -> None:
    """Enters what is about to be written. Raises OSError where the folder cannot be written to."""
    for task in tasks:
      self._enter(task, {"job": None})
    self._save()

  def finish(self, task: Task, reference: str | None) -> None:
    """Enters a result that is there; on disk now or a second later, at `close` for certain."""
    entry = {"job": self._hash, "input": _identity(task), "reference": reference}
    self._enter(task, entry)
    if time.monotonic() - self._saved_at > _EVERY_SECONDS:
      self._save()

  def close(self) -> None:
    if self._changed:
      self._save()

  def _is_there(self, task: Task, on_disk: Callable[[str], bool] = os.path.lexists) -> bool:
    return on_disk(task.output) if self._there is None else self._key(task) in self._there

  def _enter(self, task: Task, entry: dict) -> None:
    if self._folder is not None:
      self._entries[self._key(task)] = self._changed[self._key(task)] = entry

  def _key(self, task: Task) -> str:
    return os.path.relpath(task.output, self._folder or ".").replace(os.sep, "/")

  def _read(self) -> dict:
    empty: dict = {"version": _VERSION, "jobs": {}, "results": {}}
    if self._folder is None:
      return empty
    try:
      with remote.reaching(self._folder):
        try:
          content = json.loads(remote.Place(self._folder).read(NAME))
        except FileNotFoundError:
          return empty
      if content["version"] == _VERSION and isinstance(content["results"], dict):
        return {**empty, **content}
    except (ValueError, KeyError, TypeError):
      pass
    raise UserError(
      f"{remote.join(self._folder, NAME)} is damaged or of another version of scs_jax; remove it, "
      "and add --overwrite so that results which are there may be replaced"
    )

  def _save(self) -> None:
    if self._folder is None:
      return
    content = self._read()  # another job may have written beside this one
    content["results"].update(self._changed)
    jobs = {**content["jobs"], self._hash: self._job}
    used = {entry["job"] for entry in content["results"].values()}
    content["jobs"] = {name: job for name, job in jobs.items() if name in used}
    # json escapes what is no UTF-8 in file names, so they survive.
    location.write(remote.join(self._folder, NAME), json.dumps(content, indent=1).encode())
    self._changed, self._saved_at = {}, time.monotonic()


def _identity(task: Task) -> list | None:
  """Identifies an input: its name and `location.mark`, and its partner's; None where it is gone."""
  try:
    marks = [location.mark(path) for path in (task.source, task.partner) if path]
  except OSError:
    return None
  partner = [task.partner] if task.partner else []
  return [task.relative, *partner, *(value for mark in marks for value in mark)]
