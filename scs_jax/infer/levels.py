"""The gray of the same luminance as sRGB colours, on the host.

NumPy, since pictures come in every size and each new shape would compile anew under jax; the colour
space itself is defined in ops/color.py.
"""

import functools

import numpy as np

from scs_jax.data import samples

LUMINANCE = (0.212671, 0.715160, 0.072169)
"""Of linear sRGB red, green and blue in relative luminance; they add up to 1."""


@functools.cache
def _weighted() -> np.ndarray:
  """Tabulates what each level of red, green and blue adds to luminance: float32 [3, 256]."""
  linear = samples.to_linear(np.arange(256) / 255.0)
  return (np.array(LUMINANCE)[:, None] * linear).astype(np.float32)


def gray_of(rgb: np.ndarray, white: float = 255.0) -> np.ndarray:
  """Computes the neutral gray of the same L*: of 0.212671 R + 0.715160 G + 0.072169 B, linear.

  Args:
    rgb: sRGB [H, W, 3], uint8, uint16 or float in [0, white].
    white: 255, 65535 or 1.
  Returns:
    float32 [H, W] in [0, 1].
  """
  gray = np.empty(rgb.shape[:2], np.float32)
  for rows in samples.strips(rgb):
    part = rgb[rows]
    if part.dtype == np.uint8:
      red, green, blue = _weighted()
      luminance = red[part[..., 0]] + green[part[..., 1]] + blue[part[..., 2]]
    else:
      luminance = samples.to_linear(samples.unit_of(part, white)) @ np.array(LUMINANCE, np.float32)
    gray[rows] = samples.to_srgb(luminance)
  return np.clip(gray, 0.0, 1.0, out=gray)
