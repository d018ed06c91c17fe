"""Both colorizations of a pair of any size: in one program where it fits, else in strips."""

import jax
import numpy as np

from scs_jax.core.contract import Method, Prediction, Query, TrainState
from scs_jax.errors import UserError
from scs_jax.infer import budget, colorizer
from scs_jax.infer.strips import StripPainter
from scs_jax.measure.pairs import UNREFINED
from scs_jax.measure.predictors import Network, both_passes

_SECOND, _SECOND_UNREFINED, _DISPARITY = "second", "second_unrefined", "disparity"


class Passes:
  """Colours one pair at a time, as predictors.Network has its `passes`.

  Where the memory does not hold the whole, results are those of strips (infer/strips.py), equal to
  the whole's, without the extras that all of a pair decides: the curve and the confidence.

  Attributes:
    strips: {(height, width): rows of a strip} of sizes that did not fit.

  Args:
    method: takes pairs.
    state: params and model_state are read.
    memory_limit: bytes; None: 80 % of what is free.
  """

  def __init__(self, method: Method, state: TrainState, memory_limit: int | None = None):
    self.strips: dict[tuple[int, int], int] = {}
    self._whole = both_passes(method.colorize_twice)
    self._painter = StripPainter(_Rows(method), state, memory_limit, extras=None)

  def __call__(
    self, state: TrainState, query: Query, extras: bool = False
  ) -> tuple[Prediction, Prediction]:
    """Gives both results, with what they were before the refinement where the method tells.

    Args:
      state: the same as the constructor's.
      query: of one pair, or of several of one size, which go through whole.
      extras: with all extras of the method, where the pair goes through whole.
    """
    size = tuple(query.gray.shape[1:3])
    if query.gray.shape[0] != 1 or (extras and self._height(size) == size[0]):
      return self._whole(state, query, extras)
    height = self._height(size)
    try:
      found = self._painter.paint(np.asarray(query.gray[0]), np.asarray(query.reference[0]))
    except MemoryError as error:
      raise _too_large(size, error) from error
    colorizer.require_finite(found.rgb)
    if height < size[0]:
      self.strips[size] = height
    first, second = {}, {}
    for name, extra, of in (
      (UNREFINED, UNREFINED, first), (_SECOND_UNREFINED, UNREFINED, second),
      (_DISPARITY, _DISPARITY, first),
    ):  # fmt: skip
      if name in found.extras:
        of[extra] = found.extras[name][None]
    return Prediction(found.rgb[None], first), Prediction(found.extras[_SECOND][None], second)

  def _height(self, size: tuple[int, int]) -> int:
    try:
      return self._painter.height_for(size)
    except MemoryError as error:
      raise _too_large(size, error) from error


def network(name: str, method: Method, state: TrainState, **about) -> Network:
  """Makes a trained network's row; about: as of Network. One of pairs colours them at any size."""
  if not method.takes_pairs:
    return Network(name, method, state, **about)
  passes = Passes(method, state)
  return Network(name, method, state, passes=passes, strips=passes.strips, **about)


def _too_large(size: tuple[int, int], error: MemoryError) -> UserError:
  return UserError(
    f"a pair of {size[1]}x{size[0]} pixels does not fit into memory, even in strips "
    f"({budget.describe(error)}); --size measures the middle of each pair"
  )


class _Rows(Method):
  """Gives both passes as one prediction of a method: what a row of both depends on is twice as far.

  What the second pass gives travels among the extras of the first.
  """

  takes_pairs = True

  def __init__(self, method: Method):
    self._colorize, self.multiple = method.colorize_twice, method.multiple
    self.row_overlap = None if method.row_overlap is None else 2 * method.row_overlap

  def predict(self, state: TrainState, query: Query) -> Prediction:
    first, second = self._colorize(state, query)
    extras: dict[str, jax.Array] = {_SECOND: second.rgb}
    if UNREFINED in first.extras and UNREFINED in second.extras:
      extras |= {UNREFINED: first.extras[UNREFINED], _SECOND_UNREFINED: second.extras[UNREFINED]}
    if _DISPARITY in first.extras:
      extras[_DISPARITY] = first.extras[_DISPARITY]
    return Prediction(first.rgb, extras)
