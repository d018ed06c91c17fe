"""Plots: where their marks stand, what is left out, and that they are the same each time."""

import re

import numpy as np
import pytest

from scs_jax.report import plots
from scs_jax.report.plots import Dot


def points(svg, mark):
  """(x, y) of each line with this name, in the plot's pixels, as drawn."""
  groups = re.findall(rf'<g class="{mark}">.*?</g>', svg, re.DOTALL)
  numbers = [re.findall(r"[ML] ([\d.]+) ([\d.]+)", group) for group in groups]
  return [np.array(found, float) for found in numbers]


def test_a_curve_runs_from_its_first_to_its_last_point():
  plot = plots.curves({"one": [(100, 1.0), (150, 3.0), (200, 2.0)]}, "loss")
  (line,) = points(plot.svg, "curve")
  across, down = line[:, 0] - line[0, 0], line[:, 1] - line[0, 1]
  assert across[1] / across[2] == pytest.approx(0.5)
  assert down[1] < 0 and down[2] / down[1] == pytest.approx(0.5, abs=0.01)  # SVG's y is downwards
  assert ">step</text>" in plot.svg and plot.label == "loss" and list(plot.colors) == ["one"]
  flat = plots.curves({"": [(0, 1.0), (1, 1.0)]}, "flat").svg
  assert "nan" not in flat and "inf" not in flat


def test_values_close_together_stand_on_the_axis_in_full():
  svg = plots.curves({"": [(4, 38.6035), (5, 38.6044)]}, "dB").svg
  assert ">38.6040<" in svg and "e1" not in re.sub(r"<[^>]*>", "", svg)
  svg = plots.histograms({"one": np.array([23.4])}, "dB").svg
  assert ">23.4<" in svg and "e" not in "".join(re.findall(r">([-+.\de]+)<", svg))
  svg = plots.scatter([Dot("a", 11.0, 20.0, 1), Dot("b", 14.0, 21.0, 1)], "dB").svg
  assert ">12<" in svg  # no 1, 2 or 5 of a decade is between them


def test_curves_of_one_point_are_left_out_and_others_have_colors():
  assert plots.curves({"a": [(1, 2.0)], "b": []}, "x") is None
  assert plots.curves({"a": [(1, np.nan), (2, np.inf), (3, 1.0)]}, "x") is None
  assert not plots.curves({"": [(1, 2.0), (3, 4.0)]}, "x").colors
  plot = plots.curves({"a": [(1, 2.0), (3, 4.0)], "b": [(2, 3.0)], "c": [(1, 4), (3, 2)]}, "x")
  assert len(points(plot.svg, "curve")) == 2 and list(plot.colors) == ["a", "c"]
  assert all(f"stroke: {color}" in plot.svg for color in plot.colors.values())


def test_histograms_count_on_one_axis():
  values = {"one": np.array([0.0, 0.0, 10.0]), "two": np.array([5.0, np.inf])}
  plot = plots.histograms(values, "dB", bins=2)
  first, second = (points(plot.svg, f"bars{i}")[0] for i in (0, 1))
  heights = lambda bars: bars[:, 1].max() - bars[:, 1]
  assert heights(first).max() / heights(second).max() == pytest.approx(2, abs=0.01)
  left, right = first[:, 0].min(), first[:, 0].max()
  raised = second[heights(second) > 1]
  assert raised[:, 0].min() == pytest.approx((left + right) / 2, abs=0.01)  # 5 counts as above
  means = [points(plot.svg, f"mean{i}")[0][0, 0] for i in (0, 1)]
  assert (means[0] - left) / (right - left) == pytest.approx(1 / 3, abs=0.001)
  assert (means[1] - left) / (right - left) == pytest.approx(1 / 2, abs=0.001)
  assert ">one<" in plot.svg and "nan" not in plot.svg and "inf" not in plot.svg
  assert plots.histograms({"none": np.array([np.inf])}, "dB") is None


def test_the_scatter_places_quality_and_speed_and_sizes_by_parameters():
  dots = [Dot("fast & <small>", 100.0, 20.0, 1_000_000), Dot("slow", 1.0, 25.0, 4_000_000),
          Dot("unknown", 10.0, np.nan, None)]  # fmt: skip
  plot = plots.scatter(dots, "PSNR RGB (dB)")
  groups = re.findall(r'<g class="dot(\d)"><title>(.*?)</title>(.*?)</g>', plot.svg, re.DOTALL)
  numbers, titles, bodies = zip(*groups, strict=True)
  assert numbers == ("2", "1")  # the larger one first, so that it hides nothing
  assert titles[0] == "slow: 25.000, 1 a second, 4 M"
  assert titles[1] == "fast &amp; &lt;small&gt;: 20.000, 100 a second, 1 M"
  at = lambda body, k: float(re.search(rf'<use [^>]*{k}="([\d.]+)"', body)[1])
  place = [(at(body, "x"), at(body, "y")) for body in bodies]
  radius = [float(re.search(r"M 0 ([\d.]+)", body)[1]) for body in bodies]
  assert place[0][0] < place[1][0] and place[0][1] < place[1][1]
  assert (radius[0] - 9) / (radius[1] - 9) == pytest.approx(2, abs=0.02)
  assert "unknown" not in plot.svg and len(plot.numbered) == 2
  assert ">PSNR RGB (dB)</text>" in plot.svg  # what is upwards
  quick = plots.scatter([dots[0], Dot("q", 1234.0, 20.0, None), Dot("no", np.inf, 9.0, 1)], "x")
  assert quick.numbered[1] == "q: 20.000, 1,234 a second" and len(quick.numbered) == 2
  assert plots.scatter(dots[:1], "x") is None


def test_a_plot_is_the_same_each_time_and_names_its_own_parts_alone():
  draw = lambda label: plots.curves({"a": [(0, 1.0), (1, 2.0)]}, label).svg
  assert draw("one") == draw("one")
  names = [set(re.findall(r' id="([^"]*)"', draw(label))) for label in ("one", "two")]
  assert names[0] and not names[0] & names[1]
