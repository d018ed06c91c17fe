"""Training and evaluation batches: same samples for every host, thread and process count."""

import itertools
import pathlib
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import order
from scs_jax.data.pipeline import (
  BatchSpec,
  eval_batches,
  record_names,
  train_batches,
)
from scs_jax.data.sources import FolderSource
from scs_jax.errors import UserError

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from batches import assert_same

COUNT = 11
SPEC = BatchSpec(batch_size=8, crop=12, seed=3, reference_probability=0.5, reference_size=8)


def write(root, count=COUNT, corrupt=()):
  """Picture i has i as its blue, and a gradient that tells positions and mirroring."""
  root.mkdir()
  for i in range(count):
    path = root / f"{i:02d}.png"
    if i in corrupt:
      path.write_bytes(b"torn")
      continue
    y, x = np.mgrid[:20, :14 + i]
    pixels = np.stack([y * 8, x * 5, np.full_like(x, i * 10)], -1).astype(np.uint8)
    Image.fromarray(pixels).save(path)
  return FolderSource(root)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return write(tmp_path_factory.mktemp("data") / "photos")


def take(count, source, spec=SPEC, **options):
  with train_batches(source, spec, **options) as batches:
    return list(itertools.islice(batches, count))


@pytest.fixture(scope="module")
def expected(source):
  return take(6, source)


def test_keys_types_and_contents(source, expected):
  batch = expected[0]
  assert {k: (v.dtype.name, v.shape) for k, v in batch.items()} == {
    "image": ("uint8", (8, 12, 12, 3)), "index": ("uint32", (8,)), "record": ("int32", (8,)),
    "bad": ("int32", (8,)), "reference": ("uint8", (8, 8, 8, 3)), "use_reference": ("bool", (8,))}
  for step, batch in enumerate(expected):
    np.testing.assert_array_equal(batch["index"], np.arange(8) + 8 * step)
    np.testing.assert_array_equal(
      batch["record"], [order.record_at(8 * step + i, COUNT, SPEC.seed) for i in range(8)])
    assert (batch["bad"] == -1).all()
    # The blue channel tells which photo each crop shows.
    assert (batch["image"][..., 2] == batch["record"][:, None, None] * 10).all()
    for i in range(8):
      blue = np.unique(batch["reference"][i, ..., 2])
      if batch["use_reference"][i]:
        assert len(blue) == 1 and blue[0] % 10 == 0 and blue[0] // 10 != batch["record"][i]
      else:
        assert (batch["reference"][i] == 0).all()
  used = np.concatenate([b["use_reference"] for b in expected])
  assert 10 < used.sum() < 38
  mirrored = [image[6, 0, 1] > image[6, -1, 1] for b in expected for image in b["image"]]
  assert 10 < sum(mirrored) < 38


def test_epochs_lose_and_repeat_nothing(source):
  shown = np.concatenate([b["record"] for b in take(11, source)])  # 88 = 8 epochs of 11
  for epoch in shown.reshape(8, COUNT):
    assert sorted(epoch) == list(range(COUNT))


@pytest.mark.parametrize("hosts", [2, 4, 8])
def test_hosts_concatenate_to_the_same_global_batches(source, expected, hosts):
  parts = [take(3, source, host=h, hosts=hosts) for h in range(hosts)]
  joined = [{k: np.concatenate([part[s][k] for part in parts]) for k in parts[0][s]}
            for s in range(3)]
  assert_same(joined, expected[:3])


def test_start_step_skips_without_reading(source, expected):
  assert_same(take(3, source, start_step=3), expected[3:])

  class Counting(FolderSource):
    loaded = 0
    def open(self, i, min_short_side=None):
      Counting.loaded += 1
      return super().open(i, min_short_side)

  counting = Counting(source.root)
  spec = BatchSpec(8, 12, seed=3, threads=0)
  far = take(1, counting, spec, start_step=2 ** 30)[0]
  assert Counting.loaded == 8
  np.testing.assert_array_equal(far["index"], np.arange(8))  # 8 * 2**30 = 2 * 2**32
  assert far["record"].tolist() == [order.record_at(2 ** 33 + i, COUNT, 3) for i in range(8)]


@pytest.mark.parametrize("threads", [0, 1, 5])
def test_threads_change_nothing(source, expected, threads):
  spec = BatchSpec(**{**vars(SPEC), "threads": threads, "prefetch": 3})
  assert_same(take(6, source, spec), expected)


@pytest.mark.slow
def test_worker_processes_change_nothing(source, expected):
  spec = BatchSpec(**{**vars(SPEC), "threads": 1, "workers": 2})
  assert_same(take(5, source, spec, start_step=1), expected[1:])


def test_references_move_no_crop(source, expected):
  plain = take(2, source, BatchSpec(8, 12, seed=3))
  for a, b in zip(plain, expected, strict=False):
    assert set(a) == {"image", "index", "record", "bad"}
    np.testing.assert_array_equal(a["image"], b["image"])
  other = take(1, source, BatchSpec(8, 12, seed=4))[0]
  assert (other["record"] != plain[0]["record"]).any()


def test_corrupt_records_are_replaced_and_told(tmp_path):
  source = write(tmp_path / "photos", corrupt=(3, 4, 10))
  spec = BatchSpec(batch_size=11, crop=12, seed=1)
  batches = take(3, source, spec)
  replaced = {3: 5, 4: 5, 10: 0}
  for step, batch in enumerate(batches):
    for i in range(11):
      asked = order.record_at(11 * step + i, COUNT, 1)
      assert batch["record"][i] == replaced.get(asked, asked)
      assert batch["bad"][i] == (asked if asked in replaced else -1)
    assert (batch["bad"] >= 0).sum() == 3
    assert (batch["image"][..., 2] == batch["record"][:, None, None] * 10).all()
  # A reference that does not decode is told too, and never becomes the picture itself.
  spec = BatchSpec(batch_size=11, crop=12, seed=1, reference_probability=1.0)
  for batch in take(6, source, spec):
    assert batch["use_reference"].all()
    assert (batch["reference"][:, 0, 0, 2] // 10 != batch["record"]).all()
  assert (batch["bad"] >= 0).sum() >= 3


def test_nothing_but_corrupt_records_is_an_error(tmp_path):
  source = write(tmp_path / "photos", count=4, corrupt=range(4))
  for threads in (0, 2):
    with pytest.raises(UserError, match=r"4 pictures in a row cannot be used.*check the disk"):
      take(1, source, BatchSpec(2, 8, threads=threads))
  pair = write(tmp_path / "pair", count=2, corrupt=(1,))
  with pytest.raises(UserError, match="in a row"):
    take(1, pair, BatchSpec(2, 8, reference_probability=1.0))


def test_bad_arguments(source, tmp_path):
  with pytest.raises(UserError, match="9 is not divisible by 2 hosts; use 10"):
    train_batches(source, BatchSpec(9, 8), hosts=2)
  with pytest.raises(UserError, match="start step -1"):
    train_batches(source, SPEC, start_step=-1)
  with pytest.raises(UserError, match="at least 2 pictures"):
    train_batches(write(tmp_path / "one", 1), SPEC)
  for wrong in ({"batch_size": 0}, {"crop": -4}, {"max_zoom": 0.9}, {"max_zoom": float("nan")},
                {"reference_probability": 1.5}, {"prefetch": 0}, {"threads": -1}):
    with pytest.raises(UserError, match=f"{next(iter(wrong))} is .*expected"):
      BatchSpec(**{"batch_size": 2, "crop": 8, **wrong})
  with pytest.raises(UserError, match="cannot share a batch"):
    eval_batches(source, None, 2)


def test_closing_ends_the_threads(source):
  def running():
    return [t for t in threading.enumerate() if t.name.startswith("grain-prefetch")]
  for thread in running():
    thread.join(5)
  batches = train_batches(source, BatchSpec(4, 8, threads=3))
  next(batches)
  threads = running()
  assert threads
  batches.close()
  for thread in threads:
    thread.join(5)
  assert running() == []
  assert next(batches, None) is None
  batches.close()


def test_evaluation_covers_each_record_once(tmp_path):
  source = write(tmp_path / "photos", corrupt=(2,))
  batches = list(eval_batches(source, 14, 4))
  assert len(batches) == 3
  record = np.concatenate([b["record"] for b in batches])
  mask = np.concatenate([b["mask"] for b in batches])
  bad = np.concatenate([b["bad"] for b in batches])
  np.testing.assert_array_equal(record, [*range(COUNT), -1])
  np.testing.assert_array_equal(mask, [i not in (2, 11) for i in range(12)])
  np.testing.assert_array_equal(bad, [2 if i == 2 else -1 for i in range(12)])
  assert all(b["image"].shape == (4, 14, 14, 3) for b in batches)
  np.testing.assert_array_equal(batches[0]["image"][0], source[0][3:17])  # 20 x 14, the middle
  assert (batches[0]["image"][2] == 0).all() and (batches[2]["image"][3] == 0).all()
  assert record_names(source, batches[2]) == ["08.png", "09.png", "10.png", ""]
  limited = list(eval_batches(source, (14, 14), 4, limit=5, threads=0))
  assert sum(b["mask"].sum() for b in limited) == 4 and len(limited) == 2
  halves = [list(eval_batches(source, 14, 4, host=h, hosts=2)) for h in range(2)]
  assert_same([{k: np.concatenate([a[k], b[k]]) for k in a}
               for a, b in zip(*halves, strict=True)], batches)


def test_evaluation_at_own_sizes(source):
  shapes = [b["image"].shape for b in eval_batches(source, None, 1, limit=3)]
  assert shapes == [(1, 20, 14, 3), (1, 20, 15, 3), (1, 20, 16, 3)]


def test_without_resampling_every_crop_is_a_piece_of_a_picture(tmp_path):
  root = tmp_path / "photos"
  root.mkdir()
  rng = np.random.default_rng(0)
  for i in range(3):
    pixels = rng.integers(0, 256, (19 + i, 23, 3), np.uint8)  # below 2 * 11: none is halved
    Image.fromarray(pixels).save(root / f"{i}.png")
  source = FolderSource(root)
  spec = BatchSpec(batch_size=6, crop=12, resample=False, reference_probability=1.0,
                   reference_size=11, seed=1)
  for batch in take(2, source, spec):
    for image, reference, record in zip(
      batch["image"], batch["reference"], batch["record"], strict=True):
      pieces = np.lib.stride_tricks.sliding_window_view(source[int(record)], (12, 12), (0, 1))
      pieces = np.moveaxis(pieces, 2, -1)
      assert any((pieces == p).all((2, 3, 4)).any() for p in (image, image[:, ::-1]))
      found = set()
      for other in range(3):
        pieces = np.lib.stride_tricks.sliding_window_view(source[other], (11, 11), (0, 1))
        pieces = np.moveaxis(pieces, 2, -1)
        found |= {other for p in (reference, reference[:, ::-1])
                  if (pieces == p).all((2, 3, 4)).any()}
      assert found and int(record) not in found


def test_without_resampling_jpegs_are_decoded_at_the_least_scale(tmp_path):
  asked = []

  class Asked(FolderSource):
    def open(self, i, min_short_side=None):
      image = super().open(i, min_short_side)
      asked.append((min_short_side, image.size))
      return image

  Image.new("RGB", (300, 200), (200, 10, 10)).save(tmp_path / "a.jpg")
  take(1, Asked(tmp_path), BatchSpec(1, 50, resample=False, threads=0))
  assert asked == [(50, (75, 50))]
