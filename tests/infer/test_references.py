"""Which reference a picture gets: by name, by likeness; gray and broken ones."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from scs_jax.errors import UserError
from scs_jax.infer import pictures, references

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def photo(name):
  return Image.fromarray(getattr(skimage.data, name)()).resize((150, 120))


@pytest.fixture
def lenders(tmp_path):
  """A folder with four photos, one of them below a folder."""
  (tmp_path / "refs/day").mkdir(parents=True)
  for name in PHOTOS:
    photo(name).save(tmp_path / ("refs/day" if name == "rocket" else "refs") / f"{name}.png")
  return tmp_path / "refs"


def gray(image):
  return pictures.read(np.asarray(image.convert("L")))


def test_the_most_similar_is_the_photo_itself_altered(lenders):
  """Mirrored it would be another picture; brighter, noisy and cut a little it is the same."""
  opened = references.References(lenders)
  for i, name in enumerate(PHOTOS):
    noise = np.random.default_rng(i).normal(0, 8, (112, 142))
    altered = np.asarray(photo(name).convert("L"), float)[4:-4, 4:-4] * 0.8 + 30 + noise
    choice = opened.choose("elsewhere/x.jpg", pictures.read(altered.clip(0, 255).astype(np.uint8)))
    assert choice.name.endswith(f"{name}.png")
    assert choice.notes[-1].startswith(f"reference {choice.name}, the most similar (0.")
    assert choice.picture.rgb.shape == (120, 150, 3)


def test_by_name_goes_before_likeness(lenders):
  (lenders / "night").mkdir()
  photo("coffee").save(lenders / "night/rocket.jpg")
  opened = references.References(lenders)
  picture = gray(photo("chelsea"))
  for name, expected in (
    ("coffee.tif", "coffee.png"),
    ("far/away/astronaut.jpg", "astronaut.png"),
    ("night/rocket.png", "night/rocket.jpg"),  # the whole path before the name alone
    ("day/rocket.png", "day/rocket.png"),
    ("rocket.png", "day/rocket.png"),  # the first by path of two that have the name
    ("dog.png", "chelsea.png"),
  ):
    assert opened.choose(name, picture).name == expected


def test_of_equals_the_first_by_name(tmp_path):
  for name in ("b", "a", "c"):
    photo("coffee").save(tmp_path / f"{name}.png")
  assert references.References(tmp_path).choose("x.png", gray(photo("rocket"))).name == "a.png"
  # A flat middle gray is like nothing: it gets the first, too.
  flat = pictures.read(np.full((30, 20), 0.5, np.float32))
  assert references.descriptor(flat.gray).any() == np.False_
  assert references.References(tmp_path).choose("x.png", flat).name == "a.png"


def test_a_descriptor_has_length_one_and_does_not_know_the_size():
  image = photo("coffee").convert("L")
  small, large = (references.descriptor(gray(i).gray) for i in (image, image.resize((600, 480))))
  assert np.isclose(np.linalg.norm(small), 1, atol=1e-5)
  assert small @ large > 0.97
  assert np.isfinite(references.descriptor(np.ones((1, 1), np.float32))).all()


def test_a_broken_reference_in_a_folder_is_left_out_with_one_warning(lenders):
  (lenders / "coffee.png").write_bytes(b"broken")
  opened = references.References(lenders)
  first, second = (opened.choose("coffee.jpg", gray(photo("coffee"))) for _ in range(2))
  warnings = [n for n in first.notes if "left out" in n]
  assert len(warnings) == 1 and "coffee.png" in warnings[0]
  assert first.name != "coffee.png" and "most similar" in first.notes[-1]
  assert (second.name, len(second.notes)) == (first.name, 1)


def test_gray_references_warn_and_are_not_chosen_for_likeness(lenders):
  photo("coffee").convert("L").convert("RGB").save(lenders / "coffee.png")
  opened = references.References(lenders)
  assert opened.choose("x.png", gray(photo("coffee"))).name != "coffee.png"
  named = opened.choose("coffee.png", gray(photo("coffee")))
  assert named.name == "coffee.png"
  assert named.notes[0] == (
    "warning: the reference coffee.png is gray; it has no colours to lend"
  )
  # As the only one there is, it is taken.
  for name in ("astronaut.png", "chelsea.png", "day/rocket.png"):
    (lenders / name).unlink()
  only = references.References(lenders).choose("x.png", gray(photo("rocket")))
  assert only.name == "coffee.png" and "is gray" in only.notes[0]


def test_one_for_all(tmp_path):
  photo("coffee").save(tmp_path / "r.png")
  photo("coffee").convert("L").save(tmp_path / "gray.png")
  opened = references.References(tmp_path / "r.png")
  first, second = (opened.choose(n, gray(photo("rocket"))) for n in ("a.png", "b.png"))
  assert first.picture is second.picture and first.name == "r.png" and first.notes == []
  opened = references.References(tmp_path / "gray.png")
  notes = [opened.choose("a.png", gray(photo("rocket"))).notes for _ in range(2)]
  assert len(notes[0]) == 1 and "is gray" in notes[0][0] and notes[1] == []


def test_what_a_user_can_mend(tmp_path):
  (tmp_path / "void").mkdir()
  (tmp_path / "bad").mkdir()
  (tmp_path / "bad/x.png").write_bytes(b"broken")
  (tmp_path / "bad/y.png").write_bytes(b"")
  for name, message in (
    ("no", "no such file"),
    ("void", "holds no pictures"),
    ("bad", "none of the 2 pictures in .* can be read; .*x.png"),
    ("bad/x.png", "x.png: .*; give another picture"),
  ):
    with pytest.raises(UserError, match=message):
      references.References(tmp_path / name)


def test_the_fingerprint_changes_with_what_is_lent(lenders, tmp_path):
  opened = references.References
  before = opened(lenders).fingerprint
  assert opened(lenders).fingerprint == before
  photo("chelsea").save(lenders / "more.png")
  assert opened(lenders).fingerprint != before
  photo("chelsea").save(tmp_path / "r.png")
  one = opened(tmp_path / "r.png").fingerprint
  photo("coffee").save(tmp_path / "r.png")
  assert opened(tmp_path / "r.png").fingerprint != one
