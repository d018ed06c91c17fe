"""Draws a study from folders of results, as the papers drew theirs, into a folder of its own."""

import contextlib
import math
import pathlib
import random
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence

from PIL import Image
from tqdm import tqdm

from scs_jax.data import decode, sources, stereo
from scs_jax.errors import DecodeError, UserError
from scs_jax.measure import given
from scs_jax.study import design as designs
from scs_jax.study.design import LEVELS, PAIRWISE, PARTS, Design, Trial
from scs_jax.study.votes import Votes

# Pictures of SCSNet's Table 3, pairs of Cycle CNN's Figure 13.
PICTURES = {PAIRWISE: 500, LEVELS: 100}
SECONDS = 1.0  # SCSNet, Section 4.2
REPEATS = 0.05  # "some" (Cycle CNN, Section IV-D), not stated: 65 of 1300, a few minutes
_MOST_PIXELS = 50_000_000  # of a picture: one that a browser shows, and a phone can hold
_MODES = {PAIRWISE: ("automatic", "self", "random"), LEVELS: ("first",)}

Found = Mapping[str, Mapping[str, pathlib.Path]]  # {method: {picture: file}}


def make(
  kind: str,
  results: Mapping[str, pathlib.Path],
  out: pathlib.Path,
  *,
  data: tuple[str, str] | None = None,
  modes: Sequence[str] = (),
  pictures: int | None = None,
  seconds: float | None = None,
  repeats: float | None = None,
  per_rater: int | None = None,
  seed: int = 0,
  progress: bool = True,
) -> Design:
  """Draws a study and writes its folder, whole or not at all.

  Args:
    kind: "pairwise": the first method's pictures against each other method's; "levels": every
      method's pictures, one at a time.
    results: {method: folder of pictures}, as `scs-jax compare --results` takes them.
    out: the study's folder; it must not be there yet.
    data: (name, spec) of the data set that was coloured. It says which pictures there are, and in a
      study of levels each is shown beside its results: of stereo pairs the colour view. None: all
      that the first method coloured.
    modes: of the results; empty: automatic, self and random of a pairwise study, first of levels.
    pictures: how many, half of them of each part (automatic, referential); None: as many as in the
      paper, or as there are.
    seconds: a pairwise study's pictures are shown for, 0: until the answer; None: one.
    repeats: share of the trials that each rater of levels is asked again; None: 0.05.
    per_rater: trials of a rater; None: all.
    seed: of the draw and of the raters' orders.
    progress: with a bar.

  Raises:
    UserError: something is missing, or a picture's results differ in size.
  """
  _check(kind, results, out, pictures, seconds, repeats, per_rater, seed)
  names, scene_of = (None, None) if data is None else _open(data[1], kind, modes or _MODES[kind])
  found = {
    mode: _find(kind, results, "" if data is None else data[0], names, mode)
    for mode in modes or _MODES[kind]
  }
  found = {mode: there for mode, there in found.items() if there}
  if not found:
    raise UserError(_nothing(kind, results, modes or _MODES[kind]))
  drawn = _draw(kind, found, pictures, seed)
  with _aside(out) as folder:
    store = _Store(folder / designs.PICTURES)
    trials: list[Trial] = []
    every = [(mode, name) for mode, chosen in drawn.items() for name in chosen]
    for mode, name in tqdm(every, unit="picture", disable=not progress):
      paths = {method: of[name] for method, of in found[mode].items()}
      trials += _trials(kind, mode, name, store.add_all(paths, name), store, scene_of)
    asked = len(trials) if per_rater is None else per_rater
    if asked > len(trials):
      raise UserError(f"--per-rater {asked}: the study has {len(trials)} questions; give fewer")
    share = 0.0 if kind == PAIRWISE else REPEATS if repeats is None else repeats
    shown = 0.0 if kind == LEVELS else SECONDS if seconds is None else seconds
    design = Design(
      kind, seed, tuple(results), tuple(trials), shown, math.ceil(share * asked), asked
    )
    designs.write(design, folder)
    Votes(folder).close()
  return design


def _check(kind, results, out, pictures, seconds, repeats, per_rater, seed) -> None:
  least = 2 if kind == PAIRWISE else 1
  if len(results) < least:
    raise UserError(f"--results: a {kind} study takes {least} methods or more, NAME=DIR each")
  for name, folder in results.items():
    if not folder.is_dir():
      raise UserError(f"--results {name}={folder}: no such folder; check the path")
  for flag, value, low, high in (
    ("--pictures", pictures, 1, 1_000_000),
    ("--per-rater", per_rater, 1, 1_000_000),
    ("--seed", seed, 0, 2**63 - 1),
    ("--seconds", seconds, 0, 3600),
    ("--repeats", repeats, 0, 0.5),
  ):
    if value is not None and not low <= value <= high:
      raise UserError(f"{flag} {value}: expected a number from {low} to {high}")
  if kind == PAIRWISE and repeats is not None:
    raise UserError("--repeats is for a study of levels: drop the flag")
  if kind == LEVELS and seconds is not None:
    raise UserError("--seconds is for a pairwise study: drop the flag")
  if out.exists() and (not out.is_dir() or any(out.iterdir())):
    raise UserError(f"{out} is there already, perhaps with votes in it: give another --out")


def _open(
  spec: str, kind: str, modes: Sequence[str]
) -> tuple[list[str], Callable[[str], Image.Image] | None]:
  """Opens a data set: (names, a function from a name to what is shown beside its results)."""
  if {"first", "second"} & set(modes):
    source = stereo.open_pairs(spec)

    def load(i: int) -> Image.Image:
      mono, _ = source.roles(i)
      return Image.fromarray(source.views(i)[1 - mono])
  else:
    source = sources.open_source(spec)
    load = source.open
  names = [source.name(i) for i in range(len(source))]
  numbers = {name: i for i, name in enumerate(names)}
  return names, (lambda name: load(numbers[name])) if kind == LEVELS else None


def _find(kind, results, data: str, names: Sequence[str] | None, mode: str) -> Found:
  """Finds the pictures that every method has, of those with any; empty where too few have."""
  found = {}
  for method, root in results.items():
    there = given.Folder(root).find(data, [data] if data else [], mode)
    if names is None:
      names = list(there)
    matched = dict(zip(names, given.match(there, names), strict=True))
    found[method] = {name: path for name, path in matched.items() if path is not None}
  found = {method: of for method, of in found.items() if of}
  if kind == PAIRWISE and (next(iter(results)) not in found or len(found) < 2):
    return {}
  return found


def _nothing(kind: str, results, modes: Sequence[str]) -> str:
  places = ", ".join(map(str, results.values()))
  other = "" if kind == PAIRWISE else "; of photographs give --modes automatic"
  return (
    f"no picture of mode {' or '.join(modes)} is in these folders under one name: {places}; "
    f"expected the same names in each, as `scs-jax compare --results` does{other}"
  )


def _draw(kind: str, found: Mapping[str, Found], pictures: int | None, seed: int):
  """Draws names for each mode: the parts get as many, and in a part its modes."""
  wanted = PICTURES[kind] if pictures is None else pictures
  parts = list(dict.fromkeys(PARTS[mode] for mode in found))
  drawn = {}
  for part, share in zip(parts, _split(wanted, len(parts)), strict=True):
    modes = [mode for mode in found if PARTS[mode] == part]
    for mode, count in zip(modes, _split(share, len(modes)), strict=True):
      lists = list(found[mode].values())
      common = sorted(set(lists[0]).intersection(*lists[1:]))
      if not common or (pictures is not None and len(common) < count):
        raise UserError(_lacking(mode, found[mode], count, len(common)))
      rng = random.Random(f"{seed}/{mode}")
      drawn[mode] = rng.sample(common, min(count, len(common)))
  return drawn


def _split(total: int, parts: int) -> list[int]:
  """Splits a number into parts that differ by one at most."""
  return [(total + parts - 1 - i) // parts for i in range(parts)]


def _lacking(mode: str, found: Found, count: int, common: int) -> str:
  every = set().union(*found.values())
  method = min(found, key=lambda method: len(found[method]))
  missing = sorted(every - set(found[method]))
  lacks = f"; {method} lacks {len(missing)}, as {missing[0]}" if missing else ""
  return (
    f"{mode}: {count} pictures are wanted of which every method has a result, and there are "
    f"{common}{lacks}; add results, or give a smaller --pictures"
  )


class _Store:
  """The pictures' folder: files have drawn names, and nothing in them but pixels."""

  def __init__(self, folder: pathlib.Path):
    folder.mkdir()
    self._folder = folder

  def add(self, image: Image.Image) -> str:
    """Stores a picture and returns its file's name, without ending."""
    name = secrets.token_hex(8)
    pixels = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    pixels.save(self._folder / f"{name}.png")
    return name

  def add_all(self, paths: Mapping[str, pathlib.Path], picture: str) -> dict[str, str]:
    """Stores one picture's results: {method: file}."""
    images = {}
    try:
      for method, path in paths.items():
        images[method] = decode.decode_image(path, max_pixels=_MOST_PIXELS)
    except DecodeError as error:
      raise UserError(f"{error}; replace it, or take it away") from error
    sizes = {method: f"{image.width}x{image.height}" for method, image in images.items()}
    if len(set(sizes.values())) > 1:
      told = ", ".join(f"{method} {size}" for method, size in sizes.items())
      raise UserError(
        f"{picture}: its results differ in size ({told}), which would give them away; bring them "
        "to one size"
      )
    return {method: self.add(image) for method, image in images.items()}


def _trials(kind, mode, name, stored: Mapping[str, str], store: _Store, scene_of) -> list[Trial]:
  """Makes the trials of one picture."""
  methods = list(stored)
  if kind == PAIRWISE:
    groups = [(methods[0], other) for other in methods[1:]]
  else:
    groups = [(method,) for method in methods]
  try:
    scene = store.add(scene_of(name)) if scene_of else ""
  except DecodeError as error:
    raise UserError(f"--data: {error}") from error
  return [Trial(mode, name, group, tuple(stored[m] for m in group), scene) for group in groups]


@contextlib.contextmanager
def _aside(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives a folder to write in, which becomes `out` at the end; after an error it is gone."""
  aside = out.with_name(f".{out.name}.partial")
  shutil.rmtree(aside, ignore_errors=True)
  aside.mkdir(parents=True)
  try:
    yield aside
    aside.rename(out)
  except BaseException:
    shutil.rmtree(aside, ignore_errors=True)
    raise
