"""Lists what to colour, and where each result goes: files, folders and patterns become tasks.

  - A folder or file may be in a bucket; patterns are of a disk.
  - A folder is read with all below it, hidden files and folders left out, links to folders followed
    once; its structure is kept. A pattern is read like a folder, below its part without wildcards.
  - Below a folder or pattern, folders of this command's own results are left out: who wants them
    coloured names them.
  - What is no picture by its extension is counted and left alone; a file named by itself is tried
    by its content.
  - Two inputs for one name, `a.jpg` and `a.png` becoming `a.png`: the one that has the name already
    keeps it, the others keep their extension as well (`a.jpg.png`). Where that does not part them
    (folders given side by side), it is an error before anything starts.
"""

import collections
import dataclasses
import difflib
import glob
import os
import pathlib
import re
from collections.abc import Collection, Sequence

from scs_jax.data import listing, location, remote
from scs_jax.data.listing import EXTENSIONS
from scs_jax.errors import UserError
from scs_jax.infer import picture_files

VIDEOS = frozenset((".mp4", ".mov", ".mkv", ".avi", ".webm"))
WRITABLE = frozenset(picture_files.FORMATS)
FORMATS = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "tiff": ".tiff"}
_VIDEO_OUT = ".mp4"
_JPEG_NAMES = {".jpe": ".jpg", ".jfif": ".jpg"}


@dataclasses.dataclass(frozen=True)
class Task:
  """One picture or video to colour.

  Attributes:
    source: the file, by the path it was given.
    relative: its name below the folder given, with slashes; a file's own name.
    output: where the result goes.
    video: whether it is a video.
    named: whether it was named by itself, not met in a folder or by a pattern.
    partner: of a pair, the file of the colour view.
  """

  source: str
  relative: str
  output: str = ""
  video: bool = False
  named: bool = False
  partner: str = ""


@dataclasses.dataclass
class Found:
  """Holds what there is to do, and what was left alone.

  Attributes:
    tasks: in their order.
    others: files that are no pictures.
    results: folders of results that were left out.
    unreadable: (folder, cause) pairs.
    single: whether `out` names the one result itself.
    spare: of pairs, colour pictures without a monochrome one.
  """

  tasks: list[Task] = dataclasses.field(default_factory=list)
  others: set[str] = dataclasses.field(default_factory=set)
  results: list[str] = dataclasses.field(default_factory=list)
  unreadable: list[tuple[str, str]] = dataclasses.field(default_factory=list)
  single: bool = False
  spare: list[str] = dataclasses.field(default_factory=list)


def find(given: Sequence[str], out: str, form: str = "same") -> Found:
  """Finds the tasks for what a user gave.

  Args:
    given: files, folders, patterns (`*`, `?`, `[a-z]`, `**`), the last expanded here.
    out: folder of the results, here or in a bucket, or for a single file the result's own name.
    form: a key of FORMATS, or "same": the input's format where it can be written, else PNG.

  Raises:
    UserError: nothing there or no pictures in it, results that would replace each other or an
      input, an `out` that is a file or has an extension that cannot be written.
  """
  if not out:
    raise UserError("--out is empty: expected a folder for the results")
  found = Found()
  seen: set[str] = set()
  entries: list[Task] = []
  for text in given:
    here = expand(os.path.expanduser(text), out, found)
    if not here:
      raise UserError(f"no pictures in {text}{_left_alone(found)}; expected {_expected()}")
    for task in here:
      if (place := os.path.abspath(task.source)) not in seen:
        seen.add(place)
        entries.append(task)
  found.single = _is_single(given, out, form)
  if found.single:
    found.tasks = [dataclasses.replace(entries[0], output=out)]
  else:
    found.tasks = _place(entries, out, form)
  spare_inputs(found.tasks)
  return found


def describe_others(others: Collection[str]) -> str:
  """Writes `left alone: 3 files that are no pictures (.txt 2, .xmp 1)`."""
  counts = collections.Counter(os.path.splitext(path)[1].lower() for path in others)
  kinds = ", ".join(f"{suffix or 'no extension'} {n}" for suffix, n in sorted(counts.items()))
  what = "file that is no picture" if len(others) == 1 else "files that are no pictures"
  return f"left alone: {len(others)} {what} ({kinds})"


def _left_alone(found: Found) -> str:
  lines = [describe_others(found.others)] if found.others else []
  lines += listing.describe_results(found.results)
  return f" ({'; '.join(lines)})" if lines else ""


def _expected() -> str:
  return f"files ending in {' '.join(sorted(EXTENSIONS | VIDEOS))}, or a file named by itself"


def _is_single(given: Sequence[str], out: str, form: str) -> bool:
  """Tells whether `out` names the result of the one file given."""
  suffix = os.path.splitext(out)[1].lower()
  if os.path.isdir(out) or (suffix not in EXTENSIONS | VIDEOS and not os.path.isfile(out)):
    return False
  if len(given) != 1 or not location.is_file(given[0]):
    what = "is a file" if os.path.isfile(out) else "names one file"
    raise UserError(f"--out {out} {what}, but there may be several results: give a folder")
  is_video = os.path.splitext(given[0])[1].lower() in VIDEOS
  allowed = [_VIDEO_OUT] if is_video else sorted(WRITABLE)
  if suffix not in allowed:
    raise UserError(f"--out {out}: expected a folder, or a file ending in {' '.join(allowed)}")
  if not is_video and form != "same" and _kin(suffix) != FORMATS[form]:
    raise UserError(f"--out {out} is not --format {form}: leave --format out")
  return True


def _kin(suffix: str) -> str:
  return {".jpeg": ".jpg", ".tif": ".tiff"}.get(suffix, suffix)


def expand(text: str, out: str, found: Found) -> list[Task]:
  """Finds the tasks of one argument, without outputs; what is left alone goes into `found`."""
  if remote.is_remote(text):
    return _in_bucket(text.rstrip("/"), out.rstrip("/"), found)
  if os.path.isdir(text):
    if os.path.realpath(text) == os.path.realpath(out):
      raise _same_folder(out)
    return sorted(_walk(text, text, _avoid(text, out), found), key=lambda task: task.relative)
  if os.path.lexists(text):  # before patterns: a file may be called a[1].png
    suffix = os.path.splitext(text)[1].lower()
    return [Task(text, os.path.basename(text), video=suffix in VIDEOS, named=True)]
  if glob.has_magic(text):
    base = text[: re.search(r"[*?[]", text).start()]
    return _match(text, _avoid(os.path.dirname(base), out), found)
  raise UserError(f"no such file or folder: {text or repr(text)}{_near(text)}")


def _same_folder(out: str) -> UserError:
  return UserError(
    f"--out {out} is the folder of the pictures itself, where results would be taken for pictures "
    "next time; choose another"
  )


def _in_bucket(address: str, out: str, found: Found) -> list[Task]:
  """Finds the pictures in a folder of a bucket, or the one that is named."""
  if address == out:
    raise _same_folder(out)
  place = remote.Place(address)
  with remote.reaching(address):
    names, is_file = place.sizes(), place.is_file()
  if is_file:
    name = address.rpartition("/")[2]
    return [Task(address, name, video=os.path.splitext(name)[1].lower() in VIDEOS, named=True)]
  if not names:
    raise UserError(
      f"no such file or folder: {address}; check the address; of a bucket, give a folder or a file"
    )
  shown, results = listing.parted(names)
  found.results += map(place.full, results)
  around = address.startswith(f"{out}/")  # all that is read lies in the folder of the results
  paths = [path for path in map(place.full, shown) if around or not path.startswith(f"{out}/")]
  return [task for path in paths for task in _classify(path, address, found)]


def _avoid(base: str, out: str) -> str | None:
  """Gives the output folder, to be left out of what is read, unless all that is read lies in it."""
  return None if _inside(base or ".", out) else os.path.realpath(out)


def _near(text: str) -> str:
  folder, name = os.path.split(text)
  try:
    near = difflib.get_close_matches(name, os.listdir(folder or "."), n=1)
  except OSError:
    return "; the folder it should be in is not there either"
  return f"; did you mean {os.path.join(folder, near[0])}?" if near else ""


def _match(pattern: str, avoid: str | None, found: Found) -> list[Task]:
  """Finds the pictures that match, and those in folders that match, named below the fixed part."""
  parts = pathlib.PurePath(pattern).parts
  fixed = next(i for i, part in enumerate(parts) if glob.has_magic(part))
  base = os.path.join("", *parts[:fixed])
  matches = sorted(glob.glob(pattern, recursive=True))
  if not matches:
    raise UserError(f"nothing matches {pattern}; check the pattern and the folder it starts in")
  tasks: list[Task] = []
  for path in matches:
    if _is_result(path, base, found) or (avoid and _inside(path, avoid)):
      continue
    if os.path.isdir(path):
      tasks += _walk(path, base, avoid, found)
    else:
      tasks += _classify(path, base, found)
  return sorted(tasks, key=lambda task: task.relative)


def _inside(path: str, folder: str) -> bool:
  """Tells whether path is the folder or lies in it, links resolved."""
  path, folder = os.path.realpath(path), os.path.realpath(folder)
  return path == folder or path.startswith(os.path.join(folder, ""))


def _is_result(path: str, base: str, found: Found) -> bool:
  """Tells whether a match lies in a folder of results below the base; enters that in `found`."""
  folder = path if os.path.isdir(path) else os.path.dirname(path)
  while folder and os.path.abspath(folder) != os.path.abspath(base or "."):
    if listing.is_results(folder):
      if folder not in found.results:
        found.results.append(folder)
      return True
    folder = os.path.dirname(folder)
  return False


def _walk(root: str, base: str, avoid: str | None, found: Found) -> list[Task]:
  """Lists all below root but hidden files and `avoid`; links to folders come last, and once."""
  visited, pending, linked = set(), [root], []
  tasks: list[Task] = []
  while pending or linked:
    folder = pending.pop() if pending else linked.pop(0)
    real = os.path.realpath(folder)
    if real in visited:
      continue
    visited.add(real)
    if folder != root and listing.is_results(folder):
      found.results.append(folder)
      continue
    if real == avoid:
      continue
    try:
      with os.scandir(folder) as entries:
        entries = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
      found.unreadable.append((folder, f"folder cannot be read ({error.strerror})"))
      continue
    for entry in entries:
      if entry.name.startswith("."):
        continue
      # Unlike entry.is_dir() it does not raise for links in a ring, which are then tried as files.
      if os.path.isdir(entry.path):
        (linked if entry.is_symlink() else pending).append(entry.path)
      else:
        tasks += _classify(entry.path, base, found)
  return tasks


def _classify(path: str, base: str, found: Found) -> list[Task]:
  suffix = os.path.splitext(path)[1].lower()
  if suffix not in EXTENSIONS | VIDEOS:
    found.others.add(os.path.abspath(path))
    return []
  relative = pathlib.PurePath(os.path.relpath(path, base or ".")).as_posix()
  return [Task(path, relative, video=suffix in VIDEOS)]


def _place(entries: list[Task], out: str, form: str) -> list[Task]:
  """Returns the entries with their outputs, no two the same."""
  wanted = collections.defaultdict(list)
  for task in entries:
    # Without case, as some file systems are: two results must be two files on those as well.
    wanted[_renamed(task, form).casefold()].append(task)
  tasks, taken = [], {}
  for task in entries:
    name = _renamed(task, form)
    if len(wanted[name.casefold()]) > 1 and task.relative.casefold() != name.casefold():
      name = task.relative + _suffix(task, form)
    other = taken.setdefault(name.casefold(), task)
    if other is not task and os.path.realpath(other.source) == os.path.realpath(task.source):
      continue  # one file by two ways
    if other is not task:
      raise UserError(
        f"{other.source} and {task.source} would both become {os.path.join(out, name)}; give the "
        "folder above both, or colour them into folders of their own"
      )
    tasks.append(dataclasses.replace(task, output=remote.join(out, name)))
  return tasks


def _suffix(task: Task, form: str) -> str:
  if task.video:
    return _VIDEO_OUT
  own = os.path.splitext(task.relative)[1].lower()
  own = _JPEG_NAMES.get(own, own)
  return FORMATS.get(form) or (own if own in WRITABLE else ".png")


def _renamed(task: Task, form: str) -> str:
  """Returns the relative name with the result's extension; an unusual one stays in the name."""
  stem, own = os.path.splitext(task.relative)
  known = own.lower() in EXTENSIONS | VIDEOS
  suffix = _suffix(task, form)
  if known and own.lower() == suffix:
    return task.relative  # X.JPG stays X.JPG
  return (stem if known else task.relative) + suffix


def spare_inputs(tasks: list[Task]) -> None:
  """Raises UserError where a result would replace an input or be put where it cannot be."""
  sources = {os.path.realpath(path) for t in tasks for path in (t.source, t.partner) if path}
  for task in tasks:
    if os.path.realpath(task.output) in sources:
      raise UserError(
        f"{task.output} is an input and would be overwritten by the result of {task.source}; "
        "choose another --out or --format"
      )
    if remote.is_remote(task.output):  # where a folder is no more than a part of names
      continue
    if os.path.isdir(task.output):
      raise UserError(f"{task.output} is a folder, where a result is to go; choose another --out")
    for folder in pathlib.PurePath(task.output).parents:
      if os.path.lexists(folder):
        if not os.path.isdir(folder):
          raise UserError(
            f"{folder} is a file, where a folder of results is to go; choose another --out"
          )
        break
