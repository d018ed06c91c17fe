"""What Cycle CNN answers for a pair beside its colours: confidence, disparity, global curve."""

import re

import jax
import numpy as np

from scs_jax.core.contract import Query
from scs_jax.data.stereo import Pair
from scs_jax.errors import UserError
from scs_jax.infer import budget, colorizer, programs
from scs_jax.report import confidence_sheet
from scs_jax.report.confidence_sheet import Answer
from scs_jax.training import models
from scs_jax.training.models import Model

_NEEDED = {"confidence", "curve", "curve_support", "disparity"}
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]")
_ANY = (1, 32, 32)  # of which the names of a method's extras do not depend


class TooLargeError(Exception):
  """A pair that the memory does not hold."""


def find(checkpoint: str, step: int | str | None) -> Model:
  """Finds the run, whose method gives a confidence map.

  Raises:
    UserError: no such checkpoint, or of a method that has none.
  """
  found = models.find(checkpoint, step)
  name = type(found.method).__name__
  if not found.method.takes_pairs:
    raise UserError(
      f"--checkpoint {checkpoint} is of {name}, which colours single pictures and has no "
      f"confidence; take a run of {models.DEFAULTS['pairs']}"
    )
  shapes = found.method.shapes
  view = lambda channels: jax.ShapeDtypeStruct((*_ANY, channels), np.float32)
  answer = jax.eval_shape(
    lambda state, mono, color: _predict(found.method, state, mono, color), shapes, view(1), view(3)
  )
  section = found.config.get("network", {})
  if not set(answer) >= _NEEDED or section.get("confidence", True) is False:
    raise UserError(
      f"--checkpoint {checkpoint}: this run of {name} learned no confidence map; it takes "
      "network.adjust=curve, network.confidence=True and a structure loss of kind ssim"
    )
  return found


class Oracle:
  """Asks a run about pairs; keeps the programs of sizes that it has met.

  Args:
    found: of `find`.
    memory_limit: bytes; None: 80 % of what is free.
  """

  def __init__(self, found: Model, memory_limit: int | None = None):
    self._method = found.method
    self._state = jax.device_put(found.restore())
    self._limit, self._programs = memory_limit, programs.Programs()
    self._answer = lambda *given: _predict(self._method, *given)
    self.name = type(self._method).__name__

  def ask(self, pair: Pair) -> Answer:
    """As the files of the pair show it: what was turned round for the network is turned back.

    Raises:
      TooLargeError: the memory does not hold the pair.
      UserError: the network's answers are not all numbers.
    """
    views = [np.float32(view[None]) / np.float32(255) for view in (pair.mono, pair.color)]
    height, width = pair.mono.shape[:2]
    try:
      program = self._programs.get(self._answer, self._state, *views)
      limit = budget.limit_bytes(self._limit)
      if limit is not None and program.bytes > limit:
        raise budget.PlannedMemoryError(program.bytes, limit)
      found = jax.device_get(program.run(self._state, *views))
    except Exception as error:
      if not budget.is_out_of_memory(error):
        raise
      raise TooLargeError(
        f"{width}x{height} pixels do not fit into memory ({budget.describe(error)}), and all of a "
        "pair decides its confidence: give a larger --reduce"
      ) from error
    for value in found.values():
      colorizer.require_finite(value)
    levels = np.round(np.clip(found["rgb"][0], 0.0, 1.0) * 255.0).astype(np.uint8)
    answer = Answer(
      pair.mono[..., 0],
      pair.color,
      levels,
      pair.truth,
      found["confidence"][0, ..., 0],
      found["disparity"][0, ..., 0],
      found["curve"][0],
      found["curve_support"][0],
    )
    return answer.mirrored() if pair.mirrored else answer


def _predict(method, state, mono, color) -> dict:
  """Returns the colours as "rgb", and of the extras what is drawn."""
  prediction = method.predict(state, Query(mono, mono.shape[1:3], color, want_extras=True))
  kept = {key: value for key, value in prediction.extras.items() if key in _NEEDED}
  return {"rgb": prediction.rgb, **kept}


def line(name: str, answer: Answer, share: float) -> str:
  """Writes one pair in numbers."""
  low = confidence_sheet.is_low(answer.confidence, share).mean()
  height, width = answer.mono.shape
  return (
    f"{name}: {width}x{height}, confidence {answer.confidence.min():.3f} to "
    f"{answer.confidence.max():.3f}, {low:.1%} low; disparity {answer.disparity.min():.1f} to "
    f"{answer.disparity.max():.1f}"
  )


def file_name(i: int, name: str) -> str:
  """Names a pair's picture: its number, its name without what a file's name may not have."""
  return f"{i:04d}_{_UNFIT.sub('_', name)[-120:]}.png"
