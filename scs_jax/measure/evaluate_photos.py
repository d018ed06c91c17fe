"""An evaluation of photographs: its modes, its data set, what its report says."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from scs_jax.data import scan
from scs_jax.errors import UserError
from scs_jax.measure import pairs, panels, photo_set, predictors, remarks, settings
from scs_jax.measure.photo_set import PhotoSet
from scs_jax.measure.photos import MODES, MORE_MODES, Photos
from scs_jax.measure.predictors import Network
from scs_jax.metrics.estimates import Scores, Summary
from scs_jax.ops import warp
from scs_jax.report.layout import PHOTOS, Layout
from scs_jax.training.models import Model


@dataclasses.dataclass
class PhotoEvaluation:
  """Says in what an evaluation of photographs is not like one of pairs.

  Attributes:
    found: the network; data: the data set; given: the arguments of `evaluate` that the two kinds
      treat in their own ways.
    quiet: no progress bars.
    name, called: of the data set, and what is measured on it, for the name of a folder.
    modes, size: of the results.
    notes: what a reader must know before anything is measured.
  """

  found: Model
  data: str | None
  given: Mapping[str, Any]
  quiet: bool
  layout: Layout = PHOTOS
  notes: list[str] = dataclasses.field(default_factory=list)

  def __post_init__(self):
    given, config, method = self.given, self.found.config, self.found.method
    settings.require_absent("is for methods that colour pairs", truth=given["truth"])
    if self.data is None:
      self.data = config.data.heldout
    if not self.data:
      raise UserError(
        "which pictures? the run has no held-out ones (its config.data.heldout is empty) and "
        "--data is not given; expected a folder of pictures, or bundled:heldout"
      )
    self.name = settings.name_of(self.data)
    self.scale = settings.read_scale(given["scale"], config, method)
    self.size = given["size"] or (config.data.crop, config.data.crop)
    self.called = f"{self.scale:g}x-{settings.short(self.size)}px"
    self._choose_modes()
    self.notes += remarks.trained_on(config, self.data)

  def _choose_modes(self) -> None:
    model, method = self.found.name, self.found.method
    why = f"{model} colours single pictures"
    asked = settings.read_modes(self.given["modes"], MORE_MODES, pairs.MODES, why)
    self.modes = MODES if asked is None else asked
    if not method.takes_reference:
      if asked not in (None, ("automatic",)):
        raise UserError(
          f"--modes {','.join(asked)}: {model} takes no reference; use --modes automatic"
        )
      for mode in self.modes[1:]:
        self.notes.append(f"mode {mode} is left out: {model} takes no reference")
      self.modes = ("automatic",)
    if self.given["reference_data"] and "random" not in self.modes:
      raise UserError("--reference-data is for mode random, which is not among the modes; drop one")

  def open(self) -> PhotoSet:
    given = self.given
    choice = photo_set.Choice(
      self.modes,
      self.size,
      given["batch_size"] or self.found.config.evaluate.batch_size,
      limit=given["limit"],
      seed=given["seed"],
      enlarge=given["enlarge"],
      lend=given["reference_data"] or "same",
      all_modes=given["modes"] is not None,
    )
    self.data_set = PhotoSet(self.name, self.data, choice, not self.quiet)
    self.modes = tuple(self.data_set.dealt)
    self.notes += self.data_set.notes
    return self.data_set

  def decides(self) -> dict:
    return {
      "pictures": self.data_set.fingerprint,
      "count": self.data_set.count,
      "references": self.given["reference_data"] and self.data_set.references.fingerprint,
      "scale": self.scale,
      "size": "{1}x{0}".format(*self.size),
    }

  def network(self) -> Network:
    return Network(self.found.name, self.found.method, jax.device_put(self.found.restore()))

  def baselines(self) -> list:
    return predictors.photo_baselines(self.given["seed"])

  def track(self, more) -> Photos:
    side = self.found.config.evaluate.reference_size
    return Photos(self.scale, side, self.given["seed"], more)

  def mark_trivial(self, scores: Scores) -> None:
    pass

  def notes_on(self, scores: Scores, summary: Summary, baselines: bool) -> list[str]:
    return [
      *remarks.gray_note(scores, "pictures are", "PSNR ab and colourfulness"),
      *self.data_set.notes_on(scores),
      *remarks.equal_note(summary, "picture"),
    ]

  def record(self, scores: Scores, lpips) -> dict:
    config, data_set, seed = self.found.config, self.data_set, self.given["seed"]
    used, side = remarks.measured(scores), config.evaluate.reference_size
    references = None
    if data_set.references is not None and "random" in scores.records:
      references = {
        "data": self.given["reference_data"] or self.data,
        "fingerprint": data_set.references.fingerprint,
        "sha256": data_set.reference_hash(scores.records["random"].tolist()),
      }
    alpha, sigma = warp.default_elastic(side)
    height, width = self.size
    return {
      "samples": {
        "data": self.data,
        "measured": len(used),
        "gray": remarks.count_gray(scores),
        "gray_chroma": scan.GRAY_CHROMA,
        "broken": [data_set.broken[i] for i in sorted(data_set.broken)],
        "empty_files": data_set.empty,
        "fingerprint": data_set.fingerprint,
        "sha256": data_set.list_hash("", used),
      },
      "references": references,
      "seeds": dict.fromkeys(("draw", "references", "welsh", "bootstrap"), seed),
      "settings": {
        "modes": list(self.modes),
        "scale": self.scale,
        "size": remarks.size_record(self.size),
        "enlarge": self.given["enlarge"],
        "limit": self.given["limit"],
        "input": {
          "height": max(1, round(height / self.scale)),
          "width": max(1, round(width / self.scale)),
          "reduction": "bicubic with antialiasing, as MATLAB's imresize of doubles, "
          "on 256 levels; then CIE L",
        },
        "reference": {"side": side, "elastic_alpha": alpha, "elastic_sigma": sigma},
        "batch_size": data_set.choice.batch_size,
        "weights": {name: metric.weights for name, metric in lpips.items()},
        "bootstrap": remarks.BOOTSTRAP,
      },
    }

  def more_record(self, scores: Scores) -> dict:
    return {}

  def more(self, scores: Scores) -> dict:
    return {}

  def panels(self, each: int, scores: Scores, rows, track) -> dict:
    shown = {}
    for mode in scores.of:
      groups = panels.of_a_model(scores, mode, self.found.name, each, self.data_set)
      kept = panels.keep(rows, track, self.data_set, mode, groups)
      shown[mode] = panels.photo_strips(scores, mode, groups, kept, self.data_set)
    return shown

  def title(self) -> str:
    return f"{self.found.name} on {self.name} at {self.scale:g}x"

  def about(self, measured: int) -> str:
    height, width = self.size
    return (
      f"{self.found.name}, step {self.found.step} of {self.found.given}: {measured} pictures of "
      f"{self.data}, {width}x{height} pixels, from gray inputs {self.scale:g} times smaller."
    )

  def heading(self, mode: str, n: int) -> str:
    height, width = self.size
    count = f"{n} picture{'' if n == 1 else 's'}"
    return f"{mode}: {count} of {self.data} at {self.scale:g}x to {width}x{height}"
