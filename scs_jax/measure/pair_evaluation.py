"""What `scs-jax evaluate` does with a method that takes pairs: measures both colorizations."""

from tqdm import tqdm

from scs_jax.data import pairs as batches_of
from scs_jax.errors import UserError
from scs_jax.measure import evaluation_folder as folder
from scs_jax.measure import evaluation_output as output
from scs_jax.measure import evaluation_settings as settings
from scs_jax.measure import pair_evaluation_report as report
from scs_jax.measure import pairs
from scs_jax.measure.evaluation_settings import Settings
from scs_jax.measure.pair_evaluation_passes import Passes
from scs_jax.measure.pair_evaluation_views import Views, open_views, trained_on, watch
from scs_jax.measure.pairs_trial import PairTrial
from scs_jax.metrics import estimates
from scs_jax.metrics.estimates import Scores, correlations
from scs_jax.report.pairs_layout import PAIRS, correlation_lines, correlation_record
from scs_jax.training.models import Model


def run(args, found: Model) -> int:
  """See cli/evaluate.py; returns the exit code."""
  setting = _settings(args, found)
  views = open_views(
    found.config, args.data, setting.limit, setting.seed, setting.warped
  )
  setting.notes += found.method.remarks
  setting.notes += trained_on(found.config, views.source)
  identity = _identity(setting, found.config, views)
  output.claim(setting, identity)
  state = output.restore(setting)
  passes = Passes(found.method, state)
  trial = PairTrial(
    setting.model, passes.colorize, state, setting.modes, setting.baselines, False, setting.lpips
  )
  scores = _measure(setting, trial, views, args.quiet)
  summary = estimates.summarize(scores, setting.model, setting.seed)
  together = correlations(scores) if set(setting.modes) == set(pairs.MODES) else {}
  notes = [
    *setting.notes,
    *views.source.notes,
    *report.notes_on(setting, views, scores, summary, passes),
  ]
  record = report.record_of(setting, found.config, views, scores, identity, notes)
  record["correlation"] = correlation_record(together)
  trial = PairTrial(setting.model, passes.show, state, baselines=False, compiled=False)
  panels = report.draw(setting, trial, views, scores) if setting.panels else {}
  report.write(setting, views, record, scores, summary, panels, together)
  heading = lambda mode, n: f"{mode}-time: {n} pair{'' if n == 1 else 's'} of {setting.data}"
  output.print_tables(setting, scores, summary, heading, PAIRS)
  if together:
    print(correlation_lines(together))
  return output.print_left_out(setting, notes, views.errors, views.count)


def _settings(args, found: Model) -> Settings:
  what = f"{found.config.method.name} colours pairs"
  for flag, value in (("--scale", args.scale), ("--reference-data", args.reference_data)):
    if value is not None:
      raise UserError(f"{flag} is for methods that colour single pictures; {what}: drop the flag")
  data = found.config.data.heldout if args.data is None else args.data
  if not data:
    raise UserError(
      "which pairs? the run has no held-out ones (its config.data.heldout is empty) and --data is "
      "not given; expected a folder of stereo pairs, MONO_DIR,COLOR_DIR, a list file, or bundled"
    )
  modes = pairs.MODES
  if args.modes is not None:
    modes = settings.read_modes(args.modes, pairs.MODES, settings.MODES, what)
  size = None if args.size is None else settings.read_size(args.size)
  if size is None and (args.batch_size or 1) > 1:
    raise UserError(
      f"--batch-size {args.batch_size}: whole pairs have sizes of their own and go one by one; "
      "give --size as well, or drop the flag"
    )
  called = "pairs-warped" if args.truth == "warped" else "pairs"
  named = called if size is None else f"{called}-{settings.short(size)}px"
  setting = settings.common(args, found, data, modes, named, size)
  if size is None:
    setting.batch_size = 1
  return setting


def _identity(setting: Settings, config, views: Views) -> dict:
  """What decides the figures; the batch size and the panels do not."""
  data = config.data
  return folder.identify(
    {
      **output.identity_of(setting),
      "pairs": views.source.fingerprint,
      "count": views.count,
      "size": "whole" if setting.size is None else "{1}x{0}".format(*setting.size),
      "mono_view": data.mono_view,
      "reduce": data.reduce,
      "variant": data.variant,
      **({"truth": "warped"} if setting.warped else {}),
      "cameras": {**data.camera.to_dict(), "seed": config.seed} if views.camera else None,
    }
  )


def _measure(setting: Settings, trial: PairTrial, views: Views, quiet: bool) -> Scores:
  with (
    tqdm(total=views.count, unit="pair", disable=quiet, dynamic_ncols=True) as bar,
    batches_of.eval_batches(views.source, setting.size, setting.batch_size, views.count) as read,
  ):
    scores = trial.run(watch(views, read, setting.size), bar.update)
  if len(views.errors) == views.count:
    first = views.errors[min(views.errors)]
    raise UserError(
      f"none of the {views.count} pairs of {setting.data} can be measured ({first}); give another "
      "--data"
    )
  if not scores.of:
    raise UserError(
      f"--modes first: no pair of {setting.data} has the truth of its monochrome view, without "
      "which there is nothing to compare the first result with; use --modes second"
    )
  return scores
