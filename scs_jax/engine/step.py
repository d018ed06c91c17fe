"""One gradient update, for every method."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from scs_jax.engine.contract import Collective

Tree = Any


def apply_gradients(
  transform: optax.GradientTransformation,
  grads: Tree,
  opt_state: Tree,
  params: Tree,
  value: jax.Array | None = None,
) -> tuple[Tree, Tree]:
  """Parameters and optimizer state after one update with these (batch-wide) gradients.

  `value` is the loss as a mean over the whole batch, as `gradients` returns it, so that a schedule
  that watches it (optimizer.schedule=plateau) decides the same on all devices; others ignore it.
  """
  more = {} if value is None else {"value": value}
  updates, opt_state = optax.with_extra_args_support(transform).update(
    grads, opt_state, params, **more
  )
  return optax.apply_updates(params, updates), opt_state


def gradients(
  loss: Callable[[Tree], tuple[jax.Array, Any]], params: Tree, collective: Collective
) -> tuple[Any, Tree]:
  """((loss, aux), gradients) with loss and gradients averaged over the whole batch.

  Args:
    loss: params -> (scalar mean over this device's part of the batch, aux).
    params: what to differentiate with respect to.
    collective: the step's.
  """
  (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(params)
  value, grads = collective.mean((value, grads))
  return (value, aux), grads


def gradient_update(
  loss: Callable[[Tree], tuple[jax.Array, Any]],
  transform: optax.GradientTransformation,
  params: Tree,
  opt_state: Tree,
  collective: Collective,
) -> tuple[Tree, Tree, jax.Array, Any]:
  """The plain case in one call: (params, opt_state, loss, aux) after one update."""
  (value, aux), grads = gradients(loss, params, collective)
  params, opt_state = apply_gradients(transform, grads, opt_state, params, value)
  return params, opt_state, value, aux
