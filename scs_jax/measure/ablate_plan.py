"""What an ablation is asked for, checked before anything is trained."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from scs_jax.core import ablations, ablations_result, failures, resolve, spelling
from scs_jax.core import config as configs
from scs_jax.data import draw, opening
from scs_jax.data.sources import open_source
from scs_jax.errors import UserError
from scs_jax.measure import fid, pairs, photos, settings
from scs_jax.measure.ablate_bucket import Mirror
from scs_jax.metrics import color
from scs_jax.training import resume

Rows = str | int | Sequence[str | int] | None


def tables(config: str = "") -> dict[str, ablations.Table]:
  """Finds {"scsnet.losses": Table, ...} of all methods of the package, and of the one of a config.

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
  """Holds a row to be trained.

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
  """Holds everything about one call.

  Attributes:
    name, table: what is asked for.
    folder: the working folder, or the copy of one in a bucket.
    rows: all of the table's; chosen: the names of those that this call trains.
    limit, features: of the pictures a mode, and what FID compares (fid.Features, or None).
    notes: what a reader of the table must know.
    settings: for the record.
    mirror: of a working folder in a bucket; None: it is on a disk.
  """

  name: str
  table: ablations.Table
  folder: pathlib.Path
  rows: dict[str, Row]
  chosen: list[str]
  limit: int | None
  features: Any
  notes: list[str]
  settings: dict
  mirror: Mirror | None = None

  def place(self, path: pathlib.Path) -> pathlib.Path | str:
    """Returns where a file or folder in the working folder really is."""
    return path if self.mirror is None else self.mirror.address(path)

  def fetch(self) -> None:
    """Looks at what others wrote there."""
    if self.mirror is not None:
      self.mirror.fetch()

  def send(self) -> None:
    """Makes what was written in the working folder last."""
    if self.mirror is not None:
      self.mirror.send()


def make(
  name: str,
  which: settings.Spec = "small",
  *,
  workdir: settings.Spec | None = None,
  overrides: Sequence[str] = (),
  steps: int | None = None,
  rows: Rows = None,
  limit: int | None = None,
  fid_weights: settings.Spec | None = None,
  index: int = 0,
  count: int = 1,
) -> Plan:
  """Makes the plan of a call of `ablate`, whose arguments these are; overrides: "KEY=VALUE".

  Raises:
    UserError: an unknown table or row, a spec or config that cannot be, data that is not there, a
      folder of other settings.
  """
  which = settings.read_spec("config", which) or "small"
  table = _table(name, which)
  settings.require_counts(1, steps=steps, limit=limit, count=count)
  settings.require_counts(0, index=index)
  index, count = index or 0, count or 1
  if index >= count:
    raise UserError(
      f"--index {index} --count {count}: expected an index from 0 to {count - 1}"
    )
  folder = settings.read_folder("workdir", workdir)
  folder = folder or pathlib.Path(f"runs/ablate/{name}-{_stem(which)}")
  fid_weights = settings.read_spec("fid_weights", fid_weights)
  features = fid.Features(fid_weights) if fid_weights else None
  budget = ablations.Budget(steps)
  config_of = {
    row.name: ablations.row_config(table, row, which, budget, overrides) for row in table.rows
  }
  kept = {row: _keep(folder / _slug(row), config) for row, config in config_of.items()}
  ablations.check_rows(config_of)
  methods = {row: resolve.build(config) for row, config in config_of.items()}
  ablations.check_spec(name, table, *_measurable(next(iter(methods.values()))))
  marks = _require_data(config_of)
  how = {"measure.limit": limit, "measure.fid_weights": fid_weights or "",
         "measure.draw": draw.SEED}  # fmt: skip
  made = {}
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
    changes = ablations.changes(table, row, which)
    made[row.name] = Row(
      row.name, row, config, changes, method, place, identity, earlier, kept[row.name], trouble
    )
  chosen = _choose(rows, [row.name for row in table.rows])[index::count]
  for row in chosen:
    ablations_result.require_ours(made[row].folder, made[row].identity, made[row].earlier)
  record = {
    "config": which,
    "overrides": list(overrides),
    "steps": steps,
    "limit": limit,
    "seed": next(iter(config_of.values())).seed,
  }
  notes = _notes(table, config_of)
  return Plan(name, table, folder, made, chosen, limit, features, notes, record)


def describe(plan: Plan) -> str:
  """Writes the spec and the rows, for a person who is about to wait."""
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


def _choose(rows: Rows, names: list[str]) -> list[str]:
  """Finds the rows asked for, by name or number from 1, in the table's order; None: all."""
  asked = set()
  for row in [rows] if isinstance(rows, str | int) else rows or ():
    text = str(row)
    if text.isdecimal() and 1 <= int(text) <= len(names):
      asked.add(names[int(text) - 1])
    elif text in names:
      asked.add(text)
    else:
      raise UserError(
        f"--rows {text!r}: no such row; expected 1 to {len(names)}, or one of "
        f"{', '.join(map(repr, names))}"
      )
  return [name for name in names if not asked or name in asked]


def _keep(folder: pathlib.Path, config: ConfigDict) -> list[str]:
  """As resume.keep_earlier; a checkpoint that cannot be read is for its row's training to say."""
  try:
    return resume.keep_earlier(folder, config)
  except UserError:
    return []


def _table(name: str, config: str) -> ablations.Table:
  known = tables(config)
  if name not in known:
    raise UserError(f"no ablation is called {name!r}; {spelling.hint(str(name), known)}")
  return known[name]


def _measurable(method) -> tuple[tuple[str, ...], tuple[str, ...]]:
  """Returns (modes, metrics) of the method's kind of data."""
  if method.takes_pairs:
    return pairs.MODES, tuple(pairs.METRICS)
  modes = photos.MODES if method.takes_reference else ("automatic",)
  return modes, (*photos.METRICS, *color.COLORFULNESS, "fid")


def _require_data(config_of) -> dict[str, str]:
  """Returns {row: fingerprint of its held-out pictures}; training data is looked for as well."""
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
  """Returns (what keeps the row from being trained, whether it uses frozen weights)."""
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
