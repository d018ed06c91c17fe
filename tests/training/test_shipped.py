"""The models that ship with the package load, and colour a bundled picture as well as they did."""

import numpy as np
import pytest
from PIL import Image
from skimage import data

from scs_jax.measure.evaluate import Evaluator, Protocol
from scs_jax.training import models

# PSNR over RGB and over ab in dB of the cat at 2x, 80 to 160 pixels, seen when each was shipped.
RECORDED = {
  ("automatic", "psnr_rgb"): 19.294,
  ("mirrored", "psnr_rgb"): 29.555,
  ("mirrored", "psnr_ab"): 35.159,
}


@pytest.mark.slow
def test_scsnet_colours_the_cat_as_recorded():
  model = models.find("scsnet")
  cat = Image.fromarray(data.chelsea()[:, 75:375]).resize((160, 160), Image.Resampling.BICUBIC)
  batch = {
    "image": np.asarray(cat)[None],
    "record": np.zeros(1, np.int32),
    "mask": np.ones(1, bool),
  }
  state = model.restore()
  for mode in ("automatic", "mirrored"):
    found = Evaluator(model.method.predict, Protocol(mode, 2.0, 96))(state, [batch]).mean()
    for (which, metric), value in RECORDED.items():
      if which == mode:
        assert found[metric] == pytest.approx(value, abs=0.02), (mode, metric)
