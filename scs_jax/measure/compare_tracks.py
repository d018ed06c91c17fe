"""In what a comparison of photographs and one of stereo pairs are not alike."""

import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from PIL import Image

from scs_jax.measure import pair_set, pairs, panels, photo_set, predictors, remarks, rows
from scs_jax.measure.pair_set import PairSet
from scs_jax.measure.pairs import Pairs
from scs_jax.measure.photo_set import PhotoSet
from scs_jax.measure.photos import Photos
from scs_jax.measure.predictors import Predictor
from scs_jax.measure.rows import Failures
from scs_jax.metrics.estimates import REFERENTIAL, Scores
from scs_jax.report import compare_tables
from scs_jax.report.compare_tables import Measured
from scs_jax.report.layout import PHOTOS
from scs_jax.report.pairs_layout import PAIRS
from scs_jax.report.tables import Table

SHARES: Mapping[str, int] = {"automatic": 2500, "self": 500, "random": 2000}
"""Of SCSNet's 5,000 pictures, Section 4.2. Image-level figures (Table 1) are of the automatic and
of all referential ones, pixel-level ones (Table 2) of the automatic and the self-referential."""


class PhotoComparison:
  """Says what holds for photographs.

  Attributes:
    setting: compare.Setting; track: see score.Track.
    layout, what, colour: of its report, in words.
    parts: for which a row has a cost.
    plotted: [(mode, part, words)] whose quality is drawn against speed.
  """

  name, layout, what, colour = "photos", PHOTOS, "pictures", "PSNR ab and colourfulness"
  parts = ("automatic", REFERENTIAL)
  plotted = (("automatic", "automatic", "automatic"), ("self", REFERENTIAL, "self-reference"))
  shares: Mapping[str, int] | None = SHARES
  notes: Sequence[str] = ()

  def __init__(self, setting, more):
    self.setting = setting
    self.track = Photos(setting.scale, setting.reference_size, setting.seed, more)

  def fitting(self, found: Sequence[Predictor], failed: Failures) -> list[Predictor]:
    """Keeps the rows that can be measured; some are joined by one with the true L."""
    scale = self.setting.scale
    kept = [row for row in found if failed.catch(row.name, rows.require_photos, row, scale)]
    return [one for row in kept for one in rows.with_true_lightness(row, scale)]

  def baselines(self) -> list[Predictor]:
    return predictors.photo_baselines(self.setting.seed)

  def open(self, name: str, spec: str) -> PhotoSet:
    of = self.setting
    choice = photo_set.Choice(
      of.modes, of.size, of.batch_size, SHARES, of.shared, of.limit, of.seed, of.enlarge,
      of.reference_data or "all",
    )  # fmt: skip
    found = PhotoSet(name, spec, choice, not of.quiet)
    found.notes = [f"{name}: {note}" for note in found.notes]
    return found

  def warnings(self, row: Predictor, data: PhotoSet) -> list[str]:
    """What must be known of a row on a data set."""
    if row.kind != "run" or row.true_light:
      return []
    seen = remarks.trained_on(row.config, data.spec)
    return [f"{data.name}: {row.name}: {note}" for note in seen]

  def notes_on(self, one) -> list[str]:
    """What must be known of a data set's figures (compare_report.Found)."""
    return one.data.notes_on(one.scores)

  def mark_trivial(self, scores: Scores) -> None:
    pass

  def panels(self, found: Sequence[Predictor], scores: Scores, data: PhotoSet) -> dict:
    """Pictures drawn by the seed, and every row's best and worst, all rows side by side."""
    shown = {}
    for mode, by in scores.of.items():
      there = [row for row in found if row.name in by]
      ranked = [row.name for row in there if row.network]
      groups = panels.of_rows(scores, mode, ranked, self.setting.panels, data)
      kept = panels.keep(there, self.track, data, mode, groups)
      shown[mode] = panels.photo_strips(scores, mode, groups, kept, data)
    return shown

  def write_inputs(self, data: PhotoSet, folder: pathlib.Path) -> None:
    """Writes PNG files of what each mode gives and asks: input, reference, truth."""
    for stream in data.streams():
      with stream.open() as batches:
        for batch in batches:
          for mode, asked in self.track.ask(batch, stream.modes).items():
            given = jax.device_get(asked.given) | {"truth": batch["image"]}
            for place in np.flatnonzero(self.track.present(batch, mode)):
              name = data.picture_name(batch["record"][place])
              parts = pathlib.PurePosixPath(name).with_suffix(".png").parts
              for kind, values in given.items():
                inside = [part for part in parts if part not in ("/", "..")]
                path = folder.joinpath(data.name, mode, kind, *inside)
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.asarray(values[place])).save(path)

  def tables(self, sets: Sequence[Measured], facts, failed, why: Mapping[str, str]) -> list[Table]:
    """Makes the papers' tables; why: {metric: why it is left out}."""
    return [
      compare_tables.table_1(sets, facts, why.get("fid", ""), failed),
      compare_tables.table_2(sets, facts, why.get("lpips", ""), failed),
    ]

  def about(self, one) -> str:
    of = self.setting
    height, width = of.size
    counts = ", ".join(f"{n} {mode}" for mode, n in one.counts.items() if mode != REFERENTIAL)
    drawn = "the same for all modes" if of.shared else "each in one mode"
    return (
      f"Of {one.data.records} pictures of {one.data.spec}, by seed {of.seed}, {drawn}: {counts}. "
      f"{width}x{height} pixels, from gray inputs {of.scale:g} times smaller."
    )


class PairComparison:
  """Says the same for stereo pairs; attributes as of PhotoComparison."""

  name, layout, what, colour = "pairs", PAIRS, "colour views", "PSNR CbCr"
  parts = ("pairs",)
  plotted = (("first", "pairs", "first-time"), ("second", "pairs", "second-time"))
  shares = None
  notes = (
    "Methods for photographs colour the monochrome view at its size, by the colour view where "
    "they take a reference; the lightness is what they answer: see the figures with true Y.",
  )

  def __init__(self, setting, more):
    self.setting, self.track = setting, Pairs(more)

  def fitting(self, found: Sequence[Predictor], failed: Failures) -> list[Predictor]:
    del failed
    return list(found)

  def baselines(self) -> list[Predictor]:
    return predictors.pair_baselines()

  def open(self, name: str, spec: str) -> PairSet:
    of = self.setting
    choice = pair_set.Choice(of.modes, of.size, of.batch_size, of.limit, of.seed, of.warped)
    found = PairSet(name, spec, choice, of.config)
    found.notes += [pairs.LEFT_OUT] if of.baselines and pairs.LEFT_OUT else []
    return found

  def warnings(self, row: Predictor, data: PairSet) -> list[str]:
    seen = pair_set.trained_on(row.config, data.source) if row.takes_pairs else []
    return [f"{data.name}: {row.name}: {note}" for note in seen]

  def notes_on(self, one) -> list[str]:
    return one.data.about_seen()

  def mark_trivial(self, scores: Scores) -> None:
    pairs.mark_trivial(scores)

  def panels(self, found: Sequence[Predictor], scores: Scores, data: PairSet) -> dict:
    mode = next(iter(scores.of))
    there = [row for row in found if row.name in scores.of[mode]]
    ranked = [row.name for row in there if row.network]
    groups = panels.of_rows(scores, mode, ranked, self.setting.panels, data)
    kept = panels.keep(there, self.track, data, mode, groups)
    return {mode: panels.pair_strips(scores, mode, groups, kept, data)}

  def tables(self, sets: Sequence[Measured], facts, failed, why) -> list[Table]:
    return [compare_tables.table_pairs(sets, facts, failed)]

  def about(self, one) -> str:
    size = self.setting.size
    size = "whole" if size is None else "the middle {1}x{0} pixels of each".format(*size)
    return f"{one.data.records} pairs of {one.data.spec}, {size}."
