"""`scs_jax.compare`: networks, cascades and others' pictures measured alike, in one report."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from scs_jax.core import config as configs
from scs_jax.errors import UserError
from scs_jax.measure import compare_report, fid, learned, pairs, rows, settings, speed
from scs_jax.measure.compare_report import Found
from scs_jax.measure.compare_tracks import PairComparison, PhotoComparison
from scs_jax.measure.photos import MODES
from scs_jax.measure.predictors import Predictor
from scs_jax.measure.rows import Failures, Specs
from scs_jax.measure.score import score_set
from scs_jax.metrics import estimates
from scs_jax.metrics.estimates import REFERENTIAL
from scs_jax.report import results_folder
from scs_jax.report.compare_tables import Facts
from scs_jax.report.report import FORMATS, PAGE, RESULTS, TABLES, Report, csv_name


@dataclasses.dataclass
class Setting:
  """Holds what is compared, and how.

  Attributes:
    data: [(name, spec)].
    modes: in order.
    scale: of photographs. size: (height, width) of what is measured; None: whole pairs.
    warped: whether the truth of pairs is the colour view's colours, carried over.
    config: the first run's of the track, else a default: what arguments leave open, and of pairs
      the cameras.
    timing_runs: 0: no timing.
  """

  data: list[tuple[str, str]]
  reference_data: str | None
  modes: tuple[str, ...]
  scale: float
  size: tuple[int, int] | None
  enlarge: bool
  reference_size: int
  limit: int | None
  shared: bool
  batch_size: int
  seed: int
  warped: bool
  baselines: bool
  timing_runs: int
  panels: int
  inputs_out: pathlib.Path | None
  quiet: bool
  command: str
  config: Any


def compare(
  runs: Specs,
  data: Specs,
  *,
  cascades: Specs = (),
  results: Specs = (),
  step: int | str = "best",
  track: str | None = None,
  modes: settings.Modes = None,
  scale: float | None = None,
  size: settings.Size = None,
  enlarge: bool = False,
  reference_size: int | None = None,
  reference_data: str | None = None,
  limit: int | None = None,
  shared: bool = False,
  batch_size: int | None = None,
  seed: int = 0,
  truth: str | None = None,
  fid_weights: str | None = None,
  lpips_weights: Sequence[str] | None = None,
  baselines: bool = True,
  timing_runs: int = speed.RUNS,
  panels: int = 2,
  inputs_out: str | os.PathLike[str] | None = None,
  out: str | os.PathLike[str] | None = None,
  overwrite: bool = False,
  quiet: bool = False,
  command: str = "scs_jax.compare",
  debug: bool = False,
) -> Report:
  """Measures several methods on the same pictures, and sets the papers' printed rows beside them.

  Photographs, after Section 4.2 of SCSNet: of 5,000 drawn by the seed (or as many as there are, in
  the same shares) 2,500 are coloured automatically, 500 by themselves elastically distorted, 2,000
  by another one. Of stereo pairs all methods colour both views.

  Args:
    runs: trained networks, as `evaluate` takes them: a list, or {name: network}; a text of a list
      may name its row, "NAME=RUN".
    data: data sets, likewise.
    cascades: "COLORIZER+ENLARGER": the second enlarges what the first coloured.
    results: folders of pictures that other software made, matched by file name.
    step: of all networks: "best", "last", or a step's number.
    track: "photos" or "pairs"; None: pairs if a run colours pairs.
    modes, scale, size, enlarge, batch_size, seed, truth, lpips_weights, baselines, quiet: as of
      `evaluate`; what is left open comes from the first run.
    reference_size: pixels a side of reference pictures.
    reference_data: where the references of mode random come from; None: the data set.
    limit: pictures of a data set at most; None: 5,000 photographs, all pairs.
    shared: every mode colours the same pictures: for small data sets.
    fid_weights: Inception-v3 as FID defines it; None: no FID.
    timing_runs: timed calls a row; 0: no timing.
    panels: pictures drawn for each mode, besides every method's best and worst.
    inputs_out: a folder to write the inputs, references and true pictures to.
    out: a folder to write the report to, checked before the work; None: nowhere; `Report.write`
      does it later.
    overwrite: replace whatever is there.
    command: what the report says that it was made by.
    debug: print a traceback for every row that fails.

  Returns:
    A Report; rows that failed are named in it, and in `.complete`.

  Raises:
    UserError: an argument out of range; nothing that can be compared.
  """
  failed = Failures(debug)
  found = rows.open_all(runs, cascades, results, step, failed)
  if not found:
    raise UserError("nothing to compare: give --runs, --cascade or --results that can be opened"
                    + "".join(f"; {name}: {why}" for name, why in failed.items()))  # fmt: skip
  settings.require_counts(1, limit=limit, batch_size=batch_size, reference_size=reference_size)
  settings.require_counts(0, panels=panels, timing_runs=timing_runs)
  seed = settings.read_seed(seed)
  if track not in (None, "photos", "pairs"):
    raise UserError(f"--track {track}: expected photos or pairs")
  of_pairs = track == "pairs" or (track is None and any(row.takes_pairs for row in found))
  known, others = (pairs.MODES, MODES) if of_pairs else (MODES, pairs.MODES)
  what = "pairs" if of_pairs else "photos"
  asked = settings.read_modes(modes, known, others, f"the comparison is of {what}")
  if of_pairs:
    settings.require_absent(
      "is for photos, and the comparison is of pairs", scale=scale, reference_data=reference_data,
      reference_size=reference_size, fid_weights=fid_weights, inputs_out=inputs_out,
    )  # fmt: skip
  else:
    settings.require_absent("is for pairs, and the comparison is of photos", truth=truth)
  config = _config(of_pairs, found)
  side = settings.read_size(size)
  if side is None and not of_pairs:
    side = config.data.crop, config.data.crop
  if side is None and (batch_size or 1) > 1:
    raise UserError("--batch-size is for pairs of one size: give --size as well, or drop it")
  lends = [r.config for r in found if r.config and r.referential and not r.takes_pairs]
  setting = Setting(
    data=_data(data),
    reference_data=reference_data,
    modes=asked or known,
    scale=1.0 if of_pairs else settings.read_scale(scale, config),
    size=side,
    enlarge=enlarge,
    reference_size=reference_size or (lends or [config])[0].evaluate.reference_size,
    limit=limit,
    shared=shared,
    batch_size=1 if side is None else batch_size or config.evaluate.batch_size,
    seed=seed,
    warped=settings.read_truth(truth or "own"),
    baselines=baselines,
    timing_runs=timing_runs,
    panels=panels,
    inputs_out=None if inputs_out is None else pathlib.Path(inputs_out),
    quiet=quiet,
    command=command,
    config=config,
  )
  folder = None if out is None else pathlib.Path(out)
  if out is not None and not os.fspath(out):
    raise UserError("--out is empty: expected a folder")
  features = None if fid_weights is None else fid.Features(fid_weights)
  lpips = learned.perceptual(lpips_weights)
  for metric in lpips.values():
    metric.require_size(side)
  weights = {"fid": [features.weights]} if features else {}
  weights |= {name: metric.weights for name, metric in lpips.items()}
  of = (PairComparison if of_pairs else PhotoComparison)(setting, lpips)
  found = of.fitting(found, failed)
  if not found:
    raise UserError("none of the rows could be measured: " + "; ".join(failed.values()))
  trained = list(found)
  found += of.baselines() if baselines else []
  sets = [one for name, spec in setting.data if (one := failed.catch(name, of.open, name, spec))]
  if not sets:
    raise UserError("none of the data sets can be opened: " + "; ".join(failed.values()))
  identity = _identity(setting, found, sets, weights)
  if folder is not None:
    if not overwrite:
      files = [RESULTS, *(csv_name(name) for name, _ in setting.data), TABLES, PAGE]
      results_folder.require_free(folder, identity, files, FORMATS["compare"], "compare")
    folder.mkdir(parents=True, exist_ok=True)
  measured = [
    one for data in sets if (one := _measure(of, found, data, features, folder, failed))
  ]
  if not measured:
    raise UserError("nothing could be measured: " + "; ".join(failed.values()))
  there = {row for one in measured for by in one.scores.of.values() for row in by}
  if not any(row.name in there for row in trained):
    raise UserError("none of the rows could be measured: " + "; ".join(failed.values()))
  facts = _facts(of, found, sets, failed)
  report = compare_report.make(of, found, measured, facts, failed, weights, identity)
  if folder is not None:
    report.write(folder, overwrite)
  return report


def _config(of_pairs: bool, found: Sequence[Predictor]):
  """Of the first run of the track; a published one where there are folders of pictures alone."""
  for row in found:
    if row.config is not None and row.takes_pairs == of_pairs:
      return row.config
  return configs.load("cycle_cnn/paper" if of_pairs else "scsnet/paper")


def _data(specs: Specs) -> list[tuple[str, str]]:
  found: dict[str, str] = {}
  for name, spec in rows.split_all(specs):
    if not spec:
      raise UserError("--data is empty: expected a folder of pictures or another data set")
    name = name or settings.name_of(str(spec))
    if name in found:
      raise UserError(f"--data: two data sets called {name!r}; name one of them, NAME={spec}")
    found[name] = spec
  if not found:
    raise UserError("--data is empty: expected a folder of pictures or another data set")
  return list(found.items())


def _identity(setting: Setting, found: Sequence[Predictor], sets, weights: Mapping) -> dict:
  """What decides the figures; batch size, panels and timing do not."""
  return results_folder.identify(
    {
      "rows": {row.name: row.identity() for row in found},
      "data": {data.name: data.fingerprint for data in sets},
      "references": setting.reference_data,
      "modes": list(setting.modes),
      "scale": setting.scale,
      "size": "whole" if setting.size is None else "{1}x{0}".format(*setting.size),
      "enlarge": setting.enlarge,
      "reference_size": setting.reference_size,
      "limit": setting.limit,
      "shared": setting.shared,
      **({"truth": "warped"} if setting.warped else {}),
      "seed": setting.seed,
      **{name: [w["sha256"] for w in weights.get(name, ())] for name in ("fid", "lpips")},
    }
  )


def _measure(of, found, data, features, folder, failed: Failures) -> Found | None:
  """A data set's figures; rows that fail on it are left out of it."""
  setting, names = of.setting, [name for name, _ in of.setting.data]
  if setting.inputs_out is not None:
    failed.catch(data.name, of.write_inputs, data, setting.inputs_out)
  there = [
    one for row in found if (one := failed.catch(row.name, row.on, data, names)) is not None
  ]
  for row in there:
    data.notes += of.warnings(row, data)
  distances = None if features is None else fid.Distances(features, fid.PARTS)
  left = []  # rows that failed while they were measured

  def leave(name: str, error: Exception) -> None:
    failed.add(name, error)
    left.append(name)
    if distances is not None:
      distances.forget(name)

  scores = score_set(there, of.track, data, setting.quiet, data.name, see=distances, failed=leave)
  if not scores.of:
    failed.add(data.name, data.none_measured())
    return None
  of.mark_trivial(scores)
  estimates.mark_perfect(scores, [row.name for row in there if row.kind == "results"])
  summary = estimates.summarize(scores, setting.seed)
  counts = {mode: len(records) for mode, records in scores.records.items()}
  pooled = estimates.pool(scores)
  if pooled is not None:  # Table 1's second part; nothing else looks at it
    summary.of.update(estimates.summarize(pooled, setting.seed).of)
    counts[REFERENTIAL] = len(pooled.records[REFERENTIAL])
  rows_shown = [row for row in there if row.name not in left]
  panels = {}
  if setting.panels:
    panels = failed.catch(data.name, of.panels, rows_shown, scores, data) or {}
  one = Found(data, scores, summary, counts, panels)
  if distances is not None:
    real = failed.catch(data.name, features.real, data, folder)
    one.distances = {} if real is None else distances.to(real)
    one.distance_counts = distances.counts()
  return one


def _facts(of, found: Sequence[Predictor], sets, failed: Failures) -> list[Facts]:
  """Time and parameters of every row; two rows of one network are measured once."""
  setting = of.setting
  size = setting.size or failed.catch(sets[0].name, sets[0].example) or (256, 512)
  known: dict[int, Facts] = {}
  made = []
  for row in found:
    facts = Facts(row.name, row.true_light, network=row.network)
    twin = known.get(id(row.method)) if row.method is not None else None
    if twin is not None:
      facts.parameters, facts.speed = dict(twin.parameters), dict(twin.speed)
    else:
      for part in of.parts:
        if part != REFERENTIAL or row.takes("self"):
          query = speed.query_of(part, size, setting.scale, setting.reference_size, setting.seed)
          failed.catch(
            f"{row.name}, time", speed.weigh, row, facts, part, query, setting.timing_runs
          )
    known[id(row.method)] = facts
    made.append(facts)
  return made
