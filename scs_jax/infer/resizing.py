"""Sizes of pictures on the host: the bicubic of training, on NumPy arrays, so nothing compiles."""

import numpy as np
from PIL import Image

from scs_jax.ops.resize import resize_weights

Size = tuple[int, int]

_BUCKETS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)


def resize(x: np.ndarray, size: Size) -> np.ndarray:
  """Resizes by MATLAB's antialiased bicubic: float32 [H, W, C] -> [*size, C], not clipped."""
  for axis, (old, new) in enumerate(zip(x.shape[:2], size, strict=True)):
    if old != new:
      weights = resize_weights(old, new).astype(np.float32)
      x = np.moveaxis(np.tensordot(weights, x, axes=(1, axis)), 0, axis)
  return np.ascontiguousarray(x, np.float32)


def reduce_to_side(x: np.ndarray, side: int) -> np.ndarray:
  """Reduces [H, W, C] in [0, 1] to at most `side` pixels of longest side; never enlarges."""
  longest = max(x.shape[:2])
  if longest <= side:
    return x
  size = tuple(max(1, round(s * side / longest)) for s in x.shape[:2])
  return np.clip(resize(x, size), 0.0, 1.0)


def resize_bytes(x: np.ndarray, size: Size) -> np.ndarray:
  """Resizes uint8 [H, W] -> uint8 [*size], bicubic: for alpha."""
  if x.shape == tuple(size):
    return x
  return np.asarray(Image.fromarray(x).resize((size[1], size[0]), Image.Resampling.BICUBIC))


def bucket(side: int) -> int:
  """Rounds a side up to that of a square array: one of a few, up to 4096, else itself."""
  return next((b for b in _BUCKETS if b >= side), side)
