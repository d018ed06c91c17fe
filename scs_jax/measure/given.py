"""Pictures that other software made, as a row: found by the data set's names, cut to its size."""

import collections
import hashlib
import json
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import jax
import numpy as np
from PIL import Image

from scs_jax.data import decode, transforms
from scs_jax.data.decode import DecodeError
from scs_jax.data.listing import EXTENSIONS
from scs_jax.errors import UserError
from scs_jax.measure import pairs
from scs_jax.measure.photos import MODES
from scs_jax.measure.predictors import Predictor
from scs_jax.measure.score import Answer
from scs_jax.report.results import shown_name

_MODES = (*MODES, *pairs.MODES)
_DEFAULT = ("automatic", "first")  # of pictures that lie in no mode's folder


class Folder:
  """Finds results in a folder: [NAME of a data set/][mode/]any tree of pictures.

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
    """Finds {name without its ending: path} of a mode of a data set, names relative to the folder.

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
  """Notes pictures of a data set that folders of results have no usable picture for."""

  def __init__(self):
    self._of: dict[str, dict[int, str]] = {}  # by the record's number

  def add(self, where: str, record: int, why: str) -> None:
    """Adds a cause; where: the data set, the mode, the row."""
    self._of.setdefault(where, {})[record] = why

  def noted(self) -> dict[str, dict[int, str]]:
    """Gives what was noted (score.Noting)."""
    return self._of

  def join(self, noted: Sequence[Mapping[str, Mapping[int, str]]]) -> None:
    for part in noted:
      for where, found in part.items():
        self._of[where] = dict(sorted({**self._of.get(where, {}), **found}.items()))

  def first(self, where: str) -> str:
    """Gives a cause in brackets, as an example; empty where nothing is missing."""
    return next((f" ({why})" for why in self._of.get(where, {}).values()), "")

  def notes(self, most: int = 3) -> list[str]:
    """Gives a line for each place, with `most` causes by name."""
    lines = []
    for where, found in sorted(self._of.items()):
      told = "; ".join(list(found.values())[:most])
      more = f"; and {len(found) - most} more" if len(found) > most else ""
      lines.append(f"{where}: without a result that can be used: {told}{more}")
    return lines


def match(found: dict[str, pathlib.Path], names: Iterable[str]) -> list[pathlib.Path | None]:
  """Finds a path, or None, for each name of a data set.

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
  """Reads a result as the true picture was cut: uint8 [*size, 3].

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
  """Tells equal proportions, as far as whole pixels (one more or less of the smaller) can tell."""
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


class Given(Predictor):
  """Makes a folder of pictures a row: its results are measured as they are.

  Args:
    name: of its row.
    folder: it exists; a file method.json in it may tell the method's parameters and speed.
  """

  kind = "results"

  def __init__(self, name: str, folder: str):
    root = pathlib.Path(folder).expanduser()
    if not root.is_dir():
      raise UserError(f"no folder {folder}; expected pictures that another program made")
    super().__init__(name, {"path": folder, "told": _read_told(root / "method.json")})
    self._folder = Folder(root)

  def identity(self) -> Mapping:
    """Names, sizes and times of the files."""
    return {"files": self._folder.fingerprint()}

  def on(self, data, sets: Sequence[str]) -> "_Matched":
    """Gives the row for a data set; `sets`: the names of all data sets.

    Raises:
      UserError: none of its pictures has the name of one of the data set's.
    """
    paths = {}
    for mode, numbers in data.dealt.items():
      found = match(self._folder.find(data.name, sets, mode), map(data.picture_name, numbers))
      if any(found):
        paths[mode] = dict(zip(numbers.tolist(), found, strict=True))
    if not paths:
      raise UserError(f"none of its pictures has the name of one of {data.name}'s")
    return _Matched(self, data, paths)


class _Matched(Predictor):
  """Answers with a folder's pictures of one data set; notes there what is missing or unfit."""

  kind = "results"

  def __init__(self, of: Given, data, paths: Mapping[str, Mapping[int, pathlib.Path | None]]):
    super().__init__(of.name, of.record)
    self._data, self._paths = data, paths
    self._seen, self._used = collections.Counter(), collections.Counter()

  def takes(self, mode: str) -> bool:
    return mode in self._paths

  def answer(self, query, batch, mode) -> Answer:
    size = tuple(query.size)
    cut = lambda path, i: read(path, size, self._data.size_of(i))
    return Answer(*self._read((mode,), batch, size, cut)[0])

  def answer_pair(self, query, batch, extras) -> tuple[Answer, Answer]:
    """Pairs without all of their results do not count."""
    size = tuple(query.size)
    cut = lambda path, i: _cut_as_views(path, self._data.source.load(i, extras=False), size)
    modes = tuple(mode for mode in pairs.MODES if mode in self._paths)
    found = self._read(modes, batch, size, cut)
    return tuple(Answer(*one) for one in (found if len(found) == 2 else found * 2))

  def _read(self, modes, batch, size, cut) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns [(float32 [N, *size, 3] in [0, 1], which are there)], one for each mode."""
    there = np.array(batch["mask"])
    results = [np.zeros((len(there), *size, 3), np.uint8) for _ in modes]
    for place in np.flatnonzero(there):
      i = int(batch["record"][place])
      try:
        for mode, result in zip(modes, results, strict=True):
          if (path := self._paths[mode].get(i)) is None:
            kind = "picture" if mode not in pairs.MODES else f"{mode}-time picture"
            raise DecodeError(f"no {kind} for {self._data.picture_name(i)}")
          result[place] = cut(path, i)
      except DecodeError as error:
        there[place] = False
        self._data.missing.add(self._where(modes[0]), i, shown_name(str(error)))
    for mode in modes:
      self._seen[mode] += int(np.sum(batch["mask"]))
      self._used[mode] += int(there.sum())
    on_device = lambda x: jax.device_put(x, jax.local_devices()[0]) / np.float32(255)
    return [(on_device(result), there) for result in results]

  def noted(self) -> tuple:
    return self._seen, self._used

  def join(self, noted: Sequence[tuple]) -> None:
    seen, used = zip(*noted, strict=True)
    self._seen, self._used = (sum(n, collections.Counter()) for n in (seen, used))

  def unfit(self) -> str:
    for mode, seen in self._seen.items():
      if 2 * self._used[mode] < seen:
        what, where = self._data.what, self._where(mode)
        return (
          f"mode {mode}: {self._used[mode]} of {seen} {what} have one of its own that can be used"
          f"{self._data.missing.first(where)}; expected half of them or more"
        )
    return ""

  def _where(self, mode: str) -> str:
    of_mode = "" if mode in pairs.MODES else f", {mode}"
    return f"{self._data.name}{of_mode}: {self.name}"


def _cut_as_views(path: pathlib.Path, pair, size: tuple[int, int]) -> np.ndarray:
  """Reads a result as the views of a pair were cut, and mirrored where they were."""
  whole = pair.mono.shape[:2]
  shown = decode.decode(path)
  if shown.shape[:2] not in (whole, size):
    raise DecodeError(
      f"{path}: {shown.shape[1]}x{shown.shape[0]} pixels, expected {whole[1]}x{whole[0]}"
    )
  top, left = ((a - b) // 2 for a, b in zip(shown.shape[:2], size, strict=True))
  shown = shown[:, ::-1] if pair.mirrored else shown
  return shown[top : top + size[0], left : left + size[1]]


def _read_told(path: pathlib.Path) -> dict[str, float]:
  """Reads what a method.json tells of its method, under the names that are known."""
  if not path.exists():
    return {}
  try:
    found = json.loads(path.read_bytes())
    known = ("parameters", "pictures_a_second")
    told = {key: float(found[key]) for key in known if key in found}
    if not all(0 < value < math.inf for value in told.values()):
      raise ValueError("numbers above 0")
    return told
  except (OSError, ValueError, TypeError) as error:
    raise UserError(
      f"{path}: expected {{\"parameters\": 12.3e6, \"pictures_a_second\": 4.5}} ({error})"
    ) from error
