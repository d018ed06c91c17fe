"""`scs_jax.evaluate`: a trained network measured on pictures or pairs, beside baselines."""

import os
import pathlib
from collections.abc import Sequence

from scs_jax.errors import UserError
from scs_jax.measure import learned, remarks, settings
from scs_jax.measure.evaluate_pairs import PairEvaluation
from scs_jax.measure.evaluate_photos import PhotoEvaluation
from scs_jax.measure.score import score_set
from scs_jax.metrics import estimates
from scs_jax.report import results, results_folder
from scs_jax.report.layout import with_lpips
from scs_jax.report.report import FORMATS, PAGE, RESULTS, Report, Section, csv_name
from scs_jax.report.results import shown_name
from scs_jax.training import models
from scs_jax.training.models import Model


def evaluate(
  model: str | os.PathLike[str] | Model,
  data: str | None = None,
  *,
  step: int | str = "best",
  modes: settings.Modes = None,
  scale: float | None = None,
  size: settings.Size = None,
  enlarge: bool = False,
  limit: int | None = None,
  batch_size: int | None = None,
  seed: int = 0,
  reference_data: str | None = None,
  truth: str | None = None,
  lpips_weights: Sequence[str] | None = None,
  baselines: bool = True,
  panels: int = 3,
  out: str | os.PathLike[str] | bool = False,
  overwrite: bool = False,
  quiet: bool = False,
) -> Report:
  """Measures a trained network.

  Every photograph's largest central part is reduced to `size`, grayed and reduced by `scale`; the
  network colours and enlarges it again, and the result is compared with the picture. A method of
  pairs colours the monochrome view of each, first-time, and then the colour view by the result,
  second-time.

  Args:
    model: a run's folder, one checkpoint, a model's file, a shipped model's name, or a Model.
    data: a folder of pictures or pairs, "bundled:heldout", or another data set; None: the run's
      held-out pictures.
    step: "best", "last", or a step's number.
    modes: of automatic, self, random and mirrored, or of first and second, as names or as a text
      with commas; None: all that can be done, but mirrored.
    scale: magnification; None: the config's evaluate.scale.
    size: pixels a side, (height, width), or a text as "320x240"; None: the config's data.crop, or
      whole pairs.
    enlarge: enlarge smaller photographs to `size`, instead of leaving them out.
    limit: how many pictures are drawn from all; None: all.
    batch_size: None: the config's evaluate.batch_size.
    seed: of the draw, the references and their distortion, Welsh's samples and the bootstrap.
    reference_data: where the references of mode random come from; None: the pictures themselves.
    truth: of pairs, "own", or "warped": the colour view's colours, carried over by known
      disparities.
    lpips_weights: files of LPIPS; None: no LPIPS.
    baselines: measure those beside it that need no training.
    panels: pictures of each kind (best, typical, worst) in the report.
    out: a folder to write the report to, checked before the work; True: beside the model. False:
      nowhere; `Report.write` does it later.
    overwrite: replace whatever is there.
    quiet: no progress bar.

  Returns:
    A Report: `.scores` has a number a picture, `.summary` means with 95 % bootstrap intervals and
    the network's differences to the baselines; `.show()` prints them, `.write(folder)` writes a
    page, JSON and CSV.

  Raises:
    UserError: an argument out of range, named as the command line has it (--batch-size); no such
      model or pictures; a folder with other results.
  """
  found = models.find(model, settings.read_step(step))
  settings.require_counts(1, limit=limit, batch_size=batch_size)
  settings.require_counts(0, panels=panels)
  seed = settings.read_seed(seed)
  given = {
    "modes": modes, "scale": scale, "size": settings.read_size(size), "enlarge": enlarge,
    "limit": limit, "batch_size": batch_size, "seed": seed, "reference_data": reference_data,
    "truth": truth,
  }  # fmt: skip
  of = (PairEvaluation if found.method.takes_pairs else PhotoEvaluation)(found, data, given, quiet)
  lpips = learned.perceptual(lpips_weights)
  for metric in lpips.values():
    metric.require_size(of.size)
  folder = None
  if out is not False:
    folder = _folder(out, found, f"{of.name}-{of.called}-step{found.step}")
  data_set = of.open()
  identity = results_folder.identify(
    {
      "checkpoint": found.fingerprint(),
      "step": found.step,
      "modes": list(of.modes),
      "seed": seed,
      "baselines": baselines,
      **{name: [w["sha256"] for w in metric.weights] for name, metric in lpips.items()},
      **of.decides(),
    }
  )
  if folder is not None:
    if not overwrite:
      files = [RESULTS, csv_name(""), PAGE]
      results_folder.require_free(folder, identity, files, FORMATS["evaluate"], "evaluate")
    folder.mkdir(parents=True, exist_ok=True)
  network, rivals = of.network(), of.baselines() if baselines else []
  track = of.track(lpips)
  scores = score_set([network, *rivals], track, data_set, quiet)
  if not scores.of:
    raise data_set.none_measured()
  of.mark_trivial(scores)
  summary = estimates.summarize(scores, seed)
  layout = with_lpips(of.layout) if lpips else of.layout
  notes = [*of.notes, *of.notes_on(scores, summary, baselines)]
  record = {
    "identity": identity,
    "date": remarks.now(),
    "checkpoint": remarks.checkpoint_record(found, step, identity["checkpoint"]),
    **of.record(scores, lpips),
    **results.environment(),
    "notes": notes,
    **of.more_record(scores),
  }
  strips = of.panels(panels, scores, [network, *rivals], track) if panels else {}
  broken = [data_set.broken[i] for i in sorted(data_set.broken)]
  about = [of.about(len(remarks.measured(scores)))]
  report = Report(
    verb="evaluate",
    title=of.title(),
    about=[*about, *(f"Left out, cannot be read: {e}" for e in broken)],
    layout=layout,
    record=record,
    notes=notes,
    sections=[
      Section(
        scores=scores,
        summary=summary,
        counts={mode: len(records) for mode, records in scores.records.items()},
        panels=strips,
        picture_name=data_set.picture_name,
        reference_name=data_set.reference_name,
        heading=of.heading,
      )
    ],
    **of.more(scores),
    remarks=_remarks(notes, broken, data_set),
    complete=not (broken or data_set.empty),
  )
  if folder is not None:
    report.write(folder, overwrite)
  return report


def _remarks(notes: Sequence[str], broken: Sequence[str], data_set) -> list[str]:
  lines = [f"note: {note}" for note in notes]
  if data_set.empty:
    lines.append(f"left out: {data_set.empty} empty files")
  if broken:
    lines.append(f"left out, cannot be read: {len(broken)} of {data_set.count}")
    lines += [f"  {shown_name(error)}" for error in broken]
  return lines


def _folder(out, found: Model, name: str) -> pathlib.Path:
  if out is not True:
    if not os.fspath(out):
      raise UserError("--out is empty: expected a folder")
    return pathlib.Path(out)
  if found.run is None:  # beside a shipped model is no place for results
    return pathlib.Path("evaluation", found.stem, name)
  if "://" in str(found.run):
    raise UserError("the checkpoint is not on a local disk: give --out, a folder for the results")
  return pathlib.Path(found.run) / "evaluation" / name
