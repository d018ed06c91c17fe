"""configs/joint_sr: the report's numbers, and that each variant changes what is computed."""

import jax
import pytest

from scs_jax.core import ablations
from scs_jax.core import config as configs
from scs_jax.core.rules import validate
from scs_jax.methods.joint_sr.method import JointSR

configs.load("common")  # makes scs_jax.configs importable in a source tree as well
from scs_jax.configs.joint_sr.ablations import ABLATIONS  # noqa: E402

NAMES = [name for name in configs.list_configs() if name.startswith("joint_sr/")]


def test_numbers_of_the_report():
  config = configs.load("joint_sr/paper")
  assert (config.task, config.input_sizes, config.data.crop) == ("joint", (96,), 256)
  assert (config.epochs, config.batch_size) == (148.0, 160)
  assert (config.optimizer.name, config.optimizer.learning_rate) == ("adam", 1e-4)
  assert (config.optimizer.schedule, config.optimizer.plateau_factor) == ("plateau", 0.75)
  assert round(config.data.crop / config.evaluate.scale) == 96


@pytest.mark.parametrize("name", NAMES)
def test_a_config_makes_a_method_whose_window_is_an_epoch(name):
  config = configs.load(name)
  method = JointSR(config)
  state = jax.eval_shape(lambda: method.init(jax.random.key(0), {}))
  assert set(state.params) == {method.name}
  if config.epochs:  # 118,287 pictures in COCO's train2017
    assert config.optimizer.plateau_window == -(-118287 // config.batch_size)


def test_overlays_apply_to_the_locked_config():
  for row in ABLATIONS["variants"]:
    config = ablations.overlay(configs.load(row.base), row.overlay)
    validate(config, JointSR.RULES)
    JointSR(config)
    assert row.claim["where"].startswith(("Table III", "Section"))
    enlarges = round(config.data.crop / min(config.input_sizes), 2)
    factors = {"joint": 2.67, "joint_residual": 4.0, "colorization": 2.67, "super_resolution": 4.0}
    assert enlarges == factors[config.task]


def test_every_variant_computes_something_else(make_joint_config, trace_step):
  seen = []
  for row in ABLATIONS["variants"]:
    config = make_joint_config(configs.load(row.base).task)
    seen.append(trace_step(ablations.overlay(config, row.overlay), (32, 32), "12"))
    assert seen[-1] not in seen[:-1], row.name
  assert len(seen) == 5
