"""`scs-jax data select`: the pictures worth training on, as a list."""

from scs_jax.cli import arguments, quantities

HELP = """Selects pictures by the rule with which SCSNet's authors made ImageNet-C (Section 4.1):
files of 80 KB or more whose colours vary enough. DIR is a folder of pictures (any tree), here or in
a bucket, or a list. LIST.txt then stands for the folder: --data LIST.txt. Beside it come LIST.json
(how many fall to which rule, quantiles, what other thresholds would keep) and LIST.png (two
histograms).

The paper gives no measure of colour variation and no threshold. Ours is the standard deviation of
(a, b) in Lab over the pixels: 0 for gray and near 0 for sepia prints, some 12 for ordinary photos.
The paper kept 31.8 % of ImageNet."""

EXAMPLES = """
scs-jax data select imagenet/train --out imagenet_c.txt
scs-jax data select photos --out colorful.txt --min-kb 0 --min-variation 8
scs-jax data select imagenet/train --out imagenet_c.txt --cache scan.json --overwrite
"""


def add_arguments(parser) -> None:
  add = parser.add_argument
  add("data", metavar="DIR", help="folder of pictures, or a list of them")
  add("--out", required=True, metavar="LIST", help="the list, ending in .txt")
  add("--min-kb", type=quantities.amount, default=80, metavar="KB",
      help="least size of a file, in units of 1024 bytes; default 80; 0: any")
  add("--min-variation", type=quantities.amount, default=12.0, metavar="V",
      help="least colour variation; default 12; 0: any that decodes")
  add("--cache", metavar="FILE", help="keep measurements there, so that another call is quick")
  add("--overwrite", action="store_true", help="replace the files that are there")
  arguments.add_threads(parser)


def run(args) -> int:
  from scs_jax.data import select

  select.write_list(**arguments.values(args)).show()
  stem = args.out.removesuffix(".txt")
  print(f"{args.out}: use it as --data {args.out}; {stem}.json and {stem}.png have the figures")
  return 0
