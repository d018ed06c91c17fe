"""Tables of a comparison as HTML and as Markdown."""

import html

from scs_jax.report.compare_tables import Table


def to_html(table: Table) -> str:
  """Scrolls on its own where it is wider than the screen; each part is sorted by itself."""
  esc = html.escape
  lines = [f"<h2>{esc(table.title)}</h2><table>"]
  header = "".join(f"<th>{esc(h)}</th>" for h in table.header)
  lines.append(f"<thead><tr>{header}</tr></thead>")
  for heading, rows in table.parts:
    lines.append("<tbody>")
    if heading:
      span = len(table.header)
      lines.append(f'<tr class="part"><th colspan="{span}"><span>{esc(heading)}</span></th></tr>')
    for row in rows:
      mark = ' class="paper"' if row.paper else ""
      cells = "".join(
        f'<td{" class=best" if i in row.best else ""}>{esc(cell)}</td>'
        for i, cell in enumerate(row.cells)
      )
      lines.append(f"<tr{mark}>{cells}</tr>")
    lines.append("</tbody>")
  lines.append("</table>")
  lines += [f'<p class="note">{esc(note)}</p>' for note in table.notes]
  return "\n".join(lines)


def to_markdown(table: Table) -> str:
  """As GitHub has tables; its parts are headed by a line of their own."""
  plain = lambda text: text.replace("|", "\\|")
  line = lambda cells: f"| {' | '.join(map(plain, cells))} |"
  rest = [""] * (len(table.header) - 1)
  lines = [f"## {table.title}", "", line(table.header), line(["---"] * len(table.header))]
  for heading, rows in table.parts:
    if heading:
      lines.append(line([f"**{heading}**", *rest]))
    for row in rows:
      lines.append(line([f"**{c}**" if i in row.best else c for i, c in enumerate(row.cells)]))
  return "\n".join([*lines, "", *(f"- {note}" for note in table.notes)]) + "\n"
