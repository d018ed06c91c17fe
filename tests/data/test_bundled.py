"""The bundled photographs: all there, colour, split for good, licences stated."""

import importlib.util
import pickle

import numpy as np
import pytest
from skimage import data

from scs_jax.data import bundled, scan
from scs_jax.data.sources import open_source
from scs_jax.errors import UserError


def names(source):
  return [source.name(i) for i in range(len(source))]


def test_split_is_disjoint_and_whole():
  train, heldout = open_source("bundled:train"), open_source("bundled:heldout")
  assert names(heldout) == ["chelsea.png", "china.jpg", "coffee.png"]
  assert names(train) == ["astronaut.png", "flower.jpg", "hubble_deep_field.jpg", "ihc.png",
                          "motorcycle_left.png", "motorcycle_right.png", "retina.jpg", "rocket.jpg"]
  everything = open_source("bundled")
  assert sorted(names(train) + names(heldout)) == names(everything)
  assert len({s.fingerprint for s in (train, heldout, everything)}) == 3


def test_photos_decode_to_what_scikit_image_reads():
  source = open_source("bundled:heldout")
  np.testing.assert_array_equal(source[0], data.chelsea())
  np.testing.assert_array_equal(source[2], data.coffee())
  everything = open_source("bundled")
  for i in range(len(everything)):
    assert scan.mean_chroma(everything[i][::4, ::4]) > scan.GRAY_CHROMA, everything.name(i)


def test_reduced_copies_keep_twice_what_is_asked():
  source = open_source("bundled:heldout")
  full = source[0]  # 300 x 451
  np.testing.assert_array_equal(source.load(0, 76), full)
  half = source.load(0, 75)
  assert half.shape == (150, 226, 3)
  block = full[20:22, 40:42].reshape(4, 3).mean(0)
  assert np.abs(half[10, 20] - block).max() <= 0.51
  # Survives the way into a worker process, without its decoded copies.
  copied = pickle.dumps(source)
  assert len(copied) < 10_000
  np.testing.assert_array_equal(pickle.loads(copied)[0], full)


def test_licences():
  free = {p.name for p in bundled.select(public_domain_only=True)}
  assert free == {"astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg",
                  "retina.jpg", "rocket.jpg"}
  assert names(bundled.BundledSource("heldout", public_domain_only=True)) == [
    "chelsea.png", "coffee.png"]
  assert all(p.licence and p.credit for p in bundled.PHOTOS)


def test_missing_package_and_file(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(UserError, match="pip install scikit-image"):
    open_source("bundled")
  monkeypatch.undo()
  monkeypatch.setattr(bundled, "_FOLDERS", {"scikit-image": ("skimage", "nowhere"),
                                            "scikit-learn": ("sklearn", "nowhere")})
  with pytest.raises(UserError, match=r"without astronaut\.png.*force-reinstall"):
    open_source("bundled:train")
  with pytest.raises(UserError, match="expected one of all, train, heldout"):
    bundled.BundledSource("validation")
