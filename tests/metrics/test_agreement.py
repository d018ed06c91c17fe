"""Krippendorff's alpha against the example that its author computes by hand."""

import numpy as np
import pytest

from scs_jax.metrics import agreement

# Krippendorff 2011, section C: four observers, twelve units, 0: not rated. He has 0.743 for
# nominal data and 0.815 for ordinal.
_PUBLISHED = [
  [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
  [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
  [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
  [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
]


def _counts(ratings, values) -> np.ndarray:
  ratings = np.array(ratings)
  return np.array([[(unit == v).sum() for v in range(1, values + 1)] for unit in ratings.T])


@pytest.mark.parametrize(("ordinal", "expected"), [(False, 0.743), (True, 0.815)])
def test_the_published_example(ordinal, expected):
  found = agreement.krippendorff_alpha(_counts(_PUBLISHED, 5), ordinal)
  assert found == pytest.approx(expected, abs=5e-4)


def test_two_raters_by_hand():
  """Units AA, AB, BB: of six ratings three each; 2 of 6 pairs differ, chance has 18 of 30."""
  assert agreement.krippendorff_alpha([[2, 0], [1, 1], [0, 2]]) == pytest.approx(1 - (2 / 6) / 0.6)


def test_agreement_is_one_and_one_value_or_no_pair_says_nothing():
  assert agreement.krippendorff_alpha([[3, 0], [0, 2]]) == 1
  assert np.isnan(agreement.krippendorff_alpha([[3, 0], [2, 0]]))
  assert np.isnan(agreement.krippendorff_alpha([[1, 0], [0, 1]]))
