"""A training that compiles in no time, for tests of processes: what is around it is the real one.

PACE in the environment is the seconds that a step waits; at step STUCK_AT the process makes a file
`stuck` and is away from Python for minutes, as in a compiler.
"""

import numpy as np
from PIL import Image

_METHOD = """
import hashlib, os, time
import jax.numpy as jnp
from scs_jax.core import contract
from scs_jax.core.contract import Prediction, TrainState
class Method(contract.Method):
  def __init__(self, config):
    pass
  def init(self, key, batch):
    return TrainState(jnp.zeros((), jnp.int32), {"net": {"w": jnp.zeros(3)}}, {"net": {}}, {})
  def phase(self, step):
    time.sleep(float(os.environ.get("PACE", "0")))
    if step == int(os.environ.get("STUCK_AT", "-1")):
      open("stuck", "w").close()
      hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
    return "only"
  def train_step(self, state, batch, key, collective, phase):
    mean = collective.mean(batch["image"].astype(jnp.float32).mean()) / 255
    params = {"net": {"w": 0.5 * state.params["net"]["w"] + mean}}
    return state.replace(step=state.step + 1, params=params), {"loss/mean": mean}
  def predict(self, state, query):
    shape = (query.gray.shape[0], *query.size, 3)
    return Prediction(jnp.broadcast_to(state.params["net"]["w"], shape))
"""
_CONFIG = """
from scs_jax.core import config as configs
def get_config():
  c = configs.load("common").copy_and_resolve_references()
  c.unlock()
  c.method.name, c.batch_size, c.steps, c.data.crop = "quick_of_test:Method", 4, STEPS, 16
  c.data.source, c.data.heldout = "photos", ""
  c.checkpoint.every_steps, c.checkpoint.best_metric, c.log.every_steps = STEPS, "", 1
  c.log.evaluate_every = c.log.panels_every = 0
  return c
"""


def write(folder, steps):
  """Writes the method, its config quick.py and photos/ into a folder."""
  (folder / "quick_of_test.py").write_text(_METHOD)
  (folder / "quick.py").write_text(_CONFIG.replace("STEPS", str(steps)))
  (folder / "photos").mkdir()
  for i in range(5):
    pixels = np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photos" / f"p{i}.png")
