"""`scs-jax demo --train`: what it trains and what its report holds, the training faked."""

import numpy as np
import pytest

from scs_jax.cli import main as cli
from scs_jax.core import config as configs
from scs_jax.core.contract import Method, Prediction, TrainState
from scs_jax.measure import demo_train
from scs_jax.ops.resize import resize_bicubic
from scs_jax.training.outcome import Outcome


class Tinted(Method):
  """Enlarges, and gives every pixel one colour."""

  def __init__(self, tint):
    self.tint = np.array(tint, np.float32)

  def predict(self, state, query):
    gray = resize_bicubic(query.gray, query.size)
    return Prediction((gray * self.tint).clip(0, 1))


@pytest.fixture
def trained(monkeypatch, tmp_path):
  """Replaces training; the list of (config's name, steps, folder below the run's) it was asked."""
  asked = []

  def train(name, config, workdir, quiet):
    asked.append((name, config.steps, str(workdir.relative_to(tmp_path))))
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss/content": 1.0}\n')
    tint = {"scsnet": (1, 0.9, 0.8), "smsanet": (0.8, 1, 0.9), "joint_sr": (0.9, 0.8, 1)}
    state = TrainState(np.int32(config.steps), {}, {}, {})
    tinted = Tinted(tint[config.method.name])
    return Outcome(workdir, config, config.steps, False, tinted, state)

  monkeypatch.setattr(demo_train, "_train", train)
  monkeypatch.setattr(demo_train, "SCALES", (2.0,))
  return asked


def test_all_sets_the_other_methods_beside_scsnet(trained, tmp_path, capsys):
  assert cli.main(["demo", "--train", "--all", "--workdir", str(tmp_path), "--size", "48"]) == 0
  steps = {name: configs.load(name).steps for name in ("scsnet/small", *demo_train.OTHERS.values())}
  assert trained == [
    ("scsnet/small", steps["scsnet/small"], "."),
    ("smsanet/small", round(steps["smsanet/small"] / 3), "smsanet"),
    ("joint_sr/small", round(steps["joint_sr/small"] / 3), "joint_sr"),
  ]
  out = capsys.readouterr().out
  automatic = [line for line in out.splitlines() if line.startswith("  2x automatic")]
  assert [line[16:30].strip() for line in automatic] == [
    "SCSNet", "SMSANet", "joint network", "bicubic gray",
  ]  # fmt: skip
  assert "joint network" not in out.partition("2x self")[2]
  assert len({line[30:] for line in automatic}) == 4  # each its own figures
  page = (tmp_path / "report.html").read_text()
  assert "SMSANet" in page and "joint network" in page


def test_without_all_it_is_scsnet_alone(trained, tmp_path, capsys):
  flags = ["--workdir", str(tmp_path), "--size", "48", "--config.steps=6"]
  assert cli.main(["demo", "--train", *flags]) == 0
  assert trained == [("scsnet/small", 6, ".")]
  assert "SMSANet" not in capsys.readouterr().out


def test_another_method_is_refused(tmp_path, capsys):
  flags = ["--workdir", str(tmp_path), "--config", "joint_sr/small"]
  assert cli.main(["demo", "--train", *flags]) == 2
  assert "the demo shows scsnet" in capsys.readouterr().err
