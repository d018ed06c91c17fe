"""Several predictors under one protocol: which picture each mode gets, and one set of scores.

SCSNet, Section 4.2: of 5,000 random pictures of a data set 2,500 are coloured automatically, 500 by
themselves elastically distorted, 2,000 by another one, distorted too. Image-level figures (Table 1)
are of the automatic and of all referential ones, pixel-level ones (Table 2) of the automatic and
the self-referential ones.
"""

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import Method, Prediction, Query
from scs_jax.measure.evaluate import Evaluator, score
from scs_jax.metrics import estimates
from scs_jax.metrics import image as metrics
from scs_jax.metrics.estimates import REFERENTIAL, Scores, Summary
from scs_jax.ops.degrade import to_eight_bits
from scs_jax.ops.resize import resize_bicubic

SHARES: Mapping[str, int] = {"automatic": 2500, "self": 500, "random": 2000}


def join(parts: Sequence[Scores]) -> Scores:
  """Scores of different predictors as one; of each mode the pictures that all of its rows have."""
  modes = [mode for mode in dict.fromkeys(m for part in parts for m in part.of)]
  whole = Scores({}, {}, {}, {})
  for mode in modes:
    there = [part for part in parts if mode in part.of and len(part.records[mode])]
    if not there:
      continue
    common = functools.reduce(np.intersect1d, [part.records[mode] for part in there])
    places = [np.flatnonzero(np.isin(part.records[mode], common)) for part in there]
    whole.records[mode] = common
    whole.of[mode] = {
      row: {metric: values[at] for metric, values in by.items()}
      for part, at in zip(there, places, strict=True)
      for row, by in part.of[mode].items()
    }
    first, at = there[0], places[0]
    whole.real[mode] = {metric: values[at] for metric, values in first.real[mode].items()}
    whole.gray[mode] = first.gray[mode][at]
    for part in there:
      whole.trivial |= part.trivial
  return whole


def mark_perfect(scores: Scores, rows: Sequence[str]) -> None:
  """Notes as trivial a row whose result is the picture itself for most pictures.

  The true pictures handed in as a check, say: their infinite PSNR would leave every other row
  without a mean. The first such row of a mode.
  """
  for mode, by in scores.of.items():
    for row in rows:
      if row in by and 2 * np.isinf(by[row]["psnr_rgb"]).sum() > len(scores.records[mode]):
        scores.trivial.setdefault(mode, row)


def pool(scores: Scores, modes: Sequence[str] = ("self", "random")) -> Scores | None:
  """The pictures of several modes as one, REFERENTIAL, of the rows that have them all."""
  modes = [mode for mode in modes if mode in scores.of]
  if not modes:
    return None
  rows = [row for row in scores.of[modes[0]] if all(row in scores.of[mode] for mode in modes)]
  joined = lambda found: np.concatenate(list(found))
  metrics = lambda of: [m for m in of(modes[0]) if all(m in of(mode) for mode in modes)]
  of = {
    row: {
      m: joined(scores.of[mode][row][m] for mode in modes)
      for m in metrics(lambda mode, row=row: scores.of[mode][row])
    }
    for row in rows
  }
  real = {
    m: joined(scores.real[mode][m] for mode in modes)
    for m in metrics(lambda mode: scores.real[mode])
  }
  records = joined(scores.records[mode] for mode in modes)
  gray = joined(scores.gray[mode] for mode in modes)
  perfect = [scores.trivial[mode] for mode in modes if scores.trivial.get(mode) in rows]
  parts = ({REFERENTIAL: part} for part in (records, of, real, gray))
  return Scores(*parts, {REFERENTIAL: perfect[0]} if perfect else {})


def summarize(scores: Scores, seed: int) -> Summary:
  """All means; of each mode the first row is compared with every other."""
  of, differences = {}, {}
  for mode, by in scores.of.items():
    alone = Scores(
      {mode: scores.records[mode]}, {mode: by}, {mode: scores.real[mode]},
      {mode: scores.gray[mode]}, {m: t for m, t in scores.trivial.items() if m == mode},
    )  # fmt: skip
    found = estimates.summarize(alone, next(iter(by)), seed)
    of |= found.of
    differences |= found.differences
  return Summary(of, differences)


def failure(scores: Scores) -> str:
  """Why scores cannot stand in a table; empty where they can."""
  for by in scores.of.values():
    for values in by.values():
      if any(np.isnan(v).any() for v in values.values()):
        return "its colours are not all numbers: the training has diverged"
  return ""


# --- what stands in a table beside plain methods


class TrueLightness(Evaluator):
  """A predictor's pictures with the L of the true ones: Bicer and Kaynak's way (Section V).

  No use of a method has that L. Its PSNR RGB is `psnr_rgb_true_l` of the same predictor.
  """

  def start(self, state, batch: Mapping, asked=None) -> tuple[dict, dict]:
    query, pictures = self.ask(batch) if asked is None else asked
    answer = self.answer(state, query, batch)
    plain, _ = score(answer, batch["image"])
    scores, rgb = score(_under_truth(answer, batch["image"]), batch["image"])
    # The metric's own value, not that of the merged picture after one more rounding.
    return {**scores, "psnr_rgb": plain["psnr_rgb_true_l"]}, {**pictures, "rgb": rgb}


@jax.jit
def _under_truth(rgb: jax.Array, image: jax.Array) -> jax.Array:
  return metrics.with_true_lightness(to_eight_bits(rgb), image / jnp.float32(255))


class Given(Evaluator):
  """Results that other software made: batch["result"], uint8 [N, H, W, 3], is the answer."""

  def start(self, state, batch: Mapping, asked=None) -> tuple[dict, dict]:
    del state
    _, pictures = self.ask(batch) if asked is None else asked
    result = jax.device_put(batch["result"], jax.devices()[0])
    scores, rgb = score(result / jnp.float32(255), batch["image"])
    return scores, {**pictures, "rgb": rgb}


class Cascade:
  """Figure 1's pipeline f_d(f_r(f_c(x))): colorize, enlarge, reduce to the device's size.

  Args:
    colorizer: a method that colours a single picture.
    enlarger: one that enlarges a colour picture handed to it as the reference (`only_enlarges`).

  Attributes:
    factor: the magnification that the enlarger was trained at.
    takes_reference: as of the colorizer.
  """

  def __init__(self, colorizer: Method, enlarger: Method):
    self._colorizer, self._enlarger = colorizer, enlarger
    self.factor, self.takes_reference = enlarger.usual_scale, colorizer.takes_reference

  def predict(self, state, query: Query) -> Prediction:
    """`state`: {"colorizer": ..., "enlarger": ...}. The last stage is MATLAB's bicubic."""
    height, width = query.gray.shape[1:3]
    small = Query(query.gray, (height, width), query.reference)
    colored = self._colorizer.predict(state["colorizer"], small).rgb
    large = max(1, round(height * self.factor)), max(1, round(width * self.factor))
    found = self._enlarger.predict(state["enlarger"], Query(query.gray, large, colored)).rgb
    if large != tuple(query.size):
      found = jnp.clip(resize_bicubic(found, query.size), 0.0, 1.0)
    return Prediction(found)
