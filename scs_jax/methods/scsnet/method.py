"""SCSNet as a method: its training step (Sections 3.3, 4.1) and how it colors."""

import functools

import jax
import jax.numpy as jnp

from scs_jax.core import contract
from scs_jax.core.contract import Collective, Logs, Method, Prediction, Query, TrainState
from scs_jax.core.optim import make_optimizer, optimizer_rules
from scs_jax.core.rules import AtLeast, Between, Each, OneOf, Positive
from scs_jax.core.stages import Recipe
from scs_jax.core.step import apply_gradients, gradients
from scs_jax.errors import UserError
from scs_jax.methods.scsnet import network, objective, pieces, pvcattn, variants
from scs_jax.methods.scsnet.augment import distort, random_turn, rotate_hue
from scs_jax.methods.scsnet.discriminator import PatchDiscriminator
from scs_jax.methods.scsnet.perceptual import NETWORKS, PerceptualTerm
from scs_jax.ops import color
from scs_jax.ops.degrade import degrade, degrade_region

Array = jax.Array

_SIZE = AtLeast(1)
_WIDTHS = Each(_SIZE, 3)
_BLOCKS = Each(AtLeast(0), 3)


class SCSNet(Method):
  """Simultaneous colorization and super-resolution, automatic and by reference.

  Parameters are named "generator" (all that the automatic mode uses), "reference" (what the
  referential mode adds) and "discriminator"; each has an optimizer state of its own, so that a
  step in automatic mode leaves the reference branch, its moments included, as it is: what a
  framework does with parameters that received no gradient.
  """

  RULES = {
    "mode": OneOf("alternate", "automatic", "referential"),
    "input_size": AtLeast(4),
    "magnification": Each(Between(1.0, 16.0), 2),
    "network.widths": _WIDTHS,
    "network.source_blocks": _BLOCKS,
    "network.reference_blocks": _BLOCKS,
    "network.decoder_blocks": _BLOCKS,
    "network.texture_blocks": AtLeast(0),
    "network.fused_features": _SIZE,
    "network.level_features": _SIZE,
    "network.key_features": _SIZE,
    "network.levels": Between(1, 5),
    "network.temperature": Positive,
    "network.cpm_widths": Each(_SIZE, 3),
    "network.cpm_order": OneOf("fast", "plain"),
    "network.cpm_convention": OneOf("paper", "centers", "literal"),
    "network.cpm_chunk_floats": _SIZE,
    "network.attention_blocks": Each(_SIZE, 2),
    "discriminator.width": _SIZE,
    "discriminator.layers": Between(1, 5),
    "loss.content": AtLeast(0.0),
    "loss.perceptual": AtLeast(0.0),
    "loss.adversarial": AtLeast(0.0),
    "loss.perceptual_network": OneOf(*NETWORKS),
    "loss.adversarial_form": OneOf("relativistic", "literal"),
    "reference.size": AtLeast(4),
    "reference.flip_probability": Between(0.0, 1.0),
    "reference.hue_probability": Between(0.0, 1.0),
    "reference.alpha": AtLeast(0.0),
    "reference.sigma": Positive,
    **optimizer_rules(),
  }

  ablations = "scs_jax.configs.scsnet.ablations"
  training_only = ("discriminator",)
  scales = (0.5, 16.0)

  def __init__(self, config):
    self.config = config
    low, high = config.magnification
    crop = round(high * config.input_size)
    if low > high:
      raise UserError(f"magnification {low}, {high}: write the smaller one first")
    if config.data.crop != crop:
      raise UserError(
        f"data.crop is {config.data.crop}; expected {crop}, the largest magnification {high:g} "
        f"times input_size {config.input_size}"
      )
    if low != high and config.reference.size > round(low * config.input_size):
      raise UserError(
        f"reference.size is {config.reference.size}; with a range of magnifications expected at "
        f"most {round(low * config.input_size)}, the smallest picture in it"
      )
    upsampler = _choice(config.network, "upsampler", variants.UPSAMPLERS)
    aggregation = _choice(config.network, "aggregation", variants.AGGREGATIONS)
    _choice(config.network, "correlation", pvcattn.CORRELATIONS)
    _choice(config.network, "decoder_attention", network.DECODER_ATTENTIONS)
    if upsampler == "pixel_shuffle" and (low != high or high != round(high)):
      raise UserError(
        f"network.upsampler is 'pixel_shuffle', which enlarges by one whole factor, but "
        f"magnification is {low:g}, {high:g}; set it to such a factor twice, as 4,4"
      )
    # pieces.py knows the network of the paper alone; the others see pictures whole.
    self.in_pieces = (upsampler, aggregation) == ("cpm", "attention")
    if low != high and upsampler == "cpm" and config.network.cpm_convention != "paper":
      raise UserError(
        "a range of magnifications trains with network.cpm_convention=paper only; "
        "set magnification to one value twice for another convention"
      )
    if config.network.get("carry_chroma", False) and not (
      aggregation == "attention" and config.network.valves
    ):
      raise UserError(
        "network.carry_chroma needs network.aggregation=attention and network.valves=True; "
        "set it to False"
      )
    self.twins = config.reference.get("twin_start", False)
    if self.twins and aggregation != "attention":
      raise UserError("reference.twin_start needs network.aggregation=attention; set it to False")
    blocks = tuple(config.network.source_blocks), tuple(config.network.reference_blocks)
    if self.twins and blocks[0] != blocks[1]:
      raise UserError(
        f"reference.twin_start starts the reference encoder as the source's: give both the same "
        f"blocks; network.source_blocks is {blocks[0]}, network.reference_blocks {blocks[1]}"
      )
    dtype = jnp.dtype(config.dtype)
    self.network = network.SCSNet(
      **config.network, factor=round(high), dtype=dtype, remat=config.remat == "blocks"
    )
    self.discriminator = PatchDiscriminator(
      config.discriminator.width, config.discriminator.layers, dtype
    )
    self.adversarial = config.loss.adversarial > 0
    self.perceptual = None
    if config.loss.perceptual > 0:
      self.perceptual = PerceptualTerm(config.loss, dtype)
    if self.adversarial:
      objective.warn_if_literal(config.loss.adversarial_form)

  @functools.cached_property
  def transforms(self) -> dict:
    """The optimizers by network, which only training needs."""
    # A schedule ends with the run for every network: the reference branch rests in half the steps.
    turns = 2 if self.config.mode == "alternate" else 1
    updates = {"reference": self.config.steps // turns}
    return {
      name: make_optimizer(self.config.optimizer, updates.get(name, self.config.steps))
      for name in ("generator", "reference", "discriminator")
    }

  # -- state ---------------------------------------------------------------------------------------

  def load_frozen(self) -> dict:
    """Loads the perceptual network's weights from the file that the config names."""
    return {} if self.perceptual is None else {"perceptual": self.perceptual.load()}

  def frozen_shapes(self) -> dict:
    """Gives what `load_frozen` gives, as shapes."""
    return {} if self.perceptual is None else {"perceptual": self.perceptual.shapes()}

  def init(self, key: Array, batch: contract.Batch) -> TrainState:
    """Makes a fresh state; the batch is not looked at (all sizes are the config's)."""
    del batch
    size = 8  # parameters do not depend on it
    gray, lab = jnp.zeros((1, size, size, 1)), jnp.zeros((1, size, size, 3))
    variables = self.network.init(contract.stream(key, "generator"), gray, lab)
    params = _split(variables["params"])
    if self.twins:
      params["reference"] = network.start_as_twins(**params)
    model_state = {}
    if self.adversarial:
      side = 2 ** (self.config.discriminator.layers + 2)
      variables = self.discriminator.init(
        contract.stream(key, "discriminator"), jnp.zeros((1, side, side, 3))
      )
      params["discriminator"] = variables["params"]
      model_state["discriminator"] = variables["batch_stats"]
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt_state={name: self.transforms[name].init(tree) for name, tree in params.items()},
      model_state=model_state,
    )

  # -- training ------------------------------------------------------------------------------------

  def phase(self, step: int) -> str:
    """Names the mode: the two take turns (Section 4.1); a config can fix one."""
    if self.config.mode == "alternate":
      return "referential" if step % 2 else "automatic"
    return self.config.mode

  def train_step(
    self,
    state: TrainState,
    batch: contract.Batch,
    key: Array,
    collective: Collective,
    phase: str,
  ) -> tuple[TrainState, Logs]:
    """Updates the generator, then the discriminator on the same pictures (Eq. 4-7).

    batch: "image" uint8 [N, crop, crop, 3], "index" uint32 [N], the samples' global numbers, and
    optionally "reference" uint8 [N, r, r, 3] with "use_reference" bool [N]: another photograph to
    take as the reference instead of the image itself.
    """
    gray, reference, target, rows, columns = self._examples(batch, key, phase)
    if phase == "automatic":
      reference = None
    # The reference branch and its moments rest in automatic mode: no gradient reaches them.
    trained = ("generator",) if reference is None else ("generator", "reference")
    generator = {name: state.params[name] for name in trained}

    def generator_loss(params):
      lab = self._generate(params, gray, reference, rows, columns)
      fake = real = None
      if self.adversarial:
        fake, real = self._scores(state, state.params["discriminator"], lab, target)
      total, logs = objective.generator_terms(
        lab, target, fake, real, self.perceptual, state.frozen.get("perceptual"),
        self.config.loss, collective,
      )  # fmt: skip
      return total, (logs, jax.lax.stop_gradient(lab))

    (_, (logs, lab)), grads = gradients(generator_loss, generator, collective)
    params, opt_state = dict(state.params), dict(state.opt_state)
    for name in trained:
      params[name], opt_state[name] = apply_gradients(
        self.transforms[name], grads[name], opt_state[name], params[name]
      )
    model_state = dict(state.model_state)
    if self.adversarial:

      def discriminator_loss(discriminator):
        (fake, real), stats = self._scores(
          state, discriminator, lab, target, update_stats=True
        )
        loss, logs = objective.discriminator_loss(real, fake, self.config.loss, collective)
        return loss, (logs, stats)

      (_, (more, stats)), grads = gradients(
        discriminator_loss, params["discriminator"], collective
      )
      params["discriminator"], opt_state["discriminator"] = apply_gradients(
        self.transforms["discriminator"],
        grads,
        opt_state["discriminator"],
        params["discriminator"],
      )
      model_state["discriminator"] = stats
      logs = logs | more
    state = state.replace(
      step=state.step + 1, params=params, opt_state=opt_state, model_state=model_state
    )
    return state, logs

  def _generate(self, params, gray, reference, rows, columns) -> Array:
    tree = {name: module for part in params.values() for name, module in part.items()}
    run = functools.partial(self.network.apply, {"params": tree})
    initial, features = run(gray, method="encode")
    carried = None
    if reference is not None:
      features, carried, _ = run(features, reference, method="aggregate")
    return run(gray, initial, features, rows, columns, carried, method="generate")

  def _scores(self, state, params, lab, target, update_stats=False):
    """Scores (generated, true) by the discriminator, each [N, h, w, 1], in one pass.

    Interleaved, not one after the other: a batch sharded over devices then stays where it is.
    """
    variables = {"params": params, "batch_stats": state.model_state["discriminator"]}
    both = jnp.stack([lab, target], axis=1).reshape(-1, *lab.shape[1:])
    part = lambda scores: (scores[::2], scores[1::2])
    if not update_stats:
      return part(self.discriminator.apply(variables, both))
    scores, changed = self.discriminator.apply(
      variables, both, update_stats=True, mutable=["batch_stats"]
    )
    return part(scores), changed["batch_stats"]

  def _examples(self, batch: contract.Batch, key: Array, phase: str):
    """Makes (gray, reference, target, rows, columns) of decoded uint8 crops, all on the device.

    Section 4.1: the low-resolution source by the bicubic kernel; the reference is the image
    itself at the reference size, flipped at random and elastically distorted.
    """
    config = self.config
    image = batch["image"].astype(jnp.float32) / 255.0
    target, small, reference, rows, columns = self._magnify(
      image, contract.stream(key, "magnification")
    )
    if "reference" in batch:
      other = batch["reference"].astype(jnp.float32) / 255.0
      other = degrade(other, (config.reference.size, config.reference.size))
      reference = jnp.where(batch["use_reference"][:, None, None, None], other, reference)
    reference = distort(
      contract.example_keys(contract.stream(key, "reference"), batch["index"]),
      reference,
      config.reference,
    )
    gray = color.lightness(small) / 50.0 - 1.0
    reference, target = _network_lab(reference), _network_lab(target)
    if phase == "referential" and config.reference.hue_probability > 0:
      keys = contract.example_keys(contract.stream(key, "hue"), batch["index"])
      angle = jax.vmap(lambda k: random_turn(k, config.reference.hue_probability))(keys)
      reference, target = rotate_hue(reference, angle), rotate_hue(target, angle)
    return gray, reference, target, rows, columns

  def _magnify(self, image: Array, key: Array):
    """Makes (target, low-resolution RGB, reference RGB, rows, columns) at magnification p.

    A range of magnifications draws p = K / input_size, K a whole number of pixels, once a step:
    the K x K corner of the crop is degraded to the input size, and a window as large as the
    smallest picture in the range is compared, at a random place. Shapes stay static.
    """
    config = self.config
    size, reference_size = config.input_size, config.reference.size
    least, most = (round(p * size) for p in config.magnification)
    if least == most:
      axis = variants.axis(self.network.upsampler, size, most, config.network.cpm_convention)
      reference = degrade(image, (reference_size, reference_size))
      return image, degrade(image, (size, size)), reference, axis, axis
    k_span, k_place = jax.random.split(key)
    span = jax.random.randint(k_span, (), least, most + 1)
    top, left = jax.random.randint(k_place, (2,), 0, span - least + 1)
    n, channels = image.shape[0], image.shape[-1]
    target = jax.lax.dynamic_slice(image, (0, top, left, 0), (n, least, least, channels))
    upsampler = self.network.upsampler
    rows = variants.axis_window(upsampler, size, span, top, least)
    columns = variants.axis_window(upsampler, size, span, left, least)
    reference = degrade_region(image, span, reference_size)
    return target, degrade_region(image, span, size), reference, rows, columns

  # -- use -----------------------------------------------------------------------------------------

  def recipe(self, state: TrainState, referential: bool) -> Recipe | None:
    """Tells how a picture of any size is coloured in pieces."""
    if not self.in_pieces:
      return None
    params = {**state.params["generator"], **state.params["reference"]}
    return pieces.recipe(self.network, params, referential)

  def predict(self, state: TrainState, query: Query) -> Prediction:
    """Colors and enlarges; by reference where the query has one, automatically otherwise.

    Extras, where asked for: "lab" (the network's own output in Lab units) and, by reference,
    "attention" (a tuple of pvcattn.Attention, one a pyramid level).
    """
    variables = {"params": {**state.params["generator"], **state.params["reference"]}}
    gray = color.gray_to_lightness(query.gray) / 50.0 - 1.0
    reference = None if query.reference is None else _network_lab(query.reference)
    answer = self.network.apply(variables, gray, reference, query.size, query.want_extras)
    lab, seen = answer if query.want_extras else (answer, ())
    lab = color.denormalize_lab(lab)
    rgb = color.clip_gamut(color.lab_to_rgb(lab))
    return Prediction(rgb, {"lab": lab, "attention": seen} if query.want_extras else {})


def _network_lab(rgb: Array) -> Array:
  return color.normalize_lab(color.rgb_to_lab(rgb))


def _choice(section, name: str, known: tuple[str, ...]) -> str:
  """Reads a switch that configs of earlier runs lack, checked; its first value is the default."""
  value = section.get(name, known[0])
  if value not in known:
    raise UserError(f"network.{name} is {value!r}; expected one of {', '.join(known)}")
  return value


def _split(params: dict) -> dict[str, dict]:
  """Splits a tree of modules into what both modes use, and what the reference adds."""
  names = (*network.REFERENCE_MODULES, network.CONCATENATION)
  reference = {name: params[name] for name in names if name in params}
  generator = {name: tree for name, tree in params.items() if name not in reference}
  return {"generator": generator, "reference": reference}
