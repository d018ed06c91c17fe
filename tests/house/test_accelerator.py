"""benchmarks/accelerator.sh: it explains itself, and writes what it skipped when time runs out."""

import json
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks"


def test_the_script_explains_itself():
  subprocess.run(["bash", "-n", BENCHMARKS / "accelerator.sh"], check=True)
  told = subprocess.run(
    [BENCHMARKS / "accelerator.sh", "--help"], capture_output=True, text=True, check=True
  )
  assert told.stdout.startswith("usage: ") and "example" in told.stdout


@pytest.mark.parametrize("tiny", [[], ["--tiny"]], ids=["paper", "tiny"])
def test_what_there_is_no_time_for_is_skipped_and_said(tiny, tmp_path):
  out = tmp_path / "found.json"
  command = [sys.executable, BENCHMARKS / "accelerator.py", "--minutes", "0", "--out", out, *tiny]
  subprocess.run(command, capture_output=True, check=True, timeout=60)
  cases = json.loads(out.read_text())["cases"]
  assert {case["skipped"] for case in cases} == {"no time left"}
  parts = [case["part"] for case in cases]
  assert parts == ["tests"] + 4 * ["step"] + 9 * ["infer"] + 4 * ["train"]
  assert all(case["config"].endswith("/small") for case in cases[1:]) == bool(tiny)
  shown = out.with_suffix(".md").read_text()
  assert shown.count("(skipped: no time left)") == len(cases) + 1  # and the machine


def test_the_same_call_again_measures_what_was_left_out(tmp_path):
  out = tmp_path / "found.json"
  there = {"tiny": True, "minutes": 3, "machine": {"device": "cpu"}}
  there["cases"] = [{"part": "tests", "name": "tests", "passed": True, "summary": "of before"}]
  out.write_text(json.dumps(there))
  command = [sys.executable, BENCHMARKS / "accelerator.py", "--platform", "cpu", "--tiny"]
  command += ["--minutes", "5", "--parts", "tests", "--out", out]
  subprocess.run(command, capture_output=True, check=True, timeout=240)
  found = json.loads(out.read_text())
  assert found["cases"] == there["cases"] and found["minutes"] == 8
  assert "within 8 minutes in all" in out.with_suffix(".md").read_text()
