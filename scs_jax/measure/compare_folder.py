"""Pictures that other software made: found by the data set's names, brought to its size."""

import collections
import hashlib
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from scs_jax.data import decode, transforms
from scs_jax.data.decode import DecodeError
from scs_jax.data.listing import EXTENSIONS
from scs_jax.measure import pairs
from scs_jax.measure.evaluate import MODES

_MODES = (*MODES, *pairs.MODES)
_DEFAULT = ("automatic", "first")  # of pictures that lie in no mode's folder


class Folder:
  """A folder of results: [NAME of a data set/][mode/]any tree of pictures.

  Args:
    root: it exists.
  """

  def __init__(self, root: pathlib.Path):
    self._root = root
    self._files = sorted(
      p.relative_to(root).as_posix()
      for p in root.rglob("*")
      if p.suffix.lower() in EXTENSIONS
      and not any(part.startswith(".") for part in p.relative_to(root).parts)
      and p.is_file()
    )

  def fingerprint(self) -> str:
    """Changes with a name, a size or a time of a file."""
    digest = hashlib.sha256()
    for name in self._files:
      there = (self._root / name).stat()
      digest.update(f"{name}\0{there.st_size}\0{there.st_mtime_ns}\n".encode("utf-8", "replace"))
    return digest.hexdigest()[:16]

  def find(self, data: str, sets: Sequence[str], mode: str) -> dict[str, pathlib.Path]:
    """{name without its ending: path} of a mode of a data set; names are relative to the folder.

    Args:
      data: the data set's name; sets: those of all data sets.
    """
    files = self._files
    organized = [name for name in sets if any(f.startswith(f"{name}/") for f in files)]
    start = ""
    if data in organized:
      start = f"{data}/"
    elif organized:
      return {}
    files = [f.removeprefix(start) for f in files if f.startswith(start)]
    if any(f.startswith(f"{mode}/") for f in files):
      start, files = f"{start}{mode}/", [f[len(mode) + 1 :] for f in files if _under(f, (mode,))]
    elif mode in _DEFAULT:
      files = [f for f in files if not _under(f, _MODES)]
    else:
      return {}
    # Of one name with two endings the first by name; the last wins in a dict.
    return {_stem(f): self._root / f"{start}{f}" for f in reversed(files)}


class Missing:
  """Pictures of a data set that folders of results have no usable picture for."""

  def __init__(self):
    self._of: dict[str, dict[str, None]] = {}  # in order, each once

  def add(self, where: str, why: str) -> None:
    """where: the data set, the mode, the row."""
    self._of.setdefault(where, {})[why] = None

  def first(self, where: str) -> str:
    """A cause in brackets, as an example; empty where nothing is missing."""
    return next((f" ({why})" for why in self._of.get(where, ())), "")

  def notes(self, most: int = 3) -> list[str]:
    """A line for each place, with `most` causes by name."""
    lines = []
    for where, found in self._of.items():
      told = "; ".join(list(found)[:most])
      more = f"; and {len(found) - most} more" if len(found) > most else ""
      lines.append(f"{where}: without a result that can be used: {told}{more}")
    return lines


def match(found: dict[str, pathlib.Path], names: Iterable[str]) -> list[pathlib.Path | None]:
  """A path, or None, for each name of a data set.

  By the name whole, without ending; else by its last part, where that is one picture's alone in
  the data set and in the folder. Of pictures that have one name but for the ending, by the ending
  too: a result is never two pictures'.
  """
  whole = list(names)
  names = [_stem(name) for name in whole]
  last = lambda name: name.rpartition("/")[2]
  by_last: dict[str, list[pathlib.Path]] = {}
  for name, path in found.items():
    by_last.setdefault(last(name), []).append(path)
  counts = collections.Counter(map(last, names))
  twins = {name for name, n in collections.Counter(names).items() if n > 1}
  paths = []
  for ending, name in zip(whole, names, strict=True):
    others = by_last.get(last(name), [])
    alone = others[0] if counts[last(name)] == 1 and len(others) == 1 else None
    path = found.get(name, alone)
    if name in twins and path is not None and not ending.lower().endswith(path.suffix.lower()):
      path = None
    paths.append(path)
  return paths


def read(path: pathlib.Path, size: tuple[int, int], original: tuple[int, int]) -> np.ndarray:
  """A result as the true picture was cut: uint8 [*size, 3].

  One of the size asked for is taken as it is; one of the original picture's proportions is cut as
  the original was; one of the asked proportions is resized.

  Raises:
    DecodeError: it cannot be read, or has other proportions.
  """
  image = decode.decode_image(path, name=str(path))
  width, height = image.size
  if (height, width) == size:
    return np.asarray(image)
  if _alike((height, width), original):
    return transforms.center_crop(image, size)
  if _alike((height, width), size):
    resized = image.resize(size[::-1], Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(resized)
  raise DecodeError(
    f"{path}: {width}x{height} pixels; expected {size[1]}x{size[0]}, or the proportions of the "
    f"original, {original[1]}x{original[0]}"
  )


def _alike(a: tuple[int, int], b: tuple[int, int]) -> bool:
  """Equal proportions, as far as whole pixels (one more or less of the smaller) can tell."""
  (h, w), (p, q) = a, b
  slack = max(h, w, p, q) + 0.5
  return abs(h * q - w * p) <= slack


def _stem(name: str) -> str:
  head, slash, last = name.replace("\\", "/").rpartition("/")
  stem, dot, ending = last.rpartition(".")
  known = f"{dot}{ending}".lower() in EXTENSIONS
  return f"{head}{slash}{stem if known and stem else last}"


def _under(name: str, folders: Sequence[str]) -> bool:
  return "/" in name and name.partition("/")[0] in folders
