"""Rows side by side: what they share, what fails, what stands beside plain methods."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color

from scs_jax.core.contract import Method, Prediction, Query
from scs_jax.errors import UserError
from scs_jax.measure.photos import Photos
from scs_jax.measure.predictors import Cascade, Network, Predictor, TrueLightness
from scs_jax.measure.score import Answer, Kept, in_memory, score, score_set
from scs_jax.metrics import estimates
from scs_jax.metrics.estimates import Scores


def scores_of(row, records, values, mode="automatic"):
  values = np.array(values, float)
  n = np.array(records)
  metrics = {"psnr_rgb": values, "psnr_ab": values + 1}
  return Scores({mode: n}, {mode: {row: metrics}}, {mode: {"colorfulness_hs": n * 1.0}},
                {mode: n % 2 == 1})  # fmt: skip


def merged(*parts):
  """Scores of rows over the same pictures as one."""
  whole = Scores({}, {}, {}, {})
  for part in parts:
    for mode, by in part.of.items():
      whole.of.setdefault(mode, {}).update(by)
      for name in ("records", "real", "gray"):
        getattr(whole, name)[mode] = getattr(part, name)[mode]
  return whole


class Lacking(Predictor):
  """Answers with one level of gray, and has no answer for some records."""

  def __init__(self, name, level, lacks=(), fails_at=None):
    super().__init__(name)
    self.level, self.lacks, self.fails_at = level, lacks, fails_at

  def answer(self, query, batch, mode):
    if self.fails_at in batch["record"]:
      raise ValueError("the machine is on fire")
    rgb = jnp.full((len(query.gray), *query.size, 3), self.level, jnp.float32)
    return Answer(rgb, ~np.isin(batch["record"], self.lacks))


def pictures(*records):
  image = np.concatenate([photo(i) for i in records])
  mask = np.ones(len(records), bool)
  return {"image": image, "record": np.array(records, np.int32), "mask": mask, "gray": ~mask}


def test_rows_are_compared_on_the_pictures_that_all_of_them_have():
  rows = [Lacking("a", 0.5, lacks=[6]), Lacking("b", 0.25, lacks=[1]), Lacking("none", 0, range(9))]
  batches = [pictures(1, 4), pictures(6, 8)]
  found = score(rows, Photos(2.0, 8), [in_memory(batches, ["automatic"])])
  assert found.records["automatic"].tolist() == [4, 8]
  assert list(found.of["automatic"]) == ["a", "b"]
  for row, level in (("a", 0.5), ("b", 0.25)):
    for k, i in enumerate((4, 8)):
      error = np.mean((np.round(255 * level) / 255 - photo(i)[0] / 255.0) ** 2)
      psnr = found.of["automatic"][row]["psnr_rgb"][k]
      assert psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)
  assert found.real["automatic"]["colorfulness_hs"].shape == (2,)


def test_a_row_that_fails_leaves_the_others_as_they_are():
  told, batches = {}, [pictures(1), pictures(4)]
  rows = [Lacking("a", 0.5), Lacking("b", 0.25, fails_at=4)]
  stream = in_memory(batches, ["automatic"])
  found = score(rows, Photos(2.0, 8), [stream], failed=told.__setitem__)
  assert list(found.of["automatic"]) == ["a"] and found.records["automatic"].tolist() == [1, 4]
  assert "on fire" in str(told["b"])
  with pytest.raises(ValueError, match="on fire"):
    score(rows, Photos(2.0, 8), [stream])


def test_a_row_that_is_the_picture_itself_leaves_the_others_their_means():
  joined = merged(
    scores_of("a", [2, 4, 6], [10, 20, 33]), scores_of("b", [2, 4, 6], [np.inf, np.inf, 50]),
  )  # fmt: skip
  estimates.mark_perfect(joined, ["a"])
  assert not joined.trivial
  estimates.mark_perfect(joined, ["a", "b"])
  assert joined.trivial == {"automatic": "b"}
  joined.real["automatic"].clear()
  rows = estimates.summarize(joined, 0).of["automatic"]
  assert rows["a"]["psnr_rgb"].mean == pytest.approx(21) and rows["b"]["psnr_rgb"].mean == 50


def test_referential_pictures_are_those_of_both_modes_of_the_rows_that_have_both():
  joined = merged(
    scores_of("a", [2], [20], "self"), scores_of("a", [5, 6], [50, 60], "random"),
    scores_of("b", [2], [21], "self"),
  )  # fmt: skip
  pooled = estimates.pool(joined)
  assert list(pooled.of["referential"]) == ["a"]
  assert pooled.of["referential"]["a"]["psnr_rgb"].tolist() == [20, 50, 60]
  assert pooled.gray["referential"].tolist() == [False, True, False]
  assert estimates.pool(scores_of("a", [1], [1.0])) is None


def test_means_and_differences_to_the_first_row():
  joined = merged(
    scores_of("a", [0, 2, 4], [10, 20, 33]), scores_of("b", [0, 2, 4], [11, 21, 31]),
  )  # fmt: skip
  for part in joined.real.values():
    part.clear()
  summary = estimates.summarize(joined, seed=0)
  assert summary.of["automatic"]["a"]["psnr_rgb"].mean == pytest.approx(21)
  difference = summary.differences["automatic"]["b"]["psnr_rgb"]
  assert difference.mean == pytest.approx(0) and difference.low < 0 < difference.high


def test_a_diverged_training_is_named():
  told, rows = {}, [Lacking("a", 0.5), Lacking("nan", np.nan)]
  stream = in_memory([pictures(1)], ["automatic"])
  data = types.SimpleNamespace(streams=lambda: [stream], whose="picture")
  found = score_set(rows, Photos(2.0, 8), data, quiet=True, failed=told.__setitem__)
  assert list(found.of["automatic"]) == ["a"] and "not all numbers" in str(told["nan"])
  with pytest.raises(UserError, match=r"nan: its colours .* has diverged"):
    score_set(rows, Photos(2.0, 8), data, quiet=True)
  # And where no other row is left, no mode is.
  assert not score_set(rows[1:], Photos(2.0, 8), data, quiet=True, failed=told.__setitem__).of


def test_only_as_many_pictures_are_kept_as_are_shown():
  kept, batches = Kept(2), [pictures(1), pictures(4), pictures(6)]
  score([Lacking("a", 0.5)], Photos(2.0, 8), [in_memory(batches, ["automatic"])], see=kept)
  assert list(kept.places["automatic"]) == [1, 4]


def photo(seed, side=16):
  return np.random.default_rng(seed).integers(60, 190, (1, side, side, 3)).astype(np.uint8)


def test_true_lightness_keeps_the_pictures_own_and_takes_the_colours():
  """And the row's PSNR is the metric of the same name of the predictor as it is: one value."""
  image = photo(0)
  result = skimage.color.lab2rgb(np.full((16, 16, 3), (60.0, 12.0, -7.0), np.float32))[None]
  method = Method(None)
  method.predict = lambda state, query: Prediction(jnp.asarray(result))
  plain = Network("net", method)
  kept, batch = Kept(), pictures(0)
  rows = [plain, TrueLightness(plain, "true")]
  by = score(rows, Photos(2.0, 8), [in_memory([batch], ["automatic"])], see=kept).of["automatic"]
  shown = kept.places["automatic"][0]["true"]
  mine, true = skimage.color.rgb2lab(shown), skimage.color.rgb2lab(image[0])
  assert np.abs(mine[..., 0] - true[..., 0]).max() < 0.5
  assert np.abs(mine[..., 1:] - (12.0, -7.0)).mean() < 0.5
  error = np.mean((shown / 255.0 - image[0] / 255.0) ** 2)
  assert by["true"]["psnr_rgb"][0] == pytest.approx(-10 * np.log10(error), abs=0.02)
  assert by["net"]["psnr_rgb_true_l"][0] == by["true"]["psnr_rgb"][0]
  assert by["net"]["psnr_rgb"][0] < by["true"]["psnr_rgb"][0] - 1


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
  both = Cascade(colors, enlarger)
  query = Query(jnp.full((1, 6, 8, 1), 0.25), (12, 16))
  rgb = both.predict({"colorizer": 0.5, "enlarger": 0.125}, query).rgb
  assert colors.asked == [((6, 8), (6, 8))] and enlarger.asked == [((6, 8), (24, 32))]
  assert rgb.shape == (1, 12, 16, 3) and not both.takes_reference
  assert np.allclose(rgb, np.array([0.75, 0.25, 0.375]), atol=1e-6)
