"""From scores to estimates: means over pictures with bootstrap intervals, and what is compared.

Metrics of colour are taken over the pictures that have colour: for a gray one the best answer is no
answer, worth 77 dB where a coloured one gets 25, and a few of them would decide a mean. Every mean
of a metric is over the same pictures for all predictors.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scs_jax.metrics.color import COLORFULNESS
from scs_jax.metrics.intervals import percentile_interval, resampled_means

_PSNR = "10 log10(range^2 / mean squared error) in dB over"
_LEVELS = "of results rounded to 256 levels, float32"
_COLORED = "pictures with colour alone"
_HS = (
  "Hasler & Suesstrunk 2003, M(3) = sigma_rgyb + 0.3 mu_rgyb of rg = R - G, yb = (R + G) / 2 - B "
  "over 0 .. 255"
)
_WINDOW = (
  "Gaussian window of 11 pixels, sigma 1.5, population covariance, K1 0.01, K2 0.03, all positions "
  "where the window lies inside"
)
_STYLE = "gaussian_weights=True, sigma=1.5, use_sample_covariance=False"
DEFINITIONS: Mapping[str, str] = {
  "psnr_rgb": f"{_PSNR} R, G and B together, range 255; {_LEVELS}",
  "psnr_rgb_true_l": f"{_PSNR} R, G and B together, range 255, after L of the result was replaced "
  f"by the true picture's (Bicer and Kaynak's way); {_LEVELS}",
  "psnr_ab": f"{_PSNR} the a and b planes of CIE Lab (D65), range 220; {_LEVELS}; {_COLORED}",
  "psnr_lightness": f"{_PSNR} the L plane of CIE Lab (D65), range 100; {_LEVELS}",
  "ssim_rgb": f"Wang et al. 2004, mean over R, G, B; {_WINDOW}, range 1: scikit-image's "
  f"structural_similarity(channel_axis=-1, {_STYLE}, data_range=1)",
  "ssim_lightness": f"Wang et al. 2004, of the L plane of CIE Lab (D65); {_WINDOW}, range 100: "
  f"scikit-image's structural_similarity({_STYLE}, data_range=100)",
  "colorfulness_hs": f"{_HS}; {_COLORED}",
  "colorfulness_hs_abs": f"{_HS} with |rg| and |yb| in place of rg and yb, as in DDColor's code; "
  f"{_COLORED}",
  "colorfulness_hs_set_difference": "mean of colorfulness_hs of the results minus its mean of the "
  "real pictures",
  "colorfulness_hs_set_gap": "|colorfulness_hs_set_difference|; its uncertainty is that one's "
  "interval",
  "colorfulness_hs_image_gap": "mean over the pictures of |colorfulness_hs of the result - that of "
  "the real picture|",
  "colorfulness_hs_abs_set_difference": "as colorfulness_hs_set_difference, of colorfulness_hs_abs",
  "colorfulness_hs_abs_set_gap": "|colorfulness_hs_abs_set_difference|: DDColor's delta CF",
  "colorfulness_hs_abs_image_gap": "as colorfulness_hs_image_gap, of colorfulness_hs_abs",
}

REAL = "real"
_DIFFERENCE, _GAP = "_set_difference", "_set_gap"
REFERENTIAL = "referential"
"""As a mode: the pictures of modes self and random together."""

ByMetric = dict[str, np.ndarray]


@dataclasses.dataclass
class Scores:
  """Holds what was measured, a number a picture.

  Attributes:
    records: {mode: int64 [n]}, numbers of the pictures, in order.
    of: {mode: {predictor: {metric: float64 [n]}}}.
    real: {mode: {metric: float64 [n]}}, of the true pictures themselves.
    gray: {mode: bool [n]}: whether the true picture has no colour.
    trivial: {mode: predictor} whose result may be the picture itself whatever the picture, so that
      an infinite PSNR of it says nothing about the picture.
  """

  records: dict[str, np.ndarray]
  of: dict[str, dict[str, ByMetric]]
  real: dict[str, ByMetric]
  gray: dict[str, np.ndarray]
  trivial: dict[str, str] = dataclasses.field(default_factory=dict)

  def aside(self, mode: str) -> tuple[str, ...]:
    """Returns the trivial predictor of a mode, or none."""
    return (self.trivial[mode],) if mode in self.trivial else ()


class Estimate(NamedTuple):
  """A mean over pictures and its 95 % bootstrap interval.

  Attributes:
    mean: NaN where no picture counts.
    low, high: NaN where there are fewer than two pictures, and for "..._set_gap".
    n: how many count; of one metric the same ones for all predictors, trivial ones aside.
    infinite: for how many this predictor's PSNR is infinite, its result being the picture; these
      are left out for all predictors, or for a trivial one alone.
  """

  mean: float
  low: float
  high: float
  n: int
  infinite: int = 0


Rows = dict[str, dict[str, Estimate]]


class Summary(NamedTuple):
  """Holds what was estimated.

  Attributes:
    of: {mode: {predictor: {metric: Estimate}}}; "real" has what is measured of the real pictures
      alone, their colourfulness, and is there where anything is.
    differences: {mode: {row: {metric: Estimate}}}: the first row's value minus this row's, picture
      by picture.
  """

  of: dict[str, Rows]
  differences: dict[str, Rows]


def is_of_color(metric: str) -> bool:
  """Tells whether a metric is taken over the pictures with colour alone."""
  return metric in ("psnr_ab", "psnr_cbcr") or metric.startswith(tuple(COLORFULNESS))


def interval_of(metric: str) -> str:
  """Names the metric whose interval tells how sure this one is: for a gap, the difference's."""
  return metric.replace(_GAP, _DIFFERENCE)


def summarize(scores: Scores, seed: int) -> Summary:
  """Computes all means of all modes; predictors of a mode are resampled together.

  Args:
    scores: what was measured; of each mode the first row is compared with every other.
    seed: of the bootstrap.
  """
  found = {
    mode: _of_mode(by, scores.real[mode], scores.gray[mode], scores.trivial.get(mode), seed)
    for mode, by in scores.of.items()
  }
  return Summary({m: f[0] for m, f in found.items()}, {m: f[1] for m, f in found.items()})


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


def _of_mode(
  by: Mapping[str, ByMetric],
  real: ByMetric,
  gray: np.ndarray,
  trivial: str | None,
  seed: int,
) -> tuple[Rows, Rows]:
  model = next(iter(by))
  whole = {predictor: _with_gaps(values, real) for predictor, values in by.items()}
  columns = {(p, metric): v for p, values in whole.items() for metric, v in values.items()}
  columns |= {(REAL, metric): values for metric, values in real.items()}
  rivals = [predictor for predictor in by if predictor != model]
  with np.errstate(invalid="ignore"):  # two infinite ones, which do not count
    paired = {
      (rival, metric): whole[model][metric] - whole[rival][metric]
      for rival in rivals
      for metric in whole[rival]
      if not metric.endswith(_DIFFERENCE)
    }
  of_all = [values for predictor, values in by.items() if predictor != trivial]
  finite = {m: np.all([np.isfinite(v[m]) for v in of_all], axis=0) for m in by[model]}
  asked = lambda metric: ~gray if is_of_color(metric) else np.ones_like(gray)

  def counts(key):
    predictor, metric = key
    there = asked(metric) & finite.get(metric, True)
    if predictor == trivial and metric in finite:
      there &= np.isfinite(by[trivial][metric])
    return there

  rows: Rows = {predictor: {} for predictor in (*by, *([REAL] if real else []))}
  for (predictor, metric), estimate in _estimate(columns, counts, seed).items():
    infinite = int(np.isinf(columns[predictor, metric][asked(metric)]).sum())
    rows[predictor][metric] = estimate._replace(infinite=infinite)
    if metric.endswith(_DIFFERENCE):
      gap = Estimate(abs(estimate.mean), math.nan, math.nan, estimate.n)
      rows[predictor][metric.replace(_DIFFERENCE, _GAP)] = gap
  differences: Rows = {rival: {} for rival in rivals}
  for (rival, metric), estimate in _estimate(paired, counts, seed).items():
    differences[rival][metric] = estimate
  return rows, differences


def _with_gaps(values: ByMetric, real: ByMetric) -> ByMetric:
  """Returns a predictor's scores, and how its colourfulness differs from the real picture's."""
  whole = dict(values)
  for metric in real:
    difference = values[metric] - real[metric]
    whole |= {metric + _DIFFERENCE: difference, f"{metric}_image_gap": np.abs(difference)}
  return whole


def _estimate(columns: Mapping[tuple[str, str], np.ndarray], counts, seed: int) -> dict:
  """Computes {key: Estimate} of columns [pictures] by (row, metric).

  Args:
    counts: key -> bool [pictures], those that count. Columns over the same pictures share their
      draws, and draws are made of the pictures that count, so that others change nothing.
  """
  groups: dict[bytes, list[tuple[str, str]]] = {}
  for key in columns:
    groups.setdefault(counts(key).tobytes(), []).append(key)
  found = {}
  for keys in groups.values():
    there = counts(keys[0])
    table = np.stack([columns[key][there] for key in keys], axis=1)
    n = len(table)
    bounds = np.full((2, len(keys)), np.nan)
    if n >= 2:
      bounds = percentile_interval(resampled_means(table, seed))
    for key, values, low, high in zip(keys, table.T, *bounds, strict=True):
      mean = math.fsum(values) / n if n else math.nan
      found[key] = Estimate(mean, float(low), float(high), n)
  return {key: found[key] for key in columns}


def best_of(
  by: Rows, metric: str, better: int, decimals: int, aside: Collection[str] = ()
) -> set[str]:
  """Predictors that are best by a metric, as far as the decimals shown tell.

  Args:
    aside: predictors that are passed over: of trivial ones the figures say nothing.
    better: 1 where larger is, -1 where smaller is, 0 where neither is.
  """
  values = {
    p: round(rows[metric].mean, decimals)
    for p, rows in by.items()
    if metric in rows and math.isfinite(rows[metric].mean) and p not in aside
  }
  if not better or len(values) < 2:
    return set()
  top = max(better * value for value in values.values())
  return {p for p, value in values.items() if better * value == top}


def ranking(
  scores: Scores,
  mode: str,
  model: str,
  metric: tuple[str, str] = ("psnr_ab", "PSNR ab"),
  against: tuple[str, str] = ("bicubic_gray", "bicubic gray"),
):
  """Returns (numbers of the pictures with colour from best to worst, what they are ordered by).

  By what colouring gains over a baseline in a metric of colour, so that pictures of little colour
  do not always come first; by that metric itself where there is no baseline. Where no picture has
  colour, all of them by PSNR RGB.

  Args:
    metric, against: by name, and as they are written.
  """
  by, there = scores.of[mode], ~scores.gray[mode]
  if not there.any():
    value, label, there = by[model]["psnr_rgb"], "PSNR RGB", ~there
  elif against[0] in by:
    with np.errstate(invalid="ignore"):
      value = by[model][metric[0]] - by[against[0]][metric[0]]
    label = f"gain in {metric[1]} over {against[1]}"
  else:
    value, label = by[model][metric[0]], metric[1]
  value = np.nan_to_num(value, nan=0.0)[there]  # both equal to the picture: nothing gained
  order = np.argsort(-value, kind="stable")
  return scores.records[mode][there][order], label


def mark_perfect(scores: Scores, given: Sequence[str]) -> None:
  """Notes as trivial a row whose result is the picture itself for most pictures.

  The true pictures handed in as a check, say: their infinite PSNR would leave every other row
  without a mean. The first such row of a mode.
  """
  for mode, by in scores.of.items():
    for row in given:
      if row in by and 2 * np.isinf(by[row]["psnr_rgb"]).sum() > len(scores.records[mode]):
        scores.trivial.setdefault(mode, row)
