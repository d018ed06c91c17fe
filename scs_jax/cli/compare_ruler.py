"""What a comparison measures besides `evaluate`: FID and LPIPS, where their weights are given."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from scs_jax.cli.compare_settings import Plan
from scs_jax.engine.compare import REFERENTIAL

FID = (
  "Frechet distance (Heusel et al. 2017) of the pooled features of the published Inception-v3 "
  "between the results of a part and all true pictures that take part in the data set, at the size "
  "measured; biased upwards for few pictures, so that figures of equal counts alone compare"
)
LPIPS = "LPIPS v0.1 (Zhang et al. 2018) of result and true picture at the size measured"
_PARTS = {"automatic": "automatic", "self": REFERENTIAL, "random": REFERENTIAL}


class Ruler:
  """Sees all results as they are measured.

  Attributes:
    why_no_fid, why_no_lpips: empty where they are measured.

  Raises:
    UserError: weights that are not there, or not those that define the figure.
  """

  def __init__(self, plan: Plan):
    self._inception = self._lpips = None
    self.why_no_fid = "left out, as no weights are given (--fid-weights): there is no stand-in"
    self.why_no_lpips = "left out, as no weights are given (--lpips-weights): there is no stand-in"
    if plan.fid_weights is not None:
      from scs_jax.nn.features import inception

      self._inception, self.why_no_fid = inception.load(plan.fid_weights), ""
    if plan.lpips_weights is not None:
      from scs_jax.nn.features import lpips

      *self._lpips, self.net = lpips.load(*plan.lpips_weights)
      self.why_no_lpips = ""
    self._results: dict[tuple[str, str, str], object] = {}  # (data set, part, row) -> Statistics
    self._real: dict[str, object] = {}
    self._key: tuple[str, str, str] | None = None
    self._values: list[np.ndarray] = []

  def begin(self, data: str, row: str, mode: str):
    """What Trial.run is to show results to; None where nothing is to be seen."""
    self._key, self._values = (data, _PARTS[mode], row), []
    return self._see if self._inception or self._lpips else None

  def end(self) -> dict[str, np.ndarray]:
    """{metric: float64 [pictures]} of the pictures shown since `begin`."""
    return {"lpips": np.concatenate(self._values)} if self._values else {}

  def _see(self, batch: Mapping, there: np.ndarray, rgb) -> None:
    if self._inception:
      self._update(self._results, self._key, rgb, there)
    if self._lpips:
      apply, variables = self._lpips
      truth = jnp.asarray(batch["image"]) / jnp.float32(255)
      found = apply(variables, rgb / jnp.float32(255), truth)
      self._values.append(np.asarray(found, np.float64)[there])

  def real(self, data: str, batch: Mapping) -> None:
    """Shows true pictures."""
    if self._inception:
      self._update(self._real, data, batch["image"], batch["mask"])

  def _update(self, kept: dict, key, rgb, there: np.ndarray) -> None:
    from scs_jax.metrics.distribution import Statistics

    apply, variables = self._inception
    features = np.asarray(apply(variables, rgb / jnp.float32(255)))
    if key not in kept:
      kept[key] = Statistics(features.shape[-1])
    kept[key].update(features, there)

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
