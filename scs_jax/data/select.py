"""The rule by which ImageNet-C was made (SCSNet, Section 4.1): large files with varied colours.

"We remove images with file sizes smaller than 80K and less color variation." The paper gives no
measure of variation and no threshold. Ours: the standard deviation of (a, b) in Lab over the
pixels (scan.color_variation), at reduced scale; and 12, above which lie 58 % of 763 photos of
ImageNet, one a class. The paper kept 407,041 of 1,281,167, 31.8 %; the statistics list what other
thresholds keep.
"""

import io
import json
import math
import os
from typing import Any, NamedTuple

import numpy as np

from scs_jax.data import listing, lists, location, remote, scan, sources
from scs_jax.errors import UserError

MIN_KB = 80
"""Of 1024 bytes, as `ls` counts: the paper writes 80K."""

MIN_VARIATION = 12.0

_THRESHOLDS = (0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 25, 30)
_QUANTILES = (0, 5, 25, 50, 75, 95, 100)


class Selection(NamedTuple):
  """Holds what the rule makes of a folder's pictures, in the folder's order.

  Attributes:
    names: of all.
    sizes: bytes, int64 [n].
    variation: float64 [n]; NaN for files that are too small, which are not opened, and for those
      that cannot be read.
    kept: bool [n].
    statistics: what the JSON file holds.
  """

  names: list[str]
  sizes: np.ndarray
  variation: np.ndarray
  kept: np.ndarray
  statistics: dict[str, Any]

  def show(self) -> None:
    """Prints how many fall to which rule."""
    found, rule = self.statistics, self.statistics["rule"]
    rows = [
      ("pictures", found["pictures"]),
      ("empty files", found["empty_files"]),
      (f"below {rule['min_kb']:g} KB", found["too_small"]),
      ("cannot be read", found["cannot_be_read"]),
      (f"colour variation below {rule['min_variation']:g}", found["too_little_variation"]),
    ]
    for name, number in rows:
      if number or name == "pictures":
        print(f"{name:<34}{number:>12,}")
    size = listing.describe_size(found["kept_bytes"])
    print(f"{'kept':<34}{found['kept']:>12,}  ({found['kept_share']:.1%}, {size})")


def write_list(
  data: str | os.PathLike,
  out: str | os.PathLike,
  *,
  min_kb: float = MIN_KB,
  min_variation: float = MIN_VARIATION,
  cache: str | os.PathLike | None = None,
  overwrite: bool = False,
  threads: int | None = None,
  quiet: bool = False,
) -> Selection:
  """Selects pictures and writes LIST.txt, statistics as LIST.json and histograms as LIST.png.

  Args:
    data: a folder of pictures, here or in a bucket, or a list of them.
    out: path or address of LIST.txt.
    min_kb, min_variation, cache, threads: as of `select`.
    overwrite: replace files that are there.
    quiet: no progress bar.

  Raises:
    UserError: as of `select`; nothing that a list can be made of; files that are there.
  """
  stem = lists.stem_of(out)
  paths = [stem + ending for ending in (lists.SUFFIX, ".json", ".png")]
  remote.require_free(paths, overwrite)
  source = sources.open_source(data)
  if not isinstance(source, sources.FileSource):
    raise UserError(f"{data} is no folder or list of picture files: no list can be made of it")
  chosen = select(source, min_kb, min_variation, cache, threads, not quiet)
  rule = f"{min_kb:g} KB or more, colour variation {min_variation:g} or more"
  names = [name for name, kept in zip(chosen.names, chosen.kept, strict=True) if kept]
  contents = (
    lists.text(source.root, names, [f"{len(names)} pictures: {rule}"]),
    (json.dumps(chosen.statistics, indent=2) + "\n").encode(),
    draw(chosen),
  )
  # The list last: where it is, its statistics are.
  for path, content in reversed(list(zip(paths, contents, strict=True))):
    location.write(path, content)
  return chosen


def select(
  source,
  min_kb: float = MIN_KB,
  min_variation: float = MIN_VARIATION,
  cache=None,
  threads: int | None = None,
  progress: bool = True,
) -> Selection:
  """Applies the rule to a source of files (sources.FileSource).

  Args:
    source: the pictures.
    min_kb: least size of a file in units of 1024 bytes; 0: any.
    min_variation: least colour variation, in units of Lab; 0: any that decodes.
    cache, threads, progress: of the scan, see scan.measure_all.

  Raises:
    UserError: a threshold that is no number of 0 or more, or nothing is kept.
  """
  for name, value in (("file size", min_kb), ("colour variation", min_variation)):
    if not 0 <= value < math.inf:  # so that NaN is refused as well
      raise UserError(f"least {name} {value}: expected a number of 0 or more")
  files = [source.file(i) for i in range(len(source))]
  sizes = np.array([f.size for f in files], np.int64)
  large = np.flatnonzero(sizes >= min_kb * 1024)

  def measure(j: int) -> float:
    return scan.color_variation(scan.reduced(source.open(int(large[j]), scan.SHORT_SIDE)))

  title = "measuring colours"
  measured = scan.measure_all(
    [files[i] for i in large], measure, "colour variation", title, cache, threads, progress
  )
  variation = np.full(len(files), np.nan)
  variation[large] = [math.nan if v is None else v for v in measured]
  kept = np.greater_equal(variation, min_variation)  # False for NaN
  statistics = _statistics(source, sizes, variation, kept, min_kb, min_variation)
  if not kept.any():
    counts = ", ".join(f"{statistics[key]} {key.replace('_', ' ')}" for key in _REASONS)
    raise UserError(
      f"none of {len(files)} pictures is kept ({counts}); lower --min-kb or --min-variation"
    )
  return Selection([f.name for f in files], sizes, variation, kept, statistics)


_REASONS = ("too_small", "cannot_be_read", "too_little_variation")


def _statistics(source, sizes, variation, kept, min_kb, min_variation) -> dict[str, Any]:
  read = variation[np.isfinite(variation)]
  small = int((sizes < min_kb * 1024).sum())
  return {
    "rule": {
      "min_kb": min_kb,
      "min_variation": min_variation,
      "variation": "sqrt(var(a) + var(b)) over the pixels, CIE Lab, at reduced scale",
    },
    "pictures": len(sizes),
    "empty_files": int(source.skipped_empty),
    "too_small": small,
    "cannot_be_read": len(sizes) - small - len(read),
    "too_little_variation": len(read) - int(kept.sum()),
    "kept": int(kept.sum()),
    "kept_share": float(kept.mean()),
    "kept_bytes": int(sizes[kept].sum()),
    "fingerprint": source.fingerprint,
    "quantiles": {
      "bytes": _quantiles(sizes),
      "variation": _quantiles(read),
    },
    "kept_at_variation": {str(t): int((read >= t).sum()) for t in _THRESHOLDS},
  }


def _quantiles(values: np.ndarray) -> dict[str, float]:
  if not len(values):
    return {}
  found = np.percentile(values, _QUANTILES)
  return {f"{q}%": float(v) for q, v in zip(_QUANTILES, found, strict=True)}


def draw(chosen: Selection) -> bytes:
  """Draws sizes and variations above each other, what is left out pale: a PNG file's bytes."""
  from matplotlib import ticker  # takes a while
  from matplotlib.figure import Figure

  rule = chosen.statistics["rule"]
  figure = Figure((6.4, 4.8), dpi=100, layout="constrained")
  for axes, title, unit, values, threshold, log in zip(
    figure.subplots(2),
    ("File size", "Colour variation of the files that are large enough"),
    ("bytes, log scale", "standard deviation of (a, b) in Lab"),
    (chosen.sizes, chosen.variation[np.isfinite(chosen.variation)]),
    (rule["min_kb"] * 1024, rule["min_variation"]),
    (True, False),
    strict=True,
  ):
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(unit, fontsize=9)
    if not len(values):
      axes.text(0.5, 0.5, "nothing was measured", ha="center", transform=axes.transAxes)
      continue
    to, back = (np.log, np.exp) if log else (np.asarray, np.asarray)
    ends = values.min(), max(values.max(), values.min() * (1 + 1e-3), 1e-3)
    edges = back(np.linspace(*to(ends), 61))
    edges[[0, -1]] = ends  # as they are, or rounding would leave the largest out
    if edges[0] < threshold < edges[-1]:  # so that no bar is half kept
      edges[np.abs(to(edges[1:-1]) - to(threshold)).argmin() + 1] = threshold
      axes.axvline(threshold, color="#cc4422")
    _, _, bars = axes.hist(values, edges)
    for bar, start in zip(bars, edges[:-1], strict=True):
      bar.set_color("#2277cc" if start >= threshold * (1 - 1e-9) else "#c8d4e0")
    if log:
      axes.set_xscale("log")
      axes.xaxis.set_major_locator(ticker.LogLocator(10, (1, 2, 5)))
      axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
      axes.xaxis.set_minor_locator(ticker.NullLocator())
  buffer = io.BytesIO()
  figure.savefig(buffer, format="png")
  return buffer.getvalue()
