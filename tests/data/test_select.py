"""ImageNet-C's rule, by hand on a few files; the histogram; what a wrong threshold is told."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import histogram, scan, select
from scs_jax.data.sources import FolderSource
from scs_jax.errors import UserError


def half(left, right, size=128):
  """Two colours side by side: their variation is half the distance of their (a, b)."""
  pixels = np.empty((size, size, 3), np.uint8)
  pixels[:, : size // 2], pixels[:, size // 2 :] = left, right
  return Image.fromarray(pixels)


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "photos"
  root.mkdir()
  files = {
    "vivid.png": half((200, 30, 30), (30, 30, 200)),
    "gray.png": half((20, 20, 20), (220, 220, 220)),
    "sepia.png": half((160, 120, 80), (160, 120, 80)),
    "small.png": half((200, 30, 30), (30, 30, 200)),
  }
  for name, image in files.items():
    image.save(root / name)
    size = 100 if name == "small.png" else 3000
    with open(root / name, "ab") as file:  # what follows a picture is not read
      file.write(b"\0" * max(0, size * 1024 // 1000 - (root / name).stat().st_size))
  (root / "torn.png").write_bytes(b"torn" * 1000)
  (root / "empty.png").write_bytes(b"")
  return root


def test_the_rule(folder):
  chosen = select.select(FolderSource(folder), min_kb=2, min_variation=12, progress=False)
  assert chosen.names == ["gray.png", "sepia.png", "small.png", "torn.png", "vivid.png"]
  assert chosen.kept.tolist() == [False, False, False, False, True]
  assert np.isnan(chosen.variation[[2, 3]]).all()
  assert chosen.variation[:2] == pytest.approx([0, 0], abs=0.05)
  expected = scan.color_variation(np.asarray(half((200, 30, 30), (30, 30, 200))))
  assert chosen.variation[4] == pytest.approx(expected, rel=1e-3) and expected > 40
  told = chosen.statistics
  counts = {k: told[k] for k in ("pictures", "empty_files", "too_small", "cannot_be_read")}
  assert counts == {"pictures": 5, "empty_files": 1, "too_small": 1, "cannot_be_read": 1}
  assert (told["too_little_variation"], told["kept"], told["kept_share"]) == (2, 1, 0.2)
  assert told["kept_at_variation"]["0"] == 3 and told["kept_at_variation"]["12"] == 1
  assert told["kept_bytes"] == (folder / "vivid.png").stat().st_size
  json.dumps(told)


def test_a_file_of_just_the_size_is_kept_and_a_byte_less_is_not(folder):
  size = (folder / "vivid.png").stat().st_size
  source = FolderSource(folder)
  at = lambda kb: select.select(source, kb, 1, progress=False).kept[4]
  assert at(size / 1024)
  with pytest.raises(UserError, match="none of 5 pictures is kept"):
    at((size + 1) / 1024)


def test_zero_takes_all_that_decode(folder):
  chosen = select.select(FolderSource(folder), 0, 0, progress=False)
  assert chosen.kept.tolist() == [True, True, True, False, True]


def test_a_cache_spares_the_second_reading(folder, tmp_path, monkeypatch):
  cache = tmp_path / "cache.json"
  first = select.select(FolderSource(folder), 2, 12, cache=cache, progress=False)

  def refuse(*_):
    raise AssertionError("opened")

  monkeypatch.setattr(FolderSource, "open", refuse)
  again = select.select(FolderSource(folder), 2, 12, cache=cache, progress=False)
  np.testing.assert_array_equal(again.variation, first.variation)


def test_errors_say_what_to_do(folder):
  source = FolderSource(folder)
  for options in ({"min_kb": -1}, {"min_variation": float("nan")}, {"min_kb": float("inf")}):
    with pytest.raises(UserError, match="expected a number of 0 or more"):
      select.select(source, **options, progress=False)
  with pytest.raises(UserError, match=r"none of 5 .*5 too small.*lower --min-kb or --min-v"):
    select.select(source, progress=False)


def bars(row):
  """Columns of a drawn histogram in which there is a kept bar, and a pale one."""
  pixels = np.asarray(Image.open(io.BytesIO(histogram.draw([row]))).convert("RGB")).astype(int)
  found = []
  for color in ((0x22, 0x77, 0xCC), (0xC8, 0xD4, 0xE0)):
    found.append(np.flatnonzero((pixels == color).all(-1).any(0)))
  return found


@pytest.mark.parametrize("log", [False, True])
def test_histogram_parts_at_the_threshold(log):
  values = np.array([1, 2, 4, 8, 16, 32, 64, 100, np.nan])
  kept, pale = bars(histogram.Histogram("t", "u", values, 8, log))
  assert len(kept) and len(pale) and pale.max() < kept.min()
  left, width = 64, 640 - 64 - 20
  share = np.log(8) / np.log(100) if log else 7 / 99
  assert kept.min() == pytest.approx(left + share * width, abs=3)


def test_histogram_of_all_or_none_or_one_value():
  assert not len(bars(histogram.Histogram("t", "u", np.array([5.0, 6.0]), 0))[1])
  assert not len(bars(histogram.Histogram("t", "u", np.array([5.0, 6.0]), 9))[0])
  for values in ([7.0], [7.0] * 5, [], [np.nan], [0.0, 0.0]):
    histogram.draw([histogram.Histogram("t", "u", np.array(values), 7.0)])
  histogram.draw([histogram.Histogram("t", "u", np.array([3, 10 ** 9]), 81920, log=True)])


def test_histogram_counts_every_value():
  values = np.random.default_rng(0).lognormal(11, 1, 5000)
  edges = histogram._edges(values, histogram.Histogram("t", "u", values, 81920, True))
  assert np.histogram(values, edges)[0].sum() == 5000 and 81920 in np.round(edges, 6)
  assert (np.diff(edges) > 0).all() and len(edges) == 61
  assert histogram._ticks(0.0, 33.0, False) == [0, 10, 20, 30]
  assert histogram._ticks(2294.0, 69055.0, True) == [5e3, 1e4, 2e4, 5e4]
