"""Ablation tables as data: their specs, a row's config, and the table from made-up results."""

import csv
import dataclasses
import io
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from scs_jax.core import ablations, ablations_result, resolve
from scs_jax.core import config as configs
from scs_jax.core.ablations import Budget, Column, Row, Table
from scs_jax.core.ablations_result import RowResult
from scs_jax.errors import UserError
from scs_jax.measure import ablate_plan
from scs_jax.report import ablations_page, ablations_table, tables

TABLES = ablate_plan.tables()


_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip
_PROBE = """<script>
const table = document.querySelector("table");
table.scrollLeft = 200;
const left = element => element.getBoundingClientRect().left;
document.title = JSON.stringify({scrolled: table.scrollLeft, left: left(table),
  first: left(table.rows[1].cells[0]), second: left(table.rows[1].cells[1]),
  wide: document.documentElement.scrollWidth, screen: window.innerWidth});
</script>"""


@pytest.fixture
def table():
  return Table(
    title="Parts",
    where="Table 9",
    method="scsnet",
    rows=(
      Row("without", {"where": "Table 9", "psnr": 20.0, "fid": 9.0}, {"network.levels": 1}),
      Row("with", {"where": "Table 9", "psnr": 21.5, "fid": 7.0}, {}),
    ),
    base="without",
    columns=(
      Column("FID", "fid", "referential/fid", -1, 1, "no weights"),
      Column("PSNR", "psnr", "self/psnr_rgb"),
      Column("PSNR ab", "", "self/psnr_ab"),
      Column("colour", "", "referential/colorfulness_hs", 0),
      Column("head", "", "parameters:generator/cpm|generator/other", -1, 3),
      Column("ms", "", "ms@2", -1, 1),
    ),
    modes=("self", "random"),
    pictures={"self": 1, "random": 3},
    images="some",
    channels="not stated",
    curves=("self/psnr_rgb",),
  )


def _result(name, psnr, ab, hs, gray=(0, 0, 0), **more):
  place = lambda values: {"record": np.arange(3), "gray": np.array(gray, float), **values}
  own = place({"psnr_rgb": np.array(psnr, float), "psnr_ab": np.array(ab, float),
               "colorfulness_hs": np.array(hs, float)})  # fmt: skip
  other = place({"colorfulness_hs": np.array(hs, float) + 8})
  scores = {f"self/{k}": v for k, v in own.items()} | {f"random/{k}": v for k, v in other.items()}
  about = {"steps": 7, "total_parameters": 2_000_000, "parameters": {"generator/cpm": 350_000},
           "ms": {"2": 12.5}}  # fmt: skip
  return RowResult(name, "done", {}, "", about | more, {}, scores)


@pytest.fixture
def results():
  return {
    "without": _result("without", [20, 22, 24], [30, 31, 99], [10, 10, 99], gray=(0, 0, 1)),
    "with": _result("with", [21, 24, 27], [31, 31, 99], [14, 14, 99], gray=(0, 0, 1)),
  }


class TestSpecs:
  def test_the_tables_are_those_of_the_papers(self):
    rows = {name: len(table.rows) for name, table in TABLES.items()}
    assert rows == {
      "scsnet.losses": 4, "scsnet.components": 5, "scsnet.upsampler": 3, "smsanet.attention": 4,
      "smsanet.loss": 4, "joint.variants": 5, "cycle_cnn.losses": 11,
    }  # fmt: skip
    bases = {name: table.base for name, table in TABLES.items()}
    assert bases["cycle_cnn.losses"] == "Ours" and bases["smsanet.attention"] == "none"

  @pytest.mark.parametrize("name", TABLES)
  @pytest.mark.parametrize("config", ["small", "paper"])
  def test_every_row_has_a_config_that_makes_a_method(self, name, config):
    table = TABLES[name]
    found = {
      row.name: ablations.row_config(table, row, config, Budget(40), []) for row in table.rows
    }
    ablations.check_rows(found)
    methods = [resolve.build(c) for c in found.values()]
    ablations.check_spec(name, table, *ablate_plan._measurable(methods[0]))
    # Same pictures in the same order; the joint network's rows have batches of their own there.
    differ = ablations.unequal(found)
    assert differ == (["batch_size"] if (name, config) == ("joint.variants", "paper") else [])

  def test_steps_of_a_row_keep_their_proportion(self):
    """Table VII: 70,000 of 84,000 steps without refinement; the cycle as long in every row."""
    table = TABLES["cycle_cnn.losses"]
    for config in ("small", "paper"):
      steps = {}
      for row in table.rows:
        found = ablations.row_config(table, row, config, Budget(840), [])
        share = 1 - found.structure_share - found.refine_share * found.network.refinement
        steps[row.name] = found.steps, round(found.steps * share)
      assert steps["Ours"] == (840, 700)
      assert steps["No color refinement"] == (700, 700)
      assert steps["Previous method in [4]"] == (980, 700)

  def test_the_user_comes_before_the_row_and_after_the_budget(self):
    table = TABLES["scsnet.losses"]
    overrides = ["loss.adversarial=0.25", "log.every_steps=3"]
    found = {
      row.name: ablations.row_config(table, row, "small", Budget(100), overrides)
      for row in table.rows
    }
    weights = [(c.loss.perceptual, c.loss.adversarial) for c in found.values()]
    assert weights == [(0.0, 0.0), (5.0, 0.0), (0.0, 0.25), (5.0, 0.25)]
    last = found["L_C"]
    assert (last.steps, last.epochs, last.checkpoint.every_steps) == (100, 0.0, 25)
    assert (last.log.every_steps, last.log.evaluate_every) == (3, 25)

  def test_rows_that_would_be_alike_are_refused(self):
    table = TABLES["scsnet.losses"]
    found = {
      row.name: ablations.row_config(table, row, "small", Budget(), ["loss.perceptual=0"])
      for row in table.rows
    }
    with pytest.raises(UserError, match=r"'L_C' and 'L_C \+ L_P' have the same config"):
      ablations.check_rows(found)

  @pytest.mark.parametrize(
    ("changes", "said"),
    [
      ({"base": "other"}, "its base row 'other' is none"),
      ({"modes": ("self", "first")}, "no mode 'first'"),
      ({"pictures": {"self": 1}}, "how many pictures"),
      ({"columns": (Column("PSNR", "psnr", "self/psnr_rgb"),)}, "the rows claim"),
      ({"shared": {"tiny": {}}}, "no config or no row"),
    ],
  )
  def test_a_spec_that_contradicts_itself_is_refused(self, table, changes, said):
    modes, metrics = ("self", "random"), ("psnr_rgb", "psnr_ab", "colorfulness_hs", "fid")
    ablations.check_spec("mine", table, modes, metrics)
    with pytest.raises(UserError, match=f"the spec of mine: .*{said}"):
      ablations.check_spec("mine", dataclasses.replace(table, **changes), modes, metrics)

  def test_a_column_without_a_figure_says_why(self, table):
    columns = (*table.columns[:2], Column("CN", "", ""))
    with pytest.raises(UserError, match="does not say why"):
      ablations.check_spec("mine", dataclasses.replace(table, columns=columns), table.modes,
                           ("psnr_rgb", "fid"))  # fmt: skip

  @pytest.mark.parametrize(
    ("changes", "said"), [({"network.levls": 1}, "does not have"), ({"steps": "9"}, "'9'")]
  )
  def test_an_overlay_on_a_key_that_is_not_there_is_refused(self, changes, said):
    with pytest.raises(UserError, match=said):
      ablations.overlay(configs.load("scsnet/small"), changes)


class TestTable:
  def test_means_differences_and_what_they_are_over(self, table, results):
    """By hand: the third picture is gray, so that colour is taken over two."""
    cells = ablations_table.fill(table, results)
    psnr = cells["with"]["PSNR"]
    assert (psnr.paper, psnr.paper_difference) == (21.5, 1.5)
    assert (psnr.ours.mean, psnr.ours.n, psnr.difference.mean) == (24.0, 3, 2.0)
    assert psnr.difference.low >= 1.0 and psnr.difference.high <= 3.0  # of 1, 2, 3
    assert cells["without"]["PSNR"].difference is None
    ab = cells["with"]["PSNR ab"]
    assert (ab.ours.mean, ab.ours.n, ab.difference.mean, ab.paper) == (31.0, 2, 0.5, None)
    assert cells["with"]["head"].ours.mean == 0.35 and cells["with"]["ms"].ours.mean == 12.5

  def test_referential_figures_are_weighted_as_in_the_paper(self, table, results):
    """One self-reference to three random ones: (14 + 3 * 22) / 4."""
    cell = ablations_table.fill(table, results)["with"]["colour"]
    assert cell.ours.mean == pytest.approx(20.0) and cell.difference.mean == pytest.approx(4.0)

  def test_pictures_that_do_not_count_for_one_row_count_for_none(self, table, results):
    results["with"].scores["self/psnr_rgb"][1] = math.inf
    cells = ablations_table.fill(table, results)
    assert [cells[name]["PSNR"].ours.mean for name in cells] == [22.0, 24.0]  # of 20, 24; 21, 27
    results["with"].scores["self/record"] = np.array([0, 2, 5])  # the second could not be read
    results["with"].scores["self/psnr_rgb"] = np.array([21.0, 27.0, 40.0])
    cells = ablations_table.fill(table, results)
    assert [cells[name]["PSNR"].ours.mean for name in cells] == [22.0, 24.0]

  def test_fid_is_there_once_it_was_measured(self, table, results):
    assert ablations_table.fill(table, results)["with"]["FID"].ours is None
    for result, value in zip(results.values(), (50.0, 40.0), strict=True):
      result.sets["referential/fid"] = {"mean": value, "n": 6}
    cell = ablations_table.fill(table, results)["with"]["FID"]
    assert (cell.ours.mean, cell.ours.n, cell.difference.mean) == (40.0, 6, -10.0)
    assert math.isnan(cell.difference.low)

  def test_rows_that_are_not_done_have_the_papers_figures_alone(self, table, results):
    results["with"] = RowResult("with", "failed", {}, "no memory")
    cells = ablations_table.fill(table, results)
    assert cells["with"]["PSNR"].ours is None and cells["with"]["PSNR"].paper == 21.5
    lines = ablations_table.lines(table, results, cells)
    assert lines[0][0] == "without (base)" and lines[1][-1] == "failed"
    results["with"] = None
    assert ablations_table.lines(table, results, cells)[1][-1] == "not trained yet"
    only = {"without": None, "with": _result("with", [1, 2, 3], [1, 2, 3], [1, 2, 3])}
    cells = ablations_table.fill(table, only)
    assert cells["with"]["PSNR"].ours.mean == 2.0 and cells["with"]["PSNR"].difference is None

  def test_it_counts_where_ours_has_the_papers_sign(self, table, results):
    line = ablations_table.agreement(table, ablations_table.fill(table, results))
    assert line == [
      "PSNR: of 1 difference to 'without', 1 has the paper's sign, 0 the other, 0 are undecided "
      "(the interval holds 0)"
    ]
    results["with"].scores["self/psnr_rgb"] = np.array([19.0, 22.0, 26.0])  # -1, 0, 2
    line = ablations_table.agreement(table, ablations_table.fill(table, results))
    assert "0 have the paper's sign, 0 the other, 1 is undecided" in line[0]
    for result, value in zip(results.values(), (50.0, 40.0), strict=True):
      result.sets["referential/fid"] = {"mean": value, "n": 6}
    line = ablations_table.agreement(table, ablations_table.fill(table, results))
    assert line[0].startswith("FID: of 1 ") and "1 with the paper's sign; they have no" in line[0]

  def test_markdown_and_csv(self, table, results):
    cells = ablations_table.fill(table, results)
    shown = ablations_table.shown(table, results, cells, "mine", ["a note"])
    text = tables.to_markdown(shown, level=1)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 4 and len({row.count("|") for row in rows}) == 1
    assert "| with | 7.0 | -2.0 | – | – | 21.5 | +1.5 | 24.00 [" in rows[3]
    assert text.splitlines()[0] == "# mine" and text.rstrip().endswith("- a note")
    written = ablations_table.to_csv(table, results, cells).decode()
    lines = list(csv.DictReader(io.StringIO(written)))
    assert [line["row"] for line in lines] == ["without", "with"]
    assert float(lines[1]["PSNR: difference"]) == 2.0 and lines[1]["FID: ours"] == ""
    assert (lines[0]["base"], lines[1]["status"], lines[1]["steps"]) == ("1", "done", "7")

  def test_the_page_holds_curves_pictures_and_reasons(self, table, results, tmp_path):
    folders = {name: tmp_path / name for name in results}
    for i, folder in enumerate(folders.values()):
      (folder / "panels").mkdir(parents=True)
      lines = [f'{{"step": {s}, "self/psnr_rgb": {s + i}}}' for s in (2, 4)]
      (folder / "metrics.jsonl").write_text("\n".join(lines))
    Image.new("RGB", (8, 8)).save(folders["with"] / "panels" / "step_00000004.png")
    results["without"] = RowResult("without", "failed", {}, "<no memory>")
    cells = ablations_table.fill(table, results)
    page = ablations_page.page("mine", table, results, cells, ["a note"], folders).decode()
    assert page.count('<g class="curve">') == 2 and "data:image/png" in page
    assert "&lt;no memory&gt;" in page and "<no memory>" not in page and "a note" in page
    assert "held-out pictures, step 4" in page
    # The two columns of the paper's FID, the table's first figure; then come our two.
    first = re.search(r"<tbody>\s*<tr>(.*?)</tr>", page, re.DOTALL)[1]
    marks = ["paper" in cell for cell in re.findall(r"<td[^>]*>", first)]
    assert marks[:5] == [False, True, True, False, False]

  @pytest.mark.skipif(_BROWSER is None, reason="no chromium")
  def test_in_a_browser_the_page_fits_a_narrow_screen(self, table, results, tmp_path):
    """The table scrolls by itself, and the rows' names stay in sight."""
    cells = ablations_table.fill(table, results)
    folders = {name: tmp_path / name for name in results}
    notes = ["of " + "/long" * 40]
    page = ablations_page.page("mine", table, results, cells, notes, folders).decode()
    (tmp_path / "page.html").write_text(page.replace("</body>", _PROBE + "</body>"))
    argv = [_BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=500,900"]
    argv += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    argv += [(tmp_path / "page.html").as_uri()]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
    assert title, done.stderr[-2000:]
    found = json.loads(title.group(1))
    assert found["wide"] <= found["screen"] and found["scrolled"] > 100
    assert found["first"] == pytest.approx(found["left"], abs=1) and found["second"] < found["left"]


class TestResult:
  def test_it_comes_back_as_it_was_written(self, results, tmp_path):
    result = dataclasses.replace(results["with"], identity={"seed": 0, "data.crop": [1, 2]})
    result.write(tmp_path)
    found = ablations_result.read(tmp_path)
    assert (found.name, found.status, found.about) == ("with", "done", result.about)
    assert found.identity == result.identity and found.scores.keys() == result.scores.keys()
    for name, values in result.scores.items():
      np.testing.assert_array_equal(found.scores[name], values)

  def test_half_of_one_is_none(self, results, tmp_path):
    assert ablations_result.read(tmp_path) is None
    results["with"].write(tmp_path)
    (tmp_path / ablations_result.SCORES).write_bytes(b"PK\x03\x04")
    assert ablations_result.read(tmp_path) is None
    (tmp_path / ablations_result.ROW).write_text("[1]")
    assert ablations_result.read(tmp_path) is None

  def test_another_rows_folder_is_refused(self, tmp_path):
    require = ablations_result.require_ours
    assert require(tmp_path, {"seed": 0}) is None
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match="no row of a table"):
      require(tmp_path, {"seed": 0})
    RowResult("a", "running", {"seed": 0, "measure.limit": 4}).write(tmp_path)
    assert require(tmp_path, {"seed": 0, "measure.limit": 8}).status == "running"
    with pytest.raises(UserError, match=r"other settings \(batch_size \(nothing\), now 4; seed 0"):
      require(tmp_path, {"seed": 1, "batch_size": 4, "measure.limit": 4})

  def test_paths_of_weights_that_are_not_used_decide_nothing(self):
    leaves = {"loss.perceptual_file": "vgg", "seed": 0, "data.threads": 4, "log.every_steps": 5}
    identify = ablations_result.identify
    assert identify(leaves, False, {}) == {"seed": 0}
    assert identify(leaves, True, {"measure.limit": None}) == {
      "loss.perceptual_file": "vgg", "seed": 0, "measure.limit": None
    }  # fmt: skip

  def test_a_row_trained_before_a_key_that_is_empty_is_the_same_row(self):
    changes = ablations_result.changes
    assert changes({"seed": 0}, {"seed": 0, "init_from": ""}) == []
    assert changes({"seed": 0, "init_from": ""}, {"seed": 0}) == []
    assert changes({"seed": 0}, {"seed": 1, "init_from": "a"}) == [
      "init_from (nothing), now a", "seed 0, now 1"
    ]  # fmt: skip
