"""Writes an evaluation: JSON, CSV, tables on the screen, and what identifies it."""

import csv
import importlib.metadata
import io
import json
import math
import platform
from collections.abc import Collection, Mapping

import jax

import scs_jax
from scs_jax.metrics.estimates import REAL, Estimate, Rows, Scores, Summary, best_of, interval_of
from scs_jax.report.layout import PHOTOS, Layout


def dump(record: Mapping) -> bytes:
  """Writes a record as a JSON file."""
  return (json.dumps(record, indent=2, allow_nan=False) + "\n").encode()


def summary_record(summary: Summary) -> dict:
  """Turns all estimates into what JSON knows; NaN becomes null."""
  number = lambda x: x if math.isfinite(x) else None

  def written(estimate: Estimate) -> dict:
    interval = [number(estimate.low), number(estimate.high)]
    entry = {"mean": number(estimate.mean), "interval": None if None in interval else interval}
    entry["n"] = estimate.n
    return entry | ({"infinite": estimate.infinite} if estimate.infinite else {})

  return {
    name: {
      mode: {p: {metric: written(e) for metric, e in rows.items()} for p, rows in by.items()}
      for mode, by in part.items()
    }
    for name, part in (("results", summary.of), ("differences", summary.differences))
  }


CSV_START = ("picture", "mode", "predictor", "reference", "gray")


def to_csv(scores: Scores, name, reference) -> bytes:
  """Writes a line a picture, mode and predictor: names, whether it is gray, all scores in full.

  Args:
    name: number of a picture -> its name.
    reference: (mode, number) -> the name of its reference, or "".
  """
  columns = next(iter(next(iter(scores.of.values())).values()))
  text = io.StringIO()
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow([*CSV_START, *columns])
  for mode, by in scores.of.items():
    for i, record in enumerate(scores.records[mode].tolist()):
      start = [name(record), mode]
      middle = [reference(mode, record), int(scores.gray[mode][i])]
      for predictor, values in by.items():
        writer.writerow([*start, predictor, *middle, *(repr(float(values[c][i])) for c in columns)])
      real = scores.real[mode]
      if real:
        alone = [repr(float(real[c][i])) if c in real else "" for c in columns]
        writer.writerow([*start, REAL, "", middle[1], *alone])
  return text.getvalue().encode("utf-8", "surrogateescape")


def counted(by: Rows, metric: str) -> int:
  """Counts the pictures that a metric's means are over."""
  return next(rows[metric].n for rows in by.values() if metric in rows)


def screen_table(
  by: Rows, n: int, layout: Layout = PHOTOS, aside: Collection[str] = ()
) -> str:
  """Aligns columns: a line of means, the best of each marked *, and a line of intervals.

  Below a gap stands the interval of the signed difference. A last line has the number of pictures
  where a column's is not `n`, the mode's. `aside`: as of estimates.best_of.
  """
  width, first = 14, max(map(len, (*by, "pictures")))
  lines = [" " * first + "".join(f"{heading:>{width - 1}} " for heading, *_ in layout.screen)]
  best = {m: best_of(by, m, better, d, aside) for _, m, d, better in layout.screen}
  for predictor, rows in by.items():
    means, intervals = f"{predictor:<{first}}", " " * first
    for _, metric, decimals, _ in layout.screen:
      estimate = rows.get(metric)
      mark = "*" if predictor in best[metric] else " "
      shown = f"{estimate.mean:.{decimals}f}" if estimate is not None and estimate.n else ""
      means += f"{shown:>{width - 1}}{mark}"
      shown = "" if estimate is None else _interval(rows[interval_of(metric)], decimals)
      intervals += f"{shown:>{width - 1}} "
    lines += [means, intervals]
  counts = [counted(by, metric) for _, metric, *_ in layout.screen]
  shown = "".join(f"{count if count != n else '':>{width - 1}} " for count in counts)
  lines.append(f"{'pictures':<{first}}{shown}" if shown.strip() else "")
  return "\n".join(line.rstrip() for line in lines if line.strip())


def _interval(estimate: Estimate, decimals: int, sign: str = "") -> str:
  if not math.isfinite(estimate.low):
    return ""
  return f"{estimate.low:{sign}.{decimals}f}..{estimate.high:{sign}.{decimals}f}"


def screen_differences(by: Rows, model: str, layout: Layout = PHOTOS) -> str:
  """Shows what the model has over each baseline, in what decides; empty where there is none."""
  if not by:
    return ""
  width, title = 24, f"{model} minus"
  first = max(map(len, (*by, title)))
  headings = "".join(f"{heading:>{width}}" for heading, *_ in layout.decisive)
  lines = [f"{title:<{first}}{headings}"]
  for rival, rows in by.items():
    line = f"{rival:<{first}}"
    for _, metric, decimals, _ in layout.decisive:
      estimate = rows[metric]
      shown = f"{estimate.mean:+.{decimals}f}  " if estimate.n else ""
      shown += _interval(estimate, decimals, "+")
      line += f"{shown.rstrip():>{width}}"
    lines.append(line.rstrip())
  return "\n".join(lines)


def screen_legend(compared: bool, differences: bool = True) -> str:
  """Says what the tables above it mean.

  Args:
    compared: whether there are several rows; differences: and tables of the model minus each.
  """
  lines = [
    "second lines: 95 % bootstrap intervals of the mean; below a gap, of the signed difference"
  ]
  if compared:
    lines.insert(0, "*: best of its column")
  if compared and differences:
    lines.append("minus: differences picture by picture; an interval around 0 decides nothing")
  return "\n".join(lines)


def environment() -> dict:
  """Records versions and hardware."""
  packages = ("jax", "jaxlib", "flax", "numpy", "scipy", "scikit-image", "pillow")
  device = jax.devices()[0]
  return {
    "versions": {
      "scs_jax": scs_jax.__version__,
      "python": platform.python_version(),
      **{package: importlib.metadata.version(package) for package in packages},
    },
    "device": {"platform": device.platform, "kind": device.device_kind},
    "system": platform.platform(),
  }


def shown_name(name: str) -> str:
  """Writes a file name as it can be printed, whatever its bytes."""
  return name.encode("utf-8", "backslashreplace").decode()
