"""From a config's data section to what the training loop is handed."""

import functools
import pathlib

from scs_jax.engine.loop import Data
from scs_jax.errors import UserError


def open_data(config, workdir) -> tuple[Data, int]:
  """Opens training and held-out pictures.

  Args:
    config: resolved and validated.
    workdir: the run's folder; a scan for gray pictures is kept there.

  Returns:
    (data for engine.loop.train, steps of the run: `config.steps`, or those of `config.epochs`).

  Raises:
    UserError: a folder that is missing, empty or without pictures.
    OSError: the run's folder cannot be made.
  """
  import jax

  from scs_jax.data import pipeline, sources

  section = config.data
  if not section.source:
    raise UserError(
      "config.data.source is empty: expected a folder of pictures, or bundled; set --data"
    )
  cache = pathlib.Path(workdir) / "data_scan.json"
  if section.exclude_gray:  # the scan may take long: its place is made, or refused, first
    cache.parent.mkdir(parents=True, exist_ok=True)
  # Of the bundled photos only those are trained on that are not held out.
  spec = "bundled:train" if section.source == "bundled" else section.source
  source = sources.open_source(spec, exclude_gray=section.exclude_gray, cache=cache)
  batch_spec = pipeline.BatchSpec(
    batch_size=config.batch_size,
    crop=section.crop,
    max_zoom=section.max_zoom,
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
  notes = _left_out(source)
  heldout = []
  if section.heldout and (config.log.evaluate_every or config.log.panels_every):
    pictures = sources.open_source(section.heldout)
    with pipeline.eval_batches(
      pictures,
      section.crop,
      config.evaluate.batch_size,
      config.evaluate.limit or None,
    ) as batches:
      heldout = list(batches)
    bad = [pictures.name(int(i)) for batch in heldout for i in batch["bad"] if i >= 0]
    if bad:
      notes.append(f"held-out pictures that cannot be read: {len(bad)} ({_some(bad)})")
  steps = config.steps
  if config.epochs > 0:
    steps = pipeline.epochs_to_steps(len(source), config.batch_size, config.epochs)
  identity = {"records": len(source), "fingerprint": source.fingerprint, "seed": config.seed}
  return Data(open_batches, heldout, identity, source.name, notes), steps


def _left_out(source) -> list[str]:
  """One line on what a folder holds that is not shown; none where it is all shown."""
  counts = {
    "empty files": getattr(source, "skipped_empty", 0),
    "that cannot be read": getattr(source, "skipped_corrupt", 0),
    "gray": getattr(source, "skipped_gray", 0),
  }
  left_out = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
  return [f"training on {len(source)} pictures; left out: {left_out}"] if left_out else []


def _some(names: list[str], most: int = 10) -> str:
  more = f" and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(names[:most]) + more


def _open(source, spec, host: int, hosts: int, start_step: int):
  from scs_jax.data import pipeline

  return pipeline.train_batches(source, spec, start_step=start_step, host=host, hosts=hosts)
