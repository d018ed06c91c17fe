"""`scs-jax visualize confidence`: a picture a pair of what Cycle CNN's GCA learned."""

import os
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from scs_jax.cli import main as cli
from scs_jax.core import config as configs
from scs_jax.core import resolve
from scs_jax.core.contract import Query, TrainState
from scs_jax.data import stereo
from scs_jax.data.remote import Place
from scs_jax.measure import confidence_pairs as pairs
from scs_jax.report import confidence_sheet, pairs_panels
from scs_jax.report.confidence_sheet import Answer
from scs_jax.training.checkpoint import Checkpoints

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from seen import holds, one_line

SIZES = [(20, 32), (16, 24), (20, 32)]

# Its confidence is what it sees, so that a picture of it can be foretold.
_METHOD = """
import jax.numpy as jnp
from scs_jax.core import contract
from scs_jax.core.contract import Prediction, TrainState
class Method(contract.Method):
  takes_pairs = True
  def __init__(self, config):
    pass
  def train_step(self, state, batch, key, collective, phase):
    return state, {}
  def init(self, key, batch):
    return TrainState(jnp.zeros((), jnp.int32), {"net": {"x": jnp.zeros(())}}, {"net": {}}, {})
  def extras(self, gray):
    wide = jnp.arange(gray.shape[2], dtype=jnp.float32)[:, None]
    curve = jnp.arange(64.0)[None] * 4
    return {"confidence": gray, "disparity": 0 * gray + wide, "curve": curve,
            "curve_support": jnp.ones((1, 64)), "unrefined": gray}
  def predict(self, state, query):
    return Prediction(query.reference, self.extras(query.gray) if query.want_extras else {})
class Silent(Method):
  def extras(self, gray):
    return {"disparity": gray}
class Diverged(Method):
  def extras(self, gray):
    return super().extras(gray * jnp.nan)
class Single(Method):
  takes_pairs = False
"""


@pytest.fixture
def setup(tmp_path, monkeypatch):
  """A working folder with the method, three pairs as two folders, and a run."""
  (tmp_path / "pair_method_of_test.py").write_text(_METHOD)
  rng = np.random.default_rng(0)
  for name, channels in (("mono", 1), ("color", 3)):
    (tmp_path / name).mkdir()
    for i, size in enumerate(SIZES):
      levels = rng.integers(20, 230, (*size, channels)).astype(np.uint8).squeeze()
      Image.fromarray(levels).save(tmp_path / name / f"p{i}.png")
  monkeypatch.syspath_prepend(str(tmp_path))
  monkeypatch.chdir(tmp_path)
  save()
  yield tmp_path
  sys.modules.pop("pair_method_of_test", None)


def save(run="run", method="Method", heldout="mono,color", mono_view="right"):
  config = configs.load("common").copy_and_resolve_references()
  config.unlock()
  config.method.name = f"pair_method_of_test:{method}"
  config.data = configs.load("cycle_cnn/paper").data.copy_and_resolve_references()
  config.data.unlock()
  config.data.source, config.data.heldout, config.data.mono_view = "bundled", heldout, mono_view
  state = TrainState(jnp.int32(3), {"net": {"x": jnp.zeros(())}}, {"net": {}}, {})
  with Checkpoints(run, keep_last=1, best_metric=None) as checkpoints:
    checkpoints.save(3, state, data={}, config=config, metrics=None, wait=True)


def confidence(*flags, run="run"):
  return cli.main(["visualize", "confidence", *flags, "--checkpoint", run, "--quiet"])


def read(path):
  return np.asarray(Image.open(path).convert("RGB"))


# --- a sheet


def answer_of(seed=0, size=(12, 30)):
  rng = np.random.default_rng(seed)
  levels = lambda *more: rng.integers(0, 256, (*size, *more)).astype(np.uint8)
  maps = rng.uniform(0.1, 0.9, (2, *size)).astype(np.float32)
  return Answer(levels(), levels(3), levels(3), levels(3), maps[0], 9 * maps[1],
                np.arange(64) * 4.0, np.ones(64))  # fmt: skip


def test_low_is_told_by_the_average():
  values = np.array([[0.1, 0.2, 0.3, 0.4]])
  for factor in (1, 1 / 9):
    found = confidence_sheet.is_low(factor * values, 0.5)
    assert found.tolist() == [[True, False, False, False]]
  assert not confidence_sheet.is_low(np.ones((2, 2)), 1.0).any()


def test_a_mark_tints_what_is_low_and_nothing_else():
  mono = np.array([[10, 200]], np.uint8)
  found = confidence_sheet.mark(mono, np.array([[False, True]]))
  assert found[0, 0].tolist() == [10, 10, 10]
  expected = 0.35 * 200 + 0.65 * np.array(confidence_sheet.LOW)
  np.testing.assert_allclose(found[0, 1], expected, atol=0.5)


def test_a_sheet_holds_the_pictures_and_the_maps():
  answer = answer_of()
  sheet = confidence_sheet.draw(["a pair"], answer)
  parts = [
    np.repeat(answer.mono[..., None], 3, -1),
    answer.color,
    answer.found,
    answer.truth,
    pairs_panels.paint_confidence(answer.confidence),
    confidence_sheet.mark(answer.mono, answer.confidence < 0.5 * answer.confidence.mean()),
    pairs_panels.paint(answer.disparity, answer.disparity.min(), answer.disparity.max()),
    pairs_panels.plot_curve(answer.curve, answer.support),
  ]
  assert all(holds(sheet, part) for part in parts)
  assert not holds(confidence_sheet.draw(["a pair"], answer._replace(truth=None)), answer.truth)
  other = answer._replace(confidence=answer.confidence**2)
  assert not holds(confidence_sheet.draw(["a pair"], other), parts[4])


def test_a_large_pair_is_reduced():
  sheet = confidence_sheet.draw(["x"], answer_of(size=(300, 1200)))
  assert sheet.shape[1] < 4 * 480 + 60 and sheet.shape[0] < 400


# --- the verb


def test_a_picture_a_pair(setup, capfd):
  assert confidence() == 0
  out = capfd.readouterr().out
  assert "looking with run, step 3" in out and "wrote 3 pictures in confidence" in out
  files = sorted(os.listdir("confidence"))
  assert files == ["0000_p0.png", "0001_p1.png", "0002_p2.png"]
  for i, file in enumerate(files):
    mono = read(f"mono/p{i}.png")
    levels = mono[..., 0] / 255.0
    assert f"p{i}: {mono.shape[1]}x{mono.shape[0]}, confidence {levels.min():.3f} to" in out
    sheet = read(f"confidence/{file}")
    assert holds(sheet, mono) and holds(sheet, read(f"color/p{i}.png"))
    assert holds(sheet, pairs_panels.paint_confidence(np.float32(levels)))
    wide = np.tile(np.arange(mono.shape[1], dtype=float), (len(mono), 1))
    assert holds(sheet, pairs_panels.paint(wide, 0.0, mono.shape[1] - 1.0))


def test_pictures_go_into_a_bucket(setup, bucket, capfd):
  address, objects = bucket
  assert confidence("--limit", "1", "--out", "here") == 0
  assert confidence("--limit", "1", "--out", f"{address}/c") == 0
  assert f"wrote 1 picture in {address}/c\n" in capfd.readouterr().out
  assert objects() == ["c/0000_p0.png"]
  assert Place(f"{address}/c").read("0000_p0.png") == (setup / "here/0000_p0.png").read_bytes()


def test_what_was_turned_round_is_turned_back(setup):
  assert confidence("mono,color", "--only", "p1", "--mono-view", "left", "--out", "left") == 0
  assert os.listdir("left") == ["0001_p1.png"]  # its number among all
  sheet = read("left/0001_p1.png")
  assert holds(sheet, read("mono/p1.png")) and holds(sheet, read("color/p1.png"))
  width = SIZES[1][1]
  wide = np.tile(np.arange(width, dtype=float)[::-1], (SIZES[1][0], 1))
  assert holds(sheet, pairs_panels.paint(wide, 0.0, width - 1.0))  # the method saw it mirrored


def test_a_bad_pair_does_not_stop_the_others(setup, capfd):
  pathlib.Path("mono/p0.png").write_bytes(b"broken")
  Image.new("RGB", (9, 9)).save("color/p1.png")
  assert confidence() == 1
  out, err = capfd.readouterr()
  assert os.listdir("confidence") == ["0002_p2.png"] and "wrote 1 picture in confidence" in out
  lines = err.splitlines()
  assert lines[0] == "could not be shown: 2" and len(lines) == 3
  assert lines[1].startswith("  p0: ") and "mono/p0.png" in lines[1]
  assert lines[2].startswith("  p1: its pictures have different sizes")


def test_only_limit_and_low(setup, capfd):
  assert confidence("--only", "p[12]", "--limit", "1", "--low", "1") == 0
  assert os.listdir("confidence") == ["0001_p1.png"]
  levels = np.asarray(Image.open("mono/p1.png")) / 255.0
  assert f"{(levels < levels.mean()).mean():.1%} low" in capfd.readouterr().out


def test_a_pair_that_does_not_fit_is_listed(setup, capfd, monkeypatch):
  from scs_jax.infer import budget

  monkeypatch.setattr(budget, "limit_bytes", lambda limit: 1000)
  assert confidence("--limit", "1") == 1
  err = capfd.readouterr().err
  assert "p0: 32x20 pixels do not fit into memory" in err and "give a larger --reduce" in err
  assert os.listdir("confidence") == []


@pytest.mark.parametrize(
  ("flags", "parts"),
  [
    (["nowhere"], ["nowhere"]),
    (["empty"], ["empty"]),
    ([""], ["PAIRS is empty"]),
    (["--only", "q*"], ["no pair is called 'q*'", "p0, p1, p2"]),
    (["--reduce", "5"], ["--reduce 5: expected one of 1, 2, 3, 4, 8"]),
    (["--limit", "0"], ["--limit"]),
    (["--low", "nan"], ["--low", "expected a number above 0"]),
    (["--step", "4"], ["no checkpoint of step 4"]),
    (["--out="], ["--out is empty"]),
    (["--out", "mono/p0.png"], ["mono/p0.png"]),
  ],
)
def test_input_errors_are_one_line_and_nothing_is_made(setup, capfd, flags, parts):
  pathlib.Path("empty").mkdir()
  assert confidence(*flags) == 2
  one_line(capfd, *parts)
  assert not os.path.exists("confidence")


@pytest.mark.parametrize(
  ("method", "parts"),
  [
    ("Single", ["is of Single, which colours single pictures", "take a run of cycle_cnn"]),
    ("Silent", ["this run of Silent learned no confidence map"]),
  ],
)
def test_another_method_is_refused(setup, capfd, method, parts):
  save("other", method)
  assert confidence(run="other") == 2
  one_line(capfd, *parts)
  assert not os.path.exists("confidence")


def test_a_run_that_diverged_or_has_no_pairs_says_so(setup, capfd):
  save("nan", "Diverged")
  assert confidence(run="nan") == 2
  one_line(capfd, "not all numbers")
  save("none", heldout="")
  assert confidence(run="none") == 2
  one_line(capfd, "which pairs?", "give PAIRS")


def test_names_of_files():
  assert pairs.file_name(7, "a/b c\udcff.x") == "0007_a_b_c_.x.png"
  assert len(pairs.file_name(7, "y" * 300)) == 129


# --- Cycle CNN itself


def save_cycle(make_cycle_config, draw_state, confident=True):
  config = make_cycle_config()
  config.network.confidence = confident
  config.data.heldout, config.data.mono_view = "mono,color", "right"
  config.lock()
  method = resolve.build(config)
  state = draw_state(method, seed=2)
  averages = jax.tree.map(np.abs, state.model_state)  # no variance is below 0
  state = state.replace(
    opt_state={name: () for name in state.params}, model_state=averages, step=np.int32(3)
  )
  with Checkpoints("cycle", keep_last=1, best_metric=None) as checkpoints:
    checkpoints.save(3, state, data={}, config=config, metrics=None, wait=True)
  return method, state


def test_a_run_without_a_confidence_map_is_refused(setup, make_cycle_config, draw_state, capfd):
  save_cycle(make_cycle_config, draw_state, confident=False)
  assert confidence(run="cycle") == 2
  one_line(capfd, "this run of CycleCNN learned no confidence map", "network.confidence=True")


@pytest.mark.usefixtures("plain_volumes")
def test_the_answer_is_the_network_s(setup, make_cycle_config, draw_state):
  method, state = save_cycle(make_cycle_config, draw_state)
  pair = stereo.open_pairs("mono,color", mono_view="right").load(1)
  answer = pairs.Oracle(pairs.find("cycle", None)).ask(pair)
  views = [jnp.float32(view[None]) / 255 for view in (pair.mono, pair.color)]
  predict = lambda state, *pair: method.predict(state, Query(pair[0], SIZES[1], pair[1], True))
  found = jax.jit(predict)(state, *views)
  for value, name in ((answer.confidence, "confidence"), (answer.disparity, "disparity")):
    assert value.shape == SIZES[1] and np.ptp(value) > 0
    np.testing.assert_allclose(value, found.extras[name][0, ..., 0], rtol=1e-3, atol=1e-4)
  np.testing.assert_allclose(answer.curve, found.extras["curve"][0], rtol=1e-3, atol=1e-2)
  np.testing.assert_allclose(answer.found, np.asarray(found.rgb[0]) * 255, atol=0.6)
