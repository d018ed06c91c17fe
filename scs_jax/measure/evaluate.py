"""`scs_jax.evaluate`: a trained network measured on pictures or pairs, beside baselines."""

import os
import pathlib
from collections.abc import Sequence

import jax

from scs_jax.data import location
from scs_jax.errors import UserError
from scs_jax.measure import learned, pairs, passes, remarks, settings
from scs_jax.measure.pair_kind import PairKind
from scs_jax.measure.panels import choose_of_model
from scs_jax.measure.photo_kind import PhotoKind
from scs_jax.measure.score import score_set
from scs_jax.metrics import estimates
from scs_jax.report import pairs_layout, results, results_folder
from scs_jax.report.layout import with_lpips
from scs_jax.report.report import FORMATS, PAGE, RESULTS, Report, Section, csv_name
from scs_jax.report.results import shown_name
from scs_jax.training import distributed, models
from scs_jax.training.models import Model


def evaluate(
  model: str | os.PathLike[str] | Model,
  data: settings.Spec | None = None,
  *,
  step: int | str = "best",
  modes: settings.Modes = None,
  scale: float | None = None,
  size: settings.Size = None,
  enlarge: bool = False,
  limit: int | None = None,
  batch_size: int | None = None,
  seed: int = 0,
  reference_data: settings.Spec | None = None,
  truth: str | None = None,
  lpips_weights: settings.Spec | Sequence[settings.Spec] | None = None,
  baselines: bool = True,
  panels: int = 3,
  out: settings.Spec | bool | None = None,
  overwrite: bool = False,
  quiet: bool = False,
) -> Report:
  """Measures a trained network.

  Every photograph's largest central part is reduced to `size`, grayed and reduced by `scale`; the
  network colours and enlarges it again, and the result is compared with the picture. A method of
  pairs colours the monochrome view of each, first-time, and then the colour view by the result,
  second-time.

  Several processes of JAX call this alike, and share the pictures. All get the same figures, those
  that one would get; the first alone draws panels and writes.

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
    out: a folder to write the report to, here or in a bucket, checked before the work; True: beside
      the model. None: nowhere; `Report.write` does it later.
    overwrite: replace whatever is there.
    quiet: no progress bar.

  Returns:
    A Report: `.scores` has a number a picture, `.summary` means with 95 % bootstrap intervals and
    the network's differences to the baselines; `.show()` prints them, `.write(folder)` writes a
    page, JSON and CSV.

  Raises:
    UserError: an argument out of range, named as the command line has it (--batch-size); no such
      model or pictures; a folder with other results; another process that failed.
  """
  with distributed.agreeing():
    found = models.find(model, settings.read_step(step))
    settings.require_counts(1, limit=limit, batch_size=batch_size)
    settings.require_counts(0, panels=panels)
    data = settings.read_spec("data", data)
    given = {
      "modes": modes, "scale": scale, "size": settings.read_size(size), "enlarge": enlarge,
      "limit": limit, "batch_size": batch_size, "seed": settings.read_seed(seed), "truth": truth,
      "reference_data": settings.read_spec("reference_data", reference_data), "quiet": quiet,
    }  # fmt: skip
    config, notes = found.config, []
    kind_of = PairKind if found.method.takes_pairs else PhotoKind
    setting = kind_of.read(found, given, notes)
    shown = config.data.heldout if data is None else data
    if not shown:
      raise UserError(
        f"which {kind_of.what}? the run has no held-out ones (its config.data.heldout is empty) "
        f"and --data is not given; expected {kind_of.expected}"
      )
    lpips = learned.perceptual(lpips_weights)
    for metric in lpips.values():
      metric.require_size(setting.size)
    kind, name = kind_of(setting, lpips), settings.name_of(shown)
    folder = _folder(out, found, f"{name}-{kind.called}-step{found.step}")
    data_set = kind.open(name, data, config)
    notes += [*found.method.remarks, *data_set.trained_on(config), *data_set.notes]
    weights = {name: metric.weights for name, metric in lpips.items()}
    identity = results_folder.identify(
      {
        "checkpoint": found.fingerprint(),
        "step": found.step,
        "modes": list(data_set.dealt),
        "seed": seed,
        "baselines": baselines,
        **{name: [w["sha256"] for w in files] for name, files in weights.items()},
        **kind.identity(data_set, config),
      }
    )
  with distributed.agreeing():
    if folder is not None and distributed.is_first():
      files = [] if overwrite else [RESULTS, csv_name(""), PAGE]
      results_folder.claim(folder, identity, files, FORMATS["evaluate"], "evaluate")
  with distributed.agreeing():
    network = passes.network(found.name, found.method, jax.device_put(found.restore()))
  rows = [network, *(kind.baselines() if baselines else ())]
  scores = score_set(rows, kind.track, data_set, quiet)
  if not scores.of:
    raise data_set.none_measured()
  pairs.mark_trivial(scores)
  summary = estimates.summarize(scores, seed)
  notes += kind.notes_on(data_set, scores, network, baselines)
  notes += remarks.equal_note(summary, data_set.whose, scores.trivial)
  together = kind.correlation(scores)
  record = {
    "identity": identity,
    "date": remarks.now(),
    "checkpoint": remarks.checkpoint_record(found, step, identity["checkpoint"]),
    **kind.record(data_set, scores, config, weights),
    **results.environment(),
    "notes": notes,
  }
  if together is not None:
    record["correlation"] = pairs_layout.correlation_record(together)
  strips = {}
  with distributed.agreeing():
    if panels and distributed.is_first():
      choose = lambda mode: choose_of_model(scores, mode, found.name, panels, data_set)
      strips = kind.panels(rows, scores, data_set, choose, alone=True)
  broken = remarks.broken_lines(data_set)
  about = (
    f"{found.name}, step {found.step} of {found.given}: {len(remarks.measured(scores))} "
    f"{data_set.what} of {data_set.spec}, {kind.about_size()}"
  )
  report = Report(
    verb="evaluate",
    title=kind.title(found.name, data_set),
    about=[about, *(f"Left out, cannot be read: {error}" for error in broken)],
    layout=with_lpips(kind.layout) if lpips else kind.layout,
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
        heading=lambda mode, n: kind.heading(mode, n, data_set),
      )
    ],
    more=[pairs_layout.correlation_section(together)] if together else [],
    closing=pairs_layout.correlation_lines(together) if together else "",
    remarks=_remarks(notes, broken, data_set),
    complete=not (broken or data_set.empty),
  )
  with distributed.agreeing():
    if folder is not None and distributed.is_first():
      report.write(folder, overwrite)
  return report


def _remarks(notes: Sequence[str], broken: Sequence[str], data) -> list[str]:
  lines = [f"note: {note}" for note in notes]
  if data.empty:
    lines.append(f"left out: {data.empty} empty files")
  if broken:
    lines.append(f"left out, cannot be read: {len(broken)} of {data.count}")
    lines += [f"  {shown_name(error)}" for error in broken]
  return lines


def _folder(out, found: Model, name: str) -> pathlib.Path | str | None:
  """Says where the report goes; `name`: of a folder beside the model."""
  if out is not True:
    return settings.read_folder("out", None if out is False else out)
  if found.run is None:  # beside a shipped model is no place for results
    return pathlib.Path("evaluation", found.stem, name)
  return location.inside(found.run, f"evaluation/{name}")
