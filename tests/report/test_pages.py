"""Panels to the pixel, pages without other files."""

import base64
import io
import re

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from scs_jax.report import demo_page, pages, panels, plots, tables

GAP, HEAD = 6, 18


def picture(seed, height, width, channels=3):
  shape = (height, width, channels) if channels else (height, width)
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --- panels


def test_every_pixel_of_a_panel_has_its_place():
  a, b, c = picture(0, 20, 30), picture(1, 20, 30), picture(2, 40, 30)
  shown = panels.panel([[(" ", a), ("", b)], [(" ", c), ("", a[:, :, 0]), ("", c)]])
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


def render(title, **values):
  config = ConfigDict({"batch_size": 2, "magnification": (1, 2), "data": {"source": title}})
  given = {"step": 1, "config": config, "others": [], "sections": [], "curves": [], **values}
  return pages.render("demo_train", title=title, **given).decode()


def test_a_page_needs_no_other_file_and_escapes_what_it_is_given(parse_page):
  image = picture(5, 6, 7)
  evil = "<script>alert('&')</script>$x_"
  shown = demo_page.Section(2.0, [tables.make([evil, "dB"], [[evil, 1.0]])], image, evil)
  page = render(evil, sections=[shown], curves=[plots.curves({"": [(0, 1.0), (10, 2.0)]}, evil)])
  assert page.startswith("<!doctype html>")
  links = parse_page(page)
  assert links.open == [] and links.counts["script"] == 1
  assert len(links.fetched) == 1 and links.fetched[0].startswith("data:image/png;base64,")
  with Image.open(io.BytesIO(base64.b64decode(links.fetched[0].partition(",")[2]))) as read:
    np.testing.assert_array_equal(np.asarray(read), image)
  assert not re.search(r"https?://|url\(|@import|<link", page)
  # title, heading, source, table head, cell, caption, curve
  assert "".join(links.words).count(evil) == 7


def test_names_of_any_bytes_stand_in_pages_and_plots():
  name = "a\udcff\u5199"
  page = render(name, curves=[plots.histograms({name: np.arange(4.0)}, name)])
  assert page.count("a\\udcff\u5199") >= 4


def test_tables_mark_the_best_of_a_column():
  rows = [["ours", 20.126, 3.0, 7], ["other", 20.131, 3.0, 7], ["none", "-", float("-inf"), 7]]
  text = pages.part("table", tables.make(["name", "a", "b", "n"], rows, best=(1, 2)))
  cells = re.findall(r"<td( class=\"best\")?>([^<]*)</td>", text)
  assert [value for _, value in cells] == [
    "ours", "20.13", "3.00", "7", "other", "20.13", "3.00", "7", "none", "-", "-inf", "7",
  ]  # fmt: skip
  assert [i for i, (best, _) in enumerate(cells) if best] == [2, 5, 6]  # equals share the honour
  assert text.count("<tr>") == text.count("</tr>") == 4


def test_cells_have_words_of_their_own_and_the_least_can_be_best():
  cell = tables.Cell
  rows = [["a", cell(2.0, "2 [1, 3]"), 5.0], ["b", cell(1.0, "<1>"), 4.0],
          ["c", cell(float("nan"), "-"), float("nan")]]  # fmt: skip
  text = pages.part("table", tables.make(["name", "x", "y"], rows, best=(1,), least=(2,)))
  cells = re.findall(r"<td( class=\"best\")?>([^<]*)</td>", text)
  assert [value for _, value in cells] == [
    "a", "2 [1, 3]", "5.00", "b", "&lt;1&gt;", "4.00", "c", "-", "nan",
  ]  # fmt: skip
  assert [i for i, (best, _) in enumerate(cells) if best] == [1, 5]


def test_a_last_line_is_not_sorted_and_the_papers_columns_are_set_apart():
  table = tables.make(["", "theirs", "ours"], [["a", "1", "2"]])
  table.foot, table.paper = tables.Line(["pictures", "", "3"]), [1]
  text = pages.part("table", table)
  assert "<tfoot><tr><td>pictures</td>" in text
  assert re.findall(r'<td class="paper">([^<]*)', text) == ["1", ""]


def test_a_strip_embeds_every_picture_and_enlarges_the_small_ones(parse_page):
  smooth = np.linspace(0, 255, 16 * 16 * 3).reshape(16, 16, 3).astype(np.uint8)
  text = pages.part("strip", [("small", smooth[::4, ::4, 0]), ("<truth>", smooth)])
  links = parse_page(text)
  assert links.open == [] and 'alt="&lt;truth&gt;"' in text
  assert [bool(raw) for raw in re.findall(r"<img( class=\"raw\")?", text)] == [True, False]
  with Image.open(io.BytesIO(base64.b64decode(links.fetched[1].partition(",")[2]))) as read:
    assert np.abs(np.asarray(read).astype(int) - smooth).mean() < 4
