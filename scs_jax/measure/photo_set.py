"""A data set of photographs that is measured: which of them, in which modes, by what references."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from scs_jax.data import draw, opening, pipeline, subset
from scs_jax.data.heldout import Observed, References
from scs_jax.data.listing import describe_results
from scs_jax.data.sources import open_source
from scs_jax.data.subset import Subset
from scs_jax.errors import UserError
from scs_jax.measure.given import Missing
from scs_jax.measure.photos import SMALLEST, gray_of
from scs_jax.measure.score import Stream


@dataclasses.dataclass(frozen=True)
class Choice:
  """Says which photographs are measured, and how they are read.

  Attributes:
    modes: of photos.MORE_MODES, in order.
    size: (height, width) that every picture is cut and reduced to.
    batch_size: pictures a batch.
    shares: {mode: how many it colours at most}, none of them in two modes; None: every mode
      colours all.
    shared: every mode colours the same pictures, up to its share.
    limit: of all pictures, drawn by the seed; None: as many as the shares ask for, or all.
    seed: of the draw and of the references.
    enlarge: smaller pictures are enlarged to `size`, instead of left out.
    lend: where the references of mode random come from: "same", the pictures that are measured;
      "all" of the data set; else another data set.
    all_modes: refuse one picture in mode random, which takes another one, instead of leaving the
      mode out.
  """

  modes: tuple[str, ...]
  size: tuple[int, int]
  batch_size: int
  shares: Mapping[str, int] | None = None
  shared: bool = False
  limit: int | None = None
  seed: int = draw.SEED
  enlarge: bool = False
  lend: str = "same"
  all_modes: bool = True


class PhotoSet:
  """One data set.

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

  def __init__(self, name: str, spec: str, choice: Choice, progress: bool = False):
    self.name, self.spec, self.choice = name, spec, choice
    self._source = source = open_source(spec)
    self.records, self.fingerprint = len(source), source.fingerprint
    self.empty = getattr(source, "skipped_empty", 0)
    shares = dict.fromkeys(choice.modes, self.records) if choice.shares is None else choice.shares
    most = self.records if choice.shares is None else sum(shares.values())
    if choice.limit is not None:
      most = min(most, choice.limit)
    least = None if choice.enlarge else choice.size
    drawn = draw.draw(source, most, choice.seed, least, progress)
    dealt = draw.deal(drawn.numbers, shares, choice.shared or choice.shares is None)
    self.dealt = {mode: dealt[mode] for mode in choice.modes if len(dealt[mode])}
    self.notes = drawn.note(choice.size)
    self.notes += describe_results(getattr(source, "skipped_results", ()))
    if not choice.all_modes and choice.lend == "same" and len(self.dealt.get("random", ())) == 1:
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
    """How many pictures are measured, in all modes together."""
    return len(self.numbers)

  @property
  def numbers(self) -> np.ndarray:
    """Of all records that are measured, ascending."""
    return np.unique(np.concatenate(list(self.dealt.values())))

  def streams(self) -> list[Stream]:
    return [part.stream() for part in self._parts]

  def pick(self, mode: str, numbers: Sequence[int]) -> Stream:
    """Opens some of a mode's records once more: to be shown."""
    part = self._of[mode]
    return part.stream((mode,), np.searchsorted(part.numbers, numbers))

  def real(self) -> Stream:
    """Opens all pictures that are measured, in no mode."""
    source = Observed(Subset(self._source, self.numbers), SMALLEST)
    return Stream((), self.count, lambda: self.read(source))

  def read(self, source):
    return pipeline.eval_batches(source, self.choice.size, self.choice.batch_size)

  def picture_name(self, i: int) -> str:
    return self._source.name(int(i))

  def reference_name(self, mode: str, i: int) -> str:
    """The name of what record i was coloured by in a mode, or ""."""
    if mode == "automatic":
      return ""
    if mode != "random":
      return self.picture_name(i)
    part = self._of[mode]
    return part.references.name(int(np.searchsorted(part.numbers, i)))

  def size_of(self, i: int) -> tuple[int, int]:
    """(height, width) of record i, which was read."""
    for part in self._parts:
      at = int(np.searchsorted(part.numbers, i))
      if at in part.heldout.sizes and part.numbers[at] == i:
        return part.heldout.sizes[at]
    raise KeyError(i)

  @property
  def broken(self) -> dict[int, str]:
    """{record: name and cause} of those that cannot be read."""
    return {
      int(part.numbers[i]): error
      for part in self._parts
      for i, error in part.heldout.errors.items()
    }

  @property
  def sizes(self) -> list[tuple[int, int]]:
    """(height, width) of all that were read."""
    return [size for part in self._parts for size in part.heldout.sizes.values()]

  @property
  def references(self) -> References | None:
    """Those of mode random, where it is measured."""
    return self._of["random"].references if "random" in self._of else None

  def list_hash(self, mode: str, numbers: Sequence[int]) -> str:
    """Identifies the pictures that a mode coloured."""
    return opening.list_hash(self.fingerprint, [self.picture_name(i) for i in numbers])

  def reference_hash(self, numbers: Sequence[int]) -> str:
    """Identifies pictures and what each was coloured by in mode random."""
    lent = lambda i: self.reference_name("random", i)
    pairs = [f"{self.picture_name(i)}\t{lent(i)}" for i in numbers]
    return opening.list_hash(self.references.fingerprint, pairs)

  def notes_on(self, scores) -> list[str]:
    """What a reader must know once they are measured."""
    measured = max(map(len, scores.records.values()), default=0)
    notes = self.notes_on_sizes(self.what)
    if self.references is None:
      return notes
    random = scores.records.get("random", ())
    readable = len(self.dealt["random"]) - len(self._of["random"].heldout.errors)
    if alone := readable - len(random):
      notes.append(
        f"mode random: {alone} of {measured} pictures had no other one that can be read"
      )
    lent = self.references.gray & set(np.searchsorted(self.dealt["random"], random).tolist())
    if lent:
      notes.append(
        f"mode random: the references of {len(lent)} of {len(random)} pictures are gray, as no "
        "other has colour"
      )
    pool = self._of["random"].pool
    if pool is not None and pool.errors and self.choice.lend != "all":
      notes.append(f"{len(pool.errors)} references that cannot be read were passed over")
    return notes

  def notes_on_sizes(self, what: str) -> list[str]:
    """A line where pictures were enlarged."""
    return subset.enlarged(self.sizes, self.choice.size, what)

  def none_measured(self) -> UserError:
    """Says that there is nothing to measure."""
    broken = self.broken
    first = f" ({broken[min(broken)]})" if broken else ""
    return UserError(
      f"none of the {self.count} pictures of {self.spec} can be read{first}; give another --data"
    )


class _Part:
  """Pictures that one or more modes colour, with the references of mode random."""

  def __init__(self, whole: PhotoSet, modes: list[str]):
    self._whole, self.modes, self.numbers = whole, tuple(modes), whole.dealt[modes[0]]
    choice = whole.choice
    self.heldout = Observed(Subset(whole._source, self.numbers), SMALLEST)
    self.references = self.pool = None
    if "random" in modes:
      if choice.lend != "same":
        lent = whole._source if choice.lend == "all" else open_source(choice.lend)
        self.pool = Observed(lent)
      self.references = References(self.heldout, choice.seed, self.pool, size=choice.size)

  def stream(self, modes: Sequence[str] | None = None, places=None) -> Stream:
    modes = tuple(self.modes if modes is None else modes)
    count = len(self.numbers) if places is None else len(places)
    return Stream(modes, count, lambda: self._open(modes, places))

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
      yield batch | {"gray": gray_of(batch["image"]), "record": record}
