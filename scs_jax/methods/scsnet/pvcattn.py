"""Pyramid Valve Cross Attention: colour from the reference to the source (Section 3.1)."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from scs_jax.nn import attention
from scs_jax.nn.blocks import Conv
from scs_jax.ops import sample

Array = jax.Array


@flax.struct.dataclass
class Attention:
  """What one VCAttn did, for looking at (Figure 8).

  Attributes:
    map: float32 [N, Hs, Ws, Hr, Wr], CMat: for each source position its weights over the
      reference, summing to one.
    source_valve: [N, Hs, Ws, 1] in (0, 1), V1, or None where the module has no valves.
    reference_valve: [N, Hs, Ws, 1] in (0, 1), V2, or None.
  """

  map: Array
  source_valve: Array | None
  reference_valve: Array | None


class ValveCrossAttention(nn.Module):
  """VCAttn (Figure 4): F_t = V1 * F_s + V2 * F_{r->s}.

  Q_s, K_r and V_r by 1 x 1 convolutions; CMat = softmax over reference positions of
  Q_s K_r / sqrt(C); F_{r->s} = CMat V_r; the two valve maps from concat(F_s, F_{r->s}) by cascaded
  1 x 1 convolutions and a sigmoid. Source and reference may differ in size.

  Attributes:
    key_features: C, width of queries and keys.
    valves: False holds both valves open, as in the ablation's BCAttn.
    blocks: (query, key) block sizes of the streamed attention.
  """

  key_features: int
  valves: bool = True
  blocks: tuple[int, int] = (1024, 1024)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, source: Array, reference: Array, want_maps: bool = False):
    """source [N, Hs, Ws, Cs], reference [N, Hr, Wr, Cr] -> ([N, Hs, Ws, Cs], Attention | None)."""
    features = source.shape[-1]
    flat_source = attention.flatten_positions(source)
    flat_reference = attention.flatten_positions(reference)
    query = nn.Dense(self.key_features, dtype=self.dtype, name="query")(flat_source)
    key = nn.Dense(self.key_features, dtype=self.dtype, name="key")(flat_reference)
    value = nn.Dense(features, dtype=self.dtype, name="value")(flat_reference)
    moved = attention.attend(
      query, key, value, query_block=self.blocks[0], key_block=self.blocks[1]
    ).reshape(source.shape)

    if self.valves:
      both = jnp.concatenate([source, moved], axis=-1)
      hidden = nn.relu(nn.Dense(features, dtype=self.dtype, name="valve_0")(both))
      logits = nn.Dense(2, dtype=self.dtype, name="valve_1")(hidden)
      valve = jax.nn.sigmoid(logits.astype(jnp.float32)).astype(source.dtype)
      v1, v2 = valve[..., :1], valve[..., 1:]
      target = v1 * source + v2 * moved
    else:
      v1 = v2 = None
      target = source + moved
    if not want_maps:
      return target, None
    cmat = attention.attention_map(query, key)
    cmat = cmat.reshape(*source.shape[:3], *reference.shape[1:3])
    return target, Attention(cmat, v1, v2)


class PyramidValveCrossAttention(nn.Module):
  """PVCAttn (Eq. 2, Figure 5): a VCAttn at each level of a pyramid, joined by a post-convolution.

  Level l sees both feature maps averaged over 2^l x 2^l positions and pre-convolved; its result is
  brought to the first level's size (bilinear, pixel centres), all are concatenated and
  post-convolved. `levels=1, valves=False` is the ablation's BCAttn (Table 5).

  Attributes:
    features: output channels, those of F_s (256).
    level_features: width inside a level.
    key_features: width of queries and keys.
    levels: pyramid levels; the paper's figure shows three.
    valves: see ValveCrossAttention.
  """

  features: int = 256
  level_features: int = 128
  key_features: int = 32
  levels: int = 3
  valves: bool = True
  blocks: tuple[int, int] = (1024, 1024)
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, source: Array, reference: Array, want_maps: bool = False):
    """source [N, Hs, Ws, C], reference [N, Hr, Wr, C] -> ([N, Hs, Ws, C], (Attention, ...))."""
    size = source.shape[1:3]
    results, seen = [], []
    for level in range(self.levels):
      if level:
        source, reference = _halve(source), _halve(reference)
      s = Conv(self.level_features, dtype=self.dtype, name=f"source_{level}")(source)
      r = Conv(self.level_features, dtype=self.dtype, name=f"reference_{level}")(reference)
      target, attention_seen = ValveCrossAttention(
        self.key_features, self.valves, self.blocks, self.dtype, name=f"vcattn_{level}"
      )(s, r, want_maps)
      if level:
        target = sample.resize_bilinear(target, size, align_corners=False).astype(target.dtype)
      results.append(target)
      seen.append(attention_seen)
    joined = jnp.concatenate(results, axis=-1)
    out = Conv(self.features, dtype=self.dtype, name="post")(joined)
    return out, tuple(seen) if want_maps else ()


def _halve(x: Array) -> Array:
  """Mean over 2 x 2 positions; an odd last row or column is averaged over what is there."""
  return nn.avg_pool(x, (2, 2), strides=(2, 2), padding="SAME", count_include_pad=False)
