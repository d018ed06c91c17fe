"""Tables of texts, with the best of each column known: for pages and as Markdown."""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple


class Line(NamedTuple):
  """Holds a line of a table.

  Attributes:
    cells: texts.
    best: numbers of the cells that are set in bold.
    paper: whether a paper printed it.
  """

  cells: Sequence[str]
  best: Sequence[int] = ()
  paper: bool = False


@dataclasses.dataclass
class Table:
  """Holds a table.

  Attributes:
    header: headings of the columns.
    parts: [(heading or "", lines)], each sorted by itself.
    title: what stands above, notes: what stands below.
    foot: a last line that is never sorted.
    paper: numbers of the columns that a paper printed.
  """

  header: Sequence[str]
  parts: list[tuple[str, Sequence[Line]]]
  title: str = ""
  notes: Sequence[str] = ()
  foot: Line | None = None
  paper: Sequence[int] = ()


class Cell(NamedTuple):
  """Holds a number of a table that is shown in words of its own, such as with an interval."""

  value: float
  text: str


def make(
  header: Sequence[str],
  rows: Sequence[Sequence],
  best: Sequence[int] = (),
  least: Sequence[int] = (),
) -> Table:
  """Makes a table of numbers, which get two decimals.

  Args:
    header: headings of the columns.
    rows: cells; strings, numbers or Cells.
    best: columns in which the largest number of the table is set in bold.
    least: columns in which the smallest is.
  """
  tops = {}
  for column in (*best, *least):
    numbers = [n for row in rows if (n := _number(row[column])) is not None]
    tops[column] = (max if column in best else min)(numbers, default=None)
  marks = [
    [c for c, top in tops.items() if top is not None and _number(row[c]) == top] for row in rows
  ]
  lines = [Line([_text(c) for c in row], mark) for row, mark in zip(rows, marks, strict=True)]
  return Table(header, [("", lines)])


def _text(cell) -> str:
  shown = cell.text if isinstance(cell, Cell) else cell
  return f"{shown:.2f}" if isinstance(shown, float) else str(shown)


def _number(cell) -> float | None:
  value = cell.value if isinstance(cell, Cell) else cell
  return value if isinstance(value, float) and not math.isnan(value) else None


def rate(fps: float) -> str:
  """Writes pictures a second: three digits, or all before the point."""
  return f"{fps:,.0f}" if fps >= 1000 else f"{fps:.3g}"


def to_markdown(table: Table, level: int = 2) -> str:
  """Writes a table as GitHub has them; its parts are headed by a line of their own.

  Args:
    table: with a title.
    level: of the title, as a heading.
  """
  plain = lambda text: text.replace("|", "\\|")
  line = lambda cells: f"| {' | '.join(map(plain, cells))} |"
  rest = [""] * (len(table.header) - 1)
  lines = [f"{'#' * level} {table.title}", "", line(table.header), line(["---"] * (len(rest) + 1))]
  for heading, part in table.parts:
    if heading:
      lines.append(line([f"**{heading}**", *rest]))
    for row in part:
      lines.append(line([f"**{c}**" if i in row.best else c for i, c in enumerate(row.cells)]))
  return "\n".join([*lines, "", *(f"- {note}" for note in table.notes), ""])
