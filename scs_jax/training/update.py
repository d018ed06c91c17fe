"""A whole training step around the method's own: microbatches, averages, what is not finite; and
its programs for the devices at hand."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from scs_jax.core.contract import Batch, Collective, Logs, Method, TrainState
from scs_jax.core.step import Pending
from scs_jax.errors import UserError
from scs_jax.training import distributed, flops, sharding

if TYPE_CHECKING:
  from scs_jax.training.parallel import Parallel

Tree = Any

FINITE = "step/finite"
"""Among a step's logs: 1, or 0 where a loss or gradient was not finite and nothing was changed."""
STOP = "step/stop"
"""Among a batch of several processes: a mark a device, above 0 where its process was asked to stop;
among the logs then the largest of them."""


@dataclasses.dataclass(frozen=True)
class Options:
  """Holds what the config says about a step, whatever the method.

  Attributes:
    accumulate: microbatches that a batch is cut into; their mean gradient makes one update.
    ema_decay: of the running averages of parameters; 0: none are kept.
    remat: "none", "dots" or "blocks".
    skip_nonfinite: updates with losses or gradients that are not finite that a run leaves out;
      at one more the state stays as it is for good.
  """

  accumulate: int = 1
  ema_decay: float = 0.0
  remat: str = "none"
  skip_nonfinite: int = 0

  @classmethod
  def of(cls, config) -> "Options":
    return cls(**{field.name: config[field.name] for field in dataclasses.fields(cls)})


@functools.partial(jax.jit, static_argnums=(0, 2))
def init(method: Method, key: jax.Array, options: Options) -> TrainState:
  """Makes a fresh state with all that the engine keeps beside the method's.

  `key` is an argument: from a constant one XLA would compute all weights while it compiles, slowly.
  """
  state = method.init(key, {})
  # A copy: params and average are donated both, and may not share a buffer.
  average = jax.tree.map(jnp.copy, state.params) if options.ema_decay else {}
  return state.replace(average=average)


def shapes(method: Method, options: Options) -> TrainState:
  """Gives what `init` makes, as shapes; nothing is computed."""
  state = method.shapes
  return state.replace(average=state.params if options.ema_decay else {})


class Programs:
  """The step's programs, one a phase.

  Args:
    step: as `device_step` gives it.
    parallel: the devices that it is for.
  """

  def __init__(
    self, step: Callable[[TrainState, Batch, str], tuple[TrainState, Logs]], parallel: "Parallel"
  ):
    self._step, self._parallel = step, parallel
    self._known: dict[str, tuple[Callable, int]] = {}

  def of(self, phase: str, state: TrainState, batch: Batch) -> tuple[Callable, int]:
    """Returns ((state, batch) -> (state, logs), its floating-point operations over all devices).

    One process compiles when it first calls it; several have compiled when this returns.
    """
    if phase not in self._known:
      program = functools.partial(_call, self._step, phase)
      work = flops.count(program, state, batch)
      if jax.process_count() > 1:
        # Compiled before it runs: one that compiles longer would keep the others in a collective.
        compiled = self._step.lower(state, batch, phase).compile()
        if self._parallel.mode == "jit":
          program = compiled
        else:  # pmap finds what was compiled; itself it hands out arrays of this process alone
          work *= jax.process_count()  # and traced for this process's devices
        distributed.meet()
      self._known[phase] = program, work
    return self._known[phase]


def _call(step: Callable, phase: str, state: TrainState, batch: Batch):
  return step(state, batch, phase)


@functools.lru_cache(maxsize=4)
def device_step(
  method: Method, seed: int, parallel: "Parallel"
) -> Callable[[TrainState, Batch, str], tuple[TrainState, Logs]]:
  """Wraps the step in jit or pmap; it compiles when it is called, and takes the state's buffers.

  Trainings of one process by the same method, seed and devices share what is compiled.

  Returns:
    (state, batch, phase) -> (state, logs), logs being replicated scalars, `FINITE` among them. The
    step's key is that of `seed` folded with its number.
  """
  key, options = jax.random.key(seed), parallel.options
  if parallel.mode == "pmap":
    step = make_step(method, key, Collective(sharding.DATA, options.remat), options)

    def mapped(state: TrainState, batch: Batch, phase: str) -> tuple[TrainState, Logs]:
      batch = dict(batch)
      marks = {STOP: jax.lax.pmax(batch.pop(STOP), sharding.DATA)} if STOP in batch else {}
      state, logs = step(state, batch, phase)
      return state, {**logs, **marks}

    return jax.pmap(
      mapped,
      sharding.DATA,
      donate_argnums=0,
      static_broadcasted_argnums=2,
      devices=parallel.devices,
    )
  keep = jax.lax.with_sharding_constraint
  gather = None
  if parallel.mesh.shape[sharding.FSDP] > 1:
    # Said aloud, or the compiler may as well send activations to where the parameters are.
    gather = lambda tree: keep(tree, parallel.replicated)
  step = make_step(method, key, Collective(None, options.remat, gather), options)

  def placed(state: TrainState, batch: Batch, phase: str) -> tuple[TrainState, Logs]:
    batch = dict(keep(batch, parallel.by_batch))
    marks = {STOP: batch.pop(STOP).max()} if STOP in batch else {}
    where = parallel.shardings(state)
    state, logs = step(keep(state, where), batch, phase)
    logs = keep({**logs, **marks}, parallel.replicated)
    return keep(state, where), logs

  return jax.jit(placed, donate_argnums=0, static_argnums=2)


def make_step(
  method: Method, key: jax.Array, collective: Collective, options: Options
) -> Callable[[TrainState, Batch, str], tuple[TrainState, Logs]]:
  """Makes (state, batch, phase) -> (state, logs); the key is `key` folded with the step."""

  def step(state: TrainState, batch: Batch, phase: str) -> tuple[TrainState, Logs]:
    here = jax.random.fold_in(key, state.step)
    new, logs, finite = _update(method, state, batch, here, collective, options, phase)
    if options.ema_decay:
      new = new.replace(average=_average(state.average, new, options.ema_decay))
    # What is not finite changes nothing but the step's number; one too often, not even that, and
    # nothing changes any more: the state stays the last good one until the loop has noticed.
    stuck = state.skipped > options.skip_nonfinite
    good = finite & ~stuck
    skipped = state.skipped + (~finite & ~stuck)
    last = skipped > options.skip_nonfinite
    old = state.replace(step=jnp.where(last, state.step, state.step + 1))
    chosen = _choose(good, new, old).replace(skipped=skipped)
    return chosen, {**logs, FINITE: good.astype(jnp.float32)}

  return step


def _update(method, state, batch, key, collective, options, phase):
  """Takes the method's step on the whole batch: (state, logs, whether it is finite)."""
  if options.accumulate == 1:
    return _checked(method, state, batch, key, collective, phase)
  k, number = options.accumulate, state.step
  held = {name: Pending.start(tree, state.params[name]) for name, tree in state.opt_state.items()}
  parts = jax.tree.map(lambda x: _every(k, x), dict(batch))

  def micro(carried: TrainState, part: Batch):
    new, logs, finite = _checked(
      method, carried.replace(frozen=state.frozen), part, key, collective, phase
    )
    return new.replace(step=number, frozen={}), (logs, finite)

  start = state.replace(opt_state=held, frozen={})
  # XLA runs convolutions in a loop slowly on CPUs; elsewhere a loop spares compiling k times.
  unroll = k if jax.default_backend() == "cpu" else 1
  new, (logs, finite) = jax.lax.scan(micro, start, parts, unroll=unroll)
  params, opt_state = dict(new.params), {}
  for name, pending in new.opt_state.items():
    _require_pending(method, pending)
    params[name], opt_state[name] = pending.finish(new.params[name], k)
  if not any(pending.uses.transform for pending in new.opt_state.values()):
    _require_pending(method, None)
  new = new.replace(step=number + 1, params=params, opt_state=opt_state, frozen=state.frozen)
  return new, jax.tree.map(lambda x: x.mean(0), logs), finite.all()


def _choose(condition: jax.Array, new: TrainState, old: TrainState) -> TrainState:
  choose = lambda a, b: jnp.where(condition, a, b)
  chosen = jax.tree.map(choose, new.replace(frozen={}), old.replace(frozen={}))
  return chosen.replace(frozen=old.frozen)


def _require_pending(method: Method, pending: Any) -> None:
  if not isinstance(pending, Pending):
    raise UserError(
      f"{type(method).__name__} does not update its networks by core.step.apply_gradients, which "
      "config.accumulate needs; set accumulate to 1"
    )


def _every(k: int, x: jax.Array) -> jax.Array:
  """Splits [N, ...] into [k, N / k, ...]: part j has the examples j, j + k, j + 2 k, ...

  So a device's examples stay on it, and the parts are the same on any number of devices.
  """
  return jnp.moveaxis(x.reshape(x.shape[0] // k, k, *x.shape[1:]), 1, 0)


def _checked(method, state, batch, key, collective, phase):
  """Takes the method's step: its result, logs as means over all devices, whether it is finite."""
  collective = collective.replace(finite=[])
  new, logs = method.train_step(state, batch, key, collective, phase)
  logs = collective.mean(dict(logs))
  checks = [jnp.isfinite(value).all() for value in logs.values()] + collective.finite
  if not collective.finite:  # not by core.step.gradients: what came of it tells
    checks += [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(new.params)]
  # As a product, which XLA computes once: what `all` reduces it would fuse anew into each of the
  # selections by it, one an array of the state, and take three times as long to compile on CPUs.
  wrong = 1.0 - jnp.stack(checks)
  return new, logs, wrong @ wrong == 0


def _average(average: Tree, new: TrainState, decay: float) -> Tree:
  """Updates the parameters' running average after a step.

  Early on the decay is (1 + t) / (10 + t), t being the steps done, so that the average soon
  forgets where training started.
  """
  t = new.step.astype(jnp.float32) - 1
  rate = 1 - jnp.minimum(decay, (1 + t) / (10 + t))
  return jax.tree.map(lambda a, p: a + (rate * (p - a)).astype(a.dtype), average, new.params)
