"""Tables 1 and 2 of SCSNet and those of Cycle CNN: ours beside the rows that were printed."""

import dataclasses
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from scs_jax.metrics.estimates import REAL, REFERENTIAL, Estimate, Summary
from scs_jax.report import compare_paper as paper
from scs_jax.report.tables import Line, Table, rate

NONE = "-"


class Speed(NamedTuple):
  """Holds seconds of one call, warm: the median of `runs`, the least and the most of them."""

  seconds: float
  least: float
  most: float
  runs: int

  @property
  def fps(self) -> float:
    return 1.0 / self.seconds


@dataclasses.dataclass
class Facts:
  """Holds what a table says of a row besides its figures.

  Attributes:
    name: as in the scores.
    true_light: whether it has the true picture's L, so that it is no candidate for the best.
    network: whether it is one, so that its speed is worth marking.
    parameters, speed: by part ("automatic", "referential", "pairs"); a part may be missing.
  """

  name: str
  true_light: bool = False
  network: bool = True
  parameters: dict[str, int] = dataclasses.field(default_factory=dict)
  speed: dict[str, Speed | float] = dataclasses.field(default_factory=dict)

  def fps(self, part: str) -> float | None:
    found = self.speed.get(part)
    return found.fps if isinstance(found, Speed) else found


class Measured(NamedTuple):
  """Holds one data set's figures.

  Attributes:
    name: of the data set.
    summary: by mode, REFERENTIAL among them.
    counts: {mode: pictures}.
    distances: {part: {row: FID}}.
    trivial: {mode: row} whose figures say nothing, and are not marked.
  """

  name: str
  summary: Summary
  counts: Mapping[str, int]
  distances: Mapping[str, Mapping[str, float]]
  trivial: Mapping[str, str] = types.MappingProxyType({})


Shown = tuple[str, float]  # a cell, and the number that it is compared by (NaN: none)
_NOTHING: Shown = (NONE, math.nan)


class _Column(NamedTuple):
  """Holds a column.

  Attributes:
    ours: (row, part) -> cell. theirs: a printed row -> cell.
    better: 1 where larger is, -1 where smaller is, 0 where neither is.
  """

  heading: str
  ours: Callable[[Facts, str], Shown]
  theirs: Callable[[paper.Row], str]
  better: int = 0


_NO_OURS = lambda facts, mode: _NOTHING
_NO_THEIRS = lambda row: NONE


def table_1(
  sets: Sequence[Measured], facts: Sequence[Facts], why_not: str, failed: Mapping[str, str]
) -> Table:
  """Makes the image-level table; why_not: why there is no FID, empty where there is."""
  names = {found.name: paper.find_set(found.name, paper.TABLE_1) for found in sets}
  columns = []
  for found in sets:
    theirs = names[found.name]
    if theirs or not why_not:
      columns.append(_Column(f"{found.name} FID ↓", _distance([found]), _printed(theirs, 0), -1))
    columns.append(_Column(f"{found.name} colourfulness", _colorfulness([found]), _NO_THEIRS))
    if theirs:
      columns.append(_Column(f"{found.name} CN ↑", _NO_OURS, _printed(theirs, 1)))
  if len(sets) > 1:
    if not why_not:
      columns.append(_Column("mean FID ↓", _distance(sets), _NO_THEIRS, -1))
    columns.append(_Column("mean colourfulness", _colorfulness(sets), _NO_THEIRS))
  columns += _costs({"automatic": "automatic", REFERENTIAL: REFERENTIAL})
  for theirs in paper.sets_of(paper.TABLE_1):
    if theirs not in names.values():
      columns.append(_Column(f"{theirs} FID ↓", _NO_OURS, _printed(theirs, 0)))
      columns.append(_Column(f"{theirs} CN ↑", _NO_OURS, _printed(theirs, 1)))
  parts = [
    ("automatic", "automatic", "Automatic"),
    (REFERENTIAL, "referential", "Referential (self and random)"),
  ]
  real = paper.Row("", "", {name: (math.nan, cn) for name, cn in paper.REAL_CN.items()})
  cells = [
    found if (found := column.ours(Facts(REAL), "automatic")[0]) != NONE else column.theirs(real)
    for column in columns
  ]
  notes = [
    f"Rows marked [paper] are printed in {paper.SCSNET}, Table 1: its own data, pictures and "
    f"hardware ({paper.HARDWARE}); they are facts beside ours, not measured here.",
    "CN is a network (Zerman et al. 2019) without public weights: the paper's column alone. "
    "Colourfulness is Hasler and Suesstrunk's, another scale; neither high nor low is best, near "
    "the real pictures' is.",
  ]
  notes += [f"FID: {why_not}"] if why_not else []
  table = _build("Table 1: image-level evaluation", sets, facts, columns, parts, paper.TABLE_1)
  table.parts.insert(0, ("", [Line(("real pictures", *cells))]))
  return _finish(table, notes, failed)


def table_2(
  sets: Sequence[Measured], facts: Sequence[Facts], why_not: str, failed: Mapping[str, str]
) -> Table:
  """Makes the pixel-level table: automatic, by the distorted picture itself; maybe LPIPS."""
  columns = _pixel_columns(
    sets, paper.TABLE_2, {"automatic": "automatic", "self": REFERENTIAL}
  )
  parts = [("automatic", "automatic", "Automatic"), ("self", "referential", "Self-reference")]
  notes = [
    f"Rows marked [paper] are printed in {paper.SCSNET}, Table 2, which does not say over which "
    "channels; ours are over R, G and B, with 95 % bootstrap intervals of the mean."
  ]
  notes += [f"LPIPS: {why_not}"] if why_not else []
  table = _build("Table 2: pixel-level evaluation", sets, facts, columns, parts, paper.TABLE_2)
  return _finish(table, notes, failed)


def table_pairs(
  sets: Sequence[Measured], facts: Sequence[Facts], failed: Mapping[str, str]
) -> Table:
  """Makes the table of stereo pairs, as Tables II to V of the Cycle CNN paper."""
  columns = _pixel_columns(sets, paper.PAIRS, {"first": "pairs", "second": "pairs"})
  parts = [("first", "first", "First-time"), ("second", "second", "Second-time")]
  notes = [
    f"Rows marked [paper] are printed in {paper.CYCLE}, Tables II to V: its own pairs, sizes and "
    "hardware (time of 512x400 pixels on a Titan X, Jeon's on a CPU). Dong is the supervised "
    "method of the synthesized sets. Channels are not stated; ours are R, G and B, with 95 % "
    "bootstrap intervals of the mean.",
    "pictures a second: of one first-time colorization.",
  ]
  title = "Pairs: first- and second-time results"
  return _finish(_build(title, sets, facts, columns, parts, paper.PAIRS), notes, failed)


# --- columns


def _distance(sets: Sequence[Measured]):
  """Gives FID, the mean over the data sets."""

  def ours(facts: Facts, mode: str) -> Shown:
    values = [found.distances.get(mode, {}).get(facts.name, math.nan) for found in sets]
    return _number(sum(values) / len(values), 3)

  return ours


def _colorfulness(sets: Sequence[Measured]):
  def ours(facts: Facts, mode: str) -> Shown:
    rows = [found.summary.of.get(mode, {}).get(facts.name, {}) for found in sets]
    values = [_mean(by.get("colorfulness_hs")) for by in rows]
    return _number(sum(values) / len(values), 1)

  return ours


_PIXEL = (("psnr_rgb", "PSNR ↑", 2, 1), ("ssim_rgb", "SSIM ↑", 3, 1), ("lpips", "LPIPS ↓", 3, -1))


def _pixel_columns(sets: Sequence[Measured], printed, costs: Mapping[str, str]) -> list[_Column]:
  names = {found.name: paper.find_set(found.name, printed) for found in sets}
  columns = []
  for found in sets:
    rows = [row for by in found.summary.of.values() for row in by.values()]
    for place, (metric, heading, decimals, better) in enumerate(_PIXEL):
      if any(metric in row for row in rows):
        theirs = _printed(names[found.name], place) if place < 2 else _NO_THEIRS
        ours = _estimated(found, metric, decimals)
        columns.append(_Column(f"{found.name} {heading}", ours, theirs, better))
  columns += _costs(costs)
  for name in paper.sets_of(printed):
    if name not in names.values():
      for place, (_, heading, _, _) in enumerate(_PIXEL[:2]):
        columns.append(_Column(f"{name} {heading}", _NO_OURS, _printed(name, place)))
  return columns


def _estimated(found: Measured, metric: str, decimals: int):
  def ours(facts: Facts, mode: str) -> Shown:
    estimate = found.summary.of.get(mode, {}).get(facts.name, {}).get(metric)
    if estimate is not None and estimate.infinite and not estimate.n:
      return "equal", math.nan  # to the true picture, every one
    shown, value = _number(_mean(estimate), decimals)
    if estimate is not None and math.isfinite(estimate.low):
      shown += f" [{estimate.low:.{decimals}f}, {estimate.high:.{decimals}f}]"
    return shown, value

  return ours


def _costs(parts: Mapping[str, str]) -> list[_Column]:
  """Makes the columns of parameters and speed; parts: {mode: what its cost is called}."""

  def parameters(facts: Facts, mode: str) -> Shown:
    found = facts.parameters.get(parts[mode])
    return _NOTHING if found is None else _number(found / 1e6, 3)

  def speed(facts: Facts, mode: str) -> Shown:
    fps = facts.fps(parts[mode])
    return _NOTHING if fps is None else (rate(fps), fps if facts.network else math.nan)

  return [
    _Column("parameters, M ↓", parameters, lambda row: _number(row.parameters, 3)[0], -1),
    _Column("pictures a second ↑", speed, lambda row: NONE if not row.fps else rate(row.fps), 1),
  ]


def _printed(name: str | None, place: int) -> Callable[[paper.Row], str]:
  def theirs(row: paper.Row) -> str:
    value = row.values.get(name, (math.nan, math.nan))[place]
    # As printed: pairs' decibels have two decimals, all else three or, of the real pairs, four.
    if row.part in ("first", "second"):
      return _number(value, 2 if place == 0 else 4 if name == "Real Dataset" else 3)[0]
    return _number(value, 3)[0]

  return theirs


# --- lines


def _build(title, sets, facts: Sequence[Facts], columns: list[_Column], parts, printed) -> Table:
  theirs = [i for i, column in enumerate(columns, 1) if column.ours is _NO_OURS]
  table = Table(["", *(column.heading for column in columns)], [], title, paper=theirs)
  for mode, called, words in parts:
    there = [f for f in facts if any(f.name in found.summary.of.get(mode, {}) for found in sets)]
    cells = [[column.ours(f, mode) for column in columns] for f in there]
    aside = {found.trivial.get(mode) for found in sets} | {f.name for f in there if f.true_light}
    best = _best([f.name not in aside for f in there], columns, cells)
    lines = [
      Line((f.name, *(text for text, _ in row)), tuple(marked))
      for f, row, marked in zip(there, cells, best, strict=True)
    ]
    lines += [
      Line((f"[paper] {row.name}", *(column.theirs(row) for column in columns)), paper=True)
      for row in printed
      if row.part == called
    ]
    counts = ", ".join(f"{found.counts.get(mode, 0)} of {found.name}" for found in sets)
    table.parts.append((f"{words}: {counts}", lines))
  return table


def _best(counts: Sequence[bool], columns: Sequence[_Column], cells) -> list[list[int]]:
  """Lists for each row the numbers of the columns in which it is best of those that count."""
  marks: list[list[int]] = [[] for _ in counts]
  for place, column in enumerate(columns):
    values = {
      k: column.better * row[place][1]
      for k, row in enumerate(cells)
      if column.better and math.isfinite(row[place][1]) and counts[k]
    }
    for k, value in values.items():
      if len(values) > 1 and value == max(values.values()):
        marks[k].append(place + 1)
  return marks


def _finish(table: Table, notes: Sequence[str], failed: Mapping[str, str]) -> Table:
  """Adds the notes, and a line for each row that failed."""
  if failed:
    blank = [NONE] * (len(table.header) - 2)
    lines = [Line((name, "failed", *blank)) for name in failed]
    table.parts.append(("Failed: the notes say why", lines))
  table.notes = notes
  return table


def _mean(estimate: Estimate | None) -> float:
  return math.nan if estimate is None or not estimate.n else estimate.mean


def _number(value: float | None, decimals: int) -> Shown:
  """Returns the value as shown, and as far as its decimals tell."""
  if value is None or not math.isfinite(value):
    return _NOTHING
  return f"{value:.{decimals}f}", round(value, decimals)
