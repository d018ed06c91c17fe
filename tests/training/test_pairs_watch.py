"""Pairs watched along a training: exact means, panels, and what is refused before it."""

import json
import pathlib
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from scs_jax.core import config as configs
from scs_jax.core.contract import Prediction
from scs_jax.data import opening
from scs_jax.errors import UserError
from scs_jax.training import loop
from scs_jax.training.watch import Watch

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "measure"))

from pair_fakes import HEIGHT, Shifting, batch_of, scored, soft


@pytest.fixture
def config():
  config = configs.load("common").copy_and_resolve_references()
  config.unlock()
  config.method.name = "shifting"
  config.batch_size, config.steps = 8, 2
  config.evaluate.modes = ("first", "second")
  config.checkpoint.best_metric = "second/psnr_rgb"
  config.log.evaluate_every = config.log.panels_every = config.log.every_steps = 2
  return config


def heldout(known=(True, False, True)):
  truth = np.stack([soft(i) for i in range(3)])
  seen = np.stack([soft(10 + i) for i in range(3)])
  return [
    batch_of(truth[:2], seen[:2], known[:2], [0, 1]),
    batch_of(truth[2:], seen[2:], known[2:], [2], size=2),
  ]


def test_a_training_logs_exact_means_and_draws(config, tmp_path):
  pairs = heldout()
  step = {"index": np.arange(8, dtype=np.uint32)}
  data = opening.Data(lambda start: iter([step] * 9), pairs)

  class Dim(Shifting):
    def predict(self, state, query):
      return Prediction(0.9 * super().predict(state, query).rgb)

  loop.run_steps(config, Dim(), data, tmp_path / "run", quiet=True)
  lines = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
  found = {name: value for line in lines for name, value in line.items() if "/" in name}
  scores, _ = scored(Dim(), pairs, "m")
  for mode in ("first", "second"):
    for metric, values in scores.of[mode]["m"].items():
      assert found[f"{mode}/{metric}"] == pytest.approx(values.mean(), rel=1e-5)
  assert len(scores.records["first"]) == 2
  panel = np.asarray(Image.open(tmp_path / "run/panels/step_00000002.png"))
  assert panel.shape[0] == 3 * (HEIGHT + 24)  # three pairs, padding left out


def test_a_distance_by_files_of_the_user_is_a_curve_too(config, tmp_path, monkeypatch):
  from scs_jax.nn.features import lpips

  distance = lambda variables, a, b: jnp.abs(a - b).mean(axis=(1, 2, 3))
  monkeypatch.setattr(lpips, "load", lambda *paths: (distance, {}, "alex"))
  weights = tmp_path / "both.npz"
  weights.write_text("weights")
  config.evaluate.lpips_files = (str(weights),)
  config.log.panels_every = 0
  parallel = types.SimpleNamespace(whole=lambda state: state)
  means = Watch(config, Shifting(), heldout(), tmp_path)(parallel, None, 2, True)
  # What Shifting gives first-time has the colours of the view beside it, second-time its own.
  _, places = scored(Shifting(), heldout())
  shown = np.stack([places["first"][i]["net"] for i in (0, 2)])
  truth = np.stack([soft(0), soft(2)])
  assert means["first/lpips"] == pytest.approx(np.abs(shown / 255 - truth / 255).mean(), abs=1e-6)
  assert 0 <= means["second/lpips"] < means["first/lpips"]


@pytest.mark.parametrize(
  "change, words",
  [
    ({"checkpoint.best_metric": "automatic/psnr_rgb"}, "second/psnr_rgb"),
    ({"evaluate.modes": ("automatic",)}, "colours pairs: its modes are first, second"),
    ({"evaluate.modes": ("first",)}, "checkpoint.best_metric"),
  ],
)
def test_nonsense_is_refused_before_anything_is_compiled(config, tmp_path, change, words):
  for path, value in change.items():
    section, key = path.split(".")
    config[section][key] = value
  with pytest.raises(UserError, match=words):
    Watch(config, Shifting(), heldout(), tmp_path)


def test_first_time_takes_the_truth(config, tmp_path):
  without = heldout(known=(False,) * 3)
  Watch(config, Shifting(), without, tmp_path)  # second-time figures alone
  config.checkpoint.best_metric = "first/psnr_rgb"
  Watch(config, Shifting(), heldout(), tmp_path)
  with pytest.raises(UserError, match="no held-out pair has the truth"):
    Watch(config, Shifting(), without, tmp_path)


def test_pairs_that_cannot_be_read_or_are_too_small(config, tmp_path):
  broken = [b | {"mask": np.zeros(2, bool)} for b in heldout()]
  with pytest.raises(UserError, match="none of the held-out pairs can be read"):
    Watch(config, Shifting(), broken, tmp_path)
  small = batch_of(soft(0, 8, 20)[None], soft(1, 8, 20)[None], [True], [0])
  with pytest.raises(UserError, match="held-out pairs are 8 pixels high or wide"):
    Watch(config, Shifting(), [small], tmp_path)


def test_photographs_have_no_second_time(config, tmp_path):
  class Photo(Shifting):
    takes_pairs = False

  pictures = [{"image": soft(0)[None], "mask": np.ones(1, bool), "record": np.zeros(1, np.int32)}]
  with pytest.raises(UserError, match="colours single pictures: its modes are automatic"):
    Watch(config, Photo(), pictures, tmp_path)
