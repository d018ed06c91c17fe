"""The page in a real browser, at the widths of a desk and of a telephone; nobody else is asked.

What colours is a painter without a network: expectations are by hand, and nothing is compiled.
"""

import contextlib
import io
import json
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage import data

pytest.importorskip("gradio", reason="the page needs gradio, an extra")

from scs_jax.app import networks, runs_tab, serving
from scs_jax.infer.pairs import Found, Layout
from scs_jax.infer.pictures import Picture

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gradio.*")

WIDTHS = {"desk": 1280, "telephone": 390}
MAX_UPLOAD, MAX_PIXELS = 300_000, 50_000
_SECONDS = 30_000  # milliseconds, for a machine that is busy


class Painter:
  """Red is the gray level, green half of it; one picture at a time, or it notices."""

  takes_reference, scales = True, (0.0, math.inf)
  busy, most, waiting = 0, 0, None

  def color(self, picture: Picture, reference=None, *, scale=None, **keywords):
    Painter.busy += 1
    Painter.most = max(Painter.most, Painter.busy)
    if Painter.waiting is not None:
      Painter.waiting.wait(20)
    level = np.round(picture.gray * 255).astype(np.uint8)
    rgb = np.stack([level, level // 2, np.zeros_like(level)], -1)
    height, width = (round(s * (scale or 1)) for s in level.shape)
    Painter.busy -= 1
    self.note("painted by hand")
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.NEAREST))


class PairPainter:
  """Takes the colour view for the result."""

  note = staticmethod(lambda line: None)

  def find(self, picture, reference, **keywords):
    self.note("warning: made by hand")
    ramp = np.broadcast_to(np.linspace(0, 9, picture.gray.shape[1]), picture.gray.shape)
    return Found(reference.rgb, Layout("right"), ramp, ramp / 9)


@pytest.fixture(scope="module")
def connects():
  """Addresses that this process connects to, the browser's own pipes aside."""
  seen = []
  sys.addaudithook(lambda event, args: seen.append(args[1]) if event == "socket.connect" else None)
  return seen


@pytest.fixture(scope="module")
def site(tmp_path_factory, connects):
  """(address, folder of uploads, folder of runs) of a page that is served."""
  root = tmp_path_factory.mktemp("site")
  run = root / "runs" / "small"
  run.mkdir(parents=True)
  config = {"method": {"name": "scsnet"}, "steps": 40, "evaluate": {"modes": ["automatic"]}}
  (run / "config.json").write_text(json.dumps(config))
  lines = [{"step": s, "automatic/psnr_rgb": 20.0 + s} for s in (1, 2)]
  (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
  (root / "temporary").mkdir()
  settings = serving.Settings(
    runs=str(root / "runs"), max_upload=MAX_UPLOAD, max_pixels=MAX_PIXELS, max_jobs=2, warm=False
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(networks.Networks, "colorizer", lambda self, name: Painter())
    patch.setattr(networks.Networks, "pair_colorizer", lambda self, name, view: PairPainter())
    patch.setattr(runs_tab, "SECONDS", 0.3)
    patch.setattr(serving.tempfile, "tempdir", str(root / "temporary"))
    with serving.served(settings) as address:
      yield address, root / "temporary", run
  assert not list((root / "temporary").iterdir())  # all of it goes at the end


@pytest.fixture(scope="module")
def chromium():
  """Debian's browser, driven by Playwright, which finds no other machine."""
  api = pytest.importorskip("playwright.sync_api", reason="no playwright to drive a browser with")
  path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
  if path is None:
    pytest.skip("no chromium on this machine")
  flags = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"]
  with api.sync_playwright() as driver:
    browser = driver.chromium.launch(executable_path=path, args=flags)
    yield browser
    browser.close()


@contextlib.contextmanager
def opened(chromium, site, width):
  """The page of a person of their own; fails where it asks anybody else for anything."""
  context = chromium.new_context(viewport={"width": width, "height": 900})
  context.set_default_timeout(_SECONDS)
  asked = []
  context.on("request", lambda request: asked.append(request.url))
  page = context.new_page()
  page.goto(site[0])
  page.get_by_role("tab", name="Photos").wait_for()
  yield page
  context.close()
  strangers = [u for u in asked if not u.startswith((site[0], "data:", "blob:"))]
  assert len(asked) > 10 and not strangers


def drop(page, where, *paths):
  page.locator(f"#{where} input[type=file]").set_input_files(list(paths))
  page.locator(f"#{where} .file-preview").wait_for()


def _filled(folder):
  """Names of the files below a folder that hold anything, also while they are being deleted."""
  found = []
  for path, _, names in os.walk(folder):
    for name in names:
      with contextlib.suppress(FileNotFoundError):
        found += [name] * (os.path.getsize(os.path.join(path, name)) > 0)
  return found


def download(page, locator):
  with page.expect_download() as found:
    locator.click()
  return found.value.suggested_filename, pathlib.Path(found.value.path()).read_bytes()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """Photographs, and what is none."""
  folder = tmp_path_factory.mktemp("files")
  exif = Image.Exif()
  exif[0x013B] = "Ada"
  gray = Image.fromarray(data.astronaut()).convert("L")
  gray.resize((80, 60)).save(folder / "Großmutter (1).jpg", exif=exif)
  Image.new("L", (40, 30), 90).save(folder / "flat.png")
  (folder / "text.png").write_text("no picture")
  gray.resize((300, 200)).save(folder / "large.png")
  (folder / "heavy.png").write_bytes(np.random.default_rng(0).bytes(MAX_UPLOAD + 1000))
  left, right, _ = data.stereo_motorcycle()
  Image.fromarray(left[100:228, 200:392]).save(folder / "color.png")
  Image.fromarray(right[100:228, 200:392]).convert("L").save(folder / "mono.png")
  return folder


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_photographs_are_coloured_compared_and_downloaded(chromium, site, files, width, connects):
  before = len(connects)
  with opened(chromium, site, width) as page:
    page.locator("#colour").click()
    page.get_by_text("No photograph is there yet").wait_for()
    drop(page, "photographs", *(files / n for n in ("flat.png", "Großmutter (1).jpg", "text.png")))
    number = page.locator("#magnification input[type=number]")
    number.fill("1.25")
    number.press("Tab")
    page.locator("#colour").click()
    page.get_by_text("2 photographs coloured").wait_for()
    page.get_by_text("text.png: not a picture").wait_for()
    page.get_by_text("2 remarks").wait_for()
    # The last one is shown; the slider follows the pointer.
    slider = page.locator("#compared")
    slider.get_by_text("Großmutter (1).jpg").wait_for()
    handle, box = slider.locator(".inner").first, slider.locator("img").first.bounding_box()
    start = handle.bounding_box()
    page.mouse.move(start["x"] + start["width"] / 2, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert handle.bounding_box()["x"] > start["x"] + 0.2 * box["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    # Under their own names, with what they said of themselves.
    name, content = download(page, page.locator("#results a").nth(1))
    assert name == "Großmutter (1).jpg"
    with Image.open(io.BytesIO(content)) as image:
      assert image.size == (100, 75) and image.getexif()[0x013B] == "Ada"
    name, content = download(page, page.locator("#archive"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
      assert archive.namelist() == ["flat.png", "Großmutter (1).jpg"]
      with Image.open(archive.open("flat.png")) as image:
        assert image.size == (50, 38) and image.getpixel((9, 9)) == (90, 45, 0)
    page.locator("#gallery button").first.click()
    slider.get_by_text("flat.png").wait_for()
    assert "Großmutter (1).jpg" in _filled(site[1])
  deadline = time.monotonic() + 20
  while left := _filled(site[1]):
    assert time.monotonic() < deadline, left  # what was uploaded and made goes with the page
    time.sleep(0.1)
  assert all(str(at[0]) == "127.0.0.1" for at in connects[before:] if isinstance(at, tuple))


def test_what_is_over_a_limit_gets_a_sentence(chromium, site, files):
  with opened(chromium, site, WIDTHS["telephone"]) as page:
    drop(page, "photographs", files / "large.png")
    page.locator("#colour").click()
    page.get_by_text("300x200 pixels are more than the limit of 50000").wait_for()
    page.locator("#photographs").get_by_label("Clear").click()
    page.locator("#photographs input[type=file]").set_input_files(files / "heavy.png")
    page.get_by_text(re.compile("maximum|exceeds")).first.wait_for()


def test_a_job_that_is_stopped_ends_after_the_picture_at_work(chromium, site, files):
  with opened(chromium, site, WIDTHS["desk"]) as page:
    drop(page, "photographs", files / "flat.png", files / "Großmutter (1).jpg")
    Painter.waiting = threading.Event()
    page.locator("#colour").click()
    page.get_by_text("1 of 2, flat.png").wait_for()
    page.locator("#stop").click()
    page.get_by_text("stopping after the photograph at work").wait_for()
    Painter.waiting.set()
    page.get_by_text("1 photograph coloured").wait_for()
    page.get_by_text("stopped", exact=True).wait_for()
    Painter.waiting = None
    page.locator("#colour").click()
    page.get_by_text("2 photographs coloured").wait_for()


def test_two_people_are_served_in_turn(chromium, site, files):
  Painter.waiting, Painter.most = threading.Event(), 0
  with opened(chromium, site, 1280) as one, opened(chromium, site, 390) as two:
    for page in (one, two):
      drop(page, "photographs", files / "flat.png")
      page.locator("#colour").click()
    two.get_by_text("waiting for the pictures of others").wait_for()
    Painter.waiting.set()
    for page in (one, two):
      page.get_by_text("1 photograph coloured").wait_for()
  Painter.waiting = None
  assert Painter.most == 1


def test_a_pair_comes_with_its_maps_and_warnings(chromium, site, files):
  with opened(chromium, site, WIDTHS["telephone"]) as page:
    page.get_by_role("tab", name="Pairs").click()
    drop(page, "mono", files / "mono.png")
    page.locator("#colour-pair").click()
    page.get_by_text("drop one into “Colour picture”").wait_for()
    drop(page, "color", files / "color.png")
    page.locator("#colour-pair").click()
    page.get_by_text("the pair is coloured").wait_for()
    page.get_by_text("Made by hand.").wait_for()
    for name in ("disparity", "confidence", "check"):
      page.locator(f"#{name} img").wait_for()
    name, content = download(page, page.locator("#pair-result a"))
    with Image.open(io.BytesIO(content)) as image, Image.open(files / "color.png") as truth:
      assert name == "mono.png" and np.array_equal(image, truth)
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["telephone"]


def test_a_run_is_shown_while_it_trains(chromium, site):
  with opened(chromium, site, WIDTHS["telephone"]) as page:
    page.get_by_role("tab", name="Training runs").click()
    page.locator("#run input").click()
    page.get_by_role("option", name="small").click()
    page.get_by_text("step 2 of 40").wait_for()
    page.locator("#shown-run svg").wait_for()
    with open(site[2] / "metrics.jsonl", "a") as file:
      file.write(json.dumps({"step": 7, "automatic/psnr_rgb": 33.5}) + "\n")
    page.get_by_text("step 7 of 40").wait_for()
    assert page.get_by_text("33.5").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS["telephone"]


def test_the_command_serves_until_it_is_told_to_end(tmp_path):
  command = [sys.executable, "-m", "scs_jax", "app", "--auth", "anna:secret", "--runs", "none"]
  with subprocess.Popen(
    command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    env={**os.environ, "TMPDIR": str(tmp_path)},
  ) as process:  # fmt: skip
    line = process.stdout.readline()
    address = re.match(r"open (http://127\.0\.0\.1:\d+/) in a browser; Ctrl-C ends it\n", line)[1]
    with pytest.raises(urllib.error.HTTPError, match="401"):  # who has no password
      urllib.request.urlopen(f"{address}gradio_api/info")
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    errors = process.stderr.read()
  assert process.returncode == 0 and errors == ""
  assert time.monotonic() - begun < 10 and not list(tmp_path.iterdir())
