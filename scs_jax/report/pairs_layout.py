"""The words and tables of an evaluation of pairs."""

import math
from collections.abc import Mapping

from scs_jax.metrics.correlation import CORRELATED, FEWEST, Correlation
from scs_jax.metrics.estimates import DEFINITIONS
from scs_jax.report import tables
from scs_jax.report.layout import Column, Layout, choose
from scs_jax.report.tables import Table

_REPLACED = (
  "after Y (BT.601) of the result was replaced by the true picture's; the true picture is the "
  "truth of the monochrome view first-time, the colour view second-time"
)
_COLUMNS = (
  Column("PSNR RGB", "psnr_rgb", 2, 1),
  Column("RGB, true Y", "psnr_rgb_true_y", 2, 1),
  Column("PSNR CbCr", "psnr_cbcr", 2, 1),
  Column("SSIM RGB", "ssim_rgb", 4, 1),
  Column("SSIM, true Y", "ssim_rgb_true_y", 4, 1),
)

PAIRS = Layout(
  definitions={
    "psnr_rgb": DEFINITIONS["psnr_rgb"],
    "psnr_rgb_true_y": f"psnr_rgb {_REPLACED}",
    "psnr_cbcr": "10 log10(1 / mean squared error) in dB over Cb and Cr together (BT.601, full "
    "range, 0 .. 1) of results rounded to 256 levels, float32; pairs whose colour view has colour "
    "alone",
    "ssim_rgb": DEFINITIONS["ssim_rgb"],
    "ssim_rgb_true_y": f"ssim_rgb {_REPLACED}",
  },
  modes={
    "first": "First-time: the monochrome view coloured by the colour view, against the truth",
    "second": "Second-time: Y of the colour view coloured by that result, against the colour view",
  },
  screen=_COLUMNS,
  decisive=choose(_COLUMNS, "psnr_rgb", "psnr_cbcr"),
  columns=_COLUMNS,
  compared=_COLUMNS,
  distribution=("psnr_cbcr", "PSNR CbCr (dB) of every pair with colour; the tick is the mean"),
  legend={
    "PSNR RGB": (
      "psnr_rgb",
      "How near the result is to the true picture, in decibels; higher is better. First-time, the "
      "monochrome view is part of the result as it is: where its Y differs from the truth's (noise,"
      " blur, another exposure), this figure says so, whatever the colours are.",
    ),
    "RGB, true Y": (
      "psnr_rgb_true_y",
      "The same with the true picture's Y: colour alone counts. Second-time it is nearly PSNR RGB "
      "where a result keeps the Y that it was given, for that is the colour view's own; unrefined "
      "second-time results have the Y that the network found.",
    ),
    "PSNR CbCr": ("psnr_cbcr", "The error of colour itself, brightness aside."),
    "SSIM RGB": (
      "ssim_rgb",
      "Likeness of local structure, 1 where both are equal; higher is better.",
    ),
    "SSIM, true Y": ("ssim_rgb_true_y", "The same with the true picture's Y."),
  },
  predictors={
    "reinhard": "the colour transfer of Reinhard et al. 2001: the colour view's mean and deviation "
    "in l, alpha, beta given to the monochrome view; its Cb and Cr under the input's own Y",
    "zero_disparity": "Cb and Cr of the colour view at the same pixel, as if both cameras stood in "
    "one place; second-time it copies back what it copied, so that its figure there is near "
    "perfect whatever its colours are. A method that finds this way to please the second pass "
    "gives itself away by its first-time figures",
    "semi_global": "classical stereo: disparities by semi-global matching (OpenCV's StereoSGBM; "
    "the colour view has the monochrome one's histogram for it) where both views agree, Cb and "
    "Cr carried over by these, filled in and smoothed along the edges of the monochrome view",
  },
)


_METRICS = {
  "psnr_rgb": "PSNR RGB",
  "ssim_rgb": "SSIM RGB",
  "psnr_rgb_true_y": "PSNR RGB, true Y",
  "ssim_rgb_true_y": "SSIM RGB, true Y",
}


def correlation_record(found: Mapping[str, Mapping[str, Correlation]]) -> dict:
  """Writes it as results.json holds it."""

  def written(c: Correlation) -> dict:
    value = {"value": c.value if math.isfinite(c.value) else None, "n": c.n}
    return value | ({"why": c.why} if c.why else {})

  return {p: {metric: written(c) for metric, c in by.items()} for p, by in found.items()}


def correlation_section(found: Mapping[str, Mapping[str, Correlation]]) -> tuple[str, str, Table]:
  """Gathers (heading, words, a table with a line a predictor and a column a metric) for a page."""
  words = (
    "Over the pairs with truth: whether pairs that come back well are those that were coloured "
    "well, so that second-time figures may stand for first-time ones where there is no truth. "
    f"Pearson's coefficient, -1 to 1; it takes {FEWEST} pairs, and means little below some twenty."
  )
  rows = [[p, *(_words(by[metric]) for metric in CORRELATED)] for p, by in found.items()]
  header = ["", *(_METRICS[metric] for metric in CORRELATED)]
  heading = "Linear correlation of first- and second-time figures"
  return heading, words, tables.make(header, rows)


def _words(c: Correlation) -> str:
  return f"- ({c.why})" if c.why else f"{c.value:.4f} (n = {c.n})"


def correlation_lines(found: Mapping[str, Mapping[str, Correlation]]) -> str:
  """Writes the same for the screen, of PSNR and SSIM over RGB."""
  width = max(map(len, found))
  lines = ["linear correlation of first- and second-time figures, pair by pair"]
  for predictor, by in found.items():
    shown = (f"{_METRICS[m]} {_words(by[m])}" for m in ("psnr_rgb", "ssim_rgb"))
    lines.append(f"{predictor:<{width}}  {'   '.join(shown)}")
  return "\n".join(lines)
