"""The comparison's report: one HTML file that opens offline, on a phone as well."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scs_jax.metrics.estimates import Scores, Summary
from scs_jax.report import evaluation_page, plots
from scs_jax.report.layout import Layout
from scs_jax.report.plots import Dot
from scs_jax.report.tables import Table


class Section(NamedTuple):
  """Holds a data set of the page.

  Attributes:
    heading, about: plain text.
    scores, summary: by mode.
    panels: as of evaluation_page.
    plots: [(dots, label of the upward axis)].
    aside: rows that are never marked as the best.
  """

  heading: str
  about: Sequence[str]
  scores: Scores
  summary: Summary
  panels: evaluation_page.Panels
  plots: Sequence[tuple[Sequence[Dot], str]]
  aside: Sequence[str] = ()


def page(
  title: str,
  about: Sequence[str],
  notes: Sequence[str],
  tables: Sequence[Table],
  sections: Sequence[Section],
  layout: Layout,
  words: Mapping[str, str],
  record: Mapping,
) -> bytes:
  """Makes the HTML file; words: {heading: what it means} for the legend besides the layout's."""
  shown = []
  for s in sections:
    modes = [
      evaluation_page.mode_of(mode, s.scores, s.summary, s.panels, layout, s.aside)
      for mode in s.summary.of
      if mode in layout.modes
    ]
    drawn = [plots.scatter(dots, label) for dots, label in s.plots]
    shown.append(evaluation_page.Section(s.heading, s.about, drawn, modes))
  return evaluation_page.measured(title, about, notes, tables, shown, (), layout, words, record)
