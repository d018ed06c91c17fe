"""A working folder for `evaluate` and `compare`: pictures, pairs, and runs without a training."""

import pathlib

import jax.numpy as jnp
import numpy as np
from PIL import Image

from scs_jax.core import config as configs
from scs_jax.core.contract import TrainState
from scs_jax.training.checkpoint import Checkpoints

SIDE, COUNT = 16, 10

# Tints the enlarged input by what its checkpoint holds; "judge" takes no part in colouring.
METHOD = """
import jax.numpy as jnp
from scs_jax.core import contract
from scs_jax.core.contract import Prediction, TrainState
from scs_jax.ops.resize import resize_bicubic
class Method(contract.Method):
  scales = (1.0, 4.0)
  def __init__(self, config):
    pass
  def init(self, key, batch):
    params = {"net": {"tint": jnp.zeros(3)}, "judge": {"w": jnp.zeros(1000)}}
    return TrainState(jnp.zeros((), jnp.int32), params, {"net": {}}, {})
  def train_step(self, state, batch, key, collective, phase):
    return state, {}
  def predict(self, state, query):
    rgb = jnp.repeat(resize_bicubic(query.gray, query.size), 3, axis=-1)
    if query.reference is not None:
      rgb = rgb + 0.1 * (query.reference.mean(axis=(1, 2), keepdims=True) - 0.5)
    extras = {"maps": {3: jnp.zeros(2)}} if query.want_extras else {}
    return Prediction(jnp.clip(rgb + state.params["net"]["tint"], 0, 1), extras)
class Blind(Method):
  takes_reference = False
class Pairing(Method):
  takes_pairs, multiple = True, 4
  def predict(self, state, query):
    gray = query.gray - query.reference.mean(axis=-1, keepdims=True)
    return Prediction(jnp.clip(query.reference + gray + state.params["net"]["tint"], 0, 1))
"""


def photo(i, height=SIDE, width=SIDE):
  y, x = np.mgrid[:height, :width] / 7.0
  waves = [np.sin(y * (1 + i % 4) + c) * np.cos(x * (2 + c) - i) for c in range(3)]
  return np.uint8(np.round(127.5 + 90 * np.stack(waves, axis=-1)))


def save(run, method="Method", tint=(0, 0, 0)):
  config = configs.load("common").copy_and_resolve_references()
  config.unlock()
  config.method.name = f"tinting_of_test:{method}"
  config.data.crop = SIDE
  config.evaluate.reference_size = 8
  config.evaluate.batch_size = 3
  config.evaluate.scale = 2.0
  params = {"net": {"tint": jnp.array(tint, jnp.float32)}, "judge": {"w": jnp.ones(1000)}}
  write(run, config, TrainState(jnp.int32(3), params, {"net": {}}, {}))


def write(run, config, state):
  with Checkpoints(pathlib.Path(run).resolve(), keep_last=1, best_metric=None) as checkpoints:
    checkpoints.save(3, state, data={}, config=config, metrics=None, wait=True)


def make_photos():
  """In the working folder: the method, ten photographs and two runs, "one" and "blind"."""
  pathlib.Path("tinting_of_test.py").write_text(METHOD)
  pathlib.Path("photos").mkdir()
  for i in range(COUNT):
    Image.fromarray(photo(i)).save(f"photos/p{i}.png")
  save("one", tint=(0.1, 0, 0))
  save("blind", "Blind", tint=(0, 0.05, 0))


def make_pairs(numbers=range(4), tint=(0, 0, 0)):
  """Beside them pairs with truth, others' pictures of them, and a run, "pairing"."""
  for view in ("mono", "color", "truth", "theirs"):
    pathlib.Path(view).mkdir()
  for i in numbers:
    truth = photo(i, 16, 24)
    gray = np.uint8(np.round(truth @ np.array([0.299, 0.587, 0.114])))
    Image.fromarray(gray).save(f"mono/p{i}.png")
    Image.fromarray(np.roll(truth, 2, axis=1)).save(f"color/p{i}.png")
    Image.fromarray(truth).save(f"truth/p{i}.png")
    Image.fromarray(truth).save(f"theirs/p{i}.png")
  rows = [f"mono/p{i}.png, color/p{i}.png, truth/p{i}.png" for i in numbers]
  pathlib.Path("pairs.csv").write_text("\n".join(["mono, color, truth", *rows]))
  config = configs.load("cycle_cnn/paper").copy_and_resolve_references()
  config.unlock()
  config.method.name = "tinting_of_test:Pairing"
  config.data.mono_view = "right"
  params = {"net": {"tint": jnp.array(tint, jnp.float32)}, "judge": {"w": jnp.ones(1000)}}
  plain = configs.load("common").copy_and_resolve_references()
  plain.unlock()
  plain.method.name, plain.data = config.method.name, config.data
  write("pairing", plain, TrainState(jnp.int32(3), params, {"net": {}}, {}))
