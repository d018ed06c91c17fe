"""What every evaluation does: reads the checkpoint, claims its folder, writes and prints."""

import datetime
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence

from scs_jax.core import config as configs
from scs_jax.core.contract import TrainState
from scs_jax.data import scan
from scs_jax.measure import evaluation_folder as folder
from scs_jax.measure.evaluation_panels import shown_name
from scs_jax.measure.evaluation_settings import Settings
from scs_jax.metrics.estimates import Scores, Summary
from scs_jax.report import evaluation_page, results
from scs_jax.report.layout import PHOTOS, Layout, with_lpips
from scs_jax.report.tables import Table
from scs_jax.training.models import Model


def identity_of(setting: Settings) -> dict:
  """What decides the figures of any evaluation; see evaluation_folder.identify."""
  return {
    "checkpoint": setting.run.fingerprint(),
    "step": setting.step,
    "modes": list(setting.modes),
    "seed": setting.seed,
    "baselines": setting.baselines,
    **{name: [w["sha256"] for w in metric.weights] for name, metric in setting.lpips.items()},
  }


def weights_record(setting: Settings) -> dict:
  """What results.json says of the files of networks that measure."""
  return {name: metric.weights for name, metric in setting.lpips.items()}


def layout_of(setting: Settings, layout: Layout = PHOTOS) -> Layout:
  """The layout with the columns that are measured."""
  return with_lpips(layout) if setting.lpips else layout


def claim(setting: Settings, identity: Mapping) -> None:
  """Makes the folder of the results, or refuses it, before anything is computed."""
  if not setting.overwrite:
    folder.require_free(setting.out, identity)
  setting.out.mkdir(parents=True, exist_ok=True)


def restore(setting: Settings) -> TrainState:
  """The checkpoint's state, without an optimizer's."""
  return setting.run.restore()


def now() -> str:
  """For the record."""
  return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def checkpoint_record(run: Model, which: str, mark: str) -> dict:
  """What results.json says of a trained network, the step asked for, and its fingerprint."""
  return {
    "path": run.given,
    "step": run.step,
    "chosen": which,
    "method": run.config.method.name,
    "model": run.name,
    "fingerprint": mark,
    "config_sha256": hashlib.sha256(configs.to_json(run.config).encode()).hexdigest(),
  }


def count_gray(scores: Scores) -> int:
  """How many of the pictures measured have no colour."""
  return max(int(gray.sum()) for gray in scores.gray.values())


def gray_note(scores: Scores, what: str, metrics: str) -> list[str]:
  """A line where pictures have no colour; `metrics` of colour are then of the others."""
  measured, gray = max(map(len, scores.records.values())), count_gray(scores)
  if not gray:
    return []
  told = f"{metrics} have no value" if gray == measured else f"{metrics} are taken over the others"
  words = f"{gray} of {measured} {what} gray (mean chroma below {scan.GRAY_CHROMA:g})"
  return [f"{words}: {told}"]


def equal_note(summary: Summary, what: str, trivial: Mapping[str, str] | None = None) -> list[str]:
  """A line where results equal their pictures; those of trivial predictors aside."""
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


def write(
  setting: Settings,
  title: str,
  about: Sequence[str],
  record: Mapping,
  scores: Scores,
  summary: Summary,
  panels: evaluation_page.Panels,
  name: Callable[[int], str],
  reference: Callable[[str, int], str],
  layout: Layout = PHOTOS,
  more: Sequence[tuple[str, str, Table]] = (),
) -> None:
  """Writes all files.

  Args:
    about: paragraphs at the top of the page, to which the pictures left out are added.
    record: with "notes" and samples.broken.
    name, reference: of pictures by number, as results.to_csv takes them.
    layout, more: as evaluation_page.page takes them.
  """
  layout = layout_of(setting, layout)
  about = [*about, *(f"Left out, cannot be read: {e}" for e in record["samples"]["broken"])]
  notes = record["notes"]
  html = evaluation_page.page(title, about, notes, record, scores, summary, panels, layout, more)
  contents = {
    folder.RESULTS: results.to_json(record, summary, layout),
    folder.PER_IMAGE: results.to_csv(scores, name, reference),
    folder.PAGE: html,
  }
  folder.write(setting.out, contents)


def print_tables(
  setting: Settings,
  scores: Scores,
  summary: Summary,
  heading: Callable[[str, int], str],
  layout: Layout = PHOTOS,
) -> None:
  """The tables on the screen; heading: (mode, pictures) -> what stands above its table."""
  layout = layout_of(setting, layout)
  for mode, by in summary.of.items():
    n = len(scores.records[mode])
    print(heading(mode, n))
    print(results.screen_table(by, n, layout, scores.aside(mode)), end="\n\n")
    if shown := results.screen_differences(summary.differences[mode], setting.model, layout):
      print(shown, end="\n\n")
  print(results.screen_legend(any(summary.differences.values())))


def print_left_out(
  setting: Settings, notes: Sequence[str], broken: Mapping[int, str], total: int, empty: int = 0
) -> int:
  """Where the report is, notes, and what was left out; returns the exit code."""
  print(f"report: {(setting.out / folder.PAGE).resolve()}")
  for note in notes:
    print(f"note: {note}", file=sys.stderr)
  if empty:
    print(f"left out: {empty} empty files", file=sys.stderr)
  if broken:
    print(f"left out, cannot be read: {len(broken)} of {total}", file=sys.stderr)
    for i in sorted(broken):
      print(f"  {shown_name(broken[i])}", file=sys.stderr)
  return 1 if broken or empty else 0
