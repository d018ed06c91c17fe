"""What `scs-jax compare` does: opens rows and data sets, measures each by itself, writes."""

import pathlib
import sys
import traceback
from collections.abc import Callable

from scs_jax.core import failures
from scs_jax.errors import UserError
from scs_jax.measure import (
  compare,
  compare_cost,
  compare_output,
  compare_record,
  compare_rows,
  compare_settings,
)
from scs_jax.measure import evaluation_folder as folder
from scs_jax.measure.compare_pairs import PairSet
from scs_jax.measure.compare_photos import Photos
from scs_jax.measure.compare_record import Found
from scs_jax.measure.compare_rows import Row
from scs_jax.measure.compare_ruler import Ruler
from scs_jax.measure.compare_settings import Plan
from scs_jax.metrics.estimates import REFERENTIAL
from scs_jax.report.compare_tables import Facts
from scs_jax.training.model_file import SUFFIX


class Failures(dict[str, str]):
  """{row or data set: why}; what fails is told at once, and the others go on."""

  def __init__(self, debug: bool = False):
    super().__init__()
    self._debug = debug

  def catch(self, name: str, work: Callable, *args):
    """work(*args), or None where it failed."""
    try:
      return work(*args)
    except Exception as error:
      why = failures.explain(error)
      if self._debug or why is None:
        traceback.print_exc()
      why = why or f"a bug, {type(error).__name__}: {error}; please report it"
      self[name] = f"{self[name]}; {why}" if name in self else why
      print(f"failed: {name}: {why}", file=sys.stderr)
      return None


def run(args) -> int:
  """See cli/compare.py; returns the exit code."""
  failed = Failures(getattr(args, "debug", False))
  rows = _open(args, failed)
  if not rows:
    raise UserError("nothing to compare: give --runs, --cascade or --results that can be opened"
                    + "".join(f"; {name}: {why}" for name, why in failed.items()))  # fmt: skip
  plan = compare_settings.read(args, rows)
  ruler = Ruler(plan)
  if plan.track == "photos":
    rows = [row for row in rows if _fits(plan, row, failed)]
    rows = [one for row in rows for one in row.lightnesses(plan.scale)]
  if not rows:
    raise UserError("none of the rows could be measured: " + "; ".join(failed.values()))
  trained = list(rows)
  if plan.baselines:
    rows += compare_rows.baselines(plan.track)
  kind = Photos if plan.track == "photos" else PairSet
  opened = [failed.catch(name, kind, plan, name, spec) for name, spec in plan.data]
  sets = [data for data in opened if data is not None]
  if not sets:
    raise UserError("none of the data sets can be opened: " + "; ".join(failed.values()))
  identity = compare_record.identity(plan, rows, sets, ruler)
  if not plan.overwrite:
    folder.require_free(plan.out, identity, compare_output.files(plan), compare_output.FORMAT,
                        "compare")  # fmt: skip
  plan.out.mkdir(parents=True, exist_ok=True)
  found = [one for data in sets if (one := _measure(plan, rows, data, ruler, failed))]
  if not found:
    raise UserError("nothing could be measured: " + "; ".join(failed.values()))
  if not any(row.name in by for row in trained for f in found for by in f.scores.of.values()):
    raise UserError("none of the rows could be measured: " + "; ".join(failed.values()))
  facts = _facts(plan, rows, sets, failed)
  compare_output.write(plan, rows, found, facts, failed, ruler, identity)
  return compare_output.tell(plan, found, facts, failed)


def _open(args, failed: Failures) -> list[Row]:
  """Rows that can be opened, in the order of the flags, each under a name of its own."""
  wanted: list[tuple[str, str, str]] = [("run", *_named(spec)) for spec in args.runs]
  wanted += [("cascade", *_named(spec)) for spec in args.cascade]
  wanted += [("results", *_named(spec)) for spec in args.results]
  rows: list[Row] = []
  taken: set[str] = set()
  for kind, name, spec in wanted:
    base, n = name, 1
    while name in taken:
      n += 1
      name = f"{base} ({n})"
    taken.add(name)
    if kind == "run":
      row = failed.catch(name, compare_rows.open_run, spec, args.step, name)
    elif kind == "cascade":
      row = failed.catch(name, compare_rows.open_cascade, spec, args.step, name)
    else:
      row = failed.catch(name, compare_rows.open_results, spec, name)
    rows += [row] if row else []
  return rows


def _named(text: str) -> tuple[str, str]:
  """(name, what) of NAME=WHAT; without a name the last parts of the paths."""
  name, spec = compare_settings.named(text)
  last = lambda path: pathlib.PurePosixPath(path.rstrip("/")).name.removesuffix(SUFFIX) or path
  return name or " + ".join(map(last, spec.split("+"))), spec


def _fits(plan: Plan, row: Row, failed: Failures) -> bool:
  before = len(failed)
  failed.catch(row.name, row.require_photos, plan.scale)
  return len(failed) == before


def _measure(plan: Plan, rows: list[Row], data, ruler: Ruler, failed: Failures) -> Found | None:
  """A data set's figures; rows that fail on it are left out of it."""
  names = [name for name, _ in plan.data]
  if plan.inputs_out is not None and isinstance(data, Photos):
    failed.catch(data.name, data.write_inputs, plan.inputs_out)
  parts, there = [], []
  for row in rows:
    scores = failed.catch(row.name, data.measure, row, ruler, names)
    if scores is None:
      ruler.forget(data.name, row.name)
    elif scores.of:
      parts.append(scores)
      there.append(row)
  scores = compare.join(parts)
  if not any(map(len, scores.records.values())):
    errors = [data.broken[i] for i in sorted(data.broken)]
    failed.catch(data.name, _refuse, data, errors)
    return None
  if plan.track == "photos" and not ruler.why_no_fid:
    failed.catch(data.name, data.real, ruler)
  compare.mark_perfect(scores, [row.name for row in there if row.kind == "results"])
  summary = compare.summarize(scores, plan.seed)
  counts = {mode: len(records) for mode, records in scores.records.items()}
  pooled = compare.pool(scores) if plan.track == "photos" else None
  if pooled is not None:  # Table 1's second part; nothing else looks at it
    summary.of.update(compare.summarize(pooled, plan.seed).of)
    counts[REFERENTIAL] = len(pooled.records[REFERENTIAL])
  panels = {}
  if plan.panels:
    panels = failed.catch(data.name, data.draw, there, scores, names) or {}
  return Found(data, scores, summary, counts, panels, ruler.distances(data.name))


def _refuse(data, errors: list[str]) -> None:
  first = f" ({errors[0]})" if errors else ""
  raise UserError(f"none of the {data.records} pictures of {data.spec} can be measured{first}")


def _facts(plan: Plan, rows: list[Row], sets, failed: Failures) -> list[Facts]:
  """Time and parameters of every row; two rows of one network are measured once."""
  size = plan.size or failed.catch(sets[0].name, sets[0].example) or (256, 512)
  parts = ["automatic", REFERENTIAL] if plan.track == "photos" else ["pairs"]
  known: dict[int, Facts] = {}
  found = []
  for row in rows:
    facts = Facts(row.name, row.true_light, network=row.kind != "baseline")
    twin = known.get(id(row.method)) if row.method is not None else None
    if twin is not None:
      facts.parameters, facts.speed = dict(twin.parameters), dict(twin.speed)
    else:
      for part in parts:
        if part != REFERENTIAL or row.takes("self"):
          failed.catch(f"{row.name}, time", compare_cost.weigh, plan, row, facts, part, size)
    known[id(row.method)] = facts
    found.append(facts)
  return found
