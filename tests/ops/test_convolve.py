"""Convolutions in a CPU's order: XLA's own numbers, gradients too."""

import jax
import numpy as np
import pytest
from jax import lax

from scs_jax.ops import convolve, platform

CASES = {
  "3 x 3": ((5, 7), (3, 3), ((1, 1), (1, 1)), (1, 1)),
  "5 x 5": ((6, 4), (5, 5), ((2, 2), (2, 2)), (1, 1)),
  "dilated": ((9, 6), (3, 3), ((2, 2), (2, 2)), (2, 2)),
  "unpadded": ((5, 6), (2, 3), ((0, 0), (0, 0)), (1, 1)),
  "uneven": ((4, 5), (3, 3), ((2, 0), (0, 1)), (1, 1)),
  "widened": ((3, 3), (2, 2), ((3, 2), (1, 1)), (1, 1)),
  "one pixel": ((1, 1), (3, 3), ((1, 1), (1, 1)), (1, 1)),
}


def _with_gradients(function, x, kernel, upper):
  out, backward = jax.vjp(function, x, kernel)
  return out, *backward(upper)


@pytest.mark.parametrize("case", CASES)
def test_equals_xlas_own(case):
  size, side, padding, dilation = CASES[case]
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  x, kernel = draw(2, *size, 3), draw(*side, 3, 4)
  options = {"rhs_dilation": dilation, "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
  plain = lambda x, k: lax.conv_general_dilated(x, k, (1, 1), padding, **options)
  ours = lambda x, k: convolve.conv_general_dilated(x, k, (1, 1), padding, **options)
  upper = draw(*jax.eval_shape(plain, x, kernel).shape)
  found = jax.jit(lambda *a: _with_gradients(ours, *a))(x, kernel, upper)
  expected = jax.jit(lambda *a: _with_gradients(plain, *a))(x, kernel, upper)
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_other_platforms_have_one_convolution():
  x, kernel = np.zeros((1, 5, 7, 3), np.float32), np.zeros((3, 3, 3, 4), np.float32)
  options = {"padding": ((1, 1), (1, 1)), "dimension_numbers": ("NHWC", "HWIO", "NHWC")}
  run = lambda x, k: convolve.conv_general_dilated(x, k, (1, 1), **options)
  with platform.compiling_for("gpu"):
    (operation,) = jax.make_jaxpr(run)(x, kernel).eqns
  assert operation.outvars[0].aval.shape == (1, 5, 7, 4)
  assert operation.primitive is lax.conv_general_dilated_p
