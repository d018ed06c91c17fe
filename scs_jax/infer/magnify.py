"""One picture at many magnifications, as a sheet and an animation (Figure 9 of SCSNet's paper)."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scs_jax.data import decode, location, remote
from scs_jax.errors import UserError
from scs_jax.infer import colorizer, display, pictures, references, resizing
from scs_jax.infer.pictures import Picture
from scs_jax.report import magnify_sheet, panels
from scs_jax.report.magnify_sheet import Magnified, Window
from scs_jax.training import models

SCALES = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Magnifications unless others are asked for."""

_DETAIL = 192  # pixels of the largest detail, where no window is given
_LEAST_WINDOW = 16

Path = str | os.PathLike[str]


class Magnifications(NamedTuple):
  """Holds what was made.

  Attributes:
    results: {magnification: detail, whole and the bicubic's detail}.
    window: the detail in the input.
    files: what was written, paths or addresses.
    programs: how many XLA programs were compiled for it.
  """

  results: dict[float, Magnified]
  window: Window
  files: list[pathlib.Path | str]
  programs: int


def magnify(
  picture: Path,
  checkpoint: Path | models.Model,
  *,
  step: int | str | None = None,
  reference: Path | None = None,
  scales: Sequence[float] = SCALES,
  point: tuple[int, int] | None = None,
  window: int | None = None,
  input_side: int | None = None,
  frames: int | None = None,
  animation: str = "png",
  out: Path = "magnify",
  memory_limit: int | None = None,
  quiet: bool = False,
) -> Magnifications:
  """Colours one picture at each magnification; writes NAME_magnify.png and NAME_animation.png.

  Args:
    picture: a file, here or in a bucket; a colour picture is grayed first.
    checkpoint, step: as `models.find` takes them; of a network that enlarges.
    reference: a colour picture, or a folder of them.
    scales: real numbers, rising.
    point: (row, column) of the pixel in the middle of the detail; None: where the most detail is.
    window: side of the detail in pixels of the input; None: such that the largest has 192.
    input_side: reduce the picture to so many pixels a side first; None: as it is.
    frames: of the animation one way, each coloured anew; None: those of `scales`.
    animation: "png", "webp", "gif" or "none".
    out: folder of the results, here or in a bucket, made where there is none; files of the same
      names are replaced.
    memory_limit: bytes to plan for.
    quiet: no progress bar.

  Raises:
    UserError: a picture that cannot be read, a network that does not enlarge so, results too large.
  """
  for name, path in (("PICTURE", picture), ("--checkpoint", checkpoint),
                     ("--reference", reference), ("--out", out)):  # fmt: skip
    if path == "":  # as of an unset variable
      raise UserError(f"{name} is empty: expected a path")
  if animation == "none" and frames is not None:
    raise UserError("--frames is of the animation, which --animation none leaves out: drop one")
  model = _find(checkpoint, step, scales, reference)
  seen, detail = read(picture, scales, point, window, input_side)
  moving = moving_scales(scales, frames) if animation != "none" else []
  every = sorted({*scales, *moving})
  for scale in every:  # before the work: whether all results can be
    try:
      colorizer.result_size(seen.gray.shape, scale, None)
    except UserError as error:
      raise UserError(f"--scales {scale:g}: {error}, or give --input-side") from error
  lender = None
  if reference is not None:
    chosen = references.References(reference).choose(pathlib.Path(picture).name, seen)
    lender = chosen.picture
    for note in chosen.notes:
      display.say(note)
  remote.Place(out).make()  # refused before the work
  display.say(f"colouring with {model.place}")
  paint = colorizer.Colorizer.from_checkpoint(model, memory_limit=memory_limit, note=display.say)
  found = {}
  with display.bar(total=len(every), unit="picture", disable=quiet) as bar:
    for scale in every:
      rgb = paint.color(seen, lender, scale=scale, keep_luminance=False)
      found[scale] = magnify_sheet.magnified(seen.gray, rgb, scale, detail)
      bar.update()
  shown = None
  if lender is not None:
    shown = np.round(colorizer.reference_rgb(lender) * 255).astype(np.uint8)
  title = _title(picture, reference, model, seen.gray.shape, detail)
  sheet = magnify_sheet.draw(title, seen.gray, detail, [found[scale] for scale in scales], shown)
  stem = pathlib.Path(picture).stem
  files = {f"{stem}_magnify.png": panels.png(sheet)}
  if moving:
    pictures_of = magnify_sheet.frames([found[scale] for scale in moving])
    content = magnify_sheet.animate(pictures_of, animation)
    files[f"{stem}_animation.{animation}"] = content
  written = [location.inside(out, name) for name in files]
  for path, content in zip(written, files.values(), strict=True):
    location.write(path, content)
    display.say(f"wrote {path}")
  display.say(f"{len(every)} magnifications by {paint.programs} compiled programs")
  return Magnifications(found, detail, written, paint.programs)


def _find(checkpoint, step, scales: Sequence[float], reference) -> models.Model:
  """Finds the network that is asked for, which magnifies by all that is asked for."""
  found = models.find(checkpoint, step)
  method = found.method
  name = type(method).__name__
  if method.takes_pairs:
    raise UserError(
      f"{name} colours pairs of cameras at their own size, 1x: there is nothing to magnify; its "
      "figures are those of `scs-jax visualize confidence`"
    )
  if method.keeps_luminance:
    raise UserError(
      f"{_name(method)} gives colours alone, at {method.usual_scale:g}x of what it sees; of a "
      "larger result light and dark are the input's, interpolated (`scs-jax colorize --scale` does "
      "that). Take a network that enlarges by any number: a run of "
      f"{models.DEFAULTS['photographs']}, or of the joint network with task super_resolution or "
      "joint_residual"
    )
  least, most = method.scales
  if outside := [f"{s:g}" for s in scales if not least <= s <= most]:
    raise UserError(f"--scales {', '.join(outside)}: {name} enlarges by {least:g} to {most:g}")
  if reference is not None and not method.takes_reference:
    raise UserError(f"{name} takes no reference: leave --reference out")
  return found


def _name(method) -> str:
  """Names a method, with its task where it has one of several."""
  return type(method).__name__ + (f" ({method.task})" if method.task else "")


def _title(picture, reference, model: models.Model, size, window: Window) -> list[str]:
  name = display.printable(pathlib.Path(picture).name)
  lent = ""
  if reference is not None:
    lent = f", reference {display.printable(pathlib.Path(reference).name)}"
  return [
    f"{name}, {size[1]}x{size[0]} pixels, by {_name(model.method)}, step {model.step}{lent}. "
    f"Detail: {window.side}x{window.side} pixels of the input from {window.left},{window.top} on."
  ]


def read(
  path: Path,
  scales: Sequence[float] = SCALES,
  point: tuple[int, int] | None = None,
  window: int | None = None,
  input_side: int | None = None,
) -> tuple[Picture, Window]:
  """Reads (what is coloured, the window that is looked at); arguments as of `magnify`."""
  try:
    picture = pictures.read(path)
  except decode.DecodeError as error:
    raise UserError(f"PICTURE: {error}; give one picture that can be read") from error
  for remark in picture.remarks:
    display.say(f"{path}: {remark}")
  gray, (height, width) = picture.gray, picture.gray.shape
  if input_side is not None:
    gray = resizing.reduce_to_side(gray[..., None], input_side)[..., 0]
  picture = dataclasses.replace(picture, gray=gray, rgb=None, alpha=None)
  usual = min(round(_DETAIL / max(scales)), min(gray.shape) // 2)
  side = window or max(_LEAST_WINDOW, usual)
  if point is None:
    return picture, magnify_sheet.busiest(gray, side)
  y, x = point
  if not (x < width and y < height):
    raise UserError(
      f"--point {x},{y} is outside {path}, whose pixels go from 0,0 to {width - 1},{height - 1}"
    )
  seen = (x + 0.5) * gray.shape[1] / width, (y + 0.5) * gray.shape[0] / height
  return picture, magnify_sheet.window_at(gray.shape, side, seen)


def moving_scales(scales: Sequence[float], frames: int | None = None) -> list[float]:
  """Lists the magnifications of the animation's frames, rising, in even ratios."""
  if frames is None:
    return list(scales)
  first, last = scales[0], scales[-1]
  inner = np.geomspace(first, last, frames)[1:-1]
  return [first, *(float(s) for s in inner), last]
