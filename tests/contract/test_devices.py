"""SCSNet's adversarial step on any number of devices, under jit and pmap: the same parameters."""

import jax
import numpy as np
import pytest

from scs_jax.engine import resolve
from scs_jax.engine.parallel import Parallel

STEPS = 4


@pytest.fixture(scope="module")
def run(make_tiny_config, draw_state):
  """A function: state and logs after some referential steps, by (mode, devices)."""
  config = make_tiny_config()
  config.mode = "referential"
  config.network.levels = 1
  config.network.texture_blocks = 0
  for name in ("source_blocks", "reference_blocks", "decoder_blocks"):
    config.network[name] = (0, 0, 0)
  # Adam divides by a gradient's size: where that is rounding alone, orders of summation would
  # part by whole steps.
  config.optimizer.eps = 1e-3
  method = resolve.build(config)
  assert method.adversarial
  key = jax.random.key(0)
  fresh = draw_state(method)
  images = np.random.default_rng(0).integers(0, 256, (STEPS, 8, 16, 16, 3)).astype(np.uint8)

  def steps(mode, count):
    parallel = Parallel(mode, jax.devices()[:count])
    step = parallel.train_step(method, key)
    state = parallel.place(jax.tree.map(np.copy, fresh))
    for i, image in enumerate(images):
      batch = {"image": image, "index": np.arange(8 * i, 8 * i + 8, dtype=np.uint32)}
      state, logs = step(state, parallel.shard(batch), method.phase(i))
    return jax.device_get(parallel.fetch(state)), parallel.read_logs(logs)

  return fresh, steps


@pytest.fixture(scope="module")
def alone(run):
  return run[1]("jit", 1)


@pytest.mark.parametrize(("mode", "count"), [("jit", 2), ("jit", 4), ("jit", 8), ("pmap", 8)])
def test_devices_do_not_change_the_result(run, alone, mode, count):
  fresh, steps = run
  if len(jax.devices()) < count:
    pytest.skip(f"needs {count} devices")
  (state, logs), (expected, expected_logs) = steps(mode, count), alone
  assert state.step == expected.step == STEPS
  assert logs == pytest.approx(expected_logs, rel=1e-4, abs=1e-6)
  for tree in ("params", "model_state"):
    paths, _ = jax.tree_util.tree_flatten_with_path(getattr(state, tree))
    others = jax.tree.leaves(getattr(expected, tree))
    for (path, found), other in zip(paths, others, strict=True):
      name = jax.tree_util.keystr(path)
      np.testing.assert_allclose(found, other, rtol=1e-5, atol=2e-6, err_msg=name)
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), expected.params, fresh.params)
  assert {n: max(jax.tree.leaves(t)) > 1e-4 for n, t in moved.items()} == {
    "generator": True, "reference": True, "discriminator": True
  }  # fmt: skip
