"""`scs-jax ablate`: trains the rows of an ablation table and sets them beside the paper's."""

import argparse

from scs_jax.cli import several

HELP = """Trains every row of an ablation table from the same seed and order of data for the same
number of steps, measures it as the table's spec says, and writes one table with the paper's
figures, ours, and the differences to the base row in both: table.md, table.csv and report.html
(with learning curves and pictures) in the working folder, beside a folder a row. Without a table it
lists those that there are.

The same command again goes on where it was interrupted and leaves out what is done. A row that
fails is told in the table and stops no other; exit code 1. Figures whose weights are not there are
left out, and the table says why. Several jobs that know nothing of each other can share a folder:
--index I --count N trains every N-th row. Several processes that are one job train and measure each
row together: each is started with the same command, a folder that all of them see, and
--distributed auto or where to meet."""

EXAMPLES = """
scs-jax ablate
scs-jax ablate scsnet.components --dry-run
scs-jax ablate scsnet.components --steps 600 --data photos --heldout holiday
scs-jax ablate scsnet.losses --config.loss.perceptual_file=vgg16-397923af.pth
scs-jax ablate smsanet.attention --config paper --data imagenet/train --heldout imagenet/val
scs-jax ablate cycle_cnn.losses --rows 1 2 Ours --steps 500
scs-jax ablate smsanet.attention --workdir /shared/attention --index 2 --count 4
scs-jax ablate scsnet.losses --workdir gs://bucket/losses --data photos --heldout holiday
scs-jax ablate smsanet.attention --workdir /shared/attention --distributed auto
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  add = parser.add_argument
  add("table", nargs="?", metavar="TABLE", help="as scsnet.losses; none: list them")
  # Not a config's full name alone, as of other verbs: `config` stays empty for those who look.
  parser.set_defaults(config=None)
  add(
    "--config",
    dest="which",
    default="small",
    metavar="NAME",
    help="what the rows' changes are made to: small (default), paper, or a .py file with "
    "get_config()",
  )
  add("--steps", type=int, metavar="N", help="of each row; default: the config's own")
  add(
    "--rows",
    nargs="+",
    metavar="ROW",
    help="numbers, from 1, or names of the rows to train; default: all",
  )
  add(
    "--workdir",
    metavar="DIR",
    help="where rows and table go, here or in a bucket (gs://, s3://); default "
    "runs/ablate/TABLE-CONFIG",
  )
  add("--data", metavar="DIR", help="training pictures; short for --config.data.source")
  add("--heldout", metavar="DIR", help="held-out pictures; short for --config.data.heldout")
  add(
    "--limit",
    type=int,
    metavar="N",
    help="measure N held-out pictures a mode at most; default: as many as the paper did",
  )
  add("--fid-weights", metavar="FILE", help="FID's Inception-v3 weights; without, no FID")
  add("--index", type=int, default=0, metavar="I", help="which of --count jobs this is, from 0")
  add("--count", type=int, default=1, metavar="N", help="jobs that share the rows")
  add("--collect", action="store_true", help="train nothing: write the table of what is there")
  add("--dry-run", action="store_true", help="check everything, say what would be done, stop")
  add("--quiet", action="store_true", help="no progress bars")
  several.add_arguments(parser)
  note = parser.add_argument_group(
    "config keys", "--config.KEY=VALUE sets one key of all rows; a row's own changes come after it"
  )
  note.add_argument("--config.KEY", default=argparse.SUPPRESS, metavar="VALUE", help="(any key)")


def run(args) -> int:
  import sys

  from scs_jax.cli import arguments
  from scs_jax.core import stop

  # Until the loop takes SIGTERM over, nothing is there to save.
  with stop.exiting(), several.joined(args, goes_on=True):
    import scs_jax  # takes seconds
    from scs_jax.measure import ablate, ablate_table

    if args.table is None:
      print(ablate.listing(args.which))
      return 0
    found = scs_jax.ablate(
      **arguments.values(args, "config", "which"),
      config=args.which,
      overrides=args.overrides,
      log=lambda line: several.is_first() and print(line, flush=True),
    )
  if args.dry_run or found.stopped:
    return 0
  if not several.is_first():
    return 1 if found.failed else 0
  table = found.plan.place(found.plan.folder / ablate_table.TABLE)
  print(f"table: {table}, {ablate_table.CSV}, {ablate_table.PAGE}")
  for name, why in found.failed.items():
    print(f"failed: {name}: {why}", file=sys.stderr)
  return 1 if found.failed else 0
