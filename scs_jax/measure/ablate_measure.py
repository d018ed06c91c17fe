"""What a trained row of an ablation is worth: scores a picture, FID of sets, time of a picture."""

from collections.abc import Mapping

import numpy as np

from scs_jax.core import ablations
from scs_jax.errors import UserError
from scs_jax.measure import fid, passes, score, speed
from scs_jax.measure.pair_set import PairSet
from scs_jax.measure.pairs import Pairs
from scs_jax.measure.photo_set import PhotoSet
from scs_jax.measure.photos import Photos
from scs_jax.measure.settings import Setting
from scs_jax.metrics.distribution import Statistics
from scs_jax.metrics.estimates import REFERENTIAL, Scores

_ROW = "row"


class Subject:
  """Measures a trained row.

  Args:
    table: says in which modes and at which magnifications.
    config: the row's.
    method, state: what was trained.
    limit: of pictures a mode, beside the table's own numbers; None: those.
    features: what FID compares (fid.Features), or None: then there is no FID.

  Attributes:
    broken: names and causes of what cannot be read. lists: {mode: hash of its pictures' names}.
    notes: on the pictures that were measured.
  """

  def __init__(self, table: ablations.Table, config, method, state, limit=None, features=None):
    self.table, self.config, self._limit, self._features = table, config, limit, features
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
    sets: dict[float | None, dict[str, _Sets]] = {}
    for mode, scale in ablations.measured(self.table):
      found, watched = self._photos(data, mode, scale)
      at = mode if scale is None else f"{mode}@{scale:g}"
      scores |= _named(found, mode, at)
      sets.setdefault(scale, {})[mode] = watched
    self.broken |= set(data.broken.values())
    self.notes += data.notes_on_sizes("held-out pictures")
    self.lists = {mode: data.list_hash(numbers) for mode, numbers in data.dealt.items()}
    return scores, self._distances(sets)

  def _photos(self, data: PhotoSet, mode: str, scale: float | None):
    """Returns (scores, features of results and real pictures) in one mode at one magnification."""
    setting = self.config.evaluate
    track = Photos(scale or setting.scale, setting.reference_size)
    watched = None if self._features is None else _Sets(self._features)
    streams = [s._replace(modes=(mode,)) for s in data.streams() if mode in s.modes]
    found = score.score([self._network], track, streams, see=watched)
    if not found.of:
      raise UserError(str(data.none_measured()).replace("--data", "--heldout"))
    return found, watched

  def _distances(self, sets: Mapping) -> dict[str, dict]:
    """Computes FID at each magnification: all that was coloured at it against its real pictures."""
    found = {}
    for scale, by_mode in sets.items() if self._features is not None else ():
      first, *others = by_mode.values()
      results, real = first.results, first.real
      for more in others:
        results, real = results.merge(more.results), real.merge(more.real)
      mode = REFERENTIAL if set(by_mode) == {"self", "random"} else "+".join(by_mode)
      at = mode if scale is None else f"{mode}@{scale:g}"
      found[f"{at}/fid"] = {"mean": results.frechet(real), "n": results.count}
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
    scores = score.score([self._network], Pairs(), data.streams())
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


class _Sets:
  """Features of results and of the real pictures that they are of, as `see` of score.score."""

  def __init__(self, features: fid.Features):
    self._look = features.look
    self.results = self.real = None

  def __call__(self, row, mode, batch, there, pictures) -> None:
    for name, shown in (("results", pictures["rgb"]), ("real", batch["image"])):
      found = self._look(np.asarray(shown))
      if getattr(self, name) is None:
        setattr(self, name, Statistics(found.shape[1]))
      getattr(self, name).update(found, there)


def _named(scores: Scores, mode: str, at: str) -> dict[str, np.ndarray]:
  """Returns {"mode@scale/metric": [n]} of a mode's rows, with pictures' numbers and who is gray."""
  found = {}
  for row, values in scores.of[mode].items():
    place = at + row.removeprefix(_ROW)
    values = values | {"record": scores.records[mode], "gray": scores.gray[mode].astype(float)}
    found |= {f"{place}/{metric}": np.asarray(v) for metric, v in values.items()}
  return found
