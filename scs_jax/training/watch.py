"""Scores and panels of held-out pictures along the way."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from scs_jax.core import files
from scs_jax.core.contract import Method
from scs_jax.errors import UserError
from scs_jax.measure.evaluate import METRICS, MORE_MODES, Evaluator, Protocol, Result, pair_next
from scs_jax.measure.learned import perceptual_of
from scs_jax.report import panels
from scs_jax.training import distributed
from scs_jax.training.pairs_watch import Pairs
from scs_jax.training.parallel import Parallel
from scs_jax.training.watch_checks import require_best, require_modes, require_readable

_PICTURES = 4


class Watch:
  """Evaluates and draws where the config says so.

  Args:
    config: resolved and validated.
    method: colors.
    heldout: padded batches of held-out pictures or pairs, or none: then nothing is scored or drawn.
    workdir: the run's folder; panels go to panels/step_*.png in it.

  Raises:
    UserError: before anything is compiled: held-out pictures that cannot be read or are too few,
      modes of another kind of method, a best_metric that will not be there.
  """

  def __init__(self, config, method: Method, heldout: Sequence[Mapping], workdir: pathlib.Path):
    self.log, self.folder, self._look = config.log, workdir / "panels", None
    kind = Pairs if method.takes_pairs else _Photos
    if heldout:
      self._look = kind(config, method, heldout)

  def due(self, step: int, last: bool) -> bool:
    """Tells whether the state after this step will be looked at."""
    return self._look is not None and any(self._due(step, last))

  def _due(self, step: int, last: bool) -> tuple[bool, bool]:
    """Tells whether scores, and a panel, are due."""
    due = lambda every: bool(every) and (step % every == 0 or last)
    return due(self.log.evaluate_every), due(self.log.panels_every)

  def __call__(self, parallel: Parallel, state, step: int, last: bool) -> dict[str, float]:
    """{mode/metric: mean} where an evaluation is due, else {}; writes a panel where one is due."""
    scoring, drawing = self._due(step, last)
    if not self.due(step, last):
      return {}
    state = parallel.whole(state)

    def look() -> dict[str, float]:
      means, image = self._look(state, drawing, _PICTURES)
      if drawing and image is not None:
        files.write_aside(self.folder / f"step_{step:08d}.png", panels.png(image))
      return means if scoring else {}

    return distributed.from_first(look)


class _Photos:
  """Held-out photographs in the config's modes.

  Raises:
    UserError: see Watch.
  """

  def __init__(self, config, method: Method, heldout: Sequence[Mapping]):
    self._heldout = heldout
    _check(config, heldout)
    setting = config.evaluate
    if "random" in setting.modes:
      self._heldout = pair_next(heldout)
    self._more = perceptual_of(config)
    self._evaluators = {
      mode: Evaluator(method.predict, Protocol(mode, setting.scale, setting.reference_size))
      for mode in setting.modes
    }

  def __call__(
    self, state, drawing: bool, limit: int
  ) -> tuple[dict[str, float], np.ndarray | None]:
    """({mode/metric: mean}, a panel of the first `limit` pictures where one is asked for)."""
    results = {
      mode: evaluator(state, self._heldout, keep=drawing or bool(self._more))
      for mode, evaluator in self._evaluators.items()
    }
    means = {
      f"{mode}/{name}": mean for mode, r in results.items() for name, mean in r.mean().items()
    }
    truth = np.concatenate([batch["image"][batch["mask"]] for batch in self._heldout])
    unit = lambda picture: picture[None] / np.float32(255)
    for name, metric in self._more.items():
      for mode, result in results.items():
        # One by one: a training's memory is full as it is.
        pictures = zip(result.rgb, truth, strict=True)
        found = [metric(unit(a), unit(b)) for a, b in pictures]
        means[f"{mode}/{name}"] = float(np.mean(found))
    return means, draw(results, self._heldout, limit) if results and drawing else None


def draw(results: Mapping[str, Result], heldout: Sequence[Mapping], limit: int) -> np.ndarray:
  """Draws a panel of the first pictures: gray input, reference and result a mode, truth."""
  truth = np.concatenate([batch["image"][batch["mask"]] for batch in heldout])
  rows = []
  for i in range(min(limit, len(truth))):
    row = [("gray input", next(iter(results.values())).gray[i])]
    for mode, result in results.items():
      if result.reference is not None:
        row.append((f"reference ({mode})", result.reference[i]))
      row.append((f"{mode} {result.scores['psnr_ab'][i]:.1f} dB ab", result.rgb[i]))
    rows.append([*row, ("truth", truth[i])])
  return panels.panel(rows)


def _check(config, heldout: Sequence[Mapping]) -> None:
  require_modes(config, MORE_MODES, "single pictures")
  pictures = sum(int(batch["mask"].sum()) for batch in heldout)
  require_readable(pictures, min(min(batch["image"].shape[1:3]) for batch in heldout))
  modes = config.evaluate.modes
  if "random" in modes and pictures < 2:
    raise UserError(
      "evaluate.modes has 'random', which takes another picture as the reference, but there is "
      "one held-out picture; add pictures or leave the mode out"
    )
  require_best(config, [f"{mode}/{metric}" for mode in modes for metric in METRICS])
