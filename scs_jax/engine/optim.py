"""Optimizers from a config section."""

import jax
import optax
from optax.contrib import MuonDimensionNumbers

from scs_jax.errors import UserError


def make_optimizer(config, steps: int) -> optax.GradientTransformation:
  """The optimizer that a config section describes.

  Args:
    config: `name` ("adam" or "muon"), `learning_rate`, `b1`, `b2`, `eps`, `weight_decay`,
      `clip_norm` (0 for none), `schedule` ("constant", or "cosine" down to 0 at the last step).
      Weight decay is coupled: it is added to the gradient before the moments, as torch.optim.Adam
      does and unlike AdamW. "muon" takes orthogonalised momentum steps (Jordan et al. 2024, by
      optax) for kernels and Adam's with Nesterov momentum for all else, at the same learning rate.
    steps: updates of the whole run, for the schedule.

  Returns:
    An optax transformation; its updates are to be added to the parameters.
  """
  if config.name not in ("adam", "muon"):
    raise UserError(f"optimizer.name is {config.name!r}; use 'adam' or 'muon'")
  rate = config.learning_rate
  if config.schedule == "cosine":
    rate = optax.cosine_decay_schedule(rate, max(steps, 1))
  parts = []
  if config.clip_norm:
    parts.append(optax.clip_by_global_norm(config.clip_norm))
  if config.weight_decay:
    parts.append(optax.add_decayed_weights(config.weight_decay))
  if config.name == "adam":
    parts.append(optax.scale_by_adam(config.b1, config.b2, config.eps))
    parts.append(optax.scale_by_learning_rate(rate))
  else:
    parts.append(
      optax.contrib.muon(
        rate,
        adam_b1=config.b1,
        adam_b2=config.b2,
        eps=config.eps,
        # Steps of the same root mean square as Adam's usual ones, so that one rate serves both.
        consistent_rms=0.2,
        muon_weight_dimension_numbers=_kernels,
      )
    )
  return optax.chain(*parts)


def _kernels(params):
  """Which parameters are matrices from inputs to outputs: convolution and dense kernels.

  Those with hardly any outputs (a picture's three channels) are left to Adam.
  """

  def spec(leaf: jax.Array) -> MuonDimensionNumbers | None:
    if leaf.ndim == 4 and leaf.shape[-1] > 3:
      return MuonDimensionNumbers((0, 1, 2), 3)
    if leaf.ndim == 2 and leaf.shape[-1] > 3:
      return MuonDimensionNumbers(0, 1)
    return None

  return jax.tree.map(spec, params)
