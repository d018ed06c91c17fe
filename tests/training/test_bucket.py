"""Runs in a bucket, of a store that speaks as S3 does: killed, locked, of two processes."""

import contextlib
import json
import os
import pathlib
import platform
import socket
import subprocess
import sys
import tempfile
import time
import types

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from scs_jax.core.contract import TrainState
from scs_jax.data.remote import Place
from scs_jax.errors import UserError
from scs_jax.training import bucket as buckets
from scs_jax.training import bucket_lock
from scs_jax.training.checkpoint import Checkpoints

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = 240  # seconds; on a machine that may be busy


def state(step):
  w = {f"w{i}": np.full((16, 16), step, np.float32) for i in range(8)}
  return TrainState(step=np.int32(step), params=w, opt_state={"m": w}, model_state={})


def save(checkpoints, step):
  checkpoints.save(step, state(step), data={"at": step}, config=ConfigDict(), wait=True)


@contextlib.contextmanager
def run_in(address):
  with buckets.copied(address) as copy, Checkpoints(copy.folder, publish=copy.publish) as found:
    yield copy, found


def steps_of(names):
  return sorted({int(n.split("/")[2]) for n in names if n.startswith("run/checkpoints/")})


# Saves without an end; each step is one of numbers that are the step's own.
_SAVING = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(pathlib.Path(__file__).parent)!r}]
from test_bucket import run_in, save
with run_in(sys.argv[1]) as (copy, checkpoints):
  step = checkpoints.latest_step() or 0
  while True:
    step += 1
    (copy.folder / "metrics.jsonl").write_text(f"{{step}}\\n")
    save(checkpoints, step)
"""


def test_killed_while_a_checkpoint_is_written_the_one_before_stays(bucket):
  address, objects = bucket
  run = f"{address}/run"
  with subprocess.Popen(
    [sys.executable, "-c", _SAVING, run], env=os.environ | {"TMPDIR": tempfile.gettempdir()}
  ) as writer:
    try:
      end, half = time.monotonic() + PATIENCE, False
      while not half:
        assert writer.poll() is None and time.monotonic() < end
        there = objects()
        half = any(name.endswith(buckets.INCOMPLETE) for name in there) and steps_of(there)[-1] > 2
        time.sleep(0.1)  # the store is of this process, and works for each question
    finally:
      writer.kill()
  assert "run/.lock" in objects()  # of a process that is gone
  with run_in(run) as (copy, checkpoints):
    assert not any(name.endswith(buckets.INCOMPLETE) for name in objects())
    step = checkpoints.latest_step()
    assert step > 1 and steps_of(objects())[-1] == step
    found, data = checkpoints.restore(step, state(0))
    assert data == {"at": step} and int((copy.folder / "metrics.jsonl").read_text()) >= step
    for leaf in jax.tree.leaves((found.params, found.opt_state)):
      assert np.all(np.asarray(leaf) == step)
    save(checkpoints, step + 1)
    assert steps_of(objects()) == [step + 1]
  assert "run/.lock" not in objects()


def test_what_is_half_there_is_not_read_and_what_changed_is_found(bucket):
  address, objects = bucket
  with pytest.raises(UserError, match=f"no checkpoint at {address}/run: nothing is there"):
    buckets.fetch(f"{address}/run", "best")
  with run_in(f"{address}/run") as (_, checkpoints):
    for step in (1, 2):
      save(checkpoints, step)
      assert steps_of(objects()) == [step]
  place = Place(f"{address}/run/checkpoints")
  path, origin = buckets.fetch(f"{address}/run/checkpoints", "best")  # no save had a score
  assert (path.name, origin) == ("2", f"{address}/run")
  assert not any((path / "training").iterdir())  # which alone a training needs
  with pytest.raises(UserError, match=rf"^{address}/run/checkpoints has no checkpoint of step 1"):
    buckets.fetch(f"{address}/run", 1)
  place.write(f"2/{buckets.INCOMPLETE}", b"")
  with pytest.raises(UserError, match="no checkpoint has been written yet"):
    buckets.fetch(f"{address}/run", "last")
  # What another program keeps there is not ours to remove.
  Place(f"{address}/other").write("checkpoints/7/model.bin", b"theirs")
  whose = rf"^{address}/other/checkpoints/7 is not a whole checkpoint"
  with pytest.raises(UserError, match=whose), run_in(f"{address}/other"):
    pass
  assert "other/checkpoints/7/model.bin" in objects() and "other/.lock" not in objects()


def test_a_bucket_that_is_not_there_is_one_line(bucket):
  for address in (f"{bucket[0]}-none/run", f"{bucket[0]}-none/one.safetensors"):
    with pytest.raises(UserError, match=rf"cannot read or write {address} \(.*check the address"):
      if address.endswith("run"):
        with run_in(address):
          pass
      else:
        buckets.fetch(address, "best")


def test_one_training_at_a_time(bucket, monkeypatch):
  address, objects = bucket
  place = Place(f"{address}/run")

  def other(**changed):
    held = {"token": "x", "process": 1, "host": "elsewhere", "since": "noon", "beats": 1} | changed
    place.write(bucket_lock.NAME, json.dumps(held).encode())

  other()
  with monkeypatch.context() as patch:
    beating = types.SimpleNamespace(**vars(time))
    beating.sleep = lambda _: other(beats=2)
    patch.setattr(bucket_lock, "time", beating)
    message = r"in use by another training \(process 1 on elsewhere"
    with pytest.raises(UserError, match=message), run_in(f"{address}/run"):
      pass
  monkeypatch.setattr(bucket_lock, "SILENCE", 1.5)
  other()
  message = "process 1 on there, since noon trains there now"
  with pytest.raises(UserError, match=message), run_in(f"{address}/run") as (_, checkpoints):
    save(checkpoints, 1)  # nothing was heard of it
    other(host="there")
    save(checkpoints, 2)
  assert steps_of(objects()) == [1]
  other(host=platform.node(), process=2**22 + 1)  # no such process: nothing to wait for
  with run_in(f"{address}/run") as (_, checkpoints):
    assert checkpoints.latest_step() == 1


# Two processes; an array lies in parts in both.
_TOGETHER = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(pathlib.Path(__file__).parent)!r}]
import jax, numpy as np
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict
from scs_jax.training import distributed, sharding
distributed.start(sys.argv[2], 2, int(sys.argv[3]))
from test_bucket import run_in, save, state
mesh = sharding.make_mesh(fsdp=2)
cut = jax.NamedSharding(mesh, P(sharding.FSDP))
put = lambda x: jax.make_array_from_callback(np.shape(x), cut, lambda i: np.asarray(x)[i])
placed = lambda s: s.replace(params=jax.tree.map(put, s.params))
for step in (1, 2):
  with run_in(sys.argv[1]) as (copy, checkpoints):
    assert distributed.from_first(checkpoints.latest_step) == (step - 1 or None)
    if step > 1:
      like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding),
                          placed(state(0)).params)
      found, data = checkpoints.restore(1, state(0).replace(params=like))
      for leaf in jax.tree.leaves(found.params):
        assert not leaf.is_fully_addressable
        assert all(np.all(shard.data == 1) for shard in leaf.addressable_shards)
    distributed.meet()
    name = f"nonfinite_{{sys.argv[3]}}.jsonl"
    (copy.folder / name).write_text(str(step))
    checkpoints.save(step, placed(state(step)), data={{}}, config=ConfigDict(), wait=True)
    distributed.meet()
"""


def test_two_processes_write_one_checkpoint(bucket):
  address, objects = bucket
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  environment = os.environ | {"XLA_FLAGS": "", "TMPDIR": tempfile.gettempdir()}
  both = [
    subprocess.Popen(
      [sys.executable, "-c", _TOGETHER, f"{address}/run", f"127.0.0.1:{port}", str(i)],
      env=environment, stderr=subprocess.PIPE, text=True,
    )
    for i in (0, 1)
  ]  # fmt: skip
  for process in both:
    try:
      said = process.communicate(timeout=PATIENCE)[1]
      assert process.returncode == 0, said
    finally:
      process.kill()
  assert steps_of(objects()) == [2] and "run/.lock" not in objects()
  assert {"run/nonfinite_0.jsonl", "run/nonfinite_1.jsonl"} <= set(objects())
  with run_in(f"{address}/run") as (_, checkpoints):
    found, _ = checkpoints.restore(None, state(0))
    assert all(np.all(np.asarray(leaf) == 2) for leaf in jax.tree.leaves(found.params))
