"""What `scs-jax evaluate` does: opens a run and pictures, measures, writes."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from tqdm import tqdm

from scs_jax.data import draw as draws
from scs_jax.data import opening, pipeline, scan, subset
from scs_jax.data.heldout import Observed, References
from scs_jax.data.listing import describe_results
from scs_jax.data.sources import open_source
from scs_jax.data.subset import Subset
from scs_jax.errors import UserError
from scs_jax.measure import evaluation_folder as folder
from scs_jax.measure import evaluation_output as output
from scs_jax.measure import evaluation_settings as settings
from scs_jax.measure import pair_evaluation
from scs_jax.measure.evaluate import SMALLEST, Protocol
from scs_jax.measure.evaluation_panels import Pictures, draw
from scs_jax.measure.evaluation_settings import Settings
from scs_jax.measure.trial import Trial
from scs_jax.metrics import estimates, intervals
from scs_jax.metrics.estimates import Scores
from scs_jax.ops import warp
from scs_jax.report import results


def run(args) -> int:
  """See cli/evaluate.py; returns the exit code."""
  found = settings.open_run(args)
  if found.method.takes_pairs:
    return pair_evaluation.run(args, found)
  config, setting = found.config, settings.read(args, found)
  pictures = _open(setting, not args.quiet)
  identity = _identity(setting, pictures)
  output.claim(setting, identity)
  trial = _trial(setting, config, found.method)
  scores = _measure(setting, trial, pictures, args.quiet)
  summary = estimates.summarize(scores, setting.model, setting.seed)
  notes = [*setting.notes, *_notes(setting, pictures, scores, summary)]
  record = _record(setting, config, pictures, scores, identity, notes)
  panels = draw(setting, trial, pictures, scores) if setting.panels else {}
  _write(setting, record, pictures, scores, summary, panels)
  return _tell(setting, pictures, scores, summary, notes)


def _open(setting: Settings, progress: bool) -> Pictures:
  source = open_source(setting.data)
  drawn = draws.draw(
    source, setting.limit, setting.seed, None if setting.enlarge else setting.size, progress
  )
  setting.notes += drawn.note(setting.size)
  setting.notes += describe_results(getattr(source, "skipped_results", ()))
  count = len(drawn.numbers)
  heldout = Observed(Subset(source, np.sort(drawn.numbers)), SMALLEST)
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
  return folder.identify(
    {
      **output.identity_of(setting),
      "pictures": pictures.heldout.fingerprint,
      "count": pictures.records,
      "references": pictures.pool.fingerprint if pictures.pool is not None else None,
      "scale": setting.scale,
      "size": "{1}x{0}".format(*setting.size),
    }
  )


def _trial(setting: Settings, config, method) -> Trial:
  state = output.restore(setting)
  side = config.evaluate.reference_size
  protocols = [Protocol(mode, setting.scale, side, setting.seed) for mode in setting.modes]
  return Trial(
    setting.model, method.predict, state, protocols, setting.baselines, more=setting.lpips
  )


def _measure(setting: Settings, trial: Trial, pictures: Pictures, quiet: bool) -> Scores:
  read = lambda source: pipeline.eval_batches(
    source, setting.size, setting.batch_size, pictures.records
  )

  with (
    tqdm(total=pictures.records, unit="picture", disable=quiet, dynamic_ncols=True) as bar,
    read(pictures.heldout) as batches,
  ):
    if pictures.references is None:
      scores = trial.run(watch(batches, None, bar.update))
    else:
      with read(pictures.references) as others:
        scores = trial.run(watch(batches, others, bar.update))
  if not any(map(len, scores.records.values())):
    errors = pictures.heldout.errors
    first = errors[min(errors)] if errors else ""
    raise UserError(
      f"none of the {pictures.records} pictures of {setting.data} can be read ({first}); give "
      "another --data"
    )
  return scores


def watch(
  batches: Iterable[Mapping], others: Iterator[Mapping] | None, advance: Callable[[int], object]
) -> Iterator[dict]:
  """Batches as Trial.run takes them: with "gray", and the references of mode random.

  Args:
    others: batches of references beside those of pictures; None where there are none.
    advance: told the number of pictures of each batch when it is done.
  """
  for batch in batches:
    batch = dict(batch)
    if others is not None:
      other = next(others)
      batch |= {"other": other["image"], "other_mask": other["mask"]}
    gray = [scan.mean_chroma(image) < scan.GRAY_CHROMA for image in batch["image"]]
    yield batch | {"gray": np.array(gray)}
    advance(int((batch["record"] >= 0).sum()))


def _notes(setting: Settings, pictures: Pictures, scores: Scores, summary) -> list[str]:
  """What a reader of the figures must know."""
  measured = max(map(len, scores.records.values()))
  notes = output.gray_note(scores, "pictures are", "PSNR ab and colourfulness")
  notes += subset.enlarged(pictures.heldout.sizes.values(), setting.size, "pictures")
  paired = pictures.references is not None and "random" in scores.records
  alone = measured - len(scores.records["random"]) if paired else 0
  if alone:
    notes.append(f"mode random: {alone} of {measured} pictures had no other one that can be read")
  lent = len(pictures.references.gray & {*scores.records["random"].tolist()}) if paired else 0
  if lent:
    notes.append(
      f"mode random: the references of {lent} of {measured - alone} pictures are gray, as no other "
      "has colour"
    )
  if pictures.pool is not None and pictures.pool.errors:
    notes.append(f"{len(pictures.pool.errors)} references that cannot be read were passed over")
  return notes + output.equal_note(summary, "picture")


def _record(setting: Settings, config, pictures: Pictures, scores: Scores, identity, notes) -> dict:
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
      "sha256": opening.list_hash(mark, pairs),
    }
  broken = [pictures.heldout.errors[i] for i in sorted(pictures.heldout.errors)]
  alpha, sigma = warp.default_elastic(side)
  height, width = setting.size
  return {
    "identity": identity,
    "date": output.now(),
    "checkpoint": output.checkpoint_record(setting.run, setting.which, identity["checkpoint"]),
    "samples": {
      "data": setting.data,
      "measured": len(used),
      "gray": output.count_gray(scores),
      "gray_chroma": scan.GRAY_CHROMA,
      "broken": broken,
      "empty_files": pictures.empty,
      "fingerprint": pictures.heldout.fingerprint,
      "sha256": opening.list_hash(pictures.heldout.fingerprint, used),
    },
    "references": references,
    "seeds": dict.fromkeys(("draw", "references", "welsh", "bootstrap"), setting.seed),
    "settings": {
      "modes": list(setting.modes),
      "scale": setting.scale,
      "size": {"height": height, "width": width},
      "enlarge": setting.enlarge,
      "limit": setting.limit,
      "input": {
        "height": max(1, round(height / setting.scale)),
        "width": max(1, round(width / setting.scale)),
        "reduction": "bicubic with antialiasing, as MATLAB's imresize of doubles, "
        "on 256 levels; then CIE L",
      },
      "reference": {"side": side, "elastic_alpha": alpha, "elastic_sigma": sigma},
      "batch_size": setting.batch_size,
      "weights": output.weights_record(setting),
      "bootstrap": {"resamples": intervals.RESAMPLES, "level": intervals.LEVEL},
    },
    **results.environment(),
    "notes": list(notes),
  }


def _write(setting: Settings, record, pictures, scores, summary, panels) -> None:
  def reference(mode: str, i: int) -> str:
    if mode == "automatic":
      return ""
    return (pictures.references if mode == "random" else pictures.heldout).name(i)

  height, width = setting.size
  about = [
    f"{setting.model}, step {setting.step} of {setting.checkpoint}: "
    f"{record['samples']['measured']} pictures of {setting.data}, {width}x{height} pixels, from "
    f"gray inputs {setting.scale:g} times smaller."
  ]
  title = f"{setting.model} on {setting.name} at {setting.scale:g}x"
  name = pictures.heldout.name
  output.write(setting, title, about, record, scores, summary, panels, name, reference)


def _tell(setting: Settings, pictures: Pictures, scores: Scores, summary, notes) -> int:
  """Prints the tables and what was left out; returns the exit code."""
  height, width = setting.size

  def heading(mode: str, n: int) -> str:
    count = f"{n} picture{'' if n == 1 else 's'}"
    return f"{mode}: {count} of {setting.data} at {setting.scale:g}x to {width}x{height}"

  output.print_tables(setting, scores, summary, heading)
  return output.print_left_out(setting, notes, pictures.heldout.errors, pictures.records,
                               pictures.empty)  # fmt: skip
