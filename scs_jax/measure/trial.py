"""A model and its baselines in every mode, over one stream of pictures that is read once."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np

from scs_jax.core.contract import TrainState
from scs_jax.measure.baselines import baselines_of
from scs_jax.measure.evaluate import METRICS, Evaluator, Protocol, measure_alone
from scs_jax.metrics.color import COLORFULNESS
from scs_jax.metrics.estimates import Scores

_PICTURES = ("image", "other", "mono", "color", "truth", "seen")


# For each mode, batch by batch: numbers of the pictures, and "of", "real" and "gray" of each.
Parts = Mapping[str, Sequence[tuple[np.ndarray, Mapping]]]


def gather(parts: Parts, predictors: Mapping[str, Sequence[str]], metrics: Sequence[str]) -> Scores:
  """The scores of all batches, in the order of `predictors` (by mode) and `metrics`."""
  records, of, real, gray = {}, {}, {}, {}
  for mode, found in parts.items():
    numbers, values = zip(*found, strict=True)
    whole = jax.tree.map(lambda *pieces: np.concatenate(pieces), *values)
    in_order = lambda by: {metric: by[metric] for metric in metrics if metric in by}
    records[mode], real[mode] = np.concatenate(numbers), in_order(whole["real"])
    gray[mode] = whole["gray"].astype(bool)
    of[mode] = {p: in_order(whole["of"][p]) for p in predictors[mode]}  # a tree forgets the order
  return Scores(records, of, real, gray)


class Trial:
  """Predictors side by side under one protocol a mode.

  Args:
    name: what the model is called in tables.
    predict: its (state, query) -> Prediction.
    state: its parameters.
    protocols: one a mode, in the order of the tables.
    baselines: whether they take part.
    make: (predict, protocol) -> the model's Evaluator, where it is to be another one.
    more: further metrics by name, of results and true pictures float32 [N, H, W, 3] in [0, 1].
  """

  def __init__(
    self,
    name: str,
    predict: Callable | str,
    state: TrainState | None,
    protocols: Sequence[Protocol],
    baselines: bool = True,
    make: Callable[[Callable | str, Protocol], Evaluator] = Evaluator,
    more: Mapping[str, Callable] | None = None,
  ):
    self._state, self._model, self._more = state, name, more or {}
    self._evaluators: dict[str, dict[str, Evaluator]] = {}
    for protocol in protocols:
      rivals = baselines_of(protocol.mode) if baselines else ()
      self._evaluators[protocol.mode] = {name: make(predict, protocol)} | {
        rival: Evaluator(rival, protocol) for rival in rivals
      }

  @property
  def modes(self) -> tuple[str, ...]:
    return tuple(self._evaluators)

  def run(
    self,
    batches: Iterable[Mapping],
    advance: Callable[[int], None] = lambda n: None,
    see: Callable[[Mapping, np.ndarray, jax.Array], None] | None = None,
  ) -> Scores:
    """Measures every picture; holds one batch at a time.

    Args:
      batches: as `Evaluator.start` takes them, with bool [N] "mask", "gray" (whether the picture
        has no colour) and, in mode random, "other_mask" (whether it has a reference).
      advance: told the number of pictures done after each batch.
      see: handed each batch, which of its places count (bool [N]), and the model's results, uint8
        [N, H, W, 3] on the device; modes in order.

    Returns:
      Scores, without a picture where none could be read; a mode may have fewer than another.
    """
    parts: dict[str, list] = {mode: [] for mode in self.modes}
    for batch in batches:
      batch = on_device(batch)
      # Everything is under way before the first number is waited for, and one transfer takes all.
      started = {mode: self._start(mode, batch) for mode in self.modes}
      scores = {
        m: {p: found[0] | self._measure_more(found[1]["rgb"], batch) for p, found in by.items()}
        for m, by in started.items()
      }
      scores, real = jax.device_get((scores, measure_alone(batch["image"])))
      for mode in self.modes:
        there = _there(mode, batch)
        kept = where(there, {"of": scores[mode], "real": real, "gray": batch["gray"]})
        parts[mode].append((np.asarray(batch["record"], np.int64)[there], kept))
        if see is not None:
          see(batch, there, started[mode][self._model][1]["rgb"])
      advance(int(batch["mask"].sum()))
    return gather(parts, self._evaluators, (*METRICS, *COLORFULNESS, *self._more))

  def show(self, batch: Mapping) -> dict[str, list[dict[str, np.ndarray]]]:
    """{mode: a dict a place of the batch}: uint8 "gray", "reference" where there is one, "truth",
    and a result under each predictor's name; None for a place without a picture."""
    shown, truth = {}, batch["image"]
    batch = on_device(batch)
    for mode in self.modes:
      found = {p: jax.device_get(f[1]) for p, f in self._start(mode, batch).items()}
      given = {k: v for k, v in found[self._model].items() if k != "rgb"}
      given |= {"truth": truth} | {p: f["rgb"] for p, f in found.items()}
      there = _there(mode, batch)
      shown[mode] = [
        {k: v[i] for k, v in given.items()} if there[i] else None for i in range(len(there))
      ]
    return shown

  def _measure_more(self, rgb: jax.Array, batch: Mapping) -> dict[str, jax.Array]:
    unit = lambda image: image / jax.numpy.float32(255)
    return {name: metric(unit(rgb), unit(batch["image"])) for name, metric in self._more.items()}

  def _start(self, mode: str, batch: Mapping) -> dict[str, tuple]:
    by = self._evaluators[mode]
    asked = by[self._model].ask(batch)
    state = lambda predictor: self._state if predictor == self._model else None
    return {p: evaluator.start(state(p), batch, asked) for p, evaluator in by.items()}


def on_device(batch: Mapping) -> dict:
  """The pictures sent once for all predictors, and committed, as a restored state is: a program is
  compiled anew for arguments that are not."""
  sent = {name: jax.device_put(batch[name], jax.devices()[0])
          for name in _PICTURES if name in batch}  # fmt: skip
  return {**batch, **sent}


def _there(mode: str, batch: Mapping) -> np.ndarray:
  return batch["mask"] & batch["other_mask"] if mode == "random" else batch["mask"]


def where(there: np.ndarray, tree):
  """The places of a batch that count, float64."""
  return jax.tree.map(lambda x: np.asarray(x, np.float64)[there], tree)
