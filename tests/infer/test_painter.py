"""A picture in tiles equals the picture whole, and few programs serve all sizes."""

import dataclasses

import jax
import numpy as np
import pytest

from scs_jax.core.contract import Query
from scs_jax.infer import plan
from scs_jax.infer.painter import Painter

# Larger than a tile both ways, in one, exactly a tile, below the network's strides; up and down.
SIZES = {
  "many tiles": ((131, 203), (131, 203)),
  "one row of tiles": ((67, 241), (101, 187)),
  "inside one tile": ((50, 61), (170, 33)),
  "exactly a tile": ((96, 96), (96, 96)),
  "one pixel": ((1, 1), (5, 7)),
  "a line": ((110, 1), (100, 3)),
}


@pytest.fixture(scope="module")
def painter():
  return Painter(ladder=(96,))


@pytest.fixture(scope="module")
def recipes(pieces_method, pieces_state):
  return {mode: pieces_method.recipe(pieces_state, mode) for mode in (False, True)}


def _gray(size, seed=0):
  return np.random.default_rng(seed).random(size).astype(np.float32)


# What differs by a reference: how it is encoded, and that sizes of pictures have no part in it.
@pytest.mark.parametrize(
  ("referential", "case"),
  [*((False, case) for case in SIZES), (True, "many tiles"), (True, "inside one tile")],
)
def test_tiled_equals_untiled(painter, recipes, pieces_method, pieces_state, case, referential):
  size, out_size = SIZES[case]
  gray = _gray(size)
  reference = None
  if referential:
    reference = np.random.default_rng(1).random((43, 171, 3)).astype(np.float32)
  query = Query(gray[None, ..., None], out_size, None if reference is None else reference[None])
  whole = np.asarray(jax.jit(pieces_method.predict)(pieces_state, query).rgb)[0]
  memories = painter.remember(recipes[True], reference) if referential else None
  found = painter.paint(recipes[referential], gray, out_size, memories)
  assert np.abs(found - whole).max() < 0.01 / 255  # the promise is 1 / 255
  if min(size) > 1:  # what was compared is no flat picture
    assert whole.std(axis=(0, 1)).min() > 1 / 255


def test_a_halo_too_small_shows(painter, recipes, pieces_method, pieces_state):
  """The equality above hangs on the halos: without them tiles have seams."""
  recipe, gray = recipes[False], _gray((131, 203))
  blind = [
    dataclasses.replace(stage, reach=0) if hasattr(stage, "reach") else stage
    for stage in recipe.source
  ]
  blind = dataclasses.replace(
    recipe, source=tuple(blind), paint=dataclasses.replace(recipe.paint, reach=1)
  )
  seams = painter.paint(blind, gray, gray.shape)
  good = painter.paint(recipe, gray, gray.shape)
  assert np.abs(seams - good).max() > 1 / 255


def test_reach_is_not_larger_than_it_must_be(recipes, pieces_method):
  """From the network itself: which input pixels change the middle of its features."""
  net = pieces_method.network
  middle, side = 48, 96  # of the picture, pixels
  params = {"params": recipes[False].paint.variables["params"]}

  def feature(gray):
    return net.apply(params, gray, method="encode")[1][0, middle // 4, middle // 4].sum()

  gradient = jax.jit(jax.grad(feature))(_gray((1, side, side, 1)))[0, :, :, 0]
  rows = np.flatnonzero(np.abs(gradient).max(axis=1))
  reach = max(middle - rows[0], rows[-1] - middle)
  assert reach == recipes[False].source[0].reach


@pytest.mark.parametrize("referential", [False, True])
def test_200_sizes_share_at_most_ten_programs(recipes, referential):
  """With a ladder of two tiles, as users get; one more program makes bytes (infer/luminance.py)."""
  painter, rng = Painter(ladder=(96, 128)), np.random.default_rng(0)
  memories, reference = None, rng.random((30, 20, 3)).astype(np.float32)
  if referential:
    memories = painter.remember(recipes[True], reference)
  sizes = sorted({tuple(int(n) for n in rng.integers(1, 160, 2)) for _ in range(300)})[:200]
  assert len(sizes) == 200
  for number, size in enumerate(sizes):
    out_size = tuple(int(rng.integers(1, 3 * s + 1)) for s in size)
    lender = (30, 20) if referential else None
    need = plan.measure(painter, recipes[referential], size, out_size, lender)
    assert need.host > 0 and need.program > 0
    if number % 50 == 0:  # what the plan compiled is what is run
      before = len(painter.programs)
      painter.paint(recipes[referential], _gray(size), out_size, memories)
      assert len(painter.programs) == before
  assert 2 < len(painter.programs) <= 10 - 1


def test_keys_above_the_bound_are_averaged_and_said(recipes):
  lines = []
  painter = Painter(ladder=(96,), note=lines.append, most_keys=64)
  painter.paint(recipes[False], _gray((40, 60)), (40, 60))
  assert lines == [
    "attention (self): 10 x 15 positions averaged over 2 x 2, as 64 are the most that it looks at "
    "one by one"
  ]


def test_averaged_keys_change_little(painter, recipes):
  """On a smooth picture, where neighbours are alike, averaging keys is no other picture."""
  y, x = np.mgrid[:96, :128] / 128
  gray = (0.5 + 0.4 * np.sin(5 * y) * np.cos(4 * x)).astype(np.float32)
  all_keys = painter.paint(recipes[False], gray, gray.shape)
  pooled = Painter(ladder=(96,), most_keys=200).paint(recipes[False], gray, gray.shape)
  difference = np.abs(all_keys - pooled).max()
  assert 0 < difference < 2 / 255


def test_plan_counts_the_maps_by_hand(painter, recipes, pieces_method):
  """64 x 64: keys and values (1 and 8 floats) and features (8) at 16 x 16, gray, the result."""
  need = plan.measure(painter, recipes[False], (64, 64), (128, 128))
  capacity = 65_536
  maps = 4 * (64 * 64 + 16 * 16 * (1 + 8 + 8))
  buffers = 2 * 4 * capacity * (1 + 8)  # filled on the host, then handed over
  assert need.host == maps + buffers
  larger = plan.measure(painter, recipes[False], (64, 64), (2048, 2048))
  assert larger.host == 4 * (64 * 64 + 16 * 16 * 8) + 3 * 4 * 2048 * 2048
  assert larger.program == need.program  # a larger result takes no larger program
