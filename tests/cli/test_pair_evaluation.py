"""`scs-jax evaluate` of a method that takes pairs: a checkpoint and pairs in, figures out."""

import json
import pathlib
import sys

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import skimage.metrics
from PIL import Image

from scs_jax.core import config as configs
from scs_jax.core.contract import Query, TrainState
from scs_jax.infer.budget import PlannedMemoryError
from scs_jax.measure import pairs, passes
from scs_jax.measure.passes import Passes
from scs_jax.training.checkpoint import Checkpoints

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from answers import evaluate, lines, one_line, record

SHIFT, COUNT = 3, 5
METRICS = ("psnr_rgb", "psnr_rgb_true_y", "psnr_cbcr", "ssim_rgb", "ssim_rgb_true_y")

# Takes Cb and Cr from SHIFT columns to the right, weakened by what its checkpoint holds. Rows are
# blurred into each other, so that strips have something to get wrong.
_METHOD = """
import jax.numpy as jnp
from scs_jax.core import contract
from scs_jax.core.contract import Prediction, TrainState
from scs_jax.ops import color
def mirror(x):
  return x[:, :, ::-1]
def luma(rgb):
  return color.rgb_to_ycbcr(rgb)[..., :1]
def under(gray, chroma):
  return color.clip_gamut(color.ycbcr_to_rgb(jnp.concatenate([gray, chroma], axis=-1)))
class Method(contract.Method):
  takes_pairs, multiple, row_overlap = True, 4, 2
  def __init__(self, config):
    pass
  def init(self, key, batch):
    return TrainState(jnp.zeros((), jnp.int32), {"net": {"keep": jnp.zeros(())}}, {"net": {}}, {})
  def train_step(self, state, batch, key, collective, phase):
    return state, {}
  def moved(self, state, reference):
    chroma = jnp.roll(color.rgb_to_ycbcr(reference)[..., 1:] - 0.5, -3, axis=2)
    rows = jnp.pad(chroma, ((0, 0), (1, 1), (0, 0), (0, 0)), mode="edge")
    return 0.5 + state.params["net"]["keep"] * (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 3
  def predict(self, state, query):
    return Prediction(under(query.gray, self.moved(state, query.reference)))
class Telling(Method):
  def colorize_twice(self, state, query):
    gray, reference = query.gray, query.reference
    first = under(gray, self.moved(state, reference))
    other = mirror(self.moved(state, mirror(first)))
    extras = {
      "unrefined": first, "disparity": jnp.ones_like(gray) * jnp.arange(gray.shape[2])[:, None],
      "confidence": gray, "curve": jnp.arange(64.0)[None] * 4, "curve_support": jnp.ones((1, 64)),
    }
    before = {"unrefined": under(0.9 * luma(reference), other)}
    return Prediction(first, extras), Prediction(under(luma(reference), other), before)
class Remarkable(Method):
  remarks = ("a reconstruction of ours",)
class Single(Method):
  takes_pairs = False
"""


def smooth(i, height, width, shift=0):
  """Soft colours, far from the gamut's border; moved to the right by `shift`, in a circle."""
  y, x = np.mgrid[:height, :width].astype(float)
  x = (x - shift) % width
  waves = [np.sin(y / (2 + c) + i) * np.cos(x / (3 + c) * (1 + i % 3)) for c in range(3)]
  return np.uint8(np.round(128 + 30 * np.stack(waves, axis=-1)))


SIZES = [(16, 24), (16, 24), (13, 22), (16, 24), (16, 24)]


def gray_of(rgb):
  return np.uint8(np.round(rgb @ np.array([0.299, 0.587, 0.114])))


@pytest.fixture
def setup(tmp_path, monkeypatch):
  """A working folder with the method, five pairs with truth, and the same as two folders."""
  (tmp_path / "pairing_of_test.py").write_text(_METHOD)
  for name in ("mono", "color", "truth"):
    (tmp_path / name).mkdir()
  for i, (height, width) in enumerate(SIZES):
    truth = smooth(i, height, width)
    Image.fromarray(gray_of(truth)).save(tmp_path / f"mono/p{i}.png")
    Image.fromarray(truth).save(tmp_path / f"truth/p{i}.png")
    # The colours differ somewhat between the views, by pair.
    seen = np.clip(smooth(i, height, width, SHIFT) + np.int64([i, -i, 2 * i]), 0, 255)
    Image.fromarray(seen.astype(np.uint8)).save(tmp_path / f"color/p{i}.png")
  lines = [f"mono/p{i}.png, color/p{i}.png, truth/p{i}.png" for i in range(COUNT)]
  (tmp_path / "pairs.csv").write_text("\n".join(["mono, color, truth", *lines]))
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  save(tmp_path / "run")
  yield tmp_path
  sys.modules.pop("pairing_of_test", None)


def save(run, method="Telling", pairs=True, keep=0.75):
  config = configs.load("common").copy_and_resolve_references()
  config.unlock()
  config.method.name = f"pairing_of_test:{method}"
  if pairs:
    config.data = configs.load("cycle_cnn/paper").data.copy_and_resolve_references()
    config.data.unlock()
    config.data.source, config.data.heldout = "bundled", "pairs.csv"
    config.data.mono_view = "right"
    config.evaluate.modes = ("first", "second")
    config.checkpoint.best_metric = "second/psnr_rgb"
  params = {"net": {"keep": jnp.float32(keep)}}
  state = TrainState(jnp.int32(3), params, {"net": {}}, {})
  with Checkpoints(run, keep_last=3, best_metric=None) as checkpoints:
    checkpoints.save(3, state, data={}, config=config, metrics=None, wait=True)


# --- an independent computation


def ycbcr(rgb):
  y = rgb @ np.array([0.299, 0.587, 0.114])
  return np.stack([y, (rgb[..., 2] - y) / 1.772 + 0.5, (rgb[..., 0] - y) / 1.402 + 0.5], axis=-1)


def to_rgb(y, chroma):
  cb, cr = np.moveaxis(chroma - 0.5, -1, 0)
  r, b = y + 1.402 * cr, y + 1.772 * cb
  return np.clip(np.stack([r, (y - 0.299 * r - 0.114 * b) / 0.587, b], axis=-1), 0, 1)


def moved(reference, keep=0.75):
  chroma = np.roll(ycbcr(reference)[..., 1:] - 0.5, -SHIFT, axis=1)
  rows = np.pad(chroma, ((1, 1), (0, 0), (0, 0)), mode="edge")
  return 0.5 + keep * (rows[:-2] + rows[1:-1] + rows[2:]) / 3


def expected_results(i, crop=None):
  """{mode: (result, the picture it is compared with)} of the model, in [0, 1] and uint8."""
  read = lambda name: np.asarray(Image.open(f"{name}/p{i}.png"))
  cut = lambda a: a
  if crop:
    height, width = SIZES[i]
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    cut = lambda a: a[top : top + crop[0], left : left + crop[1]]
  mono, seen, truth = (cut(read(name)) for name in ("mono", "color", "truth"))
  first = to_rgb(mono / 255, moved(seen / 255))
  second = moved(first[:, ::-1])[:, ::-1]
  own = ycbcr(seen / 255)[..., 0]
  return {
    "first": (first, truth),
    "second": (to_rgb(own, second), seen),
    "unrefined": (to_rgb(0.9 * own, second), seen),
  }


def scores_of(rgb, truth):
  rgb, true = np.round(255 * rgb) / 255, truth / 255
  psnr = lambda a, b: skimage.metrics.peak_signal_noise_ratio(b, a, data_range=1.0)
  ssim = lambda a, b: skimage.metrics.structural_similarity(
    a, b, data_range=1.0, channel_axis=-1, gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False,
  )  # fmt: skip
  merged = to_rgb(ycbcr(true)[..., 0], ycbcr(rgb)[..., 1:])
  values = (psnr(rgb, true), psnr(merged, true), psnr(ycbcr(rgb)[..., 1:], ycbcr(true)[..., 1:]),
            ssim(rgb, true), ssim(merged, true))  # fmt: skip
  return dict(zip(METRICS, values, strict=True))


def close(found, expected):
  for name, value in expected.items():
    limit = 2e-3 if name.startswith("ssim") else 5e-2  # a pixel may round the other way
    assert float(found[name]) == pytest.approx(value, abs=limit), name


# --- figures


def test_whole_pairs_of_any_size_are_measured_both_ways(setup, capfd):
  assert evaluate() == 0
  found, rows = record(), lines()
  predictors = ["telling", "telling_unrefined", *pairs.BASELINES]
  assert list(found["results"]) == ["first", "second"]
  means = {mode: [] for mode in ("first", "second")}
  for i in range(COUNT):
    expected = {mode: scores_of(*pair) for mode, pair in expected_results(i).items()}
    by = {(r["mode"], r["predictor"]): r for r in rows if r["picture"] == f"mono/p{i}"}
    assert {m for m, _ in by} == {"first", "second"} and len(by) == 2 * len(predictors)
    for mode in means:
      close(by[mode, "telling"], expected[mode])
      means[mode].append(expected[mode])
    close(by["second", "telling_unrefined"], expected["unrefined"])
  for mode, of in means.items():
    assert list(found["results"][mode]) == predictors
    entry = found["results"][mode]["telling"]
    for metric in METRICS:
      assert entry[metric]["n"] == COUNT
      close({metric: entry[metric]["mean"]}, {metric: np.mean([e[metric] for e in of])})
      low, high = entry[metric]["interval"]
      assert low <= entry[metric]["mean"] <= high
    paired = found["differences"][mode]["reinhard"]["psnr_cbcr"]
    gains = [
      float(r["psnr_cbcr"]) for r in rows if (r["mode"], r["predictor"]) == (mode, "telling")
    ]
    less = [
      float(r["psnr_cbcr"]) for r in rows if (r["mode"], r["predictor"]) == (mode, "reinhard")
    ]
    assert paired["mean"] == pytest.approx(np.mean(gains) - np.mean(less), abs=1e-9)
  for metric in ("psnr_rgb", "ssim_rgb"):
    of = lambda mode, metric=metric: [
      float(r[metric]) for r in rows if (r["mode"], r["predictor"]) == (mode, "telling")
    ]
    entry = found["correlation"]["telling"][metric]
    assert entry["n"] == COUNT
    assert entry["value"] == pytest.approx(scipy.stats.pearsonr(of("first"), of("second"))[0])
  said = capfd.readouterr()
  assert "first-time: 5 pairs of pairs.csv" in said.out and "linear correlation" in said.out
  assert "all 5 pairs have the truth" in said.err
  assert "say nothing of its colours" in said.err  # of copying there and back


def test_the_page_shows_views_results_and_maps_and_opens_offline(setup, parse_page):
  assert evaluate("--panels", "1", "--limit", "4") == 0
  page = parse_page((setup / "out/report.html").read_text())
  text = " ".join(page.words)
  assert all(source.startswith("data:image/") for source in page.fetched)
  for words in (
    "monochrome view", "colour view", "first-time result, PSNR RGB", "second-time result",
    "truth of the monochrome view", "confidence", "(green)", "global curve",
    "expected disparity 0.0 (dark)", "Linear correlation", "What the figures mean",
    "Reinhard et al. 2001", "gain in PSNR CbCr over Reinhard's transfer first-time",
    "Results keep the Y", "psnr_rgb_true_y",
  ):  # fmt: skip
    assert words in text, words
  assert text.count("first-time result") == 3  # best, typical, worst


def test_without_truth_there_are_second_time_figures_alone(setup, capfd):
  assert evaluate("--data", "mono,color") == 0
  found = record()
  assert list(found["results"]) == ["second"] and found["samples"]["truth"] == 0
  (entry,) = {tuple(by["psnr_rgb"].items()) for by in found["correlation"].values()}
  assert dict(entry) == {"value": None, "n": 0, "why": "0 such pairs, expected 3 or more"}
  said = capfd.readouterr()
  assert "no pair has the truth of its monochrome view" in said.err
  assert "0 such pairs" in said.out and "0 such pairs" in (setup / "out/report.html").read_text()
  assert "truth of the monochrome view</figcaption>" not in (setup / "out/report.html").read_text()
  assert evaluate("--data", "mono,color", "--modes", "first", out="other") == 2
  one_line(capfd, "--modes first", "use --modes second")


def test_the_truth_may_be_carried_over_by_known_disparities(setup, capfd):
  """A view that was shot in other light: its own colours are not what it is measured by."""
  height, width = 16, 24
  colors, light = smooth(0, height, width, SHIFT), smooth(4, height, width)
  Image.fromarray(colors).save("left.png")
  Image.fromarray(light).save("right.png")
  disparity = np.full((height, width), SHIFT, "<f4")
  pathlib.Path("d.pfm").write_bytes(b"Pf\n24 16\n-1.0\n" + disparity.tobytes())
  pathlib.Path("light.csv").write_text("left, right, disparity\nleft.png, right.png, d.pfm")
  argv = ("--data", "light.csv", "--no-baselines", "--panels", "0", "--modes", "first")
  assert evaluate(*argv, "--truth", "warped") == 0
  found = record()
  assert found["settings"]["truth"] == {"kind": "warped", "shares": [pytest.approx(21 / 24)]}
  assert any("over the pixels that both views see" in note for note in found["notes"])
  gray = gray_of(light) / 255
  result = np.round(to_rgb(gray, moved(colors / 255)) * 255)
  true = np.round(to_rgb(gray, ycbcr(np.roll(colors, -SHIFT, axis=1) / 255)[..., 1:]) * 255)
  error = np.square((result - true)[:, : width - SHIFT]).mean()
  (row,) = [row for row in lines() if row["predictor"] == "telling"]
  assert float(row["psnr_rgb"]) == pytest.approx(10 * np.log10(255**2 / error), abs=0.02)
  # By its own colours it is another evaluation.
  capfd.readouterr()
  assert evaluate(*argv) == 2


def test_the_middle_of_pairs_in_padded_batches(setup):
  assert evaluate("--size", "20x12", "--batch-size", "2", "--panels", "0") == 0
  rows = [r for r in lines() if r["predictor"] == "telling"]
  assert len(rows) == 2 * COUNT
  for row in rows:
    i = int(row["picture"][-1])
    close(row, scores_of(*expected_results(i, (12, 20))[row["mode"]]))


def test_a_method_without_passes_of_its_own_or_extras(setup):
  save(setup / "plain", "Method")
  assert evaluate(run="plain") == 0
  assert list(record()["results"]["first"]) == ["method", *pairs.BASELINES]
  for row in (r for r in lines() if r["predictor"] == "method"):
    close(row, scores_of(*expected_results(int(row["picture"][-1]))[row["mode"]]))
  text = (setup / "out/report.html").read_text()
  assert "expected disparity" not in text and "global curve" not in text


def test_what_a_method_says_of_its_figures_stands_beside_them(setup, capfd):
  save(setup / "other", "Remarkable")
  assert evaluate("--panels", "0", run="other") == 0
  assert "note: a reconstruction of ours" in capfd.readouterr().err
  assert record()["notes"].count("a reconstruction of ours") == 1
  assert "a reconstruction of ours" in (setup / "out/report.html").read_text()


def test_no_baselines_and_no_panels(setup, capfd):
  assert evaluate("--no-baselines", "--panels", "0", "--modes", "second") == 0
  found = record()
  assert list(found["results"]) == ["second"] and found["correlation"] == {}
  assert list(found["results"]["second"]) == ["telling", "telling_unrefined"]
  assert "data:image" not in (setup / "out/report.html").read_text()
  assert "copies back" not in capfd.readouterr().err


# --- what goes wrong


def test_one_bad_pair_is_reported_and_the_others_measured(setup, capfd):
  (setup / "color/p1.png").write_bytes(b"no picture")
  Image.fromarray(smooth(0, 9, 30)).save(setup / "color/p2.png")
  Image.fromarray(smooth(0, 9, 30)).save(setup / "mono/p2.png")
  Image.fromarray(smooth(0, 9, 30)).save(setup / "truth/p2.png")
  assert evaluate("--panels", "1") == 1
  err = capfd.readouterr().err
  assert "left out, cannot be read: 2 of 5" in err and "color/p1.png" in err
  assert "mono/p2: 30x9 pixels, expected 11 or more a side" in err
  assert {r["picture"] for r in lines()} == {"mono/p0", "mono/p3", "mono/p4"}
  assert "Left out, cannot be read" in (setup / "out/report.html").read_text()
  assert len(record()["samples"]["broken"]) == 2


def test_no_pair_that_can_be_read(setup, capfd):
  for i in range(COUNT):
    (setup / f"mono/p{i}.png").write_bytes(b"")
  assert evaluate() == 2
  one_line(capfd, "none of the 5 pairs of pairs.csv can be measured")


def test_results_of_other_settings_are_kept(setup, capfd):
  assert evaluate("--panels", "0") == 0
  before = (setup / "out/results.json").read_bytes()
  assert evaluate("--panels", "1") == 0  # the same figures
  assert evaluate("--limit", "3") == 2
  one_line(capfd, "holds results of other settings (", "count 5, now 3)", "--overwrite")
  assert json.loads(before)["identity"] == record()["identity"]
  assert evaluate("--limit", "3", "--overwrite") == 0 and record()["samples"]["measured"] == 3


@pytest.mark.parametrize(
  "flags, words",
  [
    (["--modes", "self"], ["--modes self", "colours pairs; its modes are first,second"]),
    (["--modes", "secnd"], ["no mode 'secnd'", "second"]),
    (["--scale", "2"], ["--scale is for methods that colour single pictures"]),
    (["--reference-data", "mono"], ["--reference-data is for methods"]),
    (["--batch-size", "2"], ["--batch-size 2", "give --size"]),
    (["--data", "truth"], ["truth"]),
    (["--data", "nowhere"], ["nowhere"]),
    (["--size", "5"], ["--size 5"]),
  ],
)
def test_nonsense(setup, capfd, flags, words):
  assert evaluate(*flags) == 2
  one_line(capfd, *words)
  assert not (setup / "out").exists()


def test_a_checkpoint_of_photographs_takes_no_pairs(setup, capfd):
  save(setup / "photos", "Single", pairs=False)
  assert evaluate("--data", "truth", "--modes", "second", run="photos") == 2
  one_line(capfd, "--modes second", "colours single pictures; its modes are automatic,self,random")
  assert evaluate("--data", "mono,color", run="photos") == 2
  one_line(capfd, "mono,color")
  assert evaluate("--data", "pairs.csv", run="photos") == 2
  one_line(capfd, "pairs.csv")


def test_a_network_that_has_diverged(setup, capfd):
  save(setup / "diverged", keep=np.nan)
  assert evaluate(run="diverged") == 2
  one_line(capfd, "its training has diverged")


# --- memory


def test_strips_give_what_the_whole_gives(setup, monkeypatch):
  sys.path.insert(0, str(setup))
  import pairing_of_test

  method = pairing_of_test.Telling(None)
  state = TrainState(jnp.int32(0), {"net": {"keep": jnp.float32(0.75)}}, {"net": {}}, {})
  rng = np.random.default_rng(0)
  view = lambda c: jnp.asarray(rng.uniform(0.3, 0.7, (1, 38, 20, c)).astype(np.float32))
  query = Query(view(1), (38, 20), view(3), True)
  whole = Passes(method, state)
  first, second = whole(state, query)
  assert not whole.strips
  narrow = Passes(method, state)
  monkeypatch.setattr(narrow._painter, "height_for", lambda size: 22)
  in_strips = narrow(state, query)
  assert narrow.strips == {(38, 20): 22}
  for one, other in zip((first, second), in_strips, strict=True):
    np.testing.assert_allclose(one.rgb, other.rgb, atol=1e-6)
    np.testing.assert_allclose(one.extras["unrefined"], other.extras["unrefined"], atol=1e-6)
  np.testing.assert_allclose(first.extras["disparity"], in_strips[0].extras["disparity"])
  own = method.colorize_twice(state, query)
  for one, other in zip((first, second), own, strict=True):
    np.testing.assert_allclose(one.rgb, other.rgb, atol=1e-6)
  assert set(whole(state, query, True)[0].extras) > {"curve", "confidence"}
  assert set(narrow(state, query, True)[0].extras) == {"unrefined", "disparity"}


def test_a_pair_that_no_strip_makes_fit(setup, capfd, monkeypatch):
  def refuse(self, size):
    raise PlannedMemoryError(2_000_000_000, 1_000_000_000)

  monkeypatch.setattr(passes.StripPainter, "height_for", refuse)
  assert evaluate() == 2
  one_line(capfd, "a pair of 24x16 pixels does not fit", "needs 2,000 MB", "--size")
