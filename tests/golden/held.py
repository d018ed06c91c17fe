"""Texts that verbs printed and wrote, held beside this file to be compared with what they do now.

Words, keys and counts are compared exactly, other numbers to a part in a thousand, as BLAS and XLA
differ between machines; times, versions and hashes not at all. After a change that is meant to
change them,

    SCS_JAX_GOLDEN=write .venv/bin/python -m pytest tests/golden tests/cli/test_ablate.py

writes the texts anew.
"""

import json
import math
import os
import pathlib
import re

import pytest

HERE = pathlib.Path(__file__).parent

# Keys of records whose values depend on the machine or the clock.
_ASIDE = {"versions", "device", "system", "date", "speed", "seconds", "seconds_of_training"}
_HASH = re.compile(r"(?<![\w.])(?=\d*[a-f])[0-9a-f]{12,64}(?!\w)")
_NUMBER = re.compile(r"(?<!\w)(?<!\d\.)([+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)(?!\w|\.\d)")


def check(name, folder, printed, *files):
  """Compares what was printed and these files of out/ with those that are held, or writes them."""
  found = {"screen.txt": printed}
  found |= {file.replace("/", "-"): (folder / "out" / file).read_text() for file in files}
  found = {file: _plain(file, text, folder) for file, text in found.items()}
  held = HERE / name
  if os.environ.get("SCS_JAX_GOLDEN") == "write":
    held.mkdir(exist_ok=True)
    for file, text in found.items():
      (held / file).write_text(text)
    pytest.skip(f"wrote {held}")
  for file, text in found.items():
    _compare(f"{name}/{file}", (held / file).read_text(), text)


def _plain(file, text, folder):
  """A text without what differs from run to run."""
  text = text.replace(str(folder), "<folder>").replace(folder.name, "<folder>")
  text = _HASH.sub("<hash>", text)
  if file.endswith("row.json"):  # every key of a config, new ones too, is in its identity
    text = json.dumps(json.loads(text) | {"identity": "<aside>"})
  return _lines(_without(json.loads(text))) if file.endswith(".json") else text


def _without(record):
  """A record without what is aside, its floats cut to six digits."""
  if isinstance(record, dict):
    return {key: "<aside>" if key in _ASIDE else _without(v) for key, v in record.items()}
  if isinstance(record, list):
    return [_without(value) for value in record]
  return float(f"{record:.6g}") if isinstance(record, float) else record


def _lines(record):
  """JSON in which a list or a dictionary that fits into a line has one."""
  text = json.dumps(record, indent=1)
  for inner in (r"\[[^\[\]{}]*\]", r"\{[^{}]*\}"):
    text = re.sub(inner, _fold, text)
  return text + "\n"


def _fold(part):
  line = " ".join(part[0].split())
  return line if len(line) <= 90 else part[0]


def _compare(what, held, found):
  held, found = _NUMBER.split(held), _NUMBER.split(found)
  blank = r"\s+" if what.endswith(".json") else " +"  # lines are folded, columns move
  spaced = lambda parts: [re.sub(blank, " ", part) for part in parts[::2]]
  assert spaced(found) == spaced(held), what
  for old, new, before in zip(held[1::2], found[1::2], held[:-1:2], strict=True):
    where = f"{what}, after {before[-60:]!r}: {old}, now {new}"
    if old.lstrip("+-").isdigit():
      assert new == old, where
    else:
      # Of what is printed; below a thousandth there is rounding alone, as in differences of means.
      last = max(1e-3, 1.01 * 10.0 ** -len(old.partition(".")[2]))
      assert math.isclose(float(new), float(old), rel_tol=1e-3, abs_tol=last), where
