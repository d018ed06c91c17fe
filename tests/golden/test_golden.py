"""Tiny runs of `evaluate` and `compare`, of photos and of pairs, held as they are (held.py).

Those of `ablate` are in cli/test_ablate.py, which trains them anyway.
"""

import pathlib
import sys

import pytest

from scs_jax.cli import main as cli

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "cli"))

import held
import tinting

# Pairs of which no baseline is perfect, and wrong colours: figures of rounding errors alone differ
# between machines.
_PAIRS = {"numbers": (0, 1, 3), "tint": (0.1, 0, 0)}

@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  yield tmp_path
  sys.modules.pop("tinting_of_test", None)


def test_evaluate_photos(folder, capsys):
  tinting.make_photos()
  flags = ["--data", "photos", "--limit", "4", "--panels", "1", "--out", "out", "--quiet"]
  assert cli.main(["evaluate", "--checkpoint", "one", *flags]) == 0
  held.check("evaluate_photos", folder, capsys.readouterr().out, "results.json", "per_image.csv")


def test_evaluate_pairs(folder, capsys):
  pytest.importorskip("cv2")  # a baseline
  tinting.make_photos()
  tinting.make_pairs(**_PAIRS)
  flags = ["--data", "pairs.csv", "--panels", "1", "--out", "out", "--quiet"]
  assert cli.main(["evaluate", "--checkpoint", "pairing", *flags]) == 0
  held.check("evaluate_pairs", folder, capsys.readouterr().out, "results.json", "per_image.csv")


def test_compare_photos(folder, capsys):
  tinting.make_photos()
  flags = ["--data", "photos", "--no-speed", "--panels", "1", "--out", "out", "--quiet"]
  assert cli.main(["compare", "--runs", "one", "blind", *flags]) == 0
  files = ("results.json", "tables.md", "per_image-photos.csv")
  held.check("compare_photos", folder, capsys.readouterr().out, *files)


def test_compare_pairs(folder, capsys):
  pytest.importorskip("cv2")
  tinting.make_photos()
  tinting.make_pairs(**_PAIRS)
  flags = ["--data", "Middlebury=pairs.csv", "--no-speed", "--panels", "1", "--quiet"]
  rows = ["--runs", "pairing", "one", "--results", "theirs=color"]
  assert cli.main(["compare", *rows, *flags, "--out", "out"]) == 0
  files = ("results.json", "tables.md", "per_image-Middlebury.csv")
  held.check("compare_pairs", folder, capsys.readouterr().out, *files)
