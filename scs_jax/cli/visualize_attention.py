"""`scs-jax visualize attention`: where SCSNet looks in a reference (Figure 8 of its paper)."""

from scs_jax.cli import arguments, quantities

HELP = """Draws what SCSNet's attention (PVCAttn) does when it colours GRAY by a reference. For each
chosen point of GRAY a row of heat maps over the reference, one a pyramid level: bright is where the
colour of this point comes from, with a cross at the largest weight. Below them the valves of each
level: how much of the picture's own features (V1) and of what the reference gave (V2) gets through,
of 1. Above them GRAY, the reference, and the coloured result.

Heat maps go from their own least weight to their largest (and are dark where these hardly differ),
so read the captions too: how many times the two are what each position would have if all were alike
(about 1x: it looks everywhere, as an untrained network does), and the share of the reference that
has half of the weight. The same numbers are printed, and written beside the picture as .json.

At a level, a point stands for the square of 4, 8, 16, ... pixels that holds it. GRAY may be a
colour picture, which is grayed first. The network sees the pictures as `scs-jax colorize` shows
them to it: the reference reduced to 512 pixels a side, GRAY to --input-side."""

_CALL = "scs-jax visualize attention gray.jpg --reference color.jpg --checkpoint"
EXAMPLES = f"""
{_CALL} runs/scsnet
{_CALL} runs/scsnet --points 120,80 300,210
{_CALL} runs/small --input-side 128 --out eyes.png
{_CALL} runs/scsnet --step last --arrays
"""


def add_arguments(parser) -> None:
  add = parser.add_argument
  add("gray", metavar="GRAY", help="the picture that is coloured")
  add("--reference", required=True, metavar="R", help="the colour picture that lends its colours")
  arguments.add_checkpoint(parser, "; of scsnet")
  add("--points", nargs="+", type=quantities.point, metavar="X,Y",
      help="pixels of GRAY, upright and at its own size: columns from the left, rows from the top, "
      "both from 0; 16 at most. Default: up to four corners, far apart")
  add("--out", default="attention.png", metavar="FILE",
      help="the picture, a .png, here or in a bucket (gs://, s3://), replaced if there, with a "
      ".json beside it; default attention.png")
  add("--arrays", action="store_true", help="write weights and valves beside it too, as .npz")
  add("--input-side", type=quantities.side, default=512, metavar="N",
      help="let the network see GRAY reduced to at most N pixels a side; default 512. Networks "
      "trained on small crops attend better on small pictures")


def run(args) -> int:
  from scs_jax.infer import attention

  attention.draw(**arguments.values(args))
  return 0
