"""SMSANet's objective: L_total = L_huber + alpha_1 L_sal (Eq. 5-7).

Both terms are means over all elements of normalised pictures (ab / 110, RGB in [0, 1]), so that
alpha_1 = 1 weighs numbers of like size; the paper gives no unit.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from scs_jax import losses
from scs_jax.core import spelling
from scs_jax.core.contract import Logs
from scs_jax.errors import UserError
from scs_jax.nn.saliency import networks
from scs_jax.ops import color

Array = jax.Array

UNITS = ("ab", "normalized")
MASKS = ("soft", "binary")


def huber_delta(loss) -> float:
  """Returns Eq. 5's delta for ab / 110: the config's is in ab units or normalised already."""
  return loss.huber_delta / (color.AB_MAX if loss.huber_unit == "ab" else 1.0)


def object_mask(saliency: Array, kind: str, threshold: float) -> Array:
  """Computes phi(.) of Eq. 6, "the foreground object binary map", from saliency in [0, 1].

  Args:
    saliency: [N, H, W, 1].
    kind: "soft", the map itself; or "binary": 1 where it reaches the threshold, else 0, with the
      gradient of the map itself (straight through), as a step has none.
    threshold: in (0, 1).
  """
  if kind == "soft":
    return saliency
  if kind != "binary":
    raise ValueError(f"mask {kind!r}: use one of {', '.join(MASKS)}")
  hard = (saliency >= threshold).astype(saliency.dtype)
  return saliency + jax.lax.stop_gradient(hard - saliency)


class SalientTerm:
  """L_sal of Eq. 6 on a frozen saliency network that the user brings.

  Args:
    loss: config section with salient_network, salient_file, salient_mask and salient_threshold.
  """

  def __init__(self, loss):
    self.name, self.file = loss.salient_network, loss.salient_file
    self.kind, self.threshold = loss.salient_mask, loss.salient_threshold
    if self.name not in networks.NETWORKS:
      raise UserError(
        f"loss.salient_network is {self.name!r}: expected one of {', '.join(networks.NETWORKS)}; "
        f"{spelling.hint(self.name, networks.NETWORKS)}"
      )
    self.network = networks.NETWORKS[self.name]

  def load(self) -> Any:
    """Loads the network's weights, from the file that the config names.

    Raises:
      UserError: no file given, or not this network's; says how to get one or switch the term off.
    """
    return _read(self.network, self.file)

  def shapes(self) -> Any:
    """Gives what `load` gives, as shapes; no file is needed."""
    return self.network.shapes

  def masks(self, params, rgb: Array) -> Array:
    """Computes phi(rgb): [N, H, W, 3] -> [N, H, W, 1] in [0, 1]."""
    return object_mask(self.network.apply(params, rgb), self.kind, self.threshold)

  def __call__(self, params, rgb: Array, target: Array) -> Array:
    """Compares RGB of the generated and the true picture [N, H, W, 3]: float32 [N]."""
    true = jax.lax.stop_gradient(self.masks(params, target))
    return losses.masked_absolute(rgb, self.masks(params, rgb), target, true)


def colorizer_loss(
  ab: Array, lab: Array, salient: SalientTerm | None, frozen, loss
) -> tuple[Array, Logs]:
  """Computes Eq. 7: L_huber + alpha_1 L_sal, a mean over this device's examples.

  Args:
    ab: generated, [N, H, W, 2] in ab units.
    lab: the true pictures, Lab [N, H, W, 3].
    salient: the salient term, or None where alpha_1 is 0.
    frozen: its weights.
    loss: the config section.

  Returns:
    (scalar, logs of the unweighted terms).
  """
  ab_true = lab[..., 1:] / color.AB_MAX
  weights = losses.chroma_weights(ab_true, loss.get("chroma_weight", 0.0))
  huber = losses.huber(ab / color.AB_MAX, ab_true, huber_delta(loss), weights).mean()
  total, logs = huber, {"loss/huber": huber}
  if salient is not None:
    # Not clipped to the gamut: a colour beyond it still has a gradient that leads back.
    rgb = color.lab_to_rgb(jnp.concatenate([lab[..., :1], ab], axis=-1))
    term = salient(frozen, rgb, color.lab_to_rgb(lab)).mean()
    total = total + loss.salient * term
    logs["loss/salient"] = term
  logs["loss/total"] = total
  return total, logs


@functools.lru_cache(maxsize=2)
def _read(network: networks.Saliency, file: str) -> Any:
  """Reads a weight file, once however often it is asked for."""
  return network.load(file)
