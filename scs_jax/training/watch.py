"""Scores and panels of held-out pictures along the way."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from scs_jax.core import files
from scs_jax.core.contract import Method
from scs_jax.errors import UserError
from scs_jax.measure import pairs, photos
from scs_jax.measure.learned import perceptual_of
from scs_jax.measure.pairs import Pairs
from scs_jax.measure.photos import Photos
from scs_jax.measure.predictors import Network
from scs_jax.measure.score import Kept, in_memory, score
from scs_jax.metrics.estimates import Scores, is_of_color
from scs_jax.report import panels
from scs_jax.training import distributed
from scs_jax.training.parallel import Parallel

_PICTURES = 4
_RESULT = "result"


class Watch:
  """Scores and draws where the config says so.

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
    self.log, self.folder, self._of = config.log, workdir / "panels", None
    if heldout:
      self._of = (_pairs if method.takes_pairs else _photos)(config, heldout)
      self._network = Network(_RESULT, method)

  def due(self, step: int, last: bool) -> bool:
    """Tells whether the state after this step will be looked at."""
    return self._of is not None and any(self._due(step, last))

  def _due(self, step: int, last: bool) -> tuple[bool, bool]:
    """Tells whether scores, and a panel, are due."""
    due = lambda every: bool(every) and (step % every == 0 or last)
    return due(self.log.evaluate_every), due(self.log.panels_every)

  def __call__(self, parallel: Parallel, state, step: int, last: bool) -> dict[str, float]:
    """Gives {mode/metric: mean} where scores are due, else {}; writes a panel where one is due."""
    scoring, drawing = self._due(step, last)
    if not self.due(step, last):
      return {}
    self._network.state = parallel.whole(state)

    def look() -> dict[str, float]:
      of, kept = self._of, Kept(_PICTURES) if drawing else None
      scores = score([self._network], of.track, [in_memory(of.batches, of.modes)], see=kept)
      if drawing and (rows := of.rows(scores, kept)):
        files.write_aside(self.folder / f"step_{step:08d}.png", panels.png(panels.panel(rows)))
      return means(scores) if scoring else {}

    return distributed.from_first(look)


def means(scores: Scores) -> dict[str, float]:
  """Returns {mode/metric: mean}; of colour over the pictures that have some, if any has."""
  found = {}
  for mode, by in scores.of.items():
    colored = ~scores.gray[mode]
    for metric, values in by[_RESULT].items():
      counts = is_of_color(metric) and colored.any()
      found[f"{mode}/{metric}"] = float(np.mean(values[colored] if counts else values))
  return found


class _Heldout(NamedTuple):
  """Holds what is watched.

  Attributes:
    track: see score.Track.
    modes: that are scored.
    batches: with what the track asks with.
    rows: (scores, pictures) -> the rows of a panel, captioned pictures each.
  """

  track: Photos | Pairs
  modes: tuple[str, ...]
  batches: Sequence[Mapping]
  rows: Callable[[Scores, Kept], list]


def _photos(config, heldout: Sequence[Mapping]) -> _Heldout:
  setting = config.evaluate
  _require_modes(config, photos.MORE_MODES, "single pictures")
  count = sum(int(batch["mask"].sum()) for batch in heldout)
  _require_readable(count, min(min(batch["image"].shape[1:3]) for batch in heldout), "pictures")
  if "random" in setting.modes and count < 2:
    raise UserError(
      "evaluate.modes has 'random', which takes another picture as the reference, but there is "
      "one held-out picture; add pictures or leave the mode out"
    )
  _require_best(config, [f"{mode}/{metric}" for mode in setting.modes for metric in photos.METRICS])
  batches = [{**batch, "gray": photos.gray_of(batch["image"])} for batch in heldout]
  if "random" in setting.modes:
    batches = photos.pair_next(batches)
  track = Photos(setting.scale, setting.reference_size, more=perceptual_of(config))
  return _Heldout(track, tuple(setting.modes), batches, _photo_rows)


def _photo_rows(scores: Scores, kept: Kept) -> list:
  """Makes a row for each of the first pictures: gray input, reference and result a mode, truth."""
  rows = []
  for at, i in enumerate(next(iter(scores.records.values()), np.zeros(0))[:_PICTURES].tolist()):
    places = {mode: kept.places[mode][i] for mode in scores.of}
    first = next(iter(places.values()))
    row = [("gray input", first["gray"])]
    for mode, place in places.items():
      if "reference" in place:
        row.append((f"reference ({mode})", place["reference"]))
      decibels = scores.of[mode][_RESULT]["psnr_ab"][at]
      row.append((f"{mode} {decibels:.1f} dB ab", place[_RESULT]))
    rows.append([*row, ("truth", first["truth"])])
  return rows


def _pairs(config, heldout: Sequence[Mapping]) -> _Heldout:
  _require_modes(config, pairs.MODES, "pairs")
  sides = [side for batch in heldout for side in batch["mono"].shape[1:3]]
  _require_readable(sum(int(batch["mask"].sum()) for batch in heldout), min(sides), "pairs")
  track = Pairs(perceptual_of(config))
  modes = tuple(
    mode
    for mode in config.evaluate.modes
    if any(track.measurable(batch, mode).any() for batch in heldout)
  )
  untold = "; no held-out pair has the truth, so there are no first-time figures"
  known = [f"{mode}/{metric}" for mode in modes for metric in pairs.METRICS]
  _require_best(config, known, "" if "first" in modes else untold)
  batches = [{**batch, "gray": photos.gray_of(batch["color"])} for batch in heldout]
  return _Heldout(track, modes, batches, _pair_rows)


def _pair_rows(scores: Scores, kept: Kept) -> list:
  """Makes a row for each of the first pairs: views, both results, the truth where there is one."""
  rows = []
  for i, first in kept.places["first"].items():
    row = [("monochrome view", first["mono"][..., 0]), ("colour view", first["color"])]
    for mode in pairs.MODES:
      at = np.flatnonzero(scores.records.get(mode, np.zeros(0)) == i)
      words = "".join(f" {scores.of[mode][_RESULT]['psnr_rgb'][k]:.1f} dB" for k in at)
      row.append((f"{mode}-time{words}", kept.places[mode][i][_RESULT]))
    rows.append([*row, ("truth", first["truth"])] if "truth" in first else row)
  return rows


# -- what can be wrong, said before anything is compiled -------------------------------------------


def _require_readable(count: int, side: int, what: str) -> None:
  """Refuses pictures of which none can be read, or that SSIM's window does not fit into."""
  if side < photos.SMALLEST:
    raise UserError(
      f"held-out {what} are {side} pixels high or wide, expected {photos.SMALLEST} or more to "
      "measure SSIM; raise config.data.crop, or set config.data.heldout to ''"
    )
  if not count:
    raise UserError(f"none of the held-out {what} can be read; check config.data.heldout")


def _require_modes(config, known: Sequence[str], what: str) -> None:
  """Refuses modes of another kind of method; `what` this one colours."""
  for mode in config.evaluate.modes:
    if mode not in known:
      raise UserError(
        f"evaluate.modes has {mode!r}, but {config.method.name} colours {what}: its modes are "
        f"{', '.join(known)}"
      )


def _require_best(config, known: Sequence[str], why: str = "") -> None:
  """Refuses a best_metric that is not among those measured; `why` it may not be."""
  best = config.checkpoint.best_metric
  if best and best not in known:
    raise UserError(
      f"checkpoint.best_metric is {best!r}, but what is measured is "
      f"{', '.join(known) or 'nothing'} (evaluate.modes{why}); name one of those, or none ('')"
    )
