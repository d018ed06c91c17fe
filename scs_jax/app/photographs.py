"""Colours the photographs that somebody sent, one after the other, and says how far it is."""

import dataclasses
import functools
import math
import pathlib
import zipfile
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from scs_jax.app import places, words
from scs_jax.app.networks import Networks
from scs_jax.app.turns import Turns
from scs_jax.core import files
from scs_jax.errors import UserError
from scs_jax.infer import batch, inputs, pictures, record, references
from scs_jax.report import panels

_SHOWN = 1600  # pixels a side of what the page shows
_ALL = "photographs.zip"


@dataclasses.dataclass(frozen=True)
class Asked:
  """What somebody asks for.

  Attributes:
    photographs: files.
    references: files that lend their colours: one for all, or each photograph takes that of its
      name, else the most similar; none: automatic.
    network: a name that Networks offers.
    scale, keep_luminance, saturation: of batch.Settings; a scale of 1 keeps the size.
  """

  photographs: Sequence[str]
  references: Sequence[str] = ()
  network: str = ""
  scale: float = 1.0
  keep_luminance: bool = False
  saturation: float = 1.0


@dataclasses.dataclass(frozen=True)
class Done:
  """A photograph that has been coloured.

  Attributes:
    name: of the result.
    source, output: files.
    before, after: files with pictures for the page, of one size.
    reference: file that lent the colours; "" for none.
    network: what coloured it.
  """

  name: str
  source: str
  output: str
  before: str
  after: str
  reference: str
  network: str


@dataclasses.dataclass
class State:
  """How far a job is.

  Attributes:
    total: photographs in all.
    now: the one at work, or what it waits for; "" at the end.
    done: those that are coloured, in order.
    broken: (name, cause) of those that could not be.
    notes: lines that a user would want to know, some with "warning: " after the name.
    archive: file with all results, at the end of a job of several; else "".
  """

  total: int
  now: str = ""
  done: list[Done] = dataclasses.field(default_factory=list)
  broken: list[tuple[str, str]] = dataclasses.field(default_factory=list)
  notes: list[str] = dataclasses.field(default_factory=list)
  archive: str = ""


def color(
  asked: Asked, folder: pathlib.Path, networks: Networks, turns: Turns, max_pixels: int
) -> Iterator[State]:
  """Colours photographs into an empty folder; yields the same State before each and at the end.

  Args:
    asked: what is asked for.
    folder: takes the results and what belongs to them.
    networks, turns: the page's.
    max_pixels: photographs, and results, of more pixels are refused.

  Raises:
    UserError: a network that takes no reference, references of which none can be read, a scale
      that the network does not do.
    OSError: results cannot be written.
  """
  sources = places.gather(asked.photographs, folder / "in")
  lenders = places.gather(asked.references, folder / "references")
  found = inputs.find(sources, str(folder / "out"))
  read = functools.partial(read_within, max_pixels=max_pixels, scale=asked.scale)
  network = networks.name_for(asked.network, alone=not lenders and asked.scale == 1)
  settings = batch.Settings(
    None if asked.scale == 1 else asked.scale, None, asked.keep_luminance, asked.saturation
  )
  state, lending = State(len(found.tasks)), None
  for number, task in enumerate(found.tasks, 1):
    state.now = f"{number} of {state.total}, {task.relative}"
    if turns.waiting:
      state.now += ": waiting for the pictures of others"
    yield state
    with turns.turn():
      if lenders and lending is None:
        place = lenders[0] if len(lenders) == 1 else folder / "references"
        lending = _Lending(references.References(place, read))
      if task.video:
        state.broken.append((task.relative, _VIDEO))
        continue
      outcome = batch.color_all(
        [task],
        settings,
        record.Record(None, {}),
        lambda: networks.colorizer(network),
        lending,
        quiet=True,
        read=read,
        say=lambda line: state.notes.append(words.for_page(line, folder)),
      )
      for _, cause in outcome.broken:
        cause = words.for_page(cause, folder).removeprefix(f"{task.relative}: ")
        state.broken.append((task.relative, cause))
      if outcome.colored:
        lent = folder / "references" / lending.name if lending else ""
        shown = _show(task, folder / "shown" / str(number))
        name = pathlib.PurePath(task.output).name
        state.done.append(Done(name, task.source, task.output, *shown, str(lent), network))
  state.now = ""
  if len(state.done) > 1:
    state.archive = str(folder / _ALL)
    with zipfile.ZipFile(state.archive, "w") as archive:  # stored: pictures are packed already
      for done in state.done:
        archive.write(done.output, done.name)
  yield state


_VIDEO = "it is a video; `scs-jax colorize` colours videos, the page pictures alone"


class _Lending:
  """References that remember whom they gave last.

  Attributes:
    name: of the reference chosen last.
  """

  def __init__(self, lenders: references.References):
    self._lenders, self.name = lenders, ""

  def choose(self, name: str, picture: pictures.Picture) -> references.Choice:
    choice = self._lenders.choose(name, picture)
    self.name = choice.name
    return choice


def read_within(path: str, max_pixels: int, scale: float = 1.0) -> pictures.Picture:
  """Reads a picture that has, and whose result would have, `max_pixels` at most.

  Raises:
    DecodeError: it cannot be read, or has more.
    UserError: its result would have more.
  """
  name = pathlib.PurePath(path).name
  picture = pictures.read(path, name=name, max_pixels=max_pixels)
  height, width = picture.gray.shape
  if math.prod((height, width)) * scale**2 > max_pixels:
    most = math.floor(100 * math.sqrt(max_pixels / (height * width))) / 100
    raise UserError(
      f"{width}x{height} pixels, {scale:g} times as large a side, would be more than the "
      f"{max_pixels:,} that this page takes; choose a “{words.MAGNIFICATION}” of {most:g} or less"
    )
  return picture


def _show(task: inputs.Task, folder: pathlib.Path) -> tuple[str, str]:
  """Writes the gray photograph and its result for the page, both of the result's size."""
  after = panels.reduced(pictures.read(task.output).rgb, _SHOWN)
  gray = np.round(pictures.read(task.source).gray * 255).astype(np.uint8)
  size = after.shape[1::-1]
  before = np.asarray(Image.fromarray(gray).resize(size, Image.Resampling.BICUBIC))
  return write_shown(folder, before=before, after=after)


def write_shown(folder: pathlib.Path, **named: np.ndarray) -> tuple[str, ...]:
  """Writes pictures for the page, uint8 [H, W] or [H, W, 3], as JPEGs; returns their paths."""
  for name, image in named.items():
    files.write_aside(folder / f"{name}.jpg", panels.jpeg(image))
  return tuple(str(folder / f"{name}.jpg") for name in named)
