"""In what measuring photographs is not like measuring pairs: arguments, rows, words, records."""

import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np

from scs_jax.data import location, remote, scan
from scs_jax.errors import UserError
from scs_jax.measure import pairs, panels, predictors, remarks, rows, settings
from scs_jax.measure.photo_set import NUMBERED, PhotoSet
from scs_jax.measure.photos import MODES, MORE_MODES, Photos
from scs_jax.measure.predictors import Network, Predictor
from scs_jax.measure.rows import Failures
from scs_jax.measure.settings import Setting
from scs_jax.metrics.estimates import REFERENTIAL, Scores
from scs_jax.ops import warp
from scs_jax.report import compare_tables
from scs_jax.report.compare_tables import Measured
from scs_jax.report.layout import PHOTOS
from scs_jax.report.panels import png
from scs_jax.report.tables import Table
from scs_jax.training.models import Model

SHARES: Mapping[str, int] = {"automatic": 2500, "self": 500, "random": 2000}
"""Of SCSNet's 5,000 pictures, Section 4.2. Image-level figures (Table 1) are of the automatic and
of all referential ones, pixel-level ones (Table 2) of the automatic and the self-referential."""


class PhotoKind:
  """Says how photographs are measured and what reports say of them; PairKind says it of pairs.

  Attributes:
    setting: how they are measured; track: what scores them, see score.Track.
    what: they are, in words. layout: of the reports.
    gray: in words, what is gray, and which figures have no value then.
    expected: what a data set is; default: a config where no network has one.
    parts: for which a row has a cost.
    plotted: [(mode, part, words)] whose quality is drawn against speed.
    notes: what a reader of every comparison must know.
  """

  name, what, layout = "photos", "pictures", PHOTOS
  gray = "pictures are", "PSNR ab and colourfulness"
  expected, default = "a folder of pictures, or bundled:heldout", "scsnet/paper"
  modes, other_modes = MODES, pairs.MODES
  parts: Sequence[str] = ("automatic", REFERENTIAL)
  plotted = (("automatic", "automatic", "automatic"), ("self", REFERENTIAL, "self-reference"))
  notes: Sequence[str] = ()

  def __init__(self, setting: Setting, more: Mapping[str, Callable]):
    self.setting = setting
    self.track = Photos(setting.scale, setting.reference_size, setting.seed, more)

  def open(self, name: str, spec: str | None, config) -> PhotoSet:
    """Opens a data set; None: the held-out pictures of the config."""
    return PhotoSet(name, config.data.heldout if spec is None else spec, self.setting)

  def baselines(self) -> list[Predictor]:
    return predictors.photo_baselines(self.setting.seed)

  def panels(
    self, found: Sequence[Predictor], scores: Scores, data: PhotoSet, choose, alone: bool
  ) -> dict:
    """Has some pictures coloured once more, by all rows that have the mode.

    Args:
      choose: mode -> which pictures (panels.Groups).
      alone: whether the first row is what the report is about.
    """
    del alone
    shown = {}
    for mode, by in scores.of.items():
      groups = choose(mode)
      there = [row for row in found if row.name in by]
      kept = panels.keep(there, self.track, data, mode, groups)
      shown[mode] = panels.photo_strips(scores, mode, groups, kept, data)
    return shown

  # -- of an evaluation ----------------------------------------------------------------------------

  @staticmethod
  def read(found: Model, given: Mapping, notes: list[str]) -> Setting:
    """Reads the arguments of `evaluate` that the kinds treat in their own ways."""
    settings.require_absent("is for methods that colour pairs", truth=given["truth"])
    config, method, model = found.config, found.method, found.name
    why = f"{model} colours single pictures"
    asked = settings.read_modes(given["modes"], MORE_MODES, pairs.MODES, why)
    modes = asked or MODES
    if not method.takes_reference:
      if asked not in (None, ("automatic",)):
        raise UserError(
          f"--modes {','.join(asked)}: {model} takes no reference; use --modes automatic"
        )
      notes += [f"mode {m} is left out: {model} takes no reference" for m in modes[1:]]
      modes = ("automatic",)
    if given["reference_data"] and "random" not in modes:
      raise UserError("--reference-data is for mode random, which is not among the modes; drop one")
    return Setting(
      modes=modes,
      all_modes=asked is not None,
      size=given["size"] or (config.data.crop, config.data.crop),
      batch_size=given["batch_size"] or config.evaluate.batch_size,
      limit=given["limit"],
      seed=given["seed"],
      quiet=given["quiet"],
      scale=settings.read_scale(given["scale"], config, method),
      reference_size=config.evaluate.reference_size,
      reference_data=given["reference_data"] or None,
      enlarge=given["enlarge"],
    )

  @property
  def called(self) -> str:
    """Says what is measured, for the name of a folder."""
    return f"{self.setting.scale:g}x-{settings.short(self.setting.size)}px"

  def identity(self, data: PhotoSet, config) -> dict:
    """Says what decides the figures, besides what does for both kinds."""
    del config
    of = self.setting
    return {
      "pictures": data.fingerprint,
      "count": data.count,
      "references": of.reference_data and data.references.fingerprint,
      "scale": of.scale,
      "size": settings.written(of.size),
      "distortions": NUMBERED,
    }

  def notes_on(
    self, data: PhotoSet, scores: Scores, network: Network, baselines: bool
  ) -> list[str]:
    """Says what a reader of an evaluation's figures must know."""
    del network, baselines
    return [*remarks.gray_note(scores, *self.gray), *data.notes_on(scores)]

  def record(self, data: PhotoSet, scores: Scores, config, weights: Mapping) -> dict:
    """Says what results.json says of the pictures and the settings."""
    del config
    of, used = self.setting, remarks.measured(scores)
    references = None
    if data.references is not None and "random" in scores.records:
      references = {
        "data": of.reference_data or data.spec,
        "fingerprint": data.references.fingerprint,
        "sha256": data.reference_hash(scores.records["random"].tolist()),
      }
    alpha, sigma = warp.default_elastic(of.reference_size)
    height, width = of.size
    return {
      "samples": {
        "data": data.spec,
        "measured": len(used),
        "gray": remarks.count_gray(scores),
        "gray_chroma": scan.GRAY_CHROMA,
        "broken": remarks.broken_lines(data),
        "empty_files": data.empty,
        "fingerprint": data.fingerprint,
        "sha256": data.list_hash(used),
      },
      "references": references,
      "seeds": dict.fromkeys(("draw", "references", "welsh", "bootstrap"), of.seed),
      "settings": {
        "modes": list(data.dealt),
        "scale": of.scale,
        "size": remarks.size_record(of.size),
        "enlarge": of.enlarge,
        "limit": of.limit,
        "input": {
          "height": max(1, round(height / of.scale)),
          "width": max(1, round(width / of.scale)),
          "reduction": "bicubic with antialiasing, as MATLAB's imresize of doubles, "
          "on 256 levels; then CIE L",
        },
        "reference": {"side": of.reference_size, "elastic_alpha": alpha, "elastic_sigma": sigma},
        "batch_size": of.batch_size,
        "weights": weights,
        "bootstrap": remarks.BOOTSTRAP,
      },
    }

  def correlation(self, scores: Scores) -> dict | None:
    """Says how the modes' figures go together; None: that is not asked of photographs."""
    del scores
    return None

  def title(self, model: str, data: PhotoSet) -> str:
    return f"{model} on {data.name} at {self.setting.scale:g}x"

  def about_size(self) -> str:
    height, width = self.setting.size
    return f"{width}x{height} pixels, from gray inputs {self.setting.scale:g} times smaller."

  def heading(self, mode: str, n: int, data: PhotoSet) -> str:
    height, width = self.setting.size
    count = f"{n} picture{'' if n == 1 else 's'}"
    return f"{mode}: {count} of {data.spec} at {self.setting.scale:g}x to {width}x{height}"

  # -- of a comparison -----------------------------------------------------------------------------

  def fitting(self, found: Sequence[Predictor], failed: Failures) -> list[Predictor]:
    """Keeps the rows that can be measured; some are joined by one with the true L."""
    scale = self.setting.scale
    kept = [row for row in found if failed.catch(row.name, rows.require_photos, row, scale)]
    return [one for row in kept for one in rows.with_true_lightness(row, scale)]

  def write_inputs(self, data: PhotoSet, folder: str | os.PathLike) -> None:
    """Writes PNG files of what each mode gives and asks: input, reference, truth."""
    for stream in data.streams():
      with stream.open(None) as batches:
        for batch in batches:
          for mode, asked in self.track.ask(batch, stream.modes).items():
            given = jax.device_get(asked.given) | {"truth": batch["image"]}
            for place in np.flatnonzero(self.track.present(batch, mode)):
              name = data.picture_name(batch["record"][place])
              parts = pathlib.PurePosixPath(name).with_suffix(".png").parts
              for kind, values in given.items():
                inside = [part for part in parts if part not in ("/", "..")]
                path = remote.join(folder, "/".join([data.name, mode, kind, *inside]))
                location.write(path, png(np.asarray(values[place])))

  def tables(self, sets: Sequence[Measured], facts, failed, why: Mapping[str, str]) -> list[Table]:
    """Makes the papers' tables; why: {metric: why it is left out}."""
    return [
      compare_tables.table_1(sets, facts, why.get("fid", ""), failed),
      compare_tables.table_2(sets, facts, why.get("lpips", ""), failed),
    ]

  def about(self, data: PhotoSet, counts: Mapping[str, int]) -> str:
    of = self.setting
    told = ", ".join(f"{n} {mode}" for mode, n in counts.items() if mode != REFERENTIAL)
    drawn = "the same for all modes" if of.shared else "each in one mode"
    return (
      f"Of {data.records} pictures of {data.spec}, by seed {of.seed}, {drawn}: {told}. "
      f"{self.about_size()}"
    )
