"""Structural similarity (Wang et al. 2004), as a metric and as a differentiable loss."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.ops import check
from scs_jax.ops.resize import apply_weights

Window = Literal["gaussian", "uniform"]


def _taps(window: Window, size: int | None, sigma: float) -> np.ndarray:
  if window == "gaussian":
    check.require_positive("sigma", sigma)
    size = 2 * int(3.5 * sigma + 0.5) + 1 if size is None else size
    taps = np.exp(-0.5 * ((np.arange(size) - size // 2) / sigma) ** 2)
  elif window == "uniform":
    size = 7 if size is None else size
    taps = np.ones(max(size, 0))
  else:
    raise ValueError(f"window: expected 'gaussian' or 'uniform', got {window!r}")
  if size < 3 or size % 2 == 0:
    raise ValueError(f"window_size: expected an odd number from 3, got {size}")
  return taps / taps.sum()


def _filter(x: jax.Array, taps: np.ndarray) -> jax.Array:
  """Filters separably over axes -3 and -2, where the window lies inside."""
  # Banded products: sums of shifted slices take ten times as long in the gradient on a CPU.
  for axis in (-3, -2):
    size = x.shape[axis] - len(taps) + 1
    rows = np.zeros((size, x.shape[axis]))
    for shift, tap in enumerate(taps):
      rows[np.arange(size), np.arange(size) + shift] = tap
    x = apply_weights(x, rows, axis)
  return x


def ssim_map(
  a: jax.Array,
  b: jax.Array,
  data_range: float = 1.0,
  window: Window = "gaussian",
  window_size: int | None = None,
  sigma: float = 1.5,
  sample_covariance: bool | None = None,
  k1: float = 0.01,
  k2: float = 0.03,
) -> jax.Array:
  """Computes Wang 2004, Eq. 13, at each position where the window lies inside the image.

  SSIM = (2 ma mb + C1) (2 cab + C2) / ((ma^2 + mb^2 + C1) (va + vb + C2)), Ci = (ki data_range)^2.

  Args:
    a, b: [..., H, W, C] of one shape, in the same units as `data_range`.
    data_range: the distance between the largest and the smallest possible value.
    window: "gaussian" (Wang 2004: 11 pixels, sigma 1.5) or "uniform" (scikit-image's default: 7).
    window_size: an odd number of pixels; by default 7, for the Gaussian 2 int(3.5 sigma + 1/2) + 1.
    sigma: of the Gaussian, in pixels.
    sample_covariance: divide by n - 1 instead of n; by default no for the Gaussian (Wang 2004) and
      yes for the uniform window (scikit-image's default).
    k1, k2: the constants of Ci.
  Returns:
    float32 [..., H - size + 1, W - size + 1, C], in [-1, 1].
  Raises:
    ValueError: shapes that differ, an image smaller than the window, an unknown or even window.
  """
  check.require_same_shape("a", a, "b", b)
  check.require_positive("data_range", data_range)
  a, b = check.to_float(a), check.to_float(b)
  taps = _taps(window, window_size, sigma)
  if a.ndim < 3 or min(a.shape[-3:-1]) < len(taps):
    raise ValueError(
      f"a: expected [..., H, W, C], {len(taps)} pixels a side or more, got shape {a.shape}; "
      "use a smaller window_size"
    )
  if sample_covariance is None:
    sample_covariance = window == "uniform"
  count = len(taps) ** 2
  unbiased = count / (count - 1) if sample_covariance else 1.0

  # Variances do not change when a constant is taken off; E x^2 - (E x)^2 loses fewer digits then.
  centre_a, centre_b = (
    jax.lax.stop_gradient(jnp.mean(x, axis=(-3, -2), keepdims=True)) for x in (a, b)
  )
  a, b = a - centre_a, b - centre_b
  moments = _filter(jnp.concatenate([a, b, a * a + b * b, a * b], axis=-1), taps)
  mean_a, mean_b, square, cross = jnp.split(moments, 4, axis=-1)
  variances = unbiased * (square - mean_a * mean_a - mean_b * mean_b)
  covariance = unbiased * (cross - mean_a * mean_b)
  mean_a, mean_b = mean_a + centre_a, mean_b + centre_b
  c1, c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2
  luminance = (2 * mean_a * mean_b + c1) / (mean_a * mean_a + mean_b * mean_b + c1)
  return luminance * (2 * covariance + c2) / (variances + c2)


def ssim(
  a: jax.Array,
  b: jax.Array,
  data_range: float = 1.0,
  window: Window = "gaussian",
  window_size: int | None = None,
  sigma: float = 1.5,
  sample_covariance: bool | None = None,
  k1: float = 0.01,
  k2: float = 0.03,
) -> jax.Array:
  """Computes the mean of `ssim_map` over positions and channels: one number per image.

  Equal to scikit-image's structural_similarity: "gaussian" to gaussian_weights=True, sigma=1.5,
  use_sample_covariance=False; "uniform" to its defaults. As a loss take 1 - ssim: its gradient is
  finite everywhere, at a == b and on constant images too.

  Returns:
    float32 [...]: [N] for [N, H, W, C], a scalar for [H, W, C].
  """
  values = ssim_map(a, b, data_range, window, window_size, sigma, sample_covariance, k1, k2)
  return jnp.mean(values, axis=(-3, -2, -1))
