"""The comparison's report: one HTML file that opens offline, on a phone as well."""

import html
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scs_jax.metrics.estimates import Scores, Summary
from scs_jax.report import compare_render, evaluation_page, pages
from scs_jax.report.compare_tables import Table
from scs_jax.report.layout import Layout

_STYLE = """<style>
p,li,dd{overflow-wrap:anywhere}
th{position:relative}
thead th,table>tbody>tr:first-child:not(.part)>th{cursor:pointer;vertical-align:bottom}
th[aria-sort]:after{content:" \\25B2";font-size:.7em}
th[aria-sort=descending]:after{content:" \\25BC"}
th:focus-visible{outline:2px solid #27c}
th:first-child,td:first-child{position:sticky;left:0;background:#fff;z-index:1}
td:first-child{box-shadow:inset 0 -1px #ddd}
tr.part th{text-align:left;background:#f3f3f3;max-width:none}
tr.part th span{position:sticky;left:.7rem}
tr.paper td{color:#666;font-style:italic}
p.note{font-size:.85rem;color:#555;margin:.2rem 0}
figure.plot svg{max-width:100%;height:auto}
ol.key{columns:22rem;font-size:.9rem}
.strip figure{flex:0 0 8.4rem}
@media(max-width:600px){body{margin:1rem auto}th,td{padding:.25rem .4rem}
th:first-child,td:first-child{max-width:38vw;white-space:normal;overflow-wrap:anywhere;
min-width:7rem}tr.part th:first-child{max-width:none;white-space:nowrap}
.strip figure{flex:0 0 calc(50% - .25rem)}}
</style>"""

# Rows of one tbody change places, its headings stay; numbers first, by value, then texts.
_SCRIPT = """<script>
"use strict";
for (const table of document.querySelectorAll("table")) {
  const head = table.rows[0];
  if (!head || head.querySelector("td") || head.cells.length < 3) continue;
  [...head.cells].forEach((cell, column) => {
    cell.tabIndex = 0;
    cell.title = "sort";
    const sort = () => {
      const down = cell.getAttribute("aria-sort") !== "descending" && column > 0;
      const up = column === 0 && cell.getAttribute("aria-sort") !== "ascending";
      for (const other of head.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down || (column === 0 && !up) ? "descending" : "ascending");
      const sign = cell.getAttribute("aria-sort") === "descending" ? -1 : 1;
      for (const body of table.tBodies) {
        const rows = [...body.rows].filter(row => row.cells[0].tagName === "TD");
        const key = row => parseFloat((row.cells[column] || {}).textContent);
        const text = row => row.cells[column] ? row.cells[column].textContent : "";
        rows.sort((a, b) => {
          if (column === 0) return sign * text(a).localeCompare(text(b));
          const x = key(a), y = key(b);
          if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
          return sign * (x - y);
        });
        rows.forEach(row => body.append(row));
      }
    };
    cell.addEventListener("click", sort);
    cell.addEventListener("keydown", event => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
    });
  });
}
</script>"""


class Dot(NamedTuple):
  """A method in the scatter: pictures a second, quality, parameters (None: not known)."""

  name: str
  fps: float
  quality: float
  parameters: int | None


class Section(NamedTuple):
  """A data set on the page.

  Attributes:
    heading, about: plain text.
    scores, summary: by mode.
    panels: as of evaluation_page.
    plots: [(dots, label of the upward axis)].
    aside: rows that are never marked as the best.
  """

  heading: str
  about: Sequence[str]
  scores: Scores
  summary: Summary
  panels: evaluation_page.Panels
  plots: Sequence[tuple[Sequence[Dot], str]]
  aside: Sequence[str] = ()


def page(
  title: str,
  about: Sequence[str],
  notes: Sequence[str],
  tables: Sequence[Table],
  sections: Sequence[Section],
  layout: Layout,
  words: Mapping[str, str],
  record: Mapping,
) -> bytes:
  """The HTML file; words: {heading: what it means} for the legend besides the layout's."""
  esc = html.escape
  parts = [_STYLE, *(f"<p>{esc(text)}</p>" for text in about)]
  if notes:
    parts.append("<ul>" + "".join(f"<li>{esc(note)}</li>" for note in notes) + "</ul>")
  parts.append("<p>A click on a column's heading sorts by it.</p>")
  parts += [compare_render.to_html(table) for table in tables]
  for section in sections:
    parts.append(f"<h2>{esc(section.heading)}</h2>")
    parts += [f"<p>{esc(text)}</p>" for text in section.about]
    parts += [scatter(dots, label) for dots, label in section.plots]
    parts += _modes(section, layout)
  real = any("real" in by for s in sections for by in s.summary.of.values())
  parts.append(evaluation_page.legend(layout, real))
  parts.append("<dl>" + "".join(f"<dt>{esc(k)}</dt><dd>{esc(v)}</dd>" for k, v in words.items()))
  parts += ["</dl>", evaluation_page.record_table(record), _SCRIPT]
  return pages.page(title, parts)


def _modes(section: Section, layout: Layout) -> list[str]:
  parts = []
  for mode, by in section.summary.of.items():
    if mode not in layout.modes:
      continue
    n = len(section.scores.records[mode])
    aside = (*section.scores.aside(mode), *section.aside)
    parts.append(f"<h3>{html.escape(layout.modes[mode])}</h3>")
    parts.append(evaluation_page.means_table(by, n, layout, aside))
    differences = section.summary.differences[mode]
    parts.append(evaluation_page.differences_table(differences, next(iter(by)), layout.compared))
    for kind, pictures in section.panels.get(mode, ()):
      parts.append(f"<h4>{html.escape(kind)}</h4>")
      parts += [f"<p>{html.escape(h)}</p>{pages.strip(images)}" for h, images in pictures]
  return parts


_COLORS = ("#2277cc", "#cc5522", "#228855", "#884499", "#aa8800", "#555555", "#cc3377", "#117788")


def scatter(dots: Sequence[Dot], label: str) -> str:
  """Quality upwards against pictures a second to the right (logarithmic), areas as parameters.

  Inline SVG with a numbered key, since names beside dots would overlap; empty without two dots.
  """
  dots = [dot for dot in dots if math.isfinite(dot.quality) and dot.fps > 0]
  if len(dots) < 2:
    return ""
  left, right, top, bottom = 56, 470, 24, 290  # so narrow that its texts can be read on a phone
  logs = [math.log10(dot.fps) for dot in dots]
  low, high = _wider(logs, 0.1)
  floor, ceiling = _wider([dot.quality for dot in dots], 0.1)
  most = max((dot.parameters or 0) for dot in dots) or 1
  place = lambda x: left + (right - left) * (x - low) / (high - low)
  height = lambda y: bottom - (bottom - top) * (y - floor) / (ceiling - floor)
  marks = [
    f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#888"/>',
    *(_tick_x(place(math.log10(t)), bottom, f"{t:g}") for t in _decades(low, high)),
    *(_tick_y(left, height(t), f"{t:.4g}") for t in _ticks(floor, ceiling)),
  ]
  order = sorted(range(len(dots)), key=lambda i: -(dots[i].parameters or 0))  # small ones on top
  for i in order:
    dot, x, y = dots[i], place(logs[i]), height(dots[i].quality)
    radius = 9 + 21 * math.sqrt((dot.parameters or 0) / most)
    shade = _COLORS[i % len(_COLORS)]
    marks.append(
      f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{shade}" fill-opacity=".45" '
      f'stroke="{shade}"><title>{html.escape(_told(dot))}</title></circle>'
      f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle">{i + 1}</text>'
    )
  text = html.escape(label)
  key = "".join(f"<li>{html.escape(_told(dot))}</li>" for dot in dots)
  return (
    f'<figure class="plot"><svg viewBox="0 0 480 335" width="480" role="img" aria-label="{text}">'
    f'<g font-size="13" fill="#222">{"".join(marks)}'
    f'<text x="{left}" y="14">{text}</text>'
    f'<text x="{right}" y="328" text-anchor="end">pictures a second, batch 1</text></g></svg>'
    f'<figcaption>{text}; areas grow with the parameters<ol class="key">{key}</ol></figcaption>'
    "</figure>"
  )


def _told(dot: Dot) -> str:
  weight = "" if dot.parameters is None else f", {dot.parameters / 1e6:.3g} M"
  return f"{dot.name}: {dot.quality:.3f}, {dot.fps:.3g} a second{weight}"


def _wider(values: Sequence[float], share: float) -> tuple[float, float]:
  low, high = min(values), max(values)
  gap = max(high - low, 0.02 * abs(high), 0.05) * (share + 0.05)
  return low - gap, high + gap


def _decades(low: float, high: float) -> list[float]:
  steps = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
  found = [t for t in steps if low <= math.log10(t) <= high]
  return found if len(found) <= 8 else [t for t in found if f"{t:e}"[0] == "1"]


def _ticks(low: float, high: float) -> list[float]:
  step = 10.0 ** math.floor(math.log10(high - low))
  step = next(s for s in (step / 5, step / 2, step, 2 * step) if (high - low) / s <= 7)
  return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _tick_x(x: float, y: float, text: str) -> str:
  return (
    f'<path d="M{x:.1f} {y}v5" stroke="#888"/>'
    f'<text x="{x:.1f}" y="{y + 18}" text-anchor="middle">{text}</text>'
  )


def _tick_y(x: float, y: float, text: str) -> str:
  return (
    f'<path d="M{x} {y:.1f}h-5" stroke="#888"/>'
    f'<text x="{x - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
  )
