"""Grid positions in integers and interpolation there, against Fraction arithmetic."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.ops import sample

PAIRS = [(1, 1), (1, 5), (5, 1), (4, 8), (8, 4), (3, 7), (6, 96), (7, 10), (2, 32), (31, 16)]
LARGE = [(65536, 65535), (4096, 65536), (65536, 4096), (65535, 65536)]


def brute_force(image: np.ndarray, size: tuple[int, int], aligned: bool) -> np.ndarray:
  """Bilinear interpolation, one pixel after another."""

  def position(i: int, in_size: int, out_size: int) -> Fraction:
    if not aligned:
      centre = Fraction(2 * i + 1, 2) * in_size / out_size - Fraction(1, 2)
      return min(max(centre, Fraction(0)), Fraction(in_size - 1))
    return Fraction(i * (in_size - 1), out_size - 1) if out_size > 1 else Fraction(0)

  height, width, channels = image.shape
  out = np.zeros((*size, channels))
  for i in range(size[0]):
    for j in range(size[1]):
      y, x = position(i, height, size[0]), position(j, width, size[1])
      for row in range(height):
        for column in range(width):
          weight = max(0, 1 - abs(y - row)) * max(0, 1 - abs(x - column))
          if weight:
            out[i, j] += float(weight) * image[row, column]
  return out


@pytest.mark.parametrize(("in_size", "out_size"), PAIRS + LARGE)
def test_axes_are_exact(in_size, out_size):
  """Positions equal the rational numbers of the definition, at all pixels or a sample of many."""
  aligned, centers = sample.axis_aligned(in_size, out_size), sample.axis_centers(in_size, out_size)
  indices = np.unique(np.linspace(0, out_size - 1, 64).astype(int))
  for axis in (aligned, centers):
    assert axis.lo.dtype == np.int32
    assert axis.frac.dtype == np.float32
    assert axis.lo.min() >= 0
    assert axis.frac.min() >= 0
    assert (axis.lo + (axis.frac > 0)).max() <= in_size - 1
    assert (np.diff(axis.lo.astype(np.float64) + axis.frac) >= 0).all()
  for i in indices:
    i = int(i)
    exact = Fraction(i * (in_size - 1), out_size - 1) if out_size > 1 else Fraction(0)
    assert aligned.lo[i] == exact.__floor__()
    assert aligned.frac[i] == np.float32(float(exact - exact.__floor__()))
    exact = Fraction(2 * i + 1, 2) * in_size / out_size - Fraction(1, 2)
    exact = min(max(exact, Fraction(0)), Fraction(in_size - 1))
    assert centers.lo[i] == exact.__floor__()
    assert centers.frac[i] == np.float32(float(exact - exact.__floor__()))


def test_cell_coordinate_by_hand():
  # Twice as many pixels: their centres are at a quarter and three quarters of a cell.
  np.testing.assert_array_equal(sample.cell_coordinate(3, 6), [-0.5, 0.5] * 3)
  # Same size: the middle of each cell. Half the size: on the edge between two cells.
  np.testing.assert_array_equal(sample.cell_coordinate(4, 4), [0, 0, 0, 0])
  np.testing.assert_array_equal(sample.cell_coordinate(4, 2), [-1, -1])
  # 2 -> 3: x in = 1/3, 1, 5/3: remainders 1/3, 0, 2/3.
  np.testing.assert_allclose(sample.cell_coordinate(2, 3), [-1 / 3, -1, 1 / 3], rtol=1e-7)
  np.testing.assert_array_equal(sample.cell_coordinate(1, 1), [0])
  np.testing.assert_array_equal(sample.cell_coordinate(1, 4), [-0.75, -0.25, 0.25, 0.75])
  np.testing.assert_array_equal(sample.cell_coordinate(3, 1), [0])
  np.testing.assert_array_equal(
    sample.cell_coordinate(2, 32), np.tile((2 * np.arange(16) + 1) / 16 - 1, 2)
  )


def test_literal_cell_coordinate_by_hand():
  # 2 cells, 5 pixels: x = 0, 1/4, 1/2, 3/4, 1; the last is +1 as the text says, not -1.
  np.testing.assert_array_equal(sample.cell_coordinate_literal(2, 5), [-1, 0, -1, 0, 1])
  np.testing.assert_array_equal(sample.cell_coordinate_literal(4, 2), [-1, 1])
  np.testing.assert_array_equal(sample.cell_coordinate_literal(1, 3), [-1, 0, 1])
  np.testing.assert_array_equal(sample.cell_coordinate_literal(7, 1), [0])
  # 3 cells, 5 pixels: x in = 0, 3/4, 3/2, 9/4, 3.
  np.testing.assert_array_equal(sample.cell_coordinate_literal(3, 5), [-1, 0.5, 0, -0.5, 1])


@pytest.mark.parametrize(("in_size", "out_size"), PAIRS + LARGE)
def test_cell_coordinates_equal_rationals(in_size, out_size):
  z, literal = (
    f(in_size, out_size) for f in (sample.cell_coordinate, sample.cell_coordinate_literal)
  )
  assert z.dtype == literal.dtype == np.float32
  assert z.min() >= -1
  assert z.max() < 1
  assert literal.min() >= -1
  assert literal.max() <= 1
  if out_size > 1:
    assert np.flatnonzero(literal == 1).tolist() == [out_size - 1]
  for i in np.unique(np.linspace(0, out_size - 1, 64).astype(int)):
    i = int(i)
    cell = Fraction(2 * i + 1, 2 * out_size) * in_size
    assert z[i] == np.float32(float(2 * (cell % 1) - 1))
    if 0 < i < out_size - 1:
      cell = Fraction(i, out_size - 1) * in_size
      assert literal[i] == np.float32(float(2 * (cell % 1) - 1))


@pytest.mark.parametrize("factor", [1.0, 1.3, 2.0, 3.3, 4.0, 7.1, 16.0])
def test_cell_coordinate_rises_within_a_cell(factor):
  in_size = 10
  out_size = round(in_size * factor)
  z = sample.cell_coordinate(in_size, out_size).astype(np.float64)
  cell = np.floor((np.arange(out_size) + 0.5) / out_size * in_size + 1e-9).astype(int)
  assert sorted(set(cell)) == list(range(in_size))
  steps = np.diff(z)
  within = np.diff(cell) == 0
  np.testing.assert_allclose(steps[within], 2 * in_size / out_size, rtol=1e-5)
  # Cell and coordinate together give the position back.
  centres = (np.arange(out_size) + 0.5) * in_size / out_size
  np.testing.assert_allclose(cell + (z + 1) / 2, centres, atol=1e-5)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(
  ("shape", "size"), [((5, 4), (9, 3)), ((3, 6), (1, 11)), ((1, 2), (3, 2)), ((1, 1), (4, 3))]
)
def test_bilinear_equals_the_loop(shape, size, aligned):
  image = np.random.default_rng(0).uniform(size=(*shape, 2))
  out = sample.resize_bilinear(image.astype(np.float32), size, align_corners=aligned)
  np.testing.assert_allclose(out, brute_force(image, size, aligned), atol=1e-6)


def test_bilinear_keeps_corners_constants_and_planes():
  image = np.random.default_rng(2).uniform(size=(1, 4, 5, 1)).astype(np.float32)
  out = sample.resize_bilinear(image, (9, 17))
  np.testing.assert_array_equal(out[:, ::8, ::16], image[:, ::3, ::4])
  y, x = np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 1, 4), indexing="ij")
  plane = (2 * y - 3 * x)[..., None].astype(np.float32)
  y, x = np.meshgrid(np.linspace(0, 1, 50), np.linspace(0, 1, 75), indexing="ij")
  np.testing.assert_allclose(
    sample.resize_bilinear(plane, (50, 75))[..., 0], 2 * y - 3 * x, atol=1e-5
  )


def test_bilinear_dtypes():
  image = jnp.asarray(np.random.default_rng(3).uniform(size=(1, 5, 4, 2)), jnp.bfloat16)
  for size in ((7, 9), (5, 4)):
    out = sample.resize_bilinear(image, size)
    assert out.dtype == jnp.bfloat16
    exact = sample.resize_bilinear(image.astype(jnp.float32), size)
    np.testing.assert_array_equal(out, exact.astype(jnp.bfloat16))
    assert sample.resize_bilinear((image * 9).astype(jnp.uint8), size).dtype == jnp.float32


@pytest.mark.parametrize(("in_size", "out_size"), [(3, 6), (6, 3), (6, 8), (7, 3), (8, 2), (1, 3)])
def test_nearest_takes_the_pixel_under_the_centre(in_size, out_size):
  image = np.arange(in_size * 2, dtype=np.uint8).reshape(in_size, 2, 1)
  out = sample.resize_nearest(image, (out_size, 2))
  assert out.dtype == jnp.uint8
  rows = [(Fraction(2 * i + 1, 2) * in_size / out_size).__floor__() for i in range(out_size)]
  np.testing.assert_array_equal(out, image[rows])


def test_nearest_by_corners_takes_other_pixels_from_six_to_eight():
  image = np.arange(6)[:, None, None] * np.ones((1, 2, 1))
  rows = lambda rule: np.asarray(sample.resize_nearest(image, (8, 2), rule))[:, 0, 0].tolist()
  assert rows("corners") == [0, 0, 1, 2, 3, 3, 4, 5]  # floor(i 6 / 8)
  assert rows("centers") == [0, 1, 1, 2, 3, 4, 4, 5]  # floor((i + 1/2) 6 / 8)
  with pytest.raises(ValueError, match="expected one of centers, corners"):
    sample.resize_nearest(image, (8, 2), "edges")


def test_bad_arguments_are_refused():
  for function in (sample.axis_aligned, sample.axis_centers, sample.cell_coordinate):
    with pytest.raises(ValueError, match="sizes"):
      function(4, 0)
  with pytest.raises(ValueError, match="size"):
    sample.resize_bilinear(jnp.zeros((1, 4, 4, 1)), (3, 0))
  with pytest.raises(ValueError, match="H, W, C"):
    sample.resize_nearest(jnp.zeros((4, 4)), (3, 3))
