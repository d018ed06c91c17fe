"""What a run that goes on keeps of how it was begun."""

import math

import numpy as np
import pytest

from scs_jax.core import config as configs
from scs_jax.core.contract import TrainState
from scs_jax.training import resume
from scs_jax.training.checkpoint import Checkpoints
from scs_jax.training.checkpoint_folder import read_config

KEY = "network.attention_place"


@pytest.fixture
def begun(tmp_path, make_smsanet_config):
  """A function: (the folder of a run with these keys deleted or set in its config)."""

  def make(**network):
    config = make_smsanet_config()
    del config.network["attention_place"]
    config.network.update(network)
    x = np.ones(2, np.float32)
    state = TrainState(np.int32(3), {"colorizer": {"w": x}}, {"colorizer": {"m": x}}, {})
    with Checkpoints(tmp_path) as checkpoints:
      checkpoints.save(3, state, data={}, config=config.lock(), wait=True)
    return tmp_path

  return make


def test_a_key_that_came_later_keeps_what_the_run_did(begun, make_smsanet_config):
  folder, config = begun(), make_smsanet_config().lock()
  assert config.network.attention_place == "after_relu"
  (line,) = resume.keep_earlier(folder, config)
  assert config.network.attention_place == "after_norm"
  assert f"config.{KEY} stays 'after_norm'" in line and "'after_relu'" in line
  assert resume.differences(folder, config, 3) == []  # nothing changed, so nothing is said
  assert resume.keep_earlier(folder, config) == []


def test_a_run_that_has_the_key_is_as_its_config_says(begun, make_smsanet_config):
  folder, config = begun(attention_place="after_norm"), make_smsanet_config()
  assert resume.keep_earlier(folder, config) == []
  assert config.network.attention_place == "after_relu"
  (line,) = resume.differences(folder, config, 3)
  assert line == f"config.{KEY} was 'after_norm' in the checkpoint, now 'after_relu'"


def test_a_run_from_before_small_pictures_were_left_out_goes_on_with_them(
  tmp_path, make_smsanet_config
):
  old, config = make_smsanet_config(), make_smsanet_config().lock()
  del old.data.enlarge
  x = np.ones(2, np.float32)
  state = TrainState(np.int32(3), {"colorizer": {"w": x}}, {"colorizer": {"m": x}}, {})
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(3, state, data={}, config=old.lock(), wait=True)
  assert config.data.enlarge is False
  (line,) = resume.keep_earlier(tmp_path, config)
  assert line.startswith("config.data.enlarge stays True") and config.data.enlarge is True
  assert resume.differences(tmp_path, config, 3) == []


@pytest.fixture
def stored(tmp_path):
  """A function: config -> the folder of a run that wrote a checkpoint of step 3 with it."""

  def make(config):
    x = np.ones(2, np.float32)
    state = TrainState(np.int32(3), {"net": {"w": x}}, {"net": {"m": x}}, {})
    with Checkpoints(tmp_path) as checkpoints:
      checkpoints.save(3, state, data={}, config=config.lock(), wait=True)
    return tmp_path

  return make


def test_a_run_of_pairs_is_not_said_to_have_had_keys_of_photos(stored, make_cycle_config):
  folder = stored(make_cycle_config())
  assert "enlarge" not in read_config(folder).data and "max_zoom" not in read_config(folder).data
  assert resume.keep_earlier(folder, make_cycle_config()) == []
  assert resume.differences(folder, make_cycle_config(), 3) == []
  config = make_cycle_config()
  config.data.reduce = 4
  (line,) = resume.differences(folder, config, 3)
  assert line == "config.data.reduce was 1 in the checkpoint, now 4"


def test_a_key_that_neither_config_has_is_no_difference(stored, make_smsanet_config):
  config = make_smsanet_config()
  del config.data.enlarge, config.data.resample
  folder = stored(config)
  assert read_config(folder).data.enlarge is True
  assert resume.differences(folder, config, 3) == []


def test_values_of_keys_that_came_later(make_smsanet_config, make_cycle_config):
  found = resume.earlier_values(make_smsanet_config())
  assert (found["data.enlarge"], found[KEY], found["init_from"]) == (True, "after_norm", "")
  assert found["data.resample_on"] == "host"
  assert "batch_size" in found and "network.width" not in found
  of_pairs = resume.earlier_values(make_cycle_config())
  assert of_pairs["optimizer.rmsprop"] == "keras3"
  assert not [path for path in of_pairs if path.startswith("data.")]


def test_a_new_folder_keeps_nothing(tmp_path, make_smsanet_config):
  config = make_smsanet_config()
  before = configs.to_json(config)
  assert resume.keep_earlier(tmp_path / "new", config) == []
  assert configs.to_json(config) == before


OF = {"records": 5, "fingerprint": "f", "heldout": "a"}
METRIC = "automatic/psnr_rgb"


def test_the_best_score_is_of_one_metric_and_one_list_of_pictures():
  position = resume.position(3, 20.0, METRIC, OF)
  assert resume.best_so_far(position, METRIC, OF) == 20.0
  assert resume.best_so_far(position, "self/psnr_ab", OF) == -math.inf
  assert resume.best_so_far(position, METRIC, OF | {"heldout": "b"}) == -math.inf
  assert resume.best_so_far(resume.position(3, -math.inf, METRIC, OF), METRIC, OF) == -math.inf


def test_other_held_out_pictures_are_said_where_there_is_a_best():
  position = resume.position(3, 20.0, METRIC, OF)
  assert resume.moved(position, OF) == []
  (line,) = resume.moved(position, OF | {"heldout": "b"})
  assert line.startswith("other held-out pictures than those of the checkpoint")
  none = resume.position(3, -math.inf, METRIC, OF)
  assert resume.moved(none, OF | {"heldout": "b"}) == []
  changed = resume.moved(position, OF | {"records": 4})
  assert changed == ["the training data changed since the checkpoint (records 5 -> 4)"]
