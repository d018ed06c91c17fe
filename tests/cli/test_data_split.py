"""Pairs dealt at random to two lists that stand for them."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from scs_jax.cli import main as cli
from scs_jax.data.stereo import open_pairs


@pytest.fixture
def folders(tmp_path, monkeypatch):
  """mono/ and color/ with ten pairs, some with odd names, and lists/."""
  monkeypatch.chdir(tmp_path)
  rng = np.random.default_rng(0)
  names = ['a, "b"', "ä b", "x/1", *(f"p{k}" for k in range(7))]
  for folder, shape in (("mono", (8, 20)), ("color", (8, 20, 3))):
    for name in names:
      path = tmp_path / folder / f"{name}.png"
      path.parent.mkdir(parents=True, exist_ok=True)
      Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(path)
  (tmp_path / "lists").mkdir()
  return names


def split(*more):
  return cli.main(["data", "split", "mono,color", "--heldout", "3", "--out", "lists", *more])


def pairs(name):
  """The bytes of both views of a list's pairs, as a set, and how many pairs there are."""
  source = open_pairs(f"lists/{name}.csv", mono_view="right")
  views = (map(pathlib.Path, record.views) for record in source.records)
  return {tuple(path.read_bytes() for path in both) for both in views}, len(source)


def test_every_pair_is_in_one_list(folders, tmp_path, capfd):
  assert split() == 0
  assert capfd.readouterr().out == "lists/train.csv: 7 pairs\nlists/heldout.csv: 3 pairs\n"
  (train, many), (heldout, few) = pairs("train"), pairs("heldout")
  assert (many, few) == (7, 3) and not train & heldout
  read = lambda name: tuple((tmp_path / d / f"{name}.png").read_bytes() for d in ("mono", "color"))
  assert train | heldout == {read(name) for name in folders}


def test_the_seed_decides_and_lists_are_not_replaced_unasked(folders, capfd):
  assert split() == 0
  first = pairs("heldout")[0]
  assert split() == 2 and "there already" in capfd.readouterr().err
  assert split("--overwrite") == 0 and pairs("heldout")[0] == first
  found = [first]
  for seed in ("1", "2", "3"):
    assert split("--overwrite", "--seed", seed) == 0
    found.append(pairs("heldout")[0])
  assert len({frozenset(one) for one in found}) > 1


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    (["mono,color", "--heldout", "10"], "has 10 pairs, and one at least is to be trained on"),
    (["mono,color", "--heldout", "2", "--seed", "-1"], "expected 0 or more"),
    (["bundled", "--heldout", "1"], "has 1 pairs"),
  ],
)
def test_what_cannot_be_split(folders, argv, message, capfd):
  assert cli.main(["data", "split", *argv, "--out", "lists"]) == 2
  assert message in capfd.readouterr().err
