"""`scs-jax colorize`: colours pictures, folders of them and videos with a trained network."""

from scs_jax.cli import arguments, quantities

HELP = """Colours pictures: files, folders (with all below them, structure kept), patterns
("scans/**/*.tif") and videos; all but patterns may be in a bucket (gs://, s3://), as may the
results. Color pictures are grayed first. A result takes its input's format where it can be written
(PNG, JPEG, WebP, TIFF), else PNG, with metadata and transparency kept, and 16 bits a channel where
the input had more than 8, its light and dark are kept and the format can; a video becomes an MP4,
coloured frame by frame (so it may flicker), through ffmpeg.

Without --checkpoint a model that ships with the package colours (`scs-jax models` lists them):
smsanet, or scsnet where there is a --reference or another size is asked for, or cycle_cnn of pairs.

Pairs: with a network for two cameras (cycle_cnn), --mono and --color name the pictures that
a monochrome and a colour camera took side by side at the same moment, rectified and of one size:
two files, or two folders in which the views of a pair have the same name (extensions aside). The
result is the monochrome picture in colour, at full size, its light and dark unchanged.

What is done already with the same settings is skipped, so the same command goes on where it was
interrupted. Pictures that cannot be read are listed at the end and make the exit code 1."""

EXAMPLES = """
scs-jax colorize photo.jpg --out photo_color.jpg
scs-jax colorize photo.jpg --out photo_color.png --checkpoint runs/small
scs-jax colorize scans --out colored --checkpoint runs/small --keep-luminance --saturation 1.2
scs-jax colorize scans "more/**/*.tif" --out big --checkpoint runs/small --scale 3.7 --format png
scs-jax colorize scans --out colored --checkpoint runs/small --reference sunset.jpg --size 1920x1080
scs-jax colorize frames --out colored --checkpoint runs/small --reference stills --step last
scs-jax colorize s3://bucket/scans --out s3://bucket/colored
scs-jax colorize film.mp4 --out colored --checkpoint runs/small --input-side 512 --keep-luminance
scs-jax colorize --mono mono.png --color color.jpg --out colored.png --checkpoint runs/pairs
scs-jax colorize --mono mono_camera --color color_camera --out colored --checkpoint runs/pairs
"""


def add_arguments(parser) -> None:
  add = parser.add_argument
  add("inputs", nargs="*", metavar="IN", help="picture, video, folder or quoted pattern")
  pairs = parser.add_argument_group("pairs of cameras, instead of IN").add_argument
  pairs("--mono", metavar="M", help="the monochrome camera's picture, or a folder")
  pairs("--color", metavar="C",
        help="the colour camera's picture, or a folder with pictures of the same names")
  pairs("--mono-view", choices=("auto", "right", "left", "lower", "upper"),
        help="where the monochrome camera stood, seen from behind the cameras; default auto: from "
        "each pair of pictures")
  add("--out", required=True, metavar="DIR",
      help="folder of the results, here or in a bucket; for one picture also a file's name, which "
      "is replaced if there")
  add("--checkpoint", metavar="RUN",
      help=f"{arguments.TRAINED}. Default: the shipped model named above")
  arguments.add_step(parser)
  add("--reference", metavar="R",
      help="colour picture that lends its colours, or a folder of them: the one of the same name, "
      "else the most similar one (named in the log)")
  sizes = parser.add_mutually_exclusive_group().add_argument
  sizes("--scale", type=quantities.scale, metavar="S",
        help="enlarge each side by this, as 2 or 3.7")
  sizes("--size", type=quantities.size, metavar="WxH",
        help="width x height of every result, as 1920x1080 (stretched where the aspect differs); "
        "1920x or x1080: the other by aspect")
  sizes("--same-size", action="store_true", help="as large as the input; this is the default")
  add("--keep-luminance", action="store_true",
      help="take only the colours from the network and light and dark from the input: no detail "
      "lost")
  add("--saturation", type=quantities.saturation, default=1.0, metavar="X",
      help="strength of the colours: 0 is gray, 1 (default) what the network says, at most 4")
  add("--input-side", type=quantities.side, metavar="N",
      help="let the network see at most N pixels a side: networks trained on small crops colour "
      "large pictures better so; with --keep-luminance, and of pairs, no detail is lost by it. "
      "Default for pairs: as many as search range and memory allow")
  add("--white-level", type=quantities.white_level, metavar="V",
      help="the value that is white in pictures of more than 8 bits a channel, as 1023 of a 10-bit "
      "camera. Default: what the file says, else the largest value of its type (1 for floats)")
  add("--max-pixels", type=quantities.pixels, metavar="N",
      help="refuse larger pictures: a small file can promise any size. Default 1e9")
  add("--format", choices=("same", "png", "jpg", "webp", "tiff"), default="same",
      help="of the results; default same: the input's where it can be written, else png")
  add("--quality", type=quantities.quality, default=95, metavar="1-100",
      help="of JPEG and WebP; default 95")
  add("--memory-limit", type=quantities.memory, metavar="SIZE",
      help="what to plan for, as 4GB or 512MiB, besides the 0.4 GB that JAX itself takes; larger "
      "pictures go through in smaller tiles, pairs in strips. Default: 80 %% of what is free")
  add("--overwrite", action="store_true", help="do everything again, and replace files of others")
  arguments.add_quiet(parser)


def run(args) -> int:
  from scs_jax.core import stop

  # What is finished stays, and nothing is half written.
  with stop.exiting(143, "scs-jax: stopped by SIGTERM; the same command goes on where it was"):
    from scs_jax.infer import jobs

    outcome = jobs.colorize(**arguments.values(args, "same_size"))
    outcome.show()
  return int(bool(outcome.broken))
