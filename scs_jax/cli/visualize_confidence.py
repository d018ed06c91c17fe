"""`scs-jax visualize confidence`: what Cycle CNN's GCA learned (Figure 15 of its paper)."""

from scs_jax.cli import arguments, quantities

HELP = """Draws what a run of cycle_cnn says of stereo pairs, a PNG a pair: the monochrome view, the
colour view, the colours found and the true ones where they are known; the confidence map, green
where it is high and red where it is low, with its numbers; in magenta the pixels whose confidence
is low, as at what the other camera does not see and wherever else the network does not trust what
it found; the expected disparity; and the global curve.

The confidence is how much a pixel counts where GCA estimates the curve from the Y that was found to
that of the monochrome view. Only its ratios mean something, so low is below --low of the average.

PAIRS is a folder (Middlebury 2003 to 2021, Sintel, SceneFlow, Cityscapes, or SCENE/left.png and
right.png), MONO_DIR,COLOR_DIR with pictures matched by name, a list file, or bundled; without it,
the run's held-out pairs. The views are those that `scs-jax evaluate` measures: where the run
simulates two cameras, so it is here. Each size of pairs compiles a program of its own. Pairs that
cannot be shown are listed at the end and make the exit code 1."""

EXAMPLES = """
scs-jax visualize confidence --checkpoint runs/cycle
scs-jax visualize confidence pairs --checkpoint runs/cycle --only 'mb2005_*' --only Pipes
scs-jax visualize confidence mono,color --checkpoint runs/cycle --mono-view right --limit 5
scs-jax visualize confidence sintel --checkpoint runs/cycle --variant final --reduce 2 --out maps
"""


def add_arguments(parser) -> None:
  add = parser.add_argument
  add("pairs", nargs="?", metavar="PAIRS",
      help="where the pairs are, see above; default: the run's held-out ones")
  arguments.add_checkpoint(parser, "; of cycle_cnn")
  add("--only", action="append", default=[], metavar="PATTERN",
      help="pairs of such names only, as 'mb2005_*'; may be repeated")
  add("--limit", type=quantities.count, metavar="N", help="the first N pairs only, by name")
  add("--mono-view", choices=("auto", "right", "left"),
      help="the monochrome view, as config.data.mono_view; default: the run's")
  add("--reduce", type=quantities.count, metavar="N",
      help="reduce both views first, as config.data.reduce; default: the run's")
  add("--variant", metavar="V",
      help="clean, final, E or L, as config.data.variant; default: the run's")
  add("--low", type=quantities.share, default=0.5, metavar="X",
      help="confidence below this share of the average is marked, 0 to 1; default 0.5")
  add("--out", default="confidence", metavar="DIR",
      help="folder of the pictures, here or in a bucket (gs://, s3://), made where there is none; "
      "those of the same names are replaced; default confidence")
  add("--memory-limit", type=quantities.memory, metavar="SIZE",
      help="what a pair may take, as 4GB; default: 80 %% of what is free")
  arguments.add_quiet(parser)


def run(args) -> int:
  from scs_jax.core import stop

  with stop.exiting(143, "scs-jax: stopped by SIGTERM; the pictures that were finished are whole"):
    from scs_jax.measure import confidence

    drawn = confidence.draw(**arguments.values(args))
  return int(bool(drawn.broken))
