"""Bootstrap intervals of means over pictures, by percentiles (Efron & Tibshirani 1993, 13)."""

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 1 << 22  # counts held at once


def resampled_means(values: np.ndarray, seed: int, resamples: int = RESAMPLES) -> np.ndarray:
  """Means over pictures drawn with replacement, every column over the same draws.

  Args:
    values: float [pictures, columns], finite, one picture or more.
    seed: of NumPy's default generator; the draws depend on it and on the number of pictures.
    resamples: how many means.

  Returns:
    float64 [resamples, columns].
  """
  values = np.asarray(values, np.float64)
  n = len(values)
  rng = np.random.default_rng(seed)
  means = []
  for start in range(0, resamples, max(1, _CHUNK // n)):
    rows = min(max(1, _CHUNK // n), resamples - start)
    drawn = rng.integers(n, size=(rows, n))
    # How often each picture was drawn: one product then serves all columns.
    drawn += np.arange(rows)[:, None] * n
    means.append(np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n) @ values / n)
  return np.concatenate(means)


def percentile_interval(means: np.ndarray, level: float = LEVEL) -> np.ndarray:
  """Returns the bounds that leave (1 - level) / 2 of the first axis on either side: [2, ...]."""
  tail = 50.0 * (1.0 - level)
  return np.percentile(means, [tail, 100.0 - tail], axis=0)
