"""SCSNet's generator (Figure 3)."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.methods.scsnet.cpm import (
  ContinuousPixelMapping,
  PixelAxis,
  interpolate,
)
from scs_jax.methods.scsnet.meta_sr import MetaAxis, MetaUpscale
from scs_jax.methods.scsnet.pvcattn import (
  Attention,
  PyramidValveCrossAttention,
  ValveCrossAttention,
)
from scs_jax.methods.scsnet.variants import Concatenation, PixelShuffle, axis
from scs_jax.nn.attention import SelfAttention
from scs_jax.nn.blocks import Conv, ResidualStack, double_size
from scs_jax.nn.border import Place
from scs_jax.ops import sample

Array = jax.Array
Axis = PixelAxis | MetaAxis

# Modules that only the referential mode uses; everything else serves both modes.
REFERENCE_MODULES = ("reference_initial", "reference_encoder", "pvcattn")
# What stands in the place of the last of them where `aggregation` says so.
CONCATENATION = "concatenation"


class Encoder(nn.Module):
  """phi_E (Eq. 1): residual blocks at full, half and quarter size, 64 -> 128 -> 256 channels."""

  widths: tuple[int, int, int]
  blocks: tuple[int, int, int]
  dtype: Any = jnp.float32
  remat: bool = False

  @nn.compact
  def __call__(self, x: Array) -> Array:
    stack = functools.partial(ResidualStack, dtype=self.dtype, remat=self.remat)
    x = stack(self.widths[0], self.blocks[0], name="full")(x)
    x = nn.relu(Conv(self.widths[1], stride=2, dtype=self.dtype, name="down_0")(x))
    x = stack(self.widths[1], self.blocks[1], name="half")(x)
    x = nn.relu(Conv(self.widths[2], stride=2, dtype=self.dtype, name="down_1")(x))
    return stack(self.widths[2], self.blocks[2], name="quarter")(x)


DECODER_ATTENTIONS = ("scaled", "unscaled")
"""Whether the decoder's correlations are divided by the square root of their channels."""


class Decoder(nn.Module):
  """phi_D: a self-attention layer, then convolutions with upsampling back to F_color."""

  widths: tuple[int, int, int]
  blocks: tuple[int, int, int]
  attention_blocks: tuple[int, int] = (1024, 1024)
  attention: str = "scaled"
  dtype: Any = jnp.float32
  remat: bool = False

  def setup(self):
    w, dtype, remat = self.widths, self.dtype, self.remat
    scaled = self.attention == "scaled"
    self.self_attention = SelfAttention(w[2], dtype, *self.attention_blocks, scaled)
    self.quarter = ResidualStack(w[2], self.blocks[2], dtype, remat)
    self.up_0 = Conv(w[1], dtype=dtype)
    self.half = ResidualStack(w[1], self.blocks[1], dtype, remat)
    self.up_1 = Conv(w[0], dtype=dtype)
    self.full = ResidualStack(w[0], self.blocks[0], dtype, remat)

  def __call__(self, x: Array, size: tuple[int, int]) -> Array:
    return self.enlarge(self.self_attention(x), size)

  def enlarge(self, x: Array, size: tuple[int, int]) -> Array:
    """Runs all that follows the self-attention."""
    half = (-(-size[0] // 2), -(-size[1] // 2))
    x = self.quarter(x)
    x = nn.relu(self.up_0(double_size(x, half)))
    x = self.half(x)
    x = nn.relu(self.up_1(double_size(x, size)))
    return self.full(x)


class SCSNet(nn.Module):
  """Colorization (phi) and super-resolution (psi) in one network, Section 3.

  Inputs and outputs are normalised Lab: L / 50 - 1 and ab / 110. Any source size and any
  reference size; one set of parameters for both modes. The parts are methods of their own
  (`encode`, `aggregate`, `generate`), so that a training step can choose the mode between them.

  Attributes:
    widths: channels at full, half and quarter size: (64, 128, 256) in the paper.
    source_blocks, reference_blocks, decoder_blocks: residual blocks at those three sizes.
    texture_blocks: basic blocks of psi_E.
    fused_features: channels of F_cs (256).
    level_features, key_features, levels, valves: see PyramidValveCrossAttention.
    cpm_widths, cpm_order, cpm_convention: see ContinuousPixelMapping and pixel_axis.
    cpm_chunk_floats: bound on one chunk's activations.
    residual_lightness: adds the interpolated input L to the predicted L. Not in the paper (False
      there); lets short trainings spend their steps on colour.
    attention_blocks: (query, key) block sizes of all attention layers.
    aggregation: how the reference's features come to the source's: "attention" (PVCAttn), "concat".
    upsampler: "cpm", "pixel_shuffle" or "meta_sr"; the others are of the ablations (variants.py).
    correlation, temperature: see ValveCrossAttention.
    decoder_attention: one of DECODER_ATTENTIONS, see nn.attention.SelfAttention.
    carry_chroma: the colours that the attention maps carry over from the reference are blended with
      the predicted ones, as far as the valves are open. Not in the paper (False there), whose
      network has to learn to pass them on through its features.
    factor: the one magnification of "pixel_shuffle"; for others its result is resized.
    dtype: of activations.
    remat: keep only what stands between residual blocks, and the input of CPM, for the gradient.
  """

  widths: tuple[int, int, int] = (64, 128, 256)
  source_blocks: tuple[int, int, int] = (1, 2, 3)
  reference_blocks: tuple[int, int, int] = (2, 3, 1)
  decoder_blocks: tuple[int, int, int] = (2, 2, 2)
  texture_blocks: int = 16
  fused_features: int = 256
  level_features: int = 128
  key_features: int = 32
  levels: int = 3
  valves: bool = True
  cpm_widths: tuple[int, ...] = (384, 384, 256)
  cpm_order: str = "fast"
  cpm_convention: str = "paper"
  cpm_chunk_floats: int = 2**24
  residual_lightness: bool = False
  attention_blocks: tuple[int, int] = (1024, 1024)
  aggregation: str = "attention"
  correlation: str = "dot"
  temperature: float = 12.0
  carry_chroma: bool = False
  decoder_attention: str = "scaled"
  upsampler: str = "cpm"
  factor: int = 4
  dtype: Any = jnp.float32
  remat: bool = False

  def setup(self):
    dtype, w, remat = self.dtype, self.widths, self.remat
    self.initial = Conv(w[0], dtype=dtype)
    self.source_encoder = Encoder(w, self.source_blocks, dtype, remat)
    self.reference_initial = Conv(w[0], dtype=dtype)
    self.reference_encoder = Encoder(w, self.reference_blocks, dtype, remat)
    if self.aggregation == "concat":
      self.concatenation = Concatenation(w[2], dtype)
    else:
      self.pvcattn = PyramidValveCrossAttention(
        w[2],
        self.level_features,
        self.key_features,
        self.levels,
        self.valves,
        self.attention_blocks,
        dtype,
        self.correlation,
        self.temperature,
        self.carry_chroma,
      )
    self.decoder = Decoder(
      w, self.decoder_blocks, self.attention_blocks, self.decoder_attention, dtype, remat
    )
    self.texture_encoder = ResidualStack(w[0], self.texture_blocks, dtype, remat)
    self.fusion = Conv(self.fused_features, dtype=dtype)
    if self.upsampler == "cpm":
      self.cpm = ContinuousPixelMapping(
        self.cpm_widths, 3, self.cpm_order, self.cpm_chunk_floats, dtype, remat
      )
    elif self.upsampler == "meta_sr":
      self.meta_sr = MetaUpscale(chunk_floats=self.cpm_chunk_floats, dtype=dtype)
    else:
      self.pixel_shuffle = PixelShuffle(w[0], self.factor, dtype=dtype)

  def encode(self, gray: Array) -> tuple[Array, Array]:
    """Runs the initial convolution and phi_E^s.

    Args:
      gray: normalised L, float32 [N, H, W, 1] in [-1, 1].

    Returns:
      F_s^init [N, H, W, 64] and F_s [N, ceil(H/4), ceil(W/4), 256].
    """
    initial = nn.relu(self.initial(gray.astype(self.dtype)))
    return initial, self.source_encoder(initial)

  def aggregate(
    self, source: Array, reference: Array, want_maps: bool = False
  ) -> tuple[Array, Array | None, tuple[Attention, ...]]:
    """Runs phi_E^r and PVCAttn (Eq. 1-2): F_int of the referential mode, and what was carried.

    Args:
      source: F_s.
      reference: normalised Lab, float32 [N, Hr, Wr, 3].
      want_maps: also return attention maps and valves of each level (quadratic in memory).
    """
    features = self.reference_encoder(
      nn.relu(self.reference_initial(reference.astype(self.dtype)))
    )
    if self.aggregation == "concat":
      return self.concatenation(source, features), None, ()
    return self.pvcattn(source, features, want_maps, reference[..., 1:])

  def fuse(self, initial: Array, color: Array, mixed: bool = False) -> Array:
    """Runs phi_D, psi_E and the 3 x 3 fusion: F_cs [N, H, W, 256] from F_s^init and F_int.

    `mixed`: the decoder's self-attention has been applied to F_int before.
    """
    size = initial.shape[1:3]
    color = self.decoder.enlarge(color, size) if mixed else self.decoder(color, size)
    texture = self.texture_encoder(initial)
    return self.fusion(jnp.concatenate([color, texture], axis=-1))

  # -- the parts, for a picture in pieces (pieces.py) or looked at (attention_maps.py) -------------

  def source_levels(self, source: Array, place: Place | None = None) -> list[Array]:
    """Maps F_s of a tile to what each pyramid level asks the reference with."""
    return self.pvcattn.source_levels(source, place)

  def reference_memories(
    self, reference: Array, place: Place | None = None
  ) -> list[tuple[Array, Array]]:
    """Maps a tile of the reference, normalised Lab, to (keys, values) of each level."""
    first = nn.relu(self.reference_initial(reference.astype(self.dtype)))
    return self.pvcattn.memories(self.reference_encoder(first), reference[..., 1:], place)

  def join_levels(
    self, targets: list[Array], place: Place | None = None
  ) -> tuple[Array, Array | None]:
    """Joins the levels' results of a tile into F_int, and what was carried."""
    return self.pvcattn.join(targets, place)

  def self_memory(self, color: Array) -> tuple[Array, Array]:
    """Maps F_int to keys and values of the decoder's self-attention."""
    return self.decoder.self_attention.memory(color)

  def self_mix(self, color: Array, key: Array, value: Array, count: Array) -> Array:
    """Maps F_int at some positions [N, L, C] to the self-attention's result there."""
    return self.decoder.self_attention.mix(color, key, value, count)

  def fuse_mixed(self, gray: Array, color: Array) -> Array:
    """Runs `fuse` on a tile, from L and the self-attention's result."""
    initial = nn.relu(self.initial(gray.astype(self.dtype)))
    return self.fuse(initial, color, mixed=True)

  def pvcattn_level(self) -> ValveCrossAttention:
    """Returns one level's VCAttn, unbound: the same module for all levels, for their parameters."""
    return ValveCrossAttention(
      self.level_features,
      self.key_features,
      self.valves,
      self.attention_blocks,
      self.dtype,
      self.correlation,
      self.temperature,
      self.carry_chroma,
      parent=None,
    )

  def generate(
    self,
    gray: Array,
    initial: Array,
    color: Array,
    rows: Axis,
    columns: Axis,
    carried: Array | None = None,
  ) -> Array:
    """Computes everything after F_int: normalised Lab, float32 [N, P, Q, 3], at the pixels asked.

    rows, columns: as `variants.axis` gives them for the upsampler. carried: as `join` returns it.
    """
    fused = self.fuse(initial, color)
    if self.upsampler == "cpm":
      lab = self.cpm(fused, rows, columns)
    elif self.upsampler == "meta_sr":
      lab = self.meta_sr(fused, rows, columns)
    else:
      size = len(rows.low), len(columns.low)
      lab = sample.resize_bilinear(self.pixel_shuffle(fused), size, align_corners=False)
    if self.residual_lightness:
      lab = lab.at[..., :1].add(interpolate(gray.astype(jnp.float32), rows, columns))
    if carried is not None:
      carried = sample.resize_bilinear(
        carried.astype(jnp.float32), gray.shape[1:3], align_corners=False
      )
      lab = blend_chroma(lab, interpolate(carried, rows, columns))
    return lab

  def __call__(
    self,
    gray: Array,
    reference: Array | None = None,
    size: tuple[int, int] | None = None,
    want_maps: bool = False,
  ):
    """Runs the whole network.

    Args:
      gray: normalised L, float32 [N, H, W, 1].
      reference: normalised Lab [N, Hr, Wr, 3] for the referential mode; None for the automatic.
      size: (height, width) of the result, any; None for that of `gray`.
      want_maps: also return what PVCAttn attended to.

    Returns:
      Normalised Lab, float32 [N, height, width, 3]; with `want_maps` a pair of it and a tuple of
      Attention, one a pyramid level.
    """
    height, width = size or gray.shape[1:3]
    rows = axis(self.upsampler, gray.shape[1], height, self.cpm_convention)
    columns = axis(self.upsampler, gray.shape[2], width, self.cpm_convention)
    initial, color = self.encode(gray)
    carried, seen = None, ()
    if reference is not None:
      color, carried, seen = self.aggregate(color, reference, want_maps)
    lab = self.generate(gray, initial, color, rows, columns, carried)
    return (lab, seen) if want_maps else lab


def blend_chroma(lab: Array, carried: Array) -> Array:
  """Puts predicted Lab [N, P, Q, 3] under what was carried there [N, P, Q, 3], see `join`."""
  return lab.at[..., 1:].multiply(carried[..., :1]).at[..., 1:].add(carried[..., 1:])


def start_as_twins(generator: dict, reference: dict) -> dict:
  """Makes the reference branch's parameters, begun such that it sees what the source branch sees.

  Encoder, pre-convolutions and keys are the source's encoder, pre-convolutions and queries; the
  first convolution sees L as the source's does, and a, b at half their usual strength. So a patch
  correlates with the patch of the same lightness from the first step on. Ours: the paper says
  nothing of initialisation.

  Args:
    generator, reference: parameters as `init` gave them, of encoders with the same blocks.
  """
  initial = generator["initial"]["conv"]
  kernel = reference["reference_initial"]["conv"]["kernel"]
  kernel = jnp.concatenate([initial["kernel"], 0.5 * kernel[:, :, 1:]], axis=2)
  attention = dict(reference["pvcattn"])
  for name, tree in reference["pvcattn"].items():
    if name.startswith("source_"):
      attention[name.replace("source_", "reference_")] = tree
    elif name.startswith("vcattn_"):
      attention[name] = tree | {"key": tree["query"]}
  twin = {
    "reference_initial": {"conv": {"kernel": kernel, "bias": initial["bias"]}},
    "reference_encoder": generator["source_encoder"],
    "pvcattn": attention,
  }
  # Copies: a step gives its old state's memory away, and must not give the same away twice.
  return jax.tree.map(jnp.array, twin)
