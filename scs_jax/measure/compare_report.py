"""What the report of a comparison says."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scs_jax.data import scan
from scs_jax.measure import fid, remarks
from scs_jax.measure.pairs import TRIVIAL
from scs_jax.measure.predictors import Predictor
from scs_jax.metrics.estimates import Scores, Summary
from scs_jax.report import results
from scs_jax.report.compare_tables import Facts, Measured, Speed
from scs_jax.report.layout import with_lpips
from scs_jax.report.plots import Dot
from scs_jax.report.report import Report, Section
from scs_jax.report.results import shown_name

_CAUTION = (
  "Small numbers of pictures and short trainings rank nothing: look at the intervals, and at the "
  "differences picture by picture to the first row."
)
_NO_LPIPS = "left out, as no weights are given (--lpips-weights): there is no stand-in"
_WORDS = {
  "pictures a second": "One over the median time of a picture, batch 1, warm, on the device that "
  "is named below; of a cascade all of its stages together.",
  "parameters": "Numbers of the networks that the colouring reads, in millions, as the paper "
  "counts; discriminators and, without a reference, its encoder take no part.",
  "true L": "Colours of a network that predicts them alone, under the lightness of the true "
  "picture, as the report of the joint network measures; no use of it has that. Such rows are "
  "never marked as the best.",
}


@dataclasses.dataclass
class Found:
  """Holds a data set and its figures.

  Attributes:
    data: a PhotoSet or PairSet.
    scores: by mode; summary, counts: of its modes and of REFERENTIAL.
    panels: pictures.
    distances: {part: {row: FID}}; distance_counts: over how many pictures each.
  """

  data: Any
  scores: Scores
  summary: Summary
  counts: dict[str, int]
  panels: dict
  distances: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
  distance_counts: dict[str, int] = dataclasses.field(default_factory=dict)

  @property
  def measured(self) -> Measured:
    trivial = self.scores.trivial
    return Measured(self.data.name, self.summary, self.counts, self.distances, trivial)


def make(
  kind,
  rows: Sequence[Predictor],
  found: Sequence[Found],
  facts: Sequence[Facts],
  failed: Mapping[str, str],
  weights: Mapping[str, Sequence[Mapping]],
  identity: Mapping,
) -> Report:
  """Makes the report.

  Args:
    kind: photo_kind.PhotoKind or PairKind.
    rows: all that were asked for; facts: of each.
    found: what was measured; failed: {row or data set: why it was not}.
    weights: {"fid", "lpips": files}.
    identity: what decides the figures.
  """
  setting = kind.setting
  notes = _notes(kind, found, failed)
  why = {
    name: reason
    for name, reason in (("fid", fid.LEFT_OUT), ("lpips", _NO_LPIPS))
    if name not in weights
  }
  layout = with_lpips(kind.layout) if "lpips" in weights else kind.layout
  names = ", ".join(name for name, _ in setting.data)
  broken = [error for one in found for error in _broken(one)]
  remarks_ = [f"left out, cannot be read: {error}" for error in broken]
  remarks_ += [note for one in found for note in one.data.missing.notes()]
  remarks_ += [f"failed: {name}: {reason}" for name, reason in failed.items()]
  return Report(
    verb="compare",
    title=f"Comparison on {'pairs of ' if kind.name == 'pairs' else ''}{names}",
    about=[setting.command],
    layout=layout,
    record=_record(kind, rows, found, facts, failed, weights, why, identity, notes),
    notes=notes,
    sections=[_section(kind, one, facts) for one in found],
    tables=kind.tables([one.measured for one in found], facts, failed, why),
    aside=[fact.name for fact in facts if fact.true_light],
    words=_WORDS | ({"FID": fid.DEFINITION} if "fid" in weights else {}),
    remarks=remarks_,
    complete=not (broken or failed or any(one.data.empty for one in found)),
  )


def _broken(one: Found) -> list[str]:
  return list(map(shown_name, remarks.broken_lines(one.data)))


def _section(kind, one: Found, facts: Sequence[Facts]) -> Section:
  return Section(
    name=one.data.name,
    about=[kind.about(one.data, one.counts)],
    scores=one.scores,
    summary=one.summary,
    counts=one.counts,
    panels=one.panels,
    plots=_plots(kind, one, facts),
    picture_name=one.data.picture_name,
    reference_name=one.data.reference_name,
    heading=lambda mode, n: f"{mode}: {n} of {one.data.name}",
  )


def _plots(kind, one: Found, facts: Sequence[Facts]) -> list[tuple[list[Dot], str]]:
  """Draws Figure 2 (right): quality against speed."""
  quality = [
    (
      {row: by["psnr_rgb"].mean for row, by in one.summary.of.get(mode, {}).items()
       if "psnr_rgb" in by},
      part,
      f"PSNR RGB (dB), {words}",
    )
    for mode, part, words in kind.plotted
  ]  # fmt: skip
  quality += [(of_row, part, f"FID, {part}; lower is better") for part, of_row in
              one.distances.items()]  # fmt: skip
  drawn = []
  for of_row, part, label in quality:
    dots = [
      Dot(fact.name, fps, of_row[fact.name], fact.parameters.get(part))
      for fact in facts
      if fact.network and fact.name in of_row and (fps := fact.fps(part))
    ]
    drawn.append((dots, label))
  return drawn


def _notes(kind, found: Sequence[Found], failed: Mapping[str, str]) -> list[str]:
  """Says what a reader of the figures must know."""
  notes = [f"Failed: {name}: {why}" for name, why in failed.items()]
  for one in found:
    tell = lambda note, one=one: f"{one.data.name}: {note}"
    notes += map(tell, remarks.gray_note(one.scores, *kind.gray))
    notes += map(tell, remarks.equal_note(one.summary, "picture", one.scores.trivial))
    notes += [*one.data.notes, *one.data.missing.notes()]
    notes += map(tell, one.data.notes_on(one.scores))
    notes += [
      tell(f"{mode}: {row} is the true picture for most pictures: the means of others do not wait "
           "for it, and it is marked nowhere")
      for mode, row in one.scores.trivial.items()
      if row != TRIVIAL
    ]  # fmt: skip
    short = {m: len(n) for m, n in one.data.dealt.items() if len(n) > one.counts.get(m, 0)}
    notes += [
      tell(f"{mode}: {one.counts.get(mode, 0)} of {n} are measured by all rows, and compared")
      for mode, n in short.items()
    ]
    notes += map(tell, fid.notes(one.distances, one.distance_counts))
    if one.data.empty:
      notes.append(tell(f"{one.data.empty} empty files are left out"))
  return [*notes, *kind.notes, _CAUTION]


def _record(kind, rows, found, facts, failed, weights, why, identity, notes) -> dict:
  """Gathers all that results.json holds besides the figures."""
  setting = kind.setting
  return {
    "identity": identity,
    "date": remarks.now(),
    "command": setting.command,
    "rows": {
      row.name: {"kind": row.kind, **row.record, **_cost(fact)}
      for row, fact in zip(rows, facts, strict=True)
    },
    "failed": dict(failed),
    "samples": {one.data.name: _samples(one) for one in found},
    "fid": {
      one.data.name: {"values": one.distances, "counts": one.distance_counts}
      if one.distances
      else {}
      for one in found
    },
    "left_out": why if kind.name == "photos" else {},
    "seeds": dict.fromkeys(
      ("dealing", "references", "welsh", "bootstrap", "panels"), setting.seed
    ),
    "settings": {
      "track": kind.name,
      "modes": list(setting.modes),
      "shares": None if setting.shares is None else dict(setting.shares),
      "shared": setting.shared,
      "scale": setting.scale,
      "size": remarks.size_record(setting.size),
      "enlarge": setting.enlarge,
      "reference_size": setting.reference_size,
      "reference_data": setting.reference_data,
      "batch_size": setting.batch_size,
      "timing_runs": setting.timing_runs,
      "weights": weights,
      "bootstrap": remarks.BOOTSTRAP,
    },
    **results.environment(),
    "notes": list(notes),
  }


def _samples(one: Found) -> dict:
  return {
    "data": one.data.spec,
    "records": one.data.records,
    "dealt": {mode: len(numbers) for mode, numbers in one.data.dealt.items()},
    "measured": one.counts,
    "gray": {mode: int(gray.sum()) for mode, gray in one.scores.gray.items()},
    "gray_chroma": scan.GRAY_CHROMA,
    "broken": _broken(one),
    "empty_files": one.data.empty,
    "fingerprint": one.data.fingerprint,
    "sha256": {
      mode: one.data.list_hash(numbers) for mode, numbers in one.scores.records.items()
    },
  }


def _cost(fact: Facts) -> dict:
  speed = {}
  for part, found in fact.speed.items():
    speed[part] = (
      {"seconds": found.seconds, "least": found.least, "most": found.most, "runs": found.runs}
      if isinstance(found, Speed)
      else {"told_pictures_a_second": found}
    )
  return {"parameters": dict(fact.parameters), "speed": speed, "true_lightness": fact.true_light}
