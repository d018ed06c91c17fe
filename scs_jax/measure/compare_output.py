"""What a comparison writes and prints: JSON, CSV, Markdown, the page, the tables on the screen."""

import sys
from collections.abc import Mapping, Sequence

from scs_jax.measure import compare_ruler, learned
from scs_jax.measure import evaluation_folder as folder
from scs_jax.measure import evaluation_output as output
from scs_jax.measure.compare_record import Found, record_of
from scs_jax.measure.compare_rows import Row
from scs_jax.measure.compare_ruler import Ruler
from scs_jax.measure.compare_settings import Plan
from scs_jax.measure.evaluation_panels import shown_name
from scs_jax.measure.pairs import TRIVIAL
from scs_jax.metrics.estimates import REFERENTIAL
from scs_jax.report import compare_page, compare_tables, results
from scs_jax.report.compare_tables import Facts
from scs_jax.report.layout import PHOTOS, Layout, with_lpips
from scs_jax.report.pairs_layout import PAIRS
from scs_jax.report.plots import Dot
from scs_jax.report.tables import Table, to_markdown

FORMAT = "scs_jax comparison 1"
TABLES = "tables.md"
_CAUTION = (
  "Small numbers of pictures and short trainings rank nothing: look at the intervals, and at the "
  "differences picture by picture to the first row."
)


def csv_name(data: str) -> str:
  """Of a data set's scores picture by picture."""
  return f"per_image-{data.replace('/', '-')}.csv"


def files(plan: Plan) -> list[str]:
  """Names of what is written."""
  return [folder.RESULTS, *(csv_name(name) for name, _ in plan.data), TABLES, folder.PAGE]


def _layout(plan: Plan) -> Layout:
  layout = PAIRS if plan.track == "pairs" else PHOTOS
  return layout if plan.lpips_weights is None else with_lpips(layout)


def _tables(plan: Plan, found: Sequence[Found], facts: Sequence[Facts], failed, ruler: Ruler):
  sets = [one.measured for one in found]
  if plan.track == "pairs":
    return [compare_tables.table_pairs(sets, facts, failed)]
  return [
    compare_tables.table_1(sets, facts, ruler.why_no_fid, failed),
    compare_tables.table_2(sets, facts, ruler.why_no_lpips, failed),
  ]


def notes_of(
  plan: Plan, found: Sequence[Found], failed: Mapping[str, str], ruler: Ruler
) -> list[str]:
  """What a reader of the figures must know."""
  notes = [f"Failed: {name}: {why}" for name, why in failed.items()]
  what = "pictures" if plan.track == "photos" else "colour views"
  metric = "PSNR ab and colourfulness" if plan.track == "photos" else "PSNR CbCr"
  for one in found:
    tell = lambda note, one=one: f"{one.data.name}: {note}"
    notes += map(tell, output.gray_note(one.scores, f"{what} are", metric))
    notes += map(tell, output.equal_note(one.summary, "picture", one.scores.trivial))
    notes += [*one.data.notes, *one.data.missing.notes()]
    notes += [
      tell(f"{mode}: {row} is the true picture for most pictures: the means of others do not wait "
           "for it, and it is marked nowhere")
      for mode, row in one.scores.trivial.items()
      if row != TRIVIAL
    ]  # fmt: skip
    short = {m: len(n) for m, n in one.data.dealt.items() if len(n) > one.counts.get(m, 0)}
    notes += [
      tell(f"{mode}: {one.counts.get(mode, 0)} of {n} are measured by all rows, and compared")
      for mode, n in short.items()
    ]
    notes += map(tell, _fid_notes(one, ruler.counts(one.data.name)))
    if one.data.empty:
      notes.append(tell(f"{one.data.empty} empty files are left out"))
  if plan.track == "pairs":
    notes.append(
      "Methods for photographs colour the monochrome view at its size, by the colour view where "
      "they take a reference; the lightness is what they answer: see the figures with true Y."
    )
  return [*notes, _CAUTION]


def _fid_notes(one: Found, counts: Mapping[str, int]) -> list[str]:
  """What keeps FIDs from being compared; counts: as of Ruler.counts."""
  if not one.distances:
    return []
  notes = []
  for part in one.distances:
    of = {k.removeprefix(f"{part}: "): n for k, n in counts.items() if k.startswith(f"{part}: ")}
    if len(set(of.values())) > 1:
      told = ", ".join(f"{n} of {row}" for row, n in of.items())
      notes.append(f"FID, {part}, is over unequal numbers of pictures ({told}): do not compare it")
  few = learned.fid_note(min(counts.values()))
  return [*notes, few] if few else notes


def write(
  plan: Plan,
  rows: Sequence[Row],
  found: Sequence[Found],
  facts: Sequence[Facts],
  failed: Mapping[str, str],
  ruler: Ruler,
  mark: Mapping,
) -> None:
  """Writes all files."""
  layout, tables = _layout(plan), _tables(plan, found, facts, failed, ruler)
  notes = notes_of(plan, found, failed, ruler)
  record = record_of(plan, rows, found, facts, failed, ruler, mark, notes)
  figures = {one.data.name: results.summary_record(one.summary) for one in found}
  whole = {"format": FORMAT, **record, "metrics": dict(layout.definitions), "figures": figures}
  contents = {folder.RESULTS: results.dump(whole)}
  for one in found:
    contents[csv_name(one.data.name)] = results.to_csv(
      one.scores, one.data.picture_name, one.data.reference_name
    )
  markdown = "\n".join(map(to_markdown, tables))
  heading = f"# {_title(plan)}\n\n`{plan.command}`\n\n"
  contents[TABLES] = (heading + markdown).encode("utf-8", "backslashreplace")
  contents[folder.PAGE] = _page(plan, found, facts, tables, notes, layout, record)
  folder.write(plan.out, contents)


def _title(plan: Plan) -> str:
  names = ", ".join(name for name, _ in plan.data)
  return f"Comparison on {'pairs of ' if plan.track == 'pairs' else ''}{names}"


def _page(plan, found, facts, tables: Sequence[Table], notes, layout: Layout, record) -> bytes:
  sections = [
    compare_page.Section(
      heading=one.data.name,
      about=[_about(plan, one)],
      scores=one.scores,
      summary=one.summary,
      panels=one.panels,
      plots=_plots(plan, one, facts),
      aside=_aside(facts),
    )
    for one in found
  ]
  words = {
    "pictures a second": "One over the median time of a picture, batch 1, warm, on the device that "
    "is named below; of a cascade all of its stages together.",
    "parameters": "Numbers of the networks that the colouring reads, in millions, as the paper "
    "counts; discriminators and, without a reference, its encoder take no part.",
    "true L": "Colours of a network that predicts them alone, under the lightness of the true "
    "picture, as the report of the joint network measures; no use of it has that. Such rows are "
    "never marked as the best.",
  }
  if plan.fid_weights is not None:
    words["FID"] = compare_ruler.FID
  return compare_page.page(
    _title(plan), [plan.command], notes, tables, sections, layout, words, record
  )


def _aside(facts: Sequence[Facts]) -> list[str]:
  return [fact.name for fact in facts if fact.true_light]


def _about(plan: Plan, one: Found) -> str:
  if plan.track == "pairs":
    size = "whole" if plan.size is None else "the middle {1}x{0} pixels of each".format(*plan.size)
    return f"{one.data.records} pairs of {one.data.spec}, {size}."
  height, width = plan.size
  counts = ", ".join(f"{n} {mode}" for mode, n in one.counts.items() if mode != REFERENTIAL)
  drawn = "the same for all modes" if plan.shared else "each in one mode"
  return (
    f"Of {one.data.records} pictures of {one.data.spec}, by seed {plan.seed}, {drawn}: {counts}. "
    f"{width}x{height} pixels, from gray inputs {plan.scale:g} times smaller."
  )


def _plots(plan: Plan, one: Found, facts: Sequence[Facts]):
  """Figure 2 (right): quality against speed."""
  modes = (
    (("first", "pairs", "first-time"), ("second", "pairs", "second-time"))
    if plan.track == "pairs"
    else (("automatic", "automatic", "automatic"), ("self", REFERENTIAL, "self-reference"))
  )
  plots = []
  for mode, part, words in modes:
    rows = one.summary.of.get(mode, {})
    dots = [
      Dot(f.name, fps, rows[f.name]["psnr_rgb"].mean, f.parameters.get(part))
      for f in facts
      if f.network and f.name in rows and (fps := f.fps(part))
    ]
    plots.append((dots, f"PSNR RGB (dB), {words}"))
  for part, distances in one.distances.items():
    dots = [
      Dot(f.name, fps, distances[f.name], f.parameters.get(part))
      for f in facts
      if f.network and f.name in distances and (fps := f.fps(part))
    ]
    plots.append((dots, f"FID, {part}; lower is better"))
  return plots


def tell(
  plan: Plan, found: Sequence[Found], facts: Sequence[Facts], failed: Mapping[str, str]
) -> int:
  """Prints what was measured and what was left out; returns the exit code."""
  layout = _layout(plan)
  for one in found:
    for mode, by in one.summary.of.items():
      if mode not in layout.modes:
        continue
      n = one.counts[mode]
      print(f"{mode}: {n} of {one.data.name}")
      aside = (*one.scores.aside(mode), *_aside(facts))
      print(results.screen_table(by, n, layout, aside), end="\n\n")
  print(results.screen_legend(True, False))
  print(f"tables: {(plan.out / TABLES).resolve()}")
  print(f"report: {(plan.out / folder.PAGE).resolve()}")
  broken = 0
  for one in found:
    for i in sorted(one.data.broken):
      broken += 1
      print(f"left out, cannot be read: {shown_name(one.data.broken[i])}", file=sys.stderr)
    for note in one.data.missing.notes():
      print(note, file=sys.stderr)
  for name, why in failed.items():
    print(f"failed: {name}: {why}", file=sys.stderr)
  return 1 if broken or failed or any(one.data.empty for one in found) else 0
