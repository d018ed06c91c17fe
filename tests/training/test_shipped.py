"""The models that ship with the package load, and colour a bundled picture as well as they did."""

import shutil

import jax
import numpy as np
import pytest
from PIL import Image
from skimage import data

from scs_jax.measure.photos import Photos
from scs_jax.measure.predictors import Network
from scs_jax.measure.score import in_memory, score
from scs_jax.training import models

# PSNR in dB of the cat, 160 pixels a side, seen when each model was shipped:
# {(model, magnification, mode): {metric: value}}.
RECORDED = {
  ("scsnet", 2.0, "automatic"): {"psnr_rgb": 19.386},
  ("scsnet", 2.0, "mirrored"): {"psnr_rgb": 29.585, "psnr_ab": 35.136},
  ("smsanet", 1.0, "automatic"): {"psnr_rgb": 24.657, "psnr_ab": 26.720},
  ("joint_sr", 2.0, "automatic"): {"psnr_rgb": 21.310, "psnr_ab": 23.978},
}


@pytest.mark.parametrize("name", models.names())
def test_it_is_of_this_packages_network(name, tmp_path):
  """Which is not looked at again when it is opened; of a copy it is."""
  model = models.shipped(name)
  shutil.copy(model.path, tmp_path)
  copy = models.find(tmp_path / model.path.name)
  assert model.ships and not copy.ships
  opened = [(state.params, state.model_state) for state in (model.restore(), copy.restore())]
  jax.tree.map(np.testing.assert_array_equal, *opened)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "scale", "mode"), RECORDED)
def test_it_colours_the_cat_as_recorded(name, scale, mode):
  model = models.find(name)
  cat = Image.fromarray(data.chelsea()[:, 75:375]).resize((160, 160), Image.Resampling.BICUBIC)
  batch = {
    "image": np.asarray(cat)[None],
    "record": np.zeros(1, np.int32),
    "mask": np.ones(1, bool),
    "gray": np.zeros(1, bool),
  }
  row = Network(name, model.method, model.restore())
  scores = score([row], Photos(scale, 96), [in_memory([batch], [mode])])
  found = {metric: values[0] for metric, values in scores.of[mode][name].items()}
  for metric, value in RECORDED[name, scale, mode].items():
    assert found[metric] == pytest.approx(value, abs=0.02), metric
