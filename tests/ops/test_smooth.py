"""Weighted least squares along a guide: by dense systems, and by what it must not do."""

import jax
import numpy as np
import pytest

from scs_jax.ops import smooth
from scs_jax.ops.smooth import FLOOR, PASSES, reach

smooth_along = jax.jit(smooth.smooth_along, static_argnums=(2, 3))
fill_along = jax.jit(smooth.fill_along, static_argnums=(3, 4))


def pictures(seed, channels=2, height=5, width=7):
  rng = np.random.default_rng(seed)
  values = rng.normal(size=(1, height, width, channels)).astype(np.float32)
  return values, rng.random((1, height, width, 1)).astype(np.float32)


def solved(row, guide, strength, spread):
  """(I + strength L) u = row, with the whole matrix: [W, C], guide [W]."""
  weight = np.maximum(np.exp(-np.abs(np.diff(guide)) / spread), FLOOR)
  system = np.eye(len(row))
  for p, w in enumerate(strength * weight):
    system[p, p] += w
    system[p + 1, p + 1] += w
    system[p, p + 1] -= w
    system[p + 1, p] -= w
  return np.linalg.solve(system, row)


def test_rows_then_columns_by_dense_systems():
  values, guide = pictures(0)
  expected, g = values[0].astype(np.float64), guide[0, ..., 0].astype(np.float64)
  for i in range(PASSES):
    part = 1.5 * 20.0 * 4 ** (PASSES - 1 - i) / (4**PASSES - 1)
    expected = np.stack([solved(r, h, part, 0.2) for r, h in zip(expected, g, strict=True)])
    columns = [solved(expected[:, x], g[:, x], part, 0.2) for x in range(g.shape[1])]
    expected = np.stack(columns, axis=1)
  found = smooth_along(values, guide, 20.0, 0.2)
  np.testing.assert_allclose(found[0], expected, atol=1e-5)


def test_an_edge_of_the_guide_keeps_two_sides_apart():
  """One row, 0.0 | 1.0 in both: hardly anything crosses; without the edge all of it does."""
  side = np.repeat(np.array([0.0, 1.0], np.float32), 8)[None, None, :, None]
  kept = np.asarray(smooth_along(side, side, 100.0, 0.02))[0, 0, :, 0]
  assert np.ptp(kept[:8]) < 0.01 and kept[:8].max() < 0.02 and kept[8:].min() > 0.98
  mixed = np.asarray(smooth_along(side, np.zeros_like(side), 1e4, 0.02))[0, 0, :, 0]
  np.testing.assert_allclose(mixed, 0.5, atol=0.05)


def test_what_is_unknown_takes_the_side_that_it_belongs_to():
  """Red is known at the left end, green at the right; the guide's edge says how far each goes."""
  guide = np.repeat(np.array([0.2, 0.8], np.float32), [3, 9])[None, None, :, None]
  known = np.zeros((1, 1, 12, 1), bool)
  known[..., [0, 11], :] = True
  values = np.where(known, np.where(guide < 0.5, 0.3, -0.3), 99.0).astype(np.float32)
  found = np.asarray(fill_along(values, known, guide, 300.0, 0.015))[0, 0, :, 0]
  np.testing.assert_allclose(found[:3], 0.3, atol=0.02)
  np.testing.assert_allclose(found[3:], -0.3, atol=0.04)


@pytest.mark.parametrize("strength", [3.0, 100.0])
def test_a_single_value_counts_for_nothing_beyond_the_reach(strength):
  size = 2 * reach(strength) + 1
  column = np.zeros((1, size, 1, 1), np.float32)
  column[0, size // 2] = 1.0
  found = np.asarray(smooth_along(column, 0 * column, strength, 0.1))[0, :, 0, 0]
  assert abs(found[0]) < 1e-3 * found.max() and found[size // 2] < 0.6
  assert reach(0.0) == 0


@pytest.mark.parametrize("known", [False, True])
def test_nothing_known_gives_zero_and_all_known_changes_nothing(known):
  values, guide = pictures(1)
  found = fill_along(values, np.full((1, 5, 7, 1), known), guide, 300.0, 0.015)
  np.testing.assert_array_equal(found, values if known else 0 * values)
