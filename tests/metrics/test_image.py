"""Image metrics against scikit-image and by hand, one number per image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage import color as reference_color
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from scs_jax.metrics import image

lab_psnr = jax.jit(lambda a, b: (image.psnr_ab(a, b), image.psnr_lightness(a, b)))


@pytest.fixture(scope="module")
def batch() -> tuple[np.ndarray, np.ndarray]:
  rng = np.random.default_rng(0)
  a = rng.uniform(0.1, 0.9, size=(3, 16, 14, 3))
  b = np.clip(a + rng.normal(size=a.shape) * np.array([0.3, 0.05, 0.0])[:, None, None, None], 0, 1)
  return a.astype(np.float32), b.astype(np.float32)


def test_psnr_equals_scikit_image(batch):
  a, b = batch
  values = jax.jit(image.psnr_rgb)(a, b)
  expected = [peak_signal_noise_ratio(a[i], b[i], data_range=1.0) for i in range(2)]
  np.testing.assert_allclose(values[:2], expected, rtol=1e-5)
  assert values.shape == (3,)
  assert np.isposinf(values[2])


def test_psnr_by_hand():
  a = jnp.zeros((2, 2, 2, 1))
  b = jnp.asarray([0.1, 1.0])[:, None, None, None] * jnp.ones_like(a)
  np.testing.assert_allclose(image.psnr(a, b), [20.0, 0.0], atol=1e-4)
  np.testing.assert_allclose(image.psnr(a, b, 10.0), [40.0, 20.0], atol=1e-4)
  np.testing.assert_allclose(image.psnr(a[0], b[0]), 20.0, atol=1e-4)
  # 8 bits, one of four pixels off by 51 = 255 / 5: the mean square is 1 / 100.
  x = jnp.zeros((2, 2, 1), jnp.uint8)
  np.testing.assert_allclose(image.psnr(x, x.at[0, 0].set(51), 255), 20.0, atol=1e-4)


def test_lab_variants_equal_scikit_image(batch):
  a, b = batch
  lab_a, lab_b = reference_color.rgb2lab(a), reference_color.rgb2lab(b)
  ab, lightness = lab_psnr(a, b)
  for i in range(2):
    expected = peak_signal_noise_ratio(lab_a[i, ..., 1:], lab_b[i, ..., 1:], data_range=220)
    np.testing.assert_allclose(ab[i], expected, rtol=1e-4)
    expected = peak_signal_noise_ratio(lab_a[i, ..., 0], lab_b[i, ..., 0], data_range=100)
    np.testing.assert_allclose(lightness[i], expected, rtol=1e-4)


def test_psnr_ab_ignores_lightness():
  gray = jnp.stack([jnp.full((4, 4, 3), 0.2), jnp.full((4, 4, 3), 0.9)])
  ab, lightness = lab_psnr(gray, gray[::-1])
  assert (ab > 80).all()
  assert (lightness < 10).all()


def test_psnr_with_the_true_lightness_counts_colour_alone(batch):
  a, b = batch
  found = jax.jit(image.psnr_rgb_true_lightness)(a, b)
  for i in range(3):
    lab_a, lab_b = (reference_color.rgb2lab(x[i].astype(np.float64)) for x in (a, b))
    merged = reference_color.lab2rgb(np.concatenate([lab_b[..., :1], lab_a[..., 1:]], axis=-1))
    error = np.mean(np.square(np.clip(merged, 0, 1) - b[i]))
    if error < 1e-10:  # of a picture with itself, nothing but rounding is left
      assert found[i] > 100
      continue
    # Outside the gamut scikit-image clips XYZ as well: a little of the error is another.
    np.testing.assert_allclose(found[i], -10 * np.log10(error), atol=0.1)
  darker = np.float32(0.5) * np.full((1, 4, 4, 3), 0.8, np.float32)
  assert float(image.psnr_rgb_true_lightness(darker, 2 * darker)[0]) > 60  # no colour, no error


def ycbcr(rgb):
  """ITU-R BT.601 written out."""
  y = rgb @ np.array([0.299, 0.587, 0.114])
  return np.stack([y, (rgb[..., 2] - y) / 1.772 + 0.5, (rgb[..., 0] - y) / 1.402 + 0.5], axis=-1)


def test_metrics_with_the_true_luma_and_of_chroma(batch):
  a, b = (x.astype(np.float64) for x in batch)
  merged = np.concatenate([ycbcr(b)[..., :1], ycbcr(a)[..., 1:]], axis=-1)
  y, cb, cr = np.moveaxis(merged - [0.0, 0.5, 0.5], -1, 0)
  red, blue = y + 1.402 * cr, y + 1.772 * cb
  green = (y - 0.299 * red - 0.114 * blue) / 0.587
  merged = np.clip(np.stack([red, green, blue], axis=-1), 0, 1)
  np.testing.assert_allclose(image.with_true_luma(*batch), merged, atol=1e-5)
  style = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
  rgb, ssim, chroma = jax.jit(
    lambda a, b: (image.psnr_rgb_true_luma(a, b), image.ssim_rgb_true_luma(a, b),
                  image.psnr_cbcr(a, b))
  )(*batch)  # fmt: skip
  for i in range(2):
    expected = peak_signal_noise_ratio(b[i], merged[i], data_range=1.0)
    np.testing.assert_allclose(rgb[i], expected, rtol=1e-5)
    expected = structural_similarity(b[i], merged[i], data_range=1.0, channel_axis=-1, **style)
    np.testing.assert_allclose(ssim[i], expected, atol=1e-5)
    expected = peak_signal_noise_ratio(ycbcr(b)[i, ..., 1:], ycbcr(a)[i, ..., 1:], data_range=1.0)
    np.testing.assert_allclose(chroma[i], expected, rtol=1e-5)
  darker = np.float32(0.5) * np.full((1, 4, 4, 3), 0.8, np.float32)
  assert float(image.psnr_rgb_true_luma(darker, 2 * darker)[0]) > 100  # no colour, no error


def test_ssim_variants_equal_scikit_image(batch):
  a, b = batch
  style = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
  rgb, lightness = jax.jit(lambda a, b: (image.ssim_rgb(a, b), image.ssim_lightness(a, b)))(a, b)
  lab_a, lab_b = reference_color.rgb2lab(a), reference_color.rgb2lab(b)
  for i in range(3):
    expected = structural_similarity(
      a[i].astype(np.float64), b[i].astype(np.float64), data_range=1.0, channel_axis=-1, **style
    )
    np.testing.assert_allclose(rgb[i], expected, atol=1e-5)
    expected = structural_similarity(lab_a[i, ..., 0], lab_b[i, ..., 0], data_range=100, **style)
    np.testing.assert_allclose(lightness[i], expected, atol=2e-5)


def test_gradients_are_finite_at_zero_error():
  """As a loss: finite at equal images, black and white among them."""
  x = jnp.stack([jnp.full((12, 12, 3), value) for value in (0.0, 0.5, 1.0)])

  def total(a: jax.Array, b: jax.Array) -> jax.Array:
    metrics = (image.psnr_rgb, image.psnr_ab, image.psnr_lightness, image.ssim_rgb)
    values = [metric(a, b) for metric in metrics]
    return sum(jnp.where(jnp.isfinite(value), value, 0.0).sum() for value in values)

  gradient = jax.jit(jax.grad(total))
  assert np.isfinite(gradient(x, x)).all()
  assert np.isfinite(gradient(x, x[::-1])).all()


def test_padding_and_batching_do_not_mix_images(batch):
  a, b = batch
  whole = image.psnr_rgb(a, b)[:2]
  np.testing.assert_allclose(whole, image.psnr_rgb(a[:2], b[:2]), rtol=1e-6)


def test_bad_arguments_are_refused():
  x = np.zeros((2, 12, 12, 3), np.float32)
  for function in (image.psnr_rgb, image.psnr_ab, image.psnr_lightness, image.ssim_rgb):
    with pytest.raises(ValueError, match="one shape"):
      function(x, x[:1])
    with pytest.raises(ValueError, match="3 channel"):
      function(x[..., :1], x[..., :1])
  for function in (image.psnr_rgb_true_luma, image.psnr_cbcr, image.ssim_rgb_true_luma):
    with pytest.raises(ValueError, match="one shape"):
      function(x, x[:1])
  with pytest.raises(ValueError, match="H, W, C"):
    image.psnr(x[0, 0], x[0, 0])
