"""The log of a run: a progress bar, JSON lines always, TensorBoard where TensorFlow is there."""

import contextlib
import errno
import importlib.util
import json
import math
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping

from tqdm import tqdm

from scs_jax.core.files import write_aside
from scs_jax.data.remote import Place

NAME = "metrics.jsonl"
"""The file in a run's folder."""


def read_curves(workdir) -> dict[str, list[tuple[int, float]]]:
  """Reads {name: (step, value) in order} of all that a run wrote down.

  Losses are of training batches ("loss/content"), scores of held-out pictures
  ("automatic/psnr_rgb"); NaN where a value was no number. Empty before the first line; a line that
  is being written is left out.
  """
  points, content = {}, b""
  with contextlib.suppress(FileNotFoundError):
    content = Place(workdir).read(NAME)
  for _, values in _lines(content):
    for name, value in values.items():
      if name != "step":
        pair = values["step"], math.nan if value is None else value
        points.setdefault(name, []).append(pair)
  return points


class Logbook:
  """Writes `metrics.jsonl` in a run's folder and shows progress on the terminal.

  A context manager.

  Args:
    workdir: the run's folder, which exists.
    start_step: where the run goes on; later lines, of steps that a killed run had reached but not
      saved, are taken back, so that every step stands in the file once.
    total: steps in all.
    quiet: no progress bar.

  Attributes:
    before: the last value of every name in the file as it was found, lines taken back included.

  Raises:
    OSError: a full disk, no permission; what could not be written whole is not there at all.
  """

  def __init__(self, workdir, start_step: int, total: int, quiet: bool = False):
    self.path = pathlib.Path(workdir) / NAME
    self.before = _take_back(self.path, start_step)
    self._append(b"")  # the file is there, or cannot be written, before anything is trained
    self._bar = tqdm(
      total=total, initial=start_step, unit="step", disable=quiet, dynamic_ncols=True
    )
    self._board = _tensorboard(workdir)

  def __enter__(self):
    return self

  def __exit__(self, *exc):
    self._bar.close()
    if self._board is not None:
      self._board.close()

  def tick(self) -> None:
    """Counts one step as done."""
    self._bar.update(1)

  def write(self, step: int, values: Mapping[str, float], shown: bool = False) -> None:
    """Writes one line; `shown`: its losses and images/s stand in the bar."""
    if shown:
      bar = {name.removeprefix("loss/"): v for name, v in values.items() if "loss/" in name}
      if "images_per_second" in values:
        bar["images/s"] = values["images_per_second"]
      self._bar.set_postfix({name: f"{v:.3g}" for name, v in bar.items()})
    # JSON has no NaN; null says that the number was not one.
    line = {name: (v if math.isfinite(v) else None) for name, v in values.items()}
    self._append((json.dumps({"step": step, **line}) + "\n").encode())
    if self._board is not None:
      self._board.write_scalars(step, values)

  def _append(self, line: bytes) -> None:
    # Closed after every line: a mounted bucket and NFS keep what was written only then, so that a
    # machine that is taken away would take the whole curve with it.
    with open(self.path, "ab", buffering=0) as file:
      end = os.fstat(file.fileno()).st_size
      try:
        if file.write(line) != len(line):
          raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
      except OSError as error:
        file.truncate(end)
        error.filename = error.filename or str(self.path)
        raise

  def say(self, text: str) -> None:
    """Prints a line above the bar."""
    self._bar.write(text, file=sys.stderr)


class Silent(contextlib.nullcontext):
  """In the place of a Logbook in processes other than the first, which writes for all."""

  before: Mapping[str, float] = {}
  tick = write = say = lambda self, *values, **how: None


def _lines(content: bytes) -> Iterator[tuple[str, dict]]:
  """Gives (line, its values) of the file, without the line that a killed process was writing."""
  for line in content.decode("utf-8", "replace").splitlines():
    try:
      values = json.loads(line)
      values["step"] + 0
    except (ValueError, KeyError, TypeError):
      continue
    yield line, values


def _take_back(path: pathlib.Path, step: int) -> dict[str, float]:
  """Leaves the lines up to a step; returns the last value of every name in all of them."""
  if not path.exists():
    return {}
  kept, last = [], {}
  for line, values in _lines(path.read_bytes()):
    if values["step"] <= step:
      kept.append(f"{line}\n")
    last |= values
  write_aside(path, "".join(kept).encode())
  return last


def _tensorboard(workdir):
  """Opens clu's TensorBoard writer; None without TensorFlow, which is an extra."""
  if importlib.util.find_spec("tensorflow") is None:
    return None
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  from clu import metric_writers

  return metric_writers.SummaryWriter(str(workdir))
