"""`scs-jax visualize magnify`: a contact sheet and an animation of real magnifications."""

import os
import pathlib
import sys
import types

import jax
import numpy as np
import pytest
from PIL import Image

from scs_jax.cli import arguments, quantities, visualize_magnify
from scs_jax.cli import main as cli
from scs_jax.core import config as configs
from scs_jax.core.contract import Method, Prediction, TrainState
from scs_jax.data.remote import Place
from scs_jax.errors import UserError
from scs_jax.infer import colorizer, resizing
from scs_jax.infer import magnify as library
from scs_jax.report import magnify_sheet
from scs_jax.report.magnify_sheet import Window
from scs_jax.training import models

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from seen import holds, one_line

SIZE = (40, 60)


class Enlarger(Method):
  """Red is the enlarged gray, green its square, blue none."""

  takes_reference = True
  scales = (0.5, 16.0)

  def predict(self, state, query):
    gray = jax.image.resize(query.gray, (1, *query.size, 1), "linear")
    return Prediction(jax.numpy.concatenate([gray, gray**2, 0 * gray], axis=-1))


@pytest.fixture
def opened(tmp_path, monkeypatch):
  """A working folder with gray.png; `opened.method` stands for what a checkpoint holds."""
  monkeypatch.chdir(tmp_path)
  rng = np.random.default_rng(0)
  levels = rng.integers(0, 256, SIZE).astype(np.uint8)
  Image.fromarray(levels).save("gray.png")
  Image.fromarray(rng.integers(0, 256, (9, 9, 3)).astype(np.uint8)).save("ref.png")
  found = types.SimpleNamespace(method=Enlarger(configs.load("common")), gray=levels)
  state = TrainState(np.int32(5), {}, {}, {})
  root = pathlib.Path("run/checkpoints")
  config = configs.load("common")
  model = models.Model("run", root / "5", 5, config, root.parent)
  monkeypatch.setattr(models, "find", lambda *asked: model)
  monkeypatch.setattr(models.Model, "method", property(lambda model: found.method))
  monkeypatch.setattr(models.Model, "restore", lambda model: state)
  return found


def magnify(*flags, picture="gray.png"):
  return cli.main(["visualize", "magnify", picture, "--checkpoint", "run", "--quiet", *flags])


def parsed(*flags):
  parser = arguments.make_parser("visualize magnify", "x", "x")
  visualize_magnify.add_arguments(parser)
  return arguments.parse(parser, ["gray.png", "--checkpoint", "run", *flags])


def pictures_of(path):
  """The frames of an animation, uint8 RGB, and how long each is shown."""
  with Image.open(path) as image:
    frames, times = [], []
    for k in range(getattr(image, "n_frames", 1)):
      image.seek(k)
      image.load()
      frames.append(np.asarray(image.convert("RGB")))
      times.append(image.info["duration"])
  return frames, times


# --- flags


@pytest.mark.parametrize(
  ("text", "expected"),
  [
    ("1:4:0.5", [1, 1.5, 2, 2.5, 3, 3.5, 4]),
    ("1:2:0.1", [1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2]),
    ("1:2:0.3", [1, 1.3, 1.6, 1.9]),
    ("4, 1,2.7,1", [1, 2.7, 4]),
  ],
)
def test_scales(text, expected):
  assert quantities.scales(text) == expected


@pytest.mark.parametrize(
  ("flag", "texts", "part"),
  [
    ("--scales", ["0,2", "nan,2", "1,inf", "1,-2", "1:x:2", "1:2:0", "1:nan:1"], "from 0.01 to"),
    ("--scales", ["9:1", "1:2:3:4"], "expected FIRST:LAST:STEP"),
    ("--scales", ["4:1:0.5", "2:2:1"], "expected FIRST below LAST"),
    ("--scales", ["2", "2,2", "1:4:5"], "2 to 64 magnifications; "),
    ("--scales", ["1:90:0.01"], "more than 64"),
    ("--point", ["3", "3,", "-1,2", "1.5,2", "a,b", "1,2,3"], "expected X,Y"),
    ("--window", ["0", "15", "x"], "whole number from 16"),
    ("--frames", ["1", "65", "2.5", "", "9" * 30], "whole number from 2 to 64"),
    ("--animation", ["bmp"], "invalid choice"),
  ],
)
def test_nonsense_is_refused_with_what_is_expected(flag, texts, part):
  for text in texts:
    with pytest.raises(UserError) as caught:
      parsed(f"{flag}={text}")
    assert flag in str(caught.value) and part in str(caught.value)


# --- what a user can mend


@pytest.mark.parametrize(
  ("flags", "picture", "parts"),
  [
    ([], "nowhere.png", ["PICTURE: nowhere.png", "No such file"]),
    ([], "folder", ["it is a folder"]),
    ([], "bad.png", ["bad.png", "not a picture"]),
    ([], "", ["PICTURE is empty"]),
    (["--reference="], "gray.png", ["--reference is empty"]),
    (["--reference", "nowhere.png"], "gray.png", ["--reference nowhere.png: no such file"]),
    (["--scales", "0.2,1,17"], "gray.png", ["--scales 0.2, 17: Enlarger enlarges by 0.5 to 16"]),
    (["--point", "60,3"], "gray.png", ["--point 60,3 is outside", "59,39"]),
    (["--frames", "4", "--animation", "none"], "gray.png", ["drop one"]),
    (["--out", "bad.png"], "gray.png", ["bad.png"]),
  ],
)
def test_input_errors_are_one_line_and_nothing_is_made(opened, capfd, flags, picture, parts):
  pathlib.Path("bad.png").write_bytes(b"x")
  pathlib.Path("folder").mkdir()
  before = sorted(os.listdir())
  assert magnify(*flags, picture=picture) == 2
  one_line(capfd, *parts)
  assert sorted(os.listdir()) == before


def test_a_result_too_large_is_refused_before_the_work(opened, capfd):
  Image.new("L", (2000, 2000)).save("gray.png")  # 32,000 x 32,000 are more than 1e9 pixels
  opened.method.predict = None
  assert magnify("--scales", "1,16") == 2
  one_line(capfd, "--scales 16: ", "give --input-side")


@pytest.mark.parametrize(
  ("attributes", "flags", "parts"),
  [
    ({"keeps_luminance": True}, [], ["gives colours alone, at 1x", "a run of scsnet"]),
    (
      {"keeps_luminance": True, "usual_scale": 2.0, "task": "joint"},
      [],
      ["Enlarger (joint) gives colours alone, at 2x"],
    ),
    ({"takes_pairs": True}, [], ["at their own size, 1x", "visualize confidence"]),
    ({"takes_reference": False}, ["--reference", "ref.png"], ["leave --reference out"]),
  ],
)
def test_a_network_that_cannot_says_what_it_can(opened, capfd, attributes, flags, parts):
  for name, value in attributes.items():
    setattr(opened.method, name, value)
  assert magnify(*flags) == 2
  one_line(capfd, *parts)
  assert not os.path.exists("magnify")


# --- the files


def test_the_sheet_and_the_animation_hold_the_results(opened, capfd):
  flags = ["--scales", "1,1.5,3", "--point", "20,20", "--window", "16", "--reference", "ref.png"]
  assert magnify(*flags) == 0
  out = capfd.readouterr().out
  assert "wrote magnify/gray_magnify.png" in out and "wrote magnify/gray_animation.png" in out
  assert "3 magnifications by 3 compiled programs" in out
  assert sorted(os.listdir("magnify")) == ["gray_animation.png", "gray_magnify.png"]
  sheet = np.asarray(Image.open("magnify/gray_magnify.png"))
  paint = colorizer.Colorizer(opened.method, TrainState(np.int32(5), {}, {}, {}))
  details = []
  for scale in (1.0, 1.5, 3.0):
    rgb = paint(opened.gray, scale=scale)
    first, last = round(12 * scale), round(28 * scale)
    details.append(rgb[first:last, first:last])
    assert holds(sheet, details[-1])
    enlarged = resizing.resize(opened.gray[..., None] / np.float32(255), rgb.shape[:2])[..., 0]
    gray = np.round(np.clip(enlarged[first:last, first:last], 0, 1) * 255).astype(np.uint8)
    assert holds(sheet, np.repeat(gray[..., None], 3, -1))
  changed = details[1].copy()
  changed[5, 5] += 1
  assert not holds(sheet, changed)
  frames, times = pictures_of("magnify/gray_animation.png")
  assert len(frames) == 4  # three there, and the middle one on the way back
  height = 18 + 48 + 6
  assert all(frame.shape == frames[0].shape for frame in frames) and len(frames[0]) == height
  for frame, k in zip(frames, (0, 1, 2, 1), strict=True):
    assert holds(frame, details[k])
  assert times[0] == times[2] > times[1] == times[3]


def test_what_is_read_and_written_can_be_in_a_bucket(opened, bucket, capfd):
  address, objects = bucket
  Place(address).put("gray.png", "gray.png")
  assert magnify("--scales", "1,2", "--out", "here") == 0
  assert magnify("--scales", "1,2", "--out", f"{address}/m", picture=f"{address}/gray.png") == 0
  assert f"wrote {address}/m/gray_animation.png\n" in capfd.readouterr().out
  names = ["gray_animation.png", "gray_magnify.png"]
  assert objects() == ["gray.png", *(f"m/{name}" for name in names)]
  assert Place(f"{address}/m").read(names[0]) == pathlib.Path("here", names[0]).read_bytes()
  assert magnify("--out", f"{address}-none/m") == 2
  assert f"cannot read or write {address}-none/m" in capfd.readouterr().err


@pytest.mark.parametrize("form", ["gif", "webp", "none"])
def test_other_forms_of_animation(opened, form):
  assert magnify("--scales", "1,2", "--animation", form) == 0
  names = ["gray_magnify.png"] + ([] if form == "none" else [f"gray_animation.{form}"])
  assert sorted(os.listdir("magnify")) == sorted(names)
  if form != "none":
    frames, _ = pictures_of(f"magnify/gray_animation.{form}")
    assert len(frames) == 2 and (frames[0] != frames[1]).any()


def test_frames_are_in_even_ratios_and_the_sheet_keeps_its_own(opened, monkeypatch):
  np.testing.assert_allclose(library.moving_scales([1.0, 2.0, 4.0], 5), [1, 2**0.5, 2, 8**0.5, 4])
  shown = []
  draw = magnify_sheet.draw
  watch = lambda *a: shown.append([result.scale for result in a[3]]) or draw(*a)
  monkeypatch.setattr(magnify_sheet, "draw", watch)
  assert magnify("--scales", "1,2,4", "--frames", "4") == 0
  assert shown == [[1.0, 2.0, 4.0]]
  frames, _ = pictures_of("magnify/gray_animation.png")
  assert len(frames) == 6


def test_nothing_is_written_where_the_work_breaks_off(opened, monkeypatch):
  def interrupted(*rest):
    raise KeyboardInterrupt

  monkeypatch.setattr(magnify_sheet, "frames", interrupted)
  assert magnify() == 130
  assert os.listdir("magnify") == []


def test_the_input_is_reduced_and_the_point_goes_with_it(opened):
  picture, window = library.read("gray.png", point=(20, 40), window=16, input_side=30)
  assert picture.gray.shape == (20, 30)
  assert window == Window(2, 12, 16)  # around (20.25, 10.25) of 30 x 20, moved inside
  # Unless told, no more than half of the shorter side: something around it is to be seen.
  assert library.read("gray.png", [1.0, 2.0])[1].side == 20


# --- with a network


@pytest.mark.slow
def test_cells_are_what_colorize_writes_by_the_same_programs(
  make_tiny_config, draw_state, tmp_path, monkeypatch, capfd
):
  from scs_jax.core import resolve
  from scs_jax.training.checkpoint import Checkpoints

  monkeypatch.chdir(tmp_path)
  config = make_tiny_config()
  config.network.levels, config.network.texture_blocks = 1, 0
  config.lock()
  state = draw_state(resolve.build(config), seed=3)
  state = state.replace(opt_state={name: () for name in state.params}, step=np.int32(3))
  with Checkpoints(tmp_path / "run", keep_last=1, best_metric=None) as checkpoints:
    checkpoints.save(3, state, data={}, config=config, metrics=None, wait=True)
  rng = np.random.default_rng(0)
  Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8)).save("gray.png")
  flags = ["gray.png", "--checkpoint", "run", "--quiet"]
  where = ["--point", "20,15", "--window", "16"]
  assert cli.main(["visualize", "magnify", *flags, *where, "--scales", "1,1.7,3"]) == 0
  few = capfd.readouterr().out
  assert cli.main(["colorize", *flags, "--out", "colored.png", "--scale", "1.7"]) == 0
  colored = np.asarray(Image.open("colored.png"))
  detail = colored[round(7 * 1.7) : round(23 * 1.7), round(12 * 1.7) : round(28 * 1.7)]
  assert colored.shape == (51, 68, 3) and np.ptp(detail) > 0
  assert holds(np.asarray(Image.open("magnify/gray_magnify.png")), detail)
  assert cli.main(["visualize", "magnify", *flags, *where, "--scales", "1,2"]) == 0
  programs = lambda text: text.partition(" by ")[2]
  assert programs(few) and programs(few) == programs(capfd.readouterr().out)
