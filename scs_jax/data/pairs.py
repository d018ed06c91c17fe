"""Batches of stereo pairs, for training and for evaluation: pipeline.py's machinery and promises.

A training example is a pure function of (seed, position): the same crop of both views, at the same
place, so that rows stay rows and disparities stay what they are. No example is mirrored left and
right, which would turn the disparities round; nor are the views exchanged, which would show the
colours of a view that has none. Upside down is another scene of the same kind: `vertical_flip`.

The truth of the monochrome view is in no training batch; its file is not even opened.
"""

import dataclasses
import functools

import numpy as np

from scs_jax.data import order, pipeline
from scs_jax.data.decode import DecodeError
from scs_jax.data.pipeline import Batch, BatchIterator
from scs_jax.data.stereo import Pair, PairSource
from scs_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class PairSpec:
  """Says what a training batch of pairs holds and how it is read.

  Attributes:
    batch_size: global, over all hosts.
    crop: (height, width) in pixels. What is smaller is padded below and to the right: rows are
      mirrored, as both views' are alike; columns, whose mirror images would match at disparities
      that no camera gives, are repeated.
    vertical_flip: turn half of the examples upside down.
    seed: of order and crops.
    threads, workers, prefetch: as in pipeline.BatchSpec.
  """

  batch_size: int
  crop: tuple[int, int]
  vertical_flip: bool = False
  seed: int = 0
  threads: int = 2
  workers: int = 0
  prefetch: int = 4

  def __post_init__(self):
    if len(self.crop) != 2 or not all(isinstance(side, int) and side >= 1 for side in self.crop):
      raise UserError(f"data: crop is {self.crop}, expected (height, width) in pixels")
    pipeline.require_least(self, batch_size=1, threads=0, workers=0, prefetch=1)


def train_batches(
  source: PairSource, spec: PairSpec, *, start_step: int = 0, host: int = 0, hosts: int = 1
) -> BatchIterator:
  """Endless training batches of one host, from start_step on; in the order of pipeline.py.

    mono: uint8 [b, h, w, 1] in [0, 255].
    color: uint8 [b, h, w, 3]; mono's pixel (j, i) has its match at (j, i + k), k >= 0.
    index, record, bad: as pipeline.train_batches has them.

  Raises:
    UserError: at once for a batch size that the hosts do not divide or a negative step; when
      iterating, if pipeline.MAX_TRIES pairs in a row cannot be read.
  """
  order.check_records(len(source))
  example = functools.partial(_example, source, spec)
  return pipeline.read_training(example, spec, start_step, host, hosts)


def eval_batches(
  source: PairSource,
  crop: tuple[int, int] | None,
  batch_size: int = 1,
  limit: int | None = None,
  *,
  threads: int = 2,
  host: int = 0,
  hosts: int = 1,
) -> BatchIterator:
  """Reads the first `limit` pairs in order, once, cut in the middle; the last batch is padded.

  Args:
    source: the pairs.
    crop: (height, width) of the central part; a smaller pair counts as one that cannot be read.
      None: whole pairs at their own sizes, which takes batch_size 1.
    batch_size: global, over all hosts; every host gets as many batches.
    limit: number of pairs; None: all.

  Batches: mono uint8 [b, h, w, 1]; color uint8 [b, h, w, 3]; truth uint8 [b, h, w, 3], the true
  colours of the monochrome view, black where has_truth (bool [b]) is False; seen bool [b, h, w, 1],
  the pixels of which it is known; mask bool [b], False
  for padding and for pairs that cannot be read, whose pictures are black; record int32 [b], -1 for
  padding; bad int32 [b], the record number if it cannot be read, else -1.
  """
  n = len(source) if limit is None else min(limit, len(source))
  if crop is None and batch_size != 1:
    raise UserError(
      f"pairs at their own sizes cannot share a batch: batch size {batch_size}; use 1, or give a "
      "crop"
    )
  example = functools.partial(_eval_example, source, crop, n)
  return pipeline.read_once(example, n, batch_size, threads, host, hosts)


def why_bad(source: PairSource, record: int, crop: tuple[int, int] | None = None) -> str:
  """Explains in a line why eval_batches could not show a record; empty where it can be read."""
  try:
    _cut(source, record, crop)
  except DecodeError as error:
    return str(error)
  return ""


def _example(source: PairSource, spec: PairSpec, position: int) -> Batch:
  asked = order.record_at(position, len(source), spec.seed)
  pair, record, bad = _load_next(source, asked)
  rng = order.philox(spec.seed, order.CROP, position)
  height, width = pair.mono.shape[:2]
  # Always three draws, so that no setting moves another's.
  down, right, turned = rng.random(3)
  top = int(down * max(height - spec.crop[0] + 1, 1))
  left = int(right * max(width - spec.crop[1] + 1, 1))
  upside_down = spec.vertical_flip and turned < 0.5
  cut = lambda view: _patch(view, top, left, spec.crop, upside_down)
  return {
    "mono": cut(pair.mono),
    "color": cut(pair.color),
    "index": np.uint32(position & 0xFFFFFFFF),
    "record": np.int32(record),
    "bad": np.int32(bad),
  }


def _patch(
  view: np.ndarray, top: int, left: int, crop: tuple[int, int], upside_down: bool
) -> np.ndarray:
  part = view[top : top + crop[0], left : left + crop[1]]
  below, beside = crop[0] - part.shape[0], crop[1] - part.shape[1]
  if below:
    part = np.pad(part, ((0, below), (0, 0), (0, 0)), mode="symmetric")
  if beside:
    part = np.pad(part, ((0, 0), (0, beside), (0, 0)), mode="edge")
  return np.ascontiguousarray(part[::-1] if upside_down else part)


def _load_next(source: PairSource, asked: int) -> tuple[Pair, int, int]:
  """Loads the first readable pair from `asked` on, in a circle: (pair, record, bad or -1)."""
  n, error = len(source), None
  tries = min(n, pipeline.MAX_TRIES)
  for record in ((asked + k) % n for k in range(tries)):
    try:
      return source.load(record, extras=False), record, -1 if error is None else asked
    except DecodeError as failure:
      error = error or failure
  raise UserError(
    f"{tries} pairs in a row cannot be read, from {source.name(asked)} on ({error}); "
    "`scs-jax data check-stereo` names them all"
  ) from error


def _cut(source: PairSource, record: int, crop: tuple[int, int] | None) -> Pair:
  """Cuts a pair's central part; raises DecodeError where it cannot be read or is smaller."""
  pair = source.load(record)
  if crop is None:
    return pair
  height, width = pair.mono.shape[:2]
  if height < crop[0] or width < crop[1]:
    raise DecodeError(
      f"{source.name(record)}: {width}x{height} pixels, smaller than the part of {crop[1]}x"
      f"{crop[0]} that is evaluated"
    )
  top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
  cut = lambda a: None if a is None else a[top : top + crop[0], left : left + crop[1]]
  return Pair(*map(cut, pair[:4]), pair.mirrored, cut(pair.seen))


def _eval_example(source: PairSource, crop: tuple[int, int] | None, n: int, record: int) -> Batch:
  pair, bad = None, -1
  if record < n:
    try:
      pair = _cut(source, record, crop)
    except DecodeError:
      bad = record
  size = crop or (1, 1)
  black = lambda channels: np.zeros((*size, channels), np.uint8)
  truth = None if pair is None else pair.truth
  seen = None if pair is None else pair.seen
  if truth is None:
    truth = black(3) if pair is None else np.zeros_like(pair.color)
  return {
    "mono": black(1) if pair is None else pair.mono,
    "color": black(3) if pair is None else pair.color,
    "truth": truth,
    "seen": np.ones((*truth.shape[:2], 1), bool) if seen is None else seen,
    "has_truth": np.bool_(pair is not None and pair.truth is not None),
    "mask": np.bool_(pair is not None),
    "record": np.int32(record if record < n else -1),
    "bad": np.int32(bad),
  }
