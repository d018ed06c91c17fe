"""What a run tells: every step once, whole lines or none."""

import errno
import json
import math

import pytest

from scs_jax.report.plots import read_curve
from scs_jax.training import logbook
from scs_jax.training.logbook import Logbook


def read(folder):
  return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_line_is_on_disk_when_write_returns(tmp_path):
  with Logbook(tmp_path, 0, 10, quiet=True) as book:
    book.write(1, {"a": 1.0})
    assert read(tmp_path) == [{"step": 1, "a": 1.0}]


def test_what_is_no_number_is_null(tmp_path):
  with Logbook(tmp_path, 0, 10, quiet=True) as book:
    book.write(1, {"a": math.nan, "b": math.inf, "c": -0.0})
  text = (tmp_path / "metrics.jsonl").read_text()
  assert json.loads(text, parse_constant=pytest.fail) == {"step": 1, "a": None, "b": None, "c": 0}
  assert read_curve(tmp_path, "a") == []


def test_later_steps_and_half_lines_are_taken_back(tmp_path):
  path = tmp_path / "metrics.jsonl"
  kept = '{"step": 1, "a": 1.0}\n{"step": 2, "a": 0.30000000000000004}\n{"step": 2, "b": 5.0}\n'
  path.write_bytes(kept.encode() + b'{"step": 3, "a": 9.0}\n\xff\xfe\n[1]\n\n"x"\n{"step": 4, "a')
  with Logbook(tmp_path, 2, 10, quiet=True) as book:
    assert path.read_text() == kept  # to the letter
    book.write(3, {"a": 3.0})
  assert read_curve(tmp_path, "a") == [(1, 1.0), (2, 0.1 + 0.2), (3, 3.0)]
  assert read_curve(tmp_path, "b") == [(2, 5.0)]
  assert read_curve(tmp_path, "c") == []
  with Logbook(tmp_path, 0, 10, quiet=True):
    assert path.read_text() == ""


class Full:
  """A file on a disk that takes `room` bytes more."""

  def __init__(self, file, room):
    self.file, self.room = file, room

  def write(self, data):
    if not self.room:
      raise OSError(errno.ENOSPC, "No space left on device")
    taken = self.file.write(data[: self.room])
    self.room -= taken
    return taken

  def __getattr__(self, name):
    return getattr(self.file, name)

  def __enter__(self):
    return self

  def __exit__(self, *exc):
    self.file.close()


@pytest.mark.parametrize("room", [0, 5])
def test_on_a_full_disk_no_half_line_stays(tmp_path, room, monkeypatch):
  with Logbook(tmp_path, 0, 10, quiet=True) as book:
    book.write(1, {"a": 1.0})
    full = lambda path, mode, **more: Full(path.open(mode, **more), room)
    monkeypatch.setattr(logbook, "open", full, raising=False)
    with pytest.raises(OSError, match="No space left") as caught:
      book.write(2, {"a": 2.0})
    assert (caught.value.errno, caught.value.filename) == (
      errno.ENOSPC, str(tmp_path / "metrics.jsonl")
    )  # fmt: skip
    assert read(tmp_path) == [{"step": 1, "a": 1.0}]
    monkeypatch.undo()
    book.write(2, {"a": 2.0})
  assert [line["step"] for line in read(tmp_path)] == [1, 2]


def test_the_bar_shows_losses_without_their_prefix_and_lines_stand_above_it(tmp_path, capsys):
  with Logbook(tmp_path, 3, 10) as book:
    book.tick()
    book.write(4, {"loss/content": 0.12345, "other": 1.0, "images_per_second": 7.0}, shown=True)
    book.say("a word")
  shown = capsys.readouterr()
  assert shown.out == ""
  assert "content=0.123" in shown.err and "images/s=7" in shown.err and "4/10" in shown.err
  assert "other" not in shown.err
  assert "a word\n" in shown.err.replace("\r", "\n")
  with Logbook(tmp_path, 3, 10, quiet=True) as book:
    book.tick()
    book.say("still said")
  assert capsys.readouterr().err == "still said\n"


def test_tensorboard_gets_the_same_numbers(tmp_path, monkeypatch):
  """With a stand-in for clu's writer; the real one needs TensorFlow."""
  written = []

  class Board:
    def write_scalars(self, step, values):
      written.append((step, values))

    def close(self):
      written.append("closed")

  monkeypatch.setattr(logbook, "_tensorboard", lambda workdir: Board())
  with Logbook(tmp_path, 0, 10, quiet=True) as book:
    book.write(1, {"a": 1.0})
  assert written == [(1, {"a": 1.0}), "closed"]
