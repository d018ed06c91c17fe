"""The mesh, and which axis of which array is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from scs_jax.core.contract import TrainState
from scs_jax.errors import UserError
from scs_jax.training import sharding, update
from scs_jax.training.parallel import Parallel


@pytest.mark.parametrize(
  ("shape", "fsdp", "least", "expected"),
  [
    ((3, 3, 64, 128), 4, 0, P(None, None, None, "fsdp")),
    ((3, 3, 128, 64), 4, 0, P(None, None, "fsdp", None)),
    ((3, 3, 64, 64), 4, 0, P(None, None, None, "fsdp")),  # the last of equals
    ((9, 6), 2, 0, P(None, "fsdp")),  # the longer one is not divided
    ((9, 7), 2, 0, P()),
    ((), 2, 0, P()),
    ((8, 8), 2, 65, P()),
    ((8, 8), 2, 64, P(None, "fsdp")),
    ((8, 8), 1, 0, P()),
  ],
)
def test_the_longest_axis_that_is_divided_is_cut(shape, fsdp, least, expected):
  assert sharding.cut(shape, fsdp, least) == expected


def test_neighbours_share_a_copy_and_the_batch_lies_on_all():
  devices = jax.devices()[:8]
  parallel = Parallel(devices=devices, fsdp=4, fsdp_least=0)
  assert parallel.mesh.shape == {"data": 2, "fsdp": 4}
  assert parallel.devices == devices
  w = np.arange(16, dtype=np.float32).reshape(2, 8)
  state = TrainState(jnp.asarray(3, jnp.int32), {"g": w}, {}, {}, {"f": w}, {"g": w})
  placed = parallel.place(state)
  for leaf in (placed.params["g"], placed.frozen["f"], placed.average["g"]):
    for shard in leaf.addressable_shards:
      at = devices.index(shard.device) % 4
      np.testing.assert_array_equal(shard.data, w[:, 2 * at : 2 * at + 2])
  whole = parallel.whole(placed)
  assert whole.params["g"].devices() == {devices[0]} and not whole.average
  np.testing.assert_array_equal(whole.params["g"], w)
  index = parallel.shard({"index": np.arange(16, dtype=np.uint32)})["index"]
  for shard in index.addressable_shards:
    at = devices.index(shard.device)
    np.testing.assert_array_equal(shard.data, [2 * at, 2 * at + 1])


def test_devices_that_do_not_divide():
  with pytest.raises(UserError) as caught:
    Parallel(devices=jax.devices()[:6], fsdp=4)
  assert str(caught.value) == "parallel.fsdp 4 does not divide 6 devices; use one of 1, 2, 3, 6"
  with pytest.raises(UserError, match=r"parallel\.fsdp 2 needs parallel\.mode=jit"):
    Parallel("pmap", jax.devices()[:4], fsdp=2)


def test_a_step_fetches_parameters_and_sends_no_activations():
  """Gathered where they are used, gradients summed: nothing as large as the batch goes around."""

  class Dense:
    def train_step(self, state, batch, key, collective, phase):
      from scs_jax.core.step import gradients

      loss = lambda p: (jnp.square(batch["x"] @ p["w"]).mean(), None)
      (value, _), grads = gradients(loss, state.params, collective)
      params = jax.tree.map(lambda p, g: p - g, state.params, grads)
      return state.replace(step=state.step + 1, params=params), {"loss": value}

  parallel = Parallel(devices=jax.devices()[:4], fsdp=4, fsdp_least=0)
  w = np.ones((16, 32), np.float32)
  state = parallel.place(TrainState(jnp.zeros((), jnp.int32), {"w": w}, {}, {}))
  batch = parallel.shard({"x": np.ones((4096, 16), np.float32)})
  step = update.device_step(Dense(), 0, parallel)
  text = step.lower(state, batch, "").compile().as_text()
  sent = [line.split(" = ")[1].split("{")[0] for line in text.splitlines()
          if any(f" {name}(" in line for name in ("all-gather", "all-to-all"))]  # fmt: skip
  assert sent and all(shape in ("f32[16,32]", "f32[32,16]") for shape in sent), sent
