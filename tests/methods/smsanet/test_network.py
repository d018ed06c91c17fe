"""The base against a second implementation in NumPy, and where attention stands in it."""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.methods.smsanet import weights
from scs_jax.methods.smsanet.network import Colorizer, DoublingConv, base_input, lightness_input

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import zhang_forward as zhang

NARROW = 1 / 32


@functools.cache
def count(channels, **attributes):
  shapes = jax.eval_shape(
    Colorizer(**attributes).init, jax.random.key(0), jnp.zeros((1, 8, 8, channels))
  )
  return sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))


@pytest.fixture(scope="module")
def tensors():
  return zhang.draw(NARROW)


@pytest.fixture(scope="module")
def base(tensors):
  """(the network's function, its variables) with those tensors."""
  net = Colorizer(width=NARROW, attention="none")
  return jax.jit(net.apply), weights.from_published(tensors, NARROW).variables


def picture(size, channels=4, seed=0):
  """What the base sees: (L - 50) / 100, ab / 110, mask."""
  return np.random.default_rng(seed).uniform(-0.5, 0.5, (*size, channels)).astype(np.float32)


def test_parameter_counts():
  """Published with a hint; L alone spares three slices of the first convolution."""
  assert count(4, attention="none") == 34_051_074
  assert count(1, attention="none") == 34_051_074 - 3 * 9 * 64
  # 3 x 3 convolutions of two channels at three scales, their lambdas, and 2 C^2 / 16, ten times.
  squares = sum(2 * c * c // 16 for c in (64, 128, 256, 512, 512, 512, 512, 256, 128, 128))
  smsa = count(1) - count(1, attention="none")
  assert smsa == 10 * (3 * 18 + 3) + squares
  assert count(1, attention="senet") - count(1, attention="none") == squares
  assert count(1, attention="cbam") - count(1, attention="none") == 10 * 98 + squares


# 24 x 16 is the network as published; 8 divides neither side of the other.
@pytest.mark.parametrize("size", [(24, 16), (13, 22)])
def test_the_base_is_the_published_one(tensors, base, size):
  apply, variables = base
  x = picture(size)
  found = np.asarray(apply(variables, x[None]))[0]
  want = zhang.forward(tensors, x)
  assert np.abs(want).max() > 20 and np.std(want) > 5  # all of it is alive
  np.testing.assert_allclose(found, want, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (2, 9)])
def test_smaller_than_the_deepest_pixel(tensors, base, size):
  apply, variables = base
  x = picture(size, seed=1)
  np.testing.assert_allclose(apply(variables, x[None])[0], zhang.forward(tensors, x), atol=1e-3)


def test_doubling_is_a_transposed_convolution():
  rng = np.random.default_rng(2)
  x = rng.normal(size=(2, 5, 3, 6)).astype(np.float32)
  weight = rng.normal(size=(6, 4, 4, 4)).astype(np.float32)
  bias = rng.normal(size=4).astype(np.float32)
  params = {"kernel": weights.turn(weight, "transposed"), "bias": bias}
  found = jax.jit(DoublingConv(4).apply)({"params": params}, x)
  for one, picture_ in zip(found, x, strict=True):
    want = zhang.spread(np.moveaxis(picture_, -1, 0), weight, bias)
    np.testing.assert_allclose(np.moveaxis(np.asarray(one), -1, 0), want, atol=1e-4)


def test_training_normalises_by_the_batch_and_keeps_averages():
  """Momentum 0.9, as the base's 0.1 of the new: for the first block of a network of width 1/32."""
  net = Colorizer(width=NARROW, attention="none")
  x = picture((4, 8, 8), 1)
  variables = weights.from_published(zhang.draw(NARROW), NARROW).variables
  variables = weights.lightness_only(variables)
  _, changed = jax.jit(lambda v, x: net.apply(v, x, train=True, mutable=["batch_stats"]))(
    variables, x
  )
  first = variables["params"]["block_1"]
  activations = []
  for one in x:
    y = np.moveaxis(one, -1, 0)
    for conv in ("conv_0", "conv_1"):
      kernel = np.transpose(first[conv]["kernel"], (3, 2, 0, 1))
      y = np.maximum(zhang.convolve(y, kernel, first[conv]["bias"]), 0)
    activations.append(y)
  activations = np.stack(activations)
  old = variables["batch_stats"]["block_1"]["norm"]
  new = changed["batch_stats"]["block_1"]["norm"]
  mean, var = activations.mean((0, 2, 3)), activations.var((0, 2, 3))
  np.testing.assert_allclose(new["mean"], 0.9 * old["mean"] + 0.1 * mean, rtol=1e-4)
  np.testing.assert_allclose(new["var"], 0.9 * old["var"] + 0.1 * var, rtol=1e-4)


def test_attention_stands_after_the_blocks_that_are_named(tensors):
  variables = weights.from_published(tensors, NARROW).variables
  for blocks in ((3,), (1, 10)):
    net = Colorizer(width=NARROW, attention_blocks=blocks)
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 4)))
    named = {name for name in shapes["params"] if name.startswith("attention")}
    assert named == {f"attention_{number}" for number in blocks}
    assert set(shapes["params"]) == named | set(variables["params"])


@pytest.mark.parametrize(
  ("place", "changed"),
  [
    ("after_norm", {"weight": 0.5, "bias": 0.5}),
    ("after_relu", {"weight": 0.5, "running_mean": 2.0}),
  ],
)
def test_a_shortcut_reads_what_attention_made_of_its_block(tensors, place, changed):
  """Attention of weight zero halves: SENet's sigmoid of 0. After block 1 that reaches block 10 both
  through block 2 and through the shortcut, as does a BatchNorm of half the gain; before block 1's
  BatchNorm, as does one whose running mean is twice as far and whose gain is half."""
  net = Colorizer(
    width=NARROW, attention="senet", attention_blocks=(1,), attention_place=place, reduction=1
  )
  variables = weights.from_published(tensors, NARROW).variables
  shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 4)))
  zero = jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), shapes["params"]["attention_1"])
  params = {**variables["params"], "attention_1": zero}
  x = picture((16, 8))
  found = jax.jit(net.apply)({**variables, "params": params}, x[None])[0]
  halved = dict(tensors)
  for part, factor in changed.items():
    halved[f"model1.4.{part}"] = tensors[f"model1.4.{part}"] * factor
  np.testing.assert_allclose(found, zhang.forward(halved, x), atol=1e-3)


@pytest.mark.parametrize("kind", ["smsa", "senet"])
def test_channel_weights_of_pictures_that_are_normalised_together(kind):
  """After BatchNorm the means of a batch come to beta: alone, every picture has the same weights.
  Before it they differ, however many there are."""
  x = np.stack([picture((16, 16), 1, seed) * (1 + seed) for seed in range(3)])

  @functools.cache
  def program(place):
    net = Colorizer(
      width=1 / 8, attention=kind, attention_blocks=(1,), attention_place=place, reduction=1
    )

    @jax.jit  # which compiles what is looked at, block 1
    def run(part):
      capture = lambda module, name: name == "__call__" and module.name == "channel"
      variables = net.init(jax.random.key(4), x[:1])
      kept = ["batch_stats", "intermediates"]
      _, changed = net.apply(
        variables, part, train=True, mutable=kept, capture_intermediates=capture
      )
      return changed["intermediates"]["attention_1"]["channel"]["__call__"][0]

    return run

  def spread(place, together):
    parts = [x] if together else [x[i : i + 1] for i in range(3)]
    logits = np.concatenate([program(place)(part) for part in parts])
    return np.ptp(logits, axis=0).max()

  assert spread("after_norm", together=False) < 1e-5
  assert spread("after_norm", together=True) > 1e-3
  assert spread("after_relu", together=False) > 1e-3
  # Before BatchNorm, the others of the batch are nothing to a picture.
  np.testing.assert_allclose(
    spread("after_relu", together=True), spread("after_relu", together=False), rtol=1e-4
  )


def test_inputs_by_hand():
  lightness = jnp.array([[[[0.0], [50.0], [100.0]]]])
  np.testing.assert_allclose(lightness_input(lightness)[..., 0], [[[-0.5, 0.0, 0.5]]])
  hint = jnp.array([[[[0.0, 0.0], [55.0, -110.0], [0.0, 0.0]]]])
  mask = jnp.array([[[[0.0], [1.0], [0.0]]]])
  np.testing.assert_allclose(
    base_input(lightness, hint, mask, mask_centre=0.5)[0, 0],
    [[-0.5, 0, 0, -0.5], [0, 0.5, -1, 0.5], [0.5, 0, 0, -0.5]],
  )
  np.testing.assert_allclose(base_input(lightness)[0, 0, :, 1:], np.zeros((3, 3)))


def test_half_precision_is_near(tensors):
  variables = weights.from_published(tensors, NARROW).variables
  half = Colorizer(width=NARROW, attention="none", dtype=jnp.bfloat16)
  x = picture((16, 8))
  found = jax.jit(half.apply)(variables, x[None])
  assert found.dtype == jnp.float32
  error = np.abs(np.asarray(found)[0] - zhang.forward(tensors, x))
  assert 1e-3 < error.max() < 12  # of ab that reach beyond 20
