"""The 3-D U-Net against the plain order in PyTorch, in training and with running statistics."""

import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from scs_jax.methods.cycle_cnn import unet
from scs_jax.methods.cycle_cnn.unet import UNet

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import plain_wac
from plain_wac import torch

N, D, SHAPE = 2, 16, (2, 32, 32, 2)


@pytest.fixture(scope="module")
def inputs():
  rng = np.random.default_rng(0)
  return tuple(rng.normal(size=SHAPE).astype(np.float32) for _ in range(2))


@pytest.fixture(scope="module")
def variables(inputs, random_variables):
  drawn = random_variables(UNet(N, D), *inputs)
  stats = jax.tree.map(lambda v: np.abs(v) + 0.5, drawn["batch_stats"])
  return {"params": drawn["params"], "batch_stats": stats}


@pytest.fixture(scope="module")
def apply():
  """With running statistics."""
  return jax.jit(UNet(N, D).apply)


@pytest.fixture(scope="module")
def weights():
  return np.random.default_rng(1).normal(size=(2, D, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def plain_gradients(variables, inputs, weights):
  """Logits in training, and their weighted sum's gradients."""

  def total(params, *views):
    tree = {**variables, "params": params}
    logits, _ = UNet(N, D).apply(tree, *views, True, mutable=["batch_stats"])
    return (logits * weights).sum(), logits

  run = jax.jit(jax.grad(total, (0, 1, 2), has_aux=True))
  gradients, logits = run(variables["params"], *inputs)
  return logits, gradients


@plain_wac.needs_torch
def test_equals_table_1_in_training(variables, inputs, weights, plain_gradients):
  leaf = lambda x: torch.tensor(np.array(x, np.float64), requires_grad=True)
  params, views = jax.tree.map(leaf, variables["params"]), [leaf(x) for x in inputs]
  expected = plain_wac.unet(*views, params, D)
  (expected * torch.as_tensor(weights)).sum().backward()
  logits, gradients = plain_gradients
  assert logits.dtype == jnp.float32 and logits.shape == (2, D, 32, 32)
  assert_allclose(logits, expected.detach(), atol=1e-4 * float(expected.detach().abs().max()))
  pairs = zip(*map(jax.tree.leaves, (gradients, (params, *views))), strict=True)
  for ours, plain in pairs:
    assert_allclose(ours, plain.grad, atol=2e-3 * float(plain.grad.abs().max()))


@plain_wac.needs_torch
def test_equals_table_1_with_running_statistics(variables, inputs, apply):
  views = [torch.tensor(x, dtype=torch.float64) for x in inputs]
  expected = plain_wac.unet(*views, variables["params"], D, variables["batch_stats"])
  logits = apply(variables, *inputs)
  assert_allclose(logits, expected, atol=1e-4 * float(expected.abs().max()))


def test_every_layer_matters(plain_gradients):
  for path, gradient in jax.tree_util.tree_leaves_with_path(plain_gradients[1][0]):
    assert np.abs(gradient).max() > 0, path


def test_folded_layout_gives_the_same(variables, inputs, apply):
  expected = apply(variables, *inputs)
  folded = jax.jit(UNet(N, D, platform="tpu").apply)(variables, *inputs)
  assert_allclose(folded, expected, atol=1e-4 * float(jnp.abs(expected).max()))


def test_parameters_are_those_of_table_1(random_variables):
  view = jnp.zeros((1, 16, 16, 16))
  params = random_variables(UNet(16, 64), view, view)["params"]
  shapes = {name: jax.tree.map(jnp.shape, tree) for name, tree in params.items()}
  kernels = {name: tree.get("conv", tree)["kernel"] for name, tree in shapes.items()}
  taps = (3, 3, 3)
  expected = {1: (32, 16), 2: (16, 16), 3: (16, 32), 18: (32, 16), 19: (16, 1)}
  expected |= {number: (32, 32) for number in range(4, 18)}
  assert kernels == {f"layer_{number}": (*taps, *width) for number, width in expected.items()}
  assert shapes["layer_19"] == {"kernel": (*taps, 16, 1)}


def kept_volumes(network, view):
  """What the gradient keeps, in full-size volumes; XLA for CPUs undoes some of remat."""
  variables = jax.eval_shape(network.init, jax.random.key(0), view, view)

  def backward(variables, a, b):
    return jax.vjp(lambda *x: network.apply(*x, True, mutable=["batch_stats"]), variables, a, b)[1]

  kept = jax.tree.leaves(jax.eval_shape(backward, variables, view, view))
  return sum(x.size * x.dtype.itemsize for x in kept) / (view.size * network.depth * 4)


def test_remat_keeps_one_full_size_volume():
  # Layer 2's; the inputs of layers 4, 5, 6 and 18, a quarter each; less than that of deeper ones.
  view = jnp.zeros((1, 32, 64, 16))
  assert kept_volumes(UNet(16, 32), view) > 10
  assert 2 < kept_volumes(UNet(16, 32, remat=True), view) < 2.8


def test_rows_a_logit_depends_on_by_counting():
  # Up from row 0: the last layer 1, each doubling 1 coarse row for every second row; down again.
  assert unet.reach_of_rows() == 93
  assert unet._rows(15) == (-77, 93)
  assert unet._rows(16) == (16 - 93, 16 + 93)


@pytest.mark.parametrize(
  ("size", "message"),
  [((20, 32, 16), "height 20 .* use 32"), ((16, 8, 16), "width 8"), ((16, 16, 24), "range 24")],
)
def test_sizes_that_do_not_halve_four_times(size, message):
  height, width, depth = size
  view = jnp.zeros((1, height, width, 2))
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(functools.partial(UNet(2, depth).init, jax.random.key(0)), view, view)
