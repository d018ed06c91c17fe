"""SCSNet's objective: content, perceptual and adversarial terms (Section 3.3, Eq. 4-7).

All terms act on normalised Lab (L / 50 - 1, ab / 110), since the lambdas mean nothing without a
unit, and content and perceptual terms are means over all elements (the paper does not say).
"""

import warnings

import jax
import jax.numpy as jnp

from scs_jax import losses
from scs_jax.core.contract import Collective, Logs
from scs_jax.methods.scsnet.perceptual import PerceptualTerm

Array = jax.Array

LITERAL_WARNING = (
  "loss.adversarial_form is 'literal': Eq. 7 as printed has the two players' roles swapped, so the "
  "generator is not asked to look real; use 'relativistic' to train"
)


def generator_terms(
  lab: Array,
  target: Array,
  fake_scores: Array | None,
  real_scores: Array | None,
  perceptual: PerceptualTerm | None,
  frozen,
  loss,
  collective: Collective,
) -> tuple[Array, Logs]:
  """Computes Eq. 4: lambda_C L_C + lambda_P L_P + lambda_Adv L_Adv^G, a mean over examples.

  Args:
    lab, target: generated and true pictures, normalised Lab [N, P, Q, 3].
    fake_scores, real_scores: discriminator scores of both, or None where lambda_Adv is 0.
    perceptual: the perceptual term, or None where lambda_P is 0.
    frozen: its weights.
    loss: the config section.
    collective: the step's.

  Returns:
    (scalar, logs of the unweighted terms).
  """
  content = losses.mean_absolute(lab, target).mean()
  total = loss.content * content
  logs = {"loss/content": content}
  if perceptual is not None:
    term = perceptual(frozen, lab, target).mean()
    total = total + loss.perceptual * term
    logs["loss/perceptual"] = term
  if fake_scores is not None:
    real_mean, fake_mean = _means(real_scores, fake_scores, collective)
    if loss.adversarial_form == "literal":
      term = losses.literal_generator(real_scores, fake_scores, real_mean, fake_mean)
    else:
      term = losses.relativistic_generator(
        real_scores, fake_scores, real_mean, fake_mean, loss.real_target, loss.fake_target
      )
    total = total + loss.adversarial * term.mean()
    logs["loss/adversarial"] = term.mean()
  logs["loss/generator"] = total
  return total, logs


def discriminator_loss(
  real_scores: Array, fake_scores: Array, loss, collective: Collective
) -> tuple[Array, Logs]:
  """Computes L_Adv^D (Eq. 7 and its reading), a mean over examples and positions."""
  real_mean, fake_mean = _means(real_scores, fake_scores, collective)
  if loss.adversarial_form == "literal":
    term = losses.literal_discriminator(fake_scores, real_mean)
  else:
    term = losses.relativistic_discriminator(
      real_scores, fake_scores, real_mean, fake_mean, loss.real_target, loss.fake_target
    )
  logs = {
    "loss/discriminator": term.mean(),
    "discriminator/margin": real_scores.mean() - fake_scores.mean(),
  }
  return term.mean(), logs


def _means(real: Array, fake: Array, collective: Collective) -> tuple[Array, Array]:
  """Computes E D(x) and E D(x~) over the whole batch, whatever the number of devices."""
  return collective.mean((jnp.mean(real), jnp.mean(fake)))


def warn_if_literal(form: str) -> None:
  """Warns, once, where Eq. 7 is to be taken as printed."""
  if form == "literal":
    warnings.warn(LITERAL_WARNING, stacklevel=3)
