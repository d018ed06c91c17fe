"""What the page is made of, without a browser: places, turns, sentences, jobs, runs."""

import json
import math
import os
import pathlib
import struct
import threading
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="the page needs gradio, an extra")

from scs_jax.app import photographs, places, runs, serving, shared, turns, words
from scs_jax.errors import UserError


class TestPlaces:
  def test_what_a_session_sent_and_made_goes_with_it(self, tmp_path):
    own, shared = tmp_path / "a" / "own.jpg", tmp_path / "b" / "shared.jpg"
    for path in (own, shared):
      path.parent.mkdir()
      path.write_bytes(b"x")
    kept = places.Places(tmp_path)
    kept.hold("one", [str(own), str(shared)])
    kept.hold("two", [str(shared)])
    folder = kept.folder("one", "photographs")
    (folder / "result.png").write_bytes(b"y")
    kept.require("one")
    assert (folder / "result.png").exists()  # while the page is open
    kept.end("one")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [shared]
    kept.end("two")
    assert list(tmp_path.iterdir()) == []

  def test_a_job_takes_the_place_of_the_last_one_of_its_kind(self, tmp_path):
    kept = places.Places(tmp_path)
    first, other = kept.folder("one", "photographs"), kept.folder("one", "pair")
    second = kept.folder("one", "photographs")
    assert not first.exists() and other.exists() and list(second.iterdir()) == []

  def test_a_session_that_ends_during_a_job_leaves_nothing(self, tmp_path):
    kept = places.Places(tmp_path)
    folder = kept.folder("one", "photographs")
    kept.end("one")
    folder.mkdir(parents=True)
    (folder / "late.png").write_bytes(b"y")
    with pytest.raises(UserError, match="closed"):
      kept.require("one")
    assert list(tmp_path.iterdir()) == []

  def test_a_job_whose_page_was_closed_reports_no_bug(self, tmp_path, capsys):
    kept = places.Places(tmp_path)
    own = shared.Shared(None, kept, None, 1, 1, "runs")
    assert "is no number" in own.refusal(UserError("x is no number"), "one")
    kept.end("one")
    assert "The page was closed" in own.refusal(RuntimeError("a file is gone"), "one")
    assert capsys.readouterr().err == ""

  def test_a_forged_session_names_no_folder(self, tmp_path):
    root = tmp_path / "root"
    folder = places.Places(root).folder("../../elsewhere", "photographs")
    assert folder.resolve().is_relative_to(root.resolve())

  def test_files_of_one_name_keep_their_names_apart(self, tmp_path):
    given = []
    for number in "abc":
      (tmp_path / number).mkdir()
      path = tmp_path / number / ("Image.jpg" if number == "b" else "image.jpg")
      path.write_text(number)
      given.append(str(path))
    found = places.gather(given, tmp_path / "in")
    assert [pathlib.Path(p).name for p in found] == ["image.jpg", "Image (2).jpg", "image (3).jpg"]
    assert [pathlib.Path(p).read_text() for p in found] == ["a", "b", "c"]


class TestTurns:
  def test_two_long_jobs_come_in_turn(self):
    line, order = turns.Turns(5), []
    begun = threading.Event()

    def job(name, first):
      for number in range(3):
        with line.turn():
          if first:
            begun.set()
            while number == 0 and line.waiting < 2:
              pass
          order.append(name + str(number))

    other = threading.Thread(target=lambda: begun.wait() and job("b", False))
    other.start()
    job("a", True)
    other.join()
    assert order == ["a0", "b0", "a1", "b1", "a2", "b2"]

  def test_a_full_line_says_so(self):
    line = turns.Turns(1)
    line.require_room()
    with line.turn(), pytest.raises(UserError, match="busy: 1 jobs"):
      line.require_room()
    line.require_room()


def test_sentences_name_what_stands_on_the_page():
  said = words.for_page("say it with --mono-view right, or raise it (`colorize --max-pixels`)")
  assert "“Where the monochrome camera stood” right" in said
  assert "`scs-jax app --max-pixels`" in said
  assert words.for_page("/t/j/in/a.jpg and /t/j/out/b.png", "/t/j") == "a.jpg and b.png"


class Painter:
  """Red is the gray level, green half of it, blue the mean of the reference's blue."""

  takes_reference, scales = True, (0.0, math.inf)

  def color(self, picture, reference=None, *, size=None, scale=None, **keywords):
    level = np.round(picture.gray * 255).astype(np.uint8)
    blue = 0 if reference is None else int(reference.rgb[..., 2].mean())
    self.note("seen")
    rgb = np.stack([level, level // 2, np.full_like(level, blue)], -1)
    height, width = (round(s * (scale or 1)) for s in level.shape)
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.NEAREST))


class Networks:
  """One painter, by whatever name; remembers the names."""

  def __init__(self):
    self.asked = []

  def name_for(self, name, alone):
    return name or ("alone" if alone else "else")

  def colorizer(self, name):
    self.asked.append(name)
    return Painter()


def colour(folder, **asked):
  """The last state of a job; photographs of names that say what they are lie in folder/given."""
  networks = Networks()
  given = photographs.Asked(**asked)
  *_, state = photographs.color(given, folder / "job", networks, turns.Turns(3), 10_000)
  return state, networks


@pytest.fixture
def given(tmp_path):
  """A function: the path of a file in a folder of its own, of a Pillow image or of bytes."""

  def make(name, content, **how):
    folder = tmp_path / f"given{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    if isinstance(content, bytes):
      (folder / name).write_bytes(content)
    else:
      content.save(folder / name, **how)
    return str(folder / name)

  return make


def promise(side):
  """A PNG of a few bytes that says it has so many pixels a side."""
  chunk = lambda kind, data: (
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
  )
  head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
  parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
  return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


class TestPhotographs:
  def test_names_metadata_and_sizes(self, given, tmp_path):
    exif = Image.Exif()
    exif[0x013B] = "Ada"
    one = given("Großmutter (1).jpg", Image.new("L", (20, 10), 80), exif=exif)
    two = given("image.png", Image.new("L", (8, 8), 90))
    state, networks = colour(tmp_path, photographs=[one, two, two], scale=1.5)
    assert networks.asked == ["else"] * 3
    names = ["Großmutter (1).jpg", "image.png", "image (2).png"]
    assert [done.name for done in state.done] == names and state.broken == []
    with Image.open(state.done[0].output) as image:
      assert image.size == (30, 15) and image.getexif()[0x013B] == "Ada"
    with Image.open(state.done[1].output) as image:
      assert image.size == (12, 12) and image.getpixel((5, 5)) == (90, 45, 0)
    for done in state.done:
      with Image.open(done.before) as before, Image.open(done.after) as after:
        assert before.size == after.size
    with zipfile.ZipFile(state.archive) as archive:
      assert archive.namelist() == names
    assert state.notes[0] == "Großmutter (1).jpg: seen"

  def test_alone_and_at_its_size_another_network_colours(self, given, tmp_path):
    _, networks = colour(tmp_path, photographs=[given("a.png", Image.new("L", (8, 8)))])
    assert networks.asked == ["alone"]

  def test_the_most_similar_reference_lends(self, given, tmp_path):
    ramp = Image.linear_gradient("L").resize((32, 32))
    up = given("up.png", Image.merge("RGB", [ramp, ramp, Image.new("L", (32, 32), 40)]))
    down = ramp.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    down = given("down.png", Image.merge("RGB", [down, down, Image.new("L", (32, 32), 200)]))
    asked = {"photographs": [given("x.png", ramp)], "references": [down, up]}
    state, _ = colour(tmp_path, **asked)
    assert pathlib.Path(state.done[0].reference).name == "up.png"
    with Image.open(state.done[0].output) as image:
      assert image.getpixel((3, 3))[2] == 40

  def test_what_is_refused_stops_nothing(self, given, tmp_path):
    files = [
      given("text.png", b"no picture"),
      given("large.png", promise(20_000)),
      given("film.mp4", b"frames"),
      given("good.png", Image.new("L", (60, 60), 10)),
    ]
    state, _ = colour(tmp_path, photographs=files)
    assert [done.name for done in state.done] == ["good.png"] and not state.archive
    broken = dict(state.broken)
    assert "not a picture" in broken["text.png"]
    assert "20000x20000 pixels are more than the limit of 10000" in broken["large.png"]
    assert "`scs-jax app --max-pixels`" in broken["large.png"]
    assert "it is a video" in broken["film.mp4"]
    state, _ = colour(tmp_path / "again", photographs=files[-1:], scale=2.0)
    assert "choose a “Magnification” of 1.66 or less" in state.broken[0][1]


class TestRuns:
  @pytest.fixture
  def root(self, tmp_path):
    folder = tmp_path / "runs" / "deep" / "one"
    (folder / "panels").mkdir(parents=True)
    config = {"method": {"name": "scsnet"}, "steps": 40, "evaluate": {"modes": ["automatic"]}}
    (folder / "config.json").write_text(json.dumps(config))
    lines = [
      {"step": 10, "loss/content": 2.0, "images_per_second": 3.0},
      {"step": 20, "loss/content": 1.0, "compile_seconds/train": 4.0},
      {"step": 20, "automatic/psnr_rgb": 21.5},
      {"step": 30, "automatic/psnr_rgb": 22.25},
    ]
    text = "".join(f"{json.dumps(line)}\n" for line in lines) + '{"step": 40, "loss/con'
    (folder / "metrics.jsonl").write_text(text)
    for step in (10, 30):
      Image.new("RGB", (40, 20), (step, 0, 0)).save(folder / f"panels/step_{step:08d}.png")
    (tmp_path / "runs" / "none").mkdir()
    return tmp_path / "runs"

  def test_a_run_is_found_and_read_while_it_writes(self, root, parse_page):
    assert runs.find(root) == ["deep/one"]
    run = runs.read(root, "deep/one")
    page = parse_page(runs.page(run))
    text = "".join(page.words)
    assert not page.open and "step 30 of 40, 3 pictures a second" in text and "22.25" in text
    assert "PSNR RGB" in text and "in decibels; higher is better" in text
    assert page.counts["figure"] == 2  # the score and the loss, not how long compiling took
    assert [runs.step_of(path) for path in run.panels] == ["step 30", "step 10"]
    assert 'src="data:image/jpeg;base64,' in runs.panel(run.panels[0])

  def test_a_run_without_lines_is_shown(self, root, parse_page):
    (root / "deep/one/metrics.jsonl").write_text("")
    (root / "deep/one/config.json").unlink()
    page = parse_page(runs.page(runs.read(root, "deep/one")))
    assert "no line yet" in "".join(page.words)

  @pytest.mark.parametrize("name", ["../secret", "/etc", "none", "deep"])
  def test_nothing_else_is_read(self, root, name):
    with pytest.raises(UserError, match="no run is called"):
      runs.read(root, name)

  def test_no_folder_no_runs(self, tmp_path):
    assert runs.find(tmp_path / "absent") == []


class TestServing:
  @pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
  def test_other_machines_need_a_password(self, host):
    with pytest.raises(UserError, match="--auth"), serving.served(serving.Settings(host=host)):
      pass

  @pytest.mark.parametrize("host", ["127.0.0.1", "127.0.1.1", "::1", "localhost"])
  def test_this_machine_needs_none(self, host):
    assert serving.is_loopback(host)

  def test_gradio_is_asked_for(self, monkeypatch):
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: None)
    page = serving.served(serving.Settings())
    with pytest.raises(UserError, match=r"pip install -e '.\[app\]'"), page:
      pass

  def test_a_network_that_is_not_there_is_said_before_the_page_is(self, tmp_path):
    before = dict(os.environ)
    page = serving.served(serving.Settings(["scsnett"]))
    with pytest.raises(UserError, match="scsnett"), page:
      pass
    assert dict(os.environ) == before


def test_freed_memory_goes_back_when_nobody_waits(monkeypatch):
  given = []
  monkeypatch.setattr(turns.heap, "give_back_freed", lambda: given.append(True))
  line, second = turns.Turns(most=2), threading.Event()

  def wait():
    with line.turn():
      second.wait()

  with line.turn():
    other = threading.Thread(target=wait)
    other.start()
    while line.waiting < 2:
      time.sleep(0.001)
  assert not given
  second.set()
  other.join()
  assert given == [True]
