"""Colours a list of tasks: one picture at a time, the next one read and the last one written aside.

Nothing that is wrong with one picture stops the others; it is listed with its cause. What is wrong
with the place for the results (a full disk, no permission) stops the job. At any time three
pictures are in memory at most: one read ahead, one coloured, one being written.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import errno
import os
import stat
import threading
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from scs_jax.data import listing, location, remote
from scs_jax.data.decode import MAX_PIXELS, DecodeError
from scs_jax.errors import UserError
from scs_jax.infer import display, inputs, picture_files, pictures, resizing, video
from scs_jax.infer.colorizer import result_size
from scs_jax.infer.inputs import Task
from scs_jax.infer.record import Record
from scs_jax.infer.references import Choice


class Colors(Protocol):
  """Says what a job needs of a Colorizer."""

  takes_reference: bool
  scales: tuple[float, float]
  note: Callable[[str], None]

  def color(self, picture, reference=None, **keywords) -> np.ndarray: ...


class Lenders(Protocol):
  """Says what a job needs of References."""

  def choose(self, name: str, picture: pictures.Picture) -> Choice: ...


@dataclasses.dataclass(frozen=True)
class Settings:
  """Holds what decides a result beside weights and reference.

  Attributes:
    scale, size: at most one of them; size is (height, width), one of which may be None: by aspect.
      Neither keeps the picture's size.
    keep_luminance, saturation, input_side: the Colorizer's.
    quality: of JPEG and WebP, 1 to 100.
  """

  scale: float | None = None
  size: tuple[int | None, int | None] | None = None
  keep_luminance: bool = False
  saturation: float = 1.0
  input_side: int | None = None
  quality: int = 95

  def keywords(self, shape: tuple[int, int]) -> dict[str, Any]:
    """Keywords of Colorizer.color for a picture of this (height, width)."""
    size = None if self.size is None else _by_aspect(self.size, shape)
    return {
      "scale": self.scale,
      "size": size,
      "keep_luminance": self.keep_luminance or None,  # None: as the method is made
      "saturation": self.saturation,
      "input_side": self.input_side,
    }


@dataclasses.dataclass
class Outcome:
  """Holds what was done and what was not.

  Attributes:
    colored, skipped: how many were coloured, and how many were done already.
    broken: (name, cause) of what could not be coloured, in order.
    others: files that are no pictures, left alone.
    results: folders of earlier results, left out.
    spare: of pairs, colour pictures without a monochrome one.
  """

  colored: int = 0
  skipped: int = 0
  broken: list[tuple[str, str]] = dataclasses.field(default_factory=list)
  others: Collection[str] = ()
  results: Sequence[str] = ()
  spare: Sequence[str] = ()

  def show(self) -> None:
    """Prints it all; what could not be coloured, to stderr."""
    display.list_broken("could not be coloured", self.broken)
    if self.spare:
      few = ", ".join(self.spare[:10]) + (", ..." if len(self.spare) > 10 else "")
      display.say(f"colour pictures without a monochrome one: {len(self.spare)} ({few})")
    for line in listing.describe_results(self.results):
      display.say(line)
    if self.others:
      display.say(inputs.describe_others(self.others))
    counts = [f"{self.colored} coloured"]
    counts += [f"{self.skipped} skipped (done already)"] if self.skipped else []
    counts += [f"{len(self.broken)} broken"] if self.broken else []
    display.say(", ".join(counts))


class _Read(NamedTuple):
  picture: pictures.Picture
  reference: pictures.Picture | None
  reference_name: str | None
  notes: list[str]


def color_all(
  tasks: Sequence[Task],
  settings: Settings,
  record: Record,
  open_colorizer: Callable[[], Colors],
  references: Lenders | None = None,
  overwrite: bool = False,
  quiet: bool = False,
  read: Callable[[str], pictures.Picture] | None = None,
  say: Callable[[str], None] = display.say,
) -> Outcome:
  """Colours what is not done yet.

  Args:
    tasks: from `inputs.find`.
    record: of the output folder; its job must contain whatever decides a result.
    open_colorizer: called once, and only if anything is to do.
    references: what lends the colours: its `choose` gives each picture its own (for pairs, the
      partner).
    overwrite: does everything again, and replaces files that were not made here.
    quiet: no progress bar.
    read: opens a picture; None: pictures.read.
    say: receives a line about what a user would want to know of a picture.

  Raises:
    UserError: a file in the way, a method without references that was given one, a scale that the
      method does not do, no ffmpeg for a video named by itself.
    OSError, BucketError: results cannot be written; what was finished before is kept.
  """
  todo = [task for task in tasks if overwrite or not record.is_done(task)]
  outcome = Outcome(skipped=len(tasks) - len(todo))
  if not todo:
    return outcome
  if any(task.video and task.named for task in todo):
    video.find_ffmpeg()
  foreign = [] if overwrite else record.foreign_files(todo)
  if foreign:
    more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
    raise UserError(
      f"{foreign[0]}{more} is there already and was not made by this command; add --overwrite "
      "to replace it, or choose another --out"
    )
  colorizer = open_colorizer()
  if references is not None and not colorizer.takes_reference:
    raise UserError("this method takes no reference: leave --reference out")
  _check_scale(settings, colorizer)
  record.plan(todo)
  try:
    _Job(settings, record, colorizer, references, outcome, quiet, read, say).run(todo)
  finally:
    record.close()
  # What could not be written is known one picture later than what could not be read.
  order = {task.source: i for i, task in enumerate(todo)}
  outcome.broken.sort(key=lambda entry: order[entry[0]])
  return outcome


def _check_scale(settings: Settings, colorizer: Colors) -> None:
  """Refuses at once what the Colorizer would refuse for every picture."""
  if settings.size is not None and None not in settings.size:
    height, width = settings.size
    if height * width > MAX_PIXELS:
      raise UserError(
        f"the result would have {width}x{height} pixels, expected {MAX_PIXELS} at most; choose a "
        "smaller --scale or --size"
      )
  least, most = colorizer.scales
  direct = not settings.keep_luminance and settings.input_side is None
  if settings.scale is not None and direct and not least <= settings.scale <= most:
    raise UserError(
      f"--scale {settings.scale:g}: this method enlarges by {least:g} to {most:g}; beyond that, "
      "--keep-luminance enlarges its colours"
    )


class _Job:
  """The pipeline: read ahead -> colour -> write behind, in the order of the tasks."""

  def __init__(self, settings, record, colorizer, references, outcome, quiet, read, say):
    self._settings = settings
    self._record = record
    self._colorizer = colorizer
    self._references = references
    self._outcome = outcome
    self._quiet = quiet
    self._open = read or pictures.read
    self._say = say
    self._shown_bug = False
    self._said_stretched = False
    self._choosing = threading.Lock()

  def run(self, todo: Sequence[Task]) -> None:
    write: tuple[Task, str | None, concurrent.futures.Future] | None = None
    with contextlib.ExitStack() as stack:
      reader, writer = (concurrent.futures.ThreadPoolExecutor(1) for _ in range(2))
      stack.callback(writer.shutdown)
      stack.callback(reader.shutdown, cancel_futures=True)
      bar = stack.enter_context(display.bar(total=len(todo), unit="picture", disable=self._quiet))
      try:
        for task, reading in self._read_ahead(reader, todo):
          self._colorizer.note = lambda line, task=task: self._say(f"{task.relative}: {line}")
          made = self._color(task, reading)
          # Only now is the picture before settled: it was written while this one was coloured.
          write, before = None, write
          self._settle(before, bar)
          if made is not None:
            name, rgb, read = made
            write = task, name, writer.submit(self._write, task, rgb, read)
          else:
            bar.update()
      finally:
        self._settle(write, bar)

  def _read_ahead(self, pool, todo) -> Iterator[tuple[Task, concurrent.futures.Future]]:
    """Reads the tasks in order, each with its reading; the next one is read meanwhile."""
    following = collections.deque([(todo[0], pool.submit(self._read, todo[0]))])
    for task in [*todo[1:], None]:
      concurrent.futures.wait([following[0][1]])
      if task is not None:
        following.append((task, pool.submit(self._read, task)))
      yield following.popleft()

  def _read(self, task: Task) -> _Read | None:
    """Reads picture and reference in the reader's thread; None for a video."""
    try:
      if task.video and remote.is_remote(task.source):
        return None
      if task.video:
        if not stat.S_ISREG(os.stat(task.source).st_mode):
          raise DecodeError("it is no regular file")
        open(task.source, "rb").close()  # says why it cannot be; ffmpeg says less
        return None
      return self._with_reference(task, self._open(task.source))
    except OSError as error:  # of an input: it does not stop the others
      raise DecodeError(error.strerror or str(error)) from error

  def _with_reference(self, task: Task, picture: pictures.Picture) -> _Read:
    remarks = list(picture.remarks)
    if self._references is None:
      return _Read(picture, None, None, remarks)
    with self._choosing:  # a video's first frame, while the next picture is being read
      chosen = self._references.choose(task.relative, picture)
    return _Read(picture, chosen.picture, chosen.name, [*remarks, *chosen.notes])

  def _color(self, task: Task, reading) -> tuple[str | None, np.ndarray, _Read] | None:
    """Returns (reference's name, result, what was read); None where it is settled already."""
    with self._listing(task):
      read = reading.result()
      if read is None:
        self._color_video(task)
        return None
      self._say_all(task, read.notes)
      keywords = self._keywords(read.picture, task.output)
      return read.reference_name, self._paint(read.picture, read.reference, keywords), read
    return None

  def _keywords(self, picture, output: str) -> dict[str, Any]:
    """Keywords of Colorizer.color; raises UserError where the result's format cannot hold it."""
    keywords = self._settings.keywords(picture.gray.shape)
    form = picture_files.format_of(output)
    depth = picture.depth if form in picture_files.DEEP_FORMATS else 8
    size = result_size(picture.gray.shape, keywords["scale"], keywords["size"])
    picture_files.require_size(form, size, depth, picture.alpha is not None)
    return {**keywords, "depth": depth}

  def _paint(self, picture, reference, keywords: dict[str, Any]) -> np.ndarray:
    if keywords["size"] is not None and not self._said_stretched:
      (height, width), (h, w) = keywords["size"], picture.gray.shape
      stretched = height * w / (width * h)
      if not 0.98 <= stretched <= 1.02 and min(h, w) > 1:
        self._said_stretched = True
        self._say(
          f"--size {width}x{height} stretches a picture of {w}x{h} by {stretched:.2f}; {width}x or "
          f"x{height} keeps the aspect"
        )
    return self._colorizer.color(picture, reference, **keywords)

  def _color_video(self, task: Task) -> None:
    """Colours frame by frame, by the one reference that its first frame got."""
    first: list[_Read] = []

    def paint(frame: np.ndarray) -> np.ndarray:
      picture = pictures.read(frame, name=task.source)
      if not first:
        first.append(self._with_reference(task, picture))
        self._say_all(task, first[0].notes)
      return self._paint(
        picture, first[0].reference, self._settings.keywords(picture.gray.shape)
      )

    def show(frames, total):
      how = {"desc": display.printable(task.relative), "unit": "frame", "leave": False}
      return display.bar(frames, total=total, disable=self._quiet, **how)

    with contextlib.ExitStack() as stack:
      try:
        source = stack.enter_context(location.fetched(task.source))
      except OSError as error:  # of an input, as in _read
        raise DecodeError(error.strerror or str(error)) from error
      output = stack.enter_context(location.sending(task.output))
      try:
        lines = video.color_video(source, output, paint, show)
      except DecodeError as error:  # speaks of the copy, if it is one
        raise DecodeError(str(error).replace(source, task.source)) from error
    for line in lines:
      self._say(f"{task.relative}: {line}")
    self._record.finish(task, first[0].reference_name)
    self._outcome.colored += 1

  def _write(self, task: Task, rgb: np.ndarray, read: _Read) -> None:
    """Writes a result, in the writer's thread."""
    picture = read.picture
    alpha = picture.alpha
    if alpha is not None:
      alpha = resizing.resize_bytes(alpha, rgb.shape[:2])
    pictures.write(task.output, rgb, alpha, picture.metadata, quality=self._settings.quality)

  def _settle(self, write, bar) -> None:
    """Waits for a result to be written, and enters it."""
    if write is None:
      return
    task, reference, writing = write
    with self._listing(task):
      writing.result()
      self._record.finish(task, reference)
      self._outcome.colored += 1
    bar.update()

  def _say_all(self, task: Task, lines: list[str]) -> None:
    for line in lines:
      self._say(f"{task.relative}: {line}")

  @contextlib.contextmanager
  def _listing(self, task: Task) -> Iterator[None]:
    """Lists what goes wrong with one task; lets through what stops the job."""
    try:
      yield
    except remote.BucketError:  # the place for the results is at fault
      raise
    except Exception as error:
      cause = _explain(error)
      if cause is None and isinstance(error, OSError):  # so it is
        raise
      if cause is None:
        cause = f"a bug in scs_jax, please report it: {type(error).__name__}: {error}"
        if not self._shown_bug:
          self._shown_bug = True
          display.complain("".join(traceback.format_exception(error)))
      prefix = f"{task.source}: "
      self._outcome.broken.append((task.source, cause.removeprefix(prefix)))


def _explain(error: Exception) -> str | None:
  """Tells why one picture failed, in one line; None for a bug and for what stops the job."""
  if isinstance(error, (DecodeError, UserError)):
    return " ".join(str(error).split())
  if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
    return "out of memory; try a smaller --input-side, --scale or --memory-limit"
  if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
    return "the name of the result would be too long; rename the picture"
  if isinstance(error, OSError) and error.errno is None:  # an encoder's, not the system's
    return f"cannot be written ({error})"
  return None


def _by_aspect(asked: tuple[int | None, int | None], shape: tuple[int, int]) -> tuple[int, int]:
  """Returns (height, width) with the one that is None filled in by the picture's aspect."""
  height, width = asked
  if height is None:
    assert width is not None
    return max(1, round(width * shape[0] / shape[1])), width
  return height, width if width is not None else max(1, round(height * shape[1] / shape[0]))
