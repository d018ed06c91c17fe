"""A trained method as a function of pictures: `Colorizer.from_checkpoint(run)(photo)`."""

import hashlib
import math
import numbers
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from PIL import Image

from scs_jax.core.contract import Method, Query, TrainState
from scs_jax.data import decode, scan
from scs_jax.errors import UserError
from scs_jax.infer import budget, luminance, picture_files, pictures, resizing
from scs_jax.infer.painter import LADDER, Painter
from scs_jax.infer.pictures import Picture
from scs_jax.ops.corner import Corner
from scs_jax.training import models

REFERENCE_SIDE = 512
"""Longest side, pixels, at which a reference is looked at; larger ones are reduced."""

_KEPT_REFERENCES = 4
_LEAST_SEEN = 256  # pixels a side, below which memory is too little to colour anything

Size = tuple[int, int]


class Colorizer:
  """Colours pictures of any size with one method.

  A picture is cut into tiles of a few fixed sizes, so the number of compiled programs
  (`programs`) does not grow with the number of different sizes, and memory is planned before a
  picture is begun; where it runs out all the same, the tiles are halved.

  Args:
    method, state: as of the engine; only params and model_state are read.
    memory_limit: bytes; of the accelerator's memory, else of the host's. None: 80 % of what is
      free.
    tile: side of the largest tile, pixels; None: 512, and 192 for small pictures.
    note: receives a line about what a user would want to know (keys averaged, tiles halved).
  """

  def __init__(
    self,
    method: Method,
    state: TrainState,
    *,
    memory_limit: int | None = None,
    tile: int | None = None,
    note: Callable[[str], None] | None = None,
  ):
    if memory_limit is not None and memory_limit < 1:
      raise UserError(f"memory limit {memory_limit}: expected bytes, 1 or more")
    if method.takes_pairs:
      raise UserError(
        f"{type(method).__name__} colours pairs of a monochrome and a colour view; give it both "
        "(`scs-jax colorize --mono M --color C`, or infer.pairs.PairColorizer)"
      )
    if tile is not None and not 32 <= tile <= 8192:
      raise UserError(f"tile {tile}: expected 32 to 8192 pixels")
    self.method, self.memory_limit = method, memory_limit
    self.note = note or (lambda line: None)
    self.takes_reference, self.scales = method.takes_reference, method.scales
    self._state = jax.device_put(state.replace(opt_state={}, frozen={}))
    ladder = LADDER if tile is None else (tile,)
    self._painter = Painter(ladder, note=lambda line: self.note(line))
    self._recipes: dict[bool, Any] = {}
    self._references: dict[str, dict] = {}

  @classmethod
  def from_checkpoint(
    cls, path, *, step: int | str | None = None, **keywords: Any
  ) -> "Colorizer":
    """Opens a trained network: a run's folder, a model's file, or a shipped model's name.

    Args:
      path: as `models.find` takes it; or what it found.
      step: which checkpoint of a run: "best" (the default), "last", or a number.
      **keywords: as of the class.

    Raises:
      UserError: no such network, half-written or damaged, of an unknown method or another network.
    """
    return cls(*load(path, step), **keywords)

  @property
  def programs(self) -> int:
    """XLA programs compiled so far for the network."""
    return len(self._painter.programs)

  def __call__(self, image, reference=None, **keywords):
    """Colours one picture.

    Args:
      image: a Pillow image, an array of NumPy, JAX or alike ([H, W] or [H, W, 1], 2, 3 or 4; uint8,
        uint16 or float in [0, 1]; colours are grayed first), a file's path, or a Picture.
      reference: likewise, a picture that lends its colours; None: automatic.
      **keywords: as of `color`.

    Returns:
      A NumPy array uint8 [P, Q, 3] for an array, else a Pillow image; with the input's alpha, if it
      has one, as the fourth channel. At depth=16 an array in every case, uint16: Pillow has no
      image of such colours.
    """
    picture = read(image)
    lender = None if reference is None else read(reference)
    if lender is not None and lender.chroma < scan.GRAY_CHROMA:
      warnings.warn("the reference is gray: it has no colours to lend", stacklevel=2)
    return as_given(image, picture, self.color(picture, lender, **keywords))

  def color(
    self,
    picture: Picture,
    reference: Picture | None = None,
    *,
    scale: float | None = None,
    size: Size | None = None,
    keep_luminance: bool | None = None,
    saturation: float = 1.0,
    input_side: int | None = None,
    depth: int = 8,
  ) -> np.ndarray:
    """Colours one picture.

    Args:
      picture: what to colour; its gray alone is looked at.
      reference: lends its colours.
      scale: output size over input size, any real number.
      size: (height, width) of the result, instead of a scale. Without both: that of the picture.
      keep_luminance: the result has the picture's own lightness, enlarged or reduced where it
        must be; the network gives the chroma alone, at the size it sees, enlarged along the
        edges of the lightness. None: for a method that predicts chroma alone.
      saturation: multiplies the chroma; 0 is gray, 1 what the network says, at most 4.
      input_side: the network sees the picture reduced to this longest side (pixels). None: the
        method's usual side if it has one and the lightness is kept, else the whole picture. Where
        that does not fit the memory in any tiles, so many as fit, and a result of the picture's
        size (or one that keeps the lightness) has the picture's own lightness.
      depth: bits a channel of the result, 8 or 16. Only where the lightness is kept has a result
        more than 8: of its own the network has no more to say.

    Returns:
      uint8 sRGB [P, Q, 3], or uint16.

    Raises:
      UserError: a size or scale without sense, a picture that does not fit the memory, a network
        that gives no numbers.
    """
    gray = picture.gray
    require_depth(depth)
    out_size = result_size(gray.shape, scale, size)
    if keep_luminance is None:
      keep_luminance = self.method.keeps_luminance
    may_see_less = input_side is None and (keep_luminance or out_size == gray.shape)
    if input_side is None and keep_luminance:
      input_side = self.method.usual_side
    if input_side is not None:
      require_side(input_side)
    if reference is not None and not self.takes_reference:
      raise UserError(f"{type(self.method).__name__} takes no reference; leave it out")
    luminance.require_saturation(saturation)
    while True:
      seen, painted = gray, out_size
      if input_side is not None:
        seen = resizing.reduce_to_side(gray[..., None], input_side)[..., 0]
      if keep_luminance:
        painted = tuple(max(1, round(s * self.method.usual_scale)) for s in seen.shape)
      self._check_scale(seen.shape, painted)
      try:
        rgb = self._colors(np.ascontiguousarray(seen, np.float32), painted, out_size, reference)
        break
      except budget.TooLarge as error:
        input_side = int(0.95 * max(seen.shape) * min(0.9, math.sqrt(error.share or 0.25)))
        if not may_see_less or input_side < _LEAST_SEEN:
          raise
        keep_luminance = True
        self.note(
          f"does not fit into memory as a whole: colours are computed at {input_side} pixels a "
          "side, light and dark are the picture's own"
        )
    require_finite(rgb)
    if not keep_luminance:
      return luminance.saturate(rgb, saturation)
    if gray.shape != out_size:
      gray = np.clip(resizing.resize(gray[..., None], out_size)[..., 0], 0.0, 1.0)
    return luminance.keep_luminance(gray, rgb, saturation, depth)

  # -- the network ---------------------------------------------------------------------------------

  def _check_scale(self, size: Size, out_size: Size) -> None:
    least, most = self.method.scales
    for a, b in zip(size, out_size, strict=True):
      # A side of few pixels cannot be met exactly: a pixel more or less is within the bounds.
      if not least * a - 1 <= b <= most * a + 1:
        raise UserError(
          f"from {size[0]}x{size[1]} to {out_size[0]}x{out_size[1]} pixels (height x width) is a "
          f"magnification of {b / a:.3g}; {type(self.method).__name__} does {least:g} to {most:g}"
        )

  def _colors(
    self, gray: np.ndarray, size: Size, out_size: Size, reference: Picture | None
  ) -> np.ndarray:
    """Returns the network's RGB at `size`, for a result of `out_size`."""
    lender = None if reference is None else reference_rgb(reference)
    recipe = self._recipe(lender is not None)
    if recipe is None:
      return self._whole(gray, size, lender)
    reference_size = None if lender is None else lender.shape[:2]
    budget.require_tiles(self._painter, recipe, gray.shape, reference_size)
    usual = self._painter.ladder
    while True:
      try:
        budget.require(
          self._painter, recipe, gray.shape, size, out_size, reference_size, self.memory_limit
        )
        memories = None if lender is None else self._memories(recipe, lender)
        return self._painter.paint(recipe, gray, size, memories)
      except Exception as error:
        if not budget.is_out_of_memory(error):
          raise
        ladder = None
        if not isinstance(error, budget.TilesAsideError):
          ladder = budget.smaller_ladder(self._painter, recipe, gray.shape, reference_size)
        if ladder is None:
          self._painter.ladder = usual  # the next picture may be smaller
          raise budget.too_large(error, gray.shape, out_size) from error
        # For the pictures to come as well: another ladder for each would be other programs.
        self._painter.ladder = ladder
        self.note(f"{budget.describe(error)}; tiles of {ladder[-1]} pixels from here on")

  def _recipe(self, referential: bool):
    if referential not in self._recipes:
      self._recipes[referential] = self.method.recipe(self._state, referential)
    return self._recipes[referential]

  def _memories(self, recipe, lender: np.ndarray) -> dict:
    """Returns a reference's memories, made once for a series of pictures."""
    key = hashlib.sha256(lender.tobytes()).hexdigest() + str(lender.shape)
    if key not in self._references:
      while len(self._references) >= _KEPT_REFERENCES:
        self._references.pop(next(iter(self._references)))
      self._references[key] = self._painter.remember(recipe, lender)
    return self._references[key]

  def _whole(self, gray: np.ndarray, size: Size, lender) -> np.ndarray:
    """Colours by a method without a recipe: whole, in the corner of a square if it can."""
    reference = None
    if lender is not None:
      reference = resizing.resize(lender, (256, 256))[None]
    query = Query(gray[None, ..., None], size, reference)
    if self.method.takes_corner:
      query = _in_corner(query)
    program = self._painter.programs.get(self.method.predict, self._state, query)
    rgb = np.asarray(program.run(self._state, query).rgb)[0]
    return rgb[: size[0], : size[1]]


def _in_corner(query: Query) -> Query:
  """Puts the picture in the corner of a square, so that few shapes serve all sizes."""
  old, new = query.gray.shape[1:3], tuple(query.size)
  sides = [resizing.bucket(max(size)) for size in (old, new)]
  pads = [(0, 0), *((0, sides[0] - s) for s in old), (0, 0)]
  size, out = (tuple(map(np.int32, s)) for s in (old, new))
  part = Corner(size, None if old == new else out)
  return query.replace(gray=np.pad(query.gray, pads), size=(sides[1], sides[1]), corner=part)


def load(path, step: int | str | None = None) -> tuple[Method, TrainState]:
  """Loads (method, state without what training alone needs), as from_checkpoint."""
  model = models.find(path, step)
  return model.method, model.restore()


def require_finite(rgb: np.ndarray) -> None:
  """Raises UserError where a network's colours are not all numbers."""
  if not np.isfinite(rgb).all():
    raise UserError(
      "the network's colours are not all numbers: its training has diverged; take another step "
      "of it (step=...), or train it again with a smaller learning rate"
    )


def reference_rgb(reference: Picture) -> np.ndarray:
  """Prepares a reference for a method: RGB in [0, 1], float32 [h, w, 3], 512 a side at most."""
  if reference.rgb is None:
    rgb = np.repeat(reference.gray[..., None], 3, axis=-1)
  else:
    rgb = reference.rgb.astype(np.float32) / np.float32(255)
  return np.ascontiguousarray(resizing.reduce_to_side(rgb, REFERENCE_SIDE), np.float32)


def read(image) -> Picture:
  """Reads one of the kinds of pictures that a Colorizer is called with."""
  return image if isinstance(image, Picture) else pictures.read(image)


def as_given(image, picture: Picture, rgb: np.ndarray) -> np.ndarray | Image.Image:
  """Adds the picture's alpha to the result: an array where the image is one, else Pillow's."""
  if picture.alpha is not None:
    alpha = resizing.resize_bytes(picture.alpha, rgb.shape[:2])
    rgb = picture_files.with_alpha(rgb, alpha)
  if rgb.dtype == np.uint16 or hasattr(image, "__array__"):
    return rgb
  return Image.fromarray(rgb)


def require_depth(depth: int) -> None:
  """Raises UserError unless results can have so many bits a channel."""
  if depth not in (8, 16):
    raise UserError(f"depth {depth!r}: expected 8 or 16 bits a channel")


def require_side(side) -> None:
  """Raises UserError unless it is a side that a network can see."""
  if not (_is_number(side) and side >= 1):
    raise UserError(f"input side {side!r}: expected pixels, 1 or more")


def result_size(size: Size, scale: float | None, asked: Size | None) -> Size:
  """Returns (height, width) of the result."""
  if scale is not None and asked is not None:
    raise UserError("scale and size exclude each other; give one")
  if scale is not None:
    if not (_is_number(scale) and math.isfinite(scale) and scale > 0):
      raise UserError(f"scale {scale!r}: expected a number above 0")
    # Half up, as a person rounds; never to nothing.
    asked = tuple(max(1, math.floor(scale * s + 0.5)) for s in size)
  elif asked is None:
    asked = size
  try:
    good = len(asked) == 2 and all(_is_number(s) and s == int(s) and s >= 1 for s in asked)
  except (TypeError, ValueError, OverflowError):
    good = False
  if not good:
    raise UserError(f"size {asked!r}: expected (height, width), whole pixels, 1 or more each")
  height, width = (int(s) for s in asked)
  most = max(decode.MAX_PIXELS, math.prod(size))  # a picture that could be read can be written
  if height * width > most:
    raise UserError(
      f"the result would have {height}x{width} pixels, expected at most {most:,}; ask for less"
    )
  return height, width


def _is_number(value) -> bool:
  return isinstance(value, numbers.Real) and not isinstance(value, bool)
