"""What Cycle CNN's GCA learned, drawn for stereo pairs (Figure 15 of its paper)."""

import fnmatch
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from scs_jax.data import location, remote, stereo_lists
from scs_jax.data.decode import DecodeError
from scs_jax.data.stereo import REDUCTIONS, PairSource
from scs_jax.errors import UserError
from scs_jax.infer import display
from scs_jax.measure import confidence_pairs
from scs_jax.measure.pair_set import PairSet
from scs_jax.measure.settings import Setting
from scs_jax.report import confidence_sheet, panels

Path = str | os.PathLike[str]


class Drawn(NamedTuple):
  """Tells what was done: the files, paths or addresses, and (name, cause) of pairs that could not
  be shown."""

  files: list[pathlib.Path | str]
  broken: list[tuple[str, str]]


def draw(
  checkpoint: Path,
  pairs: Path | None = None,
  *,
  step: int | str | None = None,
  only: Sequence[str] = (),
  limit: int | None = None,
  mono_view: str | None = None,
  reduce: int | None = None,
  variant: str | None = None,
  low: float = 0.5,
  out: Path = "confidence",
  memory_limit: int | None = None,
  quiet: bool = False,
) -> Drawn:
  """Draws a picture a pair: its views, colours, confidence, disparity and the global curve.

  Args:
    checkpoint, step: as `models.find` takes them; of a method that gives a confidence map.
    pairs: as `data.stereo.open_pairs` takes them; None: the run's held-out ones.
    only: patterns of names; others are left out. Empty: all.
    limit: the first so many pairs only; None: all.
    mono_view, reduce, variant: as of config.data; None: the run's.
    low: confidence below this share of the average is marked, above 0 to 1.
    out: folder of the pictures, here or in a bucket, made where there is none; those of the same
      names are replaced.
    memory_limit: bytes that a pair may take; None: 80 % of what is free.
    quiet: no progress bar.

  Raises:
    UserError: no such network or pairs; a network without a confidence map.
  """
  for name, path in (("PAIRS", pairs), ("--checkpoint", checkpoint), ("--out", out)):
    if path == "":  # as of an unset variable
      raise UserError(f"{name} is empty: expected a path")
  found = confidence_pairs.find(checkpoint, step)
  changes = {"mono_view": mono_view, "reduce": reduce, "variant": variant}
  source, numbers = _open(found.config, pairs, only, limit, changes)
  folder = location.as_path(out)
  remote.Place(folder).make()  # refused before the work
  for note in source.notes:
    display.say(note)
  display.say(f"looking with {checkpoint}, step {found.step}")
  network = confidence_pairs.Oracle(found, memory_limit)
  drawn = Drawn([], [])
  with display.bar(total=len(numbers), unit="pair", disable=quiet) as bar:
    for i in numbers:
      name = source.name(i)
      try:
        answer = network.ask(source.load(i))
      except (DecodeError, confidence_pairs.TooLargeError) as error:
        drawn.broken.append((name, str(error).removeprefix(f"{name}: ")))
      else:
        title = [f"{display.printable(name)}, {network.name}, step {found.step}."]
        path = location.inside(folder, confidence_pairs.file_name(i, name))
        location.write(path, panels.png(confidence_sheet.draw(title, answer, low)))
        display.say(confidence_pairs.line(name, answer, low))
        drawn.files.append(path)
      bar.update()
  display.list_broken("could not be shown", drawn.broken)
  count = len(drawn.files)
  display.say(f"wrote {count} picture{'' if count == 1 else 's'} in {folder}")
  return drawn


def _open(
  config, pairs: Path | None, only: Sequence[str], limit: int | None, changes: dict
) -> tuple[PairSource, list[int]]:
  """Opens the pairs as `scs-jax evaluate` sees them: (source, numbers of those that are shown)."""
  if pairs is None and not config.data.heldout:
    raise UserError(
      "which pairs? the run has no held-out ones (its config.data.heldout is empty); give PAIRS, a "
      "folder of stereo pairs, MONO_DIR,COLOR_DIR, a list file, or bundled"
    )
  if changes["reduce"] not in (None, *REDUCTIONS):
    expected = ", ".join(map(str, REDUCTIONS))
    raise UserError(f"--reduce {changes['reduce']}: expected one of {expected}")
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.data.update({key: value for key, value in changes.items() if value is not None})
  # All first: a pair's number decides the noise of simulated cameras, which is to be evaluate's.
  source = PairSet("", pairs, Setting(modes=()), config).source
  names = [source.name(i) for i in range(len(source))]
  for pattern in only:
    if not fnmatch.filter(names, pattern):
      raise UserError(
        f"--only: no pair is called {pattern!r}; there are {stereo_lists.some(names, 10)}"
      )
  fits = lambda name: any(fnmatch.fnmatchcase(name, pattern) for pattern in only)
  numbers = [i for i, name in enumerate(names) if not only or fits(name)]
  return source, numbers[:limit]
