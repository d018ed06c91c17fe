"""Colourfulness of one picture, without a reference: Hasler & Suesstrunk 2003, two variants.

Neither is "CN" of SCSNet's Table 1: that is a network of Zerman et al. 2019, whose weights are not
public.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from scs_jax.ops import check


def _opponents(rgb: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Computes (rg, yb) = (R - G, (R + G) / 2 - B) on the scale 0 .. 255, each [..., H, W]."""
  check.require_channels("rgb", rgb, 3)
  rgb = check.to_float(rgb)
  if rgb.ndim < 3:
    raise ValueError(f"rgb: expected [N, H, W, 3] or [H, W, 3], got shape {rgb.shape}")
  red, green, blue = (rgb[..., i] for i in range(3))
  # Scaled last: a product fused into the difference would leave a rounding error of gray pixels.
  return 255.0 * (red - green), 255.0 * (0.5 * (red + green) - blue)


def _colorfulness(rg: jax.Array, yb: jax.Array) -> jax.Array:
  axes = (-2, -1)
  deviation = jnp.sqrt(jnp.var(rg, axis=axes) + jnp.var(yb, axis=axes))
  mean = jnp.hypot(jnp.mean(rg, axis=axes), jnp.mean(yb, axis=axes))
  return deviation + 0.3 * mean


def colorfulness_hs(rgb: jax.Array) -> jax.Array:
  """Computes Hasler & Suesstrunk 2003, M^(3): sigma_rgyb + 0.3 mu_rgyb of the opponents rg and yb.

  rg = R - G and yb = (R + G) / 2 - B over 0 .. 255; sigma^2 = var(rg) + var(yb) over the pixels
  (divided by their number), mu^2 = mean(rg)^2 + mean(yb)^2. In the authors' words 0 is not
  colourful, 15 slightly, 33 moderately, 45 averagely, 59 quite, 82 highly and 109 extremely.

  Args:
    rgb: sRGB [..., H, W, 3] in [0, 1].

  Returns:
    float32 [...], one number a picture: exactly 0 where R = G = B everywhere. Made for measuring;
    its gradient is not finite there.
  """
  return _colorfulness(*_opponents(rgb))


def colorfulness_hs_abs(rgb: jax.Array) -> jax.Array:
  """Computes `colorfulness_hs` of |rg| and |yb|, which DDColor's code (Kang et al. 2023) calls CF.

  Opposite colours do not cancel in the means, nor add to the deviations. For a picture whose
  opponents keep their signs both are the same.
  """
  rg, yb = _opponents(rgb)
  return _colorfulness(jnp.abs(rg), jnp.abs(yb))


# Of a picture alone.
COLORFULNESS: Mapping[str, Callable[[jax.Array], jax.Array]] = {
  "colorfulness_hs": colorfulness_hs,
  "colorfulness_hs_abs": colorfulness_hs_abs,
}
