"""Batches of uint8 crops for training, in an order that no machine changes, and for evaluation.

positions -> record, crop and flip (order.py, transforms.py) -> decode (a Source) -> batch, on
grain's reader threads or worker processes. An example is a pure function of (seed, position), so a
run started at step k reads nothing of steps before k, and the number of hosts, threads and
processes changes nothing but speed.
"""

import dataclasses
import functools
import math
import signal
from collections.abc import Callable, Iterator, Sequence

import grain
import numpy as np
from absl import flags
from PIL import Image

from scs_jax.data import decode, order, regions, transforms
from scs_jax.data.source import Source
from scs_jax.errors import UserError

MAX_TRIES = 32
"""So many undecodable records in a row end the run: that is a broken disk, not a broken picture."""

# grain wants a length; no run reaches it.
ENDLESS_STEPS = 1 << 40

Batch = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class BatchSpec:
  """Says what a training batch holds and how it is read.

  Attributes:
    batch_size: global, over all hosts.
    crop: side of the square crops in pixels.
    max_zoom: the short side is resized to crop * U(1, max_zoom) before the cut; >= 1.
    resample: whether it is resized at all. If not, crops are cut from pictures at their own scale,
      or at 1/2, 1/4, ... of it, so that the short side is 1 to 2 times the crop: as fast as JPEGs
      decode. max_zoom then counts for nothing.
    on_device: whether resampling is left to the device: crops come as the regions of pictures that
      they are to be made of, and their places in those (data/regions.py).
    enlarge: whether pictures may be enlarged to the short side that was drawn. If not, max_zoom
      ends at a picture's own short side, and a picture that is smaller than a crop counts as one
      that does not decode.
    flip: mirror left and right with probability 1/2.
    reference_size: side of the reference crops; None: as crop.
    reference_probability: chance that another, random photo is sent as the reference; 0: none is.
    seed: of order, crops and references.
    threads: reader threads of this process (or of each worker); 0 reads in the caller's thread.
    workers: reader processes; 0: threads only, which is enough while decoding, done outside the
      interpreter lock, dominates.
    prefetch: batches read ahead.
  """

  batch_size: int
  crop: int
  max_zoom: float = 1.25
  resample: bool = True
  on_device: bool = False
  enlarge: bool = False
  flip: bool = True
  reference_size: int | None = None
  reference_probability: float = 0.0
  seed: int = 0
  threads: int = 2
  workers: int = 0
  prefetch: int = 4

  def __post_init__(self):
    require_least(self, batch_size=1, crop=1, reference_size=1, max_zoom=1.0, threads=0, workers=0,
                  prefetch=1)  # fmt: skip
    if not 0.0 <= self.reference_probability <= 1.0:
      raise UserError(
        f"data: reference_probability is {self.reference_probability}, expected a "
        "number from 0 to 1"
      )
    if self.on_device and not self.resample:
      raise UserError("data: on_device is about resampling, and resample is False; set one of them")


def require_least(spec, **least: float) -> None:
  """Raises UserError unless each of these fields of a spec is None, or at least so much."""
  for name, bound in least.items():
    value = getattr(spec, name)
    if value is not None and not bound <= value < math.inf:  # so that NaN fails as well
      raise UserError(f"data: {name} is {value}, expected at least {bound}")


class BatchIterator(Iterator[Batch]):
  """Batches of one host; close() (or leaving a with block) ends its threads and processes."""

  def __init__(self, dataset: grain.IterDataset):
    self._iterator = iter(dataset)
    self._closed = False

  def __next__(self) -> Batch:
    if self._closed:
      raise StopIteration
    return next(self._iterator)

  def close(self) -> None:
    if not self._closed:
      self._closed = True
      self._iterator.close()

  def __enter__(self) -> "BatchIterator":
    return self

  def __exit__(self, *_) -> None:
    self.close()


def train_batches(
  source: Source, spec: BatchSpec, *, start_step: int = 0, host: int = 0, hosts: int = 1
) -> BatchIterator:
  """Endless training batches of one host, from start_step on.

  Batch s holds positions [s * batch_size, (s + 1) * batch_size) of the endless sequence of epochs;
  host h gets its h-th contiguous part, b = batch_size / hosts samples:

    image: uint8 [b, crop, crop, 3] in [0, 255]; with spec.on_device regions [b, s, s, 3], s the
      crop's regions.side_of, and image_place, float32 [b, 2, 3]. reference likewise.
    index: uint32 [b], global sample position mod 2**32: keys randomness on the device.
    record: int32 [b], the record shown.
    bad: int32 [b], -1, or the first record that this sample asked for and that does not decode, or
      is smaller than the crop; the next one that serves is shown in its place.
    reference: uint8 [b, r, r, 3], a random crop of another random photo; black where not used.
    use_reference: bool [b]. Both only if spec.reference_probability > 0.

  Raises:
    UserError: at once for a batch size that the hosts do not divide, an empty source, a negative
      step; when iterating, if MAX_TRIES records in a row do not decode.
  """
  n = len(source)
  order.check_records(n)
  if spec.reference_probability > 0 and n < 2:
    raise UserError(
      "data: a random photo as reference needs at least 2 pictures, got 1; add "
      "pictures or set reference_probability to 0"
    )
  example = functools.partial(_example, source, spec)
  crops = {"image": spec.crop, "reference": spec.reference_size or spec.crop}
  stack = functools.partial(regions.stack, crops) if spec.on_device else None
  return read_training(example, spec, start_step, host, hosts, stack)


def eval_batches(
  source: Source,
  crop: int | tuple[int, int] | None,
  batch_size: int,
  limit: int | None = None,
  *,
  threads: int = 2,
  host: int = 0,
  hosts: int = 1,
) -> BatchIterator:
  """Reads the first `limit` records in order, once, cut in the middle; the last batch is padded.

  Args:
    source: the pictures, decoded at full size.
    crop: side, or (height, width), of the largest central region's copy; None: whole pictures at
      their own sizes, which takes batch_size 1.
    batch_size: global, over all hosts; every host gets as many batches.
    limit: number of records; None: all.

  Batches: image uint8 [b, h, w, 3]; mask bool [b], False for padding and for pictures that do not
  decode, whose image is black; record int32 [b], -1 for padding; bad int32 [b], the record number
  if it does not decode, else -1. `record_names` gives the names.
  """
  n = len(source) if limit is None else min(limit, len(source))
  if crop is None and batch_size != 1:
    raise UserError(
      f"pictures at their own sizes cannot share a batch: batch size {batch_size}; "
      "use 1, or give a crop"
    )
  example = functools.partial(_eval_example, source, crop, n)
  return read_once(example, n, batch_size, threads, host, hosts)


def record_names(source: Source, batch: Batch) -> list[str]:
  """Returns the names of a batch's records, empty for padding."""
  return [source.name(int(i)) if i >= 0 else "" for i in batch["record"]]


def read_training(
  example: Callable[[int], Batch],
  spec,
  start_step: int,
  host: int,
  hosts: int,
  stack: Callable[[Sequence[Batch]], Batch] | None = None,
) -> BatchIterator:
  """Reads endless batches of example(position) from start_step on, the part of one host.

  Args:
    example: of the global sample position.
    spec: with batch_size, threads, workers and prefetch.
    stack: makes a batch of examples; None: numpy.stack of each of their values.

  Raises:
    UserError: a batch size that the hosts do not divide, a negative step.
  """
  if start_step < 0:
    raise UserError(f"start step {start_step}: expected 0 or more")
  dataset = _batches(example, ENDLESS_STEPS, start_step, spec.batch_size, host, hosts, stack)
  return BatchIterator(read_ahead(dataset, spec.threads, spec.workers, spec.prefetch))


def read_once(
  example: Callable[[int], Batch], n: int, batch_size: int, threads: int, host: int, hosts: int
) -> BatchIterator:
  """Reads batches of example(record), each of n records once, the part of one host.

  Records from n on are asked for where the last batch is filled up.
  """
  order.check_records(n)
  dataset = _batches(example, -(-n // batch_size), 0, batch_size, host, hosts)
  return BatchIterator(read_ahead(dataset, threads, workers=0, prefetch=2))


def _batches(
  example, count: int, start_step: int, batch_size: int, host: int, hosts: int, stack=None
):
  """Lines up `count` batches of example(position), from a step on, in one host's order."""
  per_host = order.host_batch_size(batch_size, host, hosts)
  place = functools.partial(
    order.host_position, start_step=start_step, batch_size=batch_size, host=host, hosts=hosts
  )
  examples = grain.MapDataset.range(count * per_host).map(place).map(example)
  return examples.batch(per_host, batch_fn=stack)


def read_ahead(
  dataset: grain.MapDataset, threads: int, workers: int, prefetch: int
) -> grain.IterDataset:
  # One element here is a whole batch, and each thread makes one at a time.
  options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(prefetch, threads))
  dataset = dataset.to_iter_dataset(options)
  if workers:
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()  # grain's worker processes read flags; their defaults will do
    # Batches go to the processes in turn, so the order stays.
    dataset = dataset.mp_prefetch(
      grain.MultiprocessingOptions(
        num_workers=workers, per_worker_buffer_size=-(-prefetch // workers)
      ),
      worker_init_fn=_leave_interrupts,
    )
  return dataset


def _leave_interrupts(worker: int, workers: int) -> None:
  """Leaves Ctrl-C, which a terminal sends to all processes of a command, to the first of them."""
  signal.signal(signal.SIGINT, signal.SIG_IGN)


def _example(source: Source, spec: BatchSpec, position: int) -> Batch:
  n = len(source)
  asked = order.record_at(position, n, spec.seed)
  where = transforms.draw_crop(
    order.philox(spec.seed, order.CROP, position), spec.max_zoom, spec.flip
  )
  image, record, bad = _load_next(source, spec, asked, spec.crop, where)
  example = _cut("image", spec, image, spec.crop, where) | {
    "index": np.uint32(position & 0xFFFFFFFF),
    "record": np.int32(record),
  }
  if spec.reference_probability > 0:
    reference, bad_reference = _reference(source, spec, position, record)
    example |= reference
    bad = bad_reference if bad < 0 else bad
  example["bad"] = np.int32(bad)
  return example


def _reference(
  source: Source, spec: BatchSpec, position: int, record: int
) -> tuple[Batch, int]:
  """Cuts from another photo. Its stream is its own, so switching references on moves no crop."""
  rng = order.philox(spec.seed, order.REFERENCE, position)
  size = spec.reference_size or spec.crop
  if rng.random() >= spec.reference_probability:
    if spec.on_device:
      return regions.black("reference") | {"use_reference": np.bool_(False)}, -1
    return {"reference": np.zeros((size, size, 3), np.uint8), "use_reference": np.bool_(False)}, -1
  n = len(source)
  other = (record + 1 + int(rng.integers(n - 1))) % n
  where = transforms.draw_crop(rng, spec.max_zoom, spec.flip)
  image, _, bad = _load_next(source, spec, other, size, where, avoid=record)
  return _cut("reference", spec, image, size, where) | {"use_reference": np.bool_(True)}, bad


def _cut(
  name: str, spec: BatchSpec, image: Image.Image, crop: int, where: transforms.Crop
) -> Batch:
  """Makes what a batch holds of one crop under this name."""
  if not spec.resample:
    return {name: transforms.cut(image, crop, where)}
  where = where if spec.enlarge else where.within(image, crop)
  if not spec.on_device:
    return {name: transforms.apply_crop(image, crop, where)}
  return regions.take(name, image, crop, where)


def _load_next(
  source: Source,
  spec: BatchSpec,
  asked: int,
  crop: int,
  where: transforms.Crop,
  avoid: int = -1,
) -> tuple[Image.Image, int, int]:
  """Loads the first record from `asked` on, in a circle, that serves: (image, record, bad or -1).

  It decodes and is large enough for the crop; a JPEG may come reduced to what the crop needs.
  """
  n, bad, error = len(source), -1, None
  short_side = where.short_side(crop) if spec.resample else crop
  for record in (((asked + k) % n) for k in range(min(n, MAX_TRIES))):
    if record == avoid:
      continue
    try:
      image = source.open(record, short_side)
      if not spec.enlarge and min(image.size) < crop:
        raise decode.DecodeError(
          f"{source.name(record)}: {image.width}x{image.height} pixels, smaller than the crop of "
          f"{crop}x{crop}"
        )
      return image, record, bad
    except decode.DecodeError as failure:
      bad, error = (record if bad < 0 else bad), error or failure
  raise UserError(
    f"{min(n, MAX_TRIES)} pictures in a row cannot be used, from {source.name(asked)} on; check "
    f"the disk and the data set ({error})"
  ) from error


def _eval_example(source: Source, crop: int | tuple[int, int] | None, n: int, record: int) -> Batch:
  image, bad = None, -1
  if record < n:
    try:
      image = source[record]
      image = image if crop is None else transforms.center_crop(image, crop)
    except decode.DecodeError:
      bad = record
  height, width = (crop, crop) if isinstance(crop, int) else crop or (1, 1)
  return {
    "image": np.zeros((height, width, 3), np.uint8) if image is None else image,
    "mask": np.bool_(image is not None),
    "record": np.int32(record if record < n else -1),
    "bad": np.int32(bad),
  }
