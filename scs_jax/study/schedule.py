"""What a rater is asked, in which order and on which sides: a matter of the seed and a number."""

import random
from typing import NamedTuple

from scs_jax.study.design import PAIRWISE, Design

_APART = 10  # trials, or half of a short study, between a trial and its repeat


class Question(NamedTuple):
  """Holds one question of a rater's.

  Attributes:
    trial: number of the trial in the design.
    flipped: whether the second method's picture stands first.
    again: whether the rater was asked the same before.
  """

  trial: int
  flipped: bool
  again: bool


def schedule(design: Design, number: int) -> list[Question]:
  """Lists the questions of rater `number` (from 0 on), in order.

  Where a rater is asked but some of the trials, raters in turn take the next ones of one shuffled
  list, so that all trials get as many votes.
  """
  shared = random.Random(f"{design.seed}")
  trials = list(range(len(design.trials)))
  shared.shuffle(trials)
  first = number * design.per_rater
  own = [trials[(first + i) % len(trials)] for i in range(design.per_rater)]
  rng = random.Random(f"{design.seed}/{number}")
  rng.shuffle(own)
  apart = min(_APART, len(own) // 2)
  places: list[tuple[float, int, bool]] = [(i, trial, False) for i, trial in enumerate(own)]
  for i in rng.sample(range(len(own) - apart), design.repeats):
    places.append((rng.uniform(i + apart, len(own)), own[i], True))
  flips = design.kind == PAIRWISE
  return [
    Question(trial, flips and rng.random() < 0.5, again) for _, trial, again in sorted(places)
  ]
