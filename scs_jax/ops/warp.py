"""Elastic distortion of an image (Simard et al. 2003) and the bilinear warp behind it."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.ops import check
from scs_jax.ops.resize import apply_weights

_TRUNCATE = 4.0  # standard deviations of the Gaussian that are kept


def _blur_rows(size: int, sigma: float) -> np.ndarray:
  """Makes a Gaussian over the full neighbourhood of each of `size` outputs: [size, size + 2 r]."""
  radius = max(1, math.ceil(_TRUNCATE * sigma))
  taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
  taps /= taps.sum()
  rows = np.zeros((size, size + 2 * radius))
  for shift, tap in enumerate(taps):
    rows[np.arange(size), np.arange(size) + shift] = tap
  return rows


def elastic_displacement(
  key: jax.Array, shape: Sequence[int], alpha: float, sigma: float
) -> jax.Array:
  """Draws uniform(-1, 1) noise per pixel and axis, blurred, times alpha (Simard 2003, Section 2).

  The noise reaches past the image by the radius of the blur, so that the strength is the same at
  the border as inside: alpha / (2 sqrt(3 pi) sigma) pixels RMS per axis.

  Args:
    key: PRNG key.
    shape: (h, w).
    alpha: amplitude in pixels, before the blur averages most of it away; may be 0.
    sigma: standard deviation of the Gaussian in pixels, above 0.
  Returns:
    float32 [h, w, 2], (y, x) in pixels.
  """
  height, width = check.require_size("shape", shape)
  check.require_positive("sigma", sigma)
  rows, columns = _blur_rows(height, sigma), _blur_rows(width, sigma)
  noise = jax.random.uniform(
    key, (rows.shape[1], columns.shape[1], 2), jnp.float32, minval=-1.0, maxval=1.0
  )
  return alpha * apply_weights(apply_weights(noise, rows, 0), columns, 1)


def warp_bilinear(image: jax.Array, displacement: jax.Array) -> jax.Array:
  """Warps: out(p) = image(p + displacement(p)), bilinear; clamped to the border beyond it.

  Args:
    image: [H, W, C], any range.
    displacement: float [H, W, 2], (y, x) in pixels.
  Returns:
    float32 [H, W, C], within the range of `image`.
  Raises:
    ValueError: another rank, or sizes that differ.
  """
  check.require_rank("image", image, 3)
  check.require_rank("displacement", displacement, 3)
  check.require_channels("displacement", displacement, 2)
  check.require_same_shape("image", image[..., 0], "displacement", displacement[..., 0])
  image, displacement = check.to_float(image), check.to_float(displacement)
  height, width, channels = image.shape

  def corners(position: jax.Array, size: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    position = jnp.clip(position, 0, size - 1)
    low = jax.lax.stop_gradient(jnp.floor(position))
    index = low.astype(jnp.int32)
    return index, jnp.minimum(index + 1, size - 1), (position - low)[..., None]

  y = jnp.arange(height, dtype=displacement.dtype)[:, None] + displacement[..., 0]
  x = jnp.arange(width, dtype=displacement.dtype)[None, :] + displacement[..., 1]
  (top, bottom, fy), (left, right, fx) = corners(y, height), corners(x, width)
  flat = image.reshape(height * width, channels)

  def at(row: jax.Array, column: jax.Array) -> jax.Array:
    # Where to look is data here, unlike in a resize, so this is a gather; indices are in range.
    return flat.at[row * width + column].get(mode="promise_in_bounds")

  upper = at(top, left) * (1 - fx) + at(top, right) * fx
  lower = at(bottom, left) * (1 - fx) + at(bottom, right) * fx
  return upper * (1 - fy) + lower * fy


def elastic_distortion(
  key: jax.Array, image: jax.Array, alpha: float, sigma: float
) -> jax.Array:
  """Warps image [H, W, C] by `elastic_displacement`; float32, in the range of `image`.

  SCSNet, Section 4.1: references in training are the image itself, so distorted. For a batch, vmap
  over keys and images.
  """
  check.require_rank("image", image, 3)
  return warp_bilinear(image, elastic_displacement(key, image.shape[:2], alpha, sigma))


def default_elastic(size: int) -> tuple[float, float]:
  """Returns (alpha, sigma) for images of `size` pixels: 256 and 10.24 at 128, alike elsewhere.

  SCSNet does not state them; this is about 4 pixels RMS at 128. Lengths scale with the size: sigma
  linearly, alpha by its square, since the blur divides the noise by sigma.
  """
  check.require_positive("size", size)
  relative = size / 128
  return 256.0 * relative * relative, 10.24 * relative
