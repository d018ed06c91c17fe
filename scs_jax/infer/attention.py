"""Where SCSNet looks in a reference, drawn and in numbers (Figure 8 of its paper)."""

import io
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from scs_jax.core.contract import Method, TrainState
from scs_jax.data import decode, location, remote, scan
from scs_jax.errors import UserError
from scs_jax.infer import budget, colorizer, display, pictures, resizing
from scs_jax.infer.pictures import Picture
from scs_jax.methods.scsnet import attention_maps
from scs_jax.methods.scsnet.attention_maps import Level
from scs_jax.report import attention_numbers, attention_panel, panels
from scs_jax.training import models

SIDE = 512
"""Longest side, pixels, at which a network sees the picture unless another is asked for."""

_MOST_POINTS = 16
_NEARLY_EVEN = 1.5  # times even; the demo's network is above it where places differ
_FEW_POSITIONS = 16  # a reference of fewer has little to choose from

Path = str | os.PathLike[str]


require = attention_maps.require_attention


class Looked(NamedTuple):
  """Holds what a network did with a picture and a reference.

  Attributes:
    gray: uint8 [H, W], the picture as it was seen.
    reference: uint8 [h, w, 3], likewise, 512 pixels a side at most.
    result: uint8 [H, W, 3], the picture coloured by it.
    points: int [P, 2], (row, column) in `gray`.
    levels: of the attention, weights and valves (methods/scsnet/attention_maps.py).
  """

  gray: np.ndarray
  reference: np.ndarray
  result: np.ndarray
  points: np.ndarray
  levels: tuple[Level, ...]


def seen(picture: Picture, side: int = SIDE) -> np.ndarray:
  """Returns a picture as a network sees it: gray, float32 [H, W] in [0, 1], at most `side` pixels
  a side."""
  return resizing.reduce_to_side(picture.gray[..., None], side)[..., 0]


def look(
  method: Method, state: TrainState, gray: np.ndarray, reference: Picture, points: np.ndarray
) -> Looked:
  """Colours a picture by a reference and keeps where each point looked.

  Args:
    method, state: of a network with attention to a reference, see `require`.
    gray: of `seen`.
    reference: the colour picture.
    points: int [P, 2], (row, column) in `gray`.

  Raises:
    UserError: it does not fit the memory, or the network's answers are not all numbers.
  """
  lender = colorizer.reference_rgb(reference)
  try:
    looked = attention_maps.look(method, state, gray, lender, points)
  except Exception as error:
    if not budget.is_out_of_memory(error):
      raise
    raise UserError(
      f"{budget.describe(error)}; give an --input-side below {max(gray.shape)}"
    ) from error
  colorizer.require_finite(looked.rgb)
  for level in looked.levels:
    colorizer.require_finite(np.asarray(level.weights))
  to_bytes = lambda x: np.round(np.clip(x, 0, 1) * 255).astype(np.uint8)
  return Looked(*map(to_bytes, (gray, lender, looked.rgb)), points, looked.levels)


class Attention(NamedTuple):
  """Holds what was found.

  Attributes:
    levels: weights and valves of each pyramid level.
    numbers: what the .json file holds: of each point and level the peak, its weight, ...
    files: what was written, paths or addresses.
  """

  levels: tuple[Level, ...]
  numbers: dict[str, Any]
  files: list[pathlib.Path | str]


def draw(
  gray: Path,
  reference: Path,
  checkpoint: Path,
  *,
  step: int | str | None = None,
  points: Sequence[tuple[int, int]] | None = None,
  out: Path = "attention.png",
  arrays: bool = False,
  input_side: int = SIDE,
) -> Attention:
  """Colours a picture by a reference, and draws what the attention did for a few points.

  Args:
    gray, reference: files, here or in a bucket, as is `out`.
    checkpoint, step: as `models.find` takes them; of SCSNet.
    points: (row, column) in `gray`, upright and at its own size; None: up to four corners.
    out: the picture, a .png, replaced if there, with a .json beside it.
    arrays: write weights and valves beside it too, as .npz.
    input_side: the network sees `gray` reduced to at most so many pixels a side.

  Raises:
    UserError: a picture that cannot be read, points outside it, a network without such attention.
  """
  target = _target(gray, reference, checkpoint, out)
  picture, lent = _read("GRAY", gray), _read("--reference", reference)
  size = picture.gray.shape
  if points is None:
    places = attention_numbers.spread_points(picture.gray)
  else:
    places = _inside(points, size)
  model = models.find(checkpoint, step)
  require(model.method)
  name = f"{checkpoint}, step {model.step}"
  for path, one in ((gray, picture), (reference, lent)):
    for remark in one.remarks:
      display.say(f"{path}: {remark}")
  if lent.chroma < scan.GRAY_CHROMA:
    display.say(f"{reference} is gray: it has no colours to lend; its attention is shown")
  reduced = seen(picture, input_side)
  display.say(f"looking with {name}")
  if reduced.shape != size:
    display.say(
      f"the network sees {gray}, {size[1]}x{size[0]}, at {reduced.shape[1]}x{reduced.shape[0]} "
      "(--input-side)"
    )
  seen_places = attention_numbers.moved(places, size, reduced.shape)
  looked = look(model.method, model.restore(), reduced, lent, seen_places)
  numbers = attention_numbers.describe(
    looked.levels, places, looked.reference.shape[:2], lent.gray.shape
  )
  _say(numbers, looked.levels)
  headings = [f"at {x}, {y} of {size[1]} x {size[0]}" for y, x in places]
  title = _title(gray, reference, name, looked.levels)
  panel = attention_panel.draw(
    attention_panel.Shown(*looked[:4], headings, looked.levels, title)
  )
  about = {"gray": os.fspath(gray), "reference": os.fspath(reference), "checkpoint": name}
  text = json.dumps(about | numbers, indent=2) + "\n"
  beside = lambda suffix: location.as_path(f"{os.path.splitext(target)[0]}{suffix}")
  contents = {target: panels.png(panel)}
  contents[beside(".json")] = text.encode("utf-8", "backslashreplace")
  if arrays:
    contents[beside(".npz")] = _npz(looked.levels, places, seen_places)
  for path, content in contents.items():
    location.write(path, content)
  display.say(f"wrote {', '.join(map(str, contents))}")
  return Attention(looked.levels, numbers, list(contents))


def _target(gray: Path, reference: Path, checkpoint: Path, out: Path) -> pathlib.Path | str:
  """Gives the picture's path; refuses what is no .png, and to write over what is read."""
  for flag, path in (("GRAY", gray), ("--reference", reference), ("--checkpoint", checkpoint),
                     ("--out", out)):  # fmt: skip
    if path == "":  # as of an unset variable
      raise UserError(f"{flag} is empty: expected a path")
  target = location.as_path(out)
  if os.path.splitext(target)[1].lower() != ".png":
    raise UserError(f"--out {out}: expected a file's name that ends in .png")
  if isinstance(target, str):
    remote.split(target)[0].make()  # refused before the work
    if target in (gray, reference):
      raise UserError(f"--out {out} is what is read: choose another name")
    return target
  if target.is_dir():
    raise UserError(f"--out {out} is a folder: expected a file's name that ends in .png")
  for path in (gray, reference):
    if target.exists() and os.path.exists(path) and os.path.samefile(target, path):
      raise UserError(f"--out {out} is what is read: choose another name")
  return target


def _read(what: str, path: Path) -> pictures.Picture:
  try:
    return pictures.read(path)
  except decode.DecodeError as error:
    raise UserError(f"{what}: {error}; give another picture") from error


def _inside(points: Sequence[tuple[int, int]], size: tuple[int, int]) -> np.ndarray:
  """Gives the points as int [P, 2]; refuses those outside the picture and too many."""
  if len(points) > _MOST_POINTS:
    raise UserError(f"--points: {len(points)} are too many for a picture; give {_MOST_POINTS}")
  for y, x in points:
    if not (y < size[0] and x < size[1]):
      raise UserError(
        f"--points {x},{y} is outside GRAY, whose pixels go from 0,0 to {size[1] - 1},{size[0] - 1}"
      )
  return np.array(points, np.int64)


def _say(numbers: dict[str, Any], levels: tuple[Level, ...]) -> None:
  """Says the numbers, and what is odd about the network."""
  for line in attention_numbers.lines(numbers["points"]):
    display.say(line)
  most = max(row["times_even"] for point in numbers["points"] for row in point["levels"])
  if most < _NEARLY_EVEN and levels[0].weights[0].size >= _FEW_POSITIONS:
    display.say(
      f"no weight is above {most:.3g}x even: from these points the network hardly tells places of "
      "this reference apart, as one that has been trained little"
    )
  if levels[0].valves is None:
    display.say("this network has no valves (network.valves=False, as BCAttn): none are shown")


def _title(gray: Path, reference: Path, name: str, levels: tuple[Level, ...]) -> str:
  one = "one level, no pyramid" if len(levels) == 1 else f"{len(levels)} pyramid levels"
  valves = "" if levels[0].valves is not None else ", no valves"
  shown = " by ".join(pathlib.Path(path).name for path in (gray, reference))
  return f"{shown}; {name}; {one}{valves}"


def _npz(levels: tuple[Level, ...], points: np.ndarray, seen_points: np.ndarray) -> bytes:
  arrays = {"points": points[:, ::-1], "points_seen": seen_points[:, ::-1]}
  for i, level in enumerate(levels, 1):
    arrays[f"weights_{i}"] = level.weights
    if level.valves is not None:
      arrays[f"valves_{i}"] = level.valves
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **arrays)
  return buffer.getvalue()
