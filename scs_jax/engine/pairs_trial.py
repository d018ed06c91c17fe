"""A model and its baselines over one stream of pairs, and how the passes' figures go together."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from scs_jax.core.contract import TrainState
from scs_jax.engine.pairs import (
  BASELINES,
  METRICS,
  MODES,
  TRIVIAL,
  UNCOMPILED,
  ColorizeTwice,
  PairEvaluator,
  measured,
)
from scs_jax.engine.trial import Scores, gather, on_device, where

FEWEST = 3  # pairs, below which a correlation says nothing: of two it is 1 or -1
CORRELATED = ("psnr_rgb", "ssim_rgb", "psnr_rgb_true_y", "ssim_rgb_true_y")


class PairTrial:
  """Predictors side by side.

  Args:
    name: what the model is called in tables.
    colorize: its two passes, see pairs.colorizer.
    state: its parameters.
    modes: of pairs.MODES, in the order of the tables.
    baselines: whether they take part.
    compiled: see PairEvaluator; of the model.
    more: further metrics by name, of all predictors; see PairEvaluator.
  """

  def __init__(
    self,
    name: str,
    colorize: ColorizeTwice,
    state: TrainState,
    modes: Sequence[str] = MODES,
    baselines: bool = True,
    compiled: bool = True,
    more: Mapping[str, Callable] | None = None,
  ):
    self.modes, self._model, self._state = tuple(modes), name, state
    self._metrics = (*METRICS, *(more or {}))
    self._evaluators = {name: PairEvaluator(colorize, compiled, more)}
    for rival, passes in BASELINES.items() if baselines else ():
      self._evaluators[rival] = PairEvaluator(passes, rival not in UNCOMPILED, more)

  def run(self, batches: Iterable[Mapping], advance: Callable[[int], None] = lambda n: None):
    """Measures every pair; holds one batch at a time.

    Args:
      batches: as `PairEvaluator.start` takes them, with "record" int32 [N] and bool [N] "mask",
        "has_truth" and "gray" (whether the colour view has no colour).
      advance: told the number of pairs done after each batch, unreadable ones included.

    Returns:
      Scores of the modes that have any; none where no pair could be read. Beside the model stands
      what its colours were before the refinement, where it tells, as NAME_unrefined.
    """
    parts: dict[str, list] = {mode: [] for mode in self.modes}
    scores: dict[str, Mapping] = {}
    for batch in batches:
      if not batch["mask"].any():  # a black picture, which would be compiled for
        advance(_real(batch))
        continue
      sent, scores = on_device(batch), {}
      for predictor, evaluator in self._evaluators.items():  # large pairs: one after the other
        found = jax.device_get(evaluator.start(self._of(predictor), sent)[0])
        scores |= {f"{predictor}_{v}" if v else predictor: of for v, of in found.items()}
      for mode in self.modes:
        there = measured(mode, batch)
        if there.any():
          of = {predictor: found[mode] for predictor, found in scores.items()}
          kept = where(there, {"of": of, "real": {}, "gray": batch["gray"]})
          parts[mode].append((np.asarray(batch["record"], np.int64)[there], kept))
      advance(_real(batch))
    parts = {mode: found for mode, found in parts.items() if found}
    gathered = gather(parts, dict.fromkeys(parts, tuple(scores)), self._metrics)
    if TRIVIAL in self._evaluators and "second" in parts:
      gathered.trivial["second"] = TRIVIAL
    return gathered

  def show(self, batch: Mapping) -> list[dict[str, np.ndarray] | None]:
    """A dict a place of the batch: "mono", "color", "first", "second" and the method's extras of
    the model, "truth" where there is one; None for a place without a pair."""
    found = self._evaluators[self._model].start(self._state, on_device(batch), want_extras=True)
    given = {k: np.asarray(batch[k]) for k in ("mono", "color", "truth")} | jax.device_get(found[1])
    places = [{k: v[i] for k, v in given.items()} for i in range(len(batch["mask"]))]
    for place, known in zip(places, batch["has_truth"], strict=True):
      if not known:
        del place["truth"]
    return [place if there else None for place, there in zip(places, batch["mask"], strict=True)]

  def _of(self, predictor: str) -> TrainState | None:
    return self._state if predictor == self._model else None


def _real(batch: Mapping) -> int:
  """How many pairs a batch is of, padding aside."""
  return int((np.asarray(batch["record"]) >= 0).sum())


class Correlation(NamedTuple):
  """How first- and second-time figures go together over pairs (Table VI).

  Attributes:
    value: Pearson's linear correlation; NaN where there is none.
    n: pairs with truth and two finite figures.
    why: in words, where there is no value.
  """

  value: float
  n: int
  why: str = ""


def correlate(first: np.ndarray, second: np.ndarray) -> Correlation:
  """Of the figures [n] of the same pairs; pairs with one that is not finite are left out."""
  there = np.isfinite(first) & np.isfinite(second)
  x, y = (np.asarray(values, np.float64)[there] for values in (first, second))
  n = len(x)
  if n < FEWEST:
    return Correlation(math.nan, n, f"{n} such pairs, expected {FEWEST} or more")
  # Of equal numbers the rounded mean is not quite the number.
  if not (np.ptp(x) and np.ptp(y)):
    return Correlation(math.nan, n, "one of the two is the same for all pairs")
  x, y = x - x.mean(), y - y.mean()
  return Correlation(float(np.clip((x @ y) / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0)), n)


def correlations(scores: Scores) -> dict[str, dict[str, Correlation]]:
  """{predictor: {metric: Correlation}} over the pairs that have both figures."""
  none: np.ndarray = np.array([], np.int64)
  numbers = [scores.records.get(mode, none) for mode in MODES]
  _, i, j = np.intersect1d(*numbers, return_indices=True)
  first = scores.of.get("first")
  return {
    predictor: {
      metric: correlate(first[predictor][metric][i] if first else none, second[metric][j])
      for metric in CORRELATED
    }
    for predictor, second in scores.of.get("second", {}).items()
  }
