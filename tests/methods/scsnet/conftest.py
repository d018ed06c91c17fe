"""Shared by SCSNet's tests."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def make_batch():
  """A function: "image" uint8 [n, crop, crop, 3] of smooth random colours, and "index"."""

  def make(config, seed=0, n=4):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 4, 4, 3))
    repeat = -(-config.data.crop // 4)
    image = coarse.repeat(repeat, 1).repeat(repeat, 2)[:, : config.data.crop, : config.data.crop]
    image = np.clip(image + rng.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)
    return {"image": image, "index": np.arange(100, 100 + n, dtype=np.uint32)}

  return make
