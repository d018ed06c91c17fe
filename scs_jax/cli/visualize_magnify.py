"""`scs-jax visualize magnify`: one picture at many magnifications (Figure 9 of SCSNet's paper)."""

from scs_jax.cli import arguments, quantities

HELP = """Colours one picture at a row of magnifications and writes two files to --out:

  NAME_magnify.png    a contact sheet: for each magnification a detail at the result's own pixels,
                      the whole result small beside it, and under it the same detail of the gray
                      input enlarged by the bicubic, which knows no colours.
  NAME_animation.png  the detail getting larger and smaller again (.gif, .webp: see --animation).

Magnifications are any real numbers. A result is what `scs-jax colorize --scale S` writes. One set
of compiled programs does all magnifications of a network that works in tiles (scsnet); the
enlarging ones of joint_sr (tasks super_resolution and joint_residual) compile once for each. A
network that gives colours alone, at one magnification (smsanet, joint_sr's other tasks), has
nothing to show here. The time grows with the results' pixels: for large photos give --input-side.

Files of the same names are replaced."""

EXAMPLES = """
scs-jax visualize magnify gray.jpg --checkpoint runs/scsnet
scs-jax visualize magnify gray.jpg --checkpoint runs/scsnet --scales 1:4:0.5 --point 120,80
scs-jax visualize magnify gray.jpg --checkpoint runs/small --scales 1,1.5,2.7 --reference color.jpg
scs-jax visualize magnify big.jpg --checkpoint runs/small --input-side 160 --frames 25
"""

def add_arguments(parser) -> None:
  add = parser.add_argument
  add("picture", metavar="PICTURE", help="what is coloured; a colour picture is grayed first")
  arguments.add_checkpoint(parser)
  add("--reference", metavar="R",
      help="colour picture that lends its colours, or a folder of them, as of `scs-jax colorize`")
  add("--scales", type=quantities.scales, default=quantities.scales("1:4:0.5"), metavar="LIST",
      help="FIRST:LAST:STEP or a list, as 1:4:0.5 (default) or 1,1.5,2.7,4")
  add("--point", type=quantities.point, metavar="X,Y",
      help="pixel of PICTURE, upright and at its own size, in the middle of the detail: column "
      "from the left, row from the top, from 0. Default: where the picture has the most detail")
  add("--window", type=quantities.side, metavar="N",
      help="side of the detail in pixels of the input; default: such that the largest has 192")
  add("--input-side", type=quantities.side, metavar="N",
      help="reduce PICTURE to at most N pixels a side first: this is then the input")
  add("--frames", type=quantities.frames, metavar="N",
      help="frames of the animation one way, in even ratios from the least magnification to the "
      f"largest, 2 to {quantities.MOST_SCALES}; each is coloured anew. Default: those of --scales")
  add("--animation", choices=("png", "webp", "gif", "none"), default="png",
      help="png (default) and webp keep colours exactly; gif has 256 a frame, and plays anywhere")
  add("--out", default="magnify", metavar="DIR",
      help="folder of the results, here or in a bucket (gs://, s3://), made where there is none; "
      "default magnify")
  add("--memory-limit", type=quantities.memory, metavar="SIZE",
      help="what to plan for, as 4GB; see `scs-jax colorize`")
  arguments.add_quiet(parser)


def run(args) -> int:
  from scs_jax.core import stop

  with stop.exiting(143, "scs-jax: stopped by SIGTERM; nothing was written"):
    from scs_jax.infer import magnify

    magnify.magnify(**arguments.values(args))
  return 0
