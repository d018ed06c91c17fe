"""Panels to the pixel, pages without the network."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from scs_jax.report import pages, panels

GAP, HEAD = 6, 18


def picture(seed, height, width, channels=3):
  shape = (height, width, channels) if channels else (height, width)
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- panels


def test_every_pixel_of_a_panel_has_its_place():
  a, b, c = picture(0, 20, 30), picture(1, 20, 30), picture(2, 40, 30)
  shown = panels.panel([[("", a), ("", b)], [("", c), ("", a[:, :, 0]), ("", c)]])
  assert shown.dtype == np.uint8
  assert shown.shape == (20 + 40 + 2 * (HEAD + GAP), 3 * (30 + GAP) + GAP, 3)
  expected = np.full_like(shown, 255)
  expected[HEAD : HEAD + 20, GAP : GAP + 30] = a
  expected[HEAD : HEAD + 20, 2 * GAP + 30 : 2 * GAP + 60] = b
  top = HEAD + 20 + GAP + HEAD
  expected[top : top + 40, GAP : GAP + 30] = c
  gray = np.repeat(a[:, :, 0], 2, axis=0)[:, :, None]  # 20 rows on 40: each twice
  expected[top : top + 40, 2 * GAP + 30 : 2 * GAP + 60] = gray
  expected[top : top + 40, 3 * GAP + 60 : 3 * GAP + 90] = c
  np.testing.assert_array_equal(shown, expected)


def test_captions_stand_above_their_pictures():
  white = np.full((40, 60, 3), 255, np.uint8)
  shown = panels.panel([[("left", white), ("", white), ("right", white)]])
  dark = (shown < 128).any(axis=2)
  assert not dark[HEAD:].any()
  columns = np.flatnonzero(dark.any(axis=0))
  assert columns.min() >= GAP and columns.max() < 3 * (60 + GAP)
  assert not dark[:, GAP + 60 : 3 * GAP + 120].any()  # nothing over the middle one
  assert dark[:, GAP : GAP + 60].any() and dark[:, 3 * GAP + 120 :].any()


def test_long_captions_do_not_run_into_each_other():
  white = np.full((20, 16, 3), 255, np.uint8)
  black = np.zeros((20, 16, 3), np.uint8)
  shown = panels.panel([[("a caption that is long", white), ("another of that kind", black)]])
  dark = (shown[:HEAD] < 128).any(axis=(0, 2)).nonzero()[0]
  picture = (shown[HEAD : HEAD + 20] == 0).all(axis=(0, 2)).nonzero()[0]
  assert picture.tolist() == list(range(picture[0], picture[0] + 16))
  before = dark[dark < picture[0]]
  assert before.max() <= picture[0] - GAP and dark.max() < shown.shape[1]


def test_small_pictures_are_enlarged_by_repeating_pixels():
  small = picture(3, 3, 5, 0)
  expected = np.repeat(np.repeat(small, 4, axis=0), 4, axis=1)[..., None].repeat(3, axis=2)
  np.testing.assert_array_equal(panels.fit(small, (12, 20)), expected)


@pytest.mark.parametrize("channels", [0, 3])
def test_png_keeps_every_bit(channels):
  image = picture(4, 7, 9, channels)
  with Image.open(io.BytesIO(panels.png(image))) as read:
    assert read.format == "PNG"
    np.testing.assert_array_equal(np.asarray(read), image)


# --- pages


def test_a_page_needs_no_other_file_and_escapes_what_it_is_given(parse_page):
  image = picture(5, 6, 7)
  evil = "<script>alert('&')</script>"
  sections = [
    pages.figure(image, evil),
    pages.table([evil, "dB"], [[evil, 1.0]]),
    pages.curve([(0, 1.0), (10, 2.0)], evil),
  ]
  page = pages.page(evil, sections).decode()
  assert page.startswith("<!doctype html>")
  links = parse_page(page)
  assert links.open == []
  assert len(links.fetched) == 1 and links.fetched[0].startswith("data:image/png;base64,")
  with Image.open(io.BytesIO(base64.b64decode(links.fetched[0].partition(",")[2]))) as read:
    np.testing.assert_array_equal(np.asarray(read), image)
  assert not re.search(r"https?://|url\(|@import|<script", page)
  assert "".join(links.words).count(evil) == 6  # title, heading, caption, table head, cell, curve


def test_tables_mark_the_best_of_a_column():
  rows = [["ours", 20.126, 3.0, 7], ["other", 20.131, 3.0, 7], ["none", "-", float("-inf"), 7]]
  text = pages.table(["name", "a", "b", "n"], rows, best=(1, 2))
  cells = re.findall(r"<td( class=\"best\")?>([^<]*)</td>", text)
  assert [value for _, value in cells] == [
    "ours", "20.13", "3.00", "7", "other", "20.13", "3.00", "7", "none", "-", "-inf", "7",
  ]  # fmt: skip
  assert [i for i, (best, _) in enumerate(cells) if best] == [2, 5, 6]  # equals share the honour
  assert text.count("<tr>") == text.count("</tr>") == 4


def test_a_curve_runs_from_its_first_to_its_last_point():
  text = pages.curve([(100, 1.0), (150, 3.0), (200, 2.0)], "loss")
  points = re.search(r'points="([^"]*)"', text)[1].split()
  points = [tuple(map(float, point.split(","))) for point in points]
  assert points == [(50.0, 170.0), (320.0, 20.0), (590.0, 95.0)]  # SVG's y grows downwards
  assert ">3<" in text and ">1<" in text and "step 100" in text
  assert pages.curve([(1, 2.0)], "loss") == pages.curve([], "loss") == ""
  flat = pages.curve([(0, 1.0), (1, 1.0)], "flat")
  assert "nan" not in flat and "inf" not in flat


def test_cells_have_words_of_their_own_and_the_least_can_be_best():
  cell = pages.Cell
  rows = [["a", cell(2.0, "2 [1, 3]"), 5.0], ["b", cell(1.0, "<1>"), 4.0],
          ["c", cell(float("nan"), "-"), float("nan")]]  # fmt: skip
  text = pages.table(["name", "x", "y"], rows, best=(1,), least=(2,))
  cells = re.findall(r"<td( class=\"best\")?>([^<]*)</td>", text)
  assert [value for _, value in cells] == [
    "a", "2 [1, 3]", "5.00", "b", "&lt;1&gt;", "4.00", "c", "-", "nan",
  ]  # fmt: skip
  assert [i for i, (best, _) in enumerate(cells) if best] == [1, 5]


def test_a_strip_embeds_every_picture_and_enlarges_the_small_ones(parse_page):
  smooth = np.linspace(0, 255, 16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
  text = pages.strip([("small", smooth[::4, ::4, 0]), ("<truth>", smooth)])
  links = parse_page(text)
  assert links.open == [] and "&lt;truth&gt;" in text
  assert [bool(raw) for raw in re.findall(r"<img( class=\"raw\")?", text)] == [True, False]
  with Image.open(io.BytesIO(base64.b64decode(links.fetched[1].partition(",")[2]))) as read:
    assert np.abs(np.asarray(read).astype(int) - smooth).mean() < 4


def test_histograms_count_on_one_axis():
  values = {"one": np.array([0.0, 0.0, 10.0]), "two": np.array([5.0, np.inf])}
  text = pages.histograms(values, "dB", bins=2)
  bars = re.findall(r'fill="#27c" d="([^"]*)"', text)
  tops = [[float(v) for v in re.findall(r"v(-[\d.]+)", bar)] for bar in bars]
  assert tops == [[-34.0, -17.0], [-17.0]]  # two and one below and above 5; 5 counts as above
  assert ">0.0<" in text and ">10.0<" in text and "nan" not in text and "inf" not in text
  means = [float(x) for x in re.findall(r'stroke-width="2" d="M([\d.]+)', text)]
  assert means == [110 + 480 / 3, 350.0]
  assert pages.histograms({"none": np.array([np.inf])}, "dB") == ""
