"""Scores and panels of held-out pairs along a training."""

import math
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from scs_jax.core.contract import Method
from scs_jax.measure.learned import perceptual_of
from scs_jax.measure.pairs import METRICS, MODES, PairEvaluator, measured
from scs_jax.report import panels
from scs_jax.training.watch_checks import require_best, require_modes, require_readable


class Pairs:
  """Held-out pairs in the config's modes; first-time figures are of those that have truth.

  Args:
    config: resolved and validated.
    method: takes pairs.
    heldout: padded batches, "mono" uint8 [N, H, W, 1], "color" and "truth" uint8 [N, H, W, 3],
      "has_truth" and "mask" bool [N].

  Raises:
    UserError: pairs that cannot be read, modes of another kind of method, a best_metric that will
      not be there.
  """

  def __init__(self, config, method: Method, heldout: Sequence[Mapping]):
    require_modes(config, MODES, "pairs")
    sides = [side for batch in heldout for side in batch["mono"].shape[1:3]]
    require_readable(sum(int(batch["mask"].sum()) for batch in heldout), min(sides), "pairs")
    self._modes = [
      mode for mode in config.evaluate.modes if any(measured(mode, b).any() for b in heldout)
    ]
    known = [f"{mode}/{metric}" for mode in self._modes for metric in METRICS]
    untold = "; no held-out pair has the truth, so there are no first-time figures"
    require_best(config, known, "" if "first" in self._modes else untold)
    more = perceptual_of(config)
    self._metrics = (*METRICS, *more)
    self._heldout, self._evaluator = heldout, PairEvaluator(method.colorize_twice, more=more)

  def __call__(
    self, state, drawing: bool, limit: int
  ) -> tuple[dict[str, float], np.ndarray | None]:
    """({mode/metric: mean}, a panel of the first `limit` pairs where one is asked for)."""
    values: dict[str, list[float]] = {
      f"{mode}/{metric}": [] for mode in self._modes for metric in self._metrics
    }
    rows: list = []
    for batch in self._heldout:
      scores, pictures = self._evaluator.start(state, batch)
      scores = jax.device_get(scores[""])
      for mode in self._modes:
        for metric, found in scores[mode].items():
          values[f"{mode}/{metric}"] += found[measured(mode, batch)].tolist()
      if drawing and len(rows) < limit:
        rows += _rows(batch, jax.device_get(pictures), scores)
    means = {name: math.fsum(found) / len(found) for name, found in values.items()}
    return means, panels.panel(rows[:limit]) if rows else None


def _rows(batch: Mapping, pictures: Mapping, scores: Mapping) -> list:
  """Draws a row a pair: the views, both results, and the truth where there is one."""
  rows = []
  for i in np.flatnonzero(batch["mask"]):
    known = bool(batch["has_truth"][i])
    decibels = lambda mode, i=i: f" {scores[mode]['psnr_rgb'][i]:.1f} dB"
    row = [
      ("monochrome view", batch["mono"][i, ..., 0]),
      ("colour view", batch["color"][i]),
      ("first-time" + (decibels("first") if known else ""), pictures["first"][i]),
      ("second-time" + decibels("second"), pictures["second"][i]),
    ]
    rows.append(row + ([("truth", batch["truth"][i])] if known else []))
  return rows
