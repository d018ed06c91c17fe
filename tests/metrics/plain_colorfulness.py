"""Hasler and Suesstrunk's colourfulness in plain NumPy."""

import numpy as np


def hasler_suesstrunk(rgb, absolute):
  red, green, blue = np.moveaxis(rgb.astype(np.float64), -1, 0)
  rg, yb = red - green, (red + green) / 2 - blue
  if absolute:
    rg, yb = abs(rg), abs(yb)
  return np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
