"""Drops colours of wrong matches, in use: those whose own Y does not look like I_G.

WAC carries Y over with Cb and Cr, and its structure loss asks that this Y look like I_G. Where it
does not, the match is wrong or there is none, as behind near things and at the right border; then
its Cb and Cr are worth nothing. They are replaced by those of the matches around, along the edges
of I_G. Ours: the paper leaves such pixels as they are.
"""

import jax
import jax.numpy as jnp

from scs_jax.ops import smooth

Array = jax.Array

# Chosen on the three pairs held out of the released training, at half size.
RADIUS = 32
"""Of the square window whose mean and spread of Y are made those of I_G, in pixels: the cameras'
levels differ. A power of two."""
FILL = 30.0, 0.015
"""Strength and spread of `smooth.fill_along`; the guide is I_G in [0, 1]."""
_LEAST_SPREAD = 1e-3  # of Y, below which a window is flat


def without_mismatches(ycbcr: Array, gray: Array, tolerance: float) -> Array:
  """Replaces Cb and Cr wherever Y, at the levels of I_G, is further from it than `tolerance`.

  Args:
    ycbcr: what WAC found, float32 [N, H, W, 3]; 0.5 in Cb and Cr is no colour.
    gray: I_G, float32 [N, H, W, 1] in [0, 1].
    tolerance: in units of I_G.

  Returns:
    Cb and Cr, float32 [N, H, W, 2]; no colour where nothing in the picture matches.
  """
  matched = jnp.abs(at_levels_of(gray, ycbcr[..., :1]) - gray) <= tolerance
  return smooth.fill_along(ycbcr[..., 1:] - 0.5, matched, gray, *FILL) + 0.5


def at_levels_of(gray: Array, luma: Array) -> Array:
  """Returns `luma` with the mean and the spread that `gray` has in the window around each pixel."""
  mean, spread = _moments(luma)
  wanted_mean, wanted_spread = _moments(gray)
  return (luma - mean) * (wanted_spread + _LEAST_SPREAD) / (spread + _LEAST_SPREAD) + wanted_mean


def reach() -> int:
  """Gives the rows above and below that a colour depends on through this."""
  return RADIUS + smooth.reach(FILL[0])


def _moments(x: Array) -> tuple[Array, Array]:
  """Computes mean and standard deviation over the part of each pixel's window in the picture."""
  mean = _window_mean(x)
  return mean, jnp.sqrt(jnp.maximum(_window_mean(x * x) - mean * mean, 0.0))


def _window_mean(x: Array) -> Array:
  sums = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
  for axis in (1, 2):
    sums = _window_sum(sums, axis)
  return sums[..., :-1] / sums[..., -1:]


def _window_sum(x: Array, axis: int) -> Array:
  """Sums over 2 RADIUS + 1 places of an axis, zeros being beyond it; by sums of sums."""
  pad = [(0, 0)] * x.ndim
  pad[axis] = (RADIUS, RADIUS)
  padded = jnp.pad(x, pad)
  cut = lambda y, start, stop: jax.lax.slice_in_dim(y, start, stop, axis=axis)
  sums, width = padded, 1
  while width < 2 * RADIUS:
    sums = cut(sums, 0, sums.shape[axis] - width) + cut(sums, width, sums.shape[axis])
    width *= 2
  size = x.shape[axis]
  return cut(sums, 0, size) + cut(padded, width, width + size)
