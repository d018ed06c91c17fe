"""Cycle CNN as a method: its training steps (Sections III-G, III-H, IV-B) and how it colors.

Training goes through phases, each a program of its own:

  structure    only where a learned structure loss is asked for: its network, from warped patches;
  cycle        WAC and GCA together, Eq. 12;
  refinement   the refinement network, on WAC's second-time colorizations.

Every phase reads "mono", "color" and "index" of a batch, and nothing else.
"""

import functools

import jax
import jax.numpy as jnp

from scs_jax.core import contract
from scs_jax.core.contract import Collective, Logs, Method, Prediction, Query, TrainState
from scs_jax.core.optim import make_optimizer, optimizer_rules
from scs_jax.core.rules import AtLeast, Between, Each, MultipleOf, OneOf
from scs_jax.core.step import apply_gradients, gradients
from scs_jax.errors import UserError
from scs_jax.methods.cycle_cnn import cycle, learned_structure, networks, objective
from scs_jax.methods.cycle_cnn.networks import GCA_NAME, REFINEMENT, SIMILARITY, WAC_NAME
from scs_jax.ops import color

Array = jax.Array

_INIT = 16  # pixels a side; parameters do not depend on it
# Which phase trains a network.
_TRAINS = {"structure": (SIMILARITY,), "cycle": (WAC_NAME, GCA_NAME), "refinement": (REFINEMENT,)}


class CycleCNN(Method):
  """Colours a monochrome view from the colour view beside it, trained on such pairs alone.

  Networks by name: "wac"; "gca" where a confidence map is learned; "refinement" where colours are
  refined; "similarity" where the structure loss is a learned one. All carry BatchNorm averages.
  """

  RULES = {
    "data.kind": OneOf("pairs"),
    "data.crop": Each(AtLeast(objective.LEAST_SIDE), 2),  # SSIM's window
    "refine_share": Between(0.0, 1.0, open_high=True),
    "structure_share": Between(0.0, 1.0, open_high=True),
    "network.features": AtLeast(1),
    "network.pairs": AtLeast(0),
    "network.search_range": MultipleOf(16),
    "network.luma": OneOf(True, False),
    "network.adjust": OneOf(*networks.ADJUST),
    "network.confidence": OneOf(True, False),
    "network.position": OneOf(True, False),
    "network.refinement": OneOf(True, False),
    "network.refine_together": OneOf(True, False),
    "network.residue_norm": OneOf(True, False),
    "network.smooth": AtLeast(0.0),
    "network.match_tolerance": AtLeast(0.0),
    "loss.structure": AtLeast(0.0),
    "loss.structure_kind": OneOf(*networks.KINDS),
    "loss.cycle": AtLeast(0.0),
    "loss.smooth": AtLeast(0.0),
    **optimizer_rules(names=("rmsprop", "adam")),
  }
  EARLIER = {
    "optimizer.rmsprop": "keras3",
    "network.smooth": 0.0,
    "network.match_tolerance": 0.0,
  }

  ablations = "scs_jax.configs.cycle_cnn.ablations"
  takes_pairs = True
  scales = (1.0, 1.0)
  # It does not keep luminance: the result's Y is the input's, not its CIE L, as a saturated colour
  # has another L at the same Y.
  multiple = 16

  def __init__(self, config):
    self.config, self.search_range = config, config.network.search_range
    self.nets = networks.Networks(config)
    self.networks = self.nets.modules
    self.row_overlap = self.nets.row_overlap()
    self.remarks = (learned_structure.REMARK,) if self.nets.learned else ()
    self.phases = self._phases()

  @functools.cached_property
  def transforms(self) -> dict:
    """The optimizers by network, which only training needs."""
    return {
      name: make_optimizer(self.config.optimizer, self.phases[phase])
      for phase, names in _TRAINS.items()
      for name in names
      if name in self.networks
    }

  def _phases(self) -> dict[str, int]:
    """Steps of each phase, in order."""
    config, steps = self.config, int(self.config.steps)
    structure = round(config.structure_share * steps) if self.nets.learned else 0
    refinement = round(config.refine_share * steps) if config.network.refinement else 0
    cycle_steps = steps - structure - refinement
    if steps > 0 and cycle_steps < 1:
      raise UserError(
        f"of config.steps {steps}, {structure} are for the learned structure loss and {refinement} "
        "for the refinement: none is left for the cycle; set --config.refine_share lower or "
        "--config.steps higher"
      )
    if self.nets.learned and steps > 0 and not structure:
      raise UserError(
        f"loss.structure_kind is 'learned', but structure_share {config.structure_share} of "
        f"{steps} steps is none: its network would stay untrained; set --config.structure_share "
        "higher"
      )
    return {"structure": structure, "cycle": cycle_steps, "refinement": refinement}

  # -- state ---------------------------------------------------------------------------------------

  def init(self, key: Array, batch: contract.Batch) -> TrainState:
    """Makes a fresh state; the batch is not looked at."""
    del batch
    view = lambda channels: jnp.zeros((1, _INIT, _INIT, channels))
    variables = {
      name: network.init(contract.stream(key, name), *map(view, networks.INPUTS[name]))
      for name, network in self.networks.items()
    }
    params = {name: tree["params"] for name, tree in variables.items()}
    return TrainState(
      step=jnp.zeros((), jnp.int32),
      params=params,
      opt_state={name: self.transforms[name].init(tree) for name, tree in params.items()},
      model_state={name: tree["batch_stats"] for name, tree in variables.items()},
    )

  # -- training ------------------------------------------------------------------------------------

  def phase(self, step: int) -> str:
    """Lists what this step trains; the refinement network comes last."""
    if step < self.phases["structure"]:
      return "structure"
    return "cycle" if step < self.phases["structure"] + self.phases["cycle"] else "refinement"

  def train_step(
    self,
    state: TrainState,
    batch: contract.Batch,
    key: Array,
    collective: Collective,
    phase: str,
  ) -> tuple[TrainState, Logs]:
    """One update; batch: "mono" uint8 [N, H, W, 1], "color" uint8 [N, H, W, 3], "index" [N]."""
    gray = batch["mono"].astype(jnp.float32) / 255.0
    reference = color.rgb_to_ycbcr(batch["color"].astype(jnp.float32) / 255.0)
    if phase == "structure":
      samples = learned_structure.make_samples(
        key, batch["index"], gray, reference[..., :1], self.search_range
      )
      loss = functools.partial(self._structure_loss, state, samples, gray)
    elif phase == "cycle":
      loss = functools.partial(self._cycle_loss, state, gray, reference)
    else:
      # WAC as it is in use, with running averages: what is refined then is what is learned on.
      second = jax.lax.stop_gradient(self.nets.color_twice(state, gray, reference).second)
      loss = functools.partial(self._refinement_loss, state, second, reference)
    trained = [name for name in _TRAINS[phase] if name in self.networks]
    return self._update(state, trained, loss, collective)

  def _update(self, state: TrainState, trained, loss, collective: Collective):
    """Updates the networks named by gradient; loss: (apply, params) -> (scalar, (logs, stats))."""
    loss = functools.partial(loss, self.nets.training(collective.axis_name))
    params = {name: state.params[name] for name in trained}
    (value, (logs, stats)), grads = gradients(loss, params, collective)
    new_params, new_opt = dict(state.params), dict(state.opt_state)
    for name in trained:
      new_params[name], new_opt[name] = apply_gradients(
        self.transforms[name], grads[name], state.opt_state[name], params[name], value
      )
    state = state.replace(
      step=state.step + 1,
      params=new_params,
      opt_state=new_opt,
      model_state={**state.model_state, **stats},
    )
    return state, logs

  def _structure_loss(self, state, samples, gray, apply, params):
    """Computes [4]'s loss, reconstructed: see learned_structure.py."""
    stats = state.model_state[SIMILARITY]
    logits, stats = apply(SIMILARITY, params[SIMILARITY], stats, samples.candidate, gray)
    value = learned_structure.similarity_loss(logits, samples).mean()
    logs = {"loss/similarity": value, "registered": samples.mask.mean()}
    return value, (logs, {SIMILARITY: stats})

  def _cycle_loss(self, state, gray, reference, apply, params):
    """Computes Eq. 12. BatchNorm has the statistics of each pass; its averages move with both."""
    weights = self.config.loss
    colorize = functools.partial(apply, WAC_NAME, params[WAC_NAME])
    averages = state.model_state[WAC_NAME]
    found = cycle.twice(colorize, averages, gray, reference, self.nets.luma)
    terms, stats = {}, {WAC_NAME: found.stats}
    luma = found.first[..., :1]
    if self.nets.learned:
      logits = self.nets.use(state, SIMILARITY, luma, gray)
      terms["structure"] = learned_structure.structure(logits)
    elif weights.structure > 0:
      adjusted, changed = self.nets.adjust(state, params, luma, gray, apply)
      terms["structure"], stats = objective.structure(adjusted, gray), {**stats, **changed}
    if weights.cycle > 0:
      terms["cycle"] = objective.chroma(found.second[..., 1:], reference[..., 1:])
    if weights.smooth > 0:
      terms["smooth"] = found.smoothness
    value, logs = objective.total(terms, weights)
    return value, (logs, stats)

  def _refinement_loss(self, state, second, reference, apply, params):
    """Compares the second-time chroma, refined, with the reference's own (Section III-H); SSIM."""
    averages, chroma = state.model_state[REFINEMENT], second[..., 1:]
    refined, stats = apply(REFINEMENT, params[REFINEMENT], averages, reference[..., :1], chroma)
    value = objective.chroma(refined, reference[..., 1:]).mean()
    before = objective.chroma(chroma, reference[..., 1:]).mean()
    logs = {"loss/refined": value, "loss/unrefined": before}
    return value, (logs, {REFINEMENT: stats})

  # -- use -----------------------------------------------------------------------------------------

  def predict(self, state: TrainState, query: Query) -> Prediction:
    """Colors the mono view `query.gray` from the colour view `query.reference`, of one size.

    Y is the mono view's, as it is; Cb and Cr are refined. Clipped to the gamut. Extras, where asked
    for: "disparity" [N, H, W, 1], the expected one in pixels; "unrefined" RGB [N, H, W, 3]; and
    where structure is compared along a curve "curve" and "curve_support" [N, 64], y_m in 0 .. 255
    and the weights' sums, and "confidence" [N, H, W, 1], M.
    """
    gray, reference = _views(query)
    return self._prediction(state, query, *self.nets.color_once(state, gray, reference))

  def colorize_twice(self, state: TrainState, query: Query) -> tuple[Prediction, Prediction]:
    """Returns (what `predict` gives, the second-time colorization of the reference).

    The second pass starts from the unrefined colours, as in training; the result of both is
    refined, and has as Y the picture's own that was coloured. Extras of the second, where asked
    for: "unrefined" RGB, with the Y that WAC found.
    """
    gray, reference = _views(query)
    found = self.nets.color_twice(state, gray, reference)
    first = self._prediction(state, query, found.first, found.disparity)
    second = _display(self.nets.refine(state, reference[..., :1], found.second))
    extras = {"unrefined": _display(found.second)} if query.want_extras else {}
    return first, Prediction(second, extras)

  def _prediction(self, state, query: Query, ycbcr: Array, disparity: Array) -> Prediction:
    gray = query.gray
    rgb = _display(self.nets.refine(state, gray, ycbcr))
    if not query.want_extras:
      return Prediction(rgb)
    extras = {"disparity": disparity, "unrefined": _display(cycle.recolor(gray, ycbcr[..., 1:]))}
    if self.nets.has_curve:
      found = self.nets.curve(state, ycbcr[..., :1], gray)
      extras |= {
        "confidence": found.confidence, "curve": found.curve, "curve_support": found.support
      }  # fmt: skip
    return Prediction(rgb, extras)


def _display(ycbcr: Array) -> Array:
  return color.clip_gamut(color.ycbcr_to_rgb(ycbcr))


def _views(query: Query) -> tuple[Array, Array]:
  """Returns (I_G, R_C as YCbCr) of a query that is a pair.

  Raises:
    UserError: it is none.
  """
  if query.reference is None:
    raise UserError(
      "Cycle CNN colours a monochrome view from a colour view of the same scene; give it both "
      "(a Query with a reference; colorize --mono M --color C)"
    )
  size, other = tuple(query.gray.shape[1:3]), tuple(query.reference.shape[1:3])
  if size != other:
    raise UserError(
      f"the monochrome view has {size[0]} x {size[1]} pixels (height x width), the colour view "
      f"{other[0]} x {other[1]}; a rectified pair has one size: crop or resize one of them"
    )
  if tuple(query.size) != size:
    raise UserError(
      f"asked for {query.size[0]} x {query.size[1]} pixels of views of {size[0]} x {size[1]}; "
      "Cycle CNN colours at the size of its input: ask for that"
    )
  return query.gray, color.rgb_to_ycbcr(query.reference)
