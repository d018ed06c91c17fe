"""Parts of the demo's report: photographs in every mode, beside baselines, with figures."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scs_jax.metrics.estimates import Scores
from scs_jax.report import plots, tables
from scs_jax.report.plots import Plot
from scs_jax.report.tables import Table

SCALES = (2.0, 3.3)

Places = Mapping[str, Mapping[int, Mapping[str, np.ndarray]]]
"""Pictures by mode, record and name; see measure.score.Kept."""

_REFERENCES = {
  "self": ("itself, distorted", "by itself"),
  "mirrored": ("itself, mirrored", "by its mirror"),
  "random": ("another photo", "by another"),
}
_SHOWN = ("psnr_rgb", "psnr_ab", "ssim_rgb")


def lines(scale: float, scores: Scores) -> list[str]:
  """Writes the means for a terminal, a line each."""
  return [
    f"  {scale:g}x {mode:<10} {name:<13} PSNR RGB {rgb:6.2f}  ab {ab:6.2f}  SSIM {ssim:.3f}"
    for mode, by in scores.of.items()
    for name, (rgb, ab, ssim) in _means(by).items()
  ]


class Section(NamedTuple):
  """Holds what a page shows of one magnification."""

  scale: float
  tables: Sequence[Table]
  panel: np.ndarray
  caption: str


def section(scale: float, scores: Scores, panel: np.ndarray, names: Sequence[str]) -> Section:
  """Gathers one magnification: a table of means a mode, and the panel of the photographs."""
  shown = []
  for mode, by in scores.of.items():
    rows = [[name, *means] for name, means in _means(by).items()]
    header = [f"{mode}, mean of {len(names)}", "PSNR RGB", "PSNR ab", "SSIM"]
    shown.append(tables.make(header, rows, best=(1, 2, 3)))
  return Section(scale, shown, panel, f"{', '.join(names)} at {scale:g}x")


def row(
  scores: Scores, places: Places, record: int, networks: Collection[str]
) -> list[tuple[str, np.ndarray]]:
  """Gathers one photograph for `panels.panel`: the gray input, each mode with its reference and a
  baseline by it, the truth; over every result its PSNR RGB and ab. `networks`: the predictors that
  are no baselines; the first of them comes first in every mode."""

  def shown(caption: str, mode: str, name: str) -> tuple[str, np.ndarray]:
    at = int(np.flatnonzero(scores.records[mode] == record)[0])
    rgb, ab = (scores.of[mode][name][metric][at] for metric in _SHOWN[:2])
    return f"{caption} {rgb:.1f}/{ab:.1f}", places[mode][record][name]

  entries = []
  for mode, by in scores.of.items():
    place = places[mode][record]
    first, *others = (name for name in by if name in networks)
    if mode == "automatic":
      entries += [("gray input", place["gray"]), shown("automatic", mode, first)]
      entries += [shown(name, mode, name) for name in others]
    else:
      reference, words = _REFERENCES[mode]
      entries += [(reference, place["reference"]), shown(words, mode, first)]
      entries.append(shown("Welsh", mode, "welsh"))
  return [*entries, ("truth (PSNR RGB/ab)", place["truth"])]


def curves(workdir, shown: Mapping[str, str], mean_of: int = 1) -> list[Plot | None]:
  """Draws curves in a run's metrics.jsonl.

  Args:
    workdir: the run's folder.
    shown: {metric: what it is called}.
    mean_of: so many points are shown as their mean: a few steps on random crops say little.
  """
  found = []
  for name, label in shown.items():
    points = plots.read_curve(workdir, name)
    groups = [points[i : i + mean_of] for i in range(0, len(points), mean_of)]
    means = [(group[-1][0], float(np.mean([y for _, y in group]))) for group in groups]
    found.append(plots.curves({"": means}, label))
  return found


def _means(by: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, list[float]]:
  """Returns {predictor: the figures that are shown}."""
  return {
    name.replace("_", " "): [float(np.mean(values[metric])) for metric in _SHOWN]
    for name, values in by.items()
  }
