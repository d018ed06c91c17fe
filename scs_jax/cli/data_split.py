"""`scs-jax data split`: stereo pairs, dealt at random to a training and a held-out list."""

from scs_jax.cli import arguments, quantities

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
  add = parser.add_argument
  add("pairs", metavar="PAIRS", help="where the pairs are, see above")
  add("--heldout", type=quantities.count, required=True, metavar="N", help="pairs to hold out")
  add("--out", required=True, metavar="DIR", help="a folder that is there")
  add("--seed", type=int, default=0, metavar="S", help="of the draw; default 0")
  add("--overwrite", action="store_true", help="replace the lists that are there")


def run(args) -> int:
  from scs_jax.data import split

  for line in split.split(**arguments.values(args)):
    print(line)
  return 0
