"""The pictures of an evaluation: where they come from, and those that its report shows."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from scs_jax.data import transforms
from scs_jax.data.heldout import Observed, References
from scs_jax.measure.evaluation_settings import Settings
from scs_jax.measure.trial import Trial
from scs_jax.metrics import estimates
from scs_jax.metrics.estimates import Scores


@dataclasses.dataclass
class Pictures:
  """What is measured, and by what it is colored in mode random."""

  heldout: Observed
  references: References | None
  pool: Observed | None
  records: int
  empty: int  # files that the folder holds, and that hold nothing


def group(order: Sequence[int], each: int, what: str = "pictures") -> list[tuple[str, list[int]]]:
  """Best, typical and worst pictures of an order; all of them where they are few."""
  order = [int(i) for i in order]
  if len(order) <= 3 * each:
    return [(f"All {what}, the best first", order)]
  middle = (len(order) - each) // 2
  return [
    ("Best", order[:each]),
    ("Typical (around the median)", order[middle : middle + each]),
    ("Worst, the worst first", order[-each:][::-1]),
  ]


def draw(setting: Settings, trial: Trial, pictures: Pictures, scores: Scores) -> dict:
  """Colours the pictures to be shown once more; as evaluation_page.Panels."""
  ranked = {
    mode: estimates.ranking(scores, mode, setting.model)
    for mode in trial.modes
    if len(scores.records[mode])
  }
  groups = {}
  for mode, (order, label) in ranked.items():
    kinds = group(order, setting.panels)
    groups[mode] = [(f"{kind}, by {label}", chosen) for kind, chosen in kinds]
    gray = scores.records[mode][scores.gray[mode]].tolist()
    if gray and len(order) < len(scores.records[mode]):
      groups[mode].append(("Gray pictures, without a rank", gray[: setting.panels]))
  wanted = {(m, i) for m, kinds in groups.items() for _, chosen in kinds for i in chosen}
  shown: dict[tuple[str, int], dict] = {}
  numbers = sorted({i for _, i in wanted})
  for start in range(0, len(numbers), setting.batch_size):
    chunk = numbers[start : start + setting.batch_size]
    found = trial.show(batch_of(setting, pictures, chunk))
    for mode, places in found.items():
      for i, place in zip(chunk, places, strict=False):
        if (mode, i) in wanted:
          shown[mode, i] = place
  panels = {}
  for mode, kinds in groups.items():
    strips = lambda chosen, mode=mode: [
      (_heading(pictures, mode, i), _strip(scores, mode, i, shown[mode, i])) for i in chosen
    ]
    panels[mode] = [(kind, strips(chosen)) for kind, chosen in kinds]
  return panels


def batch_of(setting: Settings, pictures: Pictures, numbers: Sequence[int]) -> dict:
  """These pictures as a padded batch."""
  cut = lambda source, i: transforms.center_crop(source.open(i), setting.size)
  pad = setting.batch_size - len(numbers)
  black = [np.zeros((*setting.size, 3), np.uint8)]
  batch = {
    "image": np.stack([cut(pictures.heldout, i) for i in numbers] + pad * black),
    "mask": np.arange(setting.batch_size) < len(numbers),
    "record": np.array([*numbers, *[-1] * pad], np.int32),
  }
  if pictures.references is not None:
    there = [bool(pictures.references.name(i)) for i in numbers]
    others = [
      cut(pictures.references, i) if ok else black[0] for i, ok in zip(numbers, there, strict=True)
    ]
    batch["other"] = np.stack(others + pad * black)
    batch["other_mask"] = np.array(there + pad * [False])
  return batch


def _heading(pictures: Pictures, mode: str, i: int) -> str:
  name = shown_name(pictures.heldout.name(i))
  if mode == "random":
    name += f", colours of {shown_name(pictures.references.name(i))}"
  return name


def _strip(scores: Scores, mode: str, i: int, found: dict) -> list:
  at = int(np.flatnonzero(scores.records[mode] == i)[0])
  strip = [("gray input", found["gray"])]
  if "reference" in found:
    strip.append(("reference", found["reference"]))
  for predictor, values in scores.of[mode].items():
    caption = f"{predictor} {values['psnr_rgb'][at]:.1f} / {values['psnr_ab'][at]:.1f}"
    strip.append((caption, found[predictor]))
  return [*strip, ("truth (PSNR RGB / ab)", found["truth"])]


def shown_name(name: str) -> str:
  """A file name as it can be printed, whatever its bytes."""
  return name.encode("utf-8", "backslashreplace").decode()
