"""The one loop in which anything is scored: pictures, what is asked of each, answers, figures.

Photographs and pairs differ in their Track, a network and a folder of somebody's pictures in their
Predictor; a training's held-out scores, `evaluate`, `compare` and `ablate` all come through here.

Several processes share the pictures of a data set out between them, every n-th batch whole: a
picture among others in a batch may have another rounding. What was found is then joined, and the
same in each of them.
"""

import itertools
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from tqdm import tqdm

from scs_jax.core import failures
from scs_jax.core.contract import Query
from scs_jax.errors import UserError
from scs_jax.measure.found import Found
from scs_jax.metrics.estimates import Scores
from scs_jax.training import distributed

Array = jax.Array
_PICTURES = ("image", "other", "mono", "color", "truth", "seen")


class Stream(NamedTuple):
  """Holds pictures that are read once, and the modes in which each of them is coloured.

  Attributes:
    modes: of the track.
    count: of the pictures, those that cannot be read included.
    batch_size: pictures a batch.
    open: gives the batches of some pictures, by their places in the stream, int64 [n] ascending, or
      of all (None), one at a time. Each has uint8 pictures as the track takes them, "record" int32
      [N], the pictures' numbers (-1: padding), "mask" bool [N], whether there is a picture, and
      "gray" bool [N], whether it has no colour.
  """

  modes: tuple[str, ...]
  count: int
  batch_size: int
  open: Callable[[np.ndarray | None], AbstractContextManager[Iterable[Mapping]]]

  def share(self) -> tuple[range, np.ndarray | None]:
    """Says which batches of it this process takes, where all share them: (numbers, places)."""
    count, first = jax.process_count(), jax.process_index()
    batch = np.arange(self.count) // self.batch_size
    places = None if count == 1 else np.flatnonzero(batch % count == first)
    return range(first, -(-self.count // self.batch_size), count), places


def in_memory(batches: Sequence[Mapping], modes: Sequence[str]) -> Stream:
  """Makes a stream of batches that are held already: for one process."""
  return Stream(tuple(modes), len(batches), 1, lambda places: nullcontext(batches))


class Noting(Protocol):
  """Notes something of every picture that goes through it; processes that share them join it."""

  def noted(self) -> Any:
    """Gives what it noted, to be pickled."""

  def join(self, noted: Sequence[Any]) -> None:
    """Takes what it noted in all processes, this one included, in the place of its own."""


def join(things: Sequence[Noting]) -> None:
  """Joins what all processes noted; each of them calls it with the same things in their order."""
  if distributed.count() > 1:
    noted = distributed.gather([thing.noted() for thing in things])
    for thing, parts in zip(things, zip(*noted, strict=True), strict=True):
      thing.join(parts)


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
was given by its name, the result as "rgb", and extras where they were asked for. A batch's "at" is
(number of its stream, its number in it). Where processes share the pictures it is Noting too."""


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
  shared: Noting | None = None,
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
    shared: the data set whose streams these are, where all processes share it out: each of them
      calls this with the same arguments, and gets the same. None: this process looks at all.

  Returns:
    Scores; of each mode the pictures that all of its rows have. A row's variant ("unrefined") has a
    row of its own after it, NAME_unrefined. A mode of which nothing was measured is not there.
  """
  modes = list(dict.fromkeys(mode for stream in streams for mode in stream.modes))
  found = Found(track.metrics, [predictor.name for predictor in predictors], modes)
  active = list(predictors)
  alone = shared is None or distributed.count() == 1
  with nullcontext(lambda: None) if alone else distributed.agreeing() as look:
    for at, batch in _batches(streams, alone):
      look()
      modes = streams[at[0]].modes
      if batch["mask"].any():  # else black pictures, whose size would be compiled for
        sent = _on_device(batch) | {"at": at}
        asked = track.ask(sent, modes)
        found.add_truth(track, sent, modes)
        for predictor in list(active):
          try:
            _ask_one(predictor, track, asked, sent, modes, found, see, extras)
          except Exception as error:
            if failed is None:
              raise
            active.remove(predictor)
            found.forget(predictor.name)
            if alone:
              failed(predictor.name, error)
            else:  # in another process it may have failed earlier
              if failures.explain(error) is None:
                traceback.print_exception(error)
              found.lost[predictor.name] = at, failures.describe(error)
      advance(int((np.asarray(batch["record"]) >= 0).sum()))
  if not alone:
    join([found, shared, *predictors, *([see] if see is not None else [])])
    active = [predictor for predictor in predictors if predictor.name not in found.lost]
    for name, (_, why) in found.lost.items():
      failed(name, UserError(why))
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


def _batches(streams: Sequence[Stream], alone: bool) -> Iterator[tuple[tuple[int, int], Mapping]]:
  """Reads all batches, or this process's share: ((number of the stream, of the batch), batch)."""
  for number, stream in enumerate(streams):
    numbers, places = (itertools.count(), None) if alone else stream.share()
    if places is None or len(places):
      with stream.open(places) as batches:
        for at, batch in zip(numbers, batches):  # noqa: B905 (one may be without an end)
          yield (number, at), batch


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
  predictors: Sequence[Any],
  track: Track,
  data,
  quiet: bool,
  label: str = "",
  modes: Sequence[str] | None = None,
  **keywords,
) -> Scores:
  """Scores a whole data set (photo_set.PhotoSet, pair_set.PairSet), with a bar of its pictures.

  Several processes share it out.

  Args:
    predictors, track: see `score`.
    data: where the pictures come from.
    quiet: no bar; label: what stands before it.
    modes: of those of the data set; None: all.
    keywords: see `score`; a predictor whose colours are not all numbers fails.
  """
  streams = data.streams()
  if modes is not None:
    kept = [(s, tuple(m for m in s.modes if m in modes)) for s in streams]
    streams = [stream._replace(modes=some) for stream, some in kept if some]
  places = [stream.share()[1] for stream in streams]
  total = sum(s.count if p is None else len(p) for s, p in zip(streams, places, strict=True))
  unit = {"total": total, "unit": data.whose, "desc": label or None}
  with tqdm(disable=quiet or not distributed.is_first(), dynamic_ncols=True, **unit) as bar:
    return score(
      predictors, track, streams, numbers=True, advance=bar.update, shared=data, **keywords
    )
