"""`scs_jax.ablate`: trains the rows of an ablation table, measures them, writes the table."""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax

from scs_jax.core import ablations, ablations_result, failures, files
from scs_jax.core.ablations_result import RowResult
from scs_jax.core.parameters import count as count_parameters
from scs_jax.data import location, remote
from scs_jax.errors import UserError
from scs_jax.infer import colorizer
from scs_jax.measure import ablate_bucket, ablate_measure, ablate_plan, settings
from scs_jax.measure.ablate_plan import Plan, Row
from scs_jax.metrics import estimates
from scs_jax.report import ablations_page, ablations_table, results, tables
from scs_jax.training import distributed, ending
from scs_jax.training.run import train

SPEC, TABLE, CSV, PAGE = "spec.json", "table.md", "table.csv", "report.html"


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
    _write(folder, TABLE, tables.to_markdown(self.table, level=1).encode())
    _write(folder, CSV, ablations_table.to_csv(plan.table, self.results, cells))
    _write(folder, PAGE, page)


def ablate(
  table: str,
  config: settings.Spec = "small",
  *,
  workdir: settings.Spec | None = None,
  overrides: str | Sequence[str] = (),
  steps: int | None = None,
  rows: ablate_plan.Rows = None,
  data: settings.Spec | None = None,
  heldout: settings.Spec | None = None,
  limit: int | None = None,
  fid_weights: settings.Spec | None = None,
  index: int = 0,
  count: int = 1,
  collect: bool = False,
  dry_run: bool = False,
  quiet: bool = False,
  log: Callable[[str], None] = lambda line: None,
) -> Ablation:
  """Trains every row of a table from one seed and order of data, and measures it.

  The same call again goes on where it was interrupted and leaves out what is done. A row that fails
  is told in the table and stops no other.

  Several processes of JAX call this alike, with a working folder that all of them see: they train
  each row together, as `train` does, and share the pictures that it is measured on. The first one
  writes. A row that fails in some of them alone ends them all.

  Args:
    table: its name, as "scsnet.losses"; `scs_jax.measure.ablate_plan.tables()` has them all.
    config: what the rows' changes are made to: "small", "paper", or a .py file.
    workdir: where a folder a row and the table go, here or in a bucket; None:
      runs/ablate/TABLE-CONFIG.
    overrides: "KEY=VALUE" of config keys, of all rows; a row's own changes come after them.
    steps: of each row; None: the config's.
    rows: numbers, from 1, or names of the rows to train; None: all.
    data, heldout: training and held-out pictures; None: the config's.
    limit: held-out pictures a mode at most; None: as many as the paper measured.
    fid_weights: FID's Inception-v3 weights; None: no FID.
    index, count: of jobs that share the rows and know nothing of each other, which one this is,
      from 0.
    collect: train nothing; write the table of what is there.
    dry_run: check everything and stop.
    quiet: no progress bars.
    log: receives lines for a person who waits.

  Returns:
    An Ablation: `.results` and `.cells` have the figures, `.show()` prints the table; table.md,
    table.csv and report.html are in the working folder.

  Raises:
    UserError: an unknown table or row, settings that cannot be, a folder of other settings.
  """
  overrides = [overrides] if isinstance(overrides, str) else list(overrides)
  for name, value, key in (("data", data, "source"), ("heldout", heldout, "heldout")):
    if value is not None:
      overrides.append(f"data.{key}={settings.read_spec(name, value)}")
  with contextlib.ExitStack() as stack:
    with distributed.agreeing():
      mirror = stack.enter_context(ablate_bucket.mirrored(workdir))
      plan = ablate_plan.make(
        table, config, workdir=workdir if mirror is None else mirror.folder, overrides=overrides,
        steps=steps, rows=rows, limit=limit, fid_weights=fid_weights, index=index, count=count,
      )  # fmt: skip
      plan.mirror = mirror
      described = ablate_plan.describe(plan)
      log(described if mirror is None else mirror.named(described))
      if dry_run:
        return Ablation(plan)
      if collect:
        _require_results(plan)
    return _train_all(plan, collect, quiet, log)


def _train_all(plan: Plan, collect: bool, quiet: bool, log) -> Ablation:
  """Trains the rows that are chosen, and writes the table after each."""
  with _first_writes() as first:
    if first:
      remote.Place(plan.place(plan.folder)).make()  # refused before the work
      spec = {"table": plan.name, "spec": plan.table.spec(), "settings": plan.settings}
      _write(plan.folder, SPEC, (json.dumps(spec, indent=2) + "\n").encode())
  for number, name in enumerate(() if collect else plan.chosen, 1):
    log(f"[{number} of {len(plan.chosen)}] {name}")
    if not _train(plan, plan.rows[name], quiet, log):
      return dataclasses.replace(_collect(plan), stopped=True)
    _write_table(plan)
  return _write_table(plan)


@contextlib.contextmanager
def _first_writes() -> Iterator[bool]:
  """Tells whether this is the process that writes; others go on when it has."""
  with distributed.agreeing():
    yield distributed.is_first()


def _write_table(plan: Plan) -> Ablation:
  """Writes the table of what is there by now, of other jobs as well."""
  with _first_writes() as first:
    if first:
      plan.fetch()
      found = _collect(plan)
      found.write(plan.folder)
      plan.send()
  with distributed.agreeing():
    if not first:
      plan.fetch()
      found = _collect(plan)
  return found


def _require_results(plan: Plan) -> None:
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


def _write(folder: str | os.PathLike[str], name: str, content: bytes) -> None:
  """Writes a file whole or not at all, also where several jobs write the same file at a time."""
  if remote.is_remote(folder):
    location.write(remote.join(folder, name), content)
    return
  folder = pathlib.Path(folder)
  aside = folder / f".{name}.{os.uname().nodename}.{os.getpid()}"
  files.write_aside(aside, content)
  os.replace(aside, folder / name)


def _train(plan: Plan, row: Row, quiet: bool, log) -> bool:
  """Trains and measures a row, or says that it is done; False where it was told to stop."""
  if distributed.from_first(lambda: _is_done(row)):
    log("  done already")
    return True
  with _first_writes() as first:
    if first:
      row.folder.mkdir(parents=True, exist_ok=True)
      RowResult(row.name, "running", row.identity).write(row.folder)
      plan.send()
  trace = ""
  try:
    with ending.failing_alike():
      result = _result(plan, row, quiet)
  except Exception as error:  # of this row; the others are trained all the same
    if isinstance(error, ending.FailedAlone):
      raise
    reason = failures.explain(error) or f"{type(error).__name__}: {error}"
    print(f"  failed: {reason}", file=sys.stderr, flush=True)
    trace = traceback.format_exc()
    result = RowResult(row.name, "failed", row.identity, reason)
  finally:
    jax.clear_caches()  # the next row has programs of its own
  if result is None:
    return False
  with _first_writes() as first:
    if first:
      if trace:
        (row.folder / ablations_result.ERROR).write_text(trace, encoding="utf-8")
      result.write(row.folder)
      plan.send()
  return True


def _is_done(row: Row) -> bool:
  there = ablations_result.require_ours(row.folder, row.identity, row.earlier)
  same = there is not None and not ablations_result.changes(there.identity, row.identity)
  return same and there.status == "done"


def _result(plan: Plan, row: Row, quiet: bool) -> RowResult | None:
  started = time.perf_counter()
  # The scan for gray pictures is shared by all rows.
  place = plan.place(row.folder)
  outcome = train(row.config, place, quiet=quiet, scans=plan.folder)
  if outcome.stopped:
    return None
  config = outcome.config
  trained = time.perf_counter() - started
  distributed.meet()  # when the first has written the last checkpoint
  # What a user would colour with: running averages where the config keeps them.
  method, state = colorizer.load(place, "last")
  subject = ablate_measure.Subject(
    plan.table, config, method, state, plan.limit, plan.features, plan.folder
  )
  scores, sets = subject.measure()
  ms = {}
  for column in plan.table.columns:
    if column.ours.startswith("ms@"):
      scale = column.ours.removeprefix("ms@")
      time_it = lambda scale=scale: round(subject.milliseconds(float(scale)), 3)
      ms[scale] = distributed.from_first(time_it)
  counts = count_parameters(method)
  about = {
    "steps": outcome.step,
    "batch_size": config.batch_size,
    "seed": config.seed,
    "parameters": counts,
    # Of what colours: a discriminator does not.
    "total_parameters": sum(
      n for name, n in counts.items() if "/" not in name and name not in method.training_only
    ),
    "ms": ms,
    "pictures": {
      place.removesuffix("/record"): len(v) for place, v in scores.items()
      if place.endswith("/record")
    },
    "broken": sorted(subject.broken),
    "lists": subject.lists,
    "notes": list(dict.fromkeys(subject.notes)),
    "heldout": config.data.heldout,
    "source": config.data.source,
    "seconds_of_training": round(trained, 1),  # of this process: less than all after a resume
    **results.environment(),
  }  # fmt: skip
  return RowResult(row.name, "done", row.identity, "", about, sets, scores)


def _collect(plan: Plan) -> Ablation:
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


def listing(config: str = "") -> str:
  """Lists the tables that there are; config: as of ablate_plan.tables."""
  lines = ["tables:"]
  found: Mapping[str, ablations.Table] = ablate_plan.tables(config)
  for name, table in found.items():
    lines.append(f"  {name:<20} {table.where}: {table.title.lower()}, {len(table.rows)} rows")
  return "\n".join([*lines, "", "`scs-jax ablate TABLE --dry-run` shows what one would do."])
