"""Two real processes of two devices each: one run, whatever happens to one of them."""

import json
import os
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

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 20
PATIENCE = 300  # seconds; processes start and compile on a machine that may be busy
NOTICED = 60  # seconds in which a process must find out that the other is gone

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
  return folder


@pytest.fixture
def start(folder, xla_flags):
  """Starts one run: as one process of four devices, or as two of two."""
  started = []

  def start(workdir, processes, *overrides, pace=0.0):
    with socket.socket() as probe:
      probe.bind(("127.0.0.1", 0))
      port = probe.getsockname()[1]
    environment = os.environ | {
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": xla_flags(4 // processes),
      "PYTHONPATH": f"{ROOT}:{folder}",
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      "PACE": str(pace),
    }
    command = [sys.executable, "-m", "scs_jax", "train", "--config", "tiny.py", "--quiet"]
    command += ["--workdir", str(workdir), *overrides]
    ours = []
    for i in range(processes):
      several = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", str(processes)]
      several = [*several, "--process-id", str(i)] if processes > 1 else []
      with open(folder / f"said-{workdir.name}-{len(started)}", "w+") as said:
        process = subprocess.Popen(
          [*command, *several], cwd=folder, env=environment, stdout=said, stderr=said,
          # The tests themselves may be a job in the background, which ignores Ctrl-C.
          preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
      process.said = lambda path=said.name: pathlib.Path(path).read_text()
      ours.append(process)
      started.append(process)
    return ours

  yield start
  for process in started:
    process.kill()
    process.wait()


def reach(workdir, step, processes):
  """Waits until a run has told of a step."""
  path, end = workdir / "metrics.jsonl", time.monotonic() + PATIENCE
  while time.monotonic() < end:
    if path.exists() and any(s >= step for s in lines(workdir)):
      return
    for process in processes:
      assert process.poll() is None, process.said()
    time.sleep(0.02)
  pytest.fail(f"step {step} was not reached: {[p.said() for p in processes]}")


def lines(workdir):
  text = (workdir / "metrics.jsonl").read_text()
  return [json.loads(x)["step"] for x in text.splitlines() if x.endswith("}") and "loss/" in x]


def final(workdir):
  """The state of the last checkpoint."""
  config = read_config(workdir)
  method, options = build(config), Options.of(config)
  like = jax.eval_shape(lambda: init(method, jax.random.key(0), options))
  with Checkpoints(workdir, create=False) as checkpoints:
    return jax.device_get(checkpoints.restore(None, like)[0])


def ends(process, code, seconds=PATIENCE):
  try:
    found = process.wait(seconds)
  except subprocess.TimeoutExpired:
    pytest.fail(f"still running after {seconds} s: {process.said()}")
  assert found == code, process.said()


def test_two_processes_are_one_run_through_sigterm_and_sudden_death(folder, start, monkeypatch):
  monkeypatch.syspath_prepend(str(folder))
  (alone,) = start(folder / "alone", 1)
  ends(alone, 0)
  run = folder / "run"

  # Asked to stop, one of them tells the other; both end at the same, saved step. The first steps
  # are pmap's, which must be the same.
  stopped = 4
  pmap = ["--config.parallel.mode=pmap", "--config.parallel.fsdp=1"]
  for asked, code, mode in ((signal.SIGTERM, 0, pmap), (signal.SIGINT, 130, [])):
    both = start(run, 2, *mode, pace=0.3)
    reach(run, stopped + 1, both)
    both[1].send_signal(asked)
    ends(both[0], 0)
    ends(both[1], code)
    before = stopped
    with Checkpoints(run, create=False) as checkpoints:
      stopped = checkpoints.latest_step()
    assert before < stopped < STEPS - 6
    assert f"stopped at step {stopped} of {STEPS}" in both[0].said()
    assert "stopped at" not in both[1].said()  # the first speaks for all
    assert "Traceback" not in both[1].said()

  # Killed, one of them is missed; the other ends, and says why. The first one is where all meet.
  for dies, lives in ((1, 0), (0, 1)):
    both = start(run, 2, pace=0.3)
    reach(run, lines(run)[-1] + 1, both)
    both[dies].kill()
    ends(both[lives], 2, NOTICED)
    last = both[lives].said().splitlines()[-1]
    assert re.match(f"scs-jax: error: (process {lives} of 2 (lost|has not heard|was ended)|"
                    "process 0, where all meet, cannot be reached)", last), last  # fmt: skip
    assert last.endswith("start all processes again: the run goes on from its last checkpoint")
    with Checkpoints(run, create=False) as checkpoints:
      assert stopped <= checkpoints.latest_step() < STEPS

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
  found, expected = final(run), final(folder / "alone")
  assert int(found.step) == STEPS
  for name in ("params", "average", "model_state", "opt_state"):
    paths, _ = jax.tree_util.tree_flatten_with_path(getattr(found, name))
    others = jax.tree.leaves(getattr(expected, name))
    for (path, a), b in zip(paths, others, strict=True):
      np.testing.assert_allclose(
        a, b, rtol=1e-4, atol=1e-5, err_msg=name + jax.tree_util.keystr(path)
      )


def test_processes_that_cannot_meet_say_so(folder):
  def said(*flags):
    command = [sys.executable, "-m", "scs_jax", "train", "--config", "tiny.py", "--workdir", "x"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": f"{ROOT}:{folder}"}
    done = subprocess.run(
      [*command, *flags], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr

  line = said("--coordinator", "127.0.0.1:9", "--num-processes", "2")
  assert "--coordinator and --num-processes given without --process-id" in line
