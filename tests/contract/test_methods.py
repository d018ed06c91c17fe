"""What core/contract.py asks of every method. A new one adds its tiny config to TINY, no more."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.core import resolve
from scs_jax.core.contract import Query
from scs_jax.infer import plan
from scs_jax.infer.painter import Painter
from scs_jax.training import update
from scs_jax.training.checkpoint import Checkpoints
from scs_jax.training.parallel import Parallel

# Built-in name -> fixture of conftest.py that makes its config at the smallest sizes.
TINY = {
  "scsnet": "make_tiny_config",
  "smsanet": "make_smsanet_config",
  "joint_sr": "make_joint_config",
  "cycle_cnn": "make_cycle_config",
}


def test_every_method_is_held_to_the_contract():
  assert set(TINY) == set(resolve.BUILTIN)


class Subject:
  """A method with its programs, each compiled once for all tests."""

  def __init__(self, config):
    # Adam divides a gradient by its size: where it is zero but for rounding (a bias that cancels
    # in a relativistic loss), any two orders of summation take full steps apart. Not so with this.
    config.optimizer.eps = 1e-3
    self.config, self.key = config, jax.random.key(config.seed)
    self.method = resolve.build(config)
    self.takes_pairs = self.method.takes_pairs
    self.frozen = self.method.load_frozen()
    self.init = jax.jit(lambda key: self.method.init(key, {}))
    self.predict = jax.jit(self.method.predict)
    # The first steps up to and with the first of each program, in order.
    order = [self.method.phase(step) for step in range(8)]
    self.phases = order[: max(order.index(phase) for phase in set(order)) + 1]

  def fresh(self):
    return self.init(self.key).replace(frozen=self.frozen)

  @functools.cache  # noqa: B019 - lives as long as the module's fixture
  def on(self, mode):
    parallel = Parallel(mode, jax.devices()[:2])
    return parallel, update.device_step(self.method, self.config.seed, parallel)

  def run(self, mode, batches, state=None):
    """State and logs of each step after steps on these batches."""
    parallel, step = self.on(mode)
    state = parallel.place(self.fresh() if state is None else state)
    told = []
    for batch in batches:
      at = int(parallel.fetch(state).step)
      state, logs = step(state, parallel.shard(batch), self.method.phase(at))
      told.append(parallel.read_logs(logs))
    return parallel.fetch(state), told

  def batch(self, number, paint=None):
    """One as the data pipeline makes it; `paint` sets all pictures to one level."""
    n, crop = self.config.batch_size, self.config.data.crop
    height, width = crop if self.takes_pairs else (crop, crop)
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (n, 2, 2, 3))
    mix = lambda size: np.stack([1 - np.linspace(0, 1, size), np.linspace(0, 1, size)], axis=1)
    image = np.einsum("pi,nijc,qj->npqc", mix(height), coarse, mix(width))
    if self.takes_pairs:  # of smooth views SSIM's variances are rounding for the most part
      image = 0.5 * image + rng.uniform(0, 127, image.shape)
    image = image if paint is None else np.full_like(image, paint)
    image, index = image.astype(np.uint8), np.arange(n, dtype=np.uint32) + number * n
    if not self.takes_pairs:
      return {"image": image, "index": index}
    # The monochrome view is darker, and its columns' matches lie two to the right.
    mono = np.roll(image, -2, axis=2).mean(-1, keepdims=True) * 0.8
    return {"mono": mono.astype(np.uint8), "color": image, "index": index}


# One of each kind of part is enough here, and compiles in a fraction of the time.
FEWER = {
  "scsnet": {"network.levels": 1},
  "cycle_cnn": {"network.pairs": 0},
}
pytestmark = pytest.mark.usefixtures("plain_volumes")


@pytest.fixture(scope="module", params=sorted(TINY))
def subject(request):
  config = request.getfixturevalue(TINY[request.param])()
  assert config.method.name == request.param
  config.update_from_flattened_dict(FEWER.get(request.param, {}))
  return Subject(config)


@pytest.fixture(scope="module")
def stepped(subject):
  """(state, logs) after a step of each phase, on two devices."""
  return subject.run("jit", [subject.batch(i) for i in range(len(subject.phases))])


@pytest.fixture(scope="module")
def first(subject, stepped):
  """{mode: (state, logs)} after the first step; `stepped` has compiled the one under jit."""
  return {mode: subject.run(mode, [subject.batch(0)]) for mode in ("jit", "pmap")}


def leaves(state):
  """{path: array} of what is trained or carried."""
  state = jax.device_get(state.replace(frozen={}))
  flat, _ = jax.tree_util.tree_flatten_with_path(state)
  return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in flat}


def assert_finite(state):
  wrong = [name for name, leaf in leaves(state).items() if not np.isfinite(leaf).all()]
  assert not wrong


def assert_same_bits(a, b):
  a, b = leaves(a), leaves(b)
  assert a.keys() == b.keys()
  assert not [name for name in a if a[name].tobytes() != b[name].tobytes()]


def test_init_is_pure_and_named(subject):
  state, again = subject.init(subject.key), subject.init(subject.key)
  assert_same_bits(state, again)
  assert_finite(state)
  assert (state.step.dtype, int(state.step), state.frozen) == (jnp.int32, 0, {})
  assert set(state.opt_state) == set(state.params) and set(state.model_state) <= set(state.params)
  assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype("float32")}
  other = leaves(subject.init(jax.random.key(99)).replace(opt_state={}, model_state={}))
  drawn = [name for name, leaf in leaves(state).items()
           if name in other and not np.array_equal(leaf, other[name])]  # fmt: skip
  for network in state.params:
    assert any(network in name for name in drawn), f"{network} is the same for every seed"


def test_frozen_shapes_are_those_of_the_weights(subject):
  """Of the optional functions, the one that nothing else here calls."""
  shapes = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)
  assert shapes(subject.method.frozen_shapes()) == shapes(subject.frozen)


def test_a_phase_is_a_name_that_depends_on_the_step_alone(subject):
  first = [subject.method.phase(step) for step in range(10)]
  assert all(isinstance(phase, str) for phase in first)
  assert first == [subject.method.phase(step) for step in reversed(range(10))][::-1]


def test_steps_count_change_the_parameters_and_keep_the_shapes(subject, stepped):
  state, logs = stepped
  assert int(state.step) == len(subject.phases)
  assert_finite(state)
  before, after = leaves(subject.fresh()), leaves(state)
  assert {k: (v.shape, v.dtype) for k, v in before.items()} == {
    k: (v.shape, v.dtype) for k, v in after.items()
  }
  for network in state.params:
    trained = [k for k in before if k.startswith(f".params['{network}']")]
    assert any(not np.array_equal(before[k], after[k]) for k in trained), network
  for told in logs:
    assert told and all(np.isfinite(value) for value in told.values())
    assert any(name.startswith("loss/") for name in told)
  for name, value in subject.frozen.items():
    assert jax.tree.all(jax.tree.map(np.array_equal, state.frozen[name], value))


def test_jit_and_pmap_give_the_same_state(subject, first):
  (a, logs_a), (b, logs_b) = first["jit"], first["pmap"]
  assert int(a.step) == int(b.step) == 1
  assert logs_a[0].keys() == logs_b[0].keys()
  for told, other in zip(logs_a, logs_b, strict=True):
    for name, value in told.items():
      assert value == pytest.approx(other[name], rel=1e-3, abs=1e-4), name
  a, b, start = leaves(a), leaves(b), leaves(subject.fresh())
  for name, leaf in a.items():
    moved = np.abs(leaf.astype(np.float64) - start[name]).max()
    np.testing.assert_allclose(leaf, b[name], rtol=1e-5, atol=1e-3 * moved + 1e-6, err_msg=name)


@pytest.mark.parametrize("level", [0, 255, 128], ids=["black", "white", "gray"])
def test_gradients_are_finite_at_uniform_pictures(subject, stepped, level):
  """Roots, divisions by a chroma or a variance: what is finite on photos may not be there."""
  batches = [subject.batch(i, paint=level) for i in range(len(subject.phases))]
  state, logs = subject.run("jit", batches)
  assert_finite(state)
  assert all(np.isfinite(value) for told in logs for value in told.values())


def test_steps_are_pure(subject, stepped):
  batches = [subject.batch(i) for i in range(len(subject.phases))]
  again, logs = subject.run("jit", batches)
  assert_same_bits(again, stepped[0])
  assert logs == stepped[1]


def test_saved_and_restored_it_goes_on_bit_for_bit(subject, stepped, tmp_path):
  state = stepped[0]
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(int(state.step), state, data={}, config=subject.config, wait=True)
    like = subject.init.eval_shape(subject.key)
    restored, _ = checkpoints.restore(None, like.replace(frozen=subject.frozen))
  assert_same_bits(restored, state)
  # One step more from each; a fresh copy, since a step takes its state's memory.
  more = [subject.batch(50)]
  ours, _ = subject.run("jit", more, jax.tree.map(jnp.copy, state))
  theirs, _ = subject.run("jit", more, restored)
  assert_same_bits(ours, theirs)


@pytest.mark.parametrize("reference", [None, (12, 8)], ids=["automatic", "reference"])
def test_predict_gives_rgb_at_any_size_each_picture_by_itself(subject, reference):
  rng = np.random.default_rng(3)
  size = (20, 12)
  gray = rng.random((2, 8, 8, 1), np.float32)
  gray[0] = np.array([0.0, 1.0] * 4)[:, None, None]  # black and white as well
  if subject.takes_pairs:  # both views at once, and one size of all
    if reference is None:
      pytest.skip("colours no view without the other")
    size = reference = gray.shape[1:3]
  other = None if reference is None else rng.random((2, *reference, 3), np.float32)
  state = subject.fresh()
  # As a use of a trained model does: nothing but parameters and what networks carry.
  bare = state.replace(opt_state={}, frozen={})
  rgb = np.asarray(subject.predict(bare, Query(gray, size, other)).rgb)
  assert rgb.shape == (2, *size, 3) and rgb.dtype == np.float32
  assert np.isfinite(rgb).all() and rgb.min() >= 0 and rgb.max() <= 1
  assert np.abs(rgb[0] - rgb[1]).max() > 1e-3
  flip = lambda x: None if x is None else x[::-1].copy()
  swapped = np.asarray(subject.predict(bare, Query(flip(gray), size, flip(other))).rgb)
  np.testing.assert_allclose(swapped[::-1], rgb, atol=1e-5)


@pytest.mark.parametrize("referential", [False, True], ids=["automatic", "reference"])
def test_a_recipe_paints_what_predict_says(subject, draw_state, referential):
  """Where a method says how a picture of any size is cut, the pieces are the whole."""
  if referential and not subject.method.takes_reference:
    pytest.skip("takes no reference")
  if subject.method.recipe(draw_state(subject.method), referential) is None:
    pytest.skip("coloured whole")
  rng, state = np.random.default_rng(5), draw_state(subject.method)
  gray, size = rng.random((70, 111), np.float32), (70, 111)
  other = rng.random((9, 14, 3), np.float32) if referential else None
  query = Query(gray[None, ..., None], size, None if other is None else other[None])
  whole = np.asarray(subject.predict(state.replace(opt_state={}), query).rgb)[0]
  recipe = subject.method.recipe(state, referential)
  painter = Painter(ladder=(plan.least_tile(recipe),))
  memories = painter.remember(recipe, other) if referential else None
  found = painter.paint(recipe, gray, size, memories)
  assert np.abs(found - whole).max() < 0.1 / 255
