"""PSNR and SSIM in their named variants: one number per image, never reduced over the batch.

Papers rarely say over which channels they measure, so each name here says it. All take two batches
of one shape, compute in float32 and return float32 [N] (a scalar for [H, W, C]). Nothing is
clipped or rounded here: hand in what a user would be shown.
"""

import jax
import jax.numpy as jnp

from scs_jax.ops import check, color
from scs_jax.ops.ssim import ssim

AB_RANGE = 2 * color.AB_MAX


def psnr(a: jax.Array, b: jax.Array, data_range: float = 1.0) -> jax.Array:
  """Computes 10 log10(data_range^2 / MSE) in dB, MSE over the last three axes; inf if MSE is 0.

  Args:
    a, b: [..., H, W, C] of one shape.
    data_range: the distance between the largest and the smallest possible value.
  Raises:
    ValueError: shapes that differ, or fewer than three axes.
  """
  check.require_same_shape("a", a, "b", b)
  check.require_positive("data_range", data_range)
  a, b = check.to_float(a), check.to_float(b)
  if a.ndim < 3:
    raise ValueError(f"a: expected [N, H, W, C] or [H, W, C], got shape {a.shape}")
  mse = jnp.mean(jnp.square((a - b) / data_range), axis=(-3, -2, -1))
  # The logarithm never sees 0, so that the gradient is finite there (and zero).
  safe = jnp.where(mse > 0, mse, 1.0)
  return jnp.where(mse > 0, -10 * jnp.log10(safe), jnp.inf)


def psnr_rgb(a: jax.Array, b: jax.Array) -> jax.Array:
  """Computes PSNR over the three channels of sRGB [..., H, W, 3] in [0, 1]."""
  check.require_channels("a", a, 3)
  return psnr(a, b, 1.0)


def psnr_ab(a: jax.Array, b: jax.Array) -> jax.Array:
  """Computes PSNR of colour alone: over a and b of the Lab of sRGB [..., H, W, 3] in [0, 1].

  The data range is 220, that of [-110, 110]; no paper at hand states one. Compare it only with
  figures made here.
  """
  check.require_channels("a", a, 3)
  check.require_same_shape("a", a, "b", b)
  return psnr(color.rgb_to_lab(a)[..., 1:], color.rgb_to_lab(b)[..., 1:], AB_RANGE)


def psnr_lightness(a: jax.Array, b: jax.Array) -> jax.Array:
  """Computes PSNR over the CIE lightness of sRGB [..., H, W, 3]; the data range is 100."""
  check.require_same_shape("a", a, "b", b)
  return psnr(color.lightness(a), color.lightness(b), color.L_MAX)


def with_true_lightness(a: jax.Array, truth: jax.Array) -> jax.Array:
  """Puts the truth's L over a's ab, clipped to sRGB [..., H, W, 3] in [0, 1].

  Reports that merge a network's ab with the L of the true picture show this picture (Bicer and
  Kaynak, Section V); no use of a method has that L. The ab are those of a finished picture, so that
  it is one value for every method, and for pictures that other software made.
  """
  check.require_same_shape("a", a, "truth", truth)
  lightness, ab = color.lightness(truth), color.rgb_to_lab(a)[..., 1:]
  return color.clip_gamut(color.lab_to_rgb(jnp.concatenate([lightness, ab], axis=-1)))


def psnr_rgb_true_lightness(a: jax.Array, truth: jax.Array) -> jax.Array:
  """Computes PSNR of sRGB [..., H, W, 3] with the truth's L: what remains is colour's error."""
  return psnr(with_true_lightness(a, truth), truth, 1.0)


def with_true_luma(a: jax.Array, truth: jax.Array) -> jax.Array:
  """Puts the truth's Y (BT.601) over a's Cb and Cr, clipped to sRGB [..., H, W, 3] in [0, 1]."""
  check.require_same_shape("a", a, "truth", truth)
  luma, chroma = color.rgb_to_ycbcr(truth)[..., :1], color.rgb_to_ycbcr(a)[..., 1:]
  return color.clip_gamut(color.ycbcr_to_rgb(jnp.concatenate([luma, chroma], axis=-1)))


def psnr_rgb_true_luma(a: jax.Array, truth: jax.Array) -> jax.Array:
  """Computes PSNR of sRGB [..., H, W, 3] after a's Y (BT.601) was replaced by the truth's.

  What remains is the error of Cb and Cr, in RGB: two cameras that see another brightness differ in
  Y whatever a method does.
  """
  return psnr(with_true_luma(a, truth), truth, 1.0)


def psnr_cbcr(a: jax.Array, b: jax.Array) -> jax.Array:
  """Computes PSNR over Cb and Cr (BT.601, full range) of sRGB [..., H, W, 3]; data range 1."""
  check.require_channels("a", a, 3)
  check.require_same_shape("a", a, "b", b)
  return psnr(color.rgb_to_ycbcr(a)[..., 1:], color.rgb_to_ycbcr(b)[..., 1:], 1.0)


def ssim_rgb_true_luma(a: jax.Array, truth: jax.Array) -> jax.Array:
  """Computes `ssim_rgb` after a's Y (BT.601) was replaced by the truth's."""
  return ssim(with_true_luma(a, truth), truth, 1.0)


def ssim_rgb(a: jax.Array, b: jax.Array) -> jax.Array:
  """Computes SSIM (Gaussian window) of sRGB [..., H, W, 3], the mean over the three channels."""
  check.require_channels("a", a, 3)
  return ssim(a, b, 1.0)


def ssim_lightness(a: jax.Array, b: jax.Array) -> jax.Array:
  """Computes SSIM (Gaussian window) of the CIE lightness of sRGB; the data range is 100."""
  check.require_same_shape("a", a, "b", b)
  return ssim(color.lightness(a), color.lightness(b), color.L_MAX)
