"""Pairs in strips of rows: the same numbers as the whole, in the memory that there is."""

import dataclasses
import pathlib
import sys

import jax
import numpy as np
import pytest

from scs_jax.core.contract import Query
from scs_jax.errors import UserError
from scs_jax.infer import strips
from scs_jax.infer.budget import PlannedMemoryError
from scs_jax.infer.strips import StripPainter

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import block_matcher


def views(size, shift=3):
  mono, color, _ = block_matcher.scene(size, shift)
  return mono[..., None], color


def whole(method, mono, color):
  unit = lambda x: x[None].astype(np.float32) / np.float32(255)
  return jax.jit(method.predict)(
    block_matcher.STATE, Query(unit(mono), mono.shape[:2], unit(color), True)
  )


class Rationed(StripPainter):
  """A program takes 1000 bytes a row and 10 a column."""

  def program(self, size, height):
    return super().program(size, height)._replace(bytes=1000 * height + 10 * size[1])


def painted(method, mono, color, limit, extras=("disparity",)):
  painter = Rationed(method, block_matcher.STATE, limit, extras)
  unit = lambda x: x.astype(np.float32) / np.float32(255)
  return painter.paint(unit(mono), unit(color)), painter


@pytest.mark.parametrize("rows", [1, 7, 16, 45, 64, 97, 230])
@pytest.mark.parametrize(("overlap", "multiple"), [(0, 1), (3, 1), (8, 4), (9, 4), (16, 16)])
def test_strips_take_every_row_once_and_have_their_overlap(rows, overlap, multiple):
  least = strips.least_height(rows, overlap, multiple)
  for height in range(least, rows + 1, multiple):
    if (rows - height) % multiple:
      continue
    found = list(strips.strips(rows, height, overlap, multiple))
    assert [s.first for s in found[1:]] == [s.end for s in found[:-1]]
    assert found[0].first == 0 and found[-1].end == rows
    for strip in found:
      stop = strip.start + height
      assert strip.start % multiple == 0 and stop <= rows
      assert strip.start == 0 or strip.first - strip.start >= overlap
      assert stop == rows or stop - strip.end >= overlap
    assert len(found) == 1 if height == rows else len(found) > 1


# The method pads two of these numbers of rows below.
@pytest.mark.parametrize(("rows", "height"), [(61, 26), (61, 45), (64, 34), (90, 26)])
def test_strips_are_the_whole(rows, height):
  method = block_matcher.BlockMatcher()
  mono, color = views((rows, 30))
  expected = whole(method, mono, color)
  found, painter = painted(method, mono, color, 1000 * height + 300)
  assert len(painter.programs) <= 3 and painter.height_for((rows, 30)) <= height
  assert len(list(strips.strips(rows, painter.height_for((rows, 30)), 8, 4))) > 1
  np.testing.assert_allclose(found.rgb, expected.rgb[0], atol=1e-5)
  np.testing.assert_allclose(found.extras["disparity"], expected.extras["disparity"][0], atol=1e-4)


def test_one_row_of_overlap_less_is_not_enough():
  """That the test above can fail: the reach of the method is exactly what it says."""
  mono, color = views((90, 30))
  unsure = {"sharpness": 300.0}  # so that every weight counts
  expected = whole(block_matcher.BlockMatcher(**unsure), mono, color)
  for overlap, equal in ((8, True), (7, False)):
    method = block_matcher.BlockMatcher(**unsure)
    method.row_overlap = overlap
    found, _ = painted(method, mono, color, 1000 * 26)
    assert np.allclose(found.rgb, expected.rgb[0], atol=1e-5) == equal


def test_strips_that_do_not_begin_at_the_multiple_are_not_the_whole():
  mono, color = views((90, 30))
  unsure = {"sharpness": 300.0}
  expected = whole(block_matcher.BlockMatcher(**unsure), mono, color)
  method = block_matcher.BlockMatcher(**unsure)
  method.multiple = 3
  found, _ = painted(method, mono, color, 1000 * 26)
  assert not np.allclose(found.rgb, expected.rgb[0], atol=1e-3)


def test_a_picture_that_fits_is_one_program_and_one_run():
  method = block_matcher.BlockMatcher()
  mono, color = views((40, 24))
  found, painter = painted(method, mono, color, 1000 * 40 + 240, extras=())
  assert not found.extras and method.seen == [(40, 24)] and len(painter.programs) == 1
  np.testing.assert_allclose(found.rgb, whole(method, mono, color).rgb[0], atol=1e-6)


def test_nothing_fits():
  mono, color = views((90, 30))
  with pytest.raises(PlannedMemoryError) as caught:
    painted(block_matcher.BlockMatcher(), mono, color, 1000 * 10)
  assert caught.value.args == (1000 * strips.least_height(90, 8, 4) + 300, 10_000)
  method = block_matcher.BlockMatcher()
  method.row_overlap = None  # a method that says nothing is not cut
  with pytest.raises(PlannedMemoryError):
    painted(method, mono, color, 1000 * 80)


def test_memory_that_runs_out_halves_the_strips_from_there_on():
  """The plan said that it fits; what XLA does not count made it more."""
  lines, tried = [], []
  mono, color = views((90, 30))

  class Poor(StripPainter):
    def program(self, size, height):
      found = super().program(size, height)

      def run(*arguments):
        tried.append(height)
        if height > 45:
          raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes")
        return found.run(*arguments)

      return found._replace(run=run)

  method = block_matcher.BlockMatcher()
  painter = Poor(method, block_matcher.STATE, note=lines.append)
  unit = [x.astype(np.float32) / np.float32(255) for x in (mono, color)]
  found = painter.paint(*unit)
  np.testing.assert_allclose(found.rgb, whole(method, mono, color).rgb[0], atol=1e-5)
  assert tried[0] == 90 and set(tried[1:]) == {42}
  assert lines == ["out of memory (RESOURCE_EXHAUSTED: Out of memory allocating 99 bytes); strips "
                   "of 42 rows from here on"]  # fmt: skip
  tried.clear()
  painter.paint(*unit)
  assert set(tried) == {42}


def test_the_plan_goes_by_what_xla_says():
  """A real plan: a quarter of what the whole needs makes strips of about a quarter."""
  method = block_matcher.BlockMatcher()
  painter = StripPainter(method, block_matcher.STATE)
  need = painter.program((240, 32), 240).bytes
  assert need > 8 * 4 * 240 * 32  # the costs of eight candidates at least
  tight = StripPainter(method, block_matcher.STATE, need // 4)
  height = tight.height_for((240, 32))
  assert 32 <= height <= 64 and tight.program((240, 32), height).bytes <= need // 4


def test_the_disparity_is_the_scenes():
  painter = StripPainter(block_matcher.BlockMatcher(), block_matcher.STATE, extras=("disparity",))
  found = painter.paint(*(x.astype(np.float32) / np.float32(255) for x in views((40, 24))))
  assert abs(float(np.median(found.extras["disparity"])) - 3) < 0.05


def test_a_method_for_photos_is_refused(pieces_method, pieces_state):
  with pytest.raises(UserError, match="colours photos, not pairs"):
    StripPainter(pieces_method, pieces_state)


def test_the_optimizer_is_not_carried_along():
  state = dataclasses.replace(block_matcher.STATE, opt_state={"none": np.zeros(3)})
  painter = StripPainter(block_matcher.BlockMatcher(), state)
  assert painter._state.opt_state == {}


# --- Cycle CNN


@pytest.fixture(scope="module")
def cycle(make_cycle_config, draw_state):
  """A tiny Cycle CNN whose far pixels count: kernels thrice as large as they are drawn."""
  from scs_jax.core import resolve

  method = resolve.build(make_cycle_config().lock())
  state = draw_state(method)
  larger = lambda x: x * np.float32(3) if x.ndim > 3 else x
  variances = lambda x: np.abs(x) + np.float32(0.5)
  return method, state.replace(
    params=jax.tree.map(larger, state.params),
    model_state=jax.tree.map(variances, state.model_state),
  )


ROWS = 437  # the network pads eleven of them below


@pytest.fixture(scope="module")
def cycle_whole(cycle):
  """(painter of the whole picture, both views, what it makes of them)."""
  painter = StripPainter(*cycle, 10**12, extras=("disparity",))
  pair = [x.astype(np.float32) / np.float32(255) for x in views((ROWS, 40))]
  return painter, pair, painter.paint(*pair)


@pytest.mark.slow
def test_cycle_cnn_in_strips_is_the_whole(cycle, cycle_whole):
  method, state = cycle
  _, pair, whole = cycle_whole
  least = strips.least_height(ROWS, method.row_overlap, method.multiple)
  assert least < ROWS - 64
  cut = Rationed(method, state, 1000 * least + 400, extras=("disparity",))
  found = cut.paint(*pair)
  assert cut.height_for((ROWS, 40)) == least
  assert whole.rgb.std() > 0.1 and whole.extras["disparity"].std() > 1
  np.testing.assert_allclose(found.rgb, whole.rgb, atol=1e-5)
  np.testing.assert_allclose(found.extras["disparity"], whole.extras["disparity"], atol=1e-3)
  cut.overlap = 4
  short = cut._in_strips(*pair, least)  # that the comparison sees too little overlap
  assert np.abs(short.rgb - whole.rgb).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("row", [200, 207, 208, 209])
def test_no_row_of_cycle_cnn_depends_on_one_beyond_the_overlap(cycle, cycle_whole, row):
  """A row that is no number makes all those that read it no numbers, whatever the weights are."""
  painter, pair, _ = cycle_whole
  spoilt = [view.copy() for view in pair]
  for view in spoilt:
    view[row] = np.nan
  found = painter.paint(*spoilt)
  for part in (found.rgb, found.extras["disparity"]):
    touched = np.flatnonzero(np.isnan(part).any((1, 2)))
    assert touched.size and np.abs(touched - row).max() <= cycle[0].row_overlap
