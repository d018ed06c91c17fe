"""What results.json says of a comparison: what was measured, with what, and what decides it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from scs_jax.data import opening, scan
from scs_jax.measure import compare
from scs_jax.measure import evaluation_folder as folder
from scs_jax.measure import evaluation_output as output
from scs_jax.measure.compare_rows import Row
from scs_jax.measure.compare_rows import identity as row_identity
from scs_jax.measure.compare_ruler import Ruler
from scs_jax.measure.compare_settings import Plan
from scs_jax.measure.evaluation_panels import shown_name
from scs_jax.metrics import intervals
from scs_jax.metrics.estimates import Scores, Summary
from scs_jax.report import results
from scs_jax.report.compare_tables import Facts, Measured, Speed


@dataclasses.dataclass
class Found:
  """A data set and its figures.

  Attributes:
    data: Photos or PairSet.
    scores: by mode; summary, counts: of its modes and of REFERENTIAL.
    distances: {part: {row: FID}}.
  """

  data: Any
  scores: Scores
  summary: Summary
  counts: dict[str, int]
  panels: dict
  distances: dict[str, dict[str, float]]

  @property
  def measured(self) -> Measured:
    trivial = self.scores.trivial
    return Measured(self.data.name, self.summary, self.counts, self.distances, trivial)


def identity(plan: Plan, rows: Sequence[Row], sets: Sequence[Any], ruler: Ruler) -> dict:
  """What decides the figures; batch size, panels and timing do not."""
  return folder.identify(
    {
      "rows": {row.name: row_identity(row) for row in rows},
      "data": {data.name: data.fingerprint for data in sets},
      "references": plan.reference_data,
      "modes": list(plan.modes),
      "scale": plan.scale,
      "size": "whole" if plan.size is None else "{1}x{0}".format(*plan.size),
      "enlarge": plan.enlarge,
      "reference_size": plan.reference_size,
      "limit": plan.limit,
      "shared": plan.shared,
      **({"truth": "warped"} if plan.warped else {}),
      "seed": plan.seed,
      **{name: [w["sha256"] for w in ruler.weights.get(name, ())] for name in ("fid", "lpips")},
    }
  )


def record_of(
  plan: Plan,
  rows: Sequence[Row],
  found: Sequence[Found],
  facts: Sequence[Facts],
  failed: Mapping[str, str],
  ruler: Ruler,
  mark: Mapping,
  notes: Sequence[str],
) -> dict:
  """All that results.json holds besides the figures."""
  return {
    "identity": mark,
    "date": output.now(),
    "command": plan.command,
    "rows": {
      row.name: {"kind": row.kind, **row.record, **_cost(fact)}
      for row, fact in zip(rows, facts, strict=True)
    },
    "failed": dict(failed),
    "samples": {one.data.name: _samples(one) for one in found},
    "fid": {one.data.name: _distances(one, ruler) for one in found},
    "left_out": {
      name: why
      for name, why in (("fid", ruler.why_no_fid), ("lpips", ruler.why_no_lpips))
      if why and plan.track == "photos"
    },
    "seeds": dict.fromkeys(("dealing", "references", "welsh", "bootstrap", "panels"), plan.seed),
    "settings": {
      "track": plan.track,
      "modes": list(plan.modes),
      "shares": dict(compare.SHARES) if plan.track == "photos" else None,
      "shared": plan.shared,
      "scale": plan.scale,
      "size": None if plan.size is None else {"height": plan.size[0], "width": plan.size[1]},
      "enlarge": plan.enlarge,
      "reference_size": plan.reference_size,
      "reference_data": plan.reference_data,
      "batch_size": plan.batch_size,
      "timing_runs": plan.timing_runs,
      "weights": ruler.weights,
      "bootstrap": {"resamples": intervals.RESAMPLES, "level": intervals.LEVEL},
    },
    **results.environment(),
    "notes": list(notes),
  }


def _samples(one: Found) -> dict:
  name = one.data.picture_name
  broken = [shown_name(one.data.broken[i]) for i in sorted(one.data.broken)]
  return {
    "data": one.data.spec,
    "records": one.data.records,
    "dealt": {mode: len(numbers) for mode, numbers in one.data.dealt.items()},
    "measured": one.counts,
    "gray": {mode: int(gray.sum()) for mode, gray in one.scores.gray.items()},
    "gray_chroma": scan.GRAY_CHROMA,
    "broken": broken,
    "empty_files": one.data.empty,
    "fingerprint": one.data.fingerprint,
    "sha256": {
      mode: opening.list_hash(one.data.fingerprint, [name(int(i)) for i in numbers])
      for mode, numbers in one.scores.records.items()
    },
  }


def _distances(one: Found, ruler: Ruler) -> dict:
  return {"values": one.distances, "counts": ruler.counts(one.data.name)} if one.distances else {}


def _cost(fact: Facts) -> dict:
  speed = {}
  for part, found in fact.speed.items():
    speed[part] = (
      {"seconds": found.seconds, "least": found.least, "most": found.most, "runs": found.runs}
      if isinstance(found, Speed)
      else {"told_pictures_a_second": found}
    )
  return {"parameters": dict(fact.parameters), "speed": speed, "true_lightness": fact.true_light}
