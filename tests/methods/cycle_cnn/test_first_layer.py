"""The first 3-D convolution from 2-D features, against building the volume and convolving it."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from numpy.testing import assert_allclose

from scs_jax.methods.cycle_cnn.first_layer import FirstLayer, convolve_pair
from scs_jax.methods.cycle_cnn.volume import Volume

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from plain_wac import feature_volume


def plain_order(a, b, kernel, depth):
  """[N, d, H, W, m] in float64: a sum over the 27 taps of the zero-padded volume."""
  padded = np.pad(feature_volume(a, b, depth), ((0, 0), (1, 1), (1, 1), (1, 1), (0, 0)))
  n, h, w, _ = a.shape
  out = np.zeros((n, depth, h, w, kernel.shape[-1]))
  for dk, dj, di in np.ndindex(3, 3, 3):
    out += padded[:, dk : dk + depth, dj : dj + h, di : di + w] @ kernel[dk, dj, di]
  return out


def draw(shape, depth, n=3, m=2, seed=0):
  rng = np.random.default_rng(seed)
  a, b = rng.normal(size=(2, *shape, n))
  return a, b, rng.normal(size=(3, 3, 3, 2 * n, m))


def single(*arrays):
  return [jnp.asarray(x, jnp.float32) for x in arrays]


# Depths below, at and beyond the width; every fold; a single column.
CASES = [((1, 1), 1), ((1, 1), 8), ((1, 2), 2), ((3, 3), 3), ((4, 6), 4), ((4, 6), 8), ((2, 11), 8)]


@pytest.mark.parametrize(("size", "depth"), CASES)
def test_equals_the_plain_order_everywhere(size, depth):
  a, b, kernel = draw((2, *size), depth)
  expected = plain_order(a, b, kernel, depth)
  run = jax.jit(convolve_pair, static_argnums=(3, 4))
  for fold in (f for f in (1, 2, 4, 8) if depth % f == 0):
    out = run(*single(a, b, kernel), depth, fold)
    assert (out.fold, out.depth, out.channels) == (fold, depth, 2)
    assert_allclose(out.plain(), expected, atol=2e-5)


def test_each_view_alone_and_each_tap_alone():
  # One tap at a time: a shift or a mask that is wrong cannot hide in a sum.
  a, b, full = draw((1, 2, 5), 4, n=1, m=1)
  run = jax.jit(convolve_pair, static_argnums=(3,))
  for tap in np.ndindex(3, 3, 3, 2):
    kernel = np.zeros_like(full)
    kernel[tap] = 1.0
    out = run(*single(a, b, kernel), 4)
    assert_allclose(out.plain(), plain_order(a, b, kernel, 4), atol=1e-6)


def test_beyond_the_border_only_the_first_view_is_seen():
  a, b, kernel = draw((1, 3, 4), 8)
  zeros = np.zeros_like(a)
  out = jax.jit(lambda *x: convolve_pair(*x, 8).plain())(*single(zeros, b, kernel))
  k, i = np.meshgrid(np.arange(8), np.arange(4), indexing="ij")
  nearest = np.maximum(i - 1, 0) + np.maximum(k - 1, 0)  # the leftmost column that a tap reads
  beyond = np.broadcast_to((nearest >= 4)[:, None], out.shape[1:4])
  assert (np.asarray(out)[0][beyond] == 0).all()
  assert np.abs(np.asarray(out)[0][~beyond]).min() > 0


@pytest.mark.parametrize("fold", [1, 4])
def test_gradients_equal_the_plain_order(fold):
  a, b, kernel = draw((2, 3, 6), 8)
  weight = np.random.default_rng(1).normal(size=(2, 8, 3, 6, 2))

  def by_volume(a, b, kernel):
    padded = jnp.pad(b, ((0, 0), (0, 0), (0, 8), (0, 0)))
    volume = jnp.stack(
      [jnp.concatenate([a, padded[:, :, k : k + 6]], axis=-1) for k in range(8)], axis=1
    )
    layout = ("NDHWC", "DHWIO", "NDHWC")
    out = lax.conv_general_dilated(volume, kernel, (1, 1, 1), "SAME", dimension_numbers=layout)
    return (out * weight).sum()

  def ours(a, b, kernel):
    return (convolve_pair(a, b, kernel, 8, fold).plain() * weight).sum()

  expected = jax.jit(jax.grad(by_volume, (0, 1, 2)))(*single(a, b, kernel))
  got = jax.jit(jax.grad(ours, (0, 1, 2)))(*single(a, b, kernel))
  for x, y in zip(got, expected, strict=True):
    assert_allclose(x, y, atol=2e-4)


def test_zeros_on_the_right_and_below_change_nothing():
  # What WAC pads the features with, to multiples of 16.
  a, b, kernel = draw((1, 3, 5), 8)
  wide = [np.pad(x, ((0, 0), (0, 1), (0, 3), (0, 0))) for x in (a, b)]
  expected = plain_order(a, b, kernel, 8)
  out = jax.jit(lambda *x: convolve_pair(*x, 8).plain())(*single(*wide, kernel))
  assert_allclose(out[:, :, :3, :5], expected, atol=2e-5)


def test_module_has_the_plain_convolutions_parameter():
  a, b, _ = draw((1, 3, 4), 4, n=4)
  module = FirstLayer(features=5, depth=4, dtype=jnp.bfloat16, fold=2)
  variables = jax.jit(module.init)(jax.random.key(0), *single(a, b))
  kernel = variables["params"]["kernel"]
  assert jax.tree.map(jnp.shape, variables) == {"params": {"kernel": (3, 3, 3, 8, 5)}}
  out = jax.jit(module.apply)(variables, *single(a, b))
  assert isinstance(out, Volume) and out.data.dtype == jnp.bfloat16
  expected = plain_order(a, b, np.asarray(kernel), 4)
  assert_allclose(out.plain().astype(jnp.float32), expected, atol=0.03, rtol=0.01)


def test_nothing_with_more_than_the_results_channels_is_kept(temporaries):
  # 2n-channel volumes would take 2 x 16 MiB; ours takes maps of 2-D size beside the result.
  a = jnp.zeros((1, 32, 64, 16))
  kernel = jnp.zeros((3, 3, 3, 32, 16))
  result = 32 * 64 * 64 * 16 * 4
  planned = temporaries(lambda a, b, k: convolve_pair(a, b, k, 64).data, a, a, kernel)
  assert planned < 1.25 * result


def test_errors():
  a, b, kernel = draw((1, 2, 4), 4)
  with pytest.raises(ValueError, match="do not fit"):
    convolve_pair(*single(a, b[:, :, :3], kernel), 4)
  with pytest.raises(ValueError, match="does not divide"):
    convolve_pair(*single(a, b, kernel), 6, 4)
