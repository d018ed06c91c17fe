"""From what a user names to records of stereo pairs: bundled, folders, two folders, a list file.

A list file has a pair a line: paths, relative to the file, separated by commas, tabs or, in a .txt,
blanks; quotes keep a separator inside a path; a backslash is a character like others; empty lines
and such that begin with # are skipped. Its first line may name the columns: `mono color` (what it
is without one: cameras of two kinds) or `left right` (colour stereo), in any order; beside the
former `truth` (the true colours of the monochrome view), beside the latter `disparity` (PFM, of the
left view).
"""

import csv
import io
import os
import pathlib
import shlex
from collections.abc import Sequence

from scs_jax.data import bundled, listing, stereo_layouts
from scs_jax.data.disparity_files import DisparityFile
from scs_jax.data.stereo_layouts import Record, some
from scs_jax.errors import UserError

__all__ = ["find", "some", "text"]

_COLUMNS = ("mono", "color", "left", "right", "truth", "disparity")
_LISTS = (".txt", ".csv", ".tsv")

# Rows of the motorcycle's 500. Under rectification a row's matches lie in that row alone, so two
# bands share no pixel and no match; it is one scene all the same, and its colours recur.
_BANDS = {"all": None, "train": (0, 300), "heldout": (300, 500)}


def find(
  spec: str, variant: str = "", disparity_scale: float | None = None
) -> tuple[list[Record], list[str]]:
  """Finds the records that a spec of stereo.open_pairs stands for, and lines on what was left out.

  Raises:
    UserError: there is no such thing, or no such variant.
  """
  stereo_layouts.check_variant(variant)
  if spec.partition(":")[0] == "bundled":
    return _bundled(spec), []
  if "://" in spec:
    raise UserError(f"remote data {spec!r} cannot be read; copy it to a local folder and give that")
  if not spec.strip():
    raise UserError("which pairs? expected bundled, a folder, MONO_DIR,COLOR_DIR or a list file")
  path = pathlib.Path(spec).expanduser()
  if "," in spec and not path.exists():
    return _two_folders(spec)
  if path.suffix.lower() in _LISTS and not path.is_dir():
    return _listed(path)
  return stereo_layouts.find(path, variant, disparity_scale)


def text(records: Sequence[Record], folder: str | os.PathLike) -> bytes:
  """Writes a list file's content for pairs of one kind, paths relative to its folder.

  Raises:
    UserError: pairs of both kinds, or with what a list cannot hold.
  """
  if len({record.real for record in records}) > 1:
    raise UserError("a list has pairs of two cameras, or colour stereo; make two lists")
  real = records[0].real
  rows = []
  for record in records:
    left, right = record.disparities
    plain = right is None and (left is None or left.path.lower().endswith(".pfm"))
    if record.tone is not None or record.rows is not None or not plain:
      raise UserError(
        f"{record.name}: a list holds two views and a PFM disparity of the left one, not other "
        "disparity files, a second exposure or some rows of a picture; choose with "
        "config.data.only and heldout_only, by patterns of names"
      )
    rows.append([*record.views, record.truth if real else left and left.path])
  columns = ["mono", "color", "truth"] if real else ["left", "right", "disparity"]
  known = [row[2] is not None for row in rows]
  if any(known) and not all(known):
    raise UserError(f"{columns[2]} of some pairs alone: a list has it of all or of none")
  width = 3 if all(known) else 2
  place = lambda path: os.path.relpath(path, folder).replace(os.sep, "/")
  out = io.StringIO()
  writer = csv.writer(out, lineterminator="\n")
  writer.writerow(columns[:width])
  writer.writerows([*map(place, row[:width])] for row in rows)
  return out.getvalue().encode()


def _bundled(spec: str) -> list[Record]:
  split = spec.partition(":")[2] or ("all" if ":" not in spec else "")
  if split not in _BANDS:
    raise UserError(
      f"no bundled pairs {spec!r}; expected bundled, bundled:train or bundled:heldout"
    )
  photos = {photo.name: photo for photo in bundled.select()}
  left, right = (photos[f"motorcycle_{side}.png"].path for side in ("left", "right"))
  for path in (left, right):
    if not path.is_file():
      raise UserError(
        f"scikit-image is installed without {path.name} ({path}); run pip install "
        "--force-reinstall scikit-image, or give a folder of pairs"
      )
  disparity = DisparityFile(str(left.with_name("motorcycle_disp.npz")), "npz")
  name = "motorcycle" if split == "all" else f"motorcycle_{split}"
  return [Record(name, (str(left), str(right)), disparities=(disparity, None), rows=_BANDS[split])]


def _two_folders(spec: str) -> tuple[list[Record], list[str]]:
  parts = [pathlib.Path(part.strip()).expanduser() for part in spec.split(",")]
  if len(parts) != 2 or not all(part.strip() for part in spec.split(",")):
    raise UserError(f"{spec!r}: expected two folders, MONO_DIR,COLOR_DIR")
  for part in parts:
    if not part.is_dir():
      kind = "a file" if part.exists() else "not there"
      raise UserError(f"{part} is {kind}; expected two folders of pictures, MONO_DIR,COLOR_DIR")
  names = [_pictures(part) for part in parts]
  both = sorted(names[0].keys() & names[1].keys())
  if not both:
    raise UserError(
      f"no picture of {parts[0]} has the name of one of {parts[1]} (extensions aside); there are "
      f"{some(names[0].values())} and {some(names[1].values())}"
    )
  notes = []
  for k, side in enumerate(("monochrome", "colour")):
    alone = [names[k][stem] for stem in sorted(names[k].keys() - names[1 - k].keys())]
    if alone:
      notes.append(f"{side} pictures without a partner, left out: {some(alone)}")
  return [
    Record(stem, tuple(str(parts[k] / names[k][stem]) for k in (0, 1)), real=True) for stem in both
  ], notes


def _pictures(folder: pathlib.Path) -> dict[str, str]:
  """Maps path without extension to path of a folder's pictures; two of one name: an error."""
  found: dict[str, str] = {}
  for file in listing.list_local(folder, keep_empty=True).files:
    key = os.path.splitext(file.name)[0]
    if key in found:
      raise UserError(f"{folder} has both {found[key]} and {file.name}; keep one of them")
    found[key] = file.name
  if not found:
    raise UserError(f"no pictures under {folder}")
  return found


def _listed(path: pathlib.Path) -> tuple[list[Record], list[str]]:
  lines = _lines(path)
  columns = ["mono", "color"]
  if lines and any(word.lower() in _COLUMNS for word in lines[0][1]):
    columns = [word.lower() for word in lines.pop(0)[1]]
    given = set(columns)
    unknown = given - set(_COLUMNS)
    if unknown or len(given) != len(columns):
      raise UserError(
        f"{path}: the first line names {', '.join(sorted(unknown) or columns)}; expected each of "
        f"{', '.join(_COLUMNS)} at most once"
      )
    kinds = [kind for kind in (("mono", "color"), ("left", "right")) if given >= set(kind)]
    extra = {"mono": "truth", "left": "disparity"}
    if len(kinds) != 1 or not given <= {*kinds[0], extra[kinds[0][0]]}:
      raise UserError(
        f"{path}: the first line names {', '.join(columns)}; expected mono and color with or "
        "without truth, or left and right with or without disparity"
      )
  if not lines:
    raise UserError(f"{path} lists no pairs; expected two paths a line, mono and color")
  records, seen = [], {}
  for number, words in lines:
    record = _line(path, number, words, columns)
    if record.name in seen:
      raise UserError(f"{path}: lines {seen[record.name]} and {number} name the same pair")
    seen[record.name] = number
    records.append(record)
  return records, []


def _line(path: pathlib.Path, number: int, words: list[str], columns: list[str]) -> Record:
  if len(words) != len(columns) or not all(words):
    spaces = "; put a path with blanks in it in quotes, or commas between the paths"
    raise UserError(
      f"{path}, line {number}: {sum(map(bool, words))} paths, expected {len(columns)} "
      f"({', '.join(columns)})" + (spaces if len(words) > len(columns) else "")
    )
  place = lambda word: str(path.parent / pathlib.Path(word).expanduser())
  for word in words:
    if "\\" in word and not os.path.exists(place(word)):
      raise UserError(
        f"{path}, line {number}: {word} is not there; write / between folders, not backslashes"
      )
  given = {column: place(word) for column, word in zip(columns, words, strict=True)}
  real = "mono" in given
  disparity = given.get("disparity")
  if disparity is not None and not disparity.lower().endswith(".pfm"):
    raise UserError(f"{path}, line {number}: the disparity {disparity} is no .pfm file")
  first, second = ("mono", "color") if real else ("left", "right")
  return Record(
    name=os.path.splitext(words[columns.index(first)])[0].replace(os.sep, "/"),
    views=(given[first], given[second]),
    real=real,
    truth=given.get("truth"),
    disparities=(None if disparity is None else DisparityFile(disparity, "pfm"), None),
  )


def _blank_separated(line: str) -> list[str]:
  """Splits a line into words, with quotes as a shell has them. ValueError for an open one."""
  reader = shlex.shlex(line, posix=True, punctuation_chars=False)
  reader.whitespace_split, reader.commenters, reader.escape = True, "", ""
  return list(reader)


def _lines(path: pathlib.Path) -> list[tuple[int, list[str]]]:
  """Reads (number, words) of the lines of a list file that say something."""
  try:
    text = path.read_text(encoding="utf-8-sig")
  except OSError as error:
    raise UserError(f"cannot read the list {path} ({error.strerror})") from error
  except UnicodeDecodeError as error:
    raise UserError(f"the list {path} is no text file in UTF-8") from error
  found = []
  for number, line in enumerate(text.splitlines(), 1):
    if not line.strip() or line.lstrip().startswith("#"):
      continue
    separator = next((s for s in (",", "\t") if s in line), None)
    try:
      if separator is None:
        words = _blank_separated(line)
      else:
        words = next(csv.reader([line], delimiter=separator, skipinitialspace=True))
    except ValueError as error:
      raise UserError(f"{path}, line {number}: {error}; check its quotes") from error
    found.append((number, [word.strip() for word in words]))
  return found
