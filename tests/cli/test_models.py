"""`scs-jax export`, `scs-jax models`, and what colours where nobody says with what."""

import json
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image

from scs_jax.cli import main as cli
from scs_jax.core import config as configs
from scs_jax.core.contract import TrainState
from scs_jax.training import models
from scs_jax.training.checkpoint import Checkpoints

# Red is the gray times a parameter, green the gray; of pairs, blue is the colour view's blue.
_METHOD = """
import jax.numpy as jnp
from scs_jax.core import contract
from scs_jax.core.contract import Prediction, TrainState
class Tint(contract.Method):
  takes_reference = False
  training_only = ("judge",)
  def __init__(self, config):
    pass
  def train_step(self, state, batch, key, collective, phase):
    return state, {}
  def init(self, key, batch):
    params = {"net": {"red": jnp.zeros(())}, "judge": {"w": jnp.zeros(1000)}}
    return TrainState(jnp.zeros((), jnp.int32), params, {}, {"net": {"mean": jnp.zeros(2)}})
  def predict(self, state, query):
    gray = jnp.broadcast_to(query.gray, (*query.gray.shape[:3], 1))
    blue = 0 * gray if query.reference is None else query.reference[..., 2:]
    red = gray * state.params["net"]["red"]
    return Prediction(jnp.concatenate([red, gray, blue], axis=-1))
class PairTint(Tint):
  takes_reference = True
  takes_pairs = True
  search_range = 4
"""
CARD = """
summary = "Tints what it is given."
licence = "For research alone."
data = ["nothing"]
limits = ["Everything."]
[budget]
steps = 3
[[figures]]
what = "noise, 1x"
metric = "PSNR ab"
unit = "dB"
value = 20.5
interval = [20, 21]
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
  """The working folder: runs photos/ and pairs/, card.toml, gray.png; no model ships."""
  (tmp_path / "tint_of_test.py").write_text(_METHOD)
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(models, "FOLDER", tmp_path / "shipped")
  for name, method in (("photos", "Tint"), ("pairs", "PairTint")):
    config = configs.load("common").copy_and_resolve_references()
    with config.unlocked():
      config.method.name = f"tint_of_test:{method}"
    params = {"net": {"red": np.float32(1 / 3)}, "judge": {"w": np.ones(1000, np.float32)}}
    state = TrainState(np.int32(3), params, {}, {"net": {"mean": np.ones(2, np.float32)}})
    with Checkpoints(name) as checkpoints:
      checkpoints.save(3, state, data={}, config=config.lock(), wait=True)
  (tmp_path / "card.toml").write_text(CARD)
  rng = np.random.default_rng(0)
  Image.fromarray(rng.integers(0, 256, (20, 30)).astype(np.uint8)).save("gray.png")
  yield tmp_path
  sys.modules.pop("tint_of_test", None)


def export(name, *flags, run="photos"):
  pathlib.Path("shipped").mkdir(exist_ok=True)
  return cli.main(["export", run, f"shipped/{name}.safetensors", "--card", "card.toml", *flags])


def test_a_method_of_ones_own_is_exported_and_listed_with_its_card(place, capsys):
  assert cli.main(["models"]) == 0
  assert "no models ship with this copy of scs_jax" in capsys.readouterr().out
  assert export("scsnet", "--dtype", "float16") == 0
  out = capsys.readouterr().out
  size = pathlib.Path("shipped/scsnet.safetensors").stat().st_size
  assert f"step 3, {size / 1e6:.2f} MB, float16, with its card" in out
  assert cli.main(["models"]) == 0
  lines = capsys.readouterr().out.splitlines()
  # The judge's thousand stay behind.
  assert lines[0].startswith("scsnet  0.0") and "1 parameters in float16" in lines[0]
  assert [line.strip() for line in lines[1:] if line.startswith("  ")][-3:] == [
    "Tints what it is given.",
    "licence of the weights: For research alone.",
    "noise, 1x: PSNR ab 20.5 dB (20 to 21)",
  ]
  assert "The weights are for research, apart from the code's licence" in "\n".join(lines)
  assert all(len(line) <= 100 for line in lines)
  assert cli.main(["models", "scsnet"]) == 0
  shown = capsys.readouterr().out
  for part in ("step 3", "trained with", "jax", "For research alone.", "nothing", "Everything.",
               "steps: 3", "PSNR ab 20.5 dB (20 to 21)"):  # fmt: skip
    assert part in shown
  assert cli.main(["models", "scsnett"]) == 2
  assert "did you mean scsnet?" in capsys.readouterr().err


def test_without_a_checkpoint_the_default_model_colours_and_is_named(place, capsys):
  argv = ["colorize", "gray.png", "--quiet", "--out"]
  assert cli.main([*argv, "none.png"]) == 2
  err = capsys.readouterr().err
  assert "no model 'smsanet', which is the default, ships" in err and err.count("\n") == 1
  assert cli.main([*argv, "none.png", "--step", "3"]) == 2
  assert "--step goes with --checkpoint" in capsys.readouterr().err
  for name in ("smsanet", "scsnet"):
    export(name)
  export("cycle_cnn", run="pairs")
  assert cli.main([*argv, "default.png"]) == 0
  assert "colouring with smsanet, a model of scs_jax" in capsys.readouterr().out
  assert cli.main([*argv, "large.png", "--scale", "2"]) == 0
  assert "colouring with scsnet, a model of scs_jax" in capsys.readouterr().out
  assert cli.main([*argv, "run.png", "--checkpoint", "photos"]) == 0
  assert "colouring with" in capsys.readouterr().out
  found = np.asarray(Image.open("default.png"))
  np.testing.assert_array_equal(found, np.asarray(Image.open("run.png")))
  gray = np.asarray(Image.open("gray.png"))
  np.testing.assert_allclose(found[..., 0], gray / 3, atol=0.51)


def test_pairs_have_a_default_of_their_own(place, capsys):
  export("scsnet")
  export("cycle_cnn", run="pairs")
  rng = np.random.default_rng(1)
  Image.fromarray(rng.integers(0, 256, (20, 30, 3)).astype(np.uint8)).save("color.png")
  argv = ["colorize", "--mono", "gray.png", "--color", "color.png", "--out", "pair.png"]
  assert cli.main([*argv, "--quiet", "--mono-view", "right"]) == 0, capsys.readouterr().err
  assert "colouring with cycle_cnn, a model of scs_jax" in capsys.readouterr().out
  assert Image.open("pair.png").size == (30, 20)


def test_a_model_is_measured_as_its_run_is(place, capsys):
  """The same figures from the run, its file and a name; results not beside a shipped model."""
  export("scsnet")
  (place / "set").mkdir()
  rng = np.random.default_rng(1)
  for i in range(2):
    Image.fromarray(rng.integers(0, 256, (32, 32, 3)).astype(np.uint8)).save(f"set/{i}.png")
  common = ["--data", "set", "--size", "32", "--scale", "1", "--modes", "automatic", "--quiet"]
  figures = []
  for given in ("photos", "scsnet"):
    argv = ["evaluate", "--checkpoint", given, "--no-baselines", "--panels", "0", *common]
    assert cli.main(argv) == 0, capsys.readouterr().err
  for folder in ("photos/evaluation", "evaluation/scsnet"):
    (found,) = pathlib.Path(folder).rglob("results.json")
    record = json.loads(found.read_text())
    assert record["checkpoint"]["step"] == 3
    figures.append(next(iter(record["results"]["automatic"].values())))
  assert figures[0] == figures[1]
  argv = ["compare", "--runs", "photos", "scsnet", "shipped/scsnet.safetensors", *common]
  assert cli.main([*argv, "--out", "out", "--no-speed", "--panels", "0"]) == 0
  rows = json.loads(pathlib.Path("out/results.json").read_text())["rows"]
  assert {"photos", "scsnet", "scsnet (2)"} <= set(rows)


@pytest.mark.parametrize(
  ("argv", "part"),
  [
    (["photos", "out.npz"], "expected a name that ends in .safetensors"),
    (["nowhere", "out.safetensors"], "no model is called 'nowhere'"),
    (["photos", "out.safetensors", "--step", "4"], "no checkpoint of step 4"),
    (["photos", "out.safetensors", "--dtype", "float8"], "choose from"),
    (["photos", "out.safetensors", "--card", "gray.png"], "ends in .toml or .json"),
  ],
)
def test_a_slip_is_one_line_and_nothing_is_written(place, capsys, argv, part):
  assert cli.main(["export", *argv]) == 2
  err = capsys.readouterr().err
  assert err.startswith("scs-jax: error: ") and err.count("\n") == 1 and part in err
  assert not list(place.glob("out.*"))
