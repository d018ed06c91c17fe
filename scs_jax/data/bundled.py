"""The colour photographs that scikit-image and scikit-learn carry in their packages.

Read from the installed folders; nothing is downloaded, and neither package is imported.
"""

import dataclasses
import importlib.util
import os
import pathlib
import threading

from PIL import Image

from scs_jax.data import decode, scan
from scs_jax.data.source import Stored
from scs_jax.errors import UserError

SPLITS = ("all", "train", "heldout")

_CC_BY = "CC BY 2.0"
_NASA = "public domain (NASA)"


@dataclasses.dataclass(frozen=True)
class BundledPhoto:
  """One photograph.

  Attributes:
    name: file name, unique.
    heldout: whether it belongs to the held-out photos; fixed for good.
    licence: as stated by the package that carries it.
    public_domain: CC0 or released into the public domain, so that pictures made from it may be
      shown in documents. "No known restrictions" does not count.
    credit: author or source.
    package: distribution that carries it.
  """

  name: str
  heldout: bool
  licence: str
  public_domain: bool
  credit: str
  package: str = "scikit-image"

  @property
  def path(self) -> pathlib.Path:
    """Tells where the installed file should be. Raises UserError if the package is missing."""
    module, folder = _FOLDERS[self.package]
    spec = importlib.util.find_spec(module)  # finds the folder without importing the package
    if spec is None or not spec.submodule_search_locations:
      raise UserError(
        f"the bundled photographs need {self.package}, which is not installed; run "
        f"pip install {self.package}, or give a folder of pictures"
      )
    return pathlib.Path(next(iter(spec.submodule_search_locations))) / folder / self.name


_FOLDERS = {"scikit-image": ("skimage", "data"), "scikit-learn": ("sklearn", "datasets/images")}

# The two motorcycle views show one scene and stay on one side of the split.
PHOTOS = (
  BundledPhoto("astronaut.png", False, _NASA, True, "NASA Great Images"),
  BundledPhoto("chelsea.png", True, "CC0", True, "Stefan van der Walt"),
  BundledPhoto("china.jpg", True, _CC_BY, False, "danielbuechele (Flickr)", "scikit-learn"),
  BundledPhoto("coffee.png", True, "CC0", True, "Rachel Michetti, Pikolo Espresso Bar"),
  BundledPhoto("flower.jpg", False, _CC_BY, False, "vultilion (Flickr)", "scikit-learn"),
  BundledPhoto("hubble_deep_field.jpg", False, _NASA, True, "NASA, HubbleSite"),
  BundledPhoto(
    "ihc.png",
    False,
    "no known copyright restrictions",
    False,
    "Center for Microscopy and Molecular Imaging",
  ),
  BundledPhoto("motorcycle_left.png", False, "not stated", False, "Middlebury Stereo 2014"),
  BundledPhoto("motorcycle_right.png", False, "not stated", False, "Middlebury Stereo 2014"),
  BundledPhoto("retina.jpg", False, "CC0", True, "Mikael Häggström"),
  BundledPhoto("rocket.jpg", False, "public domain (SpaceX)", True, "SpaceX"),
)


def select(split: str = "all", public_domain_only: bool = False) -> tuple[BundledPhoto, ...]:
  """Selects the photographs of a split ("all", "train", "heldout"), ordered by name."""
  if split not in SPLITS:
    raise UserError(f"no bundled split {split!r}; expected one of {', '.join(SPLITS)}")
  return tuple(
    p
    for p in PHOTOS
    if split in ("all", "heldout" if p.heldout else "train")
    and (p.public_domain or not public_domain_only)
  )


class BundledSource(Stored):
  """The bundled photographs as a source.

  Decoded photographs are kept in memory with halved copies (some 25 MB in all): PNGs cost far more
  to decode than a training step on a laptop has to spare.

  Args:
    split: "all", "train" or "heldout".
    public_domain_only: leave out what may not be shown in documents.

  Raises:
    UserError: no such split, the package or one of its files is missing.
  """

  def __init__(self, split: str = "all", public_domain_only: bool = False):
    self.photos = select(split, public_domain_only)
    self._paths = [photo.path for photo in self.photos]
    self.fingerprint = scan.fingerprint_of(
      (photo.name, _size(photo, path)) for photo, path in zip(self.photos, self._paths, strict=True)
    )
    self._levels: dict[int, list[Image.Image]] = {}
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return len(self.photos)

  def open(self, i: int, min_short_side: int | None = None) -> Image.Image:
    levels = self._decoded(i)
    if min_short_side is None:
      return levels[0]
    # Twice what is asked: the block average leaves the rest to the caller's better filter.
    return next(
      (level for level in reversed(levels) if min(level.size) >= 2 * min_short_side), levels[0]
    )

  def encoded(self, i: int) -> bytes:
    with decode.explain_failures(self.photos[i].name):
      return self._paths[i].read_bytes()

  def file(self, i: int) -> scan.File:
    return scan.File(self.photos[i].name, _size(self.photos[i], self._paths[i]), 0)

  def name(self, i: int) -> str:
    return self.photos[i].name

  def _decoded(self, i: int) -> list[Image.Image]:
    with self._lock:
      if i not in self._levels:
        levels = [decode.decode_image(self._paths[i])]
        while min(levels[-1].size) >= 128:
          levels.append(levels[-1].reduce(2))
        self._levels[i] = levels
      return self._levels[i]

  def __getstate__(self) -> dict:
    # A worker process decodes its own copies; locks do not travel.
    return {**self.__dict__, "_levels": {}, "_lock": None}

  def __setstate__(self, state: dict) -> None:
    self.__dict__.update(state)
    self._lock = threading.Lock()


def _size(photo: BundledPhoto, path: pathlib.Path) -> int:
  try:
    return os.stat(path).st_size
  except OSError as error:
    raise UserError(
      f"{photo.package} is installed without {photo.name} ({path}); run pip install "
      f"--force-reinstall {photo.package}, or give a folder of pictures"
    ) from error
