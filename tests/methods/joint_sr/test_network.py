"""Tables I and II against NumPy and PyTorch, layer by layer; the residual network by its parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.methods.joint_sr import network
from scs_jax.ops.resize import resize_bicubic

# Tables I and II as printed: filters, stride.
TABLE_I = [(64, 2), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
TABLE_II = [512, 256, 128, 64, 32, 16, 8, 2]
NARROW = 1 / 16


def _variables(module, *inputs, seed=0):
  """Parameters and running averages drawn in NumPy: nothing zero, variances above 0."""
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *inputs))
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    name = path[-1].key
    if name == "kernel":
      fan_in = np.prod(leaf.shape[:-1])
      return (rng.normal(size=leaf.shape) * np.sqrt(2 / fan_in)).astype(np.float32)
    if name in ("scale", "var"):
      return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
    return rng.normal(0, 0.2, leaf.shape).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, shapes)


def _source(*size, n=2, channels=1):
  return np.random.default_rng(5).uniform(-1, 1, (n, *size, channels)).astype(np.float32)


def _conv(x, kernel, stride=1):
  """Cross-correlation with zero padding of half the kernel, by a sum over taps, in float64."""
  k = kernel.shape[0]
  n, h, w, _ = x.shape
  padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
  taps = [
    padded[:, i : i + h : stride, j : j + w : stride] @ kernel[i, j].astype(np.float64)
    for i in range(k)
    for j in range(k)
  ]
  return sum(taps)


def _leaky(x):
  return np.where(x > 0, x, 0.2 * x)


def _unit(x, variables, name, stride=1, train=False):
  params, stats = variables["params"][name], variables["batch_stats"][name]["norm"]
  x = _conv(x, params["conv"]["kernel"], stride)
  mean, var = stats["mean"], stats["var"]
  if train:
    mean, var = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
  norm = params["norm"]
  return _leaky((x - mean) / np.sqrt(var + 1e-5) * norm["scale"] + norm["bias"])


def _nearest(x, size):
  rows, columns = (
    np.floor((np.arange(out) + 0.5) * s / out).astype(int)
    for out, s in zip(size, x.shape[1:3], strict=True)
  )
  return x[:, rows][:, :, columns]


def _by_tables(variables, x, sizes, train=False):
  """The joint network in NumPy, float64; `sizes` after the decoder's first six convolutions."""
  x = x.astype(np.float64)
  for i, (_, stride) in enumerate(TABLE_I, 1):
    x = _unit(x, variables, f"encoder_{i}", stride, train)
  for i in range(1, 8):
    x = _unit(x, variables, f"decoder_{i}", 1, train)
    if i <= 6:
      x = _nearest(x, sizes[i - 1])
  last = variables["params"]["decoder_8"]
  return _conv(x, last["kernel"]) + last["bias"]


class TestTables:
  def test_parameters_by_hand(self):
    module = network.EncoderDecoder()
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), _source(96, 96), (256, 256)))
    found = {n: sum(x.size for x in jax.tree.leaves(t)) for n, t in shapes["params"].items()}
    expected, before = {}, 1
    for i, (filters, _) in enumerate(TABLE_I, 1):
      expected[f"encoder_{i}"] = 9 * before * filters + 2 * filters
      before = filters
    for i, filters in enumerate(TABLE_II, 1):
      more = 2 * filters if i < 8 else 2  # BatchNorm's two vectors, or the last one's bias
      expected[f"decoder_{i}"] = 9 * before * filters + more
      before = filters
    assert found == expected
    # 9 (254,016 + 436,880) weights, 2 (1,344 + 1,016) of BatchNorm, 2 biases.
    assert sum(found.values()) == 6_222_786

  def test_shapes_of_every_layer_at_96_to_256(self):
    module = network.EncoderDecoder()
    _, seen = jax.eval_shape(
      lambda key, x: module.init_with_output(
        key, x, (256, 256), capture_intermediates=True, mutable=True
      ),
      jax.random.key(0),
      _source(96, 96, n=1),
    )
    layers = {n: t["__call__"][0].shape[1:] for n, t in seen["intermediates"].items()
              if n != "__call__"}  # fmt: skip
    sides = [48, 24, 24, 12, 12, 6]
    for i, (side, (filters, _)) in enumerate(zip(sides, TABLE_I, strict=True), 1):
      assert layers[f"encoder_{i}"] == (side, side, filters)
    # What a convolution gives, before the upsampling that follows it.
    sides = [6, 8, 16, 32, 64, 128, 256, 256]
    for i, (side, filters) in enumerate(zip(sides, TABLE_II, strict=True), 1):
      assert layers[f"decoder_{i}"] == (side, side, filters)

  @pytest.mark.parametrize(
    ("size", "out_size", "sizes"),
    [
      ((96, 96), (256, 256), [(s, s) for s in (8, 16, 32, 64, 128, 256)]),
      # 8 * 40 / 96 = 3.33, 8 * 33 / 96 = 2.75; twice as much each time; the last as asked.
      ((40, 33), (90, 100), [(3, 3), (7, 6), (13, 11), (27, 22), (53, 44), (90, 100)]),
      # Never more than what is asked for, never nothing.
      ((96, 5), (50, 5), [(8, 1), (16, 1), (32, 2), (50, 3), (50, 5), (50, 5)]),
    ],
  )
  def test_sizes_of_the_decoder(self, size, out_size, sizes):
    assert network.decoder_sizes(size, out_size, network.ENLARGING) == sizes

  def test_sizes_of_colorization_alone_end_at_the_input_s(self):
    found = network.decoder_sizes((96, 48), (96, 48), network.KEEPING)
    assert found == [(6, 3), (12, 6), (24, 12), (48, 24), (96, 48), (96, 48)]

  @pytest.mark.parametrize(
    ("size", "sizes"),
    [
      ((96, 96), [(s, s) for s in (8, 16, 32, 64, 128, 256)]),
      ((40, 33), [(3, 3), (7, 6), (13, 11), (27, 22), (53, 44), (90, 100)]),
    ],
  )
  def test_equals_numpy(self, size, sizes):
    module = network.EncoderDecoder(NARROW)
    variables = _variables(module, _source(8, 8), (8, 8))
    x = _source(*size, n=1)
    found = jax.jit(lambda v, x: module.apply(v, x, sizes[-1]))(variables, x)
    expected = _by_tables(variables, x, sizes)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-4)

  def test_training_uses_the_batch_and_moves_the_averages(self):
    module = network.EncoderDecoder(NARROW)
    variables = _variables(module, _source(8, 8), (8, 8))
    x, sizes = _source(48, 48, n=3), [(s, s) for s in (4, 8, 16, 32, 64, 128)]
    apply = jax.jit(lambda v, x: module.apply(v, x, sizes[-1], train=True, mutable=["batch_stats"]))
    found, changed = apply(variables, x)
    np.testing.assert_allclose(found, _by_tables(variables, x, sizes, train=True), atol=5e-4)
    first = _conv(x.astype(np.float64), variables["params"]["encoder_1"]["conv"]["kernel"], 2)
    for name, value in (("mean", first.mean(axis=(0, 1, 2))), ("var", first.var(axis=(0, 1, 2)))):
      before = variables["batch_stats"]["encoder_1"]["norm"][name]
      after = changed["batch_stats"]["encoder_1"]["norm"][name]
      np.testing.assert_allclose(after, 0.9 * before + 0.1 * value, rtol=1e-4, atol=1e-5)

  def test_equals_pytorch(self):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    module = network.EncoderDecoder(NARROW)
    variables = _variables(module, _source(8, 8), (8, 8), seed=3)
    x = _source(96, 96)
    found = jax.jit(lambda v, x: module.apply(v, x, (256, 256)))(variables, x)
    tensor = lambda a: torch.from_numpy(np.array(a))

    def unit(y, name, stride=1):
      params, stats = variables["params"][name], variables["batch_stats"][name]["norm"]
      kernel = tensor(params["conv"]["kernel"]).permute(3, 2, 0, 1)
      y = functional.conv2d(y, kernel, stride=stride, padding=1)
      norm = params["norm"]
      y = functional.batch_norm(
        y, tensor(stats["mean"]), tensor(stats["var"]), tensor(norm["scale"]), tensor(norm["bias"])
      )
      return functional.leaky_relu(y, 0.2)

    y = tensor(x).permute(0, 3, 1, 2)
    for i, (_, stride) in enumerate(TABLE_I, 1):
      y = unit(y, f"encoder_{i}", stride)
    for i, side in enumerate((8, 16, 32, 64, 128, 256), 1):
      y = functional.interpolate(unit(y, f"decoder_{i}"), size=(side, side), mode="nearest-exact")
    last = variables["params"]["decoder_8"]
    kernel = tensor(last["kernel"]).permute(3, 2, 0, 1)
    y = functional.conv2d(unit(y, "decoder_7"), kernel, tensor(last["bias"]), padding=1)
    np.testing.assert_allclose(found, y.permute(0, 2, 3, 1).numpy(), atol=1e-4)

  def test_training_starts_near_gray(self):
    module = network.EncoderDecoder(0.25)
    run = jax.jit(lambda key, x: module.init_with_output(key, x, (32, 32), train=True)[0])
    ab = np.asarray(run(jax.random.key(1), _source(12, 12, n=4)))
    assert 0 < ab.std() < 0.2  # of 1, which stands for 110


class TestResidual:
  SMALL = dict(features=4, blocks=2, color_features=(6, 8, 10), color_blocks=1)

  def test_middle_is_512_wide_at_an_eighth(self):
    module = network.ResidualNetwork()
    _, seen = jax.eval_shape(
      lambda key, x: module.init_with_output(
        key, x, (256, 256), capture_intermediates=True, mutable=True
      ),
      jax.random.key(0),
      _source(96, 96, n=1),
    )
    shape = lambda name: seen["intermediates"][name]["__call__"][0].shape[1:]
    assert shape("color_block_3") == (12, 12, 512) and shape("block_15") == (96, 96, 64)
    assert shape("color_up_0") == (96, 96, 64)
    # 96 -> sqrt(96 * 256) = 156.8 -> 256.
    assert shape("enlarge_0") == (157, 157, 64) and shape("enlarge_1") == (256, 256, 64)

  @pytest.mark.parametrize("channels", [1, 3])
  def test_starts_as_the_bicubic(self, channels):
    module = network.ResidualNetwork(**self.SMALL)
    x = _source(9, 13, channels=channels)
    run = jax.jit(lambda key, x: module.init_with_output(key, x, (20, 30))[0])
    expected = np.asarray(resize_bicubic(x, (20, 30)))
    if channels == 1:
      expected = np.concatenate([expected, np.zeros((2, 20, 30, 2))], axis=-1)
    np.testing.assert_allclose(run(jax.random.key(0), x), expected, atol=1e-6)

  def test_every_part_reaches_the_result(self):
    """Each parameter of the whole network has a gradient: nothing is left unconnected."""
    module = network.ResidualNetwork(**self.SMALL)
    x = _source(11, 13)
    variables = _variables(module, x, (8, 8))

    @jax.jit
    def gradient(params):
      loss = lambda p: (
        module.apply({**variables, "params": p}, x, (17, 21), train=False) ** 2
      ).mean()
      return jax.grad(loss)(params)

    flat, _ = jax.tree_util.tree_flatten_with_path(gradient(variables["params"]))
    assert not [jax.tree_util.keystr(p) for p, g in flat if not np.abs(g).max() > 0]

  def test_a_residual_block_by_hand(self):
    module = network.ResidualBlock(3)
    x = _source(5, 6, channels=3)
    variables = _variables(module, x, False)
    inner = {k: {"u": v["unit_1"]} for k, v in variables.items()}
    y = _unit(x.astype(np.float64), variables, "unit_0")
    y = _conv(y, inner["params"]["u"]["conv"]["kernel"])
    stats, norm = inner["batch_stats"]["u"]["norm"], inner["params"]["u"]["norm"]
    y = (y - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * norm["scale"] + norm["bias"]
    found = jax.jit(lambda v: module.apply(v, x, False))(variables)
    np.testing.assert_allclose(found, x + y, atol=1e-5)


def test_discriminator_takes_any_size_and_has_srgan_s_widths():
  module = network.Discriminator()
  shapes = jax.eval_shape(module.init, jax.random.key(0), _source(96, 96, channels=3))["params"]
  widths = [shapes["first"]["kernel"].shape[-1]]
  widths += [shapes[f"unit_{i}"]["conv"]["kernel"].shape[-1] for i in range(1, 8)]
  assert widths == [64, 64, 128, 128, 256, 256, 512, 512]
  assert shapes["dense_0"]["kernel"].shape == (512, 1024)
  narrow = network.Discriminator(2)
  x = _source(16, 24, n=3, channels=3)
  variables = {"params": _variables(narrow, x)["params"]}
  judge = jax.jit(lambda x: narrow.apply(variables, x, mutable=["batch_stats"])[0])
  logits = np.asarray(judge(x))
  assert logits.shape == (3,) and np.ptp(logits) > 1e-4
  np.testing.assert_allclose(judge(x[::-1]), logits[::-1], atol=1e-4)  # the pictures of a batch
  assert judge(jnp.zeros((2, 7, 9, 3))).shape == (2,)
