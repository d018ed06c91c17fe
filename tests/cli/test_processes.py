"""Real processes, stopped and killed: one alone, and two of two devices each, are the same run."""

import json
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from PIL import Image

from scs_jax.core import config as configs
from scs_jax.core.resolve import build
from scs_jax.training.checkpoint import Checkpoints
from scs_jax.training.checkpoint_folder import read_config
from scs_jax.training.update import Options, init

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import nursery

STEPS = 20
PATIENCE = 300  # seconds; processes start and compile on a machine that may be busy
NOTICED = 60  # seconds in which a process must find out that the other is gone
CLOCK = (
  "images_per_second", "input_wait", "tflops_per_device", "peak_share", "memory_gib",
  "compile_seconds",
)  # fmt: skip

# The joint network's half that enlarges (BatchNorm, a schedule that watches the loss, and compiled
# in a moment: no process but the first keeps what it compiled) at a pace that a test can follow.
_METHOD = """
import os, time
from scs_jax.methods.joint_sr.method import JointSR
class Paced(JointSR):
  def phase(self, step):
    time.sleep(float(os.environ.get("PACE", "0")))
    return super().phase(step)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_joint_config):
  """A folder with a config, its method, photos and a held-out one."""
  folder = tmp_path_factory.mktemp("processes")
  (folder / "paced_of_test.py").write_text(_METHOD)
  tiny = make_joint_config("super_resolution")
  tiny.method.name = "paced_of_test:Paced"
  tiny.steps, tiny.batch_size, tiny.ema_decay = STEPS, 4, 0.9
  tiny.network.blocks = 0
  tiny.optimizer.eps = 1e-3
  tiny.data.source, tiny.data.heldout = "photos", "heldout"
  # The state lies in four parts, two in each process.
  tiny.parallel.fsdp, tiny.parallel.fsdp_least = 4, 64
  tiny.checkpoint.every_steps, tiny.checkpoint.keep_best = 4, 0
  tiny.log.every_steps, tiny.log.evaluate_every, tiny.log.panels_every = 1, STEPS, STEPS
  tiny.evaluate.limit = tiny.evaluate.batch_size = 2
  changes = configs.difference(configs.load("joint_sr/small"), tiny)
  lines = [
    "from scs_jax.core import config",
    "def get_config():",
    '  c = config.load("joint_sr/small").copy_and_resolve_references()',
    "  c.unlock()",
    *(f"  c.{path} = {value!r}" for path, _, value in changes),
    "  return c\n",
  ]
  (folder / "tiny.py").write_text("\n".join(lines))
  for name, count in (("photos", 6), ("heldout", 2)):
    (folder / name).mkdir()
    for i in range(count):
      pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)
      Image.fromarray(pixels).save(folder / name / f"p{i}.png")
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(folder))
    yield folder


@pytest.fixture(scope="module")
def start(folder, xla_flags):
  """Starts one run: as one process of four devices, or as two of two."""
  with nursery.opened(folder, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0") as home:

    def start(workdir, processes=1, *overrides, pace=0.0):
      with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
      environment = {"XLA_FLAGS": xla_flags(4 // processes), "PACE": str(pace)}
      command = ["train", "--config", "tiny.py", "--quiet", "--workdir", str(workdir), *overrides]
      several = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(processes)]
      each = [[*several, "--process-id", str(i)] for i in range(processes)]
      each = each if processes > 1 else [[]]
      return [home.start([*command, *more], folder, **environment) for more in each]

    yield start


@pytest.fixture(scope="module")
def alone(folder, start):
  """The folder of a run by one process that nothing stopped."""
  (process,) = start(folder / "alone")
  ends(process, 0)
  return folder / "alone"


def wait_for(processes, reached, pause=0.05):
  """Asks every `pause` seconds: each question reads what a run has written."""
  end = time.monotonic() + PATIENCE
  while not reached():
    for process in processes:
      assert process.poll() is None, process.said()
    assert time.monotonic() < end, [process.said() for process in processes]
    time.sleep(pause)


def ends(process, code, seconds=PATIENCE):
  try:
    found = process.wait(seconds)
  except subprocess.TimeoutExpired:
    pytest.fail(f"still running after {seconds} s: {process.said()}")
  assert found == code, process.said()


def kill(process):
  process.kill()
  assert process.wait() == -signal.SIGKILL


def metrics(workdir):
  """A run's whole lines with a loss, without what depends on the clock."""
  path = workdir / "metrics.jsonl"
  text = path.read_text() if path.exists() else ""
  found = [json.loads(line) for line in text.splitlines() if line.endswith("}") and "loss/" in line]
  return [{k: v for k, v in line.items() if not k.startswith(CLOCK)} for line in found]


def lines(workdir):
  """The steps of those lines."""
  return [line["step"] for line in metrics(workdir)]


def last_line(workdir):
  return max(lines(workdir), default=0)


def saved(workdir):
  """The step of the last checkpoint."""
  with Checkpoints(workdir, create=False) as checkpoints:
    return checkpoints.latest_step()


def unfinished(workdir):
  """Checkpoints that are being written, or were when a process was killed."""
  root = workdir / "checkpoints"
  return [p.name for p in root.iterdir() if "tmp" in p.name] if root.is_dir() else []


def final(workdir):
  """The state of the last checkpoint, which needs nothing but its folder."""
  config = read_config(workdir)
  method, options = build(config), Options.of(config)
  like = jax.eval_shape(lambda: init(method, jax.random.key(0), options))
  with Checkpoints(workdir, create=False) as checkpoints:
    return jax.device_get(checkpoints.restore(None, like)[0])


@pytest.mark.slow
def test_killed_and_terminated_it_ends_in_the_same_parameters(start, alone, tmp_path):
  # Killed while the first step is being compiled.
  (process,) = start(tmp_path, pace=0.05)
  wait_for([process], (tmp_path / "metrics.jsonl").exists)
  kill(process)
  assert last_line(tmp_path) <= 1
  # Terminated between two checkpoints, it saves the step.
  (process,) = start(tmp_path, pace=0.05)
  wait_for([process], lambda: last_line(tmp_path) >= 5)
  process.terminate()
  ends(process, 0)
  stopped = last_line(tmp_path)
  assert 5 <= stopped == saved(tmp_path) < STEPS - 4, "SIGTERM came too late"
  assert f"stopped at step {stopped} of {STEPS}; the same command goes on" in process.said()
  assert "Traceback" not in process.said()
  # Killed while a checkpoint is being written, for which a kill may come just too late. New lines
  # tell that what is unfinished is not of the process before.
  for _ in range(3):
    before = last_line(tmp_path)
    (process,) = start(tmp_path, pace=0.05)
    wait_for([process], lambda before=before: last_line(tmp_path) > before)
    wait_for([process], lambda: unfinished(tmp_path), pause=0.0005)
    kill(process)
    if unfinished(tmp_path):
      break
  assert unfinished(tmp_path), "no kill fell into a save: the test shows nothing"
  assert last_line(tmp_path) < STEPS
  (process,) = start(tmp_path)
  ends(process, 0)
  assert "going on from step" in process.said()
  # Every array bit for bit, and every step's line once, with the same losses.
  found, expected = final(tmp_path), final(alone)
  assert int(found.step) == STEPS and jax.tree.structure(found) == jax.tree.structure(expected)
  flat, _ = jax.tree_util.tree_flatten_with_path(found)
  assert len(flat) > 20
  for (path, a), b in zip(flat, jax.tree.leaves(expected), strict=True):
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), jax.tree_util.keystr(path)
  assert lines(tmp_path) == list(range(1, STEPS + 1))
  assert metrics(tmp_path) == metrics(alone)
  assert unfinished(tmp_path) == []


@pytest.mark.slow
def test_two_processes_are_one_run_through_ctrl_c_and_sudden_death(folder, start, alone):
  run = folder / "run"

  # Asked to stop, one of them tells the other; both end at the same, saved step. The first steps
  # are pmap's, which must be the same.
  stopped = 1
  pmap = ["--config.parallel.mode=pmap", "--config.parallel.fsdp=1"]
  for asked, code, mode in ((signal.SIGTERM, 0, pmap), (signal.SIGINT, 130, [])):
    both = start(run, 2, *mode, pace=0.3)
    wait_for(both, lambda stopped=stopped: last_line(run) >= stopped + 1)
    both[1].send_signal(asked)
    ends(both[0], 0)
    ends(both[1], code)
    before = stopped
    stopped = saved(run)
    assert before < stopped < STEPS - 6
    assert f"stopped at step {stopped} of {STEPS}" in both[0].said()
    assert "stopped at" not in both[1].said()  # the first speaks for all
    assert "Traceback" not in both[1].said()

  # Killed, one of them is missed; the other ends, and says why. The first one is where all meet.
  for dies, lives in ((1, 0), (0, 1)):
    both = start(run, 2, pace=0.3)
    before = last_line(run)
    wait_for(both, lambda before=before: last_line(run) > before)
    both[dies].kill()
    ends(both[lives], 2, NOTICED)
    last = both[lives].said().splitlines()[-1]
    assert re.match(f"scs-jax: error: (process {lives} of 2 (lost|has not heard|was ended)|"
                    "process 0, where all meet, cannot be reached)", last), last  # fmt: skip
    assert last.endswith("start all processes again: the run goes on from its last checkpoint")
    assert stopped <= saved(run) < STEPS

  # Started again they end where one process alone did.
  both = start(run, 2)
  for process in both:
    ends(process, 0)
  assert lines(run) == list(range(1, STEPS + 1))
  assert not (run / ".lock").exists()
  last = run / "checkpoints" / str(STEPS)
  names = [line.split("  ")[1] for line in (last / "SHA256SUMS").read_text().splitlines()]
  assert sorted(names) == sorted(
    path.relative_to(last).as_posix() for path in last.glob("*/**/*") if path.is_file()
  )
  for process in (0, 1):  # what each of them wrote
    assert any(name.startswith(f"training/ocdbt.process_{process}/") for name in names)
  assert [p.name for p in (run / "panels").iterdir()] == [f"step_{STEPS:08d}.png"]
  found, expected = final(run), final(alone)
  assert int(found.step) == STEPS
  for name in ("params", "average", "model_state", "opt_state"):
    paths, _ = jax.tree_util.tree_flatten_with_path(getattr(found, name))
    others = jax.tree.leaves(getattr(expected, name))
    for (path, a), b in zip(paths, others, strict=True):
      np.testing.assert_allclose(
        a, b, rtol=1e-4, atol=1e-5, err_msg=name + jax.tree_util.keystr(path)
      )
