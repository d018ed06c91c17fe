"""An ablation as one HTML file: the table, learning curves, pictures, and what each row is."""

import html
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from scs_jax.core.ablations import Table
from scs_jax.core.ablations_result import RowResult
from scs_jax.report import ablations_table, pages
from scs_jax.report.pages import read_curve

# Told apart on white, also by most who do not see red and green alike (after Okabe and Ito).
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8c564b",
           "#7f7f7f", "#6a3d9a", "#b2b200")  # fmt: skip


# The first column stays in sight where the table is wider than the screen; on phones panels scroll.
_STYLE = """<style>
p,li{overflow-wrap:anywhere}
th:first-child,td:first-child{position:sticky;left:0;background:#fff;z-index:1}
td:first-child{box-shadow:inset 0 -1px #ddd}
%s{color:#666;font-style:italic}
@media(max-width:600px){body{margin:1rem auto}th,td{padding:.25rem .4rem}
th:first-child,td:first-child{max-width:38vw;white-space:normal;overflow-wrap:anywhere;
min-width:6rem}
.panel{overflow-x:auto}.panel img{max-width:none}}
</style>"""


def page(
  title: str,
  table: Table,
  results: Mapping[str, RowResult | None],
  cells: ablations_table.Cells,
  notes: Sequence[str],
  folders: Mapping[str, pathlib.Path],
) -> bytes:
  """The page; `folders`: of the rows' runs."""
  items = lambda texts: "<ul>" + "".join(f"<li>{html.escape(t)}</li>" for t in texts) + "</ul>"
  rows = ablations_table.lines(table, results, cells)
  head = ablations_table.header(table)
  sections = [_style(head), pages.table(head, rows), items(notes)]
  curves = [curve for metric in table.curves if (curve := _curve(metric, folders))]
  if curves:
    sections += ["<h2>Learning curves</h2>", *curves]
  sections.append("<h2>Rows</h2>")
  for row in table.rows:
    sections.append(_row(row, results.get(row.name), folders[row.name]))
  return pages.page(title, sections)


def _style(head: Sequence[str]) -> str:
  """The paper's figures, and their differences to the base row, are set apart from ours."""
  theirs = [i for i, text in enumerate(head, 1) if text.endswith(", paper")]
  cells = ",".join(f"td:nth-child({i}),td:nth-child({i + 1})" for i in theirs)
  return _STYLE % (cells or "td.paper")


def _row(row, result: RowResult | None, folder: pathlib.Path) -> str:
  changes = [f"{key} = {value!r}" for key, value in row.overlay.items()] or ["the config itself"]
  parts = [f"<h3>{html.escape(row.name)}</h3><p>"]
  parts.append(", ".join(f"<code>{html.escape(change)}</code>" for change in changes) + "</p>")
  if note := row.note:
    parts.append(f"<p>{html.escape(note)}</p>")
  if result is None:
    return "".join([*parts, "<p>not trained yet</p>"])
  if result.status == "failed":
    parts.append(f"<p><b>Failed:</b> {html.escape(result.reason)}</p>")
  panels = sorted((folder / "panels").glob("step_*.png"))
  if panels:
    with Image.open(panels[-1]) as image:
      picture = np.asarray(image.convert("RGB"))
    step = int(panels[-1].stem.rpartition("_")[2])
    shown = pages.figure(picture, f"{row.name}: held-out pictures, step {step}")
    parts.append(f'<div class="panel">{shown}</div>')
  return "".join(parts)


def _curve(metric: str, folders: Mapping[str, pathlib.Path]) -> str:
  lines = {}
  for name, folder in folders.items():
    if (folder / "metrics.jsonl").exists():
      lines[name] = read_curve(folder, metric)
  label = f"{metric} (of training crops)" if metric.startswith("loss/") else f"{metric}, held-out"
  return curves(lines, label)


def curves(values: Mapping[str, Sequence[tuple[int, float]]], label: str) -> str:
  """Lines of (step, value) on common axes as inline SVG, named below; those of one point are left
  out. Empty where there is none."""
  values = {name: points for name, points in values.items() if len(points) > 1}
  if not values:
    return ""
  steps, heights = np.concatenate([np.array(points, float) for points in values.values()]).T
  low, high, first, last = heights.min(), heights.max(), steps.min(), steps.max()
  parts = []
  for i, points in enumerate(values.values()):
    x, y = np.array(points, float).T
    x = 64 + 406 * (x - first) / max(last - first, 1)
    y = 220 - 196 * (y - low) / max(high - low, 1e-12)
    drawn = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    color = _COLORS[i % len(_COLORS)]
    parts.append(f'<polyline fill="none" stroke="{color}" stroke-width="1.5" points="{drawn}"/>')
  text = html.escape(label)
  names = " ".join(
    '<span style="white-space:nowrap"><span style="color:'
    f'{_COLORS[i % len(_COLORS)]}">&#9632;</span> {html.escape(name)}&emsp;</span>'
    for i, name in enumerate(values)
  )
  return (
    # So narrow that its texts can be read on a phone.
    f'<figure><svg viewBox="0 0 480 248" width="480" style="max-width:100%" role="img" '
    f'aria-label="{text}"><path d="M64 20V224H470" fill="none" stroke="#bbb"/>{"".join(parts)}'
    f'<g font-size="13" fill="#555"><text x="58" y="28" text-anchor="end">{high:.4g}</text>'
    f'<text x="58" y="224" text-anchor="end">{low:.4g}</text>'
    f'<text x="64" y="242">step {first:.0f}</text>'
    f'<text x="470" y="242" text-anchor="end">{last:.0f}</text></g></svg>'
    f"<figcaption>{text}<br>{names}</figcaption></figure>"
  )
