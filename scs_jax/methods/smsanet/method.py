"""SMSANet as a method: its training step (Sections 2.3, 3.2) and how it colors."""

import functools
import warnings

import jax
import jax.numpy as jnp

from scs_jax.core import contract
from scs_jax.core.contract import Collective, Logs, Method, Prediction, Query, TrainState
from scs_jax.core.optim import make_optimizer, optimizer_rules
from scs_jax.core.rules import AtLeast, Between, Each, OneOf, Positive
from scs_jax.core.step import gradient_update
from scs_jax.methods.smsanet import attention, objective
from scs_jax.methods.smsanet.network import BLOCKS, LAST, PLACES, Colorizer, lightness_input
from scs_jax.ops import color, corner

Array = jax.Array

NETWORK = "colorizer"


class SMSANet(Method):
  """Automatic colorization: ab from L, at the input's size; L stays the input's.

  One network, "colorizer", whose BatchNorm averages are its model state. Asked for another size
  than the input's, it colours first and enlarges L and ab by the bicubic kernel afterwards, so that
  it can stand beside methods that do both at once.
  """

  RULES = {
    "network.width": Between(0.0, 4.0, open_low=True),
    "network.attention": OneOf(*attention.NAMES),
    "network.attention_blocks": Each(OneOf(*BLOCKS)),
    "network.attention_place": OneOf(*PLACES),
    "network.scales": Between(2, 8),
    "network.reduction": AtLeast(1),
    "network.start": Between(0.0, 1.0, open_low=True, open_high=True),
    "loss.huber_delta": Positive,
    "loss.huber_unit": OneOf(*objective.UNITS),
    "loss.chroma_weight": AtLeast(0.0),
    "loss.salient": AtLeast(0.0),
    "loss.salient_mask": OneOf(*objective.MASKS),
    "loss.salient_threshold": Between(0.0, 1.0, open_low=True, open_high=True),
    **optimizer_rules(),
  }

  EARLIER = {"network.attention_place": "after_norm"}

  ablations = "scs_jax.configs.smsanet.ablations"
  takes_reference = False
  takes_corner = True
  keeps_luminance = True
  scales = (0.5, 16.0)

  def __init__(self, config):
    self.config = config
    # Training pictures have their short side at data.crop (256 in the paper). A 3:2 photo twice
    # that long shows its objects a third larger than in training: as much detail of chroma as the
    # network has any experience with.
    self.usual_side = 2 * config.data.crop
    self.network = Colorizer(
      **config.network, dtype=jnp.dtype(config.dtype), remat=config.remat == "blocks"
    )
    self.salient = objective.SalientTerm(config.loss) if config.loss.salient > 0 else None

  @functools.cached_property
  def transform(self):
    """The optimizer, which only training needs."""
    return make_optimizer(self.config.optimizer, self.config.steps)

  # -- state ---------------------------------------------------------------------------------------

  def load_frozen(self) -> dict:
    """Loads the saliency network's weights, where the salient loss is asked for.

    Warns where training would teach channel attention nothing: see `blindness`.
    """
    if why := blindness(self.config):
      warnings.warn(why, stacklevel=2)
    return {} if self.salient is None else {"saliency": self.salient.load()}

  def frozen_shapes(self) -> dict:
    """Gives what `load_frozen` gives, as shapes."""
    return {} if self.salient is None else {"saliency": self.salient.shapes()}

  def init(self, key: Array, batch: contract.Batch) -> TrainState:
    """Makes a fresh state; the batch is not looked at."""
    del batch
    gray = jnp.zeros((1, 8, 8, 1))  # parameters do not depend on the size
    variables = self.network.init(contract.stream(key, NETWORK), gray)
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params={NETWORK: variables["params"]},
      opt_state={NETWORK: self.transform.init(variables["params"])},
      model_state={NETWORK: variables["batch_stats"]},
    )

  # -- training ------------------------------------------------------------------------------------

  def train_step(
    self,
    state: TrainState,
    batch: contract.Batch,
    key: Array,
    collective: Collective,
    phase: str,
  ) -> tuple[TrainState, Logs]:
    """Takes one update of L_total (Eq. 7); batch: "image" uint8 [N, crop, crop, 3]."""
    del key, phase
    lab = color.rgb_to_lab(batch["image"].astype(jnp.float32) / 255.0)
    # BatchNorm's statistics are the whole batch's, however it is spread over devices.
    network = self.network.clone(axis_name=collective.axis_name)

    def loss(params):
      variables = {"params": params, "batch_stats": state.model_state[NETWORK]}
      ab, changed = network.apply(
        variables, lightness_input(lab[..., :1]), train=True, mutable=["batch_stats"]
      )
      total, logs = objective.colorizer_loss(
        ab, lab, self.salient, state.frozen.get("saliency"), self.config.loss
      )
      return total, (logs, changed["batch_stats"])

    params, opt_state, _, (logs, stats) = gradient_update(
      loss, self.transform, state.params[NETWORK], state.opt_state[NETWORK], collective
    )
    state = state.replace(
      step=state.step + 1,
      params={**state.params, NETWORK: params},
      opt_state={**state.opt_state, NETWORK: opt_state},
      model_state={**state.model_state, NETWORK: stats},
    )
    return state, logs

  # -- use -----------------------------------------------------------------------------------------

  def predict(self, state: TrainState, query: Query) -> Prediction:
    """Colors at the input's size with the input's L, then enlarges both where asked to.

    Colours beyond the gamut keep L and hue and give up chroma. Extras, where asked for: "ab", the
    network's output at the input's size, and "spatial_weights" and "channel_weights", A_s and A_n
    of Eq. 2-3 by block number (empty unless attention is "smsa").
    """
    variables = {"params": state.params[NETWORK], "batch_stats": state.model_state[NETWORK]}
    lightness = color.gray_to_lightness(query.gray)
    part = query.corner
    inside = corner.mask(query.gray, part.size)
    ab, seen = self.network.apply(
      variables, lightness_input(lightness), inside=inside, mutable=["intermediates"]
    )
    lab = jnp.concatenate([lightness, ab], axis=-1)
    if part.out is not None or tuple(query.size) != tuple(query.gray.shape[1:3]):
      lab = corner.resize_bicubic(lab, query.size, part.size, part.out)
    rgb = color.clip_gamut(color.lab_to_rgb(color.compress_chroma(lab)))
    return Prediction(rgb, {"ab": ab, **_maps(seen)} if query.want_extras else {})


def blindness(config) -> str:
  """Tells why channel attention would learn nothing, or ""; of batches of one picture.

  After a BatchNorm with the batch's statistics a channel's mean over the batch is its beta, so a
  picture alone has the same means as any other; before it, the BatchNorm divides what a channel is
  multiplied by out again.
  """
  net = config.network
  alone = config.batch_size // config.accumulate == 1
  if not alone or net.attention == "none" or set(net.attention_blocks) <= {LAST}:
    return ""
  if net.attention_place == "after_relu":
    why = "BatchNorm divides out what channel attention multiplied"
  elif net.attention == "cbam":  # it looks at the maximum too, which no BatchNorm fixes
    return ""
  else:
    why = "after BatchNorm channel attention sees the same means in every picture"
  return (
    f"batches of one picture (batch_size {config.batch_size}, accumulate {config.accumulate}): "
    f"{why}; use at least 2 pictures to a batch, better 8"
  )


def _maps(seen) -> dict[str, dict[int, Array]]:
  """Gives what the attention modules sowed, by kind and block number."""
  modules = seen.get("intermediates", {})
  return {
    kind: {int(name.rpartition("_")[2]): sown[kind][0] for name, sown in modules.items()}
    for kind in ("spatial_weights", "channel_weights")
  }
