"""The picture of a checked pair: its views with matches, their heights and disparities."""

import textwrap

import numpy as np

from scs_jax.data import camera as cameras
from scs_jax.data.stereo_check import FEWEST, MOST_VERTICAL, Report, vertical_offset
from scs_jax.report import plots

_SIDE = 480  # pixels of a view at most
_PLOT, _LINE, _LETTERS = 190, 18, 130
_PALE, _GOOD, _BAD = "#ccc", "#27c", "#c42"
_DOT = {"marker": "s", "s": 9, "linewidths": 0, "antialiased": False, "clip_on": False}


def draw(report: Report, search_range: int) -> np.ndarray:
  """Draws a pair as uint8 RGB [H, W, 3].

  Above: both views, with the same rows marked and the matches on them. Below: how far matches are
  off their row, from left to right; the disparities, with the candidates shaded. Under it the
  problems.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  lines = [plots.plain(line) for line in report.problems or ["nothing to report"]]
  words = [part for line in lines for part in textwrap.wrap(line, _LETTERS)]
  high = 60
  if report.views is not None:
    height, width = report.size
    high += round(height * min(1.0, _SIDE / width, _SIDE / height))
  with plots.style():
    size = (2 * _SIDE + 20, high + _PLOT + _LINE * (len(words) + 1))
    figure = Figure([pixels / 72 for pixels in size], dpi=72)
    (left, right), (offsets, disparities) = figure.subplots(2, 2, height_ratios=(high, _PLOT))
    _views(left, right, report)
    if report.matches is not None and len(report.matches) >= FEWEST:
      _offsets(offsets, report)
      _disparities(disparities, report, search_range)
    else:
      offsets.remove(), disparities.remove()
    place = {"x": 0.01, "ha": "left", "fontsize": 12}
    figure.suptitle(plots.plain(report.name), **place)
    figure.supxlabel("\n".join(words), color=_BAD if report.problems else "black", **place)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _views(left, right, report: Report) -> None:
  for axes in (left, right):
    axes.axis("off")
  if report.views is None:
    return
  mono, color = report.views
  side = "right view" if report.side == "right" else "left view, the pair mirrored"
  gray = np.repeat(cameras.luma(mono)[..., None], 3, axis=2)
  for axes, caption, view in ((left, f"monochrome ({side})", gray), (right, "colour", color)):
    height, width = view.shape[:2]
    axes.imshow(view, extent=(0, width, height, 0))
    axes.set_title(caption, loc="left", fontsize=12)
    axes.hlines(height * np.arange(1, 8) / 8, 0, width, color="#ff0", lw=0.8)
  if (found := report.matches) is not None:
    ink = np.where(np.abs(found.down) > MOST_VERTICAL, _BAD, "#00cc66")
    left.scatter(found.x, found.y, color=ink, **_DOT)
    right.scatter(found.x + found.right, found.y + found.down, color=ink, **_DOT)


def _offsets(axes, report: Report) -> None:
  """Plots the vertical offset of each match over its column; the robust plane in gray."""
  found = report.matches
  plane = vertical_offset(found)[1]
  reach = max(2.0, 1.25 * float(np.abs(plane).max()))
  axes.set_title(f"pixels below their row; most {report.vertical:+.2f}", loc="left", fontsize=12)
  ticks = (-MOST_VERTICAL, 0.0, MOST_VERTICAL)
  axes.set_yticks(ticks, [f"{tick:+.0f}" for tick in ticks])
  axes.grid(axis="y", color=_PALE)
  axes.scatter(found.x, plane, color="#999999", **_DOT)
  ink = np.where(np.abs(found.down) > MOST_VERTICAL, _BAD, _GOOD)
  axes.scatter(found.x, np.clip(found.down, -reach, reach), color=ink, **_DOT)
  axes.set_xlim(0, report.size[1])
  axes.set_ylim(reach, -reach)  # downwards is down, as in the views


def _disparities(axes, report: Report, search_range: int) -> None:
  """Plots a histogram of the matches' disparities; candidates shaded, the range known marked."""
  values = report.matches.right
  low = min(0.0, report.low, float(np.percentile(values, 1))) - 4
  high = max(search_range, report.high, float(np.percentile(values, 99))) + 4
  where = "file" if report.from_file else "matches"
  caption = f"disparity of matches; {where}: {report.low:.1f} to {report.high:.1f}"
  axes.set_title(caption, loc="left", fontsize=12)
  axes.axvspan(0, search_range - 1, color="#eef4ff")
  counts, edges = np.histogram(values, 60, (low, high))
  middle = (edges[:-1] + edges[1:]) / 2
  inside = (middle >= -0.5) & (middle <= search_range - 0.5)
  ink = np.where(inside, _GOOD, _BAD)
  axes.bar(middle, counts, width=0.85 * (edges[1] - edges[0]), color=ink)
  for edge in (report.low, report.high):
    axes.axvline(edge, color="#222", lw=1)
  axes.set_xticks((0, search_range - 1))
  axes.set_yticks(())
  axes.set_xlim(low, high)
