"""The evaluation's report: tables, distributions and pictures in one HTML file."""

import html
import math
from collections.abc import Mapping, Sequence

import numpy as np

from scs_jax.engine import report, results
from scs_jax.engine.estimates import DEFINITIONS, REAL, Estimate, Rows, Summary
from scs_jax.engine.trial import Scores

# Heading, metric, decimals, and which way is better (0: neither).
_COLUMNS = (
  ("PSNR RGB", "psnr_rgb", 2, 1),
  ("RGB, true L", "psnr_rgb_true_l", 2, 1),
  ("PSNR ab", "psnr_ab", 2, 1),
  ("PSNR L", "psnr_lightness", 2, 1),
  ("SSIM RGB", "ssim_rgb", 3, 1),
  ("SSIM L", "ssim_lightness", 3, 1),
  ("colourf.", "colorfulness_hs", 1, 0),
  ("minus real", "colorfulness_hs_set_difference", 1, 0),
  ("gap to real", "colorfulness_hs_set_gap", 1, -1),
  ("colourf. abs", "colorfulness_hs_abs", 1, 0),
  ("abs minus real", "colorfulness_hs_abs_set_difference", 1, 0),
  ("abs gap", "colorfulness_hs_abs_set_gap", 1, -1),
)
_COMPARED = (
  *(column for column in _COLUMNS if "_set_" not in column[1]),
  ("gap of each", "colorfulness_hs_image_gap", 1, 0),
  ("abs gap of each", "colorfulness_hs_abs_image_gap", 1, 0),
)
_MODES = {
  "automatic": "Automatic: no reference",
  "self": "Self-reference: the picture itself, elastically distorted",
  "random": "Random reference: another picture, elastically distorted",
}
_LEGEND = {
  "PSNR RGB": ("psnr_rgb", "How near the result is to the true picture, pixel by pixel, in "
               "decibels; higher is better. It mixes sharpness and colour."),
  "RGB, true L": ("psnr_rgb_true_l", "PSNR RGB with the true picture's lightness in place of the "
                  "result's: colour alone counts. The joint network's report measures so."),
  "PSNR ab": ("psnr_ab", "The same for colour alone, over the pictures that have some: for a gray "
              "one, no colour is worth 77 dB. Figures of papers that do not name their planes and "
              "range cannot be compared."),
  "PSNR L": ("psnr_lightness", "The same for lightness alone: how well the picture was enlarged."),
  "SSIM RGB": ("ssim_rgb", "Likeness of local structure, 1 where both are equal; higher is "
               "better."),
  "SSIM L": ("ssim_lightness", "The same for lightness alone."),
  "colourf.": ("colorfulness_hs", "How colourful the results look, whatever the truth; near the "
               "real pictures' is best. It is not the CN of the SCSNet paper, which is a network "
               "without public weights."),
  "minus real": ("colorfulness_hs_set_difference", "How much more colourful the results are than "
                 "the real pictures, on the mean; below zero: paler."),
  "gap to real": ("colorfulness_hs_set_gap", "How far that is from zero, whichever way; lower is "
                  "better."),
  "gap of each": ("colorfulness_hs_image_gap", "How far the colourfulness of each result is from "
                  "its own picture's; lower is better."),
  "colourf. abs": ("colorfulness_hs_abs", "Colourfulness with absolute opponent colours, as "
                   "DDColor's code has it; its gap is that paper's delta CF."),
}  # fmt: skip
_BASELINES = {
  "bicubic_gray": "the input enlarged (MATLAB's bicubic), no colour",
  "mean_chroma": "that, with the reference's average colour everywhere: all that Reinhard's colour "
  "transfer (2001) can do for a gray input",
  "welsh": "each pixel takes the colour of that of 196 reference pixels which is most like it in "
  "luminance and texture (Welsh, Ashikhmin, Mueller 2002)",
}

# For each mode: what a group of pictures is, and for each picture a heading and captioned images.
Panels = Mapping[str, Sequence[tuple[str, Sequence[tuple[str, Sequence[tuple[str, np.ndarray]]]]]]]


def page(
  title: str,
  about: Sequence[str],
  notes: Sequence[str],
  record: Mapping,
  scores: Scores,
  summary: Summary,
  panels: Panels,
) -> bytes:
  """The HTML file.

  Args:
    title: heading.
    about: paragraphs, plain text.
    notes: what a reader of the figures must know.
    record: what results.json holds besides the results; shown at the end.
    scores, summary: what was measured.
    panels: pictures.
  """
  sections = [f"<p>{html.escape(text)}</p>" for text in about]
  if notes:
    sections.append("<ul>" + "".join(f"<li>{html.escape(note)}</li>" for note in notes) + "</ul>")
  for mode, by in summary.of.items():
    sections.append(f"<h2>{html.escape(_MODES.get(mode, mode))}</h2>")
    sections.append(_table(by, len(scores.records[mode])))
    sections.append(_differences(summary.differences[mode], next(iter(by))))
    colored = ~scores.gray[mode]
    ab = {predictor: values["psnr_ab"][colored] for predictor, values in scores.of[mode].items()}
    label = "PSNR ab (dB) of every picture with colour; the tick is the mean"
    sections.append(report.histograms(ab, label))
    for kind, pictures in panels.get(mode, ()):
      sections.append(f"<h3>{html.escape(kind)}</h3>")
      for heading, images in pictures:
        sections.append(f"<p>{html.escape(heading)}</p>{report.strip(images)}")
  sections += [_legend(), _record(record)]
  return report.page(title, sections)


def _table(by: Rows, n: int) -> str:
  rows = []
  for predictor, estimates in by.items():
    row: list = [predictor]
    for _, metric, decimals, _ in _COLUMNS:
      estimate = estimates.get(metric)
      row.append("" if estimate is None else _cell(estimate, decimals))
    rows.append(row)
  counts = [results.counted(by, metric) for _, metric, *_ in _COLUMNS]
  if any(count != n for count in counts):
    rows.append(["pictures", *map(str, counts)])
  header = [f"mean of {n}, 95 % interval", *(heading for heading, *_ in _COLUMNS)]
  place = lambda wanted: [i + 1 for i, (*_, better) in enumerate(_COLUMNS) if better == wanted]
  return report.table(header, rows, best=place(1), least=place(-1))


def _differences(by: Rows, model: str) -> str:
  """The model minus each baseline; empty where there is none."""
  if not by:
    return ""
  rows = [
    [rival, *(_cell(rows[metric], decimals, "+") for _, metric, decimals, _ in _COMPARED)]
    for rival, rows in by.items()
  ]
  header = [f"{model} minus, 95 % interval", *(heading for heading, *_ in _COMPARED)]
  return report.table(header, rows)


def _cell(estimate: Estimate, decimals: int, sign: str = "") -> report.Cell:
  text = f"{estimate.mean:{sign}.{decimals}f}" if estimate.n else "-"
  if math.isfinite(estimate.low):
    text += f" [{estimate.low:{sign}.{decimals}f}, {estimate.high:{sign}.{decimals}f}]"
  if estimate.infinite:
    text += f" + {estimate.infinite} equal"
  return report.Cell(round(estimate.mean, decimals), text)


def _legend() -> str:
  items = [
    f"<dt>{html.escape(heading)}</dt><dd>{html.escape(words)} <code>{metric}</code>: "
    f"{html.escape(DEFINITIONS[metric])}.</dd>"
    for heading, (metric, words) in _LEGEND.items()
  ]
  items += [
    f"<dt>{name}</dt><dd>{html.escape(words)}.</dd>" for name, words in _BASELINES.items()
  ]
  items.append(f"<dt>{REAL}</dt><dd>The real pictures.</dd>")
  items.append(
    "<dt>Intervals</dt><dd>Of the mean over pictures: 95 % of 2000 means of as many pictures drawn "
    "with replacement lie inside (bootstrap, percentiles). Bold is the best of a column, as far as "
    "its decimals tell. Whether the model is better than a baseline is for the second table to "
    "say, of differences picture by picture: an interval on one side of 0 decides, one around 0 "
    "does not. Intervals of the first table may overlap either way.</dd>"
  )
  return f"<h2>What the figures mean</h2><dl>{''.join(items)}</dl>"


def _record(record: Mapping) -> str:
  rows = []

  def walk(value, path):
    if isinstance(value, Mapping):
      for key, inner in value.items():
        walk(inner, f"{path}.{key}" if path else key)
    elif value not in (None, []):
      shown = ", ".join(map(str, value)) if isinstance(value, list) else value
      rows.append([path, str(shown)])

  walk(record, "")
  return "<h2>How it was made</h2>" + report.table(["what", "value"], rows)
