"""Attention that never keeps a full correlation matrix, and the self-attention layer on top."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array

# A finite stand-in for -inf: the difference of two is 0, not NaN.
_NEGATIVE = -1e30


def attention_map(query: Array, key: Array, mask: Array | None = None) -> Array:
  """Computes the correlation matrix itself: softmax over key positions of q . k / sqrt(C).

  Args:
    query: [N, Lq, C].
    key: [N, Lk, C].
    mask: bool [N, Lk], False for key positions that must get no weight; or None.

  Returns:
    float32 [N, Lq, Lk], rows sum to one. Quadratic in memory: for pictures and tests.
  """
  logits = jnp.einsum("nqc,nkc->nqk", query, key, preferred_element_type=jnp.float32)
  if mask is not None:
    logits = jnp.where(mask[:, None, :], logits, _NEGATIVE)
  above = logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True))  # see _take_in
  return jax.nn.softmax(above * query.shape[-1] ** -0.5, axis=-1)


def attend_plain(query: Array, key: Array, value: Array, mask: Array | None = None) -> Array:
  """Attends in the plain order, through the full matrix: the reference it is tested against."""
  weights = attention_map(query, key, mask)
  out = jnp.einsum("nqk,nkd->nqd", weights, value.astype(jnp.float32))
  return out.astype(value.dtype)


def attend(
  query: Array,
  key: Array,
  value: Array,
  mask: Array | None = None,
  *,
  query_block: int = 1024,
  key_block: int = 1024,
) -> Array:
  """Computes softmax(q k^T / sqrt(C)) v, streamed over blocks of queries and of keys.

  At most `query_block` x `key_block` correlations an image exist at any time, in the forward and
  in the backward pass: the softmax is carried along as a running maximum and sum, and a block is
  computed again when its gradient is taken. Equal to `attend_plain` up to rounding.

  Args:
    query: [N, Lq, C], float32 or bfloat16; products accumulate in float32.
    key: [N, Lk, C].
    value: [N, Lk, D].
    mask: bool [N, Lk], False for key positions that must get no weight (padding); a row without
      any allowed key gives zeros.
    query_block: rows of the correlation matrix at a time.
    key_block: columns of it at a time.

  Returns:
    [N, Lq, D] in value's dtype.
  """
  n, lq, c = query.shape
  lk, d = key.shape[1], value.shape[-1]
  if key.shape != (n, lk, c) or value.shape[:2] != (n, lk):
    raise ValueError(
      f"query [N, Lq, C], key [N, Lk, C] and value [N, Lk, D] do not fit: got {query.shape}, "
      f"{key.shape}, {value.shape}"
    )
  query_block, key_block = min(query_block, lq), min(key_block, lk)
  if mask is None and lk % key_block:
    mask = jnp.ones((n, lk), bool)  # False in what the last block is filled up with
  blocks = jax.tree.map(lambda x: _blocks(x, key_block), (key, value, mask))

  @functools.partial(jax.checkpoint, prevent_cse=False)
  def one_query_block(q):
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one_key_block(carry, block):
      return _take_in(q, carry, *block), None

    start = _nothing_yet(n, q.shape[1], d)
    if lk == key_block:
      (_, total, mixed), _ = one_key_block(start, (key, value, mask))
    else:
      (_, total, mixed), _ = jax.lax.scan(one_key_block, start, blocks)
    return (mixed / jnp.maximum(total, 1e-30)[..., None]).astype(value.dtype)

  queries = _blocks(query, query_block)
  if queries.shape[0] == 1:
    return one_query_block(queries[0])
  out = jax.lax.map(one_query_block, queries)
  return jnp.moveaxis(out, 0, 1).reshape(n, -1, d)[:, :lq]


def attend_prefix(
  query: Array,
  key: Array,
  value: Array,
  count: Array,
  *,
  query_block: int = 1024,
  key_block: int = 1024,
) -> Array:
  """Attends over the first `count` keys of a longer buffer: one program for any number of them.

  The number of key blocks is known only when the program runs, so no gradient goes through.

  Args:
    query: [N, Lq, C].
    key: [N, Lk, C], value: [N, Lk, D]: finite; what lies beyond `count` gets no weight.
    count: int32 scalar, 0 to Lk.
    query_block, key_block: see `attend`.

  Returns:
    [N, Lq, D] in value's dtype; zeros where `count` is 0.
  """
  n, lq, _ = query.shape
  lk, d = key.shape[1], value.shape[-1]
  query_block, key_block = min(query_block, lq), min(key_block, lk)
  position = jnp.arange(key_block)

  def one_query_block(q):
    def one_key_block(i, carry):
      # The last block of the buffer is moved to its end; what was seen before is masked.
      start = jnp.minimum(i * key_block, lk - key_block)
      k, v = (jax.lax.dynamic_slice_in_dim(x, start, key_block, axis=1) for x in (key, value))
      seen = start + position
      mask = (seen >= i * key_block) & (seen < count)
      return _take_in(q, carry, k, v, jnp.broadcast_to(mask, (n, key_block)))

    blocks = (count + key_block - 1) // key_block
    start = _nothing_yet(n, q.shape[1], d)
    _, total, mixed = jax.lax.fori_loop(0, blocks, one_key_block, start)
    return (mixed / jnp.maximum(total, 1e-30)[..., None]).astype(value.dtype)

  out = jax.lax.map(one_query_block, _blocks(query, query_block))
  return jnp.moveaxis(out, 0, 1).reshape(n, -1, d)[:, :lq]


def _nothing_yet(n: int, rows: int, features: int):
  """Makes the running maximum of q . k, sum of weights and weighted sum before the first block."""
  return (
    jnp.full((n, rows), _NEGATIVE, jnp.float32),
    jnp.zeros((n, rows), jnp.float32),
    jnp.zeros((n, rows, features), jnp.float32),
  )


def _take_in(q: Array, carry, k: Array, v: Array, mask: Array | None):
  """Updates the running softmax by one more block of keys, those with mask False left out."""
  top, total, mixed = carry
  logits = jnp.einsum("nqc,nkc->nqk", q, k, preferred_element_type=jnp.float32)
  if mask is not None:
    logits = jnp.where(mask[:, None, :], logits, _NEGATIVE)
  new_top = jnp.maximum(top, jax.lax.stop_gradient(logits.max(-1)))
  # Scaled after the difference: XLA makes one rounding of a product and the difference from it, so
  # that of large products the largest would lie above the maximum, and exp be infinite.
  scale = q.shape[-1] ** -0.5
  # Far above _NEGATIVE even before the first allowed key, so that the others' exp is 0.
  above = jnp.maximum(new_top, _NEGATIVE / 2)
  weights = jnp.exp((logits - above[..., None]) * scale)
  shrink = jnp.exp((top - new_top) * scale)
  part = jnp.einsum(
    "nqk,nkd->nqd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
  )
  return new_top, total * shrink + weights.sum(-1), mixed * shrink[..., None] + part


def _blocks(x: Array, block: int) -> Array:
  """Splits [N, L, ...] into [ceil(L / block), N, block, ...], zero (False) beyond L."""
  length = x.shape[1]
  count = -(-length // block)
  pad = [(0, 0)] * x.ndim
  pad[1] = (0, count * block - length)
  x = jnp.pad(x, pad)
  return jnp.moveaxis(x.reshape(x.shape[0], count, block, *x.shape[2:]), 1, 0)


def flatten_positions(x: Array) -> Array:
  """Flattens [N, H, W, C] to [N, H * W, C], row by row."""
  return x.reshape(x.shape[0], -1, x.shape[-1])


class SelfAttention(nn.Module):
  """The self-attention layer of SAGAN (Zhang et al. 2019b): x + gamma * attend(q, k, v).

  gamma starts at zero, as published, so that the layer first learns from its neighbourhood.
  Queries and keys have an eighth of the channels. `memory` and `mix` are its two halves, for a
  picture that comes in pieces.

  Attributes:
    features: channels of x.
    scaled: whether products of queries and keys are divided by the square root of their channels,
      which SAGAN's are not.
  """

  features: int
  dtype: Any = jnp.float32
  query_block: int = 1024
  key_block: int = 1024
  scaled: bool = True

  def setup(self):
    narrow = max(self.features // 8, 1)
    self.query = nn.Dense(narrow, dtype=self.dtype)
    self.key = nn.Dense(narrow, dtype=self.dtype)
    self.value = nn.Dense(self.features, dtype=self.dtype)
    self.gamma = self.param("gamma", nn.initializers.zeros, ())

  def memory(self, x: Array) -> tuple[Array, Array]:
    """Keys and values of positions [..., C]: what every position may look at."""
    return self.key(x), self.value(x)

  def mix(self, x: Array, key: Array, value: Array, count: Array | None = None) -> Array:
    """Computes the layer at positions x [N, L, C], looking at the first `count` keys (or all)."""
    blocks = {"query_block": self.query_block, "key_block": self.key_block}
    query = self.query(x)
    if not self.scaled:  # `attend` divides by it
      query = query * math.sqrt(query.shape[-1])
    if count is None:
      mixed = attend(query, key, value, **blocks)
    else:
      mixed = attend_prefix(query, key, value, count, **blocks)
    return x + self.gamma.astype(x.dtype) * mixed

  def __call__(self, x: Array) -> Array:
    flat = flatten_positions(x)
    return self.mix(flat, *self.memory(flat)).reshape(x.shape)
