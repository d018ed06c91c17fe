"""What saves memory: remat keeps less (test_devices.py shows that it changes no numbers), bfloat16
is of activations alone."""

import jax
import numpy as np
import pytest

from scs_jax.core import resolve
from scs_jax.core.contract import Collective
from scs_jax.training import update
from scs_jax.training.parallel import Parallel

pytestmark = pytest.mark.usefixtures("plain_volumes")
TINY = {
  "scsnet": "make_tiny_config", "smsanet": "make_smsanet_config",
  "joint_sr": "make_joint_config", "cycle_cnn": "make_cycle_config",
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
    elif request.param == "smsanet":
      config.network.attention_blocks = (4,)
    elif request.param == "cycle_cnn":  # one network, and what compiles soonest of it
      config.network.refinement, config.refine_share = False, 0.0
      config.network.confidence, config.network.pairs, config.loss.structure = False, 0, 0.0
    return resolve.build(config)

  crop, pairs = make().data.crop, request.param == "cycle_cnn"
  size, count = (crop, 2) if pairs else ((crop, crop), 8)
  image = np.random.default_rng(0).integers(0, 256, (count, *size, 3), np.uint8)
  views = {"mono": image[:, :, ::-1, :1], "color": image} if pairs else {"image": image}
  batch = views | {"index": np.arange(count, dtype=np.uint32)}
  return method, draw_state(method()), batch


def take_step(method, state, batch, remat="none"):
  parallel = Parallel(devices=jax.devices()[:1], options=update.Options(remat=remat))
  step = update.device_step(method, 0, parallel)
  state = parallel.place(jax.tree.map(np.copy, state))
  state, logs = step(state, parallel.shard(batch), method.phase(0))
  return jax.device_get(state), parallel.read_logs(logs)


@pytest.fixture
def count_kept(monkeypatch):
  """A function: bytes between the forward and the backward pass of a step's first update.

  Parameters included. Counted where they are kept: XLA for CPUs merges what is computed twice
  again. Nothing is compiled.
  """
  class Counted(Exception):
    """Of the first update; the rest of the step is not looked at."""

  def counting(loss, has_aux):
    def value_and_gradient(params):
      backward = jax.vjp(loss, params, has_aux=has_aux)[1]
      raise Counted(sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(backward)))

    return value_and_gradient

  monkeypatch.setattr(jax, "value_and_grad", counting)

  def count(method, state, batch, remat):
    collective = Collective(remat=remat)
    run = lambda s, b: method.train_step(s, b, jax.random.key(0), collective, method.phase(0))
    with pytest.raises(Counted) as counted:
      jax.eval_shape(run, state, batch)
    return counted.value.args[0]

  return count


def test_rematerialisation_keeps_less_for_the_gradient(tiny, count_kept):
  method, state, batch = tiny
  found = {r: count_kept(method(r), state, batch, r) for r in ("none", "dots", "blocks")}
  assert found["dots"] < 0.8 * found["none"] and found["blocks"] < 0.8 * found["none"]


def test_bfloat16_is_of_activations_alone(tiny):
  """Rematerialised, as in a run that needs both."""
  method, before, batch = tiny
  state, logs = take_step(method("blocks", "bfloat16"), before, batch, "blocks")
  assert logs[update.FINITE] == 1.0
  kinds = lambda s: [np.asarray(x).dtype for x in jax.tree.leaves(s.replace(skipped=0))]
  assert kinds(state) == kinds(before)
  for name, tree in state.params.items():
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), tree, before.params[name])
    assert np.isfinite(jax.tree.leaves(moved)).all() and max(jax.tree.leaves(moved)) > 0, name
