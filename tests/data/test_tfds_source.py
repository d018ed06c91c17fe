"""Data sets of tensorflow-datasets: one prepared here, and mocks of real ones; no TensorFlow."""

import io
import os
import pickle
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from scs_jax.data import pack
from scs_jax.data.decode import DecodeError
from scs_jax.data.pipeline import BatchSpec, train_batches
from scs_jax.data.sources import open_source
from scs_jax.data.tfds_source import Spec, TfdsSource, parse
from scs_jax.errors import UserError

tfds = pytest.importorskip("tensorflow_datasets")


def jpeg(value, size=(60, 40)):
  buffer = io.BytesIO()
  Image.new("RGB", size, value).save(buffer, "JPEG", quality=95)
  return buffer.getvalue()


class Tiny(tfds.core.GeneratorBasedBuilder):
  """Photos beside a mask, a sequence and a caption, in two splits."""

  VERSION = tfds.core.Version("1.2.0")
  features = {
    "image": tfds.features.Image(encoding_format="jpeg"),
    "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="jpeg"),
    "label": tfds.features.ClassLabel(num_classes=3),
    "boxes": tfds.features.Sequence(tfds.features.BBoxFeature()),
    "text": tfds.features.Text(),
  }

  def _info(self):
    return tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict(self.features), disable_shuffling=True)

  def _split_generators(self, _):
    return {"train": self._examples(range(7)), "validation": self._examples(range(7, 10))}

  def _generate_examples(self):
    raise NotImplementedError

  def _examples(self, numbers):
    for k in numbers:
      box = tfds.features.BBox(0.0, 0.0, 0.5, 1.0)
      yield k, {"image": jpeg((20 * k, 90, 30)), "mask": b"not opened", "label": k % 3,
                "boxes": [box] * (k % 3), "text": f"photo {k}"}


class Two(Tiny):
  VERSION = tfds.core.Version("1.0.0")
  features = {
    "pair": {"low": tfds.features.Image(), "high": tfds.features.Image()},
    "depth": tfds.features.Image(shape=(None, None, 1), dtype=np.float32),
  }

  def _examples(self, numbers):
    for k in numbers:
      yield k, {"pair": {"low": jpeg((k, 0, 99)), "high": jpeg((k, 99, 0))}, "depth": jpeg(k)}

  # Depth is given encoded, as the others are.
  features["depth"].encode_example = lambda data: data


class Words(Tiny):
  features = {"text": tfds.features.Text()}

  def _examples(self, numbers):
    for k in numbers:
      yield k, {"text": str(k)}


class Refuse:
  """Importing TensorFlow is an error while this stands in sys.meta_path."""

  def find_spec(self, name, *_):
    if name.partition(".")[0] == "tensorflow":
      raise ImportError(f"{name} was imported")


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch):
  """Without it even where it is installed."""
  loaded = [m for m in sys.modules if m.partition(".")[0] == "tensorflow"]
  if loaded:
    pytest.skip("TensorFlow was loaded by another test")
  monkeypatch.setattr(sys, "meta_path", [Refuse(), *sys.meta_path])
  yield
  assert not [m for m in sys.modules if m.partition(".")[0] == "tensorflow"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
  """A folder with data sets prepared as a user prepares them."""
  root = tmp_path_factory.mktemp("tfds")
  for kind in (Tiny, Two, Words):
    kind(data_dir=root, file_format="array_record").download_and_prepare()
  return root


@pytest.fixture
def data_dir(prepared, monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
  return prepared


def reds(source):
  """What `Tiny` wrote as red, by 20."""
  return [round(source[i][5, 5, 0] / 20) for i in range(len(source))]


@pytest.mark.parametrize(("spec", "expected"), [
  ("tfds:tiny", range(7)),
  ("tfds:tiny:train", range(7)),
  ("tfds:tiny:validation", [7, 8, 9]),
  ("tfds:tiny:1.2.0", range(7)),
  ("tfds:tiny:1.2.0:validation#image", [7, 8, 9]),
  ("tfds:tiny:train[2:4]", [2, 3]),
  ("tfds:tiny:validation+train[:1]", [7, 8, 9, 0]),
  ("tfds:tiny:all", range(10)),
  ("tfds:tiny:train#image", range(7)),
])
def test_splits(data_dir, spec, expected):
  source = open_source(spec)
  assert reds(source) == list(expected)
  names = [source.name(i) for i in range(len(source))]
  assert len(set(names)) == len(names) and names[0].startswith("tiny/1.2.0/")


def test_pictures_stay_encoded_and_are_decoded_as_all_others(data_dir):
  source = open_source("tfds:tiny")
  assert source.encoded(3) == jpeg((60, 90, 30))
  assert source.load(3, 20).shape == (20, 30, 3)  # at half size
  assert source[3].shape == (40, 60, 3)
  copy = pickle.loads(pickle.dumps(source))
  np.testing.assert_array_equal(copy[3], source[3])
  assert copy.fingerprint == source.fingerprint
  np.testing.assert_array_equal(open_source(f"tfds:{data_dir}/tiny/1.2.0")[3], source[3])


def test_fingerprints_tell_splits_features_and_data_sets(data_dir):
  specs = ["tfds:tiny", "tfds:tiny:validation", "tfds:tiny:train[:3]", "tfds:tiny:train[3:6]",
           "tfds:tiny#mask", "tfds:two#pair/low", "tfds:two#pair/high"]
  assert len({open_source(spec).fingerprint for spec in specs}) == len(specs)
  assert open_source("tfds:tiny").fingerprint == open_source("tfds:tiny:train").fingerprint


def test_a_feature_inside_another(data_dir):
  assert open_source("tfds:two#pair/low")[4][5, 5].tolist() == pytest.approx([4, 0, 99], abs=3)
  assert open_source("tfds:two#pair/high")[4][5, 5].tolist() == pytest.approx([4, 99, 0], abs=3)


def test_what_cannot_be_decoded_is_named(data_dir):
  with pytest.raises(DecodeError, match=r"tiny/1\.2\.0/train/0000002"):
    open_source("tfds:tiny#mask")[2]


def test_training_batches_in_threads(data_dir):
  source = open_source("tfds:tiny")
  with train_batches(source, BatchSpec(batch_size=7, crop=8, threads=2)) as batches:
    batch = next(batches)
  assert sorted(batch["record"]) == list(range(7)) and (batch["bad"] == -1).all()
  np.testing.assert_allclose(batch["image"][:, 4, 4, 0], batch["record"] * 20, atol=3)


@pytest.mark.slow
def test_training_batches_in_processes(data_dir):
  source = open_source("tfds:tiny")
  with train_batches(source, BatchSpec(7, 8, threads=1, workers=1)) as batches:
    assert sorted(next(batches)["record"]) == list(range(7))


def test_packed_it_is_the_same_data_set(data_dir, tmp_path):
  source = open_source("tfds:tiny")
  pack.pack(source, tmp_path / "out", records=3, progress=False)
  packed = open_source(tmp_path / "out")
  assert packed.fingerprint == source.fingerprint
  assert [packed.name(i) for i in range(7)] == [source.name(i) for i in range(7)]
  assert [packed.encoded(i) for i in range(7)] == [source.encoded(i) for i in range(7)]


def test_gray_ones_are_left_out(data_dir, tmp_path):
  cache = tmp_path / "scan.json"
  for _ in range(2):
    source = open_source("tfds:tiny", exclude_gray=True, cache=cache, progress=False)
    assert len(source) == 7 and source.skipped_gray == 0
  # Another split under the same cache is another data set.
  assert len(open_source("tfds:tiny:validation", True, cache, False)) == 3


MOCKED = ["imagenet2012", "oxford_flowers102", "celeb_a_hq/256", "lsun/bedroom", "mnist",
          "places365_small", "div2k/bicubic_x4#hr"]


@pytest.mark.parametrize("name", MOCKED)
def test_mocked_data_sets_of_the_library(name, monkeypatch, tmp_path):
  from tensorflow_datasets.core.features import image_feature

  def encode(self, image):  # TensorFlow would
    buffer = io.BytesIO()
    Image.fromarray(image.squeeze() if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()

  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  monkeypatch.setattr(image_feature._ImageEncoder, "_encode_image", encode)
  spec, _, feature = f"tfds:{name}".partition("#")
  with tfds.testing.mock_data(num_examples=3, policy=tfds.testing.MockPolicy.USE_CODE):
    source = open_source(f"{spec}:train" + (f"#{feature}" if feature else ""))
    assert len(source) == 3 and source.name(0).startswith(name.partition("#")[0])
    assert source[1].dtype == np.uint8 and source[1].ndim == 3
    with train_batches(source, BatchSpec(batch_size=2, crop=8, threads=0)) as batches:
      assert (next(batches)["bad"] == -1).all()


def test_specs_in_parts():
  assert parse("tfds:a") == Spec("a", "train", None)
  assert parse("tfds:a/b:1.2.3:test[:1%]#x/y") == Spec("a/b:1.2.3", "test[:1%]", "x/y")
  assert parse("tfds:/data/a/1.0.0:test") == Spec("/data/a/1.0.0", "test", None)


def test_errors_say_what_to_do(data_dir, tmp_path):
  shutil.copytree(data_dir / "two" / "1.0.0", data_dir / "many" / "a" / "1.0.0")
  shutil.copytree(data_dir / "two" / "1.0.0", data_dir / "many" / "b" / "1.0.0")
  expected = r"expected tfds:NAME\[/CONFIG\]"
  how = r"is not prepared in .*set TFDS_DATA_DIR .*scs_jax\[tf\].*tfds.builder\('{}'.*array_record"
  cases = [
    ("tfds:", expected), ("tfds", expected), ("tfds::train", expected), ("tfds:tiny:", expected),
    ("tfds:a b", expected), ("tfds:x;y", expected),
    ("tfds:oxford_flower102", r"no data set 'oxford_flower102'; did you mean .*flowers102\?"),
    ("tfds:qqqqqqqq", r"no data set 'qqqqqqqq' \(nor is one of that name prepared\)"),
    ("tfds:celeb_a_hq/255", r"celeb_a_hq has no config '255'; did you mean tfds:celeb_a_hq/256\?"),
    ("tfds:imagenet2012:9.9.9", r"cannot be opened .*only: 5.1.0"),
    ("tfds:imagenet2012", how.format("imagenet2012")),
    ("tfds:coco/2017:train", how.format("coco/2017")),  # its code needs TensorFlow
    ("tfds:celeb_a_hq/256", how.format("celeb_a_hq/256")),
    ("tfds:tiny:trian", r"tiny/1.2.0 has no split 'trian'; did you mean train\?"),
    ("tfds:tiny:test", r"no split 'test'; it has train, validation"),
    ("tfds:tiny:train[:0]", r"split 'train\[:0\]' is empty"),
    ("tfds:tiny:train[5", r"cannot be opened \(Error parsing split"),
    ("tfds:tiny:3.0.0", r"tiny is prepared in version 1.2.0, not 3.0.0"),
    ("tfds:tiny#label", r"no image feature 'label'; it has image, mask"),
    ("tfds:words", r"words/1.2.0 has no image feature; it has text"),
    ("tfds:two", r"several image features; choose one, .*two#pair/high, of pair/high, pair/low"),
    ("tfds:two#depth", r"no image feature 'depth'"),
    ("tfds:many", r"many is prepared in 2 configs; choose one: tfds:many/a, tfds:many/b"),
    ("tfds:gs://bucket/tiny:train", r"local disks or mounted buckets alone; .*data pack tfds:NAME"),
    (f"tfds:{tmp_path}", r"no prepared data set in .*expected a folder with dataset_info.json"),
  ]
  for spec, message in cases:
    with pytest.raises(UserError, match=message) as caught:
      open_source(spec)
    assert "\n" not in str(caught.value), spec


def test_a_prepared_data_set_is_read_without_its_code(prepared, tmp_path, monkeypatch):
  # That of coco, as of some others, imports TensorFlow.
  monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
  shutil.copytree(prepared / "tiny" / "1.2.0", tmp_path / "coco" / "2017" / "1.1.0")
  for spec in ("tfds:coco/2017:validation", "tfds:coco:validation"):
    assert reds(open_source(spec)) == [7, 8, 9]
  with pytest.raises(UserError, match=r"no split 'valid'; did you mean validation\?"):
    open_source("tfds:coco/2017:1.1.0:valid")


def test_a_bucket_of_prepared_data_sets_is_refused_with_the_way_round(monkeypatch):
  monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/tfds")
  with pytest.raises(UserError, match=r"TFDS_DATA_DIR is gs://bucket/tfds: .*mount the bucket"):
    open_source("tfds:imagenet2012")


def test_another_format_and_damaged_metadata(prepared, tmp_path):
  root = tmp_path / "data"
  shutil.copytree(prepared / "tiny", root / "tiny")
  info = root / "tiny" / "1.2.0" / "dataset_info.json"
  good = info.read_text()
  info.write_text(good.replace("array_record", "tfrecord"))
  for path in info.parent.glob("*array_record*"):
    path.rename(str(path).replace("array_record", "tfrecord"))
  with pytest.raises(UserError, match=r"prepared as tfrecord, which has no random access; prepare"):
    TfdsSource("tfds:tiny", data_dir=root)
  info.write_text("{")
  with pytest.raises(UserError, match=r"the data set in .*1.2.0 cannot be opened"):
    TfdsSource("tfds:tiny", data_dir=root)


def test_a_shard_that_is_missing_or_damaged(prepared, tmp_path):
  shutil.copytree(prepared / "tiny", tmp_path / "tiny")
  shard = next((tmp_path / "tiny" / "1.2.0").glob("*train.array_record*"))
  with open(shard, "r+b") as file:
    file.seek(400)
    file.write(b"\0\1\2\3")
  source = TfdsSource("tfds:tiny", data_dir=tmp_path)
  with pytest.raises(DecodeError, match=r"tiny/1\.2\.0/train/0000000"):
    source[0]
  os.unlink(shard)
  with pytest.raises(DecodeError, match=r"tiny/1\.2\.0/train/0000001"):
    TfdsSource("tfds:tiny", data_dir=tmp_path)[1]
