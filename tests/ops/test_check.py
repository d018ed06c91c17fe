"""Argument checks: one line that says what was expected and what came."""

import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.ops import check


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda x: check.require_rank("image", x, 4), ("image", "4", "(2, 3, 3)")),
    (lambda x: check.require_rank("image", x, 1, 4), ("1 or 4",)),
    (lambda x: check.require_channels("gray", x, 1), ("gray", "1 channel", "(2, 3, 3)")),
    (lambda x: check.require_channels("gray", 1.0, 1), ("gray", "()")),
    (lambda x: check.require_same_shape("a", x, "b", x[:1]), ("(2, 3, 3)", "(1, 3, 3)")),
    (lambda x: check.require_size("size", (4, 0)), ("size", "(4, 0)")),
    (lambda x: check.require_size("size", (4, 2.5)), ("2.5",)),
    (lambda x: check.require_size("size", (4,)), ("(4,)",)),
    (lambda x: check.require_size("size", 4), ("4",)),
    (lambda x: check.require_positive("sigma", 0.0), ("sigma", "0.0")),
    (lambda x: check.require_positive("sigma", float("nan")), ("nan",)),
  ],
)
def test_refuses_in_one_line(call, words):
  with pytest.raises(ValueError) as error:
    call(np.zeros((2, 3, 3)))
  assert "\n" not in str(error.value)
  for word in words:
    assert word in str(error.value)


def test_accepts():
  x = np.zeros((2, 3, 3))
  check.require_rank("x", x, 3, 4)
  check.require_channels("x", x, 3)
  check.require_same_shape("x", x, "y", x + 1)
  check.require_positive("sigma", 1e-3)
  assert check.require_size("size", np.array([4, 2])) == (4, 2)


def test_to_float_keeps_the_numbers():
  for dtype in (jnp.uint8, jnp.int32, jnp.bfloat16, jnp.float16, jnp.float32):
    x = check.to_float(jnp.asarray([0, 3, 200], dtype))
    assert x.dtype == jnp.float32
    np.testing.assert_array_equal(x, [0, 3, 200])
