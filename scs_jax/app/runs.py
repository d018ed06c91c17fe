"""Training runs as the page shows them: how far they are, their curves, scores and panels."""

import base64
import html
import json
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from scs_jax.data import listing
from scs_jax.errors import UserError
from scs_jax.report import layout, pairs_layout, panels, plots
from scs_jax.training import logbook

_DEEP = 3  # folders below the one that is looked through
_MOST = 200  # runs
_SIDE = 1600  # pixels of a panel at most

Curves = Mapping[str, Sequence[tuple[int, float]]]


class Run(NamedTuple):
  """A run at one moment.

  Attributes:
    curves: of logbook.read_curves.
    method, steps, modes: of its config; "", 0 and none where there is none.
    age: seconds since its last line.
    panels: files, the newest first.
  """

  curves: Curves
  method: str
  steps: int
  modes: Sequence[str]
  age: float
  panels: list[pathlib.Path]


def find(root: str | os.PathLike[str]) -> list[str]:
  """Finds the runs below a folder, by their paths in it, those first that wrote a line last."""
  root, found = pathlib.Path(root).expanduser(), []
  for path, folders, names in os.walk(root):
    place = pathlib.Path(path).relative_to(root)
    if logbook.NAME in names:
      age = os.stat(os.path.join(path, logbook.NAME)).st_mtime
      found.append((-age, place.as_posix()))
    folders[:] = listing.entered(path, folders) if len(place.parts) < _DEEP else []
  return [name for _, name in sorted(found)[:_MOST]]


def read(root: str | os.PathLike[str], name: str) -> Run:
  """Reads a run.

  Args:
    root: as of `find`.
    name: what `find` called it.

  Raises:
    UserError: `find` finds no such run.
  """
  if name not in find(root):  # a page sends what it likes
    raise UserError(f"no run is called {name!r} below {root}; choose one of the list")
  folder = pathlib.Path(root).expanduser() / name
  method, steps, modes = "", 0, ()
  try:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    method, steps = str(config["method"]["name"]), int(config["steps"])
    modes = tuple(map(str, config["evaluate"]["modes"]))
  except (OSError, ValueError, KeyError, TypeError):
    pass  # a run that has just begun
  age = max(0.0, time.time() - (folder / logbook.NAME).stat().st_mtime)
  pictures = sorted((folder / "panels").glob("step_*.png"), reverse=True)
  return Run(logbook.read_curves(folder), method, steps, modes, age, pictures)


def stamp(root: str | os.PathLike[str], name: str) -> float:
  """Changes when the run writes."""
  folder = pathlib.Path(root).expanduser() / name
  places = (folder / logbook.NAME, folder / "panels")
  return sum(path.stat().st_mtime for path in places if path.exists())


def page(run: Run) -> str:
  """Writes a run as HTML: how far it is, scores, curves; a panel is apart, since it is large."""
  scores = [name for name in run.curves if name.partition("/")[0] in run.modes]
  losses = [name for name in run.curves if name.startswith("loss/")]
  parts = [f"<p>{html.escape(_progress(run))}</p>"]
  words = pairs_layout.PAIRS if {*run.modes} & {*pairs_layout.PAIRS.modes} else layout.PHOTOS
  headings = {column.metric: column.heading for column in words.columns}
  parts += _table(run.curves, scores, headings) + _meanings(scores, words)
  metrics = dict.fromkeys(name.rpartition("/")[2] for name in scores)
  shown = []
  for metric in metrics:
    of = {n.rpartition("/")[0]: run.curves[n] for n in scores if n.rpartition("/")[2] == metric}
    shown.append(plots.curves(of, headings.get(metric, metric)))
  shown += [plots.curves({"": run.curves[name]}, name) for name in losses]
  drawn = [_figure(plot) for plot in shown if plot is not None]
  if drawn:
    parts.append(f'<div class="curves">{"".join(drawn)}</div>')
  return "\n".join(parts)


def panel(path: pathlib.Path) -> str:
  """Writes one panel as HTML, the picture in it. Raises UserError where it cannot be read."""
  try:
    with Image.open(path) as image:
      pixels = np.asarray(image.convert("RGB"))
  except OSError as error:
    raise UserError(f"the panel {path.name} cannot be read ({error})") from error
  data = base64.b64encode(panels.jpeg(panels.reduced(pixels, _SIDE))).decode()
  label = f"held-out pictures at {step_of(path)}"
  picture = f'<img class="own-size" alt="{label}" src="data:image/jpeg;base64,{data}">'
  return f'<div class="wide">{picture}</div>'


def step_of(path: pathlib.Path) -> str:
  """A panel's step, as "step 1200"."""
  return f"step {int(path.stem.removeprefix('step_'))}"


def _progress(run: Run) -> str:
  steps = [step for points in run.curves.values() for step, _ in points]
  how_far = f"step {max(steps):,}" if steps else "no line yet"
  how_far += f" of {run.steps:,}" if steps and run.steps else ""
  speed = run.curves.get("images_per_second")
  speed = f", {speed[-1][1]:.3g} pictures a second" if speed else ""
  return f"{run.method or 'a run'}: {how_far}{speed}; last line {_ago(run.age)}"


def _ago(seconds: float) -> str:
  for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
    if seconds >= 2 * size:
      return f"{seconds / size:.0f} {unit} ago"
  return f"{seconds:.0f} seconds ago"


def _table(curves: Curves, scores: Sequence[str], headings: Mapping[str, str]) -> list[str]:
  """The held-out scores as last measured: a row a metric, a column a mode."""
  if not scores:
    return ["<p>No held-out scores yet.</p>"]
  modes = list(dict.fromkeys(name.rpartition("/")[0] for name in scores))
  metrics = list(dict.fromkeys(name.rpartition("/")[2] for name in scores))
  cell = lambda points: f"<td>{points[-1][1]:.4g}</td>" if points else "<td></td>"
  rows = [
    f"<tr><th>{html.escape(headings.get(metric, metric))}</th>"
    + "".join(cell(curves.get(f"{mode}/{metric}", ())) for mode in modes)
    + "</tr>"
    for metric in metrics
  ]
  head = "".join(f"<th>{html.escape(mode)}</th>" for mode in modes)
  step = max(curves[name][-1][0] for name in scores)
  caption = f"<caption>Held-out scores at step {step:,}</caption>"
  table = f"<table>{caption}<tr><th></th>{head}</tr>{''.join(rows)}</table>"
  return [f'<div class="wide">{table}</div>']


def _meanings(scores: Sequence[str], words: layout.Layout) -> list[str]:
  """Explains the scores that a table has, folded away."""
  metrics = {name.rpartition("/")[2] for name in scores}
  told = [f"{head}: {text}" for head, (metric, text) in words.legend.items() if metric in metrics]
  items = "".join(f"<li>{html.escape(one)}</li>" for one in told)
  fold = f"<details><summary>What the scores mean</summary><ul>{items}</ul></details>"
  return [fold] if told else []


def _figure(plot: plots.Plot) -> str:
  key = "".join(
    f'<span><b style="color:{color}">&#9632;</b> {html.escape(name)}</span> '
    for name, color in plot.colors.items()
  )
  return f"<figure><figcaption>{html.escape(plot.label)} {key}</figcaption>{plot.svg}</figure>"
