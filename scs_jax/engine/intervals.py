"""Bootstrap intervals of means over pictures, by percentiles (Efron & Tibshirani 1993, 13)."""

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 1 << 22  # counts held at once


def resampled_means(values: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
  """Means over pictures drawn with replacement, every column over the same draws.

  Args:
    values: float [pictures, columns]; what is not finite is left out of its column's mean.
    seed: of NumPy's default generator.
    resamples: how many means.

  Returns:
    float64 [resamples, columns]; NaN where a draw holds nothing finite.
  """
  values = np.asarray(values, np.float64)
  n = len(values)
  finite = np.isfinite(values)
  both = np.concatenate([np.where(finite, values, 0.0), finite.astype(np.float64)], axis=1)
  rng = np.random.default_rng(seed)
  sums = []
  for start in range(0, resamples, max(1, _CHUNK // n)):
    rows = min(max(1, _CHUNK // n), resamples - start)
    drawn = rng.integers(n, size=(rows, n))
    # How often each picture was drawn: one product then serves all columns.
    drawn += np.arange(rows)[:, None] * n
    sums.append(np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n) @ both)
  total, count = np.split(np.concatenate(sums), 2, axis=1)
  with np.errstate(invalid="ignore"):
    return total / count


def percentile_interval(means: np.ndarray, level: float = LEVEL) -> np.ndarray:
  """[2, ...]: the bounds that leave (1 - level) / 2 of the first axis on either side.

  Resamples without a mean (NaN) are left out; NaN where none has one.
  """
  tail = 50.0 * (1.0 - level)
  bounds = np.full((2, *means.shape[1:]), np.nan)
  there = ~np.isnan(means).all(axis=0)
  bounds[:, there] = np.nanpercentile(means[:, there], [tail, 100.0 - tail], axis=0)
  return bounds
