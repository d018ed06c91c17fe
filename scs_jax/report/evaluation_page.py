"""The evaluation's report: tables, distributions and pictures in one HTML file."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scs_jax.metrics.estimates import Estimate, Rows, Scores, Summary
from scs_jax.report import pages, plots, results, tables
from scs_jax.report.layout import PHOTOS, Column, Layout
from scs_jax.report.plots import Plot
from scs_jax.report.tables import Cell, Line, Table

# For each mode: what a group of pictures is, and for each picture a heading and captioned images.
Panels = Mapping[str, Sequence[tuple[str, Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]]]]


class Mode(NamedTuple):
  """Holds what a page shows of one mode; panels: as a value of Panels."""

  heading: str
  tables: Sequence[Table]
  plot: Plot | None
  panels: Sequence


class Section(NamedTuple):
  """Holds what a page shows of one data set."""

  heading: str
  about: Sequence[str]
  plots: Sequence[Plot | None]
  modes: Sequence[Mode]


def page(
  title: str,
  about: Sequence[str],
  notes: Sequence[str],
  record: Mapping,
  scores: Scores,
  summary: Summary,
  panels: Panels,
  layout: Layout = PHOTOS,
  more: Sequence[tuple[str, str, Table]] = (),
) -> bytes:
  """Makes the HTML file.

  Args:
    title: heading.
    about: paragraphs, plain text.
    notes: what a reader of the figures must know.
    record: what results.json holds besides the results; shown at the end.
    scores, summary: what was measured.
    panels: pictures.
    layout: of its tables.
    more: what stands between the results and the legend: (heading, words, table).
  """
  metric, label = layout.distribution

  def distribution(mode: str) -> Plot | None:
    colored = ~scores.gray[mode]
    of = {predictor: values[metric][colored] for predictor, values in scores.of[mode].items()}
    return plots.histograms(of, label)

  modes = [
    mode_of(mode, scores, summary, panels, layout, (), distribution(mode)) for mode in summary.of
  ]
  sections = [Section("", (), (), modes)]
  return measured(title, about, notes, (), sections, more, layout, {}, record)


def measured(
  title: str,
  about: Sequence[str],
  notes: Sequence[str],
  of: Sequence[Table],
  sections: Sequence[Section],
  more: Sequence[tuple[str, str, Table]],
  layout: Layout,
  words: Mapping[str, str],
  record: Mapping,
) -> bytes:
  """Makes the HTML file of an evaluation or a comparison.

  Args:
    of: tables of all data sets.
    words: {heading: what it means} for the legend besides the layout's.
    title, about, notes, more, layout, record: as of `page`.
  """
  return pages.render(
    "figures", title=title, about=about, notes=notes, tables=of, sections=sections, more=more,
    layout=layout, words=words, record=record_table(record),
  )  # fmt: skip


def mode_of(
  mode: str,
  scores: Scores,
  summary: Summary,
  panels: Panels,
  layout: Layout,
  aside: Sequence[str],
  plot: Plot | None = None,
) -> Mode:
  """Gathers what a page shows of a mode; aside: rows that are never marked as the best."""
  by, differences = summary.of[mode], summary.differences[mode]
  aside = (*scores.aside(mode), *aside)
  shown = [means_table(by, len(scores.records[mode]), layout, aside)]
  if differences:
    shown.append(differences_table(differences, next(iter(by)), layout.compared))
  return Mode(layout.modes.get(mode, mode), shown, plot, panels.get(mode, ()))


def means_table(by: Rows, n: int, layout: Layout, aside: Collection[str]) -> Table:
  """Shows all columns, the best of each in bold; aside: as of estimates.best_of."""
  rows, columns = [], layout.columns
  for predictor, estimates in by.items():
    row: list = [predictor]
    for _, metric, decimals, _ in columns:
      estimate = estimates.get(metric)
      cell = "" if estimate is None else _cell(estimate, decimals)
      # NaN is no candidate for the best.
      row.append(cell._replace(value=math.nan) if cell and predictor in aside else cell)
    rows.append(row)
  header = [f"mean of {n}, 95 % interval", *(heading for heading, *_ in columns)]
  place = lambda wanted: [i + 1 for i, (*_, better) in enumerate(columns) if better == wanted]
  made = tables.make(header, rows, best=place(1), least=place(-1))
  counts = [results.counted(by, metric) for _, metric, *_ in columns]
  if any(count != n for count in counts):
    made.foot = Line(["pictures", *map(str, counts)])
  return made


def differences_table(by: Rows, model: str, columns: Sequence[Column]) -> Table:
  """Shows the model minus each baseline."""
  rows = [
    [rival, *(_cell(rows[metric], decimals, "+") for _, metric, decimals, _ in columns)]
    for rival, rows in by.items()
  ]
  return tables.make([f"{model} minus, 95 % interval", *(c.heading for c in columns)], rows)


def _cell(estimate: Estimate, decimals: int, sign: str = "") -> Cell:
  text = f"{estimate.mean:{sign}.{decimals}f}" if estimate.n else "-"
  if math.isfinite(estimate.low):
    text += f" [{estimate.low:{sign}.{decimals}f}, {estimate.high:{sign}.{decimals}f}]"
  if estimate.infinite:
    text += f" + {estimate.infinite} equal"
  return Cell(round(estimate.mean, decimals), text)


def record_table(record: Mapping) -> Table:
  """Shows a nested record as dotted keys and values."""
  rows = []

  def walk(value, path):
    if isinstance(value, Mapping):
      for key, inner in value.items():
        walk(inner, f"{path}.{key}" if path else key)
    elif value not in (None, []):
      rows.append([path, ", ".join(map(str, value)) if isinstance(value, list) else str(value)])

  walk(record, "")
  return tables.make(["what", "value"], rows)
