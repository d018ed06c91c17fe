"""An ablation table as data: its rows, what is measured of them, and what the paper printed.

A method names the module that its tables stand in, as `TABLES`: those of the package's methods are
configs/<method>/ablations.py. `scs-jax ablate` trains their rows.
A row is a name, the paper's claim and an overlay on a config; a table says besides in which modes,
on how many pictures and over which channels the paper measured, and which row is the base that
differences are taken to.
"""

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from scs_jax.core import config as configs
from scs_jax.core.contract import Method
from scs_jax.errors import UserError
from scs_jax.metrics.estimates import REFERENTIAL

Overlay = Mapping[str, Any]

UNREFINED = "_unrefined"
"""As the end of a column's mode: of pairs, before the refinement, with the Y that was found."""

NO_INCEPTION = (
  "FID needs the Inception-v3 weights that define it, a file that the user brings (--fid-weights); "
  "none was given, and there is no stand-in for it"
)
NO_COLORNET = (
  "CN is a network trained on human scores (Zerman et al. 2019) without public weights; the "
  "colourfulness of Hasler and Suesstrunk stands beside it under its own name"
)


@dataclasses.dataclass(frozen=True)
class Column:
  """A figure of every row.

  Attributes:
    heading: as it is shown.
    paper: its key in a row's claim; "" where the paper has no such figure.
    ours: "mode/metric", "mode@scale/metric", "parameters:network/module|network/other", in
      millions, or "ms@scale", of a picture; "" where it is not measured here.
    better: 1 where larger is, -1 where smaller is, 0 where neither is.
    decimals: shown.
    why: why there is no figure of ours, or what sets ours apart from the paper's.
  """

  heading: str
  paper: str = ""
  ours: str = ""
  better: int = 1
  decimals: int = 2
  why: str = ""

  @property
  def measure(self) -> tuple[str, float | None, str] | None:
    """(mode, scale or None for the config's, metric) of a figure taken on pictures, else None."""
    place, slash, metric = self.ours.partition("/")
    if not slash or place.startswith(("parameters:", "ms@")):
      return None
    mode, at, scale = place.partition("@")
    return mode, float(scale) if at else None, metric


@dataclasses.dataclass(frozen=True)
class Row:
  """One row of a table.

  Attributes:
    name: what is trained, as the paper names it.
    claim: what the paper says of it: its figures by their keys, and "where" it prints them.
    overlay: dotted config keys and their values; empty where it is the config itself.
    note: what to know of the row's figures here.
    base: the config that it starts from under `paper`, where rows start from several.
  """

  name: str
  claim: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  overlay: Overlay = dataclasses.field(default_factory=dict)
  note: str = ""
  base: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table:
  """One table.

  Attributes:
    title, where: what it shows, and where the paper prints it ("Table 4").
    method: the folder of the package's configs that "small" and "paper" are found in; "": none.
    rows: in order.
    base: the name of the row that differences are taken to.
    columns: in order.
    modes: what is measured.
    pictures: {mode: how many the paper measured}; fewer are used where there are fewer.
    images: the paper's data, in words; "" where there is no paper.
    channels: which planes the paper's figures are over, in words.
    shared: {config: overlay of all rows under it}: what its short trainings switch off.
    tasks: {row: overlay under any config but `paper`}, where rows start from several configs there.
    curves: metrics of metrics.jsonl that are drawn.
    notes: what a reader must know.
  """

  title: str
  where: str
  method: str = ""
  rows: Sequence[Row]
  base: str
  columns: Sequence[Column]
  modes: Sequence[str]
  pictures: Mapping[str, int]
  images: str = ""
  channels: str = ""
  shared: Mapping[str, Overlay] = dataclasses.field(default_factory=dict)
  tasks: Mapping[str, Overlay] = dataclasses.field(default_factory=dict)
  curves: Sequence[str] = ()
  notes: Sequence[str] = ()

  def figures(self, row: Row) -> dict[str, float]:
    """Returns the paper's figures of a row, by key; none where it prints none."""
    return {key: float(v) for key, v in row.claim.items() if isinstance(v, int | float)}

  def spec(self) -> dict:
    """Makes what is stored with a result."""
    plain = {
      f.name: getattr(self, f.name)
      for f in dataclasses.fields(self)
      if f.name not in ("rows", "columns")
    }
    return {
      **_jsonable(plain),
      "columns": [dataclasses.asdict(column) for column in self.columns],
      "rows": [
        {
          "name": row.name,
          "paper": self.figures(row),
          "overlay": _jsonable(row.overlay),
          "note": row.note,
        }
        for row in self.rows
      ],
    }


def _jsonable(value):
  if isinstance(value, Mapping):
    return {str(k): _jsonable(v) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return [_jsonable(v) for v in value]
  return value


def tables_of(method: type[Method]) -> dict[str, Table]:
  """Returns {"scsnet.losses": Table, ...} of a method's class; empty where it names no module.

  Raises:
    UserError: the module that it names is not there.
  """
  if not method.ablations:
    return {}
  configs.load("common")  # makes scs_jax.configs importable in a source tree as well
  try:
    module = importlib.import_module(method.ablations)
  except ModuleNotFoundError as err:
    raise UserError(
      f"{method.__name__}.ablations is {method.ablations!r}: no module {err.name!r}; expected the "
      "module with the method's TABLES (see scs_jax/core/ablations.py)"
    ) from err
  return dict(module.TABLES)


def check_spec(name: str, table: Table, modes: Sequence[str], metrics: Sequence[str]) -> None:
  """Refuses a table that contradicts itself.

  Args:
    modes, metrics: those that there are for the method's kind of data.

  Raises:
    UserError: names the table and the place.
  """

  def refuse(what: str):
    raise UserError(f"the spec of {name}: {what}")

  names = [row.name for row in table.rows]
  if len(set(names)) != len(names):
    refuse(f"two rows have one name ({', '.join(names)})")
  if table.base not in names:
    refuse(f"its base row {table.base!r} is none of {', '.join(names)}")
  claimed = {key for row in table.rows for key in table.figures(row)}
  printed = {column.paper for column in table.columns if column.paper}
  if claimed != printed:
    refuse(f"the rows claim {sorted(claimed)}, the columns show {sorted(printed)} of the paper")
  if wrong := [mode for mode in table.modes if mode not in modes]:
    refuse(f"no mode {wrong[0]!r}; there are {', '.join(modes)}")
  if set(table.pictures) != set(table.modes):
    refuse("it does not say for each mode how many pictures")
  if wrong := (set(table.shared) - {"small", "paper"}) | (set(table.tasks) - set(names)):
    refuse(f"it has overlays for {sorted(wrong)}, which are no config or no row")
  for column in table.columns:
    if not column.ours and not column.why:
      refuse(f"column {column.heading!r} has no figure of ours and does not say why")
    if column.measure is None:
      continue
    mode, _, metric = column.measure
    plain = mode.removesuffix(UNREFINED)
    there = plain in table.modes or (mode == REFERENTIAL and {"self", "random"} <= set(table.modes))
    if not there or metric not in metrics:
      refuse(f"column {column.heading!r}: nothing measures {column.ours!r}")


def measured(table: Table) -> list[tuple[str, float | None]]:
  """Lists (mode, scale or None) of all that has to be coloured, in order, each once."""
  found = []
  for column in table.columns:
    if column.measure is None:
      continue
    mode, scale, _ = column.measure
    mode = mode.removesuffix(UNREFINED)
    for one in ("self", "random") if mode == REFERENTIAL else (mode,):
      if (one, scale) not in found:
        found.append((one, scale))
  return found


def overlay(config: ConfigDict, changes: Overlay) -> ConfigDict:
  """Returns a locked copy with dotted keys set to values of their own types.

  Raises:
    UserError: a key that the config does not have, or a value of another type.
  """
  changed = config.copy_and_resolve_references()
  changed.lock()
  for path, value in changes.items():
    *parents, leaf = path.split(".")
    section = changed
    for part in parents:
      if part not in section:
        raise UserError(f"an ablation sets {path}, which the config does not have")
      section = section[part]
    if leaf not in section:
      raise UserError(f"an ablation sets {path}, which the config does not have")
    try:
      section[leaf] = value
    except TypeError as err:
      raise UserError(f"an ablation sets {path} to {value!r}: {err}") from err
  return changed


@dataclasses.dataclass(frozen=True)
class Budget:
  """Says how long each row is trained, and how often it is looked at.

  Attributes:
    steps: of a row that has no share of its own; None: the config's own.
  """

  steps: int | None = None

  def apply(self, config: ConfigDict) -> ConfigDict:
    """Returns the config with these steps, saved and scored four times along the way."""
    if self.steps is None:
      return config
    every = max(1, -(-self.steps // 4))
    changes = {"steps": self.steps, "epochs": 0.0, "checkpoint.every_steps": every}
    changes |= {"log.evaluate_every": every, "log.panels_every": every}
    changes["log.every_steps"] = max(1, min(config.log.every_steps, self.steps // 20))
    return overlay(config, changes)


def row_config(
  table: Table, row, config: str, budget: Budget, overrides: Sequence[str] = ()
) -> ConfigDict:
  """Returns the locked config that a row is trained with.

  In this order: the config itself, what all rows share under it, the row's task, the budget, the
  user's overrides, the row's own overlay: that is what sets it apart, and it has the last word.
  A row that sets `steps` does so relative to `paper`, so that a budget keeps the proportion.

  Args:
    config: "small", "paper", another short name, or a .py file.
    overrides: KEY=VALUE, of all rows.
  """
  short = config.rpartition("/")[2]
  own = dict(row.overlay)
  if short == "paper" and row.base:
    found = configs.load(row.base)
  else:
    known = config.endswith(".py") or "/" in config
    found = configs.load(config if known else f"{table.method}/{config}")
  found = overlay(found, table.shared.get(short, {}))
  if short != "paper":
    found = overlay(found, table.tasks.get(row.name, {}))
  found = configs.apply_overrides(budget.apply(found), overrides)
  if "steps" in own:
    share = own["steps"] / configs.load(f"{table.method}/paper").steps
    own["steps"] = max(1, round(share * found.steps))
  return overlay(found, own)


def changes(table: Table, row, config: str) -> dict[str, Any]:
  """Lists what sets a row apart under a config, its steps aside: its task and its overlay."""
  task = {} if config.rpartition("/")[2] == "paper" else table.tasks.get(row.name, {})
  return {key: v for key, v in {**task, **row.overlay}.items() if key != "steps"}


def check_rows(config_of: Mapping[str, ConfigDict]) -> None:
  """Refuses rows that would be trained alike.

  Raises:
    UserError: names two rows.
  """
  seen: dict[str, str] = {}
  for name, config in config_of.items():
    mark = configs.fingerprint(config)
    if mark in seen:
      raise UserError(
        f"the rows {seen[mark]!r} and {name!r} have the same config: the one given has already "
        "switched off what one of them leaves out; set it with --config.KEY=VALUE"
      )
    seen[mark] = name


def unequal(config_of: Mapping[str, ConfigDict]) -> list[str]:
  """Lists keys that decide which pictures a row sees, and when, and that differ between rows."""
  flat = [configs.flatten(config) for config in config_of.values()]
  decides = lambda key: key in ("seed", "batch_size") or key.startswith("data.")
  keys = sorted({key for leaves in flat for key in leaves if decides(key)})
  return [key for key in keys if len({repr(leaves.get(key)) for leaves in flat}) > 1]
