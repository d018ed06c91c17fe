"""The networks that the page offers: those given first, what each can do, and what stays open."""

import pytest

pytest.importorskip("gradio", reason="the page needs gradio, an extra")

from scs_jax.app.networks import BY_TASK, Networks
from scs_jax.core import resolve
from scs_jax.errors import UserError
from scs_jax.infer.pairs import PairColorizer
from scs_jax.training import model_file, models


@pytest.fixture(scope="module")
def place(
  tmp_path_factory, make_tiny_config, make_smsanet_config, make_cycle_config, draw_state
):
  """A folder with a file of each kind of network."""
  folder = tmp_path_factory.mktemp("networks")
  card = {"summary": "A stand-in.", "licence": "none", "budget": {}}
  card |= {"figures": [], "data": [], "limits": []}
  for name, config in (
    ("scsnet", make_tiny_config()),
    ("smsanet", make_smsanet_config()),
    ("cycle_cnn", make_cycle_config()),
  ):
    state = draw_state(resolve.build(config))
    model_file.write(folder / f"{name}.safetensors", config.lock(), state, card=card)
  return folder


@pytest.fixture(autouse=True)
def shipped(place, monkeypatch):
  monkeypatch.setattr(models, "FOLDER", place)


def test_the_task_chooses_where_nothing_is_given():
  networks = Networks()
  assert networks.photographs == [BY_TASK, "scsnet", "smsanet"] and networks.pairs == ["cycle_cnn"]
  assert networks.name_for(BY_TASK, alone=True) == "smsanet"
  assert networks.name_for(BY_TASK, alone=False) == "scsnet"
  assert networks.name_for("smsanet", alone=False) == "smsanet"
  assert networks.summary("scsnet") == "A stand-in. Weights: none"
  assert networks.has_attention("scsnet") and not networks.has_attention("smsanet")
  assert networks.search_range("cycle_cnn") == 16


def test_what_is_given_stands_first(place):
  own = str(place / "smsanet.safetensors")
  networks = Networks([own, "cycle_cnn"])
  assert networks.photographs == [own, "scsnet", "smsanet"] and networks.pairs == ["cycle_cnn"]


def test_a_network_stays_open_until_others_take_its_place(monkeypatch):
  networks = Networks(memory_limit=10**9)
  colorizer = networks.colorizer("smsanet")
  assert colorizer.method.keeps_luminance and colorizer.memory_limit == 10**9
  method, state = networks.looker("scsnet")
  assert method.takes_reference and networks.looker("scsnet")[1] is state
  assert networks.colorizer("smsanet") is colorizer
  monkeypatch.setattr(PairColorizer, "from_checkpoint", lambda *args, **keywords: object())
  for view in ("left", "right", "lower", "upper"):
    networks.pair_colorizer("cycle_cnn", view)
  assert networks.colorizer("smsanet") is not colorizer


def test_no_other_network_is_opened():
  with pytest.raises(UserError, match="choose one of the list"):
    Networks().colorizer("/etc/passwd")
