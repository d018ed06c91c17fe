"""The memory that a picture may take, and smaller tiles where that is not enough."""

import jax

from scs_jax.core.stages import Recipe
from scs_jax.errors import UserError
from scs_jax.infer import plan
from scs_jax.infer.painter import Painter, Size

_SHARE = 0.8  # of the free memory, where the user gives no limit

# Bytes a pixel of the result that are alive after the network is done, beside the floats that it
# painted: levels of 16 bits, and a copy of them while they are written.
FINISHING = 12


class PlannedMemoryError(MemoryError):
  """The plan says that a picture needs more than there is: (bytes needed, limit)."""


class TilesAsideError(PlannedMemoryError):
  """What lies in the host's memory beside the tiles is too much: smaller ones would not help."""


class TooLarge(UserError):
  """A picture that no tiles make fit.

  Attributes:
    share: what there is of what the picture needs; None: unknown.
  """

  def __init__(self, message: str, share: float | None = None):
    super().__init__(message)
    self.share = share


def require(
  painter: Painter,
  recipe: Recipe,
  size: Size,
  painted: Size,
  out_size: Size,
  reference_size: Size | None,
  limit: int | None,
) -> None:
  """Raises PlannedMemoryError where a picture will not fit; compiles what it will run.

  Args:
    size, painted, out_size: (height, width) of what the network sees, of what it paints, and of
      the result.
    limit: bytes, of the accelerator where there is one; None: 80 % of what is free.
  """
  need = plan.measure(painter, recipe, size, painted, reference_size)
  finishing = 12 * painted[0] * painted[1] + FINISHING * out_size[0] * out_size[1]
  host = max(need.host, finishing)
  if jax.local_devices()[0].platform == "cpu":
    host_bound, program = limit_bytes(limit), max(need.host + need.program, finishing)
  else:
    host_bound, program = int(_SHARE * plan.available_bytes()[1]), need.program
  if host_bound is not None and host > host_bound:
    raise TilesAsideError(host, host_bound)
  bound = limit_bytes(limit)
  if bound is not None and program > bound:
    raise PlannedMemoryError(program, bound)


def limit_bytes(limit: int | None) -> int | None:
  """Returns the bytes that programs may take where they run; None: an accelerator keeps silent.

  Args:
    limit: what the user gives, which is then all; None: 80 % of what is free.
  """
  if limit is not None:
    return limit
  device_free, host_free = plan.available_bytes()
  free = host_free if jax.local_devices()[0].platform == "cpu" else device_free
  return None if free is None else int(_SHARE * free)


def smaller_ladder(
  painter: Painter, recipe: Recipe, size: Size, reference_size: Size | None
) -> tuple[int, ...] | None:
  """Halves the largest tile, else leaves it out, else the least allowed; None: no more.

  Whatever is chosen serves every stage of this picture.
  """
  *small, large = painter.ladder
  half = large // 2
  least = plan.least_tile(recipe)
  for ladder in ((*(t for t in small if t < half), half), tuple(small), (least,)):
    if ladder and ladder[-1] < large:
      trial = Painter(ladder, painter.programs)
      if plan.has_tiles(trial, recipe, size, reference_size):
        return ladder
  return None


def require_tiles(
  painter: Painter, recipe: Recipe, size: Size, reference_size: Size | None
) -> None:
  """Raises UserError where the tiles asked for are smaller than the network's halos."""
  if not plan.has_tiles(painter, recipe, size, reference_size):
    raise UserError(
      f"tile {painter.ladder[-1]} is too small for this network; give {plan.least_tile(recipe)} "
      "or more"
    )


def too_large(error: Exception, size: Size, out_size: Size) -> TooLarge:
  """Makes the error for a picture that no tiles make fit."""
  share = error.args[1] / error.args[0] if isinstance(error, PlannedMemoryError) else None
  return TooLarge(
    f"{size[0]}x{size[1]} pixels, to {out_size[0]}x{out_size[1]}, do not fit into memory even in "
    f"the smallest tiles ({describe(error)}); raise the memory limit, ask for a smaller result, or "
    "let the network see less (--input-side; with --keep-luminance no detail is lost)",
    share,
  )


def is_out_of_memory(error: Exception) -> bool:
  return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def describe(error: Exception) -> str:
  """Says what ran out, in a few words."""
  if isinstance(error, PlannedMemoryError):
    needed, limit = (f"{n / 1e6:,.0f} MB" for n in error.args)
    return f"needs {needed}, the limit is {limit}"
  first = (str(error).splitlines() or [type(error).__name__])[0]
  return f"out of memory ({first[:80]})"
