"""Stereo pairs of a comparison: every row colours both views, as in an evaluation of pairs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from scs_jax.core.contract import Prediction
from scs_jax.data import pairs as batches_of
from scs_jax.data.decode import DecodeError
from scs_jax.errors import UserError
from scs_jax.measure import compare, compare_folder, pairs
from scs_jax.measure.compare_rows import Row
from scs_jax.measure.compare_settings import Plan
from scs_jax.measure.evaluation_panels import shown_name
from scs_jax.measure.pair_evaluation_passes import Passes
from scs_jax.measure.pair_evaluation_report import about_seen
from scs_jax.measure.pair_evaluation_views import Chosen, open_views, trained_on, watch
from scs_jax.measure.pairs_trial import PairTrial
from scs_jax.metrics import estimates
from scs_jax.metrics.estimates import Scores

_RANKED = ("psnr_cbcr", "PSNR CbCr"), ("reinhard", "Reinhard's transfer")


class Given:
  """Others' results as the two passes of a pair: those of the pairs last shown to it."""

  def __init__(self):
    self.results: dict[str, np.ndarray] = {}

  def colorize(self, state, query) -> tuple[Prediction, Prediction]:
    del state, query
    first, second = (self.results[mode] / np.float32(255) for mode in pairs.MODES)
    return Prediction(first), Prediction(second)


class PairSet:
  """One data set of pairs.

  Attributes:
    name, spec: of the data set; records: how many pairs are measured.
    dealt: {mode: its records}: all of them; notes: what a reader must know;
      missing: what folders of results lack.

  Raises:
    UserError: there is no such data set.
  """

  def __init__(self, plan: Plan, name: str, spec: str):
    self.name, self.spec, self._plan = name, spec, plan
    self._views = open_views(plan.config, spec, plan.limit, plan.seed, plan.warped)
    self._source = self._views.source
    self.records, self.fingerprint = self._views.count, self._source.fingerprint
    self.dealt = {mode: np.arange(self.records) for mode in plan.modes}
    self.notes, self.empty = list(self._source.notes), 0
    self.notes += [pairs.LEFT_OUT] if plan.baselines and pairs.LEFT_OUT else []
    self.missing = compare_folder.Missing()
    self._passes: dict[str, Passes] = {}  # of pair methods, whose programs are kept
    self._colorize: dict[str, object] = {}

  @property
  def broken(self) -> dict[int, str]:
    """{record: name and cause} of those that cannot be measured."""
    return self._views.errors

  def picture_name(self, i: int) -> str:
    return self._source.name(int(i))

  def reference_name(self, mode: str, i: int) -> str:
    """None: the reference is the pair's own colour view."""
    del mode, i
    return ""

  def measure(self, row: Row, ruler, sets: Sequence[str]) -> Scores:
    """A row's scores of both passes.

    Raises:
      UserError: a folder without (most of) the pictures, colours that are not numbers.
    """
    if row.takes_pairs:
      seen = trained_on(row.config, self._source)
      self.notes += [f"{self.name}: {row.name}: {note}" for note in seen]
    given, paths = Given(), {}
    if row.folder is not None:
      names = [self.picture_name(i) for i in range(self.records)]
      paths = {
        mode: compare_folder.match(row.folder.find(self.name, sets, mode), names)
        for mode in self._plan.modes
      }
      paths = {mode: found for mode, found in paths.items() if any(found)}
      if not paths:
        raise UserError(f"none of its pictures has the name of one of {self.name}'s")
    self._views.shares.clear()  # every row sees all pairs
    trial = self._trial(row, given, tuple(paths) or self._plan.modes, ruler.more)
    with (
      tqdm(total=self.records, unit="pair", disable=self._plan.quiet,
           desc=f"{self.name}: {row.name}", dynamic_ncols=True) as bar,
      self._read(self._source, self.records) as read,
    ):  # fmt: skip
      stream = watch(self._views, read, self._plan.size)
      if row.folder is not None:
        stream = self._given(row, given, paths, stream)
      scores = trial.run(stream, bar.update)
    seen = [f"{self.name}: {note}" for note in about_seen(self._plan.warped, self._views)]
    self.notes += [note for note in seen if note not in self.notes]
    if why := compare.failure(scores):
      raise UserError(why)
    if row.folder is not None and 2 * max(map(len, scores.records.values()), default=0) < (
      self.records
    ):
      why = self.missing.first(f"{self.name}: {row.name}")
      raise UserError(f"less than half of the {self.records} pairs have a picture of theirs{why}")
    if row.name == pairs.TRIVIAL and "second" in scores.of:
      scores.trivial["second"] = row.name
    return scores

  def _read(self, source, count: int):
    return batches_of.eval_batches(source, self._plan.size, self._plan.batch_size, count)

  def _trial(
    self, row: Row, given: Given, modes: Sequence[str], more: Mapping | None = None, show=False
  ) -> PairTrial:
    compiled = True
    if row.folder is not None:
      colorize, compiled = given.colorize, False
    elif row.takes_pairs:
      if row.name not in self._passes:
        self._passes[row.name] = Passes(row.method, row.state)
      passes = self._passes[row.name]
      colorize, compiled = passes.show if show else passes.colorize, False
    elif row.kind == "baseline":
      colorize, compiled = pairs.BASELINES[row.name], row.name not in pairs.UNCOMPILED
    else:
      colorize = row.colorize_pairs()
    return PairTrial(row.name, colorize, row.state, modes, False, compiled, more)

  def _given(self, row: Row, given: Given, paths, batches: Iterable[Mapping]) -> Iterator[dict]:
    """Shows `given` the results of each batch; pairs without all of them do not count."""
    for batch in batches:
      mask = np.array(batch["mask"])
      given.results = {mode: np.zeros_like(batch["color"]) for mode in pairs.MODES}
      for place in np.flatnonzero(mask):
        i = int(batch["record"][place])
        try:
          for mode, found in paths.items():
            if found[i] is None:
              raise DecodeError(f"no {mode}-time picture for {self.picture_name(i)}")
            given.results[mode][place] = self._cut(found[i], i, batch["color"].shape[1:3])
        except DecodeError as error:
          mask[place] = False
          self.missing.add(f"{self.name}: {row.name}", shown_name(str(error)))
      yield {**batch, "mask": mask}

  def _cut(self, path, i: int, size: tuple[int, int]) -> np.ndarray:
    """A result as the views were cut, and mirrored where they were."""
    pair = self._source.load(i, extras=False)
    whole = pair.mono.shape[:2]
    shown = compare_folder.decode.decode(path)
    if shown.shape[:2] not in (whole, size):
      raise DecodeError(
        f"{path}: {shown.shape[1]}x{shown.shape[0]} pixels, expected {whole[1]}x{whole[0]}"
      )
    top, left = ((a - b) // 2 for a, b in zip(shown.shape[:2], size, strict=True))
    shown = shown[:, ::-1] if pair.mirrored else shown
    return shown[top : top + size[0], left : left + size[1]]

  # -- what is shown -------------------------------------------------------------------------------

  def draw(self, rows: Sequence[Row], scores: Scores, sets: Sequence[str]) -> dict:
    """Pairs drawn by the seed, and every row's best and worst, all rows side by side."""
    mode = next(iter(scores.of), None)
    if mode is None:
      return {}
    there = [row for row in rows if row.name in scores.of[mode]]
    rng = np.random.default_rng((self._plan.seed, self.records))
    drawn = np.sort(rng.permutation(scores.records[mode])[: self._plan.panels]).tolist()
    groups = [("Drawn by the seed, whatever the results", drawn)]
    seen = set(drawn)
    for row in there:
      if row.kind != "baseline":
        order, label = estimates.ranking(scores, mode, row.name, *_RANKED)
        for kind, i in (("best", int(order[0])), ("worst", int(order[-1]))) if len(order) else ():
          groups.append((f"{row.name}: its {kind}, by {label}", [] if i in seen else [i]))
          seen.add(i)
    groups = [(kind, chosen) for kind, chosen in groups if chosen]
    shown = self._show(there, scores, mode, sorted(seen), sets)
    strips = lambda chosen: [(shown_name(self.picture_name(i)), shown[i]) for i in chosen]
    return {mode: [(kind, strips(chosen)) for kind, chosen in groups]}

  def _show(self, rows: Sequence[Row], scores: Scores, mode: str, numbers: list[int], sets):
    strips: dict[int, list] = {}
    for i in numbers:
      found, place = [], {}
      at = int(np.flatnonzero(scores.records[mode] == i)[0])
      for row in rows:
        given = Given()
        with batches_of.eval_batches(Chosen(self._source, [i]), self._plan.size, 1) as read:
          batch = {**next(read), "record": np.array([i], np.int32)}
        if row.folder is not None:
          names = [self.picture_name(k) for k in range(self.records)]
          paths = {mode: compare_folder.match(row.folder.find(self.name, sets, mode), names)}
          (batch,) = self._given(row, given, paths, [batch])
        (place,) = self._trial(row, given, (mode,), show=True).show(batch)
        values = scores.of[mode][row.name]
        words = f"{row.name} {values['psnr_rgb'][at]:.1f} / {values['psnr_cbcr'][at]:.1f}"
        found.append((words, place[mode]))
      start = [("monochrome view", place["mono"][..., 0]), ("colour view", place["color"])]
      truth = place.get("truth") if mode == "first" else place["color"]
      end = [] if truth is None else [("truth (PSNR RGB / CbCr)", truth)]
      strips[i] = [*start, *found, *end]
    return strips

  def example(self):
    """(height, width) of the first pair that can be read, as it is measured."""
    with self._read(self._source, self.records) as read:
      for batch in read:
        if batch["mask"].any():
          return batch["mono"].shape[1:3]
    raise UserError(f"none of the {self.records} pairs of {self.spec} can be read")
