"""VGG16 against an independent forward pass, and every published layout of its weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import signal

from scs_jax.errors import UserError
from scs_jax.nn.features import preprocess, vgg16
from scs_jax.nn.features.preprocess import CAFFE_VGG, IMAGENET
from scs_jax.ops import platform

WIDTHS = (2, 4, 5, 6, 7)
# Input and output channels of the thirteen convolutions as published, written out by hand.
PUBLISHED = (
  ("conv1_1", 0, 3, 64),
  ("conv1_2", 2, 64, 64),
  ("conv2_1", 5, 64, 128),
  ("conv2_2", 7, 128, 128),
  ("conv3_1", 10, 128, 256),
  ("conv3_2", 12, 256, 256),
  ("conv3_3", 14, 256, 256),
  ("conv4_1", 17, 256, 512),
  ("conv4_2", 19, 512, 512),
  ("conv4_3", 21, 512, 512),
  ("conv5_1", 24, 512, 512),
  ("conv5_2", 26, 512, 512),
  ("conv5_3", 28, 512, 512),
)


def _layers(widths=WIDTHS):
  """(name, index, input channels, output channels) at reduced widths."""
  channels = 3
  for name, index, _, _ in PUBLISHED:
    width = widths[int(name[4]) - 1]
    yield name, index, channels, width
    channels = width


@pytest.fixture(scope="module")
def torchvision():
  """A state dict with torchvision's names at reduced widths, classifier included."""
  rng = np.random.default_rng(0)
  arrays = {}
  for _, index, c_in, c_out in _layers():
    scale = np.sqrt(2 / (9 * c_in))
    arrays[f"features.{index}.weight"] = rng.normal(0, scale, (c_out, c_in, 3, 3))
    arrays[f"features.{index}.bias"] = rng.normal(0.2, 0.1, c_out)  # keeps ReLUs alive
  for index in (0, 3, 6):
    arrays[f"classifier.{index}.weight"] = rng.normal(size=(2, 2))
    arrays[f"classifier.{index}.bias"] = rng.normal(size=2)
  return {name: array.astype(np.float32) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def images():
  return np.random.default_rng(1).uniform(size=(2, 37, 34, 3)).astype(np.float32)


def _keras(torchvision):
  """The same weights by Keras' layer names, HWIO, keyed by (layer, part)."""
  arrays = {}
  for name, index, _, _ in PUBLISHED:
    layer = f"block{name[4]}_conv{name[6]}"
    arrays[layer, "kernel"] = torchvision[f"features.{index}.weight"].transpose(2, 3, 1, 0)
    arrays[layer, "bias"] = torchvision[f"features.{index}.bias"]
  return arrays


def _numpy_forward(arrays, x):
  """Activations after each ReLU, by correlation with scipy; `x` [H, W, 3], preprocessed."""
  found = {}
  x = np.moveaxis(x.astype(np.float64), -1, 0)
  for name, index, c_in, c_out in _layers():
    if name.endswith("_1") and name != "conv1_1":
      h, w = x.shape[1] // 2, x.shape[2] // 2
      x = x[:, : 2 * h, : 2 * w].reshape(-1, h, 2, w, 2).max((2, 4))
    kernel, bias = arrays[f"features.{index}.weight"], arrays[f"features.{index}.bias"]
    y = np.stack(
      [
        sum(signal.correlate(x[i], kernel[o, i], mode="same") for i in range(c_in)) + bias[o]
        for o in range(c_out)
      ]
    )
    x = np.maximum(y, 0)
    found[name] = np.moveaxis(x, 0, -1)
  return found


def _normalized(images):
  return ((images - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])).astype("f4")


def _apply(params, preprocessing, images, **attributes):
  net = vgg16.VGG16(widths=WIDTHS, preprocessing=preprocessing, **attributes)
  return jax.jit(net.apply)({"params": params}, images)


def test_imagenet_preprocessing_by_hand():
  rgb = jnp.array([[0.485, 0.456, 0.406], [0.714, 0.680, 0.631], [0.0, 0.0, 0.0]])
  expected = [[0, 0, 0], [1, 1, 1], [-2.117904, -2.035714, -1.804444]]
  np.testing.assert_allclose(IMAGENET(rgb), expected, atol=1e-5)


def test_caffe_preprocessing_by_hand():
  x = CAFFE_VGG(jnp.array([[1.0, 0.5, 0.0]]))  # red 255, green 127.5, blue 0
  np.testing.assert_allclose(x, [[-103.939, 10.721, 131.32]], atol=1e-4)


def test_preprocessing_refuses_bytes_and_gray():
  with pytest.raises(ValueError, match="divide by 255"):
    IMAGENET(jnp.zeros((2, 2, 3), jnp.uint8))
  with pytest.raises(ValueError, match="3 channel"):
    IMAGENET(jnp.zeros((2, 2, 1)))


def test_forward_equals_numpy_at_every_layer(torchvision, images):
  assert list(vgg16.VGG16().taps) == ["conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"]
  params, preprocessing = vgg16.from_torchvision(torchvision, WIDTHS, last="conv5_3")
  assert preprocessing is IMAGENET
  found = _apply(params, preprocessing, images, taps=vgg16.LAYERS)
  expected = _numpy_forward(torchvision, _normalized(images)[1])
  for name, activation in found.items():
    assert activation.dtype == jnp.float32
    assert activation[1].shape == expected[name].shape
    np.testing.assert_allclose(activation[1], expected[name], atol=2e-5, err_msg=name)
    assert float(activation.max()) > 0.1


def test_keras_weights_see_bgr_grey_levels(torchvision, images):
  """The same kernels under Keras' names mean another network: only the input differs."""
  arrays = {f"{layer}/{layer}/{part}:0": a for (layer, part), a in _keras(torchvision).items()}
  params, preprocessing = vgg16.from_keras(arrays, WIDTHS)
  assert preprocessing is CAFFE_VGG
  found = _apply(params, preprocessing, images)
  caffe = images[0, ..., ::-1] * 255 - np.array([103.939, 116.779, 123.68])
  expected = _numpy_forward(torchvision, caffe)
  for name, activation in found.items():
    np.testing.assert_allclose(activation[0], expected[name], rtol=1e-4, atol=2e-3, err_msg=name)


def test_nothing_beyond_the_deepest_tap_is_computed(torchvision, images):
  params, _ = vgg16.from_torchvision(torchvision, WIDTHS)
  assert set(params) == {name for name, *_ in PUBLISHED[:11]}
  for taps, convolutions in ((vgg16.TAPS, 11), (("conv2_1", "conv1_2"), 3)):
    net = vgg16.VGG16(taps=taps, widths=WIDTHS)
    program = str(jax.make_jaxpr(net.apply)({"params": params}, images))
    assert program.count("conv_general_dilated[") == convolutions
    shapes = jax.eval_shape(net.init, jax.random.key(0), images)
    assert len(shapes["params"]) == convolutions


def test_parameter_count_up_to_conv5_1():
  shapes = jax.eval_shape(vgg16.VGG16().init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
  total = sum(leaf.size for leaf in jax.tree.leaves(shapes))
  assert total == sum(9 * i * o + o for _, _, i, o in PUBLISHED[:11]) == 9_995_072


def test_gradient_is_finite_at_black_white_and_gray(torchvision):
  params, preprocessing = vgg16.from_torchvision(torchvision, WIDTHS)
  net = vgg16.VGG16(widths=WIDTHS, preprocessing=preprocessing)

  def distance(rgb, target):
    a, b = (net.apply({"params": params}, x) for x in (rgb, target))
    return sum(jnp.mean(jnp.abs(a[tap] - b[tap])) for tap in a)

  gradient = jax.jit(jax.grad(distance))
  target = jnp.full((1, 16, 16, 3), 0.5)
  for level in (0.0, 1.0, 0.5):
    assert np.isfinite(gradient(jnp.full_like(target, level), target)).all()
  assert np.abs(gradient(jnp.zeros_like(target), target)).max() > 0


def test_bfloat16_activations_come_back_as_float32(torchvision, images):
  params, preprocessing = vgg16.from_torchvision(torchvision, WIDTHS)
  exact = _apply(params, preprocessing, images)
  rounded = _apply(params, preprocessing, images, dtype=jnp.bfloat16)
  for name in exact:
    assert rounded[name].dtype == jnp.float32
    error = np.abs(rounded[name] - exact[name]).mean() / np.abs(exact[name]).mean()
    assert 1e-5 < error < 0.03, name


def test_bad_images_and_taps():
  net = vgg16.VGG16(widths=WIDTHS)
  with pytest.raises(ValueError, match="at least 16 x 16 pixels, got 15 x 40"):
    net.init(jax.random.key(0), jnp.zeros((1, 15, 40, 3)))
  with pytest.raises(ValueError, match="4 dimensions"):
    net.init(jax.random.key(0), jnp.zeros((16, 16, 3)))
  with pytest.raises(ValueError, match="conv6_1"):
    vgg16.VGG16(taps=("conv6_1",)).init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))


def _equal(params, others):
  assert jax.tree.structure(params) == jax.tree.structure(others)
  jax.tree.map(np.testing.assert_array_equal, params, others)


@pytest.mark.parametrize(
  "wrap",
  [
    lambda name: f"module.{name}",
    lambda name: f"state_dict.{name}",
    lambda name: f"state_dict.module.{name}",
    lambda name: f"model_state_dict.{name}",
    lambda name: name.removeprefix("features."),
  ],
)
def test_wrapped_state_dicts(torchvision, wrap):
  expected, _ = vgg16.from_torchvision(torchvision, WIDTHS)
  wrapped = {wrap(name): array for name, array in torchvision.items()}
  if next(iter(wrapped)).startswith("state_dict"):
    wrapped["optimizer.momentum"] = np.zeros(3)
  _equal(vgg16.from_arrays(wrapped, WIDTHS)[0], expected)
  no_top = {name: a for name, a in wrapped.items() if "classifier" not in name}
  _equal(vgg16.from_arrays(no_top, WIDTHS)[0], expected)


@pytest.mark.parametrize(
  "name",
  [
    "{0}/{0}_{W}_1:0",  # the published file, from Keras 1
    "{0}/{0}/{kernel}:0",
    "{0}/{kernel}:0",
    "model_weights/{0}/{0}/{kernel}:0",
    "model_weights/vgg16/{0}/{kernel}:0",
    "{0}/{0}_1/{kernel}:0",
  ],
)
def test_keras_names(torchvision, name):
  expected, _ = vgg16.from_torchvision(torchvision, WIDTHS)
  arrays = {}
  for (layer, part), array in _keras(torchvision).items():
    short = {"kernel": "W", "bias": "b"}[part]
    arrays[name.format(layer, kernel=part, W=short)] = array
  arrays["fc1/fc1/kernel:0" if "model" not in name else "optimizer_weights/x:0"] = np.zeros(2)
  params, preprocessing = vgg16.from_arrays(arrays, WIDTHS)
  assert preprocessing is CAFFE_VGG
  _equal(params, expected)


@pytest.mark.parametrize("preprocessing", [IMAGENET, CAFFE_VGG])
def test_npz_round_trip(tmp_path, torchvision, preprocessing):
  params, _ = vgg16.from_torchvision(torchvision, WIDTHS)
  vgg16.save_npz(tmp_path / "vgg", params, preprocessing)
  assert [p.name for p in tmp_path.iterdir()] == ["vgg"]
  read, found = vgg16.load_vgg16(tmp_path / "vgg", WIDTHS)
  assert found is preprocessing
  _equal(read, params)


def test_npz_into_a_missing_folder(tmp_path, torchvision):
  params, preprocessing = vgg16.from_torchvision(torchvision, WIDTHS)
  with pytest.raises(UserError, match="cannot be written"):
    vgg16.save_npz(tmp_path / "none" / "vgg.npz", params, preprocessing)


def test_unknown_preprocessing_is_refused(tmp_path, torchvision):
  params, preprocessing = vgg16.from_torchvision(torchvision, WIDTHS)
  flat = {f"{layer}/{part}": a for layer, p in params.items() for part, a in p.items()}
  with pytest.raises(UserError, match="imagenet, caffe_vgg"):
    vgg16.from_arrays({**flat, "preprocessing": np.array("mine")}, WIDTHS)
  assert set(preprocess.BY_NAME) == {"imagenet", "caffe_vgg", "caffe_squeezenet"}


def test_faults_are_listed(torchvision):
  arrays = dict(torchvision)
  del arrays["features.5.bias"]
  arrays["features.10.weight"] = arrays["features.10.weight"][:2]
  arrays["features.31.weight"] = np.zeros(3)
  with pytest.raises(UserError) as caught:
    vgg16.from_arrays(arrays, WIDTHS, source="mine.pth")
  message = str(caught.value)
  assert message.startswith("mine.pth: expected the weights of torchvision's VGG16")
  assert "missing: features.5.bias" in message and "unknown: features.31.weight" in message
  assert "features.10.weight (2, 4, 3, 3) instead of (5, 4, 3, 3)" in message


def test_theano_ordered_keras_kernels_are_refused(torchvision):
  arrays = {}
  for (layer, part), array in _keras(torchvision).items():
    arrays[f"{layer}/{part}:0"] = array.transpose(3, 2, 0, 1) if part == "kernel" else array
  with pytest.raises(UserError, match=r"block1_conv1/kernel \(2, 3, 3, 3\) instead"):
    vgg16.from_arrays(arrays, WIDTHS)


def test_batch_norm_variant_is_refused(torchvision):
  with pytest.raises(UserError, match="vgg16_bn"):
    vgg16.from_arrays({**torchvision, "features.1.running_mean": np.zeros(2)}, WIDTHS)


def test_another_network_is_refused():
  with pytest.raises(UserError, match=r"expected VGG16 .* got conv1\.weight"):
    vgg16.from_arrays({"conv1.weight": np.zeros(3)})


@pytest.mark.parametrize("path", [None, "", "no/such/file.pth"])
def test_without_weights_the_help_is_given(path):
  with pytest.raises(UserError) as caught:
    vgg16.load_vgg16(path)
  message = str(caught.value)
  assert "vgg16-397923af.pth" in message and "notop.h5" in message and "\n" not in message
  assert "--config.loss.perceptual=0" in message


def _published_values(seed=0):
  """Full-width arrays by torchvision's names: 14.7 million values."""
  rng = np.random.default_rng(seed)
  arrays = {}
  for _, index, c_in, c_out in PUBLISHED:
    values = rng.random((c_out, c_in, 3, 3), np.float32)
    arrays[f"features.{index}.weight"] = (values - 0.5) * np.float32(np.sqrt(2.7 / c_in))
    arrays[f"features.{index}.bias"] = np.linspace(-0.1, 0.1, c_out, dtype=np.float32)
  return arrays


@pytest.mark.parametrize("new_format", [False, True])
def test_full_width_state_dict_from_torch_file(tmp_path, new_format):
  torch = pytest.importorskip("torch")
  arrays = _published_values()
  state = {name: torch.from_numpy(a) for name, a in arrays.items()}
  path = tmp_path / "vgg16-397923af.pth"
  torch.save(state, path, _use_new_zipfile_serialization=new_format)
  params, preprocessing = vgg16.load_vgg16(path)
  assert preprocessing is IMAGENET
  _equal(params, vgg16.from_torchvision(arrays)[0])


def test_full_width_keras_file(tmp_path):
  h5py = pytest.importorskip("h5py")
  arrays = _published_values()
  path = tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
  with h5py.File(path, "w") as root:
    for (layer, part), array in _keras(arrays).items():
      root[f"{layer}/{layer}_{'W' if part == 'kernel' else 'b'}_1:0"] = array
    root.create_group("block1_pool")
  params, preprocessing = vgg16.load_vgg16(path)
  assert preprocessing is CAFFE_VGG
  _equal(params, vgg16.from_torchvision(arrays)[0])


def test_pairs_of_columns_on_a_tpu_change_nothing():
  # Small whole numbers: sums are exact, and many pooled values are equal.
  rng = np.random.default_rng(3)
  draw = lambda low, high, *shape: rng.integers(low, high + 1, shape).astype(np.float32)
  images = draw(0, 1, 2, 7, 10, 3)
  layers = [layer for layer in _layers() if layer[0] in ("conv1_1", "conv1_2", "conv2_1")]
  params = {
    name: {"kernel": draw(-1, 1, 3, 3, c_in, c_out), "bias": draw(0, 1, c_out)}
    for name, _, c_in, c_out in layers
  }
  net = vgg16.VGG16(("conv1_1", "conv2_1"), WIDTHS, preprocessing=lambda x: x)
  upper = {"conv1_1": draw(-2, 2, 2, 7, 10, 2), "conv2_1": draw(-2, 2, 2, 3, 5, 4)}

  def run(images):
    found, back = jax.vjp(lambda x: net.apply({"params": params}, x), images)
    return found, back(upper)[0]

  expected = jax.jit(run)(images)
  with platform.compiling_for("tpu"):
    found = jax.jit(lambda images: run(images))(images)
    shapes = jax.eval_shape(net.init, jax.random.key(0), images)["params"]
  assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, params)
  jax.tree.map(np.testing.assert_array_equal, found, expected)
