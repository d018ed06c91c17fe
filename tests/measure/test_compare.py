"""Joining scores, and what stands in a table beside plain methods."""

import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color

from scs_jax.core.contract import Method, Prediction, Query
from scs_jax.measure import compare
from scs_jax.measure.evaluate import Evaluator, Protocol
from scs_jax.metrics.estimates import Scores


def scores_of(row, records, values, mode="automatic"):
  values = np.array(values, float)
  n = np.array(records)
  metrics = {"psnr_rgb": values, "psnr_ab": values + 1}
  return Scores({mode: n}, {mode: {row: metrics}}, {mode: {"colorfulness_hs": n * 1.0}},
                {mode: n % 2 == 1})  # fmt: skip


def test_rows_are_compared_on_the_pictures_that_all_of_them_have():
  joined = compare.join([
    scores_of("a", [1, 4, 6, 9], [10, 40, 60, 90]), scores_of("b", [4, 5, 9], [41, 51, 91]),
    scores_of("a", [2], [20], "self"), scores_of("none", [], [], "self"),
  ])  # fmt: skip
  assert joined.records["automatic"].tolist() == [4, 9]
  assert joined.of["automatic"]["a"]["psnr_rgb"].tolist() == [40, 90]
  assert joined.of["automatic"]["b"]["psnr_ab"].tolist() == [42, 92]
  assert joined.real["automatic"]["colorfulness_hs"].tolist() == [4, 9]
  assert joined.gray["automatic"].tolist() == [False, True]
  assert list(joined.of["self"]) == ["a"] and joined.records["self"].tolist() == [2]


def test_a_row_that_is_the_picture_itself_leaves_the_others_their_means():
  joined = compare.join([
    scores_of("a", [2, 4, 6], [10, 20, 33]), scores_of("b", [2, 4, 6], [np.inf, np.inf, 50]),
  ])  # fmt: skip
  compare.mark_perfect(joined, ["a"])
  assert not joined.trivial
  compare.mark_perfect(joined, ["a", "b"])
  assert joined.trivial == {"automatic": "b"}
  joined.real["automatic"].clear()
  rows = compare.summarize(joined, 0).of["automatic"]
  assert rows["a"]["psnr_rgb"].mean == pytest.approx(21) and rows["b"]["psnr_rgb"].mean == 50
  again = compare.join([joined, scores_of("c", [2, 4, 6], [1, 2, 3])])
  assert again.trivial == {"automatic": "b"}


def test_referential_pictures_are_those_of_both_modes_of_the_rows_that_have_both():
  joined = compare.join([
    scores_of("a", [2], [20], "self"), scores_of("a", [5, 6], [50, 60], "random"),
    scores_of("b", [2], [21], "self"),
  ])  # fmt: skip
  pooled = compare.pool(joined)
  assert list(pooled.of["referential"]) == ["a"]
  assert pooled.of["referential"]["a"]["psnr_rgb"].tolist() == [20, 50, 60]
  assert pooled.gray["referential"].tolist() == [False, True, False]
  assert compare.pool(scores_of("a", [1], [1.0])) is None


def test_means_and_differences_to_the_first_row():
  joined = compare.join([
    scores_of("a", [0, 2, 4], [10, 20, 33]), scores_of("b", [0, 2, 4], [11, 21, 31]),
  ])  # fmt: skip
  for part in joined.real.values():
    part.clear()
  summary = compare.summarize(joined, seed=0)
  assert summary.of["automatic"]["a"]["psnr_rgb"].mean == pytest.approx(21)
  difference = summary.differences["automatic"]["b"]["psnr_rgb"]
  assert difference.mean == pytest.approx(0) and difference.low < 0 < difference.high


def test_a_diverged_training_is_named():
  assert compare.failure(scores_of("a", [0], [20.0])) == ""
  assert "not all numbers" in compare.failure(scores_of("a", [0], [np.nan]))


def photo(seed, side=16):
  return np.random.default_rng(seed).integers(60, 190, (1, side, side, 3)).astype(np.uint8)


def test_true_lightness_keeps_the_pictures_own_and_takes_the_colours():
  """And the row's PSNR is the metric of the same name of the predictor as it is: one value."""
  image = photo(0)
  result = skimage.color.lab2rgb(np.full((16, 16, 3), (60.0, 12.0, -7.0), np.float32))[None]
  predict = lambda state, query: Prediction(jnp.asarray(result))
  batch = {"image": image, "record": np.array([0], np.int32)}
  protocol = Protocol("automatic", 2.0, 8)
  scores, pictures = compare.TrueLightness(predict, protocol).start(None, batch)
  mine = skimage.color.rgb2lab(np.asarray(pictures["rgb"])[0])
  true = skimage.color.rgb2lab(image[0])
  assert np.abs(mine[..., 0] - true[..., 0]).max() < 0.5
  assert np.abs(mine[..., 1:] - (12.0, -7.0)).mean() < 0.5
  error = np.mean((np.asarray(pictures["rgb"]) / 255.0 - image / 255.0) ** 2)
  assert float(scores["psnr_rgb"][0]) == pytest.approx(-10 * np.log10(error), abs=0.02)
  plain = Evaluator(predict, protocol).start(None, batch)[0]
  assert float(plain["psnr_rgb_true_l"][0]) == float(scores["psnr_rgb"][0])
  assert float(plain["psnr_rgb"][0]) < float(scores["psnr_rgb"][0]) - 1


def test_given_results_are_measured_as_they_are():
  image, result = photo(0), photo(1)
  evaluator = compare.Given("bicubic_gray", Protocol("automatic", 2.0, 8))
  batch = {"image": image, "result": result, "record": np.array([0], np.int32)}
  scores, pictures = evaluator.start(None, batch)
  assert (np.asarray(pictures["rgb"]) == result).all()
  error = np.mean((image / 255.0 - result / 255.0) ** 2)
  assert float(scores["psnr_rgb"][0]) == pytest.approx(-10 * np.log10(error), abs=1e-3)


class Tinting(Method):
  """Colours by adding its parameter to red; remembers the sizes that it was asked for."""

  takes_reference = False

  def __init__(self):
    self.asked = []

  def predict(self, state, query):
    self.asked.append((query.gray.shape[1:3], tuple(query.size)))
    rgb = jnp.repeat(query.gray, 3, axis=-1) + state * jnp.array([1.0, 0, 0])
    return Prediction(rgb)


class Doubling(Tinting):
  usual_scale = 4.0

  def predict(self, state, query):
    super().predict(state, query)
    factor = query.size[0] // query.reference.shape[1]
    rgb = jnp.repeat(jnp.repeat(query.reference, factor, 1), factor, 2)
    return Prediction(rgb + state * jnp.array([0, 0, 1.0]))


def test_a_cascade_colours_enlarges_by_its_factor_and_reduces_to_the_asked_size():
  colors, enlarger = Tinting(), Doubling()
  both = compare.Cascade(colors, enlarger)
  query = Query(jnp.full((1, 6, 8, 1), 0.25), (12, 16))
  rgb = both.predict({"colorizer": 0.5, "enlarger": 0.125}, query).rgb
  assert colors.asked == [((6, 8), (6, 8))] and enlarger.asked == [((6, 8), (24, 32))]
  assert rgb.shape == (1, 12, 16, 3) and not both.takes_reference
  assert np.allclose(rgb, np.array([0.75, 0.25, 0.375]), atol=1e-6)
