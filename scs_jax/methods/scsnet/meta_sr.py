"""Meta-SR's upscale module (Hu et al. 2019), which Section 4.3 compares CPM with.

Output pixel (i, j) at magnification r looks at the input position (floor(i / r), floor(j / r)). A
network of two linear layers turns v = (i / r - floor(i / r), j / r - floor(j / r), 1 / r) into the
weights of a k x k convolution of its own, which is applied there: 3 -> 256 -> k k C 3 numbers for
every output pixel. With k = 3 and C = 64 these are 445,120 parameters, the 0.45M of Section 4.3.
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.nn.blocks import HE

Array = jax.Array
KERNEL = 3


@flax.struct.dataclass
class MetaAxis:
  """Holds where output pixels lie along one axis, as Meta-SR counts: from the pixels' first edges.

  Attributes:
    index: int32 [P], floor(i / r).
    offset: float32 [P] in [0, 1), i / r - floor(i / r).
    inverse: float32 [P], 1 / r, the same for all.
    low, fraction: int32 and float32 [P], the bilinear place by pixel centres, as of
      cpm.PixelAxis: for what is enlarged beside the head.
  """

  index: Array | np.ndarray
  offset: Array | np.ndarray
  inverse: Array | np.ndarray
  low: Array | np.ndarray
  fraction: Array | np.ndarray


def meta_axis(in_size: int, full_size, start=0, length: int | None = None) -> MetaAxis:
  """Pixels start .. start + length - 1 of an output of `full_size` pixels; all of it by default.

  `full_size` and `start` may be traced where a length is given. Positions are quotients of
  integers; (2 i + 1) in_size must stay below 2^31.
  """
  fixed = length is None
  library = np if fixed else jnp
  i = library.arange(full_size if fixed else length, dtype=library.int32) + start
  index = i * in_size // full_size
  offset = (i * in_size - index * full_size) / full_size
  middle = library.clip((2 * i + 1) * in_size - full_size, 0, 2 * full_size * (in_size - 1))
  low = middle // (2 * full_size)
  fraction = (middle - low * 2 * full_size) / (2 * full_size)
  real = lambda x: library.asarray(x, library.float32)
  inverse = library.broadcast_to(real(in_size / full_size), i.shape)
  return MetaAxis(index, real(offset), inverse, low, real(fraction))


class MetaUpscale(nn.Module):
  """The head: features on a grid to colours at any resolution.

  Attributes:
    hidden: outputs of the first linear layer.
    out_features: 3, Lab.
    chunk_floats: bound on the predicted weights that exist at a time. The published code has them
      all at once: a bound that nothing reaches does so too.
    dtype: of features and weights; the result is float32.
  """

  hidden: int = 256
  out_features: int = 3
  chunk_floats: int = 2**24
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, features: Array, rows: MetaAxis, columns: MetaAxis) -> Array:
    """Upsamples features [N, H, W, C] to float32 [N, P, Q, out_features]."""
    taps = KERNEL * KERNEL * features.shape[-1]
    # Weights of taps terms: a sum of them should start near gray, as CPM does (cpm._QUIET).
    quiet = nn.initializers.variance_scaling(0.01 / taps, "fan_in", "truncated_normal")
    outs = taps * self.out_features
    layers = [
      (
        self.param(f"kernel_{i}", init, shape).astype(self.dtype),
        self.param(f"bias_{i}", nn.initializers.zeros, shape[-1:]).astype(self.dtype),
      )
      for i, (init, shape) in enumerate(((HE, (3, self.hidden)), (quiet, (self.hidden, outs))))
    ]
    return upscale(layers, features.astype(self.dtype), rows, columns, self.chunk_floats)


def upscale(layers, features: Array, rows: MetaAxis, columns: MetaAxis, chunk_floats: int) -> Array:
  """Predicts weights and convolves by them, `chunk_floats` weights at a time, whole rows.

  Args:
    layers: ((kernel [3, hidden], bias), (kernel [hidden, taps * out], bias)).
    features: [N, H, W, C].
    rows, columns: of P and Q pixels.

  Returns:
    float32 [N, P, Q, out].
  """
  p, q = len(rows.index), len(columns.index)
  around = neighbourhoods(features)
  per_row = q * layers[1][1].size
  chunks = -(-p // max(1, min(p, chunk_floats // per_row)))
  chunk = -(-p // chunks)

  def some_rows(args) -> Array:
    index, offset, inverse = args
    weights = predict_weights(layers, offset, inverse, columns, around.shape[-1])
    there = jnp.take(around, index, axis=1, mode="clip", indices_are_sorted=True)
    there = jnp.take(there, columns.index, axis=2, mode="clip", indices_are_sorted=True)
    return jnp.einsum("npqk,pqko->npqo", there, weights, preferred_element_type=jnp.float32)

  axis = rows.index, rows.offset, rows.inverse
  if chunks == 1:
    return some_rows(tuple(map(jnp.asarray, axis)))
  pad = lambda v: jnp.pad(jnp.asarray(v), (0, chunks * chunk - p), mode="edge")
  # A chunk is computed again for its gradient: keeping all of them would undo the chunking.
  found = jax.lax.map(
    jax.checkpoint(some_rows, prevent_cse=False),
    tuple(pad(v).reshape(chunks, chunk) for v in axis),
  )
  return jnp.moveaxis(found, 0, 1).reshape(len(features), chunks * chunk, q, -1)[:, :p]


def predict_weights(layers, offset: Array, inverse: Array, columns: MetaAxis, taps: int) -> Array:
  """Runs the two linear layers: weights [P, Q, taps, out] of rows of these offsets and 1 / r."""
  (first, first_bias), (second, second_bias) = layers
  shape = (len(offset), len(columns.offset))
  # One r in the paper; where the axes differ, the mean of both in the sense of areas.
  share = jnp.sqrt(jnp.asarray(inverse)[:, None] * jnp.asarray(columns.inverse)[None, :])
  v = jnp.stack(
    [
      jnp.broadcast_to(jnp.asarray(offset)[:, None], shape),
      jnp.broadcast_to(jnp.asarray(columns.offset)[None, :], shape),
      share,
    ],
    axis=-1,
  ).astype(first.dtype)
  hidden = nn.relu(v @ first + first_bias)
  return (hidden @ second + second_bias).reshape(*shape, taps, -1)


def neighbourhoods(x: Array) -> Array:
  """Gathers each position's k x k features, zero beyond the border: [N, H, W, k k C]."""
  reach = KERNEL // 2
  height, width = x.shape[1:3]
  padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
  shifted = [
    padded[:, dy : dy + height, dx : dx + width] for dy in range(KERNEL) for dx in range(KERNEL)
  ]
  return jnp.concatenate(shifted, axis=-1)
