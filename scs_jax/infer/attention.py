"""Where a network looks in a reference when it colours points of a picture, at any size of either.

A reference is seen at 512 pixels a side at most, as everywhere; the picture at a side of choice.
"""

from typing import NamedTuple

import numpy as np

from scs_jax.core.contract import Method, TrainState
from scs_jax.errors import UserError
from scs_jax.infer import budget, colorizer, resizing
from scs_jax.infer.pictures import Picture
from scs_jax.methods.scsnet import attention_maps
from scs_jax.methods.scsnet.attention_maps import Level

SIDE = 512
"""Pixels a side at which a picture is seen, unless another side is asked for."""

require = attention_maps.require_attention


class Looked(NamedTuple):
  """What a network did with a picture and a reference.

  Attributes:
    gray: uint8 [H, W], the picture as it was seen.
    reference: uint8 [h, w, 3], likewise.
    result: uint8 [H, W, 3], the picture coloured by it.
    points: int [P, 2], (row, column) in `gray`.
    levels: of the attention, weights and valves (methods/scsnet/attention_maps.py).
  """

  gray: np.ndarray
  reference: np.ndarray
  result: np.ndarray
  points: np.ndarray
  levels: tuple[Level, ...]


def seen(picture: Picture, side: int = SIDE) -> np.ndarray:
  """A picture as the network sees it: gray, float32 [H, W] in [0, 1], `side` pixels at most."""
  return resizing.reduce_to_side(picture.gray[..., None], side)[..., 0]


def look(
  method: Method, state: TrainState, gray: np.ndarray, reference: Picture, points: np.ndarray
) -> Looked:
  """Colours a picture by a reference and keeps where each point looked.

  Args:
    method, state: of a network with attention to a reference, see `require`.
    gray: of `seen`.
    points: int [P, 2], (row, column) in `gray`.

  Raises:
    UserError: it does not fit the memory, or the network's answers are not all numbers.
  """
  lender = colorizer.reference_rgb(reference)
  try:
    looked = attention_maps.look(method, state, gray, lender, points)
  except Exception as error:
    if not budget.is_out_of_memory(error):
      raise
    raise UserError(
      f"{budget.describe(error)}; give an --input-side below {max(gray.shape)}"
    ) from error
  colorizer.require_finite(looked.rgb)
  for level in looked.levels:
    colorizer.require_finite(np.asarray(level.weights))
  return Looked(*map(_bytes, (gray, lender, looked.rgb)), points, looked.levels)


def _bytes(unit: np.ndarray) -> np.ndarray:
  return np.round(np.clip(unit, 0, 1) * 255).astype(np.uint8)
