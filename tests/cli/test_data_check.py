"""`scs-jax data check` as a user types it: table, JSON, exit code."""

import json
import shutil

import pytest
from PIL import Image
from skimage import data

from scs_jax.cli import main as cli


@pytest.fixture
def folder(tmp_path):
  root = tmp_path / "photos"
  root.mkdir()
  Image.fromarray(data.coffee()).save(root / "coffee.jpg")
  Image.fromarray(data.astronaut()[:100, :90]).save(root / "astronaut.png")
  return root


def rows(text):
  """{label: number} of the table."""
  found = {}
  for line in text.splitlines():
    label, number = line[:30].strip(), line[30:].split()
    if label and number and number[0].replace(",", "").isdigit():
      found[label] = int(number[0].replace(",", ""))
  return found


def test_all_is_well(folder, capsys):
  assert cli.main(["data", "check", str(folder)]) == 0
  shown = capsys.readouterr()
  assert "all is well" in shown.out and "checking" in shown.err
  told = rows(shown.out)
  assert told["checked"] == 2 and told["cannot be read"] == 0
  assert told["64 to 127"] == 1 and told["384 to 511"] == 1
  assert "smallest 90x100" in shown.out and "largest 600x400" in shown.out


def test_gray_pictures_are_not_called_well(tmp_path, capsys):
  for name, photo in (("a", data.camera()), ("b", data.moon()), ("c", data.astronaut())):
    Image.fromarray(photo).resize((90, 80)).save(tmp_path / f"{name}.png")
  assert cli.main(["data", "check", str(tmp_path), "--quiet"]) == 0
  last = capsys.readouterr().out.splitlines()[-1]
  assert last.startswith("whole, but 2 of 3 have no colour to learn from: data.exclude_gray=true")


def test_what_is_read_all_the_same_is_remarked_on(folder, capsys):
  whole = (folder / "coffee.jpg").read_bytes()
  (folder / "coffee.jpg").write_bytes(whole[:-2])
  Image.fromarray(data.camera().astype("uint16") * 4).save(folder / "ten.png")
  (folder / "made").mkdir()
  (folder / "made/.scs_jax.json").write_text("{}")
  Image.fromarray(data.coffee()).save(folder / "made/coffee.png")
  assert cli.main(["data", "check", str(folder), "--quiet"]) == 0
  shown = capsys.readouterr().out
  assert rows(shown)["read, with a remark"] == 2 and rows(shown)["checked"] == 3
  assert "coffee.jpg: it lacks its end marker" in shown
  assert "ten.png: values from 0 to 1020 of 65535" in shown
  assert "left out: a folder of colorize's own results (made)" in shown


def test_what_is_wrong_is_shown_and_the_exit_code_is_one(folder, tmp_path, capsys):
  shutil.copy(folder / "coffee.jpg", folder / "copy.jpg")
  for k in range(7):
    (folder / f"torn{k}.png").write_bytes(b"torn" + bytes([k]))
  Image.fromarray(data.coffee()).resize((300, 200)).save(folder / "small.jpg")
  Image.fromarray(data.camera()).save(folder / "gray.png")
  (folder / "empty.png").write_bytes(b"")
  other = tmp_path / "heldout"
  other.mkdir()
  shutil.copy(folder / "astronaut.png", other)
  out = tmp_path / "deep" / "found.json"
  command = ["data", "check", str(folder), "--near", "4", "--against", str(other), "--quiet"]
  assert cli.main([*command, "--out", str(out), "--threads", "2"]) == 1
  shown = capsys.readouterr().out
  told = rows(shown)
  assert told["cannot be read"] == 7 and "torn0.png: not a picture" in shown
  assert "and 2 more" in shown and "torn6" not in shown
  assert told["copies, byte for byte"] == 1 and "coffee.jpg = copy.jpg" in shown
  assert told["gray"] == 1 and told["empty files"] == 1 and told["look alike"] == 2
  assert f"also in {other}" in shown and "astronaut.png = astronaut.png" in shown
  assert "something is to be mended" in shown
  found = json.loads(out.read_text())
  assert len(found["unreadable"]) == 7 and found["wrong"] and found["data"] == str(folder)


def test_nonsense_is_told_in_a_line(folder, tmp_path, capsys):
  cases = [
    ([], "SPEC"),
    ([""], "the data set is empty text"),
    ([str(folder), "--near", "20", "--quiet"], "20 bits: expected 0 to 15"),
    ([str(folder), "--near", "four"], "invalid int value"),
    ([str(folder), "--out", str(tmp_path)], "expected a file for the findings"),
    ([str(folder), "--out", ""], "expected a file for the findings"),
    ([str(folder), "--against", "bundeld"], "did you mean bundled?"),
    (["tfds:nothing_of_the_kind"], "tensorflow-datasets knows no data set"),
    ([str(folder / "coffee.jpg")], "is a file, expected a folder of pictures"),
    ([str(folder), "--agianst", "x"], "did you mean --against?"),
  ]
  for arguments, message in cases:
    assert cli.main(["data", "check", *arguments]) == 2, arguments
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1, (arguments, err)
