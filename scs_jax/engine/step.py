"""One gradient update, for every method."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from scs_jax.engine.contract import Collective

Tree = Any


def apply_gradients(
  transform: optax.GradientTransformation, grads: Tree, opt_state: Tree, params: Tree
) -> tuple[Tree, Tree]:
  """Parameters and optimizer state after one update with these (batch-wide) gradients."""
  updates, opt_state = transform.update(grads, opt_state, params)
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
  params, opt_state = apply_gradients(transform, grads, opt_state, params)
  return params, opt_state, value, aux
