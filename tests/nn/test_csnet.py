"""CSNet against an independent forward pass, and what its published weights see in photographs."""

import dataclasses
import functools
import os
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.errors import UserError
from scs_jax.nn.saliency import csnet, csnet_weights
from scs_jax.nn.saliency.networks import NETWORKS

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import saliency_reference as reference

# Trained numbers in the published file: kernels, BatchNorm's scale and shift, PReLU's slopes.
PUBLISHED_COUNT = 140_894
TINY = csnet.Widths(
  stages=(
    ((3, 2),),
    ((2, 3), (3, 2)),
    ((3, 2), (4,)),
    ((2, 4), (3,)),
    ((3, 2), (4,)),
  ),
  fused=(2, 3, 2),
  dilated=((1, 0, 2, 0, 1), (0, 2, 1, 0, 0), (1, 0, 0, 1, 2)),
  head=3,
)
# The published weights (.npz by state-dict name, or the .pth.tar), where somebody has them.
REAL = pathlib.Path(os.environ.get("SCS_JAX_CSNET", "csnet-L-x2.npz"))


def _draw(widths, seed=0):
  """A state dict by the authors' names: conv kernels OIHW, BatchNorm, PReLU."""
  rng = np.random.default_rng(seed)
  arrays = {}

  def conv(name, outputs, inputs, side, gain=100.0):
    scale = np.sqrt(2 / (inputs * side * side)) / gain
    arrays[f"{name}.weight"] = rng.normal(0, scale, (outputs, inputs, side, side))

  def norm(name, prelu, width):
    arrays[f"{name}.weight"] = rng.normal(1, 0.2, width)
    arrays[f"{name}.bias"] = rng.normal(0, 0.3, width)
    arrays[f"{name}.running_mean"] = rng.normal(0, 0.3, width)
    arrays[f"{name}.running_var"] = rng.uniform(0.5, 1.5, width)
    arrays[f"{name}.num_batches_tracked"] = np.array(7)
    arrays[f"{prelu}.weight"] = rng.normal(0.25, 0.3, width)

  def octave(name, inputs, outputs, side):
    conv(f"{name}.conv", sum(outputs), sum(inputs), side, gain=1.0)
    for i, width in enumerate(outputs):
      norm(f"{name}.bns.{i}", f"{name}.prelus.{i}", width)

  inputs = (3,)
  for s, blocks in enumerate(widths.stages):
    for b, outputs in enumerate(blocks):
      block = f"stage{s}.{b}"
      octave(f"{block}.conv1x1", inputs, outputs, 3 if b == 0 and s != 1 else 1)
      for k in (1, 2):
        for i, width in enumerate(outputs):
          conv(f"{block}.conv3x3_{k}.convs.{i}", width, 1, 3)
          norm(f"{block}.conv3x3_{k}.bns.{i}", f"{block}.conv3x3_{k}.prelus.{i}", width)
      inputs = outputs
  octave("oct_fuse.fuse", [blocks[-1][0] for blocks in widths.stages[2:]], widths.fused, 1)
  for i, (width, outputs) in enumerate(zip(widths.fused, widths.dilated, strict=True)):
    name = f"oct_fuse.ms.convs.{i}"
    for j, count in enumerate(outputs):
      if count:
        conv(f"{name}.msconv.{j}", count, width, 3)
    norm(f"{name}.bn", f"{name}.prelu", sum(outputs))
  octave("oct_fuse.fuse1x1", [sum(outputs) for outputs in widths.dilated], (widths.head,), 1)
  conv("cls_layer", 1, widths.head, 1, gain=1.0)
  arrays["cls_layer.bias"] = rng.normal(0, 0.3, 1)
  return {
    name: a if name.endswith("tracked") else np.asarray(a, np.float32) for name, a in arrays.items()
  }


class ScipyLayers:
  """For one picture, channels first."""

  convolve = staticmethod(reference.convolve)
  resize = staticmethod(reference.resize)
  concatenate = staticmethod(np.concatenate)

  @staticmethod
  def average(x):
    return reference.pool(x, 2, np.mean)

  @staticmethod
  def maximum(x, window):
    return reference.pool(x, window, np.max)

  @staticmethod
  def activate(x, weight, bias, mean, variance, slope):
    column = lambda a: a[:, None, None]
    x = (x - column(mean)) / np.sqrt(column(variance) + 1e-5) * column(weight) + column(bias)
    return np.maximum(x, 0) + column(slope) * np.minimum(x, 0)


class Forward:
  """The authors' network by their names, for one picture, channels first."""

  layers = ScipyLayers

  def __init__(self, arrays):
    self.arrays = arrays

  def activate(self, x, norm, prelu):
    parts = ("weight", "bias", "running_mean", "running_var")
    statistics = (self.arrays[f"{norm}.{part}"] for part in parts)
    return self.layers.activate(x, *statistics, self.arrays[f"{prelu}.weight"])

  def plain(self, x, name, dilation=1):
    """Their convolution that multiplies its weight by a hundred."""
    return self.layers.convolve(x, 100 * self.arrays[f"{name}.weight"], dilation=dilation)

  def octave(self, parts, name, widths):
    kernel = self.arrays[f"{name}.conv.weight"]
    found, row = [], 0
    for j, width in enumerate(widths):
      total, column = 0, 0
      for i, x in enumerate(parts):
        weight = kernel[row : row + width, column : column + len(x)]
        column += len(x)
        y = self.layers.convolve(self.layers.maximum(x, 2 ** (j - i)) if i < j else x, weight)
        size = tuple(n * 2**i // 2**j for n in x.shape[1:])
        total = total + (self.layers.resize(y, size) if i > j else y)
      row += width
      found.append(self.activate(total, f"{name}.bns.{j}", f"{name}.prelus.{j}"))
    return found

  def logits(self, x, widths):
    """x [3, H, W] normalised -> [1, H, W]."""
    size, parts, ends = x.shape[1:], [x], []
    for s, blocks in enumerate(widths.stages):
      for b, outputs in enumerate(blocks):
        if s >= 2 and b == 0:
          parts = [self.layers.average(p) for p in parts]
        parts = self.octave(parts, f"stage{s}.{b}.conv1x1", outputs)
        for k in (1, 2):
          name = f"stage{s}.{b}.conv3x3_{k}"
          parts = [
            self.activate(
              self.plain(p, f"{name}.convs.{i}"), f"{name}.bns.{i}", f"{name}.prelus.{i}"
            )
            for i, p in enumerate(parts)
          ]
      ends.append(parts[0])
    parts = self.octave(ends[2:], "oct_fuse.fuse", widths.fused)
    for i, (x, outputs) in enumerate(zip(parts, widths.dilated, strict=True)):
      name = f"oct_fuse.ms.convs.{i}"
      branches = [
        self.plain(x, f"{name}.msconv.{j}", 2**j) for j, count in enumerate(outputs) if count
      ]
      parts[i] = self.activate(self.layers.concatenate(branches), f"{name}.bn", f"{name}.prelu")
    (head,) = self.octave(parts, "oct_fuse.fuse1x1", (widths.head,))
    weight, bias = (self.arrays[f"cls_layer.{part}"] for part in ("weight", "bias"))
    return self.layers.resize(self.layers.convolve(head, weight, bias), size)


@pytest.fixture(scope="module")
def arrays():
  return _draw(TINY)


@pytest.fixture(scope="module")
def params(arrays):
  return csnet_weights.from_arrays(arrays, TINY)


@pytest.fixture(scope="module")
def tiny():
  """The entry of NETWORKS at tiny widths, on a square of 32."""
  return dataclasses.replace(
    NETWORKS["csnet_l_x2"],
    from_arrays=functools.partial(csnet_weights.from_arrays, widths=TINY),
    predict=functools.partial(csnet.predict, widths=TINY, side=32),
  )


def test_logits_equal_an_independent_forward(arrays, params):
  x = np.random.default_rng(1).normal(size=(2, 48, 32, 3)).astype(np.float32)
  found = jax.jit(csnet.CSNet(TINY).apply)({"params": params}, x)
  for one, image in zip(found, x, strict=True):
    expected = Forward(arrays).logits(np.moveaxis(image, -1, 0), TINY)[0]
    np.testing.assert_allclose(one[..., 0], expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.05


def test_file_gives_the_saliency_of_scipy(tmp_path, arrays, tiny):
  """From the .npz to the map: ImageNet normalisation, a square of 32 and back."""
  np.savez(tmp_path / "csnet.npz", **arrays)
  params = tiny.load(tmp_path / "csnet.npz")
  rgb = np.random.default_rng(2).uniform(size=(1, 40, 57, 3)).astype(np.float32)
  found = jax.jit(tiny.apply)(params, rgb)
  x = (rgb[0] - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
  x = reference.resize(np.moveaxis(x, -1, 0), (32, 32))
  expected = reference.sigmoid(Forward(arrays).logits(x, TINY))
  expected = reference.resize(expected, (40, 57))[0]
  np.testing.assert_allclose(found[0, ..., 0], expected, atol=1e-4)
  assert expected.std() > 0.01


def test_state_dict_of_a_checkpoint(tmp_path, arrays, params):
  """The published file is a checkpoint whose `state_dict` entry counts."""
  torch = pytest.importorskip("torch")
  state = {f"module.{name}": torch.from_numpy(np.array(a)) for name, a in arrays.items()}
  checkpoint = {"epoch": 300, "state_dict": state, "optimizer": {"momentum": torch.ones(3)}}
  torch.save(checkpoint, tmp_path / "csnet.pth.tar")
  load = functools.partial(csnet_weights.from_arrays, widths=TINY)
  entry = dataclasses.replace(NETWORKS["csnet_l_x2"], from_arrays=load)
  jax.tree.map(np.testing.assert_array_equal, entry.load(tmp_path / "csnet.pth.tar"), params)


def test_gradient_is_finite_at_black_and_white(params, tiny):
  gradient = jax.jit(jax.grad(lambda rgb: tiny.apply(params, rgb).mean()))
  for level in (0.0, 1.0):
    slope = gradient(jnp.full((1, 24, 30, 3), level))
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_published_widths_fit_the_network():
  """As many numbers as the published file holds, and not one parameter of the module left over."""
  arrays = _draw(csnet.CSNET_L_X2)
  counted = [a.size for n, a in arrays.items() if n.endswith((".weight", ".bias"))]
  assert sum(counted) == PUBLISHED_COUNT
  params = csnet_weights.from_arrays(arrays)
  init = lambda x: csnet.CSNet().init(jax.random.key(0), x)["params"]
  expected = jax.eval_shape(init, jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32))
  assert jax.tree.map(np.shape, params) == jax.tree.map(lambda s: s.shape, expected)
  with pytest.raises(ValueError, match="multiples of 16, got 224 x 200"):
    csnet.CSNet().init(jax.random.key(0), jnp.zeros((1, 224, 200, 3)))


def test_faults_are_listed(arrays):
  damaged = {**arrays, "cls_layer.bias": np.zeros(2, np.float32), "extra": np.zeros(1)}
  del damaged["stage3.0.conv1x1.bns.1.running_var"]
  with pytest.raises(UserError) as caught:
    csnet_weights.from_arrays(damaged, TINY, source="mine.npz")
  message = str(caught.value)
  assert "missing: stage3.0.conv1x1.bns.1.running_var" in message and "unknown: extra" in message
  assert "cls_layer.bias (2,) instead of (1,)" in message
  with pytest.raises(UserError, match=r"bns\.0\.running_var, got -1"):
    name = "oct_fuse.fuse.bns.0.running_var"
    csnet_weights.from_arrays({**arrays, name: np.full(2, -1, np.float32)}, TINY)
  with pytest.raises(UserError, match=r"expected CSNet-L x2 by .* got weight \.\.\."):
    csnet_weights.from_arrays({"weight": np.zeros(1)})


@pytest.mark.skipif(not REAL.exists(), reason="no published CSNet weights: set SCS_JAX_CSNET")
def test_published_weights_see_the_object():
  """Widths, gain, order of parts and preprocessing are right if the object lights up."""
  data = pytest.importorskip("skimage.data")
  network = NETWORKS["csnet_l_x2"]
  params = network.load(REAL)
  saliency = jax.jit(network.apply)
  astronaut, coffee = data.astronaut()[:400, 56:456], data.coffee()[:, 100:500]
  maps = [np.asarray(saliency(params, a[None] / np.float32(255)))[0, ..., 0]
          for a in (astronaut, coffee)]  # fmt: skip
  assert maps[0][60:180, 130:210].mean() > 0.9  # her head
  assert maps[0][:100, :60].mean() < 0.1  # the flag
  assert maps[1][100:300, 100:280].mean() > 0.9  # cup and saucer
  assert maps[1][:60, :60].mean() < 0.1 and maps[1][-40:, -60:].mean() < 0.1  # the table
