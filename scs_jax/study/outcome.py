"""From votes to shares, with intervals over raters and the agreement between them."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from scs_jax.metrics import agreement, intervals
from scs_jax.study.design import LEVELS, Design
from scs_jax.study.votes import Vote

GOOD = 2  # levels that count as well coloured: Perfect and Few Errors, of which the paper speaks


@dataclasses.dataclass(frozen=True)
class Row:
  """Holds a comparison of a pairwise study, or a method of one of levels.

  Attributes:
    part: of the table.
    name: the other method, or the method.
    counts: votes by answer: ours and the other, or by level.
    interval: 95 %, of the share of ours, or of GOOD levels; None: fewer than two raters.
    raters: how many voted.
    alpha: agreement between raters; NaN: nothing to tell it by.
  """

  part: str
  name: str
  counts: tuple[int, ...]
  interval: tuple[float, float] | None
  raters: int
  alpha: float

  @property
  def votes(self) -> int:
    return sum(self.counts)

  def share(self, answers: int) -> float:
    """Computes the share of the first `answers` answers; NaN: nobody voted."""
    return sum(self.counts[:answers]) / self.votes if self.votes else math.nan


@dataclasses.dataclass(frozen=True)
class Outcome:
  """Holds what a study found.

  Attributes:
    rows: in the order of the design.
    alpha: of all questions together.
    outliers: votes that the rule leaves out, both of each pair.
    repeated: pairs of a vote and its repeat.
    first: share of the picture that stood first among a pairwise study's votes; NaN: none.
  """

  rows: tuple[Row, ...]
  alpha: float
  outliers: frozenset[Vote]
  repeated: int
  first: float

  @property
  def broken(self) -> int:
    """Counts the pairs of a vote and its repeat that the rule leaves out."""
    return len(self.outliers) // 2


def judge(design: Design, votes: Sequence[Vote]) -> Outcome:
  """Computes what a study found.

  Cycle CNN, Section IV-D: an annotation whose repeat differs by more than one level is an outlier;
  it is left out, and so is the repeat. Of others the repeat only confirms: it is not counted.
  """
  repeats = {(vote.rater, vote.question.trial): vote for vote in votes if vote.question.again}
  outliers, repeated = set(), 0
  for vote in votes:
    repeat = repeats.get((vote.rater, vote.question.trial))
    if repeat is None or vote is repeat:
      continue
    repeated += 1
    if abs(vote.answer - repeat.answer) > 1:
      outliers |= {vote, repeat}
  kept = [vote for vote in votes if vote not in outliers and not vote.question.again]
  raters = {number: i for i, number in enumerate(sorted({vote.rater for vote in votes}))}
  given = np.full((len(raters), len(design.trials)), -1)
  for vote in kept:
    given[raters[vote.rater], vote.question.trial] = vote.answer
  # [raters, trials, answers]: what was answered.
  chosen = given[..., None] == np.arange(design.answers)
  groups: dict[tuple[str, str], list[int]] = {}
  for number, trial in enumerate(design.trials):
    groups.setdefault((trial.part, trial.methods[-1]), []).append(number)
  order = {part: i for i, part in enumerate(dict.fromkeys(part for part, _ in groups))}
  rows = [
    _row(design, *group, chosen[:, groups[group]])
    for group in sorted(groups, key=lambda g: (order[g[0]], design.methods.index(g[1])))
  ]
  first = [vote.answer == vote.question.flipped for vote in kept]
  return Outcome(
    tuple(rows),
    _alpha(design, chosen),
    frozenset(outliers),
    repeated,
    sum(first) / len(first) if first and design.kind != LEVELS else math.nan,
  )


def _alpha(design: Design, chosen: np.ndarray) -> float:
  return agreement.krippendorff_alpha(chosen.sum(0), ordinal=design.kind == LEVELS)


def _row(design: Design, part: str, name: str, chosen: np.ndarray) -> Row:
  by_rater = chosen.sum(1)
  by_rater = by_rater[by_rater.sum(1) > 0]
  wanted = by_rater[:, : GOOD if design.kind == LEVELS else 1].sum(1)
  interval = None
  if len(by_rater) > 1:
    # Whole raters are drawn: the votes of one have much in common.
    values = np.stack([wanted, by_rater.sum(1)], axis=1)
    means = intervals.resampled_means(values, design.seed)
    interval = tuple(map(float, intervals.percentile_interval(means[:, 0] / means[:, 1])))
  counts = tuple(map(int, by_rater.sum(0))) if len(by_rater) else (0,) * design.answers
  return Row(part, name, counts, interval, len(by_rater), _alpha(design, chosen))
