"""The perceptual term (Eq. 6) against NumPy and scikit-image, and its weight files."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from skimage.color import lab2rgb

from scs_jax.errors import UserError
from scs_jax.methods.scsnet import perceptual
from scs_jax.nn.features import vgg16
from scs_jax.nn.features.preprocess import CAFFE_SQUEEZENET, CAFFE_VGG, IMAGENET, Preprocessing

ODD = Preprocessing("odd", True, 2.0, (0.1, -0.2, 0.3), (0.5, 2.0, 4.0))


def _loss(name="vgg16", file="", weights=(1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)):
  return ConfigDict(
    {"perceptual_network": name, "perceptual_file": file, "perceptual_weights": weights}
  )


class TwoLayers(nn.Module):
  """Taps that NumPy can follow: a matrix and ReLU, then a 2 x 2 mean."""

  preprocessing: object = None
  dtype: object = jnp.float32

  @nn.compact
  def __call__(self, rgb):
    first = nn.relu(self.preprocessing(rgb) @ self.param("matrix", nn.initializers.ones, (3, 2)))
    n, h, w, c = first.shape
    return {"second": first.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4)), "first": first}


MATRIX = np.array([[1.0, -1.0], [0.5, 0.25], [-2.0, 1.5]], np.float32)


@pytest.fixture
def tiny_network(monkeypatch):
  """A function: registers TwoLayers, its file having this preprocessing."""

  def register(preprocessing):
    load = lambda file: ({"matrix": MATRIX}, preprocessing)
    network = perceptual._Network(TwoLayers, load, ("first", "second"))
    monkeypatch.setitem(perceptual.NETWORKS, "tiny", network)
    perceptual._read.cache_clear()
    return perceptual.PerceptualTerm(_loss("tiny", "file", (0.5, 2.0)))

  return register


def _labs():
  """Two pairs of colours inside the gamut, normalised: L / 50 - 1, ab / 110."""
  rng = np.random.default_rng(0)
  lab = np.concatenate(
    [rng.uniform(40, 70, (4, 4, 6, 1)), rng.uniform(-15, 15, (4, 4, 6, 2))], axis=-1
  )
  normal = (lab / [50, 110, 110] - [1, 0, 0]).astype(np.float32)
  return normal[:2], normal[2:]


def _two_layers(normal, preprocessing):
  rgb = lab2rgb(np.float64(normal) * [50, 110, 110] + [50, 0, 0])
  x = rgb[..., ::-1] if preprocessing.bgr else rgb
  x = (preprocessing.scale * x - preprocessing.mean) / preprocessing.std
  first = np.maximum(x @ MATRIX, 0)
  n, h, w, c = first.shape
  return first, first.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


@pytest.mark.parametrize("preprocessing", [IMAGENET, ODD], ids=lambda p: p.name)
def test_term_equals_numpy(tiny_network, preprocessing):
  term = tiny_network(preprocessing)
  frozen = term.load()
  lab, target = _labs()
  found = jax.jit(term)(frozen, lab, target)
  expected = np.zeros(2)
  for weight, a, b in zip(
    (0.5, 2.0), _two_layers(lab, preprocessing), _two_layers(target, preprocessing), strict=True
  ):
    expected += weight * np.abs(a - b).reshape(2, -1).mean(1)
  np.testing.assert_allclose(found, expected, rtol=2e-4)
  assert expected.min() > 0.01


def test_gradient_reaches_the_generated_picture_only(tiny_network):
  term = tiny_network(IMAGENET)
  frozen = term.load()
  lab, target = _labs()
  gradients = jax.jit(jax.grad(lambda a, b: term(frozen, a, b).sum(), (0, 1)))
  to_lab, to_target = gradients(lab, target)
  assert np.abs(to_lab).max() > 1e-3 and (np.asarray(to_target) == 0).all()
  assert np.isfinite(gradients(lab, lab)[0]).all()
  # Black, white, and colours far outside the gamut, where a clipped picture would have none.
  for level in ((-1.0, 0, 0), (1.0, 0, 0), (0.9, 0.9, -0.9), (-0.9, -0.9, 0.9)):
    flat = np.broadcast_to(np.float32(level), lab.shape)
    gradient = np.asarray(gradients(flat, target)[0])
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-4


@pytest.mark.parametrize(
  "preprocessing", [IMAGENET, CAFFE_VGG, CAFFE_SQUEEZENET, ODD], ids=lambda p: p.name
)
def test_matrix_and_offset_equal_the_preprocessing(tiny_network, preprocessing):
  frozen = tiny_network(preprocessing).load()
  rgb = np.random.default_rng(1).uniform(size=(7, 3)).astype(np.float32)
  expected = np.asarray(preprocessing(rgb))
  found = rgb @ frozen["matrix"] + frozen["offset"]
  np.testing.assert_allclose(found, expected, rtol=2e-6, atol=3e-5)


WIDTHS = (2, 3, 3, 4, 4)


@pytest.fixture
def tiny_vgg(tmp_path, monkeypatch):
  """A VGG16 of few channels in a file, in the place of the published one."""
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(
    vgg16.VGG16(widths=WIDTHS).init, jax.random.key(0), jnp.zeros((1, 16, 16, 3))
  )["params"]
  draw = lambda s: (rng.normal(size=s.shape) / 4 + (0.1 if len(s.shape) == 1 else 0)).astype("f4")
  params = jax.tree.map(draw, shapes)
  path = tmp_path / "vgg.npz"
  vgg16.save_npz(path, params, CAFFE_VGG)
  known = perceptual.NETWORKS["vgg16"]
  small = dataclasses.replace(
    known,
    module=lambda **k: vgg16.VGG16(widths=WIDTHS, **k),
    load=lambda file: vgg16.load_vgg16(file, WIDTHS),
  )
  monkeypatch.setitem(perceptual.NETWORKS, "vgg16", small)
  perceptual._read.cache_clear()
  return str(path), params


def test_vgg16_from_a_file(tiny_vgg):
  """As VGG16 itself sees the two RGB pictures, with the paper's weights."""
  path, params = tiny_vgg
  term = perceptual.PerceptualTerm(_loss(file=path))
  rng = np.random.default_rng(2)
  lab, target = (
    (rng.uniform(size=(2, 16, 16, 3)) * [0.8, 0.2, 0.2] - [0.4, 0.1, 0.1]).astype(np.float32)
    for _ in range(2)
  )
  found = jax.jit(term)(term.load(), lab, target)
  net = vgg16.VGG16(widths=WIDTHS, preprocessing=CAFFE_VGG)
  rgb = [lab2rgb(x * [50.0, 110.0, 110.0] + [50.0, 0, 0]).astype("f4") for x in (lab, target)]
  a, b = (jax.jit(net.apply)({"params": params}, x) for x in rgb)
  expected = sum(
    w * np.abs(np.asarray(a[f"conv{i}_1"]) - np.asarray(b[f"conv{i}_1"])).reshape(2, -1).mean(1)
    for i, w in zip(range(1, 6), (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0), strict=True)
  )
  np.testing.assert_allclose(found, expected, rtol=2e-3)


@pytest.mark.parametrize("name", ["vgg16", "squeezenet"])
@pytest.mark.parametrize("file", ["", "/nowhere/weights.npz"])
def test_missing_weights_name_the_way_out(name, file):
  weights = (1.0,) * len(perceptual.NETWORKS[name].taps)
  term = perceptual.PerceptualTerm(_loss(name, file, weights))
  with pytest.raises(UserError, match=r"--config\.loss\.perceptual=0") as caught:
    term.load()
  assert "\n" not in str(caught.value)


def test_number_of_weights_is_checked():
  with pytest.raises(UserError, match="has 2 numbers; vgg16 has 5 layers: conv1_1"):
    perceptual.PerceptualTerm(_loss(weights=(1.0, 2.0)))
