"""The learned structure loss: registration, samples, training, and that it stays as trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.core.contract import Collective
from scs_jax.methods.cycle_cnn import learned_structure as learned
from scs_jax.methods.cycle_cnn.method import CycleCNN

KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("plain_volumes")


def textured(seed, shape, shift):
  """(view, reference): the view's column i is the reference's i + shift, at other levels."""
  rng = np.random.default_rng(seed)
  n, h, w = shape
  wide = rng.random((n, h, w + shift, 1))
  return (0.2 + 0.6 * wide[:, :, shift:] ** 1.2).astype(np.float32), wide[:, :, :w].astype(
    np.float32
  )


def correlation(a, b):
  a, b = a - a.mean(), b - b.mean()
  return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def test_registration_finds_the_shift():
  gray, reference = textured(0, (1, 24, 40), 5)
  value, score = jax.jit(learned.register, static_argnums=2)(gray, reference, 16)
  inside = slice(4, 31)  # whose match and window lie in the picture
  np.testing.assert_allclose(
    value[:, 4:-4, inside], reference[:, 4:-4, 9:36], atol=1e-6
  )
  assert score[:, 4:-4, inside].min() > 0.95
  y, x = 12, 20
  patch = lambda image, column: np.float64(image[0, y - 4 : y + 5, column - 4 : column + 5, 0])
  want = correlation(patch(gray, x), patch(reference, x + 5))
  np.testing.assert_allclose(score[0, y, x, 0], want, atol=1e-3)


def test_registration_looks_no_further_than_the_range():
  gray, reference = textured(1, (1, 24, 40), 5)
  _, score = jax.jit(learned.register, static_argnums=2)(gray, reference, 5)  # 0 .. 4
  assert score[:, 4:-4, 4:31].max() < 0.9


def test_flat_pictures_are_never_well_registered():
  flat = jnp.full((1, 16, 32, 1), 0.5)
  _, score = jax.jit(learned.register, static_argnums=2)(flat, flat, 4)
  assert np.abs(score).max() < learned.AGREEMENT


@pytest.fixture(scope="module")
def samples():
  gray, reference = textured(2, (16, 32, 48), 5)
  make = jax.jit(learned.make_samples, static_argnums=4)
  return gray, make(KEY, np.arange(16, dtype=np.uint32), gray, reference, 16)


def test_half_of_the_samples_stay_where_they_are(samples):
  """Those have similarity 1 throughout and keep the structure; the others lose it in places."""
  gray, found = samples
  similarity = np.asarray(found.similarity)
  still = (similarity == 1).all((1, 2, 3))
  assert 2 < still.sum() < 14
  assert similarity[~still].min() < 0.2 and (similarity > 0).all() and (similarity <= 1).all()
  mask = np.asarray(found.mask) > 0
  assert mask[still].mean() > 0.3
  for n in range(16):
    here = mask[n] & (similarity[n] > 0.99)
    away = mask[n] & (similarity[n] < 0.3)
    if here.sum() > 60:
      assert correlation(gray[n][here], np.asarray(found.candidate[n])[here]) > 0.9
    if away.sum() > 60:
      assert correlation(gray[n][away], np.asarray(found.candidate[n])[away]) < 0.7


def test_an_example_draws_the_same_in_any_batch(samples):
  gray, found = samples
  _, reference = textured(2, (16, 32, 48), 5)
  make = jax.jit(learned.make_samples, static_argnums=4)
  alone = make(KEY, np.array([7], np.uint32), gray[7:8], reference[7:8], 16)
  np.testing.assert_allclose(alone.candidate[0], found.candidate[7], atol=1e-5)
  np.testing.assert_allclose(alone.similarity[0], found.similarity[7], atol=1e-5)


def test_loss_by_hand():
  """Cross-entropy at the pixels of the mask: logits 0 cost log 2 whatever the target."""
  one = np.ones((1, 2, 2, 1), np.float32)
  make = lambda similarity, mask: learned.Samples(one, similarity * one, np.float32(mask) * one)
  np.testing.assert_allclose(learned.similarity_loss(0 * one, make(0.3, 1)), [np.log(2)], rtol=1e-6)
  want = -0.25 * np.log(1 / (1 + np.exp(-2))) - 0.75 * np.log(1 / (1 + np.exp(2)))
  np.testing.assert_allclose(learned.similarity_loss(2 * one, make(0.25, 1)), [want], rtol=1e-5)
  assert learned.similarity_loss(2 * one, make(0.25, 0)) == 0
  np.testing.assert_allclose(learned.structure(0 * one), [0.5])


@pytest.fixture(scope="module")
def method(make_cycle_config):
  config = make_cycle_config()
  config.loss.structure_kind, config.steps = "learned", 40
  config.structure_share, config.refine_share = 0.925, 0.025  # 37 steps, and 1
  config.optimizer.learning_rate = 1e-2
  config.network.features = 4
  return CycleCNN(config)


@pytest.fixture(scope="module")
def step(method):
  one = lambda s, b, phase: method.train_step(
    s, b, jax.random.fold_in(KEY, s.step), Collective(), phase
  )
  return jax.jit(one, static_argnums=2)


@pytest.fixture(scope="module")
def trained(method, step):
  state, told = jax.jit(lambda key: method.init(key, {}))(KEY), []
  for i in range(37):
    assert method.phase(i) == "structure"
    gray, reference = textured(i, (4, 32, 48), 4)
    batch = {
      "mono": np.uint8(255 * gray), "color": np.uint8(255 * reference.repeat(3, -1)),
      "index": np.arange(4, dtype=np.uint32) + 4 * i,
    }  # fmt: skip
    state, logs = step(state, batch, "structure")
    told.append({name: float(value) for name, value in logs.items()})
  return jax.device_get(state), told


def test_it_learns_to_tell_what_is_displaced(method, trained, samples):
  """On samples it has not seen: better than the best single similarity for all pixels.

  With their own statistics: after 37 steps the running averages are young.
  """
  state, told = trained
  assert told[0]["registered"] > 0.3
  assert all(np.isfinite(value) for logs in told for value in logs.values())
  gray, found = samples
  apply, stats = method.nets.training(None), state.model_state["similarity"]
  run = jax.jit(lambda *x: apply("similarity", *x)[0])
  logits = run(state.params["similarity"], stats, found.candidate, gray)
  mask, target = np.asarray(found.mask), np.asarray(found.similarity)
  mean = (mask * target).sum() / mask.sum()
  constant = np.full(mask.shape, np.log(mean / (1 - mean)), np.float32)
  losses = [learned.similarity_loss(x, found).mean() for x in (logits, constant)]
  assert losses[0] < 0.9 * losses[1]


def test_it_tells_a_shifted_picture_from_a_registered_one(method, trained):
  """With running averages, as the loss has it; and whatever the levels are."""
  state, _ = trained
  gray, _ = textured(99, (2, 32, 48), 0)
  run = jax.jit(lambda x: learned.structure(method.nets.use(state, "similarity", x, gray)))
  score = lambda other: np.asarray(run(other))
  assert (score(0.7 * gray) < score(0.7 * np.roll(gray, 3, axis=2))).all()


def test_in_the_cycle_it_is_frozen_and_has_a_gradient(method, step, trained, make_pair):
  state, _ = trained
  found, logs = jax.device_get(step(state, make_pair(n=2), "cycle"))
  for tree in ("params", "opt_state", "model_state"):
    new, old = getattr(found, tree)["similarity"], getattr(state, tree)["similarity"]
    for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True):
      np.testing.assert_array_equal(a, b)
  assert 0 < logs["loss/structure"] < 1
  slope = jax.grad(
    lambda luma: learned.structure(method.nets.use(state, "similarity", luma, luma * 0.5)).sum()
  )
  grads = jax.jit(slope)(jnp.asarray(make_pair()["mono"] / np.float32(255)))
  assert np.isfinite(grads).all() and np.any(grads)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_change_nothing_to_nan(step, trained, level):
  state, _ = trained
  # Of sizes at which each phase is compiled above.
  for phase, size in (("structure", (4, 32, 48)), ("cycle", (2, 16, 32))):
    flat = lambda channels, size=size: np.full((*size, channels), level, np.uint8)
    batch = {"mono": flat(1), "color": flat(3), "index": np.arange(size[0], dtype=np.uint32)}
    found, logs = jax.device_get(step(state, batch, phase))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.params))
    assert all(np.isfinite(value) for value in logs.values())
