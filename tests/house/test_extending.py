"""docs/extending.md as it stands: a method outside the package, served by every verb."""

import pathlib
import re
import shlex

import numpy as np
import pytest
from PIL import Image
from skimage import data

from scs_jax.cli import main as cli

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("extending")
  for name, code in FILES.items():
    (folder / name).write_text(code)
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
  assert set(FILES) == {"unet.py", "unet_small.py"} and len(lines) < 100


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[0])
def test_every_verb_serves_it(command, capsys):
  more = []
  if command[0] == "train":
    more = [f"--config.{key}={value}" for key, value in SMALL.items()]
  if command[0] == "evaluate":
    more = ["--limit", "2"]
  assert cli.main([*command, *more]) == 0, capsys.readouterr().err
  out = capsys.readouterr().out
  if command[0] == "params":
    assert "unet" in out
  if command[0] == "evaluate":
    assert "automatic" in out and "random" not in out.partition("note")[0]
  if command[0] == "colorize":
    found = np.asarray(Image.open("colored/a.png"))
    gray = np.asarray(Image.open("scans/a.png"))
    assert found.shape == (53, 70, 3)
    # Three steps of training colour little; the luminance is the original's.
    assert np.abs(found.mean(axis=-1) - gray).max() < 12
