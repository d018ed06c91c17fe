"""A tile over the picture's edge sees in every layer what the whole picture sees there."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.nn import border
from scs_jax.nn.blocks import Conv, ResidualStack


def _place(top, left, height, width, tile):
  return border.Place(*(np.int32(n) for n in (top, left, height, width)), tile=tile)


class Net(nn.Module):
  """Three strides, biases everywhere."""

  @nn.compact
  def __call__(self, x):
    x = ResidualStack(3, 1)(x)
    x = nn.relu(Conv(4, stride=2)(x))
    return Conv(4, stride=2)(ResidualStack(4, 1)(x))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 7), (8, 8), (7, 2)])
def test_padded_picture_equals_picture_of_its_own_size(random_variables, height, width):
  x = np.random.default_rng(0).normal(size=(1, height, width, 3)).astype(np.float32)
  net = Net()
  variables = random_variables(net, x)
  # A function of its own each time: what is outside is no argument that a program depends on.
  apply = lambda x: jax.jit(lambda v, x: net.apply(v, x))(variables, x)
  whole = apply(x)
  padded = np.zeros((1, 8, 8, 3), np.float32)
  padded[:, :height, :width] = x
  with border.zero_outside(_place(0, 0, height, width, 8)):
    tile = apply(padded)
  inside = tile[:, : -(-height // 4), : -(-width // 4)]
  np.testing.assert_allclose(inside, whole, atol=1e-5)
  if (height, width) != (8, 8):  # without the mask, padding is not the same
    plain = apply(padded)[:, : -(-height // 4), : -(-width // 4)]
    assert np.abs(plain - whole).max() > 1e-3


def test_mask_by_hand():
  # Picture 5 x 9, a tile of 4 from (4, 8) on: one row and one column of it are in the picture.
  mask = border.Place(*(jnp.int32(n) for n in (4, 8, 5, 9)), tile=4).mask(1)[0, :, :, 0]
  expected = np.zeros((4, 4), bool)
  expected[0, 0] = True
  np.testing.assert_array_equal(mask, expected)
  # At stride 2 the picture has 3 x 5 positions, and the tile starts at (2, 4).
  mask = _place(4, 8, 5, 9, 4).mask(2)[0, :, :, 0]
  np.testing.assert_array_equal(mask, [[True, False], [False, False]])


def test_masked_mean_equals_mean_of_what_is_there():
  x = np.random.default_rng(1).normal(size=(1, 3, 5, 2)).astype(np.float32)
  padded = np.full((1, 8, 8, 2), 9.0, np.float32)
  padded[:, :3, :5] = x
  inside = _place(0, 0, 3, 5, 8).mask(1)
  found = border.mean_of_four(padded, inside)
  np.testing.assert_allclose(found[:, :2, :3], border.mean_of_four(x), atol=1e-6)
  np.testing.assert_array_equal(found[:, 2:], 0)


def test_features_that_are_no_tile_are_refused():
  x = np.zeros((1, 8, 6, 2), np.float32)
  place = _place(0, 0, 8, 6, 8)
  with pytest.raises(ValueError, match="no square tile of 8"), border.zero_outside(place):
    jax.eval_shape(Conv(2).init, jax.random.key(0), x)
