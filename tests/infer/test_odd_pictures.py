"""What cannot be read is refused by name: exactly the broken ones of two hundred odd pictures."""

import collections
import os
import pathlib
import sys

import pytest
from PIL import Image

from scs_jax.data.decode import DecodeError
from scs_jax.infer import pictures

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import handmade
import odd_pictures


def test_what_cannot_be_read_is_named(tmp_path):
  with pytest.raises(DecodeError, match=r"nowhere\.png.*No such file"):
    pictures.read(tmp_path / "nowhere.png")
  with pytest.raises(DecodeError, match="it is a folder"):
    pictures.read(str(tmp_path))
  with pytest.raises(DecodeError, match=r"^mine: not a picture"):
    pictures.read(b"some text", "mine")
  with pytest.raises(DecodeError, match=r"9 bytes: not a picture"):
    pictures.read(b"some text")
  with pytest.raises(DecodeError, match="no pixels"):
    pictures.read(Image.new("RGB", (0, 4)))
  with pytest.raises(DecodeError, match=r"more than the limit of 1000000000, .*--max-pixels"):
    pictures.read(handmade.tiff((40000, 30000), b"\0", (8,), 1))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "pipe.png")
  with pytest.raises(DecodeError, match="no regular file"):
    pictures.read(tmp_path / "pipe.png")


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
  return odd_pictures.make(tmp_path_factory.mktemp("odd"))


def test_exactly_the_broken_ones_of_two_hundred_are_refused(odd):
  wrong = []
  for entry in odd:
    try:
      picture = pictures.read(entry.path)
      found = picture.gray.shape
      if not (picture.gray.min() >= 0 and picture.gray.max() <= 1):
        wrong.append((entry, "levels"))
    except DecodeError as error:
      found = None
      assert str(error).startswith(str(entry.path)) and "\n" not in str(error).replace(
        str(entry.path), "")  # fmt: skip
    if found != entry.size or (entry.outcome == "ok") != (found is not None):
      wrong.append((entry, found))
  assert not wrong


def test_two_hundred_of_which_many_are_broken(odd):
  assert len(odd) == 200
  assert len({entry.path for entry in odd}) == 200
  counts = collections.Counter(entry.outcome for entry in odd)
  assert counts["broken"] >= 25 and counts["not a picture"] >= 4 and counts["ok"] >= 130
  sizes = {entry.size for entry in odd if entry.size}
  assert {(1, 1), (1, 300), (300, 1), (7, 5)} <= sizes and len(sizes) >= 130
