"""Table VII as overlays: each applies to the paper's config and changes what it says."""

import functools
import re

import jax
import numpy as np
import pytest

from scs_jax.core import config as configs
from scs_jax.core.contract import Collective
from scs_jax.core.resolve import build

configs.load("common")  # makes scs_jax.configs importable in a source tree as well
from scs_jax.configs.cycle_cnn.ablations import ABLATIONS  # noqa: E402

ROWS = ABLATIONS["variants"]
KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("plain_volumes")


class Traced:
  """A row on tiny networks: jaxpr and logs of a step of the cycle, {phase: steps}, parameters."""

  def __init__(self, overlay):
    config = configs.load("cycle_cnn/paper").copy_and_resolve_references()
    config.network.features, config.network.pairs, config.network.search_range = 2, 1, 16
    for key, value in overlay:
      *parents, last = key.split(".")
      node = functools.reduce(lambda node, part: node[part], parents, config)
      assert config.is_locked and last in node, key
      node[last] = value
    self.method = build(config)
    state = jax.eval_shape(lambda: self.method.init(KEY, {}))
    shape = lambda *s: jax.ShapeDtypeStruct((1, 16, 32, *s), np.uint8)
    batch = {
      "mono": shape(1), "color": shape(3), "index": jax.ShapeDtypeStruct((1,), np.uint32)
    }  # fmt: skip
    self.steps = {phase: n for phase, n in self.method.phases.items() if n}
    step = lambda s, b: self.method.train_step(s, b, KEY, Collective(), "cycle")
    jaxpr, (_, logs) = jax.make_jaxpr(step, return_shape=True)(state, batch)
    # Functions are printed with their addresses, which differ from trace to trace.
    self.jaxpr, self.logs = re.sub(r"0x[0-9a-f]+", "", str(jaxpr)), set(logs)
    self.shapes = jax.tree.map(lambda x: x.shape, state.params)

  def __eq__(self, other):
    parts = lambda x: (x.jaxpr, x.shapes, x.steps)
    return parts(self) == parts(other)


@functools.cache
def trace(overlay):
  return Traced(overlay)


def of(row):
  return trace(tuple(sorted(row.overlay.items())))


def named(name):
  return of(next(row for row in ROWS if row.name == name))


def test_the_rows_are_the_papers():
  """Name and figure as printed; the base is the last row, and not the best of them."""
  assert [(row.name, row.claim["ssim_second"]) for row in ROWS] == [
    ("No cycle consistency loss", 0.8140),
    ("No structure similarity loss", 0.9192),
    ("No spatial smoothness loss", 0.9432),
    ("Previous method in [4]", 0.9547),
    ("No GCA", 0.9236),
    ("GCA without confidence map", 0.9637),
    ("GCA without relative position map", 0.9669),
    ("Color transfer [33] instead of GCA", 0.9603),
    ("No Y channel within WAC", 0.9799),
    ("No color refinement", 0.9701),
    ("Ours", 0.9707),
  ]
  assert all(row.claim["where"] == "Table VII" for row in ROWS)
  assert [row.name for row in ROWS if not row.overlay] == ["Ours"]


def test_every_row_computes_something_else():
  """Rows differ from each other and, all but the base, from `paper`; a trace equals itself."""
  assert Traced(()) == trace(())
  traced = [of(row) for row in ROWS]
  for i, one in enumerate(traced):
    assert (one == trace(())) == (not ROWS[i].overlay), ROWS[i].name
    assert all(one != other for other in traced[:i]), ROWS[i].name


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_row_has_the_terms_and_networks_that_it_says(row):
  found = of(row)
  terms = {"structure", "cycle", "smooth"} - {
    "No cycle consistency loss": {"cycle"},
    "No structure similarity loss": {"structure"},
    "No spatial smoothness loss": {"smooth"},
  }.get(row.name, set())
  assert found.logs == {f"loss/{name}" for name in {*terms, "total"}}
  networks = {"wac", "gca", "refinement"} - {
    "No structure similarity loss": {"gca"},
    "Previous method in [4]": {"gca"},
    "No GCA": {"gca"},
    "GCA without confidence map": {"gca"},
    "Color transfer [33] instead of GCA": {"gca"},
    "No color refinement": {"refinement"},
  }.get(row.name, set())
  networks |= {"similarity"} if row.name == "Previous method in [4]" else set()
  assert set(found.shapes) == networks
  # The cycle is trained as long in every row.
  assert found.steps["cycle"] == 70_000
  assert ("refinement" in found.steps) == (row.name != "No color refinement")
  assert ("structure" in found.steps) == (row.name == "Previous method in [4]")


def test_without_the_position_map_gca_sees_two_channels():
  kernel = lambda traced: traced.shapes["gca"]["resnet"]["layer_1"]["conv"]["kernel"]
  assert kernel(named("Ours")) == (5, 5, 4, 2)
  assert kernel(named("GCA without relative position map")) == (5, 5, 2, 2)


def test_the_reconstruction_is_labelled_so():
  """Whatever prints the figure of this row has to say whose it is."""
  row = next(row for row in ROWS if row.overlay.get("loss.structure_kind") == "learned")
  assert "reconstruction of ours" in row.note and "not [4]'s" in row.note
  (remark,) = of(row).method.remarks  # what `evaluate` prints beside its figures
  assert "reconstruction of ours" in remark and "not those of [4]" in remark
  assert all(not of(other).method.remarks for other in ROWS if other is not row)


def test_without_y_structure_says_nothing_of_wac(make_cycle_config, make_pair, draw_pair_state):
  """Section IV-F: "makes the structure similarity loss meaningless": it has no gradient there."""
  config = make_cycle_config()
  config.network.luma = config.network.refinement = False
  config.loss.cycle = config.loss.smooth = 0.0
  method = build(config)
  state = draw_pair_state(method)
  step = jax.jit(lambda s, b: method.train_step(s, b, KEY, Collective(), "cycle"))
  found, _ = step(state, make_pair())
  squares = lambda name: jax.tree.leaves(found.opt_state[name][0].nu)  # of RMSProp's gradients
  assert not any(np.any(leaf) for leaf in squares("wac"))
  assert any(np.any(leaf) for leaf in squares("gca"))
