"""The joint network as a method: its training step (Section III) and how it colors.

`config.task` names what is trained:

  joint             Section III: L in, a and b of a larger picture out; L enlarged by the bicubic.
  joint_residual    Section IV: the same input, but L is predicted as well.
  colorization      Section II: L in, a and b of the same size out.
  super_resolution  Section II: a small colour picture in, a large one out.
"""

import functools

import jax
import jax.numpy as jnp

from scs_jax.core import contract
from scs_jax.core.contract import Collective, Logs, Method, Prediction, Query, TrainState
from scs_jax.core.optim import make_optimizer, optimizer_rules, plateau_scale
from scs_jax.core.rules import AtLeast, Between, Each, OneOf
from scs_jax.core.step import apply_gradients, gradients
from scs_jax.errors import UserError
from scs_jax.methods.joint_sr import network, objective
from scs_jax.ops import color, corner
from scs_jax.ops.corner import Corner
from scs_jax.ops.degrade import degrade
from scs_jax.ops.sample import NEAREST

Array = jax.Array
_INIT = 16  # pixels a side; parameters do not depend on it

# Task -> name of its network in params.
TASKS = {
  "joint": "colorizer",
  "joint_residual": "colorizer",
  "colorization": "colorizer",
  "super_resolution": "enlarger",
}


class JointSR(Method):
  """Joint colorization and super-resolution (Bicer and Kaynak), and what its report compares.

  Parameters are named by TASKS, and "discriminator" where `loss.adversarial` is above 0.
  """

  RULES = {
    "task": OneOf(*TASKS),
    "input_sizes": Each(AtLeast(1)),
    "network.width": Between(0.0, 4.0, open_low=True),
    "network.features": AtLeast(1),
    "network.blocks": AtLeast(0),
    "network.color_features": Each(AtLeast(1)),
    "network.color_blocks": AtLeast(0),
    "discriminator.width": AtLeast(1),
    "loss.adversarial": AtLeast(0.0),
    "loss.chroma_weight": AtLeast(0.0),
    **optimizer_rules(schedules=("constant", "cosine", "plateau")),
  }

  ablations = "scs_jax.configs.joint_sr.ablations"
  takes_reference = False
  training_only = ("discriminator",)
  takes_corner = True
  scales = (0.5, 16.0)

  def __init__(self, config):
    self.config, self.task = config, config.task
    if not config.input_sizes or max(config.input_sizes) > config.data.crop:
      raise UserError(
        f"input_sizes is {tuple(config.input_sizes)}; expected one or more sides of at most "
        f"data.crop, {config.data.crop}"
      )
    if config.loss.adversarial > 0 and self.task != "super_resolution":
      raise UserError(
        f"loss.adversarial is {config.loss.adversarial}; the report has a discriminator for "
        "task=super_resolution alone: set it to 0, or change the task"
      )
    if config.loss.get("chroma_weight", 0.0) > 0 and self.task == "super_resolution":
      raise UserError(
        "loss.chroma_weight is for tasks that predict a and b, and task=super_resolution gives "
        "RGB: set it to 0, or change the task"
      )
    self.name = TASKS[self.task]
    dtype = jnp.dtype(config.dtype)
    self.network = _network(config, dtype)
    self.discriminator = network.Discriminator(config.discriminator.width, dtype=dtype)
    self.adversarial = config.loss.adversarial > 0
    # a and b alone are predicted: L is the input's, and whole pictures are best shown as in
    # training, reduced to the side that the network has learned to see them at.
    self.keeps_luminance = self.task in ("joint", "colorization")
    self.usual_side = max(config.input_sizes) if self.keeps_luminance else None
    self.only_enlarges = self.task == "super_resolution"
    if self.task in ("joint", "super_resolution"):
      self.usual_scale = config.data.crop / max(config.input_sizes)

  @functools.cached_property
  def transform(self):
    """The optimizer, which only training needs."""
    return make_optimizer(self.config.optimizer, self.config.steps)

  # -- state ---------------------------------------------------------------------------------------

  def init(self, key: Array, batch: contract.Batch) -> TrainState:
    """Makes a fresh state; the batch is not looked at (all sizes are the config's)."""
    del batch
    channels = 3 if self.task == "super_resolution" else 1
    variables = self.network.init(
      contract.stream(key, self.name), jnp.zeros((1, _INIT, _INIT, channels)), (_INIT, _INIT)
    )
    params = {self.name: variables["params"]}
    if self.adversarial:
      picture = jnp.zeros((1, _INIT, _INIT, 3))
      made = self.discriminator.init(contract.stream(key, "discriminator"), picture)
      params["discriminator"] = made["params"]
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt_state={name: self.transform.init(tree) for name, tree in params.items()},
      model_state={self.name: variables["batch_stats"]},
    )

  # -- training ------------------------------------------------------------------------------------

  def phase(self, step: int) -> str:
    """Names the side of the input: `input_sizes` take turns, each a program of its own."""
    sizes = self.config.input_sizes
    return str(sizes[step % len(sizes)])

  def train_step(
    self,
    state: TrainState,
    batch: contract.Batch,
    key: Array,
    collective: Collective,
    phase: str,
  ) -> tuple[TrainState, Logs]:
    """Updates the network and, with an adversarial term, the discriminator.

    batch: "image" uint8 [N, crop, crop, 3]. No randomness: `key` is not used.
    """
    del key
    source, target = self._examples(batch, int(phase))
    module = self.network.clone(axis_name=collective.axis_name)
    judge = self._judge(collective)
    stats = state.model_state[self.name]

    def loss(params):
      variables = {"params": params, "batch_stats": stats}
      answer, changed = module.apply(
        variables, source, target.shape[1:3], train=True, mutable=["batch_stats"]
      )
      fake = judge(state.params["discriminator"], answer) if self.adversarial else None
      total, logs = objective.generator_loss(answer, target, fake, self.config.loss)
      return total, (logs, changed["batch_stats"], jax.lax.stop_gradient(answer))

    params, opt_state = dict(state.params), dict(state.opt_state)
    (value, (logs, stats, answer)), grads = gradients(loss, params[self.name], collective)
    self._update(self.name, grads, value, params, opt_state)
    if self.adversarial:

      def discriminator_loss(tree):
        return objective.discriminator_loss(judge(tree, target), judge(tree, answer))

      (value, more), grads = gradients(discriminator_loss, params["discriminator"], collective)
      self._update("discriminator", grads, value, params, opt_state)
      logs = logs | more
    scale = plateau_scale(opt_state[self.name])
    if scale is not None:
      logs = logs | {"optimizer/rate_scale": scale}
    state = state.replace(
      step=state.step + 1, params=params, opt_state=opt_state, model_state={self.name: stats}
    )
    return state, logs

  def _update(self, name: str, grads, value: Array, params: dict, opt_state: dict) -> None:
    params[name], opt_state[name] = apply_gradients(
      self.transform, grads, opt_state[name], params[name], value
    )

  def _judge(self, collective: Collective):
    """Runs the discriminator: (its parameters, pictures [N, h, w, 3]) -> logits [N]."""
    module = self.discriminator.clone(axis_name=collective.axis_name)
    # Its BatchNorm never reads running averages, so none are kept.
    return lambda tree, x: module.apply({"params": tree}, x, mutable=["batch_stats"])[0]

  def _examples(self, batch: contract.Batch, side: int) -> tuple[Array, Array]:
    """Converts uint8 crops to (what the network sees, what it should give), in its units.

    Section III-A: Lab of the crop; its L, reduced to `side`, is the input; its ab the target.
    """
    image = batch["image"].astype(jnp.float32) / 255.0
    size = (side, side)
    if self.task == "super_resolution":
      return _signed(degrade(image, size)), _signed(image)
    if self.task == "colorization":
      lab = color.normalize_lab(color.rgb_to_lab(degrade(image, size)))
      return lab[..., :1], lab[..., 1:]
    lab = color.rgb_to_lab(image)
    # On 256 levels, as the L plane of an 8-bit Lab picture has them.
    small = degrade(lab[..., :1] / color.L_MAX, size)
    target = color.normalize_lab(lab)
    return 2.0 * small - 1.0, target if self.task == "joint_residual" else target[..., 1:]

  # -- use -----------------------------------------------------------------------------------------

  def predict(self, state: TrainState, query: Query) -> Prediction:
    """Colors, enlarges, or both, as the task says; BatchNorm by its running averages.

    L is the input's, enlarged by the bicubic, except for joint_residual. Colorization alone works
    at the input's size; its ab is brought to another size by the bicubic. Super-resolution alone
    enlarges `query.reference`, there the colour picture of the input's own size; without one, the
    gray input.

    Extras, where asked for: "ab", float32 [N, *size, 2] in Lab units (not super_resolution), for
    `merge` with another L; "lab" (joint_residual).

    Raises:
      UserError: super_resolution with a reference of another size than the input's.
    """
    if self.task == "super_resolution":
      return Prediction(self._enlarge(state, query))
    part = query.corner
    source = color.gray_to_lightness(query.gray) * (2.0 / color.L_MAX) - 1.0
    if self.task == "joint_residual":
      lab = color.denormalize_lab(self._apply(state, source, query.size, part))
      extras = {"lab": lab, "ab": lab[..., 1:]}
      lightness, ab = lab[..., :1], lab[..., 1:]
    else:
      resize = lambda x: corner.resize_bicubic(x, query.size, part.size, part.out or part.size)
      if self.task == "joint":
        ab = self._apply(state, source, query.size, part)
      else:
        ab = resize(self._apply(state, source, query.gray.shape[1:3], Corner(part.size)))
      ab *= color.AB_MAX
      extras = {"ab": ab}
      lightness = color.gray_to_lightness(jnp.clip(resize(query.gray), 0.0, 1.0))
    return Prediction(merge(lightness, ab), extras if query.want_extras else {})

  def _apply(self, state: TrainState, x: Array, size, part: Corner) -> Array:
    variables = {
      "params": state.params[self.name],
      "batch_stats": state.model_state[self.name],
    }
    return self.network.apply(variables, x, tuple(size), part=part)

  def _enlarge(self, state: TrainState, query: Query) -> Array:
    picture = query.reference
    if picture is None:
      picture = jnp.repeat(query.gray, 3, axis=-1)
    elif picture.shape[1:3] != query.gray.shape[1:3]:
      (h, w), (a, b) = query.gray.shape[1:3], picture.shape[1:3]
      raise UserError(
        f"task super_resolution enlarges a colour picture of the input's size, {h}x{w} pixels; "
        f"got a reference of {a}x{b}: it takes no reference photo"
      )
    rgb = self._apply(state, _signed(picture), query.size, query.corner)
    return color.clip_gamut((rgb + 1.0) / 2.0)


def merge(lightness: Array, ab: Array) -> Array:
  """Makes the final picture of Section V from some L and the network's ab.

  Colours beyond sRGB give up chroma, so that L stays what it is.

  With `color.lightness` of the true picture it is the report's own evaluation ("true L"), which no
  use of the method has.

  Args:
    lightness: [N, h, w, 1] in [0, 100].
    ab: [N, h, w, 2] in Lab units.

  Returns:
    RGB float32 [N, h, w, 3] in [0, 1].
  """
  lab = color.compress_chroma(jnp.concatenate([lightness, ab], axis=-1))
  return color.clip_gamut(color.lab_to_rgb(lab))


def _signed(rgb: Array) -> Array:
  """Maps [0, 1] to [-1, 1]."""
  return 2.0 * rgb - 1.0


def _nearest(section) -> str:
  """Returns the rule of the decoder's enlargements, which configs of earlier runs lack."""
  rule = section.get("nearest", NEAREST[0])
  if rule not in NEAREST:
    raise UserError(f"network.nearest is {rule!r}; expected one of {', '.join(NEAREST)}")
  return rule


def _network(config, dtype):
  """Makes the network of the config's task."""
  section, remat = config.network, config.remat == "blocks"
  if config.task == "joint":
    return network.EncoderDecoder(
      section.width, network.ENLARGING, nearest=_nearest(section), dtype=dtype, remat=remat
    )
  if config.task == "colorization":
    return network.EncoderDecoder(section.width, network.KEEPING, dtype=dtype, remat=remat)
  colored = config.task == "joint_residual"
  return network.ResidualNetwork(
    section.features,
    section.blocks,
    tuple(section.color_features) if colored else (),
    section.color_blocks if colored else 0,
    dtype=dtype,
    remat=remat,
  )
