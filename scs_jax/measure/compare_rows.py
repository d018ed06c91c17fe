"""The rows of a comparison: runs, cascades, folders of others' pictures, baselines."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax

from scs_jax.core.contract import ColorizeTwice, Prediction, TrainState, twice
from scs_jax.errors import UserError
from scs_jax.measure import compare, evaluate, evaluation_output, evaluation_settings, pairs
from scs_jax.measure.baselines import BASELINES, baselines_of
from scs_jax.measure.compare_folder import Folder
from scs_jax.training import models


@dataclasses.dataclass
class Row:
  """One row of the tables.

  Attributes:
    name: unique.
    kind: "run", "cascade", "results" or "baseline".
    predict, state: as Trial takes them; predict of a baseline is its name, of results "".
    make: what measures a batch, see Trial.
    referential: whether it takes a reference picture.
    takes_pairs: whether it colours pairs.
    method: of a run; config: of a run, of a cascade that of its colorizer.
    folder: of results.
    true_light: whether it has the true picture's L.
    record: what results.json says of it.
  """

  name: str
  kind: str
  predict: Callable | str = ""
  state: Any = None
  make: Callable = evaluate.Evaluator
  referential: bool = True
  takes_pairs: bool = False
  method: Any = None
  config: Any = None
  folder: Folder | None = None
  true_light: bool = False
  record: dict = dataclasses.field(default_factory=dict)

  def takes(self, mode: str) -> bool:
    """Whether it has an answer in a mode of photos."""
    if self.kind == "baseline":
      return self.name in baselines_of(mode)
    return self.referential or mode == "automatic"

  def require_photos(self, scale: float) -> None:
    """Raises UserError where it cannot colour photos at this magnification."""
    if self.takes_pairs:
      raise UserError("it colours pairs of a monochrome and a colour view, not photos")
    if self.method is not None:
      if self.method.only_enlarges:
        raise UserError("it enlarges colour pictures: name it in --cascade, after a colorizer")
      evaluation_settings.read_scale(scale, self.config, self.method)

  def colorize_pairs(self) -> ColorizeTwice:
    """Both passes of a photo method: the colour view is its reference, if it takes one."""

    def answer(state, query):
      query = query if self.referential else query.replace(reference=None)
      return Prediction(self.predict(state, query.replace(want_extras=False)).rgb)

    return twice(answer)


  def lightnesses(self, scale: float) -> list["Row"]:
    """The row; of a method that enlarges the input's L beside its colours, one with the true L too.
    """
    if scale == 1 or self.method is None or not self.method.keeps_luminance:
      return [self]
    other = {"make": compare.TrueLightness, "true_light": True}
    return [
      dataclasses.replace(self, name=f"{self.name}, L interpolated"),
      dataclasses.replace(self, name=f"{self.name}, true L", **other),
    ]


def open_run(spec: str, step: str, name: str) -> Row:
  """A run's row.

  Raises:
    UserError: no such checkpoint, or one that cannot be used.
  """
  found, method, state, record = _restore(spec, step)
  return Row(
    name,
    "run",
    method.predict,
    state,
    referential=method.takes_reference,
    takes_pairs=method.takes_pairs,
    method=method,
    config=found.config,
    record=record,
  )


def open_cascade(spec: str, step: str, name: str) -> Row:
  """A cascade's row.

  Raises:
    UserError: not two runs, one that cannot be used, or one that does not do its part.
  """
  parts = spec.split("+")
  if len(parts) != 2 or not all(parts):
    raise UserError(f"--cascade {spec}: expected two runs, COLORIZER+ENLARGER")
  (first, colors, state_c, record_c), (_, enlarger, state_e, record_e) = (
    _restore(part, step) for part in parts
  )
  if not enlarger.only_enlarges:
    raise UserError(f"{parts[1]} enlarges no colour pictures: expected a run of a method that does "
                    "that alone, as the joint network with task=super_resolution")  # fmt: skip
  if colors.takes_pairs or colors.only_enlarges:
    raise UserError(f"{parts[0]} colours no single pictures: expected a run that does")
  both = compare.Cascade(colors, enlarger)
  return Row(
    name,
    "cascade",
    both.predict,
    {"colorizer": state_c, "enlarger": state_e},
    referential=both.takes_reference,
    config=first.config,
    record={"colorizer": record_c, "enlarger": record_e, "enlarged": both.factor},
  )


def open_results(spec: str, name: str) -> Row:
  """The row of a folder of pictures.

  Raises:
    UserError: no such folder, a method.json that cannot be read.
  """
  folder = pathlib.Path(spec).expanduser()
  if not folder.is_dir():
    raise UserError(f"no folder {spec}; expected pictures that another program made")
  record: dict[str, Any] = {"path": spec, "told": _told(folder / "method.json")}
  return Row(name, "results", make=compare.Given, folder=Folder(folder), record=record)


def baselines(track: str) -> list[Row]:
  """Rows that need no training."""
  if track == "photos":
    return [Row(name, "baseline", name) for name in BASELINES]
  return [Row(name, "baseline") for name in pairs.BASELINES]


def _restore(spec: str, step: str) -> tuple[models.Model, Any, TrainState, dict]:
  found = models.find(spec, evaluation_settings.read_step(step))
  record = evaluation_output.checkpoint_record(found, step, found.fingerprint())
  return found, found.method, jax.device_put(found.restore()), record


def _told(path: pathlib.Path) -> dict[str, float]:
  """What a method.json says of its method, under the names that are known."""
  if not path.exists():
    return {}
  try:
    found = json.loads(path.read_bytes())
    known = ("parameters", "pictures_a_second")
    told = {key: float(found[key]) for key in known if key in found}
    if not all(0 < value < math.inf for value in told.values()):
      raise ValueError("numbers above 0")
    return told
  except (OSError, ValueError, TypeError) as error:
    raise UserError(
      f"{path}: expected {{\"parameters\": 12.3e6, \"pictures_a_second\": 4.5}} ({error})"
    ) from error


def identity(row: Row) -> Mapping:
  """What decides a row's figures; of results, names, sizes and times of the files."""
  if row.folder is not None:
    return {"files": row.folder.fingerprint()}
  marks = [row.record.get("fingerprint")]
  marks += [row.record[k]["fingerprint"] for k in ("colorizer", "enlarger") if k in row.record]
  return {"kind": row.kind, "fingerprints": [mark for mark in marks if mark]}
