"""A data set of photographs that is measured: which of them, in which modes, by what references."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from scs_jax.data import draw, opening, pipeline, subset
from scs_jax.data.heldout import Observed, References
from scs_jax.data.listing import describe_results
from scs_jax.data.sources import open_source
from scs_jax.data.subset import Subset
from scs_jax.errors import UserError
from scs_jax.measure import remarks
from scs_jax.measure.given import Missing
from scs_jax.measure.photos import SMALLEST, gray_of
from scs_jax.measure.score import Stream
from scs_jax.measure.settings import Setting

NUMBERED = "by record number"
"""How references are distorted, for a run's identity: earlier figures took places in a batch."""

class PhotoSet:
  """Reads a data set of photographs.

  Attributes:
    name, spec: of the data set.
    records: how many pictures it has; fingerprint: of its list.
    dealt: {mode: numbers of the records that it colours, ascending}; modes without any are left
      out.
    notes: what a reader of the figures must know; missing: what folders of results lack.
    empty: how many of its files hold nothing.

  Raises:
    UserError: there is no such data set, or none of its pictures is large enough.
  """

  what, whose = "pictures", "picture"

  def __init__(self, name: str, spec: str, setting: Setting):
    self.name, self.spec, self.setting = name, spec, setting
    self._source = source = open_source(spec)
    self.records, self.fingerprint = len(source), source.fingerprint
    self.empty = getattr(source, "skipped_empty", 0)
    whole = setting.shares is None
    shares = dict.fromkeys(setting.modes, self.records) if whole else setting.shares
    most = self.records if whole else sum(shares.values())
    if setting.limit is not None:
      most = min(most, setting.limit)
    least = None if setting.enlarge else setting.size
    drawn = draw.draw(source, most, setting.seed, least, not setting.quiet)
    dealt = draw.deal(drawn.numbers, shares, setting.shared or whole)
    self.dealt = {mode: dealt[mode] for mode in setting.modes if len(dealt[mode])}
    self.notes = drawn.note(setting.size)
    self.notes += describe_results(getattr(source, "skipped_results", ()))
    among = setting.reference_data is None and whole
    if among and not setting.all_modes and len(self.dealt.get("random", ())) == 1:
      del self.dealt["random"]
      self.notes.append("mode random is left out: there is one picture, and it needs another one")
    self.missing = Missing()
    self._parts = [_Part(self, modes) for modes in self._alike()]
    self._of = {mode: part for part in self._parts for mode in part.modes}

  def _alike(self) -> list[list[str]]:
    """Groups modes that colour the same pictures: those are read once for all of them."""
    groups: dict[bytes, list[str]] = {}
    for mode, numbers in self.dealt.items():
      groups.setdefault(numbers.tobytes(), []).append(mode)
    return list(groups.values())

  @property
  def count(self) -> int:
    """Counts how many pictures are measured, in all modes together."""
    return len(self.numbers)

  @property
  def numbers(self) -> np.ndarray:
    """Lists the records that are measured, ascending."""
    return np.unique(np.concatenate(list(self.dealt.values())))

  def streams(self) -> list[Stream]:
    return [part.stream() for part in self._parts]

  def pick(self, mode: str, numbers: Sequence[int]) -> Stream:
    """Opens some of a mode's records once more: to be shown."""
    part = self._of[mode]
    return part.stream((mode,), np.searchsorted(part.numbers, numbers))

  def real(self, numbers: Sequence[int]) -> Stream:
    """Opens records, in no mode."""
    of = lambda places: numbers if places is None else numbers[places]
    return Stream(
      (), len(numbers), self.setting.batch_size,
      lambda places: self.read(Observed(Subset(self._source, of(places)), SMALLEST)),
    )  # fmt: skip

  def noted(self) -> tuple:
    """Gives what was noted while pictures were read (score.Noting)."""
    return self.missing.noted(), [part.noted() for part in self._parts]

  def join(self, noted: Sequence[tuple]) -> None:
    missing, parts = zip(*noted, strict=True)
    self.missing.join(missing)
    for part, of_part in zip(self._parts, zip(*parts, strict=True), strict=True):
      part.join(of_part)

  def read(self, source):
    return pipeline.eval_batches(source, self.setting.size, self.setting.batch_size)

  def picture_name(self, i: int) -> str:
    return self._source.name(int(i))

  def reference_name(self, mode: str, i: int) -> str:
    """Names what record i was coloured by in a mode, or ""."""
    if mode == "automatic":
      return ""
    if mode != "random":
      return self.picture_name(i)
    part = self._of[mode]
    return part.references.name(int(np.searchsorted(part.numbers, i)))

  def size_of(self, i: int) -> tuple[int, int]:
    """Returns (height, width) of record i, which was read."""
    for part in self._parts:
      at = int(np.searchsorted(part.numbers, i))
      if at in part.heldout.sizes and part.numbers[at] == i:
        return part.heldout.sizes[at]
    raise KeyError(i)

  @property
  def broken(self) -> dict[int, str]:
    """Returns {record: name and cause} of those that cannot be read."""
    return {
      int(part.numbers[i]): error
      for part in self._parts
      for i, error in part.heldout.errors.items()
    }

  @property
  def sizes(self) -> list[tuple[int, int]]:
    """Returns (height, width) of all that were read."""
    return [size for part in self._parts for size in part.heldout.sizes.values()]

  @property
  def references(self) -> References | None:
    """Gives those of mode random, where it is measured."""
    return self._of["random"].references if "random" in self._of else None

  def list_hash(self, numbers: Sequence[int]) -> str:
    """Identifies pictures by their names."""
    return opening.list_hash(self.fingerprint, [self.picture_name(i) for i in numbers])

  def reference_hash(self, numbers: Sequence[int]) -> str:
    """Identifies pictures and what each was coloured by in mode random."""
    lent = lambda i: self.reference_name("random", i)
    pairs = [f"{self.picture_name(i)}\t{lent(i)}" for i in numbers]
    return opening.list_hash(self.references.fingerprint, pairs)

  def trained_on(self, config) -> list[str]:
    """Warns where a network was trained on these."""
    return remarks.trained_on(config, self.spec)

  def notes_on(self, scores) -> list[str]:
    """Says what a reader must know once they are measured."""
    notes = self.notes_on_sizes(self.what)
    if self.references is None:
      return notes
    part, random = self._of["random"], scores.records.get("random", ())
    if part.alone:
      readable = len(part.numbers) - len(part.heldout.errors)
      notes.append(
        f"mode random: {len(part.alone)} of {readable} pictures had no other one that can be read"
      )
    lent = self.references.gray & set(np.searchsorted(self.dealt["random"], random).tolist())
    if lent:
      notes.append(
        f"mode random: the references of {len(lent)} of {len(random)} pictures are gray, as no "
        "other has colour"
      )
    if self.setting.reference_data is not None and part.pool.errors:
      notes.append(f"{len(part.pool.errors)} references that cannot be read were passed over")
    return notes

  def notes_on_sizes(self, what: str) -> list[str]:
    """Gives a line where pictures were enlarged."""
    return subset.enlarged(self.sizes, self.setting.size, what)

  def none_measured(self) -> UserError:
    """Says that there is nothing to measure."""
    broken = self.broken
    first = f" ({broken[min(broken)]})" if broken else ""
    return UserError(
      f"none of the {self.count} pictures of {self.spec} can be read{first}; give another --data"
    )


class _Part:
  """Holds the pictures that some modes colour, with the references of mode random."""

  def __init__(self, whole: PhotoSet, modes: list[str]):
    self._whole, self.modes, self.numbers = whole, tuple(modes), whole.dealt[modes[0]]
    setting = whole.setting
    self.heldout = Observed(Subset(whole._source, self.numbers), SMALLEST)
    self.references = self.pool = None
    self.alone: set[int] = set()  # records that found no other one to be coloured by
    if "random" in modes:
      if setting.reference_data is not None:
        self.pool = Observed(open_source(setting.reference_data))
      elif setting.shares is not None:
        self.pool = Observed(whole._source)
      self.references = References(self.heldout, setting.seed, self.pool, size=setting.size)

  def noted(self) -> list[dict | set]:
    met = [one for one in (self.heldout, self.references, self.pool) if one is not None]
    return [self.alone, *(facts for one in met for facts in one.facts())]

  def join(self, noted: Sequence[list[dict | set]]) -> None:
    for theirs in noted:
      for facts, others in zip(self.noted(), theirs, strict=True):
        facts.update(others)

  def stream(self, modes: Sequence[str] | None = None, places=None) -> Stream:
    modes = tuple(self.modes if modes is None else modes)
    every = np.arange(len(self.numbers)) if places is None else np.asarray(places)
    of = lambda some: places if some is None else every[some]
    size = self._whole.setting.batch_size
    return Stream(modes, len(every), size, lambda some: self._open(modes, of(some)))

  @contextlib.contextmanager
  def _open(self, modes: tuple[str, ...], places) -> Iterator[Iterator[Mapping]]:
    taken = lambda source: source if places is None else Subset(source, places)
    with contextlib.ExitStack() as stack:
      read = lambda source: stack.enter_context(self._whole.read(taken(source)))
      others = read(self.references) if "random" in modes else None
      yield self._batches(read(self.heldout), others, places)

  def _batches(self, batches, others, places) -> Iterator[dict]:
    """Adds whether pictures are gray, and references; numbers them as the whole data set does."""
    for batch in batches:
      batch = dict(batch)
      if others is not None:
        other = next(others)
        batch |= {"other": other["image"], "other_mask": other["mask"]}
      at = batch["record"]
      numbers = self.numbers if places is None else self.numbers[places]
      record = np.where(at < 0, -1, numbers[at]).astype(np.int32)
      if others is not None:
        self.alone.update(record[batch["mask"] & ~batch["other_mask"]].tolist())
      yield batch | {"gray": gray_of(batch["image"]), "record": record}
