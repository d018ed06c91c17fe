"""A picture of six pixels, its file as Pillow writes it, and sRGB and CIE Lab written out."""

import io

import numpy as np

# No two transposes look alike.
PIXELS = np.array([[[255, 0, 0], [0, 255, 0], [9, 8, 7]],
                   [[0, 0, 255], [50, 60, 70], [255, 255, 255]]], np.uint8)  # fmt: skip
ALPHA = np.array([[0, 51, 255], [1, 254, 128]], np.uint8)


def encoded(image, form="PNG", **options):
  """A picture file's bytes."""
  buffer = io.BytesIO()
  image.save(buffer, form, **options)
  return buffer.getvalue()


def linear(x):
  """sRGB in [0, 1] -> light."""
  return np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)


def srgb(x):
  """Light -> sRGB in [0, 1]."""
  return np.where(x <= 0.0031308, x * 12.92, 1.055 * np.maximum(x, 0) ** (1 / 2.4) - 0.055)


def srgb_of_lab_d50(lab):
  """CIE Lab under D50 -> sRGB in [0, 1], through Bradford's matrices (from Lindbloom's tables)."""
  f = (lab[..., 0] + 16) / 116
  f = np.stack([f + lab[..., 1] / 500, f, f - lab[..., 2] / 200], -1)
  xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * [0.9642, 1.0, 0.8249]
  to_linear = np.array([[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540],
                        [0.0719453, -0.2289914, 1.4052427]])  # fmt: skip
  return srgb(np.clip(xyz @ to_linear.T, 0, 1))
