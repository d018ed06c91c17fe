"""`scs-jax visualize attention`: where SCSNet looks in a reference (Figure 8 of its paper)."""

from scs_jax.cli import arguments, quantities

HELP = """Draws what SCSNet's attention (PVCAttn) does when it colours GRAY by a reference. For each
chosen point of GRAY a row of heat maps over the reference, one a pyramid level: bright is where the
colour of this point comes from, with a cross at the largest weight. Below them the valves of each
level: how much of the picture's own features (V1) and of what the reference gave (V2) gets through,
of 1. Above them GRAY, the reference, and the coloured result.

Heat maps go from their own least weight to their largest (and are dark where these hardly differ),
so read the captions too: how many times the two are what each position would have if all were alike
(about 1x: it looks everywhere, as an untrained network does), and the share of the reference that
has half of the weight. The same numbers are printed, and written beside the picture as .json.

At a level, a point stands for the square of 4, 8, 16, ... pixels that holds it. GRAY may be a
colour picture, which is grayed first. The network sees the pictures as `scs-jax colorize` shows
them to it: the reference reduced to 512 pixels a side, GRAY to --input-side."""

_CALL = "scs-jax visualize attention gray.jpg --reference color.jpg --checkpoint"
EXAMPLES = f"""
{_CALL} runs/scsnet
{_CALL} runs/scsnet --points 120,80 300,210
{_CALL} runs/small --input-side 128 --out eyes.png
{_CALL} runs/scsnet --step last --arrays
"""

_MOST_POINTS = 16
_SIDE = 512  # infer.attention.SIDE, which imports jax
_NEARLY_EVEN = 1.5  # times even; the demo's network is above it where places differ
_FEW_POSITIONS = 16  # a reference of fewer has little to choose from


def add_arguments(parser) -> None:
  parser.add_argument("gray", metavar="GRAY", help="the picture that is coloured")
  parser.add_argument(
    "--reference", required=True, metavar="R", help="the colour picture that lends its colours"
  )
  parser.add_argument(
    "--checkpoint",
    required=True,
    metavar="RUN",
    help=f"{arguments.TRAINED}; of scsnet",
  )
  parser.add_argument(
    "--step",
    type=quantities.step,
    metavar="N|best|last",
    help="which checkpoint of the run; default best",
  )
  parser.add_argument(
    "--points",
    nargs="+",
    type=_point,
    metavar="X,Y",
    help="pixels of GRAY, upright and at its own size: columns from the left, rows from the top, "
    f"both from 0; {_MOST_POINTS} at most. Default: up to four corners, far apart",
  )
  parser.add_argument(
    "--out",
    default="attention.png",
    metavar="FILE",
    help="the picture, a .png, replaced if there, with a .json beside it; default attention.png",
  )
  parser.add_argument(
    "--arrays", action="store_true", help="write weights and valves beside it too, as .npz"
  )
  parser.add_argument(
    "--input-side",
    type=quantities.side,
    default=_SIDE,
    metavar="N",
    help=f"let the network see GRAY reduced to at most N pixels a side; default {_SIDE}. Networks "
    "trained on small crops attend better on small pictures",
  )


def run(args) -> int:
  import json

  from scs_jax.core import files
  from scs_jax.data import scan
  from scs_jax.infer import attention, display
  from scs_jax.report import attention_numbers as numbers
  from scs_jax.report import attention_panel as panel
  from scs_jax.report import panels

  out = _out(args)
  picture, reference = _read("GRAY", args.gray), _read("--reference", args.reference)
  size = picture.gray.shape
  asked = args.points
  points = numbers.spread_points(picture.gray) if asked is None else _points(asked, size)
  method, state, name = _load(args)
  for path, one in ((args.gray, picture), (args.reference, reference)):
    for remark in one.remarks:
      display.say(f"{path}: {remark}")
  if reference.chroma < scan.GRAY_CHROMA:
    display.say(f"{args.reference} is gray: it has no colours to lend; its attention is shown")
  gray = attention.seen(picture, args.input_side)
  display.say(f"looking with {name}")
  if gray.shape != size:
    display.say(
      f"the network sees {args.gray}, {size[1]}x{size[0]}, at {gray.shape[1]}x{gray.shape[0]} "
      "(--input-side)"
    )
  seen_points = numbers.moved(points, size, gray.shape)
  looked = attention.look(method, state, gray, reference, seen_points)
  shown = panel.Shown(
    *looked[:4],
    [f"at {x}, {y} of {size[1]} x {size[0]}" for y, x in points],
    looked.levels,
    _title(args, name, looked.levels),
  )
  found = numbers.describe(
    looked.levels, points, looked.reference.shape[:2], reference.gray.shape
  )
  for line in numbers.lines(found["points"]):
    display.say(line)
  most = max(row["times_even"] for point in found["points"] for row in point["levels"])
  if most < _NEARLY_EVEN and looked.levels[0].weights[0].size >= _FEW_POSITIONS:
    display.say(
      f"no weight is above {most:.3g}x even: from these points the network hardly tells places of "
      "this reference apart, as one that has been trained little"
    )
  if looked.levels[0].valves is None:
    display.say("this network has no valves (network.valves=False, as BCAttn): none are shown")
  files.write_aside(out, panels.png(panel.draw(shown)))
  about = {"gray": args.gray, "reference": args.reference, "checkpoint": name}
  written = [out, out.with_suffix(".json")]
  text = json.dumps(about | found, indent=2) + "\n"
  files.write_aside(written[1], text.encode("utf-8", "backslashreplace"))
  if args.arrays:
    written.append(out.with_suffix(".npz"))
    files.write_aside(written[2], _npz(looked.levels, points, seen_points))
  display.say(f"wrote {', '.join(map(str, written))}")
  return 0


def _out(args):
  """The picture's path; refuses what is no .png, and to write over what is read."""
  import os
  import pathlib

  from scs_jax.errors import UserError

  for flag in ("gray", "reference", "checkpoint", "out"):
    if getattr(args, flag) == "":  # as of an unset variable
      raise UserError(f"{'GRAY' if flag == 'gray' else f'--{flag}'} is empty: expected a path")
  out = pathlib.Path(args.out).expanduser()
  if out.suffix.lower() != ".png":
    raise UserError(f"--out {args.out}: expected a file's name that ends in .png")
  if out.is_dir():
    raise UserError(f"--out {args.out} is a folder: expected a file's name that ends in .png")
  for path in (args.gray, args.reference):
    if out.exists() and os.path.exists(path) and os.path.samefile(out, path):
      raise UserError(f"--out {args.out} is what is read: choose another name")
  return out


def _read(what: str, path: str):
  from scs_jax.data import decode
  from scs_jax.errors import UserError
  from scs_jax.infer import pictures

  try:
    return pictures.read(path)
  except FileNotFoundError as error:
    raise UserError(f"{what} {path}: no such file; check the path") from error
  except decode.DecodeError as error:
    raise UserError(f"{what}: {error}; give another picture") from error


def _load(args):
  """(method, state, "RUN, step N") of a network with attention to a reference."""
  from scs_jax.infer import attention
  from scs_jax.training import models

  model = models.find(args.checkpoint, args.step)
  attention.require(model.method)
  return model.method, model.restore(), f"{args.checkpoint}, step {model.step}"


def _title(args, name: str, levels) -> str:
  import pathlib

  one = "one level, no pyramid" if len(levels) == 1 else f"{len(levels)} pyramid levels"
  valves = "" if levels[0].valves is not None else ", no valves"
  pictures = " by ".join(pathlib.Path(path).name for path in (args.gray, args.reference))
  return f"{pictures}; {name}; {one}{valves}"


def _point(text: str) -> tuple[int, int]:
  """`X,Y` -> (row, column)."""
  import argparse
  import re

  match = re.fullmatch(r"(\d{1,9}),(\d{1,9})", text, re.ASCII)
  if not match:
    raise argparse.ArgumentTypeError(
      f"expected X,Y, the column and row of a pixel, as 120,80; got {text!r}"
    )
  return int(match.group(2)), int(match.group(1))


def _points(asked, size: tuple[int, int]):
  """The points asked for, int [P, 2]; refuses those outside the picture and too many."""
  import numpy as np

  from scs_jax.errors import UserError

  if len(asked) > _MOST_POINTS:
    raise UserError(f"--points: {len(asked)} are too many for a picture; give {_MOST_POINTS}")
  for y, x in asked:
    if not (y < size[0] and x < size[1]):
      raise UserError(
        f"--points {x},{y} is outside GRAY, whose pixels go from 0,0 to {size[1] - 1},{size[0] - 1}"
      )
  return np.array(asked, np.int64)


def _npz(levels, points, seen_points) -> bytes:
  import io

  import numpy as np

  arrays = {"points": points[:, ::-1], "points_seen": seen_points[:, ::-1]}
  for i, level in enumerate(levels, 1):
    arrays[f"weights_{i}"] = level.weights
    if level.valves is not None:
      arrays[f"valves_{i}"] = level.valves
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  return buffer.getvalue()
