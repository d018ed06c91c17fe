"""An ablation whose folder is in a bucket: what its rows say, on this machine's disk.

A row's training writes into the bucket by itself (training/bucket.py). What is read of it to make
the table, and what else is written, goes through a copy: all small files, and of the checkpoints
their texts alone.
"""

import contextlib
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

from scs_jax.core import ablations_result
from scs_jax.data import remote
from scs_jax.errors import UserError
from scs_jax.training import checkpoint_folder
from scs_jax.training.bucket import INCOMPLETE

_PANEL = re.compile(r"(.*/panels)/[^/]*")
_STEP = re.compile(rf"((.*/{checkpoint_folder.FOLDER}/)\d+)/([^/]*).*")


class Mirror:
  """A copy of an ablation's folder, without arrays, until it is forgotten.

  Args:
    address: the folder in the bucket.

  Attributes:
    folder: the copy.

  Raises:
    UserError: the bucket cannot be read.
  """

  def __init__(self, address: str):
    self._address = address.rstrip("/")
    self._place = remote.Place(self._address)
    self._own = tempfile.TemporaryDirectory(prefix="scs_jax-")
    self.folder = pathlib.Path(self._own.name)
    self._there: dict[str, list[int | str]] = {}  # what was fetched, as it was in the bucket
    self._here: dict[str, tuple[int, int]] = {}  # and as it is in the copy
    self.fetch()

  def address(self, path: pathlib.Path) -> str:
    """Returns the address of what has this path in the copy."""
    return remote.join(self._address, path.relative_to(self.folder).as_posix())

  def named(self, text: str) -> str:
    """Returns a message with the address in the place of the copy."""
    return text.replace(str(self.folder), self._address)

  def make(self) -> None:
    """Tries whether the folder can be written to. Raises UserError."""
    self._place.make()

  def fetch(self) -> None:
    """Copies what changed in the bucket. Raises UserError."""
    with remote.reaching(self._address):
      there = self._place.marks()
      steps = {m[1]: set() for name in there if (m := _STEP.fullmatch(name))}
      for name in there:
        if m := _STEP.fullmatch(name):
          steps[m[1]].add(m[3])
      whole = {step for step, items in steps.items() if INCOMPLETE not in items}
      for step in whole:
        for item in steps[step] & {*checkpoint_folder.ARRAYS, *checkpoint_folder.JSON_ITEMS}:
          (self.folder / step / item).mkdir(parents=True, exist_ok=True)
      for name in sorted(_wanted(there, whole)):
        if self._there.get(name) != there[name]:
          with contextlib.suppress(FileNotFoundError):  # another job's training removed it
            self._place.get(name, self.folder / name)
            self._there[name], self._here[name] = there[name], _stamp(self.folder / name)

  def send(self) -> None:
    """Copies what changed here to the bucket; what says that a row is done, last. Raises UserError.
    """
    changed = []
    for path in self.folder.rglob("*"):
      name = path.relative_to(self.folder).as_posix()
      if path.is_file() and not path.name.startswith(".") and self._here.get(name) != _stamp(path):
        changed.append(name)
    with remote.reaching(self._address):
      for name in sorted(changed, key=lambda name: (name.endswith(ablations_result.ROW), name)):
        self._place.write(name, (self.folder / name).read_bytes())
        self._here[name] = _stamp(self.folder / name)


@contextlib.contextmanager
def mirrored(workdir: str | os.PathLike[str] | None) -> Iterator[Mirror | None]:
  """Gives the copy of a folder in a bucket; None for one on a disk. What is raised inside speaks of
  the bucket."""
  if workdir is None or not remote.is_remote(workdir):
    yield None
    return
  mirror = Mirror(os.fspath(workdir))
  try:
    yield mirror
  except UserError as error:
    raise UserError(mirror.named(str(error))) from error


def _wanted(names, whole: set[str]) -> Iterator[str]:
  """Chooses what is copied: of pictures along a training the last, of checkpoints texts."""
  last: dict[str, str] = {}
  for name in sorted(names):
    if match := _PANEL.fullmatch(name):
      last[match[1]] = name
    elif match := _STEP.fullmatch(name):
      if match[1] in whole and match[3] not in checkpoint_folder.ARRAYS:
        yield name
    elif not name.rpartition("/")[2].startswith("."):
      yield name
  yield from last.values()


def _stamp(path: pathlib.Path) -> tuple[int, int]:
  about = path.stat()
  return about.st_size, about.st_mtime_ns
