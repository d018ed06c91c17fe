"""A report that opens offline: tables, pictures and plots in one HTML file."""

import base64
import html
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scs_jax.report import panels

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1200px;padding:0 1rem;
color:#222;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;margin:.5rem 0;display:block;overflow-x:auto}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
td.best{font-weight:700}
img{max-width:100%;height:auto}figure{margin:1rem 0}figcaption{color:#555}
code{background:#f3f3f3;padding:.1rem .3rem}
.strip{display:flex;flex-wrap:wrap;gap:.5rem;margin:.3rem 0 1.2rem}
.strip figure{margin:0;flex:1 1 8rem;max-width:16rem}
.strip img{width:100%}.strip img.raw{image-rendering:pixelated}
.strip figcaption{font-size:.8rem;overflow-wrap:anywhere}
dt{font-weight:600;margin-top:.6rem}dd{margin:0 0 0 1rem}
"""


def figure(image: np.ndarray, caption: str) -> str:
  """HTML of one picture, embedded, so that the report needs no other file."""
  data = base64.b64encode(panels.png(image)).decode()
  text = html.escape(caption)
  return (
    f'<figure><img alt="{text}" src="data:image/png;base64,{data}">'
    f"<figcaption>{text}</figcaption></figure>"
  )


class Cell(NamedTuple):
  """A number in a table that is shown in words of its own, such as with an interval."""

  value: float
  text: str


def table(
  header: Sequence[str],
  rows: Sequence[Sequence],
  best: Sequence[int] = (),
  least: Sequence[int] = (),
) -> str:
  """HTML table; numbers get two decimals.

  Args:
    header: column names.
    rows: cells; strings, numbers or Cells.
    best: columns in which the largest number of the table is set in bold.
    least: columns in which the smallest is.
  """

  def text(cell) -> str:
    shown = cell.text if isinstance(cell, Cell) else cell
    return f"{shown:.2f}" if isinstance(shown, float) else html.escape(str(shown))

  def number(cell) -> float | None:
    cell = cell.value if isinstance(cell, Cell) else cell
    return cell if isinstance(cell, float) and not math.isnan(cell) else None

  top = {}
  for column in (*best, *least):
    numbers = [n for row in rows if (n := number(row[column])) is not None]
    choose = max if column in best else min
    top[column] = choose(numbers) if numbers else None
  lines = ["<table><tr>" + "".join(f"<th>{html.escape(h)}</th>" for h in header) + "</tr>"]
  for row in rows:
    cells = []
    for i, cell in enumerate(row):
      wins = top.get(i) is not None and number(cell) == top[i]
      mark = ' class="best"' if wins else ""
      cells.append(f"<td{mark}>{text(cell)}</td>")
    lines.append("<tr>" + "".join(cells) + "</tr>")
  return "\n".join(lines) + "</table>"


def strip(pictures: Sequence[tuple[str, np.ndarray]]) -> str:
  """HTML of captioned pictures side by side, under each other on a narrow screen.

  Embedded as JPEG; those smaller than the last are enlarged by showing their pixels.
  """
  parts = ['<div class="strip">']
  for caption, image in pictures:
    data = base64.b64encode(panels.jpeg(image)).decode()
    text = html.escape(caption)
    raw = ' class="raw"' if image.shape[0] < pictures[-1][1].shape[0] else ""
    parts.append(
      f'<figure><img{raw} alt="{text}" src="data:image/jpeg;base64,{data}">'
      f"<figcaption>{text}</figcaption></figure>"
    )
  return "".join(parts) + "</div>"


def histograms(values: Mapping[str, np.ndarray], label: str, bins: int = 40) -> str:
  """Histograms above each other on one axis, as inline SVG; what is not finite is left out.

  A tick below each row marks its mean. Empty where no value is finite.
  """
  finite = {name: np.asarray(v, float)[np.isfinite(v)] for name, v in values.items()}
  every = np.concatenate(list(finite.values()))
  if not len(every):
    return ""
  low, high = float(every.min()), float(every.max())
  high = max(high, low + 1e-9)
  counts = {n: np.histogram(v, bins, (low, high))[0] for n, v in finite.items()}
  most = max(1, *(int(c.max()) for c in counts.values()))
  row, left, width = 46, 110, 480
  parts = []
  for k, (name, count) in enumerate(counts.items()):
    base = 40 + k * row
    step = width / bins
    bars = "".join(
      f"M{left + i * step:.1f} {base}v{-34 * c / most:.1f}h{step - 1:.1f}V{base}z"
      for i, c in enumerate(count)
      if c
    )
    parts.append(f'<text x="2" y="{base}">{html.escape(name)}</text>')
    parts.append(f'<path fill="#27c" d="{bars}"/>')
    if len(finite[name]):
      x = left + width * (finite[name].mean() - low) / (high - low)
      parts.append(f'<path stroke="#c42" stroke-width="2" d="M{x:.1f} {base + 1}v7"/>')
  bottom = 40 + len(counts) * row - 18
  text = html.escape(label)
  return (
    f'<figure><svg viewBox="0 0 600 {bottom + 8}" width="600" style="max-width:100%" role="img" '
    f'aria-label="{text}"><g font-size="11" fill="#333">{"".join(parts)}'
    f'<text x="{left}" y="{bottom}">{low:.1f}</text>'
    f'<text x="{left + width - 24}" y="{bottom}">{high:.1f}</text></g></svg>'
    f"<figcaption>{text}</figcaption></figure>"
  )


def curve(values: Sequence[tuple[int, float]], label: str) -> str:
  """A line plot of (step, value) as inline SVG."""
  if len(values) < 2:
    return ""
  steps, heights = np.array(values, float).T
  x = 50 + 540 * (steps - steps[0]) / max(steps[-1] - steps[0], 1)
  low, high = heights.min(), heights.max()
  y = 170 - 150 * (heights - low) / max(high - low, 1e-12)
  points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
  text = html.escape(label)
  return (
    f'<figure><svg viewBox="0 0 600 200" width="600" role="img" aria-label="{text}">'
    f'<polyline fill="none" stroke="#27c" stroke-width="1.5" points="{points}"/>'
    f'<g font-size="11" fill="#555"><text x="2" y="24">{high:.3g}</text>'
    f'<text x="2" y="174">{low:.3g}</text><text x="50" y="192">step {steps[0]:.0f}</text>'
    f'<text x="540" y="192">{steps[-1]:.0f}</text></g></svg>'
    f"<figcaption>{text}</figcaption></figure>"
  )


def read_curve(workdir, name: str) -> list[tuple[int, float]]:
  """(step, value) of one metric from a run's metrics.jsonl, in order."""
  path = pathlib.Path(workdir) / "metrics.jsonl"
  lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
  return [(line["step"], line[name]) for line in lines if line.get(name) is not None]


def page(title: str, sections: Sequence[str]) -> bytes:
  """One HTML file with everything inside."""
  body = "\n".join(sections)
  return (
    f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
    f'<meta name="viewport" content="width=device-width, initial-scale=1">'
    f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
    f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>"
  ).encode("utf-8", "backslashreplace")  # file names may hold any bytes
