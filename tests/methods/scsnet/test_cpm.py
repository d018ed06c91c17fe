"""Continuous Pixel Mapping against a loop over pixels written from Section 3.2."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.methods.scsnet import cpm
from scs_jax.ops import platform

CHANNELS, WIDTHS = 5, (6, 7, 4)
# Input size -> output size.
SIZES = {
  "same": ((5, 6), (5, 6)),
  "half": ((8, 6), (4, 3)),
  "3.3 x 1.7": ((7, 10), (23, 17)),
  "16": ((2, 3), (32, 48)),
  "one pixel out": ((5, 6), (1, 1)),
  "one pixel in": ((1, 1), (4, 5)),
  "odd": ((3, 5), (11, 7)),
  "one row": ((1, 6), (5, 1)),
}
# The conventions differ in coordinates alone; the others are tried at three of the sizes.
CASES = [(name, "paper") for name in SIZES] + [
  (name, convention)
  for convention in ("centers", "literal")
  for name in ("half", "3.3 x 1.7", "one pixel out")
]


@pytest.fixture(scope="module")
def layers():
  """Four linear layers with given weights, coordinates (z_y, z_x) last in the first."""
  rng = np.random.default_rng(0)
  ins, outs = (CHANNELS + 2, *WIDTHS), (*WIDTHS, 3)
  return [
    (
      (rng.normal(size=(i, o)) / np.sqrt(i)).astype(np.float32),
      rng.normal(size=o).astype(np.float32),
    )
    for i, o in zip(ins, outs, strict=True)
  ]


def _features(size, n=2):
  rng = np.random.default_rng(size[0])
  return rng.normal(size=(n, *size, CHANNELS)).astype(np.float32)


def _axes(in_size, out_size, convention="paper"):
  return [cpm.pixel_axis(i, o, convention) for i, o in zip(in_size, out_size, strict=True)]


def _place(i, in_size, out_size, aligned):
  """Exact position of output pixel i on the input grid."""
  if aligned:
    return Fraction(i * (in_size - 1), out_size - 1) if out_size > 1 else Fraction(0)
  centre = Fraction(2 * i + 1, 2 * out_size) * in_size - Fraction(1, 2)
  return min(max(centre, Fraction(0)), Fraction(in_size - 1))


def _cell(i, in_size, out_size, literal):
  """Eq. 3: mod(x, unit) / unit * 2 - 1 with unit = 1 / in_size, in exact arithmetic."""
  unit = Fraction(1, in_size)
  if not literal:
    return Fraction(2 * i + 1, 2 * out_size) % unit / unit * 2 - 1
  if out_size == 1:
    return Fraction(0)
  # "(+1, +1) for the lower right corner", where the equation itself gives -1.
  return Fraction(i, out_size - 1) % unit / unit * 2 - 1 if i < out_size - 1 else Fraction(1)


def _pixel_by_pixel(features, layers, size, convention):
  """F^{x,y} = (main feature, Z_rel), then four linear layers with ReLU between."""
  height, width = features.shape[:2]
  out = np.zeros((*size, 3))
  for i in range(size[0]):
    for j in range(size[1]):
      y = _place(i, height, size[0], convention != "centers")
      x = _place(j, width, size[1], convention != "centers")
      top, left = int(y), int(x)
      bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
      fy, fx = float(y - top), float(x - left)
      main = (1 - fy) * ((1 - fx) * features[top, left] + fx * features[top, right]) + fy * (
        (1 - fx) * features[bottom, left] + fx * features[bottom, right]
      )
      zy = float(_cell(i, height, size[0], convention == "literal"))
      zx = float(_cell(j, width, size[1], convention == "literal"))
      hidden = np.concatenate([main, [zy, zx]])
      for k, (kernel, bias) in enumerate(layers):
        hidden = hidden @ kernel.astype(np.float64) + bias
        if k < 3:
          hidden = np.maximum(hidden, 0)
      out[i, j] = hidden
  return out


def _chunked(rows_at_a_time, size):
  """Chunk bound that gives so many output rows at a time."""
  return rows_at_a_time * size[1] * max(WIDTHS)


@pytest.mark.parametrize(("name", "convention"), CASES)
def test_both_orders_equal_the_loop_over_pixels(layers, name, convention):
  in_size, size = SIZES[name]
  features = _features(in_size)
  rows, columns = _axes(in_size, size, convention)
  expected = np.stack([_pixel_by_pixel(f, layers, size, convention) for f in features])
  orders = [
    lambda *x: cpm.map_pixels_plain(*x, rows, columns),
    lambda *x: cpm.map_pixels(*x, rows, columns),  # all rows at once
    lambda *x: cpm.map_pixels(*x, rows, columns, _chunked(3, size)),
  ]
  for found in jax.jit(lambda *x: [order(*x) for order in orders])(layers, features):
    assert found.shape == (2, *size, 3) and found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("name", ["half", "3.3 x 1.7", "one pixel in"])
def test_gradients_of_both_orders_agree(layers, name):
  in_size, size = SIZES[name]
  features = _features(in_size)
  rows, columns = _axes(in_size, size)
  weights = np.random.default_rng(1).normal(size=(2, *size, 3)).astype(np.float32)

  @jax.jit
  def gradients(layers, features):
    orders = [lambda *x: cpm.map_pixels_plain(*x, rows, columns)] + [
      lambda *x, n=n: cpm.map_pixels(*x, rows, columns, _chunked(n, size)) for n in (1, 4)
    ]
    return [
      jax.grad(lambda *x, order=order: (weights * order(*x)).sum(), (0, 1))(layers, features)
      for order in orders
    ]

  plain, *fast = gradients(layers, features)
  for tree in fast:
    for found, expected in zip(jax.tree.leaves(tree), jax.tree.leaves(plain), strict=True):
      np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max() + 1e-6)


def test_products_on_tpus_equal_neighbours_elsewhere():
  rows, columns = _axes((4, 5), (9, 3))
  features = _features((4, 5))
  upper = np.random.default_rng(1).normal(size=(len(features), 9, 3, features.shape[-1]))

  def run(kind):
    with platform.compiling_for(kind):
      function = lambda x: cpm.interpolate(x, rows, columns)
      out, backward = jax.vjp(function, jnp.asarray(features))
      return out, *backward(upper.astype(np.float32))

  for found, expected in zip(run("cpu"), run("tpu"), strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_small_chunks_of_a_tpu_change_no_gradient(layers, dtype, monkeypatch):
  """256 rows, one at a time: in bfloat16 their sum would lose most of what each adds."""
  in_size, size = (2, 3), (256, 4)
  rows, columns = _axes(in_size, size)
  monkeypatch.setitem(cpm._MOST_FLOATS, "tpu", 1)

  def gradients(kind, dtype):
    features = jnp.asarray(_features(in_size), dtype)
    loss = lambda layers, x: cpm.map_pixels(layers, x, rows, columns)[..., 1].sum()
    with platform.compiling_for(kind):
      lowered = jax.jit(jax.grad(loss, (0, 1))).lower(layers, features)
    assert ("while" in lowered.as_text()) == (kind == "tpu")
    return jax.tree.leaves(lowered.compile()(layers, features))

  near = 1e-5 if dtype == jnp.float32 else 3e-2
  expected = gradients("cpu", jnp.float32)
  for found, right in zip(gradients("tpu", dtype), expected, strict=True):
    found = np.asarray(found, np.float32)
    np.testing.assert_allclose(found, right, atol=near * np.abs(right).max())


def test_coordinates_by_hand():
  """Two positions, four pixels: centres at 1/8, 3/8, 5/8, 7/8 of the picture."""
  axis = cpm.pixel_axis(2, 4)
  np.testing.assert_allclose(axis.low + axis.fraction, [0, 1 / 3, 2 / 3, 1], atol=1e-7)
  np.testing.assert_allclose(axis.cell, [-0.5, 0.5, -0.5, 0.5])
  axis = cpm.pixel_axis(2, 4, "centers")
  np.testing.assert_allclose(axis.low + axis.fraction, [0, 0.25, 0.75, 1])
  np.testing.assert_allclose(axis.cell, [-0.5, 0.5, -0.5, 0.5])
  axis = cpm.pixel_axis(2, 4, "literal")  # x = 0, 1/3, 2/3, 1; unit 1/2
  np.testing.assert_allclose(axis.low + axis.fraction, [0, 1 / 3, 2 / 3, 1], atol=1e-7)
  np.testing.assert_allclose(axis.cell, [-1, 1 / 3, -1 / 3, 1], atol=1e-6)


def test_corners_of_the_picture_are_corners_of_cells():
  """Section 3.2: (-1, -1) upper left, (+1, +1) lower right, reached as the picture grows."""
  for out_size in (64, 257):
    cell = cpm.pixel_axis(8, out_size).cell
    assert -1 <= cell[0] < -1 + 16 / out_size and 1 - 16 / out_size < cell[-1] < 1
    np.testing.assert_allclose(cell[0], -cell[-1], atol=1e-6)


def test_unknown_convention_is_refused():
  with pytest.raises(ValueError, match="use 'paper', 'centers' or 'literal'"):
    cpm.pixel_axis(2, 4, "centres")


def test_window_with_traced_size_equals_the_whole_axis():
  length = 16
  window = jax.jit(lambda full, start: cpm.pixel_axis_window(8, full, start, length))
  for full in (16, 17, 23, 28, 1000):
    whole = cpm.pixel_axis(8, full)
    for start in {0, (full - length) // 2, full - length}:
      found = jax.device_get(window(full, start))
      cut = slice(start, start + length)
      np.testing.assert_array_equal(found.low, whole.low[cut])
      np.testing.assert_allclose(found.fraction, whole.fraction[cut], atol=1e-7)
      np.testing.assert_allclose(found.cell, whole.cell[cut], atol=3e-7)
  assert window._cache_size() == 1


def test_window_of_single_positions():
  found = cpm.pixel_axis_window(1, 4, 1, 2)
  np.testing.assert_array_equal(found.low, [0, 0])
  np.testing.assert_allclose(found.fraction, [0, 0])
  np.testing.assert_allclose(found.cell, cpm.pixel_axis(1, 4).cell[1:3])
  found = cpm.pixel_axis_window(1, 1, 0, 1)
  assert (found.low[0], found.fraction[0], found.cell[0]) == (0, 0, 0)


def test_pixels_of_a_traced_window_equal_those_of_the_whole(layers):
  features = _features((5, 5))
  length = 9

  @jax.jit
  def cut(full, top, left):
    rows = cpm.pixel_axis_window(5, full, top, length)
    columns = cpm.pixel_axis_window(5, full, left, length)
    return cpm.map_pixels(layers, features, rows, columns, _chunked(2, (0, length)))

  plain = jax.jit(lambda axis: cpm.map_pixels_plain(layers, features, axis, axis))
  for full, top, left in ((9, 0, 0), (40, 31, 3)):
    expected = plain(cpm.pixel_axis(5, full))[:, top : top + length, left : left + length]
    np.testing.assert_allclose(cut(full, top, left), expected, atol=2e-5)
  assert cut._cache_size() == 1


def test_coordinates_may_be_arguments_of_a_compiled_function(layers):
  """Shrinking with traced coordinates: the window of a chunk has to follow `reach`."""
  in_size, size = (24, 6), (5, 4)
  features = _features(in_size)
  axes = _axes(in_size, size)
  expected = jax.jit(lambda f: cpm.map_pixels_plain(layers, f, *axes))(features)
  chunked = lambda r, c, n: cpm.map_pixels(layers, features, r, c, _chunked(n, size))
  for found in jax.jit(lambda r, c: [chunked(r, c, n) for n in (1, 2)])(*axes):
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_interpolation_is_exact_on_a_plane():
  """With aligned corners a linear ramp stays one: values at both ends and in between."""
  y, x = np.mgrid[:4, :5].astype(np.float32)
  ramp = np.stack([2 * y + 1, x - 3 * y], axis=-1)[None]
  found = cpm.interpolate(ramp, *_axes((4, 5), (10, 9)))
  v, u = np.meshgrid(np.linspace(0, 3, 10), np.linspace(0, 4, 9), indexing="ij")
  np.testing.assert_allclose(found[0], np.stack([2 * v + 1, u - 3 * v], -1), atol=1e-5)


def test_module_orders_share_parameters(random_variables):
  features = _features((4, 3))
  axes = _axes((4, 3), (9, 7))
  modules = [cpm.ContinuousPixelMapping(WIDTHS, order=order) for order in ("fast", "plain")]
  variables = random_variables(modules[0], features, *axes)
  shapes = {name: p.shape for name, p in variables["params"].items() if "kernel" in name}
  assert shapes == {
    "kernel_0": (7, 6), "kernel_1": (6, 7), "kernel_2": (7, 4), "kernel_3": (4, 3)
  }  # fmt: skip
  fast, plain = (jax.jit(m.apply)(variables, features, *axes) for m in modules)
  np.testing.assert_allclose(fast, plain, atol=1e-5)
  params = variables["params"]
  layers = [(params[f"kernel_{i}"], params[f"bias_{i}"]) for i in range(4)]
  expected = _pixel_by_pixel(features[0], layers, (9, 7), "paper")
  np.testing.assert_allclose(fast[0], expected, atol=2e-5)


def test_bfloat16_stays_close(random_variables):
  features = _features((4, 3))
  axes = _axes((4, 3), (9, 7))
  module = cpm.ContinuousPixelMapping(WIDTHS)
  variables = random_variables(module, features, *axes)
  expected = jax.jit(module.apply)(variables, features, *axes)
  low = cpm.ContinuousPixelMapping(WIDTHS, dtype=jnp.bfloat16)
  found = jax.jit(low.apply)(variables, features, *axes)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, expected, atol=0.05)


def test_memory_of_a_large_output(temporaries):
  """4096 x 4096 from 256 x 256 x 256 at the paper's widths: 500 MB beyond picture and F_cs."""
  module = cpm.ContinuousPixelMapping((384, 384, 256))
  axes = _axes((256, 256), (4096, 4096))
  features = jax.ShapeDtypeStruct((1, 256, 256, 256), jnp.float32)
  variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, *axes), features)
  run = lambda v, x: module.apply(v, x, *axes)
  assert jax.eval_shape(run, variables, features).shape == (1, 4096, 4096, 3)
  assert temporaries(run, variables, features) <= 500e6


def test_memory_of_a_gradient_does_not_grow_with_the_output(temporaries):
  """Training keeps one chunk's activations, not the whole picture's."""
  in_size, size = (32, 32), (512, 512)
  module = cpm.ContinuousPixelMapping((64, 64, 64), chunk_floats=2**18)
  axes = _axes(in_size, size)
  features = jax.ShapeDtypeStruct((1, *in_size, 32), jnp.float32)
  variables = jax.eval_shape(lambda x: module.init(jax.random.key(0), x, *axes), features)
  loss = lambda v, x: (module.apply(v, x, *axes) ** 2).sum()
  activation = 4 * 512 * 512 * 64
  plain = cpm.ContinuousPixelMapping((64, 64, 64), order="plain")
  plain_loss = lambda v, x: (plain.apply(v, x, *axes) ** 2).sum()
  assert temporaries(jax.grad(plain_loss), variables, features) > 2 * activation
  assert temporaries(jax.grad(loss), variables, features) < activation / 2
