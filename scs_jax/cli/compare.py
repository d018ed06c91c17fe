"""`scs-jax compare`: checkpoints, cascades and others' pictures under one ruler, in one report."""

import argparse

from scs_jax.cli import several

HELP = f"""Measures several methods on the same pictures and prints the papers' tables with ours
beside their printed rows. Takes checkpoints of any methods (--runs), cascades of two (--cascade
COLORIZER+ENLARGER: colour, enlarge, reduce to the asked size, timed as a whole) and folders of
pictures that any other software made (--results), matched by file name without its ending.

Photographs, after Section 4.2 of SCSNet: of 5,000 pictures drawn by --seed (or as many as there
are, in the same shares) 2,500 are coloured automatically, 500 by themselves elastically distorted,
2,000 by another picture. A network that predicts colours alone stands there twice where results
are larger than inputs: with L interpolated from the input, and, marked, with the true picture's. If
a run colours pairs, or with --track pairs, all methods colour stereo pairs, first- and second-time,
photo methods by the colour view as their reference.

A folder of results may have a subfolder for each data set (by its NAME) and in it one for each
mode (automatic, self, random; first, second); pictures that lie in none are automatic (first).
--inputs-out writes what each method is given, so that other software can colour the same. A file
method.json beside results may say {{"parameters": 12.3e6, "pictures_a_second": 4.5}}.

Writes results.json, per_image-NAME.csv, tables.md and report.html (opens offline). Exit code 1: a
row failed, or some pictures could not be read; both are listed and the rest is measured.

{several.HELP}"""

EXAMPLES = """
scs-jax compare --runs runs/scsnet runs/smsanet --data photos
scs-jax compare --runs ours=runs/scsnet --results deoldify=out/deoldify --data coco=coco/val2017
scs-jax compare --runs runs/scsnet --cascade runs/smsanet+runs/enlarger --data set14 --shared
scs-jax compare --runs runs/scsnet --data faces --data birds --fid-weights inception.pth
scs-jax compare --runs runs/cycle runs/scsnet --data middlebury --size 512x256
scs-jax compare --runs /shared/a /shared/b --data /data/val --distributed auto
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  from scs_jax.cli import arguments

  add = parser.add_argument
  add(
    "--runs",
    nargs="+",
    default=[],
    metavar="RUN",
    help=f"{arguments.TRAINED}; each of these also as NAME=RUN",
  )
  add(
    "--cascade",
    dest="cascades",
    action="append",
    default=[],
    metavar="[NAME=]A+B",
    help="run A colours, run B enlarges what A made (as of joint_sr/super_resolution); may be "
    "repeated",
  )
  add(
    "--results",
    nargs="+",
    action="extend",
    default=[],
    metavar="NAME=DIR",
    help="pictures that other software made",
  )
  add("--step", default="best", metavar="STEP", help="of all runs: best (default), last, a number")
  add(
    "--data",
    action="append",
    required=True,
    metavar="[NAME=]DATA",
    help="as of `evaluate`; may be repeated. A NAME of the paper's (ImageNet-C, CelebA-HQ, "
    "Flowers, Bird, COCO) puts ours into its columns",
  )
  add("--reference-data", metavar="DIR", help="where the references of mode random come from")
  add("--track", choices=("photos", "pairs"), help="default: pairs if a run colours pairs")
  add("--modes", metavar="LIST", help="of automatic,self,random, or first,second; default: all")
  add("--scale", type=float, metavar="X", help="default: the first run's evaluate.scale")
  add(
    "--size",
    metavar="PIXELS",
    help="side, or WIDTHxHEIGHT; default: the first run's data.crop; of pairs: whole",
  )
  add(
    "--enlarge",
    action="store_true",
    help="enlarge pictures smaller than --size instead of leaving them out",
  )
  add("--reference-size", type=int, metavar="PIXELS", help="default: the first such run's")
  add("--limit", type=int, metavar="N", help="no more than N pictures of a data set (5,000)")
  add(
    "--shared",
    action="store_true",
    help="every mode colours the same pictures: for small data sets",
  )
  add("--batch-size", type=int, metavar="N", help="default: the first run's evaluate.batch_size")
  add("--seed", type=int, default=0, metavar="N", help="of all choices; default 0")
  add("--fid-weights", metavar="FILE", help="Inception-v3 as FID defines it; without: no FID")
  arguments.add_lpips(parser)
  arguments.add_truth(parser)
  add(
    "--no-baselines",
    dest="baselines",
    action="store_false",
    help="without bicubic gray and the like",
  )
  timing = parser.add_mutually_exclusive_group().add_argument
  timing("--timing-runs", type=int, default=20, metavar="N", help="timed calls a row; default 20")
  timing("--no-speed", dest="timing_runs", action="store_const", const=0, help="without timing")
  add(
    "--panels",
    type=int,
    default=2,
    metavar="N",
    help="pictures drawn for each mode, besides every method's best and worst; default 2",
  )
  add(
    "--inputs-out",
    metavar="DIR",
    help="write the inputs, references and true pictures to this folder",
  )
  add(
    "--out",
    default="comparison",
    metavar="DIR",
    help="of the results; default comparison. Both also in a bucket (gs://, s3://)",
  )
  add("--overwrite", action="store_true", help="replace results of other settings")
  add("--quiet", action="store_true", help="no progress bars")
  several.add_arguments(parser)


def run(args) -> int:
  import shlex

  from scs_jax.cli import arguments
  from scs_jax.core import stop

  with (
    stop.exiting(143, "scs-jax: stopped by SIGTERM; the same command starts over"),
    several.joined(args),
  ):
    import scs_jax  # takes seconds

    command = shlex.join(["scs-jax", "compare", *args.argv])
    report = scs_jax.compare(**arguments.values(args), command=command, debug=args.debug)
    if several.is_first():
      report.show()
  return 0 if report.complete else 1
