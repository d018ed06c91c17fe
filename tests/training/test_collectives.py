"""What devices send, counted by hand from lines of HLO, and in a real program with a loop."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from scs_jax.training import sharding
from scs_jax.training.collectives import sent_bytes


@pytest.mark.parametrize(
  ("line", "sent"),
  [
    # 2 S (n - 1) / n with S = 4 * 1000 bytes over 4 devices
    ("%a = f32[1000]{0} all-reduce(f32[1000]{0} %x), replica_groups={{0,1,2,3}}", 6000),
    ("%a = (f32[500]{0}, /*index=1*/bf16[1000]{0}) all-reduce(%x, %y), replica_groups=[1,4]<=[4]",
     6000),
    ("%a = f32[1000]{0} all-reduce-start(f32[1000]{0} %x), replica_groups=[2,2]<=[4]", 4000),
    # S (n - 1) / n of the whole, which is the larger part of an asynchronous gather's result
    ("%g = f32[1000]{0} all-gather(f32[250]{0} %x), replica_groups={{0,1,2,3}}", 3000),
    ("%g = (f32[250]{0}, f32[1000]{0}) all-gather-start(%x), replica_groups={{0,1,2,3}}", 3000),
    ("%s = f32[250]{0} reduce-scatter(f32[1000]{0} %x), replica_groups={{0,1,2,3}}", 3000),
    ("%e = f32[1000]{0} all-to-all(%x), replica_groups={{0,1,2,3}}", 3000),
    ("%p = bf16[10,10]{1,0} collective-permute(%x), source_target_pairs={{0,1}}", 200),
    # a group of one sends nothing; what is no collective, or merely ends one, is not counted
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups={{0},{1},{2},{3}}", 0),
    ("%d = f32[1000]{0} all-reduce-done(%a)", 0),
    ("%x = f32[1000]{0} get-tuple-element(%all-reduce.72), index=0", 0),
    # groups as a mesh: all devices
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups=mesh['a'=4] {'a'}", 6000),
  ],
)  # fmt: skip
def test_what_a_collective_sends(line, sent):
  assert sent_bytes(line, 4) == pytest.approx(sent)


def test_a_loop_counts_every_round():
  """Sums over the devices' parts, of 8 floats each: 3 x 5 of them in two loops, and one after."""
  mesh = sharding.make_mesh(jax.devices()[:4])
  everywhere, by_row = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))

  def total(x, scale):
    summed = jax.lax.with_sharding_constraint((x * scale).sum(0), everywhere)
    return jnp.sin(summed)

  def inner(carry, scale):
    x, seen = carry
    return (x, total(x, scale + seen[0])), None

  def outer(carry, scales):
    return jax.lax.scan(inner, carry, scales)[0], None

  def program(x, scales):
    (x, seen), _ = jax.lax.scan(outer, (x, jnp.zeros(8)), scales)
    return total(x, seen[1])

  x = jax.ShapeDtypeStruct((4, 8), jnp.float32, sharding=by_row)
  scales = jax.ShapeDtypeStruct((3, 5), jnp.float32, sharding=everywhere)
  text = jax.jit(program, out_shardings=everywhere).lower(x, scales).compile().as_text()
  assert sent_bytes(text, 4) == pytest.approx((3 * 5 + 1) * 2 * 32 * 3 / 4)
