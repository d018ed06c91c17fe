"""Frozen saliency networks for SMSANet's Eq. 6, each under its own name.

Eq. 6 was published with PFANet, whose weights were not; any other network is a stand-in that a
config has to ask for.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from scs_jax.errors import UserError
from scs_jax.nn.features import files
from scs_jax.nn.saliency import csnet, csnet_weights, pfanet, pfanet_weights
from scs_jax.ops import check

Array = jax.Array
Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Saliency:
  """A network that says which pixels belong to what one looks at first.

  Attributes:
    name: how configs call it.
    title: how its authors call it.
    source: citation, and the licence of the published weights.
    help: where weights come from and how to do without them.
    from_arrays: (named arrays of a file, source=name for errors) -> parameters; UserError for
      anything but this network's complete weights.
    predict: (parameters, rgb [N, H, W, 3]) -> [N, H, W, 1]; see `apply`.
    module: makes the Linen module whose parameters they are.
  """

  name: str
  title: str
  source: str
  help: str
  from_arrays: Callable[..., Params]
  predict: Callable[[Params, Array], Array]
  module: Callable[[], nn.Module]

  def missing(self, path: str = "") -> str:
    """Writes what to tell a user who gave no weight file, or one that does not exist."""
    return f"{path}: no such file: {self.help}" if path else f"no {self.title} weights: {self.help}"

  def load(self, path: str | os.PathLike[str] | None) -> Params:
    """Reads parameters, as NumPy arrays, from the weight file that the user brings.

    Raises:
      UserError: no file, a damaged one, or another network's; says what to do.
    """
    path = "" if path is None else os.fspath(path)
    if not path or not os.path.exists(path):
      raise UserError(self.missing(path))
    return self.from_arrays(files.read_arrays(path), source=path)

  @functools.cached_property
  def shapes(self) -> Params:
    """The parameters' shapes; no file is needed."""
    picture = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    return jax.eval_shape(self.module().init, jax.random.key(0), picture)["params"]

  def apply(self, params: Mapping[str, Any], rgb: Array) -> Array:
    """Computes the soft map, differentiable in reverse mode with respect to `rgb`.

    Each picture's map depends on that picture alone. Resizing to what the network was made for, and
    back, happens in here.

    Args:
      params: of `load`.
      rgb: float32 [N, H, W, 3] in [0, 1] (a little beyond does no harm), any H and W.

    Returns:
      float32 [N, H, W, 1] in [0, 1], near 1 on the salient object.
    """
    check.require_rank("rgb", rgb, 4)
    check.require_channels("rgb", rgb, 3)
    return self.predict(params, rgb.astype(jnp.promote_types(rgb.dtype, jnp.float32)))


NETWORKS: Mapping[str, Saliency] = {
  network.name: network
  for network in (
    Saliency(
      "pfanet",
      "PFANet",
      "T. Zhao, X. Wu: Pyramid Feature Attention Network for Saliency Detection. CVPR 2019. "
      "No weights are published by the authors; their code names no licence.",
      pfanet_weights.MISSING_WEIGHTS_HELP,
      pfanet_weights.from_arrays,
      pfanet.predict,
      pfanet.PFANet,
    ),
    Saliency(
      "csnet_l_x2",
      "CSNet-L x2",
      "S.-H. Gao, Y.-Q. Tan, M.-M. Cheng, C. Lu, Y. Chen, S. Yan: Highly Efficient Salient Object "
      "Detection with 100K Parameters. ECCV 2020. Weights: CC BY-NC-SA 4.0 (non-commercial).",
      csnet_weights.MISSING_WEIGHTS_HELP,
      csnet_weights.from_arrays,
      csnet.predict,
      csnet.CSNet,
    ),
  )
}
