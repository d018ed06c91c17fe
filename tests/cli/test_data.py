"""`scs-jax data`: its verbs, what check-stereo says and how it ends."""

import pathlib
import sys

import pytest
from PIL import Image

from scs_jax.cli import main as cli

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "data"))

from planes import write


def check(*arguments):
  return cli.main(["data", "check-stereo", *map(str, arguments)])


class TestDispatch:
  def test_help_lists_the_verbs(self, capsys):
    for words in (["data", "--help"], ["help", "data"], ["data", "help"], ["data", "-h"]):
      assert cli.main(words) == 0
      shown = capsys.readouterr().out
      assert "usage: scs-jax data VERB" in shown and "check-stereo" in shown

  def test_no_verb_shows_them_and_fails(self, capsys):
    assert cli.main(["data"]) == 2
    assert "check-stereo" in capsys.readouterr().err

  @pytest.mark.parametrize(
    ("words", "message"),
    [
      (["data", "chek-stereo"], "unknown verb 'chek-stereo'; did you mean check-stereo?"),
      (["data", "--out"], "unknown flag '--out'; choose from "),
      (["dat"], "unknown verb 'dat'; did you mean data?"),
    ],
  )
  def test_what_is_misspelt_gives_the_nearest(self, words, message, capsys):
    assert cli.main(words) == 2
    assert message in capsys.readouterr().err

  def test_debug_before_or_after_the_verb(self, capsys):
    for words in (["--debug", "data", "check-stereo"], ["data", "--debug", "check-stereo"]):
      assert cli.main([*words, "none", "--search-range", "8"]) == 2
      shown = capsys.readouterr().err
      assert "Traceback" in shown and "none is not there" in shown


class TestCheckStereo:
  def test_all_is_well(self, tmp_path, capsys):
    write(tmp_path, "a")
    assert check(tmp_path, "--search-range", 16) == 0
    head, row, last = capsys.readouterr().out.splitlines()
    assert head.split() == ["pair", "size", "mono", "matches", "vertical", "disparity"]
    assert row.split()[:3] == ["a", "140x80", "right"] and row.endswith("ok")
    vertical, low, to, high = row.split()[4:8]
    assert abs(float(vertical)) < 0.05 and to == "to"
    assert float(low) == pytest.approx(9, abs=0.1) and float(high) == pytest.approx(9, abs=0.1)
    assert last == "1 pair checked, 0 reported"

  def test_what_is_wrong_is_named_drawn_and_stops_no_other(self, tmp_path, capsys):
    write(tmp_path / "pairs", "a/steep", down=2)
    write(tmp_path / "pairs", "b")
    write(tmp_path / "pairs", "c")
    (tmp_path / "pairs" / "c" / "left.png").write_bytes(b"torn")
    out = tmp_path / "deep" / "plots"
    assert check(tmp_path / "pairs", "--search-range", 8, "--out", out) == 1
    shown = capsys.readouterr().out
    assert "not rectified: matches lie up to 2.0 pixels below their row" in shown
    assert shown.count("beyond the search range 8; 16 would do") == 2
    assert "left.png: not a picture" in shown
    assert "3 pairs checked, 3 reported; plots in" in shown
    names = sorted(path.name for path in out.iterdir())
    assert names == ["0000_a_steep.png", "0001_b.png", "0002_c.png"]
    for name in names:
      assert Image.open(out / name).size[0] > 900

  def test_flags_reach_the_pairs(self, tmp_path, capsys):
    for k, name in enumerate(("one", "two", "three")):
      write(tmp_path, name, k)
    assert check(tmp_path, "--search-range", 8, "--reduce", 2, "--only", "t*", "--limit", 1,
                 "--mono-view", "left") == 0  # fmt: skip
    shown = capsys.readouterr().out
    assert "three  70x40      left" in shown and "4.5 to 4.5" in shown
    assert "1 more were left out by --limit" in shown

  @pytest.mark.parametrize(
    ("arguments", "message"),
    [
      (["none", "--search-range", "8"], "none is not there; expected a folder of stereo pairs"),
      (["bundled"], "the following arguments are required: --search-range"),
      (["bundled", "--search-range", "0"], "whole number from 1 on; got '0'"),
      (["bundled", "--search-range", "x"], "whole number from 1 on; got 'x'"),
      (["bundled", "--search-range", "8", "--disparity-scale", "nan"], "number above 0; got 'nan'"),
      (["bundled", "--search-range", "8", "--mono-view", "up"], "expected one of auto, right"),
      (["bundled", "--search-range", "8", "--reduce", "7"], "expected one of 1, 2, 3, 4, 8"),
      (["bundled", "--search-range", "8", "--only", "car"], "no pair of bundled is called 'car'"),
      (["bundled", "--search-range", "8", "--out="], "--out is empty"),
      (["", "--search-range", "8"], "which pairs?"),
    ],
  )
  def test_nonsense_gives_one_line(self, arguments, message, capsys):
    assert cli.main(["data", "check-stereo", *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1
