"""Cycle CNN's objective: structure, cycle consistency, smoothness (Eq. 9, 10, 12).

SSIM has Wang 2004's Gaussian window (11 pixels, sigma 1.5), as TensorFlow's does, with pictures and
range in units of 1. The paper names no window. L_smooth (Eq. 11) is WAC's own to compute, from its
weight volume. Everything is per example; the mean over the batch is taken in `total`.
"""

import jax
import jax.numpy as jnp

from scs_jax.core.contract import Logs
from scs_jax.ops import check
from scs_jax.ops.ssim import ssim

Array = jax.Array

LEAST_SIDE = 11  # of a picture that the window fits into


def structure(adjusted: Array, gray: Array) -> Array:
  """Computes Eq. 9: 1 - SSIM(T(I_C^Y), I_G), float32 [N] from [N, H, W, 1] in [0, 1] twice."""
  check.require_channels("adjusted", adjusted, 1)
  return 1.0 - ssim(adjusted, gray)


def chroma(found: Array, true: Array) -> Array:
  """Computes Eq. 10: 1 - (SSIM of Cb + SSIM of Cr) / 2, float32 [N] of two [N, H, W, 2].

  L_cycle for the second-time colorization against the reference; and, of the refined chroma, the
  refinement network's own objective (Section III-H).
  """
  check.require_channels("found", found, 2)
  return 1.0 - ssim(found, true)


def total(terms: dict[str, Array], loss) -> tuple[Array, Logs]:
  """Computes Eq. 12: sum of lambda L over the terms, a mean over this device's examples.

  Args:
    terms: "structure", "cycle" or "smooth" -> [N]; a term whose weight is 0 may be left out.
    loss: config section with a weight by each term's name.

  Returns:
    (scalar, logs of the unweighted terms and of the sum).
  """
  means = {name: jnp.mean(value) for name, value in terms.items()}
  value = sum((loss[name] * mean for name, mean in means.items()), jnp.zeros(()))
  return value, {**{f"loss/{name}": mean for name, mean in means.items()}, "loss/total": value}
