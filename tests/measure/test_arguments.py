"""What Python users may hand to `evaluate`, `compare`, `ablate`: read, or refused in a sentence."""

import pathlib
import types

import jax
import numpy as np
import pytest
from PIL import Image

import scs_jax
from scs_jax.core import config as configs
from scs_jax.data.sources import open_source
from scs_jax.errors import UserError
from scs_jax.measure import ablate_plan, learned, settings
from scs_jax.measure.photo_set import PhotoSet
from scs_jax.measure.rows import split_all
from scs_jax.measure.settings import Setting
from scs_jax.training import models
from scs_jax.training.models import Model


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A working folder with the data sets "photos", of two, and "all", of one."""
  monkeypatch.chdir(tmp_path)
  for i, name in enumerate(("photos/a.png", "photos/b.png", "all/c.png")):
    pathlib.Path(name).parent.mkdir(exist_ok=True)
    picture = np.random.default_rng(i).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    Image.fromarray(picture).save(name)
  return tmp_path


@pytest.mark.parametrize(
  "call, words",
  [
    (lambda: scs_jax.evaluate(None), "None names no trained network: expected a run's folder"),
    (lambda: scs_jax.evaluate(3, "photos"), "3 names no trained network"),
    (lambda: scs_jax.evaluate("scsnet", 3), "--data 3: expected a text or a path"),
    (lambda: scs_jax.evaluate("scsnet", limit="3"), "--limit '3': expected a whole number from 1"),
    (lambda: scs_jax.evaluate("scsnet", "all", out=3), "--out 3: expected a text or a path"),
    (lambda: scs_jax.evaluate("scsnet", "photos", lpips_weights=[]), r"--lpips-weights \[\]"),
    (lambda: scs_jax.evaluate("cycle_cnn", "bundled", enlarge=True), "--enlarge is for methods"),
    (lambda: scs_jax.compare(None, "photos"), "--runs None: expected a text or a path"),
    (lambda: scs_jax.compare([3], "photos"), "--runs 3: expected"),
    (lambda: scs_jax.compare("all", "photos", cascades=3), "--cascade 3: expected"),
    (lambda: scs_jax.compare((), None, results="all"), "--data None: expected"),
    (lambda: scs_jax.compare((), "photos", results="all", scale=True), "--scale True: expected"),
    (lambda: scs_jax.compare((), "photos", results="all", inputs_out=""), "--inputs-out is empty"),
    (lambda: scs_jax.ablate(3), "no ablation is called 3"),
    (lambda: scs_jax.ablate("scsnet.losses", 3), "--config 3: expected a text or a path"),
    (lambda: scs_jax.ablate("scsnet.losses", index="0"), "--index '0': expected a whole number"),
    (lambda: scs_jax.ablate("scsnet.losses", workdir=""), "--workdir is empty"),
    (lambda: scs_jax.ablate("scsnet.losses", heldout=3), "--heldout 3: expected"),
  ],
)
def test_nonsense_is_refused_in_a_sentence(folder, call, words):
  with pytest.raises(UserError, match=words):
    call()


def test_what_is_not_there_is_refused_before_devices_are_looked_for(monkeypatch):
  """A training may hold them, or all of their memory."""
  for name in ("process_count", "process_index"):
    monkeypatch.setattr(jax, name, lambda: pytest.fail("devices were looked for"))
  with pytest.raises(UserError, match="no checkpoint"):
    scs_jax.evaluate("nowhere")
  with pytest.raises(UserError, match="nothing to compare"):
    scs_jax.compare("nowhere", "bundled")


def test_paths_are_as_good_as_texts():
  here = pathlib.Path("a=b")
  assert split_all("data", here) == [("", "a=b")]
  assert split_all("data", ["n=some/where", "some/n=where"]) == [
    ("n", "some/where"), ("", "some/n=where")
  ]  # fmt: skip
  assert split_all("data", {1: here}) == [("1", "a=b")]
  assert settings.read_folder("out", here) == here
  assert settings.read_spec("data", here) == "a=b"


def test_one_row_of_a_table_may_be_named_alone(folder):
  over = ("data.source=photos", "data.heldout=photos")
  plan = ablate_plan.make("scsnet.losses", rows="L_C", overrides=over)
  assert plan.chosen == ["L_C"]
  assert ablate_plan.make("scsnet.losses", rows=2, overrides=over).chosen == ["L_C + L_P"]


def test_a_model_is_of_one_step():
  model = Model("mine", None, 3, configs.load("scsnet/small"))
  assert models.find(model) is models.find(model, 3) is model
  with pytest.raises(UserError, match="mine is step 3 itself"):
    models.find(model, 4)


def test_a_data_set_may_be_called_all(folder):
  setting = Setting(modes=("random",), size=(16, 16), batch_size=2, reference_data="all")
  found = PhotoSet("photos", "photos", setting)
  assert found.references.fingerprint == open_source("all").fingerprint


def test_pictures_that_find_no_reference_are_counted_and_others_results_are_not(folder):
  """A folder of results that lacks pictures leaves fewer records in common: another matter."""
  scores = types.SimpleNamespace(records={"random": np.array([1])})
  setting = Setting(modes=("random",), size=(16, 16), batch_size=2)

  def notes():
    found = PhotoSet("photos", "photos", setting)
    with found.streams()[0].open(None) as batches:
      list(batches)
    return found.notes_on(scores)

  assert notes() == []
  pathlib.Path("photos/b.png").write_bytes(b"no picture")
  assert notes() == ["mode random: 1 of 1 pictures had no other one that can be read"]


def test_a_training_measures_by_lpips_picture_by_picture(monkeypatch):
  asked = []

  def distance(variables, a, b):
    asked.append(a.shape)
    return (a - b).mean((1, 2, 3))

  monkeypatch.setattr(learned.lpips, "load", lambda *paths: (distance, {}, "alex"))
  monkeypatch.setattr(learned, "describe_weights", lambda *about: {})
  config = types.SimpleNamespace(evaluate={"lpips_files": ("both.npz",)})
  a = np.arange(3.0).reshape(3, 1, 1, 1) * np.ones((3, 8, 8, 3))
  found = learned.perceptual_of(config)["lpips"](a, np.zeros_like(a))
  assert found.tolist() == [0, 1, 2] and asked == [(1, 8, 8, 3)] * 3
