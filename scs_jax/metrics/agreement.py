"""Agreement between raters: Krippendorff's alpha, which takes any number of ratings a unit.

K. Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011: from coincidences, with the
differences of nominal or of ordinal data.
"""

import numpy as np


def krippendorff_alpha(counts: np.ndarray, ordinal: bool = False) -> float:
  """Computes alpha: 1 where raters agree, 0 where they do as chance would, below 0: less.

  Args:
    counts: [units, values], how many raters gave a unit a value; values of ordinal data in their
      order. Units of fewer than two ratings say nothing and are left out.
    ordinal: whether a difference weighs by how many ratings lie between the two values.

  Returns:
    Alpha; NaN where no unit has two ratings, or all ratings are one value.
  """
  counts = np.asarray(counts, np.float64)
  counts = counts[counts.sum(1) > 1]
  pairs = counts.T @ (counts / (counts.sum(1, keepdims=True) - 1))
  pairs -= np.diag((counts / (counts.sum(1, keepdims=True) - 1)).sum(0))
  of_value = pairs.sum(0)
  if ordinal:
    middle = of_value.cumsum() - of_value / 2  # as many ratings lie below a value's middle
    weights = (middle[:, None] - middle) ** 2
  else:
    weights = 1.0 - np.eye(len(of_value))
  expected = (np.outer(of_value, of_value) * weights).sum()
  if not expected > 0:
    return float("nan")
  return float(1 - (of_value.sum() - 1) * (pairs * weights).sum() / expected)
