"""Tables 2 and 3 as overlays: each applies to the paper's config and changes what is computed."""

import functools

import jax
import jax.numpy as jnp
import pytest

from scs_jax.core import ablations
from scs_jax.core import config as configs
from scs_jax.nn.saliency import networks

configs.load("common")  # makes scs_jax.configs importable in a source tree as well
from scs_jax.configs.smsanet.ablations import ABLATIONS  # noqa: E402

ROWS = [(table, row) for table, rows in ABLATIONS.items() for row in rows]


def ids(rows):
  return [f"{table}: {row.name}" for table, row in rows]


@pytest.fixture(scope="module")
def trace(trace_step):
  """A function: overlay -> a tiny step."""

  class Brightness:
    def load(self, file):
      return {"w": jnp.ones(())}

    def apply(self, params, rgb):
      return jax.nn.sigmoid(params["w"] * rgb[..., :1])

  @functools.cache
  def traced(overlay):
    config = configs.load("smsanet/paper").copy_and_resolve_references()
    config.network.width, config.network.attention_blocks = 1 / 32, (1, 3)
    return trace_step(ablations.overlay(config, dict(overlay)), (8, 8), "train")

  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(networks.NETWORKS, "pfanet", Brightness())
    yield lambda overlay: traced(tuple(sorted(overlay.items())))


def test_the_rows_are_the_papers():
  """Name and figures as printed; Table 2 has three rows, and the base is ours."""
  printed = [(row.name, row.claim["psnr"], row.claim["ssim"]) for row in ABLATIONS["attention"]]
  assert printed[:3] == [
    ("CBAM", 26.2487, 0.9147), ("SENet", 26.3292, 0.9156), ("SMSA", 26.5478, 0.9185)
  ]  # fmt: skip
  assert [row.name for row in ABLATIONS["attention"]][3:] == ["none"]
  printed = [(row.claim["psnr"], row.claim["ssim"]) for row in ABLATIONS["salient"]]
  assert printed == [(25.7688, 0.9136), (26.5478, 0.9185), (26.5411, 0.9294), (26.6579, 0.9301)]


def test_every_row_computes_something_else(trace, assert_rows_differ):
  for rows in ABLATIONS.values():
    assert_rows_differ(rows, lambda row: trace(row.overlay), trace({}))


@pytest.mark.parametrize(("table", "row"), ROWS, ids=ids(ROWS))
def test_a_row_has_what_it_says(trace, table, row):
  modules, logs = trace(row.overlay).shapes["colorizer"], trace(row.overlay).logs
  kind = {"CBAM": "cbam", "SENet": "senet", "none": "none"}.get(row.name, "smsa")
  kind = "none" if row.name.startswith("BaseNet") else kind
  assert (
    set(modules.get("attention_3", {}))
    == {
      "smsa": {"logits", "scale_1", "scale_2", "scale_3", "channel"},
      "cbam": {"channel", "spatial"},
      "senet": {"channel"},
      "none": set(),
    }[kind]
  )
  assert ("loss/salient" in logs) == row.name.endswith("salient")
