"""`scs-jax evaluate`: measures a trained model on pictures or pairs, beside baselines."""

from scs_jax.cli import several

HELP = f"""Measures a checkpoint. Every picture's largest central part is reduced to --size, grayed
and reduced by --scale; the model colours and enlarges it again in the three modes of SCSNet's
protocol, and the result is compared with the picture: automatic; self, by the picture itself
elastically distorted; random, by another picture that has colour, distorted too. Beside it stand
bicubic gray, the reference's mean chroma, and Welsh et al. 2002, each with the model's difference
to it. Gray pictures are left out of the means of colour metrics. Prints tables and writes
results.json, per_image.csv and report.html, which opens offline. Exit code 1: some pictures could
not be read; they are listed and left out of the averages.

A method for pairs (cycle_cnn) colours whole pairs of a monochrome and a colour view: first-time,
the monochrome view, against its truth where there is one; second-time, the gray of the colour view
by that result, against the colour view. Beside it stand Reinhard et al. 2001, the colours at zero
disparity and, where OpenCV is installed, classical stereo matching. The report has the linear
correlation of first- and second-time figures, and for each pair shown its views, results,
confidence, global curve and disparity.

{several.HELP}"""

EXAMPLES = """
scs-jax evaluate --checkpoint runs/small
scs-jax evaluate --checkpoint runs/small --data holiday --modes automatic --limit 500
scs-jax evaluate --checkpoint runs/small --data bundled:heldout --scale 3.3 --size 320x240
scs-jax evaluate --checkpoint runs/small --data faces --reference-data paintings --out faces-eval
scs-jax evaluate --checkpoint gs://bucket/runs/one --data holiday --out gs://bucket/holiday-eval
scs-jax evaluate --checkpoint runs/pairs --data mono_camera,color_camera
scs-jax evaluate --checkpoint runs/pairs --data middlebury --modes second --size 512x256
scs-jax evaluate --checkpoint /shared/run --data /data/val --distributed auto
"""


def add_arguments(parser) -> None:
  from scs_jax.cli import arguments

  add = parser.add_argument
  add("--checkpoint", required=True, metavar="RUN", help=arguments.TRAINED)
  add("--step", default="best", metavar="STEP", help="best (default), last, or a step's number")
  add(
    "--data",
    metavar="DIR",
    help="folder of pictures (any tree), bundled or bundled:heldout; of pairs: a folder of stereo "
    "pairs, MONO_DIR,COLOR_DIR or a list file too; default: the run's held-out pictures",
  )
  add(
    "--modes",
    metavar="LIST",
    help="of automatic,self,random, or of first,second for pairs; default: all that can be done. "
    "mirrored, where it is named: by the picture itself, left and right exchanged",
  )
  add("--scale", type=float, metavar="X", help="magnification; default: the run's evaluate.scale")
  add(
    "--size",
    metavar="PIXELS",
    help="side of the pictures measured, or WIDTHxHEIGHT; smaller ones are left out; default: the "
    "run's data.crop. Of pairs the middle part, smaller ones left out; default: whole",
  )
  add(
    "--enlarge",
    action="store_true",
    help="enlarge smaller pictures to --size instead of leaving them out",
  )
  add(
    "--limit",
    type=int,
    metavar="N",
    help="only N pictures or pairs, drawn by the seed from all; each mode is measured on all of "
    "them",
  )
  add("--batch-size", type=int, metavar="N", help="default: the run's evaluate.batch_size")
  add(
    "--seed",
    type=int,
    default=0,
    metavar="N",
    help="of the draw of a --limit, of the choice and distortion of references, Welsh's samples "
    "and the bootstrap; default 0",
  )
  add(
    "--reference-data",
    metavar="DIR",
    help="where the references of mode random come from; default: the pictures themselves",
  )
  add(
    "--out",
    metavar="DIR",
    help="where results are written, here or in a bucket (gs://, s3://); default: "
    "RUN/evaluation/NAME-SCALEx-SIZEpx-stepSTEP",
  )
  add(
    "--overwrite",
    action="store_true",
    help="replace results of other settings, and files of others under their names",
  )
  add(
    "--panels",
    type=int,
    default=3,
    metavar="N",
    help="pictures shown of each kind (best, typical, worst); default 3",
  )
  arguments.add_lpips(parser)
  arguments.add_truth(parser)
  add("--no-baselines", dest="baselines", action="store_false", help="the model alone")
  add("--quiet", action="store_true", help="no progress bar")
  several.add_arguments(parser)


def run(args) -> int:
  from scs_jax.cli import arguments
  from scs_jax.core import stop

  with (
    stop.exiting(143, "scs-jax: stopped by SIGTERM; the same command starts over"),
    several.joined(args),
  ):
    import scs_jax  # takes seconds

    report = scs_jax.evaluate(
      args.checkpoint,
      **arguments.values(args, "checkpoint", "out"),
      out=True if args.out is None else args.out,
    )
    if several.is_first():
      report.show()
  return 0 if report.complete else 1
