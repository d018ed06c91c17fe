"""SqueezeNet 1.0 against an independent forward pass, and what its published weights recognise."""

import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from scs_jax.errors import UserError
from scs_jax.nn.features import squeezenet
from scs_jax.nn.features.files import read_arrays
from scs_jax.nn.features.preprocess import CAFFE_SQUEEZENET, IMAGENET

CONV1 = 4
FIRES = ((2, 3), (2, 3), (3, 2), (2, 4), (3, 3), (2, 2), (3, 2), (2, 3))
# The published weights, decoded (OIHW .npz by Caffe layer name), where somebody has them.
REAL = pathlib.Path(os.environ.get("SCS_JAX_SQUEEZENET", "squeezenet_v1.0_decoded_oihw.npz"))


def _random_arrays(conv1, fires, classes=5):
  """Arrays in the layout of the decoded Caffe model."""
  rng = np.random.default_rng(0)
  shapes = {"conv1": (conv1, 3, 7, 7)}
  channels = conv1
  for i, (squeeze, expand) in enumerate(fires, 2):
    shapes[f"fire{i}/conv1x1_1"] = (squeeze, channels, 1, 1)
    shapes[f"fire{i}/conv1x1_2"] = (expand, squeeze, 1, 1)
    shapes[f"fire{i}/conv3x3_2"] = (expand, squeeze, 3, 3)
    channels = 2 * expand
  shapes["conv_final"] = (classes, channels, 1, 1)
  arrays = {}
  for name, shape in shapes.items():
    scale = np.sqrt(2 / np.prod(shape[1:])) * (0.01 if name == "conv1" else 1)
    arrays[f"{name}/w"] = rng.normal(0, scale, shape).astype(np.float32)
    arrays[f"{name}/b"] = rng.normal(0.1, 0.1, shape[0]).astype(np.float32)
  return arrays


def _conv(x, arrays, name, mode="same"):
  """[C, H, W] -> ReLU of the correlation with scipy."""
  kernel, bias = arrays[f"{name}/w"], arrays[f"{name}/b"]
  planes = [
    sum(signal.correlate(x[i], k[i], mode=mode) for i in range(len(x))) + b
    for k, b in zip(kernel, bias, strict=True)
  ]
  return np.maximum(np.stack(planes), 0)


def _pool(x):
  """Caffe's max pooling 3 x 3, stride 2: windows start wherever they still hold a new pixel."""
  rows, columns = (range(0, max(n - 3, 0) + 2, 2) for n in x.shape[1:])
  rows = [i for i in rows if i == 0 or i + 1 < x.shape[1]]
  columns = [j for j in columns if j == 0 or j + 1 < x.shape[2]]
  return np.stack(
    [np.stack([x[:, i : i + 3, j : j + 3].max((1, 2)) for j in columns], -1) for i in rows], 1
  )


def _numpy_forward(arrays, rgb):
  x = (rgb[..., ::-1] * 255.0 - np.array([104, 117, 123])).transpose(2, 0, 1)
  found = {"conv1": _conv(x, arrays, "conv1", "valid")[:, ::2, ::2]}
  x = _pool(found["conv1"])
  for i in range(2, 10):
    x = _conv(x, arrays, f"fire{i}/conv1x1_1")
    x = np.concatenate([_conv(x, arrays, f"fire{i}/{part}") for part in ("conv1x1_2", "conv3x3_2")])
    found[f"fire{i}"] = x
    if i in (4, 8):
      x = _pool(x)
  return {name: a.transpose(1, 2, 0) for name, a in found.items()}


@pytest.fixture(scope="module")
def arrays():
  return _random_arrays(CONV1, FIRES)


def _net(**attributes):
  return squeezenet.SqueezeNet(conv1_width=CONV1, fire_widths=FIRES, **attributes)


def _import(arrays, **options):
  return squeezenet.from_arrays(arrays, conv1_width=CONV1, fire_widths=FIRES, **options)


@pytest.mark.parametrize("size", range(2, 9))
def test_ceil_mode_pooling_equals_caffe(size):
  x = np.random.default_rng(size).normal(size=(1, size, 5, 2)).astype(np.float32)
  x -= 5  # negative throughout: a zero in the padding would win
  expected = _pool(x[0].transpose(2, 0, 1)).transpose(1, 2, 0)
  pooled = squeezenet.max_pool_ceil(jnp.asarray(x))[0]
  assert pooled.shape[0] == -(-max(size - 3, 0) // 2) + 1
  np.testing.assert_array_equal(pooled, expected)


@pytest.mark.parametrize("size", [(33, 40), (35, 38)])
def test_forward_equals_numpy(tmp_path, arrays, size):
  np.savez(tmp_path / "w.npz", **arrays)
  params, preprocessing = _import(read_arrays(tmp_path / "w.npz"))
  assert preprocessing is CAFFE_SQUEEZENET
  image = np.random.default_rng(1).uniform(size=(1, *size, 3)).astype(np.float32)
  assert list(_net().taps) == ["conv1", "fire2", "fire5", "fire9"]
  found = jax.jit(_net(taps=squeezenet.LAYERS).apply)({"params": params}, image)
  expected = _numpy_forward(arrays, image[0])
  assert set(found) == set(expected)
  for name, activation in found.items():
    assert activation.dtype == jnp.float32 and activation[0].shape == expected[name].shape
    np.testing.assert_allclose(activation[0], expected[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_torchvision_names(arrays):
  """The same kernels, for another input."""
  indices = dict(zip(range(2, 10), (3, 4, 5, 7, 8, 9, 10, 12), strict=True))
  parts = {"conv1x1_1": "squeeze", "conv1x1_2": "expand1x1", "conv3x3_2": "expand3x3"}
  renamed = {"classifier.1.weight": np.zeros(2), "classifier.1.bias": np.zeros(2)}
  for name, array in arrays.items():
    layer, *part, kind = name.split("/")
    stem = "0" if layer == "conv1" else ""
    if part:
      stem = f"{indices[int(layer[4:])]}.{parts[part[0]]}"
    if stem:
      renamed[f"features.{stem}.{'weight' if kind == 'w' else 'bias'}"] = array
  params, preprocessing = _import(renamed)
  assert preprocessing is IMAGENET
  jax.tree.map(np.testing.assert_array_equal, params, _import(arrays)[0])


def test_smallest_image_and_shallow_taps(arrays):
  params, _ = _import(arrays, last="fire2")
  assert set(params) == {"conv1", "fire2"}
  full, _ = _import(arrays)
  found = jax.jit(_net().apply)({"params": full}, jnp.full((1, 21, 21, 3), 0.5))
  assert found["fire9"].shape == (1, 1, 1, 6)
  with pytest.raises(ValueError, match="at least 21 x 21 pixels, got 20 x 30"):
    _net().init(jax.random.key(0), jnp.zeros((1, 20, 30, 3)))
  apply = jax.jit(_net(taps=("fire2",)).apply)
  shallow = apply({"params": params}, jnp.full((1, 21, 21, 3), 0.5))
  np.testing.assert_allclose(shallow["fire2"], found["fire2"], rtol=1e-6, atol=1e-6)


def test_gradient_is_finite_at_black_and_white(arrays):
  params, _ = _import(arrays)

  def total(rgb):
    return sum(jnp.abs(a).mean() for a in _net().apply({"params": params}, rgb).values())

  gradient = jax.jit(jax.grad(total))
  for level in (0.0, 1.0):
    slope = gradient(jnp.full((1, 24, 26, 3), level))
    assert np.isfinite(slope).all() and np.abs(slope).max() > 0


def test_faults_are_listed(arrays):
  damaged = {**arrays, "fire4/conv1x1_1/b": np.zeros(7), "extra": np.zeros(1)}
  del damaged["fire3/conv3x3_2/w"]
  with pytest.raises(UserError) as caught:
    _import(damaged, source="mine.npz")
  message = str(caught.value)
  assert "missing: fire3/conv3x3_2/w" in message and "unknown: extra" in message
  assert "fire4/conv1x1_1/b (7,) instead of (3,)" in message
  with pytest.raises(UserError, match=r"expected SqueezeNet 1\.0"):
    _import({"weight": np.zeros(1)})
  with pytest.raises(UserError, match=r"--config\.loss\.perceptual=0"):
    squeezenet.load_squeezenet("none.npz")


@pytest.mark.skipif(not REAL.exists(), reason="no published SqueezeNet weights beside the project")
def test_published_weights_recognise_what_is_in_a_photo():
  """BGR order, mean, ceil mode and kernel layout are right if the network sees what is there."""
  data = pytest.importorskip("skimage.data")
  transform = pytest.importorskip("skimage.transform")
  params, preprocessing = squeezenet.load_squeezenet(REAL)
  net = squeezenet.SqueezeNet(preprocessing=preprocessing)
  arrays = read_arrays(REAL)
  weight, bias = arrays["conv_final/w"][:, :, 0, 0], arrays["conv_final/b"]
  features = jax.jit(net.apply)
  # Classes: cats, from tabby to Egyptian; espresso (a bucket, if red and blue are exchanged).
  for photo, classes in ((data.chelsea(), range(281, 286)), (data.coffee(), (967,))):
    short = min(photo.shape[:2])
    top, left = ((n - short) // 2 for n in photo.shape[:2])
    square = photo[top : top + short, left : left + short] / 255.0
    image = transform.resize(square, (227, 227), anti_aliasing=True)[None].astype(np.float32)
    fire9 = features({"params": params}, image)["fire9"][0]
    scores = np.maximum(np.asarray(fire9) @ weight.T + bias, 0).mean((0, 1))
    assert int(scores.argmax()) in classes
