"""Pairs of a monochrome and a colour view: `PairColorizer.from_checkpoint(run)(mono, color)`.

A method for pairs looks for the match of the monochrome view's pixel (j, i) at (j, i + k) of the
colour view, 0 <= k < d. That is so where the monochrome camera stands on the right; a pair that was
taken otherwise is turned over for the network, and its result turned back.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from scs_jax.core.contract import Method, TrainState
from scs_jax.data import camera, matching, scan
from scs_jax.errors import UserError
from scs_jax.infer import budget, colorizer, luminance, pair_inputs, resizing
from scs_jax.infer.colorizer import Size
from scs_jax.infer.pictures import Picture
from scs_jax.infer.strips import StripPainter

VIEWS = {
  "right": (False, False),
  "left": (False, True),
  "lower": (True, False),
  "upper": (True, True),
}
"""Where the monochrome camera stands: (rows and columns are exchanged, then columns mirrored)."""

MAPS = ("disparity", "confidence")
"""The extras of a method that `Found` has."""

_POINTS = 200  # corners that are looked for in the other view
_ENOUGH = 8  # of them found, to believe what they say
_AGREE = 0.8  # of the matches lie on one side
_FAR = 98.0  # percentile of the distances that the search range is to hold
_LEVEL = 1.0  # pixels up or down, beyond which a pair is not rectified


@dataclasses.dataclass(frozen=True)
class Layout:
  """Holds how a pair lies, from matches of corners.

  Attributes:
    view: a key of VIEWS.
    reach: pixels to the most distant matches (but for 2 %); None: too few were found to tell.
    offset: pixels from the rows of matches to their pixels' own (median); None likewise.
    astray: share of the matches that lie on the wrong side for this view, where nothing is
      looked for.
  """

  view: str
  reach: float | None = None
  offset: float | None = None
  astray: float = 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
  """Holds what a method makes of a pair.

  Attributes:
    rgb: uint8 or uint16 sRGB [P, Q, 3], the result.
    layout: how the pair lies.
    disparity: float32 [h, w], pixels between matches at the size that the network saw; None unless
      maps were asked for.
    confidence: float32 [h, w], how much a match is trusted; None likewise, for a method that does
      not say, and for a pair that went through in strips.
  """

  rgb: np.ndarray
  layout: Layout
  disparity: np.ndarray | None = None
  confidence: np.ndarray | None = None


class PairColorizer:
  """Colours pairs of views with one method.

  Args:
    method, state: as of the engine; the method must take pairs.
    mono_view: a key of VIEWS, or "auto": from matches of corners, pair by pair.
    memory_limit: bytes; of the accelerator's memory, else of the host's. None: 80 % of what is
      free. Pictures that take more go through in strips of rows; where those take more as well,
      the chroma is computed at reduced size.
    want_maps: `find` gives disparity and confidence as well.
    note: receives a line about what a user would want to know.
  """

  takes_reference = True
  scales = (0.0, math.inf)  # chroma is enlarged with Y, whatever the network does

  def __init__(
    self,
    method: Method,
    state: TrainState,
    *,
    mono_view: str = "auto",
    memory_limit: int | None = None,
    want_maps: bool = False,
    note: Callable[[str], None] | None = None,
  ):
    if mono_view != "auto" and mono_view not in VIEWS:
      raise UserError(f"mono view {mono_view!r}: expected auto, {', '.join(VIEWS)}")
    self.note = note or (lambda line: None)
    self._mono_view, self._search_range = mono_view, method.search_range
    say = lambda line: self.note(line)
    self.painter = StripPainter(method, state, memory_limit, MAPS if want_maps else (), say)

  @classmethod
  def from_checkpoint(
    cls, path, *, step: int | str | None = None, **keywords: Any
  ) -> "PairColorizer":
    """Opens a network as Colorizer.from_checkpoint does; UserError for one that colours photos."""
    return cls(*colorizer.load(path, step), **keywords)

  def __call__(self, mono, color, **keywords) -> np.ndarray | Image.Image:
    """Colours one pair.

    Args:
      mono, color: each a Pillow image, an array, a file's path or a Picture, as of
        Colorizer.__call__; of one size.
      **keywords: as of `color`.

    Returns:
      As Colorizer.__call__, by what `mono` is; with mono's alpha, if it has one, as the fourth
      channel.
    """
    views = colorizer.read(mono), colorizer.read(color)
    pair_inputs.require_pair(*views)
    return colorizer.as_given(mono, views[0], self.color(*views, **keywords))

  def color(self, picture: Picture, reference: Picture, **keywords) -> np.ndarray:
    """The result alone of `find`, uint8 or uint16 sRGB [P, Q, 3]."""
    return self.find(picture, reference, **keywords).rgb

  def find(
    self,
    picture: Picture,
    reference: Picture,
    *,
    scale: float | None = None,
    size: Size | None = None,
    keep_luminance: bool | None = None,
    saturation: float = 1.0,
    input_side: int | None = None,
    depth: int = 8,
  ) -> Found:
    """Colours one pair: Y of the monochrome view, at all its precision, Cb and Cr of the network.

    Args:
      picture, reference: the monochrome and the colour view, which pair_inputs.require_pair has
        let pass.
      scale, size, saturation: as of Colorizer.color. Of an enlarged result Y is enlarged, and
        chroma along its edges.
      keep_luminance: always so.
      input_side: the network sees both views reduced to this longest side (pixels), and its
        chroma is enlarged along the edges of Y. None: the whole views; reduced so far that the
        matches lie within the method's search range where they do not, and so far that the lowest
        strips fit the memory.
      depth: bits a channel of the result, 8 or 16.

    Raises:
      UserError: a size or scale without sense, a pair whose sides cannot be told, one that does
        not fit the memory, a network that gives no numbers.
    """
    del keep_luminance
    colorizer.require_depth(depth)
    luminance.require_saturation(saturation)
    if input_side is not None:
      colorizer.require_side(input_side)
    luma = self._luma(picture)
    out_size = colorizer.result_size(luma.shape, scale, size)
    layout = find_layout(luma, reference.rgb, self._mono_view)
    self._warn(layout, luma.shape)
    side = self._side(layout, luma.shape) if input_side is None else input_side
    rgb, *maps = self._colors(luma, reference.rgb, layout, side, input_side is None)
    colorizer.require_finite(rgb)
    if luma.shape != out_size:
      luma = np.clip(resizing.resize(luma[..., None], out_size)[..., 0], 0.0, 1.0)
    rgb = luminance.keep_luma(luma, rgb, saturation, depth)
    return Found(rgb, layout, *(None if x is None else x[..., 0] for x in maps))

  def _luma(self, picture: Picture) -> np.ndarray:
    """Computes Y of the monochrome view, float32 [H, W] in [0, 1]; of gray at full precision."""
    if picture.chroma < scan.GRAY_CHROMA:
      return picture.gray
    self.note("the monochrome view has colours, of which nothing but Y is looked at")
    return camera.luma(picture.rgb).astype(np.float32) / np.float32(255)

  def _warn(self, layout: Layout, size: Size) -> None:
    along = size[0 if VIEWS[layout.view][0] else 1]
    if along < matching.PATCH:
      self.note(
        f"warning: {along} pixel{'s' * (along > 1)} from the one side to the other are too few to "
        f"tell where a pixel's match is ({matching.PATCH} are the least); colours will be wrong"
      )
    if layout.offset is not None and layout.offset > _LEVEL:
      self.note(
        f"warning: matches lie {layout.offset:.1f} pixels off their row; colours will be "
        "wrong at edges unless the pair is rectified"
      )
    if layout.astray > 1 - _AGREE:
      self.note(
        f"warning: {layout.astray:.0%} of the matches lie where none is looked for if the "
        f"monochrome camera is the {layout.view} one; try --mono-view auto"
      )

  def _side(self, layout: Layout, size: Size) -> int | None:
    """Returns the longest side at which matches lie within the search range; None: they do."""
    if layout.reach is None or self._search_range is None or layout.reach < self._search_range:
      return None
    side = max(16, int(max(size) * 0.97 * (self._search_range - 1) / layout.reach))
    self.note(
      f"matches lie up to {layout.reach:.0f} pixels apart, the network looks at "
      f"{self._search_range}: colours are computed at {side} pixels a side, light and dark stay "
      "at full size"
    )
    return side

  def _colors(self, luma, reference, layout: Layout, side: int | None, may_reduce: bool):
    """Computes the network's RGB and maps (MAPS; None: there is none), upright, at its own size."""
    transposed, mirrored = VIEWS[layout.view]
    while True:
      views = [luma[..., None], reference.astype(np.float32) / np.float32(255)]
      if side is not None:
        self._check_range(layout, side, luma.shape)
        views = [resizing.reduce_to_side(view, side) for view in views]
      turned = [_turn(view, transposed, mirrored) for view in views]
      try:
        found = self.painter.paint(*turned)
        parts = [found.rgb, *(found.extras.get(name) for name in MAPS)]
        return [x if x is None else _turn_back(x, transposed, mirrored) for x in parts]
      except MemoryError as error:
        size = turned[0].shape[:2]
        limit = budget.limit_bytes(self.painter.memory_limit)
        smaller = self.painter.side_for(size, limit) if limit else max(size) // 2
        if not may_reduce or smaller >= max(size):
          raise UserError(
            f"the views do not fit into memory even in the lowest strips "
            f"({budget.describe(error)}); raise the memory limit, or let the network see less "
            "(--input-side: light and dark stay at full size)"
          ) from error
        side = smaller
        self.note(
          f"{budget.describe(error)}: colours are computed at {side} pixels a side, light and "
          "dark stay at full size"
        )

  def _check_range(self, layout: Layout, side: int, size: Size) -> None:
    """Warns where a side that the user gave still leaves matches outside the range."""
    if layout.reach is None or self._search_range is None:
      return
    reach = layout.reach * min(1.0, side / max(size))
    if reach >= self._search_range:
      fitting = int(side * (self._search_range - 1) / reach)
      self.note(
        f"warning: at this size matches lie up to {reach:.0f} pixels apart, the network looks at "
        f"{self._search_range}; --input-side {fitting} would hold them"
      )


def find_layout(luma: np.ndarray, color: np.ndarray, mono_view: str = "auto") -> Layout:
  """Finds how a pair lies, from matches of corners of the monochrome view in the colour view.

  Args:
    luma: float32 [H, W] in [0, 1], the monochrome view.
    color: uint8 [H, W, 3].
    mono_view: a key of VIEWS where the user says it; "auto" looks sideways first, then up and down
      (a pair that was taken upright).

  Raises:
    UserError: "auto", and the views have too little in common to tell.
  """
  views = camera.to_bytes(luma), camera.luma(color)
  if mono_view != "auto":
    found = _matches(views, VIEWS[mono_view][0])
    return _layout(found, mono_view) if len(found) >= _ENOUGH else Layout(mono_view)
  seen, crooked = 0, None
  for names in (("right", "left"), ("lower", "upper")):
    found = _matches(views, VIEWS[names[0]][0])
    best = min((_layout(found, name) for name in names), key=lambda layout: layout.astray)
    if len(found) >= _ENOUGH and best.astray <= 1 - _AGREE:
      if best.offset <= _LEVEL:
        return best
      # Matches a few rows away are seen here as well: what was taken upright, or not rectified.
      crooked = best if names[0] == "right" else crooked
    seen = max(seen, len(found))
  if crooked is not None:
    return crooked
  if seen < _ENOUGH:
    cause = f"only {seen} of {_POINTS} places of one view are found in the other"
  else:
    cause = "matches lie on both sides (shift one view until the most distant objects agree)"
  raise UserError(
    f"cannot tell where the monochrome camera stands, {cause}; say it with --mono-view right, "
    "left, lower or upper"
  )


def _matches(views: tuple[np.ndarray, np.ndarray], transposed: bool) -> matching.Matches:
  turned = [np.ascontiguousarray(v.T) if transposed else v for v in views]
  return matching.match(*turned, points=_POINTS)


def _layout(found: matching.Matches, view: str) -> Layout:
  if not len(found):
    return Layout(view, astray=1.0)
  distances = -found.right if VIEWS[view][1] else found.right
  reach = max(float(np.percentile(distances, _FAR)), 0.0)
  astray = float(np.mean(distances < -_LEVEL))
  return Layout(view, reach, float(np.median(np.abs(found.down))), astray)


def _turn(view: np.ndarray, transposed: bool, mirrored: bool) -> np.ndarray:
  """Returns the view, [H, W, C], as the network expects it."""
  view = view.swapaxes(0, 1) if transposed else view
  return np.ascontiguousarray(view[:, ::-1] if mirrored else view, np.float32)


def _turn_back(view: np.ndarray, transposed: bool, mirrored: bool) -> np.ndarray:
  view = view[:, ::-1] if mirrored else view
  return np.ascontiguousarray(view.swapaxes(0, 1) if transposed else view)
