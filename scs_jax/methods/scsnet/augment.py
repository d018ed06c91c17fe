"""References of training: the picture itself, flipped, distorted and with turned hues."""

import jax
import jax.numpy as jnp
from jax import Array

from scs_jax.ops import warp


def random_turn(key: Array, probability: float) -> Array:
  """Draws an angle from the whole circle with this probability, else 0 (radians)."""
  k_turned, k_angle = jax.random.split(key)
  angle = jax.random.uniform(k_angle, minval=-jnp.pi, maxval=jnp.pi)
  return jnp.where(jax.random.bernoulli(k_turned, probability), angle, 0.0)


def rotate_hue(lab: Array, angle: Array) -> Array:
  """Turns the colours of each picture by an angle in the ab plane; lightness stays.

  Args:
    lab: Lab or normalised Lab [N, H, W, 3].
    angle: radians [N].
  """
  cos, sin = jnp.cos(angle)[:, None, None], jnp.sin(angle)[:, None, None]
  lightness, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
  return jnp.stack([lightness, cos * a - sin * b, sin * a + cos * b], axis=-1)


def distort(keys: Array, image: Array, config) -> Array:
  """Flips and distorts (Simard et al. 2003) each reference at random.

  Args:
    keys: [N], one an example.
    image: RGB [N, H, W, 3] in [0, 1].
    config: flip_probability, alpha, sigma (pixels of the reference).
  """

  def one(key, picture):
    k_flip, k_warp = jax.random.split(key)
    flipped = jax.random.bernoulli(k_flip, config.flip_probability)
    picture = jnp.where(flipped, picture[:, ::-1], picture)
    return warp.elastic_distortion(k_warp, picture, config.alpha, config.sigma)

  return jax.vmap(one)(keys, image)
