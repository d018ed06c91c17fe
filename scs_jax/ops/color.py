"""Colour spaces: sRGB (IEC 61966-2-1), CIE Lab 1976 under D65, YCbCr (BT.601, full range).

Every function is element-wise over leading axes, computes in float32 and has finite gradients
everywhere, black and white and colours outside the gamut included. Ranges, unless a function says
otherwise: rgb, gray and ycbcr in [0, 1]; L in [0, 100]; a and b about [-110, 110].
"""

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.ops import check

L_MAX = 100.0
AB_MAX = 110.0

# The sRGB primaries and the D65 white of the 2-degree observer, both rounded as scikit-image has
# them. So a neutral gray has |a|, |b| below 0.01 rather than exactly zero, there as well as here.
XYZ_FROM_RGB = np.array(
  [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
_WHITE_XYZ_FROM_RGB = XYZ_FROM_RGB / WHITE[:, None]
_RGB_FROM_WHITE_XYZ = np.linalg.inv(_WHITE_XYZ_FROM_RGB)

# ITU-R BT.601: luma weights of red and blue; full range as in JPEG (JFIF).
_KR, _KB = 0.299, 0.114
_YCC_FROM_RGB = np.array(
  [
    [_KR, 1 - _KR - _KB, _KB],
    [-0.5 * _KR / (1 - _KB), -0.5 * (1 - _KR - _KB) / (1 - _KB), 0.5],
    [0.5, -0.5 * (1 - _KR - _KB) / (1 - _KR), -0.5 * _KB / (1 - _KR)],
  ]
)
_RGB_FROM_YCC = np.linalg.inv(_YCC_FROM_RGB)
_YCC_OFFSET = np.array([0.0, 0.5, 0.5])

_DELTA = 6 / 29  # CIE 15: below DELTA^3 the cube root is replaced by its tangent
_BISECTIONS = 14  # chroma to 2^-14 of its length: below 0.01 Lab units
_OVER_WHITE = 1e-4  # linear; the rounded white above makes neutral white overshoot by 6e-5
_UNDER_BLACK = 1e-6  # linear


def _mix(x: jax.Array, matrix: np.ndarray) -> jax.Array:
  """Returns matrix @ x over the last axis."""
  # HIGHEST: by default a TPU multiplies in bfloat16, which is off by a grey level and more.
  return jnp.einsum(
    "...i,oi->...o", x, matrix.astype(x.dtype), precision=jax.lax.Precision.HIGHEST
  )


def srgb_to_linear(rgb: jax.Array) -> jax.Array:
  """Undoes the sRGB transfer curve; odd, so that it goes on below 0 and above 1."""
  rgb = check.to_float(rgb)
  size = jnp.abs(rgb)
  # Each branch is kept inside its own domain: the unused one must not send NaN backwards.
  curve = ((jnp.maximum(size, 0.04045) + 0.055) / 1.055) ** 2.4
  return jnp.where(size <= 0.04045, rgb / 12.92, jnp.sign(rgb) * curve)


def linear_to_srgb(linear: jax.Array) -> jax.Array:
  """Applies the sRGB transfer curve; odd, so that it goes on below 0 and above 1."""
  linear = check.to_float(linear)
  size = jnp.abs(linear)
  curve = 1.055 * jnp.maximum(size, 0.0031308) ** (1 / 2.4) - 0.055
  return jnp.where(size <= 0.0031308, linear * 12.92, jnp.sign(linear) * curve)


def _f(t: jax.Array) -> jax.Array:
  """Computes CIE Lab's f, a cube root, its tangent below DELTA^3, minus 4/29: f(0) is exactly 0."""
  root = jnp.cbrt(jnp.maximum(t, _DELTA**3)) - 4 / 29
  return jnp.where(t > _DELTA**3, root, t / (3 * _DELTA**2))


def _f_inverse(f: jax.Array) -> jax.Array:
  return jnp.where(f > _DELTA - 4 / 29, (f + 4 / 29) ** 3, f * (3 * _DELTA**2))


def rgb_to_lab(rgb: jax.Array) -> jax.Array:
  """Converts by CIE 15:2004, 8.2.1: L = 116 fy - 16, a = 500 (fx - fy), b = 200 (fy - fz) ...

  Args:
    rgb: float [..., 3], sRGB in [0, 1].
  Returns:
    float32 [..., 3], L in [0, 100], a and b in [-108, 99]. Within 1e-3 of scikit-image.
  Raises:
    ValueError: the last axis is not 3.
  """
  check.require_channels("rgb", rgb, 3)
  f = _f(_mix(srgb_to_linear(rgb), _WHITE_XYZ_FROM_RGB))
  x, y, z = f[..., 0], f[..., 1], f[..., 2]
  return jnp.stack([116 * y, 500 * (x - y), 200 * (y - z)], axis=-1)


def _lab_to_linear(lab: jax.Array) -> jax.Array:
  y = lab[..., 0] / 116
  f = jnp.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
  return _mix(_f_inverse(f), _RGB_FROM_WHITE_XYZ)


def lab_to_rgb(lab: jax.Array) -> jax.Array:
  """Inverts `rgb_to_lab`, not clipped: `clip_gamut` or `compress_chroma` deal with the rest.

  The transfer curve is continued as an odd function, so that colours outside the gamut keep a
  gradient and `rgb_to_lab(lab_to_rgb(lab))` is `lab` everywhere.

  Args:
    lab: float [..., 3], L in [0, 100].
  Returns:
    float32 [..., 3], in [0, 1] for colours inside the sRGB gamut.
  Raises:
    ValueError: the last axis is not 3.
  """
  check.require_channels("lab", lab, 3)
  return linear_to_srgb(_lab_to_linear(check.to_float(lab)))


def _clip(x: jax.Array, high: float) -> jax.Array:
  # Not jnp.clip: at exactly 0 and `high` it halves the gradient, and black and white are inside.
  return jnp.where(x < 0, 0.0, jnp.where(x > high, high, x)).astype(x.dtype)


def clip_gamut(rgb: jax.Array) -> jax.Array:
  """Clips each channel to [0, 1]: keeps colours inside the gamut, shifts the hue of others.

  The gradient is zero where a channel was clipped: clip for display, not inside a loss.
  """
  return _clip(check.to_float(rgb), 1.0)


def compress_chroma(lab: jax.Array) -> jax.Array:
  """Brings colours into the sRGB gamut: same L, same hue angle, the largest chroma that fits.

  Bisection along the ray from neutral gray. Colours inside the gamut come back unchanged. In the
  gradient the factor on (a, b) counts as a constant.

  Args:
    lab: float [..., 3]; L is clipped to [0, 100], a and b are free.
  Returns:
    float32 [..., 3]; `lab_to_rgb` of it leaves [0, 1] by at most 1e-4.
  Raises:
    ValueError: the last axis is not 3.
  """
  check.require_channels("lab", lab, 3)
  lab = check.to_float(lab)
  lightness_, ab = _clip(lab[..., :1], L_MAX), lab[..., 1:]

  def fits(factor: jax.Array) -> jax.Array:
    linear = _lab_to_linear(jnp.concatenate([lightness_, factor * ab], axis=-1))
    inside = (linear >= -_UNDER_BLACK) & (linear <= 1 + _OVER_WHITE)
    return jnp.all(inside, axis=-1, keepdims=True)

  def halve(_, bounds):
    low, high = bounds
    middle = 0.5 * (low + high)
    inside = fits(middle)
    return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

  one = jnp.ones_like(lightness_)
  low, _ = jax.lax.fori_loop(0, _BISECTIONS, halve, jax.lax.stop_gradient((0 * one, one)))
  factor = jax.lax.stop_gradient(jnp.where(fits(one), one, low))
  return jnp.concatenate([lightness_, factor * ab], axis=-1)


def lightness(rgb: jax.Array) -> jax.Array:
  """Computes CIE lightness of sRGB [..., 3] in [0, 1]: the L of `rgb_to_lab`, float32 [..., 1]."""
  check.require_channels("rgb", rgb, 3)
  return 116 * _f(_mix(srgb_to_linear(rgb), _WHITE_XYZ_FROM_RGB[1:2]))


def gray_to_lightness(gray: jax.Array) -> jax.Array:
  """Computes CIE lightness in [0, 100] of neutral sRGB gray levels [..., 1] in [0, 1]."""
  check.require_channels("gray", gray, 1)
  return 116 * _f(srgb_to_linear(gray))


def lightness_to_gray(lightness: jax.Array) -> jax.Array:
  """Returns the neutral sRGB gray in [0, 1] whose CIE lightness [..., 1], in [0, 100], is given."""
  check.require_channels("lightness", lightness, 1)
  return linear_to_srgb(_f_inverse(check.to_float(lightness) / 116))


def normalize_lab(lab: jax.Array) -> jax.Array:
  """Scales to (L / 50 - 1, a / 110, b / 110), float32 [..., 3], about [-1, 1], for networks."""
  check.require_channels("lab", lab, 3)
  lab = check.to_float(lab)
  scale = jnp.asarray([2 / L_MAX, 1 / AB_MAX, 1 / AB_MAX], lab.dtype)
  return lab * scale - jnp.asarray([1.0, 0.0, 0.0], lab.dtype)


def denormalize_lab(normalized: jax.Array) -> jax.Array:
  """Inverts `normalize_lab`: [..., 3] about [-1, 1] to Lab units."""
  check.require_channels("normalized", normalized, 3)
  normalized = check.to_float(normalized)
  scale = jnp.asarray([L_MAX / 2, AB_MAX, AB_MAX], normalized.dtype)
  return (normalized + jnp.asarray([1.0, 0.0, 0.0], normalized.dtype)) * scale


def rgb_to_ycbcr(rgb: jax.Array) -> jax.Array:
  """Converts by BT.601, full range (as in JPEG): [..., 3] in [0, 1]; Cb, Cr are centred at 0.5."""
  check.require_channels("rgb", rgb, 3)
  rgb = check.to_float(rgb)
  return _mix(rgb, _YCC_FROM_RGB) + _YCC_OFFSET.astype(rgb.dtype)


def ycbcr_to_rgb(ycbcr: jax.Array) -> jax.Array:
  """Inverts `rgb_to_ycbcr`, not clipped: see `clip_gamut`."""
  check.require_channels("ycbcr", ycbcr, 3)
  ycbcr = check.to_float(ycbcr)
  return _mix(ycbcr - _YCC_OFFSET.astype(ycbcr.dtype), _RGB_FROM_YCC)
