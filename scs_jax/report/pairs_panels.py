"""Draws what a method of pairs can show besides colours: maps and curves as pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from scs_jax.report import panels

# From near to far in even steps of brightness, so that the map reads in print too.
_RAMP = np.array(
  [[28, 18, 74], [55, 72, 148], [44, 130, 160], [70, 180, 130], [178, 214, 76], [252, 240, 150]],
  np.float64,
)
_SIDE = 160  # pixels of a curve's plot
# Of the best supported node's weights: about one pixel three sigma away, in a picture of 400x300.
_NO_SUPPORT = 1e-6


def paint(values: np.ndarray, low: float, high: float) -> np.ndarray:
  """Paints [H, W] as uint8 RGB: `low` dark blue, over green, to `high` light yellow."""
  share = (values - low) / max(high - low, 1e-12)
  return np.round(panels.colored(share, _RAMP)).astype(np.uint8)


def paint_confidence(confidence: np.ndarray) -> np.ndarray:
  """Paints [H, W] as uint8 RGB as in Fig. 15: the picture's least is red, its most green."""
  low, high = float(confidence.min()), float(confidence.max())
  share = (confidence - low) / (high - low) if high > low else np.full_like(confidence, 0.5)
  levels = np.round(255.0 * np.stack([1.0 - share, share, np.zeros_like(share)], axis=-1))
  return levels.astype(np.uint8)


def plot_curve(curve: np.ndarray, support: np.ndarray | None = None) -> np.ndarray:
  """Draws the global curve T, uint8 RGB: input intensity to the right, output upwards.

  The diagonal is thin; nodes that no pixel comes near are hollow: they take the nearest level.

  Args:
    curve: [S], y_m in 0 .. 255 at x_m = 256 m / S.
    support: [S], the sum of each node's weights; None: all have support.
  """
  canvas = Image.new("RGB", (_SIDE, _SIDE), "white")
  draw = ImageDraw.Draw(canvas)
  place = lambda x, y: (x / 255 * (_SIDE - 1), (1 - np.clip(y, 0, 255) / 255) * (_SIDE - 1))
  draw.line([place(0, 0), place(255, 255)], fill=(200, 200, 200))
  points = [place(256 * m / len(curve), y) for m, y in enumerate(curve)]
  draw.line(points, fill=(34, 119, 204))
  known = np.ones(len(curve), bool) if support is None else support > _NO_SUPPORT * support.max()
  for (x, y), solid in zip(points, known, strict=True):
    box, dark = (x - 2, y - 2, x + 2, y + 2), (20, 70, 140)
    draw.ellipse(box, fill=dark if solid else "white", outline=dark)
  return np.asarray(canvas)


def strip(place: Mapping[str, np.ndarray], captions: Mapping[str, str]) -> list:
  """Gathers captioned pictures of one pair: views, results, truth, and the method's maps.

  Args:
    place: as PairTrial.show gives it; maps that the method does not give are left out.
    captions: of "first" and "second".
  """
  found: list[tuple[str, np.ndarray]] = [
    ("monochrome view", place["mono"][..., 0]),
    ("colour view", place["color"]),
    (captions["first"], place["first"]),
    (captions["second"], place["second"]),
  ]
  if "truth" in place:
    found.append(("truth of the monochrome view", place["truth"]))
  return found + _maps(place)


def _maps(place: Mapping[str, np.ndarray]) -> Sequence[tuple[str, np.ndarray]]:
  found = []
  if "unrefined" in place:
    levels = np.round(np.clip(place["unrefined"], 0.0, 1.0) * 255.0).astype(np.uint8)
    found.append(("first-time before the refinement", levels))
  if "confidence" in place:
    confidence = place["confidence"][..., 0]
    words = f"confidence {confidence.min():.2g} (red) to {confidence.max():.2g} (green)"
    found.append((words, paint_confidence(confidence)))
  if "curve" in place:
    plot = plot_curve(place["curve"], place.get("curve_support"))
    found.append(
      ("global curve: Y found in the colour view (right) to the monochrome view's (up)", plot)
    )
  if "disparity" in place:
    disparity = place["disparity"][..., 0]
    low, high = float(disparity.min()), float(disparity.max())
    words = f"expected disparity {low:.1f} (dark) to {high:.1f} pixels (light)"
    found.append((words, paint(disparity, low, high)))
  return found
