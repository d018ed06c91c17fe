"""A picture in tiles: what lies outside it counts as it does for the whole picture.

A whole picture ends in zeros: that is what its convolutions are padded with, layer by layer. A tile
that hangs over the picture's edge must see the same zeros in every layer, though biases and
neighbours have long put other numbers there. So inside `zero_outside` each convolution's input is
masked; then a tile of one fixed shape serves pictures of any size.
"""

import contextlib

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

Array = jax.Array


@flax.struct.dataclass
class Place:
  """Holds where a square tile lies in its picture; int32 scalars in pixels of the picture.

  Attributes:
    top, left: of the tile's first pixel, 0 or more; multiples of every stride of the network.
    height, width: of the picture.
    tile: side of the tile (static), a multiple of every stride too.
  """

  top: Array
  left: Array
  height: Array
  width: Array
  tile: int = flax.struct.field(pytree_node=False)

  def axes(self, stride: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Returns ((first, length), (first, length)) of rows and columns of features at this stride."""
    return (
      (self.top // stride, -(-self.height // stride)),
      (self.left // stride, -(-self.width // stride)),
    )

  def mask(self, stride: int) -> Array:
    """Tells which positions are inside the picture: bool [1, tile / stride, tile / stride, 1]."""
    here = jnp.arange(self.tile // stride)
    rows, columns = (first + here < length for first, length in self.axes(stride))
    return (rows[:, None] & columns[None, :])[None, :, :, None]


@contextlib.contextmanager
def zero_outside(place: Place):
  """Lets Linen's convolutions of this tile's features see zeros outside the picture."""

  def masked(run, args, kwargs, context):
    if not isinstance(context.module, nn.Conv) or context.method_name != "__call__":
      return run(*args, **kwargs)
    x, *rest = args
    if x.shape[1] != x.shape[2] or place.tile % x.shape[1]:
      raise ValueError(f"features {x.shape} are no square tile of {place.tile} pixels")
    return run(jnp.where(place.mask(place.tile // x.shape[1]), x, 0), *rest, **kwargs)

  with nn.intercept_methods(masked):
    yield


def mean_of_four(x: Array, inside: Array | None = None) -> Array:
  """Averages over 2 x 2 positions [N, H, W, C] -> [N, ceil(H / 2), ceil(W / 2), C].

  An odd last row or column is averaged over what is there; so are positions where `inside`
  (bool [1, H, W, 1]) is False left out, and four such give 0.
  """
  pool = lambda y: nn.avg_pool(y, (2, 2), strides=(2, 2), padding="SAME")
  if inside is None:
    return nn.avg_pool(x, (2, 2), strides=(2, 2), padding="SAME", count_include_pad=False)
  share = pool(inside.astype(jnp.float32))
  mean = pool(jnp.where(inside, x, 0).astype(jnp.float32)) / jnp.maximum(share, 0.25)
  return mean.astype(x.dtype)
