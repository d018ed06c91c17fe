"""Pyramid Valve Cross Attention: colour from the reference to the source (Section 3.1)."""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from scs_jax.methods.scsnet.cpm import PixelAxis, interpolate
from scs_jax.nn import attention
from scs_jax.nn.blocks import Conv
from scs_jax.nn.border import Place, mean_of_four
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
  1 x 1 convolutions and a sigmoid. Source and reference may differ in size. `memory` and
  `transfer` are its two halves, for pictures that come in pieces.

  Attributes:
    features: channels of the source, and of the result.
    key_features: C, width of queries and keys.
    valves: False holds both valves open, as in the ablation's BCAttn.
    blocks: (query, key) block sizes of the streamed attention.
  """

  features: int
  key_features: int
  valves: bool = True
  blocks: tuple[int, int] = (1024, 1024)
  dtype: Any = jnp.float32

  def setup(self):
    self.query = nn.Dense(self.key_features, dtype=self.dtype)
    self.key = nn.Dense(self.key_features, dtype=self.dtype)
    self.value = nn.Dense(self.features, dtype=self.dtype)
    if self.valves:
      self.valve_0 = nn.Dense(self.features, dtype=self.dtype)
      self.valve_1 = nn.Dense(2, dtype=self.dtype)

  def memory(self, reference: Array) -> tuple[Array, Array]:
    """K_r and V_r at reference positions [..., Cr]."""
    return self.key(reference), self.value(reference)

  def transfer(self, source: Array, key: Array, value: Array, count: Array | None = None):
    """F_t at source positions [N, L, C], and the valves V1, V2 [N, L, 1] or None.

    Args:
      source: F_s, one row a position.
      key, value: K_r, V_r [N, Lr, ...].
      count: int32; only the first `count` of them are there. None: all.
    """
    query = self.query(source)
    blocks = {"query_block": self.blocks[0], "key_block": self.blocks[1]}
    if count is None:
      moved = attention.attend(query, key, value, **blocks)
    else:
      moved = attention.attend_prefix(query, key, value, count, **blocks)
    if not self.valves:
      return source + moved, None, None
    both = jnp.concatenate([source, moved], axis=-1)
    logits = self.valve_1(nn.relu(self.valve_0(both)))
    valve = jax.nn.sigmoid(logits.astype(jnp.float32)).astype(source.dtype)
    v1, v2 = valve[..., :1], valve[..., 1:]
    return v1 * source + v2 * moved, v1, v2

  def weights(self, source: Array, key: Array) -> Array:
    """CMat's rows of the source positions given [N, L, C]: float32 [N, L, Lr], kept whole."""
    return attention.attention_map(self.query(source), key)

  def __call__(self, source: Array, reference: Array, want_maps: bool = False):
    """source [N, Hs, Ws, C], reference [N, Hr, Wr, Cr] -> ([N, Hs, Ws, C], Attention | None)."""
    flat = attention.flatten_positions(source)
    key, value = self.memory(attention.flatten_positions(reference))
    target, *valves = self.transfer(flat, key, value)
    target = target.reshape(source.shape)
    if not want_maps:
      return target, None
    cmat = self.weights(flat, key).reshape(*source.shape[:3], *reference.shape[1:3])
    shown = (None if v is None else v.reshape(*source.shape[:3], 1) for v in valves)
    return target, Attention(cmat, *shown)


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

  def setup(self):
    levels = range(self.levels)
    self.source = [Conv(self.level_features, dtype=self.dtype) for _ in levels]
    self.reference = [Conv(self.level_features, dtype=self.dtype) for _ in levels]
    self.vcattn = [
      ValveCrossAttention(
        self.level_features, self.key_features, self.valves, self.blocks, self.dtype
      )
      for _ in levels
    ]
    self.post = Conv(self.features, dtype=self.dtype)

  def source_levels(self, source: Array, place: Place | None = None) -> list[Array]:
    """The pre-convolved pyramid of F_s [N, H, W, C]; `place` for a tile at stride 4 (below too)."""
    return [conv(x) for conv, x in zip(self.source, self._averaged(source, place), strict=True)]

  def memories(self, reference: Array, place: Place | None = None) -> list[tuple[Array, Array]]:
    """(K_r, V_r) of each level, as maps [N, h, w, ...]."""
    levels = zip(self.vcattn, self.reference, self._averaged(reference, place), strict=True)
    return [vcattn.memory(conv(x)) for vcattn, conv, x in levels]

  def join(self, targets: list[Array], place: Place | None = None) -> Array:
    """The levels' results, enlarged to the first one's size, to [N, H, W, features]."""
    size = targets[0].shape[1:3]
    results = [targets[0]]
    for level, target in enumerate(targets[1:], 1):
      if place is None:
        target = sample.resize_bilinear(target, size, align_corners=False).astype(target.dtype)
      else:
        axes = zip(place.axes(4), place.axes(4 << level), strict=True)
        target = interpolate(target, *(_centers(*axis, size[0]) for axis in axes))
      results.append(target)
    return self.post(jnp.concatenate(results, axis=-1))

  def _averaged(self, x: Array, place: Place | None) -> list[Array]:
    found = [x]
    for level in range(self.levels - 1):
      found.append(mean_of_four(found[-1], place and place.mask(4 << level)))
    return found

  def __call__(self, source: Array, reference: Array, want_maps: bool = False):
    """source [N, Hs, Ws, C], reference [N, Hr, Wr, C] -> ([N, Hs, Ws, C], (Attention, ...))."""
    references = self._averaged(reference, None)
    sources = self.source_levels(source)
    results, seen = [], []
    for s, conv, r, vcattn in zip(sources, self.reference, references, self.vcattn, strict=True):
      target, attention_seen = vcattn(s, conv(r), want_maps)
      results.append(target)
      seen.append(attention_seen)
    return self.join(results), tuple(seen) if want_maps else ()


def _centers(fine, coarse, size: int) -> PixelAxis:
  """`sample.axis_centers` for a tile: `size` positions of the fine axis on the coarse one.

  Args:
    fine, coarse: (first position of the tile, length of the whole axis), traced integers.
  """
  (first, length), (coarse_first, coarse_length) = fine, coarse
  numerator = (2 * (first + jnp.arange(size)) + 1) * coarse_length - length
  numerator = jnp.clip(numerator, 0, 2 * length * (coarse_length - 1))
  low = numerator // (2 * length)
  fraction = (numerator - low * 2 * length) / (2 * length)
  low = jnp.clip(low - coarse_first, 0, None)
  return PixelAxis(low, fraction.astype(jnp.float32), jnp.zeros(size))
