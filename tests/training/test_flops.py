"""FLOPs counted by hand, for each kind of equation."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from scs_jax.training import flops


def shape(*sizes):
  return jax.ShapeDtypeStruct(sizes, jnp.float32)


def test_a_matrix_product_and_a_batched_one():
  assert flops.count(jnp.matmul, shape(3, 5), shape(5, 7)) == 2 * 3 * 5 * 7
  assert flops.count(jnp.matmul, shape(2, 3, 5), shape(2, 5, 7)) == 2 * 2 * 3 * 5 * 7


def conv(x, kernel, **how):
  return jax.lax.conv_general_dilated(
    x, kernel, how.pop("strides", (1, 1)), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), **how
  )


def test_a_convolution_its_stride_and_its_groups():
  x, kernel = shape(1, 8, 6, 4), shape(3, 3, 4, 10)
  assert flops.count(conv, x, kernel) == 2 * 8 * 6 * 10 * 9 * 4
  assert flops.count(conv, x, kernel, strides=(2, 2)) == 2 * 4 * 3 * 10 * 9 * 4
  grouped = flops.count(conv, x, shape(3, 3, 2, 10), feature_group_count=2)
  assert grouped == 2 * 8 * 6 * 10 * 9 * 2


def test_the_zeros_of_a_transposed_convolution_cost_nothing():
  layer = nn.ConvTranspose(10, (2, 2), (2, 2), use_bias=False)
  x = shape(1, 8, 6, 4)
  variables = jax.eval_shape(layer.init, jax.random.key(0), x)
  # Each of 16 x 12 outputs meets one of the four taps.
  assert flops.count(layer.apply, variables, x) == 2 * 16 * 12 * 10 * 4


def test_a_scan_counts_every_round_and_a_cond_its_dearest_branch():
  a, b = shape(3, 3), shape(3, 3)

  def repeated(a, b):
    return jax.lax.scan(lambda c, _: (c @ b, None), a, length=7)[0]

  def chosen(a, b):
    return jax.lax.cond(a[0, 0] > 0, lambda: a @ b @ b, lambda: a @ b)

  assert flops.count(repeated, a, b) == 7 * 2 * 27
  assert flops.count(chosen, a, b) == 2 * 2 * 27


def test_gradients_and_rematerialisation_count():
  a, b = shape(3, 3), shape(3, 3)

  def loss(a, b, wrap):
    return jnp.sum(wrap(lambda x: jnp.sin(x @ b) @ b)(a))

  plain = lambda f: f
  forward = flops.count(loss, a, b, wrap=plain)
  assert forward == 2 * 2 * 27
  gradient = flops.count(jax.grad(loss), a, b, wrap=plain)
  assert gradient == 4 * 2 * 27  # two products forward, two back to `a`
  again = flops.count(jax.grad(loss), a, b, wrap=jax.checkpoint)
  assert again in (5 * 2 * 27, 6 * 2 * 27)  # and the first product, or both, again


def test_programs_within_programs_are_looked_into():
  a, b = shape(3, 5), shape(5, 7)
  assert flops.count(jax.jit(jnp.matmul), a, b) == 2 * 3 * 5 * 7
