"""The networks that a config asks for, and how each is applied: in training and in use."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from scs_jax.core.contract import TrainState
from scs_jax.errors import UserError
from scs_jax.methods.cycle_cnn import cycle, matches
from scs_jax.methods.cycle_cnn.gca import GCA, Adjusted
from scs_jax.methods.cycle_cnn.learned_structure import Similarity
from scs_jax.methods.cycle_cnn.refinement import Refinement
from scs_jax.methods.cycle_cnn.wac import WAC
from scs_jax.ops import smooth
from scs_jax.ops.transfer import match_moments

Array = jax.Array
Tree = Any

WAC_NAME, GCA_NAME, REFINEMENT, SIMILARITY = "wac", "gca", "refinement", "similarity"
# Network -> channels of its inputs.
INPUTS = {WAC_NAME: (1, 3), GCA_NAME: (1, 1), REFINEMENT: (1, 2), SIMILARITY: (1, 1)}
ADJUST = ("curve", "transfer", "none")
KINDS = ("ssim", "learned")
SPREAD = 0.03
"""Of the smoothing of chroma, in units of Y; as of the baseline of classical stereo."""


class Networks:
  """Linen modules by name, in `modules`; which there are depends on the config.

  Attributes:
    modules: "wac"; "gca" where a confidence map is learned, "refinement" where colours are refined,
      "similarity" where the structure loss is a learned one.
    learned: whether it is.
    has_curve: whether structure is compared along GCA's curve.
  """

  def __init__(self, config):
    net, loss = config.network, config.loss
    self.adjusted_by, self.luma = net.adjust, net.luma
    self.smooth, self.tolerance = float(net.smooth), float(net.match_tolerance)
    if self.tolerance and not self.luma:
      raise UserError(
        "network.match_tolerance compares the Y that WAC finds, and network.luma=false asks for "
        "none; set one of the two to its default"
      )
    self.learned = loss.structure_kind == "learned" and loss.structure > 0
    self.has_curve = net.adjust == "curve" and loss.structure > 0 and not self.learned
    common = {"features": net.features, "dtype": jnp.dtype(config.dtype)}
    self.modules: dict[str, Any] = {}
    if self.learned:
      self.modules[SIMILARITY] = Similarity(**common)
    common |= {"pairs": net.pairs, "remat": config.remat == "blocks"}
    self.modules[WAC_NAME] = WAC(search_range=net.search_range, **common)
    self.gca = GCA(confidence=net.confidence, position=net.position, **common)
    if self.has_curve and net.confidence:
      self.modules[GCA_NAME] = self.gca
    if net.refinement:
      self.modules[REFINEMENT] = Refinement(
        together=net.refine_together, residue_norm=net.residue_norm, **common
      )

  def training(self, axis_name: str | None) -> Callable:
    """Makes (name, params, stats, *inputs) -> (output, new averages), by the batch's statistics.

    They are the whole batch's, however it is spread over devices.
    """

    def apply(name: str, params: Tree, stats: Tree, *inputs):
      network = self.modules[name].clone(axis_name=axis_name)
      variables = {"params": params, "batch_stats": stats}
      out, changed = network.apply(variables, *inputs, train=True, mutable=["batch_stats"])
      return out, changed["batch_stats"]

    return apply

  def use(self, state: TrainState, name: str, *inputs):
    """Runs a network with its running averages: of an example, whatever is beside it."""
    variables = {"params": state.params[name], "batch_stats": state.model_state[name]}
    return self.modules[name].apply(variables, *inputs)

  def color(self, state: TrainState, stats: Tree, *inputs):
    """Returns (WAC's answer in use, stats), as cycle.twice takes it."""
    return self.use(state, WAC_NAME, *inputs), stats

  def color_twice(self, state: TrainState, gray: Array, reference: Array) -> cycle.Twice:
    """Runs both passes of WAC in use; gray [N, H, W, 1], the reference's YCbCr [N, H, W, 3]."""
    return cycle.twice(functools.partial(self.color, state), None, gray, reference, self.luma)

  def color_once(self, state: TrainState, gray: Array, reference: Array) -> tuple[Array, Array]:
    """Runs the first pass alone: (I_C as YCbCr [N, H, W, 3], expected disparity [N, H, W, 1])."""
    color = functools.partial(self.color, state)
    ycbcr, whole, _ = cycle.first_pass(color, None, gray, reference, self.luma)
    return ycbcr, whole.disparity

  def adjust(
    self, state: TrainState, params: Tree, luma: Array, gray: Array, apply: Callable
  ) -> tuple[Array, dict[str, Tree]]:
    """Returns (I_C^Y brought to the levels of I_G, the averages that changed), in training.

    Args:
      params: of the networks that are trained, by name.
      luma, gray: [N, H, W, 1] in [0, 1].
      apply: what `training` gives.
    """
    if self.adjusted_by == "none":
      return luma, {}
    if self.adjusted_by == "transfer":
      return match_moments(luma, gray), {}
    if GCA_NAME not in self.modules:
      return self.gca.apply({}, luma, gray).luma, {}
    stats = state.model_state[GCA_NAME]
    adjusted, stats = apply(GCA_NAME, params[GCA_NAME], stats, luma, gray)
    return adjusted.luma, {GCA_NAME: stats}

  def curve(self, state: TrainState, luma: Array, gray: Array) -> Adjusted:
    """Gives what GCA says of a pair, in use."""
    if GCA_NAME in self.modules:
      return self.use(state, GCA_NAME, luma, gray)
    return self.gca.apply({}, luma, gray)

  def refine(self, state: TrainState, gray: Array, ycbcr: Array) -> Array:
    """Joins a view's own Y and the refined Cb and Cr; unrefined where there is no network.

    Where the config asks for it, colours of wrong matches are replaced before, and all are smoothed
    along the edges of Y after: the reference's noise is in the colours that are averaged, and mono
    cameras have less of it.
    """
    chroma = ycbcr[..., 1:]
    if self.tolerance:
      chroma = matches.without_mismatches(ycbcr, gray, self.tolerance)
    if REFINEMENT in self.modules:
      chroma = self.use(state, REFINEMENT, gray, chroma)
    if self.smooth:
      chroma = smooth.smooth_along(chroma, gray, self.smooth, SPREAD)
    return cycle.recolor(gray, chroma)

  def row_overlap(self) -> int:
    """Rows above and below that a refined colour depends on, in use."""
    refinement = self.modules.get(REFINEMENT)
    refined = refinement.reach() if refinement else 0
    matched = matches.reach() if self.tolerance else 0
    return self.modules[WAC_NAME].row_radius() + matched + refined + smooth.reach(self.smooth)
