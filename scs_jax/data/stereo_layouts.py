"""Folders of stereo pairs as they are published -> records: which files make one pair.

  Middlebury 2014, 2021  SCENE/im0.png im1.png, disp0.pfm disp1.pfm; the right view at another
                         exposure and under other light: im1E.png, im1L.png
  Middlebury 2005, 2006  SCENE/view1.png view5.png, disp1.png disp5.png (or the views in
                         Illum1/Exp1/); disparities times 1, 2 or 3 at full, half or third size
  Middlebury 2003        SCENE/im2.png im6.png (or .ppm), disp2 disp6 (.png, .pgm), times 1, 2 or 4
                         at full, half or quarter size
  MPI Sintel stereo      [training/]{clean,final}_{left,right}/SCENE/frame_0001.png, disparities/
  SceneFlow              frames_{clean,final}pass[_webp]/.../{left,right}/0001.png, disparity/
  Cityscapes             leftImg8bit/SPLIT/CITY/*_leftImg8bit.png, rightImg8bit/, disparity/
  plain                  SCENE/left.png right.png, disp_left disp_right (.pfm, or .png where
                         disparity_scale says what a value means); right_exposureE.png;
                         mask.png (2014: mask0nocc.png): 255 where the right view sees a pixel
                         of the left one

In a disparity of 8 bits the scale follows from the picture's height, as the data sets' pages give
it (full size: 1110 rows in 2005 and 2006, 1500 in 2003); at any other height it is not read.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

from PIL import Image

from scs_jax.data import listing
from scs_jax.data.disparity_files import DisparityFile
from scs_jax.errors import UserError

VARIANTS = ("", "clean", "final", "E", "L")
"""clean or final: rendering of Sintel and SceneFlow ("": clean). E or L: the right view of
Middlebury 2014 at another exposure or under other light, where there is one ("": the same)."""

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".ppm", ".pgm", ".bmp", ".tif", ".tiff")
_DEPTH = 6  # folders below the root that are looked into


@dataclasses.dataclass(frozen=True)
class Record:
  """The files of one pair.

  Attributes:
    name: unique among its source's.
    views: paths of (left, right), or of (monochrome, colour) where `real`.
    real: shot by a monochrome and a colour camera; else both views have colour.
    tone: the right view as a camera of another exposure or light saw it; None: none.
    disparities: of (first, second) view, each None where there is no file.
    truth: the true colours of a real pair's monochrome view; None: unknown.
    rows: (first, past the last) row of the part that the pair is; None: all rows.
    mask: 255 where a pixel of the left view is seen by the right one too; None: unknown.
  """

  name: str
  views: tuple[str, str]
  real: bool = False
  tone: str | None = None
  disparities: tuple[DisparityFile | None, DisparityFile | None] = (None, None)
  truth: str | None = None
  rows: tuple[int, int] | None = None
  mask: str | None = None


Files = Mapping[str, str]  # lower-case name without its extension -> file name, of one folder


def find(
  root: str | os.PathLike, variant: str = "", disparity_scale: float | None = None
) -> tuple[list[Record], list[str]]:
  """Finds the pairs under a folder, sorted by name, and lines on what was left out.

  Args:
    root: holds one or more of the layouts above, at most six folders deep.
    variant: one of VARIANTS.
    disparity_scale: plain layout: value of one pixel of disparity in its PNG files; None: unknown,
      they are not read.

  Raises:
    UserError: no folder, no pairs in it, an unknown variant, a variant that no pair has.
  """
  root = pathlib.Path(root).expanduser()
  check_variant(variant)
  if not root.is_dir():
    kind = "a file" if root.exists() else "not there"
    raise UserError(f"{root} is {kind}; expected a folder of stereo pairs")
  records: list[Record] = []
  notes: list[str] = []
  unread: list[str] = []
  for folder, folders, files in _walk(root):
    for reader in (_cityscapes, _sintel, _sceneflow):
      found = reader(folder, folders, variant, notes)
      if found:
        records += [_under(root, folder, record) for record in found]
        folders.clear()  # read: no scene is met twice
        break
    else:
      record = _scene(folder, folders, files, variant, disparity_scale, unread)
      if record is not None:
        records.append(_under(root, folder, record))
        folders[:] = [f for f in folders if not f.lower().startswith("illum")]
  if not records:
    raise UserError(
      f"no stereo pairs under {root}; expected a layout of Middlebury, Sintel, SceneFlow or "
      "Cityscapes, SCENE/left.png with SCENE/right.png, MONO_DIR,COLOR_DIR, or a list file"
      + (f" ({notes[0]})" if notes else "")
    )
  if variant in ("E", "L"):
    without = [record.name for record in records if record.tone is None]
    if len(without) == len(records):
      raise UserError(f"data.variant is {variant}, but no pair under {root} has such a right view")
    if without:
      notes.append(f"pairs without a right view {variant}, read as they are: {some(without)}")
  if unread:
    names = [os.path.relpath(path, root) for path in unread]
    notes.append(
      f"disparity files that are not read, since nothing says what a value means: {some(names)}; "
      "write them as .pfm, in pixels, or give check-stereo --disparity-scale for disp_left.png and "
      "disp_right.png"
    )
  return sorted(records, key=lambda record: record.name), notes


def check_variant(variant: str) -> None:
  """Raises UserError unless it is one of VARIANTS."""
  if variant not in VARIANTS:
    raise UserError(
      f"data.variant is {variant!r}: expected one of {', '.join(VARIANTS[1:])}, or ''"
    )


def some(names, most: int = 3) -> str:
  """Writes `5 (a, b, c, ...)`: how many there are, and the first few."""
  names = list(names)
  return f"{len(names)} ({', '.join(names[:most])}{', ...' if len(names) > most else ''})"


def by_stem(files) -> dict[str, str]:
  """Maps name without extension, lower case, to file name of pictures and PFM; the first wins."""
  found: dict[str, str] = {}
  for name in sorted(files):
    stem, extension = os.path.splitext(name)
    if extension.lower() in (*PICTURES, ".pfm"):
      found.setdefault(stem.lower(), name)
  return found


def _walk(root: pathlib.Path) -> Iterator[tuple[pathlib.Path, list[str], list[str]]]:
  """Folders top down, links followed once; names taken out of the second list are not entered."""
  seen = set()
  for path, folders, files in os.walk(root, followlinks=True):
    try:
      status = os.stat(path)
    except OSError:  # went away
      folders.clear()
      continue
    deep = len(pathlib.Path(path).relative_to(root).parts) >= _DEPTH
    if (status.st_dev, status.st_ino) in seen:
      folders.clear()
      continue
    seen.add((status.st_dev, status.st_ino))
    folders[:] = [] if deep else listing.entered(path, folders)
    yield pathlib.Path(path), folders, files


def _under(root: pathlib.Path, folder: pathlib.Path, record: Record) -> Record:
  """Returns the record with the folder's path before its name."""
  above = folder.relative_to(root).parts
  name = "/".join([*above, *([record.name] if record.name else [])])
  return dataclasses.replace(record, name=name or root.resolve().name)


def _scene(
  folder, folders, files, variant: str, disparity_scale: float | None, unread: list[str]
) -> Record | None:
  """Finds the pair of a folder that holds one: Middlebury of any year, or plain.

  Paths of disparity files whose scale is unknown are added to `unread`.
  """
  stems = by_stem(files)
  path = lambda stem: str(folder / stems[stem]) if stem in stems else None
  scaled = lambda stems, scale: tuple(_disparity(path(stem), scale, unread) for stem in stems)
  pair = lambda first, second: (path(first), path(second))
  have = lambda *names: all(name in stems for name in names)
  tone = f"im1{variant.lower()}" if variant in ("E", "L") else ""
  if have("im2", "im6"):  # first: with all nine views, 2003 has im0 and im1 as well
    scale = lambda: _scale(path("im2"), {1500: 1.0, 750: 2.0, 375: 4.0})
    return Record("", pair("im2", "im6"), disparities=scaled(("disp2", "disp6"), scale))
  if have("im0", "im1"):
    return Record("", pair("im0", "im1"), tone=path(tone) if tone else None,
                  disparities=scaled(("disp0", "disp1"), lambda: None),
                  mask=path("mask0nocc"))  # fmt: skip
  views = pair("view1", "view5") if have("view1", "view5") else _illuminated(folder, folders)
  if views is not None:
    scale = lambda: _scale(views[0], {1110: 1.0, 555: 2.0, 370: 3.0})
    return Record("", views, disparities=scaled(("disp1", "disp5"), scale))
  if have("left", "right"):
    shot = f"right_exposure{variant.lower()}" if variant == "E" else f"right_light{variant.lower()}"
    disparities = scaled(("disp_left", "disp_right"), lambda: disparity_scale)
    return Record("", pair("left", "right"), tone=path(shot) if tone else None,
                  disparities=disparities,
                  mask=path("mask"))  # fmt: skip
  return None


def _illuminated(folder: pathlib.Path, folders) -> tuple[str, str] | None:
  """Finds Middlebury 2005 and 2006 views that lie by illumination and exposure only."""
  if not any(f.lower() == "illum1" for f in folders):
    return None
  place = folder / "Illum1" / "Exp1"
  views = (place / "view1.png", place / "view5.png")
  return tuple(map(str, views)) if all(view.is_file() for view in views) else None


def _disparity(
  path: str | None, scale: Callable[[], float | None], unread: list[str]
) -> DisparityFile | None:
  if path is None:
    return None
  if path.lower().endswith(".pfm"):
    return DisparityFile(path, "pfm")
  value = scale()
  if value is None:
    unread.append(path)
    return None
  return DisparityFile(path, "gray", value)


def _scale(path: str, by_height: Mapping[int, float]) -> float | None:
  try:
    with Image.open(path) as image:  # reads the header alone
      return by_height.get(image.size[1])
  except Exception:  # a damaged picture: said when it is read as a view
    return None


def _cityscapes(folder, folders, variant, notes) -> list[Record]:
  if not {"leftImg8bit", "rightImg8bit"} <= set(folders):
    return []
  records, alone = [], []
  for path, _, files in _walk(folder / "leftImg8bit"):
    part = path.relative_to(folder / "leftImg8bit")
    for name in sorted(files):
      if not name.endswith("_leftImg8bit.png"):
        continue
      stem = name.removesuffix("_leftImg8bit.png")
      right = folder / "rightImg8bit" / part / f"{stem}_rightImg8bit.png"
      if not right.is_file():
        alone.append(stem)
        continue
      depth = folder / "disparity" / part / f"{stem}_disparity.png"
      found = DisparityFile(str(depth), "cityscapes") if depth.is_file() else None
      records.append(
        Record((part / stem).as_posix(), (str(path / name), str(right)), disparities=(found, None))
      )
  _note(notes, folder / "leftImg8bit", alone)
  return records


_RENDERS = ("clean", "final")


def _asked(folder, renders: list[str], variant: str, notes: list[str]) -> list[str]:
  """Chooses those renderings of a folder that a variant allows."""
  if not renders or variant not in _RENDERS:
    return renders
  if variant not in renders:
    notes.append(f"{folder} has no {variant} rendering")
  return [render for render in renders if render == variant]


def _sintel(folder, folders, variant, notes) -> list[Record]:
  renders = [r for r in _RENDERS if {f"{r}_left", f"{r}_right"} <= set(folders)]
  renders = _asked(folder, renders, variant, notes)
  if not renders:
    return []
  left, right = folder / f"{renders[0]}_left", folder / f"{renders[0]}_right"
  disparity = lambda part, stem: folder / "disparities" / part / f"{stem}.png"
  return _matched(left, right, disparity, "sintel", notes)


def _sceneflow(folder, folders, variant, notes) -> list[Record]:
  frames_of = {r: f"frames_{r}pass{w}" for w in ("_webp", "") for r in _RENDERS
               if f"frames_{r}pass{w}" in folders}  # fmt: skip
  renders = _asked(folder, [r for r in _RENDERS if r in frames_of], variant, notes)
  if not renders:
    return []
  frames, records = folder / frames_of[renders[0]], []
  for path, inside, _ in _walk(frames):
    if not {"left", "right"} <= set(inside):
      continue
    part = path.relative_to(frames)
    depth = folder / "disparity" / part
    found = _matched(
      path / "left", path / "right",
      lambda _, stem, depth=depth: depth / "left" / f"{stem}.pfm", "pfm", notes,
      lambda _, stem, depth=depth: depth / "right" / f"{stem}.pfm",
    )  # fmt: skip
    records += [dataclasses.replace(r, name=(part / r.name).as_posix()) for r in found]
    inside[:] = [f for f in inside if f not in ("left", "right")]
  return records


def _matched(left, right, disparity, encoding, notes, other=None) -> list[Record]:
  """Pictures of two trees that lie at the same place under the same name, extensions aside."""
  records, alone = [], []
  for path, _, files in _walk(left):
    part = path.relative_to(left)
    place = right / part
    theirs = by_stem(os.listdir(place) if place.is_dir() else [])
    for stem, name in by_stem(files).items():
      if stem not in theirs:
        alone.append((part / name).as_posix())
        continue
      own = os.path.splitext(name)[0]
      files_of = [None if get is None else get(part, own) for get in (disparity, other)]
      records.append(
        Record(
          (part / own).as_posix(),
          (str(path / name), str(place / theirs[stem])),
          disparities=tuple(
            DisparityFile(str(f), encoding) if f is not None and f.is_file() else None
            for f in files_of
          ),
        )
      )
  _note(notes, left, alone)
  return records


def _note(notes: list[str], folder: pathlib.Path, alone: list[str]) -> None:
  if alone:
    notes.append(f"views of {folder} without a right one, left out: {some(alone)}")
