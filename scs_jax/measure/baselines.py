"""What stands beside every model: colourings that need no training, each of the same query.

All keep the input's lightness, enlarged by MATLAB's bicubic, and differ in the chroma they give it:
none at all, or the reference's, colours outside the gamut clipped. Without a reference there is no
chroma to be had, and all of them are bicubic gray.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from scs_jax.core import contract
from scs_jax.core.contract import Query
from scs_jax.ops import color
from scs_jax.ops.resize import resize_bicubic

Array = jax.Array

GRID = 14
"""Welsh et al. draw about 200 jittered samples: one from each cell of a 14 x 14 grid, 196."""
NEIGHBOURHOOD = 5  # pixels a side, as in the paper


def _enlarged(query: Query) -> Array:
  """Returns gray levels [N, *query.size, 1] in [0, 1]."""
  return jnp.clip(resize_bicubic(query.gray, query.size), 0.0, 1.0)


def _colored(query: Query, ab: Array) -> Array:
  """Gives RGB [N, *query.size, 3]: the enlarged input with this chroma, which may be broadcast."""
  lightness = color.gray_to_lightness(_enlarged(query))
  ab = jnp.broadcast_to(ab, (*lightness.shape[:3], 2))
  return color.clip_gamut(color.lab_to_rgb(jnp.concatenate([lightness, ab], axis=-1)))


def bicubic_gray(query: Query, keys: Array) -> Array:
  """Returns RGB [N, *query.size, 3] in [0, 1]: the input enlarged, R = G = B, whatever `keys`."""
  del keys
  # Not by way of Lab, whose rounded white tints a gray level in two hundred.
  return jnp.repeat(_enlarged(query), 3, axis=-1)


def mean_chroma(query: Query, keys: Array) -> Array:
  """Gives the reference's mean ab to every pixel.

  Reinhard et al. 2001 match mean and deviation of each channel; a gray input has no deviation in a
  and b, so this is all that their transfer can do for it.
  """
  if query.reference is None:
    return bicubic_gray(query, keys)
  lab = color.rgb_to_lab(query.reference)
  return _colored(query, lab[..., 1:].mean(axis=(1, 2), keepdims=True))


def welsh(query: Query, keys: Array) -> Array:
  """Colours as Welsh, Ashikhmin & Mueller 2002, Section 3, have it; RGB [N, *query.size, 3].

  The reference's luminance is shifted and scaled to the input's mean and deviation; of some 200
  jittered samples of it, each input pixel takes the chroma of the one that is nearest by luminance
  and by the deviation of luminance in the 5 x 5 neighbourhood, half each.

  Ours: CIE Lab where the paper has l-alpha-beta; absolute differences; neighbourhoods reflected at
  the border; the match is made at the input's resolution, its chroma enlarged by the bicubic.

  Args:
    query: with its reference.
    keys: [N], one a picture: of its samples.
  """
  if query.reference is None:
    return bicubic_gray(query, keys)
  lightness = color.gray_to_lightness(query.gray)[..., 0]
  lab = color.rgb_to_lab(query.reference)
  ab = jax.vmap(match)(keys, lightness, lab)
  return _colored(query, resize_bicubic(ab, query.size))


def match(key: Array, lightness: Array, lab: Array) -> Array:
  """Finds the chroma [h, w, 2] of one input by Welsh's matching; see `welsh`.

  Args:
    key: of the samples.
    lightness: [h, w] of the input, in [0, 100].
    lab: [r, s, 3], the reference.
  """
  other = lab[..., 0]
  # A constant reference has no deviation to scale: its luminance becomes the input's mean.
  scale = jnp.std(lightness) / jnp.maximum(jnp.std(other), 1e-6)
  other = (other - jnp.mean(other)) * scale + jnp.mean(lightness)
  y, x = sample_places(key, lab.shape[:2])
  sampled = other[y, x], local_deviation(other)[y, x]
  chroma = lab[y, x, 1:]

  def one_row(row):
    distance = sum(abs(mine[:, None] - theirs) for mine, theirs in zip(row, sampled, strict=True))
    return chroma[jnp.argmin(distance, axis=1)]

  # By rows: all pixels against all samples at once would take a gigabyte for a large input.
  return jax.lax.map(one_row, (lightness, local_deviation(lightness)))


def sample_places(key: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
  """Draws (y, x), int32 [GRID^2] each: a random pixel of every cell of a GRID x GRID grid."""
  cell = jnp.stack(jnp.meshgrid(jnp.arange(GRID), jnp.arange(GRID), indexing="ij"), axis=-1)
  place = cell.reshape(-1, 2) + jax.random.uniform(key, (GRID * GRID, 2))
  size = jnp.array(shape)
  y, x = jnp.minimum((place * size / GRID).astype(jnp.int32), size - 1).T
  return y, x


def local_deviation(x: Array) -> Array:
  """Gives the deviation of the 5 x 5 neighbourhood of each pixel of [h, w]; borders reflected."""
  half = NEIGHBOURHOOD // 2
  padded = jnp.pad(x, half, mode="symmetric")
  h, w = x.shape
  shifts = [(i, j) for i in range(NEIGHBOURHOOD) for j in range(NEIGHBOURHOOD)]
  around = jnp.stack([padded[i : i + h, j : j + w] for i, j in shifts])
  return jnp.std(around, axis=0)


Baseline = Callable[[Query, Array], Array]
BASELINES: Mapping[str, Baseline] = {
  "bicubic_gray": bicubic_gray,
  "mean_chroma": mean_chroma,
  "welsh": welsh,
}


def baselines_of(mode: str) -> tuple[str, ...]:
  """Names those that differ in this mode: without a reference all are bicubic gray."""
  return ("bicubic_gray",) if mode == "automatic" else tuple(BASELINES)


def welsh_keys(seed: int, index: Array) -> Array:
  """Makes a key a picture, by its number: the same whatever the batch."""
  return contract.example_keys(contract.stream(jax.random.key(seed), "welsh"), index)
