"""Means and intervals of handmade scores: over which pictures, and against what."""

import numpy as np
import pytest

from scs_jax.measure.photos import METRICS
from scs_jax.metrics import estimates
from scs_jax.metrics.color import COLORFULNESS
from scs_jax.metrics.estimates import Scores
from scs_jax.report import results

N = 40


def scores(gray=(), **changed):
  """Two predictors in one mode; `changed` replaces the model's values by metric."""
  rng = np.random.default_rng(0)
  names = (*METRICS, *COLORFULNESS)
  level = rng.normal(25, 3, N)
  of = {p: {m: level + rng.normal(gain, 0.3, N) for m in names}
        for p, gain in (("model", 0.5), ("bicubic_gray", 0.0))}  # fmt: skip
  of["model"] |= changed
  real = {m: rng.normal(25, 3, N) for m in COLORFULNESS}
  mask = np.isin(np.arange(N), gray)
  return Scores({"self": np.arange(N)}, {"self": of}, {"self": real}, {"self": mask})


def summarize(given, seed=0):
  summary = estimates.summarize(given, seed)
  return summary.of["self"], summary.differences["self"]["bicubic_gray"]


def test_a_difference_lies_in_its_interval_where_the_means_agree():
  """Percentiles of resampled absolute differences all lie above a gap of nearly 0."""
  given = scores()
  real = given.real["self"]["colorfulness_hs"]
  given.of["self"]["model"]["colorfulness_hs"] = real + np.where(np.arange(N) % 2, 5.0, -5.001)
  of, _ = summarize(given)
  signed, gap = (of["model"][f"colorfulness_hs_set_{n}"] for n in ("difference", "gap"))
  assert signed.mean == pytest.approx(-0.0005) and gap.mean == pytest.approx(0.0005)
  assert signed.low < -1 < signed.mean < 1 < signed.high
  assert np.isnan([gap.low, gap.high]).all()
  assert " -1." in results.screen_table(of, N) and "..1." in results.screen_table(of, N)


def test_overlapping_intervals_and_a_difference_that_decides():
  """Half a decibel on every picture, of pictures that differ by ten."""
  of, differences = summarize(scores())
  mine, theirs, paired = of["model"], of["bicubic_gray"], differences
  for metric in METRICS:
    assert mine[metric].low < theirs[metric].high  # marginal intervals tell nothing
    assert 0.2 < paired[metric].low < paired[metric].mean < paired[metric].high < 0.8
    gain = mine[metric].mean - theirs[metric].mean
    assert paired[metric].mean == pytest.approx(gain, abs=1e-9)
  shown = results.screen_differences({"bicubic_gray": differences}, "model")
  assert shown.splitlines()[1].count("+0.") == 6  # two means, each with its bounds


def test_gray_pictures_change_neither_mean_nor_interval_of_colour():
  clean = scores()
  keep = np.arange(N) < N - 2
  cut = lambda tree: {m: v[keep] for m, v in tree.items()}
  fewer = Scores(
    {"self": np.arange(N)[keep]},
    {"self": {p: cut(v) for p, v in clean.of["self"].items()}},
    {"self": cut(clean.real["self"])},
    {"self": np.zeros(N - 2, bool)},
  )
  given = scores(gray=(N - 2, N - 1))
  given.of["self"]["bicubic_gray"]["psnr_ab"][~keep] = 78.0, np.inf
  of, differences = summarize(given)
  expected, expected_differences = summarize(fewer)
  for metric, estimate in of["model"].items():
    same = estimates.is_of_color(metric)
    assert (estimate.n == N - 2) == same
    assert (estimate == expected["model"][metric]) or not same or metric.endswith("_set_gap")
    if metric in differences:
      np.testing.assert_equal(differences[metric] == expected_differences[metric], same)
  assert of["bicubic_gray"]["psnr_ab"] == expected["bicubic_gray"]["psnr_ab"]
  assert of["real"]["colorfulness_hs"] == expected["real"]["colorfulness_hs"]
  order, label = estimates.ranking(given, "self", "model")
  assert sorted(order) == list(range(N - 2)) and "gain in PSNR ab" in label
  assert results.screen_table(of, N).splitlines()[-1].split() == ["pictures", "38", "38", "38"]
  assert "pictures" not in results.screen_table(expected, N - 2)


def test_what_is_infinite_for_one_is_left_out_for_all():
  values = scores().of["self"]["model"]["psnr_rgb"].copy()
  values[[3, 7]] = np.inf
  of, differences = summarize(scores(psnr_rgb=values))
  there = ~np.isin(np.arange(N), (3, 7))
  rival = scores().of["self"]["bicubic_gray"]["psnr_rgb"]
  assert of["bicubic_gray"]["psnr_rgb"].mean == pytest.approx(rival[there].mean())
  assert [of[p]["psnr_rgb"].infinite for p in ("model", "bicubic_gray")] == [2, 0]
  assert differences["psnr_rgb"].mean == pytest.approx((values - rival)[there].mean())
  assert {rows["psnr_rgb"].n for rows in (of["model"], of["bicubic_gray"], differences)} == {N - 2}
  assert of["model"]["psnr_ab"].n == N  # other columns keep them
