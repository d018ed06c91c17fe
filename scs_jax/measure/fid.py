"""FID of results, gathered while they are scored, where its weights are given."""

from collections.abc import Mapping, Sequence

import numpy as np

from scs_jax.measure import learned
from scs_jax.metrics.distribution import Statistics
from scs_jax.metrics.estimates import REFERENTIAL

DEFINITION = (
  "Frechet distance (Heusel et al. 2017) of the pooled features of the published Inception-v3 "
  "between the results of a part and all true pictures that take part in the data set, at the size "
  "measured; biased upwards for few pictures, so that figures of equal counts alone compare"
)
LEFT_OUT = "left out, as no weights are given (--fid-weights): there is no stand-in"


class Features:
  """Holds the network whose features FID compares.

  Attributes:
    weights: for the record, the file: name, SHA-256, whether it is the published one.

  Args:
    path: of Inception-v3's weights as FID defines them.

  Raises:
    UserError: weights that are not there, or not those that define the figure.
  """

  def __init__(self, path: str):
    from scs_jax.nn.features import inception

    self.look = learned.extractor(*inception.load(path))
    self.weights = learned.describe_weights(path, inception.PUBLISHED_SHA256)
    self.size = inception.FEATURES

  def real(self, data, folder, modes: Sequence[str] | None = None) -> Statistics:
    """Gathers those of the true pictures of a photo_set.PhotoSet.

    Args:
      data: see there.
      folder: they are kept there, and read when they are asked for again.
      modes: whose pictures; None: all that are measured.
    """
    dealt = [data.dealt[mode] for mode in (data.dealt if modes is None else modes)]
    numbers = np.unique(np.concatenate(dealt))
    stream = data.real(numbers)

    def batches():
      places = stream.share()[1]
      if places is None or len(places):
        with stream.open(places) as read:
          for batch in read:
            yield batch["image"], batch["mask"]

    pictures = {"files": data.list_hash(numbers), "size": list(data.setting.size)}
    return learned.real_statistics(
      self.look, self.weights["sha256"], batches, folder, pictures, self.size
    )


class Distances(learned.Gathering):
  """Watches the results of photographs, as `see` of score.score; `of` is by part and row.

  Args:
    features: see Features.
    parts: {mode: the part whose figure it counts for}.
  """

  def __init__(self, features: Features, parts: Mapping[str, str]):
    super().__init__()
    self._features, self._parts = features, parts

  def __call__(self, row: str, mode: str, batch: Mapping, there: np.ndarray, pictures) -> None:
    self.add((self._parts[mode], row), batch["at"], self._features.look(pictures["rgb"]), there)

  def forget(self, row: str) -> None:
    """Leaves out a row that failed."""
    self.of = {key: statistics for key, statistics in self.of.items() if key[1] != row}

  def to(self, real: Statistics) -> dict[str, dict[str, float]]:
    """Returns {part: {row: FID}}, of parts with two pictures or more."""
    found: dict[str, dict[str, float]] = {}
    for (part, row), statistics in self.of.items():
      if min(statistics.count, real.count) >= 2:
        found.setdefault(part, {})[row] = statistics.frechet(real)
    return found

  def counts(self) -> dict[str, int]:
    """Counts how many pictures each figure is over."""
    return {f"{part}: {row}": s.count for (part, row), s in self.of.items()}


PARTS = {"automatic": "automatic", "self": REFERENTIAL, "random": REFERENTIAL}
"""Those of SCSNet's Table 1."""


def notes(distances: Mapping[str, Mapping], counts: Mapping[str, int]) -> list[str]:
  """Says what keeps figures from being compared."""
  if not distances:
    return []
  lines = []
  for part in distances:
    of = {k.removeprefix(f"{part}: "): n for k, n in counts.items() if k.startswith(f"{part}: ")}
    if len(set(of.values())) > 1:
      told = ", ".join(f"{n} of {row}" for row, n in of.items())
      lines.append(f"FID, {part}, is over unequal numbers of pictures ({told}): do not compare it")
  few = learned.fid_note(min(counts.values()))
  return [*lines, few] if few else lines
