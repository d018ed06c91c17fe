"""The one loop in which anything is scored: pictures, what is asked of each, answers, figures.

Photographs and pairs differ in their Track, a network and a folder of somebody's pictures in their
Predictor; a training's held-out scores, `evaluate`, `compare` and `ablate` all come through here.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from tqdm import tqdm

from scs_jax.core.contract import Query
from scs_jax.errors import UserError
from scs_jax.metrics.estimates import Scores

Array = jax.Array
_PICTURES = ("image", "other", "mono", "color", "truth", "seen")


class Stream(NamedTuple):
  """Holds pictures that are read once, and the modes in which each of them is coloured.

  Attributes:
    modes: of the track.
    count: of the pictures, those that cannot be read included.
    open: gives the batches, one at a time. Each has uint8 pictures as the track takes them,
      "record" int32 [N], the pictures' numbers (-1: padding), "mask" bool [N], whether there is a
      picture, and "gray" bool [N], whether it has no colour.
  """

  modes: tuple[str, ...]
  count: int
  open: Callable[[], AbstractContextManager[Iterable[Mapping]]]


def in_memory(batches: Sequence[Mapping], modes: Sequence[str]) -> Stream:
  """Makes a stream of batches that are held already."""
  return Stream(tuple(modes), len(batches), lambda: nullcontext(batches))


class Answer(NamedTuple):
  """Holds the colours that a predictor gave a batch.

  Attributes:
    rgb: float32 [N, H, W, 3] in [0, 1].
    there: bool [N], which places have an answer; None: all.
    extras: named arrays [N, ...] that belong to it.
  """

  rgb: Array
  there: np.ndarray | None = None
  extras: Mapping[str, Array] = {}


class Asked(NamedTuple):
  """Holds a query, and the pictures in it as they are shown: {name: uint8 [N, ...]}."""

  query: Query
  given: Mapping[str, Array]


class Track(Protocol):
  """Says in what photographs and pairs differ where they are scored."""

  metrics: tuple[str, ...]
  """In the order of the tables."""

  def ask(self, batch: Mapping, modes: Sequence[str]) -> dict[str, Asked]:
    """Makes the queries of a batch, by mode."""

  def answers(
    self, predictor, asked: Mapping[str, Asked], batch: Mapping, extras: bool
  ) -> dict[str, dict[str, Answer]]:
    """Has a predictor answer: {variant: {mode: Answer}}; the variant "" is the answer itself."""

  def present(self, batch: Mapping, mode: str) -> np.ndarray:
    """Tells which places of a batch have what the mode asks with, bool [N]."""

  def measurable(self, batch: Mapping, mode: str) -> np.ndarray:
    """Tells which places of a batch have a truth to be measured by, bool [N]."""

  def measure(self, rgb: Array, batch: Mapping, mode: str) -> tuple[dict[str, Array], Array]:
    """Measures results: {metric: float32 [N]}, and the results as uint8 [N, H, W, 3]."""

  def measure_alone(self, batch: Mapping) -> dict[str, Array]:
    """Measures what can be said of the true pictures alone: {metric: float32 [N]}."""


See = Callable[[str, str, Mapping, np.ndarray, Mapping[str, Array]], Any]
"""Takes the name of a row, a mode, the batch, which places are there (bool [N]), and pictures: what
was given by its name, the result as "rgb", and extras where they were asked for."""


def score(
  predictors: Sequence[Any],
  track: Track,
  streams: Sequence[Stream],
  *,
  see: See | None = None,
  extras: bool = False,
  numbers: bool = False,
  failed: Callable[[str, Exception], Any] | None = None,
  advance: Callable[[int], Any] = lambda n: None,
) -> Scores:
  """Scores predictors side by side; every picture is read once, and one batch is held at a time.

  Args:
    predictors: as measure.predictors has them, with names of their own.
    track: photos.Photos or pairs.Pairs.
    streams: the pictures.
    see: is shown every result.
    extras: ask for the methods' named extras, for `see`.
    numbers: a predictor whose colours are not all numbers fails too.
    failed: is told the name and the error of a predictor that fails, which is then left out; None:
      the error ends it all.
    advance: is told after each batch how many pictures it held.

  Returns:
    Scores; of each mode the pictures that all of its rows have. A row's variant ("unrefined") has a
    row of its own after it, NAME_unrefined. A mode of which nothing was measured is not there.
  """
  found = _Found(track.metrics)
  active = list(predictors)
  for stream in streams:
    with stream.open() as batches:
      for batch in batches:
        if batch["mask"].any():  # else black pictures, whose size would be compiled for
          sent = _on_device(batch)
          asked = track.ask(sent, stream.modes)
          found.add_truth(track, sent, stream.modes)
          for predictor in list(active):
            try:
              _ask_one(predictor, track, asked, sent, stream.modes, found, see, extras)
            except Exception as error:
              if failed is None:
                raise
              active.remove(predictor)
              found.forget(predictor.name)
              failed(predictor.name, error)
        advance(int((np.asarray(batch["record"]) >= 0).sum()))
  for predictor in active:
    why = predictor.unfit()
    if numbers and not why and found.has_nan(predictor.name):
      why = "its colours are not all numbers: the training has diverged"
    if why:
      if failed is None:
        raise UserError(f"{predictor.name}: {why}")
      found.forget(predictor.name)
      failed(predictor.name, UserError(why))
  return found.joined()


def _ask_one(predictor, track, asked, batch, modes, found, see, extras) -> None:
  asked = {mode: one for mode, one in asked.items() if predictor.takes(mode)}
  started = []
  for variant, by_mode in track.answers(predictor, asked, batch, extras).items():
    row = f"{predictor.name}_{variant}" if variant else predictor.name
    for mode, answer in by_mode.items():
      if not predictor.takes(mode):
        continue
      present = track.present(batch, mode)
      if answer.there is not None:
        present = present & answer.there
      scores, shown = predictor.measure(track, answer, batch, mode)
      if mode in modes:
        started.append((row, mode, present & track.measurable(batch, mode), scores))
      if see is not None and not variant:
        pictures = {**asked[mode].given, "rgb": shown, **(answer.extras if extras else {})}
        see(row, mode, batch, present, pictures)
  # All modes are under way before the first number is waited for, and one transfer takes all.
  values = jax.device_get([scores for *_, scores in started])
  for (row, mode, there, _), scores in zip(started, values, strict=True):
    found.add(predictor.name, row, mode, batch, there, scores)


class _Found:
  """Gathers scores batch by batch."""

  def __init__(self, metrics: Sequence[str]):
    self._metrics = metrics
    self._truth: dict[str, list] = {}  # by mode: (records, {metric: values}, gray)
    self._rows: dict[str, dict[str, tuple[str, list]]] = {}  # by mode and row: (predictor, parts)

  def add_truth(self, track: Track, batch: Mapping, modes: Sequence[str]) -> None:
    alone = jax.device_get(track.measure_alone(batch))
    for mode in modes:
      there = track.present(batch, mode) & track.measurable(batch, mode)
      part = _records(batch)[there], _where(there, alone), np.asarray(batch["gray"], bool)[there]
      self._truth.setdefault(mode, []).append(part)

  def add(self, predictor: str, row: str, mode: str, batch, there, scores: Mapping) -> None:
    parts = self._rows.setdefault(mode, {}).setdefault(row, (predictor, []))[1]
    parts.append((_records(batch)[there], _where(there, scores)))

  def forget(self, predictor: str) -> None:
    for mode, rows in self._rows.items():
      self._rows[mode] = {row: kept for row, kept in rows.items() if kept[0] != predictor}

  def has_nan(self, predictor: str) -> bool:
    """Tells whether a figure of it, or of a variant, is not a number."""
    return any(
      np.isnan(values).any()
      for rows in self._rows.values()
      for of, parts in rows.values() if of == predictor
      for _, by in parts
      for values in by.values()
    )  # fmt: skip

  def joined(self) -> Scores:
    whole = Scores({}, {}, {}, {})
    for mode, parts in self._truth.items():
      rows = {row: _concatenated(found) for row, (_, found) in self._rows.get(mode, {}).items()}
      rows = {row: by for row, by in rows.items() if len(by[0])}
      if not rows:
        continue
      common = functools.reduce(np.intersect1d, [records for records, _ in rows.values()])
      ordered = lambda by: {m: by[m] for m in self._metrics if m in by}
      whole.records[mode] = common
      whole.of[mode] = {
        row: ordered(_chosen(records, common, by)) for row, (records, by) in rows.items()
      }
      records, real = _concatenated([part[:2] for part in parts])
      whole.real[mode] = ordered(_chosen(records, common, real))
      gray = np.concatenate([part[2] for part in parts])
      whole.gray[mode] = _chosen(records, common, {"": gray})[""]
    return whole


def _records(batch: Mapping) -> np.ndarray:
  return np.asarray(batch["record"], np.int64)


def _where(there: np.ndarray, values: Mapping) -> dict[str, np.ndarray]:
  return {name: np.asarray(v, np.float64)[there] for name, v in values.items()}


def _concatenated(parts: Sequence[tuple[np.ndarray, Mapping]]) -> tuple[np.ndarray, dict]:
  records = np.concatenate([found for found, _ in parts])
  return records, {name: np.concatenate([by[name] for _, by in parts]) for name in parts[0][1]}


def _chosen(records: np.ndarray, common: np.ndarray, by: Mapping) -> dict:
  """Takes the values of the records in common, in their order."""
  _, at, _ = np.intersect1d(records, common, return_indices=True)
  return {name: values[at] for name, values in by.items()}


def _on_device(batch: Mapping) -> dict:
  """Sends the pictures once for all predictors, and commits them, as a restored state is: a program
  is compiled anew for arguments that are not."""
  sent = {name: jax.device_put(batch[name], jax.local_devices()[0])
          for name in _PICTURES if name in batch}  # fmt: skip
  return {**batch, **sent}


class Kept:
  """Keeps the pictures of a scoring, as `see` of `score`: for panels.

  Args:
    most: pictures of a mode, the first that are met; None: all.

  Attributes:
    places: {mode: {record: {name: uint8 [H, W, ...]}}}: what was given, "truth" where the batch has
      one, and the results under their rows' names.
  """

  def __init__(self, most: int | None = None):
    self._most = most
    self.places: dict[str, dict[int, dict[str, np.ndarray]]] = {}

  def __call__(self, row: str, mode: str, batch: Mapping, there, pictures: Mapping) -> None:
    places, pictures = self.places.setdefault(mode, {}), jax.device_get(pictures)
    for i in np.flatnonzero(there):
      record = int(batch["record"][i])
      if record not in places and len(places) == self._most:
        continue
      place = places.setdefault(record, {})
      place |= {name: value[i] for name, value in pictures.items() if name != "rgb"}
      place[row] = pictures["rgb"][i]
      if "image" in batch:
        place["truth"] = np.asarray(batch["image"][i])
      elif batch["has_truth"][i]:
        place["truth"] = np.asarray(batch["truth"][i])


def score_set(
  predictors: Sequence[Any], track: Track, data, quiet: bool, label: str = "", **keywords
) -> Scores:
  """Scores a whole data set (photo_set.PhotoSet, pair_set.PairSet), with a bar of its pictures.

  Args:
    predictors, track: see `score`.
    data: where the pictures come from.
    quiet: no bar; label: what stands before it.
    keywords: see `score`; a predictor whose colours are not all numbers fails.
  """
  streams = data.streams()
  total = sum(stream.count for stream in streams)
  unit = {"total": total, "unit": data.whose, "desc": label or None}
  with tqdm(disable=quiet, dynamic_ncols=True, **unit) as bar:
    return score(predictors, track, streams, numbers=True, advance=bar.update, **keywords)
