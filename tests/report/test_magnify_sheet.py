"""The parts of a sheet of magnifications, and its animation."""

import io

import numpy as np
from PIL import Image

from scs_jax.report import magnify_sheet, panels
from scs_jax.report.magnify_sheet import Window


def durations(content):
  """Milliseconds of each frame."""
  times = []
  with Image.open(io.BytesIO(content)) as image:
    for k in range(image.n_frames):
      image.seek(k)
      image.load()
      times.append(image.info["duration"])
  return times


def test_a_window_in_a_result():
  rows, columns = Window(10, 20, 8).within((40, 60), (100, 90))
  assert rows == slice(25, 45) and columns == slice(30, 42)
  rows, columns = Window(0, 0, 16).within((16, 16), (1, 1))
  assert rows == slice(0, 1) and columns == slice(0, 1)
  assert magnify_sheet.window_at((40, 60), 16, (0, 39)) == Window(24, 0, 16)
  assert magnify_sheet.window_at((10, 60), 16, (59, 5)) == Window(0, 50, 10)


def test_the_busiest_window():
  gray = np.zeros((40, 60))
  gray[21:27:2, 33:41:2] = 1.0
  window = magnify_sheet.busiest(gray, 16)
  assert 11 <= window.top <= 20 and 25 <= window.left <= 32
  assert magnify_sheet.busiest(np.zeros((5, 9)), 16) == Window(0, 0, 5)


def test_results_are_spread_over_rows_of_one_width():
  cells = [panels.Cell("", np.zeros((9, 112 + 30 * k), np.uint8)) for k in range(1, 13)]
  rows = panels.spread(cells, 1600)
  assert [cell for row in rows for cell in row] == cells and len(rows) == 3
  widths = [sum(cell.width for cell in row) for row in rows]
  assert max(widths) <= 1600 and max(widths) < 1.5 * min(widths)


def test_one_frame_is_as_long_as_many_are_short():
  pictures = [np.full((4, 4, 3), k, np.uint8) for k in range(60)]
  times = durations(magnify_sheet.animate(pictures, "png"))
  assert len(times) == 118 and times[5] == 40 and times[0] == times[59] == 740
  assert durations(magnify_sheet.animate(pictures[:2], "png")) == [1000, 1000]
