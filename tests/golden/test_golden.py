"""Tiny runs of `evaluate`, `compare` and `ablate`, of photos and of pairs, held as they are.

What they print and write stands in texts beside this file. Words, keys and counts are compared
exactly, other numbers to a part in a thousand, as BLAS and XLA differ between machines; times,
versions and hashes not at all. After a change that is meant to change them,

    SCS_JAX_GOLDEN=write .venv/bin/python -m pytest tests/golden

writes the texts anew.
"""

import json
import math
import os
import pathlib
import re
import sys

import pytest

from scs_jax.cli import main as cli

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "cli"))

import ablating
import tinting

HERE = pathlib.Path(__file__).parent

# Pairs of which no baseline is perfect, and wrong colours: figures of rounding errors alone differ
# between machines.
_PAIRS = {"numbers": (0, 1, 3), "tint": (0.1, 0, 0)}

# Keys of records whose values depend on the machine or the clock.
_ASIDE = {"versions", "device", "system", "date", "speed", "seconds", "seconds_of_training"}
_HASH = re.compile(r"(?<![\w.])(?=\d*[a-f])[0-9a-f]{12,64}(?!\w)")
_NUMBER = re.compile(r"(?<!\w)(?<!\d\.)([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?!\w|\.\d)")


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
  _check("evaluate_photos", folder, capsys, "results.json", "per_image.csv")


def test_evaluate_pairs(folder, capsys):
  pytest.importorskip("cv2")  # a baseline
  tinting.make_photos()
  tinting.make_pairs(**_PAIRS)
  flags = ["--data", "pairs.csv", "--panels", "1", "--out", "out", "--quiet"]
  assert cli.main(["evaluate", "--checkpoint", "pairing", *flags]) == 0
  _check("evaluate_pairs", folder, capsys, "results.json", "per_image.csv")


def test_compare_photos(folder, capsys):
  tinting.make_photos()
  flags = ["--data", "photos", "--no-speed", "--panels", "1", "--out", "out", "--quiet"]
  assert cli.main(["compare", "--runs", "one", "blind", *flags]) == 0
  _check("compare_photos", folder, capsys, "results.json", "tables.md", "per_image-photos.csv")


def test_compare_pairs(folder, capsys):
  pytest.importorskip("cv2")
  tinting.make_photos()
  tinting.make_pairs(**_PAIRS)
  flags = ["--data", "Middlebury=pairs.csv", "--no-speed", "--panels", "1", "--quiet"]
  rows = ["--runs", "pairing", "one", "--results", "theirs=color"]
  assert cli.main(["compare", *rows, *flags, "--out", "out"]) == 0
  _check("compare_pairs", folder, capsys, "results.json", "tables.md", "per_image-Middlebury.csv")


def test_ablate_photos(folder, capsys, make_tiny_config):
  (folder / "photos").mkdir()
  ablating.make_photos(folder / "photos")
  path = ablating.write_scsnet(make_tiny_config(), folder)
  flags = ["--config", str(path), "--data", "photos", "--heldout", "photos", "--quiet"]
  rows = ["--rows", "1", "L_C + L_P"]  # the second fails: VGG16's weights are not there
  assert cli.main(["ablate", "scsnet.losses", *rows, *flags, "--workdir", "out"]) == 1
  _check("ablate_photos", folder, capsys, "table.md", "table.csv", "l-c/row.json")


def test_ablate_pairs(folder, capsys, make_cycle_config):
  path = ablating.write_cycle(make_cycle_config(), folder)
  flags = ["--config", str(path), "--rows", "10", "--workdir", "out", "--quiet"]
  assert cli.main(["ablate", "cycle_cnn.losses", *flags]) == 0
  _check("ablate_pairs", folder, capsys, "table.md", "table.csv", "no-color-refinement/row.json")


def _check(name, folder, capsys, *files):
  """Compares what was printed and these files of out/ with those that are held, or writes them."""
  found = {"screen.txt": capsys.readouterr().out}
  found |= {file.replace("/", "-"): (folder / "out" / file).read_text() for file in files}
  found = {file: _plain(file, text, folder) for file, text in found.items()}
  held = HERE / name
  if os.environ.get("SCS_JAX_GOLDEN") == "write":
    held.mkdir(exist_ok=True)
    for file, text in found.items():
      (held / file).write_text(text)
    pytest.skip(f"wrote {held}")
  for file, text in found.items():
    _compare(f"{name}/{file}", (held / file).read_text(), text)


def _plain(file, text, folder):
  """A text without what differs from run to run."""
  text = text.replace(str(folder), "<folder>").replace(folder.name, "<folder>")
  text = _HASH.sub("<hash>", text)
  if file.endswith("row.json"):  # every key of a config, new ones too, is in its identity
    text = json.dumps(json.loads(text) | {"identity": "<aside>"})
  return _lines(_without(json.loads(text))) if file.endswith(".json") else text


def _without(record):
  """A record without what is aside, its floats cut to six digits."""
  if isinstance(record, dict):
    return {key: "<aside>" if key in _ASIDE else _without(v) for key, v in record.items()}
  if isinstance(record, list):
    return [_without(value) for value in record]
  return float(f"{record:.6g}") if isinstance(record, float) else record


def _lines(record):
  """JSON in which a list or a dictionary that fits into a line has one."""
  text = json.dumps(record, indent=1)
  for inner in (r"\[[^\[\]{}]*\]", r"\{[^{}]*\}"):
    text = re.sub(inner, _fold, text)
  return text + "\n"


def _fold(part):
  line = " ".join(part[0].split())
  return line if len(line) <= 90 else part[0]


def _compare(what, held, found):
  held, found = _NUMBER.split(held), _NUMBER.split(found)
  blank = r"\s+" if what.endswith(".json") else " +"  # lines are folded, columns move
  spaced = lambda parts: [re.sub(blank, " ", part) for part in parts[::2]]
  assert spaced(found) == spaced(held), what
  for old, new, before in zip(held[1::2], found[1::2], held[:-1:2], strict=True):
    where = f"{what}, after {before[-60:]!r}: {old}, now {new}"
    if old.lstrip("+-").isdigit():
      assert new == old, where
    else:
      # Of what is printed; below a thousandth there is rounding alone, as in differences of means.
      last = max(1e-3, 1.01 * 10.0 ** -len(old.partition(".")[2]))
      assert math.isclose(float(new), float(old), rel_tol=1e-3, abs_tol=last), where
