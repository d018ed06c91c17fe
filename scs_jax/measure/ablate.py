"""`scs_jax.ablate`: trains the rows of an ablation table, measures them, writes the table."""

import contextlib
import dataclasses
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax

from scs_jax.core import ablations, ablations_result, failures
from scs_jax.core.ablations_result import RowResult
from scs_jax.core.parameters import count as count_parameters
from scs_jax.data import remote
from scs_jax.infer import colorizer
from scs_jax.measure import ablate_bucket, ablate_measure, ablate_plan, ablate_table, settings
from scs_jax.measure.ablate_plan import Plan, Row
from scs_jax.measure.ablate_table import Ablation
from scs_jax.report import results
from scs_jax.training import distributed, ending
from scs_jax.training.run import train

SPEC = "spec.json"


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
        ablate_table.require_results(plan)
    return _train_all(plan, collect, quiet, log)


def _train_all(plan: Plan, collect: bool, quiet: bool, log) -> Ablation:
  """Trains the rows that are chosen, and writes the table after each."""
  with _first_writes() as first:
    if first:
      remote.Place(plan.place(plan.folder)).make()  # refused before the work
      spec = {"table": plan.name, "spec": plan.table.spec(), "settings": plan.settings}
      ablate_table.write(plan.folder, SPEC, (json.dumps(spec, indent=2) + "\n").encode())
  for number, name in enumerate(() if collect else plan.chosen, 1):
    log(f"[{number} of {len(plan.chosen)}] {name}")
    if not _train(plan, plan.rows[name], quiet, log):
      return dataclasses.replace(ablate_table.collect(plan), stopped=True)
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
      found = ablate_table.collect(plan)
      found.write(plan.folder)
      plan.send()
  with distributed.agreeing():
    if not first:
      plan.fetch()
      found = ablate_table.collect(plan)
  return found


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


def listing(config: str = "") -> str:
  """Lists the tables that there are; config: as of ablate_plan.tables."""
  lines = ["tables:"]
  found: Mapping[str, ablations.Table] = ablate_plan.tables(config)
  for name, table in found.items():
    lines.append(f"  {name:<20} {table.where}: {table.title.lower()}, {len(table.rows)} rows")
  return "\n".join([*lines, "", "`scs-jax ablate TABLE --dry-run` shows what one would do."])
