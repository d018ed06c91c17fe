"""Handmade pairs whose answers are known, and predictors of them."""

import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import Method, Prediction, TrainState
from scs_jax.measure.pairs import MODES, Pairs
from scs_jax.measure.predictors import Network, pair_baselines
from scs_jax.measure.score import Kept, in_memory, score
from scs_jax.ops import color

HEIGHT, WIDTH, SHIFT = 16, 24, 3


def soft(seed, height=HEIGHT, width=WIDTH):
  """uint8 [height, width, 3], colours far from the gamut's border, so that nothing is clipped."""
  rng = np.random.default_rng(seed)
  return rng.integers(100, 156, (height, width, 3)).astype(np.uint8)


def gray_levels(rgb):
  """Y of BT.601 as bytes, [..., 1]."""
  return np.round(rgb @ np.array([0.299, 0.587, 0.114]))[..., None].astype(np.uint8)


def ycbcr_of(rgb):
  """ITU-R BT.601 written out, of RGB in [0, 1]."""
  y = rgb @ np.array([0.299, 0.587, 0.114])
  return np.stack([y, (rgb[..., 2] - y) / 1.772 + 0.5, (rgb[..., 0] - y) / 1.402 + 0.5], axis=-1)


def rgb_of(ycbcr):
  y, cb, cr = np.moveaxis(ycbcr - np.array([0.0, 0.5, 0.5]), -1, 0)
  r, b = y + 1.402 * cr, y + 1.772 * cb
  return np.clip(np.stack([r, (y - 0.299 * r - 0.114 * b) / 0.587, b], axis=-1), 0, 1)


def batch_of(truth, color_view, known, record, size=None):
  """A batch of pairs [n, ...], padded to `size` with bright garbage."""
  n, size = len(truth), size or len(truth)
  fill = lambda a: np.concatenate([a, np.full((size - n, *a.shape[1:]), 255, np.uint8)])
  known = np.asarray(known, bool)
  return {
    "mono": fill(gray_levels(truth)),
    "color": fill(color_view),
    "truth": fill(np.where(known[:, None, None, None], truth, 0).astype(np.uint8)),
    "has_truth": np.concatenate([known, np.ones(size - n, bool)]),
    "mask": np.arange(size) < n,
    "gray": np.zeros(size, bool),
    "record": np.concatenate([record, np.full(size - n, -1)]).astype(np.int32),
  }


def shift_predict(state, query):
  """Takes Cb and Cr from SHIFT columns to the right, in a circle; Y is the gray."""
  del state
  chroma = jnp.roll(color.rgb_to_ycbcr(query.reference)[..., 1:], -SHIFT, axis=2)
  rgb = color.ycbcr_to_rgb(jnp.concatenate([query.gray, chroma], axis=-1))
  return Prediction(color.clip_gamut(rgb))


class Shifting(Method):
  """A method without colorize_twice: `shift_predict`."""

  takes_pairs = True

  def __init__(self, config=None):
    del config

  def init(self, key, batch):
    return TrainState(jnp.zeros((), jnp.int32), {"net": {"w": jnp.zeros(())}}, {"net": {}}, {})

  def train_step(self, state, batch, key, collective, phase):
    return state.replace(step=state.step + 1), {"loss": jnp.zeros(())}

  def predict(self, state, query):
    return shift_predict(state, query)


def scored(method, batches, name="net", baselines=False, more=None):
  """(scores of a method and maybe the baselines, pictures by mode and record)."""
  rows = [Network(name, method), *(pair_baselines() if baselines else ())]
  kept = Kept()
  found = score(rows, Pairs(more), [in_memory(batches, MODES)], see=kept, extras=True)
  return found, kept.places
