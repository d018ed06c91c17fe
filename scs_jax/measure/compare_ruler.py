"""What a comparison measures besides `evaluate`: FID and LPIPS, where their weights are given."""

from collections.abc import Callable, Mapping

import numpy as np

from scs_jax.measure import learned
from scs_jax.measure.compare_settings import Plan
from scs_jax.metrics.distribution import Statistics
from scs_jax.metrics.estimates import REFERENTIAL

FID = (
  "Frechet distance (Heusel et al. 2017) of the pooled features of the published Inception-v3 "
  "between the results of a part and all true pictures that take part in the data set, at the size "
  "measured; biased upwards for few pictures, so that figures of equal counts alone compare"
)
_PARTS = {"automatic": "automatic", "self": REFERENTIAL, "random": REFERENTIAL}


class Ruler:
  """Sees all results as they are measured.

  Attributes:
    why_no_fid, why_no_lpips: empty where they are measured.
    more: {"lpips": the metric}, as trials take it, or nothing.
    weights: for the record, the files of each: name, SHA-256, whether they are the published ones.

  Raises:
    UserError: weights that are not there, or not those that define the figure.
  """

  def __init__(self, plan: Plan):
    self._look = None
    self.weights: dict[str, list[dict]] = {}
    self._folder = plan.out  # keeps the features of true pictures for the next run
    self.why_no_fid = "left out, as no weights are given (--fid-weights): there is no stand-in"
    self.why_no_lpips = "left out, as no weights are given (--lpips-weights): there is no stand-in"
    if plan.fid_weights is not None:
      from scs_jax.nn.features import inception

      self._look, self.why_no_fid = learned.extractor(*inception.load(plan.fid_weights)), ""
      published = inception.PUBLISHED_SHA256
      self.weights["fid"] = [learned.describe_weights(plan.fid_weights, published)]
    self.more = learned.perceptual(plan.lpips_weights)
    for metric in self.more.values():
      metric.require_size(plan.size)
      self.why_no_lpips, self.weights["lpips"] = "", metric.weights
    self._results: dict[tuple[str, str, str], Statistics] = {}  # by data set, part, row
    self._real: dict[str, Statistics] = {}
    self._key: tuple[str, str, str] | None = None

  def begin(self, data: str, row: str, mode: str):
    """What Trial.run is to show results to; None where nothing is to be seen."""
    self._key = data, _PARTS[mode], row
    return self._see if self._look else None

  def _see(self, batch: Mapping, there: np.ndarray, rgb) -> None:
    features = self._look(rgb)
    kept = self._results.setdefault(self._key, Statistics(features.shape[-1]))
    kept.update(features, there)

  def real(self, data: str, pictures: Mapping, batches: Callable[[], learned.Batches]) -> None:
    """The true pictures of a data set; see learned.real_statistics."""
    from scs_jax.nn.features import inception

    self._real[data] = learned.real_statistics(
      self._look,
      self.weights["fid"][0]["sha256"],
      batches,
      self._folder,
      pictures,
      inception.FEATURES,
    )

  def forget(self, data: str, row: str) -> None:
    """Of a row that failed on a data set."""
    for key in [k for k in self._results if k[0] == data and k[2] == row]:
      del self._results[key]

  def distances(self, data: str) -> dict[str, dict[str, float]]:
    """{part: {row: FID}} of a data set; of parts with two pictures or more."""
    found: dict[str, dict[str, float]] = {}
    real = self._real.get(data)
    for (name, part, row), statistics in self._results.items():
      if name == data and real is not None and min(statistics.count, real.count) >= 2:
        found.setdefault(part, {})[row] = statistics.frechet(real)
    return found

  def counts(self, data: str) -> dict[str, int]:
    """How many pictures each FID is over."""
    return {
      f"{part}: {row}": s.count for (name, part, row), s in self._results.items() if name == data
    }
