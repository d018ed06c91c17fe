"""Table VII as overlays: each applies to the paper's config and changes what it says."""

import functools

import jax
import numpy as np
import pytest

from scs_jax.core import ablations
from scs_jax.core import config as configs
from scs_jax.core.contract import Collective
from scs_jax.core.resolve import build

configs.load("common")  # makes scs_jax.configs importable in a source tree as well
from scs_jax.configs.cycle_cnn.ablations import ABLATIONS  # noqa: E402

ROWS = ABLATIONS["variants"]
KEY = jax.random.key(0)
pytestmark = pytest.mark.usefixtures("plain_volumes")


@pytest.fixture(scope="module")
def trace(trace_step):
  """A function: an overlay's items -> its step of the cycle on tiny networks."""

  def trace(overlay):
    config = configs.load("cycle_cnn/paper").copy_and_resolve_references()
    config.network.features, config.network.pairs, config.network.search_range = 2, 0, 16
    return trace_step(ablations.overlay(config, dict(overlay)), (16, 32), "cycle")

  return trace


@pytest.fixture(scope="module")
def of(trace):
  """A function: a row -> its step, traced once."""
  cached = functools.cache(trace)
  return lambda row: cached(tuple(sorted(row.overlay.items())))


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


def test_every_row_computes_something_else(trace, of):
  """Traces, or how many steps there are of each phase; a trace equals itself."""
  assert ROWS[-1].name == "Ours" and trace(()) == of(ROWS[-1])
  whole = lambda row: (of(row), of(row).method.phases)
  traced = [whole(row) for row in ROWS]
  assert all(one not in traced[:i] for i, one in enumerate(traced))


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_row_has_the_terms_and_networks_that_it_says(of, row):
  found = of(row)
  steps = {phase: n for phase, n in found.method.phases.items() if n}
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
  assert steps["cycle"] == 70_000
  assert ("refinement" in steps) == (row.name != "No color refinement")
  assert ("structure" in steps) == (row.name == "Previous method in [4]")


def test_without_the_position_map_gca_sees_two_channels(of):
  kernels = {row.name: of(row).shapes.get("gca") for row in ROWS}
  kernel = lambda name: kernels[name]["resnet"]["layer_1"]["conv"]["kernel"]
  assert kernel("Ours") == (5, 5, 4, 2)
  assert kernel("GCA without relative position map") == (5, 5, 2, 2)


def test_the_reconstruction_is_labelled_so(of):
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
  config.network.pairs = 0
  config.loss.cycle = config.loss.smooth = 0.0
  method = build(config)
  state = draw_pair_state(method)
  step = jax.jit(lambda s, b: method.train_step(s, b, KEY, Collective(), "cycle"))
  found, _ = step(state, make_pair())
  squares = lambda name: jax.tree.leaves(found.opt_state[name][0].nu)  # of RMSProp's gradients
  assert not any(np.any(leaf) for leaf in squares("wac"))
  assert any(np.any(leaf) for leaf in squares("gca"))
