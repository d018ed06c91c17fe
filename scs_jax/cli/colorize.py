"""`scs-jax colorize`: colours pictures, folders of them and videos with a trained network."""

from scs_jax.cli import arguments, quantities

HELP = """Colours pictures: files, folders (with all below them, structure kept), patterns
("scans/**/*.tif") and videos. Color pictures are grayed first. A result takes its input's format
where it can be written (PNG, JPEG, WebP, TIFF), else PNG, with metadata and transparency kept, and
16 bits a channel where the input had more than 8, its light and dark are kept and the format can; a
video becomes an MP4, coloured frame by frame (so it may flicker), through ffmpeg.

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
scs-jax colorize film.mp4 --out colored --checkpoint runs/small --input-side 512 --keep-luminance
scs-jax colorize --mono mono.png --color color.jpg --out colored.png --checkpoint runs/pairs
scs-jax colorize --mono mono_camera --color color_camera --out colored --checkpoint runs/pairs
"""


def add_arguments(parser) -> None:
  parser.add_argument(
    "inputs", nargs="*", metavar="IN", help="picture, video, folder or quoted pattern"
  )
  _add_pairs(parser)
  parser.add_argument(
    "--out",
    required=True,
    metavar="DIR",
    help="folder of the results; for one picture also a file's name, which is replaced if there",
  )
  parser.add_argument(
    "--checkpoint",
    metavar="RUN",
    help=f"{arguments.TRAINED}. Default: the model scsnet, for pairs cycle_cnn",
  )
  parser.add_argument(
    "--step",
    type=quantities.step,
    metavar="N|best|last",
    help="which checkpoint of the run; default best",
  )
  parser.add_argument(
    "--reference",
    metavar="R",
    help="colour picture that lends its colours, or a folder of them: the one of the same name, "
    "else the most similar one (named in the log)",
  )
  _add_size(parser)
  _add_look(parser)
  _add_reading(parser)
  parser.add_argument(
    "--format",
    choices=("same", "png", "jpg", "webp", "tiff"),
    default="same",
    help="of the results; default same: the input's where it can be written, else png",
  )
  parser.add_argument(
    "--quality",
    type=quantities.quality,
    default=95,
    metavar="1-100",
    help="of JPEG and WebP; default 95",
  )
  parser.add_argument(
    "--memory-limit",
    type=quantities.memory,
    metavar="SIZE",
    help="what to plan for, as 4GB or 512MiB, besides the 0.4 GB that JAX itself takes; larger "
    "pictures go through in smaller tiles, pairs in strips. Default: 80 %% of what is free",
  )
  parser.add_argument(
    "--overwrite", action="store_true", help="do everything again, and replace files of others"
  )
  parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_pairs(parser) -> None:
  group = parser.add_argument_group("pairs of cameras, instead of IN")
  group.add_argument("--mono", metavar="M", help="the monochrome camera's picture, or a folder")
  group.add_argument(
    "--color",
    metavar="C",
    help="the colour camera's picture, or a folder with pictures of the same names",
  )
  group.add_argument(
    "--mono-view",
    choices=("auto", "right", "left", "lower", "upper"),
    help="where the monochrome camera stood, seen from behind the cameras; default auto: from each "
    "pair of pictures",
  )


def _add_size(parser) -> None:
  group = parser.add_mutually_exclusive_group()
  group.add_argument(
    "--scale", type=quantities.scale, metavar="S", help="enlarge each side by this, as 2 or 3.7"
  )
  group.add_argument(
    "--size",
    type=quantities.size,
    metavar="WxH",
    help="width x height of every result, as 1920x1080 (stretched where the aspect differs); 1920x "
    "or x1080: the other by aspect",
  )
  group.add_argument(
    "--same-size", action="store_true", help="as large as the input; this is the default"
  )


def _add_reading(parser) -> None:
  parser.add_argument(
    "--white-level",
    type=quantities.white_level,
    metavar="V",
    help="the value that is white in pictures of more than 8 bits a channel, as 1023 of a 10-bit "
    "camera. Default: what the file says, else the largest value of its type (1 for floats)",
  )
  parser.add_argument(
    "--max-pixels",
    type=quantities.pixels,
    metavar="N",
    help="refuse larger pictures: a small file can promise any size. Default 1e9",
  )


def _add_look(parser) -> None:
  parser.add_argument(
    "--keep-luminance",
    action="store_true",
    help="take only the colours from the network and light and dark from the input: no detail lost",
  )
  parser.add_argument(
    "--saturation",
    type=quantities.saturation,
    default=1.0,
    metavar="X",
    help="strength of the colours: 0 is gray, 1 (default) what the network says, at most 4",
  )
  parser.add_argument(
    "--input-side",
    type=quantities.side,
    metavar="N",
    help="let the network see at most N pixels a side: networks trained on small crops colour "
    "large pictures better so; with --keep-luminance, and of pairs, no detail is lost by it. "
    "Default for pairs: as many as search range and memory allow",
  )


def run(args) -> int:
  from scs_jax.core import stop

  # What is finished stays, and nothing is half written.
  with stop.exiting(143, "scs-jax: stopped by SIGTERM; the same command goes on where it was"):
    return _run(args)


def _run(args) -> int:
  import functools

  from scs_jax.data.decode import MAX_PIXELS
  from scs_jax.errors import UserError
  from scs_jax.infer import batch, inputs, pair_inputs, pictures, record, references
  from scs_jax.training import models

  for flag in ("checkpoint", "reference", "mono", "color"):
    if getattr(args, flag) == "":  # as of an unset variable
      raise UserError(f"--{flag} is empty: expected a path")
  paired = _is_paired(args)
  settings = batch.Settings(
    args.scale, args.size, args.keep_luminance, args.saturation, args.input_side, args.quality
  )
  if paired:
    found = pair_inputs.find(args.mono, args.color, args.out, args.format)
  else:
    found = inputs.find(args.inputs, args.out, args.format)
  if args.checkpoint is None:
    if args.step is not None:
      raise UserError("--step goes with --checkpoint, which is missing")
    alone = args.reference is None and args.scale is None and args.size is None
    model = models.default("pairs" if paired else "automatic" if alone else "photographs")
  else:
    model = models.find(args.checkpoint, args.step)
  read = functools.partial(
    pictures.read, max_pixels=args.max_pixels or MAX_PIXELS, white_level=args.white_level
  )
  lenders, lent = None, None
  if paired:
    lenders, lent = pair_inputs.Partners(found.tasks, read), {"mono_view": args.mono_view or "auto"}
  elif args.reference is not None:
    lenders = references.References(args.reference, read)
    lent = lenders.fingerprint
  identity = {
    **settings.__dict__,
    "checkpoint": model.fingerprint(),
    "reference": lent,
  }
  if args.white_level is not None:  # not otherwise, so that what was made before stays done
    identity["white_level"] = args.white_level
  view = {"mono_view": args.mono_view or "auto"} if paired else {}
  outcome = batch.color_all(
    found.tasks,
    settings,
    record.Record(None if found.single else args.out, identity),
    lambda: _open_colorizer(model, args.memory_limit, **view),
    lenders,
    overwrite=args.overwrite,
    quiet=args.quiet,
    read=read,
  )
  return _report(found, outcome)


def _is_paired(args) -> bool:
  """Whether pairs are given; refuses what goes with neither or with one of the two alone."""
  from scs_jax.errors import UserError

  given = [flag for flag in ("mono", "color") if getattr(args, flag) is not None]
  if not given:
    if not args.inputs:
      raise UserError("nothing to colour: give pictures or folders, or --mono and --color")
    if args.mono_view is not None:
      raise UserError("--mono-view goes with --mono and --color, which are missing")
    return False
  if len(given) == 1:
    other, what = ("color", "colour") if given == ["mono"] else ("mono", "monochrome")
    raise UserError(f"--{given[0]} needs --{other}: the {what} camera's picture or folder")
  if args.inputs:
    raise UserError(f"{args.inputs[0]} beside --mono and --color: give pictures, or pairs")
  if args.reference is not None:
    raise UserError("of a pair --color is the reference: leave --reference out")
  return True


def _open_colorizer(model, memory_limit: int | None, **pairs):
  """What colours photos, or with `mono_view` pairs."""
  from scs_jax.infer import display
  from scs_jax.infer.colorizer import Colorizer
  from scs_jax.infer.pairs import PairColorizer

  display.say(f"colouring with {model.place}")
  kind = PairColorizer if pairs else Colorizer
  return kind.from_checkpoint(model, memory_limit=memory_limit, note=display.say, **pairs)


def _report(found, outcome) -> int:
  """Says what was done and what was not; the exit code."""
  import sys

  from scs_jax.data import listing
  from scs_jax.infer import display, inputs

  broken = [*found.unreadable, *outcome.broken]
  if broken:
    print(f"could not be coloured: {len(broken)}", file=sys.stderr)
    for name, cause in broken:
      print(f"  {display.printable(f'{name}: {cause}')}", file=sys.stderr)
  if spare := getattr(found, "spare", []):
    few = ", ".join(spare[:10]) + (", ..." if len(spare) > 10 else "")
    display.say(f"colour pictures without a monochrome one: {len(spare)} ({few})")
  for line in listing.describe_results(found.results):
    display.say(line)
  if found.others:
    display.say(inputs.describe_others(found.others))
  counts = [f"{outcome.colored} coloured"]
  counts += [f"{outcome.skipped} skipped (done already)"] if outcome.skipped else []
  counts += [f"{len(broken)} broken"] if broken else []
  display.say(", ".join(counts))
  return 1 if broken else 0
