"""`scs-jax data select` as a user types it, and its list as the data of a training."""

import json

import fsspec
import pytest
from PIL import Image
from skimage import data

from scs_jax.cli import main as cli
from scs_jax.data.sources import open_source


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "photos"
  root.mkdir()
  Image.fromarray(data.coffee()).save(root / "coffee.png")
  Image.fromarray(data.astronaut()).save(root / "astronaut.png")
  Image.fromarray(data.coffee()[:40, :40]).save(root / "small.png")
  Image.fromarray(data.camera()).save(root / "gray.png")
  (root / "torn.jpg").write_bytes(b"torn" * 30000)
  return root


def test_writes_a_list_statistics_and_a_plot(folder, tmp_path, capsys):
  out = tmp_path / "list.txt"
  command = ["data", "select", str(folder), "--out", str(out), "--quiet"]
  assert cli.main(command) == 0
  shown = capsys.readouterr().out
  rows = {line[:34].strip(): line[34:].split() for line in shown.splitlines()[:-1]}
  assert rows["pictures"] == ["5"] and rows["below 80 KB"] == ["1"]
  assert rows["cannot be read"] == ["1"] and rows["colour variation below 12"] == ["1"]
  assert rows["kept"][:2] == ["2", "(40.0%,"] and "empty files" not in rows
  source = open_source(out)
  assert [source.name(i) for i in range(len(source))] == ["astronaut.png", "coffee.png"]
  told = json.loads((tmp_path / "list.json").read_text())
  assert told["kept"] == 2 and told["rule"]["min_kb"] == 80
  assert Image.open(tmp_path / "list.png").size == (640, 480)
  assert cli.main(command) == 2
  assert "there already; give another --out, or --overwrite" in capsys.readouterr().err
  again = [*command, "--overwrite", "--min-kb", "0", "--min-variation", "0", "--threads", "1"]
  assert cli.main(again) == 0
  assert len(open_source(out)) == 4


def test_a_list_of_a_list(folder, tmp_path, capsys):
  first, second = tmp_path / "a.txt", tmp_path / "b.txt"
  assert cli.main(["data", "select", str(folder), "--out", str(first), "--min-variation", "0"]) == 0
  assert "measuring colours" in capsys.readouterr().err
  assert cli.main(["data", "select", str(first), "--out", str(second), "--quiet"]) == 0
  assert len(open_source(first)) == 3 and len(open_source(second)) == 2


def test_a_list_in_a_bucket(folder, capsys):
  files = fsspec.filesystem("memory")
  out = "memory://bucket/lists/list.txt"
  command = ["data", "select", str(folder), "--out", out, "--quiet"]
  try:
    assert cli.main(command) == 0
    assert f"{out}: use it as --data {out}" in capsys.readouterr().out
    assert sorted(p.rpartition(".")[2] for p in files.find("/bucket")) == ["json", "png", "txt"]
    source = open_source(out)
    assert [source.name(i) for i in range(len(source))] == ["astronaut.png", "coffee.png"]
    assert cli.main(command) == 2 and "there already" in capsys.readouterr().err
    assert cli.main(["data", "check", out, "--out", "memory://bucket/found.json", "--quiet"]) == 0
    assert json.loads(files.cat_file("/bucket/found.json"))["records"] == 2
  finally:
    files.rm("/bucket", recursive=True)


def test_nonsense_is_told_in_a_line(folder, tmp_path, capsys):
  out = str(tmp_path / "list.txt")
  cases = [
    ([str(folder)], "--out"),
    ([str(folder), "--out", "list"], "a list's name ends in .txt; write --out list.txt"),
    ([str(folder), "--out", str(tmp_path / "no" / "list.txt")], "no folder"),
    (["bundled", "--out", out], "bundled is no folder or list of picture files"),
    ([str(folder), "--out", out, "--min-kb", "lots"], "expected a number from 0 on; got 'lots'"),
    ([str(folder), "--out", out, "--min-kb=-3"], "expected a number from 0 on; got '-3'"),
    ([str(folder), "--out", out, "--min-variation", "nan"], "expected a number from 0 on"),
    ([str(folder), "--out", out, "--min-kb", "9e9", "--quiet"], "none of 5 pictures is kept"),
    ([str(tmp_path / "photo"), "--out", out], f"did you mean {folder}?"),
    ([str(folder), "--out", out, "--cache", str(tmp_path)], "cannot write the scan's cache"),
  ]
  for arguments, message in cases:
    assert cli.main(["data", "select", *arguments]) == 2, arguments
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1, (arguments, err)
  assert not (tmp_path / "list.txt").exists()
