"""What an evaluation of pairs writes: notes, the record, panels, files."""

import numpy as np

from scs_jax.data import opening, scan
from scs_jax.data import pairs as batches_of
from scs_jax.measure import evaluation_output as output
from scs_jax.measure import pairs
from scs_jax.measure.evaluation_panels import group, shown_name
from scs_jax.measure.evaluation_settings import Settings
from scs_jax.measure.pair_evaluation_passes import Passes
from scs_jax.measure.pair_evaluation_views import Chosen, Views
from scs_jax.measure.pairs_trial import PairTrial
from scs_jax.metrics import estimates, intervals
from scs_jax.metrics.estimates import Scores
from scs_jax.report import pairs_panels, results
from scs_jax.report.pairs_layout import PAIRS, correlation_section

_RANKED = ("psnr_cbcr", "PSNR CbCr"), ("reinhard", "Reinhard's transfer")


def notes_on(setting: Settings, views: Views, scores: Scores, summary, passes: Passes) -> list[str]:
  """What a reader of the figures must know."""
  measured = views.count - len(views.errors)
  notes = [_about_truth(setting, views, measured), _about_luma(setting, views)]
  notes += about_seen(setting.warped, views)
  notes += [pairs.LEFT_OUT] if setting.baselines and pairs.LEFT_OUT else []
  if setting.baselines and "second" in scores.of:
    notes.append(
      f"{pairs.TRIVIAL} copies back in the second pass what it copied in the first: its "
      "second-time figures are near perfect by construction and say nothing of its colours"
    )
  notes += output.gray_note(scores, "colour views are", "figures of PSNR CbCr")
  notes += output.equal_note(summary, "pair", scores.trivial)
  for (height, width), rows in passes.strips.items():
    notes.append(
      f"pairs of {width}x{height} pixels went through in strips of {rows} rows, as the memory does "
      "not hold them whole; their curve and confidence are not shown"
    )
  return notes


def about_seen(warped: bool, views: Views) -> list[str]:
  """What first-time figures are over where the truth is carried over by known disparities."""
  if not (warped and views.shares):
    return []
  mean = 100 * float(np.mean(views.shares))
  return [
    "first-time figures are over the pixels that both views see and whose disparity is known, "
    f"{mean:.0f} % of them ({100 * min(views.shares):.0f} to {100 * max(views.shares):.0f}): the "
    "truth there has Cb and Cr of the colour view, carried over by the disparity, and the "
    "monochrome view's own Y"
  ]


def _about_truth(setting: Settings, views: Views, measured: int) -> str:
  if views.known == measured:
    return f"all {measured} pairs have the truth of the monochrome view"
  if views.known:
    return (
      f"{views.known} of {measured} pairs have the truth of the monochrome view: first-time "
      "figures are over these, second-time figures over all"
    )
  return (
    "no pair has the truth of its monochrome view: only second-time figures can be had, and no "
    "correlation with first-time ones"
  )


def _about_luma(setting: Settings, views: Views) -> str:
  if setting.warped or any(record.real for record in views.source.records):
    kind = "the views are those of two cameras, as they were given"
  elif views.camera:
    kind = (
      "the views are those of two simulated cameras (config.data.camera); the truth has the "
      "brightness of the monochrome one without its blur and noise"
    )
  else:
    kind = "the monochrome views are the Y of colour pictures: both views see one brightness"
  return (
    f"{kind}. Results keep the Y (BT.601) that was coloured: the monochrome view's first-time, the "
    "colour view's own second-time, where true Y or not makes little difference; only unrefined "
    "second-time results have a Y that was found"
  )


def record_of(setting: Settings, config, views: Views, scores: Scores, identity, notes) -> dict:
  """All that results.json holds besides the results."""
  used = [views.source.name(int(i)) for i in max(scores.records.values(), key=len)]
  fingerprint = views.source.fingerprint
  whole = setting.size is None
  return {
    "identity": identity,
    "date": output.now(),
    "checkpoint": output.checkpoint_record(setting.run, setting.which, identity["checkpoint"]),
    "samples": {
      "data": setting.data,
      "measured": len(used),
      "truth": views.known,
      "gray": output.count_gray(scores),
      "gray_chroma": scan.GRAY_CHROMA,
      "broken": [views.errors[i] for i in sorted(views.errors)],
      "fingerprint": fingerprint,
      "sha256": opening.list_hash(fingerprint, used),
    },
    "seeds": {"cameras": config.seed, "bootstrap": setting.seed},
    "settings": {
      "modes": list(setting.modes),
      "size": None if whole else {"height": setting.size[0], "width": setting.size[1]},
      "truth": {"kind": "warped" if setting.warped else "own", "shares": views.shares},
      "batch_size": setting.batch_size,
      "weights": output.weights_record(setting),
      "bootstrap": {"resamples": intervals.RESAMPLES, "level": intervals.LEVEL},
    },
    **results.environment(),
    "notes": list(notes),
  }


def draw(setting: Settings, trial: PairTrial, views: Views, scores: Scores) -> dict:
  """Colours the pairs to be shown once more; as evaluation_page.Panels."""
  mode = next(iter(scores.of))
  order, label = estimates.ranking(scores, mode, setting.model, *_RANKED)
  groups = group(order, setting.panels, "pairs")
  gray = scores.records[mode][scores.gray[mode]].tolist()
  groups = [(f"{kind}, by {label} {mode}-time", chosen) for kind, chosen in groups]
  if gray and len(order) < len(scores.records[mode]):
    groups.append(("Gray colour views, without a rank", gray[: setting.panels]))
  numbers = sorted({i for _, chosen in groups for i in chosen})
  shown = {}
  with batches_of.eval_batches(Chosen(views.source, numbers), setting.size, 1) as read:
    for number, batch in zip(numbers, read, strict=True):
      (place,) = trial.show(batch)
      shown[number] = pairs_panels.strip(place, _captions(scores, setting.model, number))
  strips = lambda chosen: [(shown_name(views.source.name(i)), shown[i]) for i in chosen]
  return {mode: [(kind, strips(chosen)) for kind, chosen in groups]}


def _captions(scores: Scores, model: str, number: int) -> dict[str, str]:
  captions = {}
  for mode in pairs.MODES:
    captions[mode] = f"{mode}-time result"
    if mode in scores.of and number in scores.records[mode]:
      at = int(np.flatnonzero(scores.records[mode] == number)[0])
      values = scores.of[mode][model]
      captions[mode] += (
        f", PSNR RGB {values['psnr_rgb'][at]:.1f}, SSIM {values['ssim_rgb'][at]:.3f}"
      )
  return captions


def write(setting: Settings, views: Views, record, scores, summary, panels, together) -> None:
  size = (
    "whole" if setting.size is None else "the middle {1}x{0} pixels of each".format(*setting.size)
  )
  about = [
    f"{setting.model}, step {setting.step} of {setting.checkpoint}: "
    f"{record['samples']['measured']} pairs of {setting.data}, {size}."
  ]
  title = f"{setting.model} on pairs of {setting.name}"
  output.write(
    setting, title, about, record, scores, summary, panels, views.source.name,
    lambda mode, i: "", PAIRS, [correlation_section(together)] if together else [],
  )  # fmt: skip
