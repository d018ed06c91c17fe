"""`scs-jax data check`: is every picture of a data set whole, and there once?"""

from scs_jax.cli import arguments

HELP = """Reads and decodes every picture of a data set at full size. Reported are pictures that
cannot be read, empty files, such whose bytes are the same, damaged shards of a packed folder
(checksums), and with --against pictures that another data set has too. Then the exit code is 1,
else 0. Gray pictures and, with --near, such that look alike are counted, but change no exit code.

SPEC is what --data takes: a folder, a list, a packed folder, tfds:NAME:SPLIT, bundled."""

EXAMPLES = """
scs-jax data check photos
scs-jax data check train --against heldout --near 4 --out check.json
scs-jax data check tfds:oxford_flowers102:train
"""


def add_arguments(parser) -> None:
  add = parser.add_argument
  add("data", metavar="SPEC", help="the data set")
  add("--against", metavar="SPEC", help="another data set, of which none should be in this one")
  add("--near", type=int, metavar="BITS",
      help="look for pictures that look alike too: whose difference hashes differ in so many of 64 "
      "bits or fewer; 0 to 15, 4 is usual")
  add("--out", metavar="FILE", help="write everything that was found, as JSON")
  arguments.add_threads(parser)


def run(args) -> int:
  from scs_jax.data import check_records

  found = check_records.check_data(**arguments.values(args))
  found.show(args.against)
  if args.out:
    print(f"all findings: {args.out}")
  return int(found.wrong)
