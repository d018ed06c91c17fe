"""Colours of wrong matches give way to those around: by loops and by hand."""

import jax
import numpy as np
import pytest

from scs_jax.core import resolve
from scs_jax.errors import UserError
from scs_jax.methods.cycle_cnn import matches
from scs_jax.methods.cycle_cnn.method import CycleCNN

without_mismatches = jax.jit(matches.without_mismatches, static_argnums=2)


def test_levels_are_those_of_the_window_around():
  """Mean and spread of each pixel's window, cut at the picture's border, in float64."""
  rng = np.random.default_rng(0)
  gray, luma = rng.random((2, 2, 40, 75)).astype(np.float32)
  found = np.asarray(jax.jit(matches.at_levels_of)(gray[..., None], luma[..., None]))[..., 0]
  r = matches.RADIUS
  for n, y, x in [(0, 0, 0), (0, 39, 74), (1, 20, 37), (1, 5, 70)]:
    window = np.s_[n, max(y - r, 0) : y + r + 1, max(x - r, 0) : x + r + 1]
    g, v = gray[window].astype(np.float64), luma[window].astype(np.float64)
    expected = (luma[n, y, x] - v.mean()) * (g.std() + 1e-3) / (v.std() + 1e-3) + g.mean()
    assert found[n, y, x] == pytest.approx(expected, abs=1e-4)


def test_another_exposure_is_no_mismatch_and_a_wrong_patch_takes_what_is_around():
  """Y of half the contrast matches throughout; in one patch Y and colour are of something else."""
  rng = np.random.default_rng(1)
  gray = rng.random((1, 48, 48, 1)).astype(np.float32)
  luma = 0.2 + 0.5 * gray
  chroma = np.broadcast_to(np.float32([0.7, 0.4]), (1, 48, 48, 2)).copy()
  ycbcr = np.concatenate([luma, chroma], -1)
  kept = np.asarray(without_mismatches(ycbcr, gray, 0.02))
  np.testing.assert_allclose(kept, chroma, atol=1e-6)
  patch = np.s_[:, 20:24, 20:24]
  ycbcr[patch] = [0.95, 0.1, 0.9]
  mended = np.asarray(without_mismatches(ycbcr, gray, 0.1))
  np.testing.assert_allclose(mended, chroma, atol=0.02)


def test_where_nothing_matches_there_is_no_colour():
  gray = np.zeros((1, 8, 8, 1), np.float32)
  ycbcr = np.full((1, 8, 8, 3), 0.9, np.float32)
  ycbcr[..., 0] = np.indices((8, 8)).sum(0) % 2
  found = np.asarray(without_mismatches(ycbcr, gray, 1e-6))
  np.testing.assert_allclose(found, 0.5, atol=1e-6)


def test_it_needs_the_y_that_wac_finds(make_cycle_config):
  config = make_cycle_config()
  with config.unlocked():
    config.network.match_tolerance, config.network.luma = 0.03, False
  with pytest.raises(UserError, match=r"network\.match_tolerance compares .* network\.luma=false"):
    CycleCNN(config)
  with config.unlocked():
    config.network.match_tolerance, config.network.luma = float("nan"), True
  with pytest.raises(UserError, match=r"network\.match_tolerance: expected a number of at least 0"):
    resolve.build(config)
