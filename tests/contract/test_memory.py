"""What saves memory changes no numbers (remat), or only those of activations (bfloat16)."""

import jax
import numpy as np
import pytest

from scs_jax.engine import resolve, update
from scs_jax.engine.contract import Collective
from scs_jax.engine.parallel import Parallel

TINY = {
  "scsnet": "make_tiny_config", "smsanet": "make_smsanet_config", "joint_sr": "make_joint_config"
}  # fmt: skip


@pytest.fixture(scope="module", params=sorted(TINY))
def tiny(request, draw_state):
  """(a function: the method with remat and dtype, its state, a batch)."""
  make = request.getfixturevalue(TINY[request.param])

  def method(remat="none", dtype="float32"):
    config = make()
    config.remat, config.dtype = remat, dtype
    config.optimizer.eps = 1e-3
    config.optimizer.schedule = "constant"  # whose state may be zero
    if request.param == "scsnet":
      config.mode, config.network.levels = "referential", 1
    return resolve.build(config)

  side = make().data.crop
  image = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), np.uint8)
  batch = {"image": image, "index": np.arange(8, dtype=np.uint32)}
  return method, draw_state(method()), batch


def take_step(method, state, batch, remat="none"):
  parallel = Parallel(devices=jax.devices()[:1], options=update.Options(remat=remat))
  step = parallel.train_step(method, jax.random.key(0))
  state = parallel.place(jax.tree.map(np.copy, state))
  state, logs = step(state, parallel.shard(batch), method.phase(0))
  return jax.device_get(state), parallel.read_logs(logs)


@pytest.fixture(scope="module")
def plain(tiny):
  method, state, batch = tiny
  return take_step(method(), state, batch)


@pytest.mark.parametrize("remat", ["dots", "blocks"])
def test_rematerialisation_changes_no_numbers(tiny, plain, remat):
  method, before, batch = tiny
  state, logs = take_step(method(remat), before, batch, remat)
  assert logs == pytest.approx(plain[1], rel=1e-4, abs=1e-6)
  for tree in ("params", "model_state"):
    found, expected = (jax.tree.leaves(getattr(s, tree)) for s in (state, plain[0]))
    for a, b, start in zip(found, expected, jax.tree.leaves(getattr(before, tree)), strict=True):
      np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 + 1e-3 * np.abs(b - start).max())


def test_rematerialisation_keeps_less_for_the_gradient(tiny, monkeypatch):
  """Bytes between the forward and the backward pass of the first update, parameters included.

  Counted where they are kept: XLA for CPUs merges what is computed twice again.
  """
  method, state, batch = tiny
  gradient, kept = jax.value_and_grad, []

  def counting(loss, has_aux):
    def value_and_gradient(params):
      backward = jax.vjp(loss, params, has_aux=has_aux)[1]
      kept.append(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(backward)))
      return gradient(loss, has_aux=has_aux)(params)

    return value_and_gradient

  monkeypatch.setattr(jax, "value_and_grad", counting)
  found = {}
  for remat in ("none", "dots", "blocks"):
    ours, collective = method(remat), Collective(remat=remat)
    run = lambda s, b, m=ours, c=collective: m.train_step(s, b, jax.random.key(0), c, m.phase(0))
    kept.clear()
    jax.eval_shape(run, state, batch)
    found[remat] = kept[0]
  assert found["dots"] < 0.8 * found["none"] and found["blocks"] < 0.8 * found["none"]


def test_bfloat16_is_of_activations_alone(tiny, plain):
  method, before, batch = tiny
  state, logs = take_step(method(dtype="bfloat16"), before, batch)
  assert logs[update.FINITE] == 1.0
  kinds = lambda s: jax.tree.map(lambda x: np.asarray(x).dtype, s)
  assert kinds(state) == kinds(plain[0])
  for name, tree in state.params.items():
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), tree, before.params[name])
    assert np.isfinite(jax.tree.leaves(moved)).all() and max(jax.tree.leaves(moved)) > 0, name
  losses = {n: v for n, v in plain[1].items() if n.startswith("loss/")}
  assert {n: logs[n] for n in losses} == pytest.approx(losses, rel=0.1, abs=0.05)
  assert any(logs[n] != v for n, v in losses.items())  # and it is another computation
