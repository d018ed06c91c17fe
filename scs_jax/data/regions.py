"""Regions of pictures that the device makes crops of: what a host sends that is spared resampling.

Resampling a crop takes a host longer than decoding its JPEG. ops/regions.py does it on the device.
On the wire a region fills the upper left of a square, about twice the crop's side and as large for
every picture, so that one compiled program serves all.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from scs_jax.data import transforms

# The bicubic reaches 2 pixels of the crop to each side, fewer than 4 of the region's, and it is cut
# at whole pixels.
_REACH = 10


def side_of(crop: int) -> int:
  """Returns the side of the square that a region is sent in.

  A JPEG is decoded at a scale at which it is reduced to less than half, and so its region fits.
  """
  return 2 * crop + _REACH


def crop_of(side: int) -> int:
  """Returns the side of the crop whose region is sent in such a square."""
  return (side - _REACH) // 2


def place_of(name: str) -> str:
  """Names the places that a batch holds beside the regions of this name."""
  return f"{name}_place"


def take(
  name: str, image: Image.Image, crop: int, where: transforms.Crop
) -> dict[str, np.ndarray]:
  """Cuts out what a crop is resampled from.

  Returns:
    Under the name uint8 [h, w, 3], the picture's pixels, neither side above side_of(crop), and
    under place_of(name) float32 [2, 3], for y and x: the coordinate of the crop's first pixel among
    them, the step from pixel to pixel (negative: mirrored), and h or w. Of a picture that must be
    reduced further than there is room for, the pixels are the crop, which the host has resampled.
  """
  size = (image.height, image.width)
  place, window = np.empty((2, 3), np.float32), []
  for axis, (full, resized, corner) in enumerate(
    zip(size, *transforms.placement(*size, crop, where), strict=True)
  ):
    step = full / resized
    first = (corner + 0.5) * step - 0.5
    last, reach = first + (crop - 1) * step, 2 * max(step, 1.0)
    low, high = max(0, math.floor(first - reach)), min(full, math.ceil(last + reach) + 1)
    window.append((low, high))
    mirrored = axis == 1 and where.flip
    place[axis] = (last - low, -step, high - low) if mirrored else (first - low, step, high - low)
  (top, bottom), (left, right) = window
  if max(bottom - top, right - left) > side_of(crop):
    pixels, place[:] = transforms.apply_crop(image, crop, where), (0, 1, crop)
  elif 2 * (bottom - top) * (right - left) < image.height * image.width:
    pixels = np.asarray(image.crop((left, top, right, bottom)))
  else:  # one copy of all takes less than two of most of it
    pixels = np.asarray(image)[top:bottom, left:right]
  return {name: pixels, place_of(name): place}


def black(name: str) -> dict[str, np.ndarray]:
  """Makes what `take` does, of no picture: the crop is black."""
  return {name: np.zeros((0, 0, 3), np.uint8), place_of(name): np.zeros((2, 3), np.float32)}


def stack(crops: Mapping[str, int], examples: Sequence[Mapping]) -> dict[str, np.ndarray]:
  """Stacks examples to a batch, those values that are regions within squares.

  Args:
    crops: names of regions, and the sides of their crops.
    examples: of equal keys, not empty.
  """
  batch = {}
  for name in examples[0]:
    values = [example[name] for example in examples]
    if name not in crops:
      batch[name] = np.stack(values)
      continue
    side = side_of(crops[name])
    # Not cleared: what lies beyond the pixels counts for nothing.
    batch[name] = np.empty((len(values), side, side, 3), np.uint8)
    for square, pixels in zip(batch[name], values, strict=True):
      square[: pixels.shape[0], : pixels.shape[1]] = pixels
  return batch
