"""One gradient update, for every method."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import flax.struct
import jax
import jax.numpy as jnp

from scs_jax.core.contract import Collective

if TYPE_CHECKING:
  import optax

Tree = Any


def apply_gradients(
  transform: "optax.GradientTransformation",
  grads: Tree,
  opt_state: Tree,
  params: Tree,
  value: jax.Array | None = None,
) -> tuple[Tree, Tree]:
  """Parameters and optimizer state after one update with these (batch-wide) gradients.

  `value` is the loss as a mean over the whole batch, as `gradients` returns it, so that a schedule
  that watches it (optimizer.schedule=plateau) decides the same on all devices; others ignore it.

  While the engine gathers the gradients of several microbatches (`Pending`), the parameters stay
  and the update waits for the last of them.
  """
  if isinstance(opt_state, Pending):
    return params, opt_state.add(transform, grads, value)
  import optax  # here, as in optim.py: whoever only colours does not wait for it

  more = {} if value is None else {"value": value}
  updates, opt_state = optax.with_extra_args_support(transform).update(
    grads, opt_state, params, **more
  )
  return optax.apply_updates(params, updates), opt_state


def gradients(
  loss: Callable[[Tree], tuple[jax.Array, Any]], params: Tree, collective: Collective
) -> tuple[Any, Tree]:
  """Returns ((loss, aux), gradients) with loss and gradients averaged over the whole batch.

  Args:
    loss: params -> (scalar mean over this device's part of the batch, aux).
    params: what to differentiate with respect to.
    collective: the step's.
  """
  inner = loss if collective.gather is None else lambda p: loss(collective.gather(p))
  if collective.remat == "dots":
    inner = jax.checkpoint(inner, policy=_keep_products)
  (value, aux), grads = jax.value_and_grad(inner, has_aux=True)(params)
  value, grads = collective.mean((value, grads))
  if collective.finite is not None:
    leaves = jax.tree.leaves((value, grads))
    collective.finite.append(jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves]).all())
  return (value, aux), grads


def gradient_update(
  loss: Callable[[Tree], tuple[jax.Array, Any]],
  transform: "optax.GradientTransformation",
  params: Tree,
  opt_state: Tree,
  collective: Collective,
) -> tuple[Tree, Tree, jax.Array, Any]:
  """Makes the plain update in one call: (params, opt_state, loss, aux) after one update."""
  (value, aux), grads = gradients(loss, params, collective)
  params, opt_state = apply_gradients(transform, grads, opt_state, params, value)
  return params, opt_state, value, aux


def _keep_products(primitive, *_, **__) -> bool:
  """Tells what remat "dots" keeps, which JAX's own dots_saveable does not: convolutions too."""
  return primitive in (jax.lax.dot_general_p, jax.lax.conv_general_dilated_p)


class Uses:
  """Holds what `Pending` learns of one network while a step is traced: how it is updated."""

  def __init__(self):
    self.transform: optax.GradientTransformation | None = None
    self.valued = False


@flax.struct.dataclass
class Pending:
  """In the place of an optimizer's state: that state, and the gradients of some microbatches.

  Attributes:
    state: the optimizer's own.
    grads: sum of the gradients so far.
    value: sum of the losses so far.
    uses: shared by all copies; by identity the same static value.
  """

  state: Tree
  grads: Tree
  value: jax.Array
  uses: Uses = flax.struct.field(pytree_node=False)

  @classmethod
  def start(cls, opt_state: Tree, params: Tree) -> "Pending":
    zeros = jax.tree.map(jnp.zeros_like, params)
    return cls(opt_state, zeros, jnp.zeros((), jnp.float32), Uses())

  def add(self, transform, grads: Tree, value: jax.Array | None) -> "Pending":
    self.uses.transform, self.uses.valued = transform, value is not None
    total = self.value if value is None else self.value + value
    return self.replace(grads=jax.tree.map(jnp.add, self.grads, grads), value=total)

  def finish(self, params: Tree, count: int) -> tuple[Tree, Tree]:
    """Returns (params, opt_state) after the one update by the mean over `count` microbatches.

    A network that no gradient reached in this step stays as it is.
    """
    if self.uses.transform is None:
      return params, self.state
    grads = jax.tree.map(lambda g: g / count, self.grads)
    value = self.value / count if self.uses.valued else None
    return apply_gradients(self.uses.transform, grads, self.state, params, value)
