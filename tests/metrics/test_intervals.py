"""Bootstrap intervals: exact small cases, and SciPy's."""

import itertools

import numpy as np
import pytest
import scipy.stats

from scs_jax.metrics import intervals
from scs_jax.metrics.intervals import percentile_interval, resampled_means


def test_three_values_have_ten_means_of_known_chance():
  """All 27 draws of three from (0, 1, 5): the resampled means follow their exact distribution."""
  values = np.array([[0.0], [1.0], [5.0]])
  exact = np.array([np.mean(draw) for draw in itertools.product([0, 1, 5], repeat=3)])
  means = resampled_means(values, seed=1, resamples=20000)[:, 0]
  for level in np.unique(exact):
    chance = np.isclose(exact, level).mean()
    spread = (chance * (1 - chance) / 20000) ** 0.5
    assert np.isclose(means, level).mean() == pytest.approx(chance, abs=5 * spread)
  # 2.5 % of 27 draws are less than one: the bounds are the extremes 0 and 5 at 3.7 % each.
  assert percentile_interval(means).tolist() == [0.0, 5.0]


def test_percentiles_of_known_means():
  means = np.arange(2001.0)[:, None] * np.array([1.0, -2.0])
  np.testing.assert_allclose(percentile_interval(means), [[50, -3900], [1950, -100]])


def test_against_scipy():
  values = np.random.default_rng(0).gamma(2.0, 3.0, size=40)
  low, high = percentile_interval(resampled_means(values[:, None], seed=0, resamples=20000))[:, 0]
  theirs = scipy.stats.bootstrap(
    (values,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(5)
  ).confidence_interval
  width = theirs.high - theirs.low
  assert low == pytest.approx(theirs.low, abs=0.04 * width)
  assert high == pytest.approx(theirs.high, abs=0.04 * width)


def test_columns_share_their_draws_and_the_seed_decides(monkeypatch):
  values = np.random.default_rng(1).normal(size=(30, 2))
  values[:, 1] = 3 - 2 * values[:, 0]
  means = resampled_means(values, seed=7, resamples=50)
  np.testing.assert_allclose(means[:, 1], 3 - 2 * means[:, 0])
  np.testing.assert_array_equal(means, resampled_means(values, seed=7, resamples=50))
  assert np.abs(means - resampled_means(values, seed=8, resamples=50)).max() > 0.01
  monkeypatch.setattr(intervals, "_CHUNK", 90)  # three resamples at a time
  np.testing.assert_allclose(resampled_means(values, seed=7, resamples=50), means)
