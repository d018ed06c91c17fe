"""Meta-SR's head against Hu et al.'s equations, written out pixel by pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.methods.scsnet import cpm, meta_sr

BIG = 2**40


def _layers(features, hidden=5, seed=0):
  rng = np.random.default_rng(seed)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  outs = 9 * features * 3
  return (draw(3, hidden), draw(hidden)), (draw(hidden, outs), draw(outs))


def _by_hand(layers, x, size):
  """Eq. 1-5 of Meta-SR: for every pixel its own 3 x 3 convolution."""
  (k0, b0), (k1, b1) = layers
  n, height, width, channels = x.shape
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  out = np.zeros((n, *size, 3))
  for i in range(size[0]):
    for j in range(size[1]):
      y, x_ = i * height / size[0], j * width / size[1]
      top, left = int(np.floor(y + 1e-9)), int(np.floor(x_ + 1e-9))
      inverse = np.sqrt(height / size[0] * width / size[1])
      v = np.array([y - top, x_ - left, inverse])
      weights = np.maximum(v @ k0 + b0, 0) @ k1 + b1
      patch = padded[:, top : top + 3, left : left + 3].reshape(n, 9 * channels)
      out[:, i, j] = patch @ weights.reshape(9 * channels, 3)
  return out


@pytest.mark.parametrize("size", [(8, 12), (10, 13), (4, 6), (3, 15)])
def test_it_is_the_papers_equations(size):
  x = np.random.default_rng(1).normal(size=(2, 4, 6, 3)).astype(np.float32)
  layers = _layers(3)
  axes = [meta_sr.meta_axis(i, o) for i, o in zip(x.shape[1:3], size, strict=True)]
  found = jax.jit(lambda x: meta_sr.upscale(layers, x, *axes, BIG))(x)
  np.testing.assert_allclose(found, _by_hand(layers, x, size), rtol=1e-4, atol=1e-4)


def test_chunks_change_nothing():
  """By rows, one at a time and three at a time: values and gradients are those of the whole."""
  x = np.random.default_rng(1).normal(size=(2, 4, 5, 2)).astype(np.float32)
  layers, axes = _layers(2), (meta_sr.meta_axis(4, 7), meta_sr.meta_axis(5, 9))
  row = 9 * 9 * 2 * 3

  def loss(layers, x, bound):
    return jnp.sum(jnp.sin(meta_sr.upscale(layers, x, *axes, bound)))

  run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)), static_argnums=2)
  whole = run(layers, x, BIG)
  for bound in (1, 3 * row):
    for a, b in zip(jax.tree.leaves(run(layers, x, bound)), jax.tree.leaves(whole), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_chunks_bound_the_weights_that_exist(temporaries):
  axis = meta_sr.meta_axis(32, 64)
  layers = _layers(8, hidden=16)
  x = jax.ShapeDtypeStruct((1, 32, 32, 8), np.float32)
  run = lambda bound: temporaries(lambda x: meta_sr.upscale(layers, x, axis, axis, bound), x)
  assert run(BIG) > 64 * 64 * 9 * 8 * 3 * 4 > 4 * run(2**14)


def test_a_window_is_a_part_of_the_whole():
  """At magnifications known when the program runs, as a training step draws them."""
  window = jax.jit(lambda full, start: meta_sr.meta_axis(8, full, start, 5))
  for full in (8, 9, 13, 16, 26):
    whole = meta_sr.meta_axis(8, full)
    for start in (0, full - 5):
      part = window(full, start)
      for name in ("index", "offset", "inverse", "low", "fraction"):
        np.testing.assert_allclose(
          getattr(part, name), getattr(whole, name)[start : start + 5], atol=1e-6, err_msg=name
        )


@pytest.mark.parametrize(("in_size", "out_size"), [(8, 16), (8, 19), (5, 5), (7, 3), (1, 4)])
def test_what_is_enlarged_beside_the_head_lies_by_pixel_centres(in_size, out_size):
  axis, centers = meta_sr.meta_axis(in_size, out_size), cpm.pixel_axis(in_size, out_size, "centers")
  place = lambda a: a.low + np.asarray(a.fraction, np.float64)
  np.testing.assert_allclose(place(axis), place(centers), atol=1e-6)


def test_the_head_has_the_papers_0_45_million_parameters():
  head = meta_sr.MetaUpscale()
  axis = meta_sr.meta_axis(2, 4)
  x = jnp.zeros((1, 2, 2, 64))
  shapes = jax.eval_shape(lambda: head.init(jax.random.key(0), x, axis, axis))
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 445_120


def test_an_initialisation_starts_near_gray():
  head = meta_sr.MetaUpscale()
  axis = meta_sr.meta_axis(4, 8)
  x = jax.random.normal(jax.random.key(1), (1, 4, 4, 64))
  start = jax.jit(lambda key, x: head.init_with_output(key, x, axis, axis)[0])
  out = start(jax.random.key(0), x)
  assert 0 < np.abs(out).max() < 0.5
