"""The papers' tables: printed rows as printed, ours beside them, the best of ours marked."""

import numpy as np
import pytest

from scs_jax.measure import predictors, speed
from scs_jax.metrics.estimates import Estimate, Summary
from scs_jax.report import compare_paper, pages
from scs_jax.report import compare_tables as tables
from scs_jax.report.compare_tables import Facts, Measured, Speed
from scs_jax.report.tables import to_markdown


def estimate(mean):
  return Estimate(mean, mean - 1, mean + 1, 20)


def measured(name="photos", fid=None):
  row = lambda psnr, color: {
    "psnr_rgb": estimate(psnr), "ssim_rgb": estimate(psnr / 40), "colorfulness_hs": estimate(color),
  }  # fmt: skip
  of = {
    "automatic": {"a": row(22.0, 30.0), "b": row(21.5, 41.0), "b, true L": row(30.0, 41.0),
                  "real": {"colorfulness_hs": estimate(50.0)}},
    "self": {"a": row(26.0, 30.0)},
    "referential": {"a": row(25.0, 31.5)},
  }  # fmt: skip
  counts = {"automatic": 20, "self": 4, "random": 16, "referential": 20}
  return Measured(name, Summary(of, {}), counts, fid or {})


FACTS = [
  Facts("a", parameters={"automatic": 9_947_000, "referential": 15_360_000},
        speed={"automatic": Speed(0.1, 0.09, 0.2, 5), "referential": 4.0}),
  Facts("b", parameters={"automatic": 2_000_000}, speed={"automatic": 1234.0}),
  Facts("b, true L", true_light=True),
]  # fmt: skip


def line(table, name, part=None):
  found = [
    dict(zip(table.header, row.cells, strict=True)) | {"best": {table.header[i] for i in row.best}}
    for heading, rows in table.parts
    for row in rows
    if row.cells[0] == name and (part is None or heading.startswith(part))
  ]
  assert len(found) == 1, (name, found)
  return found[0]


def test_table_1_has_the_papers_figures_and_ours():
  fid = {"automatic": {"a": 60.125, "b": 70.5}, "referential": {"a": 50.0}}
  table = tables.table_1([measured(fid=fid)], FACTS, "", {})
  ours = line(table, "a", "Automatic: 20 of photos")
  assert ours["photos FID ↓"] == "60.125" and ours["photos colourfulness"] == "30.0"
  assert ours["parameters, M ↓"] == "9.947" and ours["pictures a second ↑"] == "10"
  assert "photos FID ↓" in ours["best"] and "photos colourfulness" not in ours["best"]
  assert line(table, "b")["best"] == {"parameters, M ↓", "pictures a second ↑"}
  assert line(table, "a", "Referential")["photos FID ↓"] == "50.000"
  assert line(table, "a", "Referential")["parameters, M ↓"] == "15.360"
  theirs = line(table, "[paper] SCSNet (Ours-Ref)")
  assert theirs["ImageNet-C FID ↓"] == "9.632" and theirs["Average CN ↑"] == "5.043"
  assert theirs["parameters, M ↓"] == "15.358" and theirs["pictures a second ↑"] == "27.5"
  assert theirs["photos FID ↓"] == "-" and not theirs["best"]
  real = line(table, "real pictures")
  assert real["photos colourfulness"] == "50.0" and real["ImageNet-C CN ↑"] == "5.522"
  paper = {table.header[i] for i in table.paper}  # set apart, in this row as well
  assert {"ImageNet-C CN ↑", "ImageNet-C FID ↓"} <= paper
  assert not paper & {"photos FID ↓", "photos colourfulness", "parameters, M ↓"}


def test_a_data_set_of_the_papers_name_shares_its_columns():
  table = tables.table_1([measured("imagenet c")], FACTS, "no weights", {})
  assert line(table, "[paper] ColTran")["imagenet c FID ↓"] == "15.860"
  assert "ImageNet-C FID ↓" not in table.header
  assert line(table, "a", "Automatic")["imagenet c FID ↓"] == "-"
  assert "FID: no weights" in table.notes
  table = tables.table_1([measured()], FACTS, "no weights", {})
  assert "photos FID ↓" not in table.header and "photos colourfulness" in table.header
  table = tables.table_2([measured("COCO")], FACTS, "", {})
  assert line(table, "[paper] SCSNet (Ours-Auto)")["COCO PSNR ↑"] == "23.341"


def test_table_2_marks_the_best_of_what_can_be_used():
  table = tables.table_2([measured()], FACTS, "no weights", {"c": "out of memory"})
  assert line(table, "a", "Automatic")["photos PSNR ↑"] == "22.00 [21.00, 23.00]"
  assert "photos PSNR ↑" in line(table, "a", "Automatic")["best"]
  assert not line(table, "b, true L")["best"]
  assert line(table, "a", "Self-reference: 4 of photos")["photos PSNR ↑"].startswith("26.00")
  assert line(table, "[paper] ColTran")["CelebA-HQ SSIM ↑"] == "0.914"
  assert line(table, "c")["photos PSNR ↑"] == "failed"


def test_printed_averages_are_the_means_of_the_printed_sets():
  for row in compare_paper.TABLE_1:
    sets = [values for name, values in row.values.items() if name != "Average"]
    assert len(sets) == 5
    means = np.mean(sets, axis=0)
    assert row.values["Average"][0] == pytest.approx(means[0], abs=0.006), row.name
    assert row.values["Average"][1] == pytest.approx(means[1], abs=0.006), row.name


def test_pairs_have_the_papers_four_sets_and_its_time():
  row = {"psnr_rgb": estimate(40.0), "ssim_rgb": estimate(0.95)}
  found = Measured("Middlebury", Summary({"first": {"a": row}}, {}), {"first": 7}, {})
  table = tables.table_pairs([found], [Facts("a", speed={"pairs": 2.0})], {})
  assert line(table, "a")["Middlebury PSNR ↑"] == "40.00 [39.00, 41.00]"
  ours = line(table, "[paper] Cycle CNN (Ours)", "First-time")
  assert ours["Middlebury PSNR ↑"] == "42.30" and ours["pictures a second ↑"] == "3.98"
  second = line(table, "[paper] Cycle CNN (Ours)", "Second-time")
  assert second["Real Dataset PSNR ↑"] == "42.99" and second["Middlebury SSIM ↑"] == "0.984"
  assert second["Real Dataset SSIM ↑"] == "0.9707"  # with as many digits as are printed
  assert [len(rows) for _, rows in table.parts] == [14, 13]  # 12 others, theirs, and ours


def test_markdown_has_as_many_cells_in_every_line():
  text = to_markdown(tables.table_2([measured()], FACTS, "", {}))
  lines = [row for row in text.splitlines() if row.startswith("|")]
  assert len({row.count("|") for row in lines}) == 1
  assert "**22.00 [21.00, 23.00]**" in text


def test_html_is_whole_and_escaped(parse_page):
  table = tables.table_2([measured("<b>")], FACTS, "", {})
  shown = pages.part("table", table)
  assert "&lt;b&gt; PSNR" in shown and "<b>" not in shown
  assert not parse_page(shown).open and shown.count('<td class="paper">[paper]') == 6


def test_parameters_are_those_that_the_program_reads():
  params = {"used": np.zeros((3, 4)), "twice": np.zeros(5), "judge": np.zeros(1000)}
  predict = lambda p, x: (x @ p["used"]).sum() + p["twice"].sum() * p["twice"][0]
  assert predictors.count_read(predict, params, np.zeros(3)) == 17


def test_time_is_the_median_of_warm_runs(monkeypatch):
  clock, calls = [0.0], []

  def call(x):
    clock[0] += (100, 4, 1, 2)[len(calls)]  # the first one compiles
    calls.append(x)

  monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])
  found = speed.measure(call, 7, runs=3, compiled=False)
  assert calls == [7] * 4
  assert found == (2.0, 1.0, 4.0, 3) and found.fps == 0.5


def test_slow_ones_are_timed_three_times(monkeypatch):
  clock = [0.0]
  monkeypatch.setattr(speed.time, "perf_counter", lambda: clock[0])

  def call():
    clock[0] += 60

  assert speed.measure(call, runs=20, seconds=20, compiled=False).runs == 3
