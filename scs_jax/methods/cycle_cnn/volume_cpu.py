"""The convolutions of `volume` for CPUs, on plain [N, D, H, W, C].

XLA's own 3-D convolution reaches 20 GFLOP/s on two cores where 2-D ones and matrix products reach
100 to 200; its kernel gradient 14, its transposed convolution 0.3. Here a loop over one or a few
planes of equal disparity does all of it with 2-D convolutions and matrix products whose operands
stay in the cache; the three depth taps share the input's channels or the output's.
benchmarks/cycle_cnn_convolution.py measures it beside PyTorch.

Sums are in float32 whatever the dtype. Gradients are first order, reverse mode.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from scs_jax.ops.convolve import convolve_by_eigen

Array = jax.Array

_WIDE = 4096  # columns of the planes that one convolution takes side by side, about

# Which tap [phase, window, tap] of a stride-2 transposed convolution reaches an even (phase 0) or
# an odd position 2 i + phase from input i (window 0) or i + 1 (window 1).
_PHASES = np.zeros((2, 2, 3), np.float32)
_PHASES[0, 0, 1] = _PHASES[1, 0, 2] = _PHASES[1, 1, 0] = 1


@jax.custom_vjp
def convolve(x: Array, kernel: Array) -> Array:
  """`volume.conv3d` with stride 1: [N, D, H, W, Cin], [3, 3, 3, Cin, Cout] -> [..., Cout]."""
  return _to_one_channel(x, kernel) if kernel.shape[-1] == 1 else _by_windows(x, kernel, 1)


@jax.custom_vjp
def convolve_by_two(x: Array, kernel: Array) -> Array:
  """Computes `volume.conv3d` with stride 2: sizes become ceil(size / 2)."""
  return _by_windows(x, kernel, 2)


def _by_windows(x: Array, kernel: Array, stride: int) -> Array:
  """Makes planes by one 2-D convolution of the channels of the three planes around each.

  Several planes stand side by side in it, zeros between them: YNNPACK shares out the columns of a
  picture over cores, and nothing else.
  """
  n, d, h, w, c_in = x.shape
  c = kernel.shape[-1]
  taps = kernel.astype(jnp.float32).transpose(1, 2, 0, 3, 4).reshape(3, 3, 3 * c_in, c)
  depth, rows, columns = (-(-size // stride) for size in (d, h, w))
  wide = stride * (w // stride + 1)
  steps = -(-depth // max(_WIDE // wide, 1))
  planes = -(-depth // steps)
  edges = ((0, 0), (1, stride * depth - d + 1), (0, 0), (0, wide - w), (0, 0))
  x = lax.optimization_barrier(jnp.pad(x, edges).swapaxes(1, 2))

  def step(j, out):
    i = jnp.minimum(j * planes, depth - planes)
    near = [
      lax.dynamic_slice_in_dim(x, stride * i + t, stride * (planes - 1) + 1, 2)[:, :, ::stride]
      for t in range(3)
    ]
    near = jnp.concatenate(near, -1).astype(jnp.float32)
    near = lax.optimization_barrier(near)  # else it is gathered again for each tap
    made = _convolve(near.reshape(n, h, planes * wide, 3 * c_in), taps, stride)
    made = made.reshape(n, rows, planes, wide // stride, c)[:, :, :, :columns].swapaxes(1, 2)
    return lax.dynamic_update_slice_in_dim(out, made.astype(out.dtype), i, 1)

  out = jnp.zeros((n, depth, rows, columns, c), x.dtype)
  return lax.fori_loop(0, steps, step, out)


@jax.custom_vjp
def convolve_transposed(x: Array, kernel: Array) -> Array:
  """Computes `volume.conv3d_transposed`: [N, D, H, W, Cin] -> [N, 2 D, 2 H, 2 W, Cout]."""
  n, d, h, w, c_in = x.shape
  c = kernel.shape[-1]
  # Both phases of a row beside each other are 2 C channels; one convolution for each phase of rows.
  rows = jnp.einsum("pay,qbx,tyxim->pabitqm", _PHASES, _PHASES, kernel.astype(jnp.float32))
  rows = rows.reshape(2, 2, 2, c_in, 3 * 2 * c)

  def planes(i):
    plane = _plane(x, i)
    z = [
      convolve_by_eigen(plane, rows[0, :1], ((0, 0), (0, 1))),
      convolve_by_eigen(plane, rows[1], ((0, 1), (0, 1))),
    ]
    each = [[z[p][..., 2 * c * t : 2 * c * (t + 1)] for p in (0, 1)] for t in range(3)]
    return [jnp.stack(phases, 2).reshape(n, 2 * h, 2 * w, c) for phases in each]

  def step(i, carry):
    out, begun = carry
    before, at, after = planes(i)
    out = _put(out, begun + before, jnp.maximum(2 * i - 1, 0))
    return _put(out, at, 2 * i), after

  shape = (n, 2 * d, 2 * h, 2 * w, c)
  start = jnp.zeros(shape, x.dtype), jnp.zeros((n, *shape[2:]), jnp.float32)
  out, last = lax.fori_loop(0, d, step, start)
  return _put(out, last, 2 * d - 1)


def _to_one_channel(x: Array, kernel: Array) -> Array:
  """Computes one output channel: 27 planes of products [27, N, H, W], summed where they meet."""
  h, w = x.shape[2:4]
  flat = kernel.astype(jnp.float32).reshape(27, -1)

  def parts(i):
    z = jnp.einsum("kc,nhwc->knhw", flat, _plane(x, i))
    z = jnp.pad(z.reshape(3, 3, 3, *z.shape[1:]), [(0, 0)] * 4 + [(1, 1)] * 2)
    met = [
      sum(z[t, a, b, :, a : a + h, b : b + w] for a in range(3) for b in range(3)) for t in range(3)
    ]
    return met[2], met[1], met[0]

  return _gather(parts, x.shape[:-1], x.dtype)[..., None]


def _from_one_channel(x: Array, kernel: Array, upper: Array) -> tuple[Array, Array]:
  """Computes the gradients of `_to_one_channel`, from 27 shifted planes of `upper` [N, D, H, W]."""
  h, w = x.shape[2:4]
  flat = kernel.astype(jnp.float32).reshape(27, -1)
  taps = [(a, b) for a in range(3) for b in range(3)]

  def step(i, carry):
    to_x, to_kernel = carry
    near = [jnp.pad(_plane(upper, i + 1 - t), ((0, 0), (1, 1), (1, 1))) for t in range(3)]
    met = jnp.stack([p[:, 2 - a : 2 - a + h, 2 - b : 2 - b + w] for p in near for a, b in taps])
    to_kernel += jnp.einsum("knhw,nhwc->kc", met, _plane(x, i))
    return _put(to_x, jnp.einsum("knhw,kc->nhwc", met, flat), i), to_kernel

  to_x, to_kernel = lax.fori_loop(0, x.shape[1], step, (jnp.zeros_like(x), jnp.zeros_like(flat)))
  return to_x, to_kernel.reshape(kernel.shape).astype(kernel.dtype)


def _gather(parts, shape, dtype) -> Array:
  """Sums, in plane i of a volume [N, D, ...], what planes i - 1, i and i + 1 give it.

  `parts(i)` is what plane i gives to planes i - 1, i and i + 1, float32.
  """

  def step(i, carry):
    out, ready, begun = carry
    before, at, after = parts(i)
    return _put(out, ready + before, jnp.maximum(i - 1, 0)), begun + at, after

  nothing = jnp.zeros((shape[0], *shape[2:]), jnp.float32)
  start = jnp.zeros(shape, dtype), nothing, nothing
  out, ready, _ = lax.fori_loop(0, shape[1], step, start)
  return _put(out, ready, shape[1] - 1)


def _plane(x: Array, i) -> Array:
  """Cuts plane i of a volume, float32 [N, H, W, C], zeros beyond its ends."""
  last = x.shape[1] - 1
  plane = lax.dynamic_index_in_dim(x, jnp.clip(i, 0, last), 1, keepdims=False)
  return jnp.where((i >= 0) & (i <= last), plane, 0).astype(jnp.float32)


def _put(volume: Array, plane: Array, i) -> Array:
  return lax.dynamic_update_index_in_dim(volume, plane.astype(volume.dtype), i, 1)


def _convolve(x: Array, kernel: Array, stride: int) -> Array:
  # By YNNPACK; Eigen (ops.convolve) takes as long or longer for 16 and 32 output channels.
  return lax.conv_general_dilated(
    x, kernel, (stride, stride), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def _patches(plane: Array) -> Array:
  """Gathers the 3 x 3 neighbourhoods of every second place: [N, ceil(H / 2), ceil(W / 2), 9 C]."""
  h, w = plane.shape[1:3]
  padded = jnp.pad(plane, ((0, 0), (1, 1), (1, 1), (0, 0)))
  taps = [(a, b) for a in range(3) for b in range(3)]
  return jnp.concatenate([padded[:, a : a + h : 2, b : b + w : 2] for a, b in taps], -1)


def _kernel_gradient(x: Array, upper: Array) -> Array:
  """Sums x[o - 1 + t] upper[o] over o: float32 [3, 3, 3, Cin, Cout]."""
  h, w, c_in = x.shape[2:]
  c = upper.shape[-1]

  def step(i, total):
    padded = jnp.pad(_plane(x, i), ((0, 0), (1, 1), (1, 1), (0, 0)))
    across = jnp.concatenate([padded[:, :, b : b + w] for b in range(3)], -1)
    met = jnp.concatenate([_plane(upper, i + 1 - t) for t in range(3)], -1)
    rows = [_product(across[:, a : a + h], met) for a in range(3)]
    return total + jnp.stack(rows)

  total = lax.fori_loop(0, x.shape[1], step, jnp.zeros((3, 3 * c_in, 3 * c), jnp.float32))
  return total.reshape(3, 3, c_in, 3, c).transpose(3, 0, 1, 2, 4)


def _kernel_gradient_by_two(x: Array, upper: Array) -> Array:
  """Sums x[2 o - 1 + t] upper[o] over o: float32 [3, 3, 3, Cin, Cout]."""
  c_in, c = x.shape[-1], upper.shape[-1]

  def step(i, total):
    inner, outer = total
    now, following = _plane(upper, i), _plane(upper, i + 1)
    inner += _product(_patches(_plane(x, 2 * i)), now)
    odd = _patches(_plane(x, 2 * i + 1))
    return inner, outer + _product(odd, jnp.concatenate([following, now], -1))

  nothing = lambda width: jnp.zeros((9 * c_in, width), jnp.float32)
  inner, outer = lax.fori_loop(0, upper.shape[1], step, (nothing(c), nothing(2 * c)))
  return jnp.stack([outer[:, :c], inner, outer[:, c:]]).reshape(3, 3, 3, c_in, c)


def _product(a: Array, b: Array) -> Array:
  """Sums a [N, H, W, A] times b [N, H, W, B] over positions: [A, B]."""
  return jnp.einsum("pa,pb->ab", a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1]))


def _swap(kernel: Array) -> Array:
  return kernel.swapaxes(3, 4)


def _backward(kept, upper):
  x, kernel = kept
  if kernel.shape[-1] == 1:
    return _from_one_channel(x, kernel, upper[..., 0])
  to_x = convolve(upper, _swap(kernel[::-1, ::-1, ::-1]))
  return to_x, _kernel_gradient(x, upper).astype(kernel.dtype)


def _backward_by_two(kept, upper):
  x, kernel = kept
  d, h, w = x.shape[1:4]
  to_x = convolve_transposed(upper, _swap(kernel))[:, :d, :h, :w]
  return to_x, _kernel_gradient_by_two(x, upper).astype(kernel.dtype)


def _backward_transposed(kept, upper):
  x, kernel = kept
  to_kernel = _swap(_kernel_gradient_by_two(upper, x)).astype(kernel.dtype)
  return convolve_by_two(upper, _swap(kernel)), to_kernel


def _keeping(function):
  return lambda x, kernel: (function(x, kernel), (x, kernel))


convolve.defvjp(_keeping(convolve), _backward)
convolve_by_two.defvjp(_keeping(convolve_by_two), _backward_by_two)
convolve_transposed.defvjp(_keeping(convolve_transposed), _backward_transposed)
