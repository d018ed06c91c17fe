"""`scs_jax.compare`: networks, cascades and others' pictures measured alike, in one report."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from scs_jax.core import config as configs
from scs_jax.errors import UserError
from scs_jax.measure import compare_report, fid, learned, pairs, rows, settings, speed
from scs_jax.measure.compare_report import Found
from scs_jax.measure.pair_kind import PairKind
from scs_jax.measure.panels import Groups, choose_of_rows
from scs_jax.measure.photo_kind import SHARES, PhotoKind
from scs_jax.measure.photo_set import NUMBERED
from scs_jax.measure.predictors import Predictor
from scs_jax.measure.rows import Failures, Specs
from scs_jax.measure.score import score_set
from scs_jax.metrics import estimates
from scs_jax.metrics.estimates import REFERENTIAL
from scs_jax.report import results_folder
from scs_jax.report.compare_tables import Facts
from scs_jax.report.report import FORMATS, PAGE, RESULTS, TABLES, Report, csv_name
from scs_jax.training import distributed, ending


@dataclasses.dataclass(kw_only=True)
class Setting(settings.Setting):
  """Holds what is compared, and how.

  Attributes:
    data: [(name, spec)].
    config: the first run's of the track, else a default: what arguments leave open, and of pairs
      the cameras.
    timing_runs: 0: no timing.
    panels, inputs_out, command: as of `compare`.
  """

  data: list[tuple[str, str]]
  config: Any
  timing_runs: int
  panels: int
  inputs_out: pathlib.Path | str | None
  command: str


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
  reference_data: settings.Spec | None = None,
  limit: int | None = None,
  shared: bool = False,
  batch_size: int | None = None,
  seed: int = 0,
  truth: str | None = None,
  fid_weights: settings.Spec | None = None,
  lpips_weights: settings.Spec | Sequence[settings.Spec] | None = None,
  baselines: bool = True,
  timing_runs: int = speed.RUNS,
  panels: int = 2,
  inputs_out: settings.Spec | None = None,
  out: settings.Spec | None = None,
  overwrite: bool = False,
  quiet: bool = False,
  command: str = "scs_jax.compare",
  debug: bool = False,
) -> Report:
  """Measures several methods on the same pictures, and sets the papers' printed rows beside them.

  Photographs, after Section 4.2 of SCSNet: of 5,000 drawn by the seed (or as many as there are, in
  the same shares) 2,500 are coloured automatically, 500 by themselves elastically distorted, 2,000
  by another one. Of stereo pairs all methods colour both views.

  Several processes of JAX call this alike, and share the pictures. All get the same figures, those
  that one would get; the first alone measures times, draws panels and writes.

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
    inputs_out: a folder to write the inputs, references and true pictures to; likewise.
    out: a folder to write the report to, here or in a bucket, checked before the work; None:
      nowhere; `Report.write` does it later.
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
  if track not in (None, "photos", "pairs"):
    raise UserError(f"--track {track}: expected photos or pairs")
  of_pairs = track == "pairs" or (track is None and any(row.takes_pairs for row in found))
  kind_of = PairKind if of_pairs else PhotoKind
  why = f"the comparison is of {kind_of.name}"
  asked = settings.read_modes(modes, kind_of.modes, kind_of.other_modes, why)
  if of_pairs:
    settings.require_absent(
      f"is for photos, and {why}", scale=scale, reference_data=reference_data, shared=shared,
      reference_size=reference_size, fid_weights=fid_weights, inputs_out=inputs_out,
      enlarge=enlarge,
    )  # fmt: skip
  else:
    settings.require_absent(f"is for pairs, and {why}", truth=truth)
  config = _config(of_pairs, found) or configs.load(kind_of.default)
  side = settings.read_size(size)
  if side is None and not of_pairs:
    side = config.data.crop, config.data.crop
  if side is None and (batch_size or 1) > 1:
    raise UserError("--batch-size is for pairs of one size: give --size as well, or drop it")
  lends = [r.config for r in found if r.config and r.referential and not r.takes_pairs]
  setting = Setting(
    data=_data(data),
    modes=asked or kind_of.modes,
    size=side,
    batch_size=1 if side is None else batch_size or config.evaluate.batch_size,
    limit=limit,
    seed=settings.read_seed(seed),
    quiet=quiet,
    scale=1.0 if of_pairs else settings.read_scale(scale, config),
    reference_size=reference_size or (lends or [config])[0].evaluate.reference_size,
    reference_data=settings.read_spec("reference_data", reference_data) or None,
    shares=None if of_pairs else SHARES,
    shared=shared,
    enlarge=enlarge,
    warped=settings.read_truth(truth or "own"),
    config=config,
    timing_runs=timing_runs,
    panels=panels,
    inputs_out=settings.read_folder("inputs_out", inputs_out),
    command=command,
  )
  folder = settings.read_folder("out", out)
  fid_weights = settings.read_spec("fid_weights", fid_weights)
  with distributed.agreeing():
    features = None if fid_weights is None else fid.Features(fid_weights)
    lpips = learned.perceptual(lpips_weights)
    for metric in lpips.values():
      metric.require_size(side)
  weights = {"fid": [features.weights]} if features else {}
  weights |= {name: metric.weights for name, metric in lpips.items()}
  kind = kind_of(setting, lpips)
  found = kind.fitting(found, failed)
  if not found:
    raise UserError("none of the rows could be measured: " + "; ".join(failed.values()))
  trained = list(found)
  found += kind.baselines() if baselines else []
  sets = [
    one
    for name, spec in setting.data
    if (one := failed.catch(name, kind.open, name, spec, config))
  ]
  if not sets:
    raise UserError("none of the data sets can be opened: " + "; ".join(failed.values()))
  identity = _identity(kind, found, sets, weights)
  with distributed.agreeing():
    if folder is not None and distributed.is_first():
      files = [RESULTS, *(csv_name(name) for name, _ in setting.data), TABLES, PAGE]
      files = [] if overwrite else files
      results_folder.claim(folder, identity, files, FORMATS["compare"], "compare")
  measure = lambda data: _measure(kind, found, data, features, folder, failed)
  alike = {"around": ending.failing_alike}
  measured = [one for data in sets if (one := failed.catch(data.name, measure, data, **alike))]
  if not measured:
    raise UserError("nothing could be measured: " + "; ".join(failed.values()))
  there = {row for one in measured for by in one.scores.of.values() for row in by}
  if not any(row.name in there for row in trained):
    raise UserError("none of the rows could be measured: " + "; ".join(failed.values()))
  facts = _facts(kind, found, sets, failed)
  report = compare_report.make(kind, found, measured, facts, failed, weights, identity)
  with distributed.agreeing():
    if folder is not None and distributed.is_first():
      report.write(folder, overwrite)
  return report


def _config(of_pairs: bool, found: Sequence[Predictor]):
  """Finds the config of the first run of the track; None where there is no such run."""
  fits = lambda row: row.config is not None and row.takes_pairs == of_pairs
  return next((row.config for row in found if fits(row)), None)


def _data(specs: Specs) -> list[tuple[str, str]]:
  found: dict[str, str] = {}
  for name, spec in rows.split_all("data", specs):
    if not spec:
      raise UserError("--data is empty: expected a folder of pictures or another data set")
    name = name or settings.name_of(spec)
    if name in found:
      raise UserError(f"--data: two data sets called {name!r}; name one of them, NAME={spec}")
    found[name] = spec
  if not found:
    raise UserError("--data is empty: expected a folder of pictures or another data set")
  return list(found.items())


def _identity(kind, found: Sequence[Predictor], sets, weights: Mapping) -> dict:
  """Says what decides the figures; batch size, panels and timing do not."""
  setting = kind.setting
  return results_folder.identify(
    {
      "rows": {row.name: row.identity() for row in found},
      "data": {data.name: data.fingerprint for data in sets},
      "references": setting.reference_data,
      "modes": list(setting.modes),
      "scale": setting.scale,
      "size": settings.written(setting.size),
      "enlarge": setting.enlarge,
      "reference_size": setting.reference_size,
      "limit": setting.limit,
      "shared": setting.shared,
      **({"truth": "warped"} if setting.warped else {}),
      **({"distortions": NUMBERED} if kind.name == "photos" else {}),
      "seed": setting.seed,
      **{name: [w["sha256"] for w in weights.get(name, ())] for name in ("fid", "lpips")},
    }
  )


def _measure(kind, found, data, features, folder, failed: Failures) -> Found | None:
  """Measures a data set; rows that fail on it are left out of it."""
  setting, names = kind.setting, [name for name, _ in kind.setting.data]
  if setting.inputs_out is not None:
    write = kind.write_inputs if distributed.is_first() else lambda *_: None
    failed.catch(data.name, write, data, setting.inputs_out)
  there = [
    one for row in found if (one := failed.catch(row.name, row.on, data, names)) is not None
  ]
  if not there:
    return None
  for row in there:
    if row.kind == "run" and not row.true_light and row.takes_pairs == (kind.name == "pairs"):
      data.notes += [f"{data.name}: {row.name}: {note}" for note in data.trained_on(row.config)]
  distances = None if features is None else fid.Distances(features, fid.PARTS)
  left = []  # rows that failed while they were measured

  def leave(name: str, error: Exception) -> None:
    failed.add(name, error)
    left.append(name)
    if distances is not None:
      distances.forget(name)

  scores = score_set(there, kind.track, data, setting.quiet, data.name, see=distances, failed=leave)
  there = [row for row in there if row.name not in left]
  if not scores.of:
    if there:  # it is not the rows that failed
      failed.add(data.name, data.none_measured())
    return None
  pairs.mark_trivial(scores)
  estimates.mark_perfect(scores, [row.name for row in there if row.kind == "results"])
  summary = estimates.summarize(scores, setting.seed)
  counts = {mode: len(records) for mode, records in scores.records.items()}
  pooled = estimates.pool(scores)
  if pooled is not None:  # Table 1's second part; nothing else looks at it
    summary.of.update(estimates.summarize(pooled, setting.seed).of)
    counts[REFERENTIAL] = len(pooled.records[REFERENTIAL])

  def choose(mode: str) -> Groups:
    ranked = [row.name for row in there if row.network and row.name in scores.of[mode]]
    return choose_of_rows(scores, mode, ranked, setting.panels, data)

  def draw() -> dict:
    return kind.panels(there, scores, data, choose, False) if distributed.is_first() else {}

  panels = (failed.catch(data.name, draw) or {}) if setting.panels else {}
  one = Found(data, scores, summary, counts, panels)
  if distances is not None:
    real = failed.catch(data.name, features.real, data, folder, around=ending.failing_alike)
    one.distances = {} if real is None else distributed.from_first(lambda: distances.to(real))
    one.distance_counts = distances.counts()
  return one


def _facts(kind, found: Sequence[Predictor], sets, failed: Failures) -> list[Facts]:
  """Times every row and counts its parameters; two rows of one network are measured once.

  The first process alone takes times, while others wait.
  """
  setting = kind.setting
  runs = setting.timing_runs if distributed.is_first() else 0
  size = setting.size or failed.catch(sets[0].name, sets[0].example) or (256, 512)
  known: dict[int, Facts] = {}
  made = []
  for row in found:
    facts = Facts(row.name, row.true_light, network=row.network)
    twin = known.get(id(row.method)) if row.method is not None else None
    if twin is not None:
      facts.parameters, facts.speed = dict(twin.parameters), dict(twin.speed)
    else:
      for part in kind.parts:
        if part != REFERENTIAL or row.takes("self"):
          query = speed.query_of(part, size, setting.scale, setting.reference_size, setting.seed)
          failed.catch(
            f"{row.name}, time", speed.weigh, row, facts, part, query, runs
          )
    known[id(row.method)] = facts
    made.append(facts)
  return made
