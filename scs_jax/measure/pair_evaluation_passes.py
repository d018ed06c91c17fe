"""Both colorizations of a pair of any size: in one program where it fits, else in strips."""

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import Method, Prediction, Query, TrainState
from scs_jax.errors import UserError
from scs_jax.infer import budget, colorizer
from scs_jax.infer.strips import StripPainter
from scs_jax.measure.pairs import UNREFINED


class Passes:
  """(state, query) -> (first, second), as Method.colorize_twice, for one pair at a time.

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
    self._whole = jax.jit(method.colorize_twice)
    self._painter = StripPainter(_Rows(method), state, memory_limit, want_disparity=True)

  def colorize(self, state: TrainState, query: Query) -> tuple[Prediction, Prediction]:
    """Results, and what they were before the refinement where the method tells."""
    size = tuple(query.gray.shape[1:3])
    if query.gray.shape[0] != 1:  # parts of one size, asked for by --size
      return self._whole(state, query)
    try:
      height = self._painter.height_for(size)
      found = self._painter.paint(np.asarray(query.gray[0]), np.asarray(query.reference[0]))
    except MemoryError as error:
      raise UserError(
        f"a pair of {size[1]}x{size[0]} pixels does not fit into memory, even in strips "
        f"({budget.describe(error)}); --size measures the middle of each pair"
      ) from error
    colorizer.require_finite(found.rgb)
    if height < size[0]:
      self.strips[size] = height
    return _unpacked(found.rgb, found.disparity)

  def show(self, state: TrainState, query: Query) -> tuple[Prediction, Prediction]:
    """With all extras, where the pair goes through whole."""
    size = tuple(query.gray.shape[1:3])
    return self.colorize(state, query) if size in self.strips else self._whole(state, query)


class _Rows(Method):
  """Both passes as the one prediction of a method: what a row of both depends on is twice as far.

  Results travel as channels beside each other: first.rgb is the prediction's, the others are what
  StripPainter brings back beside it.
  """

  takes_pairs = True

  def __init__(self, method: Method):
    self._colorize, self.multiple = method.colorize_twice, method.multiple
    self.row_overlap = None if method.row_overlap is None else 2 * method.row_overlap

  def predict(self, state: TrainState, query: Query) -> Prediction:
    first, second = self._colorize(state, query)
    parts = [second.rgb]
    if UNREFINED in first.extras and UNREFINED in second.extras:
      parts += [first.extras[UNREFINED], second.extras[UNREFINED]]
    if "disparity" in first.extras:
      parts.append(first.extras["disparity"])
    return Prediction(first.rgb, {"disparity": jnp.concatenate(parts, axis=-1)})


def _unpacked(first: np.ndarray, rest: np.ndarray) -> tuple[Prediction, Prediction]:
  """What _Rows packed: 3 channels of the second pass, 6 unrefined ones or none, 1 or none."""
  extras: tuple[dict, dict] = {}, {}
  second, rest = rest[..., :3], rest[..., 3:]
  if rest.shape[-1] >= 6:
    extras[0][UNREFINED], extras[1][UNREFINED] = rest[None, ..., :3], rest[None, ..., 3:6]
    rest = rest[..., 6:]
  if rest.shape[-1]:
    extras[0]["disparity"] = rest[None]
  return Prediction(first[None], extras[0]), Prediction(second[None], extras[1])
