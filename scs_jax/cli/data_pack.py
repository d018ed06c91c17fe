"""`scs-jax data pack`: picture files into few large files that are read at random from any disk."""

from scs_jax.cli import arguments, quantities

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
  add = parser.add_argument
  add("source", metavar="DIR", help="what is packed, see above")
  add("out", metavar="OUT", help="folder that receives the shards")
  add("--records", type=quantities.count, default=1024, metavar="N",
      help="pictures a shard; default 1024, some 110 MB of ImageNet")
  add("--workers", type=quantities.count, metavar="N",
      help="shards written at once; default: one a core, at most 8; it changes no file")
  arguments.add_quiet(parser)


def run(args) -> int:
  from scs_jax.data import pack

  pack.pack(**arguments.values(args, "quiet"), progress=not args.quiet).show()
  return 0
