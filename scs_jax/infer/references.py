"""`--reference`: one picture for all, or a folder from which each picture gets its own.

Of a folder, a picture gets the reference of its name (path below the folder without extension, else
the name alone), or else the most similar one: cosine similarity of histograms of oriented gradients
(Dalal and Triggs, CVPR 2005; scikit-image's) and of the coarse layout of light and dark, both of
the gray picture at 128 x 128, since gray is all that a picture to be coloured has.
"""

import collections
import hashlib
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from scs_jax.data import decode, listing, location, remote, scan
from scs_jax.data.listing import EXTENSIONS
from scs_jax.errors import UserError
from scs_jax.infer import pictures

_SIDE = 128
_LAYOUT = 8
_LAYOUT_WEIGHT = 0.5  # chosen: beside the gradients' 1, it parts pictures with few edges
_KEPT = 2  # decoded references in memory


class Choice(NamedTuple):
  """The reference of one picture: its name below the folder, and lines for the log."""

  picture: pictures.Picture
  name: str
  notes: list[str]


class References:
  """Lends colours from a picture or a folder of them, read as they are needed.

  Args:
    path: a picture, or a folder of them, here or in a bucket.
    read: opens a picture; None: pictures.read.

  Raises:
    UserError: nothing there, no picture that can be read in it.
  """

  def __init__(
    self, path: str | os.PathLike, read: Callable[..., pictures.Picture] | None = None
  ):
    self._root = location.as_path(path)
    self._open = read or pictures.read
    self._warned: set[str] = set()
    self._kept: collections.OrderedDict[str, pictures.Picture] = collections.OrderedDict()
    self._described: tuple[list[str], np.ndarray] | None = None
    self._notes: list[str] = []
    is_file, there = location.is_file(self._root), location.exists(self._root)
    far = remote.is_remote(self._root)
    self._is_folder = there and not is_file if far else os.path.isdir(self._root)
    if not self._is_folder and not is_file:
      what = "no regular file or folder" if there else "no such file or folder"
      raise UserError(f"--reference {path}: {what}; give a picture or a folder of them")
    if self._is_folder:
      if far:
        self._files = listing.list_remote(remote.Place(self._root)).files
      else:
        self._files = listing.list_local(self._root, keep_empty=True).files
      self._names = [file.name for file in self._files]
      if not self._names:
        raise UserError(
          f"--reference {self._root} holds no pictures; expected files ending in "
          f"{' '.join(sorted(EXTENSIONS))}"
        )
      self._by_path = {_stem(name): name for name in reversed(self._names)}
      self._by_stem = {_stem(name).split("/")[-1]: name for name in reversed(self._names)}
      self._require_one()
    else:
      try:
        self._read("")
      except decode.DecodeError as error:
        raise UserError(f"--reference: {error}; give another picture") from error

  def choose(self, name: str, picture: pictures.Picture) -> Choice:
    """Chooses the reference for a picture.

    Args:
      name: the picture's path below the folder it was found in, with slashes.
      picture: the picture, compared where there is no reference of that name.

    Raises:
      UserError: no reference of the folder can be read any longer.
    """
    if not self._is_folder:
      chosen = self._read("")
      name = os.path.basename(self._root)
      self._warn_gray(name, chosen)
      return Choice(chosen, name, self._take_notes())
    stem = _stem(name)
    for match in (self._by_path.get(stem), self._by_stem.get(stem.split("/")[-1])):
      if match is not None and (chosen := self._try(match)) is not None:
        self._warn_gray(match, chosen)
        return Choice(chosen, match, [*self._take_notes(), f"reference {match}, by name"])
    names, features = self._describe()
    likeness = features @ descriptor(picture.gray)
    # The first of equals: rounded, so that the order of summation does not decide.
    for i in np.argsort(-np.round(likeness, 5), kind="stable"):
      if (chosen := self._try(names[i])) is not None:
        self._warn_gray(names[i], chosen)
        line = f"reference {names[i]}, the most similar ({likeness[i]:.2f})"
        return Choice(chosen, names[i], [*self._take_notes(), line])
    raise UserError(f"no picture in --reference {self._root} can be read any longer")

  @property
  def fingerprint(self) -> str:
    """Changes with the reference's content, or with the names, sizes and times in the folder.

    In a bucket the store's own marks of content count in the place of times.
    """
    digest = hashlib.sha256()
    if self._is_folder:
      marks = {file.name: [file.size, file.mtime_ns] for file in self._files}
      if remote.is_remote(self._root):
        with remote.reaching(self._root):
          marks |= remote.Place(self._root).marks()
      for name in self._names:
        line = "\0".join(map(str, (name, *marks[name]))) + "\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    else:
      place, name = remote.split(self._root)
      digest.update(place.read(name))
    return digest.hexdigest()[:16]

  def _require_one(self) -> None:
    if not any(self._try(name) is not None for name in self._names):
      raise UserError(
        f"none of the {len(self._names)} pictures in --reference {self._root} can be read; "
        f"{self._notes[0]}"
      )

  def _read(self, name: str) -> pictures.Picture:
    """Reads the decoded reference; the last few are kept. Raises DecodeError."""
    if name not in self._kept:
      path = location.inside(self._root, name) if name else self._root
      self._kept[name] = self._open(path)
      while len(self._kept) > _KEPT:
        self._kept.popitem(last=False)
    self._kept.move_to_end(name)
    return self._kept[name]

  def _try(self, name: str) -> pictures.Picture | None:
    """Reads the reference, or warns once and returns None where it cannot be read."""
    try:
      return self._read(name)
    except decode.DecodeError as error:
      self._warn(name, f"reference left out: {error}")
      return None

  def _warn_gray(self, name: str, picture: pictures.Picture) -> None:
    if _is_gray(picture):
      self._warn(name, f"warning: the reference {name} is gray; it has no colours to lend")

  def _warn(self, name: str, line: str) -> None:
    if name not in self._warned:
      self._warned.add(name)
      self._notes.append(line)

  def _take_notes(self) -> list[str]:
    notes, self._notes = self._notes, []
    return notes

  def _describe(self) -> tuple[list[str], np.ndarray]:
    """Describes the references that can be read: names, descriptors; gray ones only if all are."""
    if self._described is None:
      rows = []
      for name in self._names:
        if (picture := self._try(name)) is not None:
          rows.append((name, descriptor(picture.gray), _is_gray(picture)))
      colored = [row for row in rows if not row[2]] or rows
      if not colored:
        raise UserError(f"no picture in --reference {self._root} can be read any longer")
      names, features, _ = zip(*colored, strict=True)
      self._described = list(names), np.stack(features)
    return self._described


def _stem(name: str) -> str:
  return pathlib.PurePosixPath(name).with_suffix("").as_posix()


def _is_gray(picture: pictures.Picture) -> bool:
  return picture.rgb is None or picture.chroma < scan.GRAY_CHROMA


def descriptor(gray: np.ndarray) -> np.ndarray:
  """Describes a gray picture after Dalal and Triggs 2005, and by its coarse layout.

  Args:
    gray: float32 [H, W] in [0, 1].

  Returns:
    float32 [D] of length 1, whose scalar products are similarities in [-1, 1]; zeros for a picture
    that is flat and middle gray.
  """
  from skimage.feature import hog

  small = Image.fromarray(np.ascontiguousarray(gray, np.float32))
  thumbnail = np.asarray(small.resize((_SIDE, _SIDE), Image.Resampling.BOX))
  edges = hog(thumbnail, orientations=8, pixels_per_cell=(16, 16), cells_per_block=(2, 2))
  cell = _SIDE // _LAYOUT
  layout = thumbnail.reshape(_LAYOUT, cell, _LAYOUT, cell).mean((1, 3)).ravel() - 0.5
  whole = np.concatenate([_unit(edges), _LAYOUT_WEIGHT * _unit(layout)])
  return _unit(whole).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
  length = float(np.linalg.norm(vector))
  return vector / length if length > 1e-6 else np.zeros_like(vector)
