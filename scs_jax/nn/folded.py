"""Maps of few channels on a TPU: neighbouring columns share its 128 lanes.

A TPU pads the last axis to 128 lanes, so that maps of 64 channels take twice their size of its
memory and a quarter of its matrix unit, and maps of 16 eight times and a 64th. Here [N, H, W, C] is
[N, H, W / F, F C], and a kernel becomes one over groups of F columns, with zeros where a column
sees none of another. The sums are the same. (Cycle CNN's volumes are folded along disparities.)
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.ops.platform import target

Array = jax.Array

LANES = 128  # of a TPU's vector registers; the last axis is padded to multiples of it


def fold_for(channels: int, length: int, platform: str | None = None) -> int:
  """Tells how many neighbours along an axis share the last one on `platform`.

  1 on CPUs and GPUs. On TPUs the largest power of two that divides `length` and fills at most 128
  lanes; powers of two, so that groups of one size fall on groups of another.

  Args:
    channels: of one position.
    length: of the axis.
    platform: "cpu", "gpu" or "tpu"; None: what is compiled for.
  """
  platform = target() if platform is None else platform
  if platform != "tpu":
    return 1
  fold = 1
  while 2 * fold * channels <= LANES and length % (2 * fold) == 0:
    fold *= 2
  return fold


class FoldedConv(nn.Module):
  """A convolution of stride 1 with zeros beyond the border, parameters as nn.Conv's.

  Attributes:
    features: C, channels of the result.
    fold: F of the result.
    fold_in: F of the input, which divides `fold`.
    size: side of the kernel, odd.
    use_bias, kernel_init: as nn.Conv's.
    dtype: of the result.
  """

  features: int
  fold: int
  fold_in: int = 1
  size: int = 3
  use_bias: bool = True
  kernel_init: Any = nn.initializers.lecun_normal()
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, x: Array) -> Array:
    """[N, H, W / fold_in, fold_in Cin] -> [N, H, W / F, F C]."""
    channels, reach = x.shape[-1] // self.fold_in, self.size // 2
    shape = (self.size, self.size, channels, self.features)
    kernel = self.param("kernel", self.kernel_init, shape)
    # The window of a group of the result: the group itself, and whole groups of the input beside
    # it. Each of its columns sees `size` of the window's.
    beside = -(-reach // self.fold_in)
    window = self.fold + 2 * beside * self.fold_in
    first = beside * self.fold_in - reach
    spread = [
      jnp.pad(kernel, ((0, 0), (first + i, window - self.size - first - i), (0, 0), (0, 0)))
      for i in range(self.fold)
    ]
    wide = jnp.concatenate(spread, axis=-1).reshape(
      self.size, window // self.fold_in, self.fold_in * channels, self.fold * self.features
    )
    out = jax.lax.conv_general_dilated(
      x.astype(self.dtype),
      wide.astype(self.dtype),
      (1, self.fold // self.fold_in),
      ((reach, reach), (beside, beside)),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,))
      out = out + jnp.tile(bias, self.fold).astype(self.dtype)
    return out


class FoldedNorm(nn.Module):
  """Batch normalisation over everything but channels; variables as nn.BatchNorm's.

  Statistics are in float32, the variance about the mean (two passes), so that neither bfloat16
  nor a large mean costs digits. The backward pass keeps the input as it came, no float32 copy.
  `momentum` and `epsilon` are TensorFlow's defaults, which Cycle CNN's paper used and states none.

  Attributes:
    momentum: share of the old running statistics that each step keeps.
    epsilon: added to the variance.
    dtype: of the result; None: the input's.
    axis_name: of pmap; statistics are then over all devices.
  """

  momentum: float = 0.99
  epsilon: float = 1e-3
  dtype: Any = None
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: Array, fold: int, train: bool) -> Array:
    """Normalises [..., F C], `fold` being F."""
    c = x.shape[-1] // fold
    mean = self.variable("batch_stats", "mean", jnp.zeros, (c,), jnp.float32)
    var = self.variable("batch_stats", "var", jnp.ones, (c,), jnp.float32)
    scale = self.param("scale", nn.initializers.ones, (c,))
    bias = self.param("bias", nn.initializers.zeros, (c,))
    dtype = jnp.dtype(x.dtype if self.dtype is None else self.dtype)
    if not train:
      gain = scale * jax.lax.rsqrt(var.value + self.epsilon)
      shift = bias - mean.value * gain
      tile = lambda v: jnp.tile(v, fold)
      return (x.astype(jnp.float32) * tile(gain) + tile(shift)).astype(dtype)
    axis_name = None if self.is_initializing() else self.axis_name
    out, now_mean, now_var = _normalize(x, scale, bias, fold, self.epsilon, axis_name, dtype)
    if not self.is_initializing():
      keep = self.momentum
      mean.value = keep * mean.value + (1 - keep) * now_mean
      var.value = keep * var.value + (1 - keep) * now_var
    return out


def _channel_mean(x: Array, fold: int, axis_name: str | None) -> Array:
  """Computes the mean over all but channels, and over devices: float32 [C]."""
  lanes = x.mean(tuple(range(x.ndim - 1)), dtype=jnp.float32)
  mean = lanes.reshape(fold, -1).mean(0)
  return mean if axis_name is None else jax.lax.pmean(mean, axis_name)


def _statistics(x: Array, fold: int, axis_name: str | None) -> tuple[Array, Array]:
  mean = _channel_mean(x, fold, axis_name)
  centred = x.astype(jnp.float32) - jnp.tile(mean, fold)
  return mean, _channel_mean(jnp.square(centred), fold, axis_name)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5, 6))
def _normalize(x, scale, bias, fold, epsilon, axis_name, dtype):
  """scale (x - mean) / sqrt(var + epsilon) + bias, mean, var; no gradient through the last two."""
  return _normalize_forward(x, scale, bias, fold, epsilon, axis_name, dtype)[0]


def _normalize_forward(x, scale, bias, fold, epsilon, axis_name, dtype):
  mean, var = _statistics(x, fold, axis_name)
  inverse = jax.lax.rsqrt(var + epsilon)
  tile = lambda v: jnp.tile(v, fold)
  out = (x.astype(jnp.float32) - tile(mean)) * tile(scale * inverse) + tile(bias)
  return (out.astype(dtype), mean, var), (x, scale, mean, inverse)


def _normalize_backward(fold, epsilon, axis_name, dtype, kept, cotangents):
  del epsilon, dtype
  x, scale, mean, inverse = kept
  tile = lambda v: jnp.tile(v, fold)
  upper = cotangents[0].astype(jnp.float32)
  unit = (x.astype(jnp.float32) - tile(mean)) * tile(inverse)
  to_bias = _channel_mean(upper, fold, None)
  to_scale = _channel_mean(upper * unit, fold, None)
  everywhere = (to_bias, to_scale)
  if axis_name is not None:
    everywhere = jax.lax.pmean(everywhere, axis_name)
  centred = upper - tile(everywhere[0]) - unit * tile(everywhere[1])
  count = float(x.size // scale.size)  # of a pod: past what an int32 holds
  grad = (centred * tile(scale * inverse)).astype(x.dtype)
  return grad, to_scale * count, to_bias * count


_normalize.defvjp(_normalize_forward, _normalize_backward)


def unfold(x: Array, fold: int) -> Array:
  """Gives [N, H, W / F, F C] as [N, H, W, C]."""
  n, h, w, lanes = x.shape
  return x.reshape(n, h, fold * w, lanes // fold)


def max_pool(x: Array) -> Array:
  """Pools 2 x 2 positions of a map of F = 2: [N, H, W / 2, 2 C] -> [N, H / 2, W / 2, C].

  Where several are largest, the gradient is the first's, as in nn.max_pool.
  """
  left, right = jnp.split(x, 2, axis=-1)
  return nn.max_pool(jnp.where(left >= right, left, right), (2, 1), strides=(2, 1))
