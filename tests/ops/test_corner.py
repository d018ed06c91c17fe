"""Pictures in the corner of an array: as the picture alone, whatever lies beside it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.ops import corner, resize, sample

SHAPE = (24, 40)


def _in_corner(picture, shape):
  """[1, h, w, C] in an array of `shape`, NaN around it."""
  x = np.full((1, *shape, picture.shape[-1]), np.nan, np.float32)
  x[:, : picture.shape[1], : picture.shape[2]] = picture
  return x


def _traced(size):
  return tuple(map(jnp.int32, size))


def test_mask_and_mean_by_hand():
  x = np.arange(12, dtype=np.float32).reshape(1, 3, 4, 1)
  inside = corner.mask(x, _traced((2, 3)))
  np.testing.assert_array_equal(inside[0, :, :, 0], [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]])
  np.testing.assert_allclose(corner.mean(x, inside), [[(0 + 1 + 2 + 4 + 5 + 6) / 6]])
  np.testing.assert_allclose(corner.mean(x, None), [[5.5]])
  assert corner.mask(x, None) is None and corner.strided(None, 2) is None
  assert [int(s) for s in corner.strided(_traced((5, 8)), 2)] == [3, 4]


@pytest.mark.parametrize(
  ("resize_corner", "alone"),
  [
    (corner.resize_nearest, sample.resize_nearest),
    (
      functools.partial(corner.resize_nearest, rule="corners"),
      functools.partial(sample.resize_nearest, rule="corners"),
    ),
    (corner.resize_bilinear, functools.partial(sample.resize_bilinear, align_corners=False)),
    (corner.resize_bicubic, resize.resize_bicubic),
  ],
  ids=["nearest", "nearest by corners", "bilinear", "bicubic"],
)
def test_resizes_go_by_the_picture_s_own_size(resize_corner, alone):
  """One program for all sizes; against the resizes of a known size, which have their own tests."""
  program = jax.jit(lambda x, old, new: resize_corner(x, SHAPE, old, new))
  rng = np.random.default_rng(0)
  for old, new in [((5, 7), (11, 39)), ((16, 20), (8, 13)), ((1, 2), (3, 1)), ((9, 9), (9, 9))]:
    picture = rng.random((1, *old, 2)).astype(np.float32)
    x = _in_corner(picture, (16, 20))
    found = np.asarray(program(x, _traced(old), _traced(new)))
    assert found.shape == (1, *SHAPE, 2)
    want = alone(jnp.asarray(picture), new)
    np.testing.assert_allclose(found[:, : new[0], : new[1]], want, atol=1e-5)
  assert program._cache_size() == 1
  np.testing.assert_array_equal(resize_corner(x, SHAPE, None, None), alone(x, SHAPE))
