"""`scs-jax demo`: what the shipped models do to bundled photographs, or a training from nothing."""

HELP = """Shows what the models that ship with the package do: colours photographs that
scikit-image and scikit-learn carry, at 2x and at 3.3x, automatically, by their own mirrored selves
and by another photo, beside bicubic gray, the reference's mean chroma and Welsh et al. 2002; one of
them at many magnifications; the motorcycle of a pair of cameras, with disparity and confidence;
then goes on training a model for a little while, and shows its curve. Writes report.html, which
opens offline, and the pictures. Some two minutes on two idle CPU cores. The same command again does
it all again.

--train trains scsnet/small from nothing instead, on eight bundled photographs, and shows what it
does to others: about six minutes, and goes on where it was interrupted. --all trains the other
methods' small configs too, for a third of their steps, and sets them beside SCSNet in automatic
mode: about half an hour in all."""

EXAMPLES = """
scs-jax demo
scs-jax demo --workdir shown --size 256
scs-jax demo --train
scs-jax demo --train --config.steps=20 --size 96
scs-jax demo --train --all
"""

CONFIG = "scsnet/small"
_SIZE = (32, 1024)


def add_arguments(parser) -> None:
  from scs_jax.cli import arguments

  parser.add_argument(
    "--workdir", default="runs/demo", metavar="DIR", help="the folder of it all; default runs/demo"
  )
  parser.add_argument(
    "--size",
    type=int,
    default=160,
    metavar="PIXELS",
    help="side of the photographs, cut from the middle; default 160",
  )
  parser.add_argument("--quiet", action="store_true", help="no progress bar")
  parser.add_argument("--train", action="store_true", help="train from nothing, and show that")
  parser.add_argument("--all", action="store_true", help="the other automatic methods as well")
  arguments.add_config(parser, default=CONFIG)


def run(args) -> int:
  from scs_jax.core import stop
  from scs_jax.errors import UserError

  if not args.workdir:
    raise UserError("--workdir is empty: expected a folder")
  least, most = _SIZE
  if not least <= args.size <= most:
    raise UserError(f"--size {args.size}: expected {least} to {most} pixels")
  if not args.train and (args.all or args.overrides or args.config != CONFIG):
    raise UserError("--all, --config and its keys are of a training from nothing: add --train")
  with stop.exiting():  # until a loop takes SIGTERM over, nothing is there to save
    if args.train:
      from scs_jax.cli import arguments
      from scs_jax.measure import demo_train

      return demo_train.run(args, arguments.load_config(args))
    from scs_jax.measure import demo_models

    return demo_models.run(args)
