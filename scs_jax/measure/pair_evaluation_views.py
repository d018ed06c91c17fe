"""The pairs of an evaluation: where they come from, which cannot be measured, which are shown."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from scs_jax.data import draw, opening, scan
from scs_jax.data import pairs as batches_of
from scs_jax.data.stereo import Pair, PairSource
from scs_jax.errors import UserError
from scs_jax.measure.evaluate import SMALLEST


@dataclasses.dataclass
class Views:
  """The pairs that are measured.

  Attributes:
    source: those drawn by the seed, of a limit; count: how many they are.
    camera: whether two cameras were simulated.
    errors: {record: name and cause} of those that cannot be measured.
    known: how many of those measured have the truth; shares: of their pixels, for each.
  """

  source: PairSource
  count: int
  camera: bool
  errors: dict[int, str] = dataclasses.field(default_factory=dict)
  known: int = 0
  shares: list[float] = dataclasses.field(default_factory=list)


def open_views(
  config, spec: str | None, limit: int | None, seed: int = draw.SEED, warped: bool = False
) -> Views:
  """The pairs; those that two cameras shot already are taken as they are, as are those whose truth
  is carried over from one view to the other (`warped`). `seed` draws those of a `limit`."""
  plain = config.copy_and_resolve_references()
  with plain.unlocked():
    plain.data.camera.enabled = False
  source = opening.open_pairs(plain, spec, heldout=spec is None, warped=warped)
  real = warped or any(r.real for r in source.records)
  camera = config.data.camera.enabled and not real
  if camera:
    source = opening.open_pairs(config, spec, heldout=spec is None)
  source = source.take(np.sort(draw.draw(source, limit, seed).numbers))
  return Views(source, len(source), camera)


def trained_on(config, source: PairSource) -> list[str]:
  """A warning where pairs were trained on."""
  try:
    trained = opening.open_pairs(config)
  except UserError:  # those are elsewhere by now
    return []
  return opening.trained_on_too(trained, source)


def watch(
  views: Views, read: Iterable[Mapping], crop: tuple[int, int] | None
) -> Iterator[dict]:
  """Batches with "gray", whether the colour view has no colour; notes what is wrong with a pair."""
  for batch in read:
    for i in batch["bad"][batch["bad"] >= 0].tolist():
      views.errors[i] = batches_of.why_bad(views.source, i, crop)
    height, width = batch["mono"].shape[1:3]
    if batch["mask"].any() and min(height, width) < SMALLEST:
      i = int(batch["record"][0])
      what = f"{width}x{height} pixels, expected {SMALLEST} or more a side"
      views.errors[i] = f"{views.source.name(i)}: {what}"
      batch = {**batch, "mask": np.zeros_like(batch["mask"])}
    there = batch["mask"] & batch["has_truth"]
    views.known += int(there.sum())
    views.shares += batch["seen"][there].mean((1, 2, 3)).tolist()
    gray = [scan.mean_chroma(color) < scan.GRAY_CHROMA for color in batch["color"]]
    yield {**batch, "gray": np.array(gray)}


class Chosen:
  """Some pairs of a source, in an order, as a source."""

  def __init__(self, source: PairSource, numbers: list[int]):
    self._source, self._numbers = source, numbers

  def __len__(self) -> int:
    return len(self._numbers)

  def name(self, i: int) -> str:
    return self._source.name(self._numbers[i])

  def load(self, i: int, extras: bool = True) -> Pair:
    return self._source.load(self._numbers[i], extras)
