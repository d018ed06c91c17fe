"""Are stereo pairs what a training expects? Measures each pair, and says what is wrong with it.

Expected: both views readable and of one size; matches on the same row (rectified); disparities k
within [0, search range); a colour view that has colours.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Sequence

import numpy as np

from scs_jax.core import files
from scs_jax.data import camera as cameras
from scs_jax.data import matching, scan
from scs_jax.data.decode import DecodeError
from scs_jax.data.matching import Matches
from scs_jax.data.stereo import PairSource, open_pairs
from scs_jax.errors import UserError

MOST_VERTICAL = 1.0
"""Pixels; a vertical offset above it is reported."""

FEWEST = 12
"""Matches, below which nothing is measured: four for each number of the plane through them."""

STILL = 0.25
"""Pixels; where nearly all matches lie so near their own place, the views are not two."""

HEAD = ("pair", "size", "mono", "matches", "vertical", "disparity", "")
"""Of a table of reports."""

# A few wrong pixels of a file, or a wrong match, are no reason to report a pair.
_STRAYS_OF_FILE, _STRAYS_OF_MATCHES = 0.001, 0.02


@dataclasses.dataclass
class Report:
  """Holds what was found of one pair; lengths in pixels of the pair as it is read.

  Attributes:
    name: of the pair.
    problems: what is wrong with it, a line each; none: all is well.
    size: (height, width) of the monochrome view; None: it cannot be read.
    side: "right", or "left" for a pair that is mirrored on reading; "" where it cannot be told.
    matches: between the monochrome and the colour view, as they are read.
    vertical: how far below their row matches lie, where it is the most (see `vertical_offset`);
      NaN: not measured.
    low, high: disparity range; NaN: not known. Of a file all its values, else the 1st and 99th
      percentile of matches.
    from_file: where the range is from.
    views: (monochrome, colour) uint8 [H, W, 3], as they are read.
  """

  name: str
  problems: list[str] = dataclasses.field(default_factory=list)
  size: tuple[int, int] | None = None
  side: str = ""
  matches: Matches | None = None
  vertical: float = float("nan")
  low: float = float("nan")
  high: float = float("nan")
  from_file: bool = False
  views: tuple[np.ndarray, np.ndarray] | None = None


  def row(self) -> tuple[str, ...]:
    """Its cells in a table, under HEAD."""
    size = "-" if self.size is None else f"{self.size[1]}x{self.size[0]}"
    matches = "-" if self.matches is None else str(len(self.matches))
    vertical = "-" if math.isnan(self.vertical) else f"{self.vertical:+.2f}"
    reach = "-" if math.isnan(self.low) else f"{self.low:.1f} to {self.high:.1f}"
    where = " (file)" if self.from_file else ""
    verdict = "REPORTED" if self.problems else "ok"
    return self.name, size, self.side or "-", matches, vertical, reach + where, verdict


def check(
  pairs: str | os.PathLike,
  search_range: int,
  *,
  mono_view: str = "auto",
  reduce: int = 1,
  variant: str = "",
  disparity_scale: float | None = None,
  only: Sequence[str] = (),
  limit: int | None = None,
  out: str | os.PathLike | None = None,
  plot: Callable[[Report, int], bytes] | None = None,
  log: Callable[[str], None] = lambda line: None,
) -> list[Report]:
  """Measures pairs one after the other.

  Args:
    pairs, mono_view, reduce, variant, disparity_scale, only: as of `stereo.open_pairs`.
    search_range: as of `check_pair`.
    limit: the first so many pairs only; None: all.
    out: folder of a plot of each pair, made where there is none; None: no plots.
    plot: (report, search range) -> a PNG file's bytes.
    log: receives a table line by line, as it is measured.

  Raises:
    UserError: no such pairs.
  """
  source = open_pairs(pairs, mono_view=mono_view, reduce=reduce, variant=variant,
                      disparity_scale=disparity_scale, only=only)  # fmt: skip
  if out == "":
    raise UserError("--out is empty: expected a folder for the plots")
  if out is not None:
    os.makedirs(out, exist_ok=True)
  count = min(len(source), limit or len(source))
  widths = (max(len(source.name(i)) for i in range(count)), 9, 5, 7, 8, 20, 0)
  line = lambda cells: "  ".join(map(str.ljust, cells, widths)).rstrip()
  log(line(HEAD))
  reports = []
  for i in range(count):
    report = check_pair(source, i, search_range)
    reports.append(report)
    log(line(report.row()))
    for problem in report.problems:
      log(f"  {problem}")
    if out is not None and plot is not None:
      name = "".join(c if c.isalnum() or c in "-_." else "_" for c in report.name)[-120:]
      files.write_aside(os.path.join(out, f"{i:04d}_{name}.png"), plot(report, search_range))
    report.views = None  # of many pairs too large to keep
  for note in source.notes:
    log(note)
  reported = sum(bool(report.problems) for report in reports)
  plots = "" if out is None else f"; plots in {os.fspath(out)}"
  log(f"{count} {'pairs' if count > 1 else 'pair'} checked, {reported} reported{plots}")
  if len(source) > count:
    log(f"{len(source) - count} more were left out by --limit")
  return reports


def check_pair(source: PairSource, i: int, search_range: int) -> Report:
  """Measures pair i.

  Args:
    source: the pairs.
    i: number of the pair.
    search_range: d; candidates are k = 0 .. d - 1.

  Raises:
    UserError: a search range below 1.
  """
  if search_range < 1:
    raise UserError(f"the search range is {search_range}; expected 1 or more pixels")
  report = Report(source.name(i))
  try:
    mono, color, number, mirrored = source.oriented(i)
    report.side = "left" if mirrored else "right"
  except DecodeError as error:
    report.problems.append(_cause(error, report.name))
    return report
  report.size, report.views = mono.shape[:2], (mono, color)
  reach = min(0.9, max(0.35, 1.5 * search_range / mono.shape[1]))
  report.matches = matching.match(cameras.luma(mono), cameras.luma(color), reach=reach)
  _check_rows(report)
  _check_parallax(report)
  try:
    values = source.candidates(i)
  except DecodeError as error:
    values = None
    report.problems.append(_cause(error, report.name))
  _check_range(report, values, search_range)
  _check_colors(report, source.records[i].real)
  for view, what in ((number, "monochrome"), (1 - number, "colour")):
    try:
      if view == number:
        source.load(i)  # whatever else stands in a training's or an evaluation's way
      values = source.candidates_of(i, view)
    except DecodeError as error:
      cause = _cause(error, report.name)
      report.problems += [cause] if cause not in report.problems else []
      continue
    if values is not None:
      _check_file(report, values, what)
  return report


def vertical_offset(matches: Matches) -> tuple[float, np.ndarray]:
  """Measures how far below its row a match is, as a robust plane a + b x + c y over the first view.

  A camera that is turned or zoomed against the other gives offsets of both signs whose mean may be
  zero, so the plane is judged where it is steepest.

  Returns:
    (the plane's value of largest size but for 2 % of the matches, float64 [M] its value at each).
  """
  scale = lambda v: (v - v.mean()) / max(np.ptp(v), 1.0)
  terms = np.stack([np.ones(len(matches)), scale(matches.x), scale(matches.y)], 1)
  weights = np.ones(len(matches))
  for step in range(30):
    root = np.sqrt(weights)
    plane, *_ = np.linalg.lstsq(terms * root[:, None], matches.down * root, rcond=None)
    off = np.abs(matches.down - terms @ plane)
    if step < 20:  # least absolute values: half of the matches may be wrong
      weights = 1 / np.maximum(off, 1e-3)
    else:  # Tukey's: those that are right decide
      reach = 4.685 * max(1.4826 * float(np.median(off)), 0.05)
      weights = np.maximum(1 - (off / reach) ** 2, 0.0) ** 2 * (off < reach)
  values = terms @ plane
  order = np.argsort(np.abs(values))
  return float(values[order[int(0.98 * (len(values) - 1))]]), values


def _cause(error: DecodeError, name: str) -> str:
  return str(error).removeprefix(f"{name}: ")


def _check_rows(report: Report) -> None:
  count = len(report.matches)
  if count < FEWEST:
    report.problems.append(
      f"too little in common to measure anything: {count} matches, expected {FEWEST} or more"
    )
    return
  report.vertical, _ = vertical_offset(report.matches)
  if abs(report.vertical) > MOST_VERTICAL:
    report.problems.append(
      f"not rectified: matches lie up to {abs(report.vertical):.1f} pixels "
      f"{'below' if report.vertical > 0 else 'above'} their row"
    )


def _check_parallax(report: Report) -> None:
  """Reports views that show the same from the same place: one picture twice."""
  if len(report.matches) < FEWEST:
    return
  off = np.hypot(report.matches.right, report.matches.down)
  if float(np.quantile(off, 1 - _STRAYS_OF_MATCHES)) < STILL:
    report.problems.append(
      f"no parallax: {1 - _STRAYS_OF_MATCHES:.0%} of the matches are at one place in both views; "
      "are they copies of one picture?"
    )


def _check_range(report: Report, file: np.ndarray | None, search_range: int) -> None:
  """Sets low and high, and reports disparities that are no candidates."""
  values, strays = None, _STRAYS_OF_FILE
  if file is not None and np.isfinite(file).any():
    values, report.from_file = file[np.isfinite(file)], True
    report.low, report.high = float(values.min()), float(values.max())
  elif report.matches is not None and len(report.matches) >= FEWEST:
    values, strays = report.matches.right, _STRAYS_OF_MATCHES
    report.low, report.high = map(float, np.percentile(values, (1, 99)))
  if values is None:
    return
  what = "pixels" if report.from_file else "matches"
  beyond = float(np.mean(values > search_range - 1))
  left = float(np.mean(values < -0.5))
  if left > 0.5:
    report.problems.append(
      f"the wrong way round: {left:.0%} of the {what} have their match to the left; set the "
      "monochrome view to the other side, or to auto"
    )
    return
  if beyond > strays:
    needed = -(-int(np.floor(np.quantile(values, 1 - strays)) + 2) // 16) * 16
    report.problems.append(
      f"disparities up to {report.high:.0f}: {beyond:.1%} of the {what} are beyond the search "
      f"range {search_range}; {needed} would do, or pairs reduced further"
    )
  if left > strays:
    report.problems.append(
      f"disparities from {report.low:.0f}: {left:.1%} of the {what} have their match to the left, "
      "where none is looked for"
    )


def _check_colors(report: Report, real: bool) -> None:
  mono, color = map(scan.mean_chroma, report.views)
  if color >= scan.GRAY_CHROMA:
    return
  swapped = "; the monochrome view has colours: are the two exchanged?"
  report.problems.append(
    f"the colour view is gray (mean chroma {color:.1f})"
    + (swapped if real and mono >= scan.GRAY_CHROMA else "")
  )


def _check_file(report: Report, values: np.ndarray, view: str) -> None:
  """Reports a disparity file that matches contradict: another scale, or another view's.

  values: k of the pixels of one view, "monochrome" or "colour", in the orientation of the report.
  """
  if values.shape != report.size:
    sizes = [f"{width}x{height}" for height, width in (values.shape, report.size)]
    report.problems.append(
      f"the {view} view's disparity file has {sizes[0]} pixels, the view {sizes[1]}"
    )
    return
  matches = report.matches
  if matches is None or len(matches) < FEWEST:
    return
  y, x = matches.y, matches.x
  if view == "colour":
    y, x = y + matches.down, x + matches.right
  y, x = (np.rint(v).astype(int) for v in (y, x))
  inside = (y >= 0) & (y < values.shape[0]) & (x >= 0) & (x < values.shape[1])
  claimed, found = values[y[inside], x[inside]], matches.right[inside]
  known = np.isfinite(claimed)
  if known.sum() < FEWEST:
    return
  off = float(np.median(np.abs(claimed[known] - found[known])))
  if off > 2.0 + 0.1 * float(np.median(np.abs(found[known]))):
    report.problems.append(
      f"the {view} view's disparity file is off by {off:.0f} pixels in the middle of "
      f"{known.sum()} matches: another scale, or another view's"
    )
