"""WAC as a whole against the plain order: volume, PyTorch's 3-D convolutions, loops for Eq. 1."""

import pathlib
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from scs_jax.errors import UserError
from scs_jax.methods.cycle_cnn.resnet import ResNet
from scs_jax.methods.cycle_cnn.wac import WAC

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import plain_wac
from plain_wac import torch

N, D, PAIRS = 4, 16, 1


def draw(height, width, n=2, seed=0):
  rng = np.random.default_rng(seed)
  gray = rng.uniform(size=(n, height, width, 1)).astype(np.float32)
  return gray, rng.uniform(size=(n, height, width, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
  return WAC(N, D, PAIRS)


@pytest.fixture(scope="module")
def variables(network, random_variables):
  drawn = random_variables(network, *draw(16, 16))
  stats = jax.tree.map(lambda v: np.abs(v) + 0.5, drawn["batch_stats"])
  return {"params": drawn["params"], "batch_stats": stats}


@pytest.fixture(scope="module")
def apply(network):
  """With running statistics, V^W too."""
  return jax.jit(lambda variables, *views: network.apply(variables, *views, False, True))


def plain(variables, gray, reference, train):
  """Y, Cb and Cr, Eq. 11, the expected disparity and V^W [N, H, W, d], in float64."""
  params, stats = variables["params"], variables["batch_stats"]
  tree = {"params": params["resnet"], "batch_stats": stats["resnet"]}
  views = np.concatenate([gray, reference[..., :1]])
  run = lambda *x: ResNet(N, PAIRS).apply(*x, train, mutable=["batch_stats"])[0]
  seen = jax.jit(run)(tree, views)
  n, height, width, _ = gray.shape
  seen = np.pad(seen, ((0, 0), (0, -height % 16), (0, -width % 16), (0, 0))).astype(np.float64)
  features = [torch.as_tensor(f) for f in (seen[:n], seen[n:])]
  running = None if train else stats["unet"]
  logits = plain_wac.unet(*features, params["unet"], D, running).numpy()[:, :, :height, :width]
  i, k = np.arange(width), np.arange(D)[:, None]
  terms = np.where((i + k < width)[:, None], np.exp(logits), 0.0)
  weights = terms / terms.sum(1, keepdims=True)
  colors = np.zeros(reference.shape)
  for step in range(min(D, width)):
    part = weights[:, step, :, : width - step, None] * reference[:, :, step:]
    colors[:, :, : width - step] += part
  steps = [np.abs(np.diff(weights, axis=axis)) for axis in (2, 3)]
  smoothness = sum(s.sum((1, 2, 3)) for s in steps) / sum(s[0].size for s in steps)
  disparity = (weights * np.arange(D)[:, None, None]).sum(1)[..., None]
  return colors, smoothness, disparity, np.moveaxis(weights, 1, 3)


SIZES = [((16, 32), True), ((19, 27), False)]


@plain_wac.needs_torch
@pytest.mark.parametrize(("size", "train"), SIZES)
def test_equals_the_plain_order(size, train, variables, network, apply):
  views = draw(*size)
  trained = jax.jit(lambda *x: network.apply(*x, True, True, mutable=["batch_stats"])[0])
  out = (trained if train else apply)(variables, *views)
  colors, smoothness, disparity, weights = plain(variables, *views, train)
  assert weights.std() > 0.01  # no flat distribution that would hide a mistake
  assert_allclose(out.weights, weights, atol=1e-4)
  assert_allclose(out.ycbcr, colors, atol=1e-4)
  assert_allclose(out.smoothness, smoothness, atol=1e-5)
  assert_allclose(out.disparity, disparity, atol=1e-3)


def test_no_pixel_takes_colour_from_the_padding(variables, apply):
  out = apply(variables, *draw(19, 27))
  weights = np.asarray(out.weights)
  assert weights.shape == (2, 19, 27, D)
  i, k = np.arange(27)[:, None], np.arange(D)
  assert (weights[:, :, i + k >= 27] == 0).all()
  assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
  assert out.ycbcr.min() >= 0 and out.ycbcr.max() <= 1 + 1e-6


def test_reads_y_of_the_reference_and_carries_its_chroma(variables, apply):
  gray, reference = draw(19, 27)
  chroma = reference.copy()
  chroma[..., 1:] = 1 - chroma[..., 1:]
  one, other = (apply(variables, gray, x) for x in (reference, chroma))
  assert_array_equal(one.weights, other.weights)
  assert_allclose(other.ycbcr[..., 1:], 1 - one.ycbcr[..., 1:], atol=1e-5)


def test_weights_are_for_those_who_ask(variables, network):
  assert jax.eval_shape(network.apply, variables, *draw(16, 32)).weights is None


def test_equal_views_have_equal_features_in_training(variables, network):
  gray, reference = draw(16, 16)
  reference[..., :1] = gray
  reference[0] *= 0.5  # other examples of the batch do not make them differ either

  @jax.jit  # which compiles what the features need, and no volumes
  def look(variables, gray, reference):
    seen = []

    def watch(next_method, args, kwargs, context):
      out = next_method(*args, **kwargs)
      if isinstance(context.module, ResNet) and context.method_name == "__call__":
        seen.append(out)
      return out

    with nn.intercept_methods(watch):
      network.apply(variables, gray, reference, True, mutable=["batch_stats"])
    return seen[-1]

  features = np.asarray(look(variables, gray, reference))
  features_a, features_b = features[0::2], features[1::2]
  assert_allclose(features_a[1], features_b[1], atol=1e-5)
  assert np.abs(features_a[0] - features_b[0]).max() > 0.01


@plain_wac.needs_torch
def test_running_statistics_take_in_both_views(variables, network):
  gray, reference = draw(16, 16)
  after = lambda *x: network.apply(variables, *x, True, mutable=["batch_stats"])[1]["batch_stats"]
  run = jax.jit(lambda *x: after(*x)["resnet"]["layer_1"]["norm"]["mean"])
  kept = run(gray, reference)
  assert np.abs(run(gray * 0.5, reference) - kept).max() > 1e-5
  assert np.abs(run(gray, reference * 0.5) - kept).max() > 1e-5
  # The joint mean of what the first convolution gives, one part in a hundred.
  kernel = torch.tensor(np.array(variables["params"]["resnet"]["layer_1"]["conv"]["kernel"]))
  both = torch.as_tensor(np.concatenate([gray, reference[..., :1]])).permute(0, 3, 1, 2)
  given = torch.nn.functional.conv2d(both, kernel.permute(3, 2, 0, 1), padding=2).mean((0, 2, 3))
  before = variables["batch_stats"]["resnet"]["layer_1"]["norm"]["mean"]
  assert_allclose(kept, 0.99 * before + 0.01 * given.numpy(), atol=1e-5)


def test_rows_a_result_depends_on(random_variables):
  # Positive kernels on a positive picture: every path counts and none cancels.
  network = WAC(2, 16, pairs=1)
  height, radius = 224, network.row_radius()
  assert radius == 2 + 2 + 93
  gray, reference = draw(height, 16, n=1)
  drawn = random_variables(network, gray, reference)
  params = jax.tree.map(lambda v: np.abs(v) / max(v[..., 0].size, 1) ** 0.5, drawn["params"])
  fresh = lambda path, v: np.full_like(v, path[-1].key == "var")
  stats = jax.tree_util.tree_map_with_path(fresh, drawn["batch_stats"])

  def rows(row):
    take = lambda g: network.apply({"params": params, "batch_stats": stats}, g, reference).disparity
    _, back = jax.vjp(take, gray)
    (gradient,) = back(jnp.zeros_like(gray).at[:, row].set(1.0))
    return jnp.abs(gradient).sum((0, 2, 3))

  run = jax.jit(rows)
  reached = {row: np.flatnonzero(run(row)) for row in (112, 115, 120, 127)}
  assert (reached[112][0], reached[112][-1]) == (112 - radius, 112 + radius)
  for row, seen in reached.items():
    assert row - radius <= seen[0] and seen[-1] <= row + radius, row
  assert reached[127][0] == 112 - 77 - 4 and reached[127][-1] == 112 + 93 + 4


def test_paper_size_radius():
  assert WAC().row_radius() == 18 + 93


def test_bfloat16_stays_close(variables, apply):
  views = draw(19, 27)
  expected = apply(variables, *views)
  half = jax.jit(WAC(N, D, PAIRS, dtype=jnp.bfloat16).apply)(variables, *views)
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(half))
  assert_allclose(half.ycbcr, expected.ycbcr, atol=0.05)


def test_errors():
  gray, reference = draw(16, 16)
  init = lambda network, *views: jax.eval_shape(network.init, jax.random.key(0), *views)
  with pytest.raises(UserError, match=r"search_range 24 .* use 32"):
    init(WAC(N, 24, PAIRS), gray, reference)
  with pytest.raises(ValueError, match="one shape"):
    init(WAC(N, D, PAIRS), gray[:, :8], reference)
  with pytest.raises(ValueError, match="ycbcr_b"):
    init(WAC(N, D, PAIRS), gray, gray)
