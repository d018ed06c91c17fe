"""How an evaluation is shown: what its tables hold, in which order, and the words for it."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

from scs_jax.metrics.estimates import DEFINITIONS, REAL


class Column(NamedTuple):
  """Holds a metric of a table; `better`: 1 where more is, -1 where less is, 0 where neither."""

  heading: str
  metric: str
  decimals: int
  better: int


@dataclasses.dataclass(frozen=True)
class Layout:
  """Holds what differs between the reports of photographs and of pairs.

  Attributes:
    definitions: {metric: what exactly it is}.
    modes: {mode: its heading on the page}.
    screen: columns of the tables on the screen; decisive: of the differences there.
    columns: columns of the page's tables; compared: of its differences.
    distribution: the metric whose histograms are shown, and its caption.
    legend: {heading: (metric, what it tells)}.
    predictors: {baseline: what it does}.
  """

  definitions: Mapping[str, str]
  modes: Mapping[str, str]
  screen: tuple[Column, ...]
  decisive: tuple[Column, ...]
  columns: tuple[Column, ...]
  compared: tuple[Column, ...]
  distribution: tuple[str, str]
  legend: Mapping[str, tuple[str, str]]
  predictors: Mapping[str, str]


_COLUMNS = (
  Column("PSNR RGB", "psnr_rgb", 2, 1),
  Column("RGB, true L", "psnr_rgb_true_l", 2, 1),
  Column("PSNR ab", "psnr_ab", 2, 1),
  Column("PSNR L", "psnr_lightness", 2, 1),
  Column("SSIM RGB", "ssim_rgb", 3, 1),
  Column("SSIM L", "ssim_lightness", 3, 1),
  Column("colourf.", "colorfulness_hs", 1, 0),
  Column("minus real", "colorfulness_hs_set_difference", 1, 0),
  Column("gap to real", "colorfulness_hs_set_gap", 1, -1),
  Column("colourf. abs", "colorfulness_hs_abs", 1, 0),
  Column("abs minus real", "colorfulness_hs_abs_set_difference", 1, 0),
  Column("abs gap", "colorfulness_hs_abs_set_gap", 1, -1),
)
_MODES = {
  "automatic": "Automatic: no reference",
  "self": "Self-reference: the picture itself, elastically distorted",
  "random": "Random reference: another picture, elastically distorted",
  "mirrored": "Mirrored reference: the picture itself, left and right exchanged, distorted",
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
  REAL: "the real pictures",
}

_SCREEN = ("psnr_rgb", "psnr_ab", "psnr_lightness", "ssim_rgb", "colorfulness_hs",
           "colorfulness_hs_set_gap")  # fmt: skip


def choose(columns: tuple[Column, ...], *metrics: str) -> tuple[Column, ...]:
  """Picks the columns of these metrics, in this order."""
  by = {column.metric: column for column in columns}
  return tuple(by[metric] for metric in metrics)


def with_lpips(layout: Layout) -> Layout:
  """Adds a column for LPIPS, where its weights are given."""
  column = Column("LPIPS", "lpips", 3, -1)
  return dataclasses.replace(
    layout,
    definitions={**layout.definitions, "lpips": "LPIPS v0.1 (Zhang et al. 2018) of result and true "
                 "picture at the size measured, both on 256 levels"},
    screen=(*layout.screen, column),
    columns=(*layout.columns, column),
    compared=(*layout.compared, column),
    legend={**layout.legend, "LPIPS": ("lpips", "A learned distance of what the pictures look "
            "like; lower is better.")},
  )  # fmt: skip


PHOTOS = Layout(
  definitions=DEFINITIONS,
  modes=_MODES,
  screen=choose(_COLUMNS, *_SCREEN),
  decisive=choose(_COLUMNS, *_SCREEN[:2]),
  columns=_COLUMNS,
  compared=(
    *(column for column in _COLUMNS if "_set_" not in column.metric),
    Column("gap of each", "colorfulness_hs_image_gap", 1, 0),
    Column("abs gap of each", "colorfulness_hs_abs_image_gap", 1, 0),
  ),
  distribution=("psnr_ab", "PSNR ab (dB) of every picture with colour; the tick is the mean"),
  legend=_LEGEND,
  predictors=_BASELINES,
)
