"""Parameter counts: exact for a method of known shapes, near the paper's for the paper's config."""

import json
import sys

import pytest

from scs_jax.cli import main as cli
from scs_jax.core import parameters as params
from scs_jax.errors import UserError

_METHOD = """
import jax.numpy as jnp
from scs_jax.core import contract
from scs_jax.core.contract import TrainState
class Method(contract.Method):
  def __init__(self, config):
    self.width = config.method.width
  def load_frozen(self):
    raise AssertionError("counting needs no weight file")
  def phase(self, step): ...
  def train_step(self, *args): ...
  def predict(self, *args): ...
  def init(self, key, batch):
    zeros = jnp.zeros
    generator = {"conv": {"kernel": zeros((3, 3, 2, self.width)), "bias": zeros(self.width)},
                 "head": {"scale": zeros(()), "deep": {"w": zeros((10, 2))}}}
    return TrainState(zeros(()), {"generator": generator, "critic": {"w": zeros(7)}}, {},
                      {"generator": {"mean": zeros(1000)}})
"""
_CONFIG = """
from scs_jax.core import config as configs
def get_config():
  c = configs.load("common").copy_and_resolve_references()
  c.unlock()
  c.method.name = "counted_of_test:Method"
  c.method.width = 4
  {more}
  return c
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
  """Writes a config file of the method above; returns its path."""
  (tmp_path / "counted_of_test.py").write_text(_METHOD)
  monkeypatch.syspath_prepend(str(tmp_path))

  def write(more=""):
    path = tmp_path / "config.py"
    path.write_text(_CONFIG.format(more=more))
    return str(path)

  yield write
  sys.modules.pop("counted_of_test", None)


def report(capsys, *argv):
  assert cli.main(["params", *argv, "--json"]) == 0
  return json.loads(capsys.readouterr().out)


def test_every_network_and_module_is_counted_exactly(write, capsys):
  """3 * 3 * 2 * 4 + 4 and 1 + 20; what no gradient trains is no parameter."""
  found = report(capsys, "--config", write())
  assert found["parameters"] == {
    "generator": 97, "generator/conv": 76, "generator/head": 21, "critic": 7, "critic/w": 7,
  }  # fmt: skip
  assert found["reported"] == []
  wider = report(capsys, "--config", write(), "--config.method.width=5")
  assert wider["parameters"]["generator/conv"] == 95


def test_the_table_shows_the_same_numbers_and_the_papers(write, capsys):
  more = "c.reported.parameters = (('all', ('generator', 'critic/w'), 0.0001),)"
  assert cli.main(["params", "--config", write(more)]) == 0
  lines = [line.split() for line in capsys.readouterr().out.splitlines()]
  assert lines[0] == ["network", "/", "module", "parameters"]
  assert ["generator", "97"] in lines and ["conv", "76"] in lines and ["critic", "7"] in lines
  assert lines[-1] == ["all", "104", "0.000M", "+4.00%"]


def test_rows_of_the_paper():
  counts = {"a": 1_500_000, "a/x": 250_000, "b": 500_000}
  rows = params.compare(counts, (("both", ("a", "b"), 1.6), ("x", ("a/x",), 0.5)))
  assert [(row["name"], row["ours"], row["paper"]) for row in rows] == [
    ("both", 2_000_000, 1.6), ("x", 250_000, 0.5),
  ]  # fmt: skip
  assert [row["difference"] for row in rows] == pytest.approx([0.25, -0.5])
  with pytest.raises(UserError, match=r"'all': no network or module 'a/y'; did you mean a/x\?"):
    params.compare(counts, (("all", ("a/y",), 1.0),))


def test_scsnet_is_as_large_as_the_paper_says(capsys):
  """Table 1 and Section 4.3: 9.954M, 15.358M; 0.35M for CPM."""
  found = report(capsys, "--config", "scsnet/paper")
  counts = found["parameters"]
  rows = {row["name"]: row for row in found["reported"]}
  assert abs(rows["automatic"]["ours"] / 9.954e6 - 1) < 0.01
  assert abs(rows["automatic + referential"]["ours"] / 15.358e6 - 1) < 0.01
  assert abs(rows["CPM"]["ours"] / 0.35e6 - 1) < 0.03
  assert rows["automatic"]["ours"] == counts["generator"]
  assert rows["automatic + referential"]["ours"] == counts["generator"] + counts["reference"]
  for network in ("generator", "reference", "discriminator"):
    modules = [number for name, number in counts.items() if name.startswith(f"{network}/")]
    assert sum(modules) == counts[network] > 0


@pytest.mark.parametrize(
  ("argv", "part"),
  [
    (["--config", "scsnet/papr"], "no config is called 'scsnet/papr'; did you mean scsnet/paper?"),
    (["--config", "scsnet/small", "--jsn"], "unknown flag --jsn; did you mean --json?"),
    (["--config", "scsnet/small", "--config.network.levels=9"], "expected a number in [1, 5], got"),
    ([], "--config"),
  ],
)
def test_a_slip_is_one_line_and_two(capsys, argv, part):
  assert cli.main(["params", *argv]) == 2
  err = capsys.readouterr().err
  assert err.startswith("scs-jax: error: ") and err.count("\n") == 1 and part in err
