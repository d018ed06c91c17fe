"""From a config's data section to what the training loop is handed."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from scs_jax.data import camera, draw, opening_notes, order, scan, sources, stereo, subset
from scs_jax.data.heldout import Observed
from scs_jax.errors import UserError


@dataclasses.dataclass
class Data:
  """Holds what the loop is handed, which knows no file.

  Attributes:
    open_batches: first step -> an endless iterator of host batches from that step on.
    heldout: padded batches of held-out pictures ("image", "mask", "record"), or empty.
    identity: what the sample order depends on, written beside each checkpoint.
    name: number of a training record -> what to call it.
    notes: lines that the user should see when the run starts.
  """

  open_batches: Callable[[int], Iterator[Mapping[str, np.ndarray]]]
  heldout: Sequence[Mapping[str, np.ndarray]] = ()
  identity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  name: Callable[[int], str] = str
  notes: Sequence[str] = ()


def open_data(
  config, workdir, progress: bool = True, search_range: int | None = None
) -> tuple[Data, int]:
  """Opens training and held-out pictures or pairs.

  Args:
    config: resolved and validated; config.data.kind says whether it is about photos or pairs.
    workdir: the run's folder; scans of the pictures are kept there.
    progress: show those scans' progress.
    search_range: that of a method of pairs; a few of them are then looked at, whether their matches
      are within it. None: they are not.

  Returns:
    (data for training.loop, steps of the run: `config.steps`, or those of `config.epochs`).

  Raises:
    UserError: a folder that is missing, empty or without pictures.
    OSError: the run's folder cannot be made.
  """
  section = config.data
  of_pairs = section.get("kind", "photos") == "pairs"
  if not section.source:
    what, more = "pictures", "pictures, or bundled"
    if of_pairs:
      what, more = "pairs", "stereo pairs, MONO_DIR,COLOR_DIR, a list file, or bundled"
    raise UserError(
      f"config.data.source is empty: which {what}? Paper configs name none. Expected a folder of "
      f"{more}; set --data"
    )
  if of_pairs:
    source, train, notes = _pairs(config, search_range)
  else:
    source, train, notes = _photos(config, workdir, progress)
  hosts = {"host": jax.process_index(), "hosts": jax.process_count()}
  identity = {"records": len(source), "fingerprint": source.fingerprint, "seed": config.seed}
  heldout: list = []
  if section.heldout and (config.log.evaluate_every or config.log.panels_every):
    found = _heldout_pairs(config, source, notes) if of_pairs else _heldout_photos(config)
    every, numbers, heldout, more = found
    notes += more
    # What a best score is of, beside the checkpoint.
    names = [every.name(int(i)) for i in sorted(numbers)]
    identity["heldout"] = list_hash(every.fingerprint, names)
  steps = config.steps
  if config.epochs > 0:
    steps = order.epochs_to_steps(len(source), config.batch_size, config.epochs)
  open_batches = lambda start: train(source, start_step=start, **hosts)
  return Data(open_batches, heldout, identity, source.name, notes), steps


def _reading(config) -> dict[str, int]:
  """Gathers what photos and pairs have in common in how they are read."""
  names = ("threads", "workers", "prefetch")
  shared = {"batch_size": config.batch_size, "seed": config.seed}
  return shared | {name: config.data[name] for name in names}


def _photos(config, workdir, progress: bool):
  """Opens the training pictures: (source, train_batches of its spec, notes)."""
  from scs_jax.data import pipeline

  section = config.data
  cache = pathlib.Path(workdir) / "data_scan.json"
  try:  # scans may take long: their place is made, or refused, first
    cache.parent.mkdir(parents=True, exist_ok=True)
  except OSError:
    if section.exclude_gray:
      raise
    cache = None  # sizes are quick; who saves there will say what is wrong with the folder
  # Of the bundled photos only those are trained on that are not held out.
  name = "bundled:train" if section.source == "bundled" else section.source
  enlarge = may_enlarge(section)
  side = section.crop
  if section.reference_probability > 0:
    side = max(side, section.reference_size or 0)
  least = None if enlarge else (side, side)
  source = sources.open_source(name, section.exclude_gray, cache, progress, least)
  resample = section.get("resample", True)
  spec = pipeline.BatchSpec(
    **_reading(config),
    crop=section.crop,
    max_zoom=section.max_zoom,
    resample=resample,
    on_device=resample and _on_device(section),
    enlarge=enlarge,
    flip=section.flip,
    reference_size=section.reference_size,
    reference_probability=section.reference_probability,
  )
  notes = [
    *opening_notes.left_out(source, least),
    *opening_notes.gray(source, name, section.exclude_gray),
    *opening_notes.scored_elsewhere(config),
  ]
  if section.get("enlarge"):
    sizes = scan.scan_sizes(source, scan.sizes_cache(cache), progress=progress)
    zoom = section.max_zoom if resample else 1.0
    notes += subset.enlarged(sizes, (round(side * zoom),) * 2, "training pictures")
  return source, functools.partial(pipeline.train_batches, spec=spec), notes


def _on_device(section) -> bool:
  """Tells whether the device resamples the crops; runs from before there was a choice did not."""
  asked = section.get("resample_on", "host")
  return asked == "device" or (asked == "auto" and jax.default_backend() != "cpu")


def _heldout_photos(config):
  """Reads held-out pictures: (all of them, numbers of those that were drawn, batches, notes)."""
  from scs_jax.data import pipeline

  section = config.data
  every = sources.open_source(section.heldout)
  size = (section.crop, section.crop)
  least = None if may_enlarge(section) else size
  drawn = draw.draw(every, config.evaluate.limit or None, least=least)
  pictures = Observed(subset.Subset(every, np.sort(drawn.numbers)))
  with pipeline.eval_batches(pictures, section.crop, config.evaluate.batch_size) as batches:
    heldout = list(batches)
  notes = drawn.note(size, "held-out pictures")
  notes += subset.enlarged(pictures.sizes.values(), size, "held-out pictures")
  if bad := [pictures.name(i) for i in _bad(heldout)]:
    notes.append(f"held-out pictures that cannot be read: {len(bad)} ({opening_notes.some(bad)})")
  return every, drawn.numbers, heldout, notes


def _pairs(config, search_range: int | None):
  """Opens the training pairs: (source, train_batches of its spec, notes)."""
  from scs_jax.data import pairs

  section = config.data
  source = open_pairs(config)
  spec = pairs.PairSpec(
    **_reading(config), crop=tuple(section.crop), vertical_flip=section.vertical_flip
  )
  notes = [
    *source.notes,
    *opening_notes.unlike_pairs(source, config, search_range),
    *opening_notes.scored_elsewhere(config),
  ]
  return source, functools.partial(pairs.train_batches, spec=spec), notes


def _heldout_pairs(config, trained, said: Sequence[str]):
  """Reads held-out pairs, as _heldout_photos; `trained` on are others, `said` are notes on them."""
  from scs_jax.data import pairs

  every = open_pairs(config, heldout=True)
  numbers = draw.draw(every, config.evaluate.limit or None).numbers
  found = every.take(np.sort(numbers))
  notes = [note for note in found.notes if note not in said]
  notes += opening_notes.trained_on_too(trained, found)
  crop = tuple(config.data.heldout_crop) if all(config.data.heldout_crop) else None
  size = config.evaluate.batch_size if crop else 1
  with pairs.eval_batches(found, crop, size) as batches:
    heldout = list(batches)
  if bad := _bad(heldout):
    why = pairs.why_bad(found, bad[0], crop)
    names = opening_notes.some([found.name(i) for i in bad])
    notes.append(f"held-out pairs that cannot be scored: {len(bad)} ({names}); {why}")
  # One that is all padding would only be compiled for, at the size of its black picture.
  heldout = [batch for batch in heldout if batch["mask"].any()]
  if not heldout:
    raise UserError(f"none of the held-out pairs can be scored: {why}")
  return every, numbers, heldout, notes


def _bad(batches) -> list[int]:
  """Numbers of the records of batches that cannot be read."""
  return [int(i) for batch in batches for i in batch["bad"] if i >= 0]


def list_hash(fingerprint: str, entries: Sequence[str]) -> str:
  """Hashes a source's fingerprint (file names and sizes) and what was used of it: SHA-256."""
  lines = "\n".join([fingerprint, *entries])
  return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def may_enlarge(section) -> bool:
  """Tells whether photos of a config's data section may be enlarged; earlier runs enlarged all."""
  return section.get("enlarge", True)


def open_pairs(
  config, spec: str | None = None, heldout: bool = False, warped: bool = False
):
  """Opens the stereo pairs of a config of kind "pairs", as data.stereo.PairSource.

  Args:
    config: resolved and validated.
    spec: which pairs; None: the config's own, training or held-out.
    heldout: of the config's own spec, the held-out pairs; else those that are trained on, which
      leave out what the same source has held out.
    warped: see data.stereo.PairSource.

  Raises:
    UserError: there are no such pairs.
  """
  section = config.data
  only, without = (), ()
  if spec is None:
    spec = section.heldout if heldout else section.source
    only = tuple(map(str, section.heldout_only if heldout else section.only))
    if not heldout and spec == section.heldout:
      without = tuple(map(str, section.heldout_only))
    # Of the bundled scene only those rows are trained on that are not held out.
    spec = "bundled:train" if spec == "bundled" and not heldout else spec
  return stereo.open_pairs(
    spec,
    mono_view=section.mono_view,
    camera=camera.from_section(section.camera, config.seed),
    reduce=section.reduce,
    variant=section.variant,
    only=only,
    without=without,
    warped=warped,
  )


def batch_shapes(config) -> dict:
  """Returns a global training batch as {name: jax.ShapeDtypeStruct}, without any data."""
  section, n = config.data, config.batch_size
  shapes = {"index": ((n,), np.uint32)}
  if section.kind == "pairs":
    height, width = section.crop
    shapes["mono"] = (n, height, width, 1), np.uint8
    shapes["color"] = (n, height, width, 3), np.uint8
  else:
    shapes["image"] = ((n, section.crop, section.crop, 3), np.uint8)
    if section.reference_probability > 0:
      side = section.reference_size or section.crop
      shapes |= {"reference": ((n, side, side, 3), np.uint8), "use_reference": ((n,), np.bool_)}
  return {name: jax.ShapeDtypeStruct(*shape) for name, shape in shapes.items()}
