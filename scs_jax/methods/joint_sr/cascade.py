"""Section I's pipeline f_r(f_c(x)): colorize, then enlarge, each by a network of its own."""

from scs_jax.core.contract import Prediction, Query, TrainState
from scs_jax.errors import UserError
from scs_jax.methods.joint_sr.method import JointSR


class Cascade:
  """Two trained methods, one after the other, with the `predict` of one.

  Args:
    colorization: a JointSR of task colorization.
    enlarger: one of task super_resolution.
  """

  takes_reference = False

  def __init__(self, colorization: JointSR, enlarger: JointSR):
    for method, task in ((colorization, "colorization"), (enlarger, "super_resolution")):
      if method.task != task:
        raise UserError(f"a cascade needs task {task} here, got {method.task}")
    self.colorization, self.enlarger = colorization, enlarger
    self.scales = enlarger.scales

  @staticmethod
  def join(colorization: TrainState, enlarger: TrainState) -> TrainState:
    """The state of both, for `predict`: params and model_state, whose names differ."""
    return TrainState(
      step=enlarger.step,
      params={**colorization.params, **enlarger.params},
      opt_state={},
      model_state={**colorization.model_state, **enlarger.model_state},
    )

  def predict(self, state: TrainState, query: Query) -> Prediction:
    """Colors at the input's size, then enlarges what came out.

    Extras, where asked for: "colored", RGB [N, H, W, 3], the picture between the two.
    """
    small = Query(query.gray, query.gray.shape[1:3])
    colored = self.colorization.predict(state, small).rgb
    rgb = self.enlarger.predict(state, Query(query.gray, query.size, colored)).rgb
    return Prediction(rgb, {"colored": colored} if query.want_extras else {})
