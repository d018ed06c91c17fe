"""Refuses held-out pictures that cannot be scored, before anything is compiled."""

from collections.abc import Sequence

from scs_jax.errors import UserError
from scs_jax.measure.evaluate import SMALLEST


def require_readable(pictures: int, side: int, what: str = "pictures") -> None:
  """Refuses held-out pictures of which none can be read or that SSIM's window does not fit into.

  Args:
    pictures: how many can be read; side: the least of their heights and widths, pixels.
  """
  if side < SMALLEST:
    raise UserError(
      f"held-out {what} are {side} pixels high or wide, expected {SMALLEST} or more to measure "
      "SSIM; raise config.data.crop, or set config.data.heldout to ''"
    )
  if not pictures:
    raise UserError(f"none of the held-out {what} can be read; check config.data.heldout")


def require_modes(config, known: Sequence[str], what: str) -> None:
  """Refuses modes of another kind of method; `what` this one colours."""
  for mode in config.evaluate.modes:
    if mode not in known:
      raise UserError(
        f"evaluate.modes has {mode!r}, but {config.method.name} colours {what}: its modes are "
        f"{', '.join(known)}"
      )


def require_best(config, known: Sequence[str], why: str = "") -> None:
  """Refuses a best_metric that is not among those measured; `why` it may not be."""
  best = config.checkpoint.best_metric
  if best and best not in known:
    raise UserError(
      f"checkpoint.best_metric is {best!r}, but what is measured is "
      f"{', '.join(known) or 'nothing'} (evaluate.modes{why}); name one of those, or none ('')"
    )
