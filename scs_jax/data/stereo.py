"""Stereo pairs as numbered records: a monochrome and a colour view, always the same way round.

The orientation that a network may rely on: pixel (j, i) of the monochrome view has its match in the
colour view at (j, i + k), k in [0, d). That is what a right and a left view are to each other; a
pair whose monochrome view is the left one is mirrored as a whole, both views and the truth.
"""

import fnmatch
import os
import pathlib
import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from scs_jax.data import camera as cameras
from scs_jax.data import decode, disparity_files, matching, scan, stereo_lists
from scs_jax.data.decode import DecodeError
from scs_jax.data.stereo_layouts import Record
from scs_jax.data.warped import Warped, warp
from scs_jax.errors import UserError

MONO_VIEWS = ("auto", "right", "left")
REDUCTIONS = (1, 2, 3, 4, 8)

_HELD_BYTES = 256 << 20  # of pairs that are kept decoded: a small set is read once


class Pair(NamedTuple):
  """One pair, in the orientation above.

  Attributes:
    mono: uint8 [H, W, 1].
    color: uint8 [H, W, 3].
    truth: uint8 [H, W, 3], the true colours of the monochrome view (camera.py says what is true of
      two different cameras); None where there are none, or they were not asked for.
    disparity: float32 [H, W], k of the monochrome view's pixels, NaN: unknown; None as truth.
    mirrored: whether the files show it the other way round.
    seen: bool [H, W, 1], the pixels of which the truth is known; None: all of them.
  """

  mono: np.ndarray
  color: np.ndarray
  truth: np.ndarray | None
  disparity: np.ndarray | None
  mirrored: bool
  seen: np.ndarray | None = None


class PairSource:
  """Numbered pairs. Survives pickling and calls from many threads.

  Attributes:
    records: the files of each pair.
    notes: lines on what was left out, for the user.

  Args:
    records: at least one.
    mono_view: of colour stereo, the view that becomes monochrome; of real pairs, the side on which
      the monochrome camera stands. "auto": the view whose matches lie to the right in the other
      one, by the sign of its disparity file or of matches of corners (matching.py), pair by pair.
    camera: what colour stereo is shot with; None: the luma of one view, and the other as it is.
    reduce: both views, and disparities with them, are reduced by this factor (block means).
    notes: lines on what was left out.
    warped: whether the truth is the colour view's colours, carried over by its known disparities
      (warped.py), instead of the monochrome view's own: of views in different light.

  Raises:
    UserError: nonsense in the arguments; a camera for pairs that are real already.
  """

  def __init__(
    self,
    records: Sequence[Record],
    mono_view: str = "auto",
    camera: cameras.CameraPair | None = None,
    reduce: int = 1,
    notes: Sequence[str] = (),
    warped: bool = False,
  ):
    if mono_view not in MONO_VIEWS:
      raise UserError(f"data.mono_view is {mono_view!r}: expected one of {', '.join(MONO_VIEWS)}")
    if reduce not in REDUCTIONS:
      raise UserError(f"data.reduce is {reduce}: expected one of {', '.join(map(str, REDUCTIONS))}")
    if camera is not None and any(record.real for record in records):
      raise UserError(
        "data.camera.enabled: these pairs were shot by a monochrome and a colour camera already; "
        "set it to false, or give pairs of colour views"
      )
    if mono_view == "left" and any(record.tone for record in records):
      raise UserError(
        "data.variant: the other exposure is of the right view; set data.mono_view to right"
      )
    self.records, self.notes = tuple(records), list(notes)
    self._mono_view, self._camera, self._reduce = mono_view, camera, reduce
    self._warped = warped
    self._fingerprint = scan.fingerprint_of(
      (f"{record.name}/{k}", _size(path))
      for record in self.records
      for k, path in enumerate((*record.views, record.tone, record.truth))
      if path is not None
    )
    self._signs: dict[int, int] = {}
    self._held: dict[tuple[int, bool], Pair] = {}
    self._free = _HELD_BYTES
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return len(self.records)

  def name(self, i: int) -> str:
    """Names pair i: unique in the source and stable between runs."""
    return self.records[i].name

  def take(self, numbers: Sequence[int]) -> "PairSource":
    """Returns the pairs of these numbers, in this order, as a source."""
    records = [self.records[int(i)] for i in numbers]
    how = self._mono_view, self._camera, self._reduce, self.notes, self._warped
    return PairSource(records, *how)

  @property
  def fingerprint(self) -> str:
    """Changes when the set of pairs, or the size of a file, changes: checked on resume."""
    return self._fingerprint

  def load(self, i: int, extras: bool = True) -> Pair:
    """Reads pair i.

    Args:
      i: its number.
      extras: with truth and disparity; training asks for neither, and the truth is not opened.

    Raises:
      DecodeError: a view that cannot be read, views of different sizes, a disparity file that
        cannot be read or has another size, a side that cannot be told.
    """
    with self._lock:
      if (i, extras) in self._held:
        return self._held[i, extras]
    pair = self._load(i, extras)
    parts = [part for part in pair if isinstance(part, np.ndarray)]
    for part in parts:
      part.setflags(write=False)  # shared between callers
    size = sum(part.nbytes for part in parts)
    with self._lock:
      if size <= self._free and (i, extras) not in self._held:
        self._free -= size
        self._held[i, extras] = pair
    return pair

  def views(self, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads both views as on disk, uint8 [H, W, 3], in the record's order. Raises DecodeError."""
    record = self.records[i]
    first, second = (_read(path, record.rows) for path in record.views)
    return first, second

  def disparity(self, i: int, view: int) -> np.ndarray | None:
    """Reads the file of view 0 or 1, float32 [H, W]; None: no file. Raises DecodeError."""
    file = self.records[i].disparities[view]
    if file is None:
      return None
    return _rows(disparity_files.read(file), self.records[i].rows)

  def sign(self, i: int) -> int:
    """Gives 1 where the second view's pixels have their matches to the right in the first, else -1.

    So 1 for (left, right) views, by the disparity file where there is one.

    Raises:
      DecodeError: there is no file, and the views have too little in common to tell.
    """
    if i not in self._signs:
      self._signs[i] = self._find_sign(i)
    return self._signs[i]

  def roles(self, i: int) -> tuple[int, bool]:
    """Returns (number of the monochrome view in the record, whether the pair is to be mirrored)."""
    record = self.records[i]
    if self._mono_view != "auto":
      on_left = self._mono_view == "left"
      return (0 if record.real or on_left else 1), on_left
    sign = self.sign(i)
    if record.real:
      return 0, sign > 0  # its matches are to the left: turned round
    return (1 if sign > 0 else 0), False

  def _find_sign(self, i: int) -> int:
    for view in (0, 1):
      values = self.disparity(i, view)
      if values is not None and np.isfinite(values).any():
        return 1 if float(np.nanmedian(values)) >= 0 else -1
    first, second = map(cameras.luma, self.views(i))
    if first.shape == second.shape:
      right = matching.match(second, first, points=100).right
      if len(right) >= 5:
        return 1 if float(np.median(right)) >= 0 else -1
    raise DecodeError(
      f"{self.name(i)}: cannot tell which view has its matches to the right, for they have too "
      "little in common; say it by config.data.mono_view (--mono-view of check-stereo)"
    )

  def oriented(self, i: int) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """Reads both views before any camera, the monochrome first (in its colours); and roles(i)."""
    views = self.views(i)
    _check_sizes(self.name(i), *views)
    mono, mirrored = self.roles(i)
    prepare = lambda view: _turned(self._reduced(view), mirrored)
    return prepare(views[mono]), prepare(views[1 - mono]), mono, mirrored

  def candidates(self, i: int, own: bool = False) -> np.ndarray | None:
    """Reads k of the pixels of one view: float32 [H, W], NaN: unknown; None where there is no file.

    Args:
      i: number of the pair.
      own: of the monochrome view's pixels alone; else of the colour view's where only they are
        known: the same values, seen from the other side.

    Raises:
      DecodeError: a file that cannot be read.
    """
    mono, _ = self.roles(i)
    values = self.candidates_of(i, mono)
    return self.candidates_of(i, 1 - mono) if values is None and not own else values

  def candidates_of(self, i: int, view: int) -> np.ndarray | None:
    """Reads, as `candidates` does, those of view 0 or 1 of the record; None: it has no file."""
    mono, mirrored = self.roles(i)
    values = self.disparity(i, view)
    if values is None:
      return None
    # A left view's matches are to its left; mirrored, or of files that are swapped, to its right.
    factor = (-1 if mono == 0 and not mirrored else 1) / self._reduce
    return _turned(values[:: self._reduce, :: self._reduce], mirrored) * np.float32(factor)

  def _load(self, i: int, extras: bool) -> Pair:
    record, truth, disparity = self.records[i], None, None
    own, other, mono, mirrored = self.oriented(i)
    name = record.name

    def same_view(path: str) -> np.ndarray:
      picture = _turned(self._reduced(_read(path, record.rows)), mirrored)
      _check_sizes(name, own, picture)
      return picture

    if record.real:
      shown, color = cameras.luma(own)[..., None], other
      truth = same_view(record.truth) if extras and record.truth is not None else None
    else:
      if record.tone is not None and mono != 1:
        raise DecodeError(
          f"{name}: its other exposure is of the right view, but the left one is monochrome"
        )
      tone = None if record.tone is None else same_view(record.tone)
      shoot = (self._camera or cameras.CameraPair()).shoot
      shown, color, truth = shoot(name, own, other, extras, tone)
    if extras:
      disparity = self.candidates(i, own=True)
    if disparity is not None:
      _check_sizes(name, own, disparity)
    if not (extras and self._warped):
      return Pair(shown, color, truth, disparity, mirrored)
    truth, seen = self._warp(i, shown[..., 0], color, mono, mirrored) or (None, None)
    return Pair(shown, color, truth, disparity, mirrored, seen)

  def _warp(self, i: int, gray, color, mono: int, mirrored: bool) -> Warped | None:
    """Returns the truth by the colour view's disparities; None where there are none."""
    record, known = self.records[i], self.candidates_of(i, 1 - mono)
    if known is None:
      return None
    _check_sizes(record.name, color, known)
    if record.mask is not None and mono == 1:  # of the left view's pixels
      mask = _read(record.mask, record.rows)[:: self._reduce, :: self._reduce, 0]
      _check_sizes(record.name, color, mask)
      known = np.where(_turned(mask, mirrored) == 255, known, np.nan)
    found = warp(gray, color, known)
    return found if found.seen.any() else None

  def _reduced(self, view: np.ndarray) -> np.ndarray:
    if self._reduce == 1:
      return view
    return np.asarray(Image.fromarray(view).reduce(self._reduce))

  def __getstate__(self) -> dict:
    # A worker process reads its own pairs; locks do not travel.
    return {**self.__dict__, "_held": {}, "_free": _HELD_BYTES, "_lock": None}

  def __setstate__(self, state: dict) -> None:
    self.__dict__.update(state)
    self._lock = threading.Lock()


def open_pairs(
  spec: str | os.PathLike,
  *,
  mono_view: str = "auto",
  camera: cameras.CameraPair | None = None,
  reduce: int = 1,
  variant: str = "",
  disparity_scale: float | None = None,
  only: Sequence[str] = (),
  without: Sequence[str] = (),
  warped: bool = False,
) -> PairSource:
  """Opens stereo pairs by their spec.

  Args:
    spec: "bundled" (scikit-image's motorcycle; "bundled:train" and "bundled:heldout" are its upper
      and lower rows), a folder in a layout of stereo_layouts.py, "MONO_DIR,COLOR_DIR" with pictures
      matched by name, or a list file (.txt, .csv; see stereo_lists.py).
    mono_view, camera, reduce, warped: see PairSource.
    variant, disparity_scale: see stereo_layouts.find.
    only: patterns of names (`mb2005_*`); pairs that none fits are left out. Empty: all.
    without: patterns of names that are left out.

  Raises:
    UserError: there is no such thing, or nothing is left of it.
  """
  records, notes = stereo_lists.find(os.fspath(spec), variant, disparity_scale)
  names = [record.name for record in records]
  for pattern in (*only, *without):
    if not fnmatch.filter(names, pattern):
      raise UserError(
        f"no pair of {spec} is called {pattern!r}; there are {stereo_lists.some(names, 10)}"
      )
  fits = lambda name, patterns: any(fnmatch.fnmatchcase(name, p) for p in patterns)
  records = [r for r in records if (not only or fits(r.name, only)) and not fits(r.name, without)]
  if not records:
    raise UserError(f"no pair of {spec} is left; change the patterns of names that leave pairs out")
  return PairSource(records, mono_view, camera, reduce, notes, warped)


def _read(path: str, rows: tuple[int, int] | None) -> np.ndarray:
  return _rows(decode.decode(path), rows)


def _rows(image: np.ndarray, rows: tuple[int, int] | None) -> np.ndarray:
  return image if rows is None else image[rows[0] : rows[1]]


def _turned(image: np.ndarray, mirrored: bool) -> np.ndarray:
  return np.ascontiguousarray(image[:, ::-1] if mirrored else image)


def _check_sizes(name: str, one: np.ndarray, other: np.ndarray) -> None:
  if one.shape[:2] != other.shape[:2]:
    sizes = " and ".join(f"{a.shape[1]}x{a.shape[0]}" for a in (one, other))
    raise DecodeError(f"{name}: its pictures have different sizes, {sizes} pixels")


def _size(path: str) -> int:
  try:
    return pathlib.Path(path).stat().st_size
  except OSError:
    return -1  # said when it is read
