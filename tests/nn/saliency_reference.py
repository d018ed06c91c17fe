"""Layers of one picture in NumPy and SciPy, channels first: what networks are held against."""

import numpy as np
from scipy import ndimage, signal


def convolve(x, kernel, bias=None, dilation=1):
  """Correlation of x [C, H, W] with kernel [O, C / groups, h, w], zero-padded to the same size."""
  outputs, inputs, height, width = kernel.shape
  spread = np.zeros((outputs, inputs, (height - 1) * dilation + 1, (width - 1) * dilation + 1))
  spread[:, :, ::dilation, ::dilation] = kernel
  rows, columns = spread.shape[2] // 2, spread.shape[3] // 2
  padded = np.pad(x.astype(np.float64), ((0, 0), (rows, rows), (columns, columns)))
  groups = len(x) // inputs
  found = []
  for o in range(outputs):
    first = o * groups // outputs * inputs
    planes = padded[first : first + inputs]
    pairs = zip(planes, spread[o], strict=True)
    found.append(sum(signal.correlate(plane, filter_, "valid") for plane, filter_ in pairs))
  return np.stack(found) + (0 if bias is None else bias[:, None, None])


def _positions(before, after, aligned):
  if aligned:
    return np.linspace(0, before - 1, after)
  return (np.arange(after) + 0.5) * before / after - 0.5


def resize(x, size, aligned=False):
  """Bilinear resize of x [C, h, w]; beyond the outermost pixel centres their value is kept."""
  grid = np.meshgrid(
    *(_positions(b, a, aligned) for b, a in zip(x.shape[1:], size, strict=True)), indexing="ij"
  )
  return np.stack([ndimage.map_coordinates(p, grid, order=1, mode="nearest") for p in x])


def pool(x, window, how):
  """Non-overlapping windows of x [C, H, W], reduced by `how` (np.mean or np.max)."""
  c, height, width = x.shape
  cut = x.reshape(c, height // window, window, width // window, window)
  return how(cut, axis=(2, 4))


def sigmoid(x):
  return 1 / (1 + np.exp(-x))
