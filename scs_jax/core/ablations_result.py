"""Keeps a trained row: row.json, and scores.npz with a number a picture."""

import dataclasses
import io
import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scs_jax.core import files
from scs_jax.core.rules import NO_EFFECT
from scs_jax.errors import UserError

FORMAT = "scs_jax ablation row 1"
ROW, SCORES, ERROR = "row.json", "scores.npz", "error.txt"
OTHER = "other settings"
"""The status of a row in a table whose settings are not those that the row was made with."""
_FREE = (*NO_EFFECT, "evaluate.batch_size", "evaluate.limit")


@dataclasses.dataclass
class RowResult:
  """A row of a table.

  Attributes:
    name: the row's.
    status: "running", "done", "failed" or, never written, OTHER.
    identity: what decides its figures; see `identify`.
    reason: why it failed.
    about: steps, parameters, seconds, sizes, versions, ...
    sets: {column's key: {"mean": of a whole set, "n": its pictures}}, as FID.
    scores: {"mode@scale/metric": float64 [n]} with the numbers of the pictures as metric "record"
      and whether they have no colour as "gray".
  """

  name: str
  status: str
  identity: Mapping[str, Any]
  reason: str = ""
  about: dict[str, Any] = dataclasses.field(default_factory=dict)
  sets: dict[str, dict] = dataclasses.field(default_factory=dict)
  scores: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

  def write(self, folder: pathlib.Path) -> None:
    """Scores first: a row is done once row.json says so."""
    if self.scores:
      content = io.BytesIO()
      np.savez_compressed(content, **{k.replace("/", "|"): v for k, v in self.scores.items()})
      files.write_aside(folder / SCORES, content.getvalue())
    plain = dataclasses.asdict(dataclasses.replace(self, scores={}))
    del plain["scores"]
    text = json.dumps({"format": FORMAT, **plain}, indent=2) + "\n"
    files.write_aside(folder / ROW, text.encode())


def read(
  folder: pathlib.Path, earlier: Mapping[str, Any] | None = None
) -> RowResult | None:
  """Reads the row in a folder; None where there is none, or none that can be read whole.

  Args:
    folder: the row's.
    earlier: {key of an identity: value as which a row was trained that lacks it, being older}.
  """
  try:
    found = json.loads((folder / ROW).read_bytes())
    if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
      return None
    row = RowResult(**found)
    row.identity = {**(earlier or {}), **row.identity}
    if row.status == "done":
      with np.load(folder / SCORES, allow_pickle=False) as file:
        row.scores = {name.replace("|", "/"): file[name] for name in file.files}
  except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile):
    return None
  return row


def require_ours(
  folder: pathlib.Path, identity: Mapping[str, Any], earlier: Mapping[str, Any] | None = None
) -> RowResult | None:
  """Reads what is in a row's folder already, None where there is nothing to go on with.

  A row that was measured otherwise is trained all the same, and measured again. `earlier` is as
  `read` takes it.

  Raises:
    UserError: it is of others; names them.
  """
  there = read(folder, earlier)
  if there is None:
    if (folder / "checkpoints").exists():
      raise UserError(f"{folder} holds a run that is no row of a table; give another --workdir")
    return None
  changed = [c for c in changes(there.identity, identity) if not c.startswith("measure.")]
  if changed and (there.status == "done" or (folder / "checkpoints").exists()):
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    raise UserError(
      f"{folder} holds this row trained with other settings ({'; '.join(changed[:3])}{more}); "
      "give another --workdir, or remove that folder"
    )
  return None if changed else there


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
  """Lists what differs between two identities, in words, each beginning with its key.

  An empty text is as good as no key: rows were trained before there was init_from.
  """
  counts = lambda key, value: value != "" and not key.startswith(_FREE)
  before, now = ({k: v for k, v in side.items() if counts(k, v)} for side in (before, now))
  return [
    f"{key} {_short(before.get(key))}, now {_short(now.get(key))}"
    for key in sorted({*before, *now})
    if before.get(key) != now.get(key)
  ]


def _short(value) -> str:
  text = "(nothing)" if value is None else str(value)
  return text if len(text) <= 40 else f"{text[:37]}..."


def identify(leaves: Mapping[str, Any], frozen: bool, more: Mapping[str, Any]) -> dict[str, Any]:
  """Collects what decides a row's figures, plain enough for JSON.

  Args:
    leaves: its config, flat.
    frozen: whether it uses frozen weights; without, the paths of such files decide nothing.
    more: what is measured, on what, as "measure.NAME".
  """
  found = {}
  for key, value in leaves.items():
    if not (key.startswith(_FREE) or (key.endswith("_file") and not frozen)):
      found[key] = _plain(value)
  return found | dict(more)


def _plain(value):
  if isinstance(value, Sequence) and not isinstance(value, str):
    return [_plain(v) for v in value]
  return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
