"""The perceptual term (Eq. 6) on a frozen feature network that the user brings."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from scs_jax import losses
from scs_jax.errors import UserError
from scs_jax.nn.features import squeezenet, vgg16
from scs_jax.nn.features.preprocess import Preprocessing
from scs_jax.ops import color

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class _Network:
  module: Callable[..., nn.Module]
  load: Callable[[str], tuple[Any, Preprocessing]]
  taps: tuple[str, ...]


# "vgg16" is the paper's; any other is a stand-in that a config has to ask for by its own name.
NETWORKS = {
  "vgg16": _Network(vgg16.VGG16, vgg16.load_vgg16, vgg16.TAPS),
  "squeezenet": _Network(squeezenet.SqueezeNet, squeezenet.load_squeezenet, squeezenet.TAPS),
}


class PerceptualTerm:
  """E [ sum_l w_l |phi_l(I^) - phi_l(I)|_1 ], phi_l on RGB, normalised as the weights expect.

  Args:
    loss: config section with perceptual_network, perceptual_file and perceptual_weights (w_l).
    dtype: of the activations.
  """

  def __init__(self, loss, dtype=jnp.float32):
    self.network = NETWORKS[loss.perceptual_network]
    self.name = loss.perceptual_network
    self.file = loss.perceptual_file
    self.weights = tuple(loss.perceptual_weights)
    if len(self.weights) != len(self.network.taps):
      raise UserError(
        f"loss.perceptual_weights has {len(self.weights)} numbers; {self.name} has "
        f"{len(self.network.taps)} layers: {', '.join(self.network.taps)}"
      )
    # What a file's weights expect of their input travels with them, as data (see `load`).
    self.module = self.network.module(preprocessing=_as_it_is, dtype=dtype)

  def load(self) -> dict:
    """Loads the weights and their colour preprocessing, from the file that the config names.

    Raises:
      UserError: no file given, or not this network's; says how to get it or switch the term off.
    """
    params, preprocessing = _read(self.name, self.file)
    matrix = np.eye(3, dtype=np.float32)
    matrix = (matrix[:, ::-1] if preprocessing.bgr else matrix) * preprocessing.scale
    std = np.asarray(preprocessing.std, np.float32)
    offset = -np.asarray(preprocessing.mean, np.float32) / std
    return {"params": params, "matrix": matrix / std, "offset": offset}

  def shapes(self) -> dict:
    """Gives what `load` gives, as shapes; no file is needed."""
    float32 = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.float32)
    return {"params": _shapes(self.module), "matrix": float32(3, 3), "offset": float32(3)}

  def __call__(self, frozen: dict, lab: Array, target: Array) -> Array:
    """Compares normalised Lab [N, H, W, 3] of the generated and the true picture: float32 [N]."""

    def features(picture: Array) -> dict[str, Array]:
      # Not clipped to the gamut: a colour beyond it still has a gradient that leads back.
      rgb = color.lab_to_rgb(color.denormalize_lab(picture))
      rgb = jnp.dot(rgb, frozen["matrix"], precision=jax.lax.Precision.HIGHEST)
      return self.module.apply({"params": frozen["params"]}, rgb + frozen["offset"])

    true = {name: jax.lax.stop_gradient(x) for name, x in features(target).items()}
    seen = features(lab)
    taps = self.network.taps
    return losses.perceptual(
      {name: seen[name] for name in taps}, {name: true[name] for name in taps}, self.weights
    )


@functools.lru_cache(maxsize=2)
def _read(name: str, file: str):
  """Reads a weight file, once however often it is asked for."""
  return NETWORKS[name].load(file)


@functools.lru_cache(maxsize=2)
def _shapes(module: nn.Module) -> dict:
  """Traces a network for the shapes of its parameters, once for all rows of an ablation."""
  picture = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  return jax.eval_shape(module.init, jax.random.key(0), picture)["params"]


def _as_it_is(x: Array) -> Array:
  return x
