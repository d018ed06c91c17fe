"""Bytes by operation: counted by hand in a program's text, and in one that is compiled here."""

import jax
import jax.numpy as jnp
import pytest

from scs_jax.training.operations import Moved, by_operation, table

# Three rounds of a product in the device's memory, one operand of which lies on the chip; before
# it the first row of a table is read, after it one row of eight is written in its place.
_TEXT = """
%cut (whole: f32[100,8]) -> f32[1,8] {
  %whole = f32[100,8]{1,0} parameter(0)
  ROOT %row = f32[1,8]{1,0} slice(%whole), slice={[0:1], [0:8]}
}

%beside (its: f32[100,8]) -> f32[1,8] {
  %its = f32[100,8]{1,0} parameter(0)
  ROOT %part = f32[1,8]{1,0} slice(%its), slice={[9:10], [0:8]}
}

%first_row (t: f32[100,8]) -> f32[1,8] {
  %t = f32[100,8]{1,0} parameter(0)
  ROOT %cut.1 = f32[1,8]{1,0} fusion(%t), kind=kLoop, calls=%cut
}

%write_row (all: f32[8,8], one: f32[1,8], at: s32[]) -> f32[8,8] {
  %all = f32[8,8]{1,0} parameter(0)
  %one = f32[1,8]{1,0} parameter(1)
  %at = s32[] parameter(2)
  ROOT %new = f32[8,8]{1,0} dynamic-update-slice(%all, %one, %at, %at)
}

%below (carried.1: (s32[], f32[2,8])) -> pred[] {
  %limit = s32[]{:T(128)} constant(3)
  %carried.1 = (s32[], f32[2,8]) parameter(0)
  %count = s32[] get-tuple-element(%carried.1), index=0
  ROOT %more = pred[] compare(%count, %limit), direction=LT
}

%body (carried: (s32[], f32[2,8])) -> (s32[], f32[2,8]) {
  %carried = (s32[], f32[2,8]) parameter(0)
  %y = f32[2,8]{1,0} get-tuple-element(%carried), index=1
  %w = bf16[8,8]{1,0:T(8,128)(2,1)S(1)} constant({...})
  %z = f32[2,8]{1,0} dot(%y, %w), metadata={op_name="jit(step)/transpose(jvp(Net))/block_3/dot"}
  %other = f32[2,8]{1,0} dot(%z, %w), metadata={op_name="jit(step)/transpose(jvp(Net))/block_4/dot"}
  ROOT %next = (s32[], f32[2,8]) tuple(%n, %other)
}

ENTRY %main (table: f32[100,8], rows: f32[8,8]) -> f32[8,8] {
  %table = f32[100,8]{1,0} parameter(0)
  %rows = f32[8,8]{1,0} parameter(1)
  %zero = s32[] constant(0)
  %row.1 = f32[1,8]{1,0} fusion(%table), kind=kLoop, calls=%first_row
  %loop = (s32[], f32[2,8]) while(%start), condition=%below, body=%body
  %begun = ((f32[100,8]{1,0}), f32[1,8]{1,0}, u32[]) async-start(%table), calls=%beside
  %ended = f32[1,8]{1,0} async-done(%begun)
  %start.1 = (bf16[5,3]{1,0:T(8,128)(2,1)}, bf16[5,3]{1,0}, u32[]{:S(2)}) copy-start(%narrow)
  %narrow.1 = bf16[5,3]{1,0:T(8,128)(2,1)} copy-done(%start.1)
  ROOT %out = f32[8,8]{1,0} fusion(%rows, %row.1, %zero), kind=kLoop, calls=%write_row
}
"""


def test_bytes_are_those_of_a_count_by_hand():
  found = {(each.kind, each.source): each for each in by_operation(_TEXT)}
  # Two products a round: 2 x 8 floats in and out; the weights stay on the chip, padded to a tile.
  product = found["dot", "gradient of Net/block_*/dot"]
  assert product.runs == 6
  assert product.read == Moved(6 * 4 * 16, 6 * 2 * 8 * 128)
  assert product.written == Moved(6 * 4 * 16, 0)
  # One row of the table and one of the result, not all of them; read, handed on, written.
  fusions = found["fusion", ""]
  assert (fusions.runs, fusions.read.memory) == (2, 4 * 8 + 4 * 8 + 4)
  assert fusions.written.memory == 4 * 8 + 4 * 8
  # What is copied is padded from 5 x 3 to 8 x 128 numbers; its source is not in the text.
  assert found["copy", ""].written == Moved(2 * 8 * 128, 0)
  # What runs beside the others counts once: its own reading and writing.
  assert found["slice", ""].memory == 4 * 8 + 4 * 8
  assert len(found) == 5 and found["compare", ""].runs == 3  # the loop's condition


def test_the_table_gives_shares_and_sums_up_what_it_leaves_out():
  lines = table(by_operation(_TEXT), most=1).splitlines()
  assert len(lines) == 5
  assert lines[2].endswith("| 1 | copy | `` |")
  assert "| others |" in lines[3] and "| 12 |" in lines[3]
  assert "| 100.0% |" in lines[4]


def test_a_compiled_loop_counts_each_round():
  x = jax.ShapeDtypeStruct((64, 128), jnp.float32)

  def step(x, rounds):
    return jax.lax.fori_loop(0, rounds, lambda _, y: jnp.sin(y) @ y.T @ y, x)

  once, often = (
    sum(each.memory for each in by_operation(text) if each.kind in ("dot", "fusion"))
    for text in (jax.jit(step, static_argnums=1).lower(x, n).compile().as_text() for n in (3, 30))
  )
  assert often == pytest.approx(10 * once, rel=0.01)
