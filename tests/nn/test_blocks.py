"""Convolution blocks against SciPy's correlation and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from scs_jax.nn import blocks


def _conv(x, kernel, bias, stride=1):
  """Correlation with zero padding of half the kernel, every `stride`-th position."""
  pad = kernel.shape[0] // 2
  x = np.pad(np.asarray(x, np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
  kernel = np.asarray(kernel, np.float64)
  out = [
    [
      sum(signal.correlate(image[..., i], kernel[..., i, o], "valid") for i in range(x.shape[-1]))
      for o in range(kernel.shape[-1])
    ]
    for image in x
  ]
  return np.moveaxis(np.array(out), 1, -1)[:, ::stride, ::stride] + np.asarray(bias)


def _random(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _init(layer, x):
  return jax.jit(layer.init)(jax.random.key(0), x).get("params", {})


def _apply(layer, params, x):
  return np.asarray(jax.jit(layer.apply)({"params": params}, x))


@pytest.mark.parametrize(
  ("size", "stride", "kernel"),
  [((5, 4), 1, 3), ((6, 4), 2, 3), ((5, 7), 2, 3), ((1, 2), 2, 3), ((4, 3), 1, 1), ((5, 6), 2, 5)],
)
def test_conv_equals_scipy(random_variables, size, stride, kernel):
  x = _random(2, *size, 3)
  layer = blocks.Conv(4, kernel=kernel, stride=stride)
  params = random_variables(layer, x)["params"]
  found = _apply(layer, params, x)
  assert found.shape == (2, -(-size[0] // stride), -(-size[1] // stride), 4)
  expected = _conv(x, params["conv"]["kernel"], params["conv"]["bias"], stride)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_stride_two_has_no_half_pixel_shift():
  """Even and odd widths see positions 0, 2, 4, ...: a delta kernel takes every second value."""
  delta = {"conv": {"kernel": jnp.zeros((3, 3, 1, 1)).at[1, 1].set(1.0), "bias": jnp.zeros(1)}}
  for width in (6, 7):
    x = jnp.arange(width, dtype=jnp.float32).reshape(1, 1, width, 1)
    found = _apply(blocks.Conv(1, stride=2), delta, x)
    np.testing.assert_array_equal(found[0, 0, :, 0], np.arange(0, width, 2))


def test_residual_block_starts_as_identity_and_equals_numpy(random_variables):
  x = _random(1, 4, 5, 3)
  block = blocks.ResidualBlock(3)
  np.testing.assert_array_equal(_apply(block, _init(block, x), x), x)
  params = random_variables(block, x)["params"]
  first, second = (params[f"conv_{i}"]["conv"] for i in (0, 1))
  hidden = np.maximum(_conv(x, first["kernel"], first["bias"]), 0)
  expected = x + _conv(hidden, second["kernel"], second["bias"])
  np.testing.assert_allclose(_apply(block, params, x), expected, atol=1e-5)


def test_identity_start_still_learns():
  """The zero convolution has a gradient, and after one step so has the one before it."""
  x = _random(1, 4, 5, 3)
  block = blocks.ResidualBlock(3)
  params = _init(block, x)
  gradient = jax.jit(jax.grad(lambda p: ((block.apply({"params": p}, x) - 1) ** 2).sum()))
  first = gradient(params)
  assert np.abs(first["conv_1"]["conv"]["kernel"]).max() > 0.1
  after = gradient(jax.tree.map(lambda p, g: p - 0.01 * g, params, first))
  assert np.abs(after["conv_0"]["conv"]["kernel"]).max() > 1e-3


def test_stack_has_the_blocks_asked_for(random_variables):
  x = _random(1, 3, 3, 2)
  assert random_variables(blocks.ResidualStack(2, 0), x) == {}
  np.testing.assert_array_equal(_apply(blocks.ResidualStack(2, 0), {}, x), x)
  stack = blocks.ResidualStack(2, 3)
  params = random_variables(stack, x)["params"]
  assert sorted(params) == ["block_0", "block_1", "block_2"]
  expected = x
  block = jax.jit(blocks.ResidualBlock(2).apply)
  for i in range(3):
    expected = block({"params": params[f"block_{i}"]}, expected)
  np.testing.assert_allclose(_apply(stack, params, x), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(5, 3), (1, 1), (2, 7)])
def test_double_size_repeats_and_crops(size):
  half = (-(-size[0] // 2), -(-size[1] // 2))
  x = _random(2, *half, 3)
  expected = np.repeat(np.repeat(np.asarray(x), 2, 1), 2, 2)[:, : size[0], : size[1]]
  np.testing.assert_array_equal(blocks.double_size(x, size), expected)


def test_double_size_refuses_another_size():
  with pytest.raises(ValueError, match="not half of 7 x 4"):
    blocks.double_size(jnp.zeros((1, 3, 2, 1)), (7, 4))


def test_bfloat16_keeps_parameters_in_float32():
  x = _random(1, 4, 5, 3)
  block = blocks.ResidualBlock(3, dtype=jnp.bfloat16)
  params = _init(block, x)
  assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(params))
  found = jax.eval_shape(block.apply, {"params": params}, x.astype(jnp.bfloat16))
  assert found.dtype == jnp.bfloat16
