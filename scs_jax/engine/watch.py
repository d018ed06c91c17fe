"""Scores and panels of held-out pictures along the way."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from scs_jax.engine import report
from scs_jax.engine.contract import Method
from scs_jax.engine.evaluate import (
  METRICS,
  SMALLEST,
  Evaluator,
  Protocol,
  Result,
  pair_next,
)
from scs_jax.engine.parallel import Parallel
from scs_jax.errors import UserError

_PICTURES = 4


class Watch:
  """Evaluates and draws where the config says so.

  Args:
    config: resolved and validated.
    method: colors.
    heldout: padded batches of held-out pictures, or none: then nothing is scored or drawn.
    workdir: the run's folder; panels go to panels/step_*.png in it.

  Raises:
    UserError: before anything is compiled: held-out pictures that cannot be read or are too few,
      a best_metric that will not be there.
  """

  def __init__(self, config, method: Method, heldout: Sequence[Mapping], workdir: pathlib.Path):
    self.log, self.heldout, self.folder = config.log, heldout, workdir / "panels"
    self.evaluators = {}
    if not heldout:
      return
    _check(config, heldout)
    setting = config.evaluate
    if "random" in setting.modes:
      self.heldout = pair_next(heldout)
    for mode in setting.modes:
      protocol = Protocol(mode, setting.scale, setting.reference_size)
      self.evaluators[mode] = Evaluator(method.predict, protocol)

  def __call__(self, parallel: Parallel, state, step: int, last: bool) -> dict[str, float]:
    """{mode/metric: mean} where an evaluation is due, else {}; writes a panel where one is due."""
    due = lambda every: bool(every) and (step % every == 0 or last)
    scoring, drawing = due(self.log.evaluate_every), due(self.log.panels_every)
    if not self.evaluators or not (scoring or drawing):
      return {}
    state = parallel.fetch(state)
    results = {
      mode: evaluator(state, self.heldout, keep=drawing)
      for mode, evaluator in self.evaluators.items()
    }
    if drawing:
      image = draw(results, self.heldout, _PICTURES)
      report.write_aside(self.folder / f"step_{step:08d}.png", report.png(image))
    if not scoring:
      return {}
    return {
      f"{mode}/{name}": value for mode, r in results.items() for name, value in r.mean().items()
    }


def draw(results: Mapping[str, Result], heldout: Sequence[Mapping], limit: int) -> np.ndarray:
  """A panel of the first pictures: gray input, reference and result a mode, truth."""
  truth = np.concatenate([batch["image"][batch["mask"]] for batch in heldout])
  rows = []
  for i in range(min(limit, len(truth))):
    row = [("gray input", next(iter(results.values())).gray[i])]
    for mode, result in results.items():
      if result.reference is not None:
        row.append((f"reference ({mode})", result.reference[i]))
      row.append((f"{mode} {result.scores['psnr_ab'][i]:.1f} dB ab", result.rgb[i]))
    rows.append([*row, ("truth", truth[i])])
  return report.panel(rows)


def _check(config, heldout: Sequence[Mapping]) -> None:
  pictures = sum(int(batch["mask"].sum()) for batch in heldout)
  side = min(min(batch["image"].shape[1:3]) for batch in heldout)
  if side < SMALLEST:
    raise UserError(
      f"held-out pictures are {side} pixels high or wide, expected {SMALLEST} or more to measure "
      "SSIM; raise config.data.crop, or set config.data.heldout to ''"
    )
  if not pictures:
    raise UserError("none of the held-out pictures can be read; check config.data.heldout")
  modes = config.evaluate.modes
  if "random" in modes and pictures < 2:
    raise UserError(
      "evaluate.modes has 'random', which takes another picture as the reference, but there is "
      "one held-out picture; add pictures or leave the mode out"
    )
  best = config.checkpoint.best_metric
  known = [f"{mode}/{metric}" for mode in modes for metric in METRICS]
  if best and best not in known:
    raise UserError(
      f"checkpoint.best_metric is {best!r}, but what is measured is "
      f"{', '.join(known) or 'nothing'} (evaluate.modes); name one of those, or none ('')"
    )
