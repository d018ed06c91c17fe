"""Smoothing along the edges of another picture: weighted least squares, one axis after the other.

Min et al., "Fast Global Image Smoothing Based on Weighted Least Squares" (2014), Section III: the
values u that minimise

  sum_p (u_p - v_p)^2 + strength sum_(p, q) w_pq (u_p - u_q)^2,  w_pq = exp(-|g_p - g_q| / spread)

over the neighbours p, q of a row have one tridiagonal system a row; rows, then columns, are solved
`PASSES` times with a strength that falls by 4, so that no streaks are left.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

Array = jax.Array

PASSES = 3
FLOOR = 1e-3
"""Of the weights: across the sharpest edge too a little comes through, so that a region that holds
no value of its own gets one."""


def smooth_along(values: Array, guide: Array, strength: float, spread: float) -> Array:
  """Removes from `values` what the guide has no edge for.

  Args:
    values: float32 [N, H, W, C].
    guide: float32 [N, H, W, 1].
    strength: 0 changes nothing; in flat parts values are averaged over about its root, in pixels.
    spread: difference of the guide at which two neighbours hold together less by a factor e.

  Returns:
    float32 [N, H, W, C], within the range of `values`; constant values stay what they are.
  """
  flip = lambda x: jnp.swapaxes(x, 1, 2)
  for i in range(PASSES):
    part = 1.5 * strength * 4.0 ** (PASSES - 1 - i) / (4.0**PASSES - 1)
    values = _smooth_rows(values, guide[..., 0], part, spread)
    values = flip(_smooth_rows(flip(values), flip(guide)[..., 0], part, spread))
  return values


def fill_along(values: Array, known: Array, guide: Array, strength: float, spread: float) -> Array:
  """Keeps `values` where they are known; elsewhere what is known around, spread along the guide.

  Args:
    values: float32 [N, H, W, C]; where it is not known, anything finite.
    known: bool [N, H, W, 1].
    guide, strength, spread: as of `smooth_along`.

  Returns:
    float32 [N, H, W, C]; 0 where nothing is known in a picture.
  """
  share = known.astype(jnp.float32)
  both = jnp.concatenate([values * share, share], axis=-1)
  both = smooth_along(both, guide, strength, spread)
  found = both[..., :-1] / jnp.maximum(both[..., -1:], jnp.finfo(jnp.float32).tiny)
  return jnp.where(known, values, found)


def reach(strength: float) -> int:
  """Rows beyond which a value counts for less than a thousandth, where the guide has no edge.

  A pass answers a single value by r^distance, r being the root of the tridiagonal system.
  """
  far = 0.0
  for i in range(PASSES):
    part = 1.5 * strength * 4.0 ** (PASSES - 1 - i) / (4.0**PASSES - 1)
    root = (1 + 2 * part - math.sqrt(1 + 4 * part)) / (2 * part) if part else 0.0
    far += math.log(1e-3) / math.log(root) if root else 0.0
  return math.ceil(far)


def _smooth_rows(values: Array, guide: Array, strength: float, spread: float) -> Array:
  weight = strength * jnp.maximum(jnp.exp(-jnp.abs(jnp.diff(guide, axis=2)) / spread), FLOOR)
  before, after = (jnp.pad(weight, ((0, 0), (0, 0), side)) for side in ((1, 0), (0, 1)))
  return lax.linalg.tridiagonal_solve(-before, 1.0 + before + after, -after, values)
