"""What is measured: a seeded draw over the whole of a set, dealt to modes that share no picture."""

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import draw
from scs_jax.data.sources import FolderSource
from scs_jax.errors import UserError
from scs_jax.measure.photo_kind import SHARES

CLASSES, EACH = 20, 10


def large_every_other(root):
  """Folders of classes; within each every second picture is 12x8, the others 8x6."""
  for i in range(CLASSES * EACH):
    path = root / f"class{i // EACH:02d}" / f"{i:03d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6) if i % 2 else (12, 8), (200, 30, 90)).save(path)
  return FolderSource(root)


def test_a_draw_is_of_the_whole_set_and_of_large_pictures_alone(tmp_path):
  source = large_every_other(tmp_path)
  drawn = draw.draw(source, 30, seed=1, least=(8, 12))
  assert len(set(drawn.numbers.tolist())) == 30 and (drawn.numbers % 2 == 0).all()
  # 30 of 100 in 20 classes of 5: the first 30 by name would be of 6 classes.
  assert len({source.name(int(i)).partition("/")[0] for i in drawn.numbers}) >= 14
  assert drawn.looked_at == 30 + drawn.small and 15 < drawn.small < 50
  assert drawn.note((8, 12)) == [
    f"{drawn.small} of {drawn.looked_at} pictures are smaller than 12x8 and left out, as they "
    "would have to be enlarged"
  ]
  again, fewer = draw.draw(source, 30, 1, (8, 12)), draw.draw(source, 7, 1, (8, 12))
  assert again.numbers.tolist() == drawn.numbers.tolist()
  assert fewer.numbers.tolist() == drawn.numbers[:7].tolist()
  assert draw.draw(source, 30, 2, (8, 12)).numbers.tolist() != drawn.numbers.tolist()
  every = draw.draw(source, None, 1, (8, 12))
  assert sorted(every.numbers.tolist()) == list(range(0, 200, 2)) and every.small == 100
  anything = draw.draw(source, 150, 1)
  assert len(set(anything.numbers.tolist())) == 150 and anything.note((8, 12)) == []
  with pytest.raises(UserError, match=r"of 200 pictures of .* none has 13x8 pixels or more"):
    draw.draw(source, 3, least=(8, 13))


def test_every_picture_is_drawn_as_often_as_another():
  counts = np.zeros(12)
  for seed in range(2000):
    counts[draw.draw(range(12), 3, seed).numbers] += 1
  # 500 each; a standard deviation is sqrt(2000 * 1/4 * 3/4) = 19.4.
  assert np.abs(counts - 500).max() < 80


def test_a_picture_whose_size_cannot_be_read_is_drawn_so_that_its_reader_tells(tmp_path):
  Image.new("RGB", (4, 4)).save(tmp_path / "small.png")
  (tmp_path / "torn.png").write_bytes(b"torn")
  source = FolderSource(tmp_path)
  drawn = draw.draw(source, least=(5, 5))
  assert [source.name(int(i)) for i in drawn.numbers] == ["torn.png"] and drawn.small == 1


def test_the_paper_s_shares_are_dealt_and_no_picture_stands_in_two_modes():
  order = np.random.default_rng(3).permutation(7000)
  dealt = draw.deal(order, SHARES)
  assert {mode: len(n) for mode, n in dealt.items()} == {
    "automatic": 2500, "self": 500, "random": 2000}  # fmt: skip
  every = np.concatenate(list(dealt.values()))
  assert sorted(every) == sorted(order[:5000])
  assert all((np.diff(n) > 0).all() for n in dealt.values())


@pytest.mark.parametrize(
  ("records", "shares", "counts"),
  [
    (100, (2500, 500, 2000), (50, 10, 40)),
    (3, (2500, 500, 2000), (1, 1, 1)),
    (4, (2500, 500, 2000), (1, 1, 2)),
    (2, (2500, 500, 2000), (1, 0, 1)),
    (3000, (500, 2000), (500, 2000)),  # an ablation's: 2,500 pictures, not 2,000
    (1000, (500, 2000), (200, 800)),
    (2, (500, 2000), (1, 1)),
    (1, (500, 2000), (0, 1)),
    (9, (4,), (4,)),
  ],
)
def test_of_fewer_pictures_modes_get_as_large_parts(records, shares, counts):
  dealt = draw.deal(range(records), dict(zip("abc", shares, strict=False)))
  assert tuple(map(len, dealt.values())) == counts
  assert len(set(np.concatenate(list(dealt.values())))) == sum(counts)


def test_shared_modes_colour_the_same_pictures():
  dealt = draw.deal(range(14), SHARES, shared=True)
  assert all(n.tolist() == list(range(14)) for n in dealt.values())
  order = np.random.default_rng(0).permutation(600)
  dealt = draw.deal(order, SHARES, shared=True)
  assert sorted(dealt["self"]) == sorted(order[:500]) and len(dealt["random"]) == 600
