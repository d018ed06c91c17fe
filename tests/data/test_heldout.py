"""What is remembered of each picture, and that no picture is its own reference."""

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import pipeline
from scs_jax.data.decode import DecodeError
from scs_jax.data.heldout import Observed, References
from scs_jax.data.sources import FolderSource
from scs_jax.errors import UserError


def folder(root, levels, size=(12, 12), broken=()):
  """One colour each, of this red; gray where it is None."""
  root.mkdir(parents=True)
  for i, level in enumerate(levels):
    color = (80, 80, 80) if level is None else (level, 90, 200)
    Image.new("RGB", size, color).save(root / f"p{i:02}.png")
  for i in broken:
    (root / f"p{i:02}.png").write_bytes(b"no picture")
  return FolderSource(root)


def test_sizes_and_causes_are_remembered(tmp_path):
  folder(tmp_path / "a", [1, 2, 3], broken=[1])
  Image.new("RGB", (30, 5)).save(tmp_path / "a/small.png")
  source = Observed(FolderSource(tmp_path / "a"), smallest=11)
  with pipeline.eval_batches(source, 12, 3) as batches:
    masks = [batch["mask"].tolist() for batch in batches]
  assert masks == [[True, False, True], [False] * 3]
  assert source.sizes == {0: (12, 12), 2: (12, 12)}
  assert set(source.errors) == {1, 3}
  assert "p01.png: not a picture" in source.errors[1]
  assert source.errors[3] == "small.png: 30x5 pixels, expected 11 or more a side"
  assert (len(source), source.name(3)) == (4, "small.png")
  assert source.fingerprint == FolderSource(tmp_path / "a").fingerprint


@pytest.mark.parametrize("seed", range(8))
def test_a_circle_of_other_pictures(tmp_path, seed):
  """Each lends to one and borrows from another, and broken ones are passed over."""
  levels = [10 * i for i in range(9)]
  source = folder(tmp_path / "a", levels, broken=[2, 5])
  references = References(source, seed)
  readable = [i for i in range(9) if i not in (2, 5)]
  lent = [int(references[i][0, 0, 0]) // 10 for i in readable]
  assert all(a != b for a, b in zip(lent, readable, strict=True))
  assert sorted(lent) == readable  # a circle of those that can be read
  for i, j in zip(readable, lent, strict=True):
    assert references.name(i) == f"p{j:02}.png"
  again = References(source, seed)
  with pipeline.eval_batches(again, 12, 4) as batches:  # on threads, in order
    read = np.concatenate([b["image"][b["mask"], 0, 0, 0] for b in batches]) // 10
  assert [read[i] for i in readable] == lent


def test_the_seed_decides(tmp_path):
  source = folder(tmp_path / "a", range(9))
  lent = {seed: tuple(References(source, seed).name(i) for i in range(9)) for seed in range(5)}
  assert len(set(lent.values())) == 5


def test_only_the_first_records_take_part(tmp_path):
  source = folder(tmp_path / "a", range(9))
  references = References(source, 0, count=3)
  assert len(references) == 3
  assert {references.name(i) for i in range(3)} == {"p00.png", "p01.png", "p02.png"}


def test_pictures_of_another_folder(tmp_path):
  """All are dealt before one comes again; a copy under the same name is passed over."""
  source = folder(tmp_path / "a", range(6))
  pool = folder(tmp_path / "b/deep", range(4), broken=[3])
  references = References(source, 1, FolderSource(tmp_path / "b"))
  names = [references.name(i) for i in range(6)]
  assert all(name.startswith("deep/") for name in names)
  assert all(name != f"deep/p{i:02}.png" for i, name in enumerate(names))
  assert "deep/p03.png" not in names and len(set(names)) == 3
  assert references.fingerprint != source.fingerprint and len(pool) == 4
  wide = folder(tmp_path / "c", range(20))
  assert len({References(source, 1, wide).name(i) for i in range(6)}) >= 5


@pytest.mark.parametrize("seed", range(4))
def test_gray_ones_lend_nothing_where_others_have_colour(tmp_path, seed):
  source = folder(tmp_path / "a", [None, 10, None, 20, None, None], broken=[4])
  references = References(source, seed, size=8)
  names = [references.name(i) for i in range(6)]
  assert set(names) == {"p01.png", "p03.png"} and references.gray == set()
  assert (names[1], names[3]) == ("p03.png", "p01.png")
  pool = folder(tmp_path / "b/deep", [None, 30, 40])
  dealt = References(source, seed, pool)
  assert {dealt.name(i) for i in range(6)} == {"p01.png", "p02.png"} and dealt.gray == set()


def test_gray_ones_are_taken_and_counted_where_there_is_no_other(tmp_path):
  references = References(folder(tmp_path / "a", [None, 10, None]), 0)
  assert [references.name(i) for i in (0, 2)] == ["p01.png"] * 2 and not references.gray
  assert references.name(1) in ("p00.png", "p02.png") and references.gray == {1}
  assert references[1].tolist() == np.full((12, 12, 3), 80).tolist()


def test_only_the_part_that_is_used_is_judged(tmp_path):
  source = folder(tmp_path / "a", [10, 20])
  picture = np.full((12, 36, 3), 90, np.uint8)
  picture[:, :12] = (250, 0, 0)  # colour at a side that is cut off
  Image.fromarray(picture).save(tmp_path / "a/p00.png")
  assert References(source, 0).name(1) == "p00.png"
  references = References(source, 0, size=(6, 6))
  references.name(1)
  assert references.gray == {1}


def test_none_to_be_had(tmp_path):
  one = folder(tmp_path / "a", [1])
  with pytest.raises(UserError, match=r"mode random .* one picture; give two"):
    References(one, 0)
  two = References(folder(tmp_path / "b", [1, 2], broken=[1]), 0)
  with pytest.raises(DecodeError, match=r"p00.png: no other picture can be read"):
    two[0]
  assert two.name(0) == "" and two.name(1) == "p00.png"
