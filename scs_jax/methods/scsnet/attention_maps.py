"""Where SCSNet looks in the reference for a few points of a picture, and its valves (Figure 8).

CMat has a row for each source position and a column for each reference position. Only the rows of
the points asked for are made, of the queries and keys that the network itself uses; everything else
is streamed as in training, so memory grows with the picture and not with its square.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import TrainState
from scs_jax.errors import UserError
from scs_jax.methods.scsnet import network, variants
from scs_jax.methods.scsnet.method import SCSNet
from scs_jax.nn import attention
from scs_jax.ops import color

Array = jax.Array


class Level(NamedTuple):
  """One level of PVCAttn.

  Attributes:
    stride: pixels of source and reference a position, along each side: 4, 8, 16, ...
    at: int [P, 2], (row, column) of the position that holds each point.
    weights: float32 [P, Hr, Wr], CMat's row of that position; each sums to one.
    valves: float32 [2, Hs, Ws] in (0, 1), V1 (source) and V2 (reference) at every source position;
      None where the module has no valves.
  """

  stride: int
  at: np.ndarray
  weights: np.ndarray
  valves: np.ndarray | None


class Looked(NamedTuple):
  """Holds what a network did with a picture and a reference: levels, and RGB float32 [H, W, 3]."""

  levels: tuple[Level, ...]
  rgb: np.ndarray


def require_attention(method) -> None:
  """Raises UserError unless the method has learned to attend to a reference."""
  if not isinstance(method, SCSNet):
    name = method.config.method.name
    raise UserError(
      f"the checkpoint is of {name}, which has no attention to a reference as SCSNet's; give a "
      "run of scsnet"
    )
  net = method.network
  if net.aggregation != "attention":
    raise UserError(
      f"this SCSNet has network.aggregation={net.aggregation}: it takes the reference in without "
      "attention; give a run with network.aggregation=attention"
    )
  if method.config.mode == "automatic":
    raise UserError(
      "this SCSNet was trained with mode=automatic: its attention to a reference has never been "
      "trained; give a run of mode alternate or referential"
    )


def look(method, state: TrainState, gray, reference, points) -> Looked:
  """Colours a picture by a reference, whole and at its own size, and keeps what it looked at.

  Args:
    method, state: SCSNet's, see `require_attention`.
    gray: sRGB gray, float32 [H, W] in [0, 1].
    reference: sRGB, float32 [h, w, 3] in [0, 1].
    points: int [P, 2], (row, column) in `gray`.
  """
  net = method.network
  params = {**state.params["generator"], **state.params["reference"]}
  strides = [4 << level for level in range(net.levels)]
  at = [np.asarray(points, np.int32).reshape(-1, 2) // stride for stride in strides]
  found, rgb = jax.device_get(_look(net, params, gray[None, ..., None], reference[None], at))
  levels = (Level(s, a, *seen) for s, a, seen in zip(strides, at, found, strict=True))
  return Looked(tuple(levels), rgb)


@functools.partial(jax.jit, static_argnums=0)  # other points of a picture are no other program
def _look(net: network.SCSNet, params, gray: Array, reference: Array, at: list[Array]):
  """Runs `SCSNet.__call__` in steps: ([(weights, valves), ... a level], RGB)."""
  run = functools.partial(net.apply, {"params": params})
  gray = color.gray_to_lightness(gray) / 50.0 - 1.0
  lab = color.normalize_lab(color.rgb_to_lab(reference))
  initial, features = run(gray, method="encode")
  memories = run(lab, method="reference_memories")
  targets, seen = [], []
  for i, source in enumerate(run(features, method="source_levels")):
    size, reference_size = source.shape[1:3], memories[i][0].shape[1:3]
    key, value = map(attention.flatten_positions, memories[i])
    vcattn = functools.partial(
      net.pvcattn_level().apply, {"params": params["pvcattn"][f"vcattn_{i}"]}
    )
    flat = attention.flatten_positions(source)
    target, *valves = vcattn(flat, key, value, method="transfer")
    targets.append(target.reshape(*source.shape[:3], -1))
    asking = source[0, at[i][:, 0], at[i][:, 1]][None]
    weights = vcattn(asking, key, flat.mean(1), method="weights")[0].reshape(-1, *reference_size)
    if net.valves:
      valves = jnp.stack([v[0, :, 0].reshape(size) for v in valves]).astype(jnp.float32)
    seen.append((weights, valves if net.valves else None))
  result, carried = run(targets, method="join_levels")
  rows, columns = (
    variants.axis(net.upsampler, side, side, net.cpm_convention) for side in gray.shape[1:3]
  )
  lab = run(gray, initial, result, rows, columns, carried, method="generate")
  return seen, color.clip_gamut(color.lab_to_rgb(color.denormalize_lab(lab)))[0]
