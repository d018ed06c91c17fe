"""`scs-jax colorize`: colours pictures, folders of them and videos with a trained network."""

import argparse
import math
import re

HELP = """Colours pictures: files, folders (with all below them, structure kept), patterns
("scans/**/*.tif") and videos. Color pictures are grayed first. A result takes its input's format
where it can be written (PNG, JPEG, WebP, TIFF), else PNG, with metadata and transparency kept; a
video becomes an MP4, coloured frame by frame (so it may flicker), through ffmpeg.

What is done already with the same settings is skipped, so the same command goes on where it was
interrupted. Pictures that cannot be read are listed at the end and make the exit code 1."""

EXAMPLES = """
scs-jax colorize photo.jpg --out photo_color.png --checkpoint runs/demo
scs-jax colorize scans --out colored --checkpoint runs/demo --keep-luminance --saturation 1.2
scs-jax colorize scans "more/**/*.tif" --out big --checkpoint runs/demo --scale 3.7 --format png
scs-jax colorize scans --out colored --checkpoint runs/demo --reference sunset.jpg --size 1920x1080
scs-jax colorize frames --out colored --checkpoint runs/demo --reference stills --step last
scs-jax colorize film.mp4 --out colored --checkpoint runs/demo --input-side 512 --keep-luminance
"""

_SMALLEST_MEMORY = 16 << 20
_UNITS = {"": 1, "B": 1} | {
  prefix + suffix: base**power
  for power, prefix in enumerate("KMGT", 1)
  for suffix, base in (("B", 1000), ("iB", 1024))
}
_MOST_SIDE = 1 << 17


def add_arguments(parser) -> None:
  parser.add_argument(
    "inputs", nargs="+", metavar="IN", help="picture, video, folder or quoted pattern"
  )
  parser.add_argument(
    "--out",
    required=True,
    metavar="DIR",
    help="folder of the results; for one picture also a file's name, which is replaced if there",
  )
  parser.add_argument(
    "--checkpoint",
    required=True,
    metavar="RUN",
    help="what to colour with: a run's folder, or one checkpoint in it",
  )
  parser.add_argument(
    "--step", type=_step, metavar="N|best|last", help="which checkpoint of the run; default best"
  )
  parser.add_argument(
    "--reference",
    metavar="R",
    help="colour picture that lends its colours, or a folder of them: the one of the same name, "
    "else the most similar one (named in the log)",
  )
  _add_size(parser)
  _add_look(parser)
  parser.add_argument(
    "--format",
    choices=("same", "png", "jpg", "webp", "tiff"),
    default="same",
    help="of the results; default same: the input's where it can be written, else png",
  )
  parser.add_argument(
    "--quality", type=_quality, default=95, metavar="1-100", help="of JPEG and WebP; default 95"
  )
  parser.add_argument(
    "--memory-limit",
    type=_memory,
    metavar="SIZE",
    help="what to plan for, as 4GB or 512MiB, besides the 0.4 GB that JAX itself takes; larger "
    "pictures go through in smaller tiles. Default: 80 %% of what is free",
  )
  parser.add_argument(
    "--overwrite", action="store_true", help="do everything again, and replace files of others"
  )
  parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_size(parser) -> None:
  group = parser.add_mutually_exclusive_group()
  group.add_argument(
    "--scale", type=_scale, metavar="S", help="enlarge each side by this, as 2 or 3.7"
  )
  group.add_argument(
    "--size",
    type=_size,
    metavar="WxH",
    help="width x height of every result, as 1920x1080 (stretched where the aspect differs); 1920x "
    "or x1080: the other by aspect",
  )
  group.add_argument(
    "--same-size", action="store_true", help="as large as the input; this is the default"
  )


def _add_look(parser) -> None:
  parser.add_argument(
    "--keep-luminance",
    action="store_true",
    help="take only the colours from the network and light and dark from the input: no detail lost",
  )
  parser.add_argument(
    "--saturation",
    type=_saturation,
    default=1.0,
    metavar="X",
    help="strength of the colours: 0 is gray, 1 (default) what the network says, at most 4",
  )
  parser.add_argument(
    "--input-side",
    type=_side,
    metavar="N",
    help="let the network see at most N pixels a side: networks trained on small crops colour "
    "large pictures better so; with --keep-luminance no detail is lost by it",
  )


def run(args) -> int:
  from scs_jax.engine import stop

  # What is finished stays, and nothing is half written.
  with stop.exiting(143, "scs-jax: stopped by SIGTERM; the same command goes on where it was"):
    return _run(args)


def _run(args) -> int:
  from scs_jax.errors import UserError
  from scs_jax.infer import batch, inputs, record, references

  for flag in ("checkpoint", "reference"):
    if getattr(args, flag) == "":  # as of an unset variable
      raise UserError(f"--{flag} is empty: expected a path")
  settings = batch.Settings(
    args.scale, args.size, args.keep_luminance, args.saturation, args.input_side, args.quality
  )
  found = inputs.find(args.inputs, args.out, args.format)
  weights = _find_weights(args)
  lenders = references.References(args.reference) if args.reference is not None else None
  identity = {
    **settings.__dict__,
    "checkpoint": record.fingerprint(weights / "weights", weights / "config"),
    "reference": lenders.fingerprint if lenders else None,
  }
  outcome = batch.color_all(
    found.tasks,
    settings,
    record.Record(None if found.single else args.out, identity),
    lambda: _open_colorizer(weights, args.memory_limit),
    lenders,
    overwrite=args.overwrite,
    quiet=args.quiet,
  )
  return _report(found, outcome)


def _find_weights(args):
  """The folder of the checkpoint that is asked for."""
  from scs_jax.engine import checkpoint_folder
  from scs_jax.errors import UserError

  root, step = checkpoint_folder.find_checkpoint(
    args.checkpoint, "best" if args.step is None else args.step
  )
  if isinstance(args.step, int) and args.step != step:
    raise UserError(f"--checkpoint {args.checkpoint} is step {step} itself: leave --step out")
  return root / str(step)


def _open_colorizer(weights, memory_limit: int | None):
  from scs_jax.infer import display
  from scs_jax.infer.colorizer import Colorizer

  display.say(f"colouring with {weights}")
  return Colorizer.from_checkpoint(weights, memory_limit=memory_limit, note=display.say)


def _report(found, outcome) -> int:
  """Says what was done and what was not; the exit code."""
  import sys

  from scs_jax.infer import display, inputs

  broken = [*found.unreadable, *outcome.broken]
  if broken:
    print(f"could not be coloured: {len(broken)}", file=sys.stderr)
    for name, cause in broken:
      print(f"  {display.printable(f'{name}: {cause}')}", file=sys.stderr)
  if found.others:
    display.say(inputs.describe_others(found.others))
  counts = [f"{outcome.colored} coloured"]
  counts += [f"{outcome.skipped} skipped (done already)"] if outcome.skipped else []
  counts += [f"{len(broken)} broken"] if broken else []
  display.say(", ".join(counts))
  return 1 if broken else 0


def _number(text: str, low: float, high: float, examples: str) -> float:
  try:
    value = float(text)
  except ValueError:
    value = math.nan
  if not low <= value <= high:  # so that nan is refused as well
    raise argparse.ArgumentTypeError(
      f"expected a number from {low:g} to {high:g}, as {examples}; got {text!r}"
    )
  return value


def _whole(text: str, low: int, high: int, examples: str) -> int:
  if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not low <= int(text) <= high:
    raise argparse.ArgumentTypeError(
      f"expected a whole number from {low} to {high}, as {examples}; got {text!r}"
    )
  return int(text)


def _scale(text: str) -> float:
  return _number(text, 0.01, 100, "2 or 3.7")


def _saturation(text: str) -> float:
  return _number(text, 0, 4, "0.8 or 1.3")


def _side(text: str) -> int:
  return _whole(text, 16, _MOST_SIDE, "512")


def _quality(text: str) -> int:
  return _whole(text, 1, 100, "90")


def _step(text: str) -> int | str:
  if text in ("best", "last"):
    return text
  if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
    raise argparse.ArgumentTypeError(f"expected a step's number, best or last; got {text!r}")
  return int(text)


def _size(text: str) -> tuple[int | None, int | None]:
  """`WxH` -> (height, width); None for the one left out."""
  match = re.fullmatch(r"(\d{0,9})x(\d{0,9})", text, re.ASCII | re.IGNORECASE)
  sides = [int(side) if side else None for side in match.groups()] if match else [None]
  given = [side for side in sides if side is not None]
  if not given or not all(1 <= side <= _MOST_SIDE for side in given):
    raise argparse.ArgumentTypeError(
      f"expected width x height in pixels from 1 to {_MOST_SIDE}, as 1920x1080, 1920x or x1080; "
      f"got {text!r}"
    )
  return sides[1], sides[0]


def _memory(text: str) -> int:
  match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", text.strip(), re.ASCII)
  units = {name.lower(): factor for name, factor in _UNITS.items()}
  factor = units.get(match.group(2).lower()) if match else None
  value = float(match.group(1)) * factor if match and factor else 0.0
  if not _SMALLEST_MEMORY <= value < 1e15:
    raise argparse.ArgumentTypeError(
      f"expected a size from 16MiB on, as 4GB, 4GiB or 512MB; got {text!r}"
    )
  return int(value)
