"""A training in a terminal: Ctrl-C, pressed once and twice, and a second training beside it.

Real processes, of a method that compiles in no time and keeps the pace that a test asks for.
"""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 200  # seconds; processes start on a machine that may be busy
_METHOD = """
import hashlib, os, time
import jax.numpy as jnp
from scs_jax.core import contract
from scs_jax.core.contract import Prediction, TrainState
class Method(contract.Method):
  def __init__(self, config):
    pass
  def init(self, key, batch):
    return TrainState(jnp.zeros((), jnp.int32), {"net": {"w": jnp.zeros(3)}}, {"net": {}}, {})
  def phase(self, step):
    time.sleep(0.1)
    if step == int(os.environ.get("STUCK_AT", "-1")):  # outside of Python, as in a compiler
      open("stuck", "w").close()
      hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
    return "only"
  def train_step(self, state, batch, key, collective, phase):
    mean = collective.mean(batch["image"].astype(jnp.float32).mean()) / 255
    params = {"net": {"w": 0.5 * state.params["net"]["w"] + mean}}
    return state.replace(step=state.step + 1, params=params), {"loss/mean": mean}
  def predict(self, state, query):
    shape = (query.gray.shape[0], *query.size, 3)
    return Prediction(jnp.broadcast_to(state.params["net"]["w"], shape))
"""
_CONFIG = """
from scs_jax.core import config as configs
def get_config():
  c = configs.load("common").copy_and_resolve_references()
  c.unlock()
  c.method.name, c.batch_size, c.steps, c.data.crop = "stopped_of_test:Method", 4, 10000, 16
  c.data.source, c.data.heldout = "photos", ""
  c.checkpoint.every_steps, c.checkpoint.best_metric, c.log.every_steps = 10000, "", 1
  c.log.evaluate_every = c.log.panels_every = 0
  return c
"""


@pytest.fixture
def folder(tmp_path):
  (tmp_path / "stopped_of_test.py").write_text(_METHOD)
  (tmp_path / "slow.py").write_text(_CONFIG)
  (tmp_path / "photos").mkdir()
  for i in range(5):
    pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photos" / f"p{i}.png")
  return tmp_path


@pytest.fixture
def start(folder):
  """Starts a training in a process group of its own, as a shell with a terminal does."""
  started = []

  def start(*more, **environment):
    command = [sys.executable, "-m", "scs_jax", "train", "--config", "slow.py"]
    command += ["--workdir", "run", "--quiet"]  # nobody reads what a bar says
    paths = {"PYTHONPATH": f"{ROOT}:{folder}", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    process = subprocess.Popen(
      [*command, *more], cwd=folder, env=os.environ | paths | environment, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
      # The tests themselves may be a job in the background, which ignores it.
      preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    started.append(process)
    return process

  yield start
  for process in started:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)  # reader processes too: they would keep the pipes
    process.communicate()


def press_ctrl_c(process):
  """What a terminal does: all processes of the command are told."""
  os.killpg(process.pid, signal.SIGINT)


def wait_for(process, reached):
  deadline = time.monotonic() + PATIENCE
  while not reached():
    assert process.poll() is None, f"ended before the moment: {process.communicate()[1]}"
    assert time.monotonic() < deadline, "the moment never came"
    time.sleep(0.01)


def steps(folder):
  path = folder / "run/metrics.jsonl"
  text = path.read_text() if path.exists() else ""
  return [json.loads(line)["step"] for line in text.splitlines(keepends=True) if line[-1] == "\n"]


def saved(folder):
  return sorted(int(p.name) for p in (folder / "run/checkpoints").iterdir() if p.name.isdigit())


def test_ctrl_c_saves_the_step_and_the_same_command_goes_on(folder, start):
  process = start("--config.data.workers=1")  # told as well by a terminal, and not to die of it
  wait_for(process, lambda: len(steps(folder)) >= 3)
  press_ctrl_c(process)
  _, err = process.communicate(timeout=PATIENCE)
  assert process.returncode == 130, err
  last = steps(folder)[-1]
  assert 3 <= last < 10000 and saved(folder) == [last]
  assert "Ctrl-C once more ends at once, without saving" in err
  assert f"stopped at step {last} of 10000; the same command goes on from there" in err
  assert "scs-jax: interrupted\n" in err and "Traceback" not in err

  process = start()
  wait_for(process, lambda: len(steps(folder)) > last)
  process.terminate()
  _, err = process.communicate(timeout=PATIENCE)
  assert process.returncode == 0 and f"going on from step {last}" in err
  assert steps(folder) == list(range(1, steps(folder)[-1] + 1))


def test_a_second_ctrl_c_ends_at_once_also_while_a_compiler_works(folder, start):
  process = start("--config.data.workers=1", STUCK_AT="2")
  wait_for(process, (folder / "stuck").exists)
  readers = psutil.Process(process.pid).children(recursive=True)
  assert readers
  press_ctrl_c(process)
  # Answered though Python runs nothing of the main thread's; and nothing ends yet.
  line = process.stderr.readline()
  while "Ctrl-C once more" not in line:
    line = process.stderr.readline()
    assert line, "not answered"
  with pytest.raises(subprocess.TimeoutExpired):
    process.wait(1)
  press_ctrl_c(process)
  assert process.wait(30) == 130  # which is nothing beside what the compiler would take
  assert "scs-jax: interrupted, without saving\n" in process.stderr.read()
  _, alive = psutil.wait_procs(readers, timeout=20)
  assert alive == []
  assert saved(folder) == []


def test_a_job_in_the_background_of_a_shell_ignores_ctrl_c_as_before(folder):
  code = (
    "import os, signal; from scs_jax.core import stop\n"
    "flag = stop.Flag()\n"
    "with stop.interrupting(flag): os.kill(os.getpid(), signal.SIGINT)\n"
    "print(bool(flag))"
  )
  script = f"{sys.executable} -c '{code}' & wait"  # a shell without a terminal ignores it for jobs
  done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, text=True)
  assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_a_folder_has_one_training_at_a_time_and_a_kill_leaves_no_lock(folder, start):
  first = start()
  wait_for(first, lambda: len(steps(folder)) >= 1)
  second = start()
  _, err = second.communicate(timeout=PATIENCE)
  assert second.returncode == 2
  assert re.fullmatch(
    rf"scs-jax: error: run is in use by another training \(process {first.pid} on \S+, since "
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\): two would mix .*choose another --workdir\n",
    err,
  )
  before = steps(folder)
  wait_for(first, lambda: len(steps(folder)) > len(before))  # which goes on undisturbed
  first.kill()
  first.wait()
  reached = steps(folder)[-1]
  assert steps(folder) == list(range(1, reached + 1))

  third = start()
  wait_for(third, lambda: 0 < len(steps(folder)) != reached)  # nothing was saved: it starts over
  third.terminate()
  _, err = third.communicate(timeout=PATIENCE)
  assert third.returncode == 0, err
  assert steps(folder) == list(range(1, steps(folder)[-1] + 1))
  assert not (folder / "run/.lock").exists()
