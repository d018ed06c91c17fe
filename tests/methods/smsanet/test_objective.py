"""Eq. 5-7 by hand and in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from skimage.color import lab2rgb

from scs_jax.errors import UserError
from scs_jax.methods.smsanet import objective
from scs_jax.nn.saliency import networks


def section(**changes):
  return ConfigDict(
    {
      "huber_delta": 1.0, "huber_unit": "ab", "salient": 1.0, "salient_network": "redness",
      "salient_file": "", "salient_mask": "soft", "salient_threshold": 0.5, **changes,
    }
  )  # fmt: skip


def test_delta_has_a_unit():
  """delta = 1 in ab units is 1 / 110 of ab / 110."""
  assert objective.huber_delta(section()) == pytest.approx(1 / 110)
  assert objective.huber_delta(section(huber_unit="normalized")) == 1.0


@pytest.mark.parametrize(
  ("unit", "want"),
  # One picture of one pixel, off by 0.5 and 22 ab units: |d| - 1/2 or d^2 / 2 in that unit.
  [("ab", (0.125 + 21.5) / 2 / 110), ("normalized", ((0.5 / 110) ** 2 / 2 + 0.2**2 / 2) / 2)],
)
def test_huber_by_hand(unit, want):
  lab = jnp.array([[[[50.0, 10.0, -20.0]]]])
  ab = lab[..., 1:] + jnp.array([0.5, 22.0])
  of = jax.jit(lambda *x: objective.colorizer_loss(*x, None, None, section(huber_unit=unit)))
  loss, logs = of(ab, lab)
  assert set(logs) == {"loss/huber", "loss/total"}
  np.testing.assert_allclose([loss, logs["loss/huber"]], want, rtol=1e-4)


def test_masks_by_hand():
  saliency = jnp.array([[[[0.2], [0.5], [0.9]]]])
  np.testing.assert_array_equal(objective.object_mask(saliency, "soft", 0.5), saliency)
  hard = objective.object_mask(saliency, "binary", 0.5)
  np.testing.assert_allclose(hard, [[[[0.0], [1.0], [1.0]]]], atol=1e-6)
  np.testing.assert_allclose(
    objective.object_mask(saliency, "binary", 0.6)[0, 0, :, 0], [0, 0, 1], atol=1e-6
  )
  # Straight through: the step's gradient is that of the map itself.
  for kind in objective.MASKS:
    total = lambda s, kind=kind: (3 * objective.object_mask(s, kind, 0.5)).sum()
    slope = jax.jit(jax.grad(total))(saliency)
    np.testing.assert_allclose(slope, np.full_like(saliency, 3.0))
  with pytest.raises(ValueError, match="use one of soft, binary"):
    objective.object_mask(saliency, "hard", 0.5)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("kind", ["soft", "binary"])
def test_salient_loss_is_equation_six(redness, kind):
  """mean |phi(x) x - phi(y) y| over C H W; x, y by scikit-image, phi(x) = sigmoid(3 (R - B))."""
  rng = np.random.default_rng(0)
  lab = rng.uniform([40, -20, -20], [70, 20, 20], (2, 3, 4, 3)).astype(np.float32)
  ab = rng.uniform(-20, 20, (2, 3, 4, 2)).astype(np.float32)
  loss = section(salient=2.0, salient_file=redness, salient_mask=kind, salient_threshold=0.55)
  term = objective.SalientTerm(loss)
  params = term.load()
  total, logs = jax.jit(lambda a: objective.colorizer_loss(a, lab, term, params, loss))(ab)
  y = lab2rgb(np.concatenate([lab[..., :1], ab], -1).astype(np.float64))
  x = lab2rgb(lab.astype(np.float64))
  assert y.min() > 0 and y.max() < 1  # nothing was clipped there that is not here

  def mask(rgb):
    soft = sigmoid(3 * (rgb[..., :1] - rgb[..., 2:]))
    return soft if kind == "soft" else (soft >= 0.55).astype(float)

  want = np.abs(mask(x) * x - mask(y) * y).mean()
  np.testing.assert_allclose(logs["loss/salient"], want, rtol=2e-3)
  np.testing.assert_allclose(total, logs["loss/huber"] + 2 * want, rtol=2e-3)


def test_the_mask_of_the_result_is_trained_and_that_of_the_truth_is_not(redness):
  """With the colours held, moving only what phi sees of the result changes the loss; the truth is
  a constant."""
  term = objective.SalientTerm(section(salient_file=redness))
  params = term.load()
  rgb, target = jnp.full((1, 2, 2, 3), 0.6), jnp.full((1, 2, 2, 3), 0.3)
  slopes = jax.jit(jax.grad(lambda a, b: term(params, a, b).sum(), (0, 1)))
  slope_rgb, slope_target = slopes(rgb, target)
  # d/dR of |m y - ..| / 12 with m = 1/2, m' = 3 / 4: (m + 3 y m') / 12 for R, with -3 y m' for B.
  want = np.array([0.5 + 3 * 0.6 * 0.75, 0.5, 0.5 - 3 * 0.6 * 0.75]) / 12
  np.testing.assert_allclose(slope_rgb, np.broadcast_to(want, slope_rgb.shape), rtol=1e-4)
  np.testing.assert_allclose(slope_target, -np.full_like(target, 0.5 / 12), rtol=1e-4)


def test_gradients_are_finite_at_the_ends(redness):
  """Black, white, gray with no error at all, and a colour far beyond the gamut."""
  loss = section(salient_file=redness)
  term = objective.SalientTerm(loss)
  params = term.load()
  of = jax.jit(jax.grad(lambda a, lab: objective.colorizer_loss(a, lab, term, params, loss)[0]))
  for lightness, colour in ((0, 0), (100, 0), (50, 0), (60, 140)):
    lab = jnp.broadcast_to(jnp.array([lightness, 0.0, 0.0]), (1, 2, 2, 3))
    slope = of(jnp.full((1, 2, 2, 2), float(colour)), lab)
    assert np.isfinite(slope).all(), (lightness, colour)


def test_without_weights_it_says_what_to_do():
  """For every network that there is."""
  assert "pfanet" in networks.NETWORKS
  for name in networks.NETWORKS:
    with pytest.raises(UserError) as caught:
      objective.SalientTerm(section(salient_network=name)).load()
    for part in ("loss.salient_file=", "loss.salient=0"):
      assert part in str(caught.value)
    assert "\n" not in str(caught.value)
  with pytest.raises(UserError, match="did you mean pfanet"):
    objective.SalientTerm(section(salient_network="pfanett"))
