"""What a user of classical stereo has: semi-global matching, colours carried over and filled in.

Hirschmueller's semi-global matching as OpenCV has it (StereoSGBM) finds the disparity of both views
of a pair. Where the two agree, Cb and Cr of the colour view are carried over, between its pixels by
linear interpolation; what is left (seen by one camera alone, or not matched) takes the colours
around it along the edges of the monochrome view, and the whole is smoothed a little along them,
as the colour camera's noise would be all that is left of it otherwise.

The matching costs compare brightness, so the colour view's histogram is first made that of the
monochrome one: cameras of different exposure and response differ by one curve.
"""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.ops.smooth import fill_along, smooth_along

Array = jax.Array

# Chosen on pairs of Middlebury 2005 to 2014 and of SceneFlow, at half size, with and without other
# exposure: benchmarks/results/semi_global.md has what was tried.
BLOCK = 5  # pixels a side
PENALTIES = 8 * BLOCK**2, 32 * BLOCK**2  # of disparities that change by one, and by more
UNIQUENESS = 5  # percent by which the best cost must win
SPECKLES = 60, 2  # regions of fewer pixels, of disparities no further apart, are dropped
AGREEMENT = 1.0  # pixels between both views' disparities
REACH = 4  # the search goes over a 4th of the width, which the published pairs keep within
FILL = 300.0, 0.015  # strength and spread of ops/smooth.py; the guide is Y in [0, 1]
SMOOTH = 3.0, 0.03


def available() -> bool:
  """Tells whether OpenCV is installed, which is the extra `stereo`."""
  return importlib.util.find_spec("cv2") is not None


def carried_chroma(gray: Array, ycbcr: Array) -> Array:
  """Finds Cb and Cr for a monochrome view. Matches on the host: not to be traced.

  Args:
    gray: Y of the view to colour, float32 [N, H, W, 1] in [0, 1].
    ycbcr: the colour view, float32 [N, H, W, 3], 0.5 in Cb and Cr where there is no colour; the
      match of its pixel (j, i + k), k >= 0, is (j, i) of the other.

  Returns:
    float32 [N, H, W, 2]; 0.5 all over where nothing can be matched.
  """
  pairs = zip(np.asarray(gray)[..., 0], np.asarray(ycbcr)[..., 0], strict=True)
  found = np.stack([disparity(one, other) for one, other in pairs])
  return _carry(jnp.asarray(found)[..., None], gray, ycbcr[..., 1:])


def disparity(gray: np.ndarray, luma: np.ndarray) -> np.ndarray:
  """Finds k of each pixel of `gray`, whose match in `luma` is k columns to the right.

  Args:
    gray, luma: Y of both views, float [H, W] in [0, 1].

  Returns:
    float32 [H, W] in pixels; NaN where the views do not agree on it.
  """
  from skimage.exposure import match_histograms

  gray, luma = (np.rint(np.clip(view, 0, 1) * 255).astype(np.uint8) for view in (gray, luma))
  luma = np.rint(match_histograms(luma, gray)).astype(np.uint8)
  # OpenCV looks to the left of a pixel: mirrored, that is the right.
  own = _mirror(_search(_mirror(gray), _mirror(luma)))
  other = _search(luma, gray)
  width = gray.shape[1]
  at = np.arange(width) + np.nan_to_num(own)
  back = np.take_along_axis(other, np.clip(np.rint(at).astype(int), 0, width - 1), axis=1)
  agreed = (at <= width - 1) & (np.abs(back - own) <= AGREEMENT)  # NaN agrees with nothing
  return np.where(agreed, own, np.nan).astype(np.float32)


def _search(view: np.ndarray, other: np.ndarray) -> np.ndarray:
  """Finds float32 [H, W]: how far left of a pixel of uint8 `view` its match in `other` lies."""
  import cv2

  depth = -(-view.shape[1] // REACH // 16) * 16
  # Without a margin OpenCV leaves out the first columns, where not all candidates lie inside.
  margin = lambda x: np.pad(x, ((0, 0), (depth, 0)), mode="edge")
  matcher = cv2.StereoSGBM_create(
    minDisparity=0, numDisparities=depth, blockSize=BLOCK, P1=PENALTIES[0], P2=PENALTIES[1],
    disp12MaxDiff=-1, preFilterCap=31, uniquenessRatio=UNIQUENESS, speckleWindowSize=SPECKLES[0],
    speckleRange=SPECKLES[1], mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
  )  # fmt: skip
  found = matcher.compute(margin(view), margin(other))[:, depth:].astype(np.float32) / 16
  return np.where(found < 0, np.nan, found)


def _mirror(view: np.ndarray) -> np.ndarray:
  return np.ascontiguousarray(view[:, ::-1])


@jax.jit
def _carry(found: Array, gray: Array, chroma: Array) -> Array:
  known = jnp.isfinite(found)
  width = gray.shape[2]
  at = jnp.clip(jnp.arange(width)[:, None] + jnp.where(known, found, 0.0), 0, width - 1)
  left = jnp.minimum(at.astype(jnp.int32), width - 2)
  take = lambda column: jnp.take_along_axis(chroma, column, axis=2)
  share = at - left
  seen = (1 - share) * take(left) + share * take(left + 1) - 0.5
  return smooth_along(fill_along(seen, known, gray, *FILL), gray, *SMOOTH) + 0.5
