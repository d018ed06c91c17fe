"""What a trained row of an ablation is worth: scores a picture, FID of sets, time of a picture."""

import numpy as np

from scs_jax.core import ablations
from scs_jax.errors import UserError
from scs_jax.measure import fid, passes, score, speed
from scs_jax.measure.pair_set import PairSet
from scs_jax.measure.pairs import Pairs
from scs_jax.measure.photo_set import PhotoSet
from scs_jax.measure.photos import Photos
from scs_jax.measure.settings import Setting
from scs_jax.metrics.estimates import REFERENTIAL, Scores
from scs_jax.training import distributed

_ROW = "row"


class Subject:
  """Measures a trained row.

  Args:
    table: says in which modes and at which magnifications.
    config: the row's.
    method, state: what was trained.
    limit: of pictures a mode, beside the table's own numbers; None: those.
    features: what FID compares (fid.Features), or None: then there is no FID.
    folder: the true pictures' features are kept there, as all rows are compared with them.

  Attributes:
    broken: names and causes of what cannot be read. lists: {mode: hash of its pictures' names}.
    notes: on the pictures that were measured.
  """

  def __init__(
    self, table: ablations.Table, config, method, state, limit=None, features=None, folder=None
  ):
    self.table, self.config, self._limit = table, config, limit
    self._features, self._folder = features, folder
    self._network = passes.network(_ROW, method, state)
    self.broken: set[str] = set()
    self.lists: dict[str, str] = {}
    self.notes: list[str] = []

  def measure(self) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Returns (scores, sets) as of ablations_result.RowResult."""
    if self._network.takes_pairs:
      return self._pairs(), {}
    config = self.config
    shares = {m: min(most, self._limit or most) for m, most in self.table.pictures.items()}
    modes = tuple(dict.fromkeys(mode for mode, _ in ablations.measured(self.table)))
    size = config.data.crop, config.data.crop
    setting = Setting(
      modes=modes, size=size, batch_size=config.evaluate.batch_size, shares=shares,
      enlarge=config.data.get("enlarge", False),
    )  # fmt: skip
    data = PhotoSet("", config.data.heldout, setting)
    self.notes += [note.replace("pictures", "held-out pictures", 1) for note in data.notes]
    scores: dict[str, np.ndarray] = {}
    sets: dict[str, dict] = {}
    asked = ablations.measured(self.table)
    for scale in dict.fromkeys(scale for _, scale in asked):
      of_scale = [mode for mode, other in asked if other == scale]
      # FID is of all that was coloured at a magnification, against its true pictures.
      part = REFERENTIAL if set(of_scale) == {"self", "random"} else "+".join(of_scale)
      at = lambda what, scale=scale: what if scale is None else f"{what}@{scale:g}"
      watched = None
      if self._features is not None:
        watched = fid.Distances(self._features, dict.fromkeys(of_scale, part))
      for mode in of_scale:
        scores |= _named(self._photos(data, mode, scale, watched), mode, at(mode))
      if watched is not None:
        real = self._features.real(data, self._folder, of_scale)
        results = watched.of[part, _ROW]
        mean = distributed.from_first(lambda: results.frechet(real))  # noqa: B023 (called here)
        sets[f"{at(part)}/fid"] = {"mean": mean, "n": results.count}
    self.broken |= set(data.broken.values())
    self.notes += data.notes_on_sizes("held-out pictures")
    self.lists = {mode: data.list_hash(numbers) for mode, numbers in data.dealt.items()}
    return scores, sets

  def _photos(self, data: PhotoSet, mode: str, scale: float | None, watched) -> Scores:
    """Scores one mode at one magnification."""
    setting = self.config.evaluate
    track = Photos(scale or setting.scale, setting.reference_size)
    found = score.score_set([self._network], track, data, True, modes=(mode,), see=watched)
    if not found.of:
      raise UserError(str(data.none_measured()).replace("--data", "--heldout"))
    return found

  def _pairs(self) -> dict[str, np.ndarray]:
    """Scores both colorizations of the held-out pairs, refined and not."""
    config = self.config
    crop = tuple(config.data.heldout_crop) if all(config.data.heldout_crop) else None
    limit = min(self.table.pictures[mode] for mode in self.table.modes)
    setting = Setting(
      modes=tuple(self.table.modes), size=crop,
      batch_size=config.evaluate.batch_size if crop else 1,
      limit=min(limit, self._limit or limit),
    )  # fmt: skip
    data = PairSet("", None, setting, config)
    scores = score.score_set([self._network], Pairs(), data, True)
    if not scores.of:
      first = data.broken[min(data.broken)] if data.broken else "there is none"
      raise UserError(f"none of the pairs of {config.data.heldout} can be measured ({first})")
    self.broken |= set(data.broken.values())
    every = data.list_hash(range(data.count))
    self.lists = dict.fromkeys(scores.of, every)
    found = {}
    for mode in scores.of:
      found |= _named(scores, mode, mode)
    return found

  def milliseconds(self, scale: float) -> float:
    """Times one picture at this magnification: the network alone, warm, median."""
    config = self.config
    part = REFERENTIAL if set(self.table.modes) & {"self", "random"} else "automatic"
    size = config.data.crop, config.data.crop
    query = speed.query_of(part, size, scale, config.evaluate.reference_size)
    return speed.milliseconds(self._network, query)


def _named(scores: Scores, mode: str, at: str) -> dict[str, np.ndarray]:
  """Returns {"mode@scale/metric": [n]} of a mode's rows, with pictures' numbers and who is gray."""
  found = {}
  for row, values in scores.of[mode].items():
    place = at + row.removeprefix(_ROW)
    values = values | {"record": scores.records[mode], "gray": scores.gray[mode].astype(float)}
    found |= {f"{place}/{metric}": np.asarray(v) for metric, v in values.items()}
  return found
