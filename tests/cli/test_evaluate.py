"""`scs-jax evaluate` whole: a checkpoint and pictures in; tables, JSON, CSV and a page out."""

import hashlib
import math
import os
import pathlib
import re
import signal
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import skimage.color
import skimage.metrics
from etils import epath
from PIL import Image

from scs_jax.core import config as configs
from scs_jax.core.contract import TrainState
from scs_jax.metrics.estimates import DEFINITIONS
from scs_jax.training.checkpoint import Checkpoints
from scs_jax.training.models import fingerprint

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "metrics"))

from answers import evaluate, lines, one_line, record
from plain_colorfulness import hasler_suesstrunk

SIDE, COUNT = 24, 5
MODES = ("automatic", "self", "random")
PAIRED = ("psnr_rgb", "psnr_rgb_true_l", "psnr_ab", "psnr_lightness", "ssim_rgb", "ssim_lightness")
ALONE = ("colorfulness_hs", "colorfulness_hs_abs")
SCORES = (*PAIRED, *ALONE)
PICTURE = np.random.default_rng(99).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)

# Answers with the picture that its checkpoint holds, so that every score is known beforehand.
_METHOD = """
import jax, jax.numpy as jnp
from scs_jax.core import contract
from scs_jax.core.contract import Prediction, TrainState
class Method(contract.Method):
  scales = (1.0, 4.0)
  def __init__(self, config):
    self.size = config.data.crop
  def init(self, key, batch):
    params = {"net": {"picture": jnp.zeros((self.size, self.size, 3))}}
    return TrainState(jnp.zeros((), jnp.int32), params, {"net": {}}, {})
  def train_step(self, state, batch, key, collective, phase):
    return state, {}
  def predict(self, state, query):
    rgb = state.params["net"]["picture"][None, : query.size[0], : query.size[1]]
    if query.reference is not None:
      rgb = rgb[:, ::-1]
    return Prediction(jnp.broadcast_to(rgb, (query.gray.shape[0], *query.size, 3)))
class Blind(Method):
  takes_reference = False
"""


def photo(i):
  y, x = np.mgrid[:SIDE, :SIDE] / 7.0
  waves = [np.sin(y * (1 + i) + c) * np.cos(x * (2 + c) - i) for c in range(3)]
  return np.uint8(np.round(127.5 + 100 * np.stack(waves, axis=-1)))


@pytest.fixture
def setup(tmp_path, monkeypatch):
  """A working folder with the method and five photographs of the size that is measured."""
  (tmp_path / "answering_of_test.py").write_text(_METHOD)
  (tmp_path / "photos").mkdir()
  for i in range(COUNT):
    Image.fromarray(photo(i)).save(tmp_path / f"photos/p{i}.png")
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  save(tmp_path / "run")
  yield tmp_path
  sys.modules.pop("answering_of_test", None)


def save(run, step=3, method="Method", picture=PICTURE, score=None):
  config = configs.load("common").copy_and_resolve_references()
  config.unlock()
  config.method.name = f"answering_of_test:{method}"
  config.data.crop = SIDE
  config.data.heldout = "photos"
  config.evaluate.reference_size = 8
  config.evaluate.batch_size = 2
  config.evaluate.scale = 2.0
  params = {"net": {"picture": jnp.asarray(picture / np.float32(255))}}
  state = TrainState(jnp.int32(step), params, {"net": {}}, {})
  metric = None if score is None else "score"
  with Checkpoints(run, keep_last=3, best_metric=metric) as checkpoints:
    metrics = None if score is None else {"score": score}
    checkpoints.save(step, state, data={}, config=config, metrics=metrics, wait=True)
  return config


# --- independent computations


def expected_scores(rgb, truth):
  mine, true = skimage.color.rgb2lab(rgb), skimage.color.rgb2lab(truth)
  merged = skimage.color.lab2rgb(np.concatenate([true[..., :1], mine[..., 1:]], axis=-1))
  psnr, ssim = skimage.metrics.peak_signal_noise_ratio, skimage.metrics.structural_similarity
  style = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
  return {
    "psnr_rgb": psnr(truth, rgb, data_range=255),
    "psnr_rgb_true_l": psnr(truth / 255, merged, data_range=1.0),
    "psnr_ab": psnr(true[..., 1:], mine[..., 1:], data_range=220),
    "psnr_lightness": psnr(true[..., 0], mine[..., 0], data_range=100),
    "ssim_rgb": ssim(truth, rgb, data_range=255, channel_axis=-1, **style),
    "ssim_lightness": ssim(true[..., 0], mine[..., 0], data_range=100, **style),
    "colorfulness_hs": hasler_suesstrunk(rgb, False),
    "colorfulness_hs_abs": hasler_suesstrunk(rgb, True),
  }


def close(found, expected):
  for name, value in expected.items():
    limit = 2e-4 if name.startswith("ssim") else 2e-3
    # Beyond sRGB scikit-image clips XYZ too, which is another colour.
    limit = 0.1 if name == "psnr_rgb_true_l" else limit
    assert float(found[name]) == pytest.approx(value, abs=limit), name


# --- figures


def test_every_score_is_scikit_images_and_every_mean_exact(setup, capfd):
  """Five pictures in batches of two: the last is padded. By reference the answer is turned."""
  assert evaluate() == 0
  rows, found = lines(), record()["results"]
  assert {(r["mode"], r["predictor"]) for r in rows} == {
    *((m, p) for m in MODES for p in ("method", "bicubic_gray", "real")),
    *((m, p) for m in MODES[1:] for p in ("mean_chroma", "welsh")),
  }
  for mode in MODES:
    answer = PICTURE if mode == "automatic" else PICTURE[::-1]
    expected = [expected_scores(answer, photo(i)) for i in range(COUNT)]
    mine = [r for r in rows if (r["mode"], r["predictor"]) == (mode, "method")]
    assert [r["picture"] for r in mine] == [f"p{i}.png" for i in range(COUNT)]
    for row, scores in zip(mine, expected, strict=True):
      close(row, scores)
    means = {name: sum(e[name] for e in expected) / COUNT for name in SCORES}
    close({n: e["mean"] for n, e in found[mode]["method"].items()}, means)
    real = [r for r in rows if (r["mode"], r["predictor"]) == (mode, "real")]
    for i, row in enumerate(real):
      true = [hasler_suesstrunk(photo(i), absolute) for absolute in (False, True)]
      close(row, dict(zip(ALONE, true, strict=True)))
      assert all(row[name] == "" for name in PAIRED)
    for name in ALONE:
      of_real = [float(r[name]) for r in real]
      difference = np.array([e[name] for e in expected]) - of_real
      gaps = {f"{name}_set_difference": difference.mean(),
              f"{name}_set_gap": abs(difference.mean()),
              f"{name}_image_gap": abs(difference).mean()}  # fmt: skip
      close({n: found[mode]["method"][n]["mean"] for n in gaps}, gaps)
    for rows_of in found[mode].values():
      for name, estimate in rows_of.items():
        assert estimate["n"] == COUNT
        if name.endswith("_set_gap"):  # the signed difference has one
          assert estimate["interval"] is None
        else:
          low, high = estimate["interval"]
          assert low - 1e-6 <= estimate["mean"] <= high + 1e-6, name
  # By way of Lab it had some colour: one gray level in two hundred came out tinted.
  gray = [r for r in rows if (r["mode"], r["predictor"]) == ("automatic", "bicubic_gray")]
  assert len(gray) == COUNT and {float(r[name]) for r in gray for name in ALONE} == {0.0}
  out = capfd.readouterr().out
  shown = found["automatic"]["method"]["psnr_rgb"]
  assert f"{shown['mean']:.2f}" in out
  assert f"{shown['interval'][0]:.2f}..{shown['interval'][1]:.2f}" in out


def test_the_model_is_compared_with_every_baseline_picture_by_picture(setup, capfd):
  """Means by hand from the table of pictures, intervals by SciPy's paired bootstrap."""
  assert evaluate() == 0
  found, rows = record(), lines()
  assert {m: list(by) for m, by in found["differences"].items()} == {
    m: ["bicubic_gray"] + (m != "automatic") * ["mean_chroma", "welsh"] for m in MODES
  }
  column = lambda mode, predictor, name: np.array(
    [float(r[name]) for r in rows if (r["mode"], r["predictor"]) == (mode, predictor)]
  )
  for mode, by in found["differences"].items():
    for rival, estimates in by.items():
      assert set(SCORES) <= set(estimates)
      for name in SCORES:
        difference = column(mode, "method", name) - column(mode, rival, name)
        assert estimates[name]["mean"] == pytest.approx(difference.mean(), abs=1e-6)
        low, high = estimates[name]["interval"]
        assert difference.min() - 1e-6 <= low <= high <= difference.max() + 1e-6
  found_there = found["differences"]["self"]["welsh"]["psnr_ab"]
  difference = column("self", "method", "psnr_ab") - column("self", "welsh", "psnr_ab")
  theirs = scipy.stats.bootstrap(
    (difference,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
  ).confidence_interval
  np.testing.assert_allclose(
    found_there["interval"], theirs, atol=0.1 * (theirs.high - theirs.low)
  )
  shown = f"{found_there['mean']:+.2f}  {found_there['interval'][0]:+.2f}.."
  assert shown in capfd.readouterr().out.split("self: ")[1].split("random: ")[0]
  words = (setup / "out/report.html").read_text()
  assert "method minus, 95 % interval" in words and f"{found_there['mean']:+.2f} [" in words


def test_the_same_command_gives_the_same_files(setup):
  assert evaluate("--panels", "1") == evaluate("--panels", "1", out="again") == 0
  first, again = record(), record("again")
  assert first.pop("date") <= again.pop("date")
  assert first == again
  assert (setup / "out/per_image.csv").read_bytes() == (setup / "again/per_image.csv").read_bytes()
  assert evaluate("--seed", "1", out="seed") == 0
  other = record("seed")
  assert other["seeds"] == {"draw": 1, "references": 1, "welsh": 1, "bootstrap": 1}
  automatic = lambda r: r["results"]["automatic"]["method"]["psnr_rgb"]
  assert automatic(other)["mean"] == automatic(first)["mean"]
  assert automatic(other)["interval"] != automatic(first)["interval"]
  chroma = lambda r: r["results"]["self"]["mean_chroma"]["psnr_rgb"]["mean"]
  assert chroma(other) != chroma(first)  # another distortion


# --- the record


def test_lpips_is_of_every_predictor_where_its_weights_are_given(setup, monkeypatch, capfd):
  """A stand-in whose distance is known: the mean absolute difference, of pictures on 256 levels."""
  from scs_jax.nn.features import lpips

  distance = lambda variables, a, b: jnp.abs(a - b).mean(axis=(1, 2, 3))
  monkeypatch.setattr(lpips, "load", lambda *paths: (distance, {}, "alex"))
  pathlib.Path("both.npz").write_text("weights")
  argv = ("--modes", "automatic", "--panels", "0")
  assert evaluate(*argv, "--lpips-weights", "both.npz") == 0
  assert "LPIPS" in capfd.readouterr().out
  weights = record()["settings"]["weights"]["lpips"]
  assert [w["file"] for w in weights] == ["both.npz"] and record()["metrics"]["lpips"]
  rows = [row for row in lines() if row["predictor"] != "real"]
  model = [row for row in rows if row["predictor"] == "method"]
  assert len(rows) == 2 * len(model) == 2 * COUNT and all(row["lpips"] for row in rows)
  for i, row in enumerate(model):
    expected = np.abs(PICTURE / 255 - photo(i) / 255).mean()
    assert float(row["lpips"]) == pytest.approx(expected, abs=3e-6)
  assert "LPIPS" in pathlib.Path("out/report.html").read_text()
  # Without them the figures are others: not the same results.
  assert evaluate(*argv) == 2


def test_what_is_recorded(setup):
  config = save(setup / "run", step=5)
  assert evaluate("--step", "last", "--modes", "random,automatic") == 0
  found = record()
  assert found["format"] == "scs_jax evaluation 2"
  assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", found["date"])
  text = configs.to_json(config)
  assert found["checkpoint"] == {
    "path": "run", "step": 5, "chosen": "last", "method": "answering_of_test:Method",
    "model": "method", "fingerprint": fingerprint(epath.Path("run/checkpoints/5/weights"),
                                                  epath.Path("run/checkpoints/5/config")),
    "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
  }  # fmt: skip
  assert found["samples"]["measured"] == COUNT and found["samples"]["data"] == "photos"
  assert found["settings"]["modes"] == ["automatic", "random"] == list(found["results"])
  assert found["settings"]["size"] == {"height": SIDE, "width": SIDE}
  assert found["settings"]["input"]["height"] == SIDE // 2
  assert set(found["versions"]) >= {"jax", "python", "scs_jax", "scikit-image", "scipy"}
  assert found["device"]["platform"] == "cpu"
  assert "sigma=1.5" in found["metrics"]["ssim_rgb"] and "220" in found["metrics"]["psnr_ab"]
  for by in (*found["results"].values(), *found["differences"].values()):
    for rows in by.values():
      assert set(rows) <= set(DEFINITIONS) == set(found["metrics"])


def test_the_sample_hash_follows_the_list(setup):
  hashes = []
  for more in ([], ["--batch-size", "5"], ["--limit", "4"], ["--reference-data", "photos"]):
    assert evaluate("--modes", "random", "--overwrite", *more) == 0
    hashes.append((record()["samples"]["sha256"], record()["references"]["sha256"]))
  assert hashes[0] == hashes[1]
  assert hashes[2][0] != hashes[0][0] and hashes[3][0] == hashes[0][0]
  assert len({references for _, references in hashes}) == 3
  Image.fromarray(photo(0)[:, ::-1]).resize((30, 30)).save("photos/p0.png")
  assert evaluate("--modes", "automatic", "--overwrite") == 0
  assert record()["samples"]["sha256"] != hashes[0][0]


def test_no_picture_is_its_own_random_reference(setup):
  for more in (["--seed=0"], ["--seed=1"], ["--reference-data=photos"]):
    assert evaluate("--no-baselines", "--panels=0", "--overwrite", *more) == 0
    rows = [r for r in lines() if r["predictor"] == "method"]
    by = {mode: [r for r in rows if r["mode"] == mode] for mode in MODES}
    assert all(r["reference"] == "" for r in by["automatic"])
    assert all(r["reference"] == r["picture"] for r in by["self"])
    assert all(r["reference"] not in ("", r["picture"]) for r in by["random"])


def test_the_step_is_the_best_unless_another_is_asked_for(setup):
  save(setup / "scored", step=1, score=2.0)
  save(setup / "scored", step=2, score=1.0, picture=PICTURE[:, ::-1])
  for flag, step in ((None, 1), ("last", 2), ("1", 1), ("2", 2)):
    more = ["--modes", "automatic", "--overwrite"] + (["--step", flag] if flag else [])
    assert evaluate(*more, run="scored") == 0
    assert record()["checkpoint"]["step"] == step
    picture = PICTURE if step == 1 else PICTURE[:, ::-1]
    close(lines()[0], expected_scores(picture, photo(0)))


# --- pictures that are not as they should be


def test_broken_pictures_are_listed_and_left_out(setup, capfd):
  (setup / "photos/broken.png").write_bytes(b"no picture")
  Image.new("RGB", (40, 6)).save(setup / "photos/flat.png")
  (setup / "photos/empty.jpg").write_bytes(b"")
  assert evaluate() == 1
  err = capfd.readouterr().err
  assert "left out, cannot be read: 1 of 6\n" in err and "left out: 1 empty files\n" in err
  assert "broken.png: not a picture" in err
  assert "1 of 7 pictures are smaller than 24x24 and left out" in err
  found = record()
  assert found["samples"]["measured"] == COUNT and len(found["samples"]["broken"]) == 1
  assert found["results"]["random"]["method"]["psnr_rgb"]["n"] == COUNT
  assert not {"broken.png", "flat.png"} & {r[k] for r in lines() for k in ("picture", "reference")}
  page = (setup / "out/report.html").read_text()
  assert "broken.png" in page and "smaller than 24x24" in page


def test_none_that_can_be_read(setup, capfd):
  for path in (setup / "photos").iterdir():
    path.write_bytes(b"no picture")
  assert evaluate() == 2
  one_line(capfd, "none of the 5 pictures of photos can be read (", "p0.png: not a picture")


def gray_photo(i):
  return np.repeat(photo(i)[..., :1], 3, axis=-1)


def test_gray_pictures_change_no_mean_of_colour(setup, capfd):
  """Where the truth has no colour, no colour is the best answer: that must not decide the table."""
  assert evaluate() == 0
  before = record()
  Image.fromarray(gray_photo(1)).save(setup / "photos/z.png")
  assert evaluate(out="more") == 0
  captured, after = capfd.readouterr(), record("more")
  note = "1 of 6 pictures are gray (mean chroma below 2): PSNR ab and colourfulness are taken over"
  assert f"note: {note} the others" in captured.err
  assert {r["picture"] for r in lines("more") if r["gray"] == "1"} == {"z.png"}
  assert after["samples"]["gray"] == 1 and after["samples"]["measured"] == 6
  for part in ("results", "differences"):
    for predictor, rows in after[part]["automatic"].items():
      for name, estimate in rows.items():
        colour = name not in PAIRED or name == "psnr_ab"
        assert estimate["n"] == (5 if colour else 6), name
        assert (estimate == before[part]["automatic"][predictor][name]) == colour, name
  # In the other modes another distortion is drawn only for the new picture.
  for mode in ("self", "random"):
    assert after["results"][mode]["method"]["psnr_ab"]["n"] == 5
  shown = captured.out.split("of photos at 2x")[4]  # the second run's first table
  assert re.search(r"^pictures +5 +5 +5$", shown, re.MULTILINE)
  page = (setup / "more/report.html").read_text()
  assert "<td>pictures</td><td>6</td><td>6</td><td>5</td><td>6</td>" in page


def test_gray_pictures_lend_no_colours_and_have_no_rank(setup):
  for i in range(4):
    Image.fromarray(gray_photo(i)).save(setup / f"photos/z{i}.png")
  assert evaluate("--no-baselines", "--panels", "1") == 0
  lent = {r["reference"] for r in lines() if r["mode"] == "random" and r["reference"]}
  assert lent and all(name.startswith("p") for name in lent)
  assert not any("references" in note for note in record()["notes"])
  words = (setup / "out/report.html").read_text()
  best = words[words.index("Best, by") :]
  assert "z0.png" not in best[: best.index("Gray pictures, without a rank")]
  assert "z0.png" in words


def test_gray_pictures_alone(setup, capfd):
  for i in range(COUNT):
    Image.fromarray(gray_photo(i)).save(setup / f"photos/p{i}.png")
  assert evaluate("--panels", "1") == 0
  err, found = capfd.readouterr().err, record()
  assert "note: 5 of 5 pictures are gray" in err and "have no value" in err
  assert "the references of 5 of 5 pictures are gray, as no other has colour" in err
  for by in found["results"].values():
    for rows in by.values():
      for name, estimate in rows.items():
        assert (estimate["mean"] is None) == (name not in PAIRED or name == "psnr_ab"), name
  page = (setup / "out/report.html").read_text()
  assert "by PSNR RGB" in page and ">nan" not in page


def test_small_pictures_are_left_out_or_enlarged_and_counted(setup, capfd):
  Image.fromarray(photo(1)[:16]).save(setup / "photos/p1.png")
  fast = ("--modes", "self", "--panels", "0", "--no-baselines")
  assert evaluate(*fast) == 0
  note = f"note: 1 of 5 pictures are smaller than {SIDE}x{SIDE} and left out"
  assert note in capfd.readouterr().err
  assert record()["results"]["self"]["method"]["psnr_rgb"]["n"] == COUNT - 1
  assert {row["picture"] for row in lines()} == {f"p{i}.png" for i in (0, 2, 3, 4)}
  assert evaluate(*fast, "--enlarge", "--overwrite") == 0
  note = f"note: 1 of 5 pictures are smaller than {SIDE}x{SIDE} and enlarged to it, 1.5 times"
  assert note in capfd.readouterr().err
  assert record()["results"]["self"]["method"]["psnr_rgb"]["n"] == COUNT
  assert evaluate(*fast, "--size", "25", "--overwrite") == 2
  one_line(capfd, "of 5 pictures of photos none has 25x25 pixels or more", "--enlarge")


def test_a_limit_draws_from_all_by_the_seed(setup):
  def drawn(*more):
    fast = ("--modes", "self", "--panels", "0", "--no-baselines", "--limit", "2", "--overwrite")
    assert evaluate(*fast, *more) == 0
    return {row["picture"] for row in lines()}

  pairs = [drawn("--seed", seed) for seed in ("1", "5", "7")]
  assert all(len(pair) == 2 for pair in pairs) and len(set().union(*pairs)) == 4
  mark = record()["samples"]["sha256"]
  assert drawn("--seed", "7") == pairs[2] and record()["samples"]["sha256"] == mark


def test_one_picture_has_no_other_and_no_interval(setup, capfd):
  for i in range(1, COUNT):
    (setup / f"photos/p{i}.png").unlink()
  assert evaluate() == 0
  assert "note: mode random is left out: there is one picture" in capfd.readouterr().err
  found = record()
  assert list(found["results"]) == ["automatic", "self"]
  estimate = found["results"]["self"]["welsh"]["psnr_rgb"]
  assert estimate["interval"] is None and estimate["n"] == 1
  assert evaluate("--modes", "random") == 2
  one_line(capfd, "mode random takes another picture", "one picture")
  (setup / "photos/p1.png").write_bytes(b"no picture")
  assert evaluate("--overwrite") == 1  # two files, one picture: found out on the way
  found = record()
  note = "mode random: 1 of 1 pictures had no other one that can be read"
  assert note in found["notes"]
  assert list(found["results"]) == ["automatic", "self"]
  out, page = capfd.readouterr().out, (setup / "out/report.html").read_text()
  assert "random" not in out and "nan" not in out and ">nan" not in page


def test_equal_pictures_are_left_out_for_all_and_counted(setup, capfd):
  """Infinite PSNR is no number to average; nor would means over other pictures compare."""
  save(setup / "known", picture=photo(2))
  assert evaluate("--modes", "automatic", run="known") == 0
  assert "PSNR is infinite where a result equals its picture" in capfd.readouterr().err
  of, rows = record()["results"]["automatic"], lines()
  others = [expected_scores(photo(2), photo(i))["psnr_rgb"] for i in range(COUNT) if i != 2]
  estimate = of["method"]["psnr_rgb"]
  assert (estimate["n"], estimate["infinite"]) == (COUNT - 1, 1)
  assert estimate["mean"] == pytest.approx(np.mean(others), abs=2e-3)
  gray = [float(r["psnr_rgb"]) for r in rows
          if r["predictor"] == "bicubic_gray" and r["picture"] != "p2.png"]  # fmt: skip
  estimate = of["bicubic_gray"]["psnr_rgb"]
  assert estimate["n"] == COUNT - 1 and "infinite" not in estimate
  assert estimate["mean"] == pytest.approx(np.mean(gray), abs=1e-6)
  paired = record()["differences"]["automatic"]["bicubic_gray"]["psnr_rgb"]["mean"]
  assert paired == pytest.approx(np.mean(others) - np.mean(gray), abs=2e-3)
  (mine,) = (r for r in rows if (r["predictor"], r["picture"]) == ("method", "p2.png"))
  assert math.isinf(float(mine["psnr_rgb"]))


def test_odd_file_names(setup, capfd):
  odd = b"photos/<b>\xff&.png"
  with open(odd, "wb") as file:
    file.write((setup / "photos/p0.png").read_bytes())
  assert evaluate("--panels", "1") == 0
  page = (setup / "out/report.html").read_bytes().decode()
  assert "<b>" not in page and "&lt;b&gt;" in page
  assert odd.removeprefix(b"photos/") in (setup / "out/per_image.csv").read_bytes()


# --- the folder


def test_what_others_wrote_is_not_replaced(setup, capfd):
  (setup / "out").mkdir()
  for name, content in (("results.json", b'{"accuracy": 1}'), ("report.html", b"mine")):
    path = setup / "out" / name
    path.write_bytes(content)
    assert evaluate("--modes", "automatic") == 2
    one_line(capfd, f"out holds {name} that scs-jax evaluate did not write", "--overwrite")
    assert path.read_bytes() == content and len(list(path.parent.iterdir())) == 1
    path.unlink()
  (setup / "out/results.json").write_bytes(b"[1]")
  assert evaluate("--modes", "automatic", "--overwrite") == 0
  assert record()["samples"]["measured"] == COUNT


def test_own_results_are_replaced_by_those_of_the_same_settings_alone(setup, capfd):
  fast = ("--modes", "automatic", "--panels", "0")
  assert evaluate(*fast) == 0
  first = record()
  assert evaluate(*fast, "--batch-size", "5") == 0  # which changes no figure
  assert record()["identity"] == first["identity"]
  capfd.readouterr()
  for more, part in (
    (["--seed", "7"], "seed 0, now 7"),
    (["--limit", "3"], "count 5, now 3"),
    (["--size", "20x16"], "size 24x24, now 20x16"),
    (["--modes", "self"], "modes automatic, now self"),
    (["--no-baselines"], "baselines True, now False"),
  ):
    assert evaluate(*fast, *more) == 2
    one_line(capfd, "out holds results of other settings (", part, "--overwrite")
  save(setup / "run", picture=PICTURE[::-1], step=5)
  assert evaluate(*fast) == 2
  one_line(capfd, "other settings (checkpoint ", "step 3, now 5")
  assert evaluate(*fast, "--overwrite") == 0
  assert record()["identity"]["checkpoint"] != first["identity"]["checkpoint"]


def test_weights_decide_the_fingerprint(setup):
  """Of two runs that differ in nothing else."""
  save(setup / "other", picture=PICTURE[::-1])
  found = []
  for run in ("run", "other"):
    assert evaluate("--modes", "automatic", "--panels", "0", run=run, out=f"{run}-out") == 0
    found.append(record(f"{run}-out")["checkpoint"])
  assert found[0]["config_sha256"] == found[1]["config_sha256"]
  assert found[0]["fingerprint"] != found[1]["fingerprint"]


def test_sigterm_ends_it_with_143_one_line_and_no_file(setup, monkeypatch, capfd):
  """While it measures; and while it writes, when the files are finished first."""
  from scs_jax.core import files
  from scs_jax.measure import evaluate as evaluation

  fast = ("--modes", "automatic", "--panels", "0")
  measure = evaluation.score_set

  def measure_and_be_told(*given, **more):
    measure(*given, **more)
    signal.raise_signal(signal.SIGTERM)
    raise AssertionError("went on")

  with monkeypatch.context() as patch:
    patch.setattr(evaluation, "score_set", measure_and_be_told)
    assert evaluate(*fast) == 143
  err = capfd.readouterr().err
  assert err.count("\n") == 1 and "stopped by SIGTERM" in err
  assert list((setup / "out").iterdir()) == []

  replace = os.replace

  def replace_and_be_told(*given):
    replace(*given)
    signal.raise_signal(signal.SIGTERM)

  with monkeypatch.context() as patch:
    patch.setattr(files.os, "replace", replace_and_be_told)
    assert evaluate(*fast) == 143
  names = sorted(path.name for path in (setup / "out").iterdir())
  assert names == ["per_image.csv", "report.html", "results.json"]
  assert len(lines()) == 3 * COUNT and record()["format"].startswith("scs_jax evaluation")


# --- what a method can do


def test_a_method_without_references(setup, capfd):
  save(setup / "blind", method="Blind")
  assert evaluate(run="blind") == 0
  err = capfd.readouterr().err
  assert "note: mode self is left out: blind takes no reference" in err
  assert list(record()["results"]) == ["automatic"]
  assert evaluate("--modes", "self", run="blind") == 2
  one_line(capfd, "blind takes no reference; use --modes automatic")


def test_a_scale_that_the_method_forbids(setup, capfd):
  assert evaluate("--scale", "5") == 2
  one_line(capfd, "--scale 5: answering_of_test:Method takes a number in [1.0, 4.0]; the nearest "
           "allowed is 4")  # fmt: skip


@pytest.mark.parametrize(
  ("more", "parts"),
  [
    (["--scale", "99"], ["--scale 99", "[0.5, 16.0]", "nearest allowed is 16"]),
    (["--scale", "nan"], ["--scale nan"]),
    (["--modes", "atomatic"], ["no mode 'atomatic'", "did you mean automatic?"]),
    (["--modes", ","], ["--modes is empty"]),
    (["--size", "10"], ["--size 10: expected 11"]),
    (["--size", "big"], ["--size big: expected pixels a side", "WIDTHxHEIGHT"]),
    (["--limit", "0"], ["--limit 0: expected a whole number from 1"]),
    (["--batch-size", "0"], ["--batch-size 0"]),
    (["--seed", "-1"], ["--seed -1"]),
    (["--step", "bst"], ["--step bst: expected best, last"]),
    (["--step", "9"], ["no checkpoint of step 9; it has 3"]),
    (["--data", "photo"], ["did you mean ./photos?"]),
    (["--reference-data", "nowhere"], ["no folder nowhere"]),
    (["--modes", "self", "--reference-data", "photos"], ["--reference-data is for mode random"]),
    (["--checkpoint", "nowhere"], ["no checkpoint at", "nowhere"]),
    (["--checkpoint", "photos"], ["holds no checkpoint of scs_jax"]),
    (["--out", "photos/p0.png"], ["photos/p0.png"]),
    (["--out", "photos/p0.png/deep"], ["photos/p0.png"]),
  ],
)
def test_a_slip_is_one_line_and_two(setup, capfd, more, parts):
  argv = more if "--out" in more else [*more, "--out", "out"]
  assert evaluate(*argv, out=None) == 2
  one_line(capfd, *parts)
  assert not (setup / "out").exists()


# --- the page


def test_the_page_opens_offline_and_shows_best_and_worst(setup, parse_page):
  assert evaluate("--panels", "1") == 0
  text = (setup / "out/report.html").read_text()
  assert not re.search(r"https?://|url\(|@import|<script src|<link", text)
  page = parse_page(text)
  assert page.open == [] and all(f.startswith("data:image/jpeg;base64,") for f in page.fetched)
  # Three pictures a mode: input, results of model and baselines, truth; references but in one.
  assert len(page.fetched) == 3 * (1 + 2 + 1) + 2 * 3 * (1 + 1 + 4 + 1)
  words = "".join(page.words)
  for name in ("psnr_rgb", "ssim_rgb", "colorfulness_hs_abs", "95 % interval", "Hasler"):
    assert name in words
  assert "CN of the SCSNet paper" in words  # only to say that it is not this
  rows = [r for r in lines() if r["mode"] == "automatic"]
  ab = {p: [float(r["psnr_ab"]) for r in rows if r["predictor"] == p]
        for p in ("method", "bicubic_gray")}  # fmt: skip
  gain = np.subtract(ab["method"], ab["bicubic_gray"])
  first = words[: words.index("Self-reference:")]
  best, rest = first.split("Best, by gain in PSNR ab over bicubic gray")[1].split("Typical")
  assert f"p{gain.argmax()}.png" in best
  assert f"p{gain.argmin()}.png" in rest.split("Worst, the worst first")[1]
  mean = record()["results"]["automatic"]["method"]["psnr_ab"]["mean"]
  assert f"{mean:.2f} [" in words


def test_few_pictures_are_all_shown_and_none_with_no_panels(setup):
  assert evaluate("--panels", "2", "--modes", "automatic") == 0
  text = (setup / "out/report.html").read_text()
  assert text.count("<img") == COUNT * 4 and "All pictures, the best first" in text
  assert evaluate("--panels", "0", "--no-baselines", "--overwrite") == 0
  assert "<img" not in (setup / "out/report.html").read_text()


# --- where it goes


def test_results_go_beside_the_checkpoint(setup):
  """At a magnification that is no whole number, of oblong pictures."""
  assert evaluate("--data", "photos", "--scale", "1.5", "--size", "20x16", out=None) == 0
  found = record("run/evaluation/photos-1.5x-20x16px-step3")
  assert found["settings"]["size"] == {"height": 16, "width": 20}
  assert found["settings"]["input"] == found["settings"]["input"] | {"height": 11, "width": 13}
