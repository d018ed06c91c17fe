"""`scs-jax data pack` as a user types it."""

import pytest
from PIL import Image
from skimage import data

from scs_jax.cli import main as cli
from scs_jax.data.sources import FolderSource, open_source


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "photos"
  root.mkdir()
  for k in range(5):
    Image.fromarray(data.coffee()[k : 40 + k, :50]).save(root / f"{k}.jpg")
  return root


def test_packs_goes_on_and_says_what_it_did(folder, tmp_path, capsys):
  (folder / "empty.jpg").write_bytes(b"")
  out = tmp_path / "out"
  command = ["data", "pack", str(folder), str(out), "--records", "2", "--quiet"]
  assert cli.main(command) == 0
  shown = capsys.readouterr()
  assert f"{out}: 5 pictures in 3 shards, " in shown.out and " kB\n" in shown.out
  assert "left out: 1 empty files" in shown.out and shown.err == ""
  assert open_source(out).fingerprint == FolderSource(folder).fingerprint
  assert cli.main(command) == 0
  assert "5 pictures, packed already" in capsys.readouterr().out


def test_bundled_photographs_with_a_progress_bar(tmp_path, capsys):
  assert cli.main(["data", "pack", "bundled:heldout", str(tmp_path / "out")]) == 0
  shown = capsys.readouterr()
  assert "3 pictures in 1 shard, " in shown.out and "packing: 100%" in shown.err


def test_nonsense_is_told_in_a_line(folder, tmp_path, capsys):
  cases = [
    ([str(folder)], "OUT"),
    ([str(tmp_path / "photo"), "out"], f"did you mean {folder}?"),
    (["", "out"], "the data set is empty text"),
    ([str(folder), ""], "OUT is empty"),
    ([str(folder), str(folder)], "is not empty (0.jpg is there); give a new folder"),
    ([str(folder), "out", "--records", "0"], "expected a whole number from 1 on; got '0'"),
    ([str(folder), "out", "--workers", "many"], "expected a whole number from 1 on"),
    ([str(folder), "out", "--record", "5"], "did you mean --records?"),
    ([str(folder), str(folder / "0.jpg")], "cannot pack into"),
    ([str(folder), str(folder / "0.jpg" / "x")], "cannot pack into"),
    ([str(folder), "gz://bucket/x"], "unknown scheme gz://"),
  ]
  for arguments, message in cases:
    assert cli.main(["data", "pack", *arguments]) == 2, arguments
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1, (arguments, err)
