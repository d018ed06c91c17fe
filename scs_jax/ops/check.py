"""Checks of array arguments, raised before anything is traced: what was expected, what came."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def require_rank(name: str, x: jax.Array, *ranks: int) -> None:
  """Raises ValueError unless `x` has one of the numbers of dimensions `ranks`."""
  if jnp.ndim(x) not in ranks:
    expected = " or ".join(str(rank) for rank in ranks)
    raise ValueError(
      f"{name}: expected {expected} dimensions, got shape {tuple(jnp.shape(x))}; reshape it first"
    )


def require_channels(name: str, x: jax.Array, channels: int) -> None:
  """Raises ValueError unless the last axis of `x` has `channels` entries."""
  shape = tuple(jnp.shape(x))
  if not shape or shape[-1] != channels:
    raise ValueError(
      f"{name}: expected {channels} channel(s) on the last axis, got shape {shape}; "
      "images are channels-last"
    )


def require_same_shape(name_a: str, a: jax.Array, name_b: str, b: jax.Array) -> None:
  """Raises ValueError unless `a` and `b` have one shape: silent broadcasting hides mistakes."""
  if jnp.shape(a) != jnp.shape(b):
    raise ValueError(
      f"{name_a} and {name_b}: expected one shape, got {tuple(jnp.shape(a))} and "
      f"{tuple(jnp.shape(b))}; crop or resize one of them"
    )


def require_size(name: str, size: Sequence[int]) -> tuple[int, int]:
  """Returns `size` as (height, width), raising ValueError unless it is two positive integers."""
  try:
    height, width = (int(side) for side in size)
    integral = all(int(side) == side for side in size)
  except (TypeError, ValueError):
    height, width, integral = 0, 0, False
  if not integral or height < 1 or width < 1:
    raise ValueError(f"{name}: expected (height, width), two integers from 1, got {size!r}")
  return height, width


def require_positive(name: str, value: float) -> None:
  """Raises ValueError unless the number `value` is finite and above zero."""
  if not 0 < value < float("inf"):
    raise ValueError(f"{name}: expected a finite number above 0, got {value!r}")


def to_float(x: jax.Array) -> jax.Array:
  """Returns `x` as float32 (float64 stays): operators compute no image in fewer bits.

  The numbers are unchanged: uint8 gives 0 .. 255, not 0 .. 1.
  """
  x = jnp.asarray(x)
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
