"""A method for pairs without weights: the contract's, with a reach that is known exactly."""

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import Method, Prediction, TrainState
from scs_jax.ops import color

STATE = TrainState(np.int32(0), {"none": {}}, {}, {"none": {}})


class BlockMatcher(Method):
  """Compares Y of both views in blocks of 4x4 pixels, a block around included, and averages.

  A row depends on seven others: those of its block, of the one above and of the one below; and
  on one more for the box of 3x3 pixels before. Blocks start at row 0: hence `multiple`.
  """

  takes_pairs = True
  multiple = 4
  row_overlap = 8

  def __init__(self, search_range: int = 8, sharpness: float = 3e4):
    self.search_range, self.sharpness = search_range, sharpness
    self.seen = []  # shapes that were traced

  def init(self, key, batch):
    return STATE

  def predict(self, state, query):
    gray, ycbcr = query.gray, color.rgb_to_ycbcr(query.reference)
    height, width = gray.shape[1:3]
    self.seen.append((height, width))
    costs, colors = [], []
    for k in range(self.search_range):
      pads = ((0, 0), (0, 0), (0, k), (0, 0))
      shifted = jnp.pad(ycbcr, pads)[:, :, k:]
      outside = jnp.arange(width)[None, None, :, None] + k >= width
      cost = _box(jnp.square(gray - shifted[..., :1]), 3)
      cost = _block_means(cost)
      costs.append(jnp.where(outside, jnp.inf, cost))
      colors.append(shifted[..., 1:])
    weights = jax.nn.softmax(-self.sharpness * jnp.stack(costs), axis=0)
    chroma = (weights * jnp.stack(colors)).sum(0)
    rgb = color.clip_gamut(color.ycbcr_to_rgb(jnp.concatenate([gray, chroma], -1)))
    places = jnp.arange(self.search_range).reshape(-1, 1, 1, 1, 1)
    extras = {"disparity": (weights * places).sum(0)} if query.want_extras else {}
    return Prediction(rgb, extras)


def _box(x, size):
  half = size // 2
  window, pads = (1, size, size, 1), ((0, 0), (half, half), (half, half), (0, 0))
  return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, (1, 1, 1, 1), pads) / size**2


def _block_means(x):
  """Means over blocks of 4x4, zeros beyond the border, and over 3x3 of those, at full size."""
  height, width = x.shape[1:3]
  x = jnp.pad(x, ((0, 0), (0, -height % 4), (0, -width % 4), (0, 0)))
  blocks = x.reshape(x.shape[0], x.shape[1] // 4, 4, x.shape[2] // 4, 4, 1).mean((2, 4))
  blocks = _box(blocks, 3)
  return jnp.repeat(jnp.repeat(blocks, 4, 1), 4, 2)[:, :height, :width]


def scene(size, shift: int, seed: int = 0):
  """(mono, color, truth): uint8 [H, W], [H, W, 3], [H, W, 3]; mono is the right view of a wall.

  A textured wall `shift` pixels wider than the views; mono's column i is the colour view's i +
  shift.
  """
  rng = np.random.default_rng(seed)
  height, width = size[0], size[1] + shift
  fine = rng.random((height, width, 1))
  coarse = np.kron(rng.random((-(-height // 6), -(-width // 6), 3)), np.ones((6, 6, 1)))
  rgb = 0.15 + 0.4 * coarse[:height, :width] + 0.4 * fine
  wall = np.floor(rgb * 255 + 0.5).astype(np.uint8)
  left, right = wall[:, : size[1]], wall[:, shift:]
  luma = np.floor(right @ np.array([0.299, 0.587, 0.114]) + 0.5).astype(np.uint8)
  return luma, left, right
