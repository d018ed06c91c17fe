"""What reports of all kinds say: when, of what, and what a reader of the figures must know."""

import datetime
import hashlib
import pathlib
from collections.abc import Mapping, Sequence

from scs_jax.core import config as configs
from scs_jax.data import scan
from scs_jax.metrics import intervals
from scs_jax.metrics.estimates import Scores, Summary
from scs_jax.training.models import Model

BOOTSTRAP = {"resamples": intervals.RESAMPLES, "level": intervals.LEVEL}


def now() -> str:
  """Tells the time, for the record."""
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def checkpoint_record(run: Model, which: int | str, mark: str) -> dict:
  """Says what a record says of a trained network, the step asked for, and its fingerprint."""
  return {
    "path": run.given,
    "step": run.step,
    "chosen": str(which),
    "method": run.config.method.name,
    "model": run.name,
    "fingerprint": mark,
    "config_sha256": hashlib.sha256(configs.to_json(run.config).encode()).hexdigest(),
  }


def count_gray(scores: Scores) -> int:
  """Counts how many of the pictures measured have no colour."""
  return max(int(gray.sum()) for gray in scores.gray.values())


def gray_note(scores: Scores, what: str, metrics: str) -> list[str]:
  """Gives a line where pictures have no colour; `metrics` of colour are then of the others."""
  measured, gray = max(map(len, scores.records.values())), count_gray(scores)
  if not gray:
    return []
  told = f"{metrics} have no value" if gray == measured else f"{metrics} are taken over the others"
  words = f"{gray} of {measured} {what} gray (mean chroma below {scan.GRAY_CHROMA:g})"
  return [f"{words}: {told}"]


def equal_note(summary: Summary, what: str, trivial: Mapping[str, str] | None = None) -> list[str]:
  """Gives a line where results equal their pictures; those of trivial predictors aside."""
  equal = sum(
    estimate.infinite
    for mode, by in summary.of.items()
    for predictor, rows in by.items()
    if predictor != (trivial or {}).get(mode)
    for estimate in rows.values()
  )
  if not equal:
    return []
  return [
    f"PSNR is infinite where a result equals its {what}: {equal} such values; these {what}s are "
    "left out of that mean for all predictors"
  ]


def trained_on(config, data: str) -> list[str]:
  """Warns where photographs were trained on."""
  source = config.data.source
  bundled = source in ("bundled", "bundled:train") and data in ("bundled", "bundled:train")
  folders = "bundled" not in (source.partition(":")[0], data.partition(":")[0]) and source
  trained = pathlib.Path(source).resolve()
  if bundled or (folders and pathlib.Path(data).resolve().is_relative_to(trained)):
    return ["the model was trained on some or all of these pictures: this measures its memory"]
  return []


def measured(scores: Scores) -> Sequence[int]:
  """Lists the pictures of the mode that has most."""
  return max(scores.records.values(), key=len).tolist()


def broken_lines(data) -> list[str]:
  """Lists a data set's pictures that cannot be read, with the causes, by number."""
  return [data.broken[i] for i in sorted(data.broken)]


def size_record(size: tuple[int, int] | None) -> dict | None:
  """Returns (height, width) as a record has it."""
  return None if size is None else {"height": size[0], "width": size[1]}
