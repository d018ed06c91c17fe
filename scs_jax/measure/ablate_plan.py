"""What `scs-jax ablate` is asked for, checked before anything is trained."""

import dataclasses
import json
import pathlib
import re
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from scs_jax.core import ablations, ablations_result, failures, resolve, spelling
from scs_jax.core import config as configs
from scs_jax.data import draw, opening
from scs_jax.data.sources import open_source
from scs_jax.errors import UserError
from scs_jax.measure import evaluate, pairs
from scs_jax.metrics import color
from scs_jax.training import resume


def tables(config: str = "") -> dict[str, ablations.Table]:
  """{"scsnet.losses": Table, ...} of all methods of the package, and of the one of a config.

  Args:
    config: as of `make`: where it names a method outside the package, that one's tables too.

  Raises:
    UserError: no such config or method, or a method's module of tables that is not there.
  """
  names = list(resolve.BUILTIN)
  if config.endswith(".py"):
    names.append(configs.load(config).method.name)
  found = {}
  for name in dict.fromkeys(names):
    found |= ablations.tables_of(resolve.resolve(name))
  return found


class Row(NamedTuple):
  """A row to be trained.

  Attributes:
    name, spec: of the table.
    config: what it is trained with; changes: what sets it apart, beside a config of its own.
    method: built from it.
    folder: its run's.
    identity: see ablations_result.identify; earlier: see ablations_result.read.
    kept: what its config keeps of how the row was begun by an earlier release, a line each.
    trouble: why it will fail, where that is known already.
  """

  name: str
  spec: ablations.Row
  config: ConfigDict
  changes: dict
  method: Any
  folder: pathlib.Path
  identity: dict
  earlier: dict
  kept: list[str]
  trouble: str


@dataclasses.dataclass
class Plan:
  """Everything about one call.

  Attributes:
    name, table: what is asked for.
    folder: the working folder.
    rows: all of the table's; chosen: the names of those that this call trains.
    notes: what a reader of the table must know.
  """

  name: str
  table: ablations.Table
  folder: pathlib.Path
  rows: dict[str, Row]
  chosen: list[str]
  notes: list[str]
  settings: dict


def make(args) -> Plan:
  """The plan of the flags.

  Raises:
    UserError: an unknown table or row, a spec or config that cannot be, data that is not there, a
      folder of other settings.
  """
  table = _table(args.table, args.which)
  _check_numbers(args)
  folder = pathlib.Path(args.workdir or f"runs/ablate/{args.table}-{_stem(args.which)}")
  overrides = list(args.overrides)
  for flag, key in ((args.data, "data.source"), (args.heldout, "data.heldout")):
    if flag is not None:
      overrides.append(f"{key}={flag}")
  budget = ablations.Budget(args.steps)
  config_of = {
    row.name: ablations.row_config(table, row, args.which, budget, overrides) for row in table.rows
  }
  kept = {name: _keep(folder / _slug(name), config) for name, config in config_of.items()}
  ablations.check_rows(config_of)
  methods = {name: resolve.build(config) for name, config in config_of.items()}
  ablations.check_spec(args.table, table, *_measurable(next(iter(methods.values()))))
  marks = _require_data(config_of)
  how = {"measure.limit": args.limit, "measure.fid_weights": args.fid_weights or "",
         "measure.draw": draw.SEED}  # fmt: skip
  rows = {}
  for row in table.rows:
    config, method = config_of[row.name], methods[row.name]
    trouble, frozen = _trouble(method)
    identity = ablations_result.identify(
      configs.flatten(config), frozen, {**how, "measure.heldout": marks[row.name]}
    )
    earlier = ablations_result.identify(resume.earlier_values(config), frozen, {})
    # Through JSON, as it is compared with what was written.
    identity, earlier = json.loads(json.dumps([identity, earlier]))
    place = folder / _slug(row.name)
    changes = ablations.changes(table, row, args.which)
    rows[row.name] = Row(
      row.name, row, config, changes, method, place, identity, earlier, kept[row.name], trouble
    )
  chosen = _choose(args, [row.name for row in table.rows])
  for name in chosen:
    row = rows[name]
    ablations_result.require_ours(row.folder, row.identity, row.earlier)
  settings = {
    "config": args.which,
    "overrides": overrides,
    "steps": args.steps,
    "limit": args.limit,
    "seed": next(iter(config_of.values())).seed,
  }
  return Plan(args.table, table, folder, rows, chosen, _notes(table, config_of), settings)


def _keep(folder: pathlib.Path, config: ConfigDict) -> list[str]:
  """As resume.keep_earlier; a checkpoint that cannot be read is for its row's training to say."""
  try:
    return resume.keep_earlier(folder, config)
  except UserError:
    return []


def _table(name: str, config: str) -> ablations.Table:
  known = tables(config)
  if name not in known:
    raise UserError(f"no ablation is called {name!r}; {spelling.hint(name, known)}")
  return known[name]


def _check_numbers(args) -> None:
  if args.workdir == "":
    raise UserError("--workdir is empty: expected a folder")
  for flag, value in (("--steps", args.steps), ("--limit", args.limit)):
    if value is not None and value < 1:
      raise UserError(f"{flag} {value}: expected a whole number from 1")
  if not 0 <= args.index < args.count:
    raise UserError(
      f"--index {args.index} --count {args.count}: expected an index from 0 to {args.count - 1}"
      if args.count > 0
      else f"--count {args.count}: expected a whole number from 1"
    )


def _choose(args, names: list[str]) -> list[str]:
  """The rows of --rows, in the table's order, of which --index and --count take every N-th."""
  asked = set()
  for text in args.rows or ():
    if text.isdecimal() and 1 <= int(text) <= len(names):
      asked.add(names[int(text) - 1])
    elif text in names:
      asked.add(text)
    else:
      raise UserError(
        f"--rows {text!r}: no such row; expected 1 to {len(names)}, or one of "
        f"{', '.join(map(repr, names))}"
      )
  chosen = [name for name in names if not asked or name in asked]
  return chosen[args.index :: args.count]


def _measurable(method) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """(modes, metrics) of the method's kind of data."""
  if method.takes_pairs:
    return pairs.MODES, tuple(pairs.METRICS)
  modes = evaluate.MODES if method.takes_reference else ("automatic",)
  return modes, (*evaluate.METRICS, *color.COLORFULNESS, "fid")


def _require_data(config_of) -> dict[str, str]:
  """{row: fingerprint of its held-out pictures}; training data is looked for as well."""
  marks: dict[tuple, str] = {}
  found = {}
  for name, config in config_of.items():
    data = config.data
    if not data.heldout:
      raise UserError("config.data.heldout is empty: rows are measured on it; give --heldout")
    key = (data.kind, data.source, data.heldout)
    if key not in marks and data.kind == "pairs":
      opening.open_pairs(config)
      marks[key] = opening.open_pairs(config, heldout=True).fingerprint
    elif key not in marks:
      # Gray ones are looked for later, and once.
      open_source("bundled:train" if data.source == "bundled" else data.source, progress=False)
      marks[key] = open_source(data.heldout).fingerprint
    found[name] = marks[key]
  return found


def _trouble(method) -> tuple[str, bool]:
  """(what keeps the row from being trained, whether it uses frozen weights)."""
  try:
    if not method.frozen_shapes():
      return "", False
    method.load_frozen()
  except (UserError, OSError) as error:
    return failures.explain(error) or str(error), True
  return "", True


def _notes(table: ablations.Table, config_of) -> list[str]:
  notes = list(table.notes)
  keys = ablations.unequal(config_of)
  if keys:
    notes.append(
      f"rows differ in {', '.join(keys)}: those do not see the same pictures in the same order"
    )
  return notes


def _slug(name: str) -> str:
  return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _stem(which: str) -> str:
  return pathlib.PurePath(which).stem
