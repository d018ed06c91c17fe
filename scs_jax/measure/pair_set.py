"""A data set of stereo pairs that is measured: which of them, with which truth."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from scs_jax.data import draw, opening, opening_notes
from scs_jax.data import pairs as batches_of
from scs_jax.data.stereo import Pair, PairSource
from scs_jax.errors import UserError
from scs_jax.measure.given import Missing
from scs_jax.measure.photos import SMALLEST, gray_of
from scs_jax.measure.score import Stream
from scs_jax.measure.settings import Setting


class PairSet:
  """Reads a data set of pairs.

  Attributes:
    name, spec: of the data set.
    source: the pairs that are measured; records, count: how many; fingerprint: of their list.
    camera: whether two cameras are simulated.
    dealt: {mode: numbers of the pairs}: all of them.
    notes: what a reader of the figures must know; missing: what folders of results lack.
    broken: {number: name and cause} of those that cannot be measured.
    known: the pairs that have the truth of the monochrome view, as far as they were read, with the
      share of its pixels that is known.

  Args:
    name: of the data set.
    spec: as opening.open_pairs takes it; None: the held-out pairs of the config.
    setting: see Setting.
    config: of a method of pairs: the cameras, and which view is the monochrome one. Pairs that two
      cameras shot are taken as they are, as are those whose truth is carried over.

  Raises:
    UserError: there is no such data set.
  """

  what, whose = "pairs", "pair"
  empty = 0
  references = None

  def __init__(self, name: str, spec: str | None, setting: Setting, config):
    self.name, self.spec, self.setting = name, spec or config.data.heldout, setting
    heldout = spec is None
    plain = config.copy_and_resolve_references()
    with plain.unlocked():
      plain.data.camera.enabled = False
    source = opening.open_pairs(plain, spec, heldout=heldout, warped=setting.warped)
    real = setting.warped or any(record.real for record in source.records)
    self.camera = config.data.camera.enabled and not real
    if self.camera:
      source = opening.open_pairs(config, spec, heldout=heldout)
    drawn = draw.draw(source, setting.limit, setting.seed)
    self.source: PairSource = source.take(np.sort(drawn.numbers))
    self.records = self.count = len(self.source)
    self.fingerprint = self.source.fingerprint
    self.dealt = {mode: np.arange(self.count) for mode in setting.modes}
    self.notes = list(self.source.notes)
    self.missing = Missing()
    self.broken: dict[int, str] = {}
    self.known: dict[int, float] = {}

  def streams(self) -> list[Stream]:
    return [self._stream(np.arange(self.count))]

  def pick(self, mode: str, numbers: Sequence[int]) -> Stream:
    """Opens some pairs once more: to be shown."""
    return self._stream(np.asarray(numbers))

  def noted(self) -> tuple:
    """Gives what was noted while pairs were read (score.Noting)."""
    return self.missing.noted(), self.broken, self.known

  def join(self, noted: Sequence[tuple]) -> None:
    missing, broken, known = zip(*noted, strict=True)
    self.missing.join(missing)
    for ours, theirs in ((self.broken, broken), (self.known, known)):
      whole = {i: fact for part in theirs for i, fact in part.items()}
      ours |= dict(sorted(whole.items()))

  def _stream(self, numbers: np.ndarray) -> Stream:
    of = lambda places: numbers if places is None else numbers[places]
    size = self.setting.batch_size
    return Stream(self.setting.modes, len(numbers), size, lambda places: self._open(of(places)))

  @contextlib.contextmanager
  def _open(self, numbers: np.ndarray) -> Iterator[Iterator[Mapping]]:
    of, source = self.setting, _Chosen(self.source, numbers)
    with batches_of.eval_batches(source, of.size, of.batch_size, len(source)) as read:
      yield self._batches(read, numbers)

  def _batches(self, read: Iterable[Mapping], numbers: np.ndarray) -> Iterator[dict]:
    """Adds whether colour views are gray; notes what is wrong with a pair, and what is known."""
    for batch in read:
      at = batch["record"]
      batch = {**batch, "record": np.where(at < 0, -1, numbers[at]).astype(np.int32)}
      for i in numbers[batch["bad"][batch["bad"] >= 0]].tolist():
        self.broken[i] = batches_of.why_bad(self.source, i, self.setting.size)
      height, width = batch["mono"].shape[1:3]
      if batch["mask"].any() and min(height, width) < SMALLEST:
        i = int(batch["record"][0])
        what = f"{width}x{height} pixels, expected {SMALLEST} or more a side"
        self.broken[i] = f"{self.source.name(i)}: {what}"
        batch = {**batch, "mask": np.zeros_like(batch["mask"])}
      # Of a part that no pixel of is known, there is nothing to compare a result with.
      batch = {**batch, "has_truth": batch["has_truth"] & batch["seen"].any(axis=(1, 2, 3))}
      for i in np.flatnonzero(batch["mask"] & batch["has_truth"]):
        self.known[int(batch["record"][i])] = float(batch["seen"][i].mean())
      yield {**batch, "gray": gray_of(batch["color"])}

  def picture_name(self, i: int) -> str:
    return self.source.name(int(i))

  def reference_name(self, mode: str, i: int) -> str:
    """Gives none: the reference is the pair's own colour view."""
    del mode, i
    return ""

  def list_hash(self, numbers: Sequence[int]) -> str:
    """Identifies pairs by their names."""
    return opening.list_hash(self.fingerprint, [self.picture_name(i) for i in numbers])

  def example(self) -> tuple[int, int]:
    """Returns (height, width) of the first pair that can be read, as it is measured."""
    with self._open(np.arange(self.count)) as read:
      for batch in read:
        if batch["mask"].any():
          return batch["mono"].shape[1:3]
    raise UserError(f"none of the {self.count} pairs of {self.spec} can be read")

  def none_measured(self) -> UserError:
    """Says that there is nothing to measure."""
    if len(self.broken) == self.count:
      first = f" ({self.broken[min(self.broken)]})" if self.broken else ""
      return UserError(
        f"none of the {self.count} pairs of {self.spec} can be measured{first}; give another --data"
      )
    return UserError(
      f"--modes first: no pair of {self.spec} has the truth of its monochrome view, without which "
      "there is nothing to compare the first result with; use --modes second"
    )

  def trained_on(self, config) -> list[str]:
    """Warns where a network was trained on these."""
    try:
      trained = opening.open_pairs(config)
    except UserError:  # those are elsewhere by now
      return []
    return opening_notes.trained_on_too(trained, self.source)

  def about_truth(self) -> str:
    """Counts how many pairs have figures of the first pass."""
    measured, known = self.count - len(self.broken), len(self.known)
    if known == measured:
      return f"all {measured} pairs have the truth of the monochrome view"
    if known:
      return (
        f"{known} of {measured} pairs have the truth of the monochrome view: first-time figures "
        "are over these, second-time figures over all"
      )
    return (
      "no pair has the truth of its monochrome view: only second-time figures can be had, and no "
      "correlation with first-time ones"
    )

  def notes_on(self, scores) -> list[str]:
    """Says what first-time figures are over where the truth is carried over by disparities."""
    del scores
    shares = 100 * np.array(list(self.known.values()))
    if not (self.setting.warped and len(shares)):
      return []
    return [
      "first-time figures are over the pixels that both views see and whose disparity is known, "
      f"{shares.mean():.0f} % of them ({shares.min():.0f} to {shares.max():.0f}): the truth there "
      "has Cb and Cr of the colour view, carried over by the disparity, and the monochrome view's "
      "own Y"
    ]

  def about_luma(self) -> str:
    """Says what decides the brightness of views and results."""
    if self.setting.warped or any(record.real for record in self.source.records):
      kind = "the views are those of two cameras, as they were given"
    elif self.camera:
      kind = (
        "the views are those of two simulated cameras (config.data.camera); the truth has the "
        "brightness of the monochrome one without its blur and noise"
      )
    else:
      kind = "the monochrome views are the Y of colour pictures: both views see one brightness"
    return (
      f"{kind}. Results keep the Y (BT.601) that was coloured: the monochrome view's first-time, "
      "the colour view's own second-time, where true Y or not makes little difference; only "
      "unrefined second-time results have a Y that was found"
    )


class _Chosen:
  """Offers some pairs of a source, in an order, as a source."""

  def __init__(self, source: PairSource, numbers: np.ndarray):
    self._source, self._numbers = source, numbers

  def __len__(self) -> int:
    return len(self._numbers)

  def name(self, i: int) -> str:
    return self._source.name(int(self._numbers[i]))

  def load(self, i: int, extras: bool = True) -> Pair:
    return self._source.load(int(self._numbers[i]), extras)
