"""FID of pictures around its network: bytes, padding, the real set that is read once."""

import numpy as np
import pytest

from scs_jax.measure import learned
from scs_jax.metrics.distribution import Statistics

PICTURES = {"sha256": "ab12", "size": [8, 8]}
FEATURES = 3


def _look(rgb):
  """Features that a test can foretell: the mean colour."""
  return rgb.mean((1, 2)).astype(np.float32)


def _batches(count=3, seed=0):
  rng = np.random.default_rng(seed)
  for i in range(count):
    mask = np.array([True, True, i < count - 1, i < count - 1])
    yield rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8), mask


def test_pictures_come_in_as_bytes():
  look = learned.extractor(lambda w, x: w * x.mean((1, 2)), 2.0)
  gray = np.full((2, 4, 4, 3), 51, np.uint8)
  np.testing.assert_allclose(look(gray), np.full((2, 3), 0.4), rtol=1e-6)
  with pytest.raises(ValueError, match="expected uint8, got float64"):
    look(gray / 255)


def test_statistics_are_of_the_pictures_without_padding():
  found = learned.statistics(_look, _batches(), FEATURES)
  pictures = np.concatenate([image[mask] for image, mask in _batches()])
  assert found.count == 10
  np.testing.assert_allclose(found.mean, pictures.mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(found.scatter, Statistics.of(_look(pictures)).scatter, rtol=1e-9)


def test_a_real_set_is_read_once(tmp_path):
  opened = []

  def batches():
    opened.append(1)
    return _batches()

  def of(folder=tmp_path, weights="67", pictures=PICTURES):
    return learned.real_statistics(_look, weights, batches, folder, pictures, FEATURES)

  first, again = of(), of()
  assert len(opened) == 1
  assert again.count == 10
  np.testing.assert_array_equal(first.mean, again.mean)
  np.testing.assert_array_equal(first.scatter, again.scatter)
  of(pictures=PICTURES | {"sha256": "ab13"})
  of(weights="68")
  of(folder=None)
  assert len(opened) == 4


def test_weights_are_described(tmp_path):
  path = tmp_path / "fid.pth"
  path.write_bytes(b"abc")  # SHA-256 ba7816bf 8f01cfea ..., FIPS 180-2
  found = learned.describe_weights(path, ("00", "ba7816bf8f01"))
  assert found["file"] == "fid.pth"
  assert found["sha256"].startswith("ba7816bf8f01cfea")
  assert len(found["sha256"]) == 64
  assert found["published"] is True
  assert learned.describe_weights(path, "6726825d")["published"] is False


def test_few_pictures_are_told():
  assert "FID over 300 pictures" in learned.fid_note(300)
  assert learned.fid_note(2048) is not None
  assert learned.fid_note(2049) is None
