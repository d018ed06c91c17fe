"""What a measurement ends in: tables, pictures and a record; on the screen, and in a folder."""

import dataclasses
import math
import os
import pathlib
import sys
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from scs_jax.data import location
from scs_jax.metrics.estimates import Estimate, Rows, Scores, Summary
from scs_jax.report import pages, plots, results, results_folder, tables
from scs_jax.report.layout import Column, Layout
from scs_jax.report.plots import Dot, Plot
from scs_jax.report.tables import Cell, Line, Table

# For each mode: what a group of pictures is, and for each picture a heading and captioned images.
Panels = Mapping[str, Sequence[tuple[str, Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]]]]

RESULTS, PAGE, TABLES = "results.json", "report.html", "tables.md"
FORMATS = {"evaluate": "scs_jax evaluation 2", "compare": "scs_jax comparison 1"}


@dataclasses.dataclass(kw_only=True)
class Section:
  """Holds what was measured on one data set.

  Attributes:
    name: of the data set; "" where it is the only one: then the page gives it no heading.
    about: paragraphs.
    scores: a number a picture, row and metric.
    summary: means with intervals, and differences to the first row.
    counts: {mode: pictures}.
    panels: pictures.
    plots: [(dots, label)], quality against speed.
    picture_name: number of a picture -> its name.
    reference_name: (mode, number) -> the name of what it was coloured by, or "".
    heading: (mode, pictures) -> what stands above a table on the screen.
  """

  name: str = ""
  about: Sequence[str] = ()
  scores: Scores
  summary: Summary
  counts: Mapping[str, int]
  panels: Panels = dataclasses.field(default_factory=dict)
  plots: Sequence[tuple[Sequence[Dot], str]] = ()
  picture_name: Callable[[int], str] = str
  reference_name: Callable[[str, int], str] = lambda mode, i: ""
  heading: Callable[[str, int], str] = "{}: {} pictures".format


@dataclasses.dataclass(kw_only=True)
class Report:
  """Holds the results of `scs_jax.evaluate` or `scs_jax.compare`.

  Attributes:
    verb: "evaluate" or "compare".
    title: heading; about: paragraphs under it.
    layout: which metrics are shown, in which words.
    record: what was measured with what, under which settings: of results.json.
    notes: what a reader of the figures must know.
    sections: of the data sets; `scores` and `summary` are those of the first.
    tables: of all data sets together.
    more: further parts of the page: (heading, words, table).
    aside: rows that are never marked as the best.
    words: {heading: what it means}, for the legend besides the layout's.
    closing: text below the tables on the screen.
    remarks: lines on what was left out or failed; complete: whether nothing was.
    folder: where it was written, a path or an address; None: nowhere yet.
  """

  verb: str
  title: str
  about: Sequence[str]
  layout: Layout
  record: Mapping
  notes: Sequence[str]
  sections: Sequence[Section]
  tables: Sequence[Table] = ()
  more: Sequence[tuple[str, str, Table]] = ()
  aside: Collection[str] = ()
  words: Mapping[str, str] = dataclasses.field(default_factory=dict)
  closing: str = ""
  remarks: Sequence[str] = ()
  complete: bool = True
  folder: pathlib.Path | str | None = None

  @property
  def scores(self) -> Scores:
    return self.sections[0].scores

  @property
  def summary(self) -> Summary:
    return self.sections[0].summary

  def show(self) -> None:
    """Prints the tables, where the files are, and what was left out (on standard error)."""
    compares = self.verb == "compare"
    for section in self.sections:
      for mode, by in section.summary.of.items():
        if mode not in self.layout.modes:
          continue
        n = section.counts[mode]
        print(section.heading(mode, n))
        aside = (*section.scores.aside(mode), *self.aside)
        print(results.screen_table(by, n, self.layout, aside), end="\n\n")
        differences = {} if compares else section.summary.differences[mode]
        if shown := results.screen_differences(differences, next(iter(by)), self.layout):
          print(shown, end="\n\n")
    compared = compares or any(self.sections[0].summary.differences.values())
    print(results.screen_legend(compared, not compares))
    if self.closing:
      print(self.closing)
    if self.folder is not None:
      for name in [TABLES] * bool(self.tables) + [PAGE]:
        path = location.inside(self.folder, name)
        shown = path if isinstance(path, str) else path.resolve()
        print(f"{'tables' if name == TABLES else 'report'}: {shown}")
    for line in self.remarks:
      print(line, file=sys.stderr)

  def write(self, folder: str | os.PathLike, overwrite: bool = False) -> None:
    """Writes results.json, a CSV file a data set with a line a picture, and a page; maybe tables.

    Args:
      folder: here or in a bucket.
      overwrite: replace whatever is there.

    Raises:
      UserError: other files of these names are there, or results of other settings, and not
        `overwrite`; a bucket cannot be written to.
    """
    folder, contents = location.as_path(folder), self._contents()
    if not overwrite:
      results_folder.require_free(
        folder, self.record["identity"], list(contents), FORMATS[self.verb], self.verb
      )
    results_folder.write(folder, contents)
    self.folder = folder

  def _contents(self) -> dict[str, bytes]:
    figures = {s.name: results.summary_record(s.summary) for s in self.sections}
    whole = {"format": FORMATS[self.verb], **self.record, "metrics": dict(self.layout.definitions)}
    whole |= figures.get("", {"figures": figures})
    # results.json goes first, so that what stands beside it is then known as ours.
    contents = {RESULTS: results.dump(whole)}
    for s in self.sections:
      contents[csv_name(s.name)] = results.to_csv(s.scores, s.picture_name, s.reference_name)
    if self.tables:
      heading = f"# {self.title}\n\n`{self.record['command']}`\n\n"
      text = heading + "\n".join(map(tables.to_markdown, self.tables))
      contents[TABLES] = text.encode("utf-8", "backslashreplace")
    contents[PAGE] = self.page()
    return contents

  def page(self) -> bytes:
    """Makes the HTML file: it opens offline, on a phone as well."""
    return pages.render(
      "figures", title=self.title, about=self.about, notes=self.notes, tables=self.tables,
      sections=[self._shown(section) for section in self.sections], more=self.more,
      layout=self.layout, words=self.words, record=record_table(self.record),
    )  # fmt: skip

  def _shown(self, section: Section) -> dict:
    modes = [self._mode(section, m) for m in section.summary.of if m in self.layout.modes]
    drawn = [plots.scatter(dots, label) for dots, label in section.plots]
    return {"heading": section.name, "about": section.about, "plots": drawn, "modes": modes}

  def _mode(self, section: Section, mode: str) -> dict:
    by, differences = section.summary.of[mode], section.summary.differences[mode]
    aside = (*section.scores.aside(mode), *self.aside)
    shown = [means_table(by, len(section.scores.records[mode]), self.layout, aside)]
    if differences:
      shown.append(differences_table(differences, next(iter(by)), self.layout.compared))
    return {
      "heading": self.layout.modes[mode],
      "tables": shown,
      "plot": None if self.tables else self._distribution(section.scores, mode),
      "panels": section.panels.get(mode, ()),
    }

  def _distribution(self, scores: Scores, mode: str) -> Plot | None:
    """Says how a metric of colour is spread over the pictures that have some."""
    metric, label = self.layout.distribution
    colored = ~scores.gray[mode]
    of = {row: values[metric][colored] for row, values in scores.of[mode].items()}
    return plots.histograms(of, label)


def csv_name(data: str) -> str:
  """Names the file with a data set's scores picture by picture."""
  return f"per_image-{data.replace('/', '-')}.csv" if data else "per_image.csv"


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
