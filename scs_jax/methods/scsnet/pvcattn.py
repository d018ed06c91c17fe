"""Pyramid Valve Cross Attention: colour from the reference to the source (Section 3.1)."""

import functools
import math
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


CORRELATIONS = ("dot", "cosine")


@flax.struct.dataclass
class Attention:
  """Holds what one VCAttn did, for looking at (Figure 8).

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
    correlation: "dot", Q_s K_r / sqrt(C), as above; or "cosine" (ours): queries less their mean
      over the source's positions, keys less theirs over the reference's, each divided by its norm,
      and the product times a learned temperature, as He et al. 2018 and Zhang et al. 2019a
      correlate, on whom the paper builds.
    temperature: where the learned one starts.
    carry_chroma: the keys' a and b go along with V_r (ours); F_t then has three channels more, V2
      and the a, b that CMat carried over.
  """

  features: int
  key_features: int
  valves: bool = True
  blocks: tuple[int, int] = (1024, 1024)
  dtype: Any = jnp.float32
  correlation: str = "dot"
  temperature: float = 12.0
  carry_chroma: bool = False

  def setup(self):
    # Less their means, queries and keys have no bias.
    narrow = functools.partial(nn.Dense, use_bias=self.correlation == "dot", dtype=self.dtype)
    self.query, self.key = narrow(self.key_features), narrow(self.key_features)
    self.value = nn.Dense(self.features, dtype=self.dtype)
    if self.valves:
      self.valve_0 = nn.Dense(self.features, dtype=self.dtype)
      self.valve_1 = nn.Dense(2, dtype=self.dtype)
    if self.correlation == "cosine":
      # Its logarithm, so that it stays positive.
      start = nn.initializers.constant(math.log(self.temperature))
      self.log_temperature = self.param("log_temperature", start, ())

  def memory(self, reference: Array, chroma: Array | None = None) -> tuple[Array, Array]:
    """Computes K_r and V_r at reference positions [..., Cr]; `chroma`: a, b there, if carried."""
    value = self.value(reference)
    if self.carry_chroma:
      value = jnp.concatenate([value, chroma.astype(value.dtype)], axis=-1)
    return self.key(reference), value

  def transfer(
    self,
    source: Array,
    key: Array,
    value: Array,
    count: Array | None = None,
    mean: Array | None = None,
  ):
    """Computes F_t at source positions [N, L, C], and the valves V1, V2 [N, L, 1] or None.

    Args:
      source: F_s, one row a position.
      key, value: K_r, V_r [N, Lr, ...].
      count: int32; only the first `count` of them are there. None: all.
      mean: F_s averaged over all positions [N, C], where `source` is a part of them.
    """
    query, key = self._correlated(source, key, count, mean)
    blocks = {"query_block": self.blocks[0], "key_block": self.blocks[1]}
    if count is None:
      moved = attention.attend(query, key, value, **blocks)
    else:
      moved = attention.attend_prefix(query, key, value, count, **blocks)
    if self.carry_chroma:
      moved, chroma = moved[..., :-2], moved[..., -2:]
    if not self.valves:
      return source + moved, None, None
    both = jnp.concatenate([source, moved], axis=-1)
    logits = self.valve_1(nn.relu(self.valve_0(both)))
    valve = jax.nn.sigmoid(logits.astype(jnp.float32)).astype(source.dtype)
    v1, v2 = valve[..., :1], valve[..., 1:]
    target = v1 * source + v2 * moved
    if self.carry_chroma:
      target = jnp.concatenate([target, v2, chroma], axis=-1)
    return target, v1, v2

  def weights(self, source: Array, key: Array, mean: Array | None = None) -> Array:
    """CMat's rows of the source positions given [N, L, C]: float32 [N, L, Lr], kept whole."""
    return attention.attention_map(*self._correlated(source, key, None, mean))

  def _correlated(self, source, key, count, mean) -> tuple[Array, Array]:
    """Queries of the source, and the keys, such that CMat = softmax of q . k / sqrt(C)."""
    query = self.query(source)
    if self.correlation == "dot":
      return query, key
    if mean is None:
      query_mean = query.astype(jnp.float32).mean(1, keepdims=True)
    else:  # the mean of a linear layer's results is its result for the mean
      query_mean = self.query(mean[:, None])
    there = 1.0 if count is None else (jnp.arange(key.shape[1]) < count)[:, None]
    key_count = key.shape[1] if count is None else count
    key_mean = (key.astype(jnp.float32) * there).sum(1, keepdims=True) / key_count
    scale = jnp.exp(self.log_temperature) * self.key_features**0.5
    query = scale * _unit(query - query_mean)
    return query.astype(self.dtype), _unit(key - key_mean).astype(self.dtype)

  def __call__(
    self,
    source: Array,
    reference: Array,
    want_maps: bool = False,
    chroma: Array | None = None,
  ):
    """F_s, F_r and the reference's a, b, or None -> ([N, Hs, Ws, C (+ 3)], Attention | None)."""
    flat = attention.flatten_positions(source)
    key, value = map(attention.flatten_positions, self.memory(reference, chroma))
    target, *valves = self.transfer(flat, key, value)
    target = target.reshape(*source.shape[:3], -1)
    if not want_maps:
      return target, None
    cmat = self.weights(flat, key).reshape(*source.shape[:3], *reference.shape[1:3])
    shown = (None if v is None else v.reshape(*source.shape[:3], 1) for v in valves)
    return target, Attention(cmat, *shown)


def _unit(x: Array) -> Array:
  """Vectors of length 1 along the last axis; float32. One of length 0 stays so, gradient too."""
  x = x.astype(jnp.float32)
  return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-6)


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
    valves, correlation, temperature, carry_chroma: see ValveCrossAttention.
  """

  features: int = 256
  level_features: int = 128
  key_features: int = 32
  levels: int = 3
  valves: bool = True
  blocks: tuple[int, int] = (1024, 1024)
  dtype: Any = jnp.float32
  correlation: str = "dot"
  temperature: float = 12.0
  carry_chroma: bool = False

  def setup(self):
    levels = range(self.levels)
    self.source = [Conv(self.level_features, dtype=self.dtype) for _ in levels]
    self.reference = [Conv(self.level_features, dtype=self.dtype) for _ in levels]
    self.vcattn = [
      ValveCrossAttention(
        self.level_features,
        self.key_features,
        self.valves,
        self.blocks,
        self.dtype,
        self.correlation,
        self.temperature,
        self.carry_chroma,
      )
      for _ in levels
    ]
    self.post = Conv(self.features, dtype=self.dtype)

  def source_levels(self, source: Array, place: Place | None = None) -> list[Array]:
    """Convolves the pyramid of F_s [N, H, W, C]; `place` for a tile at stride 4 (below too)."""
    return [conv(x) for conv, x in zip(self.source, self._averaged(source, place), strict=True)]

  def memories(
    self, reference: Array, chroma: Array | None = None, place: Place | None = None
  ) -> list[tuple[Array, Array]]:
    """Computes (K_r, V_r) of each level, as maps [N, h, w, ...]."""
    levels = zip(
      self.vcattn,
      self.reference,
      self._averaged(reference, place),
      self._chroma(chroma, place),
      strict=True,
    )
    return [vcattn.memory(conv(x), ab) for vcattn, conv, x, ab in levels]

  def join(self, targets: list[Array], place: Place | None = None) -> tuple[Array, Array | None]:
    """Joins the levels' results, enlarged to the first one's size.

    Returns:
      F_int [N, H, W, features], and what was carried: [N, H, W, 3], the share of the colour that is
      left to the network, and a, b times the share that they have. None where nothing is carried.
    """
    size = targets[0].shape[1:3]
    results = [targets[0]]
    for level, target in enumerate(targets[1:], 1):
      if place is None:
        target = sample.resize_bilinear(target, size, align_corners=False).astype(target.dtype)
      else:
        target = enlarge(target, place, 4 << level, 4)
      results.append(target)
    if not self.carry_chroma:
      return self.post(jnp.concatenate(results, axis=-1)), None
    # A finer level's a, b lie over a coarser one's, as opaque as its valve is open.
    left, chroma = 1.0, 0.0
    for result in reversed(results):
      valve = result[..., -3:-2]
      left, chroma = (1 - valve) * left, (1 - valve) * chroma + valve * result[..., -2:]
    features = jnp.concatenate([result[..., :-3] for result in results], axis=-1)
    return self.post(features), jnp.concatenate([left, chroma], axis=-1)

  def _chroma(self, chroma: Array | None, place: Place | None) -> list[Array | None]:
    """Returns the reference's a, b [N, Hr, Wr, 2] at the positions of each level."""
    if not self.carry_chroma:
      return [None] * self.levels
    for stride in (1, 2):
      chroma = mean_of_four(chroma, place and place.mask(stride))
    return self._averaged(chroma, place)

  def _averaged(self, x: Array, place: Place | None) -> list[Array]:
    found = [x]
    for level in range(self.levels - 1):
      found.append(mean_of_four(found[-1], place and place.mask(4 << level)))
    return found

  def __call__(
    self, source: Array, reference: Array, want_maps: bool = False, chroma: Array | None = None
  ):
    """Computes F_int, what was carried (`join`), and what was attended to.

    Args:
      source: F_s [N, Hs, Ws, C].
      reference: the reference's features [N, Hr, Wr, C].
      want_maps: also return an Attention of each level.
      chroma: the reference's normalised a, b [N, 4 Hr, 4 Wr, 2]; looked at where `carry_chroma`.
    """
    references = self._averaged(reference, None)
    levels = zip(
      self.source_levels(source),
      self.reference,
      references,
      self._chroma(chroma, None),
      self.vcattn,
      strict=True,
    )
    results, seen = zip(
      *(vcattn(s, conv(r), want_maps, ab) for s, conv, r, ab, vcattn in levels), strict=True
    )
    return *self.join(list(results)), seen if want_maps else ()


def enlarge(x: Array, place: Place, stride: int, to: int) -> Array:
  """Samples a tile's map at one stride at a finer one, bilinear by pixel centres."""
  axes = zip(place.axes(to), place.axes(stride), strict=True)
  return interpolate(x, *(_centers(*axis, place.tile // to) for axis in axes))


def _centers(fine, coarse, size: int) -> PixelAxis:
  """Computes `sample.axis_centers` for a tile: `size` positions of the fine axis on the coarse one.

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
