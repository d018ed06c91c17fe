"""Bicubic resizing against a pixel-by-pixel loop written from the definition of imresize."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.ops import resize

resize_bicubic = jax.jit(resize.resize_bicubic, static_argnums=1)
SIZES = [(8, 16), (16, 8), (7, 10), (10, 7), (12, 3), (5, 1), (1, 5), (3, 11), (2, 1), (9, 9)]


def keys_kernel(x: float) -> float:
  x = abs(x)
  if x <= 1:
    return 1.5 * x**3 - 2.5 * x**2 + 1
  if x <= 2:
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
  return 0.0


def reflect(index: int, size: int) -> int:
  """... 1 0 | 0 1 2 .. n-1 | n-1 n-2 ..., one step at a time."""
  while not 0 <= index < size:
    index = -1 - index if index < 0 else 2 * size - 1 - index
  return index


def resize_line(line: list[float], out_size: int, antialias: bool) -> list[float]:
  in_size = len(line)
  scale = out_size / in_size
  stretch = 1 / scale if antialias and scale < 1 else 1.0
  result = []
  for i in range(out_size):
    centre = (i + 0.5) / scale - 0.5
    total = weight_sum = 0.0
    for tap in range(math.floor(centre - 2 * stretch) - 1, math.ceil(centre + 2 * stretch) + 2):
      weight = keys_kernel((centre - tap) / stretch)
      total += weight * line[reflect(tap, in_size)]
      weight_sum += weight
    result.append(total / weight_sum)
  return result


def brute_force(image: np.ndarray, size: tuple[int, int], antialias: bool = True) -> np.ndarray:
  height, width, channels = image.shape
  tall = np.zeros((size[0], width, channels))
  out = np.zeros((*size, channels))
  for c in range(channels):
    for x in range(width):
      tall[:, x, c] = resize_line(list(image[:, x, c]), size[0], antialias)
    for y in range(size[0]):
      out[y, :, c] = resize_line(list(tall[y, :, c]), size[1], antialias)
  return out


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("in_size", "out_size"), SIZES)
def test_weights_equal_the_loop(in_size, out_size, antialias):
  rows = np.array([resize_line(list(unit), out_size, antialias) for unit in np.eye(in_size)]).T
  weights = resize.resize_weights(in_size, out_size, antialias)
  np.testing.assert_allclose(weights, rows, atol=1e-12)
  np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)


def test_weights_by_hand():
  # Enlarging by 2, output 0 lies at -1/4: taps 0 and -1 -> 0, taps 1 and -2 -> 1.
  up = resize.resize_weights(4, 8)
  np.testing.assert_allclose(up[0], [1.09375, -0.09375, 0, 0], atol=1e-12)
  np.testing.assert_allclose(up[3], [-0.0703125, 0.8671875, 0.2265625, -0.0234375], atol=1e-12)
  # Halving, output 2 of 5 lies at 4.5: the kernel at 1/4, 3/4, 5/4, 7/4, halved.
  half = np.array([-0.01171875, -0.03515625, 0.11328125, 0.43359375])
  expected = np.concatenate([[0], half, half[::-1], [0]])
  np.testing.assert_allclose(resize.resize_weights(10, 5)[2], expected, atol=1e-12)


@pytest.mark.parametrize(
  ("shape", "size"), [((13, 17), (5, 29)), ((17, 13), (34, 6)), ((6, 5), (6, 11)), ((1, 9), (4, 2))]
)
def test_images_equal_the_loop_borders_included(shape, size):
  image = np.random.default_rng(0).uniform(size=(*shape, 2))
  expected = brute_force(image, size)
  out = resize_bicubic(image.astype(np.float32), size)
  np.testing.assert_allclose(out, expected, atol=2e-6)


@pytest.mark.parametrize(("in_size", "out_size"), [(160, 40), (40, 160), (150, 67), (67, 150)])
def test_blocks_equal_the_loop(in_size, out_size):
  """Wide enough for the products in blocks; one axis is blocked, the other dense."""
  image = np.random.default_rng(1).uniform(size=(in_size, 4, 1))
  out = resize_bicubic(image.astype(np.float32), (out_size, 3))
  np.testing.assert_allclose(out, brute_force(image, (out_size, 3)), atol=3e-6)


def test_interior_equals_jax_image_resize():
  image = np.random.default_rng(2).uniform(size=(2, 64, 48, 3)).astype(np.float32)
  for size, margin in (((16, 12), 2), ((128, 96), 4), ((40, 30), 3)):
    out = np.asarray(resize_bicubic(image, size))
    other = np.asarray(jax.image.resize(image, (2, *size, 3), "cubic", antialias=True))
    inside = (slice(None), slice(margin, -margin), slice(margin, -margin))
    np.testing.assert_allclose(out[inside], other[inside], atol=3e-6)
    assert np.abs(out - other).max() > 0.01  # the border, where MATLAB reflects


def test_constants_ramps_and_symmetry():
  flat = resize_bicubic(jnp.full((1, 30, 20, 1), 0.7), (11, 33))
  np.testing.assert_allclose(flat, 0.7, atol=1e-6)
  ramp = jnp.arange(40.0)[:, None, None]  # cubic interpolation reproduces straight lines
  out = resize_bicubic(ramp, (80, 1))[:, 0, 0]
  np.testing.assert_allclose(out[8:-8], (np.arange(8, 72) + 0.5) / 2 - 0.5, atol=1e-5)
  image = np.random.default_rng(3).uniform(size=(9, 14, 1)).astype(np.float32)
  mirrored = resize_bicubic(image[::-1, ::-1], (13, 5))[::-1, ::-1]
  np.testing.assert_allclose(resize_bicubic(image, (13, 5)), mirrored, atol=1e-6)
  np.testing.assert_array_equal(resize_bicubic(image, (9, 14)), image)


def test_gradient_is_the_transposed_matrix():
  weights = resize.resize_weights(160, 70)
  x, cotangent = np.random.default_rng(4).normal(size=(2, 160, 3, 2)).astype(np.float32)
  out, pull = jax.vjp(lambda x: resize.apply_weights(x, weights, 0), x)
  np.testing.assert_allclose(out, np.einsum("oi,iwc->owc", weights, x), atol=1e-5)
  expected = np.einsum("oi,owc->iwc", weights, cotangent[:70])
  np.testing.assert_allclose(pull(jnp.asarray(cotangent[:70]))[0], expected, atol=1e-5)


def test_dtypes():
  image = np.random.default_rng(5).integers(0, 256, (1, 12, 12, 3)).astype(np.uint8)
  out = resize_bicubic(image, (5, 20))
  assert out.dtype == jnp.float32
  np.testing.assert_allclose(out[0], brute_force(image[0] / 1.0, (5, 20)), atol=1e-3)
  half = jnp.asarray(image / 255, jnp.bfloat16)
  out = resize_bicubic(half, (5, 20))
  assert out.dtype == jnp.bfloat16
  exact = resize_bicubic(half.astype(jnp.float32), (5, 20))
  np.testing.assert_array_equal(out, exact.astype(jnp.bfloat16))


def test_bad_arguments_are_refused():
  x = jnp.zeros((1, 4, 4, 1))
  for size in ((0, 4), (4, -1), (4.5, 4), (4,)):
    with pytest.raises(ValueError, match="size"):
      resize.resize_bicubic(x, size)
  with pytest.raises(ValueError, match="H, W, C"):
    resize.resize_bicubic(x[0, 0], (2, 2))
  with pytest.raises(ValueError, match="columns"):
    resize.apply_weights(x, np.eye(5), 1)
