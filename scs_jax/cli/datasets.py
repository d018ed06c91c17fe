"""From a config's data section to what the training loop is handed."""

import functools
import pathlib

from scs_jax.engine.loop import Data


def open_data(config, workdir) -> tuple[Data, int]:
  """Opens training and held-out pictures.

  Args:
    config: resolved and validated.
    workdir: the run's folder; a scan for gray pictures is kept there.

  Returns:
    (data for engine.loop.train, steps of the run: `config.steps`, or those of `config.epochs`).

  Raises:
    UserError: a folder that is missing, empty or without pictures.
  """
  import jax

  from scs_jax.data import pipeline, sources

  section = config.data
  cache = pathlib.Path(workdir) / "data_scan.json"
  source = sources.open_source(section.source, exclude_gray=section.exclude_gray, cache=cache)
  spec = pipeline.BatchSpec(
    batch_size=config.batch_size,
    crop=section.crop,
    max_zoom=section.max_zoom,
    flip=section.flip,
    reference_size=config.evaluate.reference_size,
    reference_probability=section.reference_probability,
    seed=config.seed,
    threads=section.threads,
    workers=section.workers,
    prefetch=section.prefetch,
  )
  open_batches = functools.partial(_open, source, spec, jax.process_index(), jax.process_count())
  heldout = []
  if section.heldout and (config.log.evaluate_every or config.log.panels_every):
    with pipeline.eval_batches(
      sources.open_source(section.heldout),
      section.crop,
      config.evaluate.batch_size,
      config.evaluate.limit or None,
    ) as batches:
      heldout = list(batches)
  steps = config.steps
  if config.epochs > 0:
    steps = pipeline.epochs_to_steps(len(source), config.batch_size, config.epochs)
  identity = {"records": len(source), "fingerprint": source.fingerprint, "seed": config.seed}
  return Data(open_batches, heldout, identity), steps


def _open(source, spec, host: int, hosts: int, start_step: int):
  from scs_jax.data import pipeline

  return pipeline.train_batches(source, spec, start_step=start_step, host=host, hosts=hosts)
