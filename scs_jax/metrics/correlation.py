"""How first- and second-time figures of pairs go together (Cycle CNN, Table VI)."""

import math
from typing import NamedTuple

import numpy as np

from scs_jax.metrics.estimates import Scores

FEWEST = 3  # pairs, below which a correlation says nothing: of two it is 1 or -1
CORRELATED = ("psnr_rgb", "ssim_rgb", "psnr_rgb_true_y", "ssim_rgb_true_y")


class Correlation(NamedTuple):
  """Holds how first- and second-time figures go together over pairs (Table VI).

  Attributes:
    value: Pearson's linear correlation; NaN where there is none.
    n: pairs with truth and two finite figures.
    why: in words, where there is no value.
  """

  value: float
  n: int
  why: str = ""


def correlate(first: np.ndarray, second: np.ndarray) -> Correlation:
  """Correlates figures [n] of the same pairs; pairs with one that is not finite are left out."""
  there = np.isfinite(first) & np.isfinite(second)
  x, y = (np.asarray(values, np.float64)[there] for values in (first, second))
  n = len(x)
  if n < FEWEST:
    return Correlation(math.nan, n, f"{n} such pairs, expected {FEWEST} or more")
  if not (np.ptp(x) and np.ptp(y)):
    return Correlation(math.nan, n, "one of the two is the same for all pairs")
  return Correlation(float(np.corrcoef(x, y)[0, 1]), n)


def correlations(scores: Scores) -> dict[str, dict[str, Correlation]]:
  """Computes {predictor: {metric: Correlation}} over the pairs that have both figures."""
  none: np.ndarray = np.array([], np.int64)
  numbers = [scores.records.get(mode, none) for mode in ("first", "second")]
  _, i, j = np.intersect1d(*numbers, return_indices=True)
  first = scores.of.get("first")
  return {
    predictor: {
      metric: correlate(first[predictor][metric][i] if first else none, second[metric][j])
      for metric in CORRELATED
    }
    for predictor, second in scores.of.get("second", {}).items()
  }
