"""`scs-jax compare` whole: runs, cascades and folders of pictures in; the papers' tables out."""

import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import skimage.metrics
from PIL import Image

from scs_jax.cli import main as cli
from scs_jax.core import resolve
from scs_jax.data.decode import DecodeError
from scs_jax.measure import given, pairs

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import answers
from answers import record
from tinting import COUNT, SIDE, make_pairs, make_photos, photo, save, write


@pytest.fixture
def setup(tmp_path, monkeypatch):
  """A working folder with ten photographs, and runs of the methods of tinting."""
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  make_photos()
  yield tmp_path
  sys.modules.pop("tinting_of_test", None)


def compare(*more, data=("photos",), out="out", speed=False):
  argv = ["compare", "--quiet", "--out", out, *([] if speed else ["--no-speed"])]
  for spec in data:
    argv += ["--data", spec]
  return cli.main([*argv, *more])


def lines(name="photos", out="out"):
  return answers.lines(out, f"per_image-{name}.csv")


# --- photographs


def test_runs_of_several_methods_in_the_papers_tables(setup, capsys):
  assert compare("--runs", "one", "blind", speed=True) == 0
  out = capsys.readouterr().out
  assert "automatic: 5 of photos" in out and "random: 4 of photos" in out
  found = record()
  assert found["samples"]["photos"]["dealt"] == {"automatic": 5, "self": 1, "random": 4}
  assert found["samples"]["photos"]["measured"]["referential"] == 5
  assert found["seeds"]["dealing"] == 0 and found["versions"]["jax"] and not found["failed"]
  command = "scs-jax compare --quiet --out out --data photos --runs one blind"
  assert found["command"] == command
  of = found["figures"]["photos"]["results"]
  assert list(of["automatic"]) == ["one", "blind", "bicubic_gray", "real"]
  assert "blind" not in of["random"] and {"one", "welsh"} <= set(of["referential"])
  rows = found["rows"]
  assert rows["one"]["parameters"] == {"automatic": 3, "referential": 3}  # the judge is not read
  assert rows["one"]["speed"]["automatic"]["runs"] >= 3
  assert len(rows["one"]["config_sha256"]) == 64 and rows["blind"]["step"] == 3
  assert "referential" not in rows["blind"]["parameters"]
  text = pathlib.Path("out/tables.md").read_text()
  for part in ("## Table 1", "## Table 2", "[paper] SCSNet (Ours-Auto)", "| blind |", "33.3"):
    assert part in text


def test_figures_are_those_of_the_pictures(setup):
  assert compare("--runs", "one", "--seed", "5") == 0
  by = [row for row in lines() if row["predictor"] == "one"]
  assert sorted({row["picture"] for row in by}) == [f"p{i}.png" for i in range(COUNT)]
  assert sum(row["mode"] == "random" for row in by) == 4
  for row in by:
    assert bool(row["reference"]) == (row["mode"] != "automatic")
    assert (row["reference"] == row["picture"]) == (row["mode"] == "self")
  psnr = [float(row["psnr_rgb"]) for row in by if row["mode"] == "automatic"]
  results = record()["figures"]["photos"]["results"]["automatic"]["one"]["psnr_rgb"]
  assert results["n"] == 5 and results["mean"] == pytest.approx(np.mean(psnr))
  low, high = results["interval"]
  assert low <= results["mean"] <= high


def test_shared_pictures_and_several_data_sets(setup):
  shutil.copytree("photos", "others")
  argv = ("--runs", "one", "--shared", "--panels", "0")
  assert compare(*argv, data=("photos", "COCO=others")) == 0
  found = record()
  assert found["samples"]["COCO"]["measured"]["random"] == COUNT
  assert set(found["figures"]) == {"photos", "COCO"}
  assert len(lines("COCO")) == len(lines("photos")) > 0
  text = pathlib.Path("out/tables.md").read_text()
  assert "mean colourfulness" in text and text.count("COCO PSNR") == 1


# --- others' pictures


def test_others_pictures_are_measured_as_they_are(setup):
  for i in range(COUNT):
    noisy = np.clip(photo(i).astype(int) + (-1) ** np.arange(SIDE)[:, None, None] * 5, 0, 255)
    pathlib.Path("theirs").mkdir(exist_ok=True)
    Image.fromarray(noisy.astype(np.uint8)).save(f"theirs/p{i}.png")
  pathlib.Path("theirs/method.json").write_text('{"parameters": 5e6, "pictures_a_second": 2}')
  assert compare("--results", "their way=theirs", "--size", str(SIDE)) == 0
  found = record()
  assert found["rows"]["their way"]["parameters"]["automatic"] == 5_000_000
  assert list(found["figures"]["photos"]["results"]) == ["automatic", "self", "random",
                                                         "referential"]  # fmt: skip
  mine = [row for row in lines() if row["predictor"] == "their way"]
  assert {row["mode"] for row in mine} == {"automatic"}
  for row in mine:
    i = int(row["picture"][1])
    psnr = skimage.metrics.peak_signal_noise_ratio(
      photo(i), np.asarray(Image.open(f"theirs/p{i}.png"))
    )
    assert float(row["psnr_rgb"]) == pytest.approx(psnr, abs=1e-3)


def test_what_others_need_is_written_and_what_they_make_of_it_found(setup):
  assert compare("--runs", "one", "--inputs-out", "inputs") == 0
  gray = sorted(pathlib.Path("inputs/photos/random/gray").iterdir())
  assert len(gray) == 4 and Image.open(gray[0]).size == (SIDE // 2, SIDE // 2)
  assert len(list(pathlib.Path("inputs/photos/random/reference").iterdir())) == 4
  assert not pathlib.Path("inputs/photos/automatic/reference").exists()
  # Whoever gives the true pictures back in the same layout is perfect in every mode.
  for mode in ("automatic", "self", "random"):
    shutil.copytree(f"inputs/photos/{mode}/truth", f"theirs/photos/{mode}")
  argv = ("--results", "perfect=theirs", "--no-baselines", "--size", str(SIDE))
  assert compare(*argv, out="again") == 0
  of = record("again")["figures"]["photos"]["results"]
  for mode, n in (("automatic", 5), ("self", 1), ("random", 4)):
    assert of[mode]["perfect"]["psnr_rgb"]["infinite"] == n
    assert of[mode]["perfect"]["ssim_rgb"]["mean"] == pytest.approx(1)


def test_pictures_that_are_missing_or_broken_stop_nothing(setup, capfd):
  shutil.copytree("photos", "theirs")
  dealt = [row["picture"] for row in _automatic(setup)]
  pathlib.Path("theirs", dealt[0]).unlink()
  pathlib.Path("theirs", dealt[1]).write_bytes(b"no picture")
  pathlib.Path("photos", dealt[2]).write_bytes(b"no picture")
  assert compare("--runs", "one", "--results", "x=theirs", "--panels", "0") == 1
  found = record()
  assert found["samples"]["photos"]["measured"]["automatic"] == 2
  assert len(found["samples"]["photos"]["broken"]) == 1 and not found["failed"]
  notes = " ".join(found["notes"])
  assert f"no picture for {dealt[0]}" in notes and "2 of 5 are measured by all rows" in notes
  told = capfd.readouterr().err
  assert dealt[2] in told
  assert f"automatic: x: without a result that can be used: no picture for {dealt[0]}; " in told


def test_of_many_missing_pictures_some_are_named():
  missing = given.Missing()
  for i in (2, 0, 1, 2, 3, 4):
    missing.add("photos, self: x", i, f"no picture for {'bcade'[i]}")
  missing.join([missing.noted()])  # as of several processes: in the order of the pictures
  (line,) = missing.notes(2)
  assert line.startswith("photos, self: x: without a result that can be used: ")
  assert line.endswith(": no picture for b; no picture for c; and 3 more")


def _automatic(setup):
  assert compare("--runs", "one", "--panels", "0", out="first") == 0
  found = lines(out="first")
  return [row for row in found if (row["predictor"], row["mode"]) == ("one", "automatic")]


def test_names_match_whole_or_by_their_last_part_alone(tmp_path):
  root = tmp_path / "r"
  for name in ("a/x.png", "b/x.jpg", "y.webp", "automatic/z.png", "photos/self/w.png"):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(root / name)
  folder = given.Folder(root)
  assert folder.find("photos", ["photos"], "automatic") == {}
  assert set(folder.find("photos", ["photos"], "self")) == {"w"}
  assert set(folder.find("photos", [], "automatic")) == {"z"}
  (root / "automatic/z.png").unlink()
  found = given.Folder(root).find("photos", [], "automatic")
  names = ["a/x.png", "b/x.JPEG", "deep/y.png", "other/x.png"]
  paths = given.match(found, names)
  assert paths == [root / "a/x.png", root / "b/x.jpg", root / "y.webp", None]
  # One result is not two pictures'.
  assert given.match(found, ["a/x.jpg", "a/x.png"]) == [None, root / "a/x.png"]


def test_results_are_cut_as_the_true_pictures_were(tmp_path):
  path = tmp_path / "x.png"
  Image.fromarray(photo(1, 30, 60)).save(path)
  whole = given.read(path, (30, 30), (30, 60))
  assert (whole == photo(1, 30, 60)[:, 15:45]).all()
  assert (given.read(path, (30, 60), (30, 60)) == photo(1, 30, 60)).all()
  assert given.read(path, (15, 30), (99, 50)).shape == (15, 30, 3)
  with pytest.raises(DecodeError, match="60x30 pixels; expected 8x8"):
    given.read(path, (8, 8), (50, 51))


# --- rows that fail


def test_a_row_that_fails_is_reported_and_the_others_go_on(setup, capfd):
  save("lost", "Nothing")
  save("nan", tint=(np.nan, 0, 0))
  (setup / "empty").mkdir()
  (setup / "odd").mkdir()
  (setup / "odd/method.json").write_text('{"parameters": -1}')
  code = compare("--runs", "one", "lost", "nan", "nowhere", "--results", "e=empty", "odd")
  assert code == 1
  found = record()
  assert set(found["failed"]) == {"lost", "nan", "nowhere", "e", "odd"}
  assert "expected {" in found["failed"]["odd"]
  assert "not all numbers" in found["failed"]["nan"]
  assert "one" in found["figures"]["photos"]["results"]["automatic"]
  assert "nan" not in found["figures"]["photos"]["results"]["automatic"]
  assert "| nan | failed |" in pathlib.Path("out/tables.md").read_text()
  assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
  ("more", "parts"),
  [
    (("--runs", "nowhere"), ("nothing to compare", "nowhere")),
    (("--runs", "one", "--track", "pairs", "--scale", "2"), ("--scale", "pairs")),
    (("--runs", "one", "--modes", "first"), ("--modes", "photos")),
    (("--runs", "one", "--track", "pairs", "--fid-weights", "x"), ("--fid-weights", "pairs")),
    (("--runs", "one", "--fid-weights", "nowhere.pth"), ("nowhere.pth",)),
    (("--runs", "one", "--scale", "100"), ("--scale 100", "16")),
    (("--runs", "one", "--data", "elsewhere/photos"), ("two data sets",)),
  ],
)
def test_what_cannot_be_is_refused_in_one_line(setup, capfd, more, parts):
  assert compare(*more) == 2
  errors = [x for x in capfd.readouterr().err.splitlines() if x.startswith("scs-jax: error: ")]
  assert len(errors) == 1
  for part in parts:
    assert part in errors[0]


def test_results_of_other_settings_are_not_overwritten(setup, capfd):
  assert compare("--runs", "one") == 0
  assert compare("--runs", "one") == 0  # the same again
  assert compare("--runs", "one", "--seed", "1") == 2
  assert "results of other settings (seed 0, now 1" in capfd.readouterr().err
  assert compare("--runs", "one", "--seed", "1", "--overwrite") == 0


# --- the joint network, and a cascade


def save_joint(run, make_joint_config, draw_state, task):
  config = make_joint_config(task)
  config.evaluate.scale = 2.0
  config.data.crop, config.input_sizes = 32, (8,)
  state = draw_state(resolve.build(config))
  positive = jax.tree.map(np.abs, state.model_state)  # variances are
  write(run, config, state.replace(model_state=positive))


def test_the_joint_network_has_two_rows_and_a_cascade_one(setup, make_joint_config, draw_state):
  save_joint("joint", make_joint_config, draw_state, "joint")
  save_joint("enlarger", make_joint_config, draw_state, "super_resolution")
  argv = ["--runs", "joint", "enlarger", "--cascade", "blind+enlarger", "enlarger+blind"]
  argv = [*argv[:-1], "--cascade", argv[-1], "--size", str(SIDE), "--modes", "automatic"]
  assert compare(*argv, "--panels", "0", speed=True) == 1
  found = record()
  of = found["figures"]["photos"]["results"]["automatic"]
  rows = ["joint, L interpolated", "joint, true L", "blind + enlarger", "bicubic_gray", "real"]
  assert list(of) == rows
  assert of["joint, true L"]["psnr_lightness"]["mean"] > 45  # 8 bits
  assert of["joint, L interpolated"]["psnr_lightness"]["mean"] < 40
  assert found["rows"]["joint, true L"]["true_lightness"]
  assert "--cascade" in found["failed"]["enlarger"]
  assert "enlarges no colour pictures" in found["failed"]["enlarger + blind"]
  assert found["rows"]["blind + enlarger"]["enlarged"] == 4.0
  weights = found["rows"]["blind + enlarger"]["parameters"]["automatic"]
  enlarger = sum(x.size for x in _leaves(make_joint_config, "super_resolution"))
  assert weights == 3 + enlarger
  assert found["rows"]["blind + enlarger"]["speed"]["automatic"]["seconds"] > 0


def _leaves(make_joint_config, task):
  method = resolve.build(make_joint_config(task))
  params = jax.eval_shape(lambda: method.init(jax.random.key(0), {})).params
  return jax.tree.leaves(params["enlarger"])


# --- FID and LPIPS


def test_pictures_too_small_for_lpips_are_refused_at_once(setup, monkeypatch, capfd):
  from scs_jax.nn.features import lpips

  net = lpips.LPIPS("alex", widths=(2, 2, 2, 2, 2))
  large = jnp.zeros((1, 32, 32, 3))
  variables = net.init(jax.random.key(0), large, large)
  monkeypatch.setattr(lpips, "load", lambda *paths: (net.apply, variables, "alex"))
  for name in ("a", "b"):
    pathlib.Path(name).write_text(name)
  assert compare("--runs", "one", "--lpips-weights", "a", "b") == 2
  answers.one_line(capfd, "LPIPS", "at least 31 x 31 pixels", "--size")
  assert not pathlib.Path("out").exists()


def test_with_weights_there_are_distances(setup, monkeypatch):
  from scs_jax.nn.features import inception, lpips

  features = lambda variables, rgb: rgb.reshape(len(rgb), 4, -1, 3).mean(axis=2).reshape(-1, 12)
  distance = lambda variables, a, b: jnp.abs(a - b).mean(axis=(1, 2, 3))
  monkeypatch.setattr(inception, "load", lambda path: (features, {}))
  monkeypatch.setattr(inception, "FEATURES", 12)
  monkeypatch.setattr(lpips, "load", lambda *paths: (distance, {}, "alex"))
  for name in ("i.npz", "a", "b"):
    pathlib.Path(name).write_text(name)
  argv = ("--runs", "one", "blind", "--fid-weights", "i.npz", "--lpips-weights", "a", "b")
  assert compare(*argv) == 0
  found = record()
  values = found["fid"]["photos"]["values"]
  assert values["automatic"]["one"] > 0 and "blind" not in values["referential"]
  assert found["fid"]["photos"]["counts"]["referential: one"] == 5 and not found["left_out"]
  (kept,) = pathlib.Path("out").glob("features-*.npz")  # of the true pictures, for the next run
  heads = found["settings"]["weights"]["lpips"][1]
  assert heads == {"file": "b", "sha256": hashlib.sha256(b"b").hexdigest(), "published": False}
  assert any("FID over" in note for note in found["notes"])
  row = next(row for row in lines() if row["predictor"] == "one" and row["mode"] == "self")
  assert 0 < float(row["lpips"]) < 1
  text = pathlib.Path("out/tables.md").read_text()
  assert "photos LPIPS" in text and f"{values['automatic']['one']:.3f}" in text


def test_without_weights_the_tables_say_why(setup):
  assert compare("--runs", "one", "--panels", "0") == 0
  text = pathlib.Path("out/tables.md").read_text()
  assert "FID: left out, as no weights are given" in text and "LPIPS: left out" in text
  assert "there is no stand-in" in record()["left_out"]["fid"]


# --- pairs


@pytest.fixture
def stereo(setup):
  make_pairs()
  return setup


def test_photo_methods_and_others_colour_pairs_too(stereo):
  argv = ("--runs", "pairing", "one", "blind", "--results", "theirs=theirs")
  assert compare(*argv, data=("Middlebury=pairs.csv",), speed=True) == 0
  found = record()
  of = found["figures"]["Middlebury"]["results"]
  rows = ["pairing", "one", "blind", "theirs", *pairs.BASELINES]
  assert list(of["first"]) == rows and "theirs" not in of["second"]
  assert of["first"]["theirs"]["psnr_rgb"]["infinite"] == 4
  assert of["first"]["one"]["psnr_rgb"]["mean"] != of["first"]["blind"]["psnr_rgb"]["mean"]
  assert found["rows"]["pairing"]["speed"]["pairs"]["seconds"] > 0
  text = pathlib.Path("out/tables.md").read_text()
  assert "[paper] Cycle CNN (Ours)" in text and "45.26" in text
  zero = [line for line in text.splitlines() if line.startswith("| zero_disparity")]
  assert len(zero) == 2 and "**" not in zero[1]  # second-time it gives back what it took
  report = pathlib.Path("out/report.html").read_text()
  assert report.count("colour view") > 2


def test_lpips_of_pairs_too(stereo, monkeypatch):
  from scs_jax.nn.features import lpips

  distance = lambda variables, a, b: jnp.abs(a - b).mean(axis=(1, 2, 3))
  monkeypatch.setattr(lpips, "load", lambda *paths: (distance, {}, "alex"))
  pathlib.Path("both.npz").write_text("weights")
  argv = ("--runs", "pairing", "--panels", "0", "--lpips-weights", "both.npz")
  assert compare(*argv, data=("Middlebury=pairs.csv",)) == 0
  rows = answers.lines(table="per_image-Middlebury.csv")
  assert rows and all(0 <= float(row["lpips"]) < 1 for row in rows)
  assert {"pairing", "reinhard"} <= {row["predictor"] for row in rows}
  assert "LPIPS" in pathlib.Path("out/tables.md").read_text()


def test_a_method_for_pairs_fails_among_photographs(stereo):
  assert compare("--runs", "one", "pairing", "--track", "photos", "--panels", "0") == 1
  assert "colours pairs" in record()["failed"]["pairing"]


# --- the page


def test_the_report_opens_offline_and_shows_all_methods_on_the_same_pictures(setup, parse_page):
  shutil.copytree("photos", "theirs")
  assert compare("--runs", "one", "blind", "--results", "theirs=theirs", speed=True) == 0
  text = pathlib.Path("out/report.html").read_text()
  page = parse_page(text)
  assert not page.open and all(link.startswith("data:image/jpeg") for link in page.fetched)
  assert page.counts["svg"] == page.counts["script"] == 1 and 'class="dot2"' in text
  assert 'name="viewport"' in text and "Drawn by the seed" in text
  assert "one: its worst" in text and "blind: its best" in text
  strips = [s.split("</div>")[0] for s in text.split('<div class="strip">')[1:]]
  automatic = [s for s in strips if "blind " in s]
  assert automatic and all("theirs inf" in s and "bicubic_gray" in s for s in automatic)


_BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)  # fmt: skip
_PROBE = """<script>
const heads = [...document.querySelectorAll("table")].find(t => t.querySelector("tr.part"));
const column = [...heads.rows[0].cells].findIndex(c => c.textContent.includes("COCO FID"));
const read = () => [...heads.tBodies[1].rows].slice(1).map(r => r.cells[column].textContent);
heads.rows[0].cells[column].click();
const down = read().filter(x => x !== "-");
heads.rows[0].cells[column].click();
const up = read();
document.title = JSON.stringify({down: down, up: up.filter(x => x !== "-"), last: up.at(-1),
  wide: document.documentElement.scrollWidth, screen: window.innerWidth});
</script>"""


@pytest.mark.skipif(_BROWSER is None, reason="no chromium")
@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_browser_columns_sort_and_the_page_fits_the_screen(setup, width):
  assert compare("--runs", "one", "blind", "--shared") == 0
  text = pathlib.Path("out/report.html").read_text().replace("</body>", _PROBE + "</body>")
  pathlib.Path("probe.html").write_text(text)
  argv = [_BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900"]
  argv += [f"--user-data-dir={setup / 'profile'}", "--dump-dom", (setup / "probe.html").as_uri()]
  done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
  title = re.search(r"<title>(\{.*?\})</title>", done.stdout)
  assert title, done.stderr[-2000:]
  found = json.loads(title.group(1))
  values = [float(x) for x in found["down"]]
  assert len(values) == 7 and values == sorted(values, reverse=True)
  assert [float(x) for x in found["up"]] == sorted(values) and found["last"] == "-"
  assert found["wide"] <= found["screen"]
