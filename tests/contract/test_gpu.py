"""For an accelerator: JAX_PLATFORMS=cuda,cpu python -m pytest -m gpu (elsewhere it skips)."""

import jax
import numpy as np
import pytest

from scs_jax.core import resolve
from scs_jax.core.contract import Collective

pytestmark = [
  pytest.mark.gpu,
  pytest.mark.skipif(jax.default_backend() == "cpu", reason="needs an accelerator"),
]


def _losses(config, steps: int, seed: int = 0) -> list[float]:
  method = resolve.build(config)
  key = jax.random.key(seed)
  state = jax.jit(lambda k: method.init(k, {}))(key)
  step = jax.jit(
    lambda s, b, k, phase: method.train_step(s, b, k, Collective(), phase), static_argnums=3
  )
  crop, n = config.data.crop, config.batch_size
  image = np.random.default_rng(0).integers(0, 256, (n, crop, crop, 3), np.uint8)
  batch = {"image": image, "index": np.arange(n, dtype=np.uint32)}
  found = []
  for i in range(steps):
    state, logs = step(state, batch, jax.random.fold_in(key, i), method.phase(i))
    found.append(float(logs["loss/content"]))
  return found


def test_training_agrees_with_the_cpu(tiny_config):
  """Matrix units round differently: the first losses agree to a percent."""
  here = _losses(tiny_config, 4)
  with jax.default_device(jax.devices("cpu")[0]):
    there = _losses(tiny_config, 4)
  np.testing.assert_allclose(here, there, rtol=1e-2)


def test_bfloat16_trains(tiny_config):
  tiny_config.dtype = "bfloat16"
  losses = _losses(tiny_config, 40)
  assert np.isfinite(losses).all()
  assert np.mean(losses[-4:]) < np.mean(losses[:4])
