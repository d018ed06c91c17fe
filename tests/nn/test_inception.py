"""FID's Inception-v3 against a forward pass written down again in PyTorch, with random weights."""

import jax
import numpy as np
import pytest

from scs_jax.errors import UserError
from scs_jax.nn.features import inception

torch = pytest.importorskip("torch")
ops = torch.nn.functional

DIVISOR = 16  # of all widths
EPS = 1e-3

# Of the published network, written out by hand: (kernel height, kernel width, input and output
# channels) of all 94 convolutions.
_STEM = {
  "Conv2d_1a_3x3": (3, 3, 3, 32),
  "Conv2d_2a_3x3": (3, 3, 32, 32),
  "Conv2d_2b_3x3": (3, 3, 32, 64),
  "Conv2d_3b_1x1": (1, 1, 64, 80),
  "Conv2d_4a_3x3": (3, 3, 80, 192),
}


def _block_a(c, pooled):
  return {
    "branch1x1": (1, 1, c, 64),
    "branch5x5_1": (1, 1, c, 48),
    "branch5x5_2": (5, 5, 48, 64),
    "branch3x3dbl_1": (1, 1, c, 64),
    "branch3x3dbl_2": (3, 3, 64, 96),
    "branch3x3dbl_3": (3, 3, 96, 96),
    "branch_pool": (1, 1, c, pooled),
  }


def _block_c(w):
  return {
    "branch1x1": (1, 1, 768, 192),
    "branch7x7_1": (1, 1, 768, w),
    "branch7x7_2": (1, 7, w, w),
    "branch7x7_3": (7, 1, w, 192),
    "branch7x7dbl_1": (1, 1, 768, w),
    "branch7x7dbl_2": (7, 1, w, w),
    "branch7x7dbl_3": (1, 7, w, w),
    "branch7x7dbl_4": (7, 1, w, w),
    "branch7x7dbl_5": (1, 7, w, 192),
    "branch_pool": (1, 1, 768, 192),
  }


def _block_e(c):
  return {
    "branch1x1": (1, 1, c, 320),
    "branch3x3_1": (1, 1, c, 384),
    "branch3x3_2a": (1, 3, 384, 384),
    "branch3x3_2b": (3, 1, 384, 384),
    "branch3x3dbl_1": (1, 1, c, 448),
    "branch3x3dbl_2": (3, 3, 448, 384),
    "branch3x3dbl_3a": (1, 3, 384, 384),
    "branch3x3dbl_3b": (3, 1, 384, 384),
    "branch_pool": (1, 1, c, 192),
  }


_BLOCKS = {
  "Mixed_5b": _block_a(192, 32),
  "Mixed_5c": _block_a(256, 64),
  "Mixed_5d": _block_a(288, 64),
  "Mixed_6a": {
    "branch3x3": (3, 3, 288, 384),
    "branch3x3dbl_1": (1, 1, 288, 64),
    "branch3x3dbl_2": (3, 3, 64, 96),
    "branch3x3dbl_3": (3, 3, 96, 96),
  },
  "Mixed_6b": _block_c(128),
  "Mixed_6c": _block_c(160),
  "Mixed_6d": _block_c(160),
  "Mixed_6e": _block_c(192),
  "Mixed_7a": {
    "branch3x3_1": (1, 1, 768, 192),
    "branch3x3_2": (3, 3, 192, 320),
    "branch7x7x3_1": (1, 1, 768, 192),
    "branch7x7x3_2": (1, 7, 192, 192),
    "branch7x7x3_3": (7, 1, 192, 192),
    "branch7x7x3_4": (3, 3, 192, 192),
  },
  "Mixed_7b": _block_e(1280),
  "Mixed_7c": _block_e(2048),
}


def _random_arrays(divisor):
  """A state dict of the published file's layout, classifier and counters included."""
  rng = np.random.default_rng(0)
  shapes = dict(_STEM)
  for block, convolutions in _BLOCKS.items():
    shapes |= {f"{block}.{name}": shape for name, shape in convolutions.items()}
  arrays = {}
  for name, (h, w, c_in, c_out) in shapes.items():
    c_in, c_out = c_in if c_in == 3 else c_in // divisor, c_out // divisor
    deviation = np.sqrt(2 / (c_in * h * w))
    arrays[f"{name}.conv.weight"] = rng.normal(0, deviation, (c_out, c_in, h, w))
    arrays[f"{name}.bn.weight"] = rng.uniform(0.5, 1.5, c_out)
    arrays[f"{name}.bn.bias"] = rng.normal(0.1, 0.2, c_out)
    arrays[f"{name}.bn.running_mean"] = rng.normal(0, 0.2, c_out)
    arrays[f"{name}.bn.running_var"] = rng.uniform(0.001, 1.5, c_out)  # some as small as eps
    arrays[f"{name}.bn.num_batches_tracked"] = np.array(0)
  arrays["fc.weight"] = rng.normal(size=(1008, 2048 // divisor))
  arrays["fc.bias"] = rng.normal(size=1008)
  return {
    name: a if a.dtype == np.int64 else a.astype(np.float32) for name, a in arrays.items()
  }


def _torch_forward(arrays, rgb):
  """pool3 as pytorch-fid computes it, in float64; rgb [N, H, W, 3] in [0, 1]."""
  weights = {name: torch.from_numpy(np.array(a)).double() for name, a in arrays.items()}

  def conv(x, name, stride=1, padding=0):
    y = ops.conv2d(x, weights[f"{name}.conv.weight"], stride=stride, padding=padding)
    mean, var = weights[f"{name}.bn.running_mean"], weights[f"{name}.bn.running_var"]
    gain, bias = weights[f"{name}.bn.weight"], weights[f"{name}.bn.bias"]
    return torch.relu(ops.batch_norm(y, mean, var, gain, bias, training=False, eps=EPS))

  def average(x):
    return ops.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

  def block_a(x, b):
    five = conv(conv(x, f"{b}.branch5x5_1"), f"{b}.branch5x5_2", padding=2)
    three = conv(conv(x, f"{b}.branch3x3dbl_1"), f"{b}.branch3x3dbl_2", padding=1)
    three = conv(three, f"{b}.branch3x3dbl_3", padding=1)
    pool = conv(average(x), f"{b}.branch_pool")
    return torch.cat([conv(x, f"{b}.branch1x1"), five, three, pool], 1)

  def block_c(x, b):
    one = conv(conv(x, f"{b}.branch7x7_1"), f"{b}.branch7x7_2", padding=(0, 3))
    one = conv(one, f"{b}.branch7x7_3", padding=(3, 0))
    two = conv(conv(x, f"{b}.branch7x7dbl_1"), f"{b}.branch7x7dbl_2", padding=(3, 0))
    two = conv(two, f"{b}.branch7x7dbl_3", padding=(0, 3))
    two = conv(two, f"{b}.branch7x7dbl_4", padding=(3, 0))
    two = conv(two, f"{b}.branch7x7dbl_5", padding=(0, 3))
    pool = conv(average(x), f"{b}.branch_pool")
    return torch.cat([conv(x, f"{b}.branch1x1"), one, two, pool], 1)

  def block_e(x, b, pool):
    def both(y, stem):
      return [conv(y, f"{stem}a", padding=(0, 1)), conv(y, f"{stem}b", padding=(1, 0))]

    three = both(conv(x, f"{b}.branch3x3_1"), f"{b}.branch3x3_2")
    double = conv(conv(x, f"{b}.branch3x3dbl_1"), f"{b}.branch3x3dbl_2", padding=1)
    double = both(double, f"{b}.branch3x3dbl_3")
    pooled = conv(pool(x), f"{b}.branch_pool")
    return torch.cat([conv(x, f"{b}.branch1x1"), *three, *double, pooled], 1)

  x = torch.from_numpy(rgb.transpose(0, 3, 1, 2).copy()).double()
  x = 2 * ops.interpolate(x, (299, 299), mode="bilinear", align_corners=False) - 1
  x = conv(conv(x, "Conv2d_1a_3x3", 2), "Conv2d_2a_3x3")
  x = ops.max_pool2d(conv(x, "Conv2d_2b_3x3", padding=1), 3, 2)
  x = ops.max_pool2d(conv(conv(x, "Conv2d_3b_1x1"), "Conv2d_4a_3x3"), 3, 2)
  for name in ("5b", "5c", "5d"):
    x = block_a(x, f"Mixed_{name}")
  double = conv(conv(x, "Mixed_6a.branch3x3dbl_1"), "Mixed_6a.branch3x3dbl_2", padding=1)
  double = conv(double, "Mixed_6a.branch3x3dbl_3", 2)
  x = torch.cat([conv(x, "Mixed_6a.branch3x3", 2), double, ops.max_pool2d(x, 3, 2)], 1)
  for name in ("6b", "6c", "6d", "6e"):
    x = block_c(x, f"Mixed_{name}")
  three = conv(conv(x, "Mixed_7a.branch3x3_1"), "Mixed_7a.branch3x3_2", 2)
  seven = conv(conv(x, "Mixed_7a.branch7x7x3_1"), "Mixed_7a.branch7x7x3_2", padding=(0, 3))
  seven = conv(seven, "Mixed_7a.branch7x7x3_3", padding=(3, 0))
  seven = conv(seven, "Mixed_7a.branch7x7x3_4", 2)
  x = torch.cat([three, seven, ops.max_pool2d(x, 3, 2)], 1)
  x = block_e(x, "Mixed_7b", average)
  x = block_e(x, "Mixed_7c", lambda y: ops.max_pool2d(y, 3, 1, 1))
  assert x.shape[2:] == (8, 8)
  return x.mean((2, 3)).numpy()


@pytest.fixture(scope="module")
def arrays():
  return _random_arrays(DIVISOR)


@pytest.fixture(scope="module")
def narrow(arrays):
  """(rgb -> features, the network at a sixteenth of its widths)."""
  variables = inception.from_arrays(arrays, DIVISOR)
  apply = jax.jit(inception.Inception(DIVISOR).apply)
  return lambda rgb: np.asarray(apply(variables, rgb))


def _images(height, width, n=2):
  return np.random.default_rng(height).uniform(size=(n, height, width, 3)).astype(np.float32)


# Enlarged; shrunk without antialiasing, which noise shows.
@pytest.mark.parametrize("size", [(64, 47), (420, 333)])
def test_features_equal_pytorchs(arrays, narrow, size):
  images = _images(*size)
  expected = _torch_forward(arrays, images)
  found = narrow(images)
  assert found.dtype == np.float32
  assert found.shape == expected.shape == (2, 128)
  assert expected.std() > 0.1  # the two pictures and the features differ
  np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_each_patch_is_seen(arrays, narrow):
  """What torchvision's own network does instead is off by far more than the tolerance above."""
  images = _images(64, 47)
  found = narrow(images)
  plain = ops.avg_pool2d
  try:
    ops.avg_pool2d = lambda x, *a, count_include_pad, **k: plain(x, *a, **k)
    padded = _torch_forward(arrays, images)
  finally:
    ops.avg_pool2d = plain
  most = ops.max_pool2d
  try:
    ops.max_pool2d = lambda x, k, s, p=0: plain(x, k, s, p) if p else most(x, k, s)
    averaged = _torch_forward(arrays, images)
  finally:
    ops.max_pool2d = most
  for other in (padded, averaged):
    assert np.abs(found - other).max() > 1e-3 * np.abs(found).max()


def test_the_plan_is_the_published_network():
  shapes = {".".join(path): shape for path, shape in inception._kernels(1).items()}
  expected = dict(_STEM)
  for block, convolutions in _BLOCKS.items():
    expected |= {f"{block}.{name}": shape for name, shape in convolutions.items()}
  assert len(shapes) == 94
  assert shapes == {n: (o, i, h, w) for n, (h, w, i, o) in expected.items()}
  # Kernels, gains and biases: what torchvision counts without the classifiers.
  assert sum(np.prod(s) + 2 * s[0] for s in shapes.values()) == 21_785_568


def test_load_reads_a_state_dict(arrays, tmp_path, monkeypatch):
  path = tmp_path / "inception.pth"
  torch.save({name: torch.from_numpy(np.array(a)) for name, a in arrays.items()}, path)
  whole = inception.from_arrays
  monkeypatch.setattr(
    inception, "from_arrays", lambda arrays, source: whole(arrays, DIVISOR, source)
  )
  _, variables = inception.load(path)
  jax.tree.map(np.testing.assert_array_equal, variables, whole(arrays, DIVISOR))


def test_load_says_what_is_needed(tmp_path):
  for path in (None, ""):
    with pytest.raises(UserError, match=r"no Inception weights given: .*inception-2015-12-05"):
      inception.load(path)
  with pytest.raises(UserError, match="no such file"):
    inception.load(tmp_path / "none.pth")
  (tmp_path / "page.pth").write_text("<html>not found</html>")
  with pytest.raises(UserError, match="web page"):
    inception.load(tmp_path / "page.pth")


def test_torchvisions_own_weights_are_refused(arrays):
  own = arrays | {"fc.weight": np.zeros((1000, 128), np.float32)}
  with pytest.raises(UserError, match="torchvision's own"):
    inception.from_arrays(own, DIVISOR)
  own = arrays | {"AuxLogits.fc.weight": np.zeros((1000, 48), np.float32)}
  with pytest.raises(UserError, match="torchvision's own"):
    inception.from_arrays(own, DIVISOR)


def test_wrong_arrays_are_named(arrays):
  less = {n: a for n, a in arrays.items() if n != "Mixed_6c.branch7x7_2.bn.bias"}
  with pytest.raises(UserError, match=r"missing: Mixed_6c\.branch7x7_2\.bn\.bias$"):
    inception.from_arrays(less, DIVISOR)
  with pytest.raises(UserError, match=r"unknown: Mixed_8a\.conv\.weight"):
    inception.from_arrays(arrays | {"Mixed_8a.conv.weight": np.zeros(1)}, DIVISOR)
  name = "Conv2d_1a_3x3.bn.running_var"
  with pytest.raises(UserError, match="below 0"):
    inception.from_arrays(arrays | {name: -arrays[name]}, DIVISOR)


def test_bytes_are_refused(narrow):
  with pytest.raises(ValueError, match="divide by 255"):
    narrow(np.zeros((1, 64, 64, 3), np.uint8))
