"""Shared by SMSANet's tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scs_jax.nn.saliency import networks


@pytest.fixture(scope="session")
def make_config(make_smsanet_config):
  """A function: the smallest config that still has every part, four pictures a batch, unlocked."""

  def make():
    config = make_smsanet_config()
    config.batch_size = 4
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
