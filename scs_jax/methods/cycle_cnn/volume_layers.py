"""Linen layers over `Volume`: the convolutions and the normalisation of the 3-D U-Net (Table I)."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.methods.cycle_cnn import volume as volumes
from scs_jax.methods.cycle_cnn.volume import Volume
from scs_jax.nn.blocks import HE

Array = jax.Array


class Conv3D(nn.Module):
  """3 x 3 x 3 convolution of a volume; its parameter "kernel" is [3, 3, 3, Cin, features].

  Attributes:
    features: channels of the result.
    stride: 1 or 2; ignored where `transposed`.
    transposed: to twice the size, see `volume.conv3d_transposed`.
    use_bias: a "bias" [features]; of no use where a normalisation follows.
    dtype: of the activations; parameters are float32.
    fold: of the result, see `volume.conv3d`; None: by `platform`.
    platform: "cpu", "gpu", "tpu" or None, the default backend's.
  """

  features: int
  stride: int = 1
  transposed: bool = False
  use_bias: bool = False
  dtype: Any = jnp.float32
  fold: int | None = None
  platform: str | None = None
  kernel_init: Any = HE

  @nn.compact
  def __call__(self, volume: Volume) -> Volume:
    shape = (3, 3, 3, volume.channels, self.features)
    kernel = self.param("kernel", self.kernel_init, shape).astype(self.dtype)
    x = volume.replace(data=volume.data.astype(self.dtype))
    if self.transposed:
      out = volumes.conv3d_transposed(x, kernel, self.fold, self.platform)
    else:
      out = volumes.conv3d(x, kernel, self.stride, self.fold, self.platform)
    if self.use_bias:
      bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
      out = out.replace(data=out.data + jnp.tile(bias, out.fold))
    return out


class VolumeNorm(nn.Module):
  """Batch normalisation over everything but channels; variables as nn.BatchNorm's.

  Statistics are in float32, the variance about the mean (two passes), so that neither bfloat16
  nor a large mean costs digits. The backward pass keeps the input as it came, no float32 copy.
  `momentum` and `epsilon` are TensorFlow's defaults: the paper used TensorFlow, and states none.

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
  def __call__(self, volume: Volume, train: bool) -> Volume:
    c = volume.channels
    mean = self.variable("batch_stats", "mean", jnp.zeros, (c,), jnp.float32)
    var = self.variable("batch_stats", "var", jnp.ones, (c,), jnp.float32)
    scale = self.param("scale", nn.initializers.ones, (c,))
    bias = self.param("bias", nn.initializers.zeros, (c,))
    dtype = jnp.dtype(volume.data.dtype if self.dtype is None else self.dtype)
    if not train:
      gain = scale * jax.lax.rsqrt(var.value + self.epsilon)
      shift = bias - mean.value * gain
      tile = lambda v: jnp.tile(v, volume.fold)
      out = volume.data.astype(jnp.float32) * tile(gain) + tile(shift)
      return volume.replace(data=out.astype(dtype))
    axis_name = None if self.is_initializing() else self.axis_name
    out, now_mean, now_var = _normalize(
      volume.data, scale, bias, volume.fold, self.epsilon, axis_name, dtype
    )
    if not self.is_initializing():
      keep = self.momentum
      mean.value = keep * mean.value + (1 - keep) * now_mean
      var.value = keep * var.value + (1 - keep) * now_var
    return volume.replace(data=out)


def _channel_mean(x: Array, fold: int, axis_name: str | None) -> Array:
  """Computes the mean over all but channels, and over devices: float32 [C]."""
  lanes = x.mean((0, 1, 2, 3), dtype=jnp.float32)
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
