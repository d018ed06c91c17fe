"""What `scs-jax ablate` does: trains rows, measures them, writes the table."""

import json
import os
import pathlib
import sys
import time
import traceback

import jax

from scs_jax.core import ablations_result, failures, files
from scs_jax.core.ablations_result import RowResult
from scs_jax.core.parameters import count
from scs_jax.errors import UserError
from scs_jax.infer import colorizer
from scs_jax.measure import ablate_measure, ablate_plan, learned
from scs_jax.measure.ablate_plan import Plan, Row
from scs_jax.metrics import estimates
from scs_jax.nn.features import inception
from scs_jax.report import ablations_page, ablations_table, results, tables
from scs_jax.training.run import train

SPEC, TABLE, CSV, PAGE = "spec.json", "table.md", "table.csv", "report.html"


def run(args) -> int:
  """See cli/ablate.py; returns the exit code."""
  if args.table is None:
    print(_listing(args.which))
    return 0
  look = learned.extractor(*inception.load(args.fid_weights)) if args.fid_weights else None
  plan = ablate_plan.make(args)
  print(_told(plan), flush=True)
  if args.dry_run:
    return 0
  if args.collect:
    _require_results(plan)
  _write_spec(plan)
  if not args.collect:
    for number, name in enumerate(plan.chosen, 1):
      print(f"[{number} of {len(plan.chosen)}] {name}", flush=True)
      if not _train(plan, plan.rows[name], args, look):
        return 0  # stopped; the same command goes on
      _collect(plan)
  found = _collect(plan)
  print(f"table: {plan.folder / TABLE}, {CSV}, {PAGE}")
  failed = [name for name in plan.chosen if found[name] and found[name].status == "failed"]
  for name in failed:
    print(f"failed: {name}: {found[name].reason}", file=sys.stderr)
  return 1 if failed else 0


def _listing(config: str) -> str:
  lines = ["tables:"]
  for name, table in ablate_plan.tables(config).items():
    lines.append(f"  {name:<20} {table.where}: {table.title.lower()}, {len(table.rows)} rows")
  return "\n".join([*lines, "", "`scs-jax ablate TABLE --dry-run` shows what one would do."])


def _told(plan: Plan) -> str:
  """The spec and the rows, for a person who is about to wait."""
  table = plan.table
  lines = [
    f"{plan.name}: {table.title} ({table.where}); base row: {table.base}",
    *([f"  the paper: {table.images}; channels {table.channels}"] if table.images else []),
    f"  measured: {', '.join(f'{n} pictures {m}' for m, n in table.pictures.items())} at most; "
    + ", ".join(column.heading for column in table.columns if column.ours),
  ]
  for name, row in plan.rows.items():
    mark = "" if name in plan.chosen else " (not in this call)"
    length = f"{row.config.steps} steps"
    if row.config.epochs > 0:
      length = f"{row.config.epochs:g} epochs"
    changes = ", ".join(f"{k}={v!r}" for k, v in row.changes.items()) or "the config itself"
    lines.append(f"  {name}: {length} of {row.config.batch_size}; {changes}{mark}")
    lines += [f"    {line}" for line in row.kept]
    if row.trouble:
      lines.append(f"    will fail: {row.trouble}")
  lines += [f"  note: {note}" for note in plan.notes]
  return "\n".join(lines)


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


def _write_spec(plan: Plan) -> None:
  plan.folder.mkdir(parents=True, exist_ok=True)
  whole = {"table": plan.name, "spec": plan.table.spec(), "settings": plan.settings}
  _write(plan, SPEC, (json.dumps(whole, indent=2) + "\n").encode())


def _write(plan: Plan, name: str, content: bytes) -> None:
  """Whole or not at all, also where several jobs write the same file at a time."""
  aside = plan.folder / f".{name}.{os.uname().nodename}.{os.getpid()}"
  files.write_aside(aside, content)
  os.replace(aside, plan.folder / name)


def _train(plan: Plan, row: Row, args, look) -> bool:
  """Trains and measures a row, or says that it is done; False where it was told to stop."""
  there = ablations_result.require_ours(row.folder, row.identity, row.earlier)
  same = there is not None and not ablations_result.changes(there.identity, row.identity)
  if same and there.status == "done":
    print("  done already", flush=True)
    return True
  row.folder.mkdir(parents=True, exist_ok=True)
  RowResult(row.name, "running", row.identity).write(row.folder)
  try:
    result = _result(plan, row, args, look)
  except Exception as error:  # of this row; the others are trained all the same
    reason = failures.explain(error) or f"{type(error).__name__}: {error}"
    print(f"  failed: {reason}", file=sys.stderr, flush=True)
    (row.folder / ablations_result.ERROR).write_text(traceback.format_exc(), encoding="utf-8")
    result = RowResult(row.name, "failed", row.identity, reason)
  finally:
    jax.clear_caches()  # the next row has programs of its own
  if result is None:
    return False
  result.write(row.folder)
  return True


def _result(plan: Plan, row: Row, args, look) -> RowResult | None:
  started = time.perf_counter()
  # The scan for gray pictures is shared by all rows.
  outcome = train(row.config, row.folder, quiet=args.quiet, scans=plan.folder)
  if outcome.stopped:
    return None
  config = outcome.config
  trained = time.perf_counter() - started
  # What a user would colour with: running averages where the config keeps them.
  method, state = colorizer.load(row.folder, "last")
  subject = ablate_measure.Subject(plan.table, config, method, state, args.limit, look)
  scores, sets = subject.measure()
  ms = {}
  for column in plan.table.columns:
    if column.ours.startswith("ms@"):
      scale = column.ours.removeprefix("ms@")
      ms[scale] = round(subject.milliseconds(float(scale)), 3)
  counts = count(method)
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


def _collect(plan: Plan) -> dict[str, RowResult | None]:
  """Writes the table of what is there; of rows of other settings it says so."""
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
  title = f"{plan.name}: {plan.table.title} ({plan.table.where})"
  folders = {name: row.folder for name, row in plan.rows.items()}
  whole = ablations_table.shown(plan.table, found, cells, title, notes)
  _write(plan, TABLE, tables.to_markdown(whole, level=1).encode())
  _write(plan, CSV, ablations_table.to_csv(plan.table, found, cells))
  _write(plan, PAGE, ablations_page.page(title, plan.table, found, cells, notes, folders))
  return found


def _facts(plan: Plan, found) -> list[str]:
  """What was trained and measured, on what."""
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
  """The last two parts of a path: where it lies on a machine is nothing that a reader needs."""
  return "/".join(pathlib.PurePath(spec).parts[-2:])
