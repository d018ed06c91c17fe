"""docs/extending.md as it stands: a method outside the package, served by every verb."""

import csv
import json
import pathlib
import re
import shlex

import jax
import numpy as np
import pytest
from PIL import Image
from skimage import data

from scs_jax.cli import main as cli
from scs_jax.core import config as configs
from scs_jax.core import resolve
from scs_jax.training.checkpoint import Checkpoints

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(
  zip(
    re.findall(r"^`(\w+\.py)`, .*:$", TEXT, re.MULTILINE),
    re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL),
    strict=True,
  )
)
SMALL = {
  "steps": 3,
  "width": 4,
  "data.crop": 32,
  "batch_size": 8,
  "checkpoint.every_steps": 3,
  "log.evaluate_every": 3,
  "log.panels_every": 3,
  "evaluate.limit": 2,
}

# Another method outside the package, for the second part of a cascade.
ENLARGER = """
from scs_jax.core.contract import Prediction
from scs_jax.ops.resize import resize_bicubic
from unet import UNet
class Enlarger(UNet):
  only_enlarges, usual_scale = True, 2.0
  def predict(self, state, query):
    return Prediction(resize_bicubic(query.reference, query.size))
"""
MORE = {
  "train": [f"--config.{key}={value}" for key, value in SMALL.items()],
  "evaluate": ["--limit", "2"],
  "compare": ["--limit", "2", "--size", "32", "--no-speed", "--no-baselines", "--panels", "0"],
  "ablate": ["--steps", "2", "--limit", "2"]
  + [f"--config.{key}={value}" for key, value in SMALL.items() if key != "steps"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("extending")
  for name, code in FILES.items():
    (folder / name).write_text(code)
  (folder / "enlarger.py").write_text(ENLARGER)
  (folder / "scans").mkdir()
  for name, photo in (("a.png", data.chelsea()), ("b.jpg", data.coffee())):
    Image.fromarray(photo).convert("L").resize((70, 53)).save(folder / "scans" / name)
  return folder


@pytest.fixture(autouse=True)
def there(folder, monkeypatch):
  monkeypatch.chdir(folder)
  monkeypatch.syspath_prepend(str(folder))


def commands():
  block = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)[-1]
  return [shlex.split(line)[1:] for line in block.strip().splitlines()]


def test_it_is_short():
  lines = [line for code in FILES.values() for line in code.splitlines() if line.strip()]
  assert set(FILES) == {"unet.py", "unet_small.py", "unet_ablations.py"} and len(lines) < 100


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[0])
def test_every_verb_serves_it(command, capsys):
  if command[0] == "compare":
    make_enlarger()
  assert cli.main([*command, *MORE.get(command[0], [])]) == 0, capsys.readouterr().err
  out = capsys.readouterr().out
  if command[0] == "params":
    assert "unet" in out
  if command[0] == "evaluate":
    assert "automatic" in out and "random" not in out.partition("note")[0]
  if command[0] == "compare":
    of = json.loads(pathlib.Path("comparison/results.json").read_text())["rows"]
    assert list(of) == ["unet, L interpolated", "unet, true L", "unet + enlarger"]
    assert of["unet, true L"]["true_lightness"] and of["unet + enlarger"]["enlarged"] == 2.0
  if command[0] == "ablate":
    with open("runs/ablate/unet.width-unet_small/table.csv", newline="") as file:
      rows = {row["row"]: row for row in csv.DictReader(file)}
    assert [row["status"] for row in rows.values()] == ["done", "done"]
    assert all(0 < float(row["PSNR ab: ours"]) < 60 for row in rows.values())
    assert int(rows["half"]["parameters"]) > int(rows["whole"]["parameters"])  # here 8 beside 4
  if command[0] == "colorize":
    found = np.asarray(Image.open("colored/a.png"))
    gray = np.asarray(Image.open("scans/a.png"))
    assert found.shape == (53, 70, 3)
    # Three steps of training colour little; the luminance is the original's.
    assert np.abs(found.mean(axis=-1) - gray).max() < 12


def make_enlarger():
  """A run of the other method, as it begins."""
  config = configs.load("unet_small.py").copy_and_resolve_references()
  config.unlock()
  config.method.name = "enlarger:Enlarger"
  state = resolve.build(config).init(jax.random.key(0), {})
  path = pathlib.Path("runs/enlarger").resolve()
  with Checkpoints(path, keep_last=1, best_metric=None) as checkpoints:
    checkpoints.save(0, state, data={}, config=config, metrics=None, wait=True)
