"""Parts that SCSNet's ablations put in the place of its own (Tables 4 and 5, Section 4.3)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.methods.scsnet.cpm import PixelAxis, pixel_axis, pixel_axis_window
from scs_jax.methods.scsnet.meta_sr import MetaAxis, meta_axis
from scs_jax.nn.blocks import Conv
from scs_jax.ops import sample

Array = jax.Array

UPSAMPLERS = ("cpm", "pixel_shuffle", "meta_sr")
AGGREGATIONS = ("attention", "concat")


class Concatenation(nn.Module):
  """Table 5's "Baseline": no attention; what lies at the same place of both pictures meets.

  The reference's features are brought to the source's size (bilinear, pixel centres), concatenated
  with the source's, and convolved, 3 x 3. The paper does not describe it: see fidelity.md.
  """

  features: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, source: Array, reference: Array) -> Array:
    """Joins source [N, H, W, C] and reference [N, h, w, C] into [N, H, W, features]."""
    there = sample.resize_bilinear(reference, source.shape[1:3], align_corners=False)
    both = jnp.concatenate([source, there.astype(source.dtype)], axis=-1)
    return Conv(self.features, dtype=self.dtype, name="join")(both)


class PixelShuffle(nn.Module):
  """Sub-pixel convolution (Shi et al. 2016), twice for x4 as in EDSR; then 3 x 3 to Lab.

  The upsampler of Table 5's rows without CPM, which the paper does not name.

  Attributes:
    features: channels between the steps.
    factor: whole magnification.
    out_features: 3, Lab.
  """

  features: int
  factor: int
  out_features: int = 3
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """Upsamples [N, H, W, C] to float32 [N, factor H, factor W, out_features]."""
    for i, step in enumerate(steps_of(self.factor)):
      x = Conv(self.features * step * step, dtype=self.dtype, name=f"up_{i}")(x)
      x = nn.relu(shuffle(x, step))
    last = nn.Conv(
      self.out_features,
      (3, 3),
      padding=((1, 1), (1, 1)),
      # Near gray, as CPM starts.
      kernel_init=nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal"),
      dtype=self.dtype,
      name="last",
    )
    return last(x).astype(jnp.float32)


def steps_of(factor: int) -> list[int]:
  """Splits `factor` into whole factors of 2 or more, in falling order: 4 -> [2, 2]."""
  found = []
  while factor > 1:
    step = next(s for s in range(2, factor + 1) if factor % s == 0)
    found.append(step)
    factor //= step
  return found[::-1]


def shuffle(x: Array, step: int) -> Array:
  """Makes channels pixels: [N, H, W, step step C] -> [N, step H, step W, C]."""
  n, h, w, c = x.shape
  x = x.reshape(n, h, w, step, step, c // (step * step))
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * step, w * step, -1)


def axis(
  upsampler: str, in_size: int, out_size: int, convention: str = "paper"
) -> PixelAxis | MetaAxis:
  """Tells where output pixels lie, as the upsampler counts; `convention` is CPM's."""
  if upsampler == "meta_sr":
    return meta_axis(in_size, out_size)
  return pixel_axis(in_size, out_size, convention if upsampler == "cpm" else "centers")


def axis_window(upsampler: str, in_size: int, full_size, start, length: int):
  """Interpolates `axis` of a part of a virtual output, as cpm.pixel_axis_window."""
  window = meta_axis if upsampler == "meta_sr" else pixel_axis_window
  return window(in_size, full_size, start, length)
