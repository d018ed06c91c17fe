"""ImageNet-C's rule, by hand on a few files; the histogram; what a wrong threshold is told."""

import io
import json
import types

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import scan, select
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


def bars(sizes, variation, min_kb=1.0, min_variation=5.0):
  """Columns of a histogram's upper and lower half in which there is a kept bar, and a pale one."""
  rule = {"rule": {"min_kb": min_kb, "min_variation": min_variation}}
  chosen = types.SimpleNamespace(statistics=rule, sizes=sizes, variation=variation)
  pixels = np.asarray(Image.open(io.BytesIO(select.draw(chosen))).convert("RGB")).astype(int)
  halves = np.split(pixels, 2)
  colors = (0x22, 0x77, 0xCC), (0xC8, 0xD4, 0xE0)
  # Of letters a few pixels have such a colour, too.
  columns = lambda half, color: np.flatnonzero((abs(half - color) < 9).all(-1).sum(0) > 20)
  return [[columns(half, color) for color in colors] for half in halves]


def test_histograms_part_at_the_thresholds():
  sizes = 1024 * np.array([0.25, 0.5, 0.9, 1, 2, 4, 100])
  for kept, pale in bars(sizes, np.array([1, 2, 4.9, 5, 8, 30, np.nan])):
    assert len(kept) and len(pale) and pale.max() < kept.min()
    assert kept.max() > 590  # the largest is there, too


def test_histograms_of_all_or_none_or_one_value():
  (_, below), (above, _) = bars(np.array([2e3, 3e3]), np.array([1.0, 2.0]))
  assert not len(below) and not len(above)
  for values in ([7.0], [7.0] * 5, [np.nan], [0.0, 0.0]):
    bars(np.array([3.0, 1e9]), np.array(values))
