"""Nearest names for misspelt ones: one rule for verbs, flags, config keys, configs and methods."""

import difflib
from collections.abc import Iterable


def _ratio(a: str, b: str) -> float:
  return difflib.SequenceMatcher(None, a, b).ratio()


def _likeness(word: str, choice: str) -> float:
  """Likeness in [0, 1]: that of the least like parts of two dotted names, so that a long section
  name in common counts for nothing; a dotted choice also answers to its last part, a little less.
  """
  parts, own = word.split("."), choice.split(".")
  whole = min(map(_ratio, parts, own)) if len(parts) == len(own) else 0.0
  last = 0.9 * _ratio(parts[-1], own[-1]) if len(own) > 1 else 0.0
  return max(whole, last)


def nearest(word: str, choices: Iterable[str], count: int = 1, cutoff: float = 0.6) -> list[str]:
  """Returns the `count` choices most like `word`, best first; none below `cutoff`.

  `optimiser.learning_rate` finds `optimizer.learning_rate`, and so does `learning_rate` alone.
  """
  lowered = word.lower()
  scored = sorted((-_likeness(lowered, choice.lower()), choice) for choice in choices)
  return [choice for score, choice in scored if -score >= cutoff][:count]


def hint(word: str, choices: Iterable[str], prefix: str = "") -> str:
  """Writes `did you mean X?` with the nearest choice, or `choose from A, B` if nothing is near."""
  choices = list(choices)
  near = nearest(word, choices)
  if near:
    return f"did you mean {prefix}{near[0]}?"
  return "choose from " + ", ".join(prefix + choice for choice in sorted(choices))
