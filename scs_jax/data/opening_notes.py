"""Lines that a user should see of the pictures or pairs before a training starts on them."""

import os

import jax
import numpy as np

from scs_jax.data import decode, draw, listing, scan, stereo_check

# Measured when a training starts, a second or so in all.
_LOOKED_AT = 3  # pairs
_LOOKED_AT_PHOTOS = 64


def some(names: list[str], most: int = 10) -> str:
  """Writes the first of some names, and how many more there are."""
  more = f" and {len(names) - most} more" if len(names) > most else ""
  return ", ".join(names[:most]) + more


def trained_on_too(source, heldout) -> list[str]:
  """Writes a line where pairs that are held out are trained on as well, wholly or in part."""
  place = lambda record: tuple(map(os.path.realpath, record.views))
  rows: dict[tuple[str, ...], list] = {}
  for record in source.records:
    rows.setdefault(place(record), []).append(record.rows)
  meet = lambda a, b: a is None or b is None or (a[0] < b[1] and b[0] < a[1])
  both = [r.name for r in heldout.records if any(meet(r.rows, o) for o in rows.get(place(r), ()))]
  return [f"held-out pairs that are trained on as well: {some(both)}"] if both else []


def unlike_pairs(source, config, search_range: int | None) -> list[str]:
  """Lists what is wrong with a few of the pairs, the first and the last among them.

  That is matches off their row or out of reach, and views smaller than the crop, whose last row and
  column would be repeated. A training would learn wrong colours from them without a word.
  """
  if search_range is None or jax.process_index() > 0:  # the first process says it for all
    return []
  numbers = np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).round().astype(int))
  notes = []
  for i in map(int, numbers):
    report = stereo_check.check_pair(source, i, search_range)
    if report.matches is not None and len(report.matches) >= stereo_check.FEWEST:
      notes += [f"warning: {report.name}: {problem}" for problem in report.problems]
    crop = config.data.crop
    if report.size is not None and any(s < c for s, c in zip(report.size, crop, strict=True)):
      notes.append(
        f"warning: {report.name}: {report.size[1]}x{report.size[0]} pixels, smaller than the crop "
        f"of {crop[1]}x{crop[0]}, which is filled up with mirrored rows and repeated columns; "
        "leave it out, or set config.data.crop"
      )
  if notes:
    notes.append(
      f"{len(numbers)} of {len(source)} pairs were looked at; `scs-jax data check-stereo` measures "
      "them all"
    )
  return notes


def left_out(source, least) -> list[str]:
  """Writes lines on what a folder holds that is not shown; none where it is all shown."""
  counts = {
    "empty files": source.skipped_empty,
    "that cannot be read": source.skipped_corrupt,
    "gray": source.skipped_gray,
  }
  if least is not None:
    small = f"smaller than {least[1]}x{least[0]} (data.enlarge=true takes them, enlarged)"
    counts[small] = source.skipped_small
  listed = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
  notes = [f"training on {len(source)} pictures; left out: {listed}"] if listed else []
  return notes + listing.describe_results(source.skipped_results)


def gray(source, spec: str, excluded: bool) -> list[str]:
  """Warns where pictures that are trained on have no colour, by some that the seed draws."""
  # The first process says it for all; bundled pictures have colour.
  if excluded or spec.startswith("bundled") or jax.process_index() > 0:
    return []
  numbers, found = draw.draw(source, _LOOKED_AT_PHOTOS).numbers, 0
  for i in map(int, numbers):
    try:
      found += scan.chroma_of(source, i) < scan.GRAY_CHROMA
    except decode.DecodeError:
      continue  # told when training meets it
  if not found:
    return []
  return [
    f"warning: {found} of {len(numbers)} training pictures that were looked at are gray, and teach "
    "a colorizer gray; data.exclude_gray=true leaves such out"
  ]


def scored_elsewhere(config) -> list[str]:
  """Warns where held-out scores are of nothing, or of other data than what is trained on."""
  section = config.data
  if not (config.log.evaluate_every or config.log.panels_every):
    return []
  if not section.heldout:
    return [
      "no held-out pictures: nothing is scored or drawn along the way, and no checkpoint is the "
      "best; give --heldout"
    ]
  if section.heldout.startswith("bundled") and not section.source.startswith("bundled"):
    return [
      f"held-out scores, and the best checkpoint by them, are of {section.heldout}, not of "
      f"{section.source}; give --heldout for others"
    ]
  return []
