"""Every public operator under jit, vmap and grad at once, at black, mid gray, white and noise."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.ops import color, resize, sample, ssim, warp

SIDE = 12
KEY = jax.random.key(7)
OTHER = np.random.default_rng(0).uniform(0.05, 0.95, size=(SIDE, SIDE, 3)).astype(np.float32)
FIELD = np.random.default_rng(1).normal(scale=2, size=(SIDE, SIDE, 2)).astype(np.float32)
BAND = resize.resize_weights(SIDE, 5)

# Each takes an image [12, 12, 3] in [0, 1].
OPS = {
  "srgb_to_linear": color.srgb_to_linear,
  "linear_to_srgb": color.linear_to_srgb,
  "rgb_to_lab": color.rgb_to_lab,
  "lab_to_rgb": lambda x: color.lab_to_rgb(color.denormalize_lab(2 * x - 1)),
  "clip_gamut": color.clip_gamut,
  "compress_chroma": lambda x: color.compress_chroma(color.denormalize_lab(2 * x - 1)),
  "lightness": color.lightness,
  "gray_to_lightness": lambda x: color.gray_to_lightness(x[..., :1]),
  "lightness_to_gray": lambda x: color.lightness_to_gray(100 * x[..., :1]),
  "normalize_lab": color.normalize_lab,
  "denormalize_lab": color.denormalize_lab,
  "rgb_to_ycbcr": color.rgb_to_ycbcr,
  "ycbcr_to_rgb": color.ycbcr_to_rgb,
  "apply_weights": lambda x: resize.apply_weights(x, BAND, 0),
  "apply_separable": lambda x: resize.apply_separable(x, BAND, BAND),
  "cubic": lambda x: resize.cubic(x + 0.3, jnp),
  "resize_bicubic": lambda x: resize.resize_bicubic(x, (5, 17)),
  "resize_bilinear": lambda x: sample.resize_bilinear(x, (17, 5)),
  "resize_nearest": lambda x: sample.resize_nearest(x, (24, 7)),
  "warp_bilinear": lambda x: warp.warp_bilinear(x, FIELD),
  "warp_bilinear_of_field": lambda x: warp.warp_bilinear(OTHER, 3 * x[..., :2] + 0.4),
  "elastic_displacement": lambda x: warp.elastic_displacement(KEY, (SIDE, SIDE), x.mean(), 1.5),
  "elastic_distortion": lambda x: warp.elastic_distortion(KEY, x, 9.0, 1.5),
  "ssim": lambda x: ssim.ssim(x, OTHER),
  "ssim_at_equality": lambda x: ssim.ssim(x, jax.lax.stop_gradient(x)),
  "ssim_map": lambda x: ssim.ssim_map(x, OTHER, window="uniform"),
}
STATIC = {"resize_weights", "axis_aligned", "axis_centers", "axis_weights", "cell_coordinate",
          "cell_coordinate_literal", "default_elastic"}  # NumPy, from sizes alone  # fmt: skip


def _images() -> np.ndarray:
  flat = [np.full((SIDE, SIDE, 3), value, np.float32) for value in (0.0, 0.5, 1.0)]
  return np.stack([*flat, np.random.default_rng(2).uniform(size=OTHER.shape).astype(np.float32)])


def _both(x: jax.Array) -> dict[str, tuple[jax.Array, jax.Array]]:
  """Each operator's value, and the gradient of a fixed weighted sum of it."""

  def value_and_gradient(op):
    out, pull = jax.vjp(op, x)
    return out, pull(_cotangent(out))[0]

  return {name: value_and_gradient(op) for name, op in OPS.items()}


def _cotangent(out: jax.Array) -> jax.Array:
  return jnp.sin(1.0 + jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape)


@pytest.fixture(scope="module")
def batched():
  return jax.device_get(jax.jit(jax.vmap(_both))(_images()))


def test_no_public_operator_is_left_out():
  public = {
    name
    for module in (color, resize, sample, ssim, warp)
    for name, value in inspect.getmembers(module, inspect.isfunction)
    if value.__module__ == module.__name__ and not name.startswith("_")
  }
  assert public - STATIC <= set(OPS)


@pytest.mark.parametrize("name", OPS)
def test_finite_at_black_gray_white(batched, name):
  value, gradient = batched[name]
  assert value.dtype == gradient.dtype == np.float32
  assert np.isfinite(value).all()
  assert np.isfinite(gradient).all()
  if name != "ssim_at_equality":
    # Alive too: an operator that cuts the gradient teaches nothing.
    assert (np.abs(gradient).reshape(4, -1).max(axis=1) > 0).all()


def test_batched_equals_one_by_one(batched):
  single = jax.jit(_both)
  for i, x in enumerate(_images()):
    one = jax.device_get(single(x))
    for name in OPS:
      for got, expected in zip(batched[name], one[name], strict=True):
        scale = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(got[i] / scale, expected / scale, atol=1e-5, err_msg=name)


def test_gradients_equal_central_differences():
  """In float64, along one random direction, away from the kinks of clipping and of pixel edges."""
  step = 1e-6
  with jax.enable_x64(True):
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.uniform(0.15, 0.85, size=OTHER.shape))
    direction = jnp.asarray(rng.normal(size=OTHER.shape))

    def derivatives(op, x, direction):
      out, pull = jax.vjp(op, x)
      weights = _cotangent(out)
      along = jnp.vdot(pull(weights)[0], direction)
      ahead, behind = (op(x + sign * step * direction) for sign in (1, -1))
      return along, jnp.vdot(weights, ahead - behind) / (2 * step)

    # The factor of compress_chroma counts as a constant; float32 noise drives elastic_displacement.
    names = set(OPS) - {"compress_chroma", "ssim_at_equality", "elastic_displacement"}
    results = jax.jit(lambda *x: {n: derivatives(OPS[n], *x) for n in names})(x, direction)
  for name, (along, numeric) in results.items():
    np.testing.assert_allclose(along, numeric, rtol=1e-4, atol=1e-4, err_msg=name)


def test_resize_gradient_of_gradient():
  """The product in blocks defines its own transpose: differentiate through it twice."""
  x = jnp.asarray(np.random.default_rng(4).normal(size=(80, 2, 1)), jnp.float32)

  def energy(x):
    return 0.5 * jnp.sum(sample.resize_bilinear(x, (150, 2)) ** 2)

  second = jax.jit(jax.grad(lambda x: 0.5 * jnp.sum(jax.grad(energy)(x) ** 2)))(x)
  a = sample.axis_weights(sample.axis_aligned(80, 150), 80)
  gram = a.T @ a
  expected = np.einsum("ij,jwc->iwc", gram @ gram, x)
  np.testing.assert_allclose(second, expected, rtol=1e-4, atol=1e-3)
