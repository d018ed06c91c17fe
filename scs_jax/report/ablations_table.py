"""Turns trained rows into a table: our figures beside the paper's, differences to the base."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scs_jax.core.ablations import UNREFINED, Column, Table
from scs_jax.core.ablations_result import RowResult
from scs_jax.metrics.estimates import REFERENTIAL, is_of_color
from scs_jax.metrics.intervals import percentile_interval, resampled_means
from scs_jax.report import tables

_SEED = 0


class Figure(NamedTuple):
  """Holds a mean with its 95 % bootstrap interval over pictures (NaN: none), and their number."""

  mean: float
  low: float = math.nan
  high: float = math.nan
  n: int = 0


class Cell(NamedTuple):
  """Holds one column of one row; None: there is no such figure.

  Attributes:
    paper, paper_difference: as printed, and to the base row's.
    ours, difference: ours, and to our base row, picture by picture.
  """

  paper: float | None = None
  paper_difference: float | None = None
  ours: Figure | None = None
  difference: Figure | None = None


Cells = dict[str, dict[str, Cell]]


def fill(table: Table, results: Mapping[str, RowResult | None]) -> Cells:
  """Fills {row: {heading: Cell}}; rows that are not done have the paper's figures alone."""
  done = {name: r for name, r in results.items() if r is not None and r.status == "done"}
  printed = {row.name: table.figures(row) for row in table.rows}
  cells: Cells = {row.name: {} for row in table.rows}
  for column in table.columns:
    ours, differences = _ours(table, column, done)
    base = printed[table.base].get(column.paper)
    for name in cells:
      paper = printed[name].get(column.paper)
      apart = None if paper is None or base is None or name == table.base else paper - base
      cells[name][column.heading] = Cell(paper, apart, ours.get(name), differences.get(name))
  return cells


def _ours(table: Table, column: Column, done: Mapping[str, RowResult]):
  """Returns ({row: Figure}, {row: Figure}): means, and differences to the base row."""
  if column.measure is None or any(column.ours in result.sets for result in done.values()):
    found = {name: figure for name, r in done.items() if (figure := _whole(column, r)) is not None}
    base = found.get(table.base)
    apart = {n: Figure(f.mean - base.mean) for n, f in found.items() if base and n != table.base}
    return found, apart
  mode, scale, metric = column.measure
  at = "" if scale is None else f"@{scale:g}"
  modes = ("self", "random") if mode == REFERENTIAL else (mode,)
  rows = [n for n, r in done.items() if all(f"{m}{at}/{metric}" in r.scores for m in modes)]
  parts = [_paired([done[n].scores for n in rows], f"{m}{at}", metric) for m in modes]
  if not rows or not all(map(len, parts)):
    return {}, {}
  share = np.array([table.pictures[m.removesuffix(UNREFINED)] for m in modes], float)
  share /= share.sum()
  if table.base in rows:
    i = rows.index(table.base)
    parts = [np.concatenate([part, part - part[:, i : i + 1]], axis=1) for part in parts]
  means = sum(w * part.mean(axis=0) for w, part in zip(share, parts, strict=True))
  bounds = np.full((2, len(means)), np.nan)
  if min(map(len, parts)) >= 2:
    drawn = [resampled_means(part, _SEED + k) for k, part in enumerate(parts)]
    bounds = percentile_interval(sum(w * d for w, d in zip(share, drawn, strict=True)))
  n = sum(map(len, parts))
  figures = [Figure(*map(float, f), n) for f in zip(means, *bounds, strict=True)]
  ours, apart = dict(zip(rows, figures, strict=False)), {}
  if table.base in rows:
    apart = dict(zip(rows, figures[len(rows) :], strict=True))
    del apart[table.base]
  return ours, apart


def _paired(scores: Sequence[Mapping[str, np.ndarray]], place: str, metric: str) -> np.ndarray:
  """Keeps what counts for every row, [pictures, rows], so that all means are over the same."""
  if not scores:
    return np.zeros((0, 0))
  shared = scores[0][f"{place}/record"]
  for row in scores[1:]:
    shared = np.intersect1d(shared, row[f"{place}/record"])
  columns, gray = [], np.zeros(len(shared), bool)
  for row in scores:
    _, there, _ = np.intersect1d(row[f"{place}/record"], shared, return_indices=True)
    columns.append(row[f"{place}/{metric}"][there])
    gray |= row[f"{place}/gray"][there].astype(bool)
  values = np.stack(columns, axis=1)
  counts = np.isfinite(values).all(axis=1)
  return values[counts & ~gray] if is_of_color(metric) else values[counts]


def _whole(column: Column, result: RowResult) -> Figure | None:
  """Finds a figure of a set, the network, or the clock, which has no pictures to resample."""
  if column.ours in result.sets:
    found = result.sets[column.ours]
    return Figure(found["mean"], n=found["n"])
  if column.ours.startswith("parameters:"):
    counts = result.about.get("parameters", {})
    parts = column.ours.removeprefix("parameters:").split("|")
    there = [counts[part] for part in parts if part in counts]
    return Figure(sum(there) / 1e6) if there else None
  milliseconds = result.about.get("ms", {}).get(column.ours.removeprefix("ms@"))
  return None if milliseconds is None else Figure(milliseconds)


def agreement(table: Table, cells: Cells) -> list[str]:
  """Says for each column with both figures how often our difference has the paper's sign."""
  lines = []
  for column in table.columns:
    pairs = [by[column.heading] for name, by in cells.items() if name != table.base]
    pairs = [c for c in pairs if c.difference is not None and c.paper_difference is not None]
    if not pairs:
      continue
    unsure = sum(c.difference.low <= 0 <= c.difference.high for c in pairs)
    same = sum(
      c.difference.mean * c.paper_difference > 0 and not c.difference.low <= 0 <= c.difference.high
      for c in pairs
    )
    lines.append(
      f"{column.heading}: of {len(pairs)} {'difference' if len(pairs) == 1 else 'differences'} to "
      f"{table.base!r}, {same} "
      f"{'has' if same == 1 else 'have'} the paper's sign, {len(pairs) - same - unsure} the other, "
      f"{unsure} {'is' if unsure == 1 else 'are'} undecided (the interval holds 0)"
      if any(math.isfinite(c.difference.low) for c in pairs)
      else f"{column.heading}: of {len(pairs)} differences to {table.base!r}, {same} with the "
      "paper's sign"
      + ("; they have no intervals, so that chance is not ruled out" if column.measure else "")
    )
  return lines


def header(table: Table) -> list[str]:
  """Lists the headings of `lines`."""
  found = ["row"]
  for column in table.columns:
    arrow = {1: " ↑", -1: " ↓"}.get(column.better, "")
    if column.paper:
      found += [f"{column.heading}{arrow}, paper", "to base"]
    if column.ours:
      found += [f"{column.heading}{arrow}, ours", "to base"]
  return [*found, "M parameters", "steps"]


def lines(
  table: Table, results: Mapping[str, RowResult | None], cells: Cells, intervals: bool = True
) -> list[list[str]]:
  """Writes the table as text, a list a row; figures that are not there are a dash."""
  found = []
  printed = {column.heading: _printed_decimals(table, column) for column in table.columns}
  for name, by in cells.items():
    line = [f"{name} (base)" if name == table.base else name]
    for column in table.columns:
      cell, d = by[column.heading], column.decimals
      if column.paper:
        p = printed[column.heading]
        line += [_number(cell.paper, p), _number(cell.paper_difference, p, "+")]
      if column.ours:
        line += [_figure(cell.ours, d, "", intervals), _figure(cell.difference, d, "+", intervals)]
    found.append([*line, *_end(results.get(name))])
  return found


def _printed_decimals(table: Table, column: Column) -> int:
  """Counts what the paper prints: what the longest of its figures needs."""
  figures = [table.figures(row).get(column.paper) for row in table.rows]
  return max((len(repr(x).partition(".")[2]) for x in figures if x is not None), default=0)


def _end(result: RowResult | None) -> list[str]:
  if result is None or result.status == "running":
    return ["–", "not trained yet" if result is None else "not finished"]
  if result.status == "failed":
    return ["–", "failed"]
  if result.status != "done":
    return ["–", result.status]
  return [f"{result.about['total_parameters'] / 1e6:.3f}", f"{result.about['steps']:,}"]


def _number(value: float | None, decimals: int, sign: str = "") -> str:
  return "–" if value is None else f"{value:{sign}.{decimals}f}"


def _figure(figure: Figure | None, decimals: int, sign: str, intervals: bool) -> str:
  if figure is None:
    return "–"
  text = _number(figure.mean, decimals, sign)
  if not intervals or math.isnan(figure.low):
    return text
  bounds = _number(figure.low, decimals, sign), _number(figure.high, decimals, sign)
  return f"{text} [{bounds[0]}, {bounds[1]}]"


def shown(
  table: Table, results: Mapping[str, RowResult | None], cells: Cells,
  title: str = "", notes: Sequence[str] = (),
) -> tables.Table:  # fmt: skip
  """Makes the table as it is shown, with the paper's figures and their differences set apart."""
  head = header(table)
  theirs = [i for i, text in enumerate(head) if text.endswith(", paper")]
  rows = [tables.Line(line) for line in lines(table, results, cells)]
  paper = [i + more for i in theirs for more in (0, 1)]
  return tables.Table(head, [("", rows)], title, notes, paper=paper)


def to_csv(table: Table, results: Mapping[str, RowResult | None], cells: Cells) -> bytes:
  """Writes CSV with a line a row, every figure in full."""
  parts = ("paper", "paper difference", "ours", "low", "high", "pictures", "difference",
           "difference low", "difference high")  # fmt: skip
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  headings = [f"{column.heading}: {part}" for column in table.columns for part in parts]
  writer.writerow(["row", "base", "status", "reason", "steps", "parameters", *headings])
  plain = lambda x: "" if x is None or (isinstance(x, float) and math.isnan(x)) else repr(x)
  for name, by in cells.items():
    result = results.get(name)
    about = result.about if result else {}
    start = [name, int(name == table.base), result.status if result else "not trained"]
    start += [result.reason if result else "", about.get("steps", "")]
    start.append(about.get("total_parameters", ""))
    for column in table.columns:
      cell = by[column.heading]
      ours, apart = cell.ours or Figure(math.nan), cell.difference or Figure(math.nan)
      values = [cell.paper, cell.paper_difference, ours.mean, ours.low, ours.high, ours.n or None]
      start += map(plain, [*values, apart.mean, apart.low, apart.high])
    writer.writerow(start)
  return text.getvalue().encode()
