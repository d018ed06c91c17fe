"""Global transfer of a picture's colours or levels by mean and deviation (Reinhard et al. 2001)."""

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.ops import check

# Reinhard et al. 2001, "Color transfer between images": RGB to cone responses (their one matrix of
# two steps), and Ruderman et al. 1998's decorrelated axes of the logarithms of those.
_LMS_FROM_RGB = np.array(
  [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
)
_LALPHABETA_FROM_LOG_LMS = np.diag(np.array([3.0, 6.0, 2.0]) ** -0.5) @ np.array(
  [[1.0, 1.0, 1.0], [1.0, 1.0, -2.0], [1.0, -1.0, 0.0]]
)
_RGB_FROM_LMS = np.linalg.inv(_LMS_FROM_RGB)
_LOG_LMS_FROM_LALPHABETA = np.linalg.inv(_LALPHABETA_FROM_LOG_LMS)

_BLACK = 1 / 255  # the logarithm of black is none: the least cone response, one 8-bit level
_FLAT = 1e-4  # deviation below which a channel counts as constant, in its own unit


def _mix(x: jax.Array, matrix: np.ndarray) -> jax.Array:
  return jnp.einsum(
    "...i,oi->...o", x, matrix.astype(x.dtype), precision=jax.lax.Precision.HIGHEST
  )


def rgb_to_lalphabeta(rgb: jax.Array) -> jax.Array:
  """Converts RGB [..., 3] in [0, 1] to Ruderman's l, alpha, beta: decorrelated log-10 responses.

  Of RGB as it is stored, as the paper's own figures are made. Responses below 1/255 count as that.
  """
  check.require_channels("rgb", rgb, 3)
  lms = _mix(check.to_float(rgb), _LMS_FROM_RGB)
  return _mix(jnp.log10(jnp.maximum(lms, _BLACK)), _LALPHABETA_FROM_LOG_LMS)


def lalphabeta_to_rgb(lab: jax.Array) -> jax.Array:
  """Inverts `rgb_to_lalphabeta`, not clipped."""
  check.require_channels("lab", lab, 3)
  log_lms = _mix(check.to_float(lab), _LOG_LMS_FROM_LALPHABETA)
  return _mix(10.0**log_lms, _RGB_FROM_LMS)


def match_moments(x: jax.Array, like: jax.Array, flat: float = _FLAT) -> jax.Array:
  """Gives x the mean and the standard deviation of `like`, each channel of each picture by itself.

  (x - mean x) std(like) / std(x) + mean(like). A channel of x whose deviation is below `flat` has
  nothing to scale but rounding: it takes the mean of `like`. Gradients are finite there too.

  Args:
    x, like: float [N, H, W, C] and [N, h, w, C], in one unit.
    flat: in that unit.
  Returns:
    float32 [N, H, W, C].
  Raises:
    ValueError: not four dimensions, or another number of pictures or channels.
  """
  check.require_rank("x", x, 4)
  check.require_rank("like", like, 4)
  if (x.shape[0], x.shape[3]) != (like.shape[0], like.shape[3]):
    raise ValueError(
      f"x and like: expected as many pictures and channels, got {x.shape} and {like.shape}"
    )
  x, like = check.to_float(x), check.to_float(like)
  mean, deviation = _moments(x, flat)
  mean_like, deviation_like = _moments(like, flat)
  scale = jnp.where(deviation > flat, deviation_like / deviation, 0.0)
  return (x - mean) * scale + mean_like


def _moments(x: jax.Array, flat: float) -> tuple[jax.Array, jax.Array]:
  """Mean and deviation over each picture, [N, 1, 1, C]; the deviation is `flat` at least."""
  mean = jnp.mean(x, axis=(1, 2), keepdims=True)
  variance = jnp.mean((x - mean) ** 2, axis=(1, 2), keepdims=True)
  # Bounded before the root, whose slope at zero is infinite.
  return mean, jnp.sqrt(jnp.maximum(variance, flat**2))


def transfer_color(rgb: jax.Array, reference: jax.Array) -> jax.Array:
  """Gives rgb the reference's mean and deviation in l, alpha and beta (Reinhard et al. 2001).

  A gray picture has constant alpha and beta: it takes the reference's mean hue, one tint.

  Args:
    rgb: float [N, H, W, 3] in [0, 1]; a gray picture three times over is one.
    reference: float [N, h, w, 3] in [0, 1].
  Returns:
    float32 [N, H, W, 3], not clipped.
  """
  moved = match_moments(rgb_to_lalphabeta(rgb), rgb_to_lalphabeta(reference))
  return lalphabeta_to_rgb(moved)
