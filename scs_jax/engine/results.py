"""From scores to what is written down: means with intervals, JSON, CSV, a table on the screen."""

import csv
import hashlib
import importlib.metadata
import io
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

import scs_jax
from scs_jax.engine.evaluate import COLORFULNESS, METRICS
from scs_jax.engine.intervals import percentile_interval, resampled_means
from scs_jax.engine.trial import ByMetric, Scores

FORMAT = "scs_jax evaluation 1"

_PSNR = "10 log10(range^2 / mean squared error) in dB over"
_LEVELS = "of results rounded to 256 levels, float32"
_HS = (
  "Hasler & Suesstrunk 2003, M(3) = sigma_rgyb + 0.3 mu_rgyb of rg = R - G, yb = (R + G) / 2 - B "
  "over 0 .. 255"
)
DEFINITIONS: Mapping[str, str] = {
  "psnr_rgb": f"{_PSNR} R, G and B together, range 255; {_LEVELS}",
  "psnr_ab": f"{_PSNR} the a and b planes of CIE Lab (D65), range 220; {_LEVELS}",
  "psnr_lightness": f"{_PSNR} the L plane of CIE Lab (D65), range 100; {_LEVELS}",
  "ssim_rgb": "Wang et al. 2004, mean over R, G, B and all positions where the window lies inside; "
  "Gaussian window of 11 pixels, sigma 1.5, population covariance, K1 0.01, K2 0.03, range 1: "
  "scikit-image's structural_similarity(channel_axis=-1, gaussian_weights=True, sigma=1.5, "
  "use_sample_covariance=False, data_range=1)",
  "colorfulness_hs": _HS,
  "colorfulness_hs_abs": f"{_HS} with |rg| and |yb| in place of rg and yb, as in DDColor's code",
  "colorfulness_hs_set_gap": "|mean of colorfulness_hs of the results - its mean of the real "
  "pictures|",
  "colorfulness_hs_image_gap": "mean over the pictures of |colorfulness_hs of the result - that of "
  "the real picture|",
  "colorfulness_hs_abs_set_gap": "as colorfulness_hs_set_gap, of colorfulness_hs_abs: DDColor's "
  "delta CF",
  "colorfulness_hs_abs_image_gap": "as colorfulness_hs_image_gap, of colorfulness_hs_abs",
}


class Estimate(NamedTuple):
  """A mean over pictures and its 95 % bootstrap interval.

  Attributes:
    mean: over the pictures whose value is finite; NaN where there is none.
    low, high: NaN where there are fewer than two pictures.
    n: how many count.
    infinite: how many are left out: PSNR of a result that equals its picture.
  """

  mean: float
  low: float
  high: float
  n: int
  infinite: int


Summary = dict[str, dict[str, dict[str, Estimate]]]
REAL = "real"


def summarize(scores: Scores, seed: int) -> Summary:
  """{mode: {predictor: {metric: Estimate}}}; the row "real" has the real pictures' colourfulness.

  All predictors of a mode are resampled together. Of "..._set_gap" every resample's absolute
  difference of means is taken, so its interval never crosses zero.
  """
  return {mode: _of_mode(by, scores.real[mode], seed) for mode, by in scores.of.items()}


def _of_mode(by: Mapping[str, ByMetric], real: ByMetric, seed: int) -> dict:
  columns: dict[tuple[str, str], np.ndarray] = {(REAL, name): real[name] for name in COLORFULNESS}
  for predictor, values in by.items():
    for name in (*METRICS, *COLORFULNESS):
      columns[predictor, name] = values[name]
    for name in COLORFULNESS:
      difference = values[name] - real[name]
      columns[predictor, f"{name}_set_gap"] = difference
      columns[predictor, f"{name}_image_gap"] = np.abs(difference)
  table = np.stack(list(columns.values()), axis=1)
  n = len(table)
  signed = np.array([name.endswith("_set_gap") for _, name in columns])
  bounds = np.full((2, len(columns)), np.nan)
  if n >= 2:
    means = resampled_means(table, seed)
    bounds = percentile_interval(np.where(signed, np.abs(means), means))
  found: dict[str, dict[str, Estimate]] = {predictor: {} for predictor in (*by, REAL)}
  for i, (predictor, name) in enumerate(columns):
    finite = table[np.isfinite(table[:, i]), i]
    mean = math.fsum(finite) / len(finite) if len(finite) else math.nan
    low, high = bounds[:, i] if len(finite) >= 2 else (math.nan, math.nan)
    mean = abs(mean) if signed[i] else mean
    found[predictor][name] = Estimate(
      mean, float(low), float(high), len(finite), n - len(finite)
    )
  return found


def to_json(about: Mapping, summary: Summary) -> bytes:
  """The whole record: `about`, the metrics' definitions, and all estimates; NaN becomes null."""
  number = lambda x: x if math.isfinite(x) else None

  def written(estimate: Estimate) -> dict:
    interval = [number(estimate.low), number(estimate.high)]
    entry = {"mean": number(estimate.mean), "interval": None if None in interval else interval}
    entry["n"] = estimate.n
    return entry | ({"infinite": estimate.infinite} if estimate.infinite else {})

  results = {
    mode: {p: {name: written(e) for name, e in rows.items()} for p, rows in by.items()}
    for mode, by in summary.items()
  }
  whole = {"format": FORMAT, **about, "metrics": DEFINITIONS, "results": results}
  return (json.dumps(whole, indent=2, allow_nan=False) + "\n").encode()


def to_csv(scores: Scores, name, reference, gray: Iterable[int]) -> bytes:
  """A line a picture, mode and predictor: names, whether it is gray, and every score in full.

  Args:
    name: number of a picture -> its name.
    reference: (mode, number) -> the name of its reference, or "".
    gray: numbers of the pictures without colour.
  """
  gray, columns = set(gray), (*METRICS, *COLORFULNESS)
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(["picture", "mode", "predictor", "reference", "gray", *columns])
  for mode, by in scores.of.items():
    for i, record in enumerate(scores.records[mode].tolist()):
      start = [name(record), mode]
      middle = [reference(mode, record), int(record in gray)]
      for predictor, values in by.items():
        writer.writerow([*start, predictor, *middle, *(repr(float(values[c][i])) for c in columns)])
      real = [repr(float(scores.real[mode][c][i])) if c in COLORFULNESS else "" for c in columns]
      writer.writerow([*start, REAL, "", middle[1], *real])
  return text.getvalue().encode("utf-8", "surrogateescape")


# Heading, metric, decimals, and which way is better (0: neither).
COLUMNS = (
  ("PSNR RGB", "psnr_rgb", 2, 1),
  ("PSNR ab", "psnr_ab", 2, 1),
  ("PSNR L", "psnr_lightness", 2, 1),
  ("SSIM RGB", "ssim_rgb", 3, 1),
  ("colourf.", "colorfulness_hs", 1, 0),
  ("gap to real", "colorfulness_hs_set_gap", 1, -1),
)


def best_of(by: Mapping[str, Mapping[str, Estimate]], metric: str, better: int, decimals: int):
  """Predictors that are best by a metric, as far as the decimals shown tell."""
  values = {
    p: round(rows[metric].mean, decimals)
    for p, rows in by.items()
    if metric in rows and math.isfinite(rows[metric].mean)
  }
  if not better or len(values) < 2:
    return set()
  top = max(better * value for value in values.values())
  return {p for p, value in values.items() if better * value == top}


def screen_table(by: Mapping[str, Mapping[str, Estimate]]) -> str:
  """Aligned columns: a line of means, the best of each marked *, and a line of intervals."""
  width, first = 13, max(map(len, by))
  lines = [" " * first + "".join(f"{heading:>{width - 1}} " for heading, *_ in COLUMNS)]
  best = {metric: best_of(by, metric, better, d) for _, metric, d, better in COLUMNS}
  for predictor, rows in by.items():
    means, intervals = f"{predictor:<{first}}", " " * first
    for _, metric, decimals, _ in COLUMNS:
      estimate = rows.get(metric)
      mark = "*" if predictor in best[metric] else " "
      known = estimate is not None and estimate.n
      shown = f"{estimate.mean:.{decimals}f}" if known else ""
      means += f"{shown:>{width - 1}}{mark}"
      inside = estimate is not None and math.isfinite(estimate.low)
      shown = f"{estimate.low:.{decimals}f}-{estimate.high:.{decimals}f}" if inside else ""
      intervals += f"{shown:>{width - 1}} "
    lines += [means.rstrip(), intervals.rstrip()]
  return "\n".join(line for line in lines if line)


def environment() -> dict:
  """Versions and hardware, for the record."""
  packages = ("jax", "jaxlib", "flax", "numpy", "pillow")
  device = jax.devices()[0]
  return {
    "versions": {
      "scs_jax": scs_jax.__version__,
      "python": platform.python_version(),
      **{package: importlib.metadata.version(package) for package in packages},
    },
    "device": {"platform": device.platform, "kind": device.device_kind},
    "system": platform.platform(),
  }


def list_hash(fingerprint: str, entries: Sequence[str]) -> str:
  """SHA-256 of a source's fingerprint (names and sizes of its files) and of what was used of it."""
  lines = "\n".join([fingerprint, *entries])
  return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def ranking(scores: Scores, mode: str, model: str, against: str = "bicubic_gray"):
  """(numbers of the pictures from best to worst, what they are ordered by).

  By what colouring gains over bicubic gray in PSNR of ab, as without it gray pictures would always
  come first; by that PSNR itself where there is no baseline.
  """
  by = scores.of[mode]
  value, label = by[model]["psnr_ab"], "PSNR ab"
  if against in by:
    value, label = value - by[against]["psnr_ab"], "gain in PSNR ab over bicubic gray"
  value = np.nan_to_num(value, nan=0.0)  # both equal to the picture: nothing gained
  order = np.argsort(-value, kind="stable")
  return scores.records[mode][order], label
