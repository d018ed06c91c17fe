"""The pictures that a report shows: chosen by their scores, coloured once more, side by side."""

from collections.abc import Sequence

import numpy as np

from scs_jax.measure import pairs
from scs_jax.measure.score import Kept, score
from scs_jax.metrics import estimates
from scs_jax.metrics.estimates import Scores
from scs_jax.report import pairs_panels
from scs_jax.report.results import shown_name

Groups = list[tuple[str, list[int]]]
_PHOTOS = ("psnr_ab", "PSNR ab"), ("bicubic_gray", "bicubic gray")
_PAIRS = ("psnr_cbcr", "PSNR CbCr"), ("reinhard", "Reinhard's transfer")


def choose_of_model(scores: Scores, mode: str, model: str, each: int, data) -> Groups:
  """Chooses a model's best, typical and worst pictures, and some that have no colour."""
  order, label = _ranking(scores, mode, model, data)
  if data.what == "pairs":
    label += f" {mode}-time"
  groups = [(f"{kind}, by {label}", chosen) for kind, chosen in _thirds(order, each, data.what)]
  gray = scores.records[mode][scores.gray[mode]].tolist()
  if gray and len(order) < len(scores.records[mode]):
    what = "colour views" if data.what == "pairs" else data.what
    groups.append((f"Gray {what}, without a rank", gray[:each]))
  return groups


def choose_of_rows(scores: Scores, mode: str, rows: Sequence[str], each: int, data) -> Groups:
  """Chooses pictures drawn by the seed, and every row's best and worst."""
  records = scores.records[mode]
  rng = np.random.default_rng((data.setting.seed, len(records)))
  drawn = np.sort(rng.permutation(records)[:each]).tolist()
  groups = [("Drawn by the seed, whatever the results", drawn)]
  seen = set(drawn)
  for row in rows:
    order, label = _ranking(scores, mode, row, data)
    for kind, i in (("best", order[0]), ("worst", order[-1])) if order else ():
      words = f"{row}: its {kind}, by {label}"
      if i in seen:
        groups.append((f"{words}: {shown_name(data.picture_name(i))}, shown above", []))
      else:
        groups.append((words, [i]))
      seen.add(i)
  return groups


def _ranking(scores: Scores, mode: str, row: str, data) -> tuple[list[int], str]:
  by = _PAIRS if data.what == "pairs" else _PHOTOS
  order, label = estimates.ranking(scores, mode, row, *by)
  return [int(i) for i in order], label


def _thirds(order: list[int], each: int, what: str) -> Groups:
  """Picks best, typical and worst pictures of an order; all of them where they are few."""
  if len(order) <= 3 * each:
    return [(f"All {what}, the best first", order)]
  middle = (len(order) - each) // 2
  return [
    ("Best", order[:each]),
    ("Typical (around the median)", order[middle : middle + each]),
    ("Worst, the worst first", order[-each:][::-1]),
  ]


def keep(predictors, track, data, mode: str, groups: Groups, extras: bool = False) -> Kept:
  """Colours the chosen pictures once more."""
  kept, numbers = Kept(), sorted({i for _, chosen in groups for i in chosen})
  if numbers:
    score(predictors, track, [data.pick(mode, numbers)], see=kept, extras=extras)
  return kept


def photo_strips(scores: Scores, mode: str, groups: Groups, kept: Kept, data) -> list:
  """Returns [(group, [(heading, captioned pictures)])]: input, reference, all results, truth."""

  def heading(i: int) -> str:
    name = shown_name(data.picture_name(i))
    if mode != "random":
      return name
    return f"{name}, colours of {shown_name(data.reference_name(mode, i))}"

  def strip(i: int) -> list:
    place = kept.places[mode][i]
    start = [("gray input", place["gray"])]
    if "reference" in place:
      start.append(("reference", place["reference"]))
    results = _results(scores, mode, i, place, "psnr_ab")
    return [*start, *results, ("truth (PSNR RGB / ab)", place["truth"])]

  return _of_groups(groups, heading, strip)


def pair_strips(scores: Scores, mode: str, groups: Groups, kept: Kept, data) -> list:
  """Arranges the same of pairs: views, all results of a pass, truth."""

  def strip(i: int) -> list:
    place = kept.places[mode][i]
    start = [("monochrome view", place["mono"][..., 0]), ("colour view", place["color"])]
    truth = place.get("truth") if mode == "first" else place["color"]
    end = [] if truth is None else [("truth (PSNR RGB / CbCr)", truth)]
    return [*start, *_results(scores, mode, i, place, "psnr_cbcr"), *end]

  return _of_groups(groups, lambda i: shown_name(data.picture_name(i)), strip)


def pair_maps(scores: Scores, groups: Groups, kept: Kept, model: str, data) -> list:
  """Arranges views, both results of a model, truth, and the maps that its method gives."""

  def strip(i: int) -> list:
    first, second = (kept.places[mode][i] for mode in pairs.MODES)
    shown = {**first, "first": first[model], "second": second[model]}
    return pairs_panels.strip(shown, {mode: caption(mode, i) for mode in pairs.MODES})

  def caption(mode: str, i: int) -> str:
    words = f"{mode}-time result"
    if mode in scores.of and i in scores.records[mode]:
      values = {k: v[_at(scores, mode, i)] for k, v in scores.of[mode][model].items()}
      words += f", PSNR RGB {values['psnr_rgb']:.1f}, SSIM {values['ssim_rgb']:.3f}"
    return words

  return _of_groups(groups, lambda i: shown_name(data.picture_name(i)), strip)


def _of_groups(groups: Groups, heading, strip) -> list:
  return [(kind, [(heading(i), strip(i)) for i in chosen]) for kind, chosen in groups]


def _results(scores: Scores, mode: str, i: int, place, colour: str) -> list:
  at = _at(scores, mode, i)
  return [
    (f"{row} {values['psnr_rgb'][at]:.1f} / {values[colour][at]:.1f}", place[row])
    for row, values in scores.of[mode].items()
    if row in place
  ]


def _at(scores: Scores, mode: str, i: int) -> int:
  return int(np.flatnonzero(scores.records[mode] == i)[0])
