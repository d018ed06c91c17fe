"""Embedded colour profiles (ICC.1:2022), applied: what a picture's numbers are in sRGB.

Colours go through LittleCMS, relative colorimetric with black-point compensation: at 8 bits by
Pillow, at 16 by imagecodecs. A gray profile is a single curve, which is evaluated here instead.
"""

import functools
import io
import struct

import imagecodecs
import numpy as np
from PIL import Image, ImageCms

from scs_jax.data import samples

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.HIGHRESPRECALC
# In its usual precalculation 16 bits are off by up to 353 levels, without it by 9.
_DEEP_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE
_SPACES = {b"RGB ": "RGB", b"CMYK": "CMYK", b"GRAY": "gray", b"Lab ": "Lab"}
_SAME = 1
# lcms looks for black below this lightness only: CIE L* = 50 as relative luminance.
_DARKEST_BLACK = ((50 + 16) / 116) ** 3


class ProfileError(Exception):
  """A profile that cannot be applied; the message is the cause."""


def space(profile: bytes) -> str:
  """Tells which colours a profile speaks of: "RGB", "CMYK", "gray", "Lab" or "unknown"."""
  return _SPACES.get(profile[16:20], "unknown")


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
  """Converts an image of mode "RGB" or "CMYK" to one of mode "RGB" whose numbers are sRGB.

  A profile of RGB that moves no colour by more than one level is sRGB under one of its many names:
  the image comes back as it is, free of a second rounding.

  Raises:
    ProfileError: the profile is broken or speaks of other colours than the image.
  """
  _require_space(profile, image.mode)
  try:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    transform = _transform(source, image.mode)
    if image.mode == "RGB" and _keeps_colors(transform):
      return image
    return ImageCms.applyTransform(image, transform)
  except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
    raise ProfileError(f"it is broken ({error})") from error


def deep_to_srgb(
  color: np.ndarray, white: float, profile: bytes
) -> tuple[np.ndarray, float]:
  """Converts RGB [H, W, 3] in [0, white] of more than 8 bits to sRGB, and its white; as to_srgb.

  Raises:
    ProfileError: as of to_srgb.
  """
  _require_space(profile, "RGB")
  try:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if _keeps_colors(_transform(source, "RGB")):
      return color, white
    result = np.empty(color.shape, np.uint16)
    for rows in samples.strips(color):
      deep = np.floor(samples.unit_of(color[rows], white) * 65535.0 + 0.5).astype(np.uint16)
      result[rows] = imagecodecs.cms_transform(
        deep, profile, _srgb().tobytes(), colorspace="rgb", outcolorspace="rgb", outdtype="uint16",
        intent=int(_INTENT), flags=int(_DEEP_FLAGS),
      )  # fmt: skip
    return result, 65535.0
  except (ImageCms.PyCMSError, RuntimeError, OSError, ValueError, TypeError) as error:
    raise ProfileError(f"it is broken ({error})") from error


def lab_to_srgb(image: Image.Image) -> Image.Image:
  """Converts an image of mode "LAB" (relative to D50, as TIFF 6.0 and ICC) to mode "RGB"."""
  transform = ImageCms.buildTransform(
    ImageCms.createProfile("LAB", 5000), _srgb(), "LAB", "RGB", renderingIntent=_INTENT
  )
  return ImageCms.applyTransform(image, transform)


def gray_levels(profile: bytes) -> np.ndarray:
  """Computes the sRGB gray in [0, 1] of each of a gray profile's 65536 levels: float32.

  ICC.1:2022, 8.3.4 (and its like for input and output): the gray tone curve leads to luminance
  relative to white; black-point compensation then brings its darkest value to 0.

  Raises:
    ProfileError: no gray profile, or a broken one.
  """
  _require_space(profile, "gray")
  try:
    luminance = _curve(_tag(profile, b"kTRC"))(np.linspace(0.0, 1.0, 65536))
  except (struct.error, ValueError, IndexError, OverflowError) as error:
    raise ProfileError(f"it is broken ({error})") from error
  if not np.isfinite(luminance).all() or np.ptp(luminance) < 0.01:
    raise ProfileError("it is broken (its gray tone curve holds no range of grays)")
  black = min(luminance[0], _DARKEST_BLACK)
  luminance = np.clip((luminance - black) / (1.0 - black), 0.0, 1.0)
  return samples.to_srgb(luminance).astype(np.float32)


def _require_space(profile: bytes, mode: str) -> None:
  if space(profile) != mode:
    raise ProfileError(f"it is of {space(profile)} colours, the picture is {mode}")


def _transform(source: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform:
  return ImageCms.buildTransform(
    source, _srgb(), mode, "RGB", renderingIntent=_INTENT, flags=_FLAGS
  )


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
  return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _keeps_colors(transform: ImageCms.ImageCmsTransform) -> bool:
  steps = np.linspace(0, 255, 16).astype(np.uint8)  # 0, 17, ... 255
  grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(64, 64, 3)
  moved = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform))
  return int(np.abs(moved.astype(np.int16) - grid).max()) <= _SAME


def _tag(profile: bytes, name: bytes) -> bytes:
  """Reads the content of one tag (ICC.1:2022, 7.3)."""
  (count,) = struct.unpack_from(">I", profile, 128)
  for i in range(min(count, 1000)):
    found, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * i)
    if found == name:
      return profile[offset : offset + size]
  raise ValueError(f"it has no {name.decode()} tag")


def _curve(tag: bytes):
  """Reads a curveType or parametricCurveType (ICC.1:2022, 10.6, 10.18): a function on [0, 1]."""
  if tag[:4] == b"curv":
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
      return lambda x: x
    if count == 1:
      gamma = struct.unpack_from(">H", tag, 12)[0] / 256.0
      return lambda x: x**gamma
    table = np.array(struct.unpack_from(f">{count}H", tag, 12)) / 65535.0
    return lambda x: np.interp(x, np.linspace(0.0, 1.0, count), table)
  if tag[:4] == b"para":
    (kind,) = struct.unpack_from(">H", tag, 8)
    counts = (1, 3, 4, 5, 7)
    if kind >= len(counts):
      raise ValueError(f"its gray tone curve is of the unknown kind {kind}")
    return _parametric([p / 65536 for p in struct.unpack_from(f">{counts[kind]}i", tag, 12)])
  raise ValueError("its gray tone curve is of an unknown type")


def _parametric(p: list[float]):
  """Makes a curve of ICC.1:2022, table 68: (a x + b)^g + e from d on, c x + f below it."""
  if len(p) == 1:
    g, a, b, c, d, e, f = p[0], 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
  elif len(p) in (3, 4):
    g, a, b = p[:3]
    constant = p[3] if len(p) == 4 else 0.0
    c, d, e, f = 0.0, -b / a if a else 0.0, constant, constant
  else:
    g, a, b, c, d = p[:5]
    e, f = p[5:] if len(p) == 7 else (0.0, 0.0)
  power = lambda x: np.maximum(a * x + b, 0.0) ** g + e
  return lambda x: np.clip(np.where(x >= d, power(x), c * x + f), 0.0, 1.0)
