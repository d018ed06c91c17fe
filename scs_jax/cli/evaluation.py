"""What `scs-jax evaluate` does: opens a run and pictures, measures, writes."""

import datetime
import hashlib
import sys

import jax
import numpy as np
from tqdm import tqdm

from scs_jax.cli import evaluation_folder as folder
from scs_jax.cli import evaluation_settings as settings
from scs_jax.cli.evaluation_panels import Pictures, draw, shown_name
from scs_jax.cli.evaluation_settings import Settings
from scs_jax.data import pipeline, scan
from scs_jax.data.heldout import Observed, References
from scs_jax.data.sources import open_source
from scs_jax.engine import config as configs
from scs_jax.engine import estimates, evaluation_page, intervals, results
from scs_jax.engine.checkpoint_arrays import restore_for_inference
from scs_jax.engine.contract import TrainState
from scs_jax.engine.evaluate import SMALLEST, Protocol
from scs_jax.engine.trial import Scores, Trial
from scs_jax.errors import UserError
from scs_jax.infer.record import fingerprint
from scs_jax.ops import warp


def run(args) -> int:
  """See cli/evaluate.py; returns the exit code."""
  setting, config, method = settings.read(args)
  pictures = _open(setting)
  identity = _identity(setting, pictures)
  if not setting.overwrite:
    folder.require_free(setting.out, identity)
  setting.out.mkdir(parents=True, exist_ok=True)  # refused before anything is computed
  trial = _trial(setting, config, method)
  scores = _measure(setting, trial, pictures, args.quiet)
  summary = estimates.summarize(scores, setting.model, setting.seed)
  notes = [*setting.notes, *_notes(setting, pictures, scores, summary)]
  record = _record(setting, config, pictures, scores, identity, notes)
  panels = draw(setting, trial, pictures, scores) if setting.panels else {}
  _write(setting, record, pictures, scores, summary, panels, notes)
  return _tell(setting, pictures, scores, summary, notes)


def _open(setting: Settings) -> Pictures:
  source = open_source(setting.data)
  count = len(source) if setting.limit is None else min(setting.limit, len(source))
  heldout = Observed(source, SMALLEST)
  references = pool = None
  if setting.reference_data and "random" in setting.modes:
    pool = Observed(open_source(setting.reference_data))
  elif count < 2 and "random" in setting.modes and not setting.modes_asked:
    setting.drop("random", "there is one picture, and it needs another one")
  if "random" in setting.modes:
    references = References(heldout, setting.seed, pool, count, setting.size)
  return Pictures(heldout, references, pool, count, getattr(source, "skipped_empty", 0))


def _identity(setting: Settings, pictures: Pictures) -> dict:
  """What decides the figures; the batch size and the panels do not."""
  checkpoint = setting.root / str(setting.step)
  height, width = setting.size
  return folder.identify(
    {
      # As `colorize` knows it.
      "checkpoint": fingerprint(checkpoint / "weights", checkpoint / "config"),
      "step": setting.step,
      "pictures": pictures.heldout.fingerprint,
      "count": pictures.records,
      "references": pictures.pool.fingerprint if pictures.pool is not None else None,
      "modes": list(setting.modes),
      "scale": setting.scale,
      "size": f"{width}x{height}",
      "seed": setting.seed,
      "baselines": setting.baselines,
    }
  )


def _trial(setting: Settings, config, method) -> Trial:
  shapes = jax.eval_shape(lambda key: method.init(key, {}), jax.random.key(0))
  like = shapes.params, shapes.model_state
  params, model_state = restore_for_inference(setting.root, like, setting.step)
  state = TrainState(np.int32(setting.step), params, {}, model_state)
  side = config.evaluate.reference_size
  protocols = [Protocol(mode, setting.scale, side, setting.seed) for mode in setting.modes]
  return Trial(setting.model, method.predict, state, protocols, setting.baselines)


def _measure(setting: Settings, trial: Trial, pictures: Pictures, quiet: bool) -> Scores:
  read = lambda source: pipeline.eval_batches(
    source, setting.size, setting.batch_size, pictures.records
  )

  def watched(batches, others):
    for batch in batches:
      if others is not None:
        other = next(others)
        batch = batch | {"other": other["image"], "other_mask": other["mask"]}
      gray = [scan.mean_chroma(image) < scan.GRAY_CHROMA for image in batch["image"]]
      yield batch | {"gray": np.array(gray)}
      bar.update(int((batch["record"] >= 0).sum()))

  with (
    tqdm(total=pictures.records, unit="picture", disable=quiet, dynamic_ncols=True) as bar,
    read(pictures.heldout) as batches,
  ):
    if pictures.references is None:
      scores = trial.run(watched(batches, None))
    else:
      with read(pictures.references) as others:
        scores = trial.run(watched(batches, others))
  if not any(map(len, scores.records.values())):
    first = next(iter(pictures.heldout.errors.values()), "")
    raise UserError(
      f"none of the {pictures.records} pictures of {setting.data} can be read ({first}); give "
      "another --data"
    )
  return scores


def _notes(setting: Settings, pictures: Pictures, scores: Scores, summary) -> list[str]:
  """What a reader of the figures must know."""
  measured, gray = max(map(len, scores.records.values())), _gray(scores)
  notes = []
  if gray:
    all_of, left = gray == measured, "PSNR ab and colourfulness"
    notes.append(
      f"{gray} of {measured} pictures are gray (mean chroma below {scan.GRAY_CHROMA:g}): "
      + (f"{left} have no value" if all_of else f"{left} are taken over the others")
    )
  sizes, (height, width) = pictures.heldout.sizes, setting.size
  small = sum(h < height or w < width for h, w in sizes.values())
  if small:
    notes.append(f"{small} of {measured} pictures are smaller than {width}x{height} and enlarged")
  paired = pictures.references is not None and "random" in scores.records
  alone = measured - len(scores.records["random"]) if paired else 0
  if alone:
    notes.append(
      f"mode random: {alone} of {measured} pictures had no other one that can be read"
    )
  lent = len(pictures.references.gray & {*scores.records["random"].tolist()}) if paired else 0
  if lent:
    notes.append(
      f"mode random: the references of {lent} of {measured - alone} pictures are gray, as no other "
      "has colour"
    )
  if pictures.pool is not None and pictures.pool.errors:
    notes.append(f"{len(pictures.pool.errors)} references that cannot be read were passed over")
  found = [e for by in summary.of.values() for rows in by.values() for e in rows.values()]
  equal = sum(e.infinite for e in found)
  if equal:
    notes.append(
      f"PSNR is infinite where a result equals its picture: {equal} such values; these pictures "
      "are left out of that mean for all predictors"
    )
  return notes


def _gray(scores: Scores) -> int:
  """How many of the pictures measured have no colour."""
  return max(int(gray.sum()) for gray in scores.gray.values())


def _record(
  setting: Settings, config, pictures: Pictures, scores: Scores, identity, notes
) -> dict:
  """All that results.json holds besides the results."""
  name, side = pictures.heldout.name, config.evaluate.reference_size
  used = [name(int(i)) for i in max(scores.records.values(), key=len)]
  references = None
  if pictures.references is not None and "random" in scores.records:
    lent = pictures.references.name
    pairs = [f"{name(i)}\t{lent(i)}" for i in scores.records["random"].tolist()]
    mark = pictures.references.fingerprint
    references = {
      "data": setting.reference_data or setting.data,
      "fingerprint": mark,
      "sha256": results.list_hash(mark, pairs),
    }
  broken = [pictures.heldout.errors[i] for i in sorted(pictures.heldout.errors)]
  alpha, sigma = warp.default_elastic(side)
  height, width = setting.size
  return {
    "identity": identity,
    "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    "checkpoint": {
      "path": setting.checkpoint,
      "step": setting.step,
      "chosen": setting.which,
      "method": config.method.name,
      "model": setting.model,
      "fingerprint": identity["checkpoint"],
      "config_sha256": hashlib.sha256(configs.to_json(config).encode()).hexdigest(),
    },
    "samples": {
      "data": setting.data,
      "measured": len(used),
      "gray": _gray(scores),
      "gray_chroma": scan.GRAY_CHROMA,
      "broken": broken,
      "empty_files": pictures.empty,
      "fingerprint": pictures.heldout.fingerprint,
      "sha256": results.list_hash(pictures.heldout.fingerprint, used),
    },
    "references": references,
    "seeds": {"references": setting.seed, "welsh": setting.seed, "bootstrap": setting.seed},
    "settings": {
      "modes": list(setting.modes),
      "scale": setting.scale,
      "size": {"height": height, "width": width},
      "input": {
        "height": max(1, round(height / setting.scale)),
        "width": max(1, round(width / setting.scale)),
        "reduction": "bicubic with antialiasing, as MATLAB's imresize, on 256 levels; then CIE L",
      },
      "reference": {"side": side, "elastic_alpha": alpha, "elastic_sigma": sigma},
      "batch_size": setting.batch_size,
      "bootstrap": {"resamples": intervals.RESAMPLES, "level": intervals.LEVEL},
    },
    **results.environment(),
    "notes": list(notes),
  }


def _write(setting: Settings, record, pictures, scores, summary, panels, notes) -> None:
  def reference(mode: str, i: int) -> str:
    if mode == "automatic":
      return ""
    return pictures.heldout.name(i) if mode == "self" else pictures.references.name(i)

  height, width = setting.size
  about = [
    f"{setting.model}, step {setting.step} of {setting.checkpoint}: "
    f"{record['samples']['measured']} pictures of {setting.data}, {width}x{height} pixels, from "
    f"gray inputs {setting.scale:g} times smaller."
  ]
  broken = record["samples"]["broken"]
  about += [f"Left out, cannot be read: {error}" for error in broken]
  title = f"{setting.model} on {setting.name} at {setting.scale:g}x"
  html = evaluation_page.page(title, about, notes, record, scores, summary, panels)
  contents = {
    folder.RESULTS: results.to_json(record, summary),
    folder.PER_IMAGE: results.to_csv(scores, pictures.heldout.name, reference),
    folder.PAGE: html,
  }
  folder.write(setting.out, contents)


def _tell(setting: Settings, pictures: Pictures, scores: Scores, summary, notes) -> int:
  """Prints the tables and what was left out; returns the exit code."""
  height, width = setting.size
  for mode, by in summary.of.items():
    n = len(scores.records[mode])
    count = f"{n} picture{'' if n == 1 else 's'}"
    print(f"{mode}: {count} of {setting.data} at {setting.scale:g}x to {width}x{height}")
    print(results.screen_table(by, n), end="\n\n")
    if differences := results.screen_differences(summary.differences[mode], setting.model):
      print(differences, end="\n\n")
  print(results.screen_legend(setting.baselines))
  print(f"report: {(setting.out / 'report.html').resolve()}")
  for note in notes:
    print(f"note: {note}", file=sys.stderr)
  broken = pictures.heldout.errors
  if pictures.empty:
    print(f"left out: {pictures.empty} empty files", file=sys.stderr)
  if broken:
    print(f"left out, cannot be read: {len(broken)} of {pictures.records}", file=sys.stderr)
    for i in sorted(broken):
      print(f"  {shown_name(broken[i])}", file=sys.stderr)
  return 1 if broken or pictures.empty else 0
