"""PFANet against an independent forward pass on weights in the layout that Keras saves."""

import dataclasses
import functools
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.errors import UserError
from scs_jax.nn.features.files import read_arrays
from scs_jax.nn.saliency import pfanet, pfanet_weights
from scs_jax.nn.saliency.networks import NETWORKS

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import saliency_reference as reference

TINY = pfanet.Widths(vgg16=(3, 4, 4, 5, 4), branch=2, features=6)


def _keras_shapes(blocks, branch, features):
  """Layer -> shapes, as the authors' model names and shapes them."""
  shapes = {}
  inputs = 3
  for b, (width, depth) in enumerate(zip(blocks, (2, 2, 3, 3, 3), strict=True), 1):
    for i in range(1, depth + 1):
      shapes[f"block{b}_conv{i}"] = {"kernel": (3, 3, inputs, width), "bias": (width,)}
      inputs = width

  def conv(name, height, width, inputs, outputs, batch_norm):
    shapes[name] = {"kernel": (height, width, inputs, outputs), "bias": (outputs,)}
    norm(batch_norm, outputs)

  def norm(name, width):
    parts = ("gamma", "beta", "moving_mean", "moving_variance")
    shapes[name] = dict.fromkeys(parts, (width,))

  conv("C1_conv", 3, 3, blocks[0], features, "C1_BN_BN")
  conv("C2_conv", 3, 3, blocks[1], features, "C2_BN_BN")
  for name, inputs in (("C3", blocks[2]), ("C4", blocks[3]), ("C5", blocks[4])):
    shapes[f"{name}_cfe_cfe0"] = {"kernel": (1, 1, inputs, branch)}
    for i in (1, 2, 3):
      shapes[f"{name}_cfe_cfe{i}_dilation"] = {"kernel": (3, 3, inputs, branch)}
    norm(f"{name}_cfe_BN", 4 * branch)
  wide = 3 * 4 * branch
  shapes["dense_1"] = {"kernel": (wide, wide // 4), "bias": (wide // 4,)}
  shapes["dense_2"] = {"kernel": (wide // 4, wide), "bias": (wide,)}
  half = features // 2
  conv("C345_conv", 1, 1, wide, features, "C345_BN")
  conv("spatial_attention_1_conv1", 1, 9, features, half, "attention1_1_BN")
  conv("spatial_attention_1_conv2", 9, 1, half, 1, "attention1_2_BN")
  conv("spatial_attention_2_conv1", 9, 1, features, half, "attention2_1_BN")
  conv("spatial_attention_2_conv2", 1, 9, half, 1, "attention2_2_BN")
  conv("C12_conv", 3, 3, 2 * features, features, "C12_BN")
  shapes["sa"] = {"kernel": (3, 3, 2 * features, 1), "bias": (1,)}
  return shapes


def _draw(blocks, branch, features, seed=0):
  rng = np.random.default_rng(seed)
  arrays = {}
  for layer, parts in _keras_shapes(blocks, branch, features).items():
    for part, shape in parts.items():
      if part == "kernel":
        scale = np.sqrt(2 / np.prod(shape[:-1])) * (0.02 if layer == "block1_conv1" else 1)
        arrays[layer, part] = rng.normal(0, scale, shape)
      else:
        arrays[layer, part] = rng.normal(part in ("gamma", "moving_variance"), 0.2, shape)
  return {key: array.astype(np.float32) for key, array in arrays.items()}


def _by_keras_name(arrays):
  return {f"{layer}/{layer}/{part}:0": array for (layer, part), array in arrays.items()}


class Forward:
  """The published network in NumPy and SciPy, one picture, channels first, by Keras' names."""

  def __init__(self, arrays):
    self.arrays = arrays

  def conv(self, x, name, dilation=1):
    kernel = self.arrays[name, "kernel"].transpose(3, 2, 0, 1)
    return reference.convolve(x, kernel, self.arrays.get((name, "bias")), dilation)

  def norm(self, x, name):
    """Batch statistics, Keras' epsilon, ReLU."""
    mean, std = x.mean((1, 2), keepdims=True), np.sqrt(x.var((1, 2), keepdims=True) + 1e-3)
    gamma, beta = (self.arrays[name, part][:, None, None] for part in ("gamma", "beta"))
    return np.maximum((x - mean) / std * gamma + beta, 0)

  def pyramid(self, x, name):
    branches = [self.conv(x, f"{name}_cfe_cfe0")]
    for i, rate in ((1, 3), (2, 5), (3, 7)):
      branches.append(self.conv(x, f"{name}_cfe_cfe{i}_dilation", rate))
    return self.norm(np.concatenate(branches), f"{name}_cfe_BN")

  def channel_attention(self, x):
    weight = x.mean((1, 2))
    weight = np.maximum(
      weight @ self.arrays["dense_1", "kernel"] + self.arrays["dense_1", "bias"], 0
    )
    weight = weight @ self.arrays["dense_2", "kernel"] + self.arrays["dense_2", "bias"]
    return x * reference.sigmoid(weight)[:, None, None]

  def spatial_attention(self, x):
    total = 0
    for i in (1, 2):
      y = self.norm(self.conv(x, f"spatial_attention_{i}_conv1"), f"attention{i}_1_BN")
      total = total + self.norm(self.conv(y, f"spatial_attention_{i}_conv2"), f"attention{i}_2_BN")
    return reference.sigmoid(total)

  def logits(self, x):
    """x [3, H, W] preprocessed -> [1, H, W]."""
    size = x.shape[1:]
    blocks = []
    for block, depth in enumerate((2, 2, 3, 3, 3), 1):
      x = x if block == 1 else reference.pool(x, 2, np.max)
      for i in range(1, depth + 1):
        x = np.maximum(self.conv(x, f"block{block}_conv{i}"), 0)
      blocks.append(x)
    c1 = self.norm(self.conv(blocks[0], "C1_conv"), "C1_BN_BN")
    c2 = self.norm(self.conv(blocks[1], "C2_conv"), "C2_BN_BN")
    deep = [self.pyramid(x, name) for name, x in zip(("C3", "C4", "C5"), blocks[2:], strict=True)]
    quarter = deep[0].shape[1:]
    high = np.concatenate([reference.resize(x, quarter, aligned=True) for x in deep])
    high = self.norm(self.conv(self.channel_attention(high), "C345_conv"), "C345_BN")
    high = reference.resize(high, size, aligned=True)
    low = np.concatenate([c1, reference.resize(c2, size, aligned=True)])
    low = self.norm(self.conv(low, "C12_conv"), "C12_BN") * self.spatial_attention(high)
    return self.conv(np.concatenate([low, high]), "sa")


def _channels_last(x):
  return np.moveaxis(x, 0, -1)


@pytest.fixture(scope="module")
def arrays():
  return _draw(*TINY)


@pytest.fixture(scope="module")
def params(arrays):
  return pfanet_weights.from_arrays(_by_keras_name(arrays), TINY)


@pytest.fixture(scope="module")
def tiny():
  """The entry of NETWORKS at tiny widths, on a square of 32."""
  return dataclasses.replace(
    NETWORKS["pfanet"],
    from_arrays=functools.partial(pfanet_weights.from_arrays, widths=TINY),
    predict=functools.partial(pfanet.predict, widths=TINY, side=32),
  )


def test_parts_equal_scipy(arrays, params):
  rng = np.random.default_rng(1)
  forward = Forward(arrays)
  x = rng.normal(0.3, 1, (2, 17, 20, 4)).astype(np.float32)
  wide = rng.normal(0.3, 1, (2, 6, 7, 24)).astype(np.float32)
  high = rng.normal(0.3, 1, (2, 12, 15, 6)).astype(np.float32)
  cases = (
    (pfanet.PyramidExtraction(2), "pyramid_3", x, lambda a: forward.pyramid(a, "C3")),
    (pfanet.ChannelAttention(), "channel_attention", wide, forward.channel_attention),
    (pfanet.SpatialAttention(), "spatial_attention", high, forward.spatial_attention),
  )
  for module, name, given, expected in cases:
    found = jax.jit(module.apply)({"params": params[name]}, given)
    for one, image in zip(found, given, strict=True):  # each picture as if it came alone
      want = _channels_last(expected(np.moveaxis(image, -1, 0)))
      np.testing.assert_allclose(one, want, rtol=1e-4, atol=1e-5, err_msg=name)
      assert want.std() > 0.01


def test_keras_file_gives_the_saliency_of_scipy(tmp_path, arrays, tiny):
  """From the .h5 to the map of a picture that is no square: padding, both resizes, the logits."""
  h5py = pytest.importorskip("h5py")
  path = tmp_path / "PFA_00050.h5"
  with h5py.File(path, "w") as root:
    for name, array in _by_keras_name(arrays).items():
      root[name] = array
    for layer in ("input_1", "block1_pool", "C345_aspp_concat"):  # they have no weights
      root.create_group(layer)
  params = tiny.load(path)
  rgb = np.random.default_rng(2).uniform(size=(2, 23, 40, 3)).astype(np.float32)
  found = jax.jit(tiny.apply)(params, rgb)
  for one, image in zip(found, rgb, strict=True):
    # R, G, B minus the means of B, G, R; then 17 rows of zeros, 8 of them above.
    x = np.moveaxis(image * 255.0 - np.array([103.939, 116.779, 123.68]), -1, 0)
    x = reference.resize(np.pad(x, ((0, 0), (8, 9), (0, 0))), (32, 32))
    expected = reference.sigmoid(Forward(arrays).logits(x))
    expected = _channels_last(reference.resize(expected, (40, 40))[:, 8:31])
    np.testing.assert_allclose(one, expected, atol=1e-4)
    assert expected.std() > 0.02


def test_logits_of_an_oblong_equal_scipy(arrays, params):
  x = np.random.default_rng(3).normal(0, 60, (1, 48, 32, 3)).astype(np.float32)
  found = jax.jit(pfanet.PFANet(TINY).apply)({"params": params}, x)[0]
  expected = _channels_last(Forward(arrays).logits(np.moveaxis(x[0], -1, 0)))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
  with pytest.raises(ValueError, match="multiples of 16, got 48 x 40"):
    pfanet.PFANet(TINY).init(jax.random.key(0), jnp.zeros((1, 48, 40, 3)))


def test_gradient_is_finite_at_black_and_white(params, tiny):
  gradient = jax.jit(jax.grad(lambda rgb: tiny.apply(params, rgb).mean()))
  for level in (0.0, 1.0):
    slope = gradient(jnp.full((1, 24, 30, 3), level))
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_published_layout_fits_the_network():
  """All names and shapes at full width, and not one parameter of the module left over."""
  shapes = _keras_shapes((64, 128, 256, 512, 512), 32, 64)
  arrays = {
    f"{layer}/{layer}/{part}:0": np.broadcast_to(np.float32(1), shape)
    for layer, parts in shapes.items()
    for part, shape in parts.items()
  }
  params = pfanet_weights.from_arrays(arrays)
  init = lambda x: pfanet.PFANet().init(jax.random.key(0), x)["params"]
  expected = jax.eval_shape(init, jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32))
  assert jax.tree.map(np.shape, params) == jax.tree.map(lambda s: s.shape, expected)


@pytest.mark.parametrize("dense", [("dense", "dense_1"), ("dense_9", "dense_10")])
def test_names_of_other_sessions(tmp_path, arrays, params, dense):
  """As tf.keras numbers from nothing on, as a later model of one session, as a whole model."""
  layers = dict(zip(("dense_1", "dense_2"), dense, strict=True))
  renamed = {
    f"model_weights/{layers.get(layer, layer)}/{layers.get(layer, layer)}_4/{part}:0": array
    for (layer, part), array in arrays.items()
  }
  renamed["optimizer_weights/SGD/iterations:0"] = np.zeros(1)
  np.savez(tmp_path / "w.npz", **renamed)
  found = pfanet_weights.from_arrays(read_arrays(tmp_path / "w.npz"), TINY)
  jax.tree.map(np.testing.assert_array_equal, found, params)


def test_faults_are_listed(arrays):
  named = _by_keras_name(arrays)
  damaged = {**named, "sa/sa/bias:0": np.zeros(2, np.float32), "extra/kernel:0": np.zeros(1)}
  del damaged["C4_cfe_BN/C4_cfe_BN/gamma:0"], damaged["dense_2/dense_2/bias:0"]
  with pytest.raises(UserError) as caught:
    pfanet_weights.from_arrays(damaged, TINY, source="mine.h5")
  message = str(caught.value)
  assert message.startswith("mine.h5: expected the weights of PFANet")
  assert "C4_cfe_BN/gamma" in message and "dense_2/bias" in message
  assert "unknown: extra/kernel" in message and "sa/bias (2,) instead of (1,)" in message
  with pytest.raises(UserError, match=r"sa/bias twice"):
    pfanet_weights.from_arrays({**named, "sa/sa_1/bias:0": np.zeros(1)}, TINY)
  vgg16 = {name: a for name, a in named.items() if name.startswith("block")}
  with pytest.raises(UserError, match=r"expected PFANet by .* got block1_conv1.*salient=0"):
    pfanet_weights.from_arrays(vgg16, TINY)
