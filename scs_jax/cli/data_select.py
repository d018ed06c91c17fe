"""`scs-jax data select`: the pictures worth training on, as a list."""

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
  from scs_jax.cli import data_arguments
  from scs_jax.data import select

  parser.add_argument("data", metavar="DIR", help="folder of pictures, or a list of them")
  parser.add_argument("--out", required=True, metavar="LIST", help="the list, ending in .txt")
  parser.add_argument(
    "--min-kb",
    type=data_arguments.amount,
    default=select.MIN_KB,
    metavar="KB",
    help=f"least size of a file, in units of 1024 bytes; default {select.MIN_KB}; 0: any",
  )
  parser.add_argument(
    "--min-variation",
    type=data_arguments.amount,
    default=select.MIN_VARIATION,
    metavar="V",
    help=f"least colour variation; default {select.MIN_VARIATION:g}; 0: any that decodes",
  )
  parser.add_argument(
    "--cache", metavar="FILE", help="keep measurements there, so that another call is quick"
  )
  parser.add_argument("--overwrite", action="store_true", help="replace the files that are there")
  data_arguments.add_common(parser)


def run(args) -> int:
  import json

  from scs_jax.cli import data_arguments
  from scs_jax.data import histogram, lists, select
  from scs_jax.data.sources import FileSource
  from scs_jax.errors import UserError

  stem = lists.stem_of(args.out)
  paths = [stem + ending for ending in (lists.SUFFIX, ".json", ".png")]
  data_arguments.require_place(paths, args.overwrite)
  source = data_arguments.open_pictures(args.data)
  if not isinstance(source, FileSource):
    raise UserError(f"{args.data} is no folder or list of picture files: no list can be made of it")
  chosen = select.select(
    source, args.min_kb, args.min_variation, args.cache, args.threads, not args.quiet
  )
  rule = f"{args.min_kb:g} KB or more, colour variation {args.min_variation:g} or more"
  names = [name for name, kept in zip(chosen.names, chosen.kept, strict=True) if kept]
  sizes = histogram.Histogram(
    "File size", "bytes, log scale", chosen.sizes, args.min_kb * 1024, log=True
  )
  colors = histogram.Histogram(
    "Colour variation of the files that are large enough",
    "standard deviation of (a, b) in Lab",
    chosen.variation,
    args.min_variation,
  )
  contents = (
    lists.text(source.root, names, [f"{len(names)} pictures: {rule}"]),
    (json.dumps(chosen.statistics, indent=2) + "\n").encode(),
    histogram.draw([sizes, colors]),
  )
  # The list last: where it is, its statistics are.
  for path, content in reversed(list(zip(paths, contents, strict=True))):
    data_arguments.write(path, content)
  _tell(args, chosen.statistics, stem)
  return 0


def _tell(args, statistics: dict, stem: str) -> None:
  from scs_jax.cli import data_arguments

  rows = [
    ("pictures", statistics["pictures"]),
    ("empty files", statistics["empty_files"]),
    (f"below {args.min_kb:g} KB", statistics["too_small"]),
    ("cannot be read", statistics["cannot_be_read"]),
    (f"colour variation below {args.min_variation:g}", statistics["too_little_variation"]),
  ]
  for name, number in rows:
    if number or name == "pictures":
      print(f"{name:<34}{number:>12,}")
  size = data_arguments.size_text(statistics["kept_bytes"])
  share = f"{statistics['kept_share']:.1%}"
  print(f"{'kept':<34}{statistics['kept']:>12,}  ({share}, {size})")
  print(f"{args.out}: use it as --data {args.out}; {stem}.json and {stem}.png have the figures")
