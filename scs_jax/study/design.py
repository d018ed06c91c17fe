"""A study as it was drawn: its kind, its methods and its trials, in study.json of its folder."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

from scs_jax.core import files
from scs_jax.errors import UserError

FORMAT = "scs_jax study 1"
FILE, PICTURES = "study.json", "pictures"
PAIRWISE, LEVELS = "pairwise", "levels"
KINDS = (PAIRWISE, LEVELS)
# The words of Cycle CNN's Section IV-D, from the best to the worst; a vote is a number of them.
LEVEL_NAMES = ("Perfect", "Few Errors", "Partly Wrong", "Mostly Wrong", "Totally Wrong")
PARTS = {
  "automatic": "automatic",
  "self": "referential",
  "random": "referential",
  "first": "first-time",
  "second": "second-time",
}
"""{mode of a folder of results: the part of the table that its pictures belong to}."""


@dataclasses.dataclass(frozen=True)
class Trial:
  """Holds what is asked about at once.

  Attributes:
    mode: of the results, see PARTS.
    picture: its name.
    methods: ours and another one, or the one that is judged.
    files: names of their pictures in the study's folder, without ending, in the same order.
    scene: that of a picture that is shown beside them; empty: none.
  """

  mode: str
  picture: str
  methods: tuple[str, ...]
  files: tuple[str, ...]
  scene: str = ""

  @property
  def part(self) -> str:
    return PARTS[self.mode]


@dataclasses.dataclass(frozen=True)
class Design:
  """Holds a study as it was drawn.

  Attributes:
    kind: PAIRWISE (which of two) or LEVELS (how good is one).
    seed: of the draw, and of each rater's order, sides and repeats.
    methods: in the order given; the first is ours.
    trials: all of them.
    seconds: how long pictures are shown; 0: until the answer.
    repeats: how many trials a rater is asked again.
    per_rater: how many trials a rater is asked, repeats not counted.
  """

  kind: str
  seed: int
  methods: tuple[str, ...]
  trials: tuple[Trial, ...]
  seconds: float
  repeats: int
  per_rater: int

  @property
  def answers(self) -> int:
    """Counts the answers that there are to choose from."""
    return 2 if self.kind == PAIRWISE else len(LEVEL_NAMES)

  @property
  def pictures(self) -> int:
    """Counts the pictures that were coloured."""
    return len({(trial.mode, trial.picture) for trial in self.trials})


def write(design: Design, folder: pathlib.Path) -> None:
  """Writes study.json."""
  record = {"format": FORMAT, **dataclasses.asdict(design)}
  files.write_aside(folder / FILE, json.dumps(record, indent=1).encode())


def read(folder: pathlib.Path) -> Design:
  """Reads study.json of a study's folder.

  Raises:
    UserError: this is no study's folder, or another version's.
  """
  path = folder / FILE
  if not path.is_file():
    raise UserError(
      f"{folder} is no study: it has no {FILE}; expected a folder that `scs-jax study make` wrote"
    )
  try:
    record = json.loads(path.read_bytes())
    found = record.pop("format")
  except (ValueError, KeyError, AttributeError, TypeError) as error:
    raise UserError(f"{path} is damaged ({error}); make the study anew") from error
  if found != FORMAT:
    raise UserError(f"{path} is of format {found!r}, expected {FORMAT!r}; make the study anew")
  try:
    trials = tuple(Trial(**_tuples(trial)) for trial in record.pop("trials"))
    return Design(trials=trials, **_tuples(record))
  except (KeyError, TypeError, AttributeError) as error:
    raise UserError(f"{path} is damaged ({error}); make the study anew") from error


def _tuples(record: dict) -> dict:
  """Turns the lists of JSON into the tuples that they were."""
  return {k: tuple(v) if isinstance(v, Sequence) and not isinstance(v, str) else v
          for k, v in record.items()}  # fmt: skip
