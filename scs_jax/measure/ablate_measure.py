"""What a trained row of an ablation is worth: scores a picture, FID of sets, time of a picture."""

import contextlib
import statistics
import time
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from scs_jax.core import ablations
from scs_jax.core.contract import Query
from scs_jax.data import draw, opening, pipeline, scan, subset
from scs_jax.data import pairs as pair_batches
from scs_jax.data.heldout import Observed, References
from scs_jax.data.sources import open_source
from scs_jax.data.subset import Subset
from scs_jax.errors import UserError
from scs_jax.measure import pair_evaluation_views as views
from scs_jax.measure.evaluate import SMALLEST, Evaluator, Protocol
from scs_jax.measure.pair_evaluation_passes import Passes
from scs_jax.measure.pairs_trial import PairTrial
from scs_jax.metrics import estimates
from scs_jax.metrics.distribution import Statistics

_SEED = 0  # of the references' choice and distortion
_REPEATS = 5  # timed calls, after one that compiles; the median is kept


class Subject:
  """A trained row and what it is measured on.

  Args:
    table: says in which modes and at which magnifications.
    config: the row's.
    method, state: what was trained.
    limit: of pictures a mode, beside the table's own numbers; None: those.
    look: pictures to FID's features (learned.extractor), or None: then there is no FID.

  Attributes:
    broken: names and causes of what cannot be read. lists: {mode: hash of its pictures' names}.
    notes: on the pictures that were measured.
  """

  def __init__(self, table: ablations.Table, config, method, state, limit=None, look=None):
    self.table, self.config, self.method, self.state = table, config, method, state
    self._limit, self._look = limit, look
    self.broken: set[str] = set()
    self.lists: dict[str, str] = {}
    self.notes: list[str] = []

  def measure(self) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """(scores, sets) as of ablations_result.RowResult."""
    if self.method.takes_pairs:
      return self._pairs(), {}
    source = open_source(self.config.data.heldout)
    dealt = self._deal(source)
    scores: dict[str, np.ndarray] = {}
    seen: dict[float | None, list[list[Statistics]]] = {}
    for mode, scale in ablations.measured(self.table):
      found, sets = self._photos(source, dealt[mode], mode, scale)
      at = mode if scale is None else f"{mode}@{scale:g}"
      scores |= {f"{at}/{metric}": values for metric, values in found.items()}
      seen.setdefault(scale, []).append(sets)
    self.lists = {
      mode: opening.list_hash(source.fingerprint, [source.name(int(i)) for i in numbers])
      for mode, numbers in dealt.items()
    }
    return scores, self._distances(seen)

  def _deal(self, source) -> dict[str, np.ndarray]:
    """{mode: its records}: drawn from all held-out pictures, and none in two modes."""
    section = self.config.data
    shares = {
      mode: min(most, self._limit or most) for mode, most in self.table.pictures.items()
    }
    least = None if section.get("enlarge", False) else (section.crop, section.crop)
    drawn = draw.draw(source, sum(shares.values()), draw.SEED, least)
    self.notes += drawn.note((section.crop, section.crop), "held-out pictures")
    return draw.deal(drawn.numbers, shares)

  def _photos(self, every, numbers: np.ndarray, mode: str, scale: float | None):
    """({metric: [n]}, features of (results, real pictures)) in one mode at one magnification.

    numbers: of the records of `every`, the held-out source, that the mode colours.
    """
    config = self.config
    source = Observed(Subset(every, numbers), SMALLEST)
    protocol = Protocol(
      mode, scale or config.evaluate.scale, config.evaluate.reference_size, _SEED
    )
    evaluator = Evaluator(self.method.predict, protocol)
    parts: list[dict[str, np.ndarray]] = []
    sets: list[Statistics] = []
    for batch in self._batches(every, source, numbers, mode):
      there = batch["mask"] & batch.get("other_mask", True)
      found, pictures = evaluator.start(self.state, batch)
      values = jax.device_get(found) | {"record": batch["record"], "gray": batch["gray"]}
      parts.append({name: np.asarray(v)[there] for name, v in values.items()})
      if self._look is not None:
        seen = [self._look(shown) for shown in (pictures["rgb"], batch["image"])]
        sets = sets or [Statistics(seen[0].shape[1]) for _ in seen]
        for one, features in zip(sets, seen, strict=True):
          one.update(features, there)
    scores = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not len(scores["record"]):
      errors = source.errors
      first = errors[min(errors)] if errors else "there is none"
      raise UserError(f"none of the pictures of {config.data.heldout} can be measured ({first})")
    self.broken |= set(source.errors.values())
    size = (config.data.crop, config.data.crop)
    self.notes += subset.enlarged(source.sizes.values(), size, f"held-out pictures, mode {mode},")
    return {n: v if n == "record" else v.astype(np.float64) for n, v in scores.items()}, sets

  def _batches(self, every, source: Observed, numbers, mode: str) -> Iterator[Mapping]:
    """Held-out batches with "gray", and in mode random with "other" and "other_mask"."""
    config = self.config
    read = lambda of: pipeline.eval_batches(of, config.data.crop, config.evaluate.batch_size)
    others = None
    with contextlib.ExitStack() as stack:
      batches = stack.enter_context(read(source))
      if mode == "random":
        references = References(source, _SEED, Observed(every), size=config.data.crop)
        others = iter(stack.enter_context(read(references)))
      for batch in batches:
        gray = [scan.mean_chroma(image) < scan.GRAY_CHROMA for image in batch["image"]]
        # A picture's distortion goes by its number among all, as in an evaluation of all.
        record = np.where(batch["record"] < 0, -1, numbers[batch["record"]])
        batch = {**batch, "gray": np.array(gray), "record": record}
        if others is not None:
          other = next(others)
          batch |= {"other": other["image"], "other_mask": other["mask"]}
        yield batch

  def _distances(self, seen: Mapping) -> dict[str, dict]:
    """FID at each magnification: all that was coloured at it against the same real pictures."""
    found = {}
    for scale, sets in seen.items() if self._look is not None else ():
      results, real = sets[0]
      for more in sets[1:]:
        results, real = results.merge(more[0]), real.merge(more[1])
      modes = [m for m, s in ablations.measured(self.table) if s == scale]
      mode = estimates.REFERENTIAL if set(modes) == {"self", "random"} else "+".join(modes)
      at = mode if scale is None else f"{mode}@{scale:g}"
      found[f"{at}/fid"] = {"mean": results.frechet(real), "n": results.count}
    return found

  def _pairs(self) -> dict[str, np.ndarray]:
    """Both colorizations of the held-out pairs, and what they were with the Y that was found."""
    config = self.config
    crop = tuple(config.data.heldout_crop) if all(config.data.heldout_crop) else None
    limit = min(self.table.pictures[mode] for mode in self.table.modes)
    seen = views.open_views(config, None, min(limit, self._limit or limit))
    passes = Passes(self.method, self.state)
    trial = PairTrial(
      "row", passes.colorize, self.state, self.table.modes, baselines=False, compiled=False
    )
    size = config.evaluate.batch_size if crop else 1
    with pair_batches.eval_batches(seen.source, crop, size, seen.count) as read:
      scores = trial.run(views.watch(seen, read, crop))
    if not scores.of:
      first = seen.errors[min(seen.errors)] if seen.errors else "there is none"
      raise UserError(f"none of the pairs of {config.data.heldout} can be measured ({first})")
    self.broken |= set(seen.errors.values())
    names = [seen.source.name(i) for i in range(seen.count)]
    self.lists = dict.fromkeys(scores.of, opening.list_hash(seen.source.fingerprint, names))
    found = {}
    for mode, by in scores.of.items():
      for name, values in by.items():
        place = mode + name.removeprefix("row")
        values = values | {"record": scores.records[mode], "gray": scores.gray[mode]}
        found |= {f"{place}/{metric}": np.asarray(v) for metric, v in values.items()}
    return found

  def milliseconds(self, scale: float) -> float:
    """Of one picture at this magnification: the network alone, warm, median."""
    config = self.config
    size = (config.data.crop, config.data.crop)
    small = tuple(max(1, round(side / scale)) for side in size)
    reference = None
    if set(self.table.modes) & {"self", "random"}:
      side = config.evaluate.reference_size
      reference = jnp.full((1, side, side, 3), 0.5)
    query = Query(jnp.full((1, *small, 1), 0.5), size, reference)
    program = jax.jit(lambda state, query: self.method.predict(state, query).rgb)
    jax.block_until_ready(program(self.state, query))
    times = []
    for _ in range(_REPEATS):
      started = time.perf_counter()
      jax.block_until_ready(program(self.state, query))
      times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)
