"""`scs-jax visualize magnify`: one picture at many magnifications (Figure 9 of SCSNet's paper)."""

from scs_jax.cli import arguments, quantities

HELP = """Colours one picture at a row of magnifications and writes two files to --out:

  NAME_magnify.png    a contact sheet: for each magnification a detail at the result's own pixels,
                      the whole result small beside it, and under it the same detail of the gray
                      input enlarged by the bicubic, which knows no colours.
  NAME_animation.png  the detail getting larger and smaller again (.gif, .webp: see --animation).

Magnifications are any real numbers. A result is what `scs-jax colorize --scale S` writes. One set
of compiled programs does all magnifications of a network that works in tiles (scsnet); the
enlarging ones of joint_sr (tasks super_resolution and joint_residual) compile once for each. A
network that gives colours alone, at one magnification (smsanet, joint_sr's other tasks), has
nothing to show here. The time grows with the results' pixels: for large photos give --input-side.

Files of the same names are replaced."""

EXAMPLES = """
scs-jax visualize magnify gray.jpg --checkpoint runs/scsnet
scs-jax visualize magnify gray.jpg --checkpoint runs/scsnet --scales 1:4:0.5 --point 120,80
scs-jax visualize magnify gray.jpg --checkpoint runs/small --scales 1,1.5,2.7 --reference color.jpg
scs-jax visualize magnify big.jpg --checkpoint runs/small --input-side 160 --frames 25
"""

_MOST = 64  # magnifications, and frames


def add_arguments(parser) -> None:
  add = parser.add_argument
  add("picture", metavar="PICTURE", help="what is coloured; a colour picture is grayed first")
  add(
    "--checkpoint",
    required=True,
    metavar="RUN",
    help=arguments.TRAINED,
  )
  add(
    "--step",
    type=quantities.step,
    metavar="N|best|last",
    help="which checkpoint of the run; default best",
  )
  add(
    "--reference",
    metavar="R",
    help="colour picture that lends its colours, or a folder of them, as of `scs-jax colorize`",
  )
  add(
    "--scales",
    type=scales,
    default=scales("1:4:0.5"),
    metavar="LIST",
    help="FIRST:LAST:STEP or a list, as 1:4:0.5 (default) or 1,1.5,2.7,4",
  )
  add(
    "--point",
    type=_point,
    metavar="X,Y",
    help="pixel of PICTURE, upright and at its own size, in the middle of the detail: column from "
    "the left, row from the top, from 0. Default: where the picture has the most detail",
  )
  add(
    "--window",
    type=quantities.side,
    metavar="N",
    help="side of the detail in pixels of the input; default: such that the largest has 192",
  )
  add(
    "--input-side",
    type=quantities.side,
    metavar="N",
    help="reduce PICTURE to at most N pixels a side first: this is then the input",
  )
  add(
    "--frames",
    type=_frames,
    metavar="N",
    help="frames of the animation one way, in even ratios from the least magnification to the "
    f"largest, 2 to {_MOST}; each is coloured anew. Default: those of --scales",
  )
  add(
    "--animation",
    choices=("png", "webp", "gif", "none"),
    default="png",
    help="png (default) and webp keep colours exactly; gif has 256 a frame, and plays anywhere",
  )
  add(
    "--out",
    default="magnify",
    metavar="DIR",
    help="folder of the results, made where there is none; default magnify",
  )
  add(
    "--memory-limit",
    type=quantities.memory,
    metavar="SIZE",
    help="what to plan for, as 4GB; see `scs-jax colorize`",
  )
  add("--quiet", action="store_true", help="no progress bar")


def run(args) -> int:
  from scs_jax.core import stop

  with stop.exiting(143, "scs-jax: stopped by SIGTERM; nothing was written"):
    return _run(args)


def _run(args) -> int:
  import pathlib

  import numpy as np

  from scs_jax.cli import visualize_magnify_input as given
  from scs_jax.core.files import write_aside
  from scs_jax.errors import UserError
  from scs_jax.infer import display
  from scs_jax.infer.colorizer import Colorizer, reference_rgb
  from scs_jax.report import magnify_sheet, panels

  for flag in ("picture", "checkpoint", "reference", "out"):
    if getattr(args, flag) == "":  # as of an unset variable
      name = "PICTURE" if flag == "picture" else f"--{flag}"
      raise UserError(f"{name} is empty: expected a path")
  if args.animation == "none" and args.frames is not None:
    raise UserError("--frames is of the animation, which --animation none leaves out: drop one")
  model = given.find(args)
  picture, window = given.read(args)
  moving = given.moving(args)
  every = sorted({*args.scales, *moving})
  given.require_sizes(picture.gray.shape, every)
  lender = given.lender(args, picture)
  out = pathlib.Path(args.out).expanduser()
  out.mkdir(parents=True, exist_ok=True)  # refused before the work
  display.say(f"colouring with {model.place}")
  colorizer = Colorizer.from_checkpoint(model, memory_limit=args.memory_limit, note=display.say)
  found = {}
  with display.bar(total=len(every), unit="picture", disable=args.quiet) as bar:
    for scale in every:
      rgb = colorizer.color(picture, lender, scale=scale, keep_luminance=False)
      found[scale] = magnify_sheet.magnified(picture.gray, rgb, scale, window)
      bar.update()
  shown = None if lender is None else np.round(reference_rgb(lender) * 255).astype(np.uint8)
  sheet = magnify_sheet.draw(
    _title(args, model, picture.gray.shape, window),
    picture.gray,
    window,
    [found[scale] for scale in args.scales],
    shown,
  )
  stem = pathlib.Path(args.picture).stem
  files = {out / f"{stem}_magnify.png": panels.png(sheet)}
  if moving:
    frames = magnify_sheet.frames([found[scale] for scale in moving])
    path = out / f"{stem}_animation.{args.animation}"
    files[path] = magnify_sheet.animate(frames, args.animation)
  for path, content in files.items():
    write_aside(path, content)
    display.say(f"wrote {path}")
  display.say(f"{len(every)} magnifications by {colorizer.programs} compiled programs")
  return 0


def _title(args, model, size, window) -> list[str]:
  import pathlib

  from scs_jax.cli import visualize_magnify_input as given
  from scs_jax.infer import display

  name = display.printable(pathlib.Path(args.picture).name)
  reference = ""
  if args.reference is not None:
    reference = f", reference {display.printable(pathlib.Path(args.reference).name)}"
  return [
    f"{name}, {size[1]}x{size[0]} pixels, by {given.called(model.method)}, step {model.step}"
    f"{reference}. Detail: {window.side}x{window.side} pixels of the input from {window.left},"
    f"{window.top} on."
  ]


def scales(text: str) -> list[float]:
  """`FIRST:LAST:STEP` or a list: two or more different magnifications, rising."""
  import argparse

  parts = text.split(":")
  if len(parts) == 1:
    every = {quantities.scale(part.strip()) for part in text.split(",")}
  elif len(parts) == 3:
    first, last, step = map(quantities.scale, parts)
    if not first < last:
      raise argparse.ArgumentTypeError(f"expected FIRST below LAST, as 1:4:0.5; got {text!r}")
    count = int((last - first) / step + 1e-6) + 1
    every = {round(first + k * step, 6) for k in range(min(count, _MOST + 1))}
  else:
    raise argparse.ArgumentTypeError(
      f"expected FIRST:LAST:STEP, as 1:4:0.5, or a list, as 1,1.5,2.7,4; got {text!r}"
    )
  if not 2 <= len(every) <= _MOST:
    count = "one" if len(every) == 1 else f"more than {_MOST}"
    raise argparse.ArgumentTypeError(f"expected 2 to {_MOST} magnifications; {text!r} is {count}")
  return sorted(every)


def _point(text: str) -> tuple[int, int]:
  import argparse
  import re

  match = re.fullmatch(r"(\d{1,9}),(\d{1,9})", text, re.ASCII)
  if not match:
    raise argparse.ArgumentTypeError(
      f"expected X,Y, the column and row of a pixel, as 120,80; got {text!r}"
    )
  return int(match.group(1)), int(match.group(2))


def _frames(text: str) -> int:
  import argparse

  if not text.isdecimal() or not text.isascii() or not 2 <= int(text[:9]) <= _MOST:
    raise argparse.ArgumentTypeError(f"expected a whole number from 2 to {_MOST}; got {text!r}")
  return int(text)
