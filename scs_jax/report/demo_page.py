"""Parts of the demo's report: photographs in every mode, beside baselines, with figures."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scs_jax.report import plots, tables
from scs_jax.report.plots import Plot
from scs_jax.report.tables import Table

SCALES = (2.0, 3.3)

ByMode = Mapping[str, Mapping[str, Any]]
"""{mode: {predictor: its pictures and scores, a measure.evaluate.Result}}; the network that is
shown comes first in a mode."""

_REFERENCES = {
  "self": ("itself, distorted", "by itself"),
  "mirrored": ("itself, mirrored", "by its mirror"),
  "random": ("another photo", "by another"),
}
_SHOWN = ("psnr_rgb", "psnr_ab", "ssim_rgb")


def lines(scale: float, by_mode: ByMode) -> list[str]:
  """Writes the means for a terminal, a line each."""
  return [
    f"  {scale:g}x {mode:<10} {name:<13} PSNR RGB {rgb:6.2f}  ab {ab:6.2f}  SSIM {ssim:.3f}"
    for mode, results in by_mode.items()
    for name, (rgb, ab, ssim) in _means(results).items()
  ]


class Section(NamedTuple):
  """Holds what a page shows of one magnification."""

  scale: float
  tables: Sequence[Table]
  panel: np.ndarray
  caption: str


def section(scale: float, by_mode: ByMode, panel: np.ndarray, names: Sequence[str]) -> Section:
  """Gathers one magnification: a table of means a mode, and the panel of the photographs."""
  shown = []
  for mode, results in by_mode.items():
    rows = [[name, *means] for name, means in _means(results).items()]
    header = [f"{mode}, mean of {len(names)}", "PSNR RGB", "PSNR ab", "SSIM"]
    shown.append(tables.make(header, rows, best=(1, 2, 3)))
  return Section(scale, shown, panel, f"{', '.join(names)} at {scale:g}x")


def row(
  by_mode: ByMode, truth: np.ndarray, i: int, networks: Collection[str]
) -> list[tuple[str, np.ndarray]]:
  """Gathers one photograph for `panels.panel`: the gray input, each mode with its reference and a
  baseline by it, the truth; over every result its PSNR RGB and ab. `networks`: the predictors that
  are no baselines."""

  def shown(caption: str, result: Any) -> tuple[str, np.ndarray]:
    rgb, ab = (result.scores[name][i] for name in _SHOWN[:2])
    return f"{caption} {rgb:.1f}/{ab:.1f}", result.rgb[i]

  entries = []
  for mode, results in by_mode.items():
    first, *others = (name for name in results if name in networks)
    first = results[first]
    if mode == "automatic":
      entries += [("gray input", first.gray[i]), shown("automatic", first)]
      entries += [shown(name, results[name]) for name in others]
    else:
      reference, by = _REFERENCES[mode]
      entries += [(reference, first.reference[i]), shown(by, first)]
      entries.append(shown("Welsh", results["welsh"]))
  return [*entries, ("truth (PSNR RGB/ab)", truth[i])]


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


def _means(results: Mapping[str, Any]) -> dict[str, list[float]]:
  """Returns {predictor: the figures that are shown}."""
  means = {name: result.mean() for name, result in results.items()}
  return {name: [mean[metric] for metric in _SHOWN] for name, mean in means.items()}
