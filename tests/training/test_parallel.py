"""Batches over devices: where each example lies, in which order, and what does not divide."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.core.contract import TrainState
from scs_jax.data import regions
from scs_jax.errors import UserError
from scs_jax.training import update
from scs_jax.training.parallel import Parallel
from scs_jax.training.update import Options


def devices(count):
  return jax.devices()[:count]


@pytest.mark.parametrize(
  ("count", "batch", "advice"),
  [(8, 30, "use 32 or 24"), (8, 4, "use 8"), (3, 4, "use 6 or 3"), (2, 1, "use 2")],
)
def test_a_batch_that_does_not_divide_names_those_that_do(count, batch, advice):
  line = f"batch_size {batch} is not divisible by {count} devices; {advice}"
  with pytest.raises(UserError) as caught:
    Parallel(devices=devices(count)).check_batch(batch)
  assert str(caught.value) == line


def test_a_batch_that_does_not_divide_into_microbatches():
  parallel = Parallel(devices=devices(4), options=Options(accumulate=3))
  parallel.check_batch(24)
  with pytest.raises(UserError) as caught:
    parallel.check_batch(16)
  assert str(caught.value) == (
    "batch_size 16 is not divisible by 4 devices with 3 microbatches each; use 24 or 12"
  )


@pytest.mark.parametrize(("count", "batch"), [(1, 7), (2, 8), (8, 8), (3, 9)])
def test_a_batch_that_divides(count, batch):
  Parallel(devices=devices(count)).check_batch(batch)


def test_an_unknown_mode():
  with pytest.raises(UserError, match=r"parallel\.mode is 'pjit'; use 'jit' or 'pmap'"):
    Parallel("pjit")


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_every_device_gets_its_part_in_order(mode):
  parallel = Parallel(mode, devices(4))
  index = np.arange(8, dtype=np.uint32)
  image = np.arange(8 * 2 * 3, dtype=np.uint8).reshape(8, 2, 1, 3)
  placed = parallel.shard({"index": index, "image": image})
  assert placed["image"].dtype == np.uint8
  if mode == "pmap":
    np.testing.assert_array_equal(placed["index"], index.reshape(4, 2))
    np.testing.assert_array_equal(placed["image"], image.reshape(4, 2, 2, 1, 3))
    return
  np.testing.assert_array_equal(placed["image"], image)
  for shard in placed["index"].addressable_shards:
    at = parallel.devices.index(shard.device)
    np.testing.assert_array_equal(shard.data, index[2 * at : 2 * at + 2])


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_regions_arrive_as_crops_each_where_its_example_lies(mode):
  """The left half of a picture, mirrored, at half its size: ramps whose averages are known."""
  parallel = Parallel(mode, devices=devices(2))
  side, crop = regions.side_of(4), 4
  image = np.full((4, side, side, 3), 255, np.uint8)
  image[:, :8, :16] = 2 * np.arange(16)[:, None] + 40 * np.arange(4)[:, None, None, None]
  place = np.tile(np.float32([[0.5, 2, 8], [6.5, -2, 16]]), (4, 1, 1))
  placed = parallel.shard({"image": image, "image_place": place, "index": np.arange(4)})
  assert set(placed) == {"image", "index"}
  assert {s.device for s in placed["image"].addressable_shards} == set(devices(2))
  crops = np.asarray(placed["image"]).reshape(4, crop, crop, 3)
  assert crops.dtype == np.uint8
  expected = np.array([13, 9, 5, 1]) + 40 * np.arange(4)[:, None]
  np.testing.assert_array_equal(crops, np.broadcast_to(expected[:, None, :, None], crops.shape))


@pytest.mark.parametrize("mode", ["jit", "pmap"])
@pytest.mark.parametrize("came_from", ["host", "one device", "all devices"])
def test_a_placed_state_comes_back_as_it_was(mode, came_from):
  parallel = Parallel(mode, devices(4))
  w = np.arange(6, dtype=np.float32).reshape(2, 3)
  if came_from == "one device":
    w = jax.device_put(w, devices(4)[2])
  elif came_from == "all devices":
    w = Parallel(devices=devices(8)).place(jnp.asarray(w))
  state = TrainState(jnp.asarray(3, jnp.int32), {"g": {"w": w}}, {}, {}, {"f": np.float32(2.0)})
  placed = parallel.place(state)
  leaf = placed.params["g"]["w"]
  assert leaf.devices() == set(devices(4))
  for shard in leaf.addressable_shards:  # a whole copy each
    np.testing.assert_array_equal(np.asarray(shard.data).reshape(2, 3), np.asarray(w))
  back = parallel.fetch(placed)
  assert jax.tree.structure(back) == jax.tree.structure(state)
  np.testing.assert_array_equal(back.params["g"]["w"], np.asarray(w))
  assert (int(back.step), float(back.frozen["f"])) == (3, 2.0)


def numbered(count, taken):
  for i in range(count):
    taken.append(i)
    yield {"image": np.full((2, 1), i, np.uint8), "record": np.array([i, i]), "bad": [-1, i]}


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
def test_ahead_keeps_the_order_and_runs_ahead_by_its_depth(depth):
  taken = []
  parallel = Parallel(devices=devices(2))
  seen = []
  for host, batch in parallel.ahead(numbered(4, taken), depth):
    seen.append(int(batch["image"][0, 0]))
    assert set(batch) == {"image"}  # what is for the host's books stays there
    assert host["record"][0] == host["bad"][1] == seen[-1]
    assert taken == list(range(min(4, seen[-1] + 1 + depth)))
  assert seen == [0, 1, 2, 3]


def test_ahead_of_nothing_is_nothing():
  assert list(Parallel(devices=devices(1)).ahead([])) == []


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_a_step_sees_the_whole_batch_and_its_own_key(mode):
  """Means over the batch, and the key folded with the state's step, on four devices."""

  class Mean:
    def train_step(self, state, batch, key, collective, phase):
      mean = collective.mean(batch["x"].mean())
      draw = jax.random.uniform(key)
      state = state.replace(step=state.step + 1, params={"mean": mean})
      return state, {"first": draw, "local": batch["x"].mean() * (2.0 if phase == "b" else 1.0)}

  parallel = Parallel(mode, devices(4))
  key = jax.random.key(5)
  step = update.device_step(Mean(), 5, parallel)
  state = parallel.place(TrainState(jnp.asarray(7, jnp.int32), {"mean": jnp.zeros(())}, {}, {}))
  lie = lambda state: [leaf.sharding for leaf in jax.tree.leaves(state)]
  placed = lie(state)
  x = np.array([1, 2, 3, 4, 5, 6, 7, 20], np.float32)
  for at, phase, factor in ((7, "a", 1.0), (8, "b", 2.0)):
    state, logs = step(state, parallel.shard({"x": x}), phase)
    logs = parallel.read_logs(logs)
    assert logs["local"] == pytest.approx(6.0 * factor)  # the mean of the parts' means
    expected = jax.random.uniform(jax.random.fold_in(key, at))
    assert logs["first"] == pytest.approx(float(expected))
    assert lie(state) == placed  # else the next step would compile anew
  assert float(parallel.fetch(state).params["mean"]) == 6.0
