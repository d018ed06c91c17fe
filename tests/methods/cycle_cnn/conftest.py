"""Shared by Cycle CNN's tests."""

import jax
import numpy as np
import pytest


@pytest.fixture(scope="session")
def make_pair():
  """A function: a batch of pairs, "mono" uint8 [n, h, w, 1] and "color" [n, h, w, 3], 3 apart.

  Smooth coloured bands with some noise; the mono view is darker than the luma of the colour view.
  """

  def make(height=16, width=32, n=1, seed=0, shift=3):
    rng = np.random.default_rng(seed)
    wide = width + shift
    coarse = rng.integers(20, 236, (n, -(-height // 4), -(-wide // 4), 3))
    color = coarse.repeat(4, 1).repeat(4, 2)[:, :height, :wide].astype(np.float64)
    color = np.clip(color + rng.integers(-12, 12, color.shape), 0, 255)
    luma = color @ [0.299, 0.587, 0.114]
    mono = 255 * (luma[:, :, shift:, None] / 255) ** 1.3
    return {
      "mono": np.round(mono).astype(np.uint8),
      "color": np.round(color[:, :, :width]).astype(np.uint8),
      "index": np.arange(n, dtype=np.uint32),
    }

  return make


def _leaf(rng, path, x):
  name = path[-1].key
  if name in ("var", "scale"):
    return rng.uniform(0.5, 1.5, x.shape).astype(np.float32)
  fan_in = np.prod(x.shape[:-1]) if len(x.shape) > 1 else 16
  return (rng.normal(size=x.shape) / np.sqrt(fan_in)).astype(np.float32)


@pytest.fixture(scope="session")
def draw():
  """A function: shapes of variables -> such in NumPy: none zero, variances and scales positive."""

  def drawn(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree_util.tree_map_with_path(lambda path, x: _leaf(rng, path, x), shapes)

  return drawn


@pytest.fixture(scope="session")
def draw_pair_state(draw):
  """A function: a method's state with drawn parameters and averages, its optimizers fresh."""

  def drawn(method, seed=0):
    shapes = jax.eval_shape(lambda key: method.init(key, {}), jax.random.key(0))
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    return zeros.replace(params=draw(shapes.params, seed), model_state=draw(shapes.model_state))

  return drawn
