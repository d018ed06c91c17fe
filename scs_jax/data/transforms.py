"""Resizing, cropping and flipping of uint8 RGB pictures on the host: NumPy and Pillow only.

A crop is one resampling of just the region that it needs: the same pixels as resizing the whole
picture and cutting, at the cost of the region, so that a 1 x 10000 picture is harmless.
A picture is a uint8 array [H, W, 3] in [0, 255], or a Pillow image of mode "RGB": that saves two
copies.
"""

import dataclasses

import numpy as np
from PIL import Image

# Bicubic with a support that grows with the reduction (no aliasing); large reductions are first
# averaged over whole blocks until the remaining factor is below the gap.
_FILTER = Image.Resampling.BICUBIC
_REDUCING_GAP = 3.0

Picture = np.ndarray | Image.Image


@dataclasses.dataclass(frozen=True)
class Crop:
  """Holds where to cut, independent of the picture's size.

  Attributes:
    zoom: the short side is brought to zoom times the crop; >= 1.
    y, x: position of the crop along the free rows and columns, in [0, 1).
    flip: mirror left and right.
  """

  zoom: float = 1.0
  y: float = 0.5
  x: float = 0.5
  flip: bool = False

  def short_side(self, crop: int) -> int:
    """Returns the short side in pixels to which the picture is resized before the cut."""
    return max(crop, round(crop * self.zoom))

  def within(self, image: Picture, crop: int) -> "Crop":
    """Returns the place with no more zoom than the picture has pixels for: nothing is enlarged.

    Of a picture that is itself smaller than the crop it is the whole short side.
    """
    return dataclasses.replace(self, zoom=max(1.0, min(self.zoom, min(_shape(image)) / crop)))


def draw_crop(rng: np.random.Generator, max_zoom: float = 1.25, flip: bool = True) -> Crop:
  """Draws zoom ~ U(1, max_zoom), uniform position, flip with probability 1/2: four numbers."""
  zoom, y, x, mirror = rng.random(4)
  return Crop(1.0 + zoom * (max_zoom - 1.0), y, x, bool(flip and mirror < 0.5))


def apply_crop(image: Picture, crop: int, where: Crop) -> np.ndarray:
  """Cuts from a picture of any size from 1 x 1: uint8 [crop, crop, 3], contiguous."""
  shape, origin = placement(*_shape(image), crop, where)
  return _array(_resample(image, shape, origin, (crop, crop)), where.flip)


def placement(
  height: int, width: int, crop: int, where: Crop
) -> tuple[tuple[int, int], tuple[int, int]]:
  """Returns the rows and columns to which a picture is resized, and the crop's corner in those."""
  rows, cols = _resized(height, width, where.short_side(crop))
  return (rows, cols), (int(where.y * (rows - crop + 1)), int(where.x * (cols - crop + 1)))


def cut(image: Picture, crop: int, where: Crop) -> np.ndarray:
  """Cuts from the picture as it is: uint8 [crop, crop, 3], contiguous. The zoom counts for nothing.

  Resampling costs more than decoding, and a target of super-resolution is sharpest without. What
  has twice the crop or more is first halved, by averages over blocks, until its short side is 1 to
  2 times the crop; what is smaller than the crop is enlarged to it.
  """
  short = min(_shape(image))
  if short < crop:
    return apply_crop(image, crop, dataclasses.replace(where, zoom=1.0))
  pillow = _pillow(image)
  if short >= 2 * crop:
    pillow = pillow.reduce(1 << (short // crop).bit_length() - 1)
  left = int(where.x * (pillow.width - crop + 1))
  top = int(where.y * (pillow.height - crop + 1))
  return _array(pillow.crop((left, top, left + crop, top + crop)), where.flip)


def center_crop(image: Picture, crop: int | tuple[int, int]) -> np.ndarray:
  """Resizes the largest central region of the crop's shape to it: uint8 [crop_h, crop_w, 3].

  For a square crop that is: short side to crop, then the middle. crop: int or (height, width).
  """
  height, width = _shape(image)
  crop_h, crop_w = (crop, crop) if isinstance(crop, int) else crop
  scale = max(crop_h / height, crop_w / width)
  rows, cols = max(crop_h, round(height * scale)), max(crop_w, round(width * scale))
  origin = ((rows - crop_h) // 2, (cols - crop_w) // 2)
  return _array(_resample(image, (rows, cols), origin, (crop_h, crop_w)))


def _resized(height: int, width: int, short: int) -> tuple[int, int]:
  if height <= width:
    return short, max(short, round(width * short / height))
  return max(short, round(height * short / width)), short


def _shape(image: Picture) -> tuple[int, int]:
  return image.size[::-1] if isinstance(image, Image.Image) else image.shape[:2]


def _resample(
  image: Picture, shape: tuple[int, int], origin: tuple[int, int], size: tuple[int, int]
) -> Image.Image:
  """Resizes to `shape`, of which the region of the given origin and size alone is computed."""
  height, width = _shape(image)
  (rows, cols), (top, left), (out_h, out_w) = shape, origin, size
  if (rows, cols) == (height, width):
    return _pillow(image).crop((left, top, left + out_w, top + out_h))
  # Rounding must not carry the box over the border: Pillow refuses that.
  box = (
    left * width / cols,
    top * height / rows,
    min(width, (left + out_w) * width / cols),
    min(height, (top + out_h) * height / rows),
  )
  return _pillow(image).resize((out_w, out_h), _FILTER, box, _REDUCING_GAP)


def _pillow(image: Picture) -> Image.Image:
  return image if isinstance(image, Image.Image) else Image.fromarray(image)


def _array(image: Image.Image, flip: bool = False) -> np.ndarray:
  """Makes uint8 [h, w, 3], contiguous. Pillow mirrors several times faster than NumPy."""
  return np.asarray(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else image)
