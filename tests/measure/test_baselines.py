"""Welsh's matching against plain loops in NumPy; what all baselines share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.color
import skimage.data

from scs_jax.core.contract import Query
from scs_jax.measure import baselines
from scs_jax.ops import color

SMALL, SIDE = (17, 12), 40

match = jax.jit(baselines.match)
places = jax.jit(baselines.sample_places, static_argnums=1)


def photo(step=8):
  return skimage.data.astronaut()[::step, ::step] / 255.0


def lightness(shape=SMALL):
  coffee = skimage.data.coffee()[100 : 100 + 6 * shape[0] : 6, 200 : 200 + 6 * shape[1] : 6]
  return skimage.color.rgb2lab(coffee / 255.0)[..., 0].astype(np.float32)


def reference():
  return skimage.color.rgb2lab(photo()[:SIDE, :SIDE]).astype(np.float32)


# --- an independent computation: one pixel at a time


def deviation_around(values, y, x):
  """Of the 5 x 5 pixels around (y, x), mirrored at the border, the edge pixel repeated."""
  height, width = values.shape
  mirrored = lambda i, n: -1 - i if i < 0 else 2 * n - 1 - i if i >= n else i
  around = [
    values[mirrored(y + i, height), mirrored(x + j, width)]
    for i in range(-2, 3)
    for j in range(-2, 3)
  ]
  mean = sum(around) / 25
  return (sum((value - mean) ** 2 for value in around) / 25) ** 0.5


def welsh_by_loops(values, lab, samples):
  """(chroma of each pixel, distance of the best sample, of the second best of another colour)."""
  values, other = values.astype(np.float64), lab[..., 0].astype(np.float64)
  other = (other - other.mean()) * (values.std() / other.std()) + values.mean()
  known = [(other[y, x], deviation_around(other, y, x), lab[y, x, 1:]) for y, x in samples]
  chroma, margin = np.zeros((*values.shape, 2)), np.zeros(values.shape)
  for y in range(values.shape[0]):
    for x in range(values.shape[1]):
      mine = values[y, x], deviation_around(values, y, x)
      ranked = sorted(
        (0.5 * abs(mine[0] - level) + 0.5 * abs(mine[1] - spread), i)
        for i, (level, spread, _) in enumerate(known)
      )
      chroma[y, x] = known[ranked[0][1]][2]
      margin[y, x] = ranked[1][0] - ranked[0][0]
  return chroma, margin


def test_every_pixel_takes_the_chroma_of_its_nearest_sample():
  values, lab, key = lightness(), reference(), jax.random.key(3)
  samples = np.stack(places(key, lab.shape[:2]), axis=1)
  expected, margin = welsh_by_loops(values, lab, samples)
  found = np.asarray(match(key, values, lab))
  clear = margin > 1e-3  # where float32 cannot choose otherwise
  assert clear.mean() > 0.9
  np.testing.assert_array_equal(found[clear], expected.astype(np.float32)[clear])
  assert len(np.unique(found.reshape(-1, 2), axis=0)) > 20  # many samples are used


def test_samples_are_one_a_cell_and_random_within():
  shape = (40, 29)
  drawn = [np.stack(places(jax.random.key(k), shape), axis=1) for k in range(200)]
  for samples in drawn[:5]:
    assert samples.shape == (196, 2)
    cells = {(int((y + 0.5) * 14 / shape[0]), int((x + 0.5) * 14 / shape[1])) for y, x in samples}
    assert len(cells) > 150  # cells have no whole number of pixels: some centres fall next door
  every = np.concatenate(drawn)
  assert every.min() == 0 and tuple(every.max(axis=0)) == (39, 28)
  counts = np.zeros(shape)
  np.add.at(counts, tuple(every.T), 1)
  # Uniform over the picture: 196 * 200 samples on 1160 pixels are 33.8 each, plus or minus 5.8.
  assert (counts > 8).all() and abs(counts[:, :14].mean() / counts.mean() - 1) < 0.1


def test_a_reference_of_one_lightness_and_tiny_ones_are_defined():
  values, key = lightness((5, 4)), jax.random.key(0)
  flat = np.broadcast_to(np.array([50, 20, -30], np.float32), (9, 9, 3))
  np.testing.assert_array_equal(match(key, values, flat)[..., 0], np.full((5, 4), 20))
  one = np.asarray(match(key, values[:1, :1], flat[:1, :1]))
  np.testing.assert_array_equal(one, [[[20, -30]]])


def test_the_neighbourhood_is_mirrored_at_the_border():
  values = lightness((6, 7))
  found = np.asarray(jax.jit(baselines.local_deviation)(values))
  expected = [[deviation_around(values.astype(float), y, x) for x in range(7)] for y in range(6)]
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


# --- whole answers


@pytest.fixture(scope="module")
def query():
  gray = color.lightness_to_gray(jnp.stack([lightness(), lightness()[::-1]])[..., None])
  pictures = jnp.stack([jnp.asarray(photo()[:SIDE, :SIDE]), jnp.asarray(photo()[20:60, 20:60])])
  return Query(gray, (24, 30), pictures.astype(jnp.float32))


def test_all_keep_the_enlarged_lightness(query):
  """Where no colour had to be clipped."""
  keys = baselines.welsh_keys(0, jnp.arange(2, dtype=jnp.uint32))
  gray = jax.jit(baselines.bicubic_gray)(query, keys)
  of = jax.jit(color.lightness)
  for name in ("mean_chroma", "welsh"):
    rgb = jax.jit(baselines.BASELINES[name])(query, keys)
    assert rgb.shape == (2, 24, 30, 3) and float(rgb.min()) >= 0 and float(rgb.max()) <= 1
    inside = ((rgb > 0) & (rgb < 1)).all(axis=-1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(of(rgb)[inside], of(gray)[inside], atol=0.05)
    assert float(jnp.abs(rgb[..., 0] - rgb[..., 2]).mean()) > 0.01  # in colour


def test_bicubic_gray_is_gray_in_a_file():
  """R = G = B at every level, exactly: Lab's rounded white would tint one in two hundred."""
  levels = jnp.linspace(0, 1, 2048).reshape(1, 32, 64, 1)
  rgb = jax.jit(baselines.bicubic_gray)(Query(levels, (32, 64), None), jnp.zeros(1))
  assert float(jnp.abs(rgb - levels).max()) < 1e-6
  levels = np.round(np.asarray(rgb) * 255)
  assert (levels == levels[..., :1]).all() and len(np.unique(levels)) == 256


def test_samples_belong_to_the_picture_and_the_seed(query):
  """A picture's answer is the same wherever in a batch it stands."""
  run = jax.jit(lambda q, seed, index: baselines.welsh(q, baselines.welsh_keys(seed, index)))
  first = run(query, 0, jnp.array([4, 9], jnp.uint32))
  turned = Query(query.gray[::-1], query.size, query.reference[::-1])
  np.testing.assert_allclose(run(turned, 0, jnp.array([9, 4], jnp.uint32))[::-1], first, atol=1e-5)
  assert float(jnp.abs(run(query, 1, jnp.array([4, 9], jnp.uint32)) - first).mean()) > 1e-3


def test_which_differ_in_a_mode():
  assert baselines.baselines_of("automatic") == ("bicubic_gray",)
  assert baselines.baselines_of("random") == ("bicubic_gray", "mean_chroma", "welsh")
