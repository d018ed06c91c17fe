"""Optimizers from a config section."""

import optax

from scs_jax.errors import UserError


def make_optimizer(config, steps: int) -> optax.GradientTransformation:
  """The optimizer that a config section describes.

  Args:
    config: `name` ("adam"), `learning_rate`, `b1`, `b2`, `eps`, `weight_decay`, `clip_norm` (0 for
      none), `schedule` ("constant", or "cosine" down to 0 at the last step). Weight decay is
      coupled: it is added to the gradient before Adam's moments, as torch.optim.Adam does and
      unlike AdamW.
    steps: updates of the whole run, for the schedule.

  Returns:
    An optax transformation; its updates are to be added to the parameters.
  """
  if config.name != "adam":
    raise UserError(f"optimizer.name is {config.name!r}; use 'adam'")
  parts = []
  if config.clip_norm:
    parts.append(optax.clip_by_global_norm(config.clip_norm))
  if config.weight_decay:
    parts.append(optax.add_decayed_weights(config.weight_decay))
  parts.append(optax.scale_by_adam(config.b1, config.b2, config.eps))
  rate = config.learning_rate
  if config.schedule == "cosine":
    rate = optax.cosine_decay_schedule(rate, max(steps, 1))
  parts.append(optax.scale_by_learning_rate(rate))
  return optax.chain(*parts)
