"""Microbatches by hand, and methods that cannot be cut into them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scs_jax.core.contract import Collective, TrainState
from scs_jax.core.step import apply_gradients, gradient_update
from scs_jax.errors import UserError
from scs_jax.training import update

KEY = jax.random.key(0)


class Line:
  """Fits w x to y by a mean of squares; counts the examples it has seen, and sees a batch mean."""

  transform = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.1))

  def init(self, key, batch):
    w = {"w": jnp.ones(2)}
    rest = {"b": jnp.zeros(3)}
    return TrainState(
      jnp.zeros((), jnp.int32), {"line": w, "idle": rest},
      {"line": self.transform.init(w), "idle": self.transform.init(rest)},
      {"line": {"seen": jnp.zeros(())}},
    )  # fmt: skip

  def train_step(self, state, batch, key, collective, phase):
    x = batch["x"]
    loss = lambda p: (jnp.square(x @ p["w"] - 1.0).mean(), x.mean())
    params, opt_state, value, mean = gradient_update(
      loss, self.transform, state.params["line"], state.opt_state["line"], collective
    )
    seen = {"line": {"seen": state.model_state["line"]["seen"] + x.shape[0]}}
    state = state.replace(
      step=state.step + 1, params={**state.params, "line": params},
      opt_state={**state.opt_state, "line": opt_state}, model_state=seen,
    )  # fmt: skip
    return state, {"loss": value, "mean": mean, "draw": jax.random.uniform(key)}


@pytest.mark.parametrize("k", [1, 2, 6])
def test_microbatches_are_one_update_by_the_mean_gradient(k):
  method, x = Line(), np.random.default_rng(0).normal(size=(12, 2)).astype(np.float32)
  step = update.make_step(method, KEY, Collective(), update.Options(accumulate=k))
  state, logs = jax.jit(step, static_argnums=2)(method.init(KEY, {}), {"x": x}, "")
  start = method.init(KEY, {})
  residual = x @ np.ones(2) - 1
  gradient = {"w": jnp.asarray(2 * (residual[:, None] * x).mean(0), jnp.float32)}
  expected, opt_state = apply_gradients(
    method.transform, gradient, start.opt_state["line"], start.params["line"]
  )
  np.testing.assert_allclose(state.params["line"]["w"], expected["w"], rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    state.opt_state["line"], opt_state,
  )  # fmt: skip
  assert (int(state.step), int(state.skipped)) == (1, 0)
  assert float(state.model_state["line"]["seen"]) == 12  # carried from part to part
  assert int(state.opt_state["idle"][1][0].count) == 0  # no gradient, no update
  assert float(logs["loss"]) == pytest.approx(np.square(residual).mean(), rel=1e-5)
  assert float(logs["mean"]) == pytest.approx(x.mean(), abs=1e-6)
  # The step's one key: an example's randomness goes by its index.
  drawn = float(jax.random.uniform(jax.random.fold_in(KEY, 0)))
  assert float(logs["draw"]) == pytest.approx(drawn, abs=1e-6)


def test_a_microbatch_has_every_kth_example():
  parts = update._every(3, jnp.arange(12))
  np.testing.assert_array_equal(parts, [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]])


def test_a_method_with_updates_of_its_own_is_refused():
  class Own(Line):
    def train_step(self, state, batch, key, collective, phase):
      return state.replace(step=state.step + 1), {"loss": batch["x"].mean()}

  method = Own()
  step = update.make_step(method, KEY, Collective(), update.Options(accumulate=2))
  with pytest.raises(UserError, match=r"Own does not update .* set accumulate to 1"):
    jax.eval_shape(lambda s, b: step(s, b, ""), method.init(KEY, {}), {"x": jnp.ones((4, 2))})
  assert step is not None


def test_one_part_that_is_not_finite_spoils_the_update_and_nothing_changes():
  method = Line()
  options = update.Options(accumulate=2, ema_decay=0.9, skip_nonfinite=1)
  step = jax.jit(update.make_step(method, KEY, Collective(), options), static_argnums=2)
  start = update.init(method, KEY, options)
  x = np.ones((4, 2), np.float32)
  x[1] = np.inf
  state, logs = step(start, {"x": x}, "")
  assert (int(state.step), int(state.skipped), float(logs[update.FINITE])) == (1, 1, 0.0)
  stuck, _ = step(state, {"x": x}, "")  # one too many: not even the number
  assert (int(stuck.step), int(stuck.skipped)) == (1, 2)
  stuck, logs = step(stuck, {"x": np.ones((4, 2), np.float32)}, "")
  assert (int(stuck.step), int(stuck.skipped), float(logs[update.FINITE])) == (1, 2, 0.0)
  for tree in ("params", "opt_state", "model_state", "average"):
    jax.tree.map(np.testing.assert_array_equal, getattr(stuck, tree), getattr(start, tree))
