"""What is kept for the next command: found again, bounded, and done without where it is damaged."""

import os

import pytest

from scs_jax.core import kept


@pytest.fixture
def folder(tmp_path):
  """An open folder; closed afterwards."""
  kept.open_folder(tmp_path / "kept")
  yield tmp_path / "kept"
  kept.open_folder(None)


def test_an_entry_is_found_by_what_it_was_made_from(folder):
  kept.put("program", "network a", b"content")
  assert kept.get("program", "network a") == b"content"
  assert kept.get("program", "network b") is None
  assert kept.get("shapes", "network a") is None
  assert folder.stat().st_mode & 0o077 == 0


def test_nothing_is_kept_without_a_folder(tmp_path):
  kept.put("program", "about", b"content")
  assert kept.get("program", "about") is None
  assert not kept.is_open() and not list(tmp_path.iterdir())


def test_every_line_of_the_package_counts(tmp_path):
  (tmp_path / "ops").mkdir()
  (tmp_path / "ops" / "color.py").write_text("L_MAX = 100\n")
  named = [kept.made_by(tmp_path)]
  (tmp_path / "ops" / "color.py").write_text("L_MAX = 101\n")
  kept.made_by.cache_clear()
  named.append(kept.made_by(tmp_path))
  kept.made_by.cache_clear()
  assert named[0] != named[1]


def test_a_damaged_entry_is_removed(folder, capsys):
  for about in "ab":
    kept.put("program", about, bytes(1000))
  paths = list(folder.iterdir())
  for path in paths:
    path.write_bytes(path.read_bytes()[:-3])
  assert [kept.get("program", about) for about in "ab"] == [None, None]
  assert not list(folder.iterdir())
  said = capsys.readouterr().err
  assert said.count("\n") <= 1  # in all of a process


def test_what_was_unused_for_longest_goes(folder, monkeypatch):
  content = os.urandom(1000)  # zlib makes it no smaller
  monkeypatch.setattr(kept, "MOST_BYTES", 3500)
  for number in range(3):
    kept.put("program", str(number), content)
    for path in folder.iterdir():  # each a second older than the one after it
      os.utime(path, (0, path.stat().st_mtime - 10))
  assert kept.get("program", "0") == content  # used now
  half = folder / "half.partial"
  half.write_bytes(b"of a process that was killed")
  os.utime(half, (0, 0))
  kept.put("program", "3", content)
  found = [kept.get("program", str(number)) is not None for number in range(4)]
  assert found == [True, False, True, True]
  assert not half.exists()


def test_a_folder_that_cannot_be_written(folder, capsys):
  folder.rmdir()
  kept.put("program", "about", b"content")
  assert kept.get("program", "about") is None
  assert capsys.readouterr().err.count("\n") <= 1
