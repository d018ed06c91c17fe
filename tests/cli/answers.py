"""What verbs left behind: the last words, and the files of an evaluation."""

import csv
import json
import pathlib

from scs_jax.cli import main as cli


def evaluate(*more, run="run", out="out"):
  """The exit code of `scs-jax evaluate`; without `out`, the verb chooses the folder.

  Panels, which take most of the time, are drawn where they are asked for.
  """
  panels = () if "--panels" in more else ("--panels", "0")
  argv = ["evaluate", "--checkpoint", str(run), "--quiet", *panels, *more]
  return cli.main([*argv, "--out", str(out)] if out else argv)


def record(out="out"):
  """results.json."""
  return json.loads(pathlib.Path(out, "results.json").read_text())


def lines(out="out", table="per_image.csv"):
  """A table's lines, by column."""
  with open(f"{out}/{table}", newline="") as file:
    return list(csv.DictReader(file))


def one_line(capfd, *parts):
  """One line of what was said is an error, it has these parts, and there is no traceback."""
  err = capfd.readouterr().err
  errors = [line for line in err.splitlines() if line.startswith("scs-jax: error: ")]
  assert "Traceback" not in err and len(errors) == 1, err
  for part in parts:
    assert part in errors[0], errors[0]
