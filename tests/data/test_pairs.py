"""Batches of pairs: the same for every host and thread, and never with the truth in training."""

import itertools
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from scs_jax.data import camera, order, pairs
from scs_jax.data.pairs import PairSpec, eval_batches, train_batches
from scs_jax.data.stereo import open_pairs
from scs_jax.errors import UserError

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from batches import assert_same

COUNT, SHIFT = 5, 3
SPEC = PairSpec(batch_size=4, crop=(10, 16), vertical_flip=True, seed=3, threads=0)


def write(root, count=COUNT, torn=(), height=20):
  """Pair i: gray level tells row and column; the pair's number is the blue of the colour view."""
  for i in range(count):
    folder = root / f"{i:02d}"
    folder.mkdir(parents=True)
    y, x = np.mgrid[:height, : 24 + i + SHIFT]
    wide = np.stack([y * 8, x * 5, np.full_like(x, i * 10)], -1).astype(np.uint8)
    Image.fromarray(wide[:, :-SHIFT]).save(folder / "left.png")
    Image.fromarray(wide[:, SHIFT:]).save(folder / "right.png")
    if i in torn:
      (folder / "left.png").write_bytes(b"torn")
  return open_pairs(root, mono_view="right")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  return write(tmp_path_factory.mktemp("data") / "pairs")


def take(count, source, spec=SPEC, **options):
  with train_batches(source, spec, **options) as batches:
    return list(itertools.islice(batches, count))


def test_keys_types_and_order(source):
  for step, batch in enumerate(take(4, source)):
    assert {k: (v.dtype.name, v.shape) for k, v in batch.items()} == {
      "mono": ("uint8", (4, 10, 16, 1)), "color": ("uint8", (4, 10, 16, 3)),
      "index": ("uint32", (4,)), "record": ("int32", (4,)), "bad": ("int32", (4,))}  # fmt: skip
    np.testing.assert_array_equal(batch["index"], np.arange(4) + 4 * step)
    np.testing.assert_array_equal(
      batch["record"], [order.record_at(4 * step + i, COUNT, SPEC.seed) for i in range(4)])
    assert (batch["bad"] == -1).all()
    assert (batch["color"][..., 2] == batch["record"][:, None, None] * 10).all()


def test_both_views_are_cut_at_one_place_and_turned_together(source):
  turned = set()
  for batch in take(12, source):
    for i in range(4):
      color, mono = batch["color"][i].astype(int), batch["mono"][i, ..., 0].astype(int)
      down = np.diff(color[..., 0], axis=0)
      assert (np.abs(down) == 8).all() and (np.diff(color[..., 1], axis=1) == 5).all()
      turned.add(int(down[0, 0]))
      # Right of the colour view's first column by SHIFT; luma of the same row and pair.
      x = color[..., 1] + 5 * SHIFT
      expected = 0.299 * color[..., 0] + 0.587 * x + 0.114 * color[..., 2]
      assert np.abs(mono - expected).max() <= 0.5
  assert turned == {-8, 8}


def test_crops_reach_every_place(source):
  corners = {
    (int(c[0, 0, 0]) // 8, int(c[0, 0, 1]) // 5)
    for batch in take(100, source, PairSpec(4, (10, 16), threads=0))
    for c, r in zip(batch["color"], batch["record"], strict=True)
    if r == 0
  }
  rows, columns = map(set, zip(*corners, strict=True))
  assert (rows, columns) == (set(range(11)), set(range(9)))


def test_a_batch_depends_on_its_number_alone(source):
  whole = take(6, source)
  assert_same(take(2, source, start_step=4), whole[4:])
  threaded = PairSpec(batch_size=4, crop=(10, 16), vertical_flip=True, seed=3, threads=3)
  assert_same(take(6, source, threaded), whole)
  parts = [take(6, source, host=h, hosts=2) for h in range(2)]
  joined = [{k: np.concatenate([p[s][k] for p in parts]) for k in whole[0]} for s in range(6)]
  assert_same(joined, whole)
  again = PairSpec(batch_size=4, crop=(10, 16), vertical_flip=False, seed=3, threads=0)
  for a, b in zip(whole, take(6, source, again), strict=True):  # a setting moves nothing else
    assert ((a["color"] == b["color"]) | (a["color"] == b["color"][:, ::-1])).all((1, 2, 3)).all()


def test_worker_processes_give_the_same(source):
  spec = PairSpec(batch_size=4, crop=(10, 16), vertical_flip=True, seed=3, threads=1, workers=1)
  assert_same(take(2, source, spec), take(2, source))


def test_pairs_smaller_than_the_crop_are_padded(source):
  with train_batches(source, PairSpec(1, (23, 40), threads=0)) as batches:
    batch = next(iter(batches))
  pair = source.load(int(batch["record"][0]))
  height, width = pair.mono.shape[:2]
  for name in ("mono", "color"):
    view, whole = batch[name][0], getattr(pair, name)
    np.testing.assert_array_equal(view[:height, :width], whole)
    np.testing.assert_array_equal(view[height:, :width], whole[: -4:-1])  # rows mirrored
    np.testing.assert_array_equal(view[:, width:], np.repeat(view[:, width - 1 : width],
                                                             40 - width, 1))  # fmt: skip


def test_a_bad_pair_is_replaced_and_named(tmp_path):
  source = write(tmp_path / "some", torn=(2,))
  seen = take(5, source)
  bad = np.concatenate([b["bad"] for b in seen])
  records = np.concatenate([b["record"] for b in seen])
  assert set(bad.tolist()) == {-1, 2} and 2 not in records
  assert (records[bad == 2] == 3).all()
  with pytest.raises(Exception, match="2 pairs in a row cannot be read"):
    take(1, write(tmp_path / "all", count=2, torn=(0, 1)))


def test_training_is_the_same_whatever_the_truth_is(tmp_path):
  rng = np.random.default_rng(0)
  for name in ("mono", "color", "truth"):
    (tmp_path / name).mkdir()
    Image.fromarray(rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(
      tmp_path / name / "1.png")  # fmt: skip
  (tmp_path / "l.csv").write_text("mono,color,truth\nmono/1.png,color/1.png,truth/1.png\n")
  read = lambda: open_pairs(tmp_path / "l.csv", mono_view="right")
  before = take(2, read())
  with eval_batches(read(), None) as batches:
    truth = next(batches)["truth"]
  Image.fromarray(255 - truth[0]).save(tmp_path / "truth" / "1.png")
  assert_same(take(2, read()), before)
  with eval_batches(read(), None) as batches:
    np.testing.assert_array_equal(next(batches)["truth"], 255 - truth)
  (tmp_path / "truth" / "1.png").unlink()
  assert_same(take(2, read()), before)


def test_of_colour_stereo_training_sees_nothing_but_the_luma_of_the_monochrome_view(tmp_path):
  """Its colours are the truth: without them, cameras and the search for sides included, the same
  training."""
  rng = np.random.default_rng(1)
  wide = ndimage.gaussian_filter(rng.uniform(-900, 1100, (48, 110, 3)), (1.5, 1.5, 0))
  wide = np.clip(wide, 0, 255).astype(np.uint8)
  noisy = camera.Camera(exposure=(-0.5, 0.5), gamma=(0.8, 1.2), blur=(0.0, 1.0), shot=(0.01, 0.02))
  for side, part in (("left", wide[:, :-10]), ("right", wide[:, 10:])):
    (tmp_path / "a").mkdir(exist_ok=True)
    Image.fromarray(part).save(tmp_path / "a" / f"{side}.png")
  read = lambda: open_pairs(tmp_path, camera=camera.CameraPair(noisy, noisy, seed=2))
  before, truth = take(2, read()), read().load(0).truth
  right = camera.luma(wide[:, 10:])
  Image.fromarray(np.stack([right] * 3, -1)).save(tmp_path / "a" / "right.png")
  assert_same(take(2, read()), before)
  assert np.abs(truth.astype(int) - read().load(0).truth).max() > 50


def test_whole_pairs_for_evaluation(source):
  with eval_batches(source, None) as batches:
    batches = list(batches)
  assert len(batches) == COUNT
  for i, batch in enumerate(batches):
    pair = source.load(i)
    for name in ("mono", "color", "truth"):
      np.testing.assert_array_equal(batch[name][0], getattr(pair, name))
    assert (batch["record"][0], batch["bad"][0]) == (i, -1)
    assert batch["mask"].all() and batch["has_truth"].all()


def test_centre_crops_padding_and_pairs_without_truth(tmp_path, source):
  with eval_batches(source, (10, 26), batch_size=4, limit=3) as batches:
    (batch,) = batches
  assert batch["mono"].shape == (4, 10, 26, 1) and batch["truth"].shape == (4, 10, 26, 3)
  # 24 and 25 columns are fewer than 26: named, not padded.
  assert batch["mask"].tolist() == [False, False, True, False]
  assert batch["record"].tolist() == [0, 1, 2, -1] and batch["bad"].tolist() == [0, 1, -1, -1]
  np.testing.assert_array_equal(batch["color"][2], source.load(2).color[5:15])
  assert not batch["color"][[0, 1, 3]].any() and not batch["has_truth"][[0, 1, 3]].any()
  assert "24x20 pixels, smaller than the part of 26x10" in pairs.why_bad(source, 0, (10, 26))
  assert pairs.why_bad(source, 2, (10, 26)) == ""
  for side in ("m", "c"):
    (tmp_path / side).mkdir()
    Image.fromarray(np.full((8, 9, 3), 50, np.uint8)).save(tmp_path / side / "1.png")
  with eval_batches(open_pairs(f"{tmp_path}/m,{tmp_path}/c", mono_view="right"), None) as batches:
    (batch,) = batches
  assert batch["mask"].all() and not batch["has_truth"].any() and not batch["truth"].any()


def test_nonsense(source):
  for arguments, part in [
    ({"batch_size": 0}, "batch_size is 0"),
    ({"crop": (0, 5)}, "crop is"),
    ({"crop": (5,)}, "crop is"),
    ({"threads": -1}, "threads is -1"),
  ]:
    with pytest.raises(UserError, match=part):
      PairSpec(**{"batch_size": 1, "crop": (4, 4)} | arguments)
  with pytest.raises(UserError, match="cannot share a batch"):
    eval_batches(source, None, 2)
  with pytest.raises(UserError, match="start step -1"):
    train_batches(source, SPEC, start_step=-1)
  with pytest.raises(UserError, match="not divisible"):
    train_batches(source, SPEC, hosts=3)
