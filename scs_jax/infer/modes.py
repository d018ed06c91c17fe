"""A loaded Pillow image of any mode -> gray level, sRGB colours, alpha."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from scs_jax.data import decode
from scs_jax.infer import icc, levels

_GRAY = ("1", "L", "LA", "La", *decode.DEEP_GRAY)
_PREMULTIPLIED = {"RGBa": "RGBA", "La": "LA"}
# How far Pillow stretches gray of 1, 2 or 4 bits to 8, by the decoder's name for it.
_STRETCH = {"L;2": 85, "L;4": 17}
_ROWS = 256


class Pixels(NamedTuple):
  """The parts of Picture that are arrays; see there."""

  gray: np.ndarray
  rgb: np.ndarray | None
  alpha: np.ndarray | None
  remarks: tuple[str, ...]


def stored_as(image: Image.Image) -> str | None:
  """The decoder's name for how samples are stored, such as "L;4"; known only before loading."""
  tiles = getattr(image, "tile", None)  # files' images alone have them
  if not tiles:
    return None
  args = tiles[0][3]
  first = args[0] if isinstance(args, tuple) and args else args
  return first if isinstance(first, str) else None


def to_pixels(image: Image.Image, name: str, stored: str | None = None) -> Pixels:
  """Reads a loaded, upright image.

  Args:
    image: of any mode; embedded profiles and transparent colours are in `image.info`.
    name: what error messages call the picture.
    stored: from `stored_as`, before the image was loaded.

  Raises:
    decode.DecodeError: values outside the range that a mode has.
  """
  if image.mode in _PREMULTIPLIED:
    image = image.convert(_PREMULTIPLIED[image.mode])
  alpha = _alpha(image, stored)
  if alpha is not None and alpha.min() == 255:
    alpha = None
  profile = image.info.get("icc_profile")
  if image.mode in _GRAY:
    gray, remarks = _gray(image, name, profile)
    return Pixels(gray, None, alpha, remarks)
  rgb, remarks = _rgb(image, profile)
  return Pixels(levels.gray_of(rgb), rgb, alpha, remarks)


def _alpha(image: Image.Image, stored: str | None) -> np.ndarray | None:
  if image.mode in ("RGBA", "LA", "PA"):
    return np.array(image.getchannel("A"))
  if image.mode == "P":
    transparent = "transparency" in image.info or image.palette.mode == "RGBA"
    return np.array(image.convert("RGBA").getchannel("A")) if transparent else None
  key = image.info.get("transparency")
  if image.mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
    # The key of a 16-bit picture has 16 bits, of which the decoder has kept the upper 8.
    key = np.array(key) >> 8 if stored and stored.startswith("RGB;16") else np.array(key)
    alpha = np.empty(image.size[::-1], np.uint8)
    for top, part in _strips(image):
      alpha[top : top + len(part)] = np.where((part == key).all(axis=-1), 0, 255)
    return alpha
  if image.mode == "1" and isinstance(key, int):  # 1 in older Pillows, 255 in newer ones
    return np.where(np.asarray(image) == bool(key), np.uint8(0), np.uint8(255))
  if image.mode in ("L", "I;16", "I") and isinstance(key, int):
    return np.where(np.asarray(image) == key * _STRETCH.get(stored, 1), np.uint8(0), np.uint8(255))
  return None


def _gray(
  image: Image.Image, name: str, profile: bytes | None
) -> tuple[np.ndarray, tuple[str, ...]]:
  if image.mode in decode.DEEP_GRAY:
    values, white = decode.deep_gray(image, name)
    gray = levels.to_unit(values, white)
  else:
    channel = image.getchannel("L") if image.mode == "LA" else image.convert("L")
    gray = (np.arange(256) / 255.0).astype(np.float32)[np.asarray(channel)]
  if not profile:
    return gray, ()
  try:
    meaning = icc.gray_levels(profile)
  except icc.ProfileError as error:
    return gray, (f"colour profile ignored: {error}",)
  for top in range(0, len(gray), _ROWS):
    rows = gray[top : top + _ROWS]
    rows[:] = meaning[np.floor(rows * 65535.0 + 0.5).astype(np.uint16)]
  return gray, ()


def _rgb(image: Image.Image, profile: bytes | None) -> tuple[np.ndarray, tuple[str, ...]]:
  """uint8 [H, W, 3] sRGB; colours under full transparency as they are stored."""
  remarks = ()
  if image.mode == "LAB":  # says by itself which colours it means
    return _array(icc.lab_to_srgb(image)), remarks
  if image.mode == "CMYK" and profile:
    try:
      return _array(icc.to_srgb(image, profile)), remarks
    except icc.ProfileError as error:
      profile, remarks = None, (f"colour profile ignored: {error}",)
  if image.mode in ("P", "PA"):
    image = image.convert("RGBA")
  image = image if image.mode == "RGB" else image.convert("RGB")
  if profile:
    try:
      image = icc.to_srgb(image, profile)
    except icc.ProfileError as error:
      remarks = (f"colour profile ignored: {error}",)
  return _array(image), remarks


def _strips(image: Image.Image):
  """(first row, array of up to _ROWS rows): np.asarray of a whole image holds it three times."""
  for top in range(0, image.height, _ROWS):
    yield top, np.asarray(image.crop((0, top, image.width, min(image.height, top + _ROWS))))


def _array(image: Image.Image) -> np.ndarray:
  rgb = np.empty((image.height, image.width, 3), np.uint8)
  for top, part in _strips(image):
    rgb[top : top + len(part)] = part
  return rgb
