"""Optimizers from a config section.

optax is imported where one is made, so that whoever only colours does not wait for it.
"""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from scs_jax.core.rules import AtLeast, Between, OneOf, Positive, Rule
from scs_jax.errors import UserError

if TYPE_CHECKING:
  import optax
  from optax.contrib import MuonDimensionNumbers

# RMSProp's variants: (epsilon under the root or added to it, mean square before the first step).
RMSPROP = {"keras2": (False, 0.0), "keras3": (True, 0.0), "tensorflow1": (True, 1.0)}


def optimizer_rules(
  names: tuple[str, ...] = ("adam", "muon"), schedules: tuple[str, ...] = ("constant", "cosine")
) -> dict[str, Rule]:
  """Makes what a method's RULES say of the section `optimizer`, for `make_optimizer`.

  Args:
    names: of the optimizers that the method trains with; with "rmsprop" `rmsprop`, which of its
      variants, has its rule too.
    schedules: likewise; with "plateau" the keys of that schedule have their rules too.
  """
  plateau: dict[str, Rule] = {
    "optimizer.plateau_factor": Between(0.0, 1.0, open_low=True, open_high=True),
    "optimizer.plateau_patience": AtLeast(1),
    "optimizer.plateau_window": AtLeast(1),
    "optimizer.plateau_tolerance": Between(0.0, 1.0, open_low=True),
  }
  return {
    "optimizer.name": OneOf(*names),
    "optimizer.schedule": OneOf(*schedules),
    "optimizer.learning_rate": Between(0.0, 1.0, open_low=True),
    **(plateau if "plateau" in schedules else {}),
    **({"optimizer.rmsprop": OneOf(*RMSPROP)} if "rmsprop" in names else {}),
    "optimizer.b1": Between(0.0, 1.0, open_high=True),
    "optimizer.b2": Between(0.0, 1.0, open_high=True),
    "optimizer.eps": Positive,
    "optimizer.weight_decay": Between(0.0, 1.0),
    "optimizer.clip_norm": AtLeast(0.0),
  }


def make_optimizer(config, steps: int) -> "optax.GradientTransformation":
  """Makes the optimizer that a config section describes.

  Args:
    config: `name` ("adam", "muon" or "rmsprop"), `learning_rate`, `b1`, `b2`, `eps`,
      `weight_decay`, `clip_norm` (0 for none), `schedule` ("constant", "cosine" down to 0 at the
      last step, or "plateau").
      Weight decay is coupled: it is added to the gradient before the moments, as torch.optim.Adam
      does and unlike AdamW. "muon" takes orthogonalised momentum steps (Jordan et al. 2024, by
      optax) for kernels and Adam's with Nesterov momentum for all else, at the same learning rate.
      "rmsprop" divides by the root of the running mean square (`b2` of the old one is kept), with
      momentum `b1` (0: none). `rmsprop` says as which release does it: Keras 2, in TensorFlow until
      2.10, adds `eps` to the root (there only without momentum); later Keras adds it under the
      root; TensorFlow 1's optimizer too, whose mean square starts at 1 where theirs starts at 0.
      "plateau" multiplies the rate by `plateau_factor` where the loss, averaged over windows of
      `plateau_window` updates, has not fallen by the fraction `plateau_tolerance` below the best
      window for `plateau_patience` windows in a row; `update` is then called with `value`, the
      loss over the whole batch.
    steps: updates of the whole run, for the schedule.

  Returns:
    An optax transformation; its updates are to be added to the parameters.
  """
  import optax

  if config.name not in ("adam", "muon", "rmsprop"):
    raise UserError(f"optimizer.name is {config.name!r}; use 'adam', 'muon' or 'rmsprop'")
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
  elif config.name == "rmsprop":
    under_root, start = RMSPROP[config.rmsprop]
    parts.append(optax.scale_by_rms(config.b2, config.eps, start, eps_in_sqrt=under_root))
    # The rate before the momentum: a schedule changes new steps alone, as TensorFlow has it.
    parts.append(optax.scale_by_learning_rate(rate))
    if config.b1:
      parts.append(optax.trace(config.b1))
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
  if config.schedule == "plateau":
    parts.append(_reduce_on_plateau(config))
  return optax.chain(*parts)


def _reduce_on_plateau(config) -> "optax.GradientTransformationExtraArgs":
  import optax.contrib

  plateau = optax.contrib.reduce_on_plateau(
    factor=config.plateau_factor,
    patience=config.plateau_patience,
    rtol=config.plateau_tolerance,
    accumulation_size=config.plateau_window,
  )

  def init(params):
    state = plateau.init(params)
    # optax starts at infinity; a state of ours in which anything is not finite has diverged.
    return state._replace(best_value=jnp.full_like(state.best_value, jnp.finfo(jnp.float32).max))

  return optax.GradientTransformationExtraArgs(init, plateau.update)


def plateau_scale(opt_state) -> jax.Array | None:
  """Returns the factor of the learning rate of schedule "plateau"; None with another schedule."""
  from optax.contrib import ReduceLROnPlateauState

  is_plateau = lambda node: isinstance(node, ReduceLROnPlateauState)
  found = filter(is_plateau, jax.tree.leaves(opt_state, is_leaf=is_plateau))
  return next((state.scale for state in found), None)


def _kernels(params):
  """Tells which parameters are matrices from inputs to outputs: convolution and dense kernels.

  Those with hardly any outputs (a picture's three channels) are left to Adam.
  """

  from optax.contrib import MuonDimensionNumbers

  def spec(leaf: jax.Array) -> "MuonDimensionNumbers | None":
    if leaf.ndim == 4 and leaf.shape[-1] > 3:
      return MuonDimensionNumbers((0, 1, 2), 3)
    if leaf.ndim == 2 and leaf.shape[-1] > 3:
      return MuonDimensionNumbers(0, 1)
    return None

  return jax.tree.map(spec, params)
