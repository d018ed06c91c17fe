"""Colours a pair of a monochrome and a colour camera, and says how good a pair it is."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator

import numpy as np

from scs_jax.app import places, words
from scs_jax.app.networks import Networks
from scs_jax.app.photographs import read_within, write_shown
from scs_jax.app.turns import Turns
from scs_jax.data import stereo, stereo_check
from scs_jax.data.stereo_layouts import Record
from scs_jax.errors import DecodeError, UserError
from scs_jax.infer import batch, pair_inputs, pictures, record
from scs_jax.infer.pairs import Found, PairColorizer
from scs_jax.report import pairs_panels, panels, stereo_plot

_SHOWN = 1600  # pixels a side of what the page shows
_RAMP = np.linspace(0.0, 1.0, 256)[None]


@dataclasses.dataclass(frozen=True)
class Asked:
  """What somebody asks for.

  Attributes:
    mono, color: files.
    network: a name that Networks offers for pairs.
    mono_view, saturation: of PairColorizer.
  """

  mono: str
  color: str
  network: str
  mono_view: str = "auto"
  saturation: float = 1.0


@dataclasses.dataclass
class State:
  """How far a pair is, and what came of it.

  Attributes:
    now: what is under way; "" at the end.
    warnings: what the check finds wrong with the pair, a sentence each.
    notes: lines that a user would want to know, some begun by "warning: ".
    output: file of the result.
    before, after, disparity, confidence, check: files with pictures for the page; "" where there is
      none.
  """

  now: str = ""
  warnings: list[str] = dataclasses.field(default_factory=list)
  notes: list[str] = dataclasses.field(default_factory=list)
  output: str = ""
  before: str = ""
  after: str = ""
  disparity: str = ""
  confidence: str = ""
  check: str = ""


def color(
  asked: Asked, folder: pathlib.Path, networks: Networks, turns: Turns, max_pixels: int
) -> Iterator[State]:
  """Colours a pair into an empty folder; yields the same State as it goes on.

  Raises:
    UserError: no pair, or one that cannot be coloured.
    OSError: the result cannot be written.
  """
  (mono,) = places.gather([asked.mono], folder / "mono")
  (other,) = places.gather([asked.color], folder / "color")
  found = pair_inputs.find(mono, other, str(folder / "out"))
  read = functools.partial(read_within, max_pixels=max_pixels)
  state = State("waiting for the pictures of others" if turns.waiting else "colouring")
  yield state
  with turns.turn():
    keeper = _Keeper(networks.pair_colorizer(asked.network, asked.mono_view))
    outcome = batch.color_all(
      found.tasks,
      batch.Settings(saturation=asked.saturation),
      record.Record(None, {}),
      lambda: keeper,
      pair_inputs.Partners(found.tasks, read),
      quiet=True,
      read=read,
      say=lambda line: state.notes.append(words.for_page(line, folder).partition(": ")[2]),
    )
    if outcome.broken:
      raise UserError(outcome.broken[0][1])
    state.output = found.tasks[0].output
    _show(state, mono, keeper.found, folder / "shown")
    state.now = "checking whether the pair is rectified"
    yield state
    if keeper.found.layout.view in stereo.MONO_VIEWS:  # not of cameras above each other
      range_ = networks.search_range(asked.network)
      _check(state, (mono, other), keeper.found.layout.view, range_, folder)
  state.now = ""
  yield state


class _Keeper:
  """A PairColorizer for a job that keeps the maps of the pair.

  Attributes:
    found: of the pair that was coloured last.
  """

  takes_reference, scales = PairColorizer.takes_reference, PairColorizer.scales

  def __init__(self, colorizer: PairColorizer):
    self._colorizer, self.note = colorizer, colorizer.note
    self.found: Found | None = None

  def color(self, picture, reference=None, **keywords) -> np.ndarray:
    self._colorizer.note = self.note
    self.found = self._colorizer.find(picture, reference, **keywords)
    return self.found.rgb


def _show(state: State, mono: str, found: Found, folder: pathlib.Path) -> None:
  """Writes the pictures for the page."""
  gray = np.round(pictures.read(mono).gray * 255).astype(np.uint8)
  after = panels.reduced(pictures.read(state.output).rgb, _SHOWN)
  state.before, state.after = write_shown(
    folder, before=panels.reduced(gray, _SHOWN), after=after
  )
  if found.disparity is not None:
    low, high = float(found.disparity.min()), float(found.disparity.max())
    painted = pairs_panels.paint(found.disparity, low, high)
    ramp, ends = pairs_panels.paint(_RAMP, 0.0, 1.0), (f"{low:.1f}", f"{high:.1f} pixels")
    painted = panels.barred(panels.reduced(painted, _SHOWN), ramp, *ends)
    (state.disparity,) = write_shown(folder, disparity=painted)
  if found.confidence is not None:
    low, high = float(found.confidence.min()), float(found.confidence.max())
    painted = panels.reduced(pairs_panels.paint_confidence(found.confidence), _SHOWN)
    ends = f"{low:.2g}", f"{high:.2g}"
    painted = panels.barred(painted, pairs_panels.paint_confidence(_RAMP), *ends)
    (state.confidence,) = write_shown(folder, confidence=painted)


def _check(
  state: State,
  views: tuple[str, str],
  mono_view: str,
  search_range: int | None,
  folder: pathlib.Path,
) -> None:
  """Measures the pair as `scs-jax data check-stereo` does, and draws what it found."""
  source = stereo.PairSource([Record("the pair", views, real=True)], mono_view)
  try:
    report = stereo_check.check_pair(source, 0, search_range or source.views(0)[0].shape[1])
  except DecodeError as error:
    state.notes.append(f"not checked: {words.explain(UserError(str(error)), folder)}")
    return
  state.warnings += report.problems
  sheet = stereo_plot.draw(report, search_range or report.size[1])
  (state.check,) = write_shown(folder / "shown", check=sheet)
