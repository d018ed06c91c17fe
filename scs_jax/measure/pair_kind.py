"""In what measuring stereo pairs is not like measuring photographs: arguments, words, records."""

from collections.abc import Callable, Mapping, Sequence

from scs_jax.data import scan
from scs_jax.errors import UserError
from scs_jax.measure import pairs, panels, predictors, remarks, settings
from scs_jax.measure.pair_set import PairSet
from scs_jax.measure.pairs import Pairs
from scs_jax.measure.photos import MORE_MODES
from scs_jax.measure.predictors import Network, Predictor
from scs_jax.measure.rows import Failures
from scs_jax.measure.settings import Setting
from scs_jax.metrics.correlation import correlations
from scs_jax.metrics.estimates import Scores
from scs_jax.report import compare_tables
from scs_jax.report.compare_tables import Measured
from scs_jax.report.pairs_layout import PAIRS
from scs_jax.report.tables import Table
from scs_jax.training.models import Model


class PairKind:
  """Says how stereo pairs are measured and what reports say of them.

  Attributes and methods: as of photo_kind.PhotoKind.
  """

  name, what, layout = "pairs", "pairs", PAIRS
  gray = "colour views are", "figures of PSNR CbCr"
  expected = "a folder of stereo pairs, MONO_DIR,COLOR_DIR, a list file, or bundled"
  default = "cycle_cnn/paper"
  modes, other_modes = pairs.MODES, MORE_MODES
  parts: Sequence[str] = ("pairs",)
  plotted = (("first", "pairs", "first-time"), ("second", "pairs", "second-time"))
  notes: Sequence[str] = (
    "Methods for photographs colour the monochrome view at its size, by the colour view where "
    "they take a reference; the lightness is what they answer: see the figures with true Y.",
  )

  def __init__(self, setting: Setting, more: Mapping[str, Callable]):
    self.setting, self.track = setting, Pairs(more)

  def open(self, name: str, spec: str | None, config) -> PairSet:
    return PairSet(name, spec, self.setting, config)

  def baselines(self) -> list[Predictor]:
    return predictors.pair_baselines()

  def panels(
    self, found: Sequence[Predictor], scores: Scores, data: PairSet, choose, alone: bool
  ) -> dict:
    """Shows the first mode that has figures; a row `alone` with the maps that its method gives."""
    mode = next(iter(scores.of))
    groups = choose(mode)
    there = [row for row in found if row.name in scores.of[mode]][: 1 if alone else None]
    kept = panels.keep(there, self.track, data, mode, groups, extras=alone)
    if alone:
      return {mode: panels.pair_maps(scores, groups, kept, there[0].name, data)}
    return {mode: panels.pair_strips(scores, mode, groups, kept, data)}

  # -- of an evaluation ----------------------------------------------------------------------------

  @staticmethod
  def read(found: Model, given: Mapping, notes: list[str]) -> Setting:
    del notes
    config, size, batch_size = found.config, given["size"], given["batch_size"]
    what = f"{config.method.name} colours pairs"
    settings.require_absent(
      f"is for methods that colour single pictures; {what}",
      scale=given["scale"], reference_data=given["reference_data"], enlarge=given["enlarge"],
    )  # fmt: skip
    warped = settings.read_truth(given["truth"] or "own")
    modes = settings.read_modes(given["modes"], pairs.MODES, MORE_MODES, what)
    if size is None and (batch_size or 1) > 1:
      raise UserError(
        f"--batch-size {batch_size}: whole pairs have sizes of their own and go one by one; give "
        "--size as well, or drop it"
      )
    return Setting(
      modes=modes or pairs.MODES,
      size=size,
      batch_size=1 if size is None else batch_size or config.evaluate.batch_size,
      limit=given["limit"],
      seed=given["seed"],
      quiet=given["quiet"],
      warped=warped,
    )

  @property
  def called(self) -> str:
    size = self.setting.size
    part = "" if size is None else f"-{settings.short(size)}px"
    return f"pairs{'-warped' if self.setting.warped else ''}{part}"

  def identity(self, data: PairSet, config) -> dict:
    camera = {**config.data.camera.to_dict(), "seed": config.seed}
    return {
      "pairs": data.fingerprint,
      "count": data.count,
      "size": settings.written(self.setting.size),
      "mono_view": config.data.mono_view,
      "reduce": config.data.reduce,
      "variant": config.data.variant,
      **({"truth": "warped"} if self.setting.warped else {}),
      "cameras": camera if data.camera else None,
    }

  def notes_on(self, data: PairSet, scores: Scores, network: Network, baselines: bool) -> list[str]:
    notes = [data.about_truth(), *data.notes_on(scores), data.about_luma()]
    if baselines:
      notes += pairs.notes_on_baselines(scores)
    notes += remarks.gray_note(scores, *self.gray)
    for (height, width), rows in sorted(network.strips.items()):
      notes.append(
        f"pairs of {width}x{height} pixels went through in strips of {rows} rows, as the memory "
        "does not hold them whole; their curve and confidence are not shown"
      )
    return notes

  def record(self, data: PairSet, scores: Scores, config, weights: Mapping) -> dict:
    of, used = self.setting, remarks.measured(scores)
    return {
      "samples": {
        "data": data.spec,
        "measured": len(used),
        "truth": len(data.known),
        "gray": remarks.count_gray(scores),
        "gray_chroma": scan.GRAY_CHROMA,
        "broken": remarks.broken_lines(data),
        "fingerprint": data.fingerprint,
        "sha256": data.list_hash(used),
      },
      "seeds": {"cameras": config.seed, "bootstrap": of.seed},
      "settings": {
        "modes": list(of.modes),
        "size": remarks.size_record(of.size),
        "truth": {
          "kind": "warped" if of.warped else "own", "shares": list(data.known.values())
        },
        "batch_size": of.batch_size,
        "weights": weights,
        "bootstrap": remarks.BOOTSTRAP,
      },
    }  # fmt: skip

  def correlation(self, scores: Scores) -> dict | None:
    return correlations(scores) if set(self.setting.modes) == set(pairs.MODES) else {}

  def title(self, model: str, data: PairSet) -> str:
    return f"{model} on pairs of {data.name}"

  def about_size(self) -> str:
    size = self.setting.size
    return "whole." if size is None else f"the middle {settings.written(size)} pixels of each."

  def heading(self, mode: str, n: int, data: PairSet) -> str:
    return f"{mode}-time: {n} pair{'' if n == 1 else 's'} of {data.spec}"

  # -- of a comparison -----------------------------------------------------------------------------

  def fitting(self, found: Sequence[Predictor], failed: Failures) -> list[Predictor]:
    del failed
    return list(found)

  def tables(self, sets: Sequence[Measured], facts, failed, why) -> list[Table]:
    return [compare_tables.table_pairs(sets, facts, failed)]

  def about(self, data: PairSet, counts: Mapping[str, int]) -> str:
    del counts
    return f"{data.records} pairs of {data.spec}, {self.about_size()}"
