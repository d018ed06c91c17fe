"""Runs whose folder is in a bucket (gs://, s3://): trained in a copy on this machine's disk.

orbax-checkpoint (0.12.8) writes arrays to gs:// alone, and there it removes old steps object by
object, so that half of one may still look whole. Here it writes to a disk as ever, and whole steps
are copied to the bucket and away from it through fsspec, one way for every store. A step in a
bucket has the files of one on a disk. While it is being written or removed there is `INCOMPLETE`
beside them, which comes first and goes last.
"""

import concurrent.futures
import contextlib
import fnmatch
import functools
import os
import pathlib
import shutil
import tempfile
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Iterator

import jax

from scs_jax.data import remote
from scs_jax.errors import UserError
from scs_jax.training import bucket_lock, checksums, distributed, model_file
from scs_jax.training.checkpoint_folder import (
  ARRAYS,
  FOLDER,
  JSON_ITEMS,
  WHAT_TO_GIVE,
  absolute,
  find_checkpoint,
  whole_steps,
)

INCOMPLETE = "INCOMPLETE"
"""The object that marks a step which is being written or removed."""
# What a run that goes on reads or appends to; panels, traces and TensorBoard's files are not read.
_GOES_ON = ("config.json", "metrics.jsonl", "nonfinite*.jsonl", "data_scan*.json")
_THREADS = 8


class Copy:
  """A run's folder on this machine's disk, of one in a bucket.

  Of several processes each has its own. The first one writes the checkpoints; the others send what
  they alone know (nonfinite_1.jsonl).

  Attributes:
    address: the folder in the bucket.
    folder: the copy.
  """

  def __init__(self, address: str):
    self.address = address.rstrip("/")
    self.folder = _folder(self.address)
    self._place = remote.Place(self.address)
    self._lock = bucket_lock.Lock(self._place) if distributed.is_first() else None
    self._sent: dict[str, tuple[int, int]] = {}
    self._sending = threading.Lock()
    self._ended = threading.Event()
    self._beside = threading.Thread(target=self._keep, daemon=True, name="bucket")

  def named(self, text: str) -> str:
    """A message, with the address in the place of the copy."""
    return text.replace(str(self.folder), self.address)

  def open(self) -> None:
    """Takes the lock, copies what a run goes on from to this machine, and begins to send.

    Raises:
      UserError: the bucket cannot be reached, or another training is in the folder.
    """
    with remote.reaching(self.address):
      if holder := distributed.from_first(lambda: self._lock.take()):
        raise UserError(
          f"{self.address} is in use by another training ({holder}): two would mix their metrics "
          "and checkpoints; wait for that one to end, stop it, or choose another --workdir"
        )
      if self._lock is not None:
        self._clear()
      distributed.meet()
      self._fetch()
    self._beside.start()

  def _clear(self) -> None:
    """Removes the steps that a killed run left behind half written or half removed."""
    for name in self._place.names(FOLDER):
      if name.isdigit() and INCOMPLETE in self._place.names(f"{FOLDER}/{name}"):
        self._remove(int(name))

  def _fetch(self) -> None:
    shutil.rmtree(self.folder, ignore_errors=True)
    self.folder.mkdir(parents=True)
    here = [n for n in self._place.names() if any(fnmatch.fnmatch(n, p) for p in _GOES_ON)]
    steps = remote.Place(self._place.full(FOLDER)).sizes() if FOLDER in self._place.names() else ()
    _get(self._place, [*here, *(f"{FOLDER}/{name}" for name in steps)], self.folder)
    self._sent = {name: _stamp(self.folder / name) for name in here}

  def publish(self) -> None:
    """Brings the bucket to where the copy is: metrics, new whole steps; then old ones go.

    Raises:
      UserError: it cannot be written, or another training has taken the folder over.
    """
    with remote.reaching(self.address):
      self._lock.require()
      self.send()  # what is known of a step is there before it
      here = whole_steps(absolute(self.folder) / FOLDER)
      there = [int(name) for name in self._place.names(FOLDER) if name.isdigit()]
      for step in here:
        if step not in there:
          self._upload(step)
      for step in there:
        if step not in here:
          self._remove(step)

  def _upload(self, step: int) -> None:
    root = self.folder / FOLDER / str(step)
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    place = remote.Place(self._place.full(f"{FOLDER}/{step}"))
    place.write(INCOMPLETE, b"")
    _in_parallel(lambda name: place.put(root / name, name), names)
    place.remove(INCOMPLETE)

  def _remove(self, step: int) -> None:
    place = remote.Place(self._place.full(f"{FOLDER}/{step}"))
    place.write(INCOMPLETE, b"")
    for name in place.names():
      if name != INCOMPLETE:
        place.remove(name)
    place.remove(INCOMPLETE)

  def send(self) -> None:
    """Sends the files beside the checkpoints that changed since they were sent. Raises OSError."""
    with self._sending:
      for path in sorted(self.folder.rglob("*")):
        name = path.relative_to(self.folder).as_posix()
        if name.startswith((f"{FOLDER}/", ".")) or path.name.startswith(".") or not path.is_file():
          continue
        stamp = _stamp(path)
        if self._sent.get(name) != stamp:
          self._place.write(name, path.read_bytes())
          self._sent[name] = stamp

  def _keep(self) -> None:
    """Gives signs of life and sends what changed, until the run ends."""
    while not self._ended.wait(bucket_lock.BEAT):
      # What fails is tried again; for good it fails where a checkpoint is published.
      with contextlib.suppress(OSError, UserError):
        if self._lock is not None:
          self._lock.require()
          self._lock.beat()
        self.send()

  def close(self) -> None:
    """Sends the last changes, gives the lock up and removes the copy. Raises UserError."""
    self._ended.set()
    self._beside.join()
    try:
      with remote.reaching(self.address):
        if self._lock is not None:
          self._lock.require()
        self.send()
        if self._lock is not None:
          self._lock.release()
    finally:
      shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def copied(workdir: str | os.PathLike[str]) -> Iterator[Copy | None]:
  """A copy of a run's folder while the context lasts; None for one that is on a disk.

  Raises:
    UserError: as `Copy`; those that are raised inside speak of the address.
  """
  if not remote.is_remote(workdir):
    yield None
    return
  copy = Copy(os.fspath(workdir))
  copy.open()
  try:
    yield copy
  except BaseException as error:
    with contextlib.suppress(UserError, OSError):  # what ended the run comes first
      copy.close()
    if isinstance(error, UserError):
      raise UserError(copy.named(str(error))) from error
    raise
  copy.close()


def fetch(address: str, which: str | int) -> tuple[pathlib.Path, str]:
  """Copies one checkpoint, without what training alone needs, or a model's file to this machine.

  The copy is there until the program ends.

  Args:
    address: of a run, its checkpoints/, one numbered folder in there, or a file.
    which: "best", "last" or a step, of a run.

  Returns:
    (the file, or the step's folder; the address of the file or the run).

  Raises:
    UserError: the bucket cannot be reached; as `find_checkpoint`.
  """
  address = address.rstrip("/")
  with remote.reaching(address):
    return _fetch(address, which)


def _fetch(address: str, which: str | int) -> tuple[pathlib.Path, str]:
  copy = pathlib.Path(tempfile.mkdtemp(dir=_fetched().name))
  parent, name = remote.split(address)
  if name.endswith(model_file.SUFFIX):
    parent.get(name, copy / name)
    return copy / name, address
  inside = remote.Place(address).names()
  if not inside:
    raise UserError(f"no checkpoint at {address}: nothing is there; {WHAT_TO_GIVE}")
  root, run = address, address
  if FOLDER in inside:
    root = f"{address}/{FOLDER}"
  elif name.isdigit() and set(inside) & {*ARRAYS, *JSON_ITEMS}:
    root, which = address.rpartition("/")[0], int(name)
  if root.endswith(f"/{FOLDER}"):
    run = root.removesuffix(f"/{FOLDER}")
  there = remote.Place(root)
  copy = copy / FOLDER
  copy.mkdir()
  try:
    for step in _whole(there):
      for item in (*ARRAYS, *JSON_ITEMS):
        (copy / step / item).mkdir(parents=True)
      told = [f"{step}/about/{name}" for name in there.names(f"{step}/about")]
      told += [f"{step}/{name}" for name in there.names(step) if name == checksums.NAME]
      _get(there, told, copy)
    step = str(find_checkpoint(copy, which)[1])
  except UserError as error:
    raise UserError(str(error).replace(str(copy), root)) from error
  files = remote.Place(there.full(step)).sizes()
  _get(there, [f"{step}/{n}" for n in files if not n.startswith("training/")], copy)
  return copy / step, run


def _whole(root: remote.Place) -> list[str]:
  """Names of the whole steps in a folder of checkpoints."""
  items = {*ARRAYS, *JSON_ITEMS}
  numbered = [name for name in root.names() if name.isdigit()]
  return [n for n in numbered if items <= set(inside := root.names(n)) and INCOMPLETE not in inside]


def _get(place: remote.Place, names: Iterable[str], folder: pathlib.Path) -> None:
  _in_parallel(lambda name: place.get(name, folder / name), names)


def _in_parallel(function: Callable[[str], None], names: Iterable[str]) -> None:
  with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
    list(pool.map(function, names))


def _stamp(path: pathlib.Path) -> tuple[int, int]:
  found = path.stat()
  return found.st_size, found.st_mtime_ns


def _folder(address: str) -> pathlib.Path:
  """Where the copy is: the same for the next start, which clears what a killed run left behind."""
  mine = pathlib.Path(tempfile.gettempdir()) / f"scs_jax-{os.getuid()}"
  mine.mkdir(mode=0o700, exist_ok=True)
  if mine.stat().st_uid != os.getuid() or mine.is_symlink():
    raise UserError(f"{mine} belongs to somebody else; set TMPDIR to a folder of yours")
  name = urllib.parse.quote(address, safe="")[-150:]
  return mine / f"{name}-{jax.process_index()}"


@functools.cache
def _fetched() -> tempfile.TemporaryDirectory:
  """A folder that goes when the program ends."""
  return tempfile.TemporaryDirectory(prefix="scs_jax-")
