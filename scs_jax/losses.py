"""Losses per example or per element; the mean over the batch is the caller's to take."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from scs_jax.ops import check

Array = jax.Array


def mean_absolute(a: Array, b: Array) -> Array:
  """l1 error as a mean over all elements of an example: float32 [N] from [N, ...] and [N, ...]."""
  check.require_same_shape("a", a, "b", b)
  difference = jnp.abs(a.astype(jnp.float32) - b.astype(jnp.float32))
  return difference.mean(axis=tuple(range(1, a.ndim)))


def chroma_weights(ab: Array, strength: float) -> Array:
  """1 + strength C, C being the true chroma: what errors weigh where colours are rare and strong.

  Most of a photograph is nearly gray, so an even mean over pixels rewards gray. (Zhang et al. 2016
  weigh by how rare a colour is; chroma says nearly the same and needs no statistics.)

  Args:
    ab: true a and b over 110, [N, H, W, 2].
    strength: 0 or more; 0 weighs all alike.

  Returns:
    float32 [N, H, W, 1].
  """
  return 1.0 + strength * jnp.linalg.norm(ab.astype(jnp.float32), axis=-1, keepdims=True)


def huber(a: Array, b: Array, delta: float, weights: Array | float = 1.0) -> Array:
  """SMSANet Eq. 5, as a mean over all elements of an example: float32 [N] from [N, ...] twice.

  d^2 / (2 delta) for d = |a - b| below delta, d - delta / 2 from there on: Huber's loss over delta,
  so that its slope far out is 1 for any delta. At delta = 1 it is Eq. 5 as printed; for another
  delta the printed second line would not meet the first. `weights` multiply the elements' losses.
  """
  check.require_same_shape("a", a, "b", b)
  check.require_positive("delta", delta)
  d = jnp.abs(a.astype(jnp.float32) - b.astype(jnp.float32))
  # The branch not taken stays below delta: its square must not overflow.
  near = jnp.minimum(d, delta)
  loss = jnp.where(d < delta, near**2 / (2 * delta), d - delta / 2)
  return (weights * loss).reshape(a.shape[0], -1).mean(axis=1)


def masked_absolute(a: Array, mask_a: Array, b: Array, mask_b: Array) -> Array:
  """SMSANet Eq. 6: mean absolute difference of two pictures, each under its own mask.

  Args:
    a, b: [N, H, W, C].
    mask_a, mask_b: [N, H, W, 1].

  Returns:
    float32 [N], the mean of |mask_a a - mask_b b| over C H W.
  """
  check.require_same_shape("a", a, "b", b)
  check.require_same_shape("mask_a", mask_a, "a, one channel of it", a[..., :1])
  check.require_same_shape("mask_a", mask_a, "mask_b", mask_b)
  return mean_absolute(mask_a * a, mask_b * b)


def perceptual(
  features_a: Mapping[str, Array], features_b: Mapping[str, Array], weights: Sequence[float]
) -> Array:
  """SCSNet Eq. 6: sum over layers of w_l times the mean l1 distance of activations.

  Args:
    features_a, features_b: activations [N, h_l, w_l, c_l] by layer, in the order of `weights`.
    weights: w_l, one a layer.

  Returns:
    float32 [N].
  """
  if not len(features_a) == len(features_b) == len(weights):
    raise ValueError(
      f"{len(features_a)} and {len(features_b)} feature layers for {len(weights)} weights"
    )
  total = jnp.zeros(())
  for name, weight in zip(features_a, weights, strict=True):
    total = total + weight * mean_absolute(features_a[name], features_b[name])
  return total


def relativistic_discriminator(
  real: Array, fake: Array, real_mean: Array, fake_mean: Array, real_target=1.0, fake_target=-1.0
) -> Array:
  """Relativistic average least squares (Jolicoeur-Martineau 2018), the discriminator's side.

  (D(x) - E D(x~) - real_target)^2 + (D(x~) - E D(x) - fake_target)^2. The generator's side is the
  same with the two targets exchanged.

  Args:
    real, fake: scores [N, ...] of real and generated pictures.
    real_mean, fake_mean: scalars E D(x), E D(x~) over the whole batch.

  Returns:
    float32 [N, ...], one a score.
  """
  check.require_same_shape("real", real, "fake", fake)
  return (real - fake_mean - real_target) ** 2 + (fake - real_mean - fake_target) ** 2


def relativistic_generator(
  real: Array, fake: Array, real_mean: Array, fake_mean: Array, real_target=1.0, fake_target=-1.0
) -> Array:
  """The generator's side of `relativistic_discriminator`: the two targets exchanged."""
  return relativistic_discriminator(real, fake, real_mean, fake_mean, fake_target, real_target)


def literal_generator(real: Array, fake: Array, real_mean: Array, fake_mean: Array) -> Array:
  """L_Adv^G of SCSNet's Eq. 7 exactly as printed. Asks real pictures to score higher: see
  docs/fidelity.md."""
  return (real - fake_mean - 1.0) ** 2 + (fake - real_mean) ** 2


def literal_discriminator(fake: Array, real_mean: Array) -> Array:
  """L_Adv^D of SCSNet's Eq. 7 exactly as printed."""
  return (fake - real_mean - 1.0) ** 2
