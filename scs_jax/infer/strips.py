"""A pair of views coloured in strips of rows: as the whole picture, in a part of its memory.

A strip is as wide as the picture, since its rows look for their matches along all of it. With
running averages for BatchNorm a row of the result depends on no row further away than the method's
`row_overlap`; so of a strip those rows are used that have that many rows around them, or the
picture's own border. Strips begin at multiples of the method's `multiple`, so that a network that
halves its input halves the same rows together; and all are of one height, equal to the picture's
modulo that multiple, so that the last one ends where the picture does and is padded as the picture
is. One program serves them all.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core.contract import Method, Query, TrainState
from scs_jax.errors import UserError
from scs_jax.infer import budget
from scs_jax.infer.budget import PlannedMemoryError
from scs_jax.infer.programs import Program, Programs
from scs_jax.training import models

_TRIM = 0.99  # of the height that a limit allows in proportion: memory is nearly proportional
_LEAST_SIDE = 64  # pixels; no picture is reduced below
_RGB, _OF_THE_WHOLE = "rgb", "confidence"


class Strip(NamedTuple):
  """Rows [start, start + height) are computed, [first, end) of the picture are taken from them."""

  start: int
  first: int
  end: int


class Colored(NamedTuple):
  """Holds what a method says of a pair.

  Attributes:
    rgb: float32 [H, W, 3] in [0, 1].
    extras: {name: float32 [H, W, channels]} of those that were asked for.
  """

  rgb: np.ndarray
  extras: dict[str, np.ndarray]


def strips(rows: int, height: int, overlap: int, multiple: int) -> Iterator[Strip]:
  """Lays out a picture's strips, from top to bottom; the rows that they take make it up.

  Args:
    rows: of the picture.
    height: of a strip; equal to `rows` modulo `multiple`, and at least `least_height`.
    overlap: rows above and below that a row of the result depends on.
    multiple: at which strips begin.
  """
  start = first = 0
  while start + height < rows:
    end = start + height - overlap
    yield Strip(start, first, end)
    # As far down as the rows from `end` on still have their overlap above them.
    start = min((end - overlap) // multiple * multiple, rows - height)
    first = end
  yield Strip(start, first, rows)


def least_height(rows: int, overlap: int, multiple: int) -> int:
  """Gives rows of the lowest strip that moves on by more than `multiple`, or of a lower picture."""
  return min(rows, _fitting(rows, 2 * overlap + 2 * multiple, multiple))


def _fitting(rows: int, height: int, multiple: int) -> int:
  """Returns the largest height up to `height` that is `rows` modulo `multiple`."""
  return height - (height - rows) % multiple


class StripPainter:
  """Colours pairs with one method, in the highest strips that the memory holds.

  Args:
    method: one that takes pairs (core.contract).
    state: params and model_state are read.
    memory_limit: bytes, of the accelerator's memory where there is one; None: 80 % of what is free.
    extras: names of the method's extras, maps of the picture's size, to compute too where it has
      them; None: all that it gives. The confidence is left out of what goes through in strips: all
      of a picture decides it.
    note: receives a line about what a user would want to know.
  """

  def __init__(
    self,
    method: Method,
    state: TrainState,
    memory_limit: int | None = None,
    extras: Sequence[str] | None = (),
    note=lambda line: None,
  ):
    if not method.takes_pairs:
      raise UserError(
        f"{type(method).__name__} colours photos, not pairs of views; leave --mono and --color "
        f"out, or take a checkpoint of {models.DEFAULTS['pairs']}"
      )
    self.method, self.memory_limit, self.note = method, memory_limit, note
    self.multiple = method.multiple
    self.overlap = method.row_overlap
    self._state = jax.device_put(state.replace(opt_state={}, frozen={}))
    self._paint = functools.partial(_paint, method, extras)
    self.programs = Programs()
    self._heights: dict[tuple[int, int], int] = {}

  def paint(self, mono: np.ndarray, color: np.ndarray) -> Colored:
    """Colours one pair.

    Args:
      mono: float32 [H, W, 1] in [0, 1].
      color: float32 RGB [H, W, 3] in [0, 1]; mono's pixel (j, i) has its match at (j, i + k).

    Raises:
      MemoryError: even the lowest strips take more than the limit (PlannedMemoryError), or than
        there is.
    """
    size = mono.shape[:2]
    while True:
      height = self.height_for(size)
      try:
        return self._in_strips(mono, color, height)
      except Exception as error:
        if not budget.is_out_of_memory(error):
          raise
        lower = self._lower(size, height)
        if lower is None:
          raise MemoryError(budget.describe(error)) from error
        # For the pictures of this size to come as well.
        self._heights[size] = lower
        self.note(f"{budget.describe(error)}; strips of {lower} rows from here on")

  def height_for(self, size: tuple[int, int]) -> int:
    """Returns the rows of a picture's strips: all of them where they fit.

    Compiles, but runs nothing.

    Raises:
      PlannedMemoryError: even the lowest strip needs more than the limit.
    """
    if size not in self._heights:
      limit = budget.limit_bytes(self.memory_limit)
      height = size[0]
      while limit is not None and (need := self.program(size, height).bytes) > limit:
        lower = self._lower(size, height, _TRIM * limit / need)
        if lower is None:
          raise PlannedMemoryError(need, limit)
        height = lower
      self._heights[size] = height
    return self._heights[size]

  def side_for(self, size: tuple[int, int], limit: int) -> int:
    """Returns the longest side of a reduced picture whose lowest strip fits into `limit` bytes."""
    lowest = self.program(size, self._least(size)).bytes
    # The strip keeps its height, unless the picture gets lower than that; its width is what counts.
    side = int(max(size) * min(0.95, 0.9 * limit / lowest))
    return max(side, _LEAST_SIDE)

  def program(self, size: tuple[int, int], height: int) -> Program:
    """Compiles the program for strips of `height` rows of a picture of this (height, width)."""
    like = lambda channels: jax.ShapeDtypeStruct((1, height, size[1], channels), jnp.float32)
    return self.programs.get(self._paint, self._state, like(1), like(3))

  def _least(self, size: tuple[int, int]) -> int:
    if self.overlap is None:  # the method says nothing of rows that depend on each other
      return size[0]
    return least_height(size[0], self.overlap, self.multiple)

  def _lower(self, size: tuple[int, int], height: int, share: float = 0.5) -> int | None:
    """Returns the height for `share` of the memory that `height` takes; None: none is lower."""
    least = self._least(size)
    asked = min(int(share * height), height - self.multiple)
    lower = max(least, _fitting(size[0], asked, self.multiple))
    if lower >= height:
      return None
    # Of all heights that make as many strips the lowest computes the fewest rows twice.
    while lower > least and self._count(size, lower - self.multiple) == self._count(size, lower):
      lower -= self.multiple
    return lower

  def _count(self, size: tuple[int, int], height: int) -> int:
    return len(list(strips(size[0], height, self.overlap or 0, self.multiple)))

  def _in_strips(self, mono: np.ndarray, color: np.ndarray, height: int) -> Colored:
    size = mono.shape[:2]
    run = self.program(size, height).run
    made: dict[str, np.ndarray] = {}
    for strip in strips(size[0], height, self.overlap or 0, self.multiple):
      rows = slice(strip.start, strip.start + height)
      parts = run(self._state, *(np.ascontiguousarray(x[None, rows]) for x in (mono, color)))
      taken = slice(strip.first - strip.start, strip.end - strip.start)
      for name, part in parts.items():
        if name not in made:
          made[name] = np.empty((*size, part.shape[-1]), np.float32)
        made[name][strip.first : strip.end] = np.asarray(part)[0, taken]
    if height < size[0]:
      made.pop(_OF_THE_WHOLE, None)
    return Colored(made.pop(_RGB), made)


def _paint(method, extras: Sequence[str] | None, state: TrainState, mono, color) -> dict:
  """The colours and the extras that are asked for; nothing reads others, so none are computed."""
  query = Query(mono, mono.shape[1:3], color, want_extras=extras is None or bool(extras))
  prediction = method.predict(state, query)
  wanted = [name for name in prediction.extras if extras is None or name in extras]
  return {_RGB: prediction.rgb.astype(jnp.float32)} | {n: prediction.extras[n] for n in wanted}
