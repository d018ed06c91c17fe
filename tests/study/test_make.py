"""What is drawn from folders of results, and what no study is made of."""

import collections
import errno
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from simulated import paint

from scs_jax.cli import main as cli
from scs_jax.core import failures
from scs_jax.data import stereo
from scs_jax.errors import UserError
from scs_jax.study import design as designs
from scs_jax.study import make, schedule


@pytest.fixture
def results(tmp_path):
  """A function: {method: names or {mode: names}} -> {method: its folder}, painted."""

  def results(**methods):
    for number, (method, names) in enumerate(methods.items()):
      for mode, some in (names.items() if isinstance(names, dict) else {"": names}.items()):
        paint(tmp_path / method / mode, number, some)
    return {method: tmp_path / method for method in methods}

  return results


def _make(kind, results, tmp_path, **more):
  design = make.make(kind, results, tmp_path / "study", progress=False, **more)
  assert design == designs.read(tmp_path / "study")
  return design


def test_half_of_the_pictures_are_automatic_and_half_referential(results, tmp_path):
  names = [f"p{i}" for i in range(20)]
  folders = results(
    ours={"automatic": names, "self": names, "random": names},
    loose=names,
    referring={"self": names, "random": names},
  )
  design = _make("pairwise", folders, tmp_path, pictures=8)
  asked = collections.Counter((t.mode, t.part, t.methods) for t in design.trials)
  assert asked == {
    ("automatic", "automatic", ("ours", "loose")): 4,
    ("self", "referential", ("ours", "referring")): 2,
    ("random", "referential", ("ours", "referring")): 2,
  }
  assert (design.seconds, design.repeats, design.per_rater) == (1, 0, 8)
  assert len({(t.mode, t.picture) for t in design.trials}) == design.pictures == 8


def test_files_hold_the_pixels_under_names_that_tell_nothing(results, tmp_path):
  design = _make("pairwise", results(ours=["a/x", "y"], other=["x", "a/y"]), tmp_path)
  folder = tmp_path / "study" / "pictures"
  shown = {file for trial in design.trials for file in trial.files}
  assert {path.stem for path in folder.iterdir()} == shown and len(shown) == 4
  for trial in design.trials:
    for number, file in enumerate(trial.files):
      image = Image.open(folder / f"{file}.png")
      assert not image.info and image.getpixel((0, 0))[0] == 40 * number


def test_only_what_every_method_has_is_drawn(results, tmp_path):
  folders = results(ours=["a", "b", "c"], other=["b", "c", "d"])
  assert {t.picture for t in _make("pairwise", folders, tmp_path).trials} == {"b", "c"}
  with pytest.raises(UserError, match="there are 2; other lacks 1, as a; add results"):
    make.make("pairwise", folders, tmp_path / "more", pictures=3)
  assert not any(tmp_path.glob(".more*")) and not (tmp_path / "more").exists()


def test_the_data_say_which_pictures_and_are_shown_beside_levels(results, tmp_path):
  folders = results(ours={"set": ["a", "b"]}, other={"set/automatic": ["a", "b"]})
  paint(tmp_path / "photos", 5, ["b"])
  data = ("set", str(tmp_path / "photos"))
  design = _make("levels", folders, tmp_path, data=data, modes=("automatic",), repeats=0.5)
  drawn = [(trial.picture, trial.methods) for trial in design.trials]
  assert drawn == [("b.png", ("ours",)), ("b.png", ("other",))]
  assert design.repeats == 1
  for trial in design.trials:
    scene = Image.open(tmp_path / "study" / "pictures" / f"{trial.scene}.png")
    assert scene.getpixel((0, 0)) == (200, 0, 7)


def test_of_pairs_the_colour_view_is_shown(results, tmp_path):
  source = stereo.open_pairs("bundled")
  folders = results(ours=[source.name(0)])
  design = _make("levels", folders, tmp_path, data=("bundled", "bundled"))
  (trial,) = design.trials
  scene = np.asarray(Image.open(tmp_path / "study" / "pictures" / f"{trial.scene}.png"))
  mono, mirrored = source.roles(0)
  assert not mirrored and trial.mode == "first"
  np.testing.assert_array_equal(scene, source.views(0)[1 - mono])


def test_sides_and_repeats_of_a_rater():
  trials = tuple(designs.Trial("first", f"p{i}", ("m",), (f"{i}",)) for i in range(60))
  levels = designs.Design("levels", 3, ("m",), trials, 0.0, 12, 40)
  for number in range(20):
    asked = schedule.schedule(levels, number)
    assert asked == schedule.schedule(levels, number) and len(asked) == 52
    assert not any(question.flipped for question in asked)
    first = {q.trial: i for i, q in enumerate(asked) if not q.again}
    again = {q.trial: i for i, q in enumerate(asked) if q.again}
    assert len(first) == 40 and len(again) == 12
    assert all(place - first[trial] > 9 for trial, place in again.items())
  pairs = tuple(designs.Trial("automatic", f"p{i}", ("m", "n"), ("a", "b")) for i in range(400))
  pairwise = designs.Design("pairwise", 3, ("m", "n"), pairs, 1.0, 0, 400)
  flips = [sum(q.flipped for q in schedule.schedule(pairwise, n)) for n in range(10)]
  assert all(150 < count < 250 for count in flips) and len(set(flips)) > 3


@pytest.mark.parametrize(("argv", "words"), [
  (["--kind", "pairwise", "--results", "ours=one"], "2 methods or more"),
  (["--kind", "levels", "--results", "one"], "expected NAME=DIR"),
  (["--kind", "levels", "--results", "a=one", "a=two"], "two methods called 'a'"),
  (["--kind", "levels", "--results", "a=nowhere"], "no such folder"),
  (["--kind", "levels", "--results", "a=one", "--modes", "frist"], "did you mean first"),
  (["--kind", "levels", "--results", "a=one", "--seconds", "1"], "drop the flag"),
  (["--kind", "levels", "--results", "a=one", "--repeats", "0.7"], "from 0 to 0.5"),
  (["--kind", "levels", "--results", "a=one", "--seed", "-1"], "from 0"),
  (["--kind", "levels", "--results", "a=one", "--out", "one"], "is there already"),
  (["--kind", "levels", "--results", "a=one", "--per-rater", "9"], "the study has 2 questions"),
  (["--kind", "levels", "--results", "a=one", "--modes", "second"], "no picture of mode second"),
  (["--kind", "levels", "--results", "a=one", "--data", "nowhere"], "nowhere"),
  (["--kind", "pairwise", "--results", "a=one", "b=two", "--repeats", "0.1"], "drop the flag"),
  (["--kind", "pairwise", "--results", "a=one", "b=other"], "under one name"),
  (["--kind", "pairwise", "--results", "a=one", "b=large"], "a 6x6, b 7x7"),
  (["--kind", "levels", "--results", "a=huge"], "20000x20000 pixels are more"),
  (["--kind", "pairwise", "--results", "a=one", "b=text"], ".png: not a picture"),
])  # fmt: skip
def test_what_no_study_is_made_of(tmp_path, monkeypatch, capsys, argv, words):
  monkeypatch.chdir(tmp_path)
  for folder, names in (("one", "xy"), ("two", "xy"), ("other", "z")):
    paint(folder, 1, names)
  paint("large", 1, "xy", side=7)
  paint("huge", 1, "x")
  with open("huge/x.png", "r+b") as file:  # the size that its head promises
    head = b"IHDR" + struct.pack(">II", 20_000, 20_000) + bytes([8, 2, 0, 0, 0])
    file.seek(12)
    file.write(head + struct.pack(">I", zlib.crc32(head)))
  os.makedirs("text")
  for name in "xy":
    with open(f"text/{name}.png", "w") as file:
      file.write("a text")
  before = sorted(os.listdir())
  assert cli.main(["study", "make", "--quiet", *argv]) == 2
  shown = capsys.readouterr().err
  assert words in shown and shown.startswith("scs-jax: error:") and len(shown.splitlines()) == 1
  assert sorted(os.listdir()) == before


def test_a_full_disk_leaves_nothing(results, tmp_path, monkeypatch):
  folders = results(ours=["x", "y"], other=["x", "y"])
  save, left = Image.Image.save, [3]

  def full(image, path, *more):
    left[0] -= 1
    if not left[0]:
      raise OSError(errno.ENOSPC, "No space left on device", str(path))
    save(image, path, *more)

  monkeypatch.setattr(Image.Image, "save", full)
  with pytest.raises(OSError) as caught:
    make.make("pairwise", folders, tmp_path / "study", progress=False)
  assert "the disk is full" in failures.explain(caught.value)
  assert sorted(os.listdir(tmp_path)) == ["other", "ours"]
