"""Figure 7 wired by hand from two ResNets; one pass a channel; where it starts."""

import jax
import numpy as np
import pytest

from scs_jax.methods.cycle_cnn.refinement import Refinement
from scs_jax.methods.cycle_cnn.resnet import ResNet


def views(seed=0, shape=(2, 9, 11)):
  rng = np.random.default_rng(seed)
  gray, chroma = rng.random((*shape, 1)), rng.uniform(0.3, 0.7, (*shape, 2))
  return gray.astype(np.float32), chroma.astype(np.float32)


@pytest.fixture(scope="module")
def variables(draw):
  return lambda network: draw(jax.eval_shape(network.init, jax.random.key(0), *views()))


def part(variables, name):
  return {kind: tree[name] for kind, tree in variables.items()}


def run(network, variables, x, train):
  apply = lambda *x: network.apply(*x, train, mutable=["batch_stats"])[0]
  return np.asarray(jax.jit(apply)(variables, x))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("train", [False, True])
def test_each_channel_goes_through_the_same_weights(variables, train, norm):
  """ResNet1 reads the gray view, ResNet2 its feature and one channel; the residue is added."""
  network = Refinement(4, 1, residue_norm=norm)
  drawn = variables(network)
  gray, chroma = views(1)
  apply = lambda *x: network.apply(*x, train, mutable=["batch_stats"])
  found, changed = jax.jit(apply)(drawn, gray, chroma)
  feature = run(ResNet(4, 1, 1), part(drawn, "resnet_1"), gray, train)
  assert feature.min() >= 0  # Table I takes the ReLU from ResNet2's last layer alone
  second = ResNet(4, 1, 1, out_norm=norm, out_activation="none")
  # Channels are examples: BatchNorm sees both.
  seen = [np.concatenate([feature, chroma[..., c : c + 1]], -1) for c in (0, 1)]
  residue = run(second, part(drawn, "resnet_2"), np.concatenate(seen), train)
  want = chroma + np.concatenate([residue[:2], residue[2:]], -1)
  np.testing.assert_allclose(found, want, atol=2e-5)
  moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 0, changed["batch_stats"],
                       drawn["batch_stats"])  # fmt: skip
  assert all(value == train for value in jax.tree.leaves(moved))


def test_both_channels_at_once(variables):
  network = Refinement(4, 1, together=True)
  drawn = variables(network)
  gray, chroma = views(2)
  feature = run(ResNet(4, 1, 1), part(drawn, "resnet_1"), gray, False)
  second = ResNet(4, 1, 2, out_activation="none")
  residue = run(second, part(drawn, "resnet_2"), np.concatenate([feature, chroma], -1), False)
  found = jax.jit(network.apply)(drawn, gray, chroma)
  np.testing.assert_allclose(found, chroma + residue, atol=2e-5)


@pytest.mark.parametrize("options", [{}, {"together": True}, {"residue_norm": False}])
def test_it_starts_by_refining_nothing_and_can_learn(options):
  network = Refinement(4, 1, **options)
  gray, chroma = views(3)
  variables = jax.jit(network.init)(jax.random.key(0), gray, chroma)
  np.testing.assert_array_equal(jax.jit(network.apply)(variables, gray, chroma), chroma)

  def loss(params):
    seen = {**variables, "params": params}
    out, _ = network.apply(seen, gray, chroma, True, mutable=["batch_stats"])
    return ((out - gray) ** 2).mean()

  last = jax.jit(jax.grad(loss))(variables["params"])["resnet_2"]["last"]
  assert any(np.any(leaf) for leaf in jax.tree.leaves(last))


def test_a_pixel_reaches_as_far_as_it_says(variables):
  network = Refinement(2, 1)
  drawn = jax.tree.map(np.abs, variables(network))
  gray, chroma = np.zeros((1, 31, 5, 1), np.float32), np.zeros((1, 31, 5, 2), np.float32)
  moved = gray.copy()
  moved[0, 15, 2] = 1e3
  apply = jax.jit(network.apply)
  difference = apply(drawn, moved, chroma) - apply(drawn, gray, chroma)
  rows = np.flatnonzero(np.abs(np.asarray(difference)).max((0, 2, 3)))
  assert (15 - rows.min(), rows.max() - 15) == (network.reach(), network.reach())


def test_bad_arguments_are_refused():
  gray, chroma = views(4)
  with pytest.raises(ValueError, match="2 channel"):
    Refinement(2, 1).init(jax.random.key(0), gray, gray)
  with pytest.raises(ValueError, match="one shape"):
    Refinement(2, 1).init(jax.random.key(0), gray[:, :4], chroma)
