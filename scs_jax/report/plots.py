"""Plots of a page, drawn by matplotlib as SVG: histograms, learning curves, quality and speed."""

import contextlib
import html
import io
import json
import math
import pathlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from scs_jax.report import tables

# Told apart on white, also by most who do not see red and green alike (after Okabe and Ito).
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b",
           "#7f7f7f", "#6a3d9a", "#b2b200")  # fmt: skip
_WIDTH = 480  # pixels: so narrow that its texts can be read on a phone
_STYLE = {
  "font.family": ["DejaVu Sans"],  # what comes with matplotlib: texts have one size everywhere
  "font.size": 12,
  "text.parse_math": False,  # names may hold any signs
  "svg.fonttype": "none",
  "axes.spines.top": False,
  "axes.spines.right": False,
  "axes.edgecolor": "#888",
  "axes.formatter.useoffset": False,  # 38.604, not 0.004 beside "+3.86e1"
  "figure.constrained_layout.use": True,
}
_WHOLE = {"clip_on": False}  # a page's plots would share the names of what clips


class Plot(NamedTuple):
  """Holds a plot.

  Attributes:
    svg: its picture, as HTML.
    label: what it shows.
    colors: {name: colour} of its lines.
    numbered: what the numbers in it stand for, from 1 on.
  """

  svg: str
  label: str
  colors: Mapping[str, str] = {}
  numbered: Sequence[str] = ()


class Dot(NamedTuple):
  """Holds a method of the scatter: pictures a second, quality, parameters (None: not known)."""

  name: str
  fps: float
  quality: float
  parameters: int | None


def histograms(values: Mapping[str, np.ndarray], label: str, bins: int = 40) -> Plot | None:
  """Draws histograms above each other on one axis; what is not finite is left out.

  A tick below each marks its mean. None where no value is finite.
  """
  finite = {name: np.asarray(v, float)[np.isfinite(v)] for name, v in values.items()}
  if not any(map(len, finite.values())):
    return None
  every = np.concatenate(list(finite.values()))
  ends = float(every.min()), float(every.max())
  if ends[1] - ends[0] < 1e-6:  # one value: its bar stands in the middle
    ends = ends[0] - 0.5, ends[0] + 0.5
  counts = [np.histogram(v, bins, ends) for v in finite.values()]
  most = max(count.max() for count, _ in counts)

  def paint(axes) -> None:
    for i, ((count, edges), numbers) in enumerate(zip(counts, finite.values(), strict=True)):
      bars = i - 0.75 * count / most
      axes.stairs(bars, edges, baseline=i, fill=True, color="#27c", gid=f"bars{i}", **_WHOLE)
      if len(numbers):
        mean = [numbers.mean()] * 2
        axes.plot(mean, [i + 0.02, i + 0.18], color="#c42", lw=2, gid=f"mean{i}", **_WHOLE)
    axes.set_yticks(range(len(finite)), [plain(name) for name in finite])
    axes.set_ylim(len(finite) - 0.7, -0.85)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)

  return Plot(_draw(label, 40 + 44 * len(finite), paint), label)


def curves(values: Mapping[str, Sequence[tuple[int, float]]], label: str) -> Plot | None:
  """Draws lines of (step, value) on common axes; those of one finite value are left out.

  None where there is no other. Colours tell them apart; one named "" needs none.
  """
  finite = lambda points: sum(math.isfinite(value) for _, value in points)
  values = {name: points for name, points in values.items() if finite(points) > 1}
  if not values:
    return None
  colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(values)}

  def paint(axes) -> None:
    for name, points in values.items():
      axes.plot(*np.array(points, float).T, color=colors[name], lw=1.5, gid="curve", **_WHOLE)
    axes.locator_params("x", integer=True)
    axes.set_xlabel("step")

  return Plot(_draw(label, 250, paint), label, {n: c for n, c in colors.items() if n})


def scatter(dots: Sequence[Dot], label: str) -> Plot | None:
  """Draws quality upwards, pictures a second to the right (logarithmic), areas as parameters.

  Numbered, since names beside dots would overlap; None without two dots.
  """
  dots = [dot for dot in dots if math.isfinite(dot.quality) and 0 < dot.fps < math.inf]
  if len(dots) < 2:
    return None
  most = max((dot.parameters or 0) for dot in dots) or 1
  size = lambda dot: 9 + 21 * math.sqrt((dot.parameters or 0) / most)
  names = [_describe(dot) for dot in dots]

  def paint(axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    order = sorted(range(len(dots)), key=lambda i: -(dots[i].parameters or 0))  # small ones on top
    for i in order:
      dot, color = dots[i], _COLORS[i % len(_COLORS)]
      look = {"ms": 2 * size(dot), "mec": color, "mfc": (color, 0.45)}
      axes.plot(dot.fps, dot.quality, "o", gid=f"dot{i + 1}", **look, **_WHOLE)
      axes.annotate(str(i + 1), (dot.fps, dot.quality), ha="center", va="center")
    axes.set_xscale("log")
    decades = math.log10(max(d.fps for d in dots) / min(d.fps for d in dots))
    near = 0 < decades < 0.7  # 1, 2 and 5 of a decade may all lie outside
    powers = LogLocator(subs=(1, 2, 5) if decades < 2 else (1,))
    axes.xaxis.set_major_locator(MaxNLocator(5) if near else powers)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(0.15)
    axes.set_xlabel("pictures a second, batch 1", loc="right")
    axes.set_title(plain(label), loc="left", fontsize=12)

  svg = _draw(label, 335, paint, {f"dot{i}": name for i, name in enumerate(names, 1)})
  return Plot(svg, f"{label}; areas grow with the parameters", numbered=names)


def _describe(dot: Dot) -> str:
  weight = "" if dot.parameters is None else f", {dot.parameters / 1e6:.3g} M"
  return f"{dot.name}: {dot.quality:.3f}, {tables.rate(dot.fps)} a second{weight}"


def _draw(
  label: str, height: int, paint: Callable[[Any], None], titles: Mapping[str, str] = {}
) -> str:
  """Draws on axes and returns SVG that can stand in a page.

  Args:
    label: for those who do not see the picture.
    height: pixels.
    paint: gets the axes.
    titles: {gid: what is shown where a mouse points at it}.
  """
  from matplotlib.figure import Figure

  out = io.StringIO()
  with style({"svg.hashsalt": plain(label)}):
    figure = Figure((_WIDTH / 72, height / 72))
    paint(figure.add_subplot())
    figure.savefig(out, format="svg", transparent=True)
  # What a page does not want of a file: its head, its metadata (with a date), a style for all.
  text = out.getvalue()
  text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
  text = text[text.index(">", text.index("<svg")) + 1 :].strip()
  text = text.replace('<g id="', '<g class="')  # a page may have several
  for gid, words in titles.items():
    group = f'<g class="{gid}">'
    text = text.replace(group, f"{group}<title>{html.escape(words)}</title>")
  size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
  return f'<svg {size} role="img" aria-label="{html.escape(label)}">\n{text}'


@contextlib.contextmanager
def style(more: Mapping[str, Any] = {}) -> Iterator[None]:
  """Sets matplotlib up for as long as it draws; imported late, as it takes half a second."""
  import matplotlib

  with matplotlib.rc_context({**_STYLE, **more}), warnings.catch_warnings():
    warnings.simplefilter("ignore")  # letters that its font lacks: a browser has another one
    yield


def plain(text: str) -> str:
  """Writes out what is no letter: matplotlib takes Unicode alone."""
  return text.encode("utf-8", "backslashreplace").decode()


def read_curve(workdir, name: str) -> list[tuple[int, float]]:
  """Reads (step, value) of one metric from a run's metrics.jsonl, in order."""
  path = pathlib.Path(workdir) / "metrics.jsonl"
  lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
  return [(line["step"], line[name]) for line in lines if line.get(name) is not None]
