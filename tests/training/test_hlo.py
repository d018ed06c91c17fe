"""Compiled programs' text: what calls of a library read and write, counted by hand."""

from scs_jax.training import hlo

_TEXT = """
%body (carried: (s32[], f32[2,8])) -> (s32[], f32[2,8]) {
  %y = f32[2,8]{1,0} get-tuple-element(%carried), index=1
  %w = bf16[8,8]{1,0} parameter(1)
  %product = (f32[2,8]{1,0}, s8[4096]{0}) custom-call(%y, %w), custom_call_target="__cublas$gemm"
}

ENTRY %main (x: f32[2,4,4,3]) -> f32[2,8] {
  %x = f32[2,4,4,3]{3,2,1,0} parameter(0)
  %kernel = f32[5,3,3,3]{3,2,1,0} fusion(%x), kind=kLoop, calls=%fused
  %conv.1 = (f32[2,4,4,5]{3,2,1,0}, u8[64]{0}) custom-call(%x, %kernel), window={size=3x3}
  %loop = (s32[], f32[2,8]) while(%start), body=%body, backend_config={"known_trip_count":{"n":"3"}}
}
"""


def test_what_a_library_reads_and_writes():
  convolution = 4 * (2 * 4 * 4 * 3 + 5 * 3 * 3 * 3 + 2 * 4 * 4 * 5)
  product = 4 * 2 * 8 + 2 * 8 * 8 + 4 * 2 * 8
  assert hlo.library_bytes(_TEXT) == convolution + 3 * product
