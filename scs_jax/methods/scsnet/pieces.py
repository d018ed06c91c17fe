"""SCSNet on pictures of any size: its network cut into the stages of core/stages.py.

    gray -> encoder (tiles) [-> pyramid -> VCAttn at each level (positions) -> post-convolution]
         -> self-attention (positions) -> decoder, texture, fusion (tiles) -> CPM (pixels)

The same modules and weights as `network.SCSNet.__call__`, and the same result up to rounding.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from scs_jax.core.stages import MemoryStage, PaintStage, PointStage, Recipe, TileStage
from scs_jax.methods.scsnet import cpm, network
from scs_jax.methods.scsnet.pvcattn import enlarge
from scs_jax.nn.border import Place, zero_outside
from scs_jax.ops import color

Array = jax.Array

# Positions that attention looks at one by one; a larger picture's are averaged. 65,536 are those
# of 1024 x 1024 pixels at a quarter of the size.
SOURCE_KEYS = 65_536
REFERENCE_KEYS = 16_384


def recipe(net: network.SCSNet, params, referential: bool) -> Recipe:
  """Lists the stages of one mode.

  Args:
    net: the network.
    params: of the generator and, for the referential mode, the reference branch, in one tree.
    referential: whether a reference is given.
  """
  variables = {"params": params}
  apply = functools.partial(_apply, net)
  stages: list = []
  carried = {"carried": 4} if referential and net.carry_chroma else {}
  if not referential:
    stages.append(
      TileStage(
        "encoder",
        functools.partial(_encode, apply),
        variables,
        {"gray": 1},
        {"color": 4, "key": 4, "value": 4},
        encoder_reach(net.source_blocks),
      )
    )
  else:
    strides = [4 << level for level in range(net.levels)]
    levels = {f"level_{i}": stride for i, stride in enumerate(strides)}
    # A level's 3 x 3 pre-convolution, and the averages under it.
    pyramid = 2 * strides[-1]
    stages.append(
      TileStage(
        "encoder and pyramid",
        functools.partial(_encode_levels, apply),
        variables,
        {"gray": 1},
        levels,
        encoder_reach(net.source_blocks) + pyramid,
      )
    )
    transfer = functools.partial(_transfer, net.pvcattn_level())
    stages += [
      PointStage(name, transfer, {"params": params["pvcattn"][f"vcattn_{i}"]}, name, name, name)
      for i, name in enumerate(levels)
    ]
    joined = {"color": 4, "key": 4, "value": 4} | carried
    stages.append(
      TileStage(
        "post-convolution",
        functools.partial(_join, apply),
        variables,
        levels,
        joined,
        4 + pyramid,
        every_size=False,
      )
    )
  stages += [
    MemoryStage("self", "key", "value", SOURCE_KEYS),
    PointStage(
      "self-attention", functools.partial(_mix, apply), variables, "color", "color", "self"
    ),
  ]
  paint = PaintStage(
    "decoder, texture and CPM",
    functools.partial(_features, apply, net.dtype),
    functools.partial(_pixels, net.dtype, net.residual_lightness),
    functools.partial(_axis, net.cpm_convention),
    variables,
    {"gray": 1, "color": 4} | carried,
    paint_reach(net),
  )
  reference = _reference_stages(net, apply, variables) if referential else ()
  return Recipe(tuple(stages), paint, reference, align=4 << max(net.levels - 1, 0))


def _reference_stages(net: network.SCSNet, apply, variables) -> tuple:
  strides = [4 << level for level in range(net.levels)]
  writes = {}
  for i, stride in enumerate(strides):
    writes |= {f"key_{i}": stride, f"value_{i}": stride}
  encoder = TileStage(
    "reference encoder",
    functools.partial(_encode_reference, apply),
    variables,
    {"rgb": 1},
    writes,
    encoder_reach(net.reference_blocks) + 2 * strides[-1],
    every_size=False,
  )
  memories = [
    MemoryStage(f"level_{i}", f"key_{i}", f"value_{i}", REFERENCE_KEYS) for i in range(net.levels)
  ]
  return (encoder, *memories)


def encoder_reach(blocks: tuple[int, int, int]) -> int:
  """Pixels around a position of F_s that change it: 3 x 3 convolutions at strides 1, 2 and 4."""
  full, half, quarter = blocks
  return 1 + 2 * full + 1 + 2 * 2 * half + 2 + 4 * 2 * quarter


def paint_reach(net: network.SCSNet) -> int:
  """Pixels around an output pixel that change it, from the self-attention's result onwards."""
  full, half, quarter = net.decoder_blocks
  decoder = 4 * 2 * quarter + 3 + 2 + 2 * 2 * half + 1 + 1 + 2 * full
  texture = 1 + 2 * net.texture_blocks
  return max(decoder, texture) + 1 + 1  # fusion, and the neighbour that CPM interpolates with


def _apply(net: network.SCSNet, variables, place: Place | None, *args, method: str):
  if place is None:
    return net.apply(variables, *args, method=method)
  with zero_outside(place):
    return net.apply(variables, *args, method=method)


def _normalized(gray: Array) -> Array:
  return color.gray_to_lightness(gray) / 50.0 - 1.0


def _encode(apply, variables, windows, place: Place):
  _, features = apply(variables, place, _normalized(windows["gray"]), method="encode")
  key, value = apply(variables, None, features, method="self_memory")
  return {"color": features, "key": key, "value": value}


def _encode_levels(apply, variables, windows, place: Place):
  _, features = apply(variables, place, _normalized(windows["gray"]), method="encode")
  levels = apply(variables, place, features, place, method="source_levels")
  return {f"level_{i}": level for i, level in enumerate(levels)}


def _encode_reference(apply, variables, windows, place: Place):
  lab = color.normalize_lab(color.rgb_to_lab(windows["rgb"]))
  memories = apply(variables, place, lab, place, method="reference_memories")
  return {
    f"{name}_{i}": x
    for i, memory in enumerate(memories)
    for name, x in zip(("key", "value"), memory, strict=True)
  }


def _transfer(module, variables, positions, mean, key, value, count):
  return module.apply(variables, positions, key, value, count, mean, method="transfer")[0]


def _join(apply, variables, windows, place: Place):
  targets = [windows[f"level_{i}"] for i in range(len(windows))]
  features, carried = apply(variables, place, targets, place, method="join_levels")
  key, value = apply(variables, None, features, method="self_memory")
  found = {"color": features, "key": key, "value": value}
  return found if carried is None else found | {"carried": carried}


def _mix(apply, variables, positions, mean, key, value, count):
  del mean
  return apply(variables, None, positions, key, value, count, method="self_mix")


def _features(apply, dtype, variables, windows, place: Place):
  """Gives what is interpolated: CPM's first layer at the input's size, L, and what was carried."""
  gray = _normalized(windows["gray"])
  fused = apply(variables, place, gray, windows["color"], method="fuse_mixed")
  kernel, bias = cpm.layers_of(variables["params"]["cpm"], dtype)[0]
  low = fused.astype(dtype) @ kernel[: fused.shape[-1]] + bias
  found = {"low": low, "gray": gray}
  if "carried" in windows:
    found["carried"] = enlarge(windows["carried"].astype(jnp.float32), place, 4, 1)
  return found


class Pixels(NamedTuple):
  """Output pixels along one axis: cpm.PixelAxis without its static bound."""

  low: Array
  fraction: Array
  cell: Array


def _axis(convention: str, in_size: int, out_size: int) -> Pixels:
  axis = cpm.pixel_axis(in_size, out_size, convention)
  return Pixels(axis.low, axis.fraction, axis.cell)


def _pixels(dtype, residual_lightness, variables, features, rows, columns):
  """Runs CPM's remaining layers, as in `cpm.map_pixels`, at S x S pixels."""
  layers = cpm.layers_of(variables["params"]["cpm"], dtype)
  kernel = layers[0][0]
  x = cpm.gather(features["low"], rows, columns)
  x = x + jnp.asarray(columns.cell, x.dtype)[:, None] * kernel[-1]
  x = x + jnp.asarray(rows.cell, x.dtype)[:, None, None] * kernel[-2]
  lab = cpm.remaining_layers(layers, x)
  if residual_lightness:
    lab = lab.at[..., :1].add(cpm.gather(features["gray"], rows, columns))
  if "carried" in features:
    lab = network.blend_chroma(lab, cpm.gather(features["carried"], rows, columns))
  return color.clip_gamut(color.lab_to_rgb(color.denormalize_lab(lab)))
