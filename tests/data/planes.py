"""Stereo pairs of a textured plane."""

import numpy as np
from PIL import Image
from scipy import ndimage

HEIGHT, WIDTH, SHIFT = 80, 140, 9


def write(root, name, seed=0, down=0):
  """left.png and right.png of a textured plane; the left view `down` rows lower."""
  noise = np.random.default_rng(seed).normal(size=(HEIGHT + 8, WIDTH + SHIFT, 3))
  wide = np.clip(128 + ndimage.gaussian_filter(noise, (1.2, 1.2, 0)) * 130, 0, 255)
  wide = wide.astype(np.uint8)
  folder = root / name
  folder.mkdir(parents=True)
  Image.fromarray(wide[4 - down : 4 - down + HEIGHT, :WIDTH]).save(folder / "left.png")
  Image.fromarray(wide[4 : 4 + HEIGHT, SHIFT:]).save(folder / "right.png")
