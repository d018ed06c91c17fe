"""An ablation as one HTML file: the table, learning curves, pictures, and what each row is."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from scs_jax.core.ablations import Table
from scs_jax.core.ablations_result import RowResult
from scs_jax.report import ablations_table, pages, plots
from scs_jax.report.plots import Plot


def page(
  title: str,
  table: Table,
  results: Mapping[str, RowResult | None],
  cells: ablations_table.Cells,
  notes: Sequence[str],
  folders: Mapping[str, pathlib.Path],
) -> bytes:
  """Makes the page; `folders`: of the rows' runs."""
  drawn = (_curves(metric, folders) for metric in table.curves)
  rows = [_row(row, results.get(row.name), folders[row.name]) for row in table.rows]
  return pages.render(
    "ablation", title=title, table=ablations_table.shown(table, results, cells), notes=notes,
    curves=[plot for plot in drawn if plot], rows=rows,
  )  # fmt: skip


def _row(row, result: RowResult | None, folder: pathlib.Path) -> dict:
  found = sorted((folder / "panels").glob("step_*.png")) if result else []
  panel, step = None, 0
  if found:
    with Image.open(found[-1]) as image:
      panel = np.asarray(image.convert("RGB"))
    step = int(found[-1].stem.rpartition("_")[2])
  return {
    "name": row.name,
    "changes": [f"{key} = {value!r}" for key, value in row.overlay.items()],
    "note": row.note,
    "status": result.status if result else None,
    "reason": result.reason if result else "",
    "panel": panel,
    "step": step,
  }


def _curves(metric: str, folders: Mapping[str, pathlib.Path]) -> Plot | None:
  lines = {
    name: plots.read_curve(folder, metric)
    for name, folder in folders.items()
    if (folder / "metrics.jsonl").exists()
  }
  label = f"{metric} (of training crops)" if metric.startswith("loss/") else f"{metric}, held-out"
  return plots.curves(lines, label)
