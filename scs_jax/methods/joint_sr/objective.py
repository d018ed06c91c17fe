"""The objective: mean squared error (Section III-C), and SRGAN's adversarial term (Section II)."""

import jax
import jax.numpy as jnp

from scs_jax import losses
from scs_jax.core.contract import Logs
from scs_jax.ops import check

Array = jax.Array


def mean_square(a: Array, b: Array, weights: Array | float = 1.0) -> Array:
  """Computes Section III-C: element-wise squared error, a mean over an example's elements.

  Args:
    a, b: [N, ...], in the network's units: ab / 110, L / 50 - 1, RGB in [-1, 1].
    weights: multiply the elements' errors.

  Returns:
    float32 [N].
  """
  check.require_same_shape("a", a, "b", b)
  square = jnp.square(a.astype(jnp.float32) - b.astype(jnp.float32))
  return (weights * square).reshape(a.shape[0], -1).mean(axis=1)


def generator_loss(
  answer: Array, target: Array, fake_logits: Array | None, loss
) -> tuple[Array, Logs]:
  """Adds `loss.adversarial` times -log D(G(x)), with a discriminator, to the squared error.

  Args:
    answer, target: what the network gives and should give, [N, h, w, C] in its units.
    fake_logits: [N], the discriminator's of `answer`; None without one.
    loss: the config section.

  Returns:
    (scalar, a mean over this device's examples, logs of the unweighted terms).
  """
  weights = 1.0
  if strength := loss.get("chroma_weight", 0.0):
    weights = losses.chroma_weights(target[..., -2:], strength)
  total = mean_square(answer, target, weights).mean()
  logs = {"loss/square": total}
  if fake_logits is not None:
    term = jax.nn.softplus(-fake_logits).mean()
    total = total + loss.adversarial * term
    logs["loss/adversarial"] = term
  return total, logs | {"loss/total": total}


def discriminator_loss(real_logits: Array, fake_logits: Array) -> tuple[Array, Logs]:
  """Computes -log D(x) - log(1 - D(G(x))), Ledig et al. 2017, Eq. 2, of logits: (scalar, logs)."""
  loss = (jax.nn.softplus(-real_logits) + jax.nn.softplus(fake_logits)).mean()
  return loss, {
    "loss/discriminator": loss,
    "discriminator/margin": (real_logits - fake_logits).mean(),
  }
