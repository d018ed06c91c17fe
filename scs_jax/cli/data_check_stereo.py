"""`scs-jax data check-stereo`: are these pairs what a training expects?"""

HELP = """Measures stereo pairs and reports those that a training cannot use as they are: views that
cannot be read or differ in size, that are not rectified (matches more than a pixel off their row),
disparities outside [0, search range), a colour view without colours, the wrong way round, one
picture given twice, a disparity file of either view that matches contradict. Exit code 1 where a
pair is reported, 0 where all is well. Without a disparity file, disparities are those of
corners that were found in both views: leave some room.

PAIRS is a folder (Middlebury 2003 to 2021, Sintel, SceneFlow, Cityscapes, or SCENE/left.png and
right.png), MONO_DIR,COLOR_DIR with pictures matched by name, a list file, or bundled."""

EXAMPLES = """
scs-jax data check-stereo pairs --search-range 64
scs-jax data check-stereo pairs --search-range 48 --reduce 2 --out check
scs-jax data check-stereo mono,color --search-range 128 --mono-view left --limit 20
scs-jax data check-stereo middlebury --search-range 64 --variant E --only 'Motor*' --only Pipes
"""

_HEAD = ("pair", "size", "mono", "matches", "vertical", "disparity", "")


def add_arguments(parser) -> None:
  parser.add_argument("pairs", metavar="PAIRS", help="where the pairs are, see above")
  parser.add_argument(
    "--search-range",
    type=_count,
    required=True,
    metavar="D",
    help="candidates a pixel, as config.network.search_range; pixels of the pair as it is read",
  )
  parser.add_argument("--out", metavar="DIR", help="write a plot of each pair there, as PNG")
  parser.add_argument(
    "--mono-view",
    default="auto",
    metavar="SIDE",
    help="right, left, or auto (default), as config.data.mono_view",
  )
  parser.add_argument(
    "--reduce",
    type=_count,
    default=1,
    metavar="N",
    help="reduce both views first, as config.data.reduce; default 1",
  )
  parser.add_argument(
    "--variant", default="", metavar="V", help="clean, final, E or L, as config.data.variant"
  )
  parser.add_argument(
    "--disparity-scale",
    type=_scale,
    metavar="S",
    help="value of one pixel in disp_left.png, disp_right.png; without it they are not read",
  )
  parser.add_argument(
    "--only",
    action="append",
    default=[],
    metavar="PATTERN",
    help="check the pairs of such names only, as 'mb2005_*'; may be repeated",
  )
  parser.add_argument("--limit", type=_count, metavar="N", help="check the first N pairs only")


def run(args) -> int:
  import pathlib

  from scs_jax.data import stereo, stereo_check
  from scs_jax.errors import UserError

  source = stereo.open_pairs(
    args.pairs,
    mono_view=args.mono_view,
    reduce=args.reduce,
    variant=args.variant,
    disparity_scale=args.disparity_scale,
    only=args.only,
  )
  if args.out == "":
    raise UserError("--out is empty: expected a folder for the plots")
  out = None if args.out is None else pathlib.Path(args.out)
  if out is not None:
    out.mkdir(parents=True, exist_ok=True)
  count = min(len(source), args.limit or len(source))
  widths = (max(len(source.name(i)) for i in range(count)), 9, 5, 7, 8, 20, 0)
  _print_row(_HEAD, widths)
  reported = 0
  for i in range(count):
    report = stereo_check.check_pair(source, i, args.search_range)
    reported += bool(report.problems)
    _print_row(_row(report), widths)
    for problem in report.problems:
      print(f"  {problem}", flush=True)
    if out is not None:
      _plot(report, args.search_range, out / f"{i:04d}_{_file_name(report.name)}.png")
  for note in source.notes:
    print(note)
  what = "pairs" if count > 1 else "pair"
  print(f"{count} {what} checked, {reported} reported" + (f"; plots in {args.out}" if out else ""))
  if len(source) > count:
    print(f"{len(source) - count} more were left out by --limit")
  return int(reported > 0)


def _plot(report, search_range: int, path) -> None:
  from scs_jax.core import files
  from scs_jax.report import panels, stereo_plot

  files.write_aside(path, panels.png(stereo_plot.draw(report, search_range)))


def _row(report) -> tuple[str, ...]:
  import math

  size = "-" if report.size is None else f"{report.size[1]}x{report.size[0]}"
  matches = "-" if report.matches is None else str(len(report.matches))
  vertical = "-" if math.isnan(report.vertical) else f"{report.vertical:+.2f}"
  reach = "-" if math.isnan(report.low) else f"{report.low:.1f} to {report.high:.1f}"
  where = " (file)" if report.from_file else ""
  verdict = "REPORTED" if report.problems else "ok"
  return report.name, size, report.side or "-", matches, vertical, reach + where, verdict


def _print_row(cells, widths) -> None:
  cells = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
  line = "  ".join(cells).rstrip()
  print(line.encode("utf-8", "backslashreplace").decode("utf-8"), flush=True)


def _file_name(name: str) -> str:
  """A name without folders, of letters that any file system takes."""
  return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)[-120:]


def _count(text: str) -> int:
  import argparse

  try:
    value = int(text)
  except ValueError:
    value = 0
  if value < 1:
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
  return value


def _scale(text: str) -> float:
  import argparse
  import math

  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not 0 < value < math.inf:
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
  return value
