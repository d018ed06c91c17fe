"""Looks at every record of a data set: does it decode, its size, is it gray or there twice."""

import hashlib
import itertools
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import sparse

from scs_jax.data import decode, listing, location, scan, sources
from scs_jax.errors import UserError

SHORT_SIDES = (64, 128, 256, 384, 512, 768, 1024)
"""Where the bins of the histogram of short sides part."""

MOST_NEAR = 15
"""Bits of 64 beyond which pictures of any kind count as alike."""

_EXAMPLES = 5  # shown of each kind


class Record(NamedTuple):
  """Holds what was seen of one record.

  Attributes:
    digest: of its bytes; empty where they could not be read.
    error: why it cannot be read; empty if it can.
    width, height: in pixels, upright.
    gray: its mean Lab chroma is below scan.GRAY_CHROMA.
    look: difference hash of 64 bits.
    remarks: the decoder's.
  """

  digest: bytes
  error: str = ""
  width: int = 0
  height: int = 0
  gray: bool = False
  look: int = 0
  remarks: tuple[str, ...] = ()


class Findings(NamedTuple):
  """Holds what a check found.

  Attributes:
    sizes: int [k, 2], (height, width) of the records that decode.
    unreadable: [(name, cause)].
    gray: names.
    duplicates: groups of names whose bytes are the same.
    near: groups of names that look alike, each of other bytes; empty where not asked for.
    shared: [(name, name in the other data set)] of the same bytes.
    shards: [(shard, cause)] of a packed folder that are damaged.
    empty: files of no bytes, which are left out of a folder.
    records: how many there are.
    remarks: [(name, remark)] of what is read all the same.
    results: folders of `colorize`'s results below a folder, left out of it.
    asked: what else was looked for: "against" and "near".
  """

  sizes: np.ndarray
  unreadable: list[tuple[str, str]]
  gray: list[str]
  duplicates: list[list[str]]
  near: list[list[str]]
  shared: list[tuple[str, str]]
  shards: list[tuple[str, str]]
  empty: int
  records: int
  remarks: list[tuple[str, str]]
  results: list[str]
  asked: Collection[str] = ()

  @property
  def wrong(self) -> bool:
    """Tells whether something is to be mended. Gray pictures and similar ones may be meant."""
    return bool(self.unreadable or self.duplicates or self.shared or self.shards or self.empty)

  def as_json(self) -> dict[str, Any]:
    """Writes all of it, for a file."""
    return {
      **{k: v for k, v in self._asdict().items() if k not in ("sizes", "asked")},
      "wrong": self.wrong,
      "short_sides": {label: count for label, count in self.histogram()},
      "sizes": _extent(self.sizes),
    }

  def show(self, against: str = "another data set") -> None:
    """Prints a table, with a few examples of each kind; `against`: what the other set is called."""
    print(f"{'short side in pixels':<30}{'pictures':>12}")
    for label, count in self.histogram():
      if count:
        bar = "#" * round(30 * count / len(self.sizes))
        print(f"  {label:<28}{count:>12,}  {bar}".rstrip())
    if extent := _extent(self.sizes):
      print("  " + ", ".join(f"{name} {w}x{h}" for name, (h, w) in extent.items()))
    print(f"\n{'':<30}{'pictures':>12}\n{'checked':<30}{self.records:>12,}")
    _print_row("cannot be read", len(self.unreadable), [cause for _, cause in self.unreadable])
    _print_row("empty files", self.empty, [])
    copies = sum(len(group) - 1 for group in self.duplicates)
    _print_row("copies, byte for byte", copies, map(" = ".join, self.duplicates))
    if "against" in self.asked:
      _print_row(f"also in {against}", len(self.shared), map(" = ".join, self.shared))
    if self.shards:
      _print_row("damaged shards", len(self.shards), map(": ".join, self.shards))
    _print_row("gray", len(self.gray), self.gray, wrong=False)
    if self.remarks:
      count = len(self.remarks)
      _print_row("read, with a remark", count, map(": ".join, self.remarks), wrong=False)
    if "near" in self.asked:
      alike = sum(len(group) for group in self.near)
      _print_row("look alike", alike, map(" ~ ".join, self.near), wrong=False)
    for line in listing.describe_results(self.results):
      print(line)
    verdict = "something is to be mended" if self.wrong else "all is well"
    if self.gray and not self.wrong:
      verdict = (
        f"whole, but {len(self.gray)} of {self.records} have no colour to learn from: "
        "data.exclude_gray=true leaves such out"
      )
    print(verdict)

  def histogram(self) -> list[tuple[str, int]]:
    """Counts [(range of short sides, records)]."""
    shorts = self.sizes.min(axis=1) if len(self.sizes) else np.zeros(0, int)
    counts = np.bincount(np.digitize(shorts, SHORT_SIDES), minlength=len(SHORT_SIDES) + 1)
    labels = [f"below {SHORT_SIDES[0]}"]
    labels += [f"{a} to {b - 1}" for a, b in itertools.pairwise(SHORT_SIDES)]
    labels.append(f"{SHORT_SIDES[-1]} or more")
    return list(zip(labels, map(int, counts), strict=True))


def _print_row(name: str, count: int, examples: Iterable[str], wrong: bool = True) -> None:
  """Prints a count, and the first few examples below it."""
  print(f"{name:<30}{count:>12,}{'  <- wrong' if count and wrong else ''}")
  examples = list(examples)
  for example in examples[:_EXAMPLES]:
    print(f"  {example.encode('utf-8', 'backslashreplace').decode()}")
  if len(examples) > _EXAMPLES:
    print(f"  and {len(examples) - _EXAMPLES} more")


def check_data(
  data: str | os.PathLike,
  *,
  against: str | os.PathLike | None = None,
  near: int | None = None,
  out: str | os.PathLike | None = None,
  threads: int | None = None,
  quiet: bool = False,
) -> Findings:
  """Checks a data set by its spec, and writes what was found.

  Args:
    data: what `sources.open_source` takes.
    against: another one, of which no picture should be in this one.
    near, threads: as of `check`.
    out: a file for all findings, as JSON.
    quiet: no progress bar.

  Raises:
    UserError: no such data set; near is out of range; out is no file.
  """
  if out is not None and (not out or os.path.isdir(os.path.expanduser(out))):
    raise UserError(f"--out {out!r}: expected a file for the findings")
  source = sources.open_source(data)
  other = None if against is None else sources.open_source(against)
  found = check(source, near, other, threads, not quiet)
  if out is not None:
    content = {"data": os.fspath(data), "fingerprint": source.fingerprint, **found.as_json()}
    location.write(out, (json.dumps(content, indent=2) + "\n").encode())
  return found


def check(
  source,
  near: int | None = None,
  against=None,
  threads: int | None = None,
  progress: bool = True,
) -> Findings:
  """Reads and decodes every record of a stored source (sources.py), at full size.

  Args:
    source: the pictures.
    near: bits of the 64 of a difference hash in which pictures that look alike may differ; None:
      not looked for.
    against: another stored source, none of whose pictures should be in this one: held-out ones.
    threads: readers; by default one a core.
    progress: a bar on stderr.

  Raises:
    UserError: near is out of range.
  """
  if near is not None and not 0 <= near <= MOST_NEAR:
    raise UserError(f"{near} bits: expected 0 to {MOST_NEAR}, of 64, in which pictures may differ")
  every = lambda of, function, title: list(
    scan.in_threads(lambda i: function(of, i), range(len(of)), title, threads, progress)
  )
  records = every(source, _look, "checking")
  others: dict[bytes, int] = {}
  if against is not None:
    digests = every(against, _digest, "reading")
    others = {digest: i for i, digest in enumerate(digests) if digest}
  whole = [i for i, r in enumerate(records) if not r.error]
  sizes = np.array([(records[i].height, records[i].width) for i in whole], int).reshape(-1, 2)
  same = _groups([r.digest for r in records])
  named = lambda groups: [[source.name(i) for i in group] for group in groups]
  alike = [] if near is None else _alike(records, whole, near)
  return Findings(
    sizes=sizes,
    unreadable=[(source.name(i), r.error) for i, r in enumerate(records) if r.error],
    gray=[source.name(i) for i in whole if records[i].gray],
    duplicates=named(same),
    near=named(alike),
    shared=[
      (source.name(i), against.name(others[r.digest]))
      for i, r in enumerate(records)
      if r.digest in others
    ],
    shards=source.damaged_shards(),
    empty=int(source.skipped_empty),
    records=len(source),
    remarks=[(source.name(i), remark) for i in whole for remark in records[i].remarks],
    results=list(source.skipped_results),
    asked=[k for k, v in (("against", against), ("near", near)) if v is not None],
  )


def _digest(source, i: int) -> bytes:
  try:
    return hashlib.sha256(source.checked(i)).digest()[:16]
  except decode.DecodeError:
    return b""


def _look(source, i: int) -> Record:
  try:
    data = source.checked(i)
  except decode.DecodeError as error:
    return Record(b"", str(error))
  digest = hashlib.sha256(data).digest()[:16]
  try:
    with decode.opened(data, source.name(i)) as loaded:
      image, remarks = decode.to_rgb(loaded.pixels), loaded.remarks
  except decode.DecodeError as error:
    return Record(digest, str(error))
  gray = scan.mean_chroma(scan.reduced(image)) < scan.GRAY_CHROMA
  return Record(digest, "", *image.size, gray, difference_hash(image), remarks)


def difference_hash(image: Image.Image) -> int:
  """Hashes to 64 bits: which of 8 x 9 averaged gray values are darker than the right neighbour."""
  small = image.convert("L").resize((9, 8), Image.Resampling.BOX)
  values = np.asarray(small, np.int16)
  return int.from_bytes(np.packbits(values[:, :-1] < values[:, 1:]).tobytes(), "big")


def _groups(keys: Sequence[bytes]) -> list[list[int]]:
  """Numbers that share a key that is not empty."""
  found = defaultdict(list)
  for i, key in enumerate(keys):
    if key:
      found[key].append(i)
  return [group for group in found.values() if len(group) > 1]


def _alike(records: Sequence[Record], whole: Sequence[int], near: int) -> list[list[int]]:
  """Groups of records whose hashes differ in at most `near` bits, chains included.

  Two hashes that differ in so few bits agree in one of near + 1 parts at least: only those are
  compared. Of records with the same bytes one takes part; flat ones, whose hash is 0, none.
  """
  first: dict[bytes, int] = {}
  for i in whole:
    if records[i].look:
      first.setdefault(records[i].digest, i)
  members = np.array(sorted(first.values()), int)
  looks = np.array([records[i].look for i in members], np.uint64)
  pairs: list[tuple[int, int]] = []
  edges = np.linspace(0, 64, near + 2).astype(int)
  for low, high in itertools.pairwise(edges):
    mask = np.uint64((1 << int(high - low)) - 1)
    parts = (looks >> np.uint64(low)) & mask
    order = np.argsort(parts, kind="stable")
    ends = np.flatnonzero(np.diff(parts[order])) + 1
    for bucket in np.split(order, ends):
      for k, j in enumerate(bucket[:-1]):
        rest = bucket[k + 1 :]
        close = rest[np.bitwise_count(looks[rest] ^ looks[j]) <= near]
        pairs += [(j, other) for other in close]
  rows, columns = np.array(pairs, int).reshape(-1, 2).T
  graph = sparse.coo_array((np.ones(len(rows), bool), (rows, columns)), (len(members),) * 2)
  _, labels = sparse.csgraph.connected_components(graph, directed=False)
  found = defaultdict(list)
  for i, label in zip(members.tolist(), labels.tolist(), strict=True):
    found[label].append(i)
  return [group for group in found.values() if len(group) > 1]


def _extent(sizes: np.ndarray) -> dict[str, list[int]]:
  """Finds the smallest, middle and largest picture by area, as [height, width]."""
  if not len(sizes):
    return {}
  order = np.argsort(sizes.prod(axis=1), kind="stable")
  pick = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
  return {name: sizes[i].tolist() for name, i in pick.items()}
