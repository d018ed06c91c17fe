"""Draws what GCA learned of a pair: confidence, disparity, curve (Cycle CNN, Figure 15)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scs_jax.report import pairs_panels, panels
from scs_jax.report.panels import Cell

LOW = (230, 0, 170)
"""What marks low confidence: a colour that neither skin, sky nor leaves have."""

_SIDE = 480  # pixels of a view at most
_TINT = 0.65  # of the mark's colour over the picture
_RAMP = np.linspace(0.0, 1.0, 256)[None]


class Answer(NamedTuple):
  """Holds one pair and what a method says of it, all of [H, W].

  Attributes:
    mono: uint8 [H, W]. color: uint8 [H, W, 3], the colour view.
    found: uint8 [H, W, 3], the colours found.
    truth: uint8 [H, W, 3], the true ones; None: unknown.
    confidence: float [H, W], M, in (0, 1).
    disparity: float [H, W], the expected one, in pixels.
    curve, support: float [S], y_m in 0 .. 255 and the sums of the nodes' weights.
  """

  mono: np.ndarray
  color: np.ndarray
  found: np.ndarray
  truth: np.ndarray | None
  confidence: np.ndarray
  disparity: np.ndarray
  curve: np.ndarray
  support: np.ndarray

  def mirrored(self) -> "Answer":
    """Turns each row round: as the files of a pair show it that was mirrored."""
    flip = lambda x: None if x is None else np.ascontiguousarray(x[:, ::-1])
    return Answer(*map(flip, self[:6]), self.curve, self.support)


def is_low(confidence: np.ndarray, share: float) -> np.ndarray:
  """Finds, as bool [H, W], pixels that count less than `share` of the mean for the curve.

  A weight has no meaning by itself, as GCA divides by their sum: hence of the mean.
  """
  return confidence < share * confidence.mean()


def mark(mono: np.ndarray, low: np.ndarray) -> np.ndarray:
  """Tints the pixels `low`, bool [H, W], of the monochrome view, uint8 [H, W], in RGB."""
  rgb = np.repeat(mono[..., None], 3, axis=-1).astype(np.float64)
  tinted = (1 - _TINT) * rgb + _TINT * np.array(LOW, np.float64)
  return np.round(np.where(low[..., None], tinted, rgb)).astype(np.uint8)


def draw(title: Sequence[str], answer: Answer, share: float = 0.5) -> np.ndarray:
  """Draws the sheet of one pair, uint8 RGB.

  Above the views, the colours found, and the true ones where they are known; below the confidence
  (its most is green, its least red), where it is low, the disparity and the curve.

  Args:
    title: lines of text.
    answer: of the pair.
    share: of the mean confidence, below which it is marked as low.
  """
  return panels.sheet([_views(answer), _maps(answer, share)], title, aligned=True)


def _views(answer: Answer) -> list[Cell]:
  found = [("monochrome view", answer.mono), ("colour view", answer.color)]
  found.append(("colours found", answer.found))
  if answer.truth is not None:
    found.append(("true colours", answer.truth))
  return [Cell(caption, panels.reduced(image, _SIDE)) for caption, image in found]


def _maps(answer: Answer, share: float) -> list[Cell]:
  confidence, disparity = answer.confidence, answer.disparity
  low = is_low(confidence, share)
  least, most = float(disparity.min()), float(disparity.max())
  plot = pairs_panels.plot_curve(answer.curve, answer.support)
  shown = panels.barred(
    panels.reduced(pairs_panels.paint_confidence(confidence), _SIDE),
    pairs_panels.paint_confidence(_RAMP),
    f"{confidence.min():.2g}",
    f"{confidence.max():.2g}",
  )
  depth = panels.barred(
    panels.reduced(pairs_panels.paint(disparity, least, most), _SIDE),
    pairs_panels.paint(_RAMP, 0.0, 1.0),
    f"{least:.1f}",
    f"{most:.1f}",
  )
  frame = ((1, 1), (1, 1), (0, 0))
  return [
    Cell(f"confidence, {confidence.mean():.2f} on average", shown),
    Cell(
      f"low, below {share:g} of that: {low.mean():.1%} of pixels",
      panels.reduced(mark(answer.mono, low), _SIDE),
    ),
    Cell("expected disparity in pixels", depth),
    Cell(
      "curve: Y found (right) to that of the view (up)",
      np.pad(plot, frame, constant_values=panels.PALE[0]),
    ),
  ]
