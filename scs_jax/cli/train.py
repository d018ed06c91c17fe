"""`scs-jax train`: trains a method, and goes on where an earlier run in the folder stopped."""

HELP = """Trains a method. The run's folder receives checkpoints, metrics.jsonl, config.json and
panels/*.png (gray input, reference, result, truth). The same command again goes on from the last
checkpoint, on any number of devices; SIGTERM saves and exits with code 0."""

EXAMPLES = """
scs-jax train --config scsnet/small --workdir runs/small
scs-jax train --config scsnet/small --workdir runs/mine --data photos --heldout holiday
scs-jax train --config scsnet/small --workdir runs/slow --config.optimizer.learning_rate=3e-4
scs-jax train --config scsnet/paper --workdir runs/paper --data train --heldout val \\
  --config.loss.perceptual_file=vgg16-397923af.pth
"""


def add_arguments(parser) -> None:
  from scs_jax.cli import arguments

  arguments.add_config(parser)
  parser.add_argument("--workdir", required=True, metavar="DIR", help="the run's folder")
  parser.add_argument(
    "--data",
    metavar="DIR",
    help="folder of training pictures (any tree), or 'bundled'; short for --config.data.source",
  )
  parser.add_argument(
    "--heldout",
    metavar="DIR",
    help="folder of held-out pictures, or 'bundled:heldout'; short for --config.data.heldout",
  )
  parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args) -> int:
  from scs_jax.engine import stop

  with stop.exiting():  # until the loop takes SIGTERM over, nothing is there to save
    return _run(args)


def _run(args) -> int:
  from scs_jax.cli import arguments, datasets
  from scs_jax.engine import loop, resolve
  from scs_jax.errors import UserError

  if not args.workdir:  # as of an unset variable; a path would take it for the current folder
    raise UserError("--workdir is empty: expected the run's folder")
  for flag, key in ((args.data, "data.source"), (args.heldout, "data.heldout")):
    if flag is not None:
      args.overrides.append(f"{key}={flag}")
  config = arguments.load_config(args)
  method = resolve.build(config)
  method.load_frozen()  # says what is missing before any picture is read
  data, steps = datasets.open_data(config, args.workdir)
  with config.unlocked():
    config.steps, config.epochs = steps, 0.0
  method = resolve.build(config)  # again: a schedule depends on the number of steps
  outcome = loop.train(config, method, data, args.workdir, quiet=args.quiet)
  if not outcome.stopped:
    print(f"{args.workdir}: step {outcome.step}; checkpoints, metrics.jsonl and panels are there")
  return 0
