"""Whatever the devices do with a step, it is the same step: counts, jit, pmap, fsdp, microbatches.

SCSNet's adversarial step stands for means over the batch in a loss, the joint network's half that
enlarges for BatchNorm (and a schedule that watches the loss), with SRGAN's adversary under pmap,
SCSNet's without its adversary for neither; the other methods go over one mesh each, and all of them
over two devices in test_methods.py. Some of the many devices rematerialise besides, which changes
no numbers either. Tolerances are those of float32 sums in another order.
"""

import functools

import jax
import numpy as np
import pytest

from scs_jax.core import resolve
from scs_jax.training import update
from scs_jax.training.parallel import Parallel
from scs_jax.training.sharding import FSDP

pytestmark = pytest.mark.usefixtures("plain_volumes")
STEPS, FSDP_LEAST = 3, 64


def small_scsnet(config):
  config.mode = "referential"
  config.network.levels = 1
  config.network.texture_blocks = 0
  for name in ("source_blocks", "reference_blocks", "decoder_blocks"):
    config.network[name] = (0, 0, 0)
  return config


class Subject:
  """A method, a state and batches; runs of it, each made once."""

  def __init__(self, config, draw_state, examples):
    # Adam divides by a gradient's size: where that is rounding alone, orders of summation would
    # part by whole steps.
    config.optimizer.eps = 1e-3
    self.config, self.examples = config, examples
    config.batch_size = examples
    self.method = resolve.build(config)
    self.fresh = draw_state(self.method)
    if config.optimizer.schedule == "plateau":  # its state does not start at zero
      params = self.fresh.params
      started = {n: jax.device_get(self.method.transform.init(t)) for n, t in params.items()}
      self.fresh = self.fresh.replace(opt_state=started)
    self.batches = [self._batch(i) for i in range(STEPS)]

  def _batch(self, number):
    pairs, crop = self.method.takes_pairs, self.config.data.crop
    size = tuple(crop) if pairs else (crop, crop)
    n = self.examples
    image = np.random.default_rng(number).integers(0, 256, (n, *size, 3), np.uint8)
    index = np.arange(n * number, n * (number + 1), dtype=np.uint32)
    if not pairs:
      return {"image": image, "index": index}
    mono = np.roll(image, -2, axis=2).mean(-1, keepdims=True).astype(np.uint8)
    return {"mono": mono, "color": image, "index": index}

  @functools.cache  # noqa: B019 - lives as long as the module's fixture
  def _program(self, mode, count, fsdp, accumulate, ema_decay, remat):
    if len(jax.devices()) < count:
      pytest.skip(f"needs {count} devices")
    options = update.Options(accumulate=accumulate, ema_decay=ema_decay, remat=remat)
    self.config.remat = remat
    method = resolve.build(self.config)
    parallel = Parallel(mode, jax.devices()[:count], fsdp, FSDP_LEAST, options)
    parallel.check_batch(self.examples)
    return method, parallel, update.device_step(method, 0, parallel)

  @functools.cache  # noqa: B019
  def run(
    self, mode="jit", count=1, fsdp=1, accumulate=1, ema_decay=0.0, remat="none", shuffle=None
  ):
    """(the state after some steps, the last logs, the state as it lies on the devices).

    `shuffle` is the seed of another order of the pictures in each batch; None: as they are.
    """
    method, parallel, step = self._program(mode, count, fsdp, accumulate, ema_decay, remat)
    order = slice(None)
    if shuffle is not None:
      order = np.random.default_rng(shuffle).permutation(self.examples)
    fresh = jax.tree.map(np.copy, self.fresh)
    average = jax.tree.map(np.copy, fresh.params) if ema_decay else {}
    state = parallel.place(fresh.replace(average=average))
    for i, batch in enumerate(self.batches):
      batch = {name: x[order] for name, x in batch.items()}
      state, logs = step(state, parallel.shard(batch), method.phase(i))
    return jax.device_get(parallel.fetch(state)), parallel.read_logs(logs), state

  def share_of_rounding(self, shuffles):
    """The largest part of its way that an array's end moves by, where one device is given the same
    pictures in other orders: what rounding alone does to these steps."""
    expected = self.run()[0]
    shares = [0.0]
    for shuffle in shuffles:
      found = self.run(shuffle=shuffle)[0]
      for tree in ("params", "opt_state", "model_state"):
        for a, b, start in zip(
          *(jax.tree.leaves(getattr(s, tree)) for s in (found, expected, self.fresh)), strict=True
        ):
          a, b, start = (np.asarray(x, np.float64) for x in (a, b, start))
          if np.abs(b - start).max(initial=0) > 1e-4:
            shares.append(np.abs(a - b).max() / np.abs(b - start).max())
    return max(shares)


@pytest.fixture(scope="module")
def subjects(
  make_tiny_config, make_smsanet_config, make_joint_config, make_cycle_config, draw_state
):
  plain = small_scsnet(make_tiny_config())
  plain.loss.adversarial = 0.0
  plain.mode = "automatic"
  configs = {
    "scsnet": small_scsnet(make_tiny_config()), "plain": plain,
    "joint_sr": make_joint_config("super_resolution"),
    "srgan": make_joint_config("super_resolution"),
    "smsanet": make_smsanet_config(), "cycle_cnn": make_cycle_config(),
  }  # fmt: skip
  assert configs["scsnet"].loss.adversarial > 0
  assert configs["joint_sr"].optimizer.schedule == "plateau"
  configs["srgan"].loss.adversarial = 0.1
  configs["smsanet"].network.attention_blocks = ()  # of one picture each
  configs["cycle_cnn"].steps, configs["cycle_cnn"].refine_share = STEPS, 0.0  # one program
  configs["cycle_cnn"].network.refinement, configs["cycle_cnn"].network.pairs = False, 0
  configs["cycle_cnn"].optimizer.rmsprop = "keras3"  # its steps follow small gradients smoothly
  # As many pictures as their most devices and microbatches need.
  examples = {"scsnet": 8, "plain": 8, "joint_sr": 16, "srgan": 8, "smsanet": 4, "cycle_cnn": 4}
  return {n: Subject(config, draw_state, examples[n]) for n, config in configs.items()}


def assert_same(found, expected, fresh, share=1e-3, trees=("params", "opt_state", "model_state")):
  """Within 1e-5 of each number, 4e-6 of one, and `share` of the way that an array went."""
  (state, logs, _), (other, other_logs, _) = found, expected
  assert state.step == other.step == STEPS and logs[update.FINITE] == 1.0
  assert logs == pytest.approx(other_logs, rel=1e-4, abs=1e-6)
  for tree in trees:
    paths, _ = jax.tree_util.tree_flatten_with_path(getattr(state, tree))
    others, before = (jax.tree.leaves(getattr(s, tree)) for s in (other, fresh))
    for (path, a), b, start in zip(paths, others, before, strict=True):
      way = np.abs(np.asarray(b, np.float64) - start).max()
      name = tree + jax.tree_util.keystr(path)
      np.testing.assert_allclose(a, b, rtol=1e-5, atol=4e-6 + share * way, err_msg=name)


MESHES = [
  ("scsnet", "jit", 8, 4, "blocks"), ("joint_sr", "jit", 8, 2, "dots"),
  ("srgan", "pmap", 4, 1, "none"),
  ("smsanet", "jit", 4, 2, "blocks"), ("cycle_cnn", "jit", 4, 2, "blocks"),
]  # fmt: skip


@pytest.mark.parametrize(("subject", "mode", "count", "fsdp", "remat"), MESHES)
def test_devices_do_not_change_the_result(subjects, subject, mode, count, fsdp, remat):
  subject = subjects[subject]
  expected = subject.run()
  found = subject.run(mode, count, fsdp, remat=remat)
  # Cycle CNN's gradient has steps, at absolute values and ReLUs of numbers that many voxels share:
  # under some releases of XLA a sum in another order falls on the other side of one. On one device
  # with the pictures in another order too: that is what may be expected of several, twice over.
  share = 1e-3
  if subject.method.takes_pairs:
    share = max(share, 2 * subject.share_of_rounding((1, 2, 3)))
    assert share < 0.3  # else the comparison says nothing
  assert_same(found, expected, subject.fresh, share)
  for name, tree in expected[0].params.items():
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), tree, subject.fresh.params[name])
    assert max(jax.tree.leaves(moved)) > 1e-4, name
  held = [leaf.addressable_shards[0].data.size for leaf in jax.tree.leaves(found[2].opt_state)]
  whole = [leaf.size for leaf in jax.tree.leaves(expected[0].opt_state)]
  if fsdp > 1:  # and it did lie in parts
    assert sum(held) < 1.6 * sum(whole) / fsdp
  for leaf in jax.tree.leaves(found[2].params):
    if fsdp > 1 and leaf.size >= FSDP_LEAST and any(n % fsdp == 0 for n in leaf.shape):
      assert FSDP in leaf.sharding.spec and leaf.addressable_shards[0].data.size * fsdp == leaf.size


@pytest.mark.parametrize(("mode", "count", "fsdp"), [("jit", 4, 2), ("pmap", 2, 1)])
def test_microbatches_make_the_same_update_where_no_mean_is_over_the_batch(
  subjects, mode, count, fsdp
):
  """The running averages of the parameters too, which lie as the parameters do."""
  subject = subjects["plain"]
  expected = subject.run(ema_decay=0.5)
  found = subject.run(mode, count, fsdp, accumulate=2, ema_decay=0.5)
  assert_same(found, expected, subject.fresh)
  for a, b in zip(*(jax.tree.leaves(x[0].average) for x in (found, expected)), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)
  placed = lambda tree: jax.tree.map(lambda x: x.sharding, tree)
  assert placed(found[2].average) == placed(found[2].params)


def test_microbatches_with_means_of_their_own_are_the_same_on_any_devices(subjects):
  """Two microbatches, over one device and eight; another step than the whole batch's."""
  subject = subjects["joint_sr"]
  one, eight = (subject.run("jit", count, accumulate=2) for count in (1, 8))
  assert_same(eight, one, subject.fresh)
  whole = subject.run()[0]
  apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), one[0].params, whole.params)
  assert max(jax.tree.leaves(apart)) > 1e-5
