"""An evaluation of stereo pairs: its modes, its data set, what its report says."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from scs_jax.data import scan
from scs_jax.errors import UserError
from scs_jax.measure import pair_set, pairs, panels, predictors, remarks, settings
from scs_jax.measure.pair_set import PairSet
from scs_jax.measure.pairs import Pairs
from scs_jax.measure.passes import Passes
from scs_jax.measure.photos import MORE_MODES
from scs_jax.measure.predictors import Network
from scs_jax.metrics import estimates
from scs_jax.metrics.estimates import Scores, Summary
from scs_jax.report import pairs_layout
from scs_jax.report.layout import Layout
from scs_jax.report.pairs_layout import PAIRS
from scs_jax.training.models import Model


@dataclasses.dataclass
class PairEvaluation:
  """Says in what an evaluation of pairs is not like one of photographs.

  Attributes: as of evaluate_photos.PhotoEvaluation.
  """

  found: Model
  data: str | None
  given: Mapping[str, Any]
  quiet: bool
  layout: Layout = PAIRS
  notes: list[str] = dataclasses.field(default_factory=list)

  def __post_init__(self):
    given, config = self.given, self.found.config
    what = f"{config.method.name} colours pairs"
    settings.require_absent(
      f"is for methods that colour single pictures; {what}",
      scale=given["scale"], reference_data=given["reference_data"],
    )  # fmt: skip
    self.called = "pairs-warped" if settings.read_truth(given["truth"] or "own") else "pairs"
    self._spec, self.size = self.data, given["size"]
    if self.data is None:
      self.data = config.data.heldout
    if not self.data:
      raise UserError(
        "which pairs? the run has no held-out ones (its config.data.heldout is empty) and --data "
        "is not given; expected a folder of stereo pairs, MONO_DIR,COLOR_DIR, a list file, or "
        "bundled"
      )
    self.modes = settings.read_modes(given["modes"], pairs.MODES, MORE_MODES, what) or pairs.MODES
    if self.size is None and (given["batch_size"] or 1) > 1:
      raise UserError(
        f"--batch-size {given['batch_size']}: whole pairs have sizes of their own and go one by "
        "one; give --size as well, or drop it"
      )
    self.name = settings.name_of(self.data)
    self.called += "" if self.size is None else f"-{settings.short(self.size)}px"

  def open(self) -> PairSet:
    given, config = self.given, self.found.config
    batch_size = given["batch_size"] or config.evaluate.batch_size
    choice = pair_set.Choice(
      self.modes,
      self.size,
      1 if self.size is None else batch_size,
      given["limit"],
      given["seed"],
      given["truth"] == "warped",
    )
    self.data_set = PairSet(self.name, self._spec, choice, config)
    self.notes += self.found.method.remarks
    self.notes += pair_set.trained_on(config, self.data_set.source)
    self.notes += self.data_set.notes
    return self.data_set

  def decides(self) -> dict:
    config = self.found.config
    return {
      "pairs": self.data_set.fingerprint,
      "count": self.data_set.count,
      "size": "whole" if self.size is None else "{1}x{0}".format(*self.size),
      "mono_view": config.data.mono_view,
      "reduce": config.data.reduce,
      "variant": config.data.variant,
      **({"truth": "warped"} if self.given["truth"] == "warped" else {}),
      "cameras": {**config.data.camera.to_dict(), "seed": config.seed}
      if self.data_set.camera
      else None,
    }

  def network(self) -> Network:
    method, state = self.found.method, jax.device_put(self.found.restore())
    self._passes = Passes(method, state)
    return Network(self.found.name, method, state, passes=self._passes)

  def baselines(self) -> list:
    return predictors.pair_baselines()

  def track(self, more) -> Pairs:
    return Pairs(more)

  def mark_trivial(self, scores: Scores) -> None:
    pairs.mark_trivial(scores)

  def notes_on(self, scores: Scores, summary: Summary, baselines: bool) -> list[str]:
    notes = [*self.data_set.notes_on(scores), self.data_set.about_luma()]
    if baselines:
      notes += pairs.notes_on_baselines(scores)
    notes += remarks.gray_note(scores, "colour views are", "figures of PSNR CbCr")
    notes += remarks.equal_note(summary, "pair", scores.trivial)
    for (height, width), rows in self._passes.strips.items():
      notes.append(
        f"pairs of {width}x{height} pixels went through in strips of {rows} rows, as the memory "
        "does not hold them whole; their curve and confidence are not shown"
      )
    return notes

  def record(self, scores: Scores, lpips) -> dict:
    data_set, used = self.data_set, remarks.measured(scores)
    warped = self.given["truth"] == "warped"
    return {
      "samples": {
        "data": self.data,
        "measured": len(used),
        "truth": len(data_set.known),
        "gray": remarks.count_gray(scores),
        "gray_chroma": scan.GRAY_CHROMA,
        "broken": [data_set.broken[i] for i in sorted(data_set.broken)],
        "fingerprint": data_set.fingerprint,
        "sha256": data_set.list_hash("", used),
      },
      "seeds": {"cameras": self.found.config.seed, "bootstrap": self.given["seed"]},
      "settings": {
        "modes": list(self.modes),
        "size": remarks.size_record(self.size),
        "truth": {"kind": "warped" if warped else "own", "shares": list(data_set.known.values())},
        "batch_size": data_set.choice.batch_size,
        "weights": {name: metric.weights for name, metric in lpips.items()},
        "bootstrap": remarks.BOOTSTRAP,
      },
    }

  def _together(self, scores: Scores) -> dict:
    return estimates.correlations(scores) if set(self.modes) == set(pairs.MODES) else {}

  def more_record(self, scores: Scores) -> dict:
    return {"correlation": pairs_layout.correlation_record(self._together(scores))}

  def more(self, scores: Scores) -> dict:
    together = self._together(scores)
    if not together:
      return {}
    return {
      "more": [pairs_layout.correlation_section(together)],
      "closing": pairs_layout.correlation_lines(together),
    }

  def panels(self, each: int, scores: Scores, rows, track) -> dict:
    mode, model = next(iter(scores.of)), self.found.name
    groups = panels.of_a_model(scores, mode, model, each, self.data_set)
    kept = panels.keep(rows[:1], track, self.data_set, mode, groups, extras=True)
    return {mode: panels.pair_maps(scores, groups, kept, model, self.data_set)}

  def title(self) -> str:
    return f"{self.found.name} on pairs of {self.name}"

  def about(self, measured: int) -> str:
    size = "whole" if self.size is None else "the middle {1}x{0} pixels of each".format(*self.size)
    return (
      f"{self.found.name}, step {self.found.step} of {self.found.given}: {measured} pairs of "
      f"{self.data}, {size}."
    )

  def heading(self, mode: str, n: int) -> str:
    return f"{mode}-time: {n} pair{'' if n == 1 else 's'} of {self.data}"
