"""Shared by the tests of the joint network."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def make_pictures():
  """A function: "image" uint8 [n, side, side, 3], squares of random colours, and "index"."""

  def make(side=32, n=4, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (n, 4, 4, 3)).repeat(side // 4, 1).repeat(side // 4, 2)
    image = np.clip(image + rng.integers(-8, 9, image.shape), 0, 255)
    return {"image": image.astype(np.uint8), "index": np.arange(n, dtype=np.uint32)}

  return make
