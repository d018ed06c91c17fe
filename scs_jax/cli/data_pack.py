"""`scs-jax data pack`: picture files into few large files that are read at random from any disk."""

HELP = """Packs pictures into ArrayRecord shards, their bytes kept as they are. DIR is a folder (any
tree), a list as `scs-jax data select` writes it, or another data set (tfds:NAME:SPLIT, bundled);
OUT is a new folder. Both may be in a bucket (gs://, s3://). OUT is then a data set itself, --data
OUT, with the same names in the same order, so that a run that began with DIR can go on with it.

Every shard is read back and has a checksum, as every picture has (`scs-jax data check` compares
them). Interrupted or killed, the same command goes on with the shards that are not finished."""

EXAMPLES = """
scs-jax data pack photos photos_packed
scs-jax data pack imagenet_c.txt gs://bucket/imagenet_c --workers 16
scs-jax data pack tfds:celeb_a_hq/256:train celeb_packed --records 4096
"""


def add_arguments(parser) -> None:
  from scs_jax.cli import data_arguments

  parser.add_argument("data", metavar="DIR", help="what is packed, see above")
  parser.add_argument("out", metavar="OUT", help="folder that receives the shards")
  parser.add_argument(
    "--records",
    type=data_arguments.count,
    default=1024,
    metavar="N",
    help="pictures a shard; default 1024, some 110 MB of ImageNet",
  )
  parser.add_argument(
    "--workers",
    type=data_arguments.count,
    metavar="N",
    help="shards written at once; default: one a core, at most 8; it changes no file",
  )
  parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(args) -> int:
  from scs_jax.cli import data_arguments
  from scs_jax.data import listing, pack
  from scs_jax.errors import UserError

  if not args.out:
    raise UserError("OUT is empty: expected a folder for the shards")
  source = data_arguments.open_pictures(args.data)
  packed = pack.pack(source, args.out, args.records, args.workers, progress=not args.quiet)
  shards = f"{packed.shards} shard{'s' if packed.shards > 1 else ''}"
  size = data_arguments.size_text(packed.bytes)
  if packed.already:
    print(f"{args.out}: {packed.records} pictures, packed already")
    return 0
  kept = f"; {packed.resumed} of the shards were finished before" if packed.resumed else ""
  print(f"{args.out}: {packed.records} pictures in {shards}, {size}{kept}")
  left_out = getattr(source, "skipped_empty", 0)
  if left_out:
    print(f"left out: {left_out} empty files")
  for line in listing.describe_results(getattr(source, "skipped_results", ())):
    print(line)
  return 0
