"""A process that writes checkpoints, killed at random moments: what remains is whole."""

import os
import pathlib
import random
import select
import subprocess
import sys

import jax
import numpy as np
from ml_collections import ConfigDict

from scs_jax.core.contract import TrainState
from scs_jax.training import checkpoint, checkpoint_folder

KILLED = """
import os, signal, sys, time
import numpy as np
from ml_collections import ConfigDict
from scs_jax.training import checkpoint
from scs_jax.core.contract import TrainState

def state(step):
  w = {f"w{i}": np.full((64, 1024), step, np.float32) for i in range(8)}
  return TrainState(step=np.int32(step), params=w, opt_state={"m": w}, model_state={})

def train(ready):
  with checkpoint.Checkpoints(sys.argv[1], best_metric="psnr") as checkpoints:
    step = (checkpoints.latest_step() or 0) + 1
    os.write(ready, b"!")
    while True:
      checkpoints.save(step, state(step), data={"position": step}, config=ConfigDict(),
                       metrics={"psnr": -abs(step % 7 - 3.0)})
      step += 1

for line in sys.stdin:  # one delay a line; the fork spares a start of Python
  read, write = os.pipe()
  child = os.fork()
  if not child:
    try:
      train(write)
    except BaseException as error:
      print(repr(error), file=sys.stderr)
    finally:
      os._exit(1)
  os.close(write)
  started = os.read(read, 1) == b"!"
  os.close(read)
  time.sleep(float(line))
  os.kill(child, signal.SIGKILL)
  _, status = os.waitpid(child, 0)
  print("killed" if started and os.WIFSIGNALED(status) else "died by itself", flush=True)
"""


def steps_in(folder):
  return sorted(int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit())


def check_whole(folder, step, like):
  """Every array of a step holds the step's own number."""
  assert (folder / f"checkpoints/{step}/SHA256SUMS").is_file()
  with checkpoint.Checkpoints(folder, create=False) as checkpoints:
    state, data = checkpoints.restore(step, like)
  assert data == {"position": step} and int(state.step) == step
  for leaf in jax.tree.leaves((state.params, state.opt_state)):
    assert np.all(np.asarray(leaf) == step)


def test_killed_at_any_moment_whole_checkpoints_remain(tmp_path):
  w = {f"w{i}": jax.ShapeDtypeStruct((64, 1024), np.float32) for i in range(8)}
  step = jax.ShapeDtypeStruct((), np.int32)
  like = TrainState(step=step, params=w, opt_state={"m": w}, model_state={})
  environment = os.environ | {
    "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(pathlib.Path(__file__).resolve().parents[2])
  }
  draw = random.Random(0)
  last, unfinished = 0, 0
  with subprocess.Popen(
    [sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    text=True, env=environment,
  ) as nursery:
    try:
      for _ in range(7):
        nursery.stdin.write(f"{draw.uniform(0.0, 0.9)}\n")
        nursery.stdin.flush()
        assert select.select([nursery.stdout], [], [], 60)[0], "the writer did not start"
        assert nursery.stdout.readline() == "killed\n"
        unfinished += any("tmp" in p.name for p in (tmp_path / "checkpoints").iterdir())
        for step in steps_in(tmp_path):
          check_whole(tmp_path, step, like)
        if steps_in(tmp_path):
          assert max(steps_in(tmp_path)) >= last
          last = max(steps_in(tmp_path))
          assert checkpoint_folder.find_checkpoint(tmp_path)[1] == last
          checkpoint_folder.find_checkpoint(tmp_path, "best")
    finally:
      nursery.kill()
  assert last > 0
  assert unfinished > 0, "no kill fell into a save: the test shows nothing"
  with checkpoint.Checkpoints(tmp_path) as checkpoints:
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    checkpoints.save(last + 1, zeros, data={}, config=ConfigDict(), wait=True)
    remains = {p.name for p in (tmp_path / "checkpoints").iterdir()}
    assert all(name.isdigit() for name in remains)
