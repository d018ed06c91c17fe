"""Matches monochrome with colour pictures: two files, or two folders by name.

Names are paths below the folders without their extension, so `m/a/1.png` goes with `c/a/1.jpg`.
"""

import collections
import dataclasses
import difflib
import os
import pathlib
from collections.abc import Callable, Iterable, Sequence

from scs_jax.data import location, scan
from scs_jax.errors import UserError
from scs_jax.infer import inputs, pictures
from scs_jax.infer.inputs import Found, Task
from scs_jax.infer.references import Choice

_NAMED = 3  # examples in an error


def find(mono: str, color: str, out: str, form: str = "same") -> Found:
  """Finds the tasks for a monochrome and a colour picture, or for two folders or patterns of them.

  Args:
    mono, color: two files, whatever they are called, or two folders, here or in a bucket, or
      patterns.
    out, form: as of `inputs.find`; results are named after the monochrome pictures.

  Returns:
    Tasks, each with its partner; monochrome pictures without one are in `unreadable`.

  Raises:
    UserError: what `inputs.find` raises; a file beside a folder; one file given twice; no name
      that is in both.
  """
  files = [location.is_file(path) for path in (mono, color)]
  if files[0] != files[1] and all(map(location.exists, (mono, color))):
    kinds = zip((mono, color), files, strict=True)
    what = [f"{path} is a {'file' if is_file else 'folder'}" for path, is_file in kinds]
    raise UserError(f"--mono {what[0]}, --color {what[1]}: give two files, or two folders")
  single = all(files)
  if os.path.realpath(mono) == os.path.realpath(color):
    raise UserError(f"--mono and --color are the same, {mono}; give the two views of a pair")
  found, views = inputs.find([mono], out, form), Found()
  tasks = _pictures(found.tasks, "--mono", mono)
  lenders = _pictures(inputs.expand(os.path.expanduser(color), out, views), "--color", color)
  results = sorted({*found.results, *views.results})
  others = found.others | views.others
  pairs = Found(tasks, others, results, found.unreadable, found.single)
  pairs.unreadable += views.unreadable
  if single:
    pairs.tasks = [dataclasses.replace(tasks[0], partner=lenders[0].source)]
  else:
    _match(pairs, lenders, mono, color)
  inputs.spare_inputs(pairs.tasks)
  return pairs


def _pictures(tasks: Sequence[Task], flag: str, given: str) -> list[Task]:
  """Returns the tasks that are pictures: a video has no partner frame by frame."""
  kept = [task for task in tasks if not task.video]
  if not kept:
    what = "a video; give its frames as pictures" if tasks else "without pictures"
    raise UserError(f"{flag} {given} is {what}")
  return kept


def _match(pairs: Found, lenders: Iterable[Task], mono: str, color: str) -> None:
  """Gives each task its partner; moves those that have none, or several, to `unreadable`."""
  by_stem = _by_stem(lenders)
  wanted = _by_stem(pairs.tasks)
  if not wanted.keys() & by_stem.keys():
    raise UserError(
      f"no name is in both folders: --mono {mono} has {_some(wanted)}, --color {color} has "
      f"{_some(by_stem)}; name the two views of a pair alike"
    )
  tasks = []
  for stem, twins in wanted.items():
    there = by_stem.get(stem, [])
    if len(twins) == len(there) == 1:
      tasks.append(dataclasses.replace(twins[0], partner=there[0].source))
      continue
    if not there:
      near = difflib.get_close_matches(stem, by_stem.keys() - wanted.keys(), n=1)
      cause = f"no picture of this name in {color}"
      cause += f"; did you mean {by_stem[near[0]][0].relative}?" if near else ""
    else:
      double = twins if len(twins) > 1 else there
      names = " and ".join(task.source for task in double[:2])
      cause = f"{names} have one name but for the extension; keep one of them"
    pairs.unreadable += [(task.source, cause) for task in twins]
  pairs.tasks = tasks
  pairs.spare = [t.source for stem, found in by_stem.items() if stem not in wanted for t in found]


def _by_stem(tasks: Iterable[Task]) -> dict[str, list[Task]]:
  found = collections.defaultdict(list)
  for task in tasks:
    found[pathlib.PurePosixPath(task.relative).with_suffix("").as_posix()].append(task)
  return dict(found)


def _some(stems: Iterable[str]) -> str:
  stems = sorted(stems)
  return ", ".join(stems[:_NAMED]) + (", ..." if len(stems) > _NAMED else "")


class Partners:
  """The colour views, read as they are needed; stands where a job expects References."""

  def __init__(
    self, tasks: Sequence[Task], read: Callable[[str], pictures.Picture] | None = None
  ):
    self._partners = {task.relative: task.partner for task in tasks}
    self._open = read or pictures.read

  def choose(self, name: str, picture: pictures.Picture) -> Choice:
    """Opens the colour view of a monochrome picture.

    Args:
      name: the picture's path below its folder.
      picture: the monochrome view.

    Raises:
      DecodeError: it cannot be read.
      UserError: it has another size, or no colours.
    """
    path = self._partners[name]
    partner = self._open(path)
    require_pair(picture, partner, path)
    notes = [f"{path}: {remark}" for remark in partner.remarks]
    return Choice(partner, path, notes)


def require_pair(mono: pictures.Picture, color: pictures.Picture, name: str = "color") -> None:
  """Raises UserError unless the two may be views of one pair."""
  if mono.gray.shape != color.gray.shape:
    sizes = [f"{p.gray.shape[1]}x{p.gray.shape[0]}" for p in (mono, color)]
    raise UserError(
      f"the monochrome view has {sizes[0]} pixels, the colour view {name} has {sizes[1]}; both "
      "views of a pair are expected rectified and of one size"
    )
  if color.chroma < scan.GRAY_CHROMA:
    swapped = mono.chroma >= scan.GRAY_CHROMA
    advice = "are --mono and --color swapped?" if swapped else "give the colour camera's picture"
    raise UserError(f"the colour view {name} is gray, it has no colours to lend; {advice}")
