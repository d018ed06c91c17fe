"""Puts predicted colours on the lightness of the original; how much of them, and inside sRGB.

Colours become levels in chunks of one size, so that pictures of all sizes share one XLA program.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.data import samples
from scs_jax.errors import UserError
from scs_jax.infer.guided import Enlargement
from scs_jax.infer.programs import Programs
from scs_jax.ops import color

__all__ = [
  "MAX_SATURATION",
  "keep_luma",
  "keep_luminance",
  "programs",
  "require_saturation",
  "saturate",
  "to_rgb",
]

MAX_SATURATION = 4.0

_CHUNK = 1 << 16  # pixels a call of the program
_BAND = 1 << 22  # pixels at a time; a multiple of what the threads of the filter share
_LEVELS = {8: np.uint8, 16: np.uint16}
_DELTA = 6 / 29  # CIE 15: below DELTA^3 the cube root is replaced by its tangent
_PROGRAMS = Programs()


def to_rgb(
  lightness: np.ndarray, ab: np.ndarray, saturation: float = 1.0, depth: int = 8
) -> np.ndarray:
  """Converts CIE Lab to sRGB levels: L is kept, chroma outside sRGB is reduced at its hue.

  Args:
    lightness: float32 [P, Q], L in [0, 100].
    ab: float32 [P, Q, 2]; where both are exactly 0 the result has R = G = B.
    saturation: factor on ab, before it is fitted into sRGB.
    depth: bits a channel of the result, 8 or 16.
  Returns:
    uint8 or uint16 [P, Q, 3], each channel rounded to the nearest level: L is off by nothing else.
  Raises:
    UserError: saturation is not in [0, MAX_SATURATION].
    ValueError: the shapes do not go together.
  """
  require_saturation(saturation)
  lightness, ab = np.asarray(lightness, np.float32), np.asarray(ab, np.float32)
  if lightness.ndim != 2 or ab.shape != (*lightness.shape, 2):
    raise ValueError(
      f"lightness and ab: expected [P, Q] and [P, Q, 2], got {lightness.shape} and {ab.shape}"
    )
  flat_lightness, flat_ab = lightness.reshape(-1), ab.reshape(-1, 2)
  result = _convert(lightness.size, saturation, lambda s: (flat_lightness[s], flat_ab[s]), depth)
  return result.reshape(*lightness.shape, 3)


def keep_luma(
  luma: np.ndarray, rgb: np.ndarray, saturation: float = 1.0, depth: int = 8
) -> np.ndarray:
  """Puts Cb and Cr of `rgb`, enlarged along the edges of Y, under Y: `keep_luminance` in YCbCr.

  Colours outside the gamut keep Y and their hue and give up chroma, where clipping would change Y.

  Args:
    luma: float32 [P, Q], Y of BT.601 in [0, 1].
    rgb: float32 [h, w, 3] in [0, 1], the colours of the same picture at any size.
    saturation: factor on Cb and Cr.
    depth: bits a channel of the result, 8 or 16.
  Returns:
    uint8 or uint16 [P, Q, 3], the Y of which is `luma` but for the rounding to levels.
  Raises:
    UserError: saturation is not in [0, MAX_SATURATION].
    ValueError: the shapes are wrong.
  """
  require_saturation(saturation)
  luma, rgb = np.asarray(luma, np.float32), np.asarray(rgb, np.float32)
  if luma.ndim != 2:
    raise ValueError(f"luma: expected [P, Q], got shape {luma.shape}")
  _require_rgb(rgb)
  chroma = np.asarray(color.rgb_to_ycbcr(rgb))[..., 1:] - np.float32(0.5)

  def finish(guide: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    flat_luma, flat = guide.reshape(-1) / np.float32(100), chroma.reshape(-1, 2) / np.float32(200)
    pixels = lambda s: (flat_luma[s], flat[s])
    found = _convert(guide.size, saturation, pixels, depth, _luma_to_levels)
    return found.reshape(*guide.shape, 3)

  # The filter knows L in [0, 100] and ab about [-110, 110].
  chroma *= np.float32(200)
  guide_of = lambda part: part * np.float32(100)
  return _in_bands(luma, guide_of, lambda rows: chroma[rows], chroma.shape[:2], finish, depth)


def keep_luminance(
  gray: np.ndarray, rgb: np.ndarray, saturation: float = 1.0, depth: int = 8
) -> np.ndarray:
  """Returns the colours of `rgb`, enlarged along the edges of `gray`, on the luminance of `gray`.

  Of `rgb` only a and b count. What its own lightness gets wrong does not matter: the filter is
  guided by `gray` at both sizes. On photographs, guiding by low-resolution L that is 5 units too
  bright (or has noise of 5 units) made the error a quarter (an eighth) larger at twice the size.

  Args:
    gray: float32 [P, Q], sRGB levels in [0, 1].
    rgb: float32 [h, w, 3], sRGB in [0, 1] (clipped), the colours of the same picture at any size.
    saturation: factor on ab; 0 gives `gray` rounded to levels.
    depth: bits a channel of the result, 8 or 16.
  Returns:
    uint8 or uint16 [P, Q, 3], the luminance of which is that of `gray` but for the rounding to
    levels.
  Raises:
    UserError: saturation is not in [0, MAX_SATURATION].
    ValueError: the shapes are wrong.
  """
  require_saturation(saturation)
  gray, rgb = np.asarray(gray, np.float32), np.asarray(rgb, np.float32)
  if gray.ndim != 2:
    raise ValueError(f"gray: expected [P, Q], got shape {gray.shape}")
  _require_rgb(rgb)
  finish = lambda lightness, ab: to_rgb(lightness, ab, saturation, depth)
  chroma_of = lambda rows: _lab_of(rgb[rows])[..., 1:]
  return _in_bands(gray, _lightness_of, chroma_of, rgb.shape[:2], finish, depth)


def _in_bands(
  source: np.ndarray,
  guide_of: Callable[[np.ndarray], np.ndarray],
  chroma_of: Callable[[slice], np.ndarray],
  size: tuple[int, int],
  finish: Callable[[np.ndarray, np.ndarray], np.ndarray],
  depth: int,
) -> np.ndarray:
  """Returns levels [P, Q, 3] of finish(guide, chroma enlarged along it), some rows at a time.

  So beside the source [P, Q], the result and what gives the chroma, of `size`, nothing is large.
  """
  result = np.empty((*source.shape, 3), _LEVELS[depth])
  enlarge = None
  if size != source.shape:
    chroma = chroma_of(slice(0, size[0]))
    enlarge = Enlargement(chroma, source.shape, lambda rows: guide_of(source[rows]))
  for top in range(0, len(source), step := max(1, _BAND // source.shape[1])):
    rows = slice(top, min(top + step, len(source)))
    guide = guide_of(source[rows])
    result[rows] = finish(guide, enlarge.rows(rows, guide) if enlarge else chroma_of(rows))
  return result


def saturate(rgb: np.ndarray, saturation: float) -> np.ndarray:
  """Returns sRGB as bytes, its chroma times `saturation`: same L and hue, fitted into sRGB.

  Args:
    rgb: float32 [P, Q, 3], sRGB in [0, 1] (clipped).
    saturation: 1 rounds `rgb` to bytes and does nothing else.
  Returns:
    uint8 [P, Q, 3].
  Raises:
    UserError: saturation is not in [0, MAX_SATURATION].
    ValueError: the shape is wrong.
  """
  require_saturation(saturation)
  rgb = np.asarray(rgb, np.float32)
  _require_rgb(rgb)
  if saturation == 1.0:
    result = np.empty(rgb.shape, np.uint8)
    for rows in samples.strips(rgb):
      result[rows] = samples.to_uint8(np.clip(rgb[rows], 0.0, 1.0), 1.0)
    return result
  flat = rgb.reshape(-1, 3)

  def lab(part: slice) -> tuple[np.ndarray, np.ndarray]:
    values = _lab_of(flat[part])
    return values[:, 0], values[:, 1:]

  return _convert(len(flat), saturation, lab).reshape(rgb.shape)


def require_saturation(saturation: float) -> None:
  """Raises UserError unless it is a number in [0, MAX_SATURATION]."""
  try:
    good = math.isfinite(saturation) and 0 <= saturation <= MAX_SATURATION
  except (TypeError, OverflowError):
    good = False
  if not good:
    raise UserError(
      f"saturation: expected a number from 0 (gray) over 1 (as predicted) to {MAX_SATURATION:g}, "
      f"got {saturation!r}; give one of these"
    )


def programs() -> int:
  """Counts XLA programs of this process: one for each depth, of L and of Y, for all sizes."""
  return len(_PROGRAMS)


def _require_rgb(rgb: np.ndarray) -> None:
  if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size:
    raise ValueError(f"rgb: expected [h, w, 3], got shape {rgb.shape}")


def _convert(
  count: int,
  saturation: float,
  pixels: Callable[[slice], tuple[np.ndarray, np.ndarray]],
  depth: int = 8,
  to_levels: Callable[[jax.Array, int], jax.Array] | None = None,
) -> np.ndarray:
  """Returns [count, 3] of `pixels`, which gives L [n] and ab [n, 2] (Y, Cb and Cr) of a slice."""
  result = np.empty((count, 3), _LEVELS[depth])
  values = np.zeros((3, _CHUNK), np.float32)
  to_levels = _PROGRAMS.get(_at_depth(to_levels or _to_levels, depth), values).run
  for start in range(0, count, _CHUNK):
    part = slice(start, min(start + _CHUNK, count))
    size = part.stop - part.start
    values[0, :size], chroma = pixels(part)
    np.multiply(chroma.T, np.float32(saturation), out=values[1:, :size])
    # `values` may be read in place, on CPUs: not before the result is here is it written again.
    result[part] = np.asarray(to_levels(values))[:, :size].T
  return result


@functools.cache
def _at_depth(to_levels: Callable, depth: int) -> Callable[[jax.Array], jax.Array]:
  return functools.partial(to_levels, depth=depth)


def _to_levels(lab: jax.Array, depth: int) -> jax.Array:
  """Converts float32 [3, n] to unsigned integers of `depth` bits [3, n]."""
  # Planes rather than pixels: XLA makes one fused loop of it, four times as fast on CPUs.
  fit = lambda pixel: color.clip_gamut(color.lab_to_rgb(color.compress_chroma(pixel)))
  rgb = jax.vmap(fit, in_axes=1, out_axes=1)(lab)
  gray = color.clip_gamut(jax.vmap(color.lightness_to_gray, in_axes=1, out_axes=1)(lab[:1]))
  # In rounded matrices a neutral colour is not quite neutral: R, G, B may round apart.
  return _rounded(jnp.where(jnp.all(lab[1:] == 0, axis=0), gray, rgb), depth)


def _luma_to_levels(ycc: jax.Array, depth: int) -> jax.Array:
  """Converts float32 [3, n], Cb and Cr around 0, to unsigned integers of `depth` bits [3, n]."""
  luma = ycc[:1]
  none = jnp.zeros_like(luma)
  convert = jax.vmap(color.ycbcr_to_rgb, in_axes=1, out_axes=1)
  chroma = convert(jnp.concatenate([none, ycc[1:] + 0.5]))  # what Cb and Cr add to R, G and B
  room = jnp.where(chroma > 0, 1 - luma, luma)
  share = jnp.min(room / jnp.maximum(jnp.abs(chroma), 1e-12), axis=0, keepdims=True)
  return _rounded(jnp.clip(luma + jnp.clip(share, 0.0, 1.0) * chroma, 0.0, 1.0), depth)


def _rounded(rgb: jax.Array, depth: int) -> jax.Array:
  return jnp.floor(rgb * (2**depth - 1) + 0.5).astype(_LEVELS[depth])


def _lightness_of(gray: np.ndarray) -> np.ndarray:
  """Computes CIE 15:2004, 8.2.1.1: L of neutral sRGB levels in [0, 1], same shape, float32."""
  flat = gray.reshape(-1)
  result = np.empty(flat.size, np.float32)
  for start in range(0, flat.size, _CHUNK):
    light = samples.to_linear(np.clip(flat[start : start + _CHUNK], 0.0, 1.0))
    result[start : start + _CHUNK] = 116 * _f(light) - 16
  return result.reshape(gray.shape)


def _f(t: np.ndarray) -> np.ndarray:
  """Computes CIE Lab's f, float32."""
  return np.where(t > _DELTA**3, np.cbrt(t), t / np.float32(3 * _DELTA**2) + np.float32(4 / 29))


def _lab_of(rgb: np.ndarray) -> np.ndarray:
  """Converts sRGB [..., 3], clipped to [0, 1], to Lab; a and b are exactly 0 where R = G = B."""
  flat = rgb.reshape(-1, 3)
  matrix, white = (x.T.astype(np.float32) for x in (color.XYZ_FROM_RGB, color.WHITE))
  result = np.empty(flat.shape, np.float32)
  for start in range(0, len(flat), _CHUNK):
    part = np.clip(flat[start : start + _CHUNK], 0.0, 1.0)
    x, y, z = _f(samples.to_linear(part) @ matrix / white).T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
    neutral = (part[:, 0] == part[:, 1]) & (part[:, 1] == part[:, 2])
    lab[neutral, 1:] = 0.0
    result[start : start + _CHUNK] = lab
  return result.reshape(rgb.shape)
