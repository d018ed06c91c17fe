"""`scs-jax ablate`: what it does, on tiny networks and with made-up rows."""

import contextlib
import csv
import io
import json
import pathlib
import sys
from typing import NamedTuple

import jax
import numpy as np
import pytest

import scs_jax
from scs_jax.cli import main as cli
from scs_jax.core import config as configs
from scs_jax.core.ablations_result import RowResult, read
from scs_jax.core.contract import TrainState
from scs_jax.errors import UserError
from scs_jax.measure import ablate, ablate_plan
from scs_jax.measure.photos import METRICS
from scs_jax.training import models
from scs_jax.training.checkpoint import Checkpoints

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "golden"))

import ablating
import held


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp("photos")
  ablating.make_photos(folder)
  return folder


@pytest.fixture(scope="module")
def tiny(make_tiny_config, tmp_path_factory):
  return ablating.write_scsnet(make_tiny_config(), tmp_path_factory.mktemp("config"))


@pytest.fixture
def call(tiny, photos, tmp_path):
  """A function: flags -> exit code, for scsnet.losses on the photographs."""

  def run(*flags, table="scsnet.losses"):
    common = ["--config", str(tiny), "--data", str(photos), "--heldout", str(photos), "--quiet"]
    return cli.main(["ablate", table, *common, "--workdir", str(tmp_path / "out"), *flags])

  return run


@pytest.fixture(scope="module")
def ran(make_tiny_config, one_device, tmp_path_factory):
  """One run, with a row that can be trained and one whose weights are missing."""
  folder = tmp_path_factory.mktemp("ablation")
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    pathlib.Path("photos").mkdir()
    ablating.make_photos(folder / "photos")
    path = ablating.write_scsnet(make_tiny_config(), folder)
    flags = ["--config", str(path), "--data", "photos", "--heldout", "photos", "--quiet"]
    rows = ["--rows", "1", "L_C + L_P"]
    command = ["ablate", "scsnet.losses", *rows, *flags, "--workdir", "out"]
    with contextlib.redirect_stdout(io.StringIO()) as told:
      code = cli.main(command)
    yield Ran(folder / "out", command, code, told.getvalue())


class Ran(NamedTuple):
  out: pathlib.Path
  command: list
  code: int
  told: str


class TestReal:
  def test_what_it_prints_and_writes_is_held(self, ran):
    files = ("table.md", "table.csv", "l-c/row.json")
    held.check("ablate_photos", ran.out.parent, ran.told, *files)

  def test_a_row_that_fails_stops_no_other_and_is_told(self, ran):
    out = ran.out
    assert ran.code == 1
    assert read(out / "l-c").status == "done" and read(out / "l-c-l-p").status == "failed"
    assert "vgg16" in read(out / "l-c-l-p").reason.lower()
    assert "Traceback" in (out / "l-c-l-p" / "error.txt").read_text()
    text = (out / "table.md").read_text()
    assert "L_C + L_P failed: " in text and text.count("not trained yet") == 2
    assert "FID: no figure of ours. FID needs" in text and "CN: no figure of ours." in text

  def test_scores_are_those_of_evaluate(self, ran, photos, tmp_path):
    """The same figures as the verb that measures one run, picture by picture."""
    out = ran.out
    row = read(out / "l-c")
    flags = ["--checkpoint", str(out / "l-c"), "--step", "last", "--no-baselines", "--quiet"]
    flags += ["--data", str(photos), "--out", str(tmp_path), "--panels", "0"]
    assert cli.main(["evaluate", *flags, "--modes", "self"]) == 0
    with open(tmp_path / "per_image.csv", newline="") as file:
      told = {r["picture"]: r for r in csv.DictReader(file) if r["predictor"] == "scsnet"}
    names = sorted(path.name for path in photos.iterdir())
    records = {mode: row.scores[f"{mode}/record"].astype(int) for mode in ("self", "random")}
    for i, ours in zip(records["self"], row.scores["self/psnr_rgb"], strict=True):
      np.testing.assert_allclose(ours, float(told[names[i]]["psnr_rgb"]), rtol=1e-6)
    gray = np.concatenate([row.scores[f"{mode}/gray"] for mode in records])
    every = np.concatenate(list(records.values()))
    assert sorted(every) == [0, 1, 2, 3] and dict(zip(every, gray, strict=True))[3] == 1
    assert gray.sum() == 1
    assert row.about["pictures"] == {"self": 1, "random": 3} and row.about["steps"] == 2
    assert len(set(row.about["lists"].values())) == 2

  def test_a_row_is_the_training_that_python_runs(self, ran, tmp_path, capsys):
    """The same parameters, by the programs that are compiled for the row."""
    out, command = ran.out, ran.command
    which, photos = command[command.index("--config") + 1], command[command.index("--data") + 1]
    pictures = [f"data.source={photos}", f"data.heldout={photos}"]
    plan = ablate_plan.make("scsnet.losses", which, workdir=out, overrides=pictures)
    config = plan.rows["L_C"].config
    outcome = scs_jax.train(config, tmp_path / "run", quiet=True)
    assert (outcome.step, outcome.stopped, outcome.workdir) == (2, False, tmp_path / "run")
    trained = models.find(out / "l-c", "last").restore().params
    for a, b in zip(
      jax.tree.leaves(outcome.state.params), jax.tree.leaves(trained), strict=True
    ):
      np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(outcome.curves["loss/content"][:, 0], [1, 2])
    assert set(outcome.scores) >= {f"self/{name}" for name in METRICS}
    assert outcome.scores["self/psnr_rgb"] == outcome.curves["self/psnr_rgb"][-1, 1]
    capsys.readouterr()
    outcome.show()
    shown = capsys.readouterr().out
    assert "step 2 of 2" in shown and "loss/content" in shown and "self/ssim_rgb" in shown

  def test_the_spec_and_the_settings_are_stored(self, ran):
    found = json.loads((ran.out / "spec.json").read_text())
    assert found["spec"]["base"] == "L_C" and found["spec"]["pictures"]["random"] == 2000
    assert found["spec"]["rows"][3]["paper"]["fid"] == 9.632
    assert found["settings"]["seed"] == 0

  def test_again_leaves_out_what_is_done(self, ran, capsys, monkeypatch):
    out, command = ran.out, ran.command
    before = (out / "l-c" / "row.json").stat().st_mtime_ns
    monkeypatch.setattr(ablate, "train", lambda *a, **k: pytest.fail("trained again"))
    at = command.index("--rows")
    assert cli.main([*command[: at + 2], *command[at + 3 :]]) == 0  # the first alone
    assert "done already" in capsys.readouterr().out
    assert (out / "l-c" / "row.json").stat().st_mtime_ns == before

  def test_other_settings_in_the_same_folder_are_refused(self, ran, capsys):
    command = ran.command
    assert cli.main([*command, "--steps", "3"]) == 2
    assert "other settings (steps 2, now 3" in capsys.readouterr().err

  def test_another_limit_measures_again_without_training(self, ran, monkeypatch, tmp_path):
    out, command = ran.out, ran.command
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    at = command.index("--rows")
    command = [*command[: at + 2], *command[at + 3 : -1], str(copy), "--limit", "2"]
    trained = ablate.train
    steps = []
    monkeypatch.setattr(
      ablate, "train", lambda *a, **k: steps.append(trained(*a, **k)) or steps[-1]
    )
    assert cli.main(command) == 0
    assert read(copy / "l-c").about["pictures"] == {"self": 2, "random": 2}
    assert not set(read(copy / "l-c").scores["self/record"]) & set(
      read(copy / "l-c").scores["random/record"])  # fmt: skip
    curve = (copy / "l-c" / "metrics.jsonl").read_text()
    assert curve == (out / "l-c" / "metrics.jsonl").read_text() and steps[0].step == 2


class TestMadeUp:
  """Everything around the training, with rows that are made up."""

  @pytest.fixture(autouse=True)
  def made(self, monkeypatch):
    trained = []

    def result(plan, row, quiet):
      trained.append(row.name)
      if row.name == self.broken:
        raise ValueError("the machine is on fire")
      if row.name == self.stopped:
        return None
      scores = {}
      for mode in plan.table.modes:
        scores[f"{mode}/record"] = np.arange(3)
        scores[f"{mode}/gray"] = np.zeros(3)
        for metric in ("psnr_rgb", "psnr_ab", "ssim_rgb", "colorfulness_hs"):
          scores[f"{mode}/{metric}"] = np.arange(3) + float(len(trained))
      about = {"steps": 2, "total_parameters": 5, "pictures": {"self": 3}, "broken": [],
               "device": {"kind": "cpu"}, "source": "x", "heldout": "y", "seed": 0}  # fmt: skip
      return RowResult(row.name, "done", row.identity, "", about, {}, scores)

    monkeypatch.setattr(ablate, "_result", result)
    self.broken = self.stopped = ""
    return trained

  def test_all_rows_and_the_differences(self, call, made, tmp_path):
    assert call() == 0
    assert made == ["L_C", "L_C + L_P", "L_C + L_Adv", "L_C + L_P + L_Adv"]
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| L_C + L_P + L_Adv | 9.632 | -6.658 |" in text
    assert "5.000 [4.000, 6.000] | +3.000 [+3.000, +3.000]" in text
    assert {p.name for p in (tmp_path / "out").iterdir() if p.is_file()} == {
      "spec.json", "table.md", "table.csv", "report.html"
    }  # fmt: skip

  def test_jobs_share_the_rows(self, call, made, tmp_path):
    assert call("--index", "1", "--count", "2") == 0
    assert made == ["L_C + L_P", "L_C + L_P + L_Adv"]
    assert call("--index", "0", "--count", "2") == 0
    assert sorted(made) == sorted(row.name for row in ablate_plan.tables()["scsnet.losses"].rows)
    assert "not trained yet" not in (tmp_path / "out" / "table.md").read_text()

  def test_a_bug_in_a_row_is_told_and_tried_again(self, call, made, capsys):
    self.broken = "L_C"
    assert call() == 1
    assert len(made) == 4 and "failed: L_C: ValueError: the machine" in capsys.readouterr().err
    self.broken = ""
    assert call() == 0
    assert made[4:] == ["L_C"]

  def test_a_stopped_row_ends_the_call_and_is_gone_on_with(self, call, made, tmp_path):
    self.stopped = "L_C + L_P"
    assert call() == 0
    assert made == ["L_C", "L_C + L_P"]
    assert read(tmp_path / "out" / "l-c-l-p").status == "running"
    self.stopped = ""
    assert call() == 0
    assert made[2:] == ["L_C + L_P", "L_C + L_Adv", "L_C + L_P + L_Adv"]

  @pytest.fixture
  def older(self, call, made, tmp_path, tiny):
    """A function: makes the first row one that an earlier release left with this status."""
    later = ("data.enlarge", "evaluate.lpips_files", "init_from")  # keys that it did not have

    def make(status):
      assert call("--rows", "1") == 0
      folder = tmp_path / "out" / "l-c"
      row = json.loads((folder / "row.json").read_text())
      row["status"] = status
      assert row["identity"]["data.enlarge"] is False
      for key in later:
        del row["identity"][key]
      (folder / "row.json").write_text(json.dumps(row))
      config = configs.load(str(tiny)).copy_and_resolve_references().unlock()
      del config.data.enlarge, config.evaluate.lpips_files, config.init_from
      x = {"net": {"w": np.ones(2, np.float32)}}
      with Checkpoints(folder) as checkpoints:
        state = TrainState(np.int32(2), x, x, {})
        checkpoints.save(2, state, data={}, config=config.lock(), wait=True)

    return make

  def test_a_row_that_an_earlier_release_trained_is_done(self, call, made, older, tmp_path, capsys):
    older("done")
    assert call("--rows", "1") == 0
    assert made == ["L_C"] and "done already" in capsys.readouterr().out
    rows = (tmp_path / "out" / "table.md").read_text().splitlines()
    assert next(row for row in rows if row.startswith("| L_C (base)")).endswith("| 2 |")
    assert call("--rows", "1", "--collect") == 0

  def test_a_row_that_an_earlier_release_began_goes_on_as_it_was_begun(
    self, call, made, older, tmp_path, capsys
  ):
    older("running")
    assert call("--rows", "1") == 0
    assert made == ["L_C", "L_C"] and "config.data.enlarge stays True" in capsys.readouterr().out
    assert read(tmp_path / "out" / "l-c").identity["data.enlarge"] is True
    assert call("--rows", "1", "--config.batch_size=16") == 2
    assert "other settings (batch_size 8, now 16)" in capsys.readouterr().err

  def test_collect_trains_nothing(self, call, made, tmp_path):
    assert call("--rows", "1") == 0
    (tmp_path / "out" / "table.md").unlink()
    assert call("--collect") == 0
    assert made == ["L_C"] and (tmp_path / "out" / "table.md").exists()

  def test_collect_writes_no_table_of_nothing(self, call, made, tmp_path, capsys):
    assert call("--collect") == 2
    assert "nothing to collect" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert call("--rows", "1") == 0
    before = (tmp_path / "out" / "table.md").read_text()
    assert call("--limit", "2", "--collect") == 2
    assert "measure.limit (nothing), now 2" in capsys.readouterr().err
    assert (tmp_path / "out" / "table.md").read_text() == before

  def test_rows_of_other_settings_are_named_as_such(self, call, made, tmp_path):
    assert call("--rows", "1", "2") == 0
    assert call("--rows", "1", "--limit", "2") == 0
    rows = (tmp_path / "out" / "table.md").read_text().splitlines()
    ends = [row.rpartition("| ")[2] for row in rows if row.startswith("| L_C")]
    assert ends == ["2 |", "other settings |", "not trained yet |", "not trained yet |"]

  def test_a_dry_run_writes_nothing_and_says_what_will_fail(self, call, made, tmp_path, capsys):
    assert call("--dry-run") == 0
    out = capsys.readouterr().out
    assert not made and not (tmp_path / "out").exists()
    assert "base row: L_C" in out and out.count("will fail: ") == 2
    assert "L_C: 2 steps of 8; loss.perceptual=0.0, loss.adversarial=0.0" in out

  @pytest.mark.parametrize(
    ("flags", "said"),
    [
      (("--rows", "9"), "expected 1 to 4"),
      (("--rows", "L_X"), "expected 1 to 4, or one of 'L_C'"),
      (("--index", "2", "--count", "2"), "expected an index from 0 to 1"),
      (("--count", "0"), "--count 0: expected a whole number from 1"),
      (("--steps", "0"), "--steps 0"),
      (("--heldout", ""), "config.data.heldout is empty"),
      (("--data", "nowhere"), "nowhere"),
      (("--config.loss.perceptual=0",), "have the same config"),
      (("--fid-weights", "nowhere.pth"), "nowhere.pth: no such file"),
    ],
  )
  def test_what_cannot_be_is_refused_at_once(self, call, made, flags, said, capsys):
    assert call(*flags) == 2
    assert said in capsys.readouterr().err and not made

  def test_an_unknown_table_names_the_nearest(self, call, capsys):
    assert call(table="scsnet.lossess") == 2
    assert "scsnet.losses" in capsys.readouterr().err


def test_without_a_table_it_lists_them(capsys):
  assert cli.main(["ablate"]) == 0
  out = capsys.readouterr().out
  assert all(name in out for name in ablate_plan.tables())


@pytest.mark.parametrize("name", ablate_plan.tables())
def test_every_table_can_be_run_dry(name, capsys):
  assert cli.main(["ablate", name, "--dry-run", "--steps", "60"]) == 0
  out = capsys.readouterr().out
  for row in ablate_plan.tables()[name].rows:
    assert f"\n  {row.name}: " in out


@pytest.mark.usefixtures("plain_volumes", "one_device")
def test_pairs_are_measured_both_ways(make_cycle_config, tmp_path, capsys, monkeypatch):
  """A row of Table VII: both passes, and beside them what they were with the Y that was found."""
  path = ablating.write_cycle(make_cycle_config(), tmp_path)
  out = tmp_path / "out"
  flags = ["--config", str(path), "--rows", "10", "--workdir", "out", "--quiet"]
  monkeypatch.chdir(tmp_path)
  assert cli.main(["ablate", "cycle_cnn.losses", *flags]) == 0, capsys.readouterr().err
  files = ("table.md", "table.csv", "no-color-refinement/row.json")
  held.check("ablate_pairs", tmp_path, capsys.readouterr().out, *files)
  row = read(out / "no-color-refinement")
  assert row.about["steps"] == 5  # 70,000 of 84,000
  first, second = (
    [row.scores[f"{mode}{end}/ssim_rgb"] for end in ("", "_unrefined")]
    for mode in ("first", "second")
  )
  # Without refinement the first pass keeps its Y anyway; the second has the Y that was found.
  assert len(first[0]) > 0 and np.isfinite([*first, *second]).all()
  assert (second[0] != second[1]).all()
  line = next(x for x in (out / "table.md").read_text().splitlines() if "No color ref" in x)
  assert "| 0.9701 | -0.0006 |" in line  # the paper's difference, though our base is not there


def test_a_config_of_another_method_is_refused(tiny, capsys):
  with pytest.raises(UserError):
    ablate_plan.make("smsanet.attention", str(tiny))

