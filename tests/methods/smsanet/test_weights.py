"""The published tensors: names, places, layout, and what is no such file."""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.errors import UserError
from scs_jax.methods.smsanet import weights
from scs_jax.methods.smsanet.network import Block, Colorizer, DoublingConv

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import zhang_forward as zhang

NARROW = 1 / 64


@pytest.fixture
def tensors():
  return zhang.draw(NARROW)


def paths(tree, prefix=""):
  found = {}
  for name, node in tree.items():
    more = paths(node, f"{prefix}{name}/") if isinstance(node, dict) else {prefix + name: node}
    found |= more
  return found


def test_every_published_tensor_has_its_place():
  """Names and shapes of a table written by hand; sizes add up to what is published."""
  ours = {tensor.name: tensor.shape for tensor in weights.layout()}
  published = zhang.shapes()
  head = {name for name in published if name.startswith("model_class")}
  counters = {name for name in published if name.endswith("num_batches_tracked")}
  assert ours == {n: s for n, s in published.items() if n not in head | counters}
  trained = [n for n in ours if "running" not in n]
  assert sum(int(np.prod(ours[n])) for n in trained) == 34_051_074
  assert sum(int(np.prod(published[n])) for n in head) == 135_953


def test_the_places_are_the_networks_own(tensors):
  net = Colorizer(width=NARROW, attention="none")
  shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 4)))
  want = {path: leaf.shape for path, leaf in paths(jax.tree.map(lambda x: x, shapes)).items()}
  found = paths(weights.from_published(tensors, NARROW).variables)
  assert {path: leaf.shape for path, leaf in found.items()} == want
  assert {leaf.dtype for leaf in found.values()} == {np.dtype("float32")}


def test_a_convolution_by_hand(tensors):
  """Output 0 of 1.0 reads b (input 2) one row up and one column right, ten times: tap (0, 2)."""
  tensors["model1.0.weight"] = np.zeros((1, 4, 3, 3), np.float32)
  tensors["model1.0.weight"][0, 2, 0, 2] = 10
  tensors["model1.0.bias"] = np.array([0.5], np.float32)
  conv = weights.from_published(tensors, NARROW).variables["params"]["block_1"]["conv_0"]
  assert conv["kernel"].shape == (3, 3, 4, 1)
  assert conv["kernel"][0, 2, 2, 0] == 10 and np.abs(conv["kernel"]).sum() == 10
  assert conv["bias"] == [0.5]


def test_a_transposed_convolution_by_hand(tensors):
  """A lone input at (0, 0) puts tap (r, c) at (r - 1, c - 1); taps of row or column 0 fall off."""
  tensors["model8up.0.weight"][3, 1] = np.arange(16).reshape(4, 4)
  tensors["model8up.0.bias"][:] = 0
  up = weights.from_published(tensors, NARROW).variables["params"]["up_8"]
  lone = np.zeros((1, 2, 2, 8), np.float32)
  lone[0, 0, 0, 3] = 1
  found = jax.jit(DoublingConv(4).apply)({"params": up}, lone)[0, ..., 1]
  want = [[5, 6, 7, 0], [9, 10, 11, 0], [13, 14, 15, 0], [0, 0, 0, 0]]
  np.testing.assert_array_equal(found, want)


def test_a_batchnorm_by_hand(tensors):
  """Gain 2, shift 3, mean 1, variance 4: of 5 it makes 2 (5 - 1) / 2 + 3 = 7."""
  values = {"weight": 2, "bias": 3, "running_mean": 1, "running_var": 4 - 1e-5}
  for part, value in values.items():
    tensors[f"model1.4.{part}"] = np.array([value], np.float32)
  found = weights.from_published(tensors, NARROW).variables
  norm = {kind: {"norm": found[kind]["block_1"]["norm"]} for kind in ("params", "batch_stats")}
  five = jnp.full((1, 1, 1, 1), 5.0)
  np.testing.assert_allclose(jax.jit(Block(1, 0).apply)(norm, five), 7, rtol=1e-6)


def test_the_table_covers_every_tensor(tensors):
  converted = weights.from_published(tensors, NARROW)
  rows = {name: (shape, place, ours) for name, shape, place, ours in converted.table}
  assert set(rows) == set(tensors)
  assert rows["model8up.0.weight"] == ((8, 4, 4, 4), "params/up_8/kernel", (4, 4, 8, 4))
  assert rows["model2short9.0.bias"] == ((2,), "params/short_9/bias", (2,))
  assert rows["model9.3.running_var"] == ((2,), "batch_stats/block_9/norm/var", (2,))
  assert rows["model_class.0.weight"] == ((529, 4, 1, 1), "left out: class head", None)
  assert rows["model5.6.num_batches_tracked"] == ((), "left out: counter", None)
  assert converted.left_out == 529 * 4 + 529
  places = [place for _, place, ours in rows.values() if ours is not None]
  assert len(places) == len(set(places))


def test_without_head_and_counters_it_is_the_same(tensors):
  bare = {n: a for n, a in tensors.items() if "class" not in n and "num_batches" not in n}
  assert weights.from_published(bare, NARROW).left_out == 0


@pytest.mark.parametrize(
  ("change", "part"),
  [
    (lambda t: t.pop("model4.2.weight"), "missing: model4.2.weight"),
    (lambda t: t.update({"model11.0.weight": np.zeros(3, "f")}), "unknown: model11.0.weight"),
    (lambda t: t.update({"model_class.1.weight": np.zeros(3, "f")}), "unknown: model_class.1"),
    (lambda t: t.update({"model1.0.weight": np.zeros((1, 1, 3, 3), "f")}), "wrong shape: model1.0"),
    (lambda t: t.update({"model1.0.bias": np.array([np.nan], "f")}), "finite floats in model1.0"),
    (lambda t: t.update({"model1.0.bias": np.array([1])}), "finite floats in model1.0.bias"),
  ],
)
def test_another_set_of_tensors_is_an_error_that_names_it(tensors, change, part):
  change(tensors)
  with pytest.raises(UserError, match=r"some\.pth") as caught:
    weights.from_published(tensors, NARROW, source="some.pth")
  assert part in str(caught.value) and "\n" not in str(caught.value)


def test_lightness_alone_equals_no_hint(tensors):
  """The L slice, exactly: ab and an uncentred mask are 0 and add nothing."""
  variables = weights.from_published(tensors, NARROW).variables
  x = np.random.default_rng(3).uniform(-0.5, 0.5, (16, 8, 1)).astype(np.float32)
  net = Colorizer(width=NARROW, attention="none")
  found = jax.jit(net.apply)(weights.lightness_only(variables), x[None])[0]
  padded = np.concatenate([x, np.zeros((16, 8, 3), "f")], axis=-1)
  np.testing.assert_allclose(found, zhang.forward(tensors, padded), atol=1e-3)


def test_a_centred_mask_joins_the_bias_but_for_the_border(tensors):
  variables = weights.from_published(tensors, NARROW).variables
  first = weights.lightness_only(variables, 0.5)["params"]["block_1"]["conv_0"]
  x = np.random.default_rng(3).uniform(-0.5, 0.5, (6, 7))
  full = np.stack([x, 0 * x, 0 * x, 0 * x - 0.5])
  want = zhang.convolve(full, tensors["model1.0.weight"], tensors["model1.0.bias"])
  kernel = first["kernel"].transpose(3, 2, 0, 1)
  found = zhang.convolve(x[None], kernel, first["bias"])
  np.testing.assert_allclose(found[:, 1:-1, 1:-1], want[:, 1:-1, 1:-1], atol=1e-5)
  assert np.abs(found - want).max() > 1e-3  # where the window reaches into the padding
