"""A model and its baselines over one stream of pairs, and how the passes' figures go together."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np

from scs_jax.core.contract import TrainState
from scs_jax.measure.pairs import (
  BASELINES,
  METRICS,
  MODES,
  TRIVIAL,
  UNCOMPILED,
  ColorizeTwice,
  PairEvaluator,
  measured,
)
from scs_jax.measure.trial import gather, on_device, where


class PairTrial:
  """Predictors side by side.

  Args:
    name: what the model is called in tables.
    colorize: its two passes, see Method.colorize_twice.
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
