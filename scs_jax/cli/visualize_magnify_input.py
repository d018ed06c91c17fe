"""What `scs-jax visualize magnify` starts from: checkpoint, picture, window, reference, scales."""

import dataclasses
import pathlib

import numpy as np

from scs_jax.data import decode
from scs_jax.errors import UserError
from scs_jax.infer import colorizer, display, pictures, references, resizing
from scs_jax.report import magnify_sheet
from scs_jax.training import models

_DETAIL = 192  # pixels of the largest detail, where --window is not given
_LEAST_WINDOW = 16


def find(args):
  """The trained network that is asked for, which magnifies by all that is asked for."""
  found = models.find(args.checkpoint, args.step)
  method = found.method
  name = type(method).__name__
  if method.takes_pairs:
    raise UserError(
      f"{name} colours pairs of cameras at their own size, 1x: there is nothing to magnify; its "
      "figures are those of `scs-jax visualize confidence`"
    )
  if method.keeps_luminance:
    raise UserError(
      f"{called(method)} gives colours alone, at {method.usual_scale:g}x of what it sees; of a "
      "larger result light and dark are the input's, interpolated (`scs-jax colorize --scale` does "
      "that). Take a network that enlarges by any number: a run of "
      f"{models.DEFAULTS['photographs']}, or of the joint network with task super_resolution or "
      "joint_residual"
    )
  least, most = method.scales
  if outside := [f"{s:g}" for s in args.scales if not least <= s <= most]:
    raise UserError(f"--scales {', '.join(outside)}: {name} enlarges by {least:g} to {most:g}")
  if args.reference is not None and not method.takes_reference:
    raise UserError(f"{name} takes no reference: leave --reference out")
  return found


def called(method) -> str:
  """A method's name, with its task where it has one of several."""
  return type(method).__name__ + (f" ({method.task})" if method.task else "")


def read(args):
  """(what is coloured, the window that is looked at)."""
  try:
    picture = pictures.read(args.picture)
  except decode.DecodeError as error:
    raise UserError(f"PICTURE: {error}; give one picture that can be read") from error
  for remark in picture.remarks:
    display.say(f"{args.picture}: {remark}")
  gray, (height, width) = picture.gray, picture.gray.shape
  if args.input_side is not None:
    gray = resizing.reduce_to_side(gray[..., None], args.input_side)[..., 0]
  picture = dataclasses.replace(picture, gray=gray, rgb=None, alpha=None)
  usual = min(round(_DETAIL / max(args.scales)), min(gray.shape) // 2)
  side = args.window or max(_LEAST_WINDOW, usual)
  if args.point is None:
    return picture, magnify_sheet.busiest(gray, side)
  x, y = args.point
  if not (x < width and y < height):
    raise UserError(
      f"--point {x},{y} is outside {args.picture}, whose pixels go from 0,0 to {width - 1},"
      f"{height - 1}"
    )
  seen = (x + 0.5) * gray.shape[1] / width, (y + 0.5) * gray.shape[0] / height
  return picture, magnify_sheet.window_at(gray.shape, side, seen)


def moving(args) -> list[float]:
  """Magnifications of the animation's frames, rising; none where there is no animation."""
  if args.animation == "none":
    return []
  if args.frames is None:
    return list(args.scales)
  first, last = args.scales[0], args.scales[-1]
  inner = np.geomspace(first, last, args.frames)[1:-1]
  return [first, *(float(s) for s in inner), last]


def require_sizes(size, every) -> None:
  """Before the work: whether all results can be."""
  for scale in every:
    try:
      colorizer.result_size(size, scale, None)
    except UserError as error:
      raise UserError(f"--scales {scale:g}: {error}, or give --input-side") from error


def lender(args, picture):
  """The reference; None where none is given."""
  if args.reference is None:
    return None
  chosen = references.References(args.reference).choose(pathlib.Path(args.picture).name, picture)
  for note in chosen.notes:
    display.say(note)
  return chosen.picture
