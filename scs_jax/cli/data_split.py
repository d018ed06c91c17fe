"""`scs-jax data split`: stereo pairs, dealt at random to a training and a held-out list."""

HELP = """Deals stereo pairs at random to two lists, as Cycle CNN's authors did theirs (Section
IV-B: of 1000 pairs 300 for testing). Which are held out hangs on --seed and the pairs alone.

PAIRS is MONO_DIR,COLOR_DIR with pictures matched by name, a list file, or a folder of colour stereo
(of its disparity files a list holds PFM of left views alone). Both lists then stand for pairs:
--data OUT/train.csv --heldout OUT/heldout.csv."""

EXAMPLES = """
scs-jax data split mono,color --heldout 300 --out lists
scs-jax data split pairs.csv --heldout 30 --out lists --seed 1
"""


def add_arguments(parser) -> None:
  from scs_jax.cli import data_arguments

  parser.add_argument("pairs", metavar="PAIRS", help="where the pairs are, see above")
  parser.add_argument(
    "--heldout", type=data_arguments.count, required=True, metavar="N", help="pairs to hold out"
  )
  parser.add_argument("--out", required=True, metavar="DIR", help="a folder that is there")
  parser.add_argument("--seed", type=int, default=0, metavar="S", help="of the draw; default 0")
  parser.add_argument("--overwrite", action="store_true", help="replace the lists that are there")


def run(args) -> int:
  import os

  from scs_jax.cli import data_arguments
  from scs_jax.data import draw, stereo, stereo_lists
  from scs_jax.errors import UserError

  paths = [os.path.join(args.out, name) for name in ("train.csv", "heldout.csv")]
  data_arguments.require_place(paths, args.overwrite)
  source = stereo.open_pairs(args.pairs)
  if args.heldout >= len(source):
    raise UserError(
      f"--heldout {args.heldout}: {args.pairs} has {len(source)} pairs, and one at least is to be "
      "trained on; give a smaller number"
    )
  if args.seed < 0:
    raise UserError(f"--seed {args.seed}: expected 0 or more")
  held = set(map(int, draw.draw(source, args.heldout, args.seed).numbers))
  lists = [[], []]
  for i, record in enumerate(source.records):
    lists[i in held].append(record)
  contents = [stereo_lists.text(records, args.out) for records in lists]
  for path, content, records in zip(paths, contents, lists, strict=True):
    data_arguments.write(path, content)
    print(f"{path}: {len(records)} pairs")
  for note in source.notes:
    print(note)
  return 0
