"""Both colorizations of a pair, their metrics and correlation: by hand and by scikit-image."""

import pathlib
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import skimage.color
import skimage.metrics

from scs_jax.core.contract import Prediction, Query, twice
from scs_jax.measure import pairs
from scs_jax.metrics import estimates
from scs_jax.metrics.correlation import FEWEST, correlate, correlations
from scs_jax.metrics.estimates import Scores
from scs_jax.report import pairs_layout, results, tables
from scs_jax.report.report import Report, Section

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from pair_fakes import (
  HEIGHT,
  SHIFT,
  WIDTH,
  Shifting,
  batch_of,
  gray_levels,
  rgb_of,
  scored,
  shift_predict,
  soft,
  ycbcr_of,
)


def matching_pair(seed):
  """(truth, colour view): the truth's pixel (j, i) is the colour view's (j, i + SHIFT)."""
  truth = soft(seed)
  return truth, np.roll(truth, SHIFT, axis=1)


def query_of(truth, seen):
  return Query(gray_levels(truth)[None] / np.float32(255), (HEIGHT, WIDTH), seen[None] / 255.0)


def test_an_oracle_of_the_shift_comes_back_exactly():
  """First to the right, then, mirrored, to the left: the colour view itself."""
  truth, seen = matching_pair(0)
  first, second = twice(shift_predict)(None, query_of(truth, seen))
  chroma = ycbcr_of(truth / 255.0)[..., 1:]
  np.testing.assert_allclose(ycbcr_of(np.asarray(first.rgb[0]))[..., 1:], chroma, atol=1e-5)
  np.testing.assert_allclose(second.rgb[0], seen / 255.0, atol=1e-5)
  scores, places = scored(Shifting(), [batch_of(truth[None], seen[None], [True], [0])])
  np.testing.assert_array_equal(places["second"][0]["net"], seen)
  mine = scores.of["second"]["net"]
  assert np.isinf(mine["psnr_rgb"][0]) and mine["ssim_rgb"][0] == 1


def test_without_the_flips_the_oracle_would_go_the_wrong_way():
  truth, seen = matching_pair(1)
  first, second = twice(shift_predict)(None, query_of(truth, seen))
  luma = ycbcr_of(seen[None] / 255.0)[..., :1]
  unflipped = shift_predict(None, Query(luma, (HEIGHT, WIDTH), first.rgb))
  assert np.abs(np.asarray(unflipped.rgb[0]) - seen / 255).max() > 0.1
  np.testing.assert_allclose(second.rgb[0], seen / 255, atol=1e-5)


def test_a_methods_own_two_passes_are_taken_where_it_has_them():
  class Own(Shifting):
    def colorize_twice(self, state, query):
      return Prediction(query.reference), Prediction(1 - query.reference)

  _, places = scored(Own(), [batch_of(soft(0)[None], soft(1)[None], [True], [0])])
  np.testing.assert_array_equal(places["first"][0]["net"], soft(1))
  np.testing.assert_array_equal(places["second"][0]["net"], 255 - soft(1))


def test_zero_disparity_is_the_reference_chroma_under_the_gray_and_copies_back():
  truth, seen = soft(2), soft(3)
  first, second = pairs.BASELINES["zero_disparity"](None, query_of(truth, seen))
  gray = gray_levels(truth) / 255
  expected = rgb_of(np.concatenate([gray, ycbcr_of(seen / 255)[..., 1:]], axis=-1))
  np.testing.assert_allclose(first.rgb[0], expected, atol=1e-5)
  np.testing.assert_allclose(second.rgb[0], seen / 255, atol=1e-5)


def lalphabeta(rgb):
  """Reinhard et al. 2001, their equations 4 to 6, with black at a level of 1."""
  lms = rgb @ np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782],
                        [0.0241, 0.1288, 0.8444]]).T  # fmt: skip
  long, middle, short = np.moveaxis(np.log10(np.maximum(lms, 1 / 255)), -1, 0)
  return np.stack([(long + middle + short) / np.sqrt(3), (long + middle - 2 * short) / np.sqrt(6),
                   (long - middle) / np.sqrt(2)], axis=-1)  # fmt: skip


def test_reinhard_tints_by_the_mean_and_keeps_the_gray():
  truth, seen = soft(4), soft(5)
  first, _ = pairs.BASELINES["reinhard"](None, query_of(truth, seen))
  gray = np.repeat(gray_levels(truth) / 255, 3, axis=-1)
  mine, theirs = lalphabeta(gray), lalphabeta(seen / 255)
  level = (mine[..., 0] - mine[..., 0].mean()) * theirs[..., 0].std() / mine[..., 0].std()
  level, (alpha, beta) = level + theirs[..., 0].mean(), theirs[..., 1:].mean((0, 1))
  a, b = level / np.sqrt(3) + alpha / np.sqrt(6), level / np.sqrt(3) - 2 * alpha / np.sqrt(6)
  lms = 10 ** np.stack([a + beta / np.sqrt(2), a - beta / np.sqrt(2), b], axis=-1)
  matrix = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
  moved = lms @ np.linalg.inv(matrix).T
  expected = rgb_of(np.concatenate([gray[..., :1], ycbcr_of(moved)[..., 1:]], axis=-1))
  np.testing.assert_allclose(first.rgb[0], expected, atol=2e-4)
  np.testing.assert_allclose(ycbcr_of(np.asarray(first.rgb[0]))[..., 0], gray[..., 0], atol=1e-5)


def expected_scores(rgb, truth):
  """By scikit-image, of uint8 pictures."""
  mine, true = ycbcr_of(rgb / 255), ycbcr_of(truth / 255)
  merged = rgb_of(np.concatenate([true[..., :1], mine[..., 1:]], axis=-1))
  style = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
  psnr = skimage.metrics.peak_signal_noise_ratio
  ssim = lambda a, b: skimage.metrics.structural_similarity(
    a, b, data_range=1.0, channel_axis=-1, **style
  )
  return {
    "psnr_rgb": psnr(truth, rgb, data_range=255),
    "psnr_rgb_true_y": psnr(truth / 255, merged, data_range=1.0),
    "psnr_cbcr": psnr(true[..., 1:], mine[..., 1:], data_range=1.0),
    "ssim_rgb": ssim(truth / 255, rgb / 255),
    "ssim_rgb_true_y": ssim(truth / 255, merged),
  }


def test_every_score_is_scikit_images():
  """The first pass against the truth, the second against the colour view; skimage's YCbCr too."""
  truth, seen = soft(6), soft(7)
  np.testing.assert_allclose(
    ycbcr_of(truth / 255)[..., 1:] - 0.5, (skimage.color.rgb2yuv(truth / 255)[..., 1:])
    / [0.872021, 1.229951], atol=2e-4)  # fmt: skip

  class Answer(Shifting):
    def colorize_twice(self, state, query):
      return Prediction(jnp.asarray(soft(8)[None] / 255.0)), Prediction(soft(9)[None] / 255.0)

  scores, _ = scored(Answer(), [batch_of(truth[None], seen[None], [True], [0])])
  for mode, rgb, true in (("first", soft(8), truth), ("second", soft(9), seen)):
    for name, value in expected_scores(rgb, true).items():
      assert scores.of[mode]["net"][name][0] == pytest.approx(value, abs=2e-3), (mode, name)


def test_first_time_figures_are_over_the_pixels_that_are_seen():
  """Of a result that differs by known amounts: what is not seen counts for nothing."""
  truth, seen = soft(6, 32, 40), soft(7, 32, 40)
  known = np.zeros((1, 32, 40, 1), bool)
  known[:, :, :30] = True
  answer = truth.copy()
  answer[:, :30] += np.uint8(3)
  answer[:, 30:] = 255

  class Answer(Shifting):
    def colorize_twice(self, state, query):
      both = Prediction(jnp.asarray(answer[None] / 255.0))
      return both, both

  batch = batch_of(truth[None], seen[None], [True], [0]) | {"seen": known}
  distance = {"distance": lambda a, b: jnp.abs(a - b).mean(axis=(1, 2, 3))}
  scores, places = scored(Answer(), [batch], more=distance)
  first, second = (scores.of[mode]["net"] for mode in ("first", "second"))
  assert float(first["psnr_rgb"][0]) == pytest.approx(20 * np.log10(255 / 3), abs=1e-3)
  assert float(first["distance"][0]) == pytest.approx(3 / 255, rel=1e-4)
  part = expected_scores(answer[:, :30], truth[:, :30])
  assert float(first["ssim_rgb"][0]) == pytest.approx(part["ssim_rgb"], abs=0.01)
  np.testing.assert_array_equal(places["first"][0]["net"], answer)
  whole = expected_scores(answer, seen)
  assert float(second["psnr_rgb"][0]) == pytest.approx(whole["psnr_rgb"], abs=2e-3)


# --- rows side by side


def run(sizes=(2, 2), known=(True, True, False)):
  """Three pairs: of one size, or each batch its own; the last batch is padded."""
  made = [(soft(i), soft(10 + i)) for i in range(len(known))]
  batches, start = [], 0
  for size in sizes:
    there = made[start : start + size]
    truth, seen = (np.stack(part) for part in zip(*there, strict=True))
    numbers = np.arange(start, start + len(there))
    batches.append(batch_of(truth, seen, [known[i] for i in numbers], numbers, size))
    start += size
  return batches, made


def all_rows(batches):
  return scored(Shifting(), batches, "shifting", baselines=True)


def test_padded_places_and_pairs_without_truth_are_left_out():
  batches, made = run()
  scores, _ = all_rows(batches)
  assert scores.records["first"].tolist() == [0, 1]
  assert scores.records["second"].tolist() == [0, 1, 2]
  assert list(scores.of["first"]) == ["shifting", *pairs.BASELINES]
  one_by_one, _ = all_rows(run(sizes=(1, 1, 1))[0])
  for mode, by in scores.of.items():
    for predictor, values in by.items():
      assert list(values) == list(pairs.METRICS)
      for metric, numbers in values.items():
        other = one_by_one.of[mode][predictor][metric]
        np.testing.assert_allclose(numbers, other, atol=1e-3)
  truth, seen = made[1]
  gray = gray_levels(truth) / 255
  chroma = np.roll(ycbcr_of(seen / 255)[..., 1:], -SHIFT, axis=1)
  rgb = np.round(255 * rgb_of(np.concatenate([gray, chroma], axis=-1))).astype(np.uint8)
  for name, value in expected_scores(rgb, truth).items():
    assert scores.of["first"]["shifting"][name][1] == pytest.approx(value, abs=5e-2), name


def test_without_any_truth_there_is_no_first_time():
  scores, _ = all_rows(run(known=(False,) * 3)[0])
  assert list(scores.of) == ["second"]
  found = correlations(scores)["shifting"]["psnr_rgb"]
  assert np.isnan(found.value) and found.n == 0 and "3 or more" in found.why
  _, _, table = pairs_layout.correlation_section(correlations(scores))
  assert all("3 or more" in cell for cell in table.parts[0][1][0].cells[1:])


def test_sizes_that_differ_are_measured_each_at_its_own():
  batches, _ = run(sizes=(1,), known=(True,))
  tall = batch_of(soft(20, 20, 12)[None], soft(21, 20, 12)[None], [True], [1])
  scores, _ = all_rows([*batches, tall])
  np.testing.assert_array_equal(scores.records["first"], [0, 1])
  alone, _ = all_rows([tall])
  assert scores.of["first"]["reinhard"]["psnr_rgb"][1] == alone.of["first"]["reinhard"]["psnr_rgb"]


def test_colours_before_the_refinement_stand_beside_the_model():
  class Refining(Shifting):
    def colorize_twice(self, state, query):
      before = {"unrefined": jnp.full_like(query.reference, 0.5)}
      extras = before | {"curve": jnp.zeros((1, 64))} if query.want_extras else {}
      plain = jnp.full_like(query.reference, 0.25)
      return Prediction(plain, extras), Prediction(plain, before if query.want_extras else {})

  batch = batch_of(soft(0)[None], soft(1)[None], [True], [0])
  scores, places = scored(Refining(), [batch], baselines=True)
  assert list(scores.of["second"]) == ["net", "net_unrefined", *pairs.BASELINES]
  for mode, truth in (("first", soft(0)), ("second", soft(1))):
    for name, level in (("net", 64), ("net_unrefined", 128)):
      expected = expected_scores(np.full((HEIGHT, WIDTH, 3), level, np.uint8), truth)
      for metric, value in expected.items():
        assert scores.of[mode][name][metric][0] == pytest.approx(value, abs=3e-3)
  shown = places["first"][0]
  assert shown["curve"].shape == (64,) and shown["net"][0, 0, 0] == 64


def test_what_is_shown_of_a_pair():
  batches, made = run(known=(True, False, False))
  _, places = scored(Shifting(), batches)
  first, second = places["first"][0], places["first"][1]
  np.testing.assert_array_equal(first["truth"], made[0][0])
  assert "truth" not in second and first["mono"].shape == (HEIGHT, WIDTH, 1)
  assert sorted(places["first"]) == [0, 1, 2]  # without what is padding


# --- copying there and back says nothing of a pair


def scores_of(model, copy):
  """Second-time PSNR of two predictors over pairs."""
  n = len(model)
  values = lambda x: dict.fromkeys(pairs.METRICS, np.asarray(x, np.float64))
  return Scores({"second": np.arange(n)}, {"second": {"m": values(model), "zero_disparity":
                values(copy)}}, {"second": {}}, {"second": np.zeros(n, bool)},
                {"second": "zero_disparity"})  # fmt: skip


def test_a_perfect_copy_takes_no_pair_from_the_model():
  scores = scores_of([30.0, 31.0, 35.0], [np.inf, 50.0, 52.0])
  summary = estimates.summarize(scores, 0)
  mine, copy = (summary.of["second"][p]["psnr_rgb"] for p in ("m", "zero_disparity"))
  assert (mine.mean, mine.n, mine.infinite) == (32.0, 3, 0)
  assert (copy.mean, copy.n, copy.infinite) == (51.0, 2, 1)
  paired = summary.differences["second"]["zero_disparity"]["psnr_rgb"]
  assert (paired.mean, paired.n) == (-18.0, 2)  # (31 - 50 + 35 - 52) / 2
  assert "real" not in summary.of["second"]
  table = results.screen_table(summary.of["second"], 3, pairs_layout.PAIRS, "zero_disparity")
  assert "*" not in table and "51.00" in table  # best of one
  section = Section(scores=scores, summary=summary, counts={"second": 3})
  parts = {"title": "t", "about": [], "record": {}, "notes": [], "sections": [section]}
  page = Report(verb="evaluate", layout=pairs_layout.PAIRS, **parts).page().decode()
  assert 'class="best">32.00' in page and ">51.00 [50.00, 52.00] + 1 equal" in page
  scores.trivial.clear()  # of any other predictor the pair is left out for all
  assert estimates.summarize(scores, 0).of["second"]["m"]["psnr_rgb"].mean == 33.0


# --- correlation


def test_correlation_by_hand_and_by_scipy():
  """x - mean = (-1, 0, 1), y - mean = (-1, -1, 2): 3 / sqrt(2 * 6)."""
  found = correlate(np.array([1.0, 2, 3]), np.array([2.0, 2, 5]))
  assert found.value == pytest.approx(3 / np.sqrt(12), abs=1e-12) and found.n == 3
  x, y = np.random.default_rng(0).normal(size=(2, 40))
  assert correlate(x, y).value == pytest.approx(scipy.stats.pearsonr(x, y)[0], abs=1e-12)
  assert correlate(x, 2 * x + 1).value == pytest.approx(1, abs=1e-12)


def test_correlation_needs_three_finite_pairs_that_differ():
  three = np.array([1.0, 2.0, 4.0])
  assert correlate(three[:2], three[:2]).why == "2 such pairs, expected 3 or more"
  assert correlate(np.array([1, np.inf, 2, 3]), np.array([1.0, 9, 2, 4])).n == 3
  assert "the same for all" in correlate(np.full(3, 0.1), three).why
  assert np.isnan(correlate(np.full(7, 0.1), np.arange(7.0)).value)


def test_correlation_pairs_the_records_that_both_modes_have():
  known = {"psnr_rgb": np.array([1.0, 2, 3]), "ssim_rgb": np.array([3.0, 2, 1])}
  other = {"psnr_rgb": np.array([2.0, 9, 2, 5]), "ssim_rgb": np.array([6.0, 9, 4, 2])}
  fill = lambda by: by | {f"{m}_true_y": v for m, v in by.items()}
  scores = Scores(
    {"first": np.array([0, 4, 5]), "second": np.array([0, 2, 4, 5])},
    {"first": {"m": fill(known)}, "second": {"m": fill(other)}},
    {}, {},
  )  # fmt: skip
  found = correlations(scores)["m"]
  assert found["psnr_rgb"].value == pytest.approx(3 / np.sqrt(12)) and found["psnr_rgb"].n == 3
  assert found["ssim_rgb"].value == pytest.approx(1)
  record = pairs_layout.correlation_record({"m": found})
  assert record["m"]["psnr_rgb"] == {"value": found["psnr_rgb"].value, "n": 3}
  _, _, table = pairs_layout.correlation_section({"m": found})
  assert "| 0.8660 (n = 3) |" in tables.to_markdown(table)
  assert "0.8660 (n = 3)" in pairs_layout.correlation_lines({"m": found})
  assert FEWEST == 3
