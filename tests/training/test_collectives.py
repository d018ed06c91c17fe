"""What devices send, counted by hand from lines of HLO, and in a real program with a loop."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from scs_jax.training import sharding
from scs_jax.training.collectives import traffic


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
    ("%g = ((f32[250]{0}, f32[250]{0}), (f32[1000]{0}, f32[1000]{0})) all-gather-start(%x, %y), "
     "replica_groups={{0,1,2,3}}", 6000),
    ("%a = ((f32[1000]{0}), f32[1000]{0}) all-reduce-start(%x), replica_groups={{0,1,2,3}}", 6000),
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
  assert traffic(line, 4) == pytest.approx((sent, 0))


@pytest.mark.parametrize(
  ("line", "inside", "between"),
  [
    # Eight devices in two nodes of four, 4000 bytes: inside 2 S 3/4, and each passes on a quarter
    # of S to its like in the other node, 2 S/4 1/2.
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups={{0,1,2,3,4,5,6,7}}", 6000, 1000),
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups=mesh['a'=8,'b'=1] {'a'}", 6000, 1000),
    ("%g = f32[1000]{0} all-gather(%x), replica_groups=[1,8]<=[8]", 3000, 500),
    ("%s = f32[125]{0} reduce-scatter(%x), replica_groups=[1,8]<=[8]", 3000, 500),
    # to each of seven others an eighth: three neighbours, four elsewhere
    ("%e = f32[1000]{0} all-to-all(%x), replica_groups=[1,8]<=[8]", 1500, 2000),
    # pairs of neighbours, and pairs across
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups=[4,2]<=[8]", 4000, 0),
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups=[4,2]<=[2,4]T(1,0)", 0, 4000),
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups={{0,4},{1,5},{2,6},{3,7}}", 0, 4000),
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups=mesh['a'=2,'b'=4] {'a'}", 0, 4000),
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups=mesh['a'=2,'b'=4] {'b'}", 6000, 0),
    ("%a = f32[1000]{0} all-reduce(%x), replica_groups=mesh['a'=2,'b'=4] {'b':(2)2}", 4000, 0),
    # numbered across the nodes first: along a stay neighbours, along b pairs across
    ("%g = f32[1000]{0} all-gather(%x), replica_groups=mesh['a'=4,'b'=1,'c'=2], "
     "device_ids=([2,4]T(1,0)) {'a'}, dimensions={0}", 3000, 0),
    ("%g = f32[1000]{0} all-gather(%x), replica_groups=mesh['a'=4,'b'=2], "
     "device_ids=(0,4,1,5,2,6,3,7) {'b'}", 0, 2000),
    ("%p = f32[10]{0} collective-permute(%x), source_target_pairs={{0,1},{3,4}}", 40, 40),
    ("%p = f32[10]{0} collective-permute(%x), source_target_pairs={{0,1},{1,0},{4,4}}", 40, 0),
  ],
)  # fmt: skip
def test_what_stays_in_a_node_and_what_leaves_it(line, inside, between):
  assert traffic(line, 8, per_node=4) == pytest.approx((inside, between))


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
  assert traffic(text, 4) == pytest.approx(((3 * 5 + 1) * 2 * 32 * 3 / 4, 0))
