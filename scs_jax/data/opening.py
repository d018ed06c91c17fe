"""From a config's data section to what the training loop is handed."""

import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from scs_jax.errors import UserError

# Measured when a training starts, a second or so in all.
_LOOKED_AT = 3  # pairs
_LOOKED_AT_PHOTOS = 64


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
  """Opens training and held-out pictures.

  Args:
    config: resolved and validated; config.data.kind says whether it is about photos or pairs.
    workdir: the run's folder; a scan for gray pictures is kept there.
    progress: show that scan's progress.
    search_range: that of a method of pairs; a few of them are then looked at, whether their matches
      are within it. None: they are not.

  Returns:
    (data for training.loop, steps of the run: `config.steps`, or those of `config.epochs`).

  Raises:
    UserError: a folder that is missing, empty or without pictures.
    OSError: the run's folder cannot be made.
  """
  if config.data.get("kind", "photos") == "pairs":
    return _open_pairs(config, search_range)
  import jax

  from scs_jax.data import draw, pipeline, scan, sources, subset
  from scs_jax.data.heldout import Observed

  section = config.data
  if not section.source:
    raise UserError(
      "config.data.source is empty: which pictures? Paper configs name none. Expected a folder of "
      "pictures, or bundled; set --data"
    )
  cache = pathlib.Path(workdir) / "data_scan.json"
  try:  # scans may take long: their place is made, or refused, first
    cache.parent.mkdir(parents=True, exist_ok=True)
  except OSError:
    if section.exclude_gray:
      raise
    cache = None  # sizes are quick; who saves there will say what is wrong with the folder
  # Of the bundled photos only those are trained on that are not held out.
  spec = "bundled:train" if section.source == "bundled" else section.source
  enlarge = may_enlarge(section)
  side = section.crop
  if section.reference_probability > 0:
    side = max(side, section.reference_size or 0)
  least = None if enlarge else (side, side)
  source = sources.open_source(spec, section.exclude_gray, cache, progress, least)
  batch_spec = pipeline.BatchSpec(
    batch_size=config.batch_size,
    crop=section.crop,
    max_zoom=section.max_zoom,
    resample=section.get("resample", True),
    enlarge=enlarge,
    flip=section.flip,
    reference_size=section.reference_size,
    reference_probability=section.reference_probability,
    seed=config.seed,
    threads=section.threads,
    workers=section.workers,
    prefetch=section.prefetch,
  )
  hosts = jax.process_index(), jax.process_count()
  open_batches = functools.partial(_open, source, batch_spec, *hosts)
  notes = _left_out(source, least) + _gray(source, spec, section.exclude_gray) + _elsewhere(config)
  if section.get("enlarge"):
    sizes = scan.scan_sizes(source, scan.sizes_cache(cache), progress=progress)
    zoom = section.max_zoom if batch_spec.resample else 1.0
    notes += subset.enlarged(sizes, (round(side * zoom),) * 2, "training pictures")
  heldout, marks = [], {}
  if section.heldout and (config.log.evaluate_every or config.log.panels_every):
    every = sources.open_source(section.heldout)
    size = (section.crop, section.crop)
    drawn = draw.draw(every, config.evaluate.limit or None, least=None if enlarge else size)
    notes += drawn.note(size, "held-out pictures")
    pictures = Observed(subset.Subset(every, np.sort(drawn.numbers)))
    with pipeline.eval_batches(pictures, section.crop, config.evaluate.batch_size) as batches:
      heldout = list(batches)
    notes += subset.enlarged(pictures.sizes.values(), size, "held-out pictures")
    marks["heldout"] = _mark(every, drawn.numbers)
    bad = [pictures.name(int(i)) for batch in heldout for i in batch["bad"] if i >= 0]
    if bad:
      notes.append(f"held-out pictures that cannot be read: {len(bad)} ({_some(bad)})")
  steps = config.steps
  if config.epochs > 0:
    steps = pipeline.epochs_to_steps(len(source), config.batch_size, config.epochs)
  return Data(open_batches, heldout, _identity(source, config) | marks, source.name, notes), steps


def _identity(source, config) -> dict:
  return {"records": len(source), "fingerprint": source.fingerprint, "seed": config.seed}


def list_hash(fingerprint: str, entries: Sequence[str]) -> str:
  """SHA-256 of a source's fingerprint (names and sizes of its files) and of what was used of it."""
  lines = "\n".join([fingerprint, *entries])
  return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _mark(source, numbers) -> str:
  """Of the held-out records of a source: what a best score is of, beside the checkpoint."""
  return list_hash(source.fingerprint, [source.name(int(i)) for i in sorted(numbers)])


def may_enlarge(section) -> bool:
  """Tells whether photos of a config's data section may be enlarged; earlier runs enlarged all."""
  return section.get("enlarge", True)


def open_pairs(
  config, spec: str | None = None, heldout: bool = False, warped: bool = False
):
  """The stereo pairs of a config of kind "pairs", as data.stereo.PairSource.

  Args:
    config: resolved and validated.
    spec: which pairs; None: the config's own, training or held-out.
    heldout: of the config's own spec, the held-out pairs; else those that are trained on, which
      leave out what the same source has held out.
    warped: see data.stereo.PairSource.

  Raises:
    UserError: there are no such pairs.
  """
  from scs_jax.data import camera, stereo

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


def _open_pairs(config, search_range: int | None) -> tuple[Data, int]:
  import jax

  from scs_jax.data import draw, order, pairs

  section = config.data
  if not section.source:
    raise UserError(
      "config.data.source is empty: which pairs? Paper configs name none. Expected a folder of "
      "stereo pairs, MONO_DIR,COLOR_DIR, a list file, or bundled; set --data"
    )
  source = open_pairs(config)
  spec = pairs.PairSpec(
    batch_size=config.batch_size,
    crop=tuple(section.crop),
    vertical_flip=section.vertical_flip,
    seed=config.seed,
    threads=section.threads,
    workers=section.workers,
    prefetch=section.prefetch,
  )
  hosts = jax.process_index(), jax.process_count()
  open_batches = functools.partial(_open_pair_batches, source, spec, *hosts)
  notes = [*source.notes, *_unlike_pairs(source, config, search_range), *_elsewhere(config)]
  heldout, marks = [], {}
  if section.heldout and (config.log.evaluate_every or config.log.panels_every):
    every = open_pairs(config, heldout=True)
    numbers = draw.draw(every, config.evaluate.limit or None).numbers
    found = every.take(np.sort(numbers))
    marks["heldout"] = _mark(every, numbers)
    notes += [note for note in found.notes if note not in notes]
    notes += trained_on_too(source, found)
    crop = tuple(section.heldout_crop) if all(section.heldout_crop) else None
    size = config.evaluate.batch_size if crop else 1
    with pairs.eval_batches(found, crop, size) as batches:
      heldout = list(batches)
    bad = [int(i) for batch in heldout for i in batch["bad"] if i >= 0]
    if bad:
      why = pairs.why_bad(found, bad[0], crop)
      names = _some([found.name(i) for i in bad])
      notes.append(f"held-out pairs that cannot be scored: {len(bad)} ({names}); {why}")
    # One that is all padding would only be compiled for, at the size of its black picture.
    heldout = [batch for batch in heldout if batch["mask"].any()]
    if not heldout:
      raise UserError(f"none of the held-out pairs can be scored: {why}")
  steps = config.steps
  if config.epochs > 0:
    steps = order.epochs_to_steps(len(source), config.batch_size, config.epochs)
  return Data(open_batches, heldout, _identity(source, config) | marks, source.name, notes), steps


def trained_on_too(source, heldout) -> list[str]:
  """A line where pairs that are held out are trained on as well, wholly or in part."""
  place = lambda record: tuple(map(os.path.realpath, record.views))
  rows: dict[tuple[str, ...], list] = {}
  for record in source.records:
    rows.setdefault(place(record), []).append(record.rows)
  meet = lambda a, b: a is None or b is None or (a[0] < b[1] and b[0] < a[1])
  both = [r.name for r in heldout.records if any(meet(r.rows, o) for o in rows.get(place(r), ()))]
  return [f"held-out pairs that are trained on as well: {_some(both)}"] if both else []


def _unlike_pairs(source, config, search_range: int | None) -> list[str]:
  """Lists what is wrong with a few of the pairs, the first and the last among them.

  That is matches off their row or out of reach, and views smaller than the crop, whose last row and
  column would be repeated. A training would learn wrong colours from them without a word.
  """
  import jax

  from scs_jax.data import stereo_check

  if search_range is None or jax.process_index() > 0:  # the first process says it for all
    return []
  numbers = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).round().astype(int))
  notes = []
  for i in map(int, numbers):
    report = stereo_check.check_pair(source, i, search_range)
    if report.matches is not None and len(report.matches) >= stereo_check.FEWEST:
      notes += [f"warning: {report.name}: {problem}" for problem in report.problems]
    crop = config.data.crop
    if report.size is not None and any(s < c for s, c in zip(report.size, crop, strict=True)):
      notes.append(
        f"warning: {report.name}: {report.size[1]}x{report.size[0]} pixels, smaller than the crop "
        f"of {crop[1]}x{crop[0]}, which is filled up with mirrored rows and repeated columns; "
        "leave it out, or set config.data.crop"
      )
  if notes:
    notes.append(
      f"{len(numbers)} of {len(source)} pairs were looked at; `scs-jax data check-stereo` measures "
      "them all"
    )
  return notes


def _left_out(source, least) -> list[str]:
  """Lines on what a folder holds that is not shown; none where it is all shown."""
  from scs_jax.data import listing

  counts = {
    "empty files": getattr(source, "skipped_empty", 0),
    "that cannot be read": getattr(source, "skipped_corrupt", 0),
    "gray": getattr(source, "skipped_gray", 0),
  }
  if least is not None:
    small = f"smaller than {least[1]}x{least[0]} (data.enlarge=true takes them, enlarged)"
    counts[small] = getattr(source, "skipped_small", 0)
  left_out = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
  notes = [f"training on {len(source)} pictures; left out: {left_out}"] if left_out else []
  return notes + listing.describe_results(getattr(source, "skipped_results", ()))


def _gray(source, spec: str, excluded: bool) -> list[str]:
  """A warning where pictures that are trained on have no colour, by some that the seed draws."""
  import jax

  from scs_jax.data import decode, draw, scan

  # The first process says it for all; bundled pictures have colour.
  if excluded or spec.startswith("bundled") or jax.process_index() > 0:
    return []
  numbers, gray = draw.draw(source, _LOOKED_AT_PHOTOS).numbers, 0
  for i in map(int, numbers):
    try:
      gray += scan.chroma_of(source, i) < scan.GRAY_CHROMA
    except decode.DecodeError:
      continue  # told when training meets it
  if not gray:
    return []
  return [
    f"warning: {gray} of {len(numbers)} training pictures that were looked at are gray, and teach "
    "a colorizer gray; data.exclude_gray=true leaves such out"
  ]


def _elsewhere(config) -> list[str]:
  """A line where held-out scores are of nothing, or of other data than what is trained on."""
  section = config.data
  if not (config.log.evaluate_every or config.log.panels_every):
    return []
  if not section.heldout:
    return [
      "no held-out pictures: nothing is scored or drawn along the way, and no checkpoint is the "
      "best; give --heldout"
    ]
  if section.heldout.startswith("bundled") and not section.source.startswith("bundled"):
    return [
      f"held-out scores, and the best checkpoint by them, are of {section.heldout}, not of "
      f"{section.source}; give --heldout for others"
    ]
  return []


def _some(names: list[str], most: int = 10) -> str:
  more = f" and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(names[:most]) + more


def _open(source, spec, host: int, hosts: int, start_step: int):
  from scs_jax.data import pipeline

  return pipeline.train_batches(source, spec, start_step=start_step, host=host, hosts=hosts)


def _open_pair_batches(source, spec, host: int, hosts: int, start_step: int):
  from scs_jax.data import pairs

  return pairs.train_batches(source, spec, start_step=start_step, host=host, hosts=hosts)


def batch_shapes(config) -> dict:
  """A global training batch of this config as {name: jax.ShapeDtypeStruct}, without any data."""
  import jax

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
