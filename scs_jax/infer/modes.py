"""A decoded picture of any mode and depth -> gray level, sRGB colours, alpha."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from scs_jax.data import samples
from scs_jax.data.samples import Samples
from scs_jax.infer import icc, levels

_GRAY = ("1", "L", "LA", "La")
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


def to_pixels(
  image: Image.Image | Samples, stored: str | None = None, profile: bytes | None = None
) -> Pixels:
  """Reads a decoded, upright picture.

  Args:
    image: Samples, or a loaded Pillow image of any mode of at most 8 bits a channel; transparent
      colours are in its `info`.
    stored: of decode.Loaded.
    profile: the embedded colour profile.
  """
  if isinstance(image, Samples):
    return _deep(image, profile)
  if image.mode in _PREMULTIPLIED:
    image = image.convert(_PREMULTIPLIED[image.mode])
  alpha = _opaque_as_none(_alpha(image, stored))
  if image.mode in _GRAY:
    channel = image.getchannel("L") if image.mode == "LA" else image.convert("L")
    gray = (np.arange(256) / 255.0).astype(np.float32)[np.asarray(channel)]
    return Pixels(gray, None, alpha, _apply_to_gray(gray, profile))
  rgb, remarks = _rgb(image, profile)
  return Pixels(levels.gray_of(rgb), rgb, alpha, remarks)


def _deep(picture: Samples, profile: bytes | None) -> Pixels:
  """Reads more than 8 bits a channel: gray and the luminance of colours keep their precision."""
  alpha, color, white, remarks = None, picture.color, picture.white, ()
  if picture.alpha is not None:
    alpha = _opaque_as_none(samples.to_uint8(picture.alpha, picture.opaque))
  if color.ndim == 2:
    gray = samples.to_unit(color, white)
    return Pixels(gray, None, alpha, _apply_to_gray(gray, profile))
  if profile:
    try:
      color, white = icc.deep_to_srgb(color, white, profile)
    except icc.ProfileError as error:
      remarks = (f"colour profile ignored: {error}",)
  return Pixels(levels.gray_of(color, white), samples.to_uint8(color, white), alpha, remarks)


def _opaque_as_none(alpha: np.ndarray | None) -> np.ndarray | None:
  return None if alpha is not None and alpha.min() == 255 else alpha


def _alpha(image: Image.Image, stored: str | None) -> np.ndarray | None:
  if image.mode in ("RGBA", "LA", "PA"):
    return np.array(image.getchannel("A"))
  if image.mode == "P":
    transparent = "transparency" in image.info or image.palette.mode == "RGBA"
    return np.array(image.convert("RGBA").getchannel("A")) if transparent else None
  key = image.info.get("transparency")
  if image.mode == "RGB" and isinstance(key, tuple) and len(key) == 3:
    # The key of a 16-bit picture has 16 bits, of which Pillow has kept the upper 8.
    key = np.array(key) >> 8 if stored and stored.startswith("RGB;16") else np.array(key)
    alpha = np.empty(image.size[::-1], np.uint8)
    for top, part in _strips(image):
      alpha[top : top + len(part)] = np.where((part == key).all(axis=-1), 0, 255)
    return alpha
  if image.mode == "1" and isinstance(key, int):  # 1 in older Pillows, 255 in newer ones
    return np.where(np.asarray(image) == bool(key), np.uint8(0), np.uint8(255))
  if image.mode == "L" and isinstance(key, int):
    return np.where(np.asarray(image) == key * _STRETCH.get(stored, 1), np.uint8(0), np.uint8(255))
  return None


def _apply_to_gray(gray: np.ndarray, profile: bytes | None) -> tuple[str, ...]:
  """Turns levels [H, W] in [0, 1] into sRGB's in place; remarks."""
  if not profile:
    return ()
  try:
    meaning = icc.gray_levels(profile)
  except icc.ProfileError as error:
    return (f"colour profile ignored: {error}",)
  for top in range(0, len(gray), _ROWS):
    rows = gray[top : top + _ROWS]
    rows[:] = meaning[np.floor(rows * 65535.0 + 0.5).astype(np.uint16)]
  return ()


def _rgb(image: Image.Image, profile: bytes | None) -> tuple[np.ndarray, tuple[str, ...]]:
  """Converts to uint8 [H, W, 3] sRGB; colours under full transparency as they are stored."""
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
  """Yields (first row, array of up to _ROWS rows): np.asarray of the whole holds it three times."""
  for top in range(0, image.height, _ROWS):
    yield top, np.asarray(image.crop((0, top, image.width, min(image.height, top + _ROWS))))


def _array(image: Image.Image) -> np.ndarray:
  rgb = np.empty((image.height, image.width, 3), np.uint8)
  for top, part in _strips(image):
    rgb[top : top + len(part)] = part
  return rgb
