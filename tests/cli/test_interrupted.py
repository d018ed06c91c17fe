"""Real processes, killed and terminated, that end in the very parameters of one left alone."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from scs_jax.core import config as configs
from scs_jax.core.resolve import build
from scs_jax.training.checkpoint import Checkpoints
from scs_jax.training.checkpoint_folder import read_config

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 20
CLOCK = (
  "images_per_second", "input_wait", "tflops_per_device", "peak_share", "memory_gib",
  "compile_seconds",
)  # fmt: skip
PATIENCE = 300  # seconds; the first process compiles on a machine that may be busy


@pytest.fixture(scope="module")
def config_file(tmp_path_factory, make_tiny_config):
  """The tiny config as a user's file that starts from scsnet/small."""
  tiny = make_tiny_config()
  # Both networks and their adversary are still there, in one program that is traced soon, as each
  # process does it. (Phases that take turns through interruptions: training/test_loop.py.)
  tiny.mode = "referential"
  tiny.network.levels, tiny.network.texture_blocks = 1, 0
  for name in ("source_blocks", "reference_blocks", "decoder_blocks"):
    tiny.network[name] = (0, 0, 0)
  tiny.steps = STEPS
  tiny.log.evaluate_every = tiny.log.panels_every = 0
  changes = configs.difference(configs.load("scsnet/small"), tiny)
  lines = [
    "from scs_jax.core import config",
    "def get_config():",
    '  c = config.load("scsnet/small").copy_and_resolve_references()',
    "  c.unlock()",
    *(f"  c.{path} = {value!r}" for path, _, value in changes),
    "  return c\n",
  ]
  path = tmp_path_factory.mktemp("config") / "tiny.py"
  path.write_text("\n".join(lines))
  assert configs.difference(configs.load(str(path)), tiny) == []
  return path


@pytest.fixture(scope="module")
def start(config_file, xla_flags):
  """Starts `python -m scs_jax train` in a folder, on one device."""
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": xla_flags(1),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
  }
  started = []

  def start(workdir):
    command = [sys.executable, "-m", "scs_jax", "train", "--config", str(config_file)]
    process = subprocess.Popen(
      [*command, "--workdir", str(workdir), "--quiet"],
      cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    started.append(process)
    return process

  yield start
  for process in started:
    process.kill()
    process.communicate()


def finish(process):
  """The process's error output; it must end by itself and well."""
  _, err = process.communicate(timeout=PATIENCE)
  assert process.returncode == 0, err
  return err


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
  """A run that nothing stopped."""
  folder = tmp_path_factory.mktemp("whole")
  finish(start(folder))
  return folder


def wait_for(process, reached):
  deadline = time.monotonic() + PATIENCE
  while not reached():
    assert process.poll() is None, f"ended before the moment: {process.communicate()[1]}"
    assert time.monotonic() < deadline, "the moment never came"
    time.sleep(0.0005)


def kill(process):
  process.kill()
  process.communicate()
  assert process.returncode == -signal.SIGKILL


def metrics(folder):
  """Lines of a run that are whole, without what depends on the clock."""
  path, lines = folder / "metrics.jsonl", []
  for text in path.read_text().splitlines() if path.exists() else ():
    try:
      lines.append(json.loads(text))
    except ValueError:
      continue
    clock = [name for name in lines[-1] if name.startswith(CLOCK)]
    for name in clock:
      del lines[-1][name]
  return lines


def last_line(folder):
  return max((line["step"] for line in metrics(folder)), default=0)


def unfinished(folder):
  """Checkpoints that are being written, or were when a process was killed."""
  root = folder / "checkpoints"
  return [p.name for p in root.iterdir() if "tmp" in p.name] if root.is_dir() else []


def read(folder):
  """All arrays of the last checkpoint, which needs nothing but its folder."""
  like = jax.eval_shape(lambda: build(read_config(folder)).init(jax.random.key(0), {}))
  with Checkpoints(folder, create=False) as checkpoints:
    state, position = checkpoints.restore(None, like)
  assert position["step"] == int(state.step)
  return jax.device_get(state)


def assert_same_run(folder, whole):
  """Every array bit for bit, and every step's line once, with the same losses."""
  ended, expected = read(folder), read(whole)
  assert int(ended.step) == STEPS
  flat, tree = jax.tree_util.tree_flatten_with_path(expected)
  assert jax.tree.structure(ended) == tree and len(flat) > 50
  for (path, a), b in zip(flat, jax.tree.leaves(ended), strict=True):
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), jax.tree_util.keystr(path)
  assert [line["step"] for line in metrics(folder)] == list(range(1, STEPS + 1))
  assert metrics(folder) == metrics(whole)
  assert unfinished(folder) == []


@pytest.mark.slow
def test_killed_at_several_moments_it_ends_in_the_same_parameters(start, whole, tmp_path):
  # While the first step is being compiled.
  process = start(tmp_path)
  wait_for(process, (tmp_path / "metrics.jsonl").exists)
  kill(process)
  assert last_line(tmp_path) <= 1
  # Between two checkpoints.
  process = start(tmp_path)
  wait_for(process, lambda: last_line(tmp_path) >= 5)
  kill(process)
  # While a checkpoint is being written; a kill may come just too late for that. New lines tell
  # that what is unfinished is not of the process before.
  for _ in range(4):
    before = last_line(tmp_path)
    process = start(tmp_path)
    wait_for(
      process, lambda before=before: last_line(tmp_path) > before and unfinished(tmp_path)
    )
    kill(process)
    if unfinished(tmp_path):
      break
  assert unfinished(tmp_path), "no kill fell into a save: the test shows nothing"
  reached = last_line(tmp_path)
  err = finish(start(tmp_path))
  assert "going on from step" in err and reached < STEPS
  assert_same_run(tmp_path, whole)


@pytest.mark.slow
def test_terminated_it_saves_the_step_and_goes_on(start, whole, tmp_path):
  # While the first step is being compiled: that step ends, or none was begun.
  process = start(tmp_path)
  wait_for(process, (tmp_path / "metrics.jsonl").exists)
  process.terminate()
  err = finish(process)
  first = last_line(tmp_path)
  assert f"stopped at step {first} of {STEPS}; the same command goes on from there" in err
  assert "Traceback" not in err
  if first:
    assert int(read(tmp_path).step) == first
  # Between two checkpoints.
  process = start(tmp_path)
  wait_for(process, lambda: last_line(tmp_path) >= max(first, 4) + 1)
  process.terminate()
  err = finish(process)
  second = last_line(tmp_path)
  assert first < second < STEPS, "SIGTERM came too late"
  assert f"stopped at step {second} of {STEPS}" in err and "Traceback" not in err
  assert int(read(tmp_path).step) == second
  assert f"going on from step {second}" in finish(start(tmp_path))
  assert_same_run(tmp_path, whole)
