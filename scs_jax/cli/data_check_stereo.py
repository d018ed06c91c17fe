"""`scs-jax data check-stereo`: are these pairs what a training expects?"""

from scs_jax.cli import arguments, quantities

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

def add_arguments(parser) -> None:
  add = parser.add_argument
  add("pairs", metavar="PAIRS", help="where the pairs are, see above")
  add("--search-range", type=quantities.count, required=True, metavar="D",
      help="candidates a pixel, as config.network.search_range; pixels of the pair as it is read")
  add("--out", metavar="DIR", help="write a plot of each pair there, as PNG")
  add("--mono-view", default="auto", metavar="SIDE",
      help="right, left, or auto (default), as config.data.mono_view")
  add("--reduce", type=quantities.count, default=1, metavar="N",
      help="reduce both views first, as config.data.reduce; default 1")
  add("--variant", default="", metavar="V", help="clean, final, E or L, as config.data.variant")
  add("--disparity-scale", type=quantities.above_zero, metavar="S",
      help="value of one pixel in disp_left.png, disp_right.png; without it they are not read")
  add("--only", action="append", default=[], metavar="PATTERN",
      help="check the pairs of such names only, as 'mb2005_*'; may be repeated")
  add("--limit", type=quantities.count, metavar="N", help="check the first N pairs only")


def run(args) -> int:
  from scs_jax.data import stereo_check

  reports = stereo_check.check(**arguments.values(args), plot=_plot, log=_print)
  return int(any(report.problems for report in reports))


def _plot(report, search_range: int) -> bytes:
  from scs_jax.report import panels, stereo_plot

  return panels.png(stereo_plot.draw(report, search_range))


def _print(line: str) -> None:
  print(line.encode("utf-8", "backslashreplace").decode("utf-8"), flush=True)
