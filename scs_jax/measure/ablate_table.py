"""The table of an ablation: what there is of its rows beside the paper's, and its files."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from scs_jax.core import ablations_result, files
from scs_jax.core.ablations_result import RowResult
from scs_jax.data import location, remote
from scs_jax.errors import UserError
from scs_jax.measure.ablate_plan import Plan
from scs_jax.metrics import estimates
from scs_jax.report import ablations_page, ablations_table, tables

TABLE, CSV, PAGE = "table.md", "table.csv", "report.html"


@dataclasses.dataclass
class Ablation:
  """Holds a table: what was trained of it, and its figures.

  Attributes:
    plan: what was asked for.
    results: {row: RowResult}, whose `scores` have a number a picture; None: not trained.
    notes: what a reader of the table must know.
    stopped: whether SIGTERM ended it before its last row; the same call goes on.
  """

  plan: Plan
  results: dict[str, RowResult | None] = dataclasses.field(default_factory=dict)
  notes: list[str] = dataclasses.field(default_factory=list)
  stopped: bool = False

  @property
  def title(self) -> str:
    return f"{self.plan.name}: {self.plan.table.title} ({self.plan.table.where})"

  @property
  def table(self) -> tables.Table:
    """Shows the figures beside the paper's, as texts."""
    return ablations_table.shown(
      self.plan.table, self.results, self.cells, self.title, self.notes
    )

  @property
  def cells(self) -> ablations_table.Cells:
    """Returns {row: {heading: Cell}}, with numbers and their intervals."""
    return ablations_table.fill(self.plan.table, self.results)

  @property
  def failed(self) -> dict[str, str]:
    """Returns {row: why} of those that this call could not train."""
    found = {name: self.results.get(name) for name in self.plan.chosen}
    return {name: r.reason for name, r in found.items() if r and r.status == "failed"}

  def show(self) -> None:
    """Prints the table, as Markdown."""
    print(tables.to_markdown(self.table, level=1))

  def write(self, folder: str | os.PathLike[str]) -> None:
    """Writes the table as Markdown, CSV and a page with learning curves and pictures.

    Raises:
      UserError: the folder is in a bucket that cannot be written to.
    """
    plan, cells = self.plan, self.cells
    folders = {name: row.folder for name, row in plan.rows.items()}
    page = ablations_page.page(self.title, plan.table, self.results, cells, self.notes, folders)
    write(folder, TABLE, tables.to_markdown(self.table, level=1).encode())
    write(folder, CSV, ablations_table.to_csv(plan.table, self.results, cells))
    write(folder, PAGE, page)


def require_results(plan: Plan) -> None:
  """Refuses to write a table of nothing over what is there.

  Raises:
    UserError: no row has been trained, or one was with other settings.
  """
  found = {n: ablations_result.read(r.folder, r.earlier) for n, r in plan.rows.items()}
  there = {name: result for name, result in found.items() if result}
  if not there:
    raise UserError(f"{plan.folder} holds no row of {plan.name}: nothing to collect; give the "
                    "--workdir that they were trained in")  # fmt: skip
  for name, result in there.items():
    changed = ablations_result.changes(result.identity, plan.rows[name].identity)
    if changed and result.status == "done":
      raise UserError(
        f"{plan.rows[name].folder} holds a row of other settings ({'; '.join(changed[:3])}); give "
        "the flags that it was made with, or measure it again, without --collect"
      )


def write(folder: str | os.PathLike[str], name: str, content: bytes) -> None:
  """Writes a file whole or not at all, also where several jobs write the same file at a time."""
  if remote.is_remote(folder):
    location.write(remote.join(folder, name), content)
    return
  folder = pathlib.Path(folder)
  aside = folder / f".{name}.{os.uname().nodename}.{os.getpid()}"
  files.write_aside(aside, content)
  os.replace(aside, folder / name)


def collect(plan: Plan) -> Ablation:
  """Gathers what is there; of rows of other settings it says so."""
  found: dict[str, RowResult | None] = {}
  for name, row in plan.rows.items():
    result = ablations_result.read(row.folder, row.earlier)
    if result is not None and ablations_result.changes(result.identity, row.identity):
      done = result.status == "done"
      result = RowResult(name, ablations_result.OTHER, row.identity) if done else None
    found[name] = result
  cells = ablations_table.fill(plan.table, found)
  notes = _facts(plan, found) + ablations_table.agreement(plan.table, cells) + plan.notes
  for column in plan.table.columns:
    if column.why and not any(by[column.heading].ours for by in cells.values()):
      notes.append(f"{column.heading}: no figure of ours. {column.why}")
  notes += [f"{name}: {row.spec.note}" for name, row in plan.rows.items() if row.spec.note]
  notes += [f"{n} failed: {r.reason}" for n, r in found.items() if r and r.status == "failed"]
  return Ablation(plan, found, notes)


def _facts(plan: Plan, found: Mapping[str, RowResult | None]) -> list[str]:
  """Says what was trained and measured, on what."""
  table, done = plan.table, [r for r in found.values() if r and r.status == "done"]
  lines = [f"the paper: {table.images}; channels {table.channels}"] if table.images else []
  if done:
    about = done[0].about
    counts = ", ".join(f"{n} {place}" for place, n in about["pictures"].items())
    lines.append(
      f"ours: config {_short(plan.settings['config'])}, trained on {_short(about['source'])}, "
      f"measured on {_short(about['heldout'])} ({counts}), {about['device']['kind']}; one seed "
      f"({about['seed']}): the 95 % bootstrap intervals are over pictures, and say nothing of "
      "other seeds"
    )
    marks = ", ".join(f"{mode} {mark[:12]}" for mode, mark in about.get("lists", {}).items())
    lines.append(f"SHA-256 of the lists of pictures: {marks}")
    lines += about.get("notes", [])
    if broken := about["broken"]:
      lines.append(f"left out, cannot be read: {len(broken)} ({broken[0]})")
    if table.modes == ("self", "random") and any(
      c.measure and c.measure[0] == estimates.REFERENTIAL for c in table.columns
    ):
      lines.append(
        "self- and random references colour different pictures, drawn from all held-out ones; "
        "their means are weighted as the paper's 500 and 2,000 are"
      )
  lines.append(
    "figures of a short training on other pictures say nothing about the paper's level; what can "
    "be compared is the order of the rows"
  )
  return lines


def _short(spec: str) -> str:
  """Gives the last two parts of a path: where it lies on a machine is of no use to a reader."""
  return "/".join(pathlib.PurePath(spec).parts[-2:])
