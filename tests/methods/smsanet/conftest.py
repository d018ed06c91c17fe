"""Shared by SMSANet's tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.engine import config as configs
from scs_jax.nn.saliency import networks


@pytest.fixture(scope="session")
def make_config():
  """A function: smsanet/small at the smallest sizes that still have every part, unlocked."""

  def make():
    config = configs.load("smsanet/small").copy_and_resolve_references()
    config.unlock()
    config.network.width = 1 / 16
    config.network.attention_blocks = (1, 4, 10)
    config.data.crop = 16
    config.optimizer.name = "adam"
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "constant"
    config.optimizer.clip_norm = 0.0
    config.batch_size = 4
    config.steps = 4
    return config

  return make


@pytest.fixture(scope="session")
def make_batch():
  """A function: "image" uint8 [n, side, side, 3] of coarse random colours, and "index"."""

  def make(side, seed=0, n=4):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (n, 4, 4, 3)).repeat(side // 4, 1).repeat(side // 4, 2)
    image = np.clip(image + rng.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)
    return {"image": image, "index": np.arange(n, dtype=np.uint32)}

  return make


@pytest.fixture
def redness(monkeypatch, tmp_path):
  """A saliency network of one weight, w: sigmoid(w (R - B)); its file says w. Name "redness"."""
  path = tmp_path / "redness.txt"
  path.write_text("3.0")

  class Redness:
    def load(self, file):
      with open(file) as text:
        return {"w": jnp.float32(float(text.read()))}

    def apply(self, params, rgb):
      return jax.nn.sigmoid(params["w"] * (rgb[..., :1] - rgb[..., 2:]))

  monkeypatch.setitem(networks.NETWORKS, "redness", Redness())
  return str(path)
