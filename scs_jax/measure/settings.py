"""What a caller may choose of a measurement, checked."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

from scs_jax.core import spelling
from scs_jax.core.rules import ENGINE_RULES, Between
from scs_jax.data import draw, location
from scs_jax.errors import UserError
from scs_jax.measure.photos import SMALLEST

_LARGEST = 8192  # pixels a side

Spec = str | os.PathLike[str]
Modes = str | Sequence[str] | None
Size = int | str | Sequence[int] | None


@dataclasses.dataclass(kw_only=True)
class Setting:
  """Holds which pictures are measured, and how.

  Attributes:
    modes: of the kind of data, in order.
    size: (height, width) that every photograph is cut and reduced to, or of the middle part of a
      pair that is measured; None: whole pairs.
    batch_size: pictures a batch; 1 of whole pairs.
    limit: of all pictures, drawn by the seed; None: as many as the shares ask for, or all.
    seed: of all choices.
    quiet: no progress bars.
    scale: magnification asked for, of photographs, as is all that follows but `warped`.
    reference_size: pixels a side of reference pictures.
    reference_data: the data set that the references of mode random come from; None: the same one,
      of it the pictures that are measured, or all where there are shares.
    shares: {mode: how many it colours at most}, none of them in two modes; None: every mode
      colours all.
    shared: every mode colours the same pictures, up to its share.
    enlarge: smaller pictures are enlarged to `size`, instead of left out.
    all_modes: refuse one picture in mode random, which takes another one, instead of leaving the
      mode out.
    warped: the truth of pairs is the colour view's colours, carried over by known disparities.
  """

  modes: tuple[str, ...]
  size: tuple[int, int] | None = None
  batch_size: int = 1
  limit: int | None = None
  seed: int = draw.SEED
  quiet: bool = True
  scale: float = 1.0
  reference_size: int = 0
  reference_data: str | None = None
  shares: Mapping[str, int] | None = None
  shared: bool = False
  enlarge: bool = False
  all_modes: bool = True
  warped: bool = False


def require_counts(least: int, **values: int | None) -> None:
  """Refuses numbers that are no whole numbers from `least` on; None stands for a default."""
  for name, value in values.items():
    if value is not None and not (_is_whole(value) and least <= value < 2**31):
      raise UserError(f"{shown(name)} {value!r}: expected a whole number from {least}")


def _is_whole(value) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)


def read_seed(seed: int) -> int:
  """Reads a seed: a whole number from 0."""
  if not (_is_whole(seed) and 0 <= seed < 2**31):
    raise UserError(f"--seed {seed!r}: expected a whole number from 0")
  return seed


def read_spec(name: str, spec: Spec | None) -> str | None:
  """Reads what names pictures or a file: a text or a path; None as it is."""
  if spec is None or isinstance(spec, str | os.PathLike):
    return spec and os.fspath(spec)
  raise UserError(f"{shown(name)} {spec!r}: expected a text or a path")


def read_folder(name: str, folder: Spec | None) -> pathlib.Path | str | None:
  """Reads a folder that is written to, a path or the address of one in a bucket; None as it is."""
  folder = read_spec(name, folder)
  if folder == "":  # as of an unset variable; a path would take it for the current folder
    raise UserError(f"{shown(name)} is empty: expected a folder")
  return None if folder is None else location.as_path(folder)


def shown(name: str) -> str:
  """Writes an argument's name as all messages do, which is how the command line has it."""
  return "--" + name.replace("_", "-")


def require_absent(why: str, **values) -> None:
  """Refuses arguments that are for the other kind of data; None and False are not given."""
  for name, value in values.items():
    if value is not None and value is not False:
      raise UserError(f"{shown(name)} {why}: drop it")


def read_step(step: int | str) -> int | str:
  """Reads "best", "last", or a step's number."""
  if step in ("best", "last") or (isinstance(step, int) and not isinstance(step, bool)):
    return step
  if isinstance(step, str) and step.isdecimal():
    return int(step)
  raise UserError(f"--step {step}: expected best, last or the number of a step")


def read_scale(scale: float | None, config, method=None) -> float:
  """Reads a magnification within the engine's range and the method's own; None: the config's."""
  scale = config.evaluate.scale if scale is None else scale
  if isinstance(scale, bool) or not isinstance(scale, int | float):
    raise UserError(f"--scale {scale!r}: expected a number")
  rules = [ENGINE_RULES["evaluate.scale"]] + ([Between(*method.scales)] if method else [])
  for rule in rules:
    if not rule.allows(scale):
      near = rule.nearest(scale)
      advice = "" if near is None else f"; the nearest allowed is {near:g}"
      who = f"{config.method.name} takes" if method else "expected"
      raise UserError(f"--scale {scale:g}: {who} {rule.expected()}{advice}")
  return scale


def read_size(size: Size) -> tuple[int, int] | None:
  """Reads a side in pixels, (height, width), or a text as 256 or 320x240 (WIDTHxHEIGHT)."""
  if size is None:
    return None
  told = size if isinstance(size, str) else repr(size)
  wrong = UserError(
    f"--size {told}: expected pixels a side, as 256, or WIDTHxHEIGHT, as 320x240"
  )
  if isinstance(size, str):
    parts = size.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() for part in parts):
      raise wrong
    width, height = int(parts[0]), int(parts[-1])
  else:
    parts = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(parts) != 2 or not all(map(_is_whole, parts)):
      raise wrong
    height, width = parts
  if not SMALLEST <= min(width, height) <= max(width, height) <= _LARGEST:
    raise UserError(
      f"--size {short((height, width))}: expected {SMALLEST} (the window of SSIM) to {_LARGEST} "
      "pixels a side"
    )
  return height, width


def short(size: tuple[int, int]) -> str:
  """Writes (height, width) as read_size takes it: 160, or 320x240."""
  height, width = size
  return f"{width}" if height == width else written(size)


def written(size: tuple[int, int] | None) -> str:
  """Writes (height, width) as 320x240; None: "whole"."""
  return "whole" if size is None else "{1}x{0}".format(*size)


def read_modes(
  asked: Modes, modes: Sequence[str], others: Sequence[str], why: str
) -> tuple[str, ...] | None:
  """Reads names of modes, in the order of `modes`; None as it is.

  Args:
    asked: names, or a text with commas.
    modes: those that there are; others: those of the other kind of method; why: they are not.
  """
  if asked is None:
    return None
  listed = asked.split(",") if isinstance(asked, str) else asked
  if not isinstance(listed, Sequence):
    raise UserError(f"--modes {asked}: expected names, of {','.join(modes)}")
  names = [str(name).strip() for name in listed if str(name).strip()]
  text = ",".join(names)
  for name in names:
    if name in others:
      raise UserError(f"--modes {text}: {why}; its modes are {','.join(modes)}")
    if name not in modes:
      raise UserError(f"--modes {text}: no mode {name!r}; {spelling.hint(name, modes)}")
  if not names:
    raise UserError(f"--modes is empty: expected some of {','.join(modes)}")
  return tuple(mode for mode in modes if mode in names)


def read_truth(truth: str) -> bool:
  """Tells whether pairs are measured by a truth that is carried over from the colour view."""
  if truth not in ("own", "warped"):
    raise UserError(f"--truth {truth}: expected own or warped")
  return truth == "warped"


def name_of(spec: str) -> str:
  """Shortens a data set's name."""
  return spec.replace(":", "-") if spec.startswith("bundled") else pathlib.Path(spec).resolve().name
