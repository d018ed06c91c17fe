"""Checkpoint folders: found by any of their paths, and one line for whatever is wrong with them."""

import os
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict

from scs_jax.core import config as configs
from scs_jax.core.contract import TrainState
from scs_jax.errors import UserError
from scs_jax.training.checkpoint import Checkpoints
from scs_jax.training.checkpoint_folder import find_checkpoint, read_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A run with step 3, to be read only."""
  folder = tmp_path_factory.mktemp("run")
  state = TrainState(np.int32(3), {"w": np.ones(2, np.float32)}, {}, {})
  with Checkpoints(folder) as checkpoints:
    checkpoints.save(3, state, data={}, config=ConfigDict({"seed": 1}), wait=True)
  return folder


def fails(pattern):
  """A UserError of one line."""
  return pytest.raises(UserError, match=rf"\A(?!.*\n).*{pattern}")


def test_missing_file_empty_and_foreign_folders(tmp_path):
  for read in (find_checkpoint, read_config):
    with fails("no checkpoint at .*/nothing: no such folder; give a run's folder"):
      read(tmp_path / "nothing")
    (tmp_path / "file").write_text("")
    with fails("/file is a file, expected a folder; give a run's folder"):
      read(tmp_path / "file")
  (tmp_path / "empty/checkpoints").mkdir(parents=True)
  with fails("/empty/checkpoints is empty: no checkpoint has been written yet"):
    find_checkpoint(tmp_path / "empty")
  foreign = tmp_path / "foreign"
  (foreign / "data").mkdir(parents=True)
  for name in ("a.pth", "b.pth", "c.pth", "e.pth"):
    (foreign / name).write_text("")
  with fails("/foreign holds no checkpoint of scs_jax, but a.pth, b.pth, c.pth, data and 1 more;"):
    find_checkpoint(foreign)
  with fails("no checkpoints at .*/foreign/checkpoints; give"):
    Checkpoints(foreign, create=False)


def test_half_written_folders(run, tmp_path):
  root = tmp_path / "checkpoints"
  shutil.copytree(run / "checkpoints/3", root / "4.orbax-checkpoint-tmp")
  with fails("holds only a half-written checkpoint .4.orbax"):
    find_checkpoint(tmp_path)
  with fails("4.orbax-checkpoint-tmp is a half-written checkpoint; there is no other beside it"):
    find_checkpoint(root / "4.orbax-checkpoint-tmp")
  shutil.copytree(run / "checkpoints/3", root / "3")
  shutil.copytree(run / "checkpoints/3", root / "5")
  shutil.rmtree(root / "5/config")
  with fails("/5 is a half-written checkpoint .no config.; use step 3 beside it"):
    find_checkpoint(root / "5")
  with fails("/5 is a half-written checkpoint .no config.; use step 3 beside it"):
    read_config(tmp_path, 5)
  assert find_checkpoint(tmp_path)[1] == 3
  with fails("has no checkpoint of step 7; it has 3"):
    find_checkpoint(tmp_path, 7)
  (root / "3").rename(tmp_path / "final")
  with fails("/final is a checkpoint under another name; name the folder by its step, 3"):
    find_checkpoint(tmp_path / "final")


def test_folders_of_other_programs_are_not_touched(tmp_path):
  other = tmp_path / "checkpoints/100/default"
  other.mkdir(parents=True)
  with fails(r"/100 is not a whole checkpoint of scs_jax \(no weights, .*move it away"):
    Checkpoints(tmp_path)
  with fails("holds no checkpoint of scs_jax, but 100;"):
    find_checkpoint(tmp_path)
  assert other.is_dir()


def test_no_write_permission(tmp_path):
  (tmp_path / "file").write_text("")
  with fails(r"cannot write checkpoints to .*/file/run/checkpoints: Not a directory; choose ano"):
    Checkpoints(tmp_path / "file/run")
  with fails(r"cannot write checkpoints to .*/file/checkpoints: Not a directory"):
    Checkpoints(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_write_permission_of_the_folder(tmp_path):
  (tmp_path / "run").mkdir(mode=0o500)
  with fails("cannot write checkpoints to .*: Permission denied; make the folder writable"):
    Checkpoints(tmp_path / "run")


def test_a_config_of_an_earlier_version_has_what_came_later_at_its_default(tmp_path):
  config = configs.load("common").copy_and_resolve_references()
  config.unlock()
  config.batch_size = 7
  for section, name in ((config, "accumulate"), (config, "ema_decay"), (config.parallel, "fsdp")):
    del section[name]
  state = TrainState(np.int32(3), {"w": np.ones(2, np.float32)}, {}, {})
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, state, data={}, config=config, wait=True)
  found = read_config(tmp_path)
  assert (found.batch_size, found.accumulate, found.parallel.fsdp) == (7, 1, 1)
  assert found.parallel.mode == "jit" and found.is_locked
