"""3-D convolutions in every layout against NumPy and PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.methods.cycle_cnn import volume as volumes
from scs_jax.methods.cycle_cnn.volume_layers import Conv3D
from scs_jax.nn.folded import fold_for

KINDS = ("same", "half", "double")  # stride 1, stride 2, transposed
N, C_IN, C = 2, 3, 2
# By kind: depth of the input, (height, width), pairs of folds (of the input, of the result).
SIZES = {
  "same": (16, (5, 7), ((1, 1), (8, 8), (2, 8), (8, 2), (4, 16), (16, 4))),
  "half": (16, (4, 6), ((1, 1), (8, 4), (4, 4), (2, 8), (8, 2))),
  "double": (8, (4, 6), ((1, 1), (4, 8), (4, 4), (8, 2), (2, 8))),
}


def _pieces(kind, size, tap):
  """Slices of the input and of the output of one axis that a tap joins, in increasing order."""
  if kind == "double":
    out, into = _pieces("half", 2 * size, tap)
    return into, out
  step = 2 if kind == "half" else 1
  pairs = [(step * o - 1 + tap, o) for o in range(-(-size // step))]
  pairs = [(i, o) for i, o in pairs if 0 <= i < size]
  return np.array([i for i, _ in pairs], int), np.array([o for _, o in pairs], int)


def _taps(kind, shape):
  for t in np.ndindex(3, 3, 3):
    axes = [_pieces(kind, size, tap) for size, tap in zip(shape, t, strict=True)]
    yield t, (slice(None), *np.ix_(*(a[0] for a in axes))), (
      slice(None),
      *np.ix_(*(a[1] for a in axes)),
    )


def _expected(kind, x, kernel, upper=None):
  """The convolution in float64, from its definition; with `upper`, both gradients too."""
  x, kernel = np.float64(x), np.float64(kernel)
  size = {
    "same": lambda s: s,
    "half": lambda s: -(-s // 2),
    "double": lambda s: 2 * s,
  }[kind]
  out = np.zeros((x.shape[0], *map(size, x.shape[1:4]), kernel.shape[-1]))
  to_x, to_kernel = np.zeros_like(x), np.zeros_like(kernel)
  for t, into, of in _taps(kind, x.shape[1:4]):
    out[of] += x[into] @ kernel[t]
    if upper is not None:
      to_x[into] += np.float64(upper)[of] @ kernel[t].T
      to_kernel[t] = np.einsum("ndhwi,ndhwo->io", x[into], np.float64(upper)[of])
  return out if upper is None else (out, to_x, to_kernel)


@functools.cache
def _case(kind, depth, plane, c=C):
  """x, kernel, a cotangent, and what is expected of them."""
  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
  x, kernel = draw(N, depth, *plane, C_IN), draw(3, 3, 3, C_IN, c)
  upper = draw(*_expected(kind, x, kernel).shape)
  return x, kernel, upper, _expected(kind, x, kernel, upper)


@functools.partial(jax.jit, static_argnums=(0, 3, 4, 5))
def _run(kind, x, kernel, fold_in, fold, platform):
  volume = volumes.from_plain(x, fold_in)
  if kind == "double":
    out = volumes.conv3d_transposed(volume, kernel, fold, platform)
  else:
    out = volumes.conv3d(volume, kernel, 2 if kind == "half" else 1, fold, platform)
  assert fold is None or out.fold == fold
  return out.plain()


@functools.partial(jax.jit, static_argnums=(0, 4, 5, 6))
def _run_with_gradients(kind, x, kernel, upper, fold_in, fold, platform):
  out, backward = jax.vjp(lambda x, k: _run(kind, x, k, fold_in, fold, platform), x, kernel)
  return out, *backward(upper)


def _assert_close(found, expected):
  for a, b in zip(found, expected, strict=True):
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_the_last_axis_holds_neighbouring_disparities():
  x = np.arange(6 * 2 * 3 * 2).reshape(1, 6, 2, 3, 2)
  volume = volumes.from_plain(jnp.asarray(x), 3)
  assert volume.data.shape == (1, 2, 2, 3, 6)
  assert (volume.depth, volume.channels) == (6, 2)
  # Channel 1 of disparity 5 = 1 * 3 + 2 at row 1, column 2.
  assert volume.data[0, 1, 1, 2, 2 * 2 + 1] == x[0, 5, 1, 2, 1]
  for fold in (1, 2, 6):
    np.testing.assert_array_equal(volumes.refold(volume, fold).plain(), x)


@pytest.mark.parametrize(
  ("kind", "folds"), [(kind, folds) for kind in KINDS for folds in SIZES[kind][2]]
)
def test_folded_equals_the_definition(kind, folds):
  depth, plane, _ = SIZES[kind]
  x, kernel, upper, expected = _case(kind, depth, plane)
  _assert_close(_run_with_gradients(kind, x, kernel, upper, *folds, "tpu"), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_pair_of_folds_of_depth_12(kind):
  x, kernel, _, (expected, *_) = _case(kind, 12, (2, 2))
  depth = expected.shape[1]
  for fold_in in (1, 2, 3, 4, 12):
    for fold in (1, 2, 3, 4, depth):
      if depth % fold == 0:
        _assert_close([_run(kind, x, kernel, fold_in, fold, "tpu")], [expected])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
  ("kind", "depth", "plane"),
  [
    ("same", 5, (5, 7)),
    ("same", 1, (3, 2)),
    ("half", 6, (4, 6)),
    ("half", 5, (5, 7)),
    ("half", 1, (3, 2)),
    ("double", 4, (4, 6)),
    ("double", 1, (3, 1)),
  ],
)
def test_on_cpus_equals_the_definition(kind, depth, plane, channels):
  x, kernel, upper, expected = _case(kind, depth, plane, channels)
  _assert_close(_run_with_gradients(kind, x, kernel, upper, 1, None, "cpu"), expected)


@pytest.mark.parametrize("depth", [16, 48])
def test_a_u_net_down_and_up_again_on_every_platform(depth):
  """Folds as they follow from channels and depth: 16 to 32 channels, and back to one."""
  rng = np.random.default_rng(1)
  draw = lambda *shape: (0.2 * rng.normal(size=shape)).astype(np.float32)
  x = draw(1, depth, 4, 8, 16)
  kernels = [draw(3, 3, 3, *c) for c in ((16, 32), (32, 32), (32, 32), (32, 16), (16, 1))]

  @functools.partial(jax.jit, static_argnums=1)
  def run(x, platform):
    volume = volumes.from_plain(x, fold_for(16, depth, platform))
    down = volumes.conv3d(volume, kernels[0], 2, platform=platform)
    deep = volumes.conv3d(down, kernels[1], 2, platform=platform)
    up = volumes.conv3d_transposed(deep, kernels[2], platform=platform)
    up = volumes.conv3d_transposed(up.replace(data=up.data + down.data), kernels[3], None, platform)
    up = up.replace(data=up.data + volume.data)
    return volumes.conv3d(up, kernels[4], platform=platform).plain()

  down = _expected("half", x, kernels[0])
  up = _expected("double", _expected("half", down, kernels[1]), kernels[2]) + down
  expected = _expected("same", _expected("double", up, kernels[3]) + x, kernels[4])
  for platform in ("cpu", "gpu", "tpu"):
    _assert_close([run(x, platform)], [expected])


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_are_pytorchs_transposed(kind):
  torch = pytest.importorskip("torch")
  x, kernel, _, _ = _case(kind, 4, (4, 6))
  first = torch.from_numpy(x).permute(0, 4, 1, 2, 3)
  weight = torch.from_numpy(kernel)
  if kind == "double":
    double = torch.nn.functional.conv_transpose3d
    expected = double(first, weight.permute(3, 4, 0, 1, 2), None, 2, 1, 1)
  else:
    stride = 2 if kind == "half" else 1
    weight = weight.permute(4, 3, 0, 1, 2)
    expected = torch.nn.functional.conv3d(first, weight, None, stride, 1)
  expected = expected.permute(0, 2, 3, 4, 1).numpy()
  for platform, fold in (("cpu", 1), ("tpu", 2)):
    _assert_close([_run(kind, x, kernel, fold, None, platform)], [expected])


def test_bfloat16_is_summed_in_float32():
  x, kernel, upper, _ = _case("same", 5, (5, 7))
  cast = lambda *arrays: [jnp.asarray(a, jnp.bfloat16) for a in arrays]
  x, kernel, upper = cast(x, kernel, upper)
  for platform in ("cpu", "tpu"):
    found = _run_with_gradients("same", x, kernel, upper, 1, 1, platform)
    expected = _expected("same", *(np.asarray(a, np.float32) for a in (x, kernel, upper)))
    for a, b in zip(found, expected, strict=True):
      assert a.dtype == jnp.bfloat16
      # One rounding of the result: 2^-9 of it; sums in bfloat16 would be off by several.
      np.testing.assert_allclose(np.float32(a), b, rtol=2**-8, atol=2**-8)


def test_what_does_not_fit_is_an_error():
  x, kernel, _, _ = _case("same", 5, (5, 7))
  with pytest.raises(ValueError, match="fold 2 does not divide the depth 5"):
    volumes.from_plain(x, 2)
  with pytest.raises(ValueError, match="fold 3 does not divide the depth 5"):
    volumes.conv3d(volumes.Volume(x), kernel, fold=3)
  with pytest.raises(ValueError, match="stride is 1 or 2, got 3"):
    volumes.conv3d(volumes.Volume(x), kernel, 3)
  with pytest.raises(ValueError, match="does not fit a volume of 3 channels"):
    volumes.conv3d(volumes.Volume(x), kernel[..., :2, :])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_layer(kind, platform):
  x, kernel, _, (expected, *_) = _case(kind, 16 if kind != "double" else 8, (4, 6))
  layer = Conv3D(
    C, 2 if kind == "half" else 1, kind == "double", use_bias=True, platform=platform
  )
  volume = volumes.from_plain(jnp.asarray(x), fold_for(C_IN, x.shape[1], platform))
  shapes = jax.eval_shape(layer.init, jax.random.key(0), volume)["params"]
  assert jax.tree.map(jnp.shape, shapes) == {"kernel": (3, 3, 3, C_IN, C), "bias": (C,)}
  bias = np.array([0.5, -2.0], np.float32)
  out = jax.jit(layer.apply)({"params": {"kernel": kernel, "bias": bias}}, volume)
  assert out.fold == fold_for(C, out.depth, platform)
  _assert_close([out.plain()], [expected + bias])


def test_layer_in_bfloat16_has_float32_parameters_and_gradients():
  x, *_ = _case("same", 4, (4, 6))
  layer = Conv3D(C, dtype=jnp.bfloat16)
  volume = volumes.Volume(jnp.asarray(x))
  variables = jax.eval_shape(layer.init, jax.random.key(0), volume)
  assert variables["params"]["kernel"].dtype == jnp.float32
  assert jax.eval_shape(layer.apply, variables, volume).data.dtype == jnp.bfloat16
  loss = lambda v: layer.apply(v, volume).data.astype(jnp.float32).sum()
  slope = jax.eval_shape(jax.grad(loss), variables)
  assert slope["params"]["kernel"].dtype == jnp.float32
