"""Table I's ResNet against PyTorch, its running averages, its reach."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.methods.cycle_cnn.resnet import EPSILON, PAIRS, ResNet
from scs_jax.nn.folded import fold_for
from scs_jax.ops import platform

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from plain_wac import F, needs_torch, torch


@pytest.fixture(scope="module")
def variables_of(draw):
  """A function: (network, channels) -> its variables, drawn."""

  def make(network, channels, seed=0):
    view = jnp.zeros((1, 8, 8, channels))
    return draw(jax.eval_shape(network.init, jax.random.key(0), view), seed)

  return make


def in_torch(variables, x, pairs, out, train):
  """The same network layer by layer from Table I; float64. out: a function of torch, or None."""
  as_torch = lambda a: torch.from_numpy(np.asarray(a, np.float64))
  params, stats = variables["params"], variables["batch_stats"]

  def layer(x, *path, activation="relu"):
    p, s = params, stats
    for key in path:
      p, s = p[key], s.get(key, {})
    kernel = as_torch(p["conv"]["kernel"]).permute(3, 2, 0, 1)
    bias = as_torch(p["conv"]["bias"]) if "bias" in p["conv"] else None
    x = F.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)
    if "norm" in p:
      mean, var = as_torch(s["norm"]["mean"]), as_torch(s["norm"]["var"])
      scale, shift = as_torch(p["norm"]["scale"]), as_torch(p["norm"]["bias"])
      x = F.batch_norm(x, mean, var, scale, shift, training=train, eps=EPSILON)
    return getattr(torch, activation)(x)

  x = layer(as_torch(x).permute(0, 3, 1, 2), "layer_1")
  for i in range(1, pairs + 1):
    x = x + layer(layer(x, f"pair_{i}", "first"), f"pair_{i}", "second")
  if out is not None:
    x = layer(x, "last", activation=out)
  return x.permute(0, 2, 3, 1).numpy()


@needs_torch
@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize(
  ("options", "out"),
  [
    ({}, None),
    ({"out_features": 1}, "relu"),
    ({"out_features": 1, "out_activation": "sigmoid"}, "sigmoid"),
    ({"out_features": 1, "out_activation": "none"}, "clone"),
    ({"out_features": 2, "out_activation": "none", "out_norm": False}, "clone"),
  ],
)
def test_equals_table_one_in_torch(variables_of, options, out, train):
  network = ResNet(4, 2, **options)
  variables = variables_of(network, 3)
  x = np.random.default_rng(1).random((2, 9, 7, 3)).astype(np.float32)
  run = jax.jit(lambda *x: network.apply(*x, train, mutable=["batch_stats"])[0])
  found = run(variables, x)
  np.testing.assert_allclose(found, in_torch(variables, x, 2, out, train), atol=2e-5)


def test_table_one_counts():
  """n = 16, from one channel: 5x5x16, sixteen times 3x3x16x16, then 3x3x16; scale and shift."""
  shapes = jax.eval_shape(
    ResNet(out_features=1).init, jax.random.key(0), jnp.zeros((1, 8, 8, 1))
  )["params"]
  assert PAIRS == 8
  count = sum(np.prod(x.shape) for x in jax.tree.leaves(shapes))
  assert count == 25 * 16 + 32 + 16 * (9 * 16 * 16 + 32) + 9 * 16 + 2


@needs_torch
def test_running_averages_move_by_a_hundredth(variables_of):
  network = ResNet(3, 0)
  variables = variables_of(network, 1)
  x = np.random.default_rng(2).random((2, 6, 6, 1)).astype(np.float32)
  apply = jax.jit(lambda v: network.apply(v, x, True, mutable=["batch_stats"])[1])
  changed = apply(variables)
  kernel = np.asarray(variables["params"]["layer_1"]["conv"]["kernel"], np.float64)
  torch_x = torch.from_numpy(x.astype(np.float64)).permute(0, 3, 1, 2)
  y = F.conv2d(torch_x, torch.from_numpy(kernel).permute(3, 2, 0, 1), padding=2).numpy()
  before = variables["batch_stats"]["layer_1"]["norm"]
  after = changed["batch_stats"]["layer_1"]["norm"]
  for name, batch in (("mean", y.mean((0, 2, 3))), ("var", y.var((0, 2, 3)))):
    np.testing.assert_allclose(after[name], 0.99 * before[name] + 0.01 * batch, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"out_features": 1}])
def test_a_pixel_reaches_as_far_as_it_says(variables_of, options):
  network = ResNet(2, 2, **options)
  # Nothing negative, so that no ReLU cuts the way short.
  variables = jax.tree.map(np.abs, variables_of(network, 1, seed=3))
  x = np.zeros((1, 31, 31, 1), np.float32)
  x[0, 15, 15] = 1e3
  apply = jax.jit(network.apply)
  moved = apply(variables, x) - apply(variables, np.zeros_like(x))
  rows = np.flatnonzero(np.abs(np.asarray(moved)).max((0, 2, 3)))
  assert (15 - rows.min(), rows.max() - 15) == (network.reach(), network.reach())


def test_remat_changes_no_number(variables_of):
  x = np.random.default_rng(4).random((1, 8, 8, 1)).astype(np.float32)
  variables = variables_of(ResNet(2, 2), 1)

  def gradient(remat):
    network = ResNet(2, 2, remat=remat)

    def loss(params):
      seen = {"params": params, "batch_stats": variables["batch_stats"]}
      y, changed = network.apply(seen, x, True, mutable=["batch_stats"])
      return (y**2).sum(), changed

    return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])

  plain, again = gradient(False), gradient(True)
  assert jax.tree.structure(plain) == jax.tree.structure(again)
  for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(again), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("train", [False, True])
def test_columns_that_share_lanes_on_a_tpu_change_no_number(variables_of, train):
  """32 columns of 4 channels, all in one row of lanes; 24, in three."""
  for width in (24, 32):
    network, rng = ResNet(4, 1, 1), np.random.default_rng(6)
    x, upper = rng.random((2, 5, width, 3)), rng.random((2, 5, width, 1))
    variables = variables_of(network, 3)

    def run(variables, x, upper, network=network):
      apply = lambda v, x: network.apply(v, x, train, mutable=["batch_stats"])
      out, backward, changed = jax.vjp(apply, variables, x, has_aux=True)
      return out, changed, backward(upper)

    inputs = variables, x.astype(np.float32), upper.astype(np.float32)
    expected = jax.jit(lambda *inputs: run(*inputs))(*inputs)
    with platform.compiling_for("tpu"):
      assert fold_for(4, width) == (8 if width == 24 else 32)
      shapes = jax.eval_shape(network.init, jax.random.key(0), inputs[1])
      found = jax.jit(lambda *inputs: run(*inputs))(*inputs)
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, variables)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, found, expected)


def test_a_quiet_end_starts_at_zero_and_learns():
  x = np.random.default_rng(5).random((1, 8, 8, 1)).astype(np.float32)
  for norm in (True, False):
    network = ResNet(2, 1, 1, out_norm=norm, out_activation="none", out_quiet=True)
    variables = jax.jit(network.init)(jax.random.key(1), x)
    apply = lambda params, network=network, v=variables: network.apply(
      {**v, "params": params}, x, True, mutable=["batch_stats"]
    )[0]
    assert not np.any(jax.jit(apply)(variables["params"]))
    loss = lambda p, apply=apply: (apply(p) * x).sum()
    grads = jax.jit(jax.grad(loss))(variables["params"])
    assert all(np.any(leaf) for leaf in jax.tree.leaves(grads["last"]["norm" if norm else "conv"]))
