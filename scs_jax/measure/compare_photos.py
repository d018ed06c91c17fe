"""Photographs of a comparison: one data set, dealt to the modes, coloured by every row."""

import contextlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from scs_jax.data import draw, opening, pipeline
from scs_jax.data.decode import DecodeError
from scs_jax.data.heldout import Observed, References
from scs_jax.data.sources import open_source
from scs_jax.data.subset import Subset
from scs_jax.errors import UserError
from scs_jax.measure import compare, compare_folder, evaluation
from scs_jax.measure.compare_rows import Row
from scs_jax.measure.compare_ruler import Ruler
from scs_jax.measure.compare_settings import Plan
from scs_jax.measure.evaluate import SMALLEST, Evaluator, Protocol
from scs_jax.measure.evaluation_panels import Pictures, batch_of, shown_name
from scs_jax.measure.evaluation_settings import trained_on
from scs_jax.measure.trial import Trial
from scs_jax.metrics import estimates
from scs_jax.metrics.estimates import Scores


class Photos:
  """One data set of photographs.

  Attributes:
    name, spec: of the data set; records: how many pictures it has.
    dealt: {mode: its records, ascending}; modes without any are left out.
    notes: what a reader must know; missing: what folders of results lack.

  Raises:
    UserError: there is no such data set.
  """

  def __init__(self, plan: Plan, name: str, spec: str):
    self.name, self.spec, self._plan = name, spec, plan
    self._source = open_source(spec)
    self.records, self.fingerprint = len(self._source), self._source.fingerprint
    whole = sum(compare.SHARES.values())
    most = whole if plan.limit is None else min(whole, plan.limit)
    least = None if plan.enlarge else plan.size
    drawn = draw.draw(self._source, most, plan.seed, least, not plan.quiet)
    dealt = draw.deal(drawn.numbers, compare.SHARES, plan.shared)
    self.dealt = {mode: dealt[mode] for mode in plan.modes if len(dealt[mode])}
    self.empty = getattr(self._source, "skipped_empty", 0)
    self.notes = [f"{name}: {note}" for note in drawn.note(plan.size)]
    self.missing = compare_folder.Missing()
    pool = None
    if "random" in self.dealt:
      lent = self._source if plan.reference_data is None else open_source(plan.reference_data)
      pool = Observed(lent)
    self._pictures: dict[str, Pictures] = {}
    for mode, numbers in self.dealt.items():
      heldout = Observed(Subset(self._source, numbers), SMALLEST)
      references = None
      if mode == "random":
        references = References(heldout, plan.seed, pool, size=plan.size)
      self._pictures[mode] = Pictures(heldout, references, pool, len(numbers), self.empty)

  def picture_name(self, i: int) -> str:
    return self._source.name(int(i))

  def reference_name(self, mode: str, i: int) -> str:
    """Of the record i that a mode coloured."""
    if mode == "self":
      return self.picture_name(i)
    if mode != "random":
      return ""
    return self._pictures[mode].references.name(int(np.searchsorted(self.dealt[mode], i)))

  @property
  def broken(self) -> dict[int, str]:
    """{record: name and cause} of those that cannot be read."""
    return {
      int(self.dealt[mode][i]): error
      for mode, pictures in self._pictures.items()
      for i, error in pictures.heldout.errors.items()
    }

  def measure(self, row: Row, ruler: Ruler, sets: Sequence[str]) -> Scores:
    """A row's scores in every mode that it takes.

    Raises:
      UserError: a folder without (most of) the pictures, colours that are not numbers.
    """
    if row.kind == "run" and not row.true_light:
      seen = trained_on(row.config, self.spec)
      self.notes += [f"{self.name}: {row.name}: {note}" for note in seen]
    parts, absent = [], []
    modes = [mode for mode in self.dealt if row.takes(mode)]
    for mode in modes:
      paths = self._paths(row, mode, sets)
      if paths is not None and not any(paths):
        absent.append(mode)
        continue
      parts.append(self._measure(row, mode, paths, ruler))
    if absent and len(absent) == len(modes):
      raise UserError(f"none of its pictures has the name of one of {self.name}'s")
    found = compare.join(parts)
    if why := compare.failure(found):
      raise UserError(why)
    return found

  def _measure(self, row: Row, mode: str, paths, ruler: Ruler) -> Scores:
    pictures = self._pictures[mode]
    with contextlib.ExitStack() as stack:
      bar = stack.enter_context(
        tqdm(total=pictures.records, unit="picture", disable=self._plan.quiet,
             desc=f"{self.name}, {mode}: {row.name}", dynamic_ncols=True)
      )  # fmt: skip
      batches = stack.enter_context(self._read(pictures.heldout))
      others = None
      if pictures.references is not None:
        others = stack.enter_context(self._read(pictures.references))
      stream = evaluation.watch(batches, others, bar.update)
      if paths is not None:
        stream = self._given(row, mode, paths, stream)
      see = ruler.begin(self.name, row.name, mode)
      scores = self._trial(row, mode, ruler.more).run(stream, see=see)
    readable = pictures.records - len(pictures.heldout.errors)
    if paths is not None and 2 * len(scores.records[mode]) < readable:
      raise UserError(
        f"mode {mode}: {len(scores.records[mode])} of {readable} pictures have one of its own that "
        f"can be used{self.missing.first(self._place(row, mode))}; expected half of them or more"
      )
    scores.records[mode] = self.dealt[mode][scores.records[mode]]
    return scores

  def _read(self, source):
    return pipeline.eval_batches(source, self._plan.size, self._plan.batch_size)

  def _trial(self, row: Row, mode: str, more: Mapping | None = None) -> Trial:
    plan = self._plan
    protocol = Protocol(mode, plan.scale, plan.reference_size, plan.seed)
    predict = row.predict or "bicubic_gray"  # of results: never asked
    return Trial(row.name, predict, row.state, [protocol], False, row.make, more)

  # -- others' pictures ----------------------------------------------------------------------------

  def _paths(self, row: Row, mode: str, sets: Sequence[str]):
    """A path, or None, for each picture of a mode; None as a whole where the row is a network."""
    if row.folder is None:
      return None
    names = map(self.picture_name, self.dealt[mode])
    return compare_folder.match(row.folder.find(self.name, sets, mode), names)

  def _place(self, row: Row, mode: str) -> str:
    return f"{self.name}, {mode}: {row.name}"

  def _given(self, row: Row, mode: str, paths, batches: Iterable[Mapping]) -> Iterator[dict]:
    """Batches with "result"; pictures without one that can be used do not count."""
    sizes = self._pictures[mode].heldout.sizes
    for batch in batches:
      mask, result = np.array(batch["mask"]), np.zeros_like(batch["image"])
      for place in np.flatnonzero(mask):
        i = int(batch["record"][place])
        try:
          if paths[i] is None:
            name = self.picture_name(self.dealt[mode][i])
            raise DecodeError(f"no picture for {name}")
          result[place] = compare_folder.read(paths[i], self._plan.size, sizes[i])
        except DecodeError as error:
          mask[place] = False
          self.missing.add(self._place(row, mode), shown_name(str(error)))
      yield {**batch, "mask": mask, "result": result}

  # -- what is shown -------------------------------------------------------------------------------

  def draw(self, rows: Sequence[Row], scores: Scores, sets: Sequence[str]) -> dict:
    """Pictures drawn by the seed, and every row's best and worst, all rows side by side."""
    panels = {}
    for mode, by in scores.of.items():
      if mode not in self._pictures:
        continue
      there = [row for row in rows if row.name in by]
      groups = self._choose(scores, mode, there)
      numbers = sorted({i for _, chosen in groups for i in chosen})
      shown = self._show(there, mode, numbers, sets)
      strip = lambda i, mode=mode, shown=shown: _strip(scores, mode, i, shown[i])
      panels[mode] = [
        (kind, [(self._heading(mode, i), strip(i)) for i in chosen]) for kind, chosen in groups
      ]
    return panels

  def _choose(self, scores: Scores, mode: str, rows: Sequence[Row]) -> list[tuple[str, list[int]]]:
    records = scores.records[mode]
    rng = np.random.default_rng((self._plan.seed, len(records)))
    drawn = np.sort(rng.permutation(records)[: self._plan.panels]).tolist()
    groups = [("Drawn by the seed, whatever the results", drawn)]
    seen = set(drawn)
    for row in rows:
      if row.kind == "baseline":
        continue
      order, label = estimates.ranking(scores, mode, row.name)
      order = [int(i) for i in order]
      for kind, i in (("best", order[0]), ("worst", order[-1])) if order else ():
        words = f"{row.name}: its {kind}, by {label}"
        if i in seen:
          groups.append((f"{words}: {shown_name(self.picture_name(i))}, shown above", []))
        else:
          groups.append((words, [i]))
        seen.add(i)
    return groups

  def _show(self, rows: Sequence[Row], mode: str, numbers: Sequence[int], sets) -> dict[int, dict]:
    places = np.searchsorted(self.dealt[mode], numbers).tolist()
    shown: dict[int, dict] = {i: {} for i in numbers}
    size = self._plan.batch_size
    for row in rows:
      paths = self._paths(row, mode, sets)
      for start in range(0, len(numbers), size):
        chunk = places[start : start + size]
        batch = batch_of(self._plan, self._pictures[mode], chunk)
        if paths is not None:
          (batch,) = self._given(row, mode, paths, [batch])
        found = self._trial(row, mode).show(batch)[mode]
        for i, place in zip(numbers[start : start + size], found, strict=False):
          if place is not None:
            truth = place.pop("truth")
            shown[i] = {"gray": place["gray"], **shown[i], **place, "truth": truth}
    return shown

  def _heading(self, mode: str, i: int) -> str:
    name = shown_name(self.picture_name(i))
    if mode != "random":
      return name
    return f"{name}, colours of {shown_name(self.reference_name(mode, i))}"

  # -- for others, and for the distance to the real ones -------------------------------------------

  def real(self, ruler: Ruler) -> None:
    """Shows the ruler all pictures that take part, once."""
    numbers = np.unique(np.concatenate(list(self.dealt.values())))

    def batches():
      with self._read(Observed(Subset(self._source, numbers), SMALLEST)) as read:
        for batch in read:
          yield batch["image"], batch["mask"]

    files = opening.list_hash(self.fingerprint, [self.picture_name(i) for i in numbers])
    ruler.real(self.name, {"files": files, "size": list(self._plan.size)}, batches)

  def write_inputs(self, folder: pathlib.Path) -> None:
    """PNG files of what each mode gives and asks: input, reference, truth."""
    plan = self._plan
    for mode, pictures in self._pictures.items():
      protocol = Protocol(mode, plan.scale, plan.reference_size, plan.seed)
      ask = Evaluator("bicubic_gray", protocol).ask
      with contextlib.ExitStack() as stack:
        others = None
        batches = stack.enter_context(self._read(pictures.heldout))
        if pictures.references is not None:
          others = stack.enter_context(self._read(pictures.references))
        for batch in evaluation.watch(batches, others, lambda n: None):
          there = batch["mask"] & batch.get("other_mask", True)
          given = jax.device_get(ask(batch)[1]) | {"truth": batch["image"]}
          for place in np.flatnonzero(there):
            number = self.dealt[mode][batch["record"][place]]
            name = pathlib.PurePosixPath(self.picture_name(number)).with_suffix(".png")
            parts = [part for part in name.parts if part not in ("/", "..")]
            for kind, values in given.items():
              path = folder.joinpath(self.name, mode, kind, *parts)
              path.parent.mkdir(parents=True, exist_ok=True)
              Image.fromarray(np.asarray(values[place])).save(path)


def _strip(scores: Scores, mode: str, i: int, found: dict) -> list:
  at = int(np.flatnonzero(scores.records[mode] == i)[0])
  strip = [("gray input", found["gray"])]
  if "reference" in found:
    strip.append(("reference", found["reference"]))
  for row, values in scores.of[mode].items():
    if row in found:
      caption = f"{row} {values['psnr_rgb'][at]:.1f} / {values['psnr_ab'][at]:.1f}"
      strip.append((caption, found[row]))
  return [*strip, ("truth (PSNR RGB / ab)", found["truth"])]
