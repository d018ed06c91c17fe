"""The evaluation's report: tables, distributions and pictures in one HTML file."""

import html
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from scs_jax.metrics.estimates import REAL, Estimate, Rows, Scores, Summary
from scs_jax.report import pages, results
from scs_jax.report.layout import PHOTOS, Column, Layout

# For each mode: what a group of pictures is, and for each picture a heading and captioned images.
Panels = Mapping[str, Sequence[tuple[str, Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]]]]


def page(
  title: str,
  about: Sequence[str],
  notes: Sequence[str],
  record: Mapping,
  scores: Scores,
  summary: Summary,
  panels: Panels,
  layout: Layout = PHOTOS,
  more: Sequence[str] = (),
) -> bytes:
  """The HTML file.

  Args:
    title: heading.
    about: paragraphs, plain text.
    notes: what a reader of the figures must know.
    record: what results.json holds besides the results; shown at the end.
    scores, summary: what was measured.
    panels: pictures.
    layout: of its tables.
    more: HTML between the results and the legend.
  """
  sections = [f"<p>{html.escape(text)}</p>" for text in about]
  if notes:
    sections.append("<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ul>")
  for mode, by in summary.of.items():
    sections.append(f"<h2>{html.escape(layout.modes.get(mode, mode))}</h2>")
    sections.append(means_table(by, len(scores.records[mode]), layout, scores.aside(mode)))
    sections.append(differences_table(summary.differences[mode], next(iter(by)), layout.compared))
    colored = ~scores.gray[mode]
    metric, label = layout.distribution
    of = {predictor: values[metric][colored] for predictor, values in scores.of[mode].items()}
    sections.append(pages.histograms(of, label))
    for kind, pictures in panels.get(mode, ()):
      sections.append(f"<h3>{html.escape(kind)}</h3>")
      for heading, images in pictures:
        sections.append(f"<p>{html.escape(heading)}</p>{pages.strip(images)}")
  real = any(REAL in by for by in summary.of.values())
  sections += [*more, legend(layout, real), record_table(record)]
  return pages.page(title, sections)


def means_table(by: Rows, n: int, layout: Layout, aside: Collection[str]) -> str:
  """All columns, the best of each in bold; aside: as of estimates.best_of."""
  rows, columns = [], layout.columns
  for predictor, estimates in by.items():
    row: list = [predictor]
    for _, metric, decimals, _ in columns:
      estimate = estimates.get(metric)
      cell = "" if estimate is None else _cell(estimate, decimals)
      # NaN is no candidate for the best.
      row.append(cell._replace(value=math.nan) if cell and predictor in aside else cell)
    rows.append(row)
  counts = [results.counted(by, metric) for _, metric, *_ in columns]
  if any(count != n for count in counts):
    rows.append(["pictures", *map(str, counts)])
  header = [f"mean of {n}, 95 % interval", *(heading for heading, *_ in columns)]
  place = lambda wanted: [i + 1 for i, (*_, better) in enumerate(columns) if better == wanted]
  return pages.table(header, rows, best=place(1), least=place(-1))


def differences_table(by: Rows, model: str, columns: Sequence[Column]) -> str:
  """The model minus each baseline; empty where there is none."""
  if not by:
    return ""
  rows = [
    [rival, *(_cell(rows[metric], decimals, "+") for _, metric, decimals, _ in columns)]
    for rival, rows in by.items()
  ]
  header = [f"{model} minus, 95 % interval", *(heading for heading, *_ in columns)]
  return pages.table(header, rows)


def _cell(estimate: Estimate, decimals: int, sign: str = "") -> pages.Cell:
  text = f"{estimate.mean:{sign}.{decimals}f}" if estimate.n else "-"
  if math.isfinite(estimate.low):
    text += f" [{estimate.low:{sign}.{decimals}f}, {estimate.high:{sign}.{decimals}f}]"
  if estimate.infinite:
    text += f" + {estimate.infinite} equal"
  return pages.Cell(round(estimate.mean, decimals), text)


def legend(layout: Layout, real: bool) -> str:
  items = [
    f"<dt>{html.escape(heading)}</dt><dd>{html.escape(words)} <code>{metric}</code>: "
    f"{html.escape(layout.definitions[metric])}.</dd>"
    for heading, (metric, words) in layout.legend.items()
  ]
  items += [
    f"<dt>{name}</dt><dd>{html.escape(words)}.</dd>" for name, words in layout.predictors.items()
  ]
  if real:
    items.append(f"<dt>{REAL}</dt><dd>The real pictures.</dd>")
  items.append(
    "<dt>Intervals</dt><dd>Of the mean over pictures: 95 % of 2000 means of as many pictures drawn "
    "with replacement lie inside (bootstrap, percentiles). Bold is the best of a column, as far as "
    "its decimals tell. Whether the model is better than a baseline is for the second table to "
    "say, of differences picture by picture: an interval on one side of 0 decides, one around 0 "
    "does not. Intervals of the first table may overlap either way.</dd>"
  )
  return f"<h2>What the figures mean</h2><dl>{''.join(items)}</dl>"


def record_table(record: Mapping) -> str:
  rows = []

  def walk(value, path):
    if isinstance(value, Mapping):
      for key, inner in value.items():
        walk(inner, f"{path}.{key}" if path else key)
    elif value not in (None, []):
      shown = ", ".join(map(str, value)) if isinstance(value, list) else value
      rows.append([path, str(shown)])

  walk(record, "")
  return "<h2>How it was made</h2>" + pages.table(["what", "value"], rows)
