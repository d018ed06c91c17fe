"""Attention that never keeps a full correlation matrix, and the self-attention layer on top."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array

# A finite stand-in for -inf: exp(NEGATIVE - NEGATIVE) is 1, not NaN, and is then masked out.
_NEGATIVE = -1e30


def attention_map(query: Array, key: Array, mask: Array | None = None) -> Array:
  """The correlation matrix itself: softmax over key positions of q . k / sqrt(C).

  Args:
    query: [N, Lq, C].
    key: [N, Lk, C].
    mask: bool [N, Lk], False for key positions that must get no weight; or None.

  Returns:
    float32 [N, Lq, Lk], rows sum to one. Quadratic in memory: for pictures and tests.
  """
  logits = jnp.einsum("nqc,nkc->nqk", query, key, preferred_element_type=jnp.float32)
  logits = logits * query.shape[-1] ** -0.5
  if mask is not None:
    logits = jnp.where(mask[:, None, :], logits, _NEGATIVE)
  return jax.nn.softmax(logits, axis=-1)


def attend_plain(query: Array, key: Array, value: Array, mask: Array | None = None) -> Array:
  """`attend` in the plain order, through the full matrix: the reference it is tested against."""
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
  """softmax(q k^T / sqrt(C)) v, streamed over blocks of queries and of keys.

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
  if mask is None:
    mask = jnp.ones((n, lk), bool)
  keys = _blocks(key, key_block)
  values = _blocks(value, key_block)
  masks = _blocks(mask, key_block)

  @functools.partial(jax.checkpoint, prevent_cse=False)
  def one_query_block(q):
    @functools.partial(jax.checkpoint, prevent_cse=False)
    def one_key_block(carry, block):
      top, total, mixed = carry
      k, v, m = block
      logits = jnp.einsum("nqc,nkc->nqk", q, k, preferred_element_type=jnp.float32)
      logits = jnp.where(m[:, None, :], logits * c**-0.5, _NEGATIVE)
      new_top = jnp.maximum(top, jax.lax.stop_gradient(logits.max(-1)))
      weights = jnp.where(m[:, None, :], jnp.exp(logits - new_top[..., None]), 0.0)
      shrink = jnp.exp(top - new_top)
      part = jnp.einsum(
        "nqk,nkd->nqd", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
      )
      return (
        new_top,
        total * shrink + weights.sum(-1),
        mixed * shrink[..., None] + part,
      ), None

    rows = q.shape[1]
    start = (
      jnp.full((n, rows), _NEGATIVE, jnp.float32),
      jnp.zeros((n, rows), jnp.float32),
      jnp.zeros((n, rows, d), jnp.float32),
    )
    if keys.shape[0] == 1:
      (_, total, mixed), _ = one_key_block(start, (keys[0], values[0], masks[0]))
    else:
      (_, total, mixed), _ = jax.lax.scan(one_key_block, start, (keys, values, masks))
    return (mixed / jnp.maximum(total, 1e-30)[..., None]).astype(value.dtype)

  queries = _blocks(query, query_block)
  if queries.shape[0] == 1:
    return one_query_block(queries[0])
  out = jax.lax.map(one_query_block, queries)
  return jnp.moveaxis(out, 0, 1).reshape(n, -1, d)[:, :lq]


def _blocks(x: Array, block: int) -> Array:
  """[N, L, ...] -> [ceil(L / block), N, block, ...], zero (False) beyond L."""
  length = x.shape[1]
  count = -(-length // block)
  pad = [(0, 0)] * x.ndim
  pad[1] = (0, count * block - length)
  x = jnp.pad(x, pad)
  return jnp.moveaxis(x.reshape(x.shape[0], count, block, *x.shape[2:]), 1, 0)


def flatten_positions(x: Array) -> Array:
  """[N, H, W, C] -> [N, H * W, C], row by row."""
  return x.reshape(x.shape[0], -1, x.shape[-1])


class SelfAttention(nn.Module):
  """The self-attention layer of SAGAN (Zhang et al. 2019b): x + gamma * attend(q, k, v).

  gamma starts at zero, as published, so that the layer first learns from its neighbourhood.
  Queries and keys have an eighth of the channels.
  """

  dtype: Any = jnp.float32
  query_block: int = 1024
  key_block: int = 1024

  @nn.compact
  def __call__(self, x: Array) -> Array:
    channels = x.shape[-1]
    narrow = max(channels // 8, 1)
    dense = functools.partial(nn.Dense, dtype=self.dtype)
    flat = flatten_positions(x)
    mixed = attend(
      dense(narrow, name="query")(flat),
      dense(narrow, name="key")(flat),
      dense(channels, name="value")(flat),
      query_block=self.query_block,
      key_block=self.key_block,
    )
    gamma = self.param("gamma", nn.initializers.zeros, ())
    return x + gamma.astype(x.dtype) * mixed.reshape(x.shape)
