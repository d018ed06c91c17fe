"""Eq. 9, 10 and 12 against scikit-image, and by hand."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from skimage.metrics import structural_similarity

from scs_jax.methods.cycle_cnn import objective


def similarity(a, b):
  """Of one channel, Wang 2004's window; in 0 .. 255 as the paper's pictures are."""
  scaled = (255 * x.astype(np.float64) for x in (a, b))
  return structural_similarity(
    *scaled, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
  )


@pytest.fixture(scope="module")
def pictures():
  rng = np.random.default_rng(0)
  a = rng.random((2, 20, 24, 2))
  return a.astype(np.float32), np.clip(a + 0.2 * rng.normal(size=a.shape), 0, 1).astype(np.float32)


def test_structure(pictures):
  a, b = (x[..., :1] for x in pictures)
  want = [1 - similarity(a[n, ..., 0], b[n, ..., 0]) for n in (0, 1)]
  np.testing.assert_allclose(objective.structure(a, b), want, atol=2e-5)


def test_chroma_is_the_mean_over_both_channels(pictures):
  a, b = pictures
  want = [1 - np.mean([similarity(a[n, ..., c], b[n, ..., c]) for c in (0, 1)]) for n in (0, 1)]
  np.testing.assert_allclose(objective.chroma(a, b), want, atol=2e-5)


def test_equation_twelve_by_hand():
  weights = ConfigDict({"structure": 1.0, "cycle": 2.0, "smooth": 0.1})
  terms = {
    "structure": np.float32([0.2, 0.4]), "cycle": np.float32([0.5, 0.7]),
    "smooth": np.float32([3.0, 5.0]),
  }  # fmt: skip
  value, logs = objective.total(terms, weights)
  np.testing.assert_allclose(value, 0.3 + 2 * 0.6 + 0.1 * 4, rtol=1e-6)
  assert set(logs) == {"loss/structure", "loss/cycle", "loss/smooth", "loss/total"}
  np.testing.assert_allclose(logs["loss/smooth"], 4.0)
  value, logs = objective.total({"cycle": terms["cycle"]}, weights)
  np.testing.assert_allclose(value, 1.2, rtol=1e-6)
  assert set(logs) == {"loss/cycle", "loss/total"}


_slopes = jax.jit(jax.grad(lambda a, b: objective.chroma(a, b).sum(), argnums=(0, 1)))


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_gradients_are_finite_on_flat_pictures(level, pictures):
  flat = np.full((2, 20, 24, 2), level, np.float32)
  for other in (flat, pictures[0]):
    grads = _slopes(flat, other)
    assert all(np.isfinite(g).all() for g in grads)


def test_bad_arguments_are_refused():
  with pytest.raises(ValueError, match="1 channel"):
    objective.structure(np.zeros((1, 16, 16, 2)), np.zeros((1, 16, 16, 2)))
  with pytest.raises(ValueError, match="2 channel"):
    objective.chroma(np.zeros((1, 16, 16, 1)), np.zeros((1, 16, 16, 1)))
