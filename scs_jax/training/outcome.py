"""The result of a training, for whoever started it."""

import dataclasses
import functools
import pathlib

import numpy as np
from ml_collections import ConfigDict

from scs_jax.core.contract import Method, TrainState
from scs_jax.training import logbook


@dataclasses.dataclass
class Outcome:
  """Holds how a run ended, and what it wrote down along the way.

  Attributes:
    workdir: the run's folder; as text where it is in a bucket.
    config: what it was trained with: steps derived from epochs, and what a run that went on kept.
    step: the last step done.
    stopped: whether SIGTERM ended it before its last step; the same call goes on.
    method: built from the config.
    state: at that step, on the devices.
  """

  workdir: pathlib.Path | str
  config: ConfigDict
  step: int
  stopped: bool
  method: Method = dataclasses.field(repr=False)
  state: TrainState = dataclasses.field(repr=False)

  @functools.cached_property
  def curves(self) -> dict[str, np.ndarray]:
    """{name: float64 [n, 2], (step, value) in order} of all that metrics.jsonl holds.

    As of logbook.read_curves: losses of training batches ("loss/content"), scores of held-out
    pictures ("automatic/psnr_rgb").
    """
    points = logbook.read_curves(self.workdir)
    return {name: np.array(found, np.float64) for name, found in points.items()}

  @property
  def scores(self) -> dict[str, float]:
    """{mode/metric: mean over the held-out pictures}, as last measured; empty where none was."""
    held_out = lambda name: name.partition("/")[0] in self.config.evaluate.modes
    return {name: float(x[-1, 1]) for name, x in self.curves.items() if held_out(name)}

  def show(self) -> None:
    """Prints how far the run came, and the first and last values of its losses and scores."""
    print(f"{self.workdir}: step {self.step} of {self.config.steps}")
    names = [name for name in self.curves if name.startswith("loss/")] + list(self.scores)
    if not names:
      return
    width = max(map(len, names))
    print(f"{'':<{width}}  {'first':>10}  {'last':>10}  at step")
    for name in names:
      steps, values = self.curves[name].T
      print(f"{name:<{width}}  {values[0]:>10.4g}  {values[-1]:>10.4g}  {steps[-1]:.0f}")
