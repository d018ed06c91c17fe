"""Trained networks as files and by name: what is written comes back, what is damaged is told."""

import json
import pathlib
import re
import shutil

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from scs_jax.core import config as configs
from scs_jax.core import resolve
from scs_jax.core.contract import Query
from scs_jax.errors import UserError
from scs_jax.training import model_card, model_file, models
from scs_jax.training.checkpoint import Checkpoints

CARD = {
  "summary": "A stand-in.",
  "licence": "For research.",
  "data": ["noise"],
  "budget": {"steps": 7, "hours": 0.5},
  "figures": [
    {"what": "noise, 2x", "metric": "PSNR ab", "unit": "dB", "value": 20.5, "interval": [20, 21]}
  ],
  "limits": ["all"],
}


@pytest.fixture(scope="module")
def trained(make_tiny_config, draw_state, tmp_path_factory):
  """(its method, state and folder) of a run of a tiny SCSNet, whose folders are of this machine."""
  config = make_tiny_config()
  config.network.levels, config.network.texture_blocks = 1, 0
  config.data.source, config.data.heldout = "/data/me/photos/", "/data/me/other"
  config.loss.perceptual_file = "weights/vgg.pth"
  method = resolve.build(config.lock())
  state = draw_state(method).replace(step=np.int32(7))
  state = state.replace(opt_state={name: () for name in state.params})
  folder = tmp_path_factory.mktemp("trained") / "run"
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(7, state, data={}, config=config, wait=True)
  return method, state, folder


@pytest.fixture(scope="module")
def written(trained):
  path = trained[2].with_name("small.safetensors")
  models.export(models.find(trained[2]), path, card=CARD)
  return path


@pytest.fixture
def exported(written, tmp_path):
  """A test's own copy of the run as a file."""
  return pathlib.Path(shutil.copy(written, tmp_path))


@pytest.fixture
def shipped(exported, tmp_path, monkeypatch):
  """A folder of shipped models with one, `scsnet`."""
  folder = tmp_path / "shipped"
  folder.mkdir()
  shutil.copy(exported, folder / "scsnet.safetensors")
  monkeypatch.setattr(models, "FOLDER", folder)
  return folder


def colors(method, state):
  gray = np.random.default_rng(0).random((1, 8, 8, 1)).astype(np.float32)
  return np.asarray(jax.jit(method.predict)(state, Query(gray, (16, 16))).rgb)


def resaved(path, *change):
  """Writes the file again with its metadata changed, as str.replace has it."""
  with safetensors.safe_open(path, "np") as file:
    arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    text = file.metadata()["scs_jax"]
  safetensors.numpy.save_file(arrays, path, {"scs_jax": text.replace(*change)})


# --- round trips


def test_a_file_gives_what_the_run_gives_bit_for_bit(trained, exported):
  method, state, _ = trained
  found = models.find(exported)
  np.testing.assert_array_equal(colors(found.method, found.restore()), colors(method, state))
  assert (found.step, found.name, found.given) == (7, "scsnet (small)", str(exported))


def test_float16_holds_each_parameter_to_eleven_bits_and_is_computed_in_float32(
  trained, tmp_path
):
  method, state, folder = trained
  paths = [tmp_path / f"{dtype}.safetensors" for dtype in model_file.DTYPES]
  whole, half = (
    models.export(models.find(folder), path, dtype)
    for path, dtype in zip(paths, model_file.DTYPES, strict=True)
  )
  count = sum(x.size for n in ("generator", "reference") for x in jax.tree.leaves(state.params[n]))
  assert whole - half == pytest.approx(2 * count, abs=64)  # the headers' padding
  found = models.find(paths[1]).restore()
  wanted = {name: state.params[name] for name in ("generator", "reference")}
  assert jax.tree.structure(found.params) == jax.tree.structure(wanted)
  for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(wanted), strict=True):
    assert a.dtype == np.float32
    np.testing.assert_array_equal(a, b.astype(np.float16).astype(np.float32))
  difference = colors(method, found) - colors(method, state)
  assert 0 < np.abs(difference).max() < 0.02


def test_what_only_training_needs_stays_behind(trained, exported):
  _, state, _ = trained
  assert "discriminator" in state.params
  with safetensors.safe_open(exported, "np") as file:
    kinds = {"/".join(name.split("/")[:2]) for name in file.keys()}  # noqa: SIM118
  assert kinds == {"params/generator", "params/reference"}


def test_a_file_exported_again_is_the_same_and_keeps_its_card(exported, tmp_path):
  again = tmp_path / "again.safetensors"
  models.export(models.find(exported), again)
  assert again.read_bytes() == exported.read_bytes()
  assert models.find(again).card == CARD
  assert models.find(again).versions["jax"] == jax.__version__


def test_no_path_of_this_machine_travels(exported):
  config = models.find(exported).config
  assert config.data.source == "photos" and config.data.heldout == ""
  assert config.loss.perceptual_file == "vgg.pth"
  assert config.checkpoint.best_metric == "self/psnr_ab"  # a slash, and no path
  assert b"/data/me" not in exported.read_bytes()


def test_names_that_are_no_paths_stay():
  config = configs.load("cycle_cnn/small").copy_and_resolve_references()
  with config.unlocked():
    config.data.source, config.data.heldout = "a/mono,b/color", "bundled"
    config.mine = "gs://bucket/me"
  found = model_file.portable(config)
  assert (found.data.source, found.data.heldout, found.mine) == ("mono,color", "bundled", "me")


@pytest.mark.parametrize(
  ("value", "part"),
  [(1e5, "reaches 1e+05, and float16 holds no more"), (np.nan, "is not all numbers")],
)
def test_parameters_that_float16_does_not_hold_are_refused(trained, tmp_path, value, part):
  method, state, _ = trained
  params = jax.tree.map(lambda x: np.full_like(x, value), state.params)
  out = tmp_path / "out.safetensors"
  with pytest.raises(UserError, match=re.escape(part)):
    model_file.write(out, method.config, state.replace(params=params), dtype="float16")
  assert not out.exists()


# --- whatever names a network


def test_everything_that_names_a_network_finds_it(trained, exported, shipped):
  folder = trained[2]
  for given in (folder, folder / "checkpoints", folder / "checkpoints" / "7"):
    assert models.find(given).step == 7 and models.find(given).run == folder
  for given in (exported, str(exported), "scsnet"):
    assert models.find(given).step == 7 and models.find(given).run is None
  assert models.find("scsnet").name == models.find(folder).name == "scsnet"
  assert models.find("scsnet", 7).step == models.find("scsnet", "last").step == 7
  with pytest.raises(UserError, match="scsnet is step 7 itself: leave --step out"):
    models.find("scsnet", 8)


def test_a_path_comes_before_a_name(trained, shipped, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  shutil.copytree(trained[2], tmp_path / "scsnet")
  assert models.find("scsnet").run is not None
  shutil.rmtree(tmp_path / "scsnet")
  assert models.find("scsnet").run is None


def test_a_wrong_name_names_the_nearest(shipped):
  assert models.names() == ["scsnet"]
  with pytest.raises(UserError, match=r"no model is called 'scsnett'; did you mean scsnet\?"):
    models.find("scsnett")
  with pytest.raises(UserError, match=r"no checkpoint at .*nowhere.*; give a run's folder"):
    models.find("nowhere")


def test_there_may_be_no_models(tmp_path, monkeypatch):
  monkeypatch.setattr(models, "FOLDER", tmp_path / "none")
  assert models.names() == []
  with pytest.raises(UserError, match="no model is called 'scsnet'; give a run's folder"):
    models.find("scsnet")


def test_fingerprints_tell_networks_apart(trained, exported, tmp_path):
  half = tmp_path / "half.safetensors"
  models.export(models.find(exported), half, "float16")
  marks = [models.find(given).fingerprint() for given in (trained[2], exported, half)]
  assert len(set(marks)) == 3 and all(re.fullmatch("[0-9a-f]{16}", mark) for mark in marks)


# --- files that are none


def _flip(path: pathlib.Path, at: int) -> None:
  content = bytearray(path.read_bytes())
  content[at] ^= 1
  path.write_bytes(content)


@pytest.mark.parametrize(
  ("harm", "part"),
  [
    (lambda p: p.write_bytes(p.read_bytes()[:-1]), "truncated or damaged"),
    (lambda p: p.write_bytes(p.read_bytes()[:100]), "truncated or damaged"),
    (lambda p: p.write_bytes(b""), "got another kind of file"),
    (lambda p: p.write_bytes(b"PK\x03\x04" + bytes(100)), "got another kind of file"),
    (lambda p: _flip(p, -1), "damaged, as its content is not what was written"),
    (lambda p: resaved(p, '"step": 7', '"step": 8'), "damaged, as its content"),
    (lambda p: resaved(p, '"digest"', '"other"'), "damaged, as its content"),
    (lambda p: resaved(p, "{", "[", 1), "damaged, as its content"),
    (lambda p: safetensors.numpy.save_file({"a": np.zeros(2)}, p), "file of another program"),
    (lambda p: p.unlink(), "no such file; give a run's folder"),
  ],
)
def test_what_is_no_whole_model_is_one_sentence(exported, harm, part):
  harm(exported)
  with pytest.raises(UserError, match=re.escape(part)) as caught:
    models.find(exported)
  assert str(exported) in str(caught.value) and "\n" not in str(caught.value)


def test_a_format_of_another_version_is_told(trained, exported, monkeypatch):
  monkeypatch.setattr(model_file, "_FORMAT", "scs_jax model 9")
  model_file.write(exported, trained[0].config, trained[1])
  monkeypatch.undo()
  with pytest.raises(UserError, match="expected the format 'scs_jax model 1', got 'scs_jax mod"):
    models.find(exported)


def test_arrays_of_another_network_are_told(trained, exported):
  method, state, _ = trained
  config = method.config.copy_and_resolve_references()
  with config.unlocked():
    config.network.fused_features = 12
  model_file.write(exported, config.lock(), state)
  with pytest.raises(UserError, match=r"not those of the network.*expected float32.*found float32"):
    models.find(exported).restore()


# --- cards


def test_a_card_of_several_files(tmp_path):
  toml = tmp_path / "a.toml"
  toml.write_text(
    'summary = "A stand-in."\nlicence = "For research."\ndata = ["noise"]\nlimits = ["all"]\n'
    "[budget]\nsteps = 7\nhours = 0.5\nday = 2026-11-28\n"
    '[[figures]]\nwhat = "noise, 2x"\nmetric = "PSNR ab"\nunit = "dB"\nvalue = 20.5\n'
    "interval = [20, 21]\n"
  )
  budget = {"steps": 7, "hours": 0.5, "day": "2026-11-28"}
  assert model_card.read([toml]) == CARD | {"budget": budget}
  more = tmp_path / "b.json"
  more.write_text(json.dumps({"data": ["more noise"], "summary": "Better."}))
  found = model_card.read([toml, more])
  assert found["data"] == ["noise", "more noise"] and found["summary"] == "Better."


def test_a_card_as_text():
  text = model_card.lines(CARD)
  assert text[0] == "A stand-in." and "  hours: 0.5" in text
  assert "  noise, 2x: PSNR ab 20.5 dB (20 to 21)" in text


@pytest.mark.parametrize(
  ("name", "content", "part"),
  [
    ("c.md", "", "ends in .toml or .json"),
    ("c.toml", "summary = ", "no card can be read"),
    ("c.json", "[]", "expected the sections of a card, got a list"),
    ("c.json", '{"limit": []}', "no section 'limit' in a card; did you mean limits?"),
    ("c.json", '{"data": "noise"}', "data is a str, expected a list"),
    ("c.json", json.dumps(CARD | {"limits": []}), "the card says nothing of limits"),
    ("c.json", json.dumps(CARD | {"figures": [{"what": "x"}]}), "a figure needs what, metric"),
  ],
)
def test_a_card_that_is_none(tmp_path, name, content, part):
  path = tmp_path / name
  path.write_text(content)
  with pytest.raises(UserError, match=re.escape(part)):
    model_card.read([path])
