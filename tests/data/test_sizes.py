"""Pictures smaller than what is cut from them: found by their headers, left out or enlarged."""

import numpy as np
import pytest
from PIL import Image

from scs_jax.core import config as configs
from scs_jax.data import opening, scan, subset
from scs_jax.data.pack import pack
from scs_jax.data.pipeline import BatchSpec, train_batches
from scs_jax.data.sources import FolderSource, open_source
from scs_jax.errors import UserError

# (width, height)
SIZES = {"a.png": (40, 30), "b.jpg": (20, 60), "c.png": (24, 24), "d.jpg": (23, 90)}


def write(root, sizes=SIZES):
  """Random pixels, of which any resampling makes others."""
  root.mkdir(parents=True, exist_ok=True)
  for k, (name, (width, height)) in enumerate(sizes.items()):
    pixels = np.random.default_rng(k).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(root / name)
  return root


def names(source):
  return [source.name(i) for i in range(len(source))]


def test_sizes_are_those_of_the_decoded_pictures_and_no_picture_is_decoded(tmp_path, monkeypatch):
  root = write(tmp_path / "photos")
  exif = Image.Exif()
  exif[0x0112] = 6  # to be turned by a quarter
  lying = Image.new("RGB", (50, 20), (9, 99, 9))
  for name in ("e.jpg", "f.tiff", "g.webp", "h.png"):
    lying.save(root / name, exif=exif)
  exif[0x0112] = 3
  lying.save(root / "i.jpg", exif=exif)
  profile = np.random.default_rng(0).bytes(40_000)  # pushes the pixels out of the first read
  lying.save(root / "j.jpg", icc_profile=profile)
  pack(FolderSource(root), tmp_path / "packed", progress=False)
  (root / "k.jpg").write_bytes(b"\xff\xd8\xff")
  (root / "l.jpg").write_bytes((root / "b.jpg").read_bytes()[:700])  # its header is whole
  source, packed = FolderSource(root), open_source(tmp_path / "packed")
  whole = [[30, 40], [60, 20], [24, 24], [90, 23], *[[50, 20]] * 4, [20, 50], [20, 50]]
  assert [list(source[i].shape[:2]) for i in range(10)] == whole
  monkeypatch.setattr(packed, "open", None)
  assert scan.scan_sizes(packed, progress=False) == whole
  assert scan.scan_sizes(source, progress=False) == [*whole, None, [60, 20]]
  assert scan.scan_sizes(source, progress=False, numbers=[9, 10, 0]) == [[20, 50], None, [30, 40]]


def test_small_pictures_are_left_out_and_counted_and_sizes_are_kept(tmp_path, monkeypatch):
  root = write(tmp_path / "photos")
  (root / "torn.png").write_bytes(b"torn")
  cache = tmp_path / "scan.json"
  for _ in range(2):
    source = open_source(root, cache=cache, progress=False, least=(24, 24))
    assert names(source) == ["a.png", "c.png", "torn.png"]  # training names what it cannot read
    assert (source.skipped_small, source.skipped_corrupt, source.skipped_gray) == (2, 0, 0)
    monkeypatch.setattr(scan, "size_of", None)  # the second time nothing is read
  colored = open_source(root, True, cache, False, (24, 24))
  assert names(colored) == ["a.png", "c.png"]
  assert (colored.skipped_small, colored.skipped_corrupt) == (2, 1)
  # As of a folder with these two alone: their names and bytes.
  (tmp_path / "large").mkdir()
  for name in ("a.png", "c.png"):
    (tmp_path / "large" / name).write_bytes((root / name).read_bytes())
  assert colored.fingerprint == FolderSource(tmp_path / "large").fingerprint
  # (height, width): upright pictures of 60x20 and 90x23 hold a standing part.
  monkeypatch.undo()
  (root / "torn.png").unlink()
  assert names(open_source(root, progress=False, least=(60, 20))) == ["b.jpg", "d.jpg"]
  with pytest.raises(UserError, match=r"of 4 pictures of .*photos none has 31x31 pixels or more; "
                                      r".*data.enlarge=true"):
    open_source(root, progress=False, least=(31, 31))


@pytest.mark.parametrize("reduced", [False, True])
def test_no_crop_is_enlarged(tmp_path, reduced):
  """Zooms of 1 to 2 end at the picture's own size: of 24 rows crops of 24 are pieces of it."""
  source = FolderSource(write(tmp_path / "photos", {"a.png": (24, 40), "b.png": (30, 24)}))
  spec = BatchSpec(4, 24 // (2 if reduced else 1), max_zoom=2.0, flip=False, seed=3, threads=0)
  pieces = 0
  with train_batches(source, spec) as batches:
    for _ in range(5):
      batch = next(batches)
      for image, record in zip(batch["image"], batch["record"], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(
          source[int(record)], image.shape[:2], (0, 1)
        )
        pieces += (np.moveaxis(windows, 2, -1) == image).all((2, 3, 4)).any()
  assert pieces == (0 if reduced else 20)


def test_a_smaller_picture_is_replaced_by_the_next_or_enlarged_where_that_is_allowed(tmp_path):
  source = FolderSource(write(tmp_path / "photos"))
  spec = BatchSpec(8, 24, max_zoom=1.0, seed=1, threads=0)
  with train_batches(source, spec) as batches:
    batch = next(batches)
  assert set(batch["record"].tolist()) == {0, 2}
  assert sorted(set(batch["bad"].tolist())) == [-1, 1, 3]
  with train_batches(source, BatchSpec(8, 24, enlarge=True, seed=1, threads=0)) as batches:
    batch = next(batches)
  assert set(batch["record"].tolist()) == {0, 1, 2, 3} and (batch["bad"] == -1).all()


def config_of(root, **data):
  config = configs.load("common")
  with config.unlocked():
    config.data.source, config.data.heldout, config.batch_size = str(root), "", 2
    config.data.update({"crop": 24, **data})
  return config


def test_a_training_says_what_it_leaves_out_or_enlarges(tmp_path):
  root = write(tmp_path / "photos")
  data, _ = opening.open_data(config_of(root), tmp_path / "run", progress=False)
  assert [n for n in data.notes if "held-out" not in n] == [
    "training on 2 pictures; left out: 2 smaller than 24x24 (data.enlarge=true "
                        "takes them, enlarged)"]  # fmt: skip
  assert data.identity["records"] == 2
  data, _ = opening.open_data(config_of(root, enlarge=True), tmp_path / "run", progress=False)
  # 24 * 1.25 = 30 pixels: of short sides of 20, 24, 23, and not of the 30 of the first.
  assert [n for n in data.notes if "held-out" not in n] == [
    "3 of 4 training pictures are smaller than 30x30 and enlarged to it, 1.25 "
                        "to 1.5 times: what they show is less sharp than pictures of that size "
                        "are"]  # fmt: skip
  assert data.identity["records"] == 4
  # References that are larger than the crops are cut from the same pictures.
  larger = config_of(root, crop=8, reference_probability=1.0, reference_size=24)
  assert opening.open_data(larger, tmp_path / "run", False)[0].identity["records"] == 2


def test_a_config_of_an_earlier_run_trains_on_what_it_did(tmp_path):
  root = write(tmp_path / "photos")
  config = config_of(root)
  with config.unlocked():
    del config.data.enlarge
  data, _ = opening.open_data(config, tmp_path / "run", progress=False)
  plain = FolderSource(root)
  (unscored,) = data.notes
  assert unscored.startswith("no held-out pictures") and data.identity["records"] == 4
  assert data.identity["fingerprint"] == plain.fingerprint
  with data.open_batches(0) as batches:
    found = next(batches)
  with train_batches(plain, BatchSpec(2, 24, enlarge=True, threads=0)) as batches:
    np.testing.assert_array_equal(found["image"], next(batches)["image"])


def test_what_is_said_of_enlarged_pictures():
  sizes = [[10, 20], None, [20, 10], [40, 40]]
  assert subset.enlarged(sizes, (20, 20), "of them") == [
    "2 of 3 of them are smaller than 20x20 and enlarged to it, 2 times: what they show is less "
    "sharp than pictures of that size are"
  ]
  assert subset.enlarged(sizes, (10, 10), "of them") == []
