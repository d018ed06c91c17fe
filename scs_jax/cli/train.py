"""`scs-jax train`: trains a method, and goes on where an earlier run in the folder stopped."""

from scs_jax.cli import arguments, several

HELP = """Trains a method. The run's folder receives checkpoints, metrics.jsonl, config.json and
panels/*.png (gray input, reference, result, truth). The same command again goes on from the last
checkpoint, on any number of devices. SIGTERM saves and exits with code 0 (or --stopped-code);
Ctrl-C saves too, with code 130, and a second one ends at once. A folder has one run at a time.
Several processes, one a host, are one run: each is started with the same command, a folder that all
of them see or that is in a bucket, and --distributed auto or where to meet."""

EXAMPLES = """
scs-jax train --config scsnet/small --workdir runs/small
scs-jax train --config scsnet/small --workdir runs/mine --data photos --heldout holiday
scs-jax train --config scsnet/small --workdir runs/slow --config.optimizer.learning_rate=3e-4
scs-jax train --config scsnet/paper --workdir runs/paper --data train.txt --heldout val.txt \\
  --config.loss.perceptual_file=vgg16-397923af.pth
scs-jax train --config scsnet/small --workdir runs/small --profile 100:5
scs-jax train --config scsnet/paper --workdir /shared/paper --data /data/train --distributed auto
scs-jax train --config scsnet/paper --workdir gs://bucket/paper --data /data/train
"""


def add_arguments(parser) -> None:
  add = parser.add_argument
  arguments.add_config(parser)
  add("--workdir", required=True, metavar="DIR",
      help="the run's folder, here or in a bucket (gs://, s3://)")
  add("--data", metavar="DIR",
      help="folder of training pictures (any tree), or 'bundled'; short for --config.data.source")
  add("--heldout", metavar="DIR",
      help="folder of held-out pictures, or 'bundled:heldout'; short for --config.data.heldout")
  arguments.add_quiet(parser)
  add("--profile", metavar="START:STEPS",
      help="trace STEPS steps, from step START on (counted from 0), into WORKDIR/profile")
  add("--stopped-code", type=int, default=0, metavar="CODE",
      help="exit code of a run that SIGTERM ended before its last step (default 0); another one "
      "tells a cluster manager, which would take 0 for done, to start it again")
  several.add_arguments(parser)


def run(args) -> int:
  from scs_jax.core import files, stop
  from scs_jax.errors import UserError

  files.require_workdir(args.workdir, "--workdir")
  if not 0 <= args.stopped_code < 256:
    raise UserError(f"--stopped-code is {args.stopped_code}: expected 0 to 255")
  profile = None
  if args.profile is not None:
    start, _, steps = args.profile.partition(":")
    if not (start.isdecimal() and steps.isdecimal() and int(steps) > 0):
      raise UserError(f"--profile {args.profile!r}: expected START:STEPS, as 100:5")
    profile = int(start), int(steps)
  if not several.asked(args):
    # Until the loop takes SIGTERM over, nothing is there to save.
    with stop.exiting(args.stopped_code):
      return _train(args, profile)
  with (
    stop.raising_flag() as stopped,  # a step tells the others
    stop.interrupting(stopped),
    several.joined(args, goes_on=True),
  ):
    return _train(args, profile, stopped)


def _train(args, profile, stopped=None) -> int:
  import scs_jax

  for flag, key in ((args.data, "data.source"), (args.heldout, "data.heldout")):
    if flag is not None:
      args.overrides.append(f"{key}={flag}")
  outcome = scs_jax.train(
    arguments.load_config(args), args.workdir, quiet=args.quiet, profile=profile, stopped=stopped
  )
  if outcome.stopped:
    return args.stopped_code
  if several.is_first():
    print(f"{args.workdir}: step {outcome.step}; checkpoints, metrics.jsonl and panels are there")
  return 0
