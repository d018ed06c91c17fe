"""`scs-jax colorize --mono M --color C` from its flags to its exit code."""

import os
import pathlib
import sys

import imagecodecs
import numpy as np
import pytest
from etils import epath
from PIL import Image

from scs_jax.cli import main as cli
from scs_jax.infer.pairs import PairColorizer
from scs_jax.training import models

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "infer"))

import block_matcher
from seen import one_line

pytestmark = pytest.mark.usefixtures("quick_matches")
SIZE, SHIFT = (64, 96), 4


def save_pair(name, seed=0, shift=SHIFT, size=SIZE):
  """m/<name>.png and c/<name>.png; returns the true colours of the first."""
  for folder in ("m", "c"):
    pathlib.Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
  mono, color, truth = block_matcher.scene(size, shift, seed)
  Image.fromarray(mono).save(f"m/{name}.png")
  Image.fromarray(color).save(f"c/{name}.png")
  return truth


@pytest.fixture
def opened(tmp_path, monkeypatch):
  """Stands for a run: a matcher of blocks colours pairs; the list fills with the flags it got."""
  monkeypatch.chdir(tmp_path)
  for folder in ("weights", "config"):
    (tmp_path / "run" / folder).mkdir(parents=True)
    (tmp_path / "run" / folder / "data").write_text("numbers")
  flags = []

  def load(path, step=None):
    return block_matcher.BlockMatcher(), block_matcher.STATE

  from scs_jax.infer import colorizer

  model = models.Model("run", epath.Path(tmp_path / "run"), 3, None)
  monkeypatch.setattr(models, "find", lambda *asked: model)
  monkeypatch.setattr(colorizer, "load", load)
  init = PairColorizer.__init__

  def remember(self, *rest, **keywords):
    flags.append({name: keywords[name] for name in ("mono_view", "memory_limit")})
    init(self, *rest, **keywords)

  monkeypatch.setattr(PairColorizer, "__init__", remember)
  return flags


def run(*flags, given=("--mono", "m", "--color", "c"), out="out"):
  return cli.main(["colorize", *given, "--out", out, "--checkpoint", "run", "--quiet", *flags])


def inner(x, margin=SHIFT + 8):
  return np.asarray(x)[margin:-margin, margin:-margin].astype(np.float64)


def test_two_folders(opened, capfd):
  truths = {name: save_pair(name, seed) for seed, name in enumerate(("1", "a/2", "a/3"))}
  assert run() == 0
  out, err = capfd.readouterr()
  assert out.endswith("3 coloured\n") and err == ""
  for name, truth in truths.items():
    found = Image.open(f"out/{name}.png")
    assert found.mode == "RGB" and np.abs(inner(found) - inner(truth)).mean() < 2.0
  assert opened == [{"mono_view": "auto", "memory_limit": None}]
  assert run() == 0
  assert capfd.readouterr().out == "0 coloured, 3 skipped (done already)\n"
  # One partner anew: its pair alone is done again.
  save_pair("1", 7)
  assert run() == 0
  assert capfd.readouterr().out.endswith("1 coloured, 2 skipped (done already)\n")
  # Another side is another result.
  assert run("--mono-view", "right", "--memory-limit", "1GB") == 0
  assert capfd.readouterr().out.endswith("3 coloured\n")
  assert opened[-1] == {"mono_view": "right", "memory_limit": 10**9}


def test_two_files_to_a_file(opened, capfd):
  truth = save_pair("x")
  given = ["--mono", "m/x.png", "--color", "c/x.png"]
  assert run("--saturation", "0", given=given, out="new/y.tif") == 0
  made = Image.open("new/y.tif")
  assert made.format == "TIFF" and np.asarray(made).max(-1).tolist() == (
    np.asarray(Image.open("m/x.png")).tolist()
  )
  assert run("--size", "48x", "--format", "jpg", given=given) == 0
  assert Image.open("out/x.jpg").size == (48, 32)
  assert run("--scale", "2", given=given, out="big") == 0
  assert Image.open("big/x.png").size == (truth.shape[1] * 2, truth.shape[0] * 2)


def test_what_is_wrong_with_one_pair_never_stops_the_others(opened, capfd):
  for seed, name in enumerate("abcdefgh"):
    save_pair(name, seed)
  pathlib.Path("m/a.png").write_bytes(b"x")
  pathlib.Path("c/b.png").write_bytes(pathlib.Path("c/b.png").read_bytes()[:900])
  Image.open("c/c.png").resize((50, 40)).save("c/c.png")
  Image.open("c/d.png").convert("L").save("c/d.png")
  os.remove("c/e.png")
  os.remove("m/f.png")
  flat = np.full(SIZE, 80, np.uint8)
  Image.fromarray(flat).save("m/g.png")
  assert run() == 1
  out, err = capfd.readouterr()
  assert "bug" not in err and "Traceback" not in err
  lines = dict(line.strip().split(": ", 1) for line in err.splitlines()[1:])
  assert err.splitlines()[0] == "could not be coloured: 6"
  assert lines["m/a.png"].startswith("not a picture")
  assert "c/b.png" in lines["m/b.png"]
  assert "has 96x64 pixels, the colour view c/c.png has 50x40" in lines["m/c.png"]
  assert "the colour view c/d.png is gray" in lines["m/d.png"]
  assert lines["m/e.png"] == "no picture of this name in c"
  assert "cannot tell where the monochrome camera stands" in lines["m/g.png"]
  assert "colour pictures without a monochrome one: 1 (c/f.png)\n" in out
  assert out.endswith("1 coloured, 6 broken\n")
  assert sorted(os.listdir("out")) == [".scs_jax.json", "h.png"]
  assert run("--mono-view", "right") == 1
  assert capfd.readouterr().out.endswith("2 coloured, 5 broken\n")


@pytest.mark.parametrize(
  ("given", "flags", "parts"),
  [
    ([], [], ["nothing to colour", "--mono and --color"]),
    (["--mono", "m"], [], ["--mono needs --color: the colour camera's picture or folder"]),
    (["--color", "c"], [], ["--color needs --mono: the monochrome camera's"]),
    (["m", "--mono", "m", "--color", "c"], [], ["m beside --mono and --color"]),
    (["--mono", "m", "--color", "c"], ["--reference", "r.png"], ["leave --reference out"]),
    (["--mono", "m", "--color="], [], ["--color is empty"]),
    (["m"], ["--mono-view", "left"], ["--mono-view goes with --mono and --color"]),
    (["--mono", "m", "--color", "c"], ["--mono-view", "top"], ["invalid choice: 'top'"]),
    (["--mono", "m/1.png", "--color", "c"], [], ["give two files, or two folders"]),
    (["--mono", "m", "--color", "d"], [], ["no name is in both", "d has 8"]),
  ],
)
def test_what_a_user_can_mend_is_one_line_and_2_and_nothing_is_made(
  opened, capfd, given, flags, parts
):
  save_pair("1")
  pathlib.Path("d").mkdir()
  Image.new("RGB", (5, 5)).save("d/8.png")
  assert run(*flags, given=given) == 2
  one_line(capfd, *parts)
  assert not os.path.exists("out") and not opened


def test_metadata_depth_and_transparency_of_the_monochrome_view(opened):
  """What the colour view carries is not the result's."""
  save_pair("1")
  mono = np.asarray(Image.open("m/1.png")).astype(np.uint16)
  Image.fromarray((mono << 8) + np.uint16(200)).save("m/1.png")
  exif = Image.Exif()
  exif[0x010F] = "monochrome maker"
  Image.fromarray((mono << 8) + np.uint16(200)).save("m/1.png", exif=exif)
  exif[0x010F] = "colour maker"
  Image.open("c/1.png").convert("RGBA").save("c/1.png", exif=exif)
  assert run() == 0
  found = Image.open("out/1.png")
  assert found.mode == "RGB" and found.getexif()[0x010F] == "monochrome maker"
  deep = imagecodecs.imread("out/1.png")
  luma = deep @ np.array([0.299, 0.587, 0.114])
  assert deep.dtype == np.uint16 and np.abs(luma - (mono.astype(int) * 256 + 200)).max() <= 1
  alpha = np.arange(mono.size).reshape(mono.shape).astype(np.uint8)
  Image.merge("LA", [Image.fromarray(x) for x in (mono.astype(np.uint8), alpha)]).save("m/1.png")
  assert run() == 0
  found = Image.open("out/1.png")
  assert found.mode == "RGBA"
  np.testing.assert_array_equal(np.asarray(found)[..., 3], alpha)


# --- with networks


def save_run(folder, method, config, draw_state):
  import jax

  from scs_jax.training.checkpoint import Checkpoints

  state = draw_state(method)
  state = state.replace(
    model_state=jax.tree.map(lambda x: np.abs(x) + np.float32(0.5), state.model_state),  # variances
    opt_state={name: () for name in state.params},
    step=np.int32(3),
  )
  with Checkpoints(folder, keep_last=1) as checkpoints:
    checkpoints.save(3, state, data={}, config=config, metrics={}, wait=True)
  return state


@pytest.mark.usefixtures("plain_volumes")
def test_each_checkpoint_colours_what_it_was_made_for(
  make_tiny_config, make_cycle_config, draw_state, tmp_path, monkeypatch, capfd
):
  from scs_jax.core import resolve

  monkeypatch.chdir(tmp_path)
  save_pair("1", shift=5)
  runs = {}
  for name, make in (("photos", make_tiny_config), ("pairs", make_cycle_config)):
    config = make().lock()
    method = resolve.build(config)
    runs[name] = method, save_run(tmp_path / name, method, config, draw_state)
  common = ["--out", "out", "--quiet"]
  pairs = ["--mono", "m", "--color", "c"]
  assert cli.main(["colorize", *pairs, "--checkpoint", "photos", *common]) == 2
  one_line(capfd, "SCSNet colours photos, not pairs of views; leave --mono and --color out")
  assert cli.main(["colorize", "m", "--checkpoint", "pairs", *common]) == 2
  one_line(capfd, "CycleCNN colours pairs", "colorize --mono M --color C")
  assert not list(tmp_path.glob("out/*.png"))
  assert cli.main(["colorize", *pairs, "--checkpoint", "pairs", *common]) == 0
  assert capfd.readouterr().out.endswith("1 coloured\n")
  found = np.asarray(Image.open("out/1.png"))
  mono, color = (np.asarray(Image.open(f"{side}/1.png")) for side in "mc")
  expected = PairColorizer.from_checkpoint(tmp_path / "pairs")(mono, color)
  np.testing.assert_array_equal(found, expected)
  assert np.abs(found @ np.array([0.299, 0.587, 0.114]) - mono).max() <= 0.51
