"""What a study found, in the shape of SCSNet's Table 3 or of Cycle CNN's Figure 13."""

import csv
import datetime
import importlib.resources
import io
import math
import pathlib
import statistics
import tomllib
from collections.abc import Iterable, Sequence

from scs_jax.core import files
from scs_jax.report import pages
from scs_jax.report.tables import Line, Table, to_markdown
from scs_jax.study import design as designs
from scs_jax.study import outcome
from scs_jax.study.design import LEVEL_NAMES, PAIRWISE, Design
from scs_jax.study.outcome import Outcome, Row
from scs_jax.study.votes import Vote, Votes

FOLDER = "report"
_NONE = "-"
# From good to bad, told apart also by most who do not see red and green alike.
_COLORS = ("#2c7bb6", "#abd9e9", "#ffffbf", "#fdae61", "#d7191c")


def write(folder: pathlib.Path) -> str:
  """Writes report.html, tables.md, shares.csv and votes.csv into a study's folder of reports.

  It may be asked while raters vote. Returns the table and the notes as Markdown, for the screen.

  Raises:
    UserError: the folder is no study's.
  """
  design = designs.read(folder)
  store = Votes(folder)
  try:
    votes, progress = store.all(), store.raters()
  finally:
    store.close()
  found = outcome.judge(design, votes)
  table = (_pairwise if design.kind == PAIRWISE else _levels)(design, found)
  table.notes = _notes(design, found, votes, progress)
  raters = _raters(design, found, votes, progress)
  text = "\n".join(to_markdown(each) for each in (table, raters))
  page = pages.render(
    "study", title="A study with people", table=table, raters=raters, bars=_bars(design, found)
  )
  written = {
    "report.html": page,
    "tables.md": text.encode("utf-8", "backslashreplace"),
    "shares.csv": _csv(_share_lines(design, found)),
    "votes.csv": _csv(_vote_lines(design, found, votes)),
  }
  for name, content in written.items():
    files.write_aside(folder / FOLDER / name, content)
  return to_markdown(table)


def _printed(name: str) -> dict:
  text = importlib.resources.files("scs_jax.report").joinpath("papers.toml").read_text("utf-8")
  return tomllib.loads(text)[name]


def _parts(rows: Sequence[Row]) -> list[str]:
  return list(dict.fromkeys(row.part for row in rows))


def _pairwise(design: Design, found: Outcome) -> Table:
  printed = _printed("scsnet_3")["rows"]
  parts = []
  for part in dict.fromkeys([*_parts(found.rows), *(part for part, _, _ in printed)]):
    lines = [
      Line((_against(design, row), _versus(row), *_facts(row)))
      for row in found.rows
      if row.part == part
    ]
    lines += [
      Line((f"[paper] Ours v.s. {name}", "{} v.s. {}".format(*figures), *[_NONE] * 4), paper=True)
      for of, name, figures in printed
      if of == part
    ]
    parts.append((part.capitalize(), lines))
  header = ["", "authenticity (%)", "95 % interval", "votes", "raters", "agreement"]
  return Table(header, parts, "Which picture looks more authentic")


def _against(design: Design, row: Row) -> str:
  return f"{design.methods[0]} v.s. {row.name}"


def _versus(row: Row) -> str:
  if not row.votes:
    return _NONE
  share = 100 * row.share(1)
  return f"{share:.1f} v.s. {100 - share:.1f}"


def _levels(design: Design, found: Outcome) -> Table:
  parts = []
  for part in _parts(found.rows):
    lines = []
    for row in found.rows:
      if row.part == part:
        counts = [_percent(n / row.votes if row.votes else math.nan) for n in row.counts]
        lines.append(Line((row.name, *counts, _percent(row.share(outcome.GOOD)), *_facts(row))))
    parts.append((part.capitalize(), lines))
  header = ["", *LEVEL_NAMES, "Perfect or Few Errors", "95 % interval", "annotations", "raters",
            "agreement"]  # fmt: skip
  return Table(header, parts, "How right the colours are (%)")


def _facts(row: Row) -> tuple[str, ...]:
  """Writes interval, votes, raters and agreement."""
  interval = _NONE
  if row.interval is not None:
    interval = "[{:.1f}, {:.1f}]".format(*(100 * end for end in row.interval))
  return interval, f"{row.votes}", f"{row.raters}", _agreement(row.alpha)


def _percent(share: float) -> str:
  return _NONE if math.isnan(share) else f"{100 * share:.1f}"


def _agreement(alpha: float) -> str:
  return _NONE if math.isnan(alpha) else f"{alpha:.3f}"


def _notes(design: Design, found: Outcome, votes: Sequence[Vote], progress) -> list[str]:
  done = sum(there.done == there.total for _, there in progress)
  data = "nominal" if design.kind == PAIRWISE else "ordinal"
  notes = [
    f"{design.pictures} pictures, {len(votes)} votes of {len(progress)} raters, of whom {done} "
    "have answered all that they are asked.",
    "Intervals: 95 % of 2000 shares of as many raters, each with all votes, drawn with replacement "
    "(bootstrap, percentiles). They tell of other raters, not of other pictures; without two "
    "raters there is none.",
    f"Agreement: Krippendorff's alpha between raters, of {data} data; 1: they agree, 0: as by "
    f"chance. Of all questions: {_agreement(found.alpha)}.",
  ]
  if design.kind == PAIRWISE:
    shown = f"{design.seconds:g} s" if design.seconds else "until the answer"
    paper = _printed("scsnet_3")
    notes += [
      f"Pictures are shown for {shown}. The one on the left (or above) was chosen in "
      f"{_percent(found.first)} % of the votes; sides are drawn.",
      f"Rows marked [paper] are printed in {paper['paper']}, {paper['where']}: {paper['raters']} "
      f"raters, {paper['pictures']} pictures of COCO, one second; they are facts beside ours, not "
      "measured here.",
    ]
  else:
    paper = _printed("cycle_13")
    notes += [
      f"{found.repeated} annotations were asked for again; {found.broken} of them differ by more "
      f"than one level: outliers, left out with their repeats ({len(found.outliers)} "
      "annotations). Other repeats are not counted.",
      f"[paper] {paper['paper']}, {paper['where']}: {paper['raters']} annotators, "
      f"{paper['pictures']} pairs, {len(paper['methods'])} methods "
      f"({', '.join(paper['methods'])}). Its values stand in a picture "
      f"alone, and are not repeated here; it says: {paper['says']}.",
    ]
  return notes


def _raters(design: Design, found: Outcome, votes: Sequence[Vote], progress) -> Table:
  """Makes the table of how each rater went about it; names stay in the study."""
  lines = []
  for number, there in progress:
    own = [vote for vote in votes if vote.rater == number]
    middle = f"{statistics.median(vote.seconds for vote in own):.1f}" if own else _NONE
    cells = [f"rater {number}", f"{there.done} of {there.total}", middle]
    if design.kind != PAIRWISE:
      cells.append(f"{sum(vote in found.outliers for vote in own) // 2}")
    lines.append(Line(cells))
  header = ["", "answered", "seconds, median", "outliers"][: 3 if design.kind == PAIRWISE else 4]
  return Table(header, [("", lines)], "Raters")


def _bars(design: Design, found: Outcome) -> dict:
  """Gives the page's bars: {"key": [(answer, colour)], "rows": [(part, name, percentages)]}."""
  names, colors, name = LEVEL_NAMES, _COLORS, lambda row: row.name
  if design.kind == PAIRWISE:
    names, colors = (design.methods[0], "the other"), (_COLORS[0], _COLORS[3])
    name = lambda row: _against(design, row)
  rows = [
    (row.part, name(row), [100 * n / row.votes for n in row.counts])
    for row in found.rows
    if row.votes
  ]
  return {"key": list(zip(names, colors, strict=True)), "rows": rows}


def _share_lines(design: Design, found: Outcome) -> Iterable[Sequence]:
  good = 1 if design.kind == PAIRWISE else outcome.GOOD
  answers = ("ours", "other") if design.kind == PAIRWISE else LEVEL_NAMES
  yield ["part", "method", *answers, "share", "low", "high", "raters", "alpha"]
  for row in found.rows:
    low, high = row.interval or ("", "")
    share, alpha = ("" if math.isnan(x) else x for x in (row.share(good), row.alpha))
    yield [row.part, row.name, *row.counts, share, low, high, row.raters, alpha]


def _vote_lines(design: Design, found: Outcome, votes: Sequence[Vote]) -> Iterable[Sequence]:
  yield ["rater", "position", "mode", "picture", "method", "chosen", "stood_first", "again",
         "outlier", "seconds", "at"]  # fmt: skip
  for vote in votes:
    trial, flipped = design.trials[vote.question.trial], vote.question.flipped
    pair = design.kind == PAIRWISE
    at = datetime.datetime.fromtimestamp(vote.at, datetime.UTC).isoformat(timespec="seconds")
    yield [
      vote.rater, vote.position, trial.mode, trial.picture, trial.methods[-1],
      trial.methods[vote.answer] if pair else LEVEL_NAMES[vote.answer],
      trial.methods[flipped] if pair else "", int(vote.question.again),
      int(vote in found.outliers), f"{vote.seconds:.3f}", at,
    ]  # fmt: skip


def _csv(lines: Iterable[Sequence]) -> bytes:
  text = io.StringIO()
  csv.writer(text, lineterminator="\n").writerows(lines)
  return text.getvalue().encode("utf-8", "backslashreplace")
