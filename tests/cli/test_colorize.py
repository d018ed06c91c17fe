"""`scs-jax colorize` from its flags to its exit code."""

import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest
from etils import epath
from PIL import Image

from scs_jax.cli import arguments, colorize
from scs_jax.cli import main as cli
from scs_jax.errors import UserError
from scs_jax.training import models

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "infer"))

import odd_pictures
from painting import stand_in
from seen import one_line


@pytest.fixture
def painter(tmp_path, monkeypatch):
  """Stands for a network; in/ has three pictures, run/ is what stands for its checkpoint."""
  monkeypatch.chdir(tmp_path)
  for folder in ("weights", "config"):
    (tmp_path / "run" / folder).mkdir(parents=True)
    (tmp_path / "run" / folder / "data").write_text("numbers")
  model = models.Model("run", epath.Path(tmp_path / "run"), 3, None)
  (tmp_path / "in").mkdir()
  for i in range(3):
    Image.new("L", (8, 6), 50 + i).save(tmp_path / f"in/p{i}.png")
  return stand_in(monkeypatch, model)


def run(*flags, given=("in",), out="out"):
  return cli.main(["colorize", *given, "--out", out, "--checkpoint", "run", "--quiet", *flags])


# --- flags


def parsed(*flags):
  parser = arguments.make_parser("colorize", "x", "x")
  colorize.add_arguments(parser)
  return arguments.parse(parser, ["a.png", "--out", "o", "--checkpoint", "c", *flags])


@pytest.mark.parametrize(
  ("flags", "name", "value"),
  [
    (["--scale", "3.7"], "scale", 3.7),
    (["--size", "1920x1080"], "size", (1080, 1920)),
    (["--size", "1920x"], "size", (None, 1920)),
    (["--size", "X1080"], "size", (1080, None)),
    (["--same-size"], "size", None),
    (["--memory-limit", "4GB"], "memory_limit", 4_000_000_000),
    (["--memory-limit", "1.5GiB"], "memory_limit", 3 << 29),
    (["--memory-limit", "512 mb"], "memory_limit", 512_000_000),
    (["--memory-limit", "40000000"], "memory_limit", 40_000_000),
    (["--step", "12"], "step", 12),
    (["--white-level", "1023"], "white_level", 1023.0),
    (["--max-pixels", "2e9"], "max_pixels", 2_000_000_000),
    (["--step", "best"], "step", "best"),
    (["--saturation", "0"], "saturation", 0.0),
    (["--input-side", "512"], "input_side", 512),
    ([], "same_size", False),
    ([], "format", "same"),
  ],
)
def test_flags(flags, name, value):
  assert getattr(parsed(*flags), name) == value


NO_NUMBERS = ["0", "-1", "nan", "inf", "-inf", "1e9", "abc", "", "2x", "1e-9"]


@pytest.mark.parametrize(
  ("flag", "texts", "part"),
  [
    ("--scale", NO_NUMBERS, "expected a number from 0.01 to 100, as 2 or 3.7; got"),
    (
      "--size",
      ["0x5", "5x0", "-5x5", "x", "", "5", "5x5x5", "1e3x5", "999999999x1", "axb", "5.5x5", "٣x٣"],
      "expected width x height in pixels from 1 to 131072, as 1920x1080, 1920x or x1080; got",
    ),
    ("--saturation", [*NO_NUMBERS[1:-1], "4.1"], "expected a number from 0 to 4"),
    ("--input-side", ["0", "15", "-4", "2.5", "abc", "", "9" * 30], "whole number from 16"),
    ("--quality", ["0", "101", "x", "9.5"], "whole number from 1 to 100"),
    ("--memory-limit", ["0", "4", "4XB", "GB", "-4GB", "nan", "1e30GB", "", "9" * 400], "as 4GB"),
    ("--step", ["-1", "newest", "1.5", ""], "a step's number, best or last"),
    ("--white-level", ["0", "-1", "white", "nan", ""], "as 1023 or 4095"),
    ("--max-pixels", ["0", "-1", "many", "nan", "1e16", ""], "a number of pixels, as 2e9"),
  ],
)
def test_nonsense_is_refused_with_what_is_expected(flag, texts, part):
  for text in texts:
    with pytest.raises(UserError) as caught:
      parsed(f"{flag}={text}")
    assert flag in str(caught.value) and part in str(caught.value)


def test_sizes_exclude_each_other(capfd):
  for flags in (["--scale", "2", "--size", "5x5"], ["--scale=2", "--same-size"]):
    assert cli.main(["colorize", "a", "--out", "o", "--checkpoint", "c", *flags]) == 2
    one_line(capfd, "not allowed with argument --scale")


# --- runs


def test_all_well_is_0_and_the_same_again_is_skipped(painter, capfd):
  flags = "--scale", "2", "--saturation", "1.3", "--keep-luminance", "--input-side", "64"
  assert run(*flags) == 0
  assert capfd.readouterr() == ("3 coloured\n", "")
  assert [keywords for _, keywords in painter.asked] == 3 * [
    {"scale": 2.0, "size": None, "keep_luminance": True, "saturation": 1.3, "input_side": 64,
     "depth": 8}
  ]  # fmt: skip
  assert run(*flags) == 0
  assert capfd.readouterr().out == "0 coloured, 3 skipped (done already)\n"
  pathlib.Path("run/weights/data").write_text("others")
  assert run(*flags) == 0
  assert capfd.readouterr().out == "3 coloured\n"
  Image.new("L", (8, 6), 9).save("in/q.png")
  assert run(*flags) == 0
  assert capfd.readouterr().out == "1 coloured, 3 skipped (done already)\n"
  assert run("--overwrite", *flags) == 0
  assert capfd.readouterr().out == "4 coloured\n"


def test_ten_bits_in_sixteen_are_remarked_on_and_a_white_level_mends_them(painter, capfd):
  values = np.arange(48, dtype=np.uint16).reshape(6, 8) * 21
  Image.fromarray(values).save("ten.png")
  assert run(given=["ten.png"]) == 0
  assert "values from 0 to 987 of 65535" in capfd.readouterr().out
  assert Image.open("out/ten.png").getpixel((7, 5))[0] == 4  # 987 / 65535 * 255
  assert run("--white-level", "1023", given=["ten.png"]) == 0
  assert capfd.readouterr().out == "1 coloured\n"  # not skipped: it is another result
  assert Image.open("out/ten.png").getpixel((7, 5))[0] == 246  # 987 / 1023 * 255
  assert run("--max-pixels", "47", given=["ten.png"], out="none") == 1
  assert "8x6 pixels are more than the limit of 47" in capfd.readouterr().err


def test_a_second_run_does_not_colour_the_results_of_the_first(painter, capfd):
  assert run(out="in/colored") == 0
  capfd.readouterr()
  assert run(out="elsewhere") == 0
  assert capfd.readouterr().out == (
    "left out: a folder of colorize's own results (in/colored); name such a folder to take it\n"
    "3 coloured\n"
  )
  assert sorted(os.listdir("elsewhere")) == [".scs_jax.json", "p0.png", "p1.png", "p2.png"]
  assert run(given=["in/colored"], out="again") == 0
  assert capfd.readouterr().out == "3 coloured\n"


def test_one_file(painter, capfd):
  assert run(given=["in/p1.png"], out="new/x.jpg") == 0
  made = Image.open("new/x.jpg")
  assert made.format == "JPEG" and abs(made.getpixel((3, 3))[0] - 51) <= 1
  assert os.listdir("new") == ["x.jpg"]


@pytest.mark.parametrize(
  ("flags", "given", "parts"),
  [
    ([], ["nowhere"], ["no such file or folder: nowhere"]),
    ([], ["in/*.jpg"], ["nothing matches in/*.jpg"]),
    (["--reference", "nowhere.png"], ["in"], ["--reference nowhere.png: no such file"]),
    (["--reference", "bad.png"], ["in"], ["--reference: bad.png", "give another picture"]),
    (["--reference="], ["in"], ["--reference is empty"]),
    (["--refrence", "x"], ["in"], ["did you mean --reference?"]),
    (["--format", "bmp"], ["in"], ["invalid choice: 'bmp'"]),
  ],
)
def test_what_a_user_can_mend_is_one_line_and_2_and_nothing_is_made(
  painter, capfd, flags, given, parts
):
  pathlib.Path("bad.png").write_bytes(b"x")
  assert run(*flags, given=given) == 2
  one_line(capfd, *parts)
  assert not painter.asked and not os.path.exists("out")


def test_a_gray_reference_warns_once_and_goes_on(painter, capfd):
  assert run("--reference", "in/p0.png") == 0
  lines = capfd.readouterr().out.splitlines()
  assert len([line for line in lines if "the reference p0.png is gray" in line]) == 1
  assert lines[-1] == "3 coloured"


def test_a_video_in_and_out(painter, capfd):
  from scs_jax.infer import video

  try:
    ffmpeg = video.find_ffmpeg()
  except UserError:
    pytest.skip("no ffmpeg here")
  grays = "nullsrc=size=8x6:rate=5:duration=0.6,geq=r='60*N':g='60*N':b='60*N',format=rgb24"
  command = [ffmpeg, "-loglevel", "error", "-f", "lavfi", "-i", grays, "-c:v", "ffv1", "in/c.mkv"]
  subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
  pathlib.Path("in/bad.mov").write_bytes(b"x" * 50)
  levels = []
  color = painter.color
  painter.color = lambda picture, *rest, **more: (
    levels.append(round(255 * float(picture.gray.mean()))) or color(picture, *rest, **more)
  )
  assert run() == 1
  out, err = capfd.readouterr()
  assert out.endswith("4 coloured, 1 broken\n") and "in/bad.mov: no video" in err
  assert sorted(levels) == [0, 50, 51, 52, 60, 120]
  assert video.probe("out/c.mp4")[:2] == ((6, 8), "5/1")
  assert run(given=["in/c.mkv"]) == 0
  assert capfd.readouterr().out == "0 coloured, 1 skipped (done already)\n"
  assert run(given=["in/c.mkv"], out="one.mp4") == 0 and video.probe("one.mp4").frames == 3


def test_two_hundred_odd_and_broken_pictures(painter, tmp_path, capfd):
  """Each is coloured at its size, listed with a cause, or counted as no picture; none is lost."""
  made = odd_pictures.make(tmp_path / "odd")
  by_outcome = {kind: [odd for odd in made if odd.outcome == kind]
                for kind in ("ok", "broken", "not a picture")}  # fmt: skip
  assert sum(map(len, by_outcome.values())) == len(made) >= 200
  assert all(by_outcome.values())
  assert run("--format", "png", given=["odd"]) == 1
  out, err = capfd.readouterr()
  assert "bug" not in err and "Traceback" not in err
  count = {kind: len(odds) for kind, odds in by_outcome.items()}
  assert out.splitlines()[-1] == f"{count['ok']} coloured, {count['broken']} broken"
  alone = len([odd for odd in by_outcome["not a picture"] if odd.path.is_file()])
  assert f"left alone: {alone} files" in out
  listed = [line for line in err.splitlines() if line.startswith("  ")]
  assert len(listed) == count["broken"]
  names = sorted(odd.path.relative_to(tmp_path).as_posix() for odd in by_outcome["broken"])
  for line, name in zip(listed, names, strict=True):
    assert line.startswith(f"  {name}: ") and len(line) > len(name) + 10
  # The sizes of all results, and of nothing else.
  sizes = []
  for path in pathlib.Path("out").rglob("*"):
    if path.is_dir() or path.name == ".scs_jax.json":
      continue
    with Image.open(path) as image:
      sizes.append(image.size[::-1])
  assert sorted(sizes) == sorted(odd.size for odd in by_outcome["ok"])
  assert run("--format", "png", given=["odd"]) == 1
  assert f"0 coloured, {count['ok']} skipped" in capfd.readouterr().out


@pytest.fixture
def hears_ctrl_c():
  """A shell's job in the background is started deaf to Ctrl-C, and so would its tests be."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_sigterm_and_ctrl_c_keep_what_is_finished(painter, capfd):
  color = painter.color

  def signalled(number):
    def color_and_signal(picture, reference=None, **keywords):
      if len(painter.asked) == 1:
        os.kill(os.getpid(), number)
      return color(picture, reference, **keywords)

    return color_and_signal

  for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
    painter.asked.clear()
    painter.color = signalled(number)
    out = f"out{number}"
    assert run(out=out) == code
    assert sorted(os.listdir(out)) == [".scs_jax.json", "p0.png"]
    painter.color = color
    assert run(out=out) == 0
    assert "2 coloured, 1 skipped" in capfd.readouterr().out


# --- with a network


@pytest.fixture(scope="module")
def trained(make_tiny_config, draw_state, tmp_path_factory):
  """A run's folder with two checkpoints of a tiny SCSNet; the first is the better one."""
  from scs_jax.core import resolve
  from scs_jax.training.checkpoint import Checkpoints

  config = make_tiny_config()
  config.network.levels, config.network.texture_blocks = 1, 0
  config.lock()
  method = resolve.build(config)
  folder = tmp_path_factory.mktemp("trained")
  with Checkpoints(folder, keep_last=2, best_metric="score") as checkpoints:
    for step, score in ((3, 2.0), (5, 1.0)):
      state = draw_state(method, seed=step)
      state = state.replace(opt_state={name: () for name in state.params}, step=np.int32(step))
      checkpoints.save(
        step, state, data={}, config=config, metrics={"score": score}, wait=True
      )
  return folder


@pytest.fixture
def photos(tmp_path, monkeypatch):
  """in/ with two pictures of two sizes and a broken one; ref.png."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / "in").mkdir()
  rng = np.random.default_rng(0)
  for i, size in enumerate(((20, 31), (1, 1))):
    Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(f"in/p{i}.png")
  Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save("ref.png")
  pathlib.Path("in/x.jpg").write_bytes(b"broken")
  return tmp_path


@pytest.mark.slow
def test_a_folder_with_a_trained_network(trained, photos, capfd):
  from scs_jax.infer.colorizer import Colorizer

  flags = ["--checkpoint", str(trained), "--quiet", "--reference", "ref.png", "--scale", "1.5"]
  assert cli.main(["colorize", "in", *flags, "--out", "out"]) == 1
  out, err = capfd.readouterr()
  assert f"colouring with {trained}/checkpoints/3\n" in out
  assert out.endswith("2 coloured, 1 broken\n") and "in/x.jpg: not a picture" in err
  colorizer = Colorizer.from_checkpoint(trained, step="best")
  for i, size in enumerate(((30, 47), (2, 2))):  # halves up
    made = np.asarray(Image.open(f"out/p{i}.png"))
    assert made.shape == (*size, 3)
    expected = np.asarray(colorizer(f"in/p{i}.png", "ref.png", scale=1.5))
    np.testing.assert_array_equal(made, expected)
  assert cli.main(["colorize", "in/p0.png", *flags, "--out", "last", "--step", "last"]) == 0
  assert f"{trained}/checkpoints/5\n" in capfd.readouterr().out
  assert (np.asarray(Image.open("last/p0.png")) != np.asarray(Image.open("out/p0.png"))).any()


def test_what_a_network_does_not_do_is_2_before_anything_is_coloured(trained, photos, capfd):
  def fails(*flags, checkpoint=trained):
    argv = ["colorize", "in", "--checkpoint", str(checkpoint), "--out", "out", "--quiet"]
    assert cli.main([*argv, *flags]) == 2
    out, err = capfd.readouterr()
    assert "coloured" not in out and err.count("\n") == 1
    return err

  assert "enlarges by 0.5 to 16" in fails("--scale", "20")
  assert "has no checkpoint of step 4; it has 3, 5" in fails("--step", "4")
  step = trained / "checkpoints/3"
  assert "is step 3 itself" in fails("--step", "5", checkpoint=step)
  assert "no such folder" in fails(checkpoint="nowhere")
  assert not list(photos.glob("out/*.png"))
