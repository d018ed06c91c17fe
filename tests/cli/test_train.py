"""`scs-jax train` whole: pictures in, checkpoints out, one line and 2 for what a user can mend."""

import contextlib
import json
import os
import pathlib
import re
import signal
import sys
import threading

import fsspec
import jax
import numpy as np
import pytest
from PIL import Image

import scs_jax
from scs_jax.cli import main as cli
from scs_jax.data import opening
from scs_jax.errors import UserError
from scs_jax.training import models
from scs_jax.training.checkpoint_folder import find_checkpoint

# A method that compiles in no time: the command line, the data and the loop are the real ones.
_METHOD = """
import jax, jax.numpy as jnp
from scs_jax.core import contract
from scs_jax.core.contract import Prediction, TrainState
class Method(contract.Method):
  def __init__(self, config):
    self.width, self.floats = config.method.width, config.method.floats
  def init(self, key, batch):
    params = {"net": {"w": jnp.zeros(self.width), "much": jnp.zeros(self.floats)}}
    return TrainState(jnp.zeros((), jnp.int32), params, {"net": {}}, {})
  def train_step(self, state, batch, key, collective, phase):
    mean = collective.mean(batch["image"].astype(jnp.float32).mean()) / 255
    net = state.params["net"]
    net = {"w": 0.9 * net["w"] + 0.1 * mean, "much": net["much"] + 1}
    return state.replace(step=state.step + 1, params={"net": net}), {"loss/mean": mean}
  def predict(self, state, query):
    shape = (query.gray.shape[0], *query.size, 3)
    return Prediction(jnp.broadcast_to(state.params["net"]["w"][:1], shape))
class Other(Method):
  pass
"""
_CONFIG = """
from scs_jax.core import config as configs
def get_config():
  c = configs.load("common").copy_and_resolve_references()
  c.unlock()
  c.method.name = "trained_of_test:Method"
  c.method.width = 3
  c.method.floats = 4
  c.batch_size = 8
  c.steps = 4
  c.data.crop = 16
  c.checkpoint.every_steps = 2
  c.checkpoint.best_metric = ""
  c.log.every_steps = 1
  c.log.evaluate_every = 4
  c.log.panels_every = 4
  c.evaluate.reference_size = 8
  return c
"""


@pytest.fixture
def setup(tmp_path, monkeypatch):
  """A folder with a config, its method, six photos and two held-out ones; the working folder."""
  (tmp_path / "trained_of_test.py").write_text(_METHOD)
  (tmp_path / "tiny.py").write_text(_CONFIG)
  for name, count in (("photos", 6), ("heldout", 2)):
    (tmp_path / name).mkdir()
    for i in range(count):
      pixels = np.random.default_rng(i).integers(0, 256, (24, 24, 3), dtype=np.uint8)
      Image.fromarray(pixels).save(tmp_path / name / f"p{i}.png")
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  yield tmp_path
  sys.modules.pop("trained_of_test", None)


def train(*more, workdir="run", data="photos", heldout="heldout", config="tiny.py"):
  argv = ["train", "--config", config, "--workdir", str(workdir), "--quiet"]
  argv += [f"--data={data}", f"--heldout={heldout}"]
  return cli.main([*argv, *more])


def one_line(capfd, *parts):
  """The last thing said is one line with these parts, and there is no traceback."""
  err = capfd.readouterr().err
  assert "Traceback" not in err and "this is a bug" not in err, err
  errors = [line for line in err.splitlines() if line.startswith("scs-jax: error: ")]
  assert len(errors) == 1 and err.splitlines()[-1] == errors[0], err
  for part in parts:
    assert part in errors[0]


def files(folder):
  return {str(p.relative_to(folder)): p.stat().st_mtime_ns
          for p in folder.rglob("*") if p.is_file()}  # fmt: skip


# --- a run


def test_a_run_and_the_same_command_again(setup, capfd):
  assert train() == 0
  out, err = capfd.readouterr()
  assert out == "run: step 4; checkpoints, metrics.jsonl and panels are there\n"
  assert err == "compiling the training step (train): it takes from seconds to many minutes\n"
  run = setup / "run"
  names = {p.name for p in run.iterdir()}
  assert names == {"checkpoints", "config.json", "data_scan_sizes.json", "metrics.jsonl", "panels"}
  assert [p.name for p in (run / "panels").iterdir()] == ["step_00000004.png"]
  lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
  assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
  assert json.loads((run / "config.json").read_text())["data"]["source"] == "photos"
  assert train() == 0
  assert "nothing is left to do" in capfd.readouterr().err
  assert train("--config.steps=6") == 0
  assert "going on from step 4 in run" in capfd.readouterr().err
  assert find_checkpoint(run)[1] == 6


def test_a_run_begins_with_a_model_and_goes_on_without_it(setup, capfd):
  """`much` counts the steps that led to it: 4 of the first run, 3 and 2 more of the second."""
  assert train("--config.ema_decay=0.5", workdir="first") == 0
  assert cli.main(["export", "first", "first.safetensors"]) == 0
  averaged = models.find("first.safetensors").restore().params["net"]["much"]
  capfd.readouterr()
  start = "--config.init_from=first.safetensors"
  assert train(start, "--config.steps=3") == 0
  assert "starting from" in (err := capfd.readouterr().err) and "first.safetensors, step 4" in err
  found = models.find("run").restore().params["net"]["much"]
  np.testing.assert_allclose(found, np.asarray(averaged) + 3, rtol=1e-6)
  pathlib.Path("first.safetensors").unlink()
  assert train(start, "--config.steps=5") == 0
  assert "going on from step 3 in run" in capfd.readouterr().err
  found = models.find("run").restore().params["net"]["much"]
  np.testing.assert_allclose(found, np.asarray(averaged) + 5, rtol=1e-6)


def test_a_start_that_is_none_is_told_before_any_picture_is_read(setup, capfd, monkeypatch):
  monkeypatch.setattr(opening, "open_data", lambda *rest: pytest.fail("read"))
  assert train("--config.init_from=gone") == 2
  one_line(capfd, "no model is called 'gone'")
  pathlib.Path("old.npz").write_bytes(b"PK\x03\x04" + bytes(50))
  assert train("--config.init_from=old.npz") == 2
  one_line(capfd, "old.npz: expected a model's file", "scs-jax convert")


def test_unreadable_pictures_are_skipped_counted_and_named(setup, capfd):
  photos = setup / "photos"
  (photos / "p1.png").write_bytes(b"no picture")
  half = (photos / "p3.png").read_bytes()
  (photos / "p3.png").write_bytes(half[: len(half) // 2])
  (photos / "empty.jpg").write_bytes(b"")
  (setup / "heldout/broken.jpg").write_bytes(b"\xff\xd8\xff")
  assert train() == 0
  err = capfd.readouterr().err
  assert "training on 6 pictures; left out: 1 empty files\n" in err
  assert "held-out pictures that cannot be read: 1 (broken.jpg)\n" in err
  assert "pictures that cannot be read, each replaced by the next: 2 (p1.png, p3.png)\n" in err


def test_the_scan_for_gray_pictures_makes_the_runs_folder(setup, capfd):
  gray = np.repeat(np.arange(24 * 24, dtype=np.uint8).reshape(24, 24, 1), 3, axis=2)
  Image.fromarray(gray).save(setup / "photos/gray.png")
  (setup / "photos/broken.png").write_bytes(b"no picture")
  assert train("--config.data.exclude_gray=true", workdir="new/run") == 0
  line = "training on 6 pictures; left out: 1 that cannot be read, 1 gray\n"
  assert line in capfd.readouterr().err
  assert (setup / "new/run/data_scan.json").is_file()


def test_bundled_photos_that_are_held_out_are_not_trained_on(setup):
  from scs_jax.core import config as configs

  config = configs.apply_overrides(configs.load("tiny.py"), ["data.source=bundled",
                                                             "data.heldout="])  # fmt: skip
  data, _ = opening.open_data(config, "run")
  names = {data.name(i) for i in range(data.identity["records"])}
  assert len(names) == 8
  assert not names & {"chelsea.png", "coffee.png", "china.jpg"}


def test_reader_threads_end_with_the_run(setup):
  before = set(threading.enumerate())
  assert train("--config.data.threads=3") == 0
  (setup / "other").mkdir()
  (setup / "other/config.json").write_text("{")
  assert train(workdir="other") == 2
  for thread in set(threading.enumerate()) - before:
    if "grain" in thread.name or "checkpoint" in thread.name:
      thread.join(timeout=10)  # told to end, it may be at its last batch
      assert not thread.is_alive(), thread


def test_python_trains_as_the_command_does(setup, capfd):
  config = scs_jax.load_config("tiny.py")
  config.data.source, config.data.heldout = "photos", "heldout"
  config.steps, config.epochs = 0, 3.0
  outcome = scs_jax.train(config, "run", quiet=True)
  assert (outcome.step, outcome.stopped, outcome.workdir) == (3, False, pathlib.Path("run"))
  assert (config.steps, config.epochs) == (0, 3.0)  # left as it was given
  assert (outcome.config.steps, outcome.config.epochs) == (3, 0.0)
  losses = outcome.curves["loss/mean"]
  assert losses.shape == (3, 2) and list(losses[:, 0]) == [1, 2, 3]
  assert {name.partition("/")[0] for name in outcome.scores} == {"automatic"}
  np.testing.assert_array_equal(outcome.state.params["net"]["much"], np.full(4, 3.0))
  capfd.readouterr()
  outcome.show()
  out = capfd.readouterr().out
  assert out.startswith("run: step 3 of 3\n") and "loss/mean" in out
  assert train("--config.epochs=3", "--config.steps=0") == 0
  assert "is at step 3 of 3: nothing is left to do" in capfd.readouterr().err

# --- in a bucket


def stopping_at(step, monkeypatch):
  """SIGTERM comes while the batch of a step, counted from 1, is got."""
  original = opening.open_data

  def opened(*args):
    data, steps = original(*args)
    batches = data.open_batches

    def stopping(start):
      for i, batch in enumerate(batches(start)):
        if start + i + 1 == step:
          os.kill(os.getpid(), signal.SIGTERM)
        yield batch

    data.open_batches = stopping
    return data, steps

  monkeypatch.setattr(opening, "open_data", opened)


def test_a_run_in_a_bucket_is_stopped_and_goes_on_as_on_a_disk(setup, bucket, monkeypatch, capfd):
  address, objects = bucket
  more = ["--config.steps=8", "--config.log.panels_every=2"]
  assert train(*more, workdir="disk") == 0
  run = f"{address}/runs/one"
  with monkeypatch.context() as patch:
    stopping_at(5, patch)
    assert train(*more, "--stopped-code=75", workdir=run) == 75
  capfd.readouterr()
  stopped = models.find(run, "last").step
  assert 2 <= stopped < 8
  assert train(*more, workdir=run) == 0
  out, err = capfd.readouterr()
  assert f"going on from step {stopped} in {run}\n" in err
  assert out == f"{run}: step 8; checkpoints, metrics.jsonl and panels are there\n"
  here = {str(p.relative_to("disk")) for p in pathlib.Path("disk").rglob("*") if p.is_file()}
  plain = lambda names: {name for name in names if "/d/" not in name}  # orbax draws those names
  assert plain(n.removeprefix("runs/one/") for n in objects()) == plain(here)
  assert not any((setup / "copies").glob(f"scs_jax-{os.getuid()}/*"))  # nothing stays behind

  found, expected = models.find(run), models.find("disk")
  assert (found.step, found.stem, found.place) == (8, "one", run)
  for a, b in zip(*(jax.tree.leaves(m.restore()) for m in (found, expected)), strict=True):
    np.testing.assert_array_equal(a, b)
  assert found.fingerprint() != "" and models.find(f"{run}/checkpoints/8").step == 8
  with pytest.raises(UserError, match="is step 8 itself: leave --step out"):
    models.find(f"{run}/checkpoints/8", 4)
  outcome = scs_jax.train("tiny.py", run, quiet=True)  # a config of fewer steps: nothing to do
  assert (outcome.workdir, outcome.step) == (run, 8)
  assert list(outcome.curves["loss/mean"][:, 0]) == list(range(1, 9))

  assert cli.main(["export", run, "one.safetensors"]) == 0
  files = fsspec.filesystem("s3")
  files.put_file("one.safetensors", f"{run}/one.safetensors")
  assert models.find(f"{run}/one.safetensors").step == 8
  flags = ["--checkpoint", run, "--data", "heldout", "--modes", "automatic", "--quiet"]
  assert cli.main(["evaluate", *flags]) == 0  # beside the model
  assert any(re.fullmatch("runs/one/evaluation/.*-step8/report.html", n) for n in objects())
  assert cli.main(["colorize", "heldout", "--out", "colored", "--checkpoint", run]) == 0


# --- SIGTERM before the loop


@pytest.mark.parametrize("place", ["open_data", "load_config"])
def test_sigterm_before_there_is_a_step_ends_with_code_0(setup, monkeypatch, capfd, place):
  owner = opening if place == "open_data" else sys.modules["scs_jax.cli.arguments"]

  def terminated(*unused):
    signal.raise_signal(signal.SIGTERM)
    pytest.fail("went on after SIGTERM")

  before = signal.getsignal(signal.SIGTERM)
  monkeypatch.setattr(owner, place, terminated)
  assert train() == 0
  assert signal.getsignal(signal.SIGTERM) == before
  assert "Traceback" not in capfd.readouterr().err
  assert train("--stopped-code=75") == 75  # for a cluster manager that would take 0 for done


def test_a_run_that_sigterm_ends_early_has_the_code_asked_for(setup, monkeypatch, capfd):
  stopping_at(3, monkeypatch)
  assert train("--stopped-code=75", "--config.steps=100") == 75
  assert "the same command goes on from there" in capfd.readouterr().err
  monkeypatch.undo()
  monkeypatch.syspath_prepend(str(setup))
  monkeypatch.chdir(setup)
  assert train("--stopped-code=75") == 0  # its last step reached


# --- slips


@pytest.mark.parametrize(
  ("more", "parts"),
  [
    (["--config.batch_szie=8"], ["did you mean --config.batch_size?"]),
    (["--config.log.every_steps=often"], ["expected an int", "got 'often'"]),
    (["--config.data.max_zoom=0.5"], ["of at least 1.0, got 0.5", "nearest allowed is 1.0"]),
    (["--config.steps=0"], ["config.steps is 0", "--config.steps=N"]),
    (["--config.parallel.mode=jti"], ["one of jit, pmap", "nearest allowed is jit"]),
    (["--config.method.name=scsent"], ["did you mean scsnet?"]),
    (["--config.batch_size=12"], ["batch_size 12 is not divisible by 8 devices; use 16 or 8"]),
    (["--config.data=photos"], ["--config.data is a section"]),
    (["--config.checkpoint.best_metric=self/psnr_ab"], ["best_metric is 'self/psnr_ab'"]),
    (["--config.data.crop=8"], ["held-out pictures are 8 pixels", "raise config.data.crop"]),
    (["--wrokdir", "x"], ["did you mean --workdir?"]),
    (["--config.evaluate.scale=nan"], ["config.evaluate.scale", "got nan"]),
    (["--data=nowhere"], ["no folder nowhere"]),
    (["--data=photo"], ["did you mean", "photos?"]),
    (["--data=tiny.py"], ["is a file, expected a folder of pictures"]),
    (["--data=none"], ["no pictures under none"]),
    (["--heldout=none"], ["no pictures under none"]),
    (["--heldout=broken"], ["none of the held-out pictures can be read"]),
    (["--data=broken"], ["pictures in a row cannot be used"]),
    (["--data=gss://bucket/x"], ["unknown scheme gss://", "did you mean gs://?"]),
    (["--config=nowhere.py"], ["nowhere.py: no such file"]),
    (["--config=syntax.py"], ["syntax.py: SyntaxError"]),
    (["--config=trained_of_test.py"], ["no get_config()"]),
    (["--config=tiny"], ["did you mean the file tiny.py?"]),
    (["--config=photos"], ["no config is called 'photos'"]),
    (["--config=.py"], ["no such file"]),
    (["--config.data.workers=99999999999"], ["a number in [0, 256]", "nearest allowed is 256"]),
    (["--workdir=" + 300 * "a"], ["the file name is too long"]),
    (["--workdir=taken"], ["a folder stands where a file is expected: taken/config.json"]),
    (["--workdir=tiny.py"], ["Not a directory", "choose another working folder"]),
    (["--workdir=tiny.py/run"], ["Not a directory", "choose another working folder"]),
    (["--workdir=/proc/run"], ["cannot write checkpoints to /proc/run/checkpoints"]),
    (["--workdir=tiny.py/run", "--config.data.exclude_gray=true"], ["file stands where a folder"]),
    (["--workdir="], ["--workdir is empty: expected the run's folder"]),
    (["--workdir=gss://bucket/run"], ["unknown scheme gss://", "did you mean gs://?"]),
    (["--stopped-code=256"], ["--stopped-code is 256: expected 0 to 255"]),
    (["--data="], ["config.data.source is empty: which pictures?"]),
  ],
)
def test_a_slip_is_one_line_and_two_before_anything_is_trained(setup, capfd, more, parts):
  (setup / "none").mkdir()
  (setup / "none/readme.txt").write_text("")
  (setup / "broken").mkdir()
  for i in range(3):
    (setup / f"broken/{i}.jpg").write_bytes(b"\xff\xd8")
  (setup / "taken/config.json").mkdir(parents=True)
  (setup / "syntax.py").write_text("def get_config(:\n")
  before = files(setup)
  assert train(*more) == 2
  one_line(capfd, *parts)
  new = files(setup).keys() - before.keys()
  assert not [name for name in new if "checkpoints/" in name or "panels" in name]
  assert all(files(setup)[name] == stamp for name, stamp in before.items())


# --- a full disk


def fill(disk, leave=0):
  """Takes all room of a disk but `leave` bytes."""
  with open(disk / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
    while file.write(b"0" * 4096):
      pass
  if leave:
    os.truncate(disk / "filler", os.path.getsize(disk / "filler") - leave)


def nothing_half_written(run):
  """No file under its aside name, whole lines only, whole checkpoints only."""
  assert not list(run.rglob("*.partial"))
  if (run / "metrics.jsonl").exists():
    for line in (run / "metrics.jsonl").read_text().splitlines():
      json.loads(line)
  steps = [p for p in (run / "checkpoints").iterdir() if p.name.isdigit()]
  assert all((p / "commit_success.txt").exists() or (p / "about").is_dir() for p in steps)
  assert all("tmp" not in p.name for p in (run / "checkpoints").iterdir())


def test_a_full_disk_from_the_start_and_room_again(setup, small_disk, capfd):
  with small_disk(setup / "disk", "2m") as disk:
    fill(disk)
    assert train(workdir=disk / "run") == 2
    one_line(capfd, "disk")
    (disk / "filler").unlink()
    assert train(workdir=disk / "run") == 0
    assert find_checkpoint(disk / "run")[1] == 4


def test_a_window_of_steps_is_traced(setup, capfd):
  assert train("--profile", "1:2") == 0
  assert "traced the steps up to 3 into run/profile" in capfd.readouterr().err
  assert any(p.name.endswith(".xplane.pb") for p in (setup / "run/profile").rglob("*"))


@pytest.mark.parametrize("window", ["5", "1:0", "a:b", ":3", "1:-2"])
def test_a_window_that_is_none(setup, capfd, window):
  assert train("--profile", window) == 2
  one_line(capfd, f"--profile '{window}': expected START:STEPS, as 100:5")
  assert not (setup / "run").exists()


@pytest.mark.parametrize(
  ("flags", "said"),
  [
    (["--coordinator=a:1"], "given without --num-processes and --process-id; give all three"),
    (["--process-id=0", "--num-processes=2"], "given without --coordinator; give all three"),
    (["--coordinator=a:1", "--num-processes=2", "--process-id=2"], "expected 0 to 1"),
    (["--coordinator=a", "--num-processes=2", "--process-id=0"], "expected HOST:PORT"),
    (["--distributed=auto", "--process-id=0"], "give it, or --coordinator, not both"),
  ],
)
def test_flags_of_several_processes_that_do_not_fit(setup, capfd, flags, said):
  assert train(*flags) == 2
  one_line(capfd, said)
  assert not (setup / "run").exists()


@pytest.mark.parametrize("moment", ["metrics", "panel", "checkpoint"])
def test_a_disk_that_fills_up_on_the_way(setup, small_disk, capfd, monkeypatch, moment):
  from scs_jax.training import loop, monitor, watch

  with small_disk(setup / "disk", "4m") as disk:
    run = disk / "run"
    assert train("--config.steps=2", workdir=run) == 0
    owner, name = {
      "metrics": (monitor.Logbook, "write"),
      "panel": (watch.panels, "panel"),
      "checkpoint": (loop, "_save"),
    }[moment]
    original = getattr(owner, name)

    def filled(*args, **more):
      # The file system rounds to pages: what is left of the last one takes lines, not a panel.
      fill(disk)
      if moment == "metrics":
        size = os.path.getsize(run / "metrics.jsonl")
        with open(run / "metrics.jsonl", "a") as file:  # five bytes are left: less than a line
          file.write(json.dumps({"step": 2, "pad": ""}).ljust(4096 - size % 4096 - 6) + "\n")
      return original(*args, **more)

    monkeypatch.setattr(owner, name, filled)
    capfd.readouterr()
    panels = 3 if moment == "panel" else 0
    more = (f"--config.log.panels_every={panels}", "--config.log.evaluate_every=5")
    assert train("--config.steps=5", *more, workdir=run) == 2
    one_line(capfd, "No space left" if moment == "checkpoint" else "the disk is full: ")
    monkeypatch.undo()
    nothing_half_written(run)
    assert find_checkpoint(run)[1] in (2, 4)
    (disk / "filler").unlink()
    monkeypatch.syspath_prepend(str(setup))
    monkeypatch.chdir(setup)
    assert train("--config.steps=5", workdir=run) == 0
    assert find_checkpoint(run)[1] == 5
