"""2-D convolutions in the order that suits the platform that a program is made for.

On CPUs XLA hands a convolution to one of two libraries: to YNNPACK, unless the result has more rows
(or columns) than the input, and else to Eigen, which takes a fifth to a half less time for kernels
of 3 x 3 here (jaxlib 0.10; benchmarks/torch_twins.py measures the networks). So there one row too
many is computed and cut off again. The numbers are the same up to rounding.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from scs_jax.ops.platform import target

Array = jax.Array
Pairs = tuple[tuple[int, int], tuple[int, int]]
_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(
  x: Array, kernel: Array, strides: Sequence[int], padding: Any, **options: Any
) -> Array:
  """Computes `lax.conv_general_dilated`, which it takes the place of in `nn.Conv`.

  Gradients are of first order, reverse mode, where a row too many is computed.

  Args:
    x: [N, H, W, Cin]; other ranks go to `lax` as they are.
    kernel: [h, w, Cin, Cout].
    strides, padding, options: as `nn.Conv` hands them over.
  """
  plain = (
    x.ndim != 4
    or target() != "cpu"
    or isinstance(padding, str)
    or set(strides) != {1}
    or kernel.shape[:2] == (1, 1)
    or set(options.get("lhs_dilation") or (1,)) != {1}
    or options.get("feature_group_count", 1) != 1
  )
  if plain:
    return lax.conv_general_dilated(x, kernel, strides, padding, **options)
  dilation = tuple(options.get("rhs_dilation") or (1, 1))
  return convolve_by_eigen(x, kernel, tuple(map(tuple, padding)), dilation)


def matmul(x: Array, kernel: Array) -> Array:
  """Multiplies [N, H, W, Cin] with [Cin, Cout] of its dtype, for hundreds of channels.

  On a CPU by Eigen, whose convolution of one tap is its product of matrices: YNNPACK, which XLA
  takes for products, needs a quarter more time for 384 to 384 channels.
  """
  if target() != "cpu":
    return x @ kernel
  n, h, w, c = x.shape
  column = x.reshape(n, h * w, 1, c)  # in which the row too many is a single position
  out = convolve_by_eigen(column, kernel[None, None], ((0, 0), (0, 0)))
  return out.reshape(n, h, w, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve_by_eigen(
  x: Array, kernel: Array, padding: Pairs, dilation: tuple[int, int] = (1, 1)
) -> Array:
  """Cross-correlates [N, H, W, Cin] with [h, w, Cin, Cout] at every position, on a CPU.

  Args:
    x, kernel: of one dtype.
    padding: zeros (above, below) and (left, right).
    dilation: distance of the kernel's taps, along each axis.
  """
  (above, below), across = padding
  reach = dilation[0] * (kernel.shape[0] - 1)
  rows = x.shape[1] + above + below - reach
  # One more than the input has; where the padding is narrow, as many as that takes.
  more = max(x.shape[1] + 1 - rows, 1)
  return _plain(x, kernel, ((above, below + more), across), dilation)[:, :rows]


def _plain(x: Array, kernel: Array, padding: Pairs, dilation: tuple[int, int]) -> Array:
  return lax.conv_general_dilated(
    x, kernel, (1, 1), padding, rhs_dilation=dilation, dimension_numbers=_LAYOUT
  )


def _forward(x, kernel, padding, dilation):
  return convolve_by_eigen(x, kernel, padding, dilation), (x, kernel)


def _backward(padding, dilation, kept, upper):
  x, kernel = kept
  # Turned about, the kernel spreads what the convolution gathered: where it reached past an edge
  # of the input, the padding is that much narrower.
  reach = [d * (side - 1) for d, side in zip(dilation, kernel.shape[:2], strict=True)]
  turned = tuple((r - low, r - high) for r, (low, high) in zip(reach, padding, strict=True))
  to_x = convolve_by_eigen(upper, kernel[::-1, ::-1].swapaxes(2, 3), turned, dilation)
  return to_x, _kernel_gradient(x, upper, kernel, padding, dilation)


def _kernel_gradient(x, upper, kernel, padding, dilation) -> Array:
  """Multiplies, for each tap, what it sees of the input with `upper`, summed over positions.

  XLA has a convolution whose kernel is as large as the picture: twice the time.
  """
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  rows, columns = upper.shape[1:3]

  def tap(i: int, j: int) -> Array:
    top, left = i * dilation[0], j * dilation[1]
    return jnp.einsum("nhwc,nhwk->ck", x[:, top : top + rows, left : left + columns], upper)

  down, across = kernel.shape[:2]
  return jnp.stack([jnp.stack([tap(i, j) for j in range(across)]) for i in range(down)])


convolve_by_eigen.defvjp(_forward, _backward)
