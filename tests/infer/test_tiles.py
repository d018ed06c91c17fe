"""Tiles cover a picture once, with their halos inside or at its border."""

import itertools

import numpy as np
import pytest

from scs_jax.infer import tiles


@pytest.mark.parametrize("seed", range(200))
def test_spans_cover_each_pixel_once_with_a_halo_around(seed):
  rng = np.random.default_rng(seed)
  size, halo_units, core_units = (int(rng.integers(1, n)) for n in (3000, 13, 31))
  align = 16
  halo, tile = align * halo_units, align * (2 * halo_units + core_units)
  spans = tiles.spans(size, tile, halo)
  assert spans[0].low == 0 and spans[-1].high == size
  for before, after in itertools.pairwise(spans):
    assert before.high == after.low
  for span in spans:
    assert span.start % align == 0 and span.low < span.high
    # Either the picture ends there, or the halo lies inside the tile.
    assert span.low - span.start >= halo or span.start == 0
    assert span.start + tile - span.high >= halo or span.high == size
    assert span.high <= span.start + tile


def test_spans_by_hand():
  assert tiles.spans(10, 16, 4) == [(0, 0, 10)]
  # Core 8: tiles from 0, 8, 16; the last hangs over the end at 30.
  assert tiles.spans(30, 16, 4) == [(0, 0, 12), (8, 12, 20), (16, 20, 30)]


def test_best_tile_by_hand():
  # 100 x 100: one tile of 192 (36,864 pixels) or one of 512 (262,144).
  assert tiles.best_tile((192, 512), (100, 100), 48, 16) == 192
  # 400 x 400: core 96, 4 tiles an axis are (4 * 192)^2 > 512^2.
  assert tiles.best_tile((192, 512), (400, 400), 48, 16) == 512
  # A tile no larger than its halos is of no use, unless the picture fits it.
  assert tiles.best_tile((64,), (100, 10), 32, 16) is None
  assert tiles.best_tile((64,), (64, 10), 32, 16) == 64


def test_windows_are_zero_beyond_the_map_and_put_back_where_they_came_from():
  x = np.arange(5 * 7, dtype=np.float32).reshape(5, 7, 1)
  spans = tiles.Span(8, 12, 20), tiles.Span(16, 20, 28)  # in pixels; the map has stride 4
  part = tiles.window(x, spans, 4, 16)
  assert part.shape == (1, 4, 4, 1)
  np.testing.assert_array_equal(part[0, :3, :3, 0], x[2:5, 4:7, 0])
  assert part[0, 3:].sum() == part[0, :, 3:].sum() == 0
  (to_rows, rows), (to_columns, columns) = (tiles.kept(span, 4) for span in spans)
  np.testing.assert_array_equal(part[0, rows, columns], x[to_rows, to_columns])


@pytest.mark.parametrize(("shape", "factor"), [((4, 6), 2), ((5, 7), 2), ((9, 3), 4), ((1, 1), 8)])
def test_mean_pool_equals_a_loop(shape, factor):
  x = np.random.default_rng(0).normal(size=(*shape, 2)).astype(np.float32)
  found = tiles.mean_pool(x, factor)
  for i in range(found.shape[0]):
    for j in range(found.shape[1]):
      block = x[i * factor : (i + 1) * factor, j * factor : (j + 1) * factor]
      np.testing.assert_allclose(found[i, j], block.mean(axis=(0, 1)), rtol=1e-5, atol=1e-6)
  assert found.shape[:2] == tuple(-(-s // factor) for s in shape)


def test_pooling_by_hand():
  assert tiles.pooling((256, 256), 65_536) == 1
  assert tiles.pooling((257, 256), 65_536) == 2
  assert tiles.pooling((1024, 1024), 65_536) == 4
  assert tiles.pooling((3, 3), 1) == 4


def test_pixel_runs_belong_to_one_tile_each():
  low = np.floor(np.arange(50) * 19 / 49).astype(int)
  spans = tiles.spans(20, 12, 4)
  runs = [run for span in spans for run in tiles.pixel_runs(low, span, 7)]
  assert [i for first, last in runs for i in range(first, last)] == list(range(50))
  assert max(last - first for first, last in runs) <= 7
